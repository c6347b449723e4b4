use std::collections::BTreeSet;

use policy::id::Sha256;
use policy::life::Life;

use super::*;
use crate::audit::Head;
use crate::stage::{certificate, generation, key, looked, noon, server, sight};
use crate::store::IdentityState;

fn identity() -> Identity {
    Identity {
        key_id: key("EX1"),
        server: server("EX1"),
        machine_id: "machine-EX1".to_owned(),
        state: IdentityState::Active,
        why: String::new(),
        certificate: Sha256([1; 32]),
        not_after: noon(),
        lineage: vec![2; 16],
        previous_lineage: vec![1; 16],
        epoch: 3,
        enrolled_at: noon(),
        changed_at: noon(),
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        server: server("EX1"),
        machine_id: "machine-EX1".to_owned(),
        agent_version: "0.1.0".to_owned(),
        lineage: vec![2; 16],
        held: Held::default(),
        stops: BTreeSet::new(),
        audit: None,
    }
}

fn begun(on_disk: Option<(Generation, Sha256)>) -> Session {
    Session::begin(&server("EX1"), &hello(), &identity(), on_disk, false, Head::EMPTY).expect("welcome")
}

fn told(counter: u64) -> Told {
    let made = certificate("EX1", (2030, 1, 1));
    Told {
        generation: generation(3, counter),
        report: sight("EX1", &made).report,
        memory: None,
        said: String::new(),
        seen_at: noon(),
    }
}

fn refused(change: impl FnOnce(&mut Hello), alive: bool) -> Breach {
    let mut hello = hello();
    change(&mut hello);
    Session::begin(&server("EX1"), &hello, &identity(), None, alive, Head::EMPTY).expect_err("must be refused")
}

fn offer(byte: u8, cancelled: bool) -> Offer {
    Offer { id: Sha256([byte; 32]), body: vec![byte], life: Life::Offered, cancelled, approvals: Vec::new() }
}

fn said(effects: &[Effect]) -> Vec<&Say> {
    effects.iter().filter_map(|effect| if let Effect::Say(say) = effect { Some(say) } else { None }).collect()
}

#[test]
fn a_hello_that_names_another_server_than_the_certificate_is_refused() {
    let breach = refused(|hello| hello.server = server("EX2"), false);
    assert_eq!(breach, Breach::OtherServer { expected: server("EX1"), found: server("EX2") });
    assert!(breach.is_about_identity() && !breach.quarantines());
}

#[test]
fn another_protocol_is_refused() {
    assert_eq!(refused(|hello| hello.protocol = 2, false), Breach::Protocol(2));
}

#[test]
fn the_lineage_of_this_session_or_the_one_before_is_welcome() {
    for lineage in [vec![2; 16], vec![1; 16]] {
        assert!(Session::begin(&server("EX1"), &Hello { lineage, ..hello() }, &identity(), None, true, Head::EMPTY).is_ok());
    }
}

#[test]
fn an_older_lineage_is_quarantined_unless_the_unbroken_one_is_connected() {
    for lineage in [vec![], vec![0; 16]] {
        assert!(refused(|hello| hello.lineage.clone_from(&lineage), false).quarantines());
        let beside = refused(|hello| hello.lineage.clone_from(&lineage), true);
        assert!(beside.is_about_identity() && !beside.quarantines(), "the newcomer goes, the machine with the session stays");
    }
}

#[test]
fn an_identity_whose_lineage_was_lost_or_forgiven_begins_with_whatever_is_presented() {
    let forgiven = Identity { lineage: Vec::new(), previous_lineage: Vec::new(), ..identity() };
    for lineage in [vec![], vec![9; 16]] {
        assert!(Session::begin(&server("EX1"), &Hello { lineage, ..hello() }, &forgiven, None, true, Head::EMPTY).is_ok());
    }
}

