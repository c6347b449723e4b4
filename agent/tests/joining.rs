//! A host joins an estate, talks to its controller, renews its identity; and believes nobody else.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use agent::config::Config;
use agent::driver::{Applied, Driver, DriverError, State};
use policy::plan::Step;
use policy::report::{Exchange, Fact, Host, ProbePath, Report, Role, Setup, Sight};
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{CancelOffer, Offer};
use proto::names::CONTROLLER;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::controller::{Ca, Controller};

mod controller;
mod proxied;

/// A host of a few facts. Raising `state` changes it.
#[derive(Default)]
struct Fake {
    state: AtomicU32,
    blind: AtomicBool,
    /// A look takes until this is taken off again.
    stuck: Mutex<bool>,
    freed: Condvar,
}

impl Driver for Fake {
    fn observe(&self) -> Result<Sight, DriverError> {
        drop(self.freed.wait_while(self.stuck.lock().expect("not poisoned"), |stuck| *stuck).expect("not poisoned"));
        if self.blind.load(Ordering::Relaxed) {
            return Err(DriverError::Io { object: "registry".to_owned(), source: std::io::ErrorKind::PermissionDenied.into() });
        }
        let state = self.state.load(Ordering::Relaxed);
        let host = Host {
            name: "EX1".parse().expect("a name"),
            fqdn: Fact::Known(format!("ex1-{state}.contoso.test")),
            machine_id: Fact::Known("machine-1".to_owned()),
            ad_site: Fact::not_observed(),
            dag: Fact::Known(None),
        };
        let exchange = Exchange { version: "15.1.2507.6".to_owned(), roles: [Role::Mailbox].into() };
        let report = Report {
            host,
            exchange: Fact::Known(exchange),
            setup: Fact::Known(Setup::Idle),
            stores: Fact::Known(Vec::new()),
            containers: Fact::Known(Vec::new()),
            records: Fact::Known(Vec::new()),
            sites: Fact::Known(Vec::new()),
            metabase: Fact::Known(Vec::new()),
            services: Fact::Known(BTreeMap::new()),
            machine: policy::report::Machine::not_observed(),
            probes: Vec::new(),
            hold: None,
        };
        Ok(Sight { report, certificates: BTreeMap::new() })
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
        vec![ProbePath::Loopback]
    }

    fn watch(&self, limit: Duration) -> Result<bool, DriverError> {
        std::thread::sleep(limit.min(Duration::from_millis(50)));
        Ok(false)
    }
}

/// A host with its folders.
struct Site {
    folder: tempfile::TempDir,
    driver: Arc<Fake>,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), driver: Arc::default() }
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("join-token")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Runs an agent beside the scenario, and stops it in good order when the scenario is over.
    async fn attended(&self, scenario: impl Future<Output = ()>) {
        self.attended_with("", scenario).await;
    }

    /// The same with more in the configuration.
    async fn attended_with(&self, more: &str, scenario: impl Future<Output = ()>) {
        let (state, token) = (self.state(), self.token_file());
        let text = format!("state_dir = {state:?}\njoin_token_file = {token:?}\nlook_every = \"1s\"\n{more}");
        let config = Config::from_toml(&text, &self.folder.path().join("agent.toml")).expect("a configuration");
        let stop = CancellationToken::new();
        let scenario = async {
            scenario.await;
            stop.cancel();
        };
        let both = async { tokio::join!(agent::run(config, self.driver.clone(), stop.clone(), || ()), scenario) };
        let (ended, ()) = timeout(Duration::from_secs(60), both).await.expect("in time");
        ended.expect("the agent stops in good order");
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

fn reports(controller: &Controller) -> usize {
    controller.mind().committed.len()
}

fn hellos(controller: &Controller) -> usize {
    controller.mind().heard.iter().filter(|message| matches!(message, Up::Hello(_))).count()
}

#[tokio::test]
async fn a_host_joins_once_and_tells_what_changes() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        assert!(!site.token_file().exists(), "the used token is removed");
        until("a heartbeat", || controller.mind().heard.iter().any(|message| matches!(message, Up::Heartbeat(_)))).await;
        assert_eq!(reports(&controller), 1, "what did not change is not told again");
        site.driver.state.store(1, Ordering::Relaxed);
        until("the change", || reports(&controller) == 2).await;
    })
    .await;
    assert_eq!(controller.mind().enrolled.len(), 1);
    assert_eq!(controller.mind().enrolled[0].server, "EX1");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let key = std::fs::metadata(site.state().join("identity.key")).expect("the key");
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    // A second start: no token, the same identity, and nothing told that is known.
    site.attended(async {
        until("the second session", || hellos(&controller) == 2).await;
        controller.mind().heard.clear();
        until("a heartbeat", || controller.mind().heard.iter().any(|message| matches!(message, Up::Heartbeat(_)))).await;
    })
    .await;
    assert_eq!(controller.mind().enrolled.len(), 1);
    assert_eq!(reports(&controller), 2);
}

