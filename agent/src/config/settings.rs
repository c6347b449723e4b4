//! The values of one layer, or of several laid over each other, each with the place that it comes from.

use std::path::PathBuf;
use std::time::Duration;

use proto::names::Address;

use super::value::{Raw, Wrong};
use super::{ConfigError, Key, LogFormat, Origin};
use crate::proxy::ProxyAddress;

/// A value that is set somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set<T> {
    /// What.
    pub value: T,
    /// Where.
    pub origin: Origin,
}

/// What is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `state_dir`
    pub state_dir: Option<Set<PathBuf>>,
    /// `join_token_file`
    pub join_token_file: Option<Set<PathBuf>>,
    /// `look_every`, in whole seconds
    pub look_every: Option<Set<Duration>>,
    /// `controllers.enrolment`
    pub enrolment: Option<Set<Vec<Address>>>,
    /// `controllers.agents`
    pub agents: Option<Set<Vec<Address>>>,
    /// `controllers.proxy`
    pub proxy: Option<Set<ProxyAddress>>,
    /// `controllers.proxy_credentials_file`
    pub proxy_credentials_file: Option<Set<PathBuf>>,
    /// `log.format`
    pub log_format: Option<Set<LogFormat>>,
    /// `log.filter`
    pub log_filter: Option<Set<String>>,
    /// `hold`: every reason to hold. Holds add up: no layer lifts another's.
    pub holds: Vec<Set<String>>,
}

/// What a layer says, and what is wrong with it. A value that is wrong is not among the settings.
#[derive(Debug, Default)]
pub struct Layer {
    /// What it sets.
    pub settings: Settings,
    /// What is wrong.
    pub faults: Vec<ConfigError>,
}

impl Settings {
    /// These, and where they say nothing, the `lower` ones.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        let Self {
            state_dir,
            join_token_file,
            look_every,
            enrolment,
            agents,
            proxy,
            proxy_credentials_file,
            log_format,
            log_filter,
            holds,
        } = self;
        Self {
            state_dir: state_dir.or(lower.state_dir),
            join_token_file: join_token_file.or(lower.join_token_file),
            look_every: look_every.or(lower.look_every),
            enrolment: enrolment.or(lower.enrolment),
            agents: agents.or(lower.agents),
            proxy: proxy.or(lower.proxy),
            proxy_credentials_file: proxy_credentials_file.or(lower.proxy_credentials_file),
            log_format: log_format.or(lower.log_format),
            log_filter: log_filter.or(lower.log_filter),
            holds: lower.holds.into_iter().chain(holds).collect(),
        }
    }

    fn set(&mut self, key: Key, raw: &Raw, origin: &Origin) -> Result<(), Wrong> {
        match key {
            Key::StateDir => self.state_dir = at(raw.path()?, origin),
            Key::JoinTokenFile => self.join_token_file = at(raw.path()?, origin),
            Key::LookEvery => self.look_every = at(raw.look_every()?, origin),
            Key::Enrolment => self.enrolment = at(raw.addresses()?, origin),
            Key::Agents => self.agents = at(raw.addresses()?, origin),
            Key::Proxy => self.proxy = at(raw.proxy()?, origin),
            Key::ProxyCredentialsFile => self.proxy_credentials_file = at(raw.path()?, origin),
            Key::LogFormat => self.log_format = at(raw.log_format()?, origin),
            Key::LogFilter => self.log_filter = at(raw.log_filter()?, origin),
            Key::Hold => self.holds.extend(at(raw.reason()?, origin)),
        }
        Ok(())
    }
}

fn at<T>(value: T, origin: &Origin) -> Option<Set<T>> {
    Some(Set { value, origin: origin.clone() })
}

