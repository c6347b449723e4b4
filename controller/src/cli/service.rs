//! `backstay service`: the controller as a service of Windows, which starts `backstay serve --service` (docs/windows-service.md).
//!
//! It is *running* when it listens. Nothing waits for it but agents and people, so it starts some time after the rest of Windows.

use std::time::Duration;

use clap::{Args, Subcommand};
use native::service::life::{Bounds, TOO_SLOW};
use native::service::{Definition, Privilege, ServiceError, Start, Status, folder, is_unquoted, manage};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::failure::{Doing, Exit, Failure};
use super::output::View;
use super::serve::Serve;
use crate::clock::Clock;
use crate::config::Config;

/// What the controller is to Windows.
const CONTROLLER: Definition = Definition {
    name: "Backstay",
    display_name: "Backstay Controller",
    description: "Keeps an estate of Exchange back-end certificates: takes reports, proposes plans, passes on what approvers signed.",
    start: Start::Delayed,
    preshutdown: Duration::from_secs(40),
    privileges: &[Privilege {
        name: "SeChangeNotifyPrivilege",
        why: "every path through folders whose access list does not name the system",
    }],
    command: "backstay.exe service",
};

/// A store of many servers takes its time to open; a stop has ten seconds for the streams and ten for the store.
const BOUNDS: Bounds = Bounds { start: Duration::from_secs(120), stop: Duration::from_secs(30) };

/// How long somebody waits at the console; a little longer than the service takes at most.
const START: Duration = BOUNDS.start.saturating_add(Duration::from_secs(15));
const STOP: Duration = BOUNDS.stop.saturating_add(Duration::from_secs(15));

/// The controller as a service.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Installs the service, or brings the one that is there up to date; what `serve` takes becomes part of its command line.
    #[command(before_help = "Examples:
  backstay service install
  backstay service install --config D:\\Backstay\\controller.toml --log info,controller=debug")]
    Install(Install),
    /// Stops and removes the service; everything that the controller keeps stays.
    #[command(before_help = "Examples:
  backstay service uninstall")]
    Uninstall,
    /// Starts the service and waits until it listens.
    #[command(before_help = "Examples:
  backstay service start")]
    Start,
    /// Stops the service and waits until it has.
    #[command(before_help = "Examples:
  backstay service stop")]
    Stop,
    /// How the service is.
    #[command(before_help = "Examples:
  backstay service status
  backstay service status -o json")]
    Status,
}

/// What `serve` is to be started with.
#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    serve: Serve,
}

impl Service {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::Install(Install { serve }) => return install(serve, context),
            Self::Uninstall => {
                manage::uninstall(&CONTROLLER, STOP).map_err(failed)?;
                context.output.say("the service is removed; the configuration and all that the controller keeps stay");
            }
            Self::Start => {
                let started = manage::start(&CONTROLLER, START, words).map_err(failed)?;
                context.output.say(if started { "the service runs" } else { "the service ran already" });
            }
            Self::Stop => {
                let stopped = manage::stop(&CONTROLLER, STOP).map_err(failed)?;
                context.output.say(if stopped { "the service has stopped" } else { "the service did not run" });
            }
            Self::Status => context.output.show(&manage::status(&CONTROLLER, words).map_err(failed)?)?,
        }
        Ok(Exit::Ok)
    }
}

/// A configuration that does not read is said here, to somebody who can mend it.
fn install(serve: &Serve, context: &mut Context) -> Result<Exit, Failure> {
    let config = Config::read(serve.config()).doing(|| format!("reading {}", serve.config().display()))?;
    folder::private(&config.state_dir, super::MARKS).doing(|| "keeping the state folder from others".to_owned())?;
    let exe = std::env::current_exe().doing(|| "finding this program".to_owned())?;
    let arguments = serve.arguments().doing(|| "making paths absolute".to_owned())?;
    let installed = manage::install(&CONTROLLER, &exe, &arguments).map_err(failed)?;
    for manage::Unset { setting, code } in &installed.unset {
        context.output.say(&format!("warning: {setting}: {code}"));
    }
    let done = if installed.updated { "brought up to date; what runs goes on until the next start" } else { "installed" };
    context.output.say(&format!("service {} is {done}", CONTROLLER.name));
    context.output.say("next: backstay service start");
    Ok(Exit::Ok)
}

/// Runs the controller as the service that the manager has started.
pub(super) fn under_the_manager(serve: Serve, clock: Clock) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let work = move |up: native::service::run::Up| {
        let served = serve.until(stop, clock, std::future::pending(), || {
            tracing::info!(service = CONTROLLER.name, version = env!("CARGO_PKG_VERSION"), "the service runs");
            repeat_settings();
            up.is_up();
        });
        match served {
            Ok(()) => {
                tracing::info!(service = CONTROLLER.name, "the service has stopped");
                0
            }
            Err(failure) => {
                tracing::error!(service = CONTROLLER.name, failure = failure.report(), "the service has stopped");
                u32::from(failure.exit().code())
            }
        }
    };
    native::service::run::run(CONTROLLER.name, BOUNDS, move || told.cancel(), work).map_err(failed)?;
    Ok(Exit::Ok)
}

/// Sets again what a person may have set otherwise.
fn repeat_settings() {
    match manage::repeat(&CONTROLLER, env!("CARGO_PKG_VERSION")) {
        Ok(unset) => {
            for manage::Unset { setting, code } in unset {
                tracing::warn!(%setting, %code, "a setting of the service could not be set");
            }
        }
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the settings of the service could not be set"),
    }
    if manage::image_path(&CONTROLLER).is_ok_and(|line| is_unquoted(&line.to_string_lossy())) {
        tracing::warn!("the service's path has blanks and no quotes: `backstay service install` puts it right");
    }
}

/// What an exit code of the service means; they are those of the command line.
fn words(exit: u32) -> Option<&'static str> {
    match exit {
        1 => Some("the controller could not go on; its log says why, and so does `backstay serve` at a console"),
        TOO_SLOW => Some("it did not come to its end in time; what was acknowledged is on disk"),
        _ => None,
    }
}

fn failed(error: ServiceError) -> Failure {
    let exit = match error.exit_code() {
        3 => Exit::NotFound,
        5 => Exit::Denied,
        7 => Exit::Timeout,
        _ => Exit::Error,
    };
    Failure::new(exit, "managing the service").because(error)
}

impl View for Status {
    fn text(&self) -> String {
        Self::text(self)
    }
}
