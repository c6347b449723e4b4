//! What a session says to whatever it hears, one story each.

mod model;

use std::collections::{BTreeMap, BTreeSet};

use policy::checkup::{Checkup, Subject};
use policy::id::Sha256;
use policy::report::{Fact, Host, Report, Sight};

use super::*;
use proto::signed::SignedBytes;

const HOUR: Duration = Duration::from_secs(3600);

fn digest(number: u8) -> Sha256 {
    Sha256::of(&[number])
}

fn session(kept: Kept, receipts: Vec<Receipt>) -> Session {
    restarted(kept, receipts, None)
}

fn restarted(kept: Kept, receipts: Vec<Receipt>, last_end: Option<Timestamp>) -> Session {
    let speaker =
        Speaker { server: "EX1".parse().expect("a name"), machine_id: "machine".to_owned(), agent_version: "0".to_owned() };
    let held = Held { trust: Version { number: 1, id: digest(0) }, policy: None, stops: BTreeSet::new() };
    Session::new(speaker, held, kept, receipts, None, last_end)
}

fn latest(number: u8) -> Arc<Latest> {
    let host = Host {
        name: "EX1".parse().expect("a name"),
        fqdn: Fact::Known(format!("ex1.{number}.test")),
        machine_id: Fact::Known("machine".to_owned()),
        ad_site: Fact::not_observed(),
        dag: Fact::not_observed(),
    };
    let report = Report {
        host,
        exchange: Fact::not_observed(),
        setup: Fact::not_observed(),
        stores: Fact::not_observed(),
        containers: Fact::not_observed(),
        records: Fact::not_observed(),
        sites: Fact::not_observed(),
        metabase: Fact::not_observed(),
        services: Fact::not_observed(),
        machine: policy::report::Machine::not_observed(),
        probes: Vec::new(),
        hold: None,
    };
    let digest = report.digest();
    let sight = Sight { report, certificates: BTreeMap::new() };
    Arc::new(Latest { sight, digest, memory: None, decision: String::new(), seen_at: Timestamp::UNIX_EPOCH })
}

fn receipt(number: u8, outcome: Outcome) -> Receipt {
    Receipt {
        plan: digest(number),
        outcome,
        notes: Vec::new(),
        foreign: Vec::new(),
        plan_body: None,
        standing: None,
        began_at: Timestamp::UNIX_EPOCH,
        ended_at: Timestamp::from_second(i64::from(number)).expect("a moment"),
        gap_micros: 0,
        objections: Vec::new(),
    }
}

fn offer(number: u8) -> FromController {
    FromController::Offer(Offer { id: digest(number), plan: vec![number], approvals: Vec::new() })
}

fn welcome(acknowledged: Option<Acknowledged>) -> FromController {
    FromController::Welcome(Welcome {
        lineage: vec![7],
        recall: false,
        epoch: 3,
        acknowledged,
        heartbeat: Duration::from_secs(15),
        clock: Timestamp::UNIX_EPOCH,
        policy: None,
        checkups: Some(BTreeSet::new()),
    })
}

fn opened(mut session: Session) -> Session {
    session.connected(HOUR, Duration::ZERO);
    session.received(welcome(None), Duration::ZERO);
    session
}

fn sent(effects: &[Effect]) -> Vec<&ToController> {
    effects.iter().filter_map(|effect| if let Effect::Send(message) = effect { Some(message) } else { None }).collect()
}

fn acknowledge(generation: Generation) -> FromController {
    FromController::ReportAcknowledged { generation, wanted: Vec::new(), audit: None }
}

