//! The command line: parses what is asked, asks it, prints the answer, and ends with a code that scripts can rely on.
//!
//! Data goes to standard output, talk to standard error. Every command is a file of its own below this one and is a
//! client like any other: it speaks to a controller by gRPC, also on the controller's own machine, and never touches the
//! store. Keys that sign never leave the workstation. `serve` and `init` are the server's and absent without it.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::connection::Connection;
use self::failure::{Doing, Exit, Failure};
use self::output::{Format, Output};
use crate::clock::Clock;

pub mod access;
mod agent;
mod approver;
pub mod assess;
pub mod audit;
#[cfg(feature = "server")]
pub mod backup;
#[cfg(feature = "server")]
pub mod ca;
mod check;
mod completions;
pub mod connection;
pub mod contexts;
mod doctor;
mod dry_run;
#[cfg(feature = "server")]
pub mod events;
pub mod explain;
pub mod failure;
pub mod files;
mod follow;
mod html;
mod incident;
#[cfg(feature = "server")]
pub mod init;
pub mod output;
mod pages;
pub mod plan;
pub mod policy;
mod preflight;
mod report;
#[cfg(feature = "server")]
pub mod serve;
pub mod server;
#[cfg(all(feature = "server", windows))]
pub mod service;
pub mod settings;
mod sign_in;
pub mod status;
mod stop;
pub mod token;
pub mod trust;
pub mod watch;
mod wire;

/// Guards the back-end certificates of an Exchange estate.
#[derive(Debug, Parser)]
#[command(
    name = "backstay",
    version,
    before_help = "Examples:
  backstay assess exports/EX1                look at files exported from a server; nothing is installed
  backstay status                            the estate in ten lines
  backstay explain EX1                       why EX1 is judged as it is, and what happens next
  backstay plan approve 3f2a9c01 --key anna.key --reason \"renewal, CHG-12\""
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// How to print data.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,

    /// Which controller, and who asks.
    #[command(flatten)]
    pub connection: Connection,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the controller of an estate.
    #[cfg(feature = "server")]
    Serve(serve::Serve),
    /// Makes state folder, CA, database and the first operator's certificate; overwrites nothing.
    #[cfg(feature = "server")]
    Init(init::Init),
    /// Copies the controller's memory into a new folder, also while it works.
    #[cfg(feature = "server")]
    Backup(backup::Backup),
    /// Puts a backup in the place of the controller's memory; what was there is kept beside it.
    #[cfg(feature = "server")]
    Restore(backup::Restore),
    /// The certification authority's key, for the safe.
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Ca(ca::Ca),
    /// The events that the controller writes into the event log of Windows.
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Events(events::Events),
    /// The controller as a service of Windows.
    #[cfg(all(feature = "server", windows))]
    #[command(subcommand)]
    Service(service::Service),
    /// Who may approve: the trust document and its keys.
    #[command(subcommand)]
    Trust(trust::Trust),
    /// What is wanted: the policy.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Lets hosts join.
    #[command(subcommand)]
    Token(token::Token),
    /// The estate in ten lines.
    Status(status::Status),
    /// The estate or a server in one line, as a plug-in of a monitoring system.
    Check(check::Check),
    /// A link by which a browser shows the estate's pages to you.
    SignIn(sign_in::SignIn),
    /// By which ways people and programs come in, and the end of them.
    #[command(subcommand)]
    Access(access::Access),
    /// How the controller is configured.
    Settings(settings::Settings),
    /// The machines behind the names: who waits for a person, who was sent away.
    #[command(subcommand)]
    Agent(agent::Agent),
    /// The servers.
    #[command(subcommand)]
    Server(server::Server),
    /// Why a server is judged as it is, what happens next, and what would change it.
    Explain(explain::Explain),
    /// Before a patch night: what is lost at the next restart, what stops an update, what is frozen and why.
    Preflight(preflight::Preflight),
    /// What is to be done, and your yes or no to it.
    #[command(subcommand)]
    Plan(plan::Plan),
    /// The emergency stop: nothing is done any more until approvers say so.
    #[command(subcommand)]
    Stop(stop::Stop),
    /// An approver's yes to going on after emergency stops.
    Resume(stop::Resume),
    /// What wants somebody, and who is at it.
    #[command(subcommand)]
    Incident(incident::Incident),
    /// By which ways people and programs are told, and whether it arrives.
    #[command(subcommand)]
    Channel(incident::Channel),
    /// Who did what, as a chain in which no change goes unseen.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// What stood where on a day, what was changed by whom and why, what was left alone for how long.
    Report(report::Report),
    /// Judges servers from exported files; needs no controller and changes nothing.
    Assess(assess::Assess),
    /// What happens from here on, a line each.
    Watch(follow::Follow),
    /// Whether workstation, controller and approvers are ready for the day on which something is to be done.
    Doctor(doctor::Doctor),
    /// Names for the controllers you work with.
    #[command(subcommand)]
    Context(contexts::Command),
    /// Prints what a shell needs to complete commands and options.
    Completions(completions::Completions),
}