#[test]
fn where_the_agent_saw_more_of_the_trail_than_there_is_the_store_is_old_and_no_machine_a_clone() {
    let here = Head { sequence: 7, hash: Sha256([7; 32]) };
    let judged = |seen| {
        let hello = Hello { lineage: vec![9; 16], audit: Some(Head { sequence: seen, ..here }), ..hello() };
        Session::begin(&server("EX1"), &hello, &identity(), None, false, here).expect_err("must be refused")
    };
    assert!(matches!(judged(8), Breach::OlderStore { seen: 8, here: 7, .. }) && !judged(8).quarantines());
    assert!(judged(7).quarantines());
}

#[test]
fn what_an_agent_tells_a_store_that_was_put_back_is_taken_and_everything_read_anew() {
    let held = Sha256::of(b"held");
    let hello = Hello { stops: BTreeSet::from([held]), audit: Some(Head { sequence: 9, hash: held }), ..hello() };
    let mut session = Session::begin(&server("EX1"), &hello, &identity(), None, false, Head::EMPTY).expect("welcome");
    let welcome = session.welcome(vec![3; 16], None, BTreeSet::new(), Head::EMPTY, Vec::new(), true);
    assert!(matches!(said(&welcome)[0], Say::Welcome(welcome) if welcome.recall));
    let stops = vec![b"held".to_vec(), b"made up".to_vec()];
    let remembered = Remembered { trust: SignedBytes::unsigned(Vec::new()), policy: None, stops };
    let effects = session.on(Said::Remembered(Box::new(remembered))).expect("taken");
    let [Effect::Adopt(taken, Some(seen)), Effect::ReadDocuments, Effect::ReadStops, Effect::ReadOffers, Effect::Look] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (taken.stops.as_slice(), seen.sequence),
        ([b"held".to_vec()].as_slice(), 9),
        "what it does not say it holds is not taken"
    );
}

#[test]
fn a_machine_with_a_copied_key_is_refused() {
    assert!(refused(|hello| hello.machine_id = "machine-clone".to_owned(), false).quarantines());
    assert!(!refused(|hello| hello.machine_id = "machine-clone".to_owned(), true).quarantines());
}

#[test]
fn a_second_hello_is_out_of_order() {
    assert!(matches!(begun(None).on(Said::Hello(hello())), Err(Breach::Order { .. })));
}

#[test]
fn a_report_is_acknowledged_only_after_it_was_recorded() {
    let mut session = begun(None);
    let report = told(1);
    let (generation, digest) = (report.generation, report.report.digest());
    let effects = session.on(Said::Report(Box::new(report))).expect("taken");
    assert!(matches!(effects.as_slice(), [Effect::Record(_)]), "nothing is said before the commit: {effects:?}");
    let effects = session.recorded(generation, digest, BTreeSet::new(), Head::EMPTY);
    assert!(matches!(said(&effects).as_slice(), [Say::ReportAcknowledged { .. }]));
}

#[test]
fn a_report_said_twice_is_acknowledged_twice() {
    let report = told(4);
    let mut session = begun(Some((report.generation, report.report.digest())));
    assert!(matches!(session.on(Said::Report(Box::new(report))).expect("taken").as_slice(), [Effect::Record(_)]));
}

#[test]
fn an_older_report_and_another_of_the_same_generation_are_refused() {
    let report = told(4);
    let mut session = begun(Some((generation(3, 5), report.report.digest())));
    let breach = session.on(Said::Report(Box::new(report))).expect_err("older");
    assert_eq!(breach.to_string(), "report of EX1: expected a generation above 3.5, found 3.4");
    let mut other = told(5);
    other.report.hold = Some("held".to_owned());
    assert!(matches!(session.on(Said::Report(Box::new(other))), Err(Breach::OtherReport { .. })));
}

#[test]
fn a_report_of_an_epoch_that_was_never_given_is_refused() {
    let report = Told { generation: generation(4, 1), ..told(1) };
    assert_eq!(
        begun(None).on(Said::Report(Box::new(report))).expect_err("epoch"),
        Breach::Epoch { server: server("EX1"), expected: 3, found: 4 }
    );
}

