//! Browsers on other machines: over TLS with a certificate of the firm's own, and with people whom a provider vouches for that is not ours.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::estate::{Estate, Setup, policy};
use tests::outside::{dawdle, get, handshake};
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(90);

/// A port on which nobody listens yet.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn script(name: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/pages/browser"));
    command.arg(name);
    command
}

/// A provider, which ends with this.
struct Provider(Child);

impl Provider {
    fn start(port: u16, origin: &str) -> Result<Self> {
        let mut command = script("provider");
        command.arg(port.to_string()).arg(origin).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("tests/pages/browser")?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines().map_while(Result::ok);
        let this = Self(child);
        ensure!(lines.any(|line| line == "ready"), "it does not listen");
        std::thread::spawn(move || lines.for_each(drop));
        Ok(this)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// Puts a certificate for loopback and its key into this folder.
fn certificate(folder: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(folder.join("pages.key"), made.signing_key.serialize_pem()).expect("written");
    fs::write(folder.join("pages.pem"), made.cert.pem()).expect("written");
    made.cert.der().to_vec()
}

fn pages(folder: &Path, port: u16) -> String {
    format!(
        "\n[pages]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://127.0.0.1:{port}\"\ncertificate_file = {:?}\nkey_file = {:?}\n",
        folder.join("pages.pem"),
        folder.join("pages.key"),
    )
}

#[test]
fn outside_browser_signs_in_by_a_provider_and_out_again() {
    let folder = tempfile::tempdir().expect("a folder");
    certificate(folder.path());
    fs::write(folder.path().join("secret"), "a secret of: two+parts\n").expect("written");
    let (port, provider_port) = (port(), port());
    let origin = format!("https://127.0.0.1:{port}");
    let oidc = format!(
        "[pages.oidc]\nname = \"Contoso\"\nissuer = \"http://127.0.0.1:{provider_port}\"\nclient_id = \"backstay\"\nclient_secret_file = {:?}\n\
         rule = [{{ group = \"Exchange\", role = \"operator\" }}, {{ group = \"All\", role = \"viewer\" }}]\n",
        folder.path().join("secret"),
    );
    let config = pages(folder.path(), port) + &oidc;
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("observe")), config, ..Setup::default() };
    let mut estate = Estate::temporary(&setup).expect("an estate that needs no provider to start");
    let provider = Provider::start(provider_port, &origin).expect("a provider");
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&pictures).expect("a folder");
    let walked = script("oidc").arg(&origin).arg(&pictures).output().expect("a browser");
    let said = String::from_utf8_lossy(&walked.stdout).into_owned();
    assert!(walked.status.success(), "{said}\n{}", String::from_utf8_lossy(&walked.stderr));
    let expected = [
        "operator",
        "cookie __Host-backstay true true Strict",
        "replayed 403",
        "replayed 403",
        "from a mail",
        "signed out",
        "viewer",
        "denied",
        "Contoso: carl is in 0 group(s) by claim groups, none of which has a role here; those that have: Exchange, All. Whoever gives groups there, \
         or rules in controller.toml here, can change that.",
        "cookies of nobody 0",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    // Told in the trail: who came, as what, by which way.
    let told = estate.desk().json(&["audit", "list", "--contains", "browser.signed"]).expect("a trail");
    let told: Vec<String> = told.as_array().expect("entries").iter().map(|entry| entry["action"].to_string()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    // Without the provider, its people are told what to do, and a link still signs in.
    drop(provider);
    let link = estate.desk().ok(&["sign-in", "--loopback"]).expect("a link");
    assert!(link.starts_with(&format!("http://{}/sign-in?link=", estate.ports().web)), "{link}");
    let link = estate.desk().ok(&["sign-in"]).expect("a link");
    assert!(link.starts_with(&format!("{origin}/sign-in?link=")), "{link}");
    estate.check_logs(&[]).expect("quiet logs");
    estate.stop().expect("stops");
}

#[test]
fn a_certificate_that_is_renewed_is_shown_without_a_restart_and_one_that_does_not_fit_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = certificate(folder.path());
    let port = port();
    let config = pages(folder.path(), port);
    let mut estate =
        Estate::temporary(&Setup { servers: Vec::new(), policy: None, config, ..Setup::default() }).expect("an estate");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(handshake(address).expect("a handshake"), first);
    // By its own name only; and what is for this machine is not to be had there.
    let (status, page) = get(address, &format!("127.0.0.1:{port}"), "/sign-in").expect("a page");
    assert!(status == 200 && page.contains("backstay sign-in"), "{page}");
    assert_eq!(get(address, "backstay.contoso.test", "/sign-in").expect("an answer").0, 403);
    for path in ["/metrics", "/healthz"] {
        assert_eq!(get(address, &format!("127.0.0.1:{port}"), path).expect("an answer").0, 303, "{path}: led to the sign-in");
    }
    // Who does not say what it wants keeps nobody's place.
    dawdle(address, Duration::from_secs(30)).expect("let go");
    // Whoever looks at the settings sees until when it is good; the incident of one that ends soon is a matter of the clock.
    let settings = estate.desk().json(&["settings"]).expect("settings");
    let (end, key) = (&settings["pages_certificate_ends"], "pages.url");
    assert!(end.as_str().is_some_and(|end| end.ends_with('Z')), "{settings}");
    let url = settings["settings"].as_array().expect("a list").iter().find(|setting| setting["key"] == key).expect(key);
    assert_eq!((&url["value"], &url["is_default"]), (&format!("https://127.0.0.1:{port}").into(), &false.into()));
    let good = fs::read(folder.path().join("pages.key")).expect("read");
    let second = certificate(folder.path());
    let next = fs::read(folder.path().join("pages.key")).expect("read");
    // Half of it only: the key is still the old one's.
    fs::write(folder.path().join("pages.key"), good).expect("written");
    let log = || fs::read_to_string(estate.folder().join("logs/controller.log")).unwrap_or_default();
    wait::until("the half to be noticed", LIMIT, || wait::when(log().contains("event=5512"), || "it is not".to_owned()))
        .expect("told");
    assert_eq!(handshake(address).expect("a handshake"), first, "the old one is shown as long as they do not fit");
    fs::write(folder.path().join("pages.key"), next).expect("written");
    wait::until("the new certificate", LIMIT, || {
        wait::when(handshake(address).is_ok_and(|shown| shown == second), || "the old one".to_owned())
    })
    .expect("taken up");
    estate.check_logs(&[]).expect("quiet logs");
    estate.stop().expect("stops");
}

