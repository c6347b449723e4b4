//! The agent as a service of Windows: what it is, and how it runs under the service control manager (docs/windows-service.md).
//!
//! It is *running* when nothing is left half-way on the host: an open journal has been taken up, and it attends, or waits for a
//! join token. Asked to stop, it brings a plan that is at work to its next safe end (promise P3); how long that may take at most
//! is the agent's own to say, and a little more is given here.

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use agent::config::Config;
use agent::work::WorkError;
use agent::{AgentError, chain, event};
use anyhow::{Context as _, Result};
use native::service::life::{Bounds, TOO_SLOW};
use native::service::run::{Up, run};
use native::service::{Definition, Privilege, Start, folder, is_unquoted, manage};
use tokio_util::sync::CancellationToken;

use super::commands::run::attend;
use super::{Cli, complain, driver};

mod command;

pub(crate) use command::Command;

/// What the agent is to Windows.
const AGENT: Definition = Definition {
    name: "BackstayAgent",
    display_name: "Backstay Agent",
    description: "Watches the back-end certificate of Exchange (port 444) and repairs what policy and approvals let it repair.",
    // Without delay: what a power cut left half-way is taken up before Exchange's own services are there.
    start: Start::Automatic,
    preshutdown: Duration::from_secs(90),
    privileges: &[Privilege {
        name: "SeChangeNotifyPrivilege",
        why: "every path through folders whose access list does not name the system",
    }],
    command: "backstay-agent.exe",
};

/// A run that was cut off may have a handshake over every path to go; a stop has the agent's minute, and what it takes to say
/// goodbye.
const BOUNDS: Bounds = Bounds { start: Duration::from_secs(180), stop: Duration::from_secs(75) };

/// The service's exit codes, beside 0 and [`TOO_SLOW`]. They never change their meaning.
const FAILED: u32 = 1;
const MISCONFIGURED: u32 = 2;
const NOT_ALONE: u32 = 8;

/// What an exit code means, and what to do.
fn words(exit: u32) -> Option<&'static str> {
    match exit {
        FAILED => Some("the agent could not go on; its log says why, and so does `backstay-agent.exe run` at a console"),
        MISCONFIGURED => Some("the configuration or command line cannot be used; `backstay-agent.exe run` at a console says why"),
        TOO_SLOW => Some("it did not come to its end in time; the next start takes up what was at work"),
        NOT_ALONE => Some("another agent is at work on this host; end it first"),
        _ => None,
    }
}

/// Runs the agent under the service control manager, and gives how the process ends.
pub(crate) fn under_the_manager(cli: Cli) -> ExitCode {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let ended = run(AGENT.name, BOUNDS, move || told.cancel(), move |up| work(&cli, &stop, &up));
    match ended {
        // How it ended, the manager knows.
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The service's exit code.
fn work(cli: &Cli, stop: &CancellationToken, up: &Up) -> u32 {
    let layers = cli.layers();
    let config = match layers.config() {
        Ok(config) => config,
        Err(faults) => {
            // Nothing listens to log calls yet.
            faults.iter().for_each(|fault| event::configuration_refused(fault));
            return MISCONFIGURED;
        }
    };
    let worked = || -> Result<()> {
        let _log = agent::log::start(&config.log).context("log.filter of the configuration")?;
        tracing::info!(service = AGENT.name, version = env!("CARGO_PKG_VERSION"), "the service starts");
        repeat_settings();
        attend(config, driver(&cli.host)?, stop, std::future::pending(), || up.is_up())
    };
    match worked() {
        Ok(()) => {
            tracing::info!(service = AGENT.name, "the service has stopped");
            0
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the service has stopped");
            match error.downcast_ref() {
                Some(AgentError::Work(WorkError::InUse(_))) => NOT_ALONE,
                _ if error.is::<NotAlone>() => NOT_ALONE,
                _ => FAILED,
            }
        }
    }
}

/// Sets again what an installer or a person may have set otherwise.
fn repeat_settings() {
    match manage::repeat(&AGENT, env!("CARGO_PKG_VERSION")) {
        Ok(unset) => {
            for manage::Unset { setting, code } in unset {
                event::setting_not_made(&setting.to_string(), &code);
            }
        }
        Err(error) => event::setting_not_made("all of them", &error),
    }
    match manage::image_path(&AGENT) {
        Ok(line) if is_unquoted(&line.to_string_lossy()) => {
            tracing::warn!(line = %line.display(), "the path has blanks and no quotes: `backstay-agent.exe install` puts it right");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "the command line of the service could not be read"),
    }
}

/// There is another one.
#[derive(Debug, thiserror::Error)]
#[error("this host: expected one agent, found another at work, which holds {0}; stop the service BackstayAgent first")]
struct NotAlone(std::path::PathBuf);

/// Makes sure that no other agent works on this host, whatever its state folder: two would repair against each other. As long as
/// what is given lives.
///
/// # Errors
/// When there is one, or the folder of the configuration cannot be had.
pub(crate) fn only_one() -> Result<File> {
    let path = Config::default_path().with_file_name("agent.lock");
    let above = path.parent().context("the configuration has a folder")?;
    // Where not everybody may make files: a lock that anybody could take would be a way to keep the agent out.
    folder::private(above, &[])?;
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(NotAlone(path).into()),
        Err(std::fs::TryLockError::Error(source)) => Err(source).with_context(|| path.display().to_string()),
    }
}
