//! What the driver is told when a state folder is opened, and after a look.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use policy::certificate::Certificate;
use policy::decide::vendor_link;
use policy::last::LastGood;
use policy::plan::{Purpose, Values};
use policy::receipt::Outcome;
use policy::report::{
    Fact, Host, IIS_APP_ID, KeyState, Machine, ProbePath, RecordKind, Report, SslParameters, SslRecord, Store, StoreEntry,
};

use super::*;
use crate::driver::{Applied, State};

/// A host whose back end is whole, with its key in this container, and every container that it was told to remember.
struct Recorder {
    sight: Mutex<Sight>,
    told: Mutex<Vec<String>>,
}

impl Recorder {
    fn new(container: &str) -> Arc<Self> {
        Arc::new(Self { sight: Mutex::new(whole(container)), told: Mutex::default() })
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().expect("nobody panicked"))
    }
}

impl Driver for Recorder {
    fn observe(&self) -> Result<Sight, DriverError> {
        Ok(self.sight.lock().expect("nobody panicked").clone())
    }

    fn check(&self, step: &Step) -> Result<State, DriverError> {
        Err(DriverError::NotMine(step.name()))
    }

    fn apply(&self, step: &Step) -> Result<Applied, DriverError> {
        Err(DriverError::NotMine(step.name()))
    }

    fn undo(&self, step: &Step) -> Result<(), DriverError> {
        Err(DriverError::NotMine(step.name()))
    }

    fn dial(&self, port: u16, _: ProbePath, _: Duration) -> Result<TcpStream, DriverError> {
        Err(DriverError::Io { object: port.to_string(), source: std::io::ErrorKind::ConnectionRefused.into() })
    }

    fn paths(&self) -> Vec<ProbePath> {
        Vec::new()
    }

    fn watch(&self, _: Duration) -> Result<bool, DriverError> {
        Ok(false)
    }

    fn remember_container(&self, container: &str) {
        self.told.lock().expect("nobody panicked").push(container.to_owned());
    }
}

fn whole(container: &str) -> Sight {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["EX1".to_owned()]).expect("a name");
    let certificate = Certificate::from_der(params.self_signed(&key).expect("a certificate").der()).expect("a certificate");
    let entry = StoreEntry {
        store: Store::My,
        certificate: certificate.id(),
        thumbprint: certificate.thumbprint(),
        archived: false,
        friendly_name: Fact::Known(None),
        key: Fact::Known(Some(vendor_link(container))),
        key_state: Fact::Known(KeyState::Usable),
        key_access: Fact::Known(Vec::new()),
    };
    let record = SslRecord {
        kind: RecordKind::Address,
        endpoint: "0.0.0.0:444".to_owned(),
        thumbprint: Some(certificate.thumbprint()),
        store: Some("MY".to_owned()),
        app_id: Fact::Known(IIS_APP_ID.to_owned()),
        parameters: Fact::Known(SslParameters::default()),
    };
    let host = Host {
        name: "EX1".parse().expect("a name"),
        fqdn: Fact::not_observed(),
        machine_id: Fact::not_observed(),
        ad_site: Fact::not_observed(),
        dag: Fact::not_observed(),
    };
    let report = Report {
        host,
        exchange: Fact::not_observed(),
        setup: Fact::not_observed(),
        stores: Fact::Known(vec![entry]),
        containers: Fact::not_observed(),
        records: Fact::Known(vec![record]),
        sites: Fact::not_observed(),
        metabase: Fact::not_observed(),
        services: Fact::not_observed(),
        machine: Machine::not_observed(),
        probes: Vec::new(),
        hold: None,
    };
    Sight { report, certificates: BTreeMap::from([(certificate.id(), certificate)]) }
}

fn look(workbench: &mut Workbench) -> LastKnown {
    let policy = Policy::none_yet("contoso".parse().expect("a name"));
    workbench.look(&policy, Timestamp::UNIX_EPOCH).expect("a host that can be looked at").last
}

