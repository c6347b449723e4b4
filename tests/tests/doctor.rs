//! `backstay-agent doctor` on hosts of the lab: it names what is broken, changes nothing, rehearses and leaves nothing behind,
//! and the controller says what that means for a renewal.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use agent::config::Config;
use agent::doctor;
use agent::driver::rehearse::CONTAINER;
use policy::checkup::{Check, Checkup, Kind, Outcome};
use serde_json::Value;
use tempfile::TempDir;
use tests::estate::{Estate, Setup, policy};
use tests::lab::{self, Call, Damage, Fault, Mode, Running, Server};
use tests::wait::{self, when};
use tests::{process, wait::Look};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

const SERVER: &str = "EX1";

/// A host without an agent, and a state folder that an agent would have.
struct Host {
    server: Server,
    config: Config,
    _running: Running,
    _folder: TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let estate = lab::Estate::with(&folder.path().join("lab"), &[(SERVER, Some("DAG1"))]).unwrap();
        let running = estate.up().unwrap();
        let state_dir = folder.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let text = format!("state_dir = {state_dir:?}\n");
        let config = Config::from_toml(&text, &PathBuf::from("agent.toml")).unwrap();
        Self { server: estate.server(SERVER).unwrap(), config, _running: running, _folder: folder }
    }

    fn examine(&self, kind: Kind) -> Checkup {
        doctor::examine(&self.config, &self.server.driver(), kind)
    }

    fn has_container(&self) -> bool {
        self.server.files().key(CONTAINER).unwrap().is_some()
    }
}

fn check<'a>(checkup: &'a Checkup, name: &str) -> &'a Check {
    checkup.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {checkup:?}"))
}

fn words<'a>(checkup: &'a Checkup, name: &str) -> (&'static str, &'a str) {
    let check = check(checkup, name);
    (check.outcome.as_str(), check.outcome.text())
}

#[test]
fn a_sound_host_is_proven_and_neither_a_look_nor_a_rehearsal_changes_it() {
    let host = Host::new();
    let before = host.server.snapshot().unwrap();
    let look = host.examine(Kind::Look);
    assert!(!look.has_findings(), "{look:#?}");
    assert_eq!(words(&look, "rehearsal").0, "not_tried");
    assert!(words(&look, "key.444").1.ends_with("provider type 12, key spec 1: the key of the certificate"), "{look:#?}");

    let rehearsal = host.examine(Kind::Rehearsal);
    assert!(!rehearsal.has_findings(), "{rehearsal:#?}");
    for name in ["key", "sign", "access", "mint", "handshake", "clean_up", "untouched"] {
        assert_eq!(words(&rehearsal, &format!("rehearse.{name}")).0, "proven", "{rehearsal:#?}");
    }
    assert!(words(&rehearsal, "rehearse.mint").1.starts_with("self-signed for EX1 and ex1.lab.test"), "{rehearsal:#?}");
    assert_eq!(host.server.snapshot().unwrap(), before);
    assert!(
        std::fs::read_dir(&host.config.state_dir).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("scratch"))
    );
}

/// What is broken, and the check that must name it.
#[test]
fn what_is_broken_is_named() {
    let host = Host::new();
    let cases = [
        (Damage::RemoveRecord, "record.444", "found none"),
        (Damage::DeleteKey, "key.444", "found none"),
        (Damage::DenyKey, "key.444", "found access denied"),
        (Damage::LoseKeyLink, "key.444", "found no link"),
        (Damage::DeleteCertificate, "key.444", "found none"),
        (Damage::RemoveBinding, "iis.site", "found none"),
    ];
    for (damage, name, expected) in cases {
        host.server.damage(&damage).unwrap();
        let before = host.server.snapshot().unwrap();
        let look = host.examine(Kind::Look);
        let (outcome, text) = words(&look, name);
        assert!(outcome == "failed" && text.contains(expected), "{damage:?}: {look:#?}");
        assert!(look.has_findings());
        assert_eq!(host.server.snapshot().unwrap(), before, "{damage:?}");
        host.server.heal().unwrap();
    }
}

/// A call that fails is named with its code, whichever it is; the others are tried all the same.
#[test]
fn a_call_that_fails_is_named_with_its_code_and_the_others_are_tried() {
    let host = Host::new();
    let cases = [
        (Call::HostRead, "look"),
        (Call::StoreRead, "store.MY"),
        (Call::KeyRead, "key.444"),
        (Call::Query, "records"),
        (Call::ConfigRead, "iis.configuration"),
        (Call::Dial, "probe.rustls.loopback"),
    ];
    for (call, name) in cases {
        host.server.fault(Fault::new(call, Mode::Fail).code(5)).unwrap();
        let look = host.examine(Kind::Look);
        assert!(matches!(&check(&look, name).outcome, Outcome::Failed { code: Some(5), .. }), "{call}: {look:#?}");
        assert_eq!(words(&look, "state.journal").0, "proven");
        host.server.clear_faults().unwrap();
    }
    assert!(!host.examine(Kind::Look).has_findings());
}

