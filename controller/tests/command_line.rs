//! The command line as a person types it: real processes, a real controller over mutual TLS, and the exit codes that scripts rely on.
#![cfg(feature = "server")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use sqlx::Connection;

/// A controller in a folder of its own, and an operator's workstation in the same folder. It ends with the test.
struct Estate {
    folder: tempfile::TempDir,
    serving: Option<Child>,
    controller: String,
}

impl Drop for Estate {
    fn drop(&mut self) {
        if let Some(child) = &mut self.serving {
            child.kill().expect("ours");
            child.wait().expect("ended");
        }
    }
}

impl Estate {
    /// Initialised, and not served yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = "estate = \"contoso\"\nstate_dir = \"state\"\n[listen]\nagents = \"127.0.0.1:0\"\nenrolment = \"127.0.0.1:0\"\n\
                      operators = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n";
        fs::write(folder.path().join("controller.toml"), config).expect("written");
        let estate = Self { folder, serving: None, controller: "127.0.0.1:1".to_owned() };
        estate.ok("init --config controller.toml");
        estate
    }

    /// Served, with anna and ben as approvers.
    fn ruled() -> Self {
        let mut estate = Self::new();
        estate.ok("init --config controller.toml --operator vera --role viewer --out vera.pem");
        let made = estate.json("init --config controller.toml");
        let ca = made["ca_fingerprint"].as_str().expect("a fingerprint");
        estate.ok(&format!("trust init --estate contoso --ca {ca} --approver anna --approver ben --need renew=2 --out trust"));
        estate.serve();
        estate.ok("trust apply trust/trust.signed");
        estate
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&mut self) {
        let ready = self.path("ready.json");
        fs::remove_file(&ready).or_else(|error| if ready.exists() { Err(error) } else { Ok(()) }).expect("no old one");
        let log = fs::File::create(self.path("log")).expect("a log");
        let mut command = backstay(self.folder.path());
        let child = command.args(["serve", "--config", "controller.toml", "--ready-file", "ready.json"]).stderr(log).spawn();
        self.serving = Some(child.expect("started"));
        for _ in 0..1500 {
            if let Ok(text) = fs::read_to_string(&ready) {
                let ports: serde_json::Value = serde_json::from_str(&text).expect("whole or not at all");
                self.controller = ports["operators"].as_str().expect("an address").to_owned();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not ready: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    fn stop(&mut self) {
        let mut child = self.serving.take().expect("serving");
        child.kill().expect("ours");
        child.wait().expect("ended");
    }

    fn run(&self, line: &str) -> Output {
        let arguments = line.split(' ').filter(|word| !word.is_empty());
        let mut command = backstay(self.folder.path());
        command.env("BACKSTAY_CONTROLLER", &self.controller).env("BACKSTAY_IDENTITY", "operator.pem");
        command.args(arguments).output().expect("ran")
    }

    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "backstay {line}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&format!("{line} -o json"))).expect("JSON")
    }

    /// Ends with this code; what it said.
    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "backstay {line}\n{said}");
        assert!(output.stdout.is_empty(), "data of a command that failed: backstay {line}");
        said
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is what is tested here, and that is a process")]
fn backstay(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstay"));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "a signal to a process of this test, as a terminal sends it")]
fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().expect("sent").success());
}

