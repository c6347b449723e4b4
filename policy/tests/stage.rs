//! The stage on which all tests play: server EX1 as Exchange Setup leaves it, and people who may sign.
//!
//! EX1 has the back-end certificate `be` on 444 and a public certificate `fe` on 443, both in `My`; a copy of `be` in Root;
//! three handshakes that show `be`. Everything is known, nothing is wrong.

pub(crate) mod chance;
pub(crate) mod der;

use std::collections::{BTreeMap, BTreeSet};

use policy::Timestamp;
use policy::admit::{Ground, Leave, Refusal, admit};
use policy::certificate::Certificate;
use policy::document::Policy;
use policy::id::{KeyId, PlanId, Sha256, Thumbprint};
use policy::last::LastKnown;
use policy::plan::Plan;
use policy::report::{
    Access, AppPool, AuthCertificates, Binding, Exchange, Fact, Host, IIS_APP_ID, KeyContainer, KeyLink, KeyState, Machine,
    Probe, ProbeOutcome, ProbePath, RecordKind, Report, Role, Service, Setup, Sight, Site, SslParameters, SslRecord, Store,
    StoreEntry, TlsPolicy,
};
use policy::trust::{Approval, Class, KeyKind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument, Verified};

use self::der::Recipe;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The back-end certificate of EX1: five years from Setup, SHA-1, self-signed.
pub(crate) fn be() -> Recipe {
    Recipe {
        names: vec!["EX1".to_owned(), "ex1.contoso.test".to_owned()],
        issuer: None,
        from: at("2024-03-01T08:00:00Z"),
        to: at("2029-03-01T08:00:00Z"),
        sha1: true,
        key: "be".to_owned(),
        signs: true,
    }
}

/// The public certificate on 443.
pub(crate) fn fe() -> Recipe {
    Recipe {
        names: vec!["mail.contoso.test".to_owned()],
        issuer: Some("Contoso Issuing CA".to_owned()),
        from: at("2026-09-01T00:00:00Z"),
        to: at("2027-09-01T00:00:00Z"),
        sha1: false,
        key: "fe".to_owned(),
        signs: true,
    }
}

pub(crate) fn link(container: &str) -> KeyLink {
    policy::decide::vendor_link(container)
}

pub(crate) fn entry(store: Store, certificate: &Certificate, container: Option<&str>) -> StoreEntry {
    StoreEntry {
        store,
        certificate: certificate.id(),
        thumbprint: certificate.thumbprint(),
        archived: false,
        friendly_name: Fact::Known(Some("Microsoft Exchange".to_owned())),
        key: Fact::Known(container.map(link)),
        key_state: Fact::Known(if container.is_some() { KeyState::Usable } else { KeyState::NotLinked }),
        key_access: Fact::Known(vec![
            Access { sid: "S-1-5-18".to_owned(), mask: 0x1f_01ff },
            Access { sid: "S-1-5-20".to_owned(), mask: 0x12_0089 },
        ]),
    }
}

pub(crate) fn record(endpoint: &str, thumbprint: Option<Thumbprint>, store: &str) -> SslRecord {
    SslRecord {
        kind: if endpoint.starts_with(|first: char| first.is_ascii_digit() || first == '[') {
            RecordKind::Address
        } else {
            RecordKind::Sni
        },
        endpoint: endpoint.to_owned(),
        thumbprint,
        store: Some(store.to_owned()),
        app_id: Fact::Known(IIS_APP_ID.to_owned()),
        parameters: Fact::Known(SslParameters::default()),
    }
}

pub(crate) fn container(name: &str, certificate: &Certificate) -> KeyContainer {
    KeyContainer { name: name.to_owned(), key_id: Fact::Known(certificate.key_id()) }
}

pub(crate) fn binding(protocol: &str, information: &str) -> Binding {
    Binding { protocol: protocol.to_owned(), information: information.to_owned(), ssl_flags: 0 }
}

/// Probes over every path that show this certificate.
pub(crate) fn showing(certificate: &Certificate) -> Vec<Probe> {
    [ProbePath::Loopback, ProbePath::OwnNameV4, ProbePath::OwnNameV6]
        .map(|path| Probe { port: 444, path, outcome: ProbeOutcome::Presented { certificate: certificate.id() } })
        .into()
}

/// EX1 with these two certificates, everything known and in order.
pub(crate) fn host(be: &Certificate, fe: &Certificate) -> Sight {
    let site = |id, name: &str, bindings| Site { id, name: name.to_owned(), bindings, running: Fact::Known(true) };
    let report = Report {
        host: Host {
            name: "EX1".parse().expect("a name"),
            fqdn: Fact::Known("ex1.contoso.test".to_owned()),
            machine_id: Fact::Known("machine-1".to_owned()),
            ad_site: Fact::Known("Berlin".to_owned()),
            dag: Fact::Known(Some("DAG1".to_owned())),
        },
        exchange: Fact::Known(Exchange {
            version: "15.1.2507.6".to_owned(),
            roles: BTreeSet::from([Role::Mailbox, Role::ClientAccess]),
        }),
        setup: Fact::Known(Setup::Idle),
        stores: Fact::Known(vec![
            entry(Store::My, be, Some("be-key")),
            StoreEntry {
                friendly_name: Fact::Known(Some("mail.contoso.test".to_owned())),
                ..entry(Store::My, fe, Some("fe-key"))
            },
            entry(Store::Root, be, None),
        ]),
        containers: Fact::Known(vec![container("be-key", be), container("fe-key", fe)]),
        records: Fact::Known(vec![
            record("0.0.0.0:443", Some(fe.thumbprint()), "MY"),
            record("127.0.0.1:443", Some(fe.thumbprint()), "MY"),
            record("0.0.0.0:444", Some(be.thumbprint()), "MY"),
        ]),
        sites: Fact::Known(vec![
            site(1, "Default Web Site", vec![binding("https", ":443:"), binding("https", "127.0.0.1:443:")]),
            site(2, "Exchange Back End", vec![binding("http", "*:81:"), binding("https", "*:444:")]),
        ]),
        metabase: Fact::Known(Vec::new()),
        services: Fact::Known(BTreeMap::from([(
            "W3SVC".to_owned(),
            Service { running: Fact::Known(true), disabled: Fact::Known(false) },
        )])),
        machine: machine(be),
        probes: showing(be),
        hold: None,
    };
    let certificates = [be, fe].map(|certificate| (certificate.id(), certificate.clone())).into();
    Sight { report, certificates }
}

