//! What the agent is told: the default, `agent.toml`, the command line and Group Policy, each over the one before.
//!
//! Each layer says of each key what it is and where that stands ([`settings`]); laying them over each other is pure. What is
//! wrong in any layer is told with its place and stops the agent, but for a hold: one that is wrong holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::names::Address;

use crate::hold::Holds;
use crate::proxy::Proxy;

mod command_line;
mod error;
mod file;
pub mod group_policy;
mod key;
pub mod settings;
pub mod show;
pub mod value;

pub use command_line::Flags;
pub use error::{ConfigError, Origin};
pub use key::Key;
pub use settings::{Layer, Set, Settings};

/// The largest configuration that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Journal, ledger, documents, identity.
    pub state_dir: PathBuf,
    /// The join token that a person put there; read until the host has joined, then removed.
    pub join_token_file: PathBuf,
    /// The longest time between two looks at the host.
    pub look_every: Duration,
    /// How controllers are reached.
    pub controllers: Controllers,
    /// What is logged.
    pub log: Log,
    /// Where holds come from.
    pub holds: Holds,
}

/// `[controllers]`: each list, when it is not empty, stands in place of the join token's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Enrolment ports, tried in turn.
    pub enrolment: Vec<Address>,
    /// Agents' ports, tried in turn.
    pub agents: Vec<Address>,
    /// The proxy through which all of them are reached.
    pub proxy: Option<Proxy>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How.
    pub format: LogFormat,
    /// From which level, or a filter as `tracing` reads it.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Its word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// All layers as they were found, laid over each other.
#[derive(Debug)]
pub struct Layers {
    merged: Layer,
    file: PathBuf,
    named: bool,
}

impl Layers {
    /// Reads them all: the file that was named or else the default one, which need not exist; the options; Group Policy.
    pub fn read(named: Option<&Path>, flags: &Flags) -> Self {
        let file = named.map_or_else(Config::default_path, Path::to_owned);
        let layer = file::read(&file, named.is_some());
        Self { merged: merged(layer, flags.layer(), group_policy::read()), named: named.is_some(), file }
    }

    /// What is set, and what is wrong with it.
    pub fn merged(&self) -> &Layer {
        &self.merged
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong, but for a hold: that one holds.
    pub fn config(&self) -> Result<Config, Vec<&ConfigError>> {
        let faults: Vec<_> = self.merged.faults.iter().filter(|fault| fault.key() != Some(Key::Hold)).collect();
        if faults.is_empty() { Ok(config(&self.merged.settings, self.holds())) } else { Err(faults) }
    }

    /// Where holds come from. To hold a host, no more of a configuration needs to be right than the state folder.
    ///
    /// # Errors
    /// What leaves in doubt which folder that is.
    pub fn holds_in_doubt(&self) -> Result<Holds, Vec<&ConfigError>> {
        let doubt = |fault: &&ConfigError| fault.key().is_none_or(|key| key == Key::StateDir);
        let faults: Vec<_> = self.merged.faults.iter().filter(doubt).collect();
        if faults.is_empty() { Ok(self.holds()) } else { Err(faults) }
    }

    /// As far as it can be told.
    pub fn holds(&self) -> Holds {
        let state_dir = self.merged.settings.state_dir.as_ref().map_or_else(state_dir_default, |set| set.value.clone());
        Holds::new(&state_dir, &self.file, self.named)
    }
}

/// The layers over each other, the lowest first.
fn merged(file: Layer, command_line: Layer, group_policy: Layer) -> Layer {
    group_policy.over(command_line.over(file))
}

fn config(settings: &Settings, holds: Holds) -> Config {
    let Settings {
        state_dir,
        join_token_file,
        look_every,
        enrolment,
        agents,
        proxy,
        proxy_credentials_file,
        log_format,
        log_filter,
        holds: _,
    } = settings.clone().over(defaults());
    let value = "a default for each key that must have one";
    let credentials = proxy_credentials_file.map(|set| set.value);
    Config {
        state_dir: state_dir.expect(value).value,
        join_token_file: join_token_file.expect(value).value,
        look_every: look_every.expect(value).value,
        controllers: Controllers {
            enrolment: enrolment.map(|set| set.value).unwrap_or_default(),
            agents: agents.map(|set| set.value).unwrap_or_default(),
            proxy: proxy.map(|set| Proxy { address: set.value, credentials }),
        },
        log: Log { format: log_format.expect(value).value, filter: log_filter.expect(value).value },
        holds,
    }
}

/// What each key is when nobody says anything else.
fn defaults() -> Settings {
    fn set<T>(value: T) -> Option<Set<T>> {
        Some(Set { value, origin: Origin::Default })
    }
    Settings {
        state_dir: set(state_dir_default()),
        join_token_file: set(config_dir().join("join-token")),
        look_every: set(Duration::from_secs(60)),
        enrolment: set(Vec::new()),
        agents: set(Vec::new()),
        proxy: None,
        proxy_credentials_file: None,
        log_format: set(LogFormat::Text),
        log_filter: set("info".to_owned()),
        holds: Vec::new(),
    }
}

impl Config {
    /// Where the file is when nobody says.
    pub fn default_path() -> PathBuf {
        config_dir().join("agent.toml")
    }

