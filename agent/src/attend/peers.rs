//! What the main loop does for other servers: it shakes hands with their 444 when it is asked to, one at a time, and tells what it was
//! shown.

use policy::document::PeerChecks;
use policy::peers::{Seen, Target};
use tokio::task::{JoinError, spawn_blocking};

use super::Attendant;
use super::turns::Turns;
use crate::{probe, random};

impl Attendant {
    /// How many to look at, and how often: the policy that is held says it.
    pub(super) fn peer_checks(&self) -> PeerChecks {
        self.authority.policy().map_or_else(PeerChecks::default, |policy| policy.peers)
    }

    pub(super) fn asked_to_look(&self, targets: Vec<Target>, turns: &mut Turns) {
        let (checks, up) = (self.peer_checks(), turns.up());
        turns.peers.asked(targets, checks, random(), up);
    }

    /// Begins the next handshake if one is due.
    pub(super) fn look_beside(&self, turns: &mut Turns) {
        if turns.handshake.is_some() {
            return;
        }
        let (checks, up) = (self.peer_checks(), turns.up());
        let Some(Target { server, fqdn, question }) = turns.peers.next(checks, up) else { return };
        let given = self.authority.policy().and_then(|policy| policy.given_name(&server));
        let (driver, name) = (self.driver.clone(), given.map_or(fqdn, str::to_owned));
        turns.handshake = Some(spawn_blocking(move || Seen { server, question, outcome: probe::beside(driver.as_ref(), &name) }));
    }

    pub(super) fn looked_beside(&mut self, seen: Result<Seen, JoinError>, turns: &mut Turns) {
        match seen {
            Ok(seen) => {
                let effects = turns.peers.seen(seen).map(|seen| self.session.witnessed(seen)).unwrap_or_default();
                self.perform(effects, turns);
            }
            Err(error) => tracing::warn!(error = crate::chain(&error), "a handshake with another server came to no end"),
        }
    }
}
