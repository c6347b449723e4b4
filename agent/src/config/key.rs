//! The keys of the configuration, each with its one name in `agent.toml` and on the command line.

use std::fmt;

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `state_dir`
    StateDir,
    /// `join_token_file`
    JoinTokenFile,
    /// `look_every`
    LookEvery,
    /// `controllers.enrolment`
    Enrolment,
    /// `controllers.agents`
    Agents,
    /// `controllers.proxy`
    Proxy,
    /// `controllers.proxy_credentials_file`
    ProxyCredentialsFile,
    /// `log.format`
    LogFormat,
    /// `log.filter`
    LogFilter,
    /// `hold`
    Hold,
}

impl Key {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::StateDir,
        Self::JoinTokenFile,
        Self::LookEvery,
        Self::Enrolment,
        Self::Agents,
        Self::Proxy,
        Self::ProxyCredentialsFile,
        Self::LogFormat,
        Self::LogFilter,
        Self::Hold,
    ];

    /// Its name in `agent.toml`, with its table before the dot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateDir => "state_dir",
            Self::JoinTokenFile => "join_token_file",
            Self::LookEvery => "look_every",
            Self::Enrolment => "controllers.enrolment",
            Self::Agents => "controllers.agents",
            Self::Proxy => "controllers.proxy",
            Self::ProxyCredentialsFile => "controllers.proxy_credentials_file",
            Self::LogFormat => "log.format",
            Self::LogFilter => "log.filter",
            Self::Hold => "hold",
        }
    }

    /// The key of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Whether `name` is that of a table of `agent.toml`.
    pub fn is_table(name: &str) -> bool {
        Self::ALL.into_iter().any(|key| key.name().split_once('.').is_some_and(|(table, _)| table == name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_found_by_its_name_and_by_no_other() {
        for key in Key::ALL {
            assert_eq!(Key::named(key.name()), Some(key));
        }
        assert!(Key::named("controllers").is_none() && Key::is_table("controllers") && Key::is_table("log"));
        assert!(!Key::is_table("hold") && !Key::is_table(""));
    }
}
