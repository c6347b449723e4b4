//! The emergency stop for operators: making one, asking whom it holds by the agents' own word, and going on.

use std::collections::BTreeSet;

use policy::id::{Person, ServerName};
use policy::stop::{Stop, StopId};
use policy::trust::Class;
use proto::invalid;
use proto::operator;
use proto::signed::SignedBytes;
use tonic::Status;

use super::approval::trust_in_force;
use super::refusal::{believed, no_server};
use super::wire;
use crate::audit::Actor;
use crate::event;
use crate::parts::Parts;
use crate::status::failed;
use crate::store::{MAX_PAGE, StopRow};

/// The most names of servers that an answer lists; the rest is a number.
const NAMED: usize = 100;

/// Puts a stop in force and tells every agent.
pub(super) async fn make(parts: &Parts, wanted: operator::MakeStopRequest, by: Person) -> Result<operator::Stop, Status> {
    let Parts { store, connections, nudge, clock, .. } = parts;
    let operator::MakeStopRequest { servers, dags, sites, estate, reason, validate_only: _ } = wanted;
    let servers = scope(parts, servers, (&dags, &sites), estate).await?;
    let now = clock.now();
    let stop = Stop { estate: store.estate().clone(), servers, person: by.clone(), reason: reason.trim().to_owned(), at: now };
    // What an agent would refuse to read is not made.
    Stop::from_bytes(&stop.to_bytes()).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let id = store.make_stop(stop.clone(), now).await.map_err(failed)?;
    if !store.is_trial() {
        tracing::warn!(event = event::STOP_MADE.id, stop = id.short(), person = %by, reason = stop.reason, "an emergency stop is in force");
        nudge.look_at_all();
        connections.wake_all();
    }
    let row = StopRow { id, body: stop.to_bytes(), stop, lifted_at: None };
    Ok(told(parts, vec![row]).await?.remove(0))
}

async fn scope(
    parts: &Parts,
    servers: Vec<String>,
    (dags, sites): (&[String], &[String]),
    estate: bool,
) -> Result<Option<BTreeSet<ServerName>>, Status> {
    if estate != (servers.is_empty() && dags.is_empty() && sites.is_empty()) {
        return Err(Status::invalid_argument(
            "scope of a stop: expected servers, DAGs or AD sites, or else the whole estate, found both or neither",
        ));
    }
    if estate {
        return Ok(None);
    }
    let mut names = parts.store.servers_of(dags, sites).await.map_err(failed)?;
    for name in servers {
        let name: ServerName = invalid::id("MakeStopRequest.servers", &name)?;
        parts.store.server(&name).await.map_err(failed)?.ok_or_else(|| no_server(&name))?;
        names.insert(name);
    }
    Ok(Some(names))
}

/// Keeps a yes to going on, or says why it would not count.
pub(super) async fn resume(parts: &Parts, signed: SignedBytes, by: Person) -> Result<Vec<operator::Stop>, Status> {
    let Parts { store, connections, nudge, clock, .. } = parts;
    let resume = proto::signed::resume(&signed).map_err(|error| believed(&error))?;
    let (trust, now) = (trust_in_force(store).await?, clock.now());
    let (person, listed) = (resume.value.person.clone(), resume.value.stops.clone());
    if resume.value.estate != *store.estate() {
        return Err(Status::failed_precondition(format!(
            "yes to going on: expected one for estate {}, found one for {}",
            store.estate(),
            resume.value.estate
        )));
    }
    if !trust.approvers(&resume.signers, now).contains(&person) {
        return Err(Status::permission_denied(format!(
            "yes to going on of {person}: expected a signature by an approver of that name, found none that counts by trust version {}",
            trust.version
        )));
    }
    let let_go = store.add_resume(resume, signed, Actor::Person(by), now).await.map_err(failed)?;
    for stop in let_go.iter().filter(|_| !store.is_trial()) {
        tracing::warn!(event = event::STOP_LET_GO.id, stop = stop.short(), %person, "approvers let an emergency stop go");
    }
    if !let_go.is_empty() {
        nudge.look_at_all();
        connections.wake_all();
    }
    let rows = store.stops(true).await.map_err(failed)?.into_iter().filter(|row| listed.contains(&row.id)).collect();
    told(parts, rows).await
}

/// Stops with whom they hold.
pub(super) async fn told(parts: &Parts, rows: Vec<StopRow>) -> Result<Vec<operator::Stop>, Status> {
    let Parts { store, connections, clock, .. } = parts;
    let ids: BTreeSet<StopId> = rows.iter().map(|row| row.id).collect();
    let said = store.yes(&ids, clock.now()).await.map_err(failed)?;
    let need = match store.trust().await.map_err(failed)? {
        Some(document) => document.trust().map_err(failed)?.value.need(Class::Resume),
        None => 1,
    };
    let everybody = everybody(parts).await?;
    let mut stopped = store.stopped().await.map_err(failed)?;
    let mut told = Vec::new();
    for StopRow { id, stop, body, lifted_at } in rows {
        let covered: Vec<&ServerName> = everybody.iter().filter(|name| stop.covers(name)).collect();
        let confirmed = stopped.remove(&id).unwrap_or_default();
        // Whoever let it go does not say so any more, and nobody waits for that.
        let open = || covered.iter().filter(|name| lifted_at.is_none() && !confirmed.contains(**name));
        let (waiting, away): (Vec<String>, Vec<String>) = {
            let (here, gone): (Vec<&ServerName>, Vec<&ServerName>) =
                open().copied().partition(|name| connections.is_connected(name));
            (here.iter().map(ToString::to_string).collect(), gone.iter().map(ToString::to_string).collect())
        };
        told.push(operator::Stop {
            id: id.0.to_vec(),
            body,
            lifted_at: lifted_at.map_or(0, invalid::micros),
            covered: wire::count(covered.len() as u64),
            confirmed: wire::count(covered.iter().filter(|name| confirmed.contains(**name)).count() as u64),
            waiting_count: wire::count(waiting.len() as u64),
            away_count: wire::count(away.len() as u64),
            waiting: waiting.into_iter().take(NAMED).collect(),
            away: away.into_iter().take(NAMED).collect(),
            yes: said.get(&id).into_iter().flatten().map(ToString::to_string).collect(),
            need,
        });
    }
    Ok(told)
}

async fn everybody(parts: &Parts) -> Result<Vec<ServerName>, Status> {
    let mut names: Vec<ServerName> = Vec::new();
    loop {
        let page = parts.store.server_names(names.last(), MAX_PAGE).await.map_err(failed)?;
        if page.is_empty() {
            return Ok(names);
        }
        names.extend(page);
    }
}
