//! *Estate*: understood in five seconds. What wants somebody stands first, and the servers stand as they wait for each other.

use std::collections::BTreeMap;

use askama::Template;
use policy::Timestamp;
use proto::invalid::micros;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, GetStatusRequest, GetStatusResponse, ListServersRequest, ListStopsRequest};

use super::access::Who;
use super::plans::day;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web, class_of_severity};
use crate::colour;
use crate::operators::access::Right;

/// Asked for at once.
const PAGE: i32 = 1_000;

/// The most servers on the page; behind them stands how many more there are.
const SHOWN: usize = 5_000;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let about = async {
        let status = web.operators.get_status(who.ask(GetStatusRequest {})).await?.into_inner();
        let stops = web.operators.list_stops(who.ask(ListStopsRequest { all: false })).await?.into_inner().stops;
        Ok::<_, Trouble>((status, stops))
    };
    // Each is read by a connection of its own, and most of the time goes there.
    let ((status, stops), servers) = tokio::try_join!(about, servers(web, who))?;
    let main = Estate::of(status, servers, stops.len(), web.parts.clock.now());
    let main = Estate { may_stop: who.may(Right::Stop), ..main }.render()?;
    Ok(Shown { title: text!("page-estate"), main })
}

/// All servers, or the first so many as a page shows.
pub(super) async fn servers(web: &Web, who: &Who) -> Result<Vec<operator::Server>, Trouble> {
    let mut servers = Vec::new();
    let mut page_token = String::new();
    while servers.len() < SHOWN {
        let request = ListServersRequest { page_size: PAGE, page_token, brief: true };
        let page = web.operators.list_servers(who.ask(request)).await?.into_inner();
        servers.extend(page.servers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(servers)
}

#[derive(Template)]
#[template(path = "estate.html")]
struct Estate {
    headline: String,
    lead: String,
    /// That emergency stops are in force; empty when none is.
    stopped: String,
    /// Whoever looks may stop the estate, by one press.
    may_stop: bool,
    /// What a new estate still lacks, in the order in which it is done.
    first: Vec<FirstStep>,
    troubled: Vec<TroubleLine>,
    /// That plans wait for approvers; empty when none does.
    proposed: String,
    groups: Vec<Group>,
}

/// A step of the first day, by the names of its texts.
struct FirstStep {
    title: &'static str,
    why: &'static str,
    commands: &'static str,
}

/// Who may approve comes before what is wanted, and that before anybody joins: a server that joins first is only observed.
const TRUST: FirstStep = FirstStep {
    title: "estate-trust-title",
    why: "estate-trust-why",
    commands: "backstay trust init --estate ESTATE --ca FINGERPRINT --approver NAME --out trust\nbackstay trust apply trust/trust.signed",
};
const POLICY: FirstStep = FirstStep {
    title: "estate-policy-title",
    why: "estate-policy-why",
    commands: "backstay policy check policy.toml\nbackstay policy apply policy.toml --key KEYFILE",
};
const SERVER: FirstStep = FirstStep {
    title: "estate-server-title",
    why: "estate-server-why",
    commands: "backstay token create --server EX1 --out EX1.token",
};

struct TroubleLine {
    server: String,
    class: &'static str,
    text: String,
}

/// Servers that wait for each other.
struct Group {
    name: String,
    cells: Vec<Cell>,
}

/// A server.
struct Cell {
    server: String,
    class: &'static str,
    verdict: String,
    verdict_class: &'static str,
    ends: String,
    untouched: String,
    /// What those who look at its 444 are shown, and the colour of that; empty when nobody looks.
    seen: String,
    seen_class: &'static str,
    silent: String,
}

impl Estate {
    /// Pure: the same answers make the same page.
    fn of(status: GetStatusResponse, servers: Vec<operator::Server>, stops: usize, now: Timestamp) -> Self {
        let troubled: Vec<TroubleLine> = status.troubled.into_iter().map(TroubleLine::of).collect();
        let (count, silent) = (status.servers, status.silent.len());
        let headline = match (count, troubled.len(), silent) {
            (0, _, _) => text!("estate-none"),
            (count, 0, 0) => text!("estate-all-well", count = count),
            (count, 0, silent) => text!("estate-not-heard", silent = silent, count = count),
            (count, some, _) => text!("estate-troubled", some = some, count = count),
        };
        let mut lead = match &status.first_end {
            Some(first) => text!("estate-first-end", server = first.server.as_str(), day = day(first.at)),
            None if count == 0 => String::new(),
            None => text!("estate-no-end"),
        };
        if status.policy_version == 0 && count > 0 {
            lead = [lead, text!("estate-no-policy")].join(" ");
        }
        let mut groups: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
        for server in servers {
            let group = match (server.dag.as_str(), server.site.as_str()) {
                ("", "") => text!("estate-no-group"),
                ("", site) => text!("estate-site", site = site),
                (dag, _) => dag.to_owned(),
            };
            let mut cell = Cell::of(server, now);
            // A healthy back end beside a front end that was taken over wants somebody all the same.
            if let Some(trouble) = troubled.iter().find(|trouble| trouble.server == cell.server) {
                cell.class = trouble.class;
            }
            groups.entry(group).or_default().push(cell);
        }
        let groups = groups.into_iter().map(|(name, cells)| Group { name, cells }).collect();
        let lacks = [(status.trust_version == 0, TRUST), (status.policy_version == 0, POLICY), (count == 0, SERVER)];
        let first = lacks.into_iter().filter_map(|(lacks, step)| lacks.then_some(step)).collect();
        Self {
            headline,
            lead,
            stopped: if stops == 0 { String::new() } else { text!("estate-stopped", count = stops) },
            may_stop: false,
            first,
            troubled,
            proposed: match status.plans.get("proposed").copied().unwrap_or_default() {
                0 => String::new(),
                waiting => text!("estate-proposed", count = waiting),
            },
            groups,
        }
    }
}

impl TroubleLine {
    fn of(operator::Trouble { server, verdict, findings }: operator::Trouble) -> Self {
        let class = findings.first().map_or("grey", |finding| class_of_severity(&finding.severity));
        let more = findings.len().saturating_sub(1);
        let text = findings.first().map_or(verdict, |first| {
            text!("estate-trouble", title = first.title.as_str(), code = first.code.as_str(), more = more)
        });
        Self { server, class, text }
    }
}

impl Cell {
    fn of(server: operator::Server, now: Timestamp) -> Self {
        let days = |from: i64, to: i64| (to - from).div_euclid(86_400_000_000);
        let now = micros(now);
        let (seen, seen_class) = seen_by_peers(&server);
        let verdict = if server.verdict.is_empty() { text!("common-no-report-yet") } else { server.verdict.clone() };
        Self {
            class: colour::of_word(&server.verdict),
            verdict_class: colour::of_word(&server.verdict),
            ends: server.not_after.map_or_else(
                || text!("estate-no-certificate"),
                |end| match days(now, end) {
                    left if left < 0 => text!("estate-ended", day = day(end)),
                    left => text!("estate-days-left", days = left, day = day(end)),
                },
            ),
            untouched: server
                .untouched_since
                .map_or_else(String::new, |since| text!("estate-untouched", days = days(since, now), day = day(since))),
            seen,
            seen_class,
            silent: if server.connected { String::new() } else { text!("estate-silent") },
            verdict: verdict.replace('_', " "),
            server: server.name,
        }
    }
}

/// What other servers are shown on this one's 444. That some have not looked yet is worth no colour.
fn seen_by_peers(server: &operator::Server) -> (String, &'static str) {
    let operator::Server { peers_agree: agree, peers_differ: differ, peers_unknown: unknown, .. } = server;
    let agree = match (agree, unknown) {
        (0, 0) => String::new(),
        (0, _) => text!("estate-peers-unknown"),
        (all, 0) => text!("estate-peers-agree", all = *all),
        (some, unknown) => text!("estate-some-peers-agree", some = *some, all = some + unknown),
    };
    match differ.as_slice() {
        [] => (agree, "grey"),
        several => (text!("estate-peers-differ", count = several.len(), peers = several.join(", ")), "bad"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wants_somebody_stands_first_and_nothing_that_somebody_chose_becomes_markup() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().expect("a moment");
        let evil = "<script>alert(1)</script>";
        let server = |name: &str, dag: &str, verdict: &str| operator::Server {
            name: name.to_owned(),
            dag: dag.to_owned(),
            verdict: verdict.to_owned(),
            connected: name != "EX3",
            not_after: Some(micros(now) + 86_400_000_000 * 30),
            untouched_since: (name == "EX1").then(|| micros(now) - 86_400_000_000 * 1_412),
            peers_agree: if name == "EX3" { 0 } else { 2 },
            peers_differ: if name == "EX2" { vec!["EX1".to_owned()] } else { Vec::new() },
            ..operator::Server::default()
        };
        let finding = operator::Finding {
            code: "BST102".to_owned(),
            title: evil.to_owned(),
            severity: "page".to_owned(),
            evidence: Vec::new(),
        };
        let status = GetStatusResponse {
            servers: 3,
            trust_version: 1,
            policy_version: 1,
            troubled: vec![operator::Trouble {
                server: "EX2".to_owned(),
                verdict: "deleted".to_owned(),
                findings: vec![finding],
            }],
            ..GetStatusResponse::default()
        };
        let servers = vec![server("EX1", evil, "healthy"), server("EX2", evil, "deleted"), server("EX3", "", "key_lost")];
        let page = Estate::of(status, servers, 1, now).render().expect("a page");
        assert!(page.starts_with("<h1>1 of 3 servers wants somebody</h1>"), "{page}");
        assert!(page.find("Wants somebody").expect("there") < page.find("server-EX1").expect("there"), "{page}");
        for words in [
            "untouched for 1412 days",
            "30 days left, until 2026-12-27",
            "key lost",
            "not heard",
            "is-bad",
            "its 2 peers agree",
            "EX1 sees it otherwise",
        ] {
            assert!(page.contains(words), "{words} in\n{page}");
        }
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("Stop the whole estate"), "who may not stop sees no button for it");
        let empty = Estate::of(GetStatusResponse::default(), Vec::new(), 0, now).render().expect("a page");
        assert!(page.contains("An emergency stop is in force") && !page.contains("The first day"), "{page}");
        let order =
            ["Say who may approve", "Say what is wanted", "Let the first server in"].map(|step| empty.find(step).expect(step));
        assert!(order.is_sorted(), "{empty}");
        assert!(empty.contains("No server has joined yet") && empty.contains("backstay token create"), "{empty}");
    }
}