#[test]
fn the_look_after_a_run_is_told_once_although_it_reads_as_before() {
    let reports = |effects: &[Effect]| -> Vec<Generation> {
        let told = |message: &&ToController| {
            if let ToController::Report { generation, .. } = message { Some(*generation) } else { None }
        };
        sent(effects).iter().filter_map(told).collect()
    };
    let mut session = opened(session(Kept::default(), Vec::new()));
    let first = reports(&session.looked(latest(1), Duration::ZERO));
    session.received(acknowledge(first[0]), Duration::ZERO);
    assert!(reports(&session.looked(latest(1), Duration::ZERO)).is_empty(), "nothing changed");

    session.settled(receipt(9, Outcome::Refused), Duration::ZERO);
    assert!(reports(&session.looked(latest(1), Duration::ZERO)).is_empty(), "a refusal did nothing");
    session.settled(receipt(10, Outcome::Restored), Duration::ZERO);
    assert!(reports(&session.looked(latest(1), Duration::ZERO)).is_empty(), "a look from before the end shows nothing");
    let after = Arc::new(Latest { seen_at: Timestamp::from_second(11).expect("a moment"), ..latest(1).as_ref().clone() });
    let again = reports(&session.looked(after.clone(), Duration::ZERO));
    assert_eq!(again.len(), 1);
    session.received(acknowledge(again[0]), Duration::ZERO);
    assert!(reports(&session.looked(after, Duration::ZERO)).is_empty(), "once is enough");
}

#[test]
fn a_host_that_reads_as_before_is_told_again_when_something_else_is_remembered_of_it() {
    let remembering = |memory: LastKnown| Arc::new(Latest { memory: Some(memory), ..latest(1).as_ref().clone() });
    let other = LastKnown { machine_id: Some("machine".to_owned()), ..LastKnown::default() };
    let report = |effects: &[Effect]| match sent(effects)[..] {
        [ToController::Report { generation, .. }] => Some(*generation),
        _ => None,
    };
    let mut session = opened(session(Kept::default(), Vec::new()));
    let first = report(&session.looked(remembering(LastKnown::default()), Duration::ZERO)).expect("never told");
    session.received(acknowledge(first), Duration::ZERO);
    assert_eq!(report(&session.looked(remembering(LastKnown::default()), Duration::ZERO)), None);

    let second = report(&session.looked(remembering(other), Duration::ZERO)).expect("it remembers something else");
    // What it remembers meanwhile waits until that is on disk.
    assert_eq!(report(&session.looked(remembering(LastKnown::default()), Duration::ZERO)), None);
    let third = report(&session.received(acknowledge(second), Duration::ZERO)).expect("it remembers something else again");
    session.received(acknowledge(third), Duration::ZERO);
    assert_eq!(report(&session.looked(latest(1), Duration::ZERO)), None, "a look that remembers nothing says nothing new");
}

#[test]
fn a_session_that_is_shortened_ends_by_then_and_is_not_made_longer_by_it() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut session = opened(session(Kept::default(), Vec::new()));
    session.shorten(minutes(5), minutes(1));
    session.shorten(minutes(30), minutes(2));
    let ends = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Reconnect(_)));
    assert!(!ends(&session.tick(minutes(6) - Duration::from_secs(1))));
    assert!(ends(&session.tick(minutes(6))));
}

#[test]
fn the_lineage_is_kept_before_anything_is_said_after_the_welcome() {
    let mut session = session(Kept::default(), vec![receipt(1, Outcome::Restored)]);
    session.looked(latest(1), Duration::ZERO);
    session.connected(HOUR, Duration::ZERO);
    let effects = session.received(welcome(None), Duration::ZERO);
    assert!(matches!(&effects[0], Effect::Keep(kept) if kept.lineage == [7] && kept.generation.epoch == 3));
    assert!(matches!(sent(&effects)[..], [ToController::Receipt(_), ToController::Report { .. }]));
}

#[test]
fn a_controller_that_was_put_back_is_told_what_is_held_and_every_receipt_again() {
    let mut session = session(Kept::default(), Vec::new());
    session.connected(HOUR, Duration::ZERO);
    let FromController::Welcome(asked) = welcome(None) else { unreachable!("a welcome") };
    let effects = session.received(FromController::Welcome(Welcome { recall: true, ..asked }), Duration::ZERO);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Recall)), "{effects:?}");
    let remembered = Remembered { trust: SignedBytes::unsigned(vec![1]), policy: None, stops: Vec::new() };
    let kept = vec![receipt(1, Outcome::Restored), receipt(2, Outcome::Undone)];
    let effects = session.recalled(remembered.clone(), kept.clone(), Duration::ZERO);
    assert!(matches!(sent(&effects)[..], [ToController::Remembered(_), ToController::Receipt(_), ToController::Receipt(_)]));
    let settled = session.received(FromController::ReceiptAcknowledged(digest(1)), Duration::ZERO);
    assert!(settled.iter().any(|effect| matches!(effect, Effect::Settle(plan) if *plan == digest(1))), "{settled:?}");
    // The line went meanwhile: the next welcome asks again.
    session.disconnected(0.0, Duration::ZERO);
    assert!(session.recalled(remembered, kept, Duration::ZERO).is_empty());
}

