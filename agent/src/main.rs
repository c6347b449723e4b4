//! `backstay-agent`: the agent of one Exchange host.

use std::io::{IsTerminal as _, Write as _};
#[cfg(all(feature = "lab", unix))]
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent::config::show::Table;
use agent::config::{Config, ConfigError, Flags, Layers, LogFormat, Set};
use agent::driver::Driver;
use agent::hold::{self, Holds};
use agent::{chain, observe};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
    Run,
    /// Look once, print what is seen as JSON, and change nothing
    Observe,
    /// Keep the agent from doing anything on this host: beats policy and orders
    #[command(subcommand)]
    Hold(Hold),
    /// What the agent is told, by agent.toml, command line and Group Policy
    #[command(name = "config", subcommand)]
    Configuration(Configuration),
}

#[derive(Subcommand)]
enum Hold {
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

#[derive(Subcommand)]
enum Configuration {
    /// Print every key and what it is
    Show {
        /// Where each value comes from, too
        #[arg(long)]
        origin: bool,
        /// As a table or as JSON, which has the origins always
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Say what is wrong; exit code 2 when something is
    Check,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let layers = Layers::read(cli.config.as_deref(), &cli.flags);
    let done = match &cli.command {
        Command::Configuration(command) => return configuration(command, &layers),
        Command::Hold(command) => layers.holds_in_doubt().map(|holds| hold(command, &holds)),
        Command::Run => layers.config().map(|config| run(config, driver(&cli.host)?)),
        Command::Observe => layers.config().map(|config| {
            let observation = observe::observe(&config.holds, driver(&cli.host)?.as_ref())?;
            say(&serde_json::to_string_pretty(&observation)?);
            Ok(())
        }),
    };
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
        Err(faults) => wrong(&faults),
    }
}

fn wrong(faults: &[&ConfigError]) -> ExitCode {
    faults.iter().for_each(|fault| complain(&chain(fault)));
    ExitCode::from(2)
}

fn configuration(command: &Configuration, layers: &Layers) -> ExitCode {
    match command {
        Configuration::Show { origin, output } => {
            let table = Table::of(layers);
            match output {
                Output::Table => say(table.to_text(*origin).trim_end()),
                Output::Json => say(&serde_json::to_string_pretty(&table).expect("texts are plain data")),
            }
        }
        Configuration::Check if layers.merged().faults.is_empty() => say("the configuration can be used"),
        Configuration::Check => {}
    }
    let faults: Vec<_> = layers.merged().faults.iter().collect();
    if faults.is_empty() { ExitCode::SUCCESS } else { wrong(&faults) }
}

fn hold(command: &Hold, holds: &Holds) -> Result<()> {
    match command {
        Hold::On { reason } => {
            hold::set(holds.folder(), reason)?;
            say("held: nothing is done on this host until `backstay-agent hold off`");
            return Ok(());
        }
        Hold::Off => say(if hold::lift(holds.folder())? { "the hold is lifted" } else { "there was no hold by command" }),
        Hold::Show if holds.in_force().is_empty() => say("not held"),
        Hold::Show => {}
    }
    // What neither file nor Group Policy lets go stays, and whoever lifts a hold has to know.
    for Set { value, origin } in holds.in_force() {
        say(&format!("held by {origin}: {value}"));
    }
    Ok(())
}

fn run(config: Config, driver: Arc<dyn Driver>) -> Result<()> {
    log_to_stderr(&config)?;
    // One thread for the loop, few for what blocks: this runs beside Exchange and must not be noticed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .context("no runtime")?;
    let stop = CancellationToken::new();
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = agent::run(config, driver, stop.clone()) => ended.map_err(Into::into),
            signals = signals(&stop) => signals,
        }
    });
    // What hangs in a call of the system is left alone: the journal is made for that.
    runtime.shutdown_background();
    ended
}

/// Asks the agent to stop at the first signal; returns at the second, which leaves everything as it is.
async fn signals(stop: &CancellationToken) -> Result<()> {
    signal().await.context("signals cannot be received")?;
    stop.cancel();
    signal().await.context("signals cannot be received")?;
    bail!("stopped at once by a second signal; the next start takes up what was at work");
}

#[cfg(unix)]
async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn driver(host: &HostArgs) -> Result<Arc<dyn Driver>> {
    match host.driver {
        #[cfg(windows)]
        None | Some(DriverKind::Windows) => Ok(Arc::new(agent::driver::windows::WindowsDriver::new())),
        #[cfg(not(windows))]
        None => bail!("expected --driver: this build has none for this system"),
        #[cfg(all(feature = "lab", unix))]
        Some(DriverKind::Lab) => match (&host.lab_dir, &host.lab_server) {
            (Some(folder), Some(server)) => Ok(Arc::new(lab(folder, server)?)),
            _ => bail!("driver lab: expected --lab-dir and --lab-server"),
        },
        #[cfg(not(any(windows, feature = "lab")))]
        Some(kind) => match kind {},
    }
}

#[cfg(all(feature = "lab", unix))]
fn lab(folder: &Path, server: &str) -> Result<agent::driver::lab::LabDriver> {
    let server: policy::id::ServerName = server.parse().context("--lab-server")?;
    Ok(agent::driver::lab::LabDriver::new(&folder.join(server.as_str())))
}

fn log_to_stderr(config: &Config) -> Result<()> {
    let filter = EnvFilter::try_new(&config.log.filter).context("log.filter of the configuration")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

/// A reader that is gone is no failure of ours.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "backstay-agent: {text}");
}
