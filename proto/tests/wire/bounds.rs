//! One table per kind of wrong: what is done to a good message, and the field that must be named.

use policy::receipt::Receipt;
use policy::report::Report;
use proto::agent::{self, probe, store};
use proto::invalid::Invalid;
use proto::signed::SignedBytes;
use proto::types;
use tonic::{Code, Status};

use crate::sample;

type Change<T = agent::Report> = fn(&mut T);

/// Puts a number where an enum's number stands.
type Renumber = fn(&mut agent::Report, i32);

/// Reaches into the known part of a fact.
macro_rules! known {
    ($fact:expr, $module:ident) => {
        match $fact.as_mut().and_then(|fact| fact.fact.as_mut()) {
            Some(agent::$module::Fact::Known(known)) => known,
            Some(agent::$module::Fact::Unknown(_)) | None => panic!("the sample knows this fact"),
        }
    };
}

fn entry(report: &mut agent::Report) -> &mut agent::StoreEntry {
    &mut known!(report.stores, stores_fact).entries[0]
}

fn record(report: &mut agent::Report) -> &mut agent::SslRecord {
    &mut known!(report.records, records_fact).records[0]
}

fn machine(report: &mut agent::Report) -> &mut agent::Machine {
    report.machine.as_mut().expect("a machine")
}

fn event(report: &mut agent::Report) -> &mut agent::Event {
    &mut known!(machine(report).events, events_fact).events[0]
}

fn site(report: &mut agent::Report) -> &mut agent::Site {
    &mut known!(report.sites, sites_fact).sites[0]
}

fn metabase(report: &mut agent::Report) -> &mut agent::MetabaseBinding {
    &mut known!(report.metabase, metabase_fact).bindings[0]
}

fn service(report: &mut agent::Report) -> &mut agent::Service {
    &mut known!(report.services, services_fact).services[0]
}

fn host(report: &mut agent::Report) -> &mut agent::Host {
    report.host.as_mut().expect("the sample has a host")
}

fn link(report: &mut agent::Report) -> &mut agent::KeyLink {
    known!(entry(report).key, key_link_fact).link.as_mut().expect("the sample has a key")
}

fn long() -> String {
    "x".repeat(4097)
}

fn refused(change: Change) -> Invalid {
    let mut wire = agent::Report::from(sample::report());
    Report::try_from(wire.clone()).expect("the sample is good");
    change(&mut wire);
    Report::try_from(wire).expect_err("must be refused")
}

