//! *Emergency stop*: one press, and then whom it holds by the agents' own word. Going on is for approvers, with keys in files.

use std::collections::BTreeSet;

use askama::Template;
use policy::stop::Stop;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, ListStopsRequest};

use super::access::Who;
use super::plans::moment;
use super::{Shown, Trouble, Web, estate};
use crate::operators::access::Right;
use crate::operators::names;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let stops = web.operators.list_stops(who.ask(ListStopsRequest { all: true })).await?.into_inner().stops;
    let servers = estate::servers(web, who).await?;
    let mut main = Stops::of(stops, &servers, who.may(Right::Stop))?;
    // The stop itself is a document, which names who made it.
    if !names::shown(web.parts.config.privacy.names, Some(who.role)) {
        for stop in main.in_force.iter_mut().chain(&mut main.lifted) {
            names::SOMEBODY.clone_into(&mut stop.person);
        }
    }
    let main = main.render()?;
    Ok(Shown { title: "Emergency stop".to_owned(), main })
}

#[derive(Template)]
#[template(path = "stops.html")]
struct Stops {
    lead: String,
    may_stop: bool,
    scopes: Vec<(String, String)>,
    in_force: Vec<StopLine>,
    lifted: Vec<StopLine>,
}

struct StopLine {
    short: String,
    covers: String,
    reason: String,
    person: String,
    at: String,
    lifted_at: String,
    confirmed: String,
    waiting: String,
    away: String,
    yes: String,
}

impl Stops {
    /// Pure: the same answers make the same page.
    fn of(stops: Vec<operator::Stop>, servers: &[operator::Server], may_stop: bool) -> Result<Self, Trouble> {
        let (mut in_force, mut lifted) = (Vec::new(), Vec::new());
        for stop in stops {
            let list = if stop.lifted_at == 0 { &mut in_force } else { &mut lifted };
            list.push(StopLine::of(stop)?);
        }
        let lead = match in_force.len() {
            0 => "None is in force. A stop ends all work of the agents, also what they would repair by themselves; 444 stays as it is.".to_owned(),
            1 => "One is in force: where it holds, nothing is done until approvers say so.".to_owned(),
            many => format!("{many} are in force: where they hold, nothing is done until approvers say so."),
        };
        let groups = |word: &str, title: &str, name: fn(&operator::Server) -> &str| {
            let names: BTreeSet<&str> = servers.iter().map(name).filter(|name| !name.is_empty()).collect();
            names.into_iter().map(|name| (format!("{word}:{name}"), format!("{title} {name}"))).collect::<Vec<_>>()
        };
        let mut scopes = groups("dag", "DAG", |server| &server.dag);
        scopes.extend(groups("site", "AD site", |server| &server.site));
        scopes.extend(groups("server", "server", |server| &server.name));
        Ok(Self { lead, may_stop, scopes, in_force, lifted })
    }
}

impl StopLine {
    fn of(stop: operator::Stop) -> Result<Self, Trouble> {
        let operator::Stop { id, body, lifted_at, covered, confirmed, waiting, away, waiting_count, away_count, yes, need } =
            stop;
        let body = Stop::from_bytes(&body).map_err(|error| tonic::Status::internal(error.to_string()))?;
        let named = |count: u32, names: &[String]| {
            let more = if count as usize > names.len() { ", …" } else { "" };
            if count == 0 { String::new() } else { format!("{count}: {}{more}", names.join(", ")) }
        };
        Ok(Self {
            short: id.iter().take(4).map(|byte| format!("{byte:02x}")).collect(),
            covers: body.servers.map_or_else(
                || "the whole estate, and whoever joins".to_owned(),
                |servers| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            ),
            reason: body.reason,
            person: body.person.to_string(),
            at: body.at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            lifted_at: if lifted_at == 0 { String::new() } else { moment(lifted_at) },
            confirmed: format!("{confirmed} of {covered}"),
            waiting: named(waiting_count, &waiting),
            away: named(away_count, &away),
            yes: format!(
                "{} of {need}{}",
                yes.len(),
                if yes.is_empty() { String::new() } else { format!(": {}", yes.join(", ")) }
            ),
        })
    }
}