#[tokio::test]
async fn the_key_exchange_is_a_hybrid_one() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    site.attended(until("the first report", || reports(&controller) == 1)).await;
    assert_eq!(controller.mind().groups, ["X25519MLKEM768".to_owned()].into());
}

#[tokio::test]
async fn the_secret_is_not_shown_to_a_controller_of_another_ca() {
    let thief = Ca::new();
    let controller = Controller::start_as(Ca::new(), Some(&thief), CONTROLLER).await;
    refused(controller, "UnknownIssuer").await;
}

#[tokio::test]
async fn the_secret_is_not_shown_to_a_server_that_is_no_controller() {
    let controller = Controller::start_as(Ca::new(), None, "somebody.backstay.internal").await;
    refused(controller, "not valid for name").await;
}

async fn refused(controller: Controller, why: &str) {
    let site = Site::new();
    controller.write_token(&site.token_file());
    let token = agent::identity::read_token(&site.token_file()).expect("reads").expect("is there");
    std::fs::create_dir_all(site.state()).expect("a folder");
    let server = "EX1".parse().expect("a name");
    let error = agent::identity::enrol(&site.state(), &token, &token.controllers, None, &server, "m", controller::now())
        .await
        .expect_err("must be refused");
    let text = agent::chain(&error);
    assert!(text.contains(why), "{text}");
    assert!(controller.mind().enrolled.is_empty());
    assert!(agent::identity::Identity::open(&site.state()).expect("reads").is_none());
}

#[tokio::test]
async fn an_answer_that_is_not_for_this_host_and_estate_is_refused() {
    type Tamper = fn(&mut proto::agent::EnrolResponse);
    let cases: [(&str, Tamper); 4] = [
        ("the certificate for this host does not read", |answer| answer.certificate.clear()),
        ("certificate for this host: expected key", |answer| answer.certificate = answer.ca[0].clone()),
        ("EnrolResponse.trust", |answer| answer.trust = None),
        ("the first trust document is refused", |answer| {
            let trust = answer.trust.as_mut().expect("a document");
            trust.signatures[0].signature[0] ^= 1;
        }),
    ];
    for (expected, tamper) in cases {
        let (controller, site) = (Controller::start().await, Site::new());
        controller.mind().tamper = tamper;
        std::fs::create_dir_all(site.state()).expect("a folder");
        let (token, server) = (controller.token.clone(), "EX1".parse().expect("a name"));
        let error = agent::identity::enrol(&site.state(), &token, &token.controllers, None, &server, "m", controller::now())
            .await
            .expect_err("must be refused");
        assert!(agent::chain(&error).contains(expected), "{}", agent::chain(&error));
        assert!(agent::identity::Identity::open(&site.state()).expect("reads").is_none());
        assert!(!site.state().join("floors.json").exists(), "nothing of it is held");
    }
}

#[tokio::test]
async fn a_token_for_another_server_is_not_used() {
    let (controller, site) = (Controller::start().await, Site::new());
    let (token, server) = (controller.token.clone(), "EX2".parse().expect("a name"));
    let error =
        agent::identity::enrol(site.folder.path(), &token, &token.controllers, None, &server, "m", controller::now()).await;
    assert!(matches!(error, Err(agent::identity::IdentityError::OtherServer { .. })));
    assert!(controller.mind().enrolled.is_empty());
}

#[tokio::test]
async fn an_identity_that_is_due_is_renewed_and_used() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.mind().life = Duration::from_secs(4);
    controller.write_token(&site.token_file());
    site.attended(async {
        until("the renewal", || controller.mind().renewed == 1).await;
        until("a session with the new identity", || hellos(&controller) == 2).await;
    })
    .await;
    let identity = agent::identity::Identity::open(&site.state()).expect("reads").expect("joined");
    assert!(identity.renew_at() > controller::now());
}

