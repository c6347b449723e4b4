//! *Server*: understood in thirty seconds. Both ends are drawn as the chain on which each stands: what http.sys says, what the store says, what
//! was served.

use askama::Template;
use policy::report::{BACK_END_PORT, FRONT_END_PORT, Fact, KeyState, ProbeOutcome, Report, SslRecord};
use proto::invalid::present;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, ExplainServerRequest, ExplainServerResponse, GetServerRequest, GetServerResponse};

use super::access::Who;
use super::plans::{PlanLine, day, moment};
use super::texts::{filters, text};
use super::{Shown, Trouble, Web, class_of_severity};
use crate::colour;

/// Plans on the page: the newest.
const PLANS: usize = 20;

/// What happened, on the page: the newest.
const HAPPENED: usize = 60;

pub(super) async fn show(web: &Web, who: &Who, name: &str) -> Result<Shown, Trouble> {
    let found = web.operators.get_server(who.ask(GetServerRequest { name: name.to_owned() })).await?.into_inner();
    let why = web.operators.explain_server(who.ask(ExplainServerRequest { name: name.to_owned() })).await?.into_inner();
    let view = ServerPage::of(found, why)?;
    Ok(Shown { title: view.name.clone(), main: view.render()? })
}

#[derive(Template)]
#[template(path = "server.html")]
struct ServerPage {
    name: String,
    class: &'static str,
    verdict: String,
    lead: String,
    sites: Vec<Site>,
    findings: Vec<FindingLine>,
    decision: String,
    rule: String,
    would_change: Vec<String>,
    plans: Vec<PlanLine>,
    timeline: Vec<Happened>,
    about: Vec<(String, String)>,
    facts: Vec<String>,
}

/// Something that was, and when.
struct Happened {
    at: i64,
    moment: String,
    class: &'static str,
    text: String,
    /// The plan that it is about, if it is about one.
    plan: Option<String>,
}

/// One end of the server.
struct Site {
    title: String,
    links: Vec<Link>,
}

/// What one says of it, in the order in which a handshake comes upon them.
struct Link {
    class: &'static str,
    who: String,
    text: String,
}

struct FindingLine {
    class: &'static str,
    code: String,
    title: String,
    evidence: Vec<String>,
}

impl ServerPage {
    /// Pure: the same answers make the same page.
    fn of(found: GetServerResponse, why: ExplainServerResponse) -> Result<Self, tonic::Status> {
        let GetServerResponse { server, findings, report_json, plans, checkups: _, peers, history } = found;
        let timeline = timeline(history, &plans);
        let server = present("GetServerResponse.server", server)?;
        let report: Option<Report> = serde_json::from_str(&report_json).ok();
        let mut sites: Vec<Site> = report.iter().flat_map(ends).collect();
        let outside = peers.into_iter().map(|operator::PeerCheck { peer, connected: _, word, text }| Link {
            class: match word.as_str() {
                "agrees" => "well",
                "differs" => "bad",
                _ => "grey",
            },
            who: text!("server-seen-from", peer = peer),
            text,
        });
        if let Some(back_end) = sites.last_mut() {
            back_end.links.extend(outside);
        }
        let or_dash = |text: String| if text.is_empty() { "–".to_owned() } else { text };
        let ExplainServerResponse { verdict: _, facts, rule, decision, why, would_change, next_look: _ } = why;
        let lead = match (server.connected, server.last_seen) {
            (true, _) => why,
            (false, 0) => text!("server-never-heard"),
            (false, at) => text!("server-silent", day = day(at), why = why),
        };
        let mut plans: Vec<PlanLine> = plans.into_iter().map(PlanLine::of).collect();
        plans.truncate(PLANS);
        Ok(Self {
            class: colour::of_word(&server.verdict),
            verdict: if server.verdict.is_empty() { text!("common-no-report-yet") } else { server.verdict.replace('_', " ") },
            lead,
            sites,
            findings: findings
                .into_iter()
                .map(|operator::Finding { code, title, severity, evidence }| FindingLine {
                    class: class_of_severity(&severity),
                    code,
                    title,
                    evidence,
                })
                .collect(),
            decision: decision.replace('_', " "),
            rule,
            would_change,
            plans,
            timeline,
            about: vec![
                (text!("server-mode"), or_dash(server.mode)),
                (text!("common-dag"), or_dash(server.dag)),
                (text!("common-ad-site"), or_dash(server.site)),
                (text!("server-exchange"), or_dash(server.exchange)),
                (text!("server-agent"), or_dash(server.agent_version)),
                (text!("server-renewal"), or_dash(server.renewal)),
                (text!("server-untouched"), server.untouched_since.map_or_else(|| or_dash(String::new()), day)),
            ],
            facts,
            name: server.name,
        })
    }
}