#[test]
fn a_report_about_another_host_is_refused() {
    let made = certificate("EX2", (2030, 1, 1));
    let report = Told { report: sight("EX2", &made).report, ..told(1) };
    assert!(matches!(begun(None).on(Said::Report(Box::new(report))), Err(Breach::OtherServer { .. })));
}

#[test]
fn certificates_that_nobody_asked_for_are_not_kept() {
    let mut session = begun(None);
    let (asked, other) = (certificate("EX1", (2030, 1, 1)), certificate("EX1", (2031, 1, 1)));
    let report = told(1);
    session.recorded(report.generation, report.report.digest(), BTreeSet::from([asked.id()]), Head::EMPTY);
    let effects = session.on(Said::Certificates(vec![other.der().to_vec(), asked.der().to_vec()])).expect("taken");
    assert!(matches!(effects.as_slice(), [Effect::Keep(kept), Effect::Look] if *kept == [asked.der().to_vec()]));
    // Sent again, it is not asked for any more.
    assert!(session.on(Said::Certificates(vec![asked.der().to_vec()])).expect("taken").is_empty());
    assert!(matches!(session.on(Said::Certificates(vec![vec![0; MAX_DER + 1]])), Err(Breach::LargeCertificate(_))));
}

#[test]
fn certificates_that_were_lost_with_the_last_session_are_asked_for_again() {
    let mut session = begun(Some((generation(3, 5), Sha256([5; 32]))));
    let wanted = BTreeSet::from([Sha256([6; 32])]);
    let effects = session.welcome(vec![3; 16], None, wanted.clone(), Head::EMPTY, vec![Sha256([4; 32])], false);
    let says = said(&effects);
    assert!(matches!(says[0], Say::Welcome(welcome) if welcome.acknowledged == Some((generation(3, 5), Sha256([5; 32])))));
    assert!(matches!(says[1], Say::ReportAcknowledged { wanted: asked, .. } if *asked == wanted));
}

#[test]
fn a_checkup_is_acknowledged_when_it_is_on_disk_and_the_welcome_names_what_is() {
    let mut session = begun(None);
    let welcome = session.welcome(vec![3; 16], None, BTreeSet::new(), Head::EMPTY, vec![Sha256([4; 32])], false);
    assert!(matches!(said(&welcome)[0], Say::Welcome(welcome) if welcome.checkups == [Sha256([4; 32])]));
    let named = looked(noon());
    let effects = session.on(Said::Checkup(Box::new(named.clone()))).expect("taken");
    assert!(matches!(effects.as_slice(), [Effect::File(filed)] if **filed == named), "{effects:?}");
    assert_eq!(said(&session.filed(named.id)), [&Say::CheckupAcknowledged(named.id)]);
}

#[test]
fn an_offer_is_said_once_until_the_agent_was_busy() {
    let mut session = begun(None);
    assert_eq!(said(&session.offers(vec![offer(1, false)])).len(), 1);
    assert!(session.offers(vec![offer(1, false)]).is_empty());
    session.on(Said::Busy { offered: Sha256([1; 32]), at_work: Sha256([2; 32]) }).expect("taken");
    assert_eq!(said(&session.offers(vec![offer(1, false)])).len(), 1, "asked again when the other plan has its receipt");
}

#[test]
fn a_plan_that_is_wanted_back_is_called_back_once_and_not_offered() {
    let mut session = begun(None);
    assert!(matches!(said(&session.offers(vec![offer(1, true)])).as_slice(), [Say::Cancel(_)]));
    assert!(session.offers(vec![offer(1, true)]).is_empty());
}

#[test]
fn a_receipt_is_acknowledged_only_after_it_was_settled() {
    let mut session = begun(None);
    let receipt = crate::stage::receipt(Sha256([1; 32]), policy::receipt::Outcome::Restored, noon());
    assert!(matches!(session.on(Said::Receipt(Box::new(receipt))).expect("taken").as_slice(), [Effect::Settle(_)]));
    assert!(matches!(said(&session.settled(Sha256([1; 32]))).as_slice(), [Say::ReceiptAcknowledged(_)]));
}

