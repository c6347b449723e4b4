//! A small estate for tests: people with keys, documents that they signed, and hosts that report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::checkup::{self, Check, Checkup, Subject};
use policy::duration::Span;
use policy::id::{EstateName, Generation, Person, PlanId, ServerName, Sha256};
use policy::plan::Der;
use policy::receipt::{Outcome, Receipt};
use policy::report::{
    Access, BACK_END_SITE, Binding, Exchange, Fact, Host, IIS_APP_ID, KeyContainer, KeyLink, KeyState, RecordKind, Report, Role,
    Service, Setup, Sight, Site, SslParameters, SslRecord, Store as CertificateStore, StoreEntry,
};
use policy::stop::{Resume, StopId};
use policy::trust::{Approval, Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument, Verified};
use proto::checkup::Named;
use proto::signed::{SignedBytes, SigningKey};
use proto::token::Secret;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use crate::audit::Actor;
use crate::ca::Authority;
use crate::clock::Clock;
use crate::config::Config;
use crate::connections::Connections;
use crate::parts::{Advertised, Parts};
use crate::reconcile::{Nudge, Terms, look};
use crate::store::{Conclude, Held, Knock, Recording, Store, StoreError};
use crate::telemetry::Metrics;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

pub(crate) fn noon() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

pub(crate) fn later(seconds: u32) -> Timestamp {
    Span::seconds(seconds).after(noon())
}

pub(crate) fn estate() -> EstateName {
    "contoso".parse().expect("a name")
}

pub(crate) fn server(name: &str) -> ServerName {
    name.parse().expect("a name")
}

pub(crate) fn person(name: &str) -> Person {
    name.parse().expect("a name")
}

/// The people of the estate.
pub(crate) struct People {
    pub(crate) root: SigningKey,
    pub(crate) anna: SigningKey,
    pub(crate) bert: SigningKey,
}

impl People {
    pub(crate) fn new() -> Self {
        let key = || SigningKey::generate().expect("a key");
        Self { root: key(), anna: key(), bert: key() }
    }

    /// The same people in every process: the secret of a key is its name (RFC 8410).
    #[cfg(target_os = "linux")]
    pub(crate) fn known() -> Self {
        use base64::Engine as _;
        use base64::prelude::BASE64_STANDARD;
        let key = |name: &str| {
            let head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
            let text = BASE64_STANDARD.encode([&head[..], &key(name).0].concat());
            let text = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
            SigningKey::from_file_text(&text).expect("a key")
        };
        Self { root: key("root"), anna: key("anna"), bert: key("bert") }
    }