impl Layer {
    /// This one over a `lower` one. What is wrong in the lower stays wrong, also where this one says something else.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        let faults = lower.faults.into_iter().chain(self.faults).collect();
        Self { settings: self.settings.over(lower.settings), faults }
    }

    /// Takes a value; one that will not do becomes a fault. Of a hold, that holds.
    pub(super) fn set(&mut self, key: Key, raw: &Raw, origin: Origin) {
        if let Err(Wrong { expected, found }) = self.settings.set(key, raw, &origin) {
            self.fault(ConfigError::Value { origin, key, expected, found });
        }
    }

    /// Notes what is wrong. It holds where it may have been a hold: one that is wrong, or a layer that cannot be read at all.
    pub(super) fn fault(&mut self, error: ConfigError) {
        let may_hold = match &error {
            ConfigError::Value { key, origin, .. } => (*key == Key::Hold).then(|| origin.clone()),
            ConfigError::Io { path, .. } | ConfigError::TooLarge { path, .. } | ConfigError::Toml { path, .. } => {
                Some(Origin::File { path: path.clone(), line: None })
            }
            ConfigError::Registry { origin, .. } => Some(origin.clone()),
            ConfigError::Unknown { .. } => None,
        };
        let reason = "whether this holds cannot be read, and so it does (see `backstay-agent config check`)";
        self.settings.holds.extend(may_hold.map(|origin| Set { value: reason.to_owned(), origin }));
        self.faults.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(values: &[(Key, &str)], origin: &Origin) -> Layer {
        let mut layer = Layer::default();
        values.iter().for_each(|(key, text)| layer.set(*key, &Raw::Text((*text).to_owned()), origin.clone()));
        layer
    }

    #[test]
    fn the_upper_layer_wins_key_by_key_and_says_that_it_was_the_one() {
        let file = Origin::File { path: "agent.toml".into(), line: Some(3) };
        let policy = Origin::GroupPolicy("StateDir".to_owned());
        let lower = layer(&[(Key::StateDir, "/file"), (Key::LogFilter, "warn")], &file);
        let merged = layer(&[(Key::StateDir, "/policy")], &policy).over(lower).settings;
        assert_eq!(merged.state_dir, Some(Set { value: "/policy".into(), origin: policy }));
        assert_eq!(merged.log_filter, Some(Set { value: "warn".to_owned(), origin: file }));
        assert_eq!(merged.proxy, None);
    }

    #[test]
    fn holds_add_up() {
        let [file, policy] = [Origin::File { path: "agent.toml".into(), line: Some(1) }, Origin::GroupPolicy("Hold".to_owned())];
        let merged = layer(&[(Key::Hold, "policy")], &policy).over(layer(&[(Key::Hold, "file")], &file)).settings;
        assert_eq!(merged.holds.iter().map(|set| set.value.as_str()).collect::<Vec<_>>(), ["file", "policy"]);
        let merged = Layer::default().over(layer(&[(Key::Hold, "file")], &file)).settings;
        assert_eq!(merged.holds.len(), 1, "no layer lifts another's");
    }

    #[test]
    fn a_wrong_value_of_a_lower_layer_stays_wrong() {
        let command_line = Origin::CommandLine("--log-format");
        let file = layer(&[(Key::LogFormat, "xml")], &Origin::File { path: "agent.toml".into(), line: Some(7) });
        let merged = layer(&[(Key::LogFormat, "json")], &command_line).over(file);
        assert_eq!(merged.settings.log_format.map(|set| set.value), Some(LogFormat::Json));
        let [fault] = &merged.faults[..] else { panic!("{:?}", merged.faults) };
        assert_eq!(
            fault.to_string(),
            r#"file agent.toml:7: log.format: expected "text" or "json", found "xml"; correct the file"#
        );
    }

    #[test]
    fn a_wrong_hold_holds_and_another_wrong_value_does_not() {
        let origin = Origin::GroupPolicy("Hold".to_owned());
        let wrong = layer(&[(Key::Hold, "")], &origin);
        assert_eq!((wrong.settings.holds.len(), wrong.faults.len()), (1, 1));
        let other = layer(&[(Key::LookEvery, "never")], &origin);
        assert_eq!((other.settings.holds.len(), other.faults.len()), (0, 1));
    }
}
