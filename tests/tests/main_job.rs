//! The main job's lines that the tour does not walk: several approvers, and a host that is alone.

use std::time::Duration;

use agent::driver::fault::{Call, Fault, Mode};
use policy::trust::{Approval, Kind};
use proto::operator::SubmitApprovalRequest;
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::outside::Client;
use tests::{papers, wait};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

const SERVER: &str = "EX1";

fn estate(need: Vec<&'static str>, mode: &str) -> Estate {
    let setup = Setup { servers: vec![(SERVER, None)], need, policy: Some(policy(mode)), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}

#[test]
fn a_renewal_runs_when_as_many_persons_approved_as_the_estate_wants_and_not_before() {
    let mut estate = estate(vec!["renew=2"], "propose");
    let host = estate.host(SERVER).expect("a host");
    host.damage(&Damage::Expiring { days: 20 }).expect("ages");
    let plan = estate.wait_plan(SERVER, "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan");
    let (id, before) = (hex(&plan.id), host.snapshot().expect("a disk"));
    let desk = estate.desk();
    desk.approve(&id, "anna", "CHG-1").expect("approved");

    // The same person again, by another approval; and one who says that he asked for it.
    let key = desk.key_file("anna").display().to_string();
    let again = desk.run(&["plan", "approve", &id, "--key", &key, "--reason", "once more", "--yes"]).expect("ends");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(5), "{said}");
    assert!(said.contains("persons are counted, not approvals"), "{said}");
    let body = policy::plan::Plan::from_bytes(&desk.plan(&plan.id).expect("a plan").body).expect("reads");
    let submit = |approval: &Approval, person: &str| {
        let signed = papers::signed(Kind::Approval, approval.to_bytes(), &[&desk.key(person).expect("a key")]).expect("signed");
        let request = SubmitApprovalRequest { approval: Some(signed.into()), validate_only: false };
        desk.ask(async |mut client| client.submit_approval(request.clone()).await).map(drop)
    };
    let asked =
        Approval { requester: Some("ben".parse().expect("a name")), ..papers::approval(&body, "ben").expect("an approval") };
    let refused = submit(&asked, "ben").expect_err("who asks does not approve").to_string();
    assert!(refused.contains("PermissionDenied") && refused.contains("ben asked for the plan"), "{refused}");
    let borrowed = papers::approval(&body, "ben").expect("an approval");
    let refused = submit(&borrowed, "anna").expect_err("not ben's key").to_string();
    assert!(refused.contains("PermissionDenied"), "{refused}");

    let row =
        estate.wait_plan(SERVER, "approved by one", LIMIT, |found| found.id == plan.id && found.approvals == 1).expect("a plan");
    assert_eq!((row.life.as_str(), row.needed), ("proposed", 2));
    wait::throughout(Duration::from_secs(3), || {
        assert_eq!(host.snapshot()?, before);
        Ok(())
    })
    .expect("nothing changes");

    estate.desk().approve(&id, "ben", "CHG-2").expect("approved");
    let done = |found: &proto::operator::Plan| found.id == plan.id && found.life == "confirmed";
    // Who watches it waits for the end, and learns which.
    let watched = estate.desk().ok(&["plan", "show", &id, "--watch", "-o", "json"]).expect("confirmed");
    let last: serde_json::Value = serde_json::from_str(watched.lines().last().unwrap_or_default()).expect("a line of JSON");
    assert_eq!(last["life"], "confirmed", "{watched}");
    estate.wait_plan(SERVER, "confirmed", LIMIT, done).expect("runs");
    estate.wait_verdict(SERVER, "healthy", LIMIT).expect("seen");
    // Counted: one plan that was approved by enough and came to its end.
    let metrics = estate.metrics().expect("metrics");
    for line in ["backstay_change_duration_seconds_count 1", "backstay_approval_wait_seconds_count 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    }
    assert!(metrics.contains("backstay_agent_clock_skew_seconds{host=\"EX1\"} "), "{metrics}");
    assert!(metrics.contains("backstay_policy_evaluations_total{decision=\"leave_alone\"} "), "{metrics}");
    // The new certificate, under the name that other people's dashboards know.
    let value_of = |begin: &str| metrics.lines().find(|line| line.starts_with(begin))?.rsplit(' ').next().map(str::to_owned);
    let line = metrics.lines().find(|line| line.starts_with("x509_cert_not_after{")).expect("shown");
    assert!(line.contains("subject_CN=\"EX1\"") && line.contains("filename=\"EX1\",filepath=\"EX1:444\""), "{line}");
    let ends = value_of("backstay_certificate_not_after_timestamp_seconds{host=\"EX1\"").expect("shown");
    assert_eq!(value_of("x509_cert_not_after{"), Some(ends));
    // Said by two, written in the trail, and nothing else complained.
    let trail = estate.desk().ok(&["audit", "list", "--all"]).expect("a trail");
    assert!(trail.contains("CHG-1") && trail.contains("CHG-2"), "{trail}");
    estate.desk().ok(&["audit", "verify"]).expect("verifies");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_host_that_is_alone_puts_back_what_it_lost_and_the_controller_learns_of_it() {
    let mut estate = estate(Vec::new(), "act");
    let host = estate.host(SERVER).expect("a host");
    let back_end = estate.back_end(SERVER).expect("444");
    let good = Client::find().look(back_end).expect("shown");
    estate.stop_controller().expect("stops");
    host.damage(&Damage::RemoveRecordAndCertificate).expect("lost");
    assert!(Client::find().look(back_end).is_err());
    let again = wait::until("444 to serve again", LIMIT, || Client::find().look(back_end).into()).expect("put back");
    assert_eq!(again, good);
    // An agent that starts while nobody is there finds nothing to do, and waits.
    estate.stop_agent(SERVER).expect("stops");
    estate.start_agent(SERVER).expect("starts");
    estate.start_controller().expect("starts");
    let done = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
    let plan = estate.wait_plan(SERVER, "an undelete that is confirmed", LIMIT, done).expect("told");
    let receipt = estate.desk().plan(&plan.id).expect("a plan").receipt.expect("a receipt");
    assert!(!receipt.standing.is_empty(), "{receipt:?}");
    estate.wait_verdict(SERVER, "healthy", LIMIT).expect("seen");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_machine_that_is_sent_away_loses_its_stream_at_once_and_learns_why() {
    let mut estate = estate(Vec::new(), "act");
    let agents = |estate: &Estate, all: bool| {
        let line: &[&str] = if all { &["agent", "list", "--all"] } else { &["agent", "list"] };
        estate.desk().json(line).expect("a list").as_array().expect("an array").clone()
    };
    assert!(agents(&estate, false).is_empty(), "nobody waits for a person");
    estate.desk().ok(&["agent", "evict", SERVER, "--reason", "decommissioned, CHG-77"]).expect("sent away");
    estate
        .wait_server(SERVER, "the end of the link", LIMIT, |response| {
            wait::when(response.server.as_ref().is_some_and(|server| !server.connected), || "it is connected".to_owned())
        })
        .expect("its stream ends");
    let all = agents(&estate, true);
    assert_eq!((&all[0]["state"], &all[0]["why"]), (&"evicted".into(), &"decommissioned, CHG-77".into()), "{all:#?}");
    let log = || std::fs::read_to_string(estate.folder().join(format!("logs/agent-{SERVER}.log"))).unwrap_or_default();
    let told = || wait::when(log().contains("decommissioned, CHG-77"), log);
    wait::until("the agent to learn why", LIMIT, told).expect("told");

    // Tried first, it is judged and not done.
    let tried = estate.desk().run(&["agent", "retire", SERVER, "--reason", "gone", "--dry-run"]).expect("ends");
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success() && said.contains("nothing was changed"), "{said}");
    assert!(estate.desk().ok(&["server", "list"]).expect("listed").contains(SERVER));
    // Once the server itself is gone, it is in no list; what was done there stays told.
    estate.desk().ok(&["agent", "retire", SERVER, "--reason", "gone, CHG-78"]).expect("retired");
    assert_eq!(estate.desk().json(&["server", "list"]).expect("a list"), serde_json::json!([]));
    let shown = estate.metrics().expect("metrics");
    assert!(!shown.contains("host=\"EX1\""), "{shown}");
    let status = estate.desk().run(&["status", "--exit-code"]).expect("asked");
    assert_eq!(status.status.code(), Some(0), "{}", String::from_utf8_lossy(&status.stdout));
    assert!(estate.desk().ok(&["audit", "list"]).expect("a trail").contains("server.retired"));
    let again = estate.desk().run(&["agent", "retire", SERVER, "--reason", "gone"]).expect("ends");
    assert_eq!(again.status.code(), Some(3), "{}", String::from_utf8_lossy(&again.stderr));
    estate.stop().expect("stops");
}

#[test]
fn a_plan_whose_agent_is_gone_is_given_up_by_a_person_and_its_receipt_is_taken_when_the_agent_comes_back() {
    let mut estate = estate(Vec::new(), "propose");
    let host = estate.host(SERVER).expect("a host");
    host.damage(&Damage::Expiring { days: 20 }).expect("ages");
    let plan = estate.wait_plan(SERVER, "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan");
    let id = hex(&plan.id);
    let abandon = |estate: &Estate| {
        let ended = estate.desk().run(&["plan", "abandon", &id, "--reason", "the host burned down"]).expect("ends");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let (code, said) = abandon(&estate);
    assert!(code == Some(5) && said.contains("rejected"), "{said}");
    host.fault(Fault::new(Call::Set, Mode::Hang).millis(20_000).times(1)).expect("slow");
    estate.desk().approve(&id, "anna", "CHG-1").expect("approved");
    estate.wait_plan(SERVER, "running", LIMIT, |found| found.id == plan.id && found.life == "running").expect("runs");
    let (code, said) = abandon(&estate);
    assert!(code == Some(5) && said.contains("connected"), "{said}");
    estate.kill_agent(SERVER).expect("killed");
    estate
        .wait_server(SERVER, "the end of the link", LIMIT, |response| {
            wait::when(response.server.as_ref().is_some_and(|server| !server.connected), || "it is connected".to_owned())
        })
        .expect("gone");
    let (code, said) = abandon(&estate);
    assert!(code == Some(0) && said.contains("given up"), "{said}");
    estate.wait_plan(SERVER, "abandoned", LIMIT, |found| found.id == plan.id && found.life == "abandoned").expect("given up");

    host.clear_faults().expect("as before");
    estate.start_agent(SERVER).expect("comes back");
    let receipt = || estate.desk().plan(&plan.id).map(|found| found.receipt.is_some());
    wait::until("its receipt", LIMIT, || match receipt() {
        Ok(true) => wait::Look::Found(()),
        other => wait::Look::NotYet(format!("{other:?}")),
    })
    .expect("the host has the last word about what was done there");
    Client::find().look(estate.back_end(SERVER).expect("444")).expect("serves");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn an_approvers_key_is_replaced_and_from_then_on_only_the_new_one_counts_on_the_host() {
    let mut estate = estate(vec!["renew=2"], "propose");
    let desk = estate.desk();
    let (trust, new, next) = (desk.file("trust"), desk.file("ben-2.key"), desk.file("trust-2.signed"));
    let path = |path: &std::path::Path| path.display().to_string();
    let key = desk.ok(&["trust", "key", "--out", &path(&new)]).expect("made");
    let admit = format!("ben={}", key.trim());
    let (from, root, out) = (path(&trust.join("trust.signed")), path(&trust.join("root.key")), path(&next));
    desk.ok(&["trust", "next", "--from", &from, "--admit", &admit, "--key", &root, "--out", &out]).expect("written");
    desk.ok(&["trust", "apply", &out]).expect("in force");
    estate
        .wait_server(SERVER, "trust version 2", LIMIT, |response| {
            let held = response.server.as_ref().map(|server| server.trust_version).unwrap_or_default();
            wait::when(held == 2, || format!("version {held}"))
        })
        .expect("the agent takes it");

    estate.host(SERVER).expect("a host").damage(&Damage::Expiring { days: 20 }).expect("ages");
    let plan = estate.wait_plan(SERVER, "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan");
    let id = hex(&plan.id);
    let desk = estate.desk();
    desk.approve(&id, "anna", "CHG-1").expect("approved");
    let old = path(&desk.key_file("ben"));
    let refused = desk.run(&["plan", "approve", &id, "--key", &old, "--reason", "x", "--yes"]).expect("ends");
    assert_eq!(refused.status.code(), Some(5), "{}", String::from_utf8_lossy(&refused.stderr));
    desk.ok(&["plan", "approve", &id, "--key", &path(&new), "--reason", "ends soon", "--yes"]).expect("counts");
    let done = |found: &proto::operator::Plan| found.id == plan.id && found.life == "confirmed";
    estate.wait_plan(SERVER, "confirmed", LIMIT, done).expect("runs");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
