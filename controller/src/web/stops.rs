//! *Emergency stop*: one press, and then whom it holds by the agents' own word. Going on is for approvers, with keys in files.

use std::collections::BTreeSet;

use askama::Template;
use policy::stop::Stop;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, ListStopsRequest};

use super::access::Who;
use super::plans::moment;
use super::texts::{filters, text};
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
    Ok(Shown { title: text!("common-emergency-stop"), main })
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
    headline: String,
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
            0 => text!("stops-none"),
            some => text!("stops-in-force", count = some),
        };
        let groups = |word: &str, title: String, name: fn(&operator::Server) -> &str| {
            let names: BTreeSet<&str> = servers.iter().map(name).filter(|name| !name.is_empty()).collect();
            names.into_iter().map(|name| (format!("{word}:{name}"), format!("{title} {name}"))).collect::<Vec<_>>()
        };
        let mut scopes = groups("dag", text!("common-dag"), |server| &server.dag);
        scopes.extend(groups("site", text!("common-ad-site"), |server| &server.site));
        scopes.extend(groups("server", text!("stops-server"), |server| &server.name));
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
        let covers = body.servers.map_or_else(
            || text!("stops-the-whole-estate-and-whoever"),
            |servers| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        );
        Ok(Self {
            short: id.iter().take(4).map(|byte| format!("{byte:02x}")).collect(),
            headline: text!("stops-in-force-where", covers = covers.as_str()),
            covers,
            reason: body.reason,
            person: body.person.to_string(),
            at: body.at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            lifted_at: if lifted_at == 0 { String::new() } else { moment(lifted_at) },
            confirmed: text!("stops-confirmed-by", confirmed = confirmed, covered = covered),
            waiting: named(waiting_count, &waiting),
            away: match named(away_count, &away) {
                none if none.is_empty() => none,
                away => text!("stops-away", away = away),
            },
            yes: match yes.as_slice() {
                [] => text!("stops-wanted-by-none", need = need),
                some => text!("stops-wanted-by", count = some.len(), need = need, persons = some.join(", ")),
            },
        })
    }
}
