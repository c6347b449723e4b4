//! A checkup as people read it, and as programs do.

use policy::Timestamp;
use policy::checkup::{Check, Checkup, Kept, Kind, Outcome, Prospect, Subject, prospect};
use serde::Serialize;

/// How a checkup is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line for each check.
    Table,
    /// One JSON value; its fields are added to and never renamed.
    Json,
}

/// The checkup as text. `before` is the last one of the other kind, which has a say in whether a renewal would succeed.
pub fn print(checkup: &Checkup, before: Option<&Checkup>, format: Format, now: Timestamp) -> String {
    let (look, rehearsal) = match checkup.kind {
        Kind::Look => (Some(checkup), before),
        Kind::Rehearsal => (before, Some(checkup)),
    };
    let prospect = prospect(Kept { look, rehearsal }, checkup.subject.exchange.as_deref(), now);
    match format {
        Format::Table => table(checkup, &prospect),
        Format::Json => {
            let (renewal, renewal_why, findings) = (prospect.as_str(), prospect.why(), checkup.has_findings());
            let page = Page { checkup, findings, renewal, renewal_why };
            serde_json::to_string_pretty(&page).expect("a checkup is plain data") + "\n"
        }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    checkup: &'a Checkup,
    findings: bool,
    renewal: &'static str,
    renewal_why: String,
}

fn table(checkup: &Checkup, prospect: &Prospect) -> String {
    let Checkup { at, kind, agent_version, subject: Subject { machine_id: _, system, exchange }, checks } = checkup;
    let what = match kind {
        Kind::Look => "looked, and changed nothing",
        Kind::Rehearsal => "looked and rehearsed",
    };
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let (system, exchange) = (known(system), known(exchange));
    let mut text =
        format!("{what}, {}: {system}, Exchange {exchange}, agent {agent_version}\n", at.strftime("%Y-%m-%dT%H:%M:%SZ"));
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0).max("CHECK".len());
    text.push_str(&format!("{:width$}  RESULT     {:>9}  WHAT\n", "CHECK", "TIME"));
    for check in checks {
        let Check { name, needed: _, micros, outcome } = check;
        let word = if check.is_finding() { word(outcome).to_uppercase() } else { word(outcome).to_owned() };
        let time = micros.map_or_else(|| "-".to_owned(), milliseconds);
        text.push_str(&format!("{:width$}  {word:9}  {time:>9}  {}{}\n", line(name), said(outcome), line(outcome.text())));
        if let Outcome::Failed { next, .. } = outcome
            && !next.is_empty()
        {
            text.push_str(&format!("{:width$}  {:9}  {:>9}  next: {}\n", "", "", "", line(next)));
        }
    }
    let count = |outcome: &str| checks.iter().filter(|check| check.outcome.as_str() == outcome).count();
    let [proven, failed, unproven, not_tried] = ["proven", "failed", "unproven", "not_tried"].map(count);
    text.push_str(&format!("{proven} proven here, {failed} failed, {unproven} unproven, {not_tried} not tried\n"));
    text.push_str(&format!("a renewal would succeed here: {}\n", line(&prospect.to_string())));
    text
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::NotTried { .. } => "not tried",
        other @ (Outcome::Proven { .. } | Outcome::Failed { .. } | Outcome::Unproven { .. }) => other.as_str(),
    }
}

/// What stands before the words of an outcome, where they alone would not say what they are.
fn said(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Unproven { .. } => "lacks: ",
        Outcome::Proven { .. } | Outcome::Failed { .. } | Outcome::NotTried { .. } => "",
    }
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

/// In one line: a host says things, and a terminal obeys some of them.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkup() -> Checkup {
        let check = |name: &str, needed, micros, outcome| Check { name: name.to_owned(), needed, micros, outcome };
        let failed = Outcome::Failed { why: "found\nerror 5".to_owned(), code: Some(5), next: "run it elevated".to_owned() };
        Checkup {
            at: "2026-11-20T10:00:00Z".parse().expect("a moment"),
            kind: Kind::Look,
            agent_version: "0.1.0".to_owned(),
            subject: Subject { machine_id: None, system: Some("Windows 6.3.9600".to_owned()), exchange: None },
            checks: vec![
                check("store.MY", true, Some(1234), Outcome::Proven { found: "2 certificates".to_owned() }),
                check("records", true, Some(99), failed),
                check("rehearsal", true, None, Outcome::NotTried { why: "it makes a key".to_owned() }),
                check("host.full_name", false, None, Outcome::Unproven { lacks: "no domain".to_owned() }),
            ],
        }
    }

    #[test]
    fn people_read_a_line_for_each_check_and_what_to_do_next() {
        let expected = "\
looked, and changed nothing, 2026-11-20T10:00:00Z: Windows 6.3.9600, Exchange unknown, agent 0.1.0
CHECK           RESULT          TIME  WHAT
store.MY        proven        1.2 ms  2 certificates
records         FAILED        0.0 ms  found error 5
                                      next: run it elevated
rehearsal       not tried          -  it makes a key
host.full_name  unproven           -  lacks: no domain
1 proven here, 1 failed, 1 unproven, 1 not tried
a renewal would succeed here: no: records: found error 5 (looked at 2026-11-20)
";
        let now = "2026-11-20T10:00:00Z".parse().expect("a moment");
        assert_eq!(print(&checkup(), None, Format::Table, now), expected);
    }

    #[test]
    fn programs_read_all_of_it() {
        let now = "2026-11-20T10:00:00Z".parse().expect("a moment");
        let json: serde_json::Value = serde_json::from_str(&print(&checkup(), None, Format::Json, now)).expect("json");
        assert_eq!((&json["renewal"], &json["findings"], &json["kind"]), (&"no".into(), &true.into(), &"look".into()));
        assert_eq!(json["checks"][1]["code"], 5);
        assert_eq!(json["checks"][2]["outcome"], "not_tried");
    }

    #[test]
    fn a_rehearsal_that_is_kept_has_its_say_after_a_look() {
        let mut look = checkup();
        look.checks.remove(1);
        let mut rehearsal = look.clone();
        rehearsal.kind = Kind::Rehearsal;
        rehearsal.at = "2026-11-19T10:00:00Z".parse().expect("a moment");
        rehearsal.checks.retain(|check| check.name == "store.MY");
        let text = print(&look, Some(&rehearsal), Format::Table, look.at);
        assert!(text.ends_with("a renewal would succeed here: yes, rehearsed 2026-11-19\n"), "{text}");
    }
}
