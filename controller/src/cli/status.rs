//! `backstay status`: the estate in ten lines.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use policy::Timestamp;
use policy::id::Sha256;
use proto::invalid::moment;
use proto::operator::{self, GetStatusRequest, GetStatusResponse};
use serde::Serialize;

use super::connection::{Client, answer};
use super::failure::{Doing, Exit, Failure};
use super::output::{View, moment as shown, pairs};
use super::server::FindingView;
use super::watch::Watch;
use super::{Context, wire};

/// Asks a controller how its estate is.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay status
  backstay status --watch
  backstay status --exit-code || echo \"somebody should look\"")]
pub struct Status {
    /// End with code 6 when a server is not healthy, or is not heard.
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    watch: Watch,
}

impl Status {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let ask = async || ask(&mut client).await;
        let view = self.watch.show(&mut context.output, ask, |_| false).await?;
        Ok(if self.exit_code && view.needs_somebody() { Exit::Findings } else { Exit::Ok })
    }
}

/// Asks once.
pub(super) async fn ask(client: &mut Client) -> Result<StatusView, Failure> {
    let response = answer("asking for the status", client.get_status(GetStatusRequest {})).await?;
    StatusView::try_from(response).doing(|| "reading the status".to_owned())
}

/// The estate, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    pub(super) estate: String,
    controller_version: String,
    trust_version: u64,
    policy_version: u64,
    pub(super) servers: u32,
    connected: u32,
    pub(super) verdicts: BTreeMap<String, u32>,
    pub(super) plans: BTreeMap<String, u32>,
    audit_sequence: u64,
    audit_head: Sha256,
    /// When the store was last put back from a backup.
    restored_at: Option<Timestamp>,
    /// Servers that have not told since what they hold and what was done there.
    awaited: Vec<String>,
    /// Servers for which nobody speaks at this moment: what is shown of them is old.
    pub(super) silent: Vec<String>,
    /// Servers where something wants somebody, those that page first; at most a hundred.
    pub(super) troubled: Vec<Trouble>,
    /// The back-end certificate that ends first.
    pub(super) first_end: Option<FirstEnd>,
}

/// A server where something wants somebody.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Trouble {
    pub(super) server: String,
    pub(super) verdict: String,
    /// The gravest first, never empty.
    pub(super) findings: Vec<FindingView>,
}

/// Which back-end certificate ends first.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FirstEnd {
    pub(super) server: String,
    pub(super) at: Timestamp,
}

