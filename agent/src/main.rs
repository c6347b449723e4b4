//! `backstay-agent`: the agent of one Exchange host.

use std::io::Write as _;
#[cfg(all(feature = "lab", unix))]
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use agent::config::{Config, ConfigError, Flags, Layers};
use agent::driver::Driver;
use agent::{chain, event, observe, setup};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use self::commands::{configuration, doctor, hold, run, trust};

mod commands;
#[cfg(windows)]
mod service;

/// Watches the back-end certificate of one Exchange host, tells a controller what it sees, and repairs what the signed policy
/// or signed approvals let it repair.
#[derive(Parser)]
#[command(name = "backstay-agent", version)]
struct Cli {
    /// The configuration; every key of it has a default
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    host: HostArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct HostArgs {
    /// What kind of host this is
    #[arg(long, global = true, value_enum)]
    driver: Option<DriverKind>,
    /// The lab's folder
    #[cfg(all(feature = "lab", unix))]
    #[arg(long, global = true, value_name = "DIR", requires = "lab_server")]
    lab_dir: Option<PathBuf>,
    /// The server in the lab
    #[cfg(all(feature = "lab", unix))]
    #[arg(long, global = true, value_name = "SERVER", requires = "lab_dir")]
    lab_server: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum DriverKind {
    /// This machine, by the calls of Windows
    #[cfg(windows)]
    Windows,
    /// A server of the lab: files, and sockets that `backstay-lab` holds
    #[cfg(all(feature = "lab", unix))]
    Lab,
}

#[derive(Subcommand)]
enum Command {
    /// Watch this host until SIGTERM or Ctrl-C
    Run {
        /// As the service that the service control manager starts: it says so in the service's command line
        #[cfg(windows)]
        #[arg(long, hide = true)]
        service: bool,
    },
    /// Look once, print what is seen as JSON, and change nothing
    Observe,
    /// Try whether a renewal would succeed here, and say what is proven on this host and what is not; change nothing
    Doctor(doctor::Doctor),
    /// Keep the agent from doing anything on this host: beats policy and orders
    #[command(subcommand)]
    Hold(hold::Command),
    /// Whom this host believes, and a person's decisions about that at its console
    #[command(subcommand)]
    Trust(trust::Command),
    /// What the agent is told, by agent.toml, command line and Group Policy
    #[command(name = "config", subcommand)]
    Configuration(configuration::Command),
    /// The events that this agent writes into the event log of Windows
    #[command(subcommand)]
    Events(event::command::Command),
    /// What the installer has done by this program
    #[command(subcommand, hide = true)]
    Setup(setup::Setup),
    #[cfg(windows)]
    #[command(flatten)]
    Service(service::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(windows)]
    if let Command::Run { service: true } = cli.command {
        return service::under_the_manager(cli);
    }
    match carry_out(&cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(cli: &Cli) -> Result<ExitCode> {
    // First what does without a configuration: one that is wrong, or not there yet, must not stand in the way.
    match &cli.command {
        #[cfg(windows)]
        Command::Service(command) => return Ok(command.carry_out(cli)),
        Command::Setup(asked) => {
            say(&setup::setup(asked, cli.config.as_deref().unwrap_or(&Config::default_path()))?);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Events(command) => {
            say(&command.run()?);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Run { .. }
        | Command::Observe
        | Command::Doctor(_)
        | Command::Hold(_)
        | Command::Trust(_)
        | Command::Configuration(_) => {}
    }
    let layers = cli.layers();
    if let Command::Configuration(command) = &cli.command {
        return Ok(command.carry_out(&layers));
    }
    if let Command::Hold(command) = &cli.command {
        return match layers.holds_in_doubt() {
            Ok(holds) => command.carry_out(&holds).map(|()| ExitCode::SUCCESS),
            Err(faults) => Ok(wrong(&faults)),
        };
    }
    let config = match layers.config() {
        Ok(config) => config,
        Err(faults) => {
            if matches!(cli.command, Command::Run { .. }) {
                faults.iter().for_each(|fault| event::configuration_refused(fault));
            }
            return Ok(wrong(&faults));
        }
    };
    let driver = driver(&cli.host)?;
    if let Command::Trust(command) = &cli.command {
        return command.carry_out(&config, driver);
    }
    if let Command::Doctor(doctor) = &cli.command {
        return Ok(doctor.examine(&config, driver.as_ref()));
    }
    if let Command::Observe = &cli.command {
        say(&serde_json::to_string_pretty(&observe::observe(&config.holds, driver.as_ref())?)?);
        return Ok(ExitCode::SUCCESS);
    }
    run::run(config, driver).map(|()| ExitCode::SUCCESS)
}

impl Cli {
    fn layers(&self) -> Layers {
        Layers::read(self.config.as_deref(), &self.flags)
    }
}

/// What is wrong with the configuration.
fn wrong(faults: &[&ConfigError]) -> ExitCode {
    faults.iter().for_each(|fault| complain(&chain(fault)));
    ExitCode::from(2)
}

fn driver(host: &HostArgs) -> Result<Arc<dyn Driver>> {
    match host.driver {
        #[cfg(windows)]
        None | Some(DriverKind::Windows) => Ok(Arc::new(agent::driver::windows::WindowsDriver::new())),
        #[cfg(not(windows))]
        None => anyhow::bail!("expected --driver: this build has none for this system"),
        #[cfg(all(feature = "lab", unix))]
        Some(DriverKind::Lab) => match (&host.lab_dir, &host.lab_server) {
            (Some(folder), Some(server)) => Ok(Arc::new(lab(folder, server)?)),
            _ => anyhow::bail!("driver lab: expected --lab-dir and --lab-server"),
        },
        #[cfg(not(any(windows, feature = "lab")))]
        Some(kind) => match kind {},
    }
}

#[cfg(all(feature = "lab", unix))]
fn lab(folder: &Path, server: &str) -> Result<agent::driver::lab::LabDriver> {
    use anyhow::Context as _;
    let server: policy::id::ServerName = server.parse().context("--lab-server")?;
    Ok(agent::driver::lab::LabDriver::new(&folder.join(server.as_str())))
}

/// A reader that is gone is no failure of ours.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "backstay-agent: {text}");
}