#[test]
fn a_look_tells_of_the_container_of_another_good_state_and_a_start_of_the_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let driver = Recorder::new("first");
    let mut workbench = Workbench::open(folder.path(), driver.clone()).expect("an empty folder");
    assert!(driver.told().is_empty());
    assert_eq!(look(&mut workbench).good.as_ref().and_then(LastGood::container), Some("first"));
    assert_eq!(driver.told(), ["first"]);
    look(&mut workbench);
    assert!(driver.told().is_empty());
    *driver.sight.lock().expect("nobody panicked") = whole("second");
    look(&mut workbench);
    assert_eq!(driver.told(), ["second"]);

    // Gone from the store, and still what a restore will ask for.
    drop(workbench);
    driver.sight.lock().expect("nobody panicked").report.stores = Fact::Known(Vec::new());
    let mut workbench = Workbench::open(folder.path(), driver.clone()).expect("what it left");
    assert_eq!(driver.told(), ["second"]);
    look(&mut workbench);
    assert!(driver.told().is_empty());
    crate::observe::observe(&Holds::by_command(folder.path()), driver.as_ref()).expect("a look for a person");
    assert_eq!(driver.told(), ["second"]);
}

#[test]
fn a_start_tells_of_the_containers_of_an_open_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let driver = Recorder::new("first");
    let back = Step::AddCertificate { der: Der(Vec::new()), store: Store::My, key: vendor_link("deleted"), friendly_name: None };
    let plan = undelete(vec![back, Step::CreateKey { container: "made".to_owned(), bits: 2048 }, Step::Compare]);
    let baseline = driver.observe().expect("a sight").report;
    let (plan, at) = (Der(plan.to_bytes()), Timestamp::UNIX_EPOCH);
    let begun = Begun { plan, approvals: Vec::new(), standing: None, baseline, at };
    drop(Journal::begin(&folder.path().join("journal"), &begun).expect("a journal"));
    let workbench = Workbench::open(folder.path(), driver.clone()).expect("a folder with an open run");
    assert!(workbench.open_plan().is_some());
    assert_eq!(driver.told(), ["deleted", "made"]);
}

fn undelete(steps: Vec<Step>) -> Plan {
    Plan {
        estate: "contoso".parse().expect("a name"),
        host: "EX1".parse().expect("a name"),
        machine_id: "machine".to_owned(),
        purpose: Purpose::Undelete,
        attempt: 1,
        values: Values { key_bits: 2048, months: 60 },
        expects: Vec::new(),
        steps,
    }
}

#[test]
fn a_hold_that_comes_while_the_agent_runs_is_reported_and_refuses_the_next_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agent.toml");
    let mut workbench = Workbench::open(folder.path(), Recorder::new("first")).expect("an empty folder");
    workbench.heed(Holds::new(folder.path(), &file, false));
    let estate: policy::id::EstateName = "contoso".parse().expect("a name");
    let standing = Standing {
        policy: Policy::none_yet(estate.clone()),
        trust: TrustDocument {
            estate,
            version: 1,
            root: policy::trust::Root { threshold: 1, keys: std::collections::BTreeSet::new() },
            persons: BTreeMap::new(),
            need: BTreeMap::new(),
            browser: std::collections::BTreeSet::new(),
            ca: std::collections::BTreeSet::new(),
        },
        policy_confirmed: None,
        clock_doubt: None,
    };
    let plan = undelete(vec![Step::Compare]).to_bytes();
    let mut refusal = || {
        let receipt = workbench.run(&plan, By::Approvals(&[]), &standing, &|| Timestamp::UNIX_EPOCH);
        assert_eq!(receipt.outcome, Outcome::Refused);
        let look = workbench.look(&standing.policy, Timestamp::UNIX_EPOCH).expect("a look");
        (receipt.notes.join("; "), look.sight.report.hold)
    };
    let (before, hold) = refusal();
    assert!(!before.contains("held on the host") && hold.is_none(), "{before}");
    fs::write(&file, "hold = \"change freeze\"\n").expect("writes");
    let why = format!("held on the host by file {}:1: change freeze", file.display());
    assert_eq!(refusal(), (why.clone(), Some(why)));
    fs::remove_file(&file).expect("removes");
    assert_eq!(refusal(), (before, None));
}