/// Where a controller's configuration lies.
#[cfg(all(feature = "server", not(windows)))]
const CONFIG: &str = "/etc/backstay/controller.toml";
/// Where a controller's configuration lies.
#[cfg(all(feature = "server", windows))]
const CONFIG: &str = r"C:\ProgramData\Backstay\controller.toml";

/// Files by which a folder shows that it is a controller's.
#[cfg(all(feature = "server", windows))]
const MARKS: &[&str] = &["ca.key", "backstay.db"];

/// What every command works with.
pub struct Context {
    /// Which controller, and who asks.
    pub connection: Connection,
    /// Where to print.
    pub output: Output,
    /// What time it is.
    pub clock: Clock,
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        // Help and version are answers, everything else is a mistake: clap knows which is which, and prints accordingly.
        Err(error) => {
            drop(error.print());
            if !error.use_stderr() {
                return Exit::Ok.code().into();
            }
            if check::is_meant(std::env::args_os()) {
                drop(Output::standard(Format::Table).show(&check::Line::of_usage(&error)));
                return check::State::Unknown.code().into();
            }
            return Exit::Usage.code().into();
        }
    };
    let Cli { command, output, connection } = cli;
    let mut context = Context { connection, output: Output::standard(output), clock: Clock::system() };
    if let Command::Check(check) = &command {
        return check.run(&mut context).code().into();
    }
    let exit = run(command, &mut context).unwrap_or_else(|failure| {
        context.output.say(&failure.report());
        failure.exit()
    });
    exit.code().into()
}

/// The command line as clap knows it, with examples before everything else.
pub fn command() -> clap::Command {
    fn examples_first(command: clap::Command) -> clap::Command {
        command
            .help_template("{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}")
            .mut_subcommands(examples_first)
    }
    examples_first(Cli::command())
}

fn run(command: Command, context: &mut Context) -> Result<Exit, Failure> {
    match command {
        #[cfg(feature = "server")]
        Command::Serve(serve) => serve.run(context),
        #[cfg(feature = "server")]
        Command::Init(init) => interruptible(init.run(context)),
        #[cfg(feature = "server")]
        Command::Backup(backup) => interruptible(backup.run(context)),
        #[cfg(feature = "server")]
        Command::Restore(restore) => interruptible(restore.run(context)),
        #[cfg(feature = "server")]
        Command::Ca(ca) => ca.run(context),
        #[cfg(feature = "server")]
        Command::Events(events) => events.run(context),
        #[cfg(all(feature = "server", windows))]
        Command::Service(service) => service.run(context),
        Command::Trust(trust) => interruptible(trust.run(context)),
        Command::Policy(policy) => interruptible(policy.run(context)),
        Command::Token(token) => interruptible(token.run(context)),
        Command::Status(status) => interruptible(status.run(context)),
        // Ends with other numbers than the rest, and is done before them.
        Command::Check(_) => unreachable!("done before"),
        Command::SignIn(sign_in) => interruptible(sign_in.run(context)),
        Command::Access(access) => interruptible(access.run(context)),
        Command::Settings(settings) => interruptible(settings.run(context)),
        Command::Agent(agent) => interruptible(agent.run(context)),
        Command::Server(server) => interruptible(server.run(context)),
        Command::Explain(explain) => interruptible(explain.run(context)),
        Command::Preflight(preflight) => interruptible(preflight.run(context)),
        Command::Plan(plan) => interruptible(plan.run(context)),
        Command::Stop(stop) => interruptible(stop.run(context)),
        Command::Resume(resume) => interruptible(resume.run(context)),
        Command::Incident(incident) => interruptible(incident.run(context)),
        Command::Channel(channel) => interruptible(channel.run(context)),
        Command::Audit(audit) => interruptible(audit.run(context)),
        Command::Report(report) => interruptible(report.run(context)),
        Command::Assess(assess) => assess.run(context),
        Command::Watch(follow) => interruptible(follow.run(context)),
        Command::Doctor(doctor) => interruptible(doctor.run(context)),
        Command::Context(contexts) => contexts.run(context),
        Command::Completions(completions) => completions.run(context),
    }
}

