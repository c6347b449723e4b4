//! `backstay stop` and `backstay resume`: nothing is done any more, who has confirmed that, and an approver's yes to going on.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::duration::Span;
use policy::id::{Person, ServerName};
use policy::stop::{MAX_STOPS, Resume as Yes, Stop as Made, StopId};
use policy::trust::Kind;
use proto::invalid::{self, Invalid, present};
use proto::operator::{self, ListStopsRequest, MakeStopRequest, SubmitResumeRequest};
use proto::signed::{SignedBytes, SigningKey};
use serde::Serialize;

use super::connection::{Client, answer};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line, moment, table};
use super::{Context, approver, files};

/// How often it is asked who has confirmed.
const BEAT: Duration = Duration::from_millis(500);

/// The fewest digits by which a stop may be named.
const MIN_PREFIX: usize = 8;

/// The emergency stop.
#[derive(Debug, Subcommand)]
pub enum Stop {
    /// Stops every server, and those that join later.
    Estate(Estate),
    /// Stops some servers.
    Server(Servers),
    /// Stops the servers of some DAGs.
    Dag(Dags),
    /// Stops the servers of some AD sites.
    Site(Sites),
    /// Stops in force, with whom they hold by the agents' own word.
    List(List),
}

impl Stop {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let scope = MakeStopRequest::default();
        match self {
            Self::Estate(Estate { making }) => making.run(context, MakeStopRequest { estate: true, ..scope }).await,
            Self::Server(Servers { names, making }) => {
                let servers = names.iter().map(ServerName::to_string).collect();
                making.run(context, MakeStopRequest { servers, ..scope }).await
            }
            Self::Dag(Dags { names, making }) => making.run(context, MakeStopRequest { dags: names.clone(), ..scope }).await,
            Self::Site(Sites { names, making }) => making.run(context, MakeStopRequest { sites: names.clone(), ..scope }).await,
            Self::List(list) => list.run(context).await,
        }
    }
}

/// Stops every server.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay stop estate --reason \"mail flow is broken since the last renewal\"")]
pub struct Estate {
    #[command(flatten)]
    making: Making,
}

/// Stops some servers.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay stop server EX1 EX2 --reason \"a case with Microsoft is open\"")]
pub struct Servers {
    /// The servers.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<ServerName>,

    #[command(flatten)]
    making: Making,
}

/// Stops the servers of some DAGs.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay stop dag DAG1 --reason \"the DAG is being moved\"")]
pub struct Dags {
    /// The DAGs, as `backstay server list` names them. Who is in them now is stopped.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    making: Making,
}

/// Stops the servers of some AD sites.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay stop site Berlin --reason \"power is cut there tonight\"")]
pub struct Sites {
    /// The sites, as `backstay server list` names them. Who is in them now is stopped.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    making: Making,
}

/// What every stop is made with.
#[derive(Debug, Args)]
struct Making {
    /// Why, for whoever finds them stopped; it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// How long to wait until every connected agent has confirmed, up to 10m; 0s for not at all.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = wait)]
    wait: Duration,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Making {
    async fn run(&self, context: &mut Context, scope: MakeStopRequest) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = "making an emergency stop";
        let request = MakeStopRequest { reason: self.reason.clone(), validate_only: self.dry_run.validate_only(), ..scope };
        let response = answer(doing, client.make_stop(request)).await?;
        let mut row = present("MakeStopResponse.stop", response.stop).and_then(StopRow::try_from).doing(|| doing.to_owned())?;
        self.dry_run.say(context, &format!("emergency stop {} is in force; it needs no second person", row.id.short()));
        if self.dry_run.validate_only() {
            context.output.show(&StopList(vec![row]))?;
            return Ok(Exit::Ok);
        }
        let until = tokio::time::Instant::now() + self.wait;
        let mut said = None;
        while row.waiting_count > 0 && tokio::time::Instant::now() < until {
            if said.replace(row.confirmed) != Some(row.confirmed) {
                context.output.say(&format!("confirmed by {} of {}", row.confirmed, row.covered));
            }
            tokio::time::sleep(BEAT).await;
            let rows = all(&mut client, false).await?;
            let Some(now) = rows.into_iter().find(|found| found.id == row.id) else { break };
            row = now;
        }
        let open = row.waiting_count;
        context.output.show(&StopList(vec![row]))?;
        if open == 0 || self.wait.is_zero() {
            return Ok(Exit::Ok);
        }
        let waited = self.wait.as_secs();
        context.output.say(&format!(
            "after {waited} s {open} connected agent(s) have not confirmed: they are older than the emergency stop, or hang. \
             It is in force, and `backstay stop list` goes on counting; on the host: `backstay-agent hold on REASON`"
        ));
        Ok(Exit::Timeout)
    }
}

/// Lists stops.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay stop list
  backstay stop list --all -o json")]
pub struct List {
    /// Those that approvers let go, too.
    #[arg(long)]
    all: bool,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let rows = all(&mut client, self.all).await?;
        context.output.show(&StopList(rows))?;
        Ok(Exit::Ok)
    }
}