    /// A trust document in which anna and bert approve, and `need` of them must.
    pub(crate) fn trust(&self, version: u64, need: u32) -> SignedBytes {
        let approver = |key: &SigningKey| PersonKeys {
            roles: BTreeSet::from([PersonRole::Approver]),
            keys: vec![PersonKey { key: key.id(), kind: KeyKind::File, until: at("2030-01-01T00:00:00Z") }],
        };
        let document = TrustDocument {
            estate: estate(),
            version,
            root: Root { threshold: 1, keys: BTreeSet::from([self.root.id()]) },
            persons: BTreeMap::from([(person("anna"), approver(&self.anna)), (person("bert"), approver(&self.bert))]),
            need: BTreeMap::from([(Class::Renew, need), (Class::Resume, need)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::from([Sha256([7; 32])]),
        };
        let mut signed = SignedBytes::unsigned(document.to_bytes());
        self.root.sign(Kind::Trust, &mut signed).expect("signed");
        signed
    }

    /// A policy that anna signed.
    pub(crate) fn policy(&self, text: &str) -> SignedBytes {
        let mut signed = SignedBytes::unsigned(text.as_bytes().to_vec());
        self.anna.sign(Kind::Policy, &mut signed).expect("signed");
        signed
    }

    /// An approval by one of them.
    pub(crate) fn approval(&self, name: &str, plan: PlanId, from: Timestamp, until: Timestamp) -> SignedBytes {
        let approval = Approval {
            estate: estate(),
            plans: BTreeSet::from([plan]),
            person: person(name),
            requester: None,
            reason: "it ends soon".to_owned(),
            change: Some("CHG-12".to_owned()),
            not_before: from,
            not_after: until,
        };
        let mut signed = SignedBytes::unsigned(approval.to_bytes());
        let key = if name == "anna" { &self.anna } else { &self.bert };
        key.sign(Kind::Approval, &mut signed).expect("signed");
        signed
    }

    /// A yes to going on by one of them.
    pub(crate) fn resume(&self, name: &str, stops: &[StopId], reason: &str) -> SignedBytes {
        let resume = Resume {
            estate: estate(),
            stops: stops.iter().copied().collect(),
            person: person(name),
            reason: reason.to_owned(),
            at: noon(),
        };
        let mut signed = SignedBytes::unsigned(resume.to_bytes());
        let key = if name == "anna" { &self.anna } else { &self.bert };
        key.sign(Kind::Resume, &mut signed).expect("signed");
        signed
    }

    /// Puts both documents in force.
    pub(crate) async fn rule(&self, store: &Store, need: u32, policy: &str) {
        let trust = self.trust(1, need);
        store.apply_trust(proto::signed::trust(&trust).expect("trust"), trust, Actor::Console, noon()).await.expect("applied");
        let policy = self.policy(policy);
        store
            .apply_policy(proto::signed::policy(&policy).expect("policy"), policy, Actor::Console, noon())
            .await
            .expect("applied");
    }
}

/// A look in which everything worked.
pub(crate) fn looked(at: Timestamp) -> Named {
    let outcome = checkup::Outcome::Proven { found: "2 certificates".to_owned() };
    Named::new(Checkup {
        at,
        kind: checkup::Kind::Look,
        agent_version: "0.1.0".to_owned(),
        subject: Subject::default(),
        checks: vec![Check { name: "store.MY".to_owned(), needed: true, micros: Some(12), outcome }],
    })
}

/// A policy in which every server proposes.
pub(crate) const PROPOSE: &str = "estate = \"contoso\"\nversion = 1\nmode = \"propose\"\n[waves]\nsoak = \"60s\"\n";

pub(crate) fn verified(signed: &SignedBytes) -> Verified<Approval> {
    proto::signed::approval(signed).expect("an approval")
}

/// A self-signed certificate of a host, to this year's end of November by default.
pub(crate) fn certificate(name: &str, end: (i32, u8, u8)) -> Certificate {
    let mut params =
        CertificateParams::new(vec![name.to_owned(), format!("{}.contoso.test", name.to_lowercase())]).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2022, 1, 1);
    params.not_after = date_time_ymd(end.0, end.1, end.2);
    let key = KeyPair::generate().expect("a key");
    Certificate::from_der(params.self_signed(&key).expect("signed").der()).expect("reads")
}

/// A self-signed certificate of a host that ends then.
pub(crate) fn certificate_until(name: &str, end: Timestamp) -> Certificate {
    let zoned = end.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |number: i8| u8::try_from(number).expect("a month or day");
    certificate(name, (zoned.year().into(), part(zoned.month()), part(zoned.day())))
}

/// What a host of DAG1 with this certificate on 444 sees.
pub(crate) fn sight(name: &str, certificate: &Certificate) -> Sight {
    let fact = Fact::Known;
    let link = KeyLink { container: "c-1".to_owned(), provider: String::new(), provider_type: 12, flags: 0x20, key_spec: 1 };
    let entry = StoreEntry {
        store: CertificateStore::My,
        certificate: certificate.id(),
        thumbprint: certificate.thumbprint(),
        archived: false,
        friendly_name: Fact::Known(Some("Microsoft Exchange".to_owned())),
        key: Fact::Known(Some(link)),
        key_state: Fact::Known(KeyState::Usable),
        key_access: Fact::Known(vec![Access { sid: "S-1-5-20".to_owned(), mask: 0x8012_0089 }]),
    };
    let record = SslRecord {
        kind: RecordKind::Address,
        endpoint: "0.0.0.0:444".to_owned(),
        thumbprint: Some(certificate.thumbprint()),
        store: None,
        app_id: fact(IIS_APP_ID.to_owned()),
        parameters: Fact::Known(SslParameters::default()),
    };
    let binding = Binding { protocol: "https".to_owned(), information: "*:444:".to_owned(), ssl_flags: 0 };
    let report = Report {
        host: Host {
            name: server(name),
            fqdn: fact(format!("{}.contoso.test", name.to_lowercase())),
            machine_id: fact(format!("machine-{name}")),
            ad_site: fact("Berlin".to_owned()),
            dag: Fact::Known(Some("DAG1".to_owned())),
        },
        exchange: Fact::Known(Exchange { version: "15.2.1544.4".to_owned(), roles: BTreeSet::from([Role::Mailbox]) }),
        setup: Fact::Known(Setup::Idle),
        stores: Fact::Known(vec![entry]),
        containers: Fact::Known(vec![KeyContainer { name: "c-1".to_owned(), key_id: Fact::Known(certificate.key_id()) }]),
        records: Fact::Known(vec![record]),
        sites: Fact::Known(vec![Site {
            id: 2,
            name: BACK_END_SITE.to_owned(),
            bindings: vec![binding],
            running: Fact::Known(true),
        }]),
        metabase: Fact::Known(Vec::new()),
        services: Fact::Known(BTreeMap::from([(
            "W3SVC".to_owned(),
            Service { running: Fact::Known(true), disabled: Fact::Known(false) },
        )])),
        machine: policy::report::Machine::not_observed(),
        probes: Vec::new(),
        hold: None,
    };
    Sight { report, certificates: BTreeMap::from([(certificate.id(), certificate.clone())]) }
}

/// A store in a folder of its own.
pub(crate) async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("backstay.db"), &estate(), noon()).await.expect("a store");
    (folder, store)
}

