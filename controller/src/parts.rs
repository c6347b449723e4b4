//! What the rooms of a running controller share.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::names::Address;

use crate::ca::Authority;
use crate::clock::Clock;
use crate::config::Config;
use crate::connections::Connections;
use crate::password::Passwords;
use crate::reconcile::Nudge;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::tls::FileCertificate;

/// Everything that a listener needs. Clones share it.
#[derive(Debug, Clone)]
pub struct Parts {
    /// As configured.
    pub config: Arc<Config>,
    /// What is on disk.
    pub store: Store,
    /// The estate's certification authority.
    pub authority: Arc<Authority>,
    /// Agents that are connected here.
    pub connections: Connections,
    /// Tells the reconciler to look again.
    pub nudge: Nudge,
    /// Woken when something is to be told.
    pub told: Arc<tokio::sync::Notify>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where passwords are compared.
    pub passwords: Passwords,
    /// The present moment.
    pub clock: Clock,
    /// Where this controller is reached from outside, with the ports as they are.
    pub advertised: Advertised,
    /// Where the pages are on this machine.
    pub web: SocketAddr,
    /// What the pages show for other machines, when they do.
    pub pages_certificate: Option<Arc<FileCertificate>>,
}

impl Parts {
    /// What stands before the path of a page: where other machines find it, if they do.
    pub fn pages(&self, loopback: bool) -> String {
        self.config.pages_at(self.web, loopback)
    }
}

/// Addresses for join tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertised {
    /// Agents' port.
    pub agents: Vec<Address>,
    /// Enrolment port.
    pub enrolment: Vec<Address>,
}