#[test]
fn each_text_is_refused_when_it_is_too_long() {
    let cases: &[(&str, Change)] = &[
        ("Host.fqdn", |r| *known!(host(r).fqdn, text_fact) = long()),
        ("Host.machine_id", |r| *known!(host(r).machine_id, text_fact) = long()),
        ("Host.ad_site", |r| host(r).ad_site = Some(agent::TextFact { fact: Some(agent::text_fact::Fact::Unknown(long())) })),
        ("Host.dag", |r| known!(host(r).dag, optional_text_fact).text = Some(long())),
        ("Exchange.version", |r| known!(r.exchange, exchange_fact).version = long()),
        ("Setup.running", |r| known!(r.setup, setup_fact).setup = Some(agent::setup::Setup::Running(long()))),
        ("Setup.half_finished", |r| known!(r.setup, setup_fact).setup = Some(agent::setup::Setup::HalfFinished(long()))),
        ("Store.other", |r| entry(r).store = Some(agent::Store { store: Some(store::Store::Other(long())) })),
        ("StoreEntry.friendly_name", |r| known!(entry(r).friendly_name, optional_text_fact).text = Some(long())),
        ("KeyLink.container", |r| link(r).container = long()),
        ("KeyLink.provider", |r| link(r).provider = long()),
        ("Access.sid", |r| known!(entry(r).key_access, key_access_fact).entries[0].sid = long()),
        ("KeyContainer.name", |r| known!(r.containers, containers_fact).containers[0].name = long()),
        ("SslRecord.endpoint", |r| record(r).endpoint = long()),
        ("SslRecord.store", |r| record(r).store = Some(long())),
        ("SslRecord.app_id", |r| *known!(record(r).app_id, text_fact) = long()),
        ("SslParameters.ctl_identifier", |r| {
            known!(record(r).parameters, ssl_parameters_fact).ctl_identifier = Some(long());
        }),
        ("SslParameters.ctl_store", |r| known!(record(r).parameters, ssl_parameters_fact).ctl_store = Some(long())),
        ("Site.name", |r| site(r).name = long()),
        ("Binding.protocol", |r| site(r).bindings[0].protocol = long()),
        ("Binding.information", |r| site(r).bindings[0].information = long()),
        ("MetabaseBinding.path", |r| metabase(r).path = long()),
        ("MetabaseBinding.store", |r| metabase(r).store = Some(long())),
        ("Service.name", |r| service(r).name = long()),
        ("Report.records", |r| {
            r.records = Some(agent::RecordsFact { fact: Some(agent::records_fact::Fact::Unknown(long())) });
        }),
        ("Probe.no_handshake", |r| r.probes[0].outcome = Some(probe::Outcome::NoHandshake(long()))),
        ("Probe.unreachable", |r| r.probes[0].outcome = Some(probe::Outcome::Unreachable(long()))),
        ("Report.hold", |r| r.hold = Some(long())),
        ("Probe.elsewhere", |r| r.probes[0].outcome = Some(probe::Outcome::Elsewhere(long()))),
        ("Machine.maintenance", |r| known!(machine(r).maintenance, texts_fact).texts[0] = long()),
        ("Machine.iis_redirected", |r| known!(machine(r).iis_redirected, optional_text_fact).text = Some(long())),
        ("AppPool.name", |r| known!(machine(r).app_pools, app_pools_fact).pools[0].name = long()),
        ("TlsValue.name", |r| known!(machine(r).tls, tls_policy_fact).values[0].name = long()),
        ("Machine.forest", |r| *known!(machine(r).forest, text_fact) = long()),
        ("Event.object", |r| event(r).object = Some(long())),
        ("Event.process", |r| event(r).process = Some(long())),
        ("Event.account", |r| event(r).account = Some(long())),
    ];
    for (name, change) in cases {
        let invalid = refused(*change);
        assert!(matches!(&invalid, Invalid::Length { field, found: 4097, .. } if field == name), "{name}: {invalid:?}");
    }
}

#[test]
fn each_digest_is_refused_when_it_has_another_length() {
    let cases: &[(&str, Change)] = &[
        ("StoreEntry.certificate", |r| entry(r).certificate.truncate(31)),
        ("StoreEntry.thumbprint", |r| entry(r).thumbprint.push(0)),
        ("KeyContainer.key_id", |r| {
            known!(known!(r.containers, containers_fact).containers[0].key_id, digest_fact).clear();
        }),
        ("SslRecord.thumbprint", |r| record(r).thumbprint = Some(Vec::new())),
        ("MetabaseBinding.thumbprint", |r| metabase(r).thumbprint = Some(vec![0; 32])),
        ("AuthCertificates.current", |r| known!(machine(r).auth, auth_certificates_fact).current = Some(vec![0; 32])),
        ("AuthCertificates.next", |r| known!(machine(r).auth, auth_certificates_fact).next = Some(Vec::new())),
        ("Machine.transport", |r| known!(machine(r).transport, optional_thumbprint_fact).thumbprint = Some(vec![0; 19])),
        ("Event.thumbprint", |r| event(r).thumbprint = Some(vec![0; 21])),
        ("Probe.presented", |r| r.probes[0].outcome = Some(probe::Outcome::Presented(vec![0; 20]))),
    ];
    for (name, change) in cases {
        let invalid = refused(*change);
        assert!(matches!(&invalid, Invalid::Length { field, .. } if field == name), "{name}: {invalid:?}");
    }
}

