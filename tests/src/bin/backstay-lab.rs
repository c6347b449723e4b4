//! `backstay-lab`: Exchange hosts made of files, with a real http.sys, to break and to heal.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command speaks on standard output")]

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tests::lab::{Answer, Call, Damage, Estate, Fault, Mode, SCENARIOS, Scenario, Server, scenario};
use tokio::signal::unix::{SignalKind, signal};

/// Exchange hosts made of files, with a real http.sys, to break and to heal
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an estate until interrupted; it is made when there is none
    Up {
        #[command(flatten)]
        estate: Folder,
        /// A server to add when it is missing, as NAME or NAME=DAG [default: EX1=DAG1 EX2=DAG1 EX3]
        #[arg(long = "server", value_name = "NAME[=DAG]")]
        servers: Vec<String>,
        /// Also stop when standard input closes
        #[arg(long)]
        until_stdin_closes: bool,
    },
    /// Show the servers and what is on 444, and the states that can be staged
    List {
        #[command(flatten)]
        estate: Folder,
    },
    /// Stage a state of EXCHANGE.md 6 on a server, and say what is to be expected
    Scenario {
        /// The state's id, for example C1; `list` shows them
        id: String,
        #[command(flatten)]
        on: On,
    },
    /// Let something happen to a server, by its name or by its row of EXCHANGE.md 6
    Break {
        #[command(flatten)]
        on: On,
        #[command(subcommand)]
        what: Damage,
    },
    /// Restart a server's http.sys: what was deleted is no longer served
    Restart {
        #[command(flatten)]
        on: On,
    },
    /// Put a server back into the state in which Setup left it
    Heal {
        #[command(flatten)]
        on: On,
    },
    /// Let a call of a server fail, hang or lie
    Fault {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        what: FaultArgs,
    },
}

#[derive(Debug, Args)]
struct FaultArgs {
    /// The call, for example httpsys.set
    #[arg(required_unless_present = "clear")]
    call: Option<Call>,
    /// fail: gives an error code and does nothing; hang: does not come back in time; lie: says that it did what it did not do
    #[arg(required_unless_present = "clear")]
    mode: Option<Mode>,
    /// So many times, then never again [default: until it is taken away]
    #[arg(long)]
    times: Option<u32>,
    /// Only after so many calls that go right
    #[arg(long, default_value_t = 0)]
    after: u32,
    /// The Windows error code with which it fails
    #[arg(long, default_value_t = 5)]
    code: u32,
    /// How long it hangs
    #[arg(long, default_value_t = 10_000)]
    millis: u64,
    /// Take every fault away
    #[arg(long, conflicts_with_all = ["call", "mode"])]
    clear: bool,
}

#[derive(Debug, Args)]
struct Folder {
    /// The estate's folder
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct On {
    #[command(flatten)]
    estate: Folder,
    /// The server
    #[arg(long)]
    server: String,
}

impl On {
    fn server(&self) -> Result<Server> {
        Estate::open(&self.estate.dir)?.server(&self.server)
    }
}

fn main() -> Result<()> {
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_ansi(colours).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Up { estate, servers, until_stdin_closes } => up(&estate.dir, &servers, until_stdin_closes),
        Command::List { estate } => {
            list(&Estate::open(&estate.dir)?)?;
            println!("\n{:<6} state", "id");
            SCENARIOS.iter().for_each(|scenario| println!("{:<6} {}", scenario.id, scenario.title));
            Ok(())
        }
        Command::Scenario { id, on } => {
            let known = || SCENARIOS.iter().map(|scenario| scenario.id).collect::<Vec<_>>().join(", ");
            let scenario = scenario(&id).with_context(|| format!("expected one of {}, found {id:?}", known()))?;
            stage(scenario, &on.server()?)
        }
        Command::Break { on, what } => {
            on.server()?.damage(&what)?;
            println!("{}: {what:?} ({})", on.server, what.row());
            Ok(())
        }
        Command::Restart { on } => on.server()?.restart(),
        Command::Heal { on } => on.server()?.heal(),
        Command::Fault { on, what } => match what.fault() {
            Some(fault) => on.server()?.fault(fault),
            None => on.server()?.clear_faults(),
        },
    }
}

fn stage(scenario: &Scenario, server: &Server) -> Result<()> {
    let Scenario { id, title, damage, verdict, codes, answer } = scenario;
    for one in *damage {
        server.damage(one)?;
    }
    println!("{id}: {title}\n\nto be expected in mode act, after the quiet time:\n  verdict  {verdict}");
    for code in *codes {
        println!("  finding  {code} {}", code.title());
    }
    let answer = match answer {
        Answer::Act(purpose) => format!("{} by itself", purpose.as_str()),
        Answer::Propose(purpose) => format!("{}, proposed to the approvers", purpose.as_str()),
        Answer::Aside(purpose) => format!("{}, proposed to the approvers; 444's certificate stays", purpose.as_str()),
        Answer::Report => "none: it is told, and nothing is written".to_owned(),
    };
    println!("  plan     {answer}");
    Ok(())
}

impl FaultArgs {
    /// `None` takes all away.
    fn fault(self) -> Option<Fault> {
        let Self { call, mode, times, after, code, millis, clear: _ } = self;
        Some(Fault { times, ..Fault::new(call?, mode?).after(after).code(code).millis(millis) })
    }
}

fn up(folder: &std::path::Path, servers: &[String], until_stdin_closes: bool) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let named: Vec<(&str, Option<&str>)> = servers
        .iter()
        .map(|server| server.split_once('=').map_or((server.as_str(), None), |(name, dag)| (name, Some(dag))))
        .collect();
    let estate = match (Estate::open(folder), named.as_slice()) {
        (Ok(estate), []) => estate,
        (Err(_), []) => Estate::usual(folder)?,
        (_, named) => Estate::with(folder, named)?,
    };
    let running = estate.up()?;
    list(&estate)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(end(until_stdin_closes))?;
    drop(running);
    Ok(())
}

/// Waits for the signal to stop.
async fn end(until_stdin_closes: bool) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closes(), if until_stdin_closes => {}
    }
    Ok(())
}

async fn stdin_closes() {
    let (send, closed) = tokio::sync::oneshot::channel::<()>();
    // A thread, for reading a terminal blocks; it ends with the process.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(send);
    });
    let _ = closed.await;
}

fn list(estate: &Estate) -> Result<()> {
    println!("{:<15} {:<30} {:<10} {:<21} {:<21} 444 holds", "server", "full name", "DAG", "443 is at", "444 is at");
    for server in estate.servers()? {
        let place = server.place()?;
        let at = |port| place.socket(port).map_or_else(|| "not yet up".to_owned(), |socket| socket.to_string());
        let holds = match (server.is_up(), server.back_end_record()?, server.back_end_certificate()?) {
            (false, _, _) => "http.sys is down".to_owned(),
            (true, None, _) => "no record".to_owned(),
            (true, Some(record), None) => match record.thumbprint {
                Some(thumbprint) => format!("{thumbprint}, which is not in {}", record.store()),
                None => "a record without certificate".to_owned(),
            },
            (true, Some(_), Some(certificate)) => format!("{}, until {}", certificate.thumbprint(), certificate.not_after()),
        };
        let dag = place.dag.as_deref().unwrap_or("-");
        println!("{:<15} {:<30} {dag:<10} {:<21} {:<21} {holds}", place.name, place.fqdn, at(443), at(444));
    }
    Ok(())
}
