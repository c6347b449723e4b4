//! A controller put back from a backup (TRUST T11): what it forgot, the agents tell it; until they have, nothing is offered to their
//! group; and what nobody can tell is named.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

/// What must not happen meanwhile.
const WHILE: Duration = Duration::from_secs(3);

fn status(estate: &Estate) -> Value {
    estate.desk().json(&["status"]).expect("a status")
}

fn awaited(estate: &Estate) -> Vec<String> {
    let status = status(estate);
    status["awaited"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

fn wait_awaited(estate: &Estate, expected: &[&str]) {
    wait::until("those that were not heard", LIMIT, || wait::when(awaited(estate) == expected, || status(estate).to_string()))
        .expect("the others told");
}

fn actions(estate: &Estate) -> Vec<String> {
    let trail = estate.desk().json(&["audit", "list", "--all"]).expect("a trail");
    trail.as_array().expect("entries").iter().map(|entry| entry["action"].as_str().expect("a word").to_owned()).collect()
}

#[test]
fn a_restored_controller_learns_from_its_agents_what_it_forgot_and_offers_nothing_before() {
    let servers = vec![("EX1", Some("DAG1")), ("EX2", Some("DAG1")), ("EX3", None)];
    let setup = Setup { servers, policy: Some(policy("act")), ..Setup::default() };
    let mut estate = Estate::temporary(&setup).expect("an estate");
    let backup = estate.folder().join("backup").display().to_string();
    let made = estate.beside(&["backup", "--out", &backup]).expect("made while the controller works");
    assert_eq!((&made["agents"], &made["estate"]), (&3.into(), &tests::desk::ESTATE.into()), "{made:#}");
    let twice = estate.beside(&["backup", "--out", &backup]).expect_err("never over another");
    assert!(format!("{twice:#}").contains("expected a folder that is not there yet"), "{twice:#}");

    // What only the agents will know: a policy, a stop, a repair, a renewal that was approved.
    let second = estate.desk().apply_policy(&policy("act"), &["anna"]).expect("applied");
    estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("lost");
    let undelete = estate
        .wait_plan("EX1", "an undelete", LIMIT, |plan| plan.purpose == "undelete" && plan.life == "confirmed")
        .expect("put back");
    estate.host("EX3").expect("a host").damage(&Damage::Expiring { days: 20 }).expect("years pass");
    let plan = estate.wait_plan("EX3", "a proposal", LIMIT, |plan| plan.life == "proposed").expect("proposed");
    estate.desk().approve(&hex(&plan.id), "anna", "CHG-1").expect("approved");
    let renewed =
        estate.wait_plan("EX3", "renewed", LIMIT, |found| found.id == plan.id && found.life == "confirmed").expect("renewed");
    estate.desk().ok(&["stop", "server", "EX2", "--reason", "a case is open"]).expect("stopped");
    estate.stop_agent("EX2").expect("stops");
    estate.kill_controller().expect("dies");

    let busy_folder = estate.folder().join("nowhere").display().to_string();
    let missing = estate.beside(&["restore", "--from", &busy_folder]).expect_err("there is none");
    assert!(format!("{missing:#}").contains("backup.json"), "{missing:#}");
    let done = estate.beside(&["restore", "--from", &backup]).expect("put back");
    assert_eq!(done["awaited"], 3, "{done:#}");
    assert!(fs::exists(done["aside"].as_str().expect("a path")).expect("looks"), "the old one is kept");
    estate.start_controller().expect("starts");

    wait_awaited(&estate, &["EX2"]);
    assert_eq!(status(&estate)["policy_version"], second);
    estate.wait_plan("EX1", "its repair", LIMIT, |plan| plan.id == undelete.id && plan.life != "proposed").expect("told again");
    let receipt = || estate.desk().plan(&renewed.id).is_ok_and(|plan| plan.receipt.is_some());
    let known = || actions(&estate).iter().filter(|action| *action == "plan.restored").count();
    wait::until("both receipts", LIMIT, || wait::when(known() >= 2, || format!("{} and {}", known(), receipt()))).expect("told");
    let agents = estate.desk().json(&["agent", "list", "--all"]).expect("a list");
    for agent in agents.as_array().expect("agents") {
        assert_eq!(agent["state"], "active", "nobody is taken for a clone: {agents:#}");
    }

    // EX1 may work only when EX2 has told that nothing is at work there.
    estate.host("EX1").expect("a host").damage(&Damage::Expiring { days: 20 }).expect("years pass");
    let plan = estate
        .wait_plan("EX1", "a proposal", LIMIT, |plan| plan.purpose == "renew" && plan.life == "proposed")
        .expect("proposed");
    estate.desk().approve(&hex(&plan.id), "anna", "CHG-2").expect("approved");
    let told = || -> Result<()> {
        let plan = estate.desk().plan(&plan.id)?.plan.context("a plan")?;
        ensure!(plan.life == "waiting" && plan.waits_for.contains("what was done on EX2"), "{}: {}", plan.life, plan.waits_for);
        Ok(())
    };
    wait::until("the plan to wait", LIMIT, || wait::Look::from(told())).expect("waits");
    wait::throughout(WHILE, told).expect("waits on");
    estate.start_agent("EX2").expect("starts");
    wait_awaited(&estate, &[]);
    estate.wait_plan("EX1", "renewed", LIMIT, |found| found.id == plan.id && found.life == "confirmed").expect("has its turn");
    let stops = estate.desk().json(&["stop", "list"]).expect("a list");
    assert_eq!((stops.as_array().map(Vec::len), &stops[0]["reason"]), (Some(1), &"a case is open".into()), "{stops:#}");
    let told = actions(&estate);
    let count = |word: &str| told.iter().filter(|action| *action == word).count();
    assert_eq!((count("store.restored"), count("agent.remembered"), count("agent.quarantined")), (1, 3, 0), "{told:?}");
    estate.desk().ok(&["audit", "verify"]).expect("verifies");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_database_that_was_put_back_without_a_word_lets_nobody_in_and_nobody_is_taken_for_a_clone() {
    let servers = vec![("EX1", None)];
    let mut estate = Estate::temporary(&Setup { servers, ..Setup::default() }).expect("an estate");
    estate.stop_controller().expect("stops");
    let database = estate.controller_state().join("backstay.db");
    let snapshot = estate.folder().join("snapshot.db");
    fs::copy(&database, &snapshot).expect("a snapshot");
    // Two sessions later its lineage is neither the current nor the previous one.
    for _ in 0..3 {
        estate.start_controller().expect("starts");
        estate.desk().ok(&["token", "create", "--server", "EX9", "--out", "token"]).expect("something for the trail");
        fs::remove_file(estate.desk().file("token")).expect("removed");
        estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("broken");
        estate.wait_verdict("EX1", "deleted", LIMIT).expect("told");
        estate.lab().expect("a lab").server("EX1").expect("a host").heal().expect("healed");
        estate.wait_verdict("EX1", "healthy", LIMIT).expect("told");
        estate.stop_controller().expect("stops");
    }
    fs::copy(&snapshot, &database).expect("a machine put back");
    estate.start_controller().expect("starts");
    let log = estate.folder().join("logs").join("controller.log");
    let said = || fs::read_to_string(&log).is_ok_and(|text| text.contains("an older store was put back"));
    wait::until("the refusal", LIMIT, || wait::when(said(), || "not refused".to_owned())).expect("refused");
    let agents = estate.desk().json(&["agent", "list", "--all"]).expect("a list");
    assert_eq!(agents[0]["state"], "active", "{agents:#}");
    let busy = estate.beside(&["restore", "--in-place"]).expect_err("a controller has it open");
    assert!(format!("{busy:#}").contains("only controller"), "{busy:#}");
    estate.stop_controller().expect("stops");
    let done = estate.beside(&["restore", "--in-place"]).expect("marked");
    assert_eq!((&done["awaited"], &done["made_at"]), (&1.into(), &Value::Null), "{done:#}");
    estate.start_controller().expect("starts");
    estate.wait_connected("EX1", LIMIT).expect("comes back");
    wait_awaited(&estate, &[]);
    estate.stop().expect("stops");
    estate.check_logs(&["an older store was put back", "the audit trail"]).expect("quiet logs");
}
