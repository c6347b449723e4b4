//! `backstay agent list|admit|evict|ban|retire|go-without`: which machine may speak for which server, and a person's word about it.

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::id::{ServerName, Sha256};
use proto::invalid::{Invalid, exactly, id, moment, present};
use proto::operator::{
    self, AdmitAgentRequest, GoWithoutAgentRequest, ListAgentsRequest, RetireServerRequest, SendAgentAwayRequest,
};
use serde::Serialize;

use super::connection::{Client, answer};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, dash, line, moment as at, table};
use super::{Context, pages};

/// The machines behind the names.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Machines about which a person must decide, or all.
    List(List),
    /// Lets a machine in that waits or is quarantined, or whose certificate ended too long ago.
    Admit(Admit),
    /// Sends a machine away. Its name may be enrolled anew, with a token.
    Evict(Evict),
    /// Sends a machine away, and its name with it.
    Ban(Ban),
    /// Takes a server out of the estate that is no more.
    Retire(Retire),
    /// After a restore: does not wait any more for what a server has to tell.
    GoWithout(GoWithout),
}

impl Agent {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Admit(admit) => admit.run(context).await,
            Self::Evict(Evict { agent, reason, dry_run }) => send_away(context, agent, reason, false, *dry_run).await,
            Self::Ban(Ban { agent, reason, dry_run }) => send_away(context, agent, reason, true, *dry_run).await,
            Self::Retire(retire) => retire.run(context).await,
            Self::GoWithout(go) => go.run(context).await,
        }
    }
}

/// Lists machines.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay agent list
  backstay agent list --all -o json")]
pub struct List {
    /// Those that speak, and those that were sent away, too.
    #[arg(long)]
    all: bool,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let doing = "listing the agents";
        let mut rows = Vec::new();
        let ask =
            |page_token| page(client.clone(), doing, ListAgentsRequest { page_size: pages::PAGE, page_token, all: self.all });
        pages::each(doing, ask, |agents| {
            let read: Result<Vec<_>, _> = agents.into_iter().map(AgentRow::try_from).collect();
            rows.extend(read.doing(|| doing.to_owned())?);
            Ok(())
        })
        .await?;
        context.output.show(&AgentList(rows))?;
        Ok(Exit::Ok)
    }
}

async fn page(mut client: Client, doing: &str, request: ListAgentsRequest) -> Result<(Vec<operator::Agent>, String), Failure> {
    let response = answer(doing, client.list_agents(request)).await?;
    Ok((response.agents, response.next_page_token))
}

/// Lets a machine in.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay agent admit 9c41d07e
  backstay agent admit EX1")]
pub struct Admit {
    /// The machine: its key, or the first 8 digits or more; or the server whose name it holds. Where two machines want one name,
    /// only the key says which.
    #[arg(value_name = "AGENT")]
    agent: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Admit {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = format!("admitting {}", self.agent);
        let request = AdmitAgentRequest { agent: self.agent.clone(), validate_only: self.dry_run.validate_only() };
        let response = answer(&doing, client.admit_agent(request)).await?;
        let row = present("AdmitAgentResponse.agent", response.agent).and_then(AgentRow::try_from).doing(|| doing)?;
        let done = format!(
            "{} may speak for {}; another machine that held the name was sent away. It comes by itself, within minutes",
            row.key.short(),
            row.server
        );
        self.dry_run.say(context, &done);
        context.output.show(&AgentList(vec![row]))?;
        Ok(Exit::Ok)
    }
}

/// Sends a machine away.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay agent evict EX3 --reason \"decommissioned, CHG-77\"
  backstay agent evict 9c41d07e --reason \"a copy made for a test\"")]
pub struct Evict {
    /// The machine: the server whose name it holds, or its key, or the first 8 digits or more of it.
    #[arg(value_name = "AGENT")]
    agent: String,

    /// Why; the machine is told, and it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

/// Sends a machine away, and its name with it.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay agent ban EX3 --reason \"stolen\"")]
pub struct Ban {
    /// The machine: the server whose name it holds, or its key, or the first 8 digits or more of it.
    #[arg(value_name = "AGENT")]
    agent: String,

