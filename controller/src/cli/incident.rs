//! `backstay incident list|acknowledge` and `backstay channel list|test`: what wants somebody, and whether people are told of it.

use clap::{Args, Subcommand};
use policy::Timestamp;
use proto::invalid::{Invalid, moment, present};
use proto::operator::{self, AcknowledgeIncidentRequest, ListChannelsRequest, ListIncidentsRequest, TestChannelsRequest};
use serde::Serialize;

use super::connection::{Client, answer};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, dash, line, moment as at, moment_if_any, table};
use super::{Context, pages};

/// What wants somebody.
#[derive(Debug, Subcommand)]
pub enum Incident {
    /// Incidents that are not over, or all.
    List(List),
    /// Says that you are at it; whoever looks sees that.
    Acknowledge(Acknowledge),
}

impl Incident {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Acknowledge(acknowledge) => acknowledge.run(context).await,
        }
    }
}

/// Lists incidents.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay incident list
  backstay incident list --all -o json")]
pub struct List {
    /// Those that are over, too.
    #[arg(long)]
    all: bool,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let doing = "listing the incidents";
        let mut rows = Vec::new();
        let ask = |page_token| {
            page(client.clone(), doing, ListIncidentsRequest { page_size: pages::PAGE, page_token, open_only: !self.all })
        };
        pages::each(doing, ask, |incidents| {
            let read: Result<Vec<_>, _> = incidents.into_iter().map(Row::try_from).collect();
            rows.extend(read.doing(|| doing.to_owned())?);
            Ok(())
        })
        .await?;
        context.output.show(&Rows(rows))?;
        Ok(Exit::Ok)
    }
}

async fn page(
    mut client: Client,
    doing: &str,
    request: ListIncidentsRequest,
) -> Result<(Vec<operator::Incident>, String), Failure> {
    let response = answer(doing, client.list_incidents(request)).await?;
    Ok((response.incidents, response.next_page_token))
}

/// Says that somebody is at it.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay incident acknowledge 5f3a91c2d07e6b41")]
pub struct Acknowledge {
    /// The incident, as `backstay incident list` names it.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Acknowledge {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = format!("acknowledging incident {}", self.id);
        let request = AcknowledgeIncidentRequest { id: self.id.clone(), validate_only: self.dry_run.validate_only() };
        let response = answer(&doing, client.acknowledge_incident(request)).await?;
        let row = present("AcknowledgeIncidentResponse.incident", response.incident).and_then(Row::try_from).doing(|| doing)?;
        self.dry_run.say(context, &format!("you are at incident {}", self.id));
        context.output.show(&Rows(vec![row]))?;
        Ok(Exit::Ok)
    }
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    server: String,
    code: String,
    severity: String,
    title: String,
    detail: String,
    opened_at: Timestamp,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: String,
    resolved_at: Option<Timestamp>,
}

impl TryFrom<operator::Incident> for Row {
    type Error = Invalid;

    fn try_from(wire: operator::Incident) -> Result<Self, Invalid> {
        let operator::Incident {
            id,
            server,
            code,
            severity,
            title,
            detail,
            opened_at,
            acknowledged_at,
            acknowledged_by,
            resolved_at,
        } = wire;
        let if_any = |field, at| if at == 0 { Ok(None) } else { moment(field, at).map(Some) };
        Ok(Self {
            id,
            server,
            code,
            severity,
            title,
            detail,
            opened_at: moment("Incident.opened_at", opened_at)?,
            acknowledged_at: if_any("Incident.acknowledged_at", acknowledged_at)?,
            acknowledged_by,
            resolved_at: if_any("Incident.resolved_at", resolved_at)?,
        })
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl View for Rows {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "nothing wants anybody\n".to_owned();
        }
        let header = ["ID", "SERVER", "CODE", "SEVERITY", "SINCE", "AT IT", "OVER", "WHAT"];
        table(
            header,
            self.0.iter().map(|row| {
                [
                    line(&row.id),
                    line(&row.server),
                    line(&row.code),
                    line(&row.severity),
                    at(row.opened_at),
                    dash(&line(&row.acknowledged_by)),
                    moment_if_any(row.resolved_at),
                    line(&row.title),
                ]
            }),
        )
    }
}

/// By which ways people and programs are told.
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// The channels, what is told through each, and whether it arrives.
    List(ListChannels),
    /// Says something through every channel.
    Test(TestChannels),
}

impl Channel {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let channels = match self {
            Self::List(_) => answer("listing the channels", client.list_channels(ListChannelsRequest {})).await?.channels,
            Self::Test(_) => answer("testing the channels", client.test_channels(TestChannelsRequest {})).await?.channels,
        };
        let rows: Result<Vec<_>, _> = channels.into_iter().map(ChannelRow::try_from).collect();
        context.output.show(&Channels(rows.doing(|| "reading the channels".to_owned())?))?;
        if matches!(self, Self::Test(_)) {
            context.output.say("on its way; `backstay channel list` says whether it went out");
        }
        Ok(Exit::Ok)
    }
}

/// Lists channels.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay channel list")]
pub struct ListChannels {}

/// Tests channels.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay channel test")]
pub struct TestChannels {}

#[derive(Debug, Serialize)]
struct ChannelRow {
    name: String,
    by: String,
    says: Vec<String>,
    waiting: u64,
    given_up: u64,
    sent_at: Option<Timestamp>,
    failure: String,
    /// Through which host.
    host: String,
}

impl TryFrom<operator::Channel> for ChannelRow {
    type Error = Invalid;

    fn try_from(wire: operator::Channel) -> Result<Self, Invalid> {
        let operator::Channel { name, by, says, waiting, given_up, sent_at, failure, host } = wire;
        let sent_at = if sent_at == 0 { None } else { Some(moment("Channel.sent_at", sent_at)?) };
        Ok(Self { name, by, says, waiting, given_up, sent_at, failure, host })
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Channels(Vec<ChannelRow>);

impl View for Channels {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no channel: nobody is told of anything; [notify] in controller.toml names them\n".to_owned();
        }
        table(
            ["CHANNEL", "BY", "SAYS", "WAITING", "GIVEN UP", "LAST SENT", "LAST FAILURE"],
            self.0.iter().map(|row| {
                [
                    line(&row.name),
                    line(&row.by),
                    line(&row.says.join(", ")),
                    row.waiting.to_string(),
                    row.given_up.to_string(),
                    moment_if_any(row.sent_at),
                    dash(&line(&row.failure)),
                ]
            }),
        )
    }
}