/// Says yes to going on.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay resume 3f2a9c01 --key anna.key --reason \"the cause is found and gone\"
  backstay resume --all --key ben.key --reason \"the cause is found and gone\" --yes")]
pub struct Resume {
    /// The stops: ids, or the first 8 digits or more of each. One signature covers them all.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all", value_parser = prefix)]
    ids: Vec<String>,

    /// Every stop in force now. One that comes later stays.
    #[arg(long)]
    all: bool,

    /// Your signing key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Why; it is signed and stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Do not ask.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Resume {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let key = files::key(&self.key)?;
        let mut client = context.connection.connect().await?;
        let chosen = self.chosen(all(&mut client, false).await?)?;
        let now = context.clock.now();
        let trust = approver::trust_in_force(&mut client).await?;
        let person = approver::owner(&trust, &trust.estate, key.id(), now)?;
        context.output.say(&StopList(chosen.clone()).text());
        let what = if chosen.len() == 1 { "this stop".to_owned() } else { format!("these {} stops", chosen.len()) };
        approver::agree(context, &format!("Say yes to going on after {what} as {person}? [y/N]"), self.yes).await?;
        let signed = self.sign(
            &key,
            Yes {
                estate: trust.estate,
                stops: chosen.iter().map(|row| row.id).collect(),
                person,
                reason: self.reason.trim().to_owned(),
                at: now,
            },
        )?;
        let doing = "handing the yes in";
        let request = SubmitResumeRequest { resume: Some(signed.into()), validate_only: self.dry_run.validate_only() };
        let response = answer(doing, client.submit_resume(request)).await?;
        let rows = rows(response.stops).doing(|| doing.to_owned())?;
        let done = rows.iter().map(|row| match row.lifted_at {
            Some(_) => format!("emergency stop {} is let go: its agents are told", row.id.short()),
            None => format!("emergency stop {} stays: {} of {} approvers said yes", row.id.short(), row.yes.len(), row.need),
        });
        self.dry_run.say(context, &done.collect::<Vec<_>>().join("\n"));
        context.output.show(&StopList(rows))?;
        Ok(Exit::Ok)
    }

    fn chosen(&self, in_force: Vec<StopRow>) -> Result<Vec<StopRow>, Failure> {
        let missing = |what: String| Failure::new(Exit::NotFound, what).next("`backstay stop list` names those in force");
        if self.all {
            return match in_force.len() {
                0 => Err(missing("going on: expected emergency stops in force, found none".to_owned())),
                1..=MAX_STOPS => Ok(in_force),
                found => Err(Failure::new(Exit::Usage, format!("going on: expected at most {MAX_STOPS} stops, found {found}"))),
            };
        }
        let mut chosen: Vec<StopRow> = Vec::new();
        for id in &self.ids {
            let found: Vec<&StopRow> = in_force.iter().filter(|row| row.id.to_string().starts_with(id.as_str())).collect();
            match found[..] {
                [row] if chosen.iter().all(|known| known.id != row.id) => chosen.push(row.clone()),
                [_] => {}
                [] => return Err(missing(format!("emergency stop {id}: expected one in force, found none of that id"))),
                _ => {
                    let found = found.len();
                    return Err(Failure::new(Exit::Usage, format!("emergency stop {id}: expected one, found {found}")));
                }
            }
        }
        Ok(chosen)
    }

    fn sign(&self, key: &SigningKey, yes: Yes) -> Result<SignedBytes, Failure> {
        let doing = || "signing the yes".to_owned();
        let mut signed = SignedBytes::unsigned(yes.to_bytes());
        key.sign(Kind::Resume, &mut signed).doing(doing)?;
        // What an agent would refuse to read is not handed in.
        proto::signed::resume(&signed).doing(doing)?;
        Ok(signed)
    }
}

async fn all(client: &mut Client, all: bool) -> Result<Vec<StopRow>, Failure> {
    let doing = "listing the emergency stops";
    let response = answer(doing, client.list_stops(ListStopsRequest { all })).await?;
    rows(response.stops).doing(|| doing.to_owned())
}

fn rows(stops: Vec<operator::Stop>) -> Result<Vec<StopRow>, Invalid> {
    stops.into_iter().map(StopRow::try_from).collect()
}

fn wait(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|error: policy::duration::InvalidSpan| error.to_string())?;
    let seconds = u64::try_from(span.as_seconds()).unwrap_or(u64::MAX);
    if seconds <= 600 { Ok(Duration::from_secs(seconds)) } else { Err(format!("expected 0s to 10m, found {span}")) }
}

fn prefix(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let digits = text.len() <= 64 && text.chars().all(|c| c.is_ascii_hexdigit());
    if digits && text.len() >= MIN_PREFIX { Ok(text) } else { Err(format!("expected {MIN_PREFIX} to 64 hexadecimal digits")) }
}

/// One stop. Its id is computed here, from the bytes: what is shown is what would be let go.
#[derive(Debug, Clone, Serialize)]
struct StopRow {
    id: StopId,
    servers: Option<Vec<ServerName>>,
    person: Person,
    reason: String,
    at: Timestamp,
    lifted_at: Option<Timestamp>,
    covered: u32,
    confirmed: u32,
    waiting_count: u32,
    waiting: Vec<String>,
    away_count: u32,
    away: Vec<String>,
    yes: Vec<String>,
    need: u32,
}