/// How it stood and what was planned, the newest first.
fn timeline(history: Vec<operator::Stood>, plans: &[operator::Plan]) -> Vec<Happened> {
    let mut before = history.iter().skip(1).map(|stood| stood.thumbprint.clone()).collect::<Vec<_>>().into_iter();
    let mut all: Vec<Happened> = Vec::new();
    for operator::Stood { since, verdict, findings, thumbprint } in history {
        let found = if findings.is_empty() { String::new() } else { format!(": {}", findings.join(", ")) };
        let rebound = match before.next() {
            Some(before) if before != thumbprint => {
                if thumbprint.is_empty() {
                    text!("server-names-nothing")
                } else {
                    text!("server-names", thumbprint = thumbprint)
                }
            }
            Some(_) | None => String::new(),
        };
        let text = format!("{}{found}{rebound}", verdict.replace('_', " "));
        all.push(Happened { at: since, moment: moment(since), class: colour::of_word(&verdict), text, plan: None });
    }
    for plan in plans {
        let PlanLine { short, purpose, life, .. } = PlanLine::of(plan.clone());
        let told = |at, word: &str| Happened {
            at,
            moment: moment(at),
            class: "grey",
            text: format!("{purpose} {word}"),
            plan: Some(short.clone()),
        };
        all.push(told(plan.created_at, "proposed"));
        if life != "proposed" {
            all.push(told(plan.changed_at, &life));
        }
    }
    // What is known to be later stands first also within a minute.
    all.sort_by_key(|happened| std::cmp::Reverse(happened.at));
    all.truncate(HAPPENED);
    all
}

/// Both ends, the front end first: what clients come upon first.
fn ends(report: &Report) -> [Site; 2] {
    [
        Site { title: text!("server-front-end"), links: chain(report, FRONT_END_PORT) },
        Site { title: text!("server-back-end"), links: chain(report, BACK_END_PORT) },
    ]
}

fn chain(report: &Report, port: u16) -> Vec<Link> {
    let mut links = Vec::new();
    let grey = |who: &str, why: &str| Link { class: "grey", who: who.to_owned(), text: text!("server-unknown", why = why) };
    let mut bound = None;
    match &report.records {
        Fact::Unknown(why) => links.push(grey("http.sys", why)),
        Fact::Known(records) => {
            let here: Vec<&SslRecord> = records.iter().filter(|record| record.port() == Some(port)).collect();
            bound = here.iter().find(|record| record.is_back_end() || record.is_front_end()).or(here.first()).copied();
            if here.is_empty() {
                links.push(Link { class: "bad", who: "http.sys".to_owned(), text: text!("server-no-record") });
            }
            for record in here {
                let names = record.thumbprint.map_or_else(|| text!("server-no-certificate"), |found| found.to_string());
                let class = if record.thumbprint.is_some() { "well" } else { "bad" };
                let (endpoint, store) = (record.endpoint.to_string(), record.store().to_string());
                let text = text!("server-record", endpoint = endpoint, names = names, store = store);
                links.push(Link { class, who: "http.sys".to_owned(), text });
            }
        }
    }
    let mut holds = None;
    if let Some((record, thumbprint)) = bound.and_then(|record| Some((record, record.thumbprint?))) {
        let who = text!("server-store", store = record.store().to_string());
        match report.entry(&record.store(), thumbprint) {
            Fact::Unknown(why) => links.push(grey(&who, &why)),
            Fact::Known(None) => links.push(Link { class: "bad", who, text: text!("server-not-there") }),
            Fact::Known(Some(entry)) => {
                holds = Some(entry.certificate);
                let there = if entry.archived { text!("server-there-archived") } else { text!("server-there") };
                let (class, key) = match &entry.key_state {
                    Fact::Known(KeyState::Usable) => ("well", text!("server-key-works")),
                    Fact::Known(state) => ("bad", text!("server-key-unusable", state = state.to_string())),
                    Fact::Unknown(why) => ("grey", text!("server-key-unknown", why = why.as_str())),
                };
                links.push(Link { class, who, text: format!("{there}, {key}") });
            }
        }
    }
    for probe in report.probes.iter().filter(|probe| probe.port == port) {
        let (class, text) = match &probe.outcome {
            ProbeOutcome::Presented { certificate } if Some(*certificate) == holds => ("well", text!("server-serves-it")),
            ProbeOutcome::Presented { .. } => ("soon", text!("server-serves-another")),
            ProbeOutcome::Refused => ("bad", text!("server-nobody-listens")),
            ProbeOutcome::NoHandshake(why) => ("bad", text!("server-no-handshake", why = why.as_str())),
            ProbeOutcome::Unreachable(why) => ("grey", text!("server-not-reached", why = why.as_str())),
            ProbeOutcome::Elsewhere(why) => ("grey", text!("server-elsewhere", why = why.to_string())),
        };
        links.push(Link { class, who: text!("server-handshake", path = probe.path.to_string()), text });
    }
    links
}
