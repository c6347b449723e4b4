//! `backstay server list|show`: what is known of the servers.

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::checkup::Checkup;
use policy::id::ServerName;
use proto::checkup::Named;
use proto::invalid::{Invalid, moment as at, present};
use proto::operator::{self, GetServerRequest, GetServerResponse, ListServersRequest};
use serde::Serialize;

use super::connection::{Client, answer};
use super::failure::{Doing, Exit, Failure};
use super::output::{View, dash, line, moment, moment_if_any, pairs, table};
use super::plan::{PlanRow, plan_table};
use super::watch::Watch;
use super::{Context, pages, wire};

/// The servers of the estate.
#[derive(Debug, Subcommand)]
pub enum Server {
    /// All servers, a line each.
    List(List),
    /// One server: what was found, what is planned, and with `-o json` its whole report.
    Show(Show),
}

impl Server {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
        }
    }
}

/// Lists the servers.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay server list
  backstay server list -o json
  backstay server list --watch")]
pub struct List {
    #[command(flatten)]
    watch: Watch,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let ask = async || all(&client).await.map(ServerList);
        self.watch.show(&mut context.output, ask, |_| false).await?;
        Ok(Exit::Ok)
    }
}

/// All servers, page by page.
pub(super) async fn all(client: &Client) -> Result<Vec<ServerRow>, Failure> {
    let doing = "listing the servers";
    let mut rows = Vec::new();
    let ask = |page_token| page(client.clone(), doing, page_token);
    pages::each(doing, ask, |servers| {
        let read: Result<Vec<_>, _> = servers.into_iter().map(ServerRow::try_from).collect();
        rows.extend(read.doing(|| doing.to_owned())?);
        Ok(())
    })
    .await?;
    Ok(rows)
}

async fn page(mut client: Client, doing: &str, page_token: String) -> Result<(Vec<operator::Server>, String), Failure> {
    let request = ListServersRequest { page_size: pages::PAGE, page_token, brief: false };
    let response = answer(doing, client.list_servers(request)).await?;
    Ok((response.servers, response.next_page_token))
}

/// Shows one server.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay server show EX1
  backstay server show EX1 -o json")]
pub struct Show {
    /// The server.
    #[arg(value_name = "SERVER")]
    name: ServerName,
}

impl Show {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = format!("asking for {}", self.name);
        let response = answer(&doing, client.get_server(GetServerRequest { name: self.name.to_string() })).await?;
        let view = ServerView::try_from(response).doing(|| doing)?;
        context.output.show(&view)?;
        context.output.say(&format!("why, and what happens next: backstay explain {}", self.name));
        Ok(Exit::Ok)
    }
}

/// A server, as it is printed in lists.
#[derive(Debug, Clone, Serialize)]
pub struct ServerRow {
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) connected: bool,
    last_seen: Option<Timestamp>,
    thumbprint: Option<String>,
    pub(super) not_after: Option<Timestamp>,
    decision: String,
    mode: String,
    pub(super) dag: String,
    pub(super) ad_site: String,
    exchange: String,
    generation: String,
    agent_version: String,
    trust_version: u64,
    policy_version: u64,
    /// Would a renewal succeed there: `yes`, `no` or `unknown`.
    renewal: String,
    renewal_why: String,
    /// Those who look at its 444: shown its certificate, shown something else, not heard of it.
    peers_agree: u32,
    peers_differ: Vec<String>,
    peers_unknown: u32,
    /// Since when nobody changed what stands on its 444, as far as anybody can tell; absent before the first look.
    untouched_since: Option<Timestamp>,
}

impl TryFrom<operator::Server> for ServerRow {
    type Error = Invalid;

