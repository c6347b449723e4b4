//! Who may speak for a server, for operators (TRUST T9): those that wait for a person, and a person's yes or no to them.

use policy::id::{Person, ServerName};
use proto::invalid::{id, micros};
use proto::operator;
use tonic::Status;

use super::{MIN_PREFIX, reason_given};
use crate::audit::Actor;
use crate::parts::Parts;
use crate::status::failed;
use crate::store::{Identity, IdentityState};

/// Lets a machine in that waits, was quarantined, or was silent for too long to renew its own certificate.
pub(super) async fn admit(parts: &Parts, key: &str, by: Person) -> Result<operator::Agent, Status> {
    let found = named(parts, key).await?;
    let Parts { store, connections, nudge, clock, .. } = parts;
    let now = clock.now();
    let identity = store.admit(found.key_id, Actor::Person(by), now).await.map_err(failed)?;
    connections.wake(&identity.server);
    nudge.look(&identity.server);
    Ok(agent(identity, parts))
}

/// Sends a machine away; with `ban` its name, too.
/// `admits`: whoever asks may let machines in, and so lift a ban.
pub(super) async fn send_away(
    parts: &Parts,
    request: operator::SendAgentAwayRequest,
    by: Person,
    admits: bool,
) -> Result<operator::Agent, Status> {
    let operator::SendAgentAwayRequest { agent: named_so, ban, reason, validate_only: _ } = request;
    let reason = reason_given(&reason)?;
    let found = named(parts, &named_so).await?;
    let (server, state) = (&found.server, found.state);
    if ban && !state.holds_the_name() {
        return Err(Status::failed_precondition(format!(
            "{server}: expected a machine that holds this name, found one that is {}: only with its holder a name is banned",
            state.as_str()
        )));
    }
    if !ban && state == IdentityState::Banned && !admits {
        return Err(Status::permission_denied(format!("{server} is banned: expected an admin to lift that, found {by}")));
    }
    let Parts { store, connections, nudge, clock, .. } = parts;
    let to = if ban { IdentityState::Banned } else { IdentityState::Evicted };
    let identity = store.narrow(found.key_id, to, reason, Actor::Person(by), clock.now()).await.map_err(failed)?;
    // Its stream reads who may speak before anything else, and ends.
    connections.wake(&identity.server);
    nudge.look(&identity.server);
    Ok(agent(identity, parts))
}

/// Takes a server out of the estate.
pub(super) async fn retire(parts: &Parts, server: &ServerName, reason: String, by: Person) -> Result<(), Status> {
    let Parts { store, connections, nudge, clock, .. } = parts;
    store.retire(server, reason, Actor::Person(by), clock.now()).await.map_err(failed)?;
    // Its stream reads who may speak before anything else, and ends; others may have waited for it.
    connections.wake(server);
    nudge.look_at_all();
    Ok(())
}

/// The machine that a person means: the beginning of its key, or the server whose name it holds.
async fn named(parts: &Parts, name: &str) -> Result<Identity, Status> {
    let store = &parts.store;
    let digits = name.len() >= MIN_PREFIX && name.len() <= 64 && name.chars().all(|c| c.is_ascii_hexdigit());
    if digits {
        let mut found = store.identities_by_prefix(&name.to_ascii_lowercase()).await.map_err(failed)?;
        match found.len() {
            // Eight digits may also be the name of a server.
            0 => {}
            1 => return Ok(found.remove(0)),
            many => return Err(Status::invalid_argument(format!("agent {name}: expected one key that begins so, found {many}"))),
        }
    }
    let server: ServerName = id("agent", name)?;
    let holder = store.identities(&server).await.map_err(failed)?.into_iter().find(|identity| identity.state.holds_the_name());
    holder.ok_or_else(|| Status::not_found(format!("agent {name}: expected a machine that holds this name, or the first {MIN_PREFIX} digits or more of its key, found none; `backstay agent list --all`")))
}

/// As it is told.
pub(super) fn agent(identity: Identity, parts: &Parts) -> operator::Agent {
    let Identity { key_id, server, machine_id, state, why, certificate: _, not_after, enrolled_at, changed_at, .. } = identity;
    operator::Agent {
        key: key_id.0.to_vec(),
        connected: state == IdentityState::Active && parts.connections.is_connected(&server),
        server: server.to_string(),
        machine_id,
        state: state.as_str().to_owned(),
        why,
        not_after: micros(not_after),
        enrolled_at: micros(enrolled_at),
        changed_at: micros(changed_at),
    }
}
