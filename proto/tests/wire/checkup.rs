//! Checkups: there and back, what is cut, and what is refused.

use policy::checkup::{Check, Checkup, Kind, Outcome, Subject};
use prost::Message;
use proto::MAX_MESSAGE;
use proto::checkup::Named;
use proto::types::{self, check};

fn checkup() -> Checkup {
    let check = |name: &str, needed, micros, outcome| Check { name: name.to_owned(), needed, micros, outcome };
    Checkup {
        at: "2026-11-20T10:00:00Z".parse().expect("a moment"),
        kind: Kind::Rehearsal,
        agent_version: "0.1.0".to_owned(),
        subject: Subject { machine_id: Some("m-1".to_owned()), system: Some("Windows 6.3.9600".to_owned()), exchange: None },
        checks: vec![
            check("store.MY", true, Some(1500), Outcome::Proven { found: "3 certificates".to_owned() }),
            check("events", false, None, Outcome::Failed { why: "denied".to_owned(), code: Some(5), next: "elevate".to_owned() }),
            check("probe", true, Some(0), Outcome::NotTried { why: "no name".to_owned() }),
            check("ipv6", false, Some(u64::MAX), Outcome::Unproven { lacks: "an address".to_owned() }),
        ],
    }
}

fn sent(named: Named) -> types::Checkup {
    let bytes = types::Checkup::from(named).encode_to_vec();
    types::Checkup::decode(bytes.as_slice()).expect("encoded a line above")
}

#[test]
fn a_checkup_arrives_as_it_was_sent_with_the_name_that_it_was_given() {
    for kind in Kind::ALL {
        let named = Named::new(Checkup { kind, ..checkup() });
        assert_eq!(Named::try_from(sent(named.clone())), Ok(named.clone()));
        let renamed = Named { id: policy::id::Sha256([7; 32]), ..named };
        assert_eq!(Named::try_from(sent(renamed.clone())), Ok(renamed));
    }
}

#[test]
fn a_checkup_that_says_too_much_is_cut_and_not_refused_and_fits_into_a_message() {
    let mut long = checkup();
    let failed = Outcome::Failed { why: "w".repeat(5000), code: None, next: "n".repeat(5000) };
    long.checks = vec![Check { name: "c".repeat(5000), needed: true, micros: None, outcome: failed }; 900];
    let whole = Named { id: long.id(), checkup: long.clone() };
    let wire = sent(whole);
    assert!(wire.encoded_len() < MAX_MESSAGE, "{}", wire.encoded_len());
    assert_eq!(Named::try_from(wire).expect("within the bounds").checkup, long.within_bounds());
}

#[test]
fn what_is_wrong_is_refused_with_its_field() {
    let long = || "x".repeat(1001);
    type Spoil = fn(&mut types::Checkup, String);
    let cases: [(&str, Spoil); 9] = [
        ("Checkup.id", |wire, _| wire.id.truncate(31)),
        ("Checkup.kind", |wire, _| wire.kind = 0),
        ("Checkup.kind", |wire, _| wire.kind = 9),
        ("Checkup.at", |wire, _| wire.at = i64::MAX),
        ("Checkup.system", |wire, long| wire.system = long),
        ("Checkup.checks", |wire, _| wire.checks.resize(201, wire.checks[0].clone())),
        ("Check.name", |wire, long| wire.checks[0].name = long),
        ("Check.outcome", |wire, _| wire.checks[0].outcome = None),
        ("Check.outcome", |wire, long| wire.checks[0].outcome = Some(check::Outcome::Proven(long))),
    ];
    for (field, change) in cases {
        let mut wire = sent(Named::new(checkup()));
        change(&mut wire, long());
        let error = Named::try_from(wire).expect_err(field).to_string();
        assert!(error.starts_with(field), "{field}: {error}");
    }
}