    fn try_from(server: operator::Server) -> Result<Self, Invalid> {
        let operator::Server {
            name,
            verdict,
            connected,
            last_seen,
            thumbprint,
            not_after,
            decision,
            mode,
            dag,
            site,
            exchange,
            generation,
            agent_version,
            trust_version,
            policy_version,
            renewal,
            renewal_why,
            peers_agree,
            peers_differ,
            peers_unknown,
            untouched_since,
        } = server;
        let generation = generation.unwrap_or_default();
        Ok(Self {
            name,
            verdict,
            connected,
            last_seen: wire::moment_or_never("Server.last_seen", last_seen)?,
            thumbprint,
            not_after: not_after.map(|micros| at("Server.not_after", micros)).transpose()?,
            decision,
            mode,
            dag,
            ad_site: site,
            exchange,
            generation: format!("{}.{}", generation.epoch, generation.counter),
            agent_version,
            trust_version,
            policy_version,
            // A controller that is older than the question.
            renewal: if renewal.is_empty() { "unknown".to_owned() } else { renewal },
            renewal_why: if renewal_why.is_empty() { "the controller does not say".to_owned() } else { renewal_why },
            peers_agree,
            peers_differ,
            peers_unknown,
            untouched_since: untouched_since.map(|micros| at("Server.untouched_since", micros)).transpose()?,
        })
    }
}

impl ServerRow {
    /// How many of those who look at its 444 are shown its certificate; `-` when nobody looks.
    fn seen_by_peers(&self) -> String {
        let all = self.peers_agree as usize + self.peers_differ.len() + self.peers_unknown as usize;
        if all == 0 { "-".to_owned() } else { format!("{}/{all}", self.peers_agree) }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct ServerList(Vec<ServerRow>);

impl View for ServerList {
    fn text(&self) -> String {
        let header =
            ["SERVER", "VERDICT", "LINK", "LAST SEEN", "CERTIFICATE", "ENDS", "DECISION", "MODE", "RENEWS", "PEERS", "DAG"];
        table(
            header,
            self.0.iter().map(|row| {
                [
                    row.name.clone(),
                    dash(&row.verdict),
                    (if row.connected { "up" } else { "down" }).to_owned(),
                    moment_if_any(row.last_seen),
                    row.thumbprint.as_deref().map_or_else(|| "-".to_owned(), short),
                    row.not_after.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d").to_string()),
                    dash(&row.decision),
                    dash(&row.mode),
                    // What nobody knows is no news.
                    if row.renewal == "unknown" { "-".to_owned() } else { line(&row.renewal) },
                    row.seen_by_peers(),
                    dash(&row.dag),
                ]
            }),
        )
    }
}

/// The first digits of a thumbprint: enough to tell two apart in a table.
fn short(thumbprint: &str) -> String {
    thumbprint.chars().take(8).collect()
}

/// A server, as it is printed alone.
#[derive(Debug, Clone, Serialize)]
pub struct ServerView {
    #[serde(flatten)]
    server: ServerRow,
    findings: Vec<FindingView>,
    plans: Vec<PlanRow>,
    /// What doctor found there, the last of each kind.
    checkups: Vec<Checkup>,
    /// Who looks at its 444, and what they are shown.
    peers: Vec<PeerView>,
    /// How it stood, the newest first.
    history: Vec<StoodView>,
    /// The whole report, for programs.
    report: serde_json::Value,
}

/// How a server stood from a moment on, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct StoodView {
    since: Timestamp,
    verdict: String,
    findings: Vec<String>,
    /// What the record on 444 named; empty for nothing.
    thumbprint: String,
}

/// A server that looks at the 444 of another, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct PeerView {
    peer: String,
    connected: bool,
    /// `agrees`, `differs` or `unknown`.
    word: String,
    text: String,
}

/// A finding, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct FindingView {
    /// Its stable code.
    pub code: String,
    /// What it says, in a few words.
    pub title: String,
    /// Whether somebody should be woken.
    pub severity: String,
    /// The facts that it rests on.
    pub evidence: Vec<String>,
}

impl From<operator::Finding> for FindingView {
    fn from(finding: operator::Finding) -> Self {
        let operator::Finding { code, title, severity, evidence } = finding;
        Self { code, title, severity, evidence }
    }
}

impl TryFrom<GetServerResponse> for ServerView {
    type Error = Invalid;

    fn try_from(response: GetServerResponse) -> Result<Self, Invalid> {
        let GetServerResponse { server, findings, report_json, plans, checkups, peers, history } = response;
        // The report is passed through for programs; a person does not see it, and one that does not read takes nothing away.
        let report = serde_json::from_str(&report_json).unwrap_or(serde_json::Value::Null);
        Ok(Self {
            server: ServerRow::try_from(present("GetServerResponse.server", server)?)?,
            findings: findings.into_iter().map(FindingView::from).collect(),
            plans: plans.into_iter().map(PlanRow::try_from).collect::<Result<_, _>>()?,
            checkups: checkups
                .into_iter()
                .map(|wire| Named::try_from(wire).map(|named| named.checkup))
                .collect::<Result<_, _>>()?,
            peers: peers
                .into_iter()
                .map(|operator::PeerCheck { peer, connected, word, text }| PeerView { peer, connected, word, text })
                .collect(),
            history: history
                .into_iter()
                .map(|operator::Stood { since, verdict, findings, thumbprint }| {
                    Ok(StoodView { since: at("Stood.since", since)?, verdict, findings, thumbprint })
                })
                .collect::<Result<_, _>>()?,
            report,
        })
    }
}