    /// A configuration from the text of a file alone, for tests; `path` is for messages.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let Layer { settings, mut faults } = file::parse(text, path);
        if !faults.is_empty() {
            return Err(faults.swap_remove(0));
        }
        let state_dir = settings.state_dir.as_ref().map_or_else(state_dir_default, |set| set.value.clone());
        Ok(config(&settings, Holds::new(&state_dir, path, false)))
    }
}

/// The hold that the file sets, as it is at this moment. One that was `named` must be there.
pub(crate) fn holds_of_file(path: &Path, named: bool) -> Vec<Set<String>> {
    file::read(path, named).settings.holds
}

/// The hold that Group Policy sets at this moment.
pub(crate) fn holds_of_group_policy() -> Vec<Set<String>> {
    group_policy::read().settings.holds
}

#[cfg(not(windows))]
fn config_dir() -> PathBuf {
    PathBuf::from("/etc/backstay")
}

#[cfg(not(windows))]
fn state_dir_default() -> PathBuf {
    PathBuf::from("/var/lib/backstay-agent")
}

/// Where Windows itself has it, and not where the environment says so: a service's may be another than that of a console, and
/// whoever starts a console has a say in it.
#[cfg(windows)]
fn config_dir() -> PathBuf {
    let program_data = crate::driver::windows::ffi::machine::program_data();
    program_data.unwrap_or_else(|_| r"C:\ProgramData".into()).join("Backstay")
}

#[cfg(windows)]
fn state_dir_default() -> PathBuf {
    config_dir().join("agent")
}

#[cfg(test)]
mod tests {
    use super::group_policy::Found;
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
        // Every line that is commented out is a valid one, too, and none is forgotten.
        let all: String = text.lines().map(|line| format!("{}\n", line.strip_prefix("#= ").unwrap_or(line))).collect();
        let config = read(&all).expect("valid with everything set");
        assert_eq!(config.controllers.agents.len(), 2);
        for key in Key::ALL {
            let (table, name) = key.name().split_once('.').unwrap_or(("", key.name()));
            assert!(
                all.contains(&format!("\n{name} = ")) && (table.is_empty() || all.contains(&format!("\n[{table}]"))),
                "{key}"
            );
        }
    }

    #[test]
    fn the_first_fault_of_a_file_names_it_with_its_line() {
        let error = read("state_dir = \"/x\"\nlook_evry = \"60s\"\n").expect_err("unknown").to_string();
        assert!(error.contains("agent.toml:2") && error.contains("look_evry"), "{error}");
        for (text, key) in [("look_every = \"0s\"", "look_every"), ("look_every = \"2h\"", "look_every"), ("hold = \"\"", "hold")]
        {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains("agent.toml:1") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn group_policy_goes_before_the_command_line_and_that_before_the_file() {
        let file = file::parse("look_every = \"1s\"\nstate_dir = \"/file\"\n[log]\nfilter = \"warn\"\n", Path::new("agent.toml"));
        let mut command_line = Layer::default();
        for (key, option, text) in [(Key::LookEvery, "--look-every", "2s"), (Key::StateDir, "--state-dir", "/option")] {
            command_line.set(key, &value::Raw::Text(text.to_owned()), Origin::CommandLine(option));
        }
        let policy = group_policy::layer(&[("LookEverySeconds".to_owned(), Found::Number(3))]);
        let merged = merged(file, command_line, policy);
        assert!(merged.faults.is_empty(), "{:?}", merged.faults);
        let holds = Holds::new(Path::new("/option"), Path::new("agent.toml"), true);
        let config = config(&merged.settings, holds);
        assert_eq!(config.look_every, Duration::from_secs(3));
        assert_eq!(config.state_dir, Path::new("/option"));
        assert_eq!((config.log.filter.as_str(), config.log.format), ("warn", LogFormat::Text));
    }

    #[test]
    fn a_wrong_hold_stops_no_agent_and_holds_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, format!("state_dir = {:?}\nhold = 1\n", folder.path())).expect("writes");
        let layers = Layers::read(Some(&path), &Flags::default());
        assert_eq!(layers.merged().faults.len(), 1);
        let why = layers.config().expect("starts").holds.why().expect("held");
        assert!(why.contains("agent.toml:2") && why.contains("cannot be read"), "{why}");
    }

    #[test]
    fn a_host_can_be_held_while_something_else_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let layers = |text: &str| {
            std::fs::write(&path, text).expect("writes");
            Layers::read(Some(&path), &Flags::default())
        };
        let wrong = layers("state_dir = \"/x\"\nlook_every = \"never\"\n");
        assert!(wrong.config().is_err() && wrong.holds_in_doubt().is_ok());
        for doubtful in ["state_dir = 1\n", "state_dirr = \"/x\"\n", "state_dir = \"/x\n"] {
            assert!(layers(doubtful).holds_in_doubt().is_err(), "{doubtful}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let read = |named| file::read(&path, named);
        assert_eq!(read(false).faults.len(), 0, "the default one need not be there");
        assert!(read(true).faults[0].to_string().contains("agent.toml"));
        std::fs::write(&path, vec![b'#'; 70_000]).expect("writes");
        assert!(matches!(read(false).faults[..], [ConfigError::TooLarge { found: 70_000, .. }]));
    }
}
