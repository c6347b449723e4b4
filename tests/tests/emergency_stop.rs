//! The emergency stop (DESIGN 6 rule 8): one operator, every agent, no second person; and going on, which takes the approvers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent::driver::fault::{Call, Fault, Mode};
use serde_json::Value;
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::lab::{Damage, Server};
use tests::outside::Client;
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than the quiet time after which the lab's policy lets an agent put back what is lost.
const WHILE: Duration = Duration::from_secs(5);

fn estate(servers: &[&'static str], mode: &str) -> Estate {
    let servers = servers.iter().map(|name| (*name, None)).collect();
    let setup = Setup { servers, need: vec!["resume=2"], policy: Some(policy(mode)), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}

/// The stops in force, as programs read them; the newest first.
fn stops(estate: &Estate) -> Vec<Value> {
    estate.desk().json(&["stop", "list"]).expect("a list").as_array().expect("an array").clone()
}

fn resume(estate: &Estate, id: &str, person: &str) -> String {
    let key = estate.desk().key_file(person).display().to_string();
    estate.desk().ok(&["resume", id, "--key", &key, "--reason", "the cause is found", "--yes"]).expect("handed in")
}

fn as_it_was(host: &Server, lost: &BTreeMap<String, String>) -> anyhow::Result<()> {
    anyhow::ensure!(host.snapshot()? == *lost, "something moved");
    Ok(())
}

#[test]
fn everything_stands_still_until_enough_approvers_say_yes_whatever_is_restarted() {
    let mut estate = estate(&["EX1", "EX2", "EX3"], "act");
    let host = estate.host("EX1").expect("a host");
    let back_end = estate.back_end("EX1").expect("444");
    let good = Client::find().look(back_end).expect("shown");
    let begun = Instant::now();
    let made = estate.desk().json(&["stop", "estate", "--reason", "mail flow is broken"]).expect("stopped");
    eprintln!("three agents confirmed after {:.2} s", begun.elapsed().as_secs_f64());
    let made = &made[0];
    assert_eq!((&made["confirmed"], &made["covered"], &made["waiting_count"]), (&3.into(), &3.into(), &0.into()), "{made:#}");
    assert_eq!((&made["servers"], &made["person"]), (&Value::Null, &"admin".into()), "{made:#}");
    let id = made["id"].as_str().expect("an id").to_owned();

    // What an agent in mode act would put back by itself, and what a controller might offer.
    host.damage(&Damage::RemoveRecordAndCertificate).expect("lost");
    estate.wait_verdict("EX1", "unbound", LIMIT).expect("told all the same");
    let lost = host.snapshot().expect("a disk");
    estate.stop_agent("EX1").expect("stops");
    estate.stop_controller().expect("stops");
    estate.start_agent("EX1").expect("starts, alone");
    wait::throughout(WHILE, || as_it_was(&host, &lost)).expect("nothing moves without a controller");
    estate.start_controller().expect("starts");
    estate.wait_connected("EX1", LIMIT).expect("connects");
    let all = |found: &[Value]| found.first().is_some_and(|stop| stop["confirmed"] == 3);
    wait::until("all to confirm again", LIMIT, || wait::when(all(&stops(&estate)), || format!("{:#?}", stops(&estate))))
        .expect("read from rows");
    let why = estate.desk().ok(&["explain", "EX1"]).expect("explained");
    assert!(why.contains("emergency stop") && why.contains("mail flow is broken"), "{why}");

    assert!(resume(&estate, &id[..8], "anna").contains("1 of 2"));
    assert!(resume(&estate, &id[..8], "anna").contains("1 of 2"), "a person counts once");
    wait::throughout(WHILE, || as_it_was(&host, &lost)).expect("one approver is not enough");
    let key = estate.desk().key_file("ben").display().to_string();
    estate.desk().ok(&["resume", &id, "--key", &key, "--reason", "is it enough", "--yes", "--dry-run"]).expect("judged");
    assert_eq!(stops(&estate).len(), 1, "a yes that was only tried lets nothing go");
    assert!(resume(&estate, &id[..8], "ben").contains("let go"));
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("put back");
    assert_eq!(Client::find().look(back_end).expect("shown"), good);
    assert!(stops(&estate).is_empty());
    let trail = estate.desk().ok(&["audit", "list", "--all"]).expect("a trail");
    assert!(trail.contains("stop.made") && trail.matches("stop.resume").count() == 3, "{trail}");
    estate.desk().ok(&["audit", "verify"]).expect("verifies");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_stop_waits_for_who_is_away_and_holds_only_whom_it_names() {
    let mut estate = estate(&["EX1", "EX2"], "act");
    estate.stop_agent("EX2").expect("stops");
    let made = estate.desk().json(&["stop", "server", "EX2", "--reason", "a case is open"]).expect("nobody to wait for");
    let row = &made[0];
    assert_eq!(
        (&row["covered"], &row["confirmed"], &row["away"]),
        (&1.into(), &0.into(), &serde_json::json!(["EX2"])),
        "{row:#}"
    );
    let first = row["id"].as_str().expect("an id").to_owned();
    estate.start_agent("EX2").expect("starts");
    let confirmed = || stops(&estate).iter().any(|stop| stop["id"] == first.as_str() && stop["confirmed"] == 1);
    wait::until("EX2 to confirm", LIMIT, || wait::when(confirmed(), || format!("{:#?}", stops(&estate)))).expect("confirms");

    // EX1 goes on working.
    estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("lost");
    estate
        .wait_plan("EX1", "an undelete", LIMIT, |plan| plan.purpose == "undelete" && plan.life == "confirmed")
        .expect("put back");

    // Going on after the first does not touch the one that came later.
    estate.desk().ok(&["stop", "estate", "--reason", "everything, now"]).expect("stopped");
    for person in ["anna", "ben"] {
        resume(&estate, &first, person);
    }
    let held =
        || estate.desk().ok(&["explain", "EX2"]).map(|why| why.contains("everything, now") && !why.contains("a case is open"));
    wait::until("EX2 to be held by the later stop alone", LIMIT, || match held() {
        Ok(true) => wait::Look::Found(()),
        other => wait::Look::NotYet(format!("{other:?}")),
    })
    .expect("one stays");
    assert_eq!(stops(&estate).len(), 1);
    let nobody = estate.desk().run(&["stop", "server", "EX9", "--reason", "x"]).expect("ends");
    assert_eq!(nobody.status.code(), Some(3), "{}", String::from_utf8_lossy(&nobody.stderr));
    let nobody = estate.desk().run(&["stop", "dag", "DAG9", "--reason", "x"]).expect("ends");
    assert_eq!(nobody.status.code(), Some(3), "{}", String::from_utf8_lossy(&nobody.stderr));
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_renewal_that_has_swapped_comes_to_its_end_and_the_next_one_does_not_begin() {
    let mut estate = estate(&["EX1"], "act");
    let host = estate.host("EX1").expect("a host");
    host.damage(&Damage::Expiring { days: 20 }).expect("ages");
    let plan = estate.wait_plan("EX1", "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan");
    // The record is changed, late: that is the moment.
    host.fault(Fault::new(Call::Set, Mode::Hang).millis(3_000).times(1)).expect("slow");
    estate.desk().approve(&hex(&plan.id), "anna", "CHG-1").expect("approved");
    estate.wait_plan("EX1", "running", LIMIT, |found| found.id == plan.id && found.life == "running").expect("runs");
    estate.desk().ok(&["stop", "estate", "--reason", "wrong change window"]).expect("stopped");
    let ended = |life: &str| matches!(life, "restored" | "confirmed" | "undone");
    let end = estate.wait_plan("EX1", "ended", LIMIT, |found| found.id == plan.id && ended(&found.life)).expect("ends");
    Client::find().look(estate.back_end("EX1").expect("444")).expect("444 serves, as the old or as the new one");
    let after = host.snapshot().expect("a disk");
    host.damage(&Damage::DeleteCertificate).expect("lost");
    let lost = host.snapshot().expect("a disk");
    assert_ne!(after, lost);
    wait::throughout(WHILE, || as_it_was(&host, &lost)).expect("nothing begins any more");
    assert!(estate.desk().plans("EX1").expect("plans").iter().all(|found| found.id == end.id || found.life != "running"));
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