impl View for ServerView {
    fn text(&self) -> String {
        let Self { server, findings, plans, checkups, peers, history: _, report: _ } = self;
        let mut text = pairs([
            ("server", line(&server.name)),
            ("verdict", dash(&line(&server.verdict))),
            ("decision", dash(&line(&server.decision))),
            ("mode", dash(&line(&server.mode))),
            ("certificate", line(server.thumbprint.as_deref().unwrap_or("-"))),
            ("ends", moment_if_any(server.not_after)),
            ("untouched", moment_if_any(server.untouched_since)),
            ("link", format!("{}, last seen {}", if server.connected { "up" } else { "down" }, moment_if_any(server.last_seen))),
            ("dag", dash(&line(&server.dag))),
            ("AD site", dash(&line(&server.ad_site))),
            ("Exchange", dash(&line(&server.exchange))),
            ("report", server.generation.clone()),
            (
                "agent",
                format!(
                    "{}, trust {}, policy {}",
                    dash(&line(&server.agent_version)),
                    server.trust_version,
                    server.policy_version
                ),
            ),
        ]);
        text.push_str(&peer_lines(peers));
        text.push_str(&renewal_lines(server, checkups));
        text.push('\n');
        text.push_str(&finding_lines(findings));
        if !plans.is_empty() {
            text.push('\n');
            text.push_str(&plan_table(plans));
        }
        text
    }
}

/// What others are shown on its 444. What one said who is not heard now may be old.
fn peer_lines(peers: &[PeerView]) -> String {
    if peers.is_empty() {
        return String::new();
    }
    let one = |PeerView { peer, connected, word: _, text }: &PeerView| {
        let old = if *connected { "" } else { "; its agent is not connected" };
        format!("    {} {}{old}\n", line(peer), line(text))
    };
    format!("\nseen from outside:\n{}", peers.iter().map(one).collect::<String>())
}

/// Whether a renewal would succeed, and what the last checkups found beside that.
fn renewal_lines(server: &ServerRow, checkups: &[Checkup]) -> String {
    let word = if server.renewal == "unknown" { "not known" } else { server.renewal.as_str() };
    let join = if server.renewal == "yes" { ", " } else { ": " };
    let head = format!("\nrenewal would succeed here: {}{join}{}\n", line(word), line(&server.renewal_why));
    let found = checkups
        .iter()
        .flat_map(|checkup| checkup.checks.iter().filter(|check| check.is_finding()).map(move |check| (checkup, check)));
    found.fold(head, |text, (checkup, check)| {
        let (kind, outcome) = (checkup.kind.as_str(), check.outcome.as_str());
        format!("{text}    {kind} {}: {} {outcome}: {}\n", moment(checkup.at), line(&check.name), line(check.outcome.text()))
    })
}