#[test]
fn nothing_but_the_hello_is_said_before_the_welcome() {
    let mut session = session(Kept::default(), Vec::new());
    assert!(matches!(sent(&session.connected(HOUR, Duration::ZERO))[..], [ToController::Hello(_)]));
    assert!(session.looked(latest(1), Duration::ZERO).is_empty());
    assert!(session.settled(receipt(1, Outcome::Restored), Duration::ZERO).is_empty());
    assert!(session.received(offer(2), Duration::ZERO).is_empty());
}

#[test]
fn after_a_restart_the_proof_of_the_last_plan_is_told_although_the_controller_has_that_report() {
    let known = Acknowledged { generation: Generation { epoch: 3, counter: 9 }, digest: latest(1).digest };
    let mut session = restarted(Kept::default(), Vec::new(), Some(Timestamp::UNIX_EPOCH));
    session.connected(HOUR, Duration::ZERO);
    session.received(welcome(Some(known)), Duration::ZERO);
    let effects = session.looked(latest(1), Duration::ZERO);
    assert!(matches!(sent(&effects)[..], [ToController::Report { .. }]), "{effects:?}");
}

#[test]
fn a_report_that_the_controller_has_is_not_sent_again_after_a_restart() {
    let known = Acknowledged { generation: Generation { epoch: 3, counter: 9 }, digest: latest(1).digest };
    let mut session = session(Kept::default(), Vec::new());
    session.connected(HOUR, Duration::ZERO);
    session.received(welcome(Some(known)), Duration::ZERO);
    assert!(session.looked(latest(1), Duration::ZERO).is_empty());
    let effects = session.looked(latest(2), Duration::ZERO);
    let [ToController::Report { generation, .. }] = sent(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(*generation, Generation { epoch: 3, counter: 10 }, "above what the controller knows");
}

#[test]
fn while_a_report_is_on_its_way_only_the_newest_look_waits() {
    let mut session = opened(session(Kept::default(), Vec::new()));
    let effects = session.looked(latest(1), Duration::ZERO);
    let [ToController::Report { generation, .. }] = sent(&effects)[..] else { panic!("{effects:?}") };
    let first = *generation;
    assert!(session.looked(latest(2), Duration::ZERO).is_empty());
    assert!(session.looked(latest(3), Duration::ZERO).is_empty());
    let effects = session.received(acknowledge(first), Duration::ZERO);
    let [ToController::Report { latest: told, .. }] = sent(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(told.digest, latest(3).digest);
    assert!(session.received(acknowledge(first), Duration::ZERO).is_empty(), "a doubled acknowledgement is for nothing");
}

#[test]
fn silence_ends_a_session_and_a_quiet_one_beats() {
    let mut session = opened(session(Kept::default(), Vec::new()));
    assert_eq!(session.due(), Some(Duration::from_secs(15)));
    assert!(matches!(sent(&session.tick(Duration::from_secs(15)))[..], [ToController::Heartbeat(None)]));
    session.looked(latest(1), Duration::from_secs(16));
    session.tick(Duration::from_secs(30));
    assert!(matches!(session.tick(Duration::from_secs(46))[..], [Effect::Reconnect(_)]));
}

#[test]
fn waits_grow_until_a_session_held() {
    let mut session = session(Kept::default(), Vec::new());
    assert_eq!(session.disconnected(1.0, Duration::ZERO), Duration::from_millis(500));
    assert_eq!(session.disconnected(1.0, Duration::ZERO), Duration::from_secs(1));
    let mut session = opened(session);
    assert_eq!(session.disconnected(1.0, Duration::from_secs(5)), Duration::from_secs(2), "a short session is no good one");
    let mut session = opened(session);
    assert_eq!(session.disconnected(1.0, Duration::from_secs(300)), Duration::from_millis(500));
}

#[test]
fn an_offer_runs_once_and_whatever_is_said_about_it_is_true() {
    let mut session = opened(session(Kept::default(), Vec::new()));
    assert!(matches!(&session.received(offer(1), Duration::ZERO)[..], [Effect::Run(offer)] if offer.id == digest(1)));
    assert!(session.received(offer(1), Duration::ZERO).is_empty(), "not admitted yet: not running");
    assert!(matches!(sent(&session.began(digest(1)))[..], [ToController::Running(_)]));
    assert!(matches!(sent(&session.received(offer(1), Duration::ZERO))[..], [ToController::Running(_)]));
    let busy = session.received(offer(2), Duration::ZERO);
    assert!(matches!(sent(&busy)[..], [ToController::Busy { at_work, .. }] if *at_work == digest(1)));
    let ended = session.settled(receipt(1, Outcome::Restored), Duration::ZERO);
    assert!(matches!(sent(&ended)[..], [ToController::Receipt(_)]));
    assert!(session.received(offer(1), Duration::ZERO).is_empty(), "its receipt is on its way");
    assert!(matches!(
        session.received(FromController::ReceiptAcknowledged(digest(1)), Duration::ZERO)[..],
        [Effect::Settle(plan)] if plan == digest(1)
    ));
    assert!(session.received(FromController::ReceiptAcknowledged(digest(1)), Duration::ZERO).is_empty());
    assert!(matches!(session.received(offer(2), Duration::ZERO)[..], [Effect::Run(_)]));
}

#[test]
fn the_acknowledgement_of_a_refusal_does_not_count_for_what_was_done_after_it() {
    let mut session = opened(session(Kept::default(), Vec::new()));
    let told = |effects: &[Effect]| -> Vec<Outcome> {
        let of = |effect: &Effect| {
            if let Effect::Send(ToController::Receipt(receipt)) = effect { Some(receipt.outcome) } else { None }
        };
        effects.iter().filter_map(of).collect()
    };
    assert_eq!(told(&session.settled(receipt(1, Outcome::Refused), Duration::ZERO)), [Outcome::Refused]);
    // The agent made the same plan itself before its refusal was acknowledged.
    assert_eq!(told(&session.settled(receipt(1, Outcome::Restored), Duration::ZERO)), []);
    let effects = session.received(FromController::ReceiptAcknowledged(digest(1)), Duration::ZERO);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Settle(_))), "{effects:?}");
    assert_eq!(told(&effects), [Outcome::Restored]);
    let effects = session.received(FromController::ReceiptAcknowledged(digest(1)), Duration::ZERO);
    assert!(matches!(effects[..], [Effect::Settle(plan)] if plan == digest(1)), "{effects:?}");
}

