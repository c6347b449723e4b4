//! A controller that was stolen, replaced by trust document + 1 (TRUST T10) without a visit to any host; and what only a person at a host
//! decides.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::process;
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn agents_follow_the_trust_document_to_a_controller_with_another_ca_and_leave_the_stolen_one() {
    let servers = vec![("EX1", Some("DAG1")), ("EX2", Some("DAG1"))];
    let mut estate = Estate::temporary(&Setup { servers, policy: Some(policy("act")), ..Setup::default() }).expect("an estate");
    let backup = estate.folder().join("backup");
    estate.beside(&["backup", "--out", &backup.display().to_string()]).expect("made");
    let identity =
        |estate: &Estate, server: &str| fs::read(estate.agent_folder(server).join("state").join("identity.der")).expect("reads");
    let before = identity(&estate, "EX1");
    let stolen = estate.replace_controller(&backup).expect("replaced");
    for server in ["EX1", "EX2"] {
        estate.wait_connected(server, LIMIT).expect("follows");
    }
    assert_ne!(identity(&estate, "EX1"), before, "an identity of the new CA");
    // It is the same estate: nothing was enrolled anew, and the policy lets the agents act.
    let agents = estate.desk().json(&["agent", "list", "--all"]).expect("a list");
    assert_eq!(agents.as_array().map(Vec::len), Some(2), "{agents:#}");
    estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("lost");
    estate
        .wait_plan("EX1", "an undelete", LIMIT, |plan| plan.purpose == "undelete" && plan.life == "confirmed")
        .expect("put back");

    // The thief comes back where the agents dial: nobody believes him.
    estate.kill_controller().expect("dies");
    let ours = estate.controller_state();
    fs::rename(&ours, estate.folder().join("ours")).expect("aside");
    fs::rename(&stolen, &ours).expect("the thief's");
    let log = estate.folder().join("logs").join("agent-EX1.log");
    let doubts = || fs::read_to_string(&log).map(|text| text.matches("invalid peer certificate").count()).expect("reads");
    let so_far = doubts();
    estate.start_controller().expect("starts");
    let refused = || doubts() > so_far;
    wait::until("the thief to be refused", LIMIT, || wait::when(refused(), || "believed".to_owned())).expect("refused");
    estate.stop().expect("stops");
    estate.check_logs(&["invalid peer certificate", "the audit trail"]).expect("quiet logs");
}

/// Runs `backstay-agent trust` on a host whose agent does not run.
fn trust(estate: &Estate, server: &str, arguments: &[&str]) -> (bool, String) {
    let mut command: Command = estate.binaries().command("backstay-agent").expect("built");
    command.args(["trust"]).args(arguments).arg("--config").arg(estate.agent_folder(server).join("agent.toml"));
    command.args(["--driver", "lab", "--lab-server", server, "--lab-dir"]).arg(estate.folder().join("lab"));
    let output = process::run(&mut command, LIMIT).expect("ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_person_at_the_host_takes_a_document_rejoins_with_the_same_root_and_replaces_the_pin() {
    let servers = vec![("EX1", None)];
    let mut estate = Estate::temporary(&Setup { servers, ..Setup::default() }).expect("an estate");
    let (shown, text) = trust(&estate, "EX1", &["show"]);
    assert!(shown && text.contains("version 1") && text.contains("1 of its keys must sign"), "{text}");
    let (busy, text) = trust(&estate, "EX1", &["rejoin", "--yes"]);
    assert!(!busy && text.contains("stopped first"), "{text}");
    estate.stop_agent("EX1").expect("stops");

    // A document from a file: one that follows is taken, one of another root is not.
    let next =
        ["trust", "next", "--from", "trust/trust.signed", "--key", "trust/root.key", "--need", "renew=2", "--out", "2.signed"];
    estate.desk().ok(&next).expect("written");
    let file = estate.desk().file("2.signed").display().to_string();
    let (taken, text) = trust(&estate, "EX1", &["take", &file]);
    assert!(taken && text.contains("version 2"), "{text}");
    let (again, text) = trust(&estate, "EX1", &["take", &file]);
    assert!(again && text.contains("held already"), "{text}");
    let ca = estate.desk().json(&["trust", "show"]).expect("shown")["ca"][0].as_str().expect("a CA").to_owned();
    let founding = ["trust", "init", "--estate", tests::desk::ESTATE, "--ca", &ca, "--out", "thief", "--approver", "eve"];
    estate.desk().ok(&founding).expect("founded");
    let other = estate.desk().file("thief/trust.signed").display().to_string();
    let (refused, text) = trust(&estate, "EX1", &["take", &other]);
    assert!(!refused && text.contains("the trust document"), "{text}");
    estate.desk().ok(&["trust", "apply", "2.signed"]).expect("applied");

    // Who it is is forgotten; whom it believes is not.
    let (asked, text) = trust(&estate, "EX1", &["rejoin"]);
    assert!(!asked && text.contains("say --yes"), "{text}");
    let (done, text) = trust(&estate, "EX1", &["rejoin", "--yes"]);
    assert!(done && text.contains("join token of this estate"), "{text}");
    estate.invite("EX1").expect("a token");
    estate.start_agent("EX1").expect("starts");
    let waits = || estate.desk().json(&["agent", "list"]).is_ok_and(|list| list.as_array().is_some_and(|list| !list.is_empty()));
    wait::until("the machine to wait for a person", LIMIT, || wait::when(waits(), || "nobody waits".to_owned())).expect("waits");
    let waiting = estate.desk().json(&["agent", "list"]).expect("a list");
    let key =
        waiting.as_array().expect("rows").iter().find(|row| row["state"] == "pending").expect("one that waits")["key"].clone();
    estate.desk().ok(&["agent", "admit", &key.as_str().expect("a key")[..12]]).expect("admitted");
    estate.wait_connected("EX1", LIMIT).expect("joins");
    let (_, text) = trust(&estate, "EX1", &["show"]);
    assert!(text.contains("version 2"), "the floor stays: {text}");

    // And the pin itself, by a person's word.
    estate.stop_agent("EX1").expect("stops");
    let (done, text) = trust(&estate, "EX1", &["reset", "--yes"]);
    assert!(done && text.contains("compare its fingerprint"), "{text}");
    let (none, text) = trust(&estate, "EX1", &["show"]);
    assert!(!none && text.contains("none of its documents"), "{text}");
    let state = estate.agent_folder("EX1").join("state");
    let kept = fs::read_dir(&state)
        .expect("reads")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("forgotten-")));
    assert_eq!(kept.count(), 2, "nothing is deleted");
    assert!(state.join("receipts").exists(), "what was done stays known");
    estate.stop().expect("stops");
    estate.check_logs(&["wants to join", "not joined"]).expect("quiet logs");
}
