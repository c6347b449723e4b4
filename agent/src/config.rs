//! `agent.toml`: where the agent keeps its state, and whom it talks to. An empty file is a valid one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::duration::Span;
use proto::names::Address;
use serde::Deserialize;
use thiserror::Error;

/// The largest configuration that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The most addresses of one kind.
const MAX_ADDRESSES: usize = 16;

/// A configuration that is none.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Larger than any configuration.
    #[error("{path}: expected at most {MAX_BYTES} bytes, found {found}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: u64,
    },
    /// Not TOML, an unknown key or a value of the wrong kind; the message shows line and column.
    #[error("{path} does not read as TOML\n{message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A value out of its bounds.
    #[error("{path}: {key}: expected {expected}, found {found}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Journal, ledger, documents, identity.
    pub state_dir: PathBuf,
    /// The join token that a person put there; read until the host has joined, then removed.
    pub join_token_file: PathBuf,
    /// The longest time between two looks at the host.
    pub look_every: Duration,
    /// Other addresses than those of the join token.
    pub controllers: Controllers,
    /// What is logged.
    pub log: Log,
}

/// `[controllers]`: each list, when it is not empty, stands in place of the join token's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controllers {
    /// Enrolment ports, tried in turn.
    pub enrolment: Vec<Address>,
    /// Agents' ports, tried in turn.
    pub agents: Vec<Address>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How.
    pub format: LogFormat,
    /// From which level, or a filter as `tracing` reads it.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    state_dir: Option<PathBuf>,
    join_token_file: Option<PathBuf>,
    look_every: Option<Span>,
    #[serde(default)]
    controllers: Controllers,
    #[serde(default)]
    log: Log,
}

impl Config {
    /// Where the configuration is when nobody says.
    pub fn default_path() -> PathBuf {
        config_dir().join("agent.toml")
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] with file and place.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let io = |source| ConfigError::Io { path: path.to_owned(), source };
        let found = std::fs::metadata(path).map_err(io)?.len();
        if found > MAX_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned(), found });
        }
        Self::from_toml(&std::fs::read_to_string(path).map_err(io)?, path)
    }

    /// Reads a configuration from its text; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with file and place.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let Raw { state_dir, join_token_file, look_every, controllers, log } =
            toml::from_str(text).map_err(|error| ConfigError::Toml { path: path.to_owned(), message: error.to_string() })?;
        let value = |key, expected: &str, found: String| ConfigError::Value {
            path: path.to_owned(),
            key,
            expected: expected.to_owned(),
            found,
        };
        let look_every = look_every.unwrap_or(Span::seconds(60));
        let seconds = u64::try_from(look_every.as_seconds()).unwrap_or(0);
        if !(1..=3600).contains(&seconds) {
            return Err(value("look_every", "1s to 1h", look_every.to_string()));
        }
        for (key, list) in [("controllers.enrolment", &controllers.enrolment), ("controllers.agents", &controllers.agents)] {
            if list.len() > MAX_ADDRESSES {
                return Err(value(key, &format!("at most {MAX_ADDRESSES} addresses"), list.len().to_string()));
            }
        }
        Ok(Self {
            state_dir: state_dir.unwrap_or_else(state_dir_default),
            join_token_file: join_token_file.unwrap_or_else(|| config_dir().join("join-token")),
            look_every: Duration::from_secs(seconds),
            controllers,
            log,
        })
    }
}

#[cfg(not(windows))]
fn config_dir() -> PathBuf {
    PathBuf::from("/etc/backstay")
}

#[cfg(not(windows))]
fn state_dir_default() -> PathBuf {
    PathBuf::from("/var/lib/backstay-agent")
}

#[cfg(windows)]
fn config_dir() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "this is `config`, which reads the environment")]
    let program_data = std::env::var_os("ProgramData");
    PathBuf::from(program_data.unwrap_or_else(|| r"C:\ProgramData".into())).join("Backstay")
}

#[cfg(windows)]
fn state_dir_default() -> PathBuf {
    config_dir().join("agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::from_toml(text, Path::new("agent.toml"))
    }

    #[test]
    fn an_empty_configuration_has_the_documented_defaults() {
        let config = read("").expect("valid");
        assert_eq!(config.look_every, Duration::from_secs(60));
        assert_eq!(config.controllers, Controllers::default());
        assert_eq!(config.log.format, LogFormat::Text);
    }

    #[test]
    fn the_example_reads_and_says_what_the_defaults_are() {
        let text = include_str!("../../deploy/agent.example.toml");
        assert_eq!(read(text).expect("the example is valid"), read("").expect("valid"));
        // Every line that is commented out is a valid one, too.
        let all: String = text.lines().map(|line| format!("{}\n", line.strip_prefix("#= ").unwrap_or(line))).collect();
        let config = read(&all).expect("valid with everything set");
        assert_eq!(config.controllers.agents.len(), 2);
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_and_line() {
        let error = read("state_dir = \"/x\"\nlook_evry = \"60s\"\n").expect_err("unknown").to_string();
        assert!(error.contains("agent.toml") && error.contains("line 2") && error.contains("look_evry"), "{error}");
        assert!(read("[controllers]\nagent = []\n").is_err());
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_the_key() {
        for (text, key) in [
            ("look_every = \"0s\"", "look_every"),
            ("look_every = \"2h\"", "look_every"),
            ("[controllers]\nagents = [\"nowhere\"]", "agents"),
            ("[log]\nformat = \"xml\"", "format"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        assert!(Config::open(&path).expect_err("absent").to_string().contains("agent.toml"));
        std::fs::write(&path, vec![b'#'; 70_000]).expect("writes");
        assert!(matches!(Config::open(&path), Err(ConfigError::TooLarge { found: 70_000, .. })));
    }
}
