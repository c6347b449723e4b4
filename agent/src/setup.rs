//! What the installer has done by the agent itself: a first configuration and the join token put in place, and at the end the
//! state taken away (docs/decisions/0018).
//!
//! Files that are there are never written over: `agent.toml` is the administrator's, and the properties of the installer are only
//! for the first time. What is done, and why something is refused, stands in `setup.log` beside it, for an installer shows no
//! output of what it runs.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use clap::{Args, Subcommand};
use proto::names::{Address, InvalidAddress};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError, Flags, Layers};
use crate::identity::{IdentityError, read_token};
use crate::journal::replace;

/// Where a controller takes new hosts in, when nobody says otherwise.
const ENROLMENT: u16 = 7444;

/// Larger than any configuration that the agent takes, in bytes.
const MAX_CONFIG: u64 = 64 * 1024 + 1;

/// What lies beside the configuration, and is the agent's.
const BESIDE: [&str; 1] = ["agent.lock"];

/// What the installer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Setup {
    /// Put in place what there is none of
    Configure(Given),
    /// Take away what `configure` with the same arguments put there
    Unconfigure(Given),
    /// Before the agent is removed: see that no plan is at work
    Leave {
        /// 1: remove configuration, state and identity too
        #[arg(long, default_value = "")]
        purge: String,
    },
}

/// The installer's properties. Empty is as good as absent, for an installer hands over what was not given as nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Given {
    /// Enrolment ports, with commas between them
    #[arg(long, default_value = "")]
    pub controllers: String,
    /// A file with the join token
    #[arg(long, default_value = "")]
    pub join_token_file: String,
    /// A file that becomes the configuration
    #[arg(long, default_value = "")]
    pub config_file: String,
}