#[test]
fn a_rehearsal_that_goes_wrong_says_where_and_leaves_nothing() {
    let host = Host::new();
    let before = host.server.snapshot().unwrap();
    let cases = [
        (Fault::new(Call::KeyCreate, Mode::Fail).code(0x8009_0020), "rehearse.key", "failed"),
        (Fault::new(Call::KeyCreate, Mode::Lie), "rehearse.key", "failed"),
        (Fault::new(Call::KeyGrant, Mode::Fail).code(5), "rehearse.access", "failed"),
        (Fault::new(Call::KeyGrant, Mode::Lie), "rehearse.access", "failed"),
        (Fault::new(Call::Query, Mode::Fail).code(5), "rehearse.before", "failed"),
        (Fault::new(Call::StoreRead, Mode::Fail).code(5), "rehearse.before", "failed"),
    ];
    for (fault, name, expected) in cases {
        host.server.fault(fault.clone()).unwrap();
        let rehearsal = host.examine(Kind::Rehearsal);
        host.server.clear_faults().unwrap();
        assert_eq!(words(&rehearsal, name).0, expected, "{fault:?}: {rehearsal:#?}");
        assert!(!host.has_container(), "{fault:?}");
        assert_eq!(host.server.snapshot().unwrap(), before, "{fault:?}");
    }
}

#[test]
fn what_could_not_be_cleaned_up_is_named_and_the_next_rehearsal_takes_it_away() {
    let host = Host::new();
    // The first is the one that clears what an earlier rehearsal may have left.
    host.server.fault(Fault::new(Call::KeyDelete, Mode::Fail).code(5).after(1)).unwrap();
    let rehearsal = host.examine(Kind::Rehearsal);
    host.server.clear_faults().unwrap();
    assert!(matches!(&check(&rehearsal, "rehearse.clean_up").outcome, Outcome::Failed { code: Some(5), .. }), "{rehearsal:#?}");
    assert!(host.has_container());
    assert_eq!(words(&host.examine(Kind::Look), "rehearse.leftover").0, "failed");
    let again = host.examine(Kind::Rehearsal);
    assert!(words(&again, "rehearse.clear").1.ends_with("is gone"), "{again:#?}");
    assert!(!host.has_container());
    assert_eq!(words(&host.examine(Kind::Look), "rehearse.leftover").0, "proven");
}

#[test]
fn nothing_is_made_on_a_host_that_is_held() {
    let host = Host::new();
    agent::hold::set(&host.config.state_dir, "a disk is being replaced").unwrap();
    host.server.fault(Fault::new(Call::KeyCreate, Mode::Fail)).unwrap();
    let rehearsal = host.examine(Kind::Rehearsal);
    let (outcome, text) = words(&rehearsal, "rehearsal");
    assert!(outcome == "not_tried" && text.contains("a disk is being replaced"), "{rehearsal:#?}");
    assert_eq!(words(&rehearsal, "hold").0, "failed");
}

#[test]
fn before_the_agent_is_installed_doctor_works_and_makes_no_folder() {
    let host = Host::new();
    std::fs::remove_dir_all(&host.config.state_dir).unwrap();
    let rehearsal = host.examine(Kind::Rehearsal);
    assert_eq!(words(&rehearsal, "state.journal").0, "unproven");
    assert_eq!(words(&rehearsal, "rehearse.handshake").0, "proven");
    assert!(doctor::keep(&host.config.state_dir, &rehearsal).is_err());
    assert!(!host.config.state_dir.exists());
}

// --- the program, its agent and its controller ---

fn estate(lines: &str) -> Estate {
    let setup =
        Setup { servers: vec![(SERVER, None)], policy: Some(format!("{lines}{}", policy("observe"))), ..Setup::default() };
    Estate::temporary(&setup).unwrap()
}

fn command(estate: &Estate, arguments: &[&str]) -> Command {
    let mut command = estate.binaries().command("backstay-agent").unwrap();
    command.arg("doctor").args(arguments).arg("--config").arg(estate.agent_folder(SERVER).join("agent.toml"));
    command.args(["--driver", "lab", "--lab-dir"]).arg(estate.folder().join("lab")).args(["--lab-server", SERVER]);
    command
}

fn ran(estate: &Estate, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = process::run(&mut command(estate, &[arguments, &["-o", "json"]].concat()), LIMIT).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let json =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), json)
}