/// A machine on which all is known and in order.
fn machine(be: &Certificate) -> Machine {
    Machine {
        booted: Fact::Known(at("2026-11-01T03:00:00Z")),
        clock_ahead: Fact::Known(0),
        maintenance: Fact::Known(Vec::new()),
        last_setup: Fact::Known(Some(at("2026-05-10T20:00:00Z"))),
        iis_redirected: Fact::Known(None),
        app_pools: Fact::Known(BTreeMap::from([
            ("MSExchangeOWAAppPool".to_owned(), AppPool::Started),
            ("MSExchangeECPAppPool".to_owned(), AppPool::Started),
        ])),
        tls: Fact::Known(TlsPolicy {
            values: BTreeMap::from([("TLS 1.2\\Server\\Enabled".to_owned(), 1)]),
            changed: Some(at("2026-05-10T19:00:00Z")),
        }),
        auth: Fact::Known(AuthCertificates { current: None, next: None }),
        transport: Fact::Known(Some(be.thumbprint())),
        forest: Fact::Known("contoso.test".to_owned()),
        events: Fact::Known(Vec::new()),
    }
}

/// A policy of estate `contoso`: version 1 and these lines.
pub(crate) fn policy(lines: &str) -> Policy {
    let text = format!("estate = \"contoso\"\nversion = 1\n{lines}\n");
    Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The key of that name.
pub(crate) fn key(name: &str) -> KeyId {
    KeyId(Sha256::of(name.as_bytes()).0)
}

/// The people of `contoso`: anna (two file keys), bert and carl approve; dora only operates; emil approves in a browser;
/// fred's key ended in 2025. Renewals need `need` persons.
pub(crate) fn trust(need: u32) -> TrustDocument {
    let person = |role: PersonRole, keys: &[(&str, KeyKind, &str)]| PersonKeys {
        roles: BTreeSet::from([role]),
        keys: keys.iter().map(|(name, kind, until)| PersonKey { key: key(name), kind: *kind, until: at(until) }).collect(),
    };
    let late = "2040-01-01T00:00:00Z";
    let persons = [
        ("anna", person(PersonRole::Approver, &[("anna-1", KeyKind::File, late), ("anna-2", KeyKind::File, late)])),
        ("bert", person(PersonRole::Approver, &[("bert", KeyKind::File, late)])),
        ("carl", person(PersonRole::Approver, &[("carl", KeyKind::File, late)])),
        ("dora", person(PersonRole::Operator, &[("dora", KeyKind::File, late)])),
        ("emil", person(PersonRole::Approver, &[("emil", KeyKind::Browser, late)])),
        ("fred", person(PersonRole::Approver, &[("fred", KeyKind::File, "2025-01-01T00:00:00Z")])),
    ];
    TrustDocument {
        estate: "contoso".parse().expect("a name"),
        version: 1,
        root: Root { threshold: 1, keys: BTreeSet::from([key("root")]) },
        persons: persons.into_iter().map(|(name, keys)| (name.parse().expect("a name"), keys)).collect(),
        need: BTreeMap::from([(Class::Renew, need)]),
        browser: BTreeSet::new(),
        ca: BTreeSet::new(),
    }
}

/// An approval of `plan` by `person`, signed with the key of that name (anna: `anna-1`), for ten days around `now`.
pub(crate) fn approval(plan: &Plan, person: &str, now: Timestamp) -> Verified<Approval> {
    let signer = if person == "anna" { "anna-1" } else { person };
    let days = policy::duration::Span::days(5);
    Verified {
        value: Approval {
            estate: plan.estate.clone(),
            plans: BTreeSet::from([plan.id()]),
            person: person.parse().expect("a name"),
            requester: None,
            reason: "renewal as planned".to_owned(),
            change: Some("CHG-1".to_owned()),
            not_before: days.before(now),
            not_after: days.after(now),
        },
        id: Sha256::of(person.as_bytes()),
        signers: BTreeSet::from([key(signer)]),
    }
}

/// Everything that `admit` asks for, to be changed one fact at a time.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) plan: Plan,
    /// `None`: by standing approval.
    pub(crate) approvals: Option<Vec<Verified<Approval>>>,
    pub(crate) policy: Policy,
    pub(crate) trust: TrustDocument,
    pub(crate) sight: Sight,
    pub(crate) last: LastKnown,
    pub(crate) begun: BTreeSet<PlanId>,
    pub(crate) clock: Option<&'static str>,
    pub(crate) authority_fresh: bool,
    pub(crate) now: Timestamp,
}

impl Ask {
    pub(crate) fn answer(&self) -> Result<(), Refusal> {
        let Self { plan, approvals, policy, trust, sight, last, begun, clock, authority_fresh, now } = self;
        let leave = approvals.as_deref().map_or(Leave::Standing, Leave::Approvals);
        let (clock, authority_fresh, now) = (*clock, *authority_fresh, *now);
        admit(plan, leave, &Ground { policy, trust, sight, last, begun, clock, authority_fresh, now })
    }
}