#[test]
fn each_list_is_refused_when_it_is_too_long() {
    fn fill<T: Clone>(list: &mut Vec<T>, count: usize) {
        let one = list[0].clone();
        list.resize(count, one);
    }
    let cases: &[(&str, usize, Change)] = &[
        ("Exchange.roles", 8, |r| fill(&mut known!(r.exchange, exchange_fact).roles, 9)),
        ("StoreEntries.entries", 5000, |r| fill(&mut known!(r.stores, stores_fact).entries, 5001)),
        ("AccessList.entries", 100, |r| fill(&mut known!(entry(r).key_access, key_access_fact).entries, 101)),
        ("KeyContainers.containers", 5000, |r| fill(&mut known!(r.containers, containers_fact).containers, 5001)),
        ("SslRecords.records", 2000, |r| fill(&mut known!(r.records, records_fact).records, 2001)),
        ("Sites.sites", 1000, |r| fill(&mut known!(r.sites, sites_fact).sites, 1001)),
        ("Site.bindings", 1000, |r| fill(&mut site(r).bindings, 1001)),
        ("MetabaseBindings.bindings", 2000, |r| fill(&mut known!(r.metabase, metabase_fact).bindings, 2001)),
        ("Services.services", 200, |r| fill(&mut known!(r.services, services_fact).services, 201)),
        ("Report.probes", 64, |r| fill(&mut r.probes, 65)),
        ("Machine.maintenance", 500, |r| fill(&mut known!(machine(r).maintenance, texts_fact).texts, 501)),
        ("AppPools.pools", 500, |r| fill(&mut known!(machine(r).app_pools, app_pools_fact).pools, 501)),
        ("TlsPolicy.values", 500, |r| fill(&mut known!(machine(r).tls, tls_policy_fact).values, 501)),
        ("Machine.events", 64, |r| fill(&mut known!(machine(r).events, events_fact).events, 65)),
    ];
    for (name, most, change) in cases {
        assert_eq!(refused(*change), Invalid::TooMany { field: name, limit: *most, found: most + 1 });
    }
}

#[test]
fn each_number_that_no_enum_has_is_refused_and_so_is_zero() {
    let cases: &[(&str, Renumber)] = &[
        ("Exchange.roles", |r, n| known!(r.exchange, exchange_fact).roles[0] = n),
        ("Store.known", |r, n| entry(r).store = Some(agent::Store { store: Some(store::Store::Known(n)) })),
        ("StoreEntry.key_state", |r, n| *known!(entry(r).key_state, key_state_fact) = n),
        ("SslRecord.kind", |r, n| record(r).kind = n),
        ("Probe.path", |r, n| r.probes[0].path = n),
        ("Event.kind", |r, n| event(r).kind = n),
    ];
    for (name, change) in cases {
        for value in [0, 99, -1] {
            let mut wire = agent::Report::from(sample::report());
            change(&mut wire, value);
            assert_eq!(Report::try_from(wire), Err(Invalid::Unknown { field: name, value }));
        }
    }
}

#[test]
fn each_part_that_is_missing_is_refused_and_never_taken_for_unknown() {
    let cases: &[(&str, Change)] = &[
        ("Report.host", |r| r.host = None),
        ("Report.machine", |r| r.machine = None),
        ("Host.fqdn", |r| host(r).fqdn = None),
        ("Host.machine_id", |r| host(r).machine_id = Some(agent::TextFact { fact: None })),
        ("Host.ad_site", |r| host(r).ad_site = None),
        ("Host.dag", |r| host(r).dag = None),
        ("Report.exchange", |r| r.exchange = None),
        ("Report.setup", |r| r.setup = None),
        ("Setup.setup", |r| known!(r.setup, setup_fact).setup = None),
        ("Report.stores", |r| r.stores = None),
        ("StoreEntry.store", |r| entry(r).store = None),
        ("Store.store", |r| entry(r).store = Some(agent::Store { store: None })),
        ("StoreEntry.friendly_name", |r| entry(r).friendly_name = None),
        ("StoreEntry.key", |r| entry(r).key = None),
        ("StoreEntry.key_state", |r| entry(r).key_state = Some(agent::KeyStateFact { fact: None })),
        ("StoreEntry.key_access", |r| entry(r).key_access = None),
        ("Report.containers", |r| r.containers = None),
        ("KeyContainer.key_id", |r| known!(r.containers, containers_fact).containers[0].key_id = None),
        ("Report.records", |r| r.records = Some(agent::RecordsFact { fact: None })),
        ("SslRecord.app_id", |r| record(r).app_id = None),
        ("SslRecord.parameters", |r| record(r).parameters = None),
        ("Report.sites", |r| r.sites = None),
        ("Report.metabase", |r| r.metabase = None),
        ("Report.services", |r| r.services = None),
        ("Service.running", |r| service(r).running = None),
        ("Service.disabled", |r| service(r).disabled = None),
        ("Probe.outcome", |r| r.probes[0].outcome = None),
    ];
    for (name, change) in cases {
        assert_eq!(refused(*change), Invalid::Missing { field: name });
    }
}