/// What the controller says, once it says something like `wanted`.
fn prospect(estate: &Estate, wanted: &str) -> String {
    let told = estate.wait_server(SERVER, &format!("a renewal {wanted}"), LIMIT, |response| {
        let server = response.server.clone().unwrap_or_default();
        let says = format!("{}: {}", server.renewal, server.renewal_why);
        if says.starts_with(wanted) { Look::Found(says) } else { Look::NotYet(says) }
    });
    told.unwrap()
}

#[test]
fn the_controller_says_whether_a_renewal_would_succeed() {
    let mut estate = estate("rehearse_every = \"0s\"\n");
    assert_eq!(prospect(&estate, "unknown: "), "unknown: never rehearsed; `backstay-agent doctor --rehearse` on the host does");

    let (code, look) = ran(&estate, &[]);
    assert_eq!((code, &look["findings"]), (Some(0), &false.into()), "{look:#}");
    let reached = |check: &Value| {
        check["name"].as_str().is_some_and(|name| name.starts_with("controller.")) && check["outcome"] == "proven"
    };
    assert!(look["checks"].as_array().unwrap().iter().any(reached), "{look:#}");
    prospect(&estate, "unknown: never rehearsed, only looked at ");

    let (code, rehearsal) = ran(&estate, &["--rehearse"]);
    assert_eq!((code, &rehearsal["renewal"]), (Some(0), &"yes".into()), "{rehearsal:#}");
    prospect(&estate, "yes: rehearsed ");
    let listed = estate.desk().json(&["server", "list"]).unwrap();
    assert_eq!(listed[0]["renewal"], "yes");
    let shown = estate.desk().ok(&["server", "show", SERVER]).unwrap();
    assert!(shown.contains("\nrenewal would succeed here: yes, rehearsed "), "{shown}");
    let audit = estate.desk().ok(&["audit", "list", "--all"]).unwrap();
    assert_eq!(audit.matches("server.rehearsed").count(), 1, "{audit}");

    let host = estate.host(SERVER).unwrap();
    host.damage(&Damage::DeleteKey).unwrap();
    let (code, look) = ran(&estate, &[]);
    assert_eq!((code, &look["renewal"]), (Some(6), &"no".into()), "{look:#}");
    let why = prospect(&estate, "no: key.444: ");
    assert!(why.contains("found none (looked at "), "{why}");

    // Everything is on disk: a controller that comes back says the same, and an agent that comes back tells nothing twice.
    host.heal().unwrap();
    let (code, _) = ran(&estate, &["--rehearse"]);
    assert_eq!(code, Some(0));
    prospect(&estate, "yes: ");
    estate.kill_controller().unwrap();
    estate.kill_agent(SERVER).unwrap();
    estate.start_controller().unwrap();
    prospect(&estate, "yes: ");
    estate.start_agent(SERVER).unwrap();
    estate
        .wait_server(SERVER, "a session", LIMIT, |response| {
            when(response.server.as_ref().is_some_and(|server| server.connected), || "none".to_owned())
        })
        .unwrap();
    let audit = estate.desk().ok(&["audit", "list", "--all"]).unwrap();
    assert_eq!(audit.matches("server.rehearsed").count(), 2, "{audit}");
    estate.stop().unwrap();
}

#[test]
fn the_agent_looks_by_itself_as_often_as_the_policy_says_and_makes_nothing() {
    let mut estate = estate("rehearse_every = \"2s\"\n");
    let host = estate.host(SERVER).unwrap();
    host.fault(Fault::new(Call::KeyCreate, Mode::Fail)).unwrap();
    prospect(&estate, "unknown: never rehearsed, only looked at ");
    host.damage(&Damage::RemoveRecord).unwrap();
    prospect(&estate, "no: record.444: ");
    host.heal().unwrap();
    prospect(&estate, "unknown: never rehearsed, only looked at ");
    estate.stop().unwrap();
}

#[test]
fn a_rehearsal_that_is_killed_leaves_one_container_which_the_next_one_takes_away() {
    let estate = estate("rehearse_every = \"0s\"\n");
    let host = estate.host(SERVER).unwrap();
    host.fault(Fault::new(Call::KeyGrant, Mode::Hang).millis(60_000)).unwrap();
    let container = || host.files().key(CONTAINER).unwrap().is_some();
    let mut child = command(&estate, &["--rehearse"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let made = wait::until("the key of the rehearsal", LIMIT, || when(container(), || "none".to_owned()));
    child.kill().unwrap();
    child.wait().unwrap();
    made.unwrap();
    host.clear_faults().unwrap();
    assert!(container());
    let (code, look) = ran(&estate, &[]);
    assert_eq!(code, Some(6), "{look:#}");
    let (code, _) = ran(&estate, &["--rehearse"]);
    assert!(!container());
    assert_eq!(code, Some(0));
}
