//! Peer checks (rule of restraint 11): what other servers are shown on a server's 444, as evidence for *confirmed*, and as findings of
//! what no host sees of itself.

use std::time::Duration;

use proto::operator::{GetServerResponse, Plan};
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

fn estate(rules: &str) -> Estate {
    let servers = ["EX1", "EX2", "EX3"].map(|name| (name, Some("DAG1"))).into();
    let setup = Setup { servers, policy: Some(rules.to_owned()), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}

/// Waits until those who look at EX1 have said these words, in the order of their names.
fn wait_words(estate: &Estate, wanted: &[(&str, &str)]) -> GetServerResponse {
    let said = |response: &GetServerResponse| -> Vec<(String, String)> {
        response.peers.iter().map(|check| (check.peer.clone(), check.word.clone())).collect()
    };
    let wanted: Vec<(String, String)> = wanted.iter().map(|(peer, word)| ((*peer).to_owned(), (*word).to_owned())).collect();
    estate
        .wait_server("EX1", "the words of its peers", LIMIT, |response| {
            if said(response) == wanted {
                wait::Look::Found(response.clone())
            } else {
                wait::Look::NotYet(format!("{:?}", response.peers))
            }
        })
        .expect("said")
}

/// A renewal of EX1 that two approved.
fn renewal(estate: &Estate) -> Plan {
    estate.host("EX1").expect("a host").damage(&Damage::Expiring { days: 20 }).expect("ages");
    let plan = estate.wait_plan("EX1", "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan");
    estate.desk().approve(&hex(&plan.id), "anna", "CHG-1").expect("approved");
    plan
}

#[test]
fn a_renewal_is_confirmed_when_the_others_are_shown_it_too() {
    let mut estate = estate(&policy("propose"));
    wait_words(&estate, &[("EX2", "agrees"), ("EX3", "agrees")]);
    let plan = renewal(&estate);
    let done = |found: &Plan| found.id == plan.id && found.life == "confirmed";
    let row = estate.wait_plan("EX1", "confirmed", LIMIT, done).expect("confirmed");
    assert_eq!(row.waits_for, "healthy 1s after it was restored; EX2, EX3 are shown it too");
    let shown = estate.desk().ok(&["server", "show", "EX1"]).expect("shown");
    assert!(shown.contains("seen from outside:\n    EX2 is shown the certificate of EX1 on 444\n    EX3 is shown"), "{shown}");
    let why = estate.desk().ok(&["explain", "EX1"]).expect("explained");
    assert!(why.contains("EX3 is shown the certificate of EX1 on 444"), "{why}");

    // The agent of EX1 is gone; what its 444 shows is known all the same.
    estate.kill_agent("EX1").expect("killed");
    estate.host("EX1").expect("a host").damage(&Damage::RemoveRecord).expect("lost");
    let response = wait_words(&estate, &[("EX2", "differs"), ("EX3", "differs")]);
    assert!(!response.server.expect("a server").connected);
    estate.stop().expect("stops");
    estate.check_logs(&["an agent fell silent"]).expect("quiet logs");
}

#[test]
fn a_firewall_between_two_servers_is_found_and_holds_up_only_what_it_came_after() {
    let rules = policy("propose").replace("soak = \"1s\"", "soak = \"4s\"");
    let mut estate = estate(&rules);
    let (ex2, ex1) = (estate.host("EX2").expect("a host"), "EX1".parse().expect("a name"));
    wait_words(&estate, &[("EX2", "agrees"), ("EX3", "agrees")]);
    let block = Damage::Block { to: ex1 };
    ex2.damage(&block).expect("blocked");
    let response = wait_words(&estate, &[("EX2", "differs"), ("EX3", "agrees")]);
    let server = response.server.expect("a server");
    assert_eq!(server.verdict, "healthy", "the certificate is in order: {:?}", response.findings);
    estate
        .wait_server("EX1", "BST502", LIMIT, |response| {
            let found = response.findings.iter().find(|finding| finding.code == "BST502").cloned();
            found.map_or_else(|| wait::Look::NotYet(format!("{:?}", response.findings)), wait::Look::Found)
        })
        .map(|finding| assert_eq!(finding.evidence, ["EX2 does not reach 444 of EX1: timed out"]))
        .expect("found");

    // It stood before the renewal, which EX3 confirms.
    let plan = renewal(&estate);
    let confirmed = |found: &Plan| found.id == plan.id && found.life == "confirmed";
    let row = estate.wait_plan("EX1", "confirmed", LIMIT, confirmed).expect("confirmed");
    assert_eq!(row.waits_for, "healthy 4s after it was restored; EX3 is shown it too");

    // One that comes with a renewal holds that up, and the turn of its group, until it is gone.
    ex2.heal().expect("healed");
    wait_words(&estate, &[("EX2", "agrees"), ("EX3", "agrees")]);
    let plan = renewal(&estate);
    let restored = |found: &Plan| found.id == plan.id && found.life == "restored";
    estate.wait_plan("EX1", "restored", LIMIT, restored).expect("done");
    ex2.damage(&block).expect("blocked");
    let held = |found: &Plan| restored(found) && found.waits_for.starts_with("EX2 does not reach 444 of EX1");
    estate.wait_plan("EX1", "held up by EX2", LIMIT, held).expect("held up");
    ex2.heal().expect("healed");
    let confirmed = |found: &Plan| found.id == plan.id && found.life == "confirmed";
    let row = estate.wait_plan("EX1", "confirmed", LIMIT, confirmed).expect("confirmed");
    assert_eq!(row.waits_for, "healthy 4s after it was restored; EX2, EX3 are shown it too");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn without_peers_by_policy_nobody_looks() {
    let rules = policy("propose").replace("[peers]\nevery = \"1s\"", "[peers]\ncount = 0\nevery = \"1s\"");
    let mut estate = estate(&rules);
    let plan = renewal(&estate);
    let done = |found: &Plan| found.id == plan.id && found.life == "confirmed";
    let row = estate.wait_plan("EX1", "confirmed", LIMIT, done).expect("confirmed");
    assert_eq!(row.waits_for, "healthy 1s after it was restored; no other agent could say");
    wait_words(&estate, &[]);
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