impl TryFrom<operator::Stop> for StopRow {
    type Error = Invalid;

    fn try_from(wire: operator::Stop) -> Result<Self, Invalid> {
        let operator::Stop { id: _, body, lifted_at, covered, confirmed, waiting, away, waiting_count, away_count, yes, need } =
            wire;
        let stop = Made::from_bytes(&body).map_err(|error| Invalid::Value {
            field: "Stop.body",
            expected: "an emergency stop",
            found: error.to_string(),
        })?;
        let Made { estate: _, servers, person, reason, at } = stop;
        Ok(Self {
            id: StopId::of(&body),
            servers: servers.map(|servers| servers.into_iter().collect()),
            person,
            reason,
            at,
            lifted_at: (lifted_at != 0).then(|| invalid::moment("Stop.lifted_at", lifted_at)).transpose()?,
            covered,
            confirmed,
            waiting_count,
            waiting,
            away_count,
            away,
            yes,
            need,
        })
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct StopList(Vec<StopRow>);

impl View for StopList {
    fn text(&self) -> String {
        let header = ["ID", "SCOPE", "SINCE", "BY", "REASON", "CONFIRMED", "NOT YET", "AWAY", "YES TO GOING ON"];
        table(
            header,
            self.0.iter().map(|row| {
                let scope =
                    row.servers.as_ref().map_or_else(|| "estate".to_owned(), |servers| names(servers.iter(), servers.len()));
                let yes =
                    if row.lifted_at.is_some() { "let go".to_owned() } else { format!("{} of {}", row.yes.len(), row.need) };
                [
                    row.id.short(),
                    scope,
                    moment(row.at),
                    row.person.to_string(),
                    line(&row.reason),
                    format!("{} of {}", row.confirmed, row.covered),
                    names(row.waiting.iter(), row.waiting_count as usize),
                    names(row.away.iter(), row.away_count as usize),
                    yes,
                ]
            }),
        )
    }
}

/// The first few names, and how many more there are.
fn names(names: impl ExactSizeIterator<Item = impl ToString>, count: usize) -> String {
    const SHOWN: usize = 4;
    if count == 0 {
        return "-".to_owned();
    }
    let shown: Vec<String> = names.take(SHOWN).map(|name| name.to_string()).collect();
    let more = count.saturating_sub(shown.len());
    if more == 0 { shown.join(" ") } else { format!("{} and {more} more", shown.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(servers: Option<&[&str]>, waiting: u32) -> operator::Stop {
        let stop = Made {
            estate: "contoso".parse().expect("a name"),
            servers: servers.map(|servers| servers.iter().map(|name| name.parse().expect("a name")).collect()),
            person: "omar".parse().expect("a name"),
            reason: "mail flow is broken".to_owned(),
            at: "2026-11-26T03:00:00Z".parse().expect("a moment"),
        };
        operator::Stop {
            id: vec![7; 32],
            body: stop.to_bytes(),
            covered: 9,
            confirmed: 9 - waiting,
            waiting_count: waiting,
            waiting: (0..waiting).map(|at| format!("EX{at}")).collect(),
            need: 2,
            yes: vec!["anna".to_owned()],
            ..operator::Stop::default()
        }
    }

    fn resume(ids: &[&str], all: bool) -> Resume {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Resume { ids, all, key: PathBuf::new(), reason: "found".to_owned(), yes: true, dry_run: DryRun::default() }
    }

    #[test]
    fn a_stop_is_known_by_its_bytes_and_not_by_the_id_that_comes_with_it() {
        let row = StopRow::try_from(wire(None, 0)).expect("reads");
        assert_eq!(row.id, StopId::of(&wire(None, 0).body));
        assert_ne!(row.id.0, [7; 32]);
        assert!(StopRow::try_from(operator::Stop { body: b"{}".to_vec(), ..wire(None, 0) }).is_err());
    }

    #[test]
    fn what_is_let_go_is_what_was_named_and_nothing_else() {
        let (one, other) = (wire(None, 0), wire(Some(&["EX1"]), 0));
        let rows = rows(vec![one, other]).expect("reads");
        let id = rows[0].id.to_string();
        let chosen = |resume: Resume| resume.chosen(rows.clone()).map(|chosen| chosen.len());
        assert_eq!(chosen(resume(&[&id[..8], &id], false)).expect("one stop named twice"), 1);
        assert_eq!(chosen(resume(&[], true)).expect("both"), 2);
        assert_eq!(chosen(resume(&["00000000"], false)).expect_err("none").exit(), Exit::NotFound);
        assert_eq!(resume(&[], true).chosen(Vec::new()).expect_err("none").exit(), Exit::NotFound);
    }

    #[test]
    fn a_list_names_a_few_and_counts_the_rest() {
        let text = StopList(rows(vec![wire(Some(&["EX1", "EX2"]), 6)]).expect("reads")).text();
        for part in ["EX1 EX2", "3 of 9", "EX0 EX1 EX2 EX3 and 2 more", "1 of 2"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
