//! Services of a Windows machine, by `sc`.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Prefix;
use crate::wait::{self, Look};

/// How long a service may take to start or to stop; Windows gives thirty seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// What a service says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does not run.
    Stopped,
    /// It runs.
    Running,
    /// Starting, stopping, paused: the number that Windows gives.
    Between(u32),
}

impl Prefix {
    /// Creates a service of its own process, under the local system account.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create_service(&self, name: &str, command: &str, automatic: bool) -> Result<()> {
        let start = if automatic { "auto" } else { "demand" };
        self.expect("sc", &["create", name, "binPath=", command, "start=", start]).map(drop)
    }

    /// How a service is.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn service(&self, name: &str) -> Result<State> {
        let said = self.expect("sc", &["query", name])?.stdout;
        let number = said.lines().find_map(|line| line.trim().strip_prefix("STATE")).and_then(|rest| {
            let number = rest.trim_start_matches([' ', ':']).split(' ').next()?;
            number.parse().ok()
        });
        Ok(match number.with_context(|| format!("service {name}: expected a state, found {said:?}"))? {
            1 => State::Stopped,
            4 => State::Running,
            other => State::Between(other),
        })
    }

    /// Starts a service and waits until it runs.
    ///
    /// # Errors
    /// When it is refused, or takes too long.
    pub fn start_service(&self, name: &str) -> Result<()> {
        self.expect("sc", &["start", name])?;
        self.wait_service(name, State::Running)
    }

    /// Asks a service to stop and waits until it has.
    ///
    /// # Errors
    /// When it is refused, or takes too long.
    pub fn stop_service(&self, name: &str) -> Result<()> {
        self.expect("sc", &["stop", name])?;
        self.wait_service(name, State::Stopped)
    }

    /// Waits until a service is in this state.
    ///
    /// # Errors
    /// When it takes too long; says in which it was last.
    pub fn wait_service(&self, name: &str, wanted: State) -> Result<()> {
        wait::until(&format!("service {name} to be {wanted:?}"), LIMIT, || match self.service(name) {
            Ok(state) => wait::when(state == wanted, || format!("{state:?}")),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    }
}
