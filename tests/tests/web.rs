//! The pages as a browser without scripts sees them, and what is sent to those that are open.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::desk::Desk;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

fn estate() -> Estate {
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("act")), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}

/// A browser that keeps the cookie it was given.
struct Browser<'a> {
    estate: &'a Estate,
    cookie: String,
}

impl<'a> Browser<'a> {
    /// Signed in by the link that the command line makes.
    fn signed_in(estate: &'a Estate) -> Result<Self> {
        Self::of(estate, estate.desk())
    }

    /// The same, as whoever has this workstation.
    fn of(estate: &'a Estate, desk: &Desk) -> Result<Self> {
        let link = desk.ok(&["sign-in"])?;
        let (address, secret) = link.trim().split_once("/sign-in?link=").context("a link")?;
        ensure!(address == format!("http://{}", estate.ports().web), "{link}");
        let mut browser = Self { estate, cookie: String::new() };
        let answer = browser.post("/sign-in", &format!("link={secret}"))?;
        ensure!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).context("a cookie")?;
        browser.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(browser)
    }

    fn send(&self, head: &str, body: &str) -> Result<TcpStream> {
        let web = self.estate.ports().web;
        let mut stream = TcpStream::connect(web)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let (cookie, length) = (&self.cookie, body.len());
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: {web}\r\nOrigin: http://{web}\r\nCookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        Ok(stream)
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut answer = String::new();
        self.send(&format!("GET {path}"), "")?.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn post(&self, path: &str, body: &str) -> Result<String> {
        let mut answer = String::new();
        self.send(&format!("POST {path}"), body)?.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What is sent to this page from now on, an event a piece, until the limit.
    fn live(&self, page: &str) -> Result<impl Iterator<Item = String> + use<>> {
        let mut lines = BufReader::new(self.send(&format!("GET /live?page={page}"), "")?).lines();
        let until = Instant::now() + LIMIT;
        Ok(std::iter::from_fn(move || {
            let mut event = String::new();
            loop {
                let line = lines.next()?.ok().filter(|_| Instant::now() < until)?;
                // Between events are their lengths, and signs of life.
                match line.strip_prefix("data:") {
                    Some(data) => event = event + data + "\n",
                    None if line.is_empty() && !event.is_empty() => return Some(event),
                    None => {}
                }
            }
        }))
    }
}

/// A script of `tests/pages` in a browser that is not ours, as who is signed in. `tests/run` installs what it needs; where is known to
/// `tests/pages/browser`. Its pictures are in the target folder, under `tmp/pages`, for people to look at.
fn outside(script: &str, browser: &Browser<'_>) -> Command {
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&pictures).expect("a folder");
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/pages/browser"));
    command.arg(script).arg(format!("http://{}", browser.estate.ports().web)).arg(&browser.cookie).arg(&pictures);
    command
}