#[test]
fn an_offer_that_was_turned_away_for_nothing_is_asked_for_again() {
    let mut session = opened(session(Kept::default(), Vec::new()));
    session.starts(digest(1));
    assert!(session.gave_up(digest(1)).is_empty(), "nobody waits");
    session.starts(digest(1));
    assert!(matches!(sent(&session.received(offer(2), Duration::ZERO))[..], [ToController::Busy { .. }]));
    assert!(matches!(session.gave_up(digest(1))[..], [Effect::Reconnect(_)]));
    assert_eq!(session.at_work(), None);
}

#[test]
fn certificates_that_are_wanted_before_the_first_look_follow_it() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let der = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").der().to_vec();
    let certificate = policy::certificate::Certificate::from_der(&der).expect("reads");
    let mut seen = (*latest(1)).clone();
    seen.sight.certificates.insert(certificate.id(), certificate.clone());
    let generation = Generation { epoch: 3, counter: 9 };
    let known = Acknowledged { generation, digest: seen.digest };
    let mut session = session(Kept::default(), Vec::new());
    session.connected(HOUR, Duration::ZERO);
    session.received(welcome(Some(known)), Duration::ZERO);
    let wanted = FromController::ReportAcknowledged { generation, wanted: vec![certificate.id(), digest(9)], audit: None };
    assert!(session.received(wanted, Duration::ZERO).is_empty());
    let effects = session.looked(Arc::new(seen), Duration::ZERO);
    assert!(matches!(sent(&effects)[..], [ToController::Certificates(told)] if told[..] == [der]));
}