#[test]
fn documents_are_sent_when_the_agent_holds_older_ones_and_once_per_session() {
    let document = |version| Document { id: Sha256([1; 32]), version, signed: SignedBytes::unsigned(Vec::new()) };
    let mut session = begun(None);
    session.on(Said::Held(Held { trust_version: 2, policy_version: 5, ..Held::default() }, BTreeSet::new())).expect("taken");
    let chain = || (1..=4).map(document).collect::<Vec<_>>();
    let effects = session.documents(chain(), Some(document(5)));
    assert_eq!(said(&effects).len(), 2, "trust 3 and 4, in order, and no policy that it holds");
    assert!(session.documents(chain(), Some(document(5))).is_empty(), "an agent that refuses one is not sent it for ever");
    assert_eq!(said(&session.documents(Vec::new(), Some(document(6)))).len(), 1);
}

#[test]
fn a_stop_is_told_once_in_a_session_to_whom_it_does_not_hold_and_a_yes_to_whom_it_holds() {
    let (first, second) = (Sha256::of(b"one"), Sha256::of(b"two"));
    let stops = || vec![(first, b"one".to_vec()), (second, b"two".to_vec())];
    let hello = Hello { stops: BTreeSet::from([first]), ..hello() };
    let mut session = Session::begin(&server("EX1"), &hello, &identity(), None, false, Head::EMPTY).expect("welcome");
    assert_eq!(said(&session.stops(stops(), Vec::new())), [&Say::Stop(b"two".to_vec())]);
    assert!(session.stops(stops(), Vec::new()).is_empty());
    let effects = session.on(Said::Held(Held::default(), BTreeSet::from([first, second]))).expect("taken");
    assert!(matches!(&effects[..], [Effect::Note(_, stops), Effect::LookIfAwaited] if stops.len() == 2));
    assert_eq!(session.stopped(), &BTreeSet::from([first, second]));
    let yes = SignedBytes::unsigned(b"yes".to_vec());
    assert_eq!(said(&session.stops(Vec::new(), vec![yes.clone()])), [&Say::Resume(yes.clone())]);
    assert!(session.stops(Vec::new(), vec![yes]).is_empty());
    // Another session begins anew: what was not confirmed may not have arrived.
    let mut next = Session::begin(&server("EX1"), &hello, &identity(), None, false, Head::EMPTY).expect("welcome");
    assert_eq!(said(&next.stops(stops(), Vec::new())), [&Say::Stop(b"two".to_vec())]);
}

#[test]
fn whom_to_look_at_is_told_when_it_changes_and_of_nobody_else_a_word_is_taken() {
    let target = |name: &str, question: u8| Target {
        server: server(name),
        fqdn: format!("{name}.contoso.test"),
        question: Sha256([question; 32]),
    };
    let mut session = begun(None);
    let wanted = vec![target("EX2", 1), target("EX3", 1)];
    assert_eq!(said(&session.peers(wanted.clone())), [&Say::Peers(wanted.clone())]);
    assert!(session.peers(wanted).is_empty(), "told already");
    let asked_anew = vec![target("EX2", 2)];
    assert_eq!(said(&session.peers(asked_anew.clone())), [&Say::Peers(asked_anew)]);
    let seen =
        |name: &str| Seen { server: server(name), question: Sha256([2; 32]), outcome: policy::report::ProbeOutcome::Refused };
    let effects = session.on(Said::PeerSeen(seen("EX2"))).expect("no breach");
    assert!(matches!(effects.as_slice(), [Effect::Witness(word)] if *word == seen("EX2")), "{effects:?}");
    // EX3 is not asked about any more, EX4 never was.
    for name in ["EX3", "EX4"] {
        assert!(session.on(Said::PeerSeen(seen(name))).expect("no breach").is_empty());
    }
}