/// What a program may do by a token is what was named, until it is revoked; whoever has neither token nor certificate is not heard.
#[test]
fn a_program_has_what_its_token_names_and_no_more() {
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("observe")), ..Setup::default() };
    let mut estate = Estate::temporary(&setup).expect("an estate");
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("seen");
    let desk = estate.desk();
    let file = desk.file("nagios.identity");
    let name = file.display().to_string();
    desk.ok(&["access", "token", "create", "nagios", "--scope", "read", "--ttl", "1h", "--out", &name]).expect("made");
    let by = |identity: &str, arguments: &[&str]| {
        let done = desk.run(&[arguments, &["--identity", identity]].concat()).expect("runs");
        (done.status.code().expect("ends"), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(by(&name, &["status"]).0, 0);
    assert_eq!(by(&name, &["check"]).0, 0);
    for arguments in [
        &["stop", "estate", "--reason", "x"][..],
        &["sign-in"],
        &["access", "list"],
        &["access", "token", "create", "more", "--scope", "read", "--ttl", "1h"],
        &["access", "end", "omar", "--reason", "x"],
        &["token", "create", "--server", "EX2"],
    ] {
        let (code, said) = by(&name, arguments);
        assert!(code == 5 && said.contains("for read only"), "{arguments:?}: {code} {said}");
    }
    assert!(desk.json(&["stop", "list"]).expect("stops").as_array().expect("a list").is_empty(), "nothing was stopped");

    // A token that is not, one that is cut off, and a file with the CA alone.
    let good = fs::read_to_string(&file).expect("read");
    let (token, authority) = good.split_once('\n').expect("lines");
    let forged = format!("backstay-token {}\n{authority}", "A".repeat(43));
    for (what, text) in [
        ("forged", forged),
        ("cut off", format!("{}\n{authority}", &token[..40])),
        ("empty", format!("backstay-token \n{authority}")),
    ] {
        let other = desk.file("other.identity");
        fs::write(&other, text).expect("written");
        let (code, said) = by(&other.display().to_string(), &["status"]);
        assert!(code == 4 && said.contains("a token that is good"), "{what}: {code} {said}");
    }
    let listed = desk.json(&["access", "list"]).expect("ways in");
    assert_eq!((&listed["tokens"][0]["name"], &listed["tokens"][0]["scope"][0]), (&"nagios".into(), &"read".into()));
    assert!(listed["tokens"][0]["used_at"].is_string(), "{listed}");
    for tried in [&["access", "token", "revoke", "nagios"][..], &["access", "end", "admin", "--reason", "who knows"]] {
        desk.ok(&[tried, &["--dry-run"]].concat()).expect("judged");
    }
    assert_eq!(by(&name, &["status"]).0, 0, "what was only tried ended nothing");
    desk.ok(&["access", "token", "revoke", "nagios"]).expect("revoked");
    let (code, said) = by(&name, &["status"]);
    assert!(code == 4 && said.contains("or not any more"), "{code} {said}");
    estate.check_logs(&[]).expect("quiet logs");
    estate.stop().expect("stops");
}