#[test]
fn refusals_are_bounded_and_what_was_done_is_never_dropped() {
    let mut session = session(Kept::default(), vec![receipt(0, Outcome::Restored)]);
    for number in 1..=200 {
        session.settled(receipt(number, Outcome::Refused), Duration::ZERO);
    }
    assert_eq!(session.receipts.len(), MAX_REFUSALS + 1);
    assert!(session.receipts.contains_key(&digest(0)) && session.receipts.contains_key(&digest(200)));
}

#[test]
fn documents_that_changed_during_the_hello_are_told_after_the_welcome() {
    let mut session = session(Kept::default(), Vec::new());
    session.connected(HOUR, Duration::ZERO);
    let held = Held { trust: Version { number: 2, id: digest(9) }, policy: None, stops: BTreeSet::new() };
    assert!(session.held(held.clone()).is_empty());
    let effects = session.received(welcome(None), Duration::ZERO);
    assert!(matches!(sent(&effects)[..], [ToController::Held(told)] if *told == held));
}

fn checkup(kind: Kind, second: i64) -> Arc<Named> {
    let at = Timestamp::from_second(second).expect("a moment");
    Arc::new(Named::new(Checkup { at, kind, agent_version: String::new(), subject: Subject::default(), checks: Vec::new() }))
}

fn told(effects: &[Effect]) -> Vec<Sha256> {
    let id = |message: &&ToController| if let ToController::Checkup(named) = message { Some(named.id) } else { None };
    sent(effects).iter().filter_map(id).collect()
}

fn welcome_with(checkups: Option<BTreeSet<Sha256>>) -> FromController {
    let FromController::Welcome(welcome) = welcome(None) else { panic!("a welcome") };
    FromController::Welcome(Welcome { checkups, ..welcome })
}

#[test]
fn a_checkup_is_told_until_it_is_acknowledged_and_the_next_one_takes_its_place() {
    let (first, second) = (checkup(Kind::Look, 1), checkup(Kind::Look, 2));
    let mut session = opened(session(Kept::default(), Vec::new()));
    assert_eq!(told(&session.examined(first.clone(), Duration::ZERO)), [first.id]);
    assert!(session.examined(first.clone(), Duration::ZERO).is_empty(), "it is on its way");
    assert!(matches!(session.tick(ANSWER_LIMIT)[..], [Effect::Reconnect(_)]));

    session.disconnected(0.0, Duration::ZERO);
    session.connected(HOUR, Duration::ZERO);
    assert_eq!(told(&session.received(welcome(None), Duration::ZERO)), [first.id], "no controller has it");
    session.received(FromController::CheckupAcknowledged(first.id), Duration::ZERO);
    assert!(session.examined(first, Duration::ZERO).is_empty(), "it is on disk");
    assert_eq!(told(&session.examined(second.clone(), Duration::ZERO)), [second.id]);
}

#[test]
fn a_controller_is_told_only_what_it_does_not_have() {
    let (look, rehearsal) = (checkup(Kind::Look, 1), checkup(Kind::Rehearsal, 1));
    let mut session = session(Kept::default(), Vec::new());
    assert!(session.examined(look.clone(), Duration::ZERO).is_empty(), "nobody is there");
    session.examined(rehearsal.clone(), Duration::ZERO);
    session.connected(HOUR, Duration::ZERO);
    let effects = session.received(welcome_with(Some(BTreeSet::from([look.id]))), Duration::ZERO);
    assert_eq!(told(&effects), [rehearsal.id]);
}

#[test]
fn a_controller_that_is_older_than_checkups_is_told_none() {
    let mut session = session(Kept::default(), Vec::new());
    session.connected(HOUR, Duration::ZERO);
    session.received(welcome_with(None), Duration::ZERO);
    assert!(session.examined(checkup(Kind::Look, 1), Duration::ZERO).is_empty());
    assert!(session.received(FromController::CheckupAcknowledged(Sha256([1; 32])), Duration::ZERO).is_empty());
}