/// Looks as the reconciler does, with the agent connected.
pub(crate) async fn look_as(store: &Store, name: &ServerName, when: Timestamp) -> Result<Conclude, StoreError> {
    let scene = store.scene(name).await?.expect("reported");
    let trust = store.trust().await?.map(|document| document.trust().expect("trust").value);
    let policy = store.policy().await?.expect("in force").policy().expect("policy").value;
    let terms =
        Terms { policy: &policy, trust: trust.as_ref(), in_force: Held::default(), stopped: None, connected: true, now: when };
    store.conclude(name, look(&scene, &terms), when).await
}

/// What a controller without sockets shares, at noon.
pub(crate) async fn parts() -> (tempfile::TempDir, Parts) {
    let (folder, store) = store().await;
    let authority = Authority::create(folder.path(), &estate(), noon()).expect("an authority");
    let config = Config::from_toml("estate = \"contoso\"").expect("a configuration");
    let address = |text: &str| vec![text.parse().expect("an address")];
    let parts = Parts {
        store,
        authority: Arc::new(authority),
        connections: Connections::default(),
        nudge: Nudge::default(),
        told: Arc::default(),
        metrics: Metrics::new(config.metrics),
        web: config.listen.web,
        pages_certificate: None,
        config: Arc::new(config),
        passwords: crate::password::Passwords::default(),
        clock: Clock::of(noon),
        advertised: Advertised { agents: address("ctl:7443"), enrolment: address("ctl:7444") },
    };
    (folder, parts)
}

pub(crate) fn key(name: &str) -> Sha256 {
    Sha256::of(name.as_bytes())
}

/// Enrols a server as the machine and with the key that go with its name.
pub(crate) async fn enrol(store: &Store, name: &str) {
    let secret = Secret::generate().expect("random");
    store.create_token(&server(name), secret.hash(), 600, Actor::Console, noon()).await.expect("a token");
    store.enrol(knock(name, secret), noon()).await.expect("enrolled");
}

pub(crate) fn knock(name: &str, secret: Secret) -> Knock {
    Knock {
        secret,
        server: server(name),
        machine_id: format!("machine-{name}"),
        key_id: key(name),
        certificate: Sha256([9; 32]),
        not_after: at("2026-12-23T12:00:00Z"),
    }
}

pub(crate) fn generation(epoch: u64, counter: u64) -> Generation {
    Generation { epoch, counter }
}

/// Reports what is seen, certificates and all.
pub(crate) async fn report(store: &Store, sight: &Sight, counter: u64, when: Timestamp) {
    let recording = Recording {
        server: sight.report.host.name.clone(),
        generation: generation(1, counter),
        report: sight.report.clone(),
        memory: None,
        said: String::new(),
        seen_at: when,
    };
    store.record_report(recording, when).await.expect("recorded");
    let certificates = sight.certificates.values().map(|certificate| certificate.der().to_vec()).collect();
    store.store_certificates(certificates, when).await.expect("kept");
}

pub(crate) fn receipt(plan: PlanId, outcome: Outcome, when: Timestamp) -> Receipt {
    Receipt {
        plan,
        outcome,
        notes: vec!["444 shows the new certificate".to_owned()],
        foreign: Vec::new(),
        plan_body: None::<Der>,
        standing: None,
        began_at: Span::seconds(5).before(when),
        ended_at: when,
        gap_micros: 0,
        objections: Vec::new(),
    }
}
