//! What can be wrong with a configuration, and where a value comes from.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::group_policy::POLICY_KEY;
use super::{Key, MAX_BYTES};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything else.
    Default,
    /// A line of `agent.toml`.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1; `None` for the file as a whole.
        line: Option<usize>,
    },
    /// An option of the command line, as `--state-dir`.
    CommandLine(&'static str),
    /// A value below the key of the Group Policy; empty for the key as a whole.
    GroupPolicy(String),
    /// `backstay-agent hold on`, which is kept in this file.
    Command(PathBuf),
    /// An emergency stop of the estate, by the beginning of its id.
    Stop(String),
}

impl Origin {
    /// The layer, in one word or two.
    pub fn layer(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::CommandLine(_) => "command line",
            Self::GroupPolicy(_) => "Group Policy",
            Self::Command(_) => "command",
            Self::Stop(_) => "emergency stop",
        }
    }

    /// The place in that layer. Empty for a default.
    pub fn place(&self) -> String {
        match self {
            Self::Default => String::new(),
            Self::File { path, line: Some(line) } => format!("{}:{line}", path.display()),
            Self::File { path, line: None } | Self::Command(path) => path.display().to_string(),
            Self::CommandLine(option) => (*option).to_owned(),
            Self::Stop(id) => id.clone(),
            Self::GroupPolicy(value) if value.is_empty() => format!("HKLM\\{POLICY_KEY}"),
            Self::GroupPolicy(value) => format!("HKLM\\{POLICY_KEY}\\{value}"),
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Default | Self::File { .. } => "correct the file",
            Self::CommandLine(_) => "correct the option",
            Self::GroupPolicy(_) => "correct the policy, then run gpupdate",
            Self::Command(_) => "run `backstay-agent hold off`",
            Self::Stop(_) => "have approvers say yes to going on: `backstay resume`",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, place) = (self.layer(), self.place());
        if place.is_empty() { f.write_str(layer) } else { write!(f, "{layer} {place}") }
    }
}

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
    /// Not TOML; the message shows line and column.
    #[error("{path} does not read as TOML\n{message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// The registry cannot be read.
    #[error("{origin} cannot be read: {why}")]
    Registry {
        /// The key or value.
        origin: Origin,
        /// What the system said.
        why: String,
    },
    /// A name that is no key.
    #[error("{origin}: expected {expected}, found {found:?}; {}", origin.remedy())]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// What may stand there.
        expected: String,
        /// Its name.
        found: String,
    },
    /// A value of the wrong kind or out of its bounds.
    #[error("{origin}: {key}: expected {expected}, found {found}; {}", origin.remedy())]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: Key,
        /// What it must be.
        expected: String,
        /// What it is; nothing secret.
        found: String,
    },
}

impl ConfigError {
    /// The key whose value is wrong; `None` when it is not about one key.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Value { key, .. } => Some(*key),
            Self::Io { .. } | Self::TooLarge { .. } | Self::Toml { .. } | Self::Registry { .. } | Self::Unknown { .. } => None,
        }
    }
}
