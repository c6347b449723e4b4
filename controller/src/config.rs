//! `controller.toml`: read strictly, with defaults in one place; what is wrong is said with its line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use policy::duration::Span;
use policy::id::EstateName;
use proto::names::Address;
use serde::Deserialize;
use thiserror::Error;

mod notify;
mod pages;
mod shown;

pub use notify::{Alive, Kind, Mail, Notify, Tls, Webhook};
pub use pages::{Oidc, Origin, Pages, Rule};
pub use shown::Setting;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The most names of this controller.
const MAX_NAMES: usize = 16;

/// How a controller runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The estate.
    pub estate: EstateName,
    /// Database, keys and locks.
    pub state_dir: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// By which names and addresses it is reached from outside: they stand in its certificate and in join tokens. Never empty.
    pub advertise: Vec<HostName>,
    /// How often an agent says that nothing changed.
    pub heartbeat: Span,
    /// How long what is past is kept.
    pub keep: Keep,
    /// What the metrics show beside what they always show.
    pub metrics: Metrics,
    /// Who is shown what of persons.
    pub privacy: Privacy,
    /// Who is told, by which way, and when.
    pub notify: Notify,
    /// Pages for browsers on other machines.
    pub pages: Option<Pages>,
}

/// How long what is past is kept. The audit trail is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Past reports of a server, 1 day to 10 years; never more than a thousand of one server.
    pub reports: Span,
    /// Plans that ended, with their approvals and receipts, 180 days to 10 years: an agent remembers for a good hundred days which plans
    /// it began.
    pub plans: Span,
}

impl Default for Keep {
    /// A year and a month, and the life of a back-end certificate and some weeks.
    fn default() -> Self {
        Self { reports: Span::days(400), plans: Span::days(1_900) }
    }
}

/// What the metrics show beside what they always show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// `x509_cert_not_after` too, with the labels of x509-certificate-exporter, for dashboards and alert rules that know it.
    pub x509: bool,
}

/// Who is shown what of persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Privacy {
    /// Their names.
    pub names: Names,
}

/// Who is shown the names of persons: who approved, stopped, answered, changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// Whoever may look.
    #[default]
    Everybody,
    /// Auditors and admins, and everybody the own one.
    Auditors,
}

impl Names {
    /// As it stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Auditors => "auditors",
        }
    }
}

/// Where a controller listens. Port 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Agents' sessions, mutual TLS.
    pub agents: SocketAddr,
    /// Enrolment and renewal of identities; only the server is authenticated.
    pub enrolment: SocketAddr,
    /// Operators' gRPC, mutual TLS.
    pub operators: SocketAddr,
    /// The pages, metrics and health, plain HTTP: loopback only.
    pub web: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let everywhere = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self {
            agents: everywhere(7443),
            enrolment: everywhere(7444),
            operators: everywhere(7445),
            web: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7446),
        }
    }
}

/// A host name or address without a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With a port, as it is dialled.
    ///
    /// # Errors
    /// Port 0, which nobody can dial.
    pub fn at(&self, port: u16) -> Result<Address, proto::names::InvalidAddress> {
        format!("{}:{port}", bracketed(&self.0)).parse()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not read.
    #[error("configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Larger than any configuration.
    #[error("configuration {path}: expected at most {MAX_BYTES} bytes, found {found}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it is.
        found: u64,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("configuration does not read")]
    Toml(#[source] toml::de::Error),
    /// A value outside its bounds.
    #[error("{key}: expected {expected}, found {found}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    estate: EstateName,
    #[serde(default = "default_state_dir")]
    state_dir: PathBuf,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    advertise: Vec<String>,
    #[serde(default = "default_heartbeat_seconds")]
    heartbeat_seconds: u32,
    #[serde(default)]
    keep: Keep,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    privacy: Privacy,
    #[serde(default)]
    notify: notify::Raw,
    pages: Option<pages::Raw>,
}

fn default_state_dir() -> PathBuf {
    if cfg!(windows) { PathBuf::from("C:\\ProgramData\\Backstay") } else { PathBuf::from("/var/lib/backstay") }
}