/// Why the installer must not go on.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Not the address of a controller.
    #[error("CONTROLLER_URL")]
    Address(#[source] InvalidAddress),
    /// The given file is no configuration; or the one that is there is none.
    #[error("the configuration")]
    Config(#[source] ConfigError),
    /// What the agent is told on this host, by file and Group Policy, cannot be used.
    #[error("the configuration: {0}")]
    Told(String),
    /// The file of the join token does not hold one.
    #[error("JOIN_TOKEN_FILE")]
    Token(#[source] IdentityError),
    /// Something else than the place of a file. It is not repeated: somebody may have given the token itself.
    #[error("{0}: expected the full path of a file, found something else")]
    NoPath(&'static str),
    /// There is no such file.
    #[error(
        "JOIN_TOKEN_FILE: expected {0}, found none; it is read by this computer's own account, and so must be the folder it is in"
    )]
    NoToken(PathBuf),
    /// Others have access to the folder of the configuration.
    #[cfg(windows)]
    #[error("the folder of the configuration cannot be kept from others")]
    Folder(#[source] native::service::FolderError),
    /// A plan has begun and not ended.
    #[error(
        "{0} is there: a plan is at work on this host; start the service, let it end the plan, and remove the agent then. \
         Whoever has looked at the host may move that file away"
    )]
    AtWork(PathBuf),
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What tells the folder of a configuration from somebody else's, where it has another name than ours.
#[cfg(windows)]
const MARKS: [&str; 4] = ["agent.toml", "join-token", "setup.log", "agent"];

/// Does what the installer asks for; `config` is the place of the configuration. Says in one line what was done.
///
/// # Errors
/// [`SetupError`], which `setup.log` beside the configuration repeats.
pub fn setup(setup: &Setup, config: &Path) -> Result<String, SetupError> {
    let (what, done) = match setup {
        Setup::Configure(given) => ("configure", configure(given, config)),
        Setup::Unconfigure(given) => ("unconfigure", unconfigure(given, config)),
        Setup::Leave { purge } if purge == "1" => ("purge", leave(config).and_then(|()| purge_all(config))),
        Setup::Leave { .. } => ("leave", leave(config).map(|()| "configuration and state are kept".to_owned())),
    };
    match &done {
        Ok(_) if what == "purge" => {}
        Ok(done) => log(config, &format!("{what}: {done}")),
        Err(error) => log(config, &format!("{what}: refused: {}", crate::chain(error))),
    }
    done
}

fn configure(given: &Given, config: &Path) -> Result<String, SetupError> {
    let mut done = Vec::new();
    let first = first_configuration(given, config)?;
    // Before a token lies in it.
    #[cfg(windows)]
    if let Some(folder) = config.parent() {
        native::service::folder::private(folder, &MARKS).map_err(SetupError::Folder)?;
    }
    if let Some(text) = first {
        if config.exists() {
            done.push(format!("{} is there and stays as it is", config.display()));
        } else {
            put(config, text.as_bytes())?;
            done.push(format!("{} written", config.display()));
        }
    }
    if !given.join_token_file.is_empty() {
        let token = token(Path::new(&given.join_token_file))?;
        let Config { state_dir, join_token_file, .. } = in_force(config)?;
        if state_dir.join("joined.json").exists() {
            done.push("this host has joined; the join token is not taken".to_owned());
        } else if same(Path::new(&given.join_token_file), &join_token_file) {
            done.push("the join token is where the agent reads it".to_owned());
        } else {
            put(&join_token_file, &token)?;
            done.push(format!("join token put into {}", join_token_file.display()));
        }
    }
    Ok(if done.is_empty() { "nothing was asked for".to_owned() } else { done.join("; ") })
}

/// Whatever it finds wrong is no reason to stop: the installer takes back everything else, too.
fn unconfigure(given: &Given, config: &Path) -> Result<String, SetupError> {
    let mut done = Vec::new();
    let mut take_back = |path: &Path, bytes: &[u8]| {
        if fs::read(path).is_ok_and(|found| found == bytes) && fs::remove_file(path).is_ok() {
            done.push(format!("{} removed", path.display()));
        }
    };
    // The token first: where it was put stands in the configuration.
    let given_token = Path::new(&given.join_token_file);
    if let (Ok(Config { join_token_file, .. }), Ok(token)) = (in_force(config), token(given_token))
        && !same(given_token, &join_token_file)
    {
        take_back(&join_token_file, &token);
    }
    if let Ok(Some(text)) = first_configuration(given, config) {
        take_back(config, text.as_bytes());
    }
    Ok(if done.is_empty() { "nothing to take back".to_owned() } else { done.join("; ") })
}

/// A run that stopped half way is continued by the next start, and there will be none.
fn leave(config: &Path) -> Result<(), SetupError> {
    // With a configuration that does not read the agent did not run, and has no plan at work.
    let Ok(Config { state_dir, .. }) = in_force(config) else { return Ok(()) };
    let journal = state_dir.join("journal");
    if journal.exists() { Err(SetupError::AtWork(journal)) } else { Ok(()) }
}

/// Takes away the configuration and everything below its folder that is the agent's. Certificates and key containers are the host's.
fn purge_all(config: &Path) -> Result<String, SetupError> {
    let folder = config.parent().unwrap_or(Path::new("."));
    let (state, token) = in_force(config).map_or_else(
        |_| (folder.join("agent"), folder.join("join-token")),
        |Config { state_dir, join_token_file, .. }| (state_dir, join_token_file),
    );
    let mut kept = Vec::new();
    for (path, own) in [(state, "the state"), (token, "the join token")] {
        // Elsewhere it may be a folder that others use too.
        if is_below(&path, folder) {
            remove(&path)?;
        } else if path.exists() {
            kept.push(format!("{own} in {} is not below {}: remove it by hand", path.display(), folder.display()));
        }
    }
    remove(config)?;
    BESIDE.iter().try_for_each(|name| remove(&config.with_file_name(name)))?;
    if kept.is_empty() {
        remove(&log_file(config))?;
        return Ok("configuration, state and identity are removed".to_owned());
    }
    log(config, &format!("purge: {}", kept.join("; ")));
    Ok(kept.join("; "))
}

/// The text that `agent.toml` begins with. `None` when the installer was given nothing for it.
fn first_configuration(given: &Given, config: &Path) -> Result<Option<String>, SetupError> {
    if !given.config_file.is_empty() {
        let path = Path::new(&given.config_file);
        if !path.is_absolute() {
            return Err(SetupError::NoPath("CONFIG_FILE"));
        }
        let text = read(path)?;
        Config::from_toml(&text, path).map_err(SetupError::Config)?;
        return Ok(Some(text));
    }
    let enrolment = addresses(&given.controllers).map_err(SetupError::Address)?;
    if enrolment.is_empty() {
        return Ok(None);
    }
    let list: Vec<String> = enrolment.iter().map(|address| format!("\"{address}\"")).collect();
    let text = format!(
        "# Written by the installer, once: an upgrade leaves it alone. An empty file is a valid one.\n\n[controllers]\nenrolment = [{}]\n",
        list.join(", ")
    );
    // As it will be read.
    Config::from_toml(&text, config).map_err(SetupError::Config)?;
    Ok(Some(text))
}

/// `https://host:port/`, `host:port` or `host`, with commas, semicolons or spaces between them.
fn addresses(text: &str) -> Result<Vec<Address>, InvalidAddress> {
    let words = text.split([',', ';', ' ']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let host = word.strip_prefix("https://").unwrap_or(word).trim_end_matches('/');
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            if has_port { host.parse() } else { format!("{host}:{ENROLMENT}").parse() }
        })
        .collect()
}

