//! A report in which every field says something, small enough to be read by eye.

use std::collections::{BTreeMap, BTreeSet};

use policy::Timestamp;
use policy::admit::{Objection, Rule};
use policy::id::{Sha256, Thumbprint};
use policy::plan::Der;
use policy::receipt::{Outcome, Receipt};
use policy::report::{
    Access, AppPool, AuthCertificates, Binding, Event, EventKind, Exchange, Fact, Host, KeyContainer, KeyLink, KeyState, Machine,
    MetabaseBinding, Probe, ProbeOutcome, ProbePath, RecordKind, Report, Role, Service, Setup, Site, SslParameters, SslRecord,
    Store, StoreEntry, TlsPolicy,
};

pub(crate) fn report() -> Report {
    Report {
        host: Host {
            name: "EX1".parse().expect("a server name"),
            fqdn: known("ex1.contoso.test"),
            machine_id: known("6f9d3c9e-0001"),
            ad_site: Fact::Unknown("no domain controller answers".to_owned()),
            dag: Fact::Known(Some("DAG1".to_owned())),
        },
        exchange: Fact::Known(Exchange {
            version: "15.1.2507.6".to_owned(),
            roles: BTreeSet::from([Role::Mailbox, Role::ClientAccess]),
        }),
        setup: Fact::Known(Setup::HalfFinished("MailboxRole".to_owned())),
        stores: Fact::Known(vec![StoreEntry {
            store: Store::My,
            certificate: Sha256([0xA1; 32]),
            thumbprint: Thumbprint([0xB2; 20]),
            archived: true,
            friendly_name: Fact::Known(Some("Microsoft Exchange".to_owned())),
            key: Fact::Known(Some(KeyLink {
                container: "c1".to_owned(),
                provider: String::new(),
                provider_type: 12,
                flags: 0x20,
                key_spec: 1,
            })),
            key_state: Fact::Known(KeyState::Usable),
            key_access: Fact::Known(vec![Access { sid: "S-1-5-20".to_owned(), mask: 0x8012_0089 }]),
        }]),
        containers: Fact::Known(vec![KeyContainer { name: "c1".to_owned(), key_id: Fact::Known(Sha256([0xC3; 32])) }]),
        records: Fact::Known(vec![SslRecord {
            kind: RecordKind::Address,
            endpoint: "0.0.0.0:444".to_owned(),
            thumbprint: Some(Thumbprint([0xB2; 20])),
            store: Some("MY".to_owned()),
            app_id: known("{4dc3e181-e14b-4a21-b022-59fc669b0914}"),
            parameters: Fact::Known(SslParameters {
                check_mode: 1,
                freshness: 2,
                url_timeout: 3,
                ctl_identifier: Some("ctl".to_owned()),
                ctl_store: Some("CA".to_owned()),
                flags: 4,
            }),
        }]),
        sites: Fact::Known(vec![Site {
            id: 2,
            name: "Exchange Back End".to_owned(),
            bindings: vec![Binding { protocol: "https".to_owned(), information: "*:444:".to_owned(), ssl_flags: 1 }],
            running: Fact::Known(true),
        }]),
        metabase: Fact::Known(vec![MetabaseBinding {
            path: "LM/W3SVC/2".to_owned(),
            thumbprint: Some(Thumbprint([0xB2; 20])),
            store: Some("MY".to_owned()),
        }]),
        services: Fact::Known(BTreeMap::from([(
            "W3SVC".to_owned(),
            Service { running: Fact::Known(true), disabled: Fact::Unknown("access denied".to_owned()) },
        )])),
        machine: machine(),
        probes: vec![
            Probe { port: 444, path: ProbePath::Loopback, outcome: ProbeOutcome::Presented { certificate: Sha256([0xA1; 32]) } },
            Probe { port: 444, path: ProbePath::OwnNameV6, outcome: ProbeOutcome::Unreachable("no address".to_owned()) },
        ],
        hold: Some("held by alice".to_owned()),
    }
}

fn machine() -> Machine {
    let at = |second| Timestamp::from_second(second).expect("a moment");
    Machine {
        booted: Fact::Known(at(1_790_000_000)),
        clock_ahead: Fact::Known(-3),
        maintenance: Fact::Known(vec!["ServerWideOffline is inactive".to_owned()]),
        last_setup: Fact::Known(Some(at(1_780_000_000))),
        iis_redirected: Fact::Known(Some("files".to_owned())),
        app_pools: Fact::Known(BTreeMap::from([("MSExchangeOWAAppPool".to_owned(), AppPool::Stopped)])),
        tls: Fact::Known(TlsPolicy { values: BTreeMap::from([("TLS 1.2".to_owned(), 1)]), changed: Some(at(1_785_000_000)) }),
        auth: Fact::Known(AuthCertificates { current: Some(Thumbprint([0xC1; 20])), next: None }),
        transport: Fact::Known(Some(Thumbprint([0xC2; 20]))),
        forest: Fact::Known("contoso.test".to_owned()),
        events: Fact::Known(vec![Event {
            at: at(1_790_000_100),
            kind: EventKind::CertificateDeleted,
            thumbprint: Some(Thumbprint([0xC3; 20])),
            object: Some("0.0.0.0:444".to_owned()),
            process: Some("mmc.exe".to_owned()),
            account: Some("admin".to_owned()),
        }]),
    }
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        plan: Sha256([0x11; 32]),
        outcome: Outcome::Refused,
        notes: vec!["looked".to_owned()],
        foreign: vec!["record 0.0.0.0:443 changed".to_owned()],
        plan_body: Some(Der(b"{}".to_vec())),
        standing: Some(Sha256([0x22; 32])),
        began_at: Timestamp::from_microsecond(1_795_000_000_000_001).expect("a moment of our century"),
        ended_at: Timestamp::from_microsecond(1_795_000_000_000_002).expect("a moment of our century"),
        gap_micros: 1500,
        objections: vec![Objection {
            rule: Rule::LeaveAlone,
            detail: "fit until 2031".to_owned(),
            until: Some(Timestamp::from_microsecond(1_924_000_000_000_000).expect("a moment of our century")),
        }],
    }
}

fn known(text: &str) -> Fact<String> {
    Fact::Known(text.to_owned())
}