fn default_heartbeat_seconds() -> u32 {
    30
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] names the key or line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let found = std::fs::metadata(path).map_err(failed)?.len();
        if found > MAX_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned(), found });
        }
        Self::from_toml(&std::fs::read_to_string(path).map_err(failed)?)
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the key or line.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let Raw { estate, state_dir, listen, advertise, heartbeat_seconds, keep, metrics, privacy, notify, pages } =
            toml::from_str(text).map_err(ConfigError::Toml)?;
        let value = |key, expected, found: String| ConfigError::Value { key, expected, found };
        if !listen.web.ip().is_loopback() {
            return Err(value(
                "listen.web",
                "a loopback address, because it speaks plain HTTP; [pages] is for browsers on other machines",
                listen.web.to_string(),
            ));
        }
        if !(1..=3_600).contains(&heartbeat_seconds) {
            return Err(value("heartbeat_seconds", "1 to 3600", heartbeat_seconds.to_string()));
        }
        let years = Span::days(3_650);
        if !(Span::days(1)..=years).contains(&keep.reports) {
            return Err(value("keep.reports", "1d to 3650d", keep.reports.to_string()));
        }
        if !(Span::days(180)..=years).contains(&keep.plans) {
            return Err(value("keep.plans", "180d to 3650d", keep.plans.to_string()));
        }
        if advertise.len() > MAX_NAMES {
            return Err(value("advertise", "at most 16 names", advertise.len().to_string()));
        }
        let advertise = if advertise.is_empty() { vec!["localhost".to_owned()] } else { advertise };
        let advertise = advertise
            .into_iter()
            .map(|name| {
                // An address with any port tells whether the name can be dialled at all.
                let dialled = format!("{}:1", bracketed(&name)).parse::<Address>();
                if dialled.is_err() {
                    Err(value("advertise", "host names or addresses without a port", name))
                } else {
                    Ok(HostName(name))
                }
            })
            .collect::<Result<_, _>>()?;
        let (heartbeat, notify) = (Span::seconds(heartbeat_seconds), Notify::of(notify)?);
        let pages = pages.map(Pages::of).transpose()?;
        Ok(Self { estate, state_dir, listen, advertise, heartbeat, keep, metrics, privacy, notify, pages })
    }

    /// What stands before the path of a page: where other machines find it, if they do, or on this machine, where `web` is.
    pub fn pages_at(&self, web: SocketAddr, loopback: bool) -> String {
        match &self.pages {
            Some(Pages { origin, .. }) if !loopback => origin.as_str().to_owned(),
            Some(_) | None => format!("http://{web}"),
        }
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("backstay.db")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = Config::from_toml(text).expect_err("must be refused");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}\n{source}")
    }

    #[test]
    fn an_estate_is_all_that_must_be_said() {
        let config = Config::from_toml("estate = \"contoso\"").expect("a configuration");
        assert_eq!(config.listen, Listen::default());
        assert_eq!(config.listen.operators.port(), 7445);
        assert_eq!(config.heartbeat, Span::seconds(30));
        assert_eq!(config.advertise, [HostName("localhost".to_owned())]);
    }

    #[test]
    fn the_example_is_a_configuration_and_shows_the_defaults() {
        let text = include_str!("../../deploy/controller.example.toml");
        let example = Config::from_toml(text).expect("the example");
        let plain = Config::from_toml(&format!("estate = \"{}\"", example.estate)).expect("the defaults");
        assert_eq!(Config { advertise: plain.advertise.clone(), ..example }, plain);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = refused("estate = \"contoso\"\nheartbeat = 30\n");
        assert!(text.contains("line 2") && text.contains("heartbeat"), "{text}");
    }

    #[test]
    fn plain_http_is_refused_outside_loopback() {
        let text = refused("estate = \"contoso\"\n[listen]\nweb = \"0.0.0.0:7446\"\n");
        assert!(text.contains("listen.web") && text.contains("loopback"), "{text}");
    }

    #[test]
    fn values_outside_their_bounds_are_named() {
        assert!(refused("estate = \"contoso\"\nheartbeat_seconds = 0").contains("heartbeat_seconds"));
        assert!(refused("estate = \"contoso\"\nadvertise = [\"a:7443\"]").contains("without a port"));
        assert!(
            refused("estate = \"contoso\"\n[keep]\nplans = \"90d\"").contains("keep.plans: expected 180d to 3650d, found 90d")
        );
        assert!(refused("estate = \"contoso\"\n[keep]\nreports = \"0d\"").contains("keep.reports"));
        assert!(refused("estate = \"contoso\"\n[keep]\naudit = \"1d\"").contains("unknown field `audit`"));
        assert!(refused("estate = \"contoso\"\n[metrics]\nx509 = \"yes\"").contains("expected a boolean"));
        assert!(refused("estate = \"\"").contains("estate"));
        assert!(refused("").contains("estate"));
    }

    #[test]
    fn a_name_is_dialled_with_its_port() {
        let config =
            Config::from_toml("estate = \"e\"\nadvertise = [\"c1.contoso.test\", \"10.0.0.1\", \"::1\"]").expect("names");
        let dialled: Vec<String> = config.advertise.iter().map(|name| name.at(7443).expect("an address").to_string()).collect();
        assert_eq!(dialled, ["c1.contoso.test:7443", "10.0.0.1:7443", "[::1]:7443"]);
    }
}