impl From<operator::Trouble> for Trouble {
    fn from(operator::Trouble { server, verdict, findings }: operator::Trouble) -> Self {
        Self { server, verdict, findings: findings.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<operator::FirstEnd> for FirstEnd {
    type Error = proto::invalid::Invalid;

    fn try_from(operator::FirstEnd { server, at }: operator::FirstEnd) -> Result<Self, Self::Error> {
        Ok(Self { server, at: moment("FirstEnd.at", at)? })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, verdict, findings } = self;
        write!(f, "{server} {verdict}")?;
        match &findings[..] {
            [] => Ok(()),
            [FindingView { code, title, .. }] => write!(f, ": {title} ({code})"),
            [FindingView { code, title, .. }, more @ ..] => write!(f, ": {title} ({code}) and {} more", more.len()),
        }
    }
}

impl StatusView {
    fn needs_somebody(&self) -> bool {
        self.unhealthy() > 0 || !self.silent.is_empty()
    }

    fn unhealthy(&self) -> u32 {
        self.verdicts
            .iter()
            .filter(|(verdict, _)| !matches!(verdict.as_str(), "healthy" | "not_applicable"))
            .map(|(_, n)| n)
            .sum()
    }
}

impl TryFrom<GetStatusResponse> for StatusView {
    type Error = proto::invalid::Invalid;

    fn try_from(response: GetStatusResponse) -> Result<Self, Self::Error> {
        let GetStatusResponse {
            estate,
            version,
            trust_version,
            policy_version,
            servers,
            connected,
            verdicts,
            plans,
            audit_sequence,
            audit_head,
            restored_at,
            awaited,
            silent,
            troubled,
            first_end,
        } = response;
        Ok(Self {
            estate,
            controller_version: version,
            trust_version,
            policy_version,
            servers,
            connected,
            verdicts: verdicts.into_iter().collect(),
            plans: plans.into_iter().collect(),
            audit_sequence,
            audit_head: wire::digest("GetStatusResponse.audit_head", &audit_head)?,
            restored_at: restored_at.map(|at| moment("GetStatusResponse.restored_at", at)).transpose()?,
            awaited,
            silent,
            troubled: troubled.into_iter().map(Trouble::from).collect(),
            first_end: first_end.map(FirstEnd::try_from).transpose()?,
        })
    }
}

impl View for StatusView {
    fn text(&self) -> String {
        let counted = |counts: &BTreeMap<String, u32>| {
            let each: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
            if each.is_empty() { "none".to_owned() } else { each.join(", ") }
        };
        let version = |version: u64, missing: &str| if version == 0 { missing.to_owned() } else { format!("version {version}") };
        let silent = match &self.silent[..] {
            [] => String::new(),
            names => format!("; not heard: {}, what is known of them is old", first_of(names)),
        };
        let mut lines = vec![
            ("estate", self.estate.clone()),
            ("controller", self.controller_version.clone()),
            ("trust", version(self.trust_version, "none: `backstay trust apply FILE`")),
            ("policy", version(self.policy_version, "none: every server is only observed")),
            ("servers", format!("{}, {} connected{silent}", self.servers, self.connected)),
            ("verdicts", counted(&self.verdicts)),
            (
                "ends first",
                self.first_end
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |FirstEnd { server, at }| format!("{server} on {}", at.strftime("%F"))),
            ),
            ("plans", counted(&self.plans)),
            ("audit", format!("{} entries, head {}", self.audit_sequence, self.audit_head.short())),
        ];
        if !self.troubled.is_empty() {
            let mut first: Vec<String> = self.troubled.iter().take(5).map(ToString::to_string).collect();
            if self.troubled.len() > first.len() {
                first.push("… and more: `backstay server list`".to_owned());
            }
            lines.push(("trouble", first.join("\n")));
        }
        // Of interest for as long as somebody is not heard; after that it stands in the audit trail.
        if let Some(at) = self.restored_at.filter(|_| !self.awaited.is_empty()) {
            let what = format!(
                "put back from a backup on {}; not heard since: {}, and nothing is offered to their groups; \
                 `backstay agent go-without SERVER`",
                shown(at),
                first_of(&self.awaited)
            );
            lines.push(("restored", what));
        }
        pairs(lines)
    }
}

/// How many, and the first five of them.
fn first_of(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    format!("{} ({}{})", names.len(), first.join(", "), if names.len() > first.len() { ", …" } else { "" })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli) fn view(verdicts: &[(&str, u32)]) -> StatusView {
        let response = GetStatusResponse {
            estate: "contoso".to_owned(),
            version: "0.1.0".to_owned(),
            trust_version: 1,
            policy_version: 0,
            servers: 3,
            connected: 2,
            verdicts: verdicts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect(),
            plans: [("proposed".to_owned(), 1)].into(),
            audit_sequence: 41,
            audit_head: vec![0xab; 32],
            restored_at: None,
            awaited: Vec::new(),
            silent: vec!["EX3".to_owned()],
            troubled: vec![operator::Trouble {
                server: "EX2".to_owned(),
                verdict: "deleted".to_owned(),
                findings: vec![operator::Finding {
                    code: "BST102".to_owned(),
                    title: "the certificate is gone".to_owned(),
                    severity: "page".to_owned(),
                    evidence: Vec::new(),
                }],
            }],
            first_end: Some(operator::FirstEnd { server: "EX1".to_owned(), at: 1_900_000_000_000_000 }),
        };
        StatusView::try_from(response).expect("a status")
    }

    #[test]
    fn the_status_reads_in_ten_lines() {
        let expected = "\
estate      contoso
controller  0.1.0
trust       version 1
policy      none: every server is only observed
servers     3, 2 connected; not heard: 1 (EX3), what is known of them is old
verdicts    1 deleted, 2 healthy
ends first  EX1 on 2030-03-17
plans       1 proposed
audit       41 entries, head abababababab
trouble     EX2 deleted: the certificate is gone (BST102)
";
        assert_eq!(view(&[("healthy", 2), ("deleted", 1)]).text(), expected);
    }

    #[test]
    fn unknown_counts_as_not_healthy_and_no_back_end_does_not() {
        assert_eq!(view(&[("healthy", 2), ("not_applicable", 1)]).unhealthy(), 0);
        assert_eq!(view(&[("unknown", 1), ("expired", 2)]).unhealthy(), 3);
    }
}