/// The bytes of a file with a join token in it.
fn token(path: &Path) -> Result<Zeroizing<Vec<u8>>, SetupError> {
    if !path.is_absolute() {
        return Err(SetupError::NoPath("JOIN_TOKEN_FILE"));
    }
    match read_token(path) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(SetupError::NoToken(path.to_owned())),
        Err(error) => return Err(SetupError::Token(error)),
    }
    fs::read(path).map(Zeroizing::new).map_err(|source| SetupError::Io { path: path.to_owned(), source })
}

/// Two names of one file.
fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// What the agent reads when it starts.
fn in_force(config: &Path) -> Result<Config, SetupError> {
    let layers = Layers::read(config.exists().then_some(config), &Flags::default());
    layers.config().map_err(|faults| {
        let faults: Vec<String> = faults.into_iter().map(|fault| crate::chain(fault)).collect();
        SetupError::Told(faults.join("; "))
    })
}

/// The text of a configuration.
fn read(path: &Path) -> Result<String, SetupError> {
    let io = |source| SetupError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_CONFIG).read_to_string(&mut text)).map_err(io)?;
    if read as u64 == MAX_CONFIG { Err(io(ErrorKind::FileTooLarge.into())) } else { Ok(text) }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| replace(path, bytes))
        .map_err(|source| SetupError::Io { path: path.to_owned(), source })
}

/// A file, or a folder with all that is in it. A link is removed, and not what it leads to.
fn remove(path: &Path) -> Result<(), SetupError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(SetupError::Io { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

fn is_below(path: &Path, folder: &Path) -> bool {
    let below = path.strip_prefix(folder).map(Path::components);
    below.is_ok_and(|mut names| names.clone().next().is_some() && names.all(|name| matches!(name, Component::Normal(_))))
}

fn log_file(config: &Path) -> PathBuf {
    config.with_file_name("setup.log")
}

/// A log that cannot be written stops nobody.
fn log(config: &Path, line: &str) {
    let path = log_file(config);
    let _ = path.parent().map(fs::create_dir_all);
    let file = OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| writeln!(file, "{} {}", crate::now(), one_line(line)));
}

/// Without the lines that a parser shows of what it read: whoever gives the wrong file may give the one with the join token.
fn one_line(text: &str) -> String {
    let is_shown = |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && !is_shown(line)).collect();
    lines.join(": ")
}

#[cfg(test)]
mod tests;
