//! `backstay-agent`: the agent of one Exchange host.

use std::io::{IsTerminal as _, Write as _};
#[cfg(all(feature = "lab", unix))]
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent::config::{Config, ConfigError, LogFormat};
use agent::driver::Driver;
use agent::{chain, doctor, hold, observe};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use policy::checkup::Kind;
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
    /// Another state folder than the configuration's
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
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
    /// Try whether a renewal would succeed here, and say what is proven on this host and what is not; change nothing
    Doctor {
        /// Then make a key in a container of its own, a certificate and a handshake beside all that serves, and take it all away
        /// again
        #[arg(long)]
        rehearse: bool,
        /// How to print it
        #[arg(short, long, value_enum, default_value = "table")]
        output: doctor::Format,
    },
    /// Keep the agent from doing anything on this host: beats policy and orders
    #[command(subcommand)]
    Hold(Hold),
}

#[derive(Subcommand)]
enum Hold {
    /// Hold this host
    On {
        /// Why, for whoever finds it
        reason: String,
    },
    /// Lift the hold
    Off,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match configuration(&cli) {
        Ok(config) => config,
        Err(error) => {
            complain(&chain(&error));
            return ExitCode::from(2);
        }
    };
    match dispatch(&cli, config) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The file that was named; the default one, which need not exist.
fn configuration(cli: &Cli) -> Result<Config, ConfigError> {
    let default = Config::default_path();
    let path = cli.config.as_deref().unwrap_or(&default);
    let read = if cli.config.is_none() && !path.exists() { Config::from_toml("", path) } else { Config::open(path) };
    read.map(|config| match &cli.state_dir {
        Some(state_dir) => Config { state_dir: state_dir.clone(), ..config },
        None => config,
    })
}

fn dispatch(cli: &Cli, config: Config) -> Result<ExitCode> {
    let done = match &cli.command {
        Command::Run => run(config, driver(&cli.host)?),
        Command::Doctor { rehearse, output } => {
            return examine(&config, driver(&cli.host)?.as_ref(), *rehearse, *output);
        }
        Command::Observe => {
            let observation = observe::observe(&config.state_dir, driver(&cli.host)?.as_ref())?;
            say(&serde_json::to_string_pretty(&observation)?);
            Ok(())
        }
        Command::Hold(Hold::On { reason }) => {
            hold::set(&config.state_dir, reason)?;
            say("held: nothing is done on this host until `backstay-agent hold off`");
            Ok(())
        }
        Command::Hold(Hold::Off) => {
            let lifted = hold::lift(&config.state_dir)?;
            say(if lifted { "the hold is lifted" } else { "there was no hold" });
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Code 6 when something was found.
fn examine(config: &Config, driver: &dyn Driver, rehearse: bool, output: doctor::Format) -> Result<ExitCode> {
    let (kind, other) = if rehearse { (Kind::Rehearsal, Kind::Look) } else { (Kind::Look, Kind::Rehearsal) };
    let checkup = doctor::examine(config, driver, kind);
    let before = doctor::kept(&config.state_dir, other).unwrap_or_default();
    let _ = write!(std::io::stdout(), "{}", doctor::print(&checkup, before.as_ref(), output, checkup.at));
    // What was found is no worse for it.
    if let Err(error) = doctor::keep(&config.state_dir, &checkup) {
        complain(&format!("what was found is not kept, and no controller will learn of it: {}", chain(&error)));
    }
    Ok(if checkup.has_findings() { ExitCode::from(6) } else { ExitCode::SUCCESS })
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