#[tokio::test]
async fn a_policy_that_approvers_signed_is_held_and_another_is_not() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    let policy = controller.policy("version = 1\nmode = \"propose\"\n");
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        controller.say(Down::Policy(policy.clone().into()));
        let held = |version| {
            controller.mind().heard.iter().any(|message| matches!(message, Up::Held(held) if held.policy_version == version))
        };
        until("the policy to be held", || held(1)).await;
        let forged = proto::signed::SignedBytes { body: b"estate = \"contoso\"\nversion = 9\n".to_vec(), ..policy.clone() };
        controller.mind().heard.clear();
        controller.say(Down::Policy(forged.into()));
        until("the answer", || held(1)).await;
    })
    .await;
    let authority = agent::authority::Authority::open(&site.state()).expect("reads").expect("joined");
    assert_eq!(authority.held().policy.expect("held").id, policy.id());
    assert!(authority.standing(controller::now()).policy_confirmed.is_some());
}

#[tokio::test]
async fn a_lost_session_is_taken_up_without_telling_anything_twice() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        let first = controller.mind().lineages;
        controller.hang_up();
        until("another session", || hellos(&controller) == 2).await;
        let lineage = controller
            .mind()
            .heard
            .iter()
            .rev()
            .find_map(|message| if let Up::Hello(hello) = message { Some(hello.lineage.clone()) } else { None });
        assert_eq!(lineage, Some(vec![first; 32]), "it presents the nonce of the last welcome");
        controller.mind().heard.clear();
        until("a heartbeat", || controller.mind().heard.iter().any(|message| matches!(message, Up::Heartbeat(_)))).await;
        assert_eq!(reports(&controller), 1);
    })
    .await;
}

/// What the host was last said to be like.
fn last_report(controller: &Controller) -> Option<Report> {
    controller.mind().heard.iter().rev().find_map(|message| {
        let Up::Report(told) = message else { return None };
        Some(Report::try_from(told.report.clone().expect("a report")).expect("reads"))
    })
}

#[tokio::test]
async fn a_host_that_cannot_be_looked_at_is_told_as_unknown() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    let records = || last_report(&controller).map(|report| report.records);
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        site.driver.blind.store(true, Ordering::Relaxed);
        until("the bad news", || records().is_some_and(|fact| fact.unknown().is_some_and(|why| why.contains("registry")))).await;
        site.driver.blind.store(false, Ordering::Relaxed);
        until("the good news", || records() == Some(Fact::Known(Vec::new()))).await;
    })
    .await;
    // A start on such a host waits, and says nothing as a machine that it may not be.
    site.driver.blind.store(true, Ordering::Relaxed);
    let before = hellos(&controller);
    site.attended(async {
        sleep(Duration::from_millis(300)).await;
    })
    .await;
    assert_eq!(hellos(&controller), before);
}

#[tokio::test]
async fn a_look_that_hangs_is_told_as_unknown_while_heartbeats_go_on() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    let records = || last_report(&controller).map(|report| report.records);
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        *site.driver.stuck.lock().expect("not poisoned") = true;
        until("the bad news", || records().is_some_and(|fact| fact.unknown().is_some_and(|why| why.contains("does not return"))))
            .await;
        *site.driver.stuck.lock().expect("not poisoned") = false;
        site.driver.freed.notify_all();
        until("the good news", || records() == Some(Fact::Known(Vec::new()))).await;
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_is_none_is_refused_and_the_refusal_arrives() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    let receipts = || {
        let mind = controller.mind();
        mind.heard
            .iter()
            .filter_map(|message| if let Up::Receipt(receipt) = message { Some(receipt.clone()) } else { None })
            .collect::<Vec<_>>()
    };
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        controller.say(Down::Offer(Offer { plan: b"{}".to_vec(), approvals: Vec::new() }));
        until("the refusal", || receipts().len() == 1).await;
        controller.say(Down::Cancel(CancelOffer { plan: vec![5; 32] }));
        until("the answer to a plan that never came", || receipts().len() == 2).await;
    })
    .await;
    assert!(receipts()[0].notes[0].contains("plan does not read"), "{:?}", receipts()[0].notes);
    assert_eq!((receipts()[1].plan.clone(), receipts()[1].notes[0].as_str()), (vec![5; 32], "taken back before it began"));
}

#[tokio::test]
async fn a_trust_document_with_another_ca_ends_the_session_with_the_old_one() {
    let (controller, site) = (Controller::start().await, Site::new());
    controller.write_token(&site.token_file());
    site.attended(async {
        until("the first report", || reports(&controller) == 1).await;
        let trust = controller.trust(2, policy::id::Sha256::of(b"the new CA"));
        controller.say(Down::Trust(trust.into()));
        until("the end of the session", || controller.mind().line.as_ref().is_some_and(tokio::sync::mpsc::Sender::is_closed))
            .await;
        until("another try", || controller.mind().broken_handshakes > 0).await;
        assert_eq!(hellos(&controller), 1, "a controller of the old CA is not believed any more");
    })
    .await;
}
