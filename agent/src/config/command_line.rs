//! The layer that the command line is: an option for each key that an administrator puts on the command line of a service.

use std::io;
use std::path::absolute;

use clap::Args;

use super::value::Raw;
use super::{Key, Layer, Origin};

/// Options that say the same as keys of the configuration, and go before the file.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration, before agent.toml and after Group Policy")]
pub struct Flags {
    /// Another state folder
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<String>,
    /// Where the join token is put
    #[arg(long, global = true, value_name = "FILE")]
    join_token_file: Option<String>,
    /// The longest time between two looks, 1s to 1h
    #[arg(long, global = true, value_name = "TIME")]
    look_every: Option<String>,
    /// Enrolment ports of controllers, in place of the join token's
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    enrolment: Option<Vec<String>>,
    /// Agents' ports of controllers, in place of the join token's
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    agents: Option<Vec<String>>,
    /// The HTTP proxy through which controllers are reached
    #[arg(long, global = true, value_name = "http://HOST:PORT")]
    proxy: Option<String>,
    /// A file with USER:PASSWORD for the proxy
    #[arg(long, global = true, value_name = "FILE")]
    proxy_credentials_file: Option<String>,
    /// text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// A level, or a filter such as info,agent::link=debug
    #[arg(long, global = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

impl Flags {
    /// What they set, and what is wrong with them.
    pub fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        for (key, option, raw) in self.given() {
            layer.set(key, &raw, Origin::CommandLine(option));
        }
        layer
    }

    /// The same options for a program that starts in another folder, as a service does: with full paths.
    ///
    /// # Errors
    /// When a path cannot be made a full one.
    pub fn words(&self) -> io::Result<Vec<String>> {
        let mut words = Vec::new();
        for (key, option, raw) in self.given() {
            let value = match raw {
                Raw::List(list) => list.join(","),
                Raw::Text(text) if matches!(key, Key::StateDir | Key::JoinTokenFile | Key::ProxyCredentialsFile) => {
                    absolute(text)?.to_string_lossy().into_owned()
                }
                Raw::Text(text) => text,
                Raw::Other(other) => other,
            };
            words.extend([option.to_owned(), value]);
        }
        Ok(words)
    }

    fn given(&self) -> impl Iterator<Item = (Key, &'static str, Raw)> {
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
        } = self;
        let text = |value: &Option<String>| value.clone().map(Raw::Text);
        let list = |value: &Option<Vec<String>>| value.clone().map(Raw::List);
        let given = [
            (Key::StateDir, "--state-dir", text(state_dir)),
            (Key::JoinTokenFile, "--join-token-file", text(join_token_file)),
            (Key::LookEvery, "--look-every", text(look_every)),
            (Key::Enrolment, "--enrolment", list(enrolment)),
            (Key::Agents, "--agents", list(agents)),
            (Key::Proxy, "--proxy", text(proxy)),
            (Key::ProxyCredentialsFile, "--proxy-credentials-file", text(proxy_credentials_file)),
            (Key::LogFormat, "--log-format", text(log_format)),
            (Key::LogFilter, "--log-filter", text(log_filter)),
        ];
        given.into_iter().filter_map(|(key, option, raw)| raw.map(|raw| (key, option, raw)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn layer(arguments: &[&str]) -> Layer {
        Cli::try_parse_from([&["agent"], arguments].concat()).expect("parses").flags.layer()
    }

    #[test]
    fn every_key_but_the_hold_has_an_option_of_its_name() {
        let arguments = [
            "--state-dir=/s",
            "--join-token-file=/t",
            "--look-every=5s",
            "--enrolment=a:1,b:2",
            "--agents=a:3",
            "--agents=b:4",
            "--proxy=http://p:5",
            "--proxy-credentials-file=/c",
            "--log-format=json",
            "--log-filter=warn",
        ];
        let Layer { settings, faults } = layer(&arguments);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(settings.enrolment.expect("set").value.len(), 2);
        let agents = settings.agents.expect("set");
        assert_eq!((agents.value.len(), agents.origin), (2, Origin::CommandLine("--agents")));
        assert_eq!(settings.proxy_credentials_file.expect("set").value.to_str(), Some("/c"));
        assert_eq!(layer(&[]).settings, super::super::Settings::default());
    }

    #[test]
    fn a_wrong_option_is_named() {
        let faults = layer(&["--look-every", "never", "--agents", "nowhere"]).faults;
        let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("command line --look-every: look_every: expected a length of time"), "{text:?}");
        assert!(
            text[1].starts_with("command line --agents: controllers.agents: expected") && text[1].contains("\"nowhere\""),
            "{text:?}"
        );
    }
}
