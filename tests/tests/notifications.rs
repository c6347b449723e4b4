//! People and programs are told: by a mail relay and a receiver of HTTP that are not ours, and that are down when it happens.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(90);

/// A relay and a receiver.
struct Receiver {
    child: Child,
    heard: mpsc::Receiver<Value>,
    kept: Vec<Value>,
}

impl Receiver {
    fn start(smtp: u16, http: u16) -> Result<Self> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/pages/browser"));
        command.arg("receiver").arg(smtp.to_string()).arg(http.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("tests/pages/browser")?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines().map_while(Result::ok);
        anyhow::ensure!(lines.next().as_deref() == Some("ready"), "it does not listen");
        let (say, heard) = mpsc::channel();
        std::thread::spawn(move || lines.filter_map(|line| serde_json::from_str(&line).ok()).try_for_each(|line| say.send(line)));
        Ok(Self { child, heard, kept: Vec::new() })
    }

    /// The next that came by this way; what came otherwise is kept for whoever asks for that.
    fn next(&mut self, by: &str) -> Value {
        let by = |heard: &Value| heard["by"] == by || heard["path"] == by;
        if let Some(at) = self.kept.iter().position(by) {
            return self.kept.remove(at);
        }
        loop {
            let heard = self.heard.recv_timeout(LIMIT).expect("something else");
            if by(&heard) {
                return heard;
            }
            self.kept.push(heard);
        }
    }

    /// Everything that comes within this time.
    fn rest(&self, time: Duration) -> Vec<Value> {
        let end = Instant::now() + time;
        std::iter::from_fn(|| self.heard.recv_timeout(end.saturating_duration_since(Instant::now())).ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// A port on which nobody listens yet.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[test]
fn outside_relay_and_receiver_that_were_down_have_every_message_once() {
    let (smtp, http) = (port(), port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (password, secret) = (file("password", "secret\n"), file("secret", "0123456789abcdef"));
    let config = format!(
        "[notify]\nsilent_after = \"1s\"\n\n\
         [[notify.mail]]\nname = \"ops\"\nrelay = \"127.0.0.1\"\nport = {smtp}\ntls = \"none\"\nuser = \"backstay\"\npassword_file = {password:?}\n\
         from = \"Backstay <backstay@contoso.test>\"\nto = [\"ops@contoso.test\", \"Anna <anna@contoso.test>\"]\nsays = [\"page\"]\n\n\
         [[notify.mail]]\nname = \"gone\"\nrelay = \"127.0.0.1\"\nport = {smtp}\ntls = \"none\"\nuser = \"backstay\"\npassword_file = {password:?}\nfrom = \"b@contoso.test\"\nto = [\"ops@contoso.test\", \"nobody@contoso.test\"]\n\n\
         [[notify.webhook]]\nname = \"pager\"\nurl = \"http://127.0.0.1:{http}/hook\"\nsecret_file = {secret:?}\ninward = true\n\n\
         [notify.alive]\nurl = \"http://127.0.0.1:{http}/alive\"\nevery = \"1s\"\ninward = true\n"
    );
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("observe")), config, ..Setup::default() };
    let mut estate = Estate::temporary(&setup).expect("an estate");
    let host = estate.host("EX1").expect("a host");
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("seen");
    host.damage(&Damage::DeleteCertificate).expect("lost");
    {
        let channel = |name: &str| {
            let channels = estate.desk().json(&["channel", "list"]).expect("a list");
            channels
                .as_array()
                .expect("a list")
                .iter()
                .find(|channel| channel["name"] == name)
                .cloned()
                .expect("one of that name")
        };
        let waits = || {
            let channel = channel("ops");
            wait::when(channel["waiting"] != 0 && channel["failure"] != "", || channel.to_string())
        };
        wait::until("a mail that nobody takes", LIMIT, waits).expect("waits");
        let mut receiver = Receiver::start(smtp, http).expect("starts");
        let mail = receiver.next("mail");
        let text = mail["mail"].as_str().expect("text");
        assert_eq!(mail["to"], serde_json::json!(["ops@contoso.test", "anna@contoso.test"]));
        for words in
            ["Subject: [contoso] ", "BST102", "Auto-Submitted: auto-generated", "text/plain", "text/html", "backstay explain EX1"]
        {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        let call = receiver.next("/hook");
        let body: Value = serde_json::from_str(call["body"].as_str().expect("text")).expect("JSON");
        assert_eq!((&body["kind"], &body["id"]), (&"page".into(), &call["id"]));
        assert!(call["signature"].as_str().is_some_and(|signature| signature.len() == 71), "{call}");

        // Nothing is told again, however often it is looked at; and it is said that all is well with the controller.
        let rest = receiver.rest(Duration::from_millis(2_500));
        assert!(rest.iter().all(|one| one["path"] == "/alive" && one["by"] == "webhook"), "{rest:#?}");
        let open = estate.desk().json(&["incident", "list"]).expect("a list");
        let dead = open.as_array().expect("a list").iter().find(|one| one["code"] == "BST102").expect("one").clone();
        let id = dead["id"].as_str().expect("an id");
        estate.desk().ok(&["incident", "acknowledge", id, "--dry-run"]).expect("judged");
        let open = estate.desk().json(&["incident", "list"]).expect("a list");
        assert!(open.as_array().expect("a list").iter().all(|one| one["acknowledged_at"].is_null()), "{open}");
        let seen = estate.desk().json(&["incident", "acknowledge", id]).expect("noted");
        assert_eq!(seen[0]["acknowledged_by"], "admin");

        // Whoever was woken learns that somebody is at it.
        let mail = receiver.next("mail");
        assert!(mail["mail"].as_str().expect("text").contains("admin is at it"), "{mail}");

        // What is asked for arrives; a relay that refuses half-way takes nothing, and it is said why.
        estate.desk().ok(&["channel", "test"]).expect("on its way");
        let test = receiver.next("mail");
        assert!(test["mail"].as_str().expect("text").contains("a test"), "{test}");
        let failure = channel("gone")["failure"].as_str().expect("text").to_owned();
        assert!(failure.contains("no such person"), "{failure}");
        drop(receiver);
    }
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