/// Runs a command until it is done or somebody presses Ctrl-C.
fn interruptible<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting to wait for answers".to_owned())?;
    let done = runtime.block_on(async {
        tokio::select! {
            // Listened for before anything is done.
            biased;
            heard = tokio::signal::ctrl_c() => {
                heard.doing(|| "listening for Ctrl-C".to_owned())?;
                Err(Failure::new(Exit::Interrupted, "interrupted")
                    .next("ask what became of it: `backstay plan list`, `backstay status`"))
            }
            done = work => done,
        }
    });
    // A question that nobody answered must not keep the process.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_examples_first() {
        fn check(command: &mut clap::Command, path: &str) {
            if !command.has_subcommands() {
                let help = command.render_help().to_string();
                let examples = help.find("Examples:").unwrap_or_else(|| panic!("{path} shows no examples:\n{help}"));
                assert!(examples < help.find("Usage:").expect("usage"), "{path}");
            }
            for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
                let path = format!("{path} {}", sub.get_name());
                check(sub, &path);
            }
        }
        let mut whole = command();
        whole.clone().debug_assert();
        whole.build();
        check(&mut whole, "backstay");
    }

    /// The words of a line as a shell splits it, as far as the manual needs it.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('"').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn the_manual_names_every_command_and_every_line_in_it_parses() {
        let read = |name| std::fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).expect(name);
        let mut manual = read("cli.md");
        if cfg!(windows) {
            manual.push_str(&read("windows-service.md"));
        }
        let mut lines: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        if cfg!(not(feature = "server")) {
            let of_the_server = ["init", "serve", "backup", "restore", "ca", "events"].map(|name| format!("backstay {name} "));
            lines.retain(|line| !of_the_server.iter().any(|start| line.starts_with(start)));
        }
        assert!(lines.len() > 15, "{lines:?}");
        for line in lines {
            if let Err(error) = command().try_get_matches_from(words(line)) {
                panic!("docs/cli.md: {line}\n{error}");
            }
        }
        fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() { leaves(sub, &path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        leaves(&command(), "backstay", &mut found);
        for path in found {
            assert!(manual.contains(&format!("### {path}\n")), "docs/cli.md has no part \"### {path}\"");
            assert!(manual.contains(&format!("$ {path}")), "docs/cli.md shows no example of {path}");
        }
    }

    #[test]
    fn connection_and_format_may_stand_behind_the_command() {
        let line = ["backstay", "server", "list", "-o", "json", "--controller", "ctl.contoso.test:7445"];
        let matches = command().try_get_matches_from(line).expect("parses");
        let cli = Cli::from_arg_matches(&matches).expect("parses");
        assert_eq!(cli.output, Format::Json);
        assert_eq!(cli.connection.controller, Some("ctl.contoso.test:7445".parse().expect("an address")));
    }

    #[test]
    fn what_cannot_be_is_refused_when_it_is_parsed() {
        for line in [
            &["backstay", "server", "show", "EX 1"][..],
            &["backstay", "--controller", "nowhere", "status"],
            &["backstay", "token", "create", "--server", "EX1", "--ttl", "8d"],
            &["backstay", "plan", "approve", "3f2a9c01", "--key", "k", "--reason", "x", "--days", "91"],
            &["backstay", "plan", "show", "3f2a"],
            &["backstay", "assess", "x", "--as-of", "yesterday"],
        ] {
            let error = command().try_get_matches_from(line).expect_err("must be refused");
            assert!(error.use_stderr(), "{line:?}");
        }
    }
}