#[test]
fn whoever_looks_sees_a_loss_and_its_repair_without_asking_again() {
    let mut estate = estate();
    let host = estate.host("EX1").expect("a host");
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("seen");
    {
        let browser = Browser::signed_in(&estate).expect("signed in");
        let page = browser.get("/").expect("a page");
        assert!(page.contains("The one server is well") && page.contains("untouched for "), "{page}");
        let server = browser.get("/servers/EX1").expect("a page");
        for words in ["Back end, port 444", "the certificate is there, its key works", "serves that certificate"] {
            assert!(server.contains(words), "{words} in\n{server}");
        }
        let mut live = browser.live("/servers/EX1").expect("a stream");
        let well = "serves that certificate";
        assert!(live.any(|event| event.contains(well)), "sent once at the beginning");
        host.damage(&Damage::RemoveRecordAndCertificate).expect("lost");
        // A page is made anew a little later than things happen, and what lasts for seconds may be over by then: the timeline keeps it.
        let all = [well, "444 names nothing from here on", "undelete proposed", "undelete confirmed"];
        let mut last = String::new();
        let mut sees = |event: String| {
            last = event;
            all.iter().all(|words| last.contains(words))
        };
        assert!(live.any(&mut sees), "the loss, its plan and the repair are sent; last:\n{last}");
        let done = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
        let plan = estate.wait_plan("EX1", "an undelete that is confirmed", LIMIT, done).expect("put back");
        let id: String = plan.id.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let page = browser.get(&format!("/plans/{id}")).expect("a page");
        for words in ["undelete on", "put back into MY", "by standing approval of policy", "What it came to"] {
            assert!(page.contains(words), "{words} in\n{page}");
        }
        // Nobody sees anything more who is not signed in any more.
        assert!(browser.post("/sign-out", "").expect("an answer").starts_with("HTTP/1.1 303 "));
        assert!(browser.get("/").expect("an answer").starts_with("HTTP/1.1 303 "));
        assert!(browser.get("/live?page=/").expect("an answer").starts_with("HTTP/1.1 403 "));
        // The numbers are for tools on this machine, and need no cookie.
        assert!(browser.get("/metrics").expect("an answer").contains("backstay_servers{verdict=\"healthy\"} 1"));
    }
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

/// Every page as each role, which sees what it may do and nothing else.
#[test]
fn outside_browser_walks_every_page_as_each_role_and_finds_nothing_wrong() {
    let mut estate = estate();
    let host = estate.host("EX1").expect("a host");
    // Something of everything: a plan that was run, one that waits, findings, a stop.
    host.damage(&Damage::DeleteCertificate).expect("lost");
    let done = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
    let run = estate.wait_plan("EX1", "an undelete that is confirmed", LIMIT, done).expect("put back");
    host.damage(&Damage::DeleteKey).expect("lost");
    let waits = |plan: &proto::operator::Plan| plan.purpose == "create" && plan.life == "proposed";
    let waiting = estate.wait_plan("EX1", "a plan that waits", LIMIT, waits).expect("proposed");
    estate.desk().ok(&["stop", "server", "EX1", "--reason", "somebody looks at it"]).expect("stopped");
    // The other roles' bundles are made where the controller is, while it is down.
    estate.stop_controller().expect("stops");
    let desks: Vec<(&str, Desk)> = ["viewer", "operator", "approver", "auditor"].map(|role| (role, other(&estate, role))).into();
    estate.start_controller().expect("starts");
    estate.wait_connected("EX1", LIMIT).expect("comes back");
    {
        let plan = |id: &[u8]| format!("/plans/{}", tests::desk::hex(id).get(..12).unwrap_or_default());
        let pages = [
            "/",
            "/servers/EX1",
            "/incidents",
            "/plans",
            "/policy",
            "/calendar",
            "/patch-night",
            "/audit",
            "/audit/verify",
            "/enrolment",
            "/assess",
            "/stops",
            "/access",
            "/settings",
        ];
        let pages: Vec<String> = pages.map(str::to_owned).into_iter().chain([plan(&run.id), plan(&waiting.id)]).collect();
        let all = desks.iter().map(|(role, desk)| (*role, desk)).chain([("admin", estate.desk())]);
        for (role, desk) in all {
            let browser = Browser::of(&estate, desk).expect("signed in");
            let output = outside("walk", &browser).arg(role).args(&pages).output().expect("tests/pages/browser runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{role}: {said}");
            assert_eq!(said.lines().filter(|line| line.starts_with("walked ")).count(), pages.len(), "{said}");
        }
    }
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

/// The workstation of somebody in this role.
fn other(estate: &Estate, role: &str) -> Desk {
    let folder = estate.folder().join(role);
    std::fs::create_dir(&folder).expect("a folder");
    let bundle = folder.join("operator.pem").display().to_string();
    estate.beside(&["init", "--operator", &format!("the-{role}"), "--role", role, "--out", &bundle]).expect("a bundle");
    Desk::new(estate.binaries().clone(), &folder, estate.ports().operators)
}

/// The key never leaves the browser, the root admits it, the agent counts it, and beside it somebody signs on a workstation.
#[test]
fn outside_browser_signs_a_renewal_that_a_workstation_signs_too() {
    let setup = Setup {
        servers: vec![("EX1", None)],
        approvers: vec!["anna", "admin"],
        need: vec!["renew=2"],
        policy: Some(policy("propose")),
        ..Setup::default()
    };
    let mut estate = Estate::temporary(&setup).expect("an estate");
    let host = estate.host("EX1").expect("a host");
    host.damage(&Damage::Expiring { days: 20 }).expect("ends soon");
    let waits = |plan: &proto::operator::Plan| plan.purpose == "renew" && plan.life == "proposed";
    let plan = estate.wait_plan("EX1", "a renewal that waits", LIMIT, waits).expect("proposed");
    let id = tests::desk::hex(&plan.id);
    {
        let browser = Browser::signed_in(&estate).expect("signed in");
        let mut child = outside("approve", &browser).arg(&id).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
        let mut told = child.stdin.take().expect("a pipe");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut hears = || said.next().unwrap_or_default();
        let line = hears();
        let key = line.strip_prefix("key ").unwrap_or_else(|| panic!("expected a key, found {line:?}, {:?}", child.wait()));

        let admit = format!("admin={key}");
        let next = ["trust", "next", "--from", "trust/trust.signed", "--admit-browser", &admit, "--browser", "renew"];
        estate.desk().ok(&[&next[..], &["--key", "trust/root.key", "--out", "next.signed"]].concat()).expect("made");
        estate.desk().ok(&["trust", "apply", "next.signed"]).expect("in force");
        writeln!(told, "admitted").expect("told");
        assert_eq!(hears(), "signed");

        let shown = estate.desk().plan(&plan.id).expect("there");
        let summary = &shown.approvals[0];
        assert_eq!((&*summary.person, &*summary.reason, &*summary.change), ("admin", "it ends soon", "CHG-7"));
        // One of two; the other is somebody who read the plan's own bytes.
        assert_eq!(shown.plan.expect("a plan").life, "proposed");
        estate.desk().approve(&id, "anna", "CHG-7").expect("approved");
        writeln!(told, "approved").expect("told");
        let done = |plan: &proto::operator::Plan| plan.purpose == "renew" && plan.life == "confirmed";
        estate.wait_plan("EX1", "a renewal that is confirmed", LIMIT, done).expect("renewed");
        assert_eq!(hears(), "confirmed");
        let rest: Vec<String> = said.collect();
        assert!(child.wait().expect("ends").success() && rest.is_empty(), "{rest:#?}");
    }
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
