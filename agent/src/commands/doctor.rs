//! `backstay-agent doctor`.

use std::io::Write as _;
use std::process::ExitCode;

use agent::config::Config;
use agent::driver::Driver;
use agent::{chain, doctor};
use clap::Args;
use policy::checkup::Kind;

use crate::complain;

#[derive(Args)]
pub(crate) struct Doctor {
    /// Then make a key in a container of its own, a certificate and a handshake beside all that serves, and take it all away again
    #[arg(long)]
    rehearse: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table")]
    output: doctor::Format,
}

impl Doctor {
    /// Code 6 when something was found.
    pub(crate) fn examine(&self, config: &Config, driver: &dyn Driver) -> ExitCode {
        let (kind, other) = if self.rehearse { (Kind::Rehearsal, Kind::Look) } else { (Kind::Look, Kind::Rehearsal) };
        let checkup = doctor::examine(config, driver, kind);
        let before = doctor::kept(&config.state_dir, other).unwrap_or_default();
        let _ = write!(std::io::stdout(), "{}", doctor::print(&checkup, before.as_ref(), self.output, checkup.at));
        // What was found is no worse for it.
        if let Err(error) = doctor::keep(&config.state_dir, &checkup) {
            complain(&format!("what was found is not kept, and no controller will learn of it: {}", chain(&error)));
        }
        if checkup.has_findings() { ExitCode::from(6) } else { ExitCode::SUCCESS }
    }
}
