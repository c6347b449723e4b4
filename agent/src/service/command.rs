//! `backstay-agent.exe install|uninstall|start|stop|status`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser as _, Subcommand, ValueEnum};
use native::service::{ServiceError, manage};

use super::{AGENT, BOUNDS, words};
use crate::{Cli, complain, say};

/// What an administrator does with the service.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Install the service, or bring the one that is there up to date; the options of the configuration become part of its command line
    Install,
    /// Stop and remove the service; certificates, and what serves 444, stay as they are
    Uninstall {
        /// Remove the state folder too: this host must join anew then, and what it remembers of 444 is gone
        #[arg(long)]
        purge: bool,
    },
    /// Start the service and wait until it runs
    Start,
    /// Stop the service and wait until it has; a plan at work comes to its next safe end first
    Stop,
    /// How the service is
    Status {
        /// How to print it
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs: one JSON value, whose fields are added to and never renamed
    Json,
}

/// How long somebody waits at the console; a little longer than the service takes at most.
const START: Duration = BOUNDS.start.saturating_add(Duration::from_secs(15));
const STOP: Duration = BOUNDS.stop.saturating_add(Duration::from_secs(15));

impl Command {
    /// Does it, and says so; 3 there is no service, 5 denied, 7 not in time, 1 everything else.
    pub(crate) fn carry_out(&self, cli: &Cli) -> ExitCode {
        let done = match self {
            Self::Install => install(cli),
            Self::Uninstall { purge } => uninstall(cli, *purge),
            Self::Start => start(),
            Self::Stop => stop(),
            Self::Status { output } => status(*output),
        };
        let Err(error) = done else { return ExitCode::SUCCESS };
        complain(&format!("{error:#}"));
        error.downcast_ref::<ServiceError>().map_or(ExitCode::FAILURE, |error| ExitCode::from(error.exit_code()))
    }
}

fn install(cli: &Cli) -> Result<()> {
    // Before anybody puts a join token there.
    let configuration = agent::config::Config::default_path();
    native::service::folder::private(configuration.parent().context("the configuration has a folder")?, &[])?;
    let exe = std::env::current_exe().context("where this program lies")?;
    let installed = manage::install(&AGENT, &exe, &arguments(cli)?)?;
    for manage::Unset { setting, code } in &installed.unset {
        complain(&format!("warning: {setting}: {code}"));
    }
    let done = if installed.updated { "brought up to date; what runs goes on until the next start" } else { "installed" };
    say(&format!("service {} is {done}", AGENT.name));
    Ok(())
}

/// With what the manager starts the agent: what was said at the console, by full paths, for its folder will be another.
fn arguments(cli: &Cli) -> Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = vec!["run".into(), "--service".into()];
    if let Some(path) = &cli.config {
        let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
        arguments.extend(["--config".into(), path.into()]);
    }
    let options = cli.flags.words().context("an option that names a path")?;
    arguments.extend(options.into_iter().map(OsString::from));
    Ok(arguments)
}

fn uninstall(cli: &Cli, purge: bool) -> Result<()> {
    // First, because the service knows with which state folder it ran.
    let state = if purge { Some(state_folder(cli)?) } else { None };
    match manage::uninstall(&AGENT, STOP) {
        Ok(()) => say(&format!("service {} is removed", AGENT.name)),
        Err(ServiceError::Absent { name, .. }) if purge => complain(&format!("service {name}: there is none any more")),
        Err(error) => return Err(error.into()),
    }
    match state {
        Some(state) => remove_state(&state),
        None => {
            say("its state and configuration stay");
            Ok(())
        }
    }
}

/// The state folder that was named, or that of the service's own command line.
fn state_folder(cli: &Cli) -> Result<PathBuf> {
    let service = match manage::image_path(&AGENT) {
        Ok(line) => Cli::try_parse_from(native::service::words(&line.to_string_lossy())).ok(),
        Err(ServiceError::Absent { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let says_nothing = cli.config.is_none() && cli.flags.words().is_ok_and(|words| words.is_empty());
    let named = if says_nothing { service.as_ref() } else { Some(cli) };
    match named.unwrap_or(cli).layers().holds_in_doubt() {
        Ok(holds) => Ok(holds.folder().to_owned()),
        Err(faults) => {
            let why: Vec<String> = faults.iter().map(|fault| agent::chain(fault)).collect();
            bail!("nothing was removed: the state folder is not known; name it by --state-dir: {}", why.join("; "))
        }
    }
}

/// Removes the folder, if it is an agent's and no agent is at work in it.
fn remove_state(folder: &Path) -> Result<()> {
    let lock = folder.join("lock");
    let held = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => {
            say(&format!("{}: there is no state", folder.display()));
            return Ok(());
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "{}: expected the state of an agent, found a folder without its file `lock`; nothing in it was removed",
                folder.display()
            )
        }
        Err(error) => return Err(error).context(lock.display().to_string()),
    };
    if held.try_lock().is_err() {
        bail!("{}: expected no agent at work in it, found one; nothing in it was removed", folder.display());
    }
    say(&format!("removing {}: identity, journal, documents, and what was remembered of 444", folder.display()));
    // Open, it could not go.
    drop(held);
    fs::remove_dir_all(folder).with_context(|| folder.display().to_string())
}

fn start() -> Result<()> {
    let started = manage::start(&AGENT, START, words)?;
    say(&format!("service {} {}", AGENT.name, if started { "runs" } else { "ran already" }));
    Ok(())
}

fn stop() -> Result<()> {
    let stopped = manage::stop(&AGENT, STOP)?;
    say(&format!("service {} {}", AGENT.name, if stopped { "has stopped" } else { "did not run" }));
    Ok(())
}

fn status(output: Format) -> Result<()> {
    let status = manage::status(&AGENT, words)?;
    say(match output {
        Format::Table => status.text(),
        Format::Json => serde_json::to_string_pretty(&status)?,
    }
    .trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_at_the_console_is_what_the_service_is_started_with() {
        let cli = Cli::try_parse_from(["a.exe", "install", "--config", r"C:\with blank\a.toml", "--state-dir", "state"]).unwrap();
        let words: Vec<OsString> = std::iter::once("a.exe".into()).chain(arguments(&cli).unwrap()).collect();
        let started = Cli::try_parse_from(words).unwrap();
        assert!(matches!(started.command, crate::Command::Run { service: true }));
        assert_eq!(started.config, cli.config);
        let words = started.flags.words().unwrap();
        assert!(words[0] == "--state-dir" && Path::new(&words[1]).is_absolute(), "{words:?}");
    }

    #[test]
    fn only_the_state_of_an_agent_that_has_ended_is_removed() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("agent");
        remove_state(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("diary.txt"), "dear diary").unwrap();
        assert!(remove_state(&folder).unwrap_err().to_string().contains("expected the state of an agent"));
        let lock = File::create(folder.join("lock")).unwrap();
        lock.try_lock().unwrap();
        assert!(remove_state(&folder).unwrap_err().to_string().contains("at work"));
        assert!(folder.join("diary.txt").exists());
        drop(lock);
        remove_state(&folder).unwrap();
        assert!(!folder.exists());
    }
}
