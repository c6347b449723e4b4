//! `backstay-agent hold`.

use agent::config::Set;
use agent::hold::{self, Holds};
use anyhow::Result;
use clap::Subcommand;

use crate::say;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Hold this host
    On {
        /// Why, for whoever finds it
        reason: String,
    },
    /// Lift the hold that was set so; one by agent.toml or Group Policy stays
    Off,
    /// Show what holds this host, and where that comes from
    Show,
}

impl Command {
    pub(crate) fn carry_out(&self, holds: &Holds) -> Result<()> {
        match self {
            Self::On { reason } => {
                hold::set(holds.folder(), reason)?;
                say("held: nothing is done on this host until `backstay-agent hold off`");
                return Ok(());
            }
            Self::Off => say(if hold::lift(holds.folder())? { "the hold is lifted" } else { "there was no hold by command" }),
            Self::Show if holds.in_force().is_empty() => say("not held"),
            Self::Show => {}
        }
        // What neither file nor Group Policy lets go stays, and whoever lifts a hold has to know.
        for Set { value, origin } in holds.in_force() {
            say(&format!("held by {origin}: {value}"));
        }
        Ok(())
    }
}