#[test]
fn an_estate_is_founded_and_ruled_from_a_workstation() {
    let mut estate = Estate::ruled();
    let first = "estate = \"contoso\"\nversion = 1\nmode = \"propose\"\n";
    fs::write(estate.path("policy.toml"), first).expect("written");
    assert!(estate.ok("policy check policy.toml").contains("mode                      propose"));
    let id = estate.json("policy apply policy.toml --key trust/anna.key")["id"].as_str().expect("an id").to_owned();
    estate.ok("policy apply policy.toml --key trust/anna.key");

    let second = format!("estate = \"contoso\"\nversion = 2\nprevious = \"{id}\"\nmode = \"act\"\n");
    fs::write(estate.path("second.toml"), second).expect("written");
    estate.ok("policy sign second.toml --key trust/ben.key --out second.signed");
    assert_eq!(estate.json("policy apply second.signed")["version"], 2);

    assert!(estate.ok("token create --server EX1").starts_with("backstay-join-1."));
    estate.ok("token create --server EX2 --out EX2.token");
    let status = estate.json("status --exit-code");
    assert_eq!((&status["trust_version"], &status["policy_version"]), (&1.into(), &2.into()));
    assert_eq!(estate.json("server list"), serde_json::json!([]));
    let told: Vec<String> = estate
        .json("audit list --all")
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| format!("{} {}", entry["actor"].as_str().unwrap_or_default(), entry["action"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        "console operator.issued",
        "console operator.issued",
        "person:admin trust.applied",
        "person:admin policy.applied",
        "person:admin policy.applied",
        "person:admin token.created",
        "person:admin token.created",
    ];
    assert_eq!(told, expected);

    // The anchor of a run holds for the next one, also after a restart.
    let head = estate.json("audit verify")["head"].as_str().expect("a hash").to_owned();
    estate.stop();
    estate.serve();
    estate.ok(&format!("audit verify --anchor 7:{head}"));
}

#[test]
fn every_way_to_fail_has_its_exit_code_and_says_the_next_step() {
    let estate = Estate::ruled();
    assert!(estate.fails("status --controller 127.0.0.1:1", 1).contains("next: is the controller running"));
    estate.fails("token create --server EX1 --ttl 8d", 2);
    estate.fails("plan show 12345678", 3);
    estate.fails("explain EX1", 3);
    estate.fails("server show EX1", 3);
    estate.fails("policy check missing.toml", 3);
    estate.fails("status --identity missing.pem", 4);
    let denied = estate.fails("token create --server EX1 --identity vera.pem", 5);
    assert!(denied.contains("vera asks as viewer: expected one of admin"), "{denied}");
    fs::write(estate.path("policy.toml"), "estate = \"contoso\"\nversion = 1\nmode = \"act\"\n").expect("written");
    let denied = estate.fails("policy apply policy.toml --key trust/root.key", 5);
    assert!(denied.contains("expected signatures of 1 approver(s), found 0"), "{denied}");
    fs::write(estate.path("late.toml"), "estate = \"contoso\"\nversion = 1\n").expect("written");
    estate.ok("policy apply policy.toml --key trust/anna.key");
    let denied = estate.fails("policy apply late.toml --key trust/anna.key", 5);
    assert!(denied.contains("next: write version = 2 and previous = "), "{denied}");

    // Trust made for another CA, and a bundle that another CA issued.
    estate.ok(&format!("trust init --estate contoso --ca {} --approver anna --out other", "ab".repeat(32)));
    estate.fails("trust apply other/trust.signed", 5);
    let stranger = Estate::new();
    let bundle = stranger.path("operator.pem");
    let refused = estate.fails(&format!("status --identity {}", bundle.display()), 4);
    assert!(refused.contains("next: is this the controller that issued your bundle?"), "{refused}");
    // The right CA behind a stranger's certificate: the server turns it away.
    let own = fs::read_to_string(estate.path("operator.pem")).expect("a bundle");
    let ca = own.rsplit_once("-----BEGIN CERTIFICATE-----").expect("the CA comes last").1;
    let theirs = fs::read_to_string(bundle).expect("a bundle");
    fs::write(estate.path("forged.pem"), format!("{theirs}-----BEGIN CERTIFICATE-----{ca}")).expect("written");
    let refused = estate.fails("status --identity forged.pem", 4);
    assert!(refused.contains("next: the controller does not take this certificate"), "{refused}");
}

#[test]
fn a_changed_audit_entry_is_found_and_named() {
    let mut estate = Estate::ruled();
    estate.ok("audit verify");
    estate.stop();
    let url = format!("sqlite:{}", estate.path("state/backstay.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let mut database = sqlx::AnyConnection::connect(&url).await.expect("opened");
        let changed = sqlx::query("UPDATE audit SET actor = 'person:eve' WHERE sequence = 2").execute(&mut database).await;
        assert_eq!(changed.expect("changed").rows_affected(), 1);
        database.close().await.expect("closed");
    });
    estate.serve();
    let broken = estate.fails("audit verify", 1);
    assert!(broken.contains("audit entry 2: expected content of hash"), "{broken}");
}

#[test]
fn a_bundle_that_is_there_is_never_made_anew() {
    let estate = Estate::new();
    let before = fs::read(estate.path("operator.pem")).expect("a bundle");
    let again = estate.json("init --config controller.toml");
    assert_eq!(again["made"], false);
    assert_eq!(fs::read(estate.path("operator.pem")).expect("a bundle"), before);
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_command_that_waits_with_130() {
    let estate = Estate::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound").to_string();
    let mut command = backstay(estate.folder.path());
    let waiting = command.args(["status", "--identity", "operator.pem", "--controller", &address]).spawn().expect("started");
    // It listens for the signal before it connects, and hears nothing on the connection for as long as that is held.
    let held = silent.accept().expect("a connection");
    interrupt(waiting.id());
    let output = waiting.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    drop(held);
}

#[test]
fn long_a_controller_that_never_answers_is_not_waited_for() {
    let estate = Estate::new();
    // Connections wait in the backlog of somebody who never accepts them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let said = estate.fails(&format!("status --controller {address}"), 7);
    assert!(said.contains("no answer within 10 s"), "{said}");
}