    /// Why; the machine is told, and it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

/// Takes a server out of the estate that is no more.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay agent retire EX3 --reason \"decommissioned, CHG-77\"")]
pub struct Retire {
    /// The server.
    #[arg(value_name = "SERVER")]
    server: ServerName,

    /// Why; its machine is told if it comes again, and it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Retire {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let Self { server, reason, dry_run } = self;
        let validate_only = dry_run.validate_only();
        let request = RetireServerRequest { server: server.to_string(), reason: reason.clone(), validate_only };
        answer(&format!("retiring {server}"), client.retire_server(request)).await?;
        let done = format!(
            "{server} is in no list any more; its plans and receipts stay in `backstay plan list --all` and in the audit trail. \
             Remove the agent there: msiexec /x, or backstay-agent uninstall"
        );
        dry_run.say(context, &done);
        Ok(Exit::Ok)
    }
}

/// Does not wait any more for what a server has to tell.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay agent go-without EX3 --reason \"down until Monday, nothing was approved for it\"")]
pub struct GoWithout {
    /// The server, as `backstay status` names it.
    #[arg(value_name = "SERVER")]
    server: ServerName,

    /// Why; it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl GoWithout {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let Self { server, reason, dry_run } = self;
        let validate_only = dry_run.validate_only();
        let request = GoWithoutAgentRequest { server: server.to_string(), reason: reason.clone(), validate_only };
        answer(&format!("going on without {server}"), client.go_without_agent(request)).await?;
        let done = format!("work in the group of {server} goes on; what was done there since the backup is learnt when it comes");
        dry_run.say(context, &done);
        Ok(Exit::Ok)
    }
}

async fn send_away(context: &mut Context, agent: &str, reason: &str, ban: bool, dry_run: DryRun) -> Result<Exit, Failure> {
    let mut client = context.connection.connect().await?;
    let doing = format!("sending {agent} away");
    let request =
        SendAgentAwayRequest { agent: agent.to_owned(), ban, reason: reason.to_owned(), validate_only: dry_run.validate_only() };
    let response = answer(&doing, client.send_agent_away(request)).await?;
    let row = present("SendAgentAwayResponse.agent", response.agent).and_then(AgentRow::try_from).doing(|| doing)?;
    let server = &row.server;
    let done = if ban {
        format!("nobody speaks for {server} any more, and no token lets anybody in under that name until an admin evicts the ban")
    } else {
        format!("nobody speaks for {server} any more; to let it in anew: backstay token create --server {server}")
    };
    dry_run.say(context, &done);
    context.output.show(&AgentList(vec![row]))?;
    Ok(Exit::Ok)
}

#[derive(Debug, Clone, Serialize)]
struct AgentRow {
    key: Sha256,
    server: ServerName,
    machine_id: String,
    state: String,
    why: String,
    connected: bool,
    not_after: Timestamp,
    enrolled_at: Timestamp,
    changed_at: Timestamp,
}

impl TryFrom<operator::Agent> for AgentRow {
    type Error = Invalid;

    fn try_from(wire: operator::Agent) -> Result<Self, Invalid> {
        let operator::Agent { key, server, machine_id, state, why, connected, not_after, enrolled_at, changed_at } = wire;
        Ok(Self {
            key: Sha256(exactly("Agent.key", &key)?),
            server: id("Agent.server", &server)?,
            machine_id,
            state,
            why,
            connected,
            not_after: moment("Agent.not_after", not_after)?,
            enrolled_at: moment("Agent.enrolled_at", enrolled_at)?,
            changed_at: moment("Agent.changed_at", changed_at)?,
        })
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct AgentList(Vec<AgentRow>);

impl View for AgentList {
    fn text(&self) -> String {
        let header = ["SERVER", "KEY", "STATE", "CONNECTED", "SINCE", "IDENTITY UNTIL", "INSTALLATION", "WHY"];
        table(
            header,
            self.0.iter().map(|row| {
                [
                    row.server.to_string(),
                    row.key.short(),
                    row.state.clone(),
                    if row.connected { "yes" } else { "no" }.to_owned(),
                    at(row.changed_at),
                    at(row.not_after),
                    line(&row.machine_id),
                    dash(&line(&row.why)),
                ]
            }),
        )
    }
}