#[test]
fn what_stands_twice_and_what_has_two_spellings_is_refused() {
    let roles = |r: &mut agent::Report| known!(r.exchange, exchange_fact).roles = vec![1, 1];
    assert_eq!(refused(roles), Invalid::Twice { field: "Exchange.roles" });
    let services = |r: &mut agent::Report| {
        let again = service(r).clone();
        known!(r.services, services_fact).services.push(again);
    };
    assert_eq!(refused(services), Invalid::Twice { field: "Services.services" });
    let my = |r: &mut agent::Report| entry(r).store = Some(agent::Store { store: Some(store::Store::Other("my".to_owned())) });
    assert!(matches!(refused(my), Invalid::Value { field: "Store.other", .. }));
    assert!(matches!(refused(|r| r.probes[0].port = 65_536), Invalid::Value { field: "Probe.port", .. }));
    assert!(matches!(refused(|r| host(r).name = "EX 1".to_owned()), Invalid::Id { field: "Host.name", .. }));
}

#[test]
fn a_receipt_that_says_what_cannot_be_is_refused_by_the_name_of_the_field() {
    let cases: &[(&str, Change<types::Receipt>)] = &[
        ("Receipt.plan", |r| r.plan.clear()),
        ("Receipt.outcome", |r| r.outcome = 0),
        ("Receipt.outcome", |r| r.outcome = 6),
        ("Receipt.notes", |r| r.notes = vec![String::new(); 201]),
        ("Receipt.notes", |r| r.notes = vec![long()]),
        ("Receipt.foreign", |r| r.foreign = vec![String::new(); 201]),
        ("Receipt.foreign", |r| r.foreign = vec![long()]),
        ("Receipt.plan_body", |r| r.plan_body = vec![0; 256 * 1024 + 1]),
        ("Receipt.standing", |r| r.standing.truncate(5)),
        ("Receipt.began_at", |r| r.began_at = i64::MAX),
        ("Receipt.ended_at", |r| r.ended_at = i64::MIN),
        ("Receipt.gap_micros", |r| r.gap_micros = -1),
        ("Receipt.objections", |r| r.objections = vec![r.objections[0].clone(); 101]),
        ("Objection.rule", |r| r.objections[0].rule = "LeaveAlone".to_owned()),
        ("Objection.detail", |r| r.objections[0].detail = long()),
        ("Objection.until", |r| r.objections[0].until = Some(i64::MAX)),
    ];
    for (name, change) in cases {
        let mut wire = types::Receipt::from(sample::receipt());
        change(&mut wire);
        let status = Status::from(Receipt::try_from(wire).expect_err("must be refused"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(&format!("{name}: expected ")), "{name}: {}", status.message());
    }
}

#[test]
fn a_signed_document_is_refused_beyond_its_bounds() {
    let signature = || types::Signature { key: vec![1; 32], signature: vec![2; 64] };
    let good = types::Signed { body: b"x".to_vec(), signatures: vec![signature(); 64] };
    let read = SignedBytes::try_from(good.clone()).expect("at the bound");
    assert_eq!(types::Signed::from(read), good);

    let cases: &[(&str, Change<types::Signed>)] = &[
        ("Signed.body", |s| s.body = vec![0; 256 * 1024 + 1]),
        ("Signed.signatures", |s| s.signatures.push(s.signatures[0].clone())),
        ("Signature.key", |s| s.signatures[3].key.push(0)),
        ("Signature.signature", |s| s.signatures[3].signature.truncate(63)),
    ];
    for (name, change) in cases {
        let mut wire = good.clone();
        change(&mut wire);
        let message = SignedBytes::try_from(wire).expect_err("must be refused").to_string();
        assert!(message.starts_with(&format!("{name}: expected ")), "{name}: {message}");
    }
}

#[test]
fn what_an_older_agent_does_not_know_was_not_observed() {
    let mut wire = agent::Report::from(sample::report());
    site(&mut wire).running = None;
    *machine(&mut wire) = agent::Machine::default();
    let report = Report::try_from(wire).expect("an older agent's report");
    assert_eq!(report.machine, policy::report::Machine::not_observed());
    let mut wire = agent::Report::from(sample::report());
    machine(&mut wire).events = None;
    let report = Report::try_from(wire).expect("an older agent's report");
    assert_eq!(report.machine.events, policy::report::Fact::not_observed());
    assert_ne!(report.machine.booted, policy::report::Fact::not_observed());
}
