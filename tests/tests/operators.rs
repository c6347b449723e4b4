//! What operators run beside the tour: `watch`, `doctor`, contexts.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

fn estate(mode: &str, need: &[&'static str]) -> Estate {
    let setup = Setup { servers: vec![("EX1", None)], need: need.to_vec(), policy: Some(policy(mode)), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}

#[test]
fn who_watches_is_told_of_a_loss_its_repair_and_the_end_of_an_agent() {
    let mut estate = estate("act", &[]);
    let mut command = estate.desk().command(&["watch", "-o", "json"]).expect("a command");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // It says when it has begun.
    let mut talk = BufReader::new(child.stderr.take().expect("piped"));
    let mut begun = String::new();
    talk.read_line(&mut begun).expect("a line");
    assert!(begun.starts_with("1 server(s)"), "{begun}");
    let (lines, told) = mpsc::channel();
    let data = BufReader::new(child.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        for line in data.lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let mut heard: Vec<String> = Vec::new();
    let mut wait_for = |what: &str, wanted: &dyn Fn(&Value) -> bool| loop {
        let line = told.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("expected {what}, heard {heard:#?}"));
        let happening: Value = serde_json::from_str(&line).expect("a line of JSON");
        heard.push(line);
        if wanted(&happening) {
            return;
        }
    };
    estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("lost");
    wait_for("the plan", &|said| {
        said["what"] == "plan.confirmed" && said["detail"].as_str().is_some_and(|why| why.contains("EX1"))
    });
    estate.stop_agent("EX1").expect("stops");
    wait_for("the end of the link", &|said| said["what"] == "link" && said["subject"] == "EX1" && said["is"] == "down");
    child.kill().expect("ends");
    child.wait().expect("ended");
    reader.join().expect("read to the end");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn doctor_says_what_is_ready_and_what_is_not_with_the_next_step() {
    let mut estate = estate("observe", &["renew=2"]);
    let look = |estate: &Estate| {
        let output = estate.desk().run(&["doctor", "-o", "json"]).expect("ends");
        let checks: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let wrong: Vec<String> = checks
            .as_array()
            .expect("a list")
            .iter()
            .filter(|check| check["ok"] == false)
            .map(|check| format!("{}: {}; {}", check["name"], check["found"], check["next"]))
            .collect();
        (output.status.code(), wrong)
    };
    let (code, wrong) = look(&estate);
    assert_eq!((code, wrong.len()), (Some(6), 1), "{wrong:#?}");
    assert!(wrong[0].contains("2 must sign, and no more than 2 can") && wrong[0].contains("trust next"), "{wrong:#?}");
    estate.stop_agent("EX1").expect("stops");
    let silent = || {
        let (_, wrong) = look(&estate);
        tests::wait::when(wrong.iter().any(|line| line.contains("not heard: EX1")), || format!("{wrong:#?}"))
    };
    tests::wait::until("doctor to miss EX1", LIMIT, silent).expect("said");
    estate.stop_controller().expect("stops");
    let (code, wrong) = look(&estate);
    assert!(code == Some(6) && wrong.iter().any(|line| line.contains("is the controller running")), "{wrong:#?}");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_monitoring_system_reads_one_line_and_its_own_four_numbers() {
    let mut estate = estate("observe", &[]);
    let check = |estate: &Estate, line: &[&str]| {
        let output = estate.desk().run(line).expect("ends");
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        (output.status.code().expect("a code"), text)
    };
    let wait_for = |estate: &Estate, code: i32, words: &str| {
        let seen = || {
            let (found, text) = check(estate, &["check"]);
            tests::wait::when(found == code && text.contains(words), || format!("{found}: {text}"))
        };
        tests::wait::until(&format!("check to end with {code}"), LIMIT, seen).expect("said");
    };
    wait_for(&estate, 0, "BACKSTAY OK - contoso: 1 of 1 server(s) healthy; the certificate of EX1 ends on ");
    let shows = |estate: &Estate, lines: &[&str]| {
        let metrics = estate.metrics().expect("metrics");
        lines.iter().for_each(|line| assert!(metrics.lines().any(|found| found == *line), "{line} is missing in\n{metrics}"));
    };
    let compliant = |value: u8| format!("backstay_binding_compliant{{host=\"EX1\",role=\"back_end\",port=\"444\"}} {value}");
    shows(&estate, &[&compliant(1), "backstay_servers{verdict=\"healthy\"} 1", "backstay_agent_connected{host=\"EX1\"} 1"]);
    assert_eq!(check(&estate, &["check", "EX1", "--warning", "36000d"]).0, 1, "it ends within a hundred years");
    let (code, text) = check(&estate, &["check", "EX9"]);
    assert!(code == 3 && text.starts_with("BACKSTAY UNKNOWN - ") && text.contains("EX9"), "{code}: {text}");
    let (code, text) = check(&estate, &["check", "--warnin", "1d"]);
    assert!(code == 3 && text.contains("--warnin"), "{code}: {text}");
    let host = estate.host("EX1").expect("a host");
    host.damage(&Damage::DeleteCertificate).expect("lost");
    wait_for(&estate, 2, "EX1 deleted: ");
    let (code, text) = check(&estate, &["check", "EX1"]);
    assert!(code == 2 && text.starts_with("BACKSTAY CRITICAL - EX1: deleted; EX1 deleted: "), "{code}: {text}");
    assert!(estate.desk().ok(&["status"]).expect("a status").contains("trouble     EX1 deleted: "));
    shows(&estate, &[&compliant(0), "backstay_servers{verdict=\"deleted\"} 1", "backstay_agent_connected{host=\"EX1\"} 1"]);
    estate.stop_agent("EX1").expect("stops");
    wait_for(&estate, 2, "EX1 is not heard");
    shows(&estate, &[&compliant(0), "backstay_agent_connected{host=\"EX1\"} 0"]);
    estate.stop_controller().expect("stops");
    wait_for(&estate, 3, "BACKSTAY UNKNOWN - nobody can say; ");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_report_tells_plans_from_what_somebody_else_did_and_proves_itself() {
    let mut estate = estate("act", &[]);
    let host = estate.host("EX1").expect("a host");
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("seen");
    let report = |estate: &Estate| estate.desk().json(&["report"]).expect("a report");
    let before = report(&estate);
    let server = &before["servers"][0];
    assert_eq!((&server["server"], &server["verdict"]), (&"EX1".into(), &"healthy".into()));
    // The lab's certificates are older than the lab.
    assert_eq!(server["untouched_since"], server["certificate"]["not_before"], "{server}");
    assert!(server["untouched_days"].as_i64().expect("days") > 0, "{server}");
    assert_eq!(before["changes"], serde_json::json!([]));

    host.damage(&Damage::RemoveRecordAndCertificate).expect("lost");
    let done = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
    estate.wait_plan("EX1", "an undelete that is confirmed", LIMIT, done).expect("put back");
    let restored = report(&estate);
    let changes = restored["changes"].as_array().expect("a list");
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!((&changes[0]["plan"]["purpose"], &changes[0]["plan"]["outcome"]), (&"undelete".into(), &"restored".into()));
    assert!(changes[0]["plan"]["standing"].is_string(), "{changes:#?}");
    assert_eq!(restored["servers"][0]["untouched_days"], 0);

    // The page and the tables, once and never over what is there.
    let (page, tables) = (estate.folder().join("report.html"), estate.folder().join("report"));
    let line = ["report", "--html", &page.display().to_string(), "--csv", &tables.display().to_string()].map(str::to_owned);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    estate.desk().ok(&line).expect("written");
    let html = std::fs::read_to_string(&page).expect("a page");
    assert!(html.contains("undelete: restored") && html.contains("standing approval of policy"), "{html}");
    let rows = |name: &str| std::fs::read_to_string(tables.join(name)).expect("a table").lines().count();
    assert_eq!((rows("servers.csv"), rows("changes.csv")), (2, 2));
    assert_eq!(estate.desk().run(&line).expect("ends").status.code(), Some(1), "nothing is overwritten");

    // What it says of the trail holds, also when the trail has grown.
    let anchor = format!("{}:{}", before["audit_sequence"], before["audit_head"].as_str().expect("a hash"));
    estate.desk().ok(&["audit", "verify", "--anchor", &anchor]).expect("it still is what it was");
    assert_eq!(estate.desk().run(&["report", "--on", "2999-01-01"]).expect("ends").status.code(), Some(2));
    let early = estate.desk().json(&["report", "--on", "2001-01-01"]).expect("a report");
    assert_eq!((&early["servers"], &early["audit_sequence"]), (&serde_json::json!([]), &0.into()));
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn what_somebody_else_puts_on_444_is_told_as_that() {
    let mut estate = estate("act", &[]);
    let host = estate.host("EX1").expect("a host");
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("seen");
    host.damage(&Damage::AnotherCertificate).expect("put there");
    let seen = || {
        let report = estate.desk().json(&["report"]).expect("a report");
        tests::wait::when(report["changes"].as_array().is_some_and(|changes| changes.len() == 1), || format!("{report:#}"))
    };
    tests::wait::until("the report to tell it", LIMIT, seen).expect("told");
    let changes = estate.desk().json(&["report"]).expect("a report")["changes"].clone();
    assert_eq!(changes[0]["plan"], Value::Null);
    let (before, after) = (&changes[0]["rebound"][0], &changes[0]["rebound"][1]);
    assert!(before.is_string() && after.is_string() && before != after, "{changes:#}");
    let text = estate.desk().ok(&["report"]).expect("a report");
    assert!(text.contains("somebody else, by no plan") && text.contains("0 by plans, 1 by others"), "{text}");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_controller_is_asked_by_the_name_that_it_was_given() {
    let mut estate = estate("observe", &[]);
    let book = estate.folder().join("contexts.toml");
    let desk = estate.desk();
    // What every other command line of the desk names, this one keeps.
    let mut set = desk.command(&["context", "set", "lab"]).expect("a command");
    assert!(set.env("BACKSTAY_CONTEXTS", &book).output().expect("runs").status.success());
    let mut asked = estate.binaries().command("backstay").expect("built");
    asked.args(["--context", "lab", "status", "-o", "json"]).env("BACKSTAY_CONTEXTS", &book);
    // Set in the shell for another one: the line means the lab.
    let output = asked.env("BACKSTAY_CONTROLLER", "127.0.0.1:1").output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["servers"], 1);
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