/// Findings with their evidence, as people read them.
pub fn finding_lines(findings: &[FindingView]) -> String {
    if findings.is_empty() {
        return "no findings\n".to_owned();
    }
    let one = |FindingView { code, title, severity, evidence }: &FindingView| {
        let head = format!("{} {} ({})\n", line(code), line(title), line(severity));
        evidence.iter().fold(head, |text, fact| format!("{text}    {}\n", line(fact)))
    };
    findings.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use policy::checkup::{Check, Kind, Outcome, Subject};

    use super::*;

    fn server() -> operator::Server {
        operator::Server {
            name: "EX1".to_owned(),
            verdict: "deleted".to_owned(),
            connected: true,
            last_seen: 1_795_000_000_000_000,
            thumbprint: Some("92E196F3C8D3D753FCFC5B7690C3173AA1C0ABE3".to_owned()),
            not_after: Some(1_900_000_000_000_000),
            decision: "act".to_owned(),
            mode: "act".to_owned(),
            dag: "DAG1".to_owned(),
            site: "Berlin".to_owned(),
            exchange: "15.1.2507.6".to_owned(),
            generation: Some(proto::types::Generation { epoch: 1, counter: 7 }),
            agent_version: "0.1.0".to_owned(),
            trust_version: 1,
            policy_version: 2,
            renewal: "yes".to_owned(),
            renewal_why: "rehearsed 2026-11-20".to_owned(),
            peers_agree: 2,
            peers_differ: vec!["EX3".to_owned()],
            peers_unknown: 0,
            untouched_since: Some(1_647_500_000_000_000),
        }
    }

    fn looked() -> proto::types::Checkup {
        let check = |name: &str, outcome| Check { name: name.to_owned(), needed: false, micros: None, outcome };
        let failed = Outcome::Failed { why: "access denied".to_owned(), code: Some(5), next: "run it elevated".to_owned() };
        let checkup = Checkup {
            at: "2026-11-24T10:00:00Z".parse().expect("a moment"),
            kind: Kind::Look,
            agent_version: "0.1.0".to_owned(),
            subject: Subject::default(),
            checks: vec![check("store.MY", Outcome::Proven { found: "2 certificates".to_owned() }), check("events", failed)],
        };
        Named::new(checkup).into()
    }

    #[test]
    fn servers_are_listed_a_line_each() {
        let quiet = operator::Server { name: "EX2".to_owned(), ..operator::Server::default() };
        let rows = [server(), quiet].map(|server| ServerRow::try_from(server).expect("reads"));
        let text = ServerList(rows.into()).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "SERVER  VERDICT  LINK  LAST SEEN             CERTIFICATE  ENDS        DECISION  MODE  RENEWS  PEERS  DAG"
        );
        assert_eq!(
            lines[1],
            "EX1     deleted  up    2026-11-18T11:06:40Z  92E196F3     2030-03-17  act       act   yes     2/3    DAG1"
        );
        assert_eq!(
            lines[2],
            "EX2     -        down  -                     -            -           -         -     -       -      -"
        );
    }

    #[test]
    fn one_server_is_shown_with_its_findings_and_their_evidence() {
        let finding = operator::Finding {
            code: "BST102".to_owned(),
            title: "the certificate on 444 was deleted".to_owned(),
            severity: "page".to_owned(),
            evidence: vec!["the record 0.0.0.0:444 names 92E1, which is not in MY".to_owned()],
        };
        let response = GetServerResponse {
            server: Some(server()),
            findings: vec![finding],
            report_json: "{\"hold\":null}".to_owned(),
            plans: Vec::new(),
            history: vec![operator::Stood {
                since: 1,
                verdict: "deleted".to_owned(),
                findings: Vec::new(),
                thumbprint: String::new(),
            }],
            checkups: vec![looked()],
            peers: vec![operator::PeerCheck {
                peer: "EX2".to_owned(),
                connected: false,
                word: "agrees".to_owned(),
                text: "is shown the certificate of EX1 on 444".to_owned(),
            }],
        };
        let view = ServerView::try_from(response).expect("reads");
        let text = view.text();
        assert!(text.contains("BST102 the certificate on 444 was deleted (page)\n    the record 0.0.0.0:444"), "{text}");
        assert!(text.contains("\nuntouched    2022-03-17T06:53:20Z\n"), "{text}");
        let seen = "\nseen from outside:\n    EX2 is shown the certificate of EX1 on 444; its agent is not connected\n\nrenewal";
        assert!(text.contains(seen), "{text}");
        let renews = "\nrenewal would succeed here: yes, rehearsed 2026-11-20\n    look 2026-11-24T10:00:00Z: events failed: access denied\n\nBST102";
        assert!(text.contains(renews), "{text}");
        let json = serde_json::to_value(&view).expect("json");
        assert_eq!((&json["renewal"], &json["checkups"][0]["checks"][1]["outcome"]), (&"yes".into(), &"failed".into()));
        assert_eq!((&json["name"], &json["report"]["hold"]), (&"EX1".into(), &serde_json::Value::Null));
    }

    #[test]
    fn an_answer_without_its_server_names_the_field() {
        let error = ServerView::try_from(GetServerResponse::default()).expect_err("no server");
        assert_eq!(error.to_string(), "GetServerResponse.server: expected a value, found none");
    }
}
