//! A Windows machine with Exchange on it, and the agent: what `exchange-host.exe` and `backstay-agent.exe` do on a [`Prefix`].
//!
//! 443 and 444 are real ports, so this is for a test that is [`alone`](crate::alone::alone).

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{LIMIT, Prefix, built, ended};
use crate::outside::{Client, Shown};
use crate::process::{Guard, Process};
use crate::wait::{self, Look};

/// Where the programs are put.
pub const AGENT: &str = r"C:\Program Files\Backstay\backstay-agent.exe";
const HOST: &str = r"C:\test\exchange-host.exe";
const READY: &str = r"C:\test\ready";

/// Where an agent has everything else.
pub const DATA: &str = r"C:\ProgramData\Backstay";

/// The machine's domain, as `exchange-host install` gives it.
const NAMES: &str = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";
const DOMAIN: &str = "lab.test";

/// How long http.sys may take to listen, and to load what its records name.
const SOON: Duration = Duration::from_secs(60);

/// One Exchange host.
#[derive(Debug)]
pub struct Exchange {
    http_sys: Option<Process>,
    server: String,
    // After what runs on it.
    machine: Prefix,
    logs: PathBuf,
    guard: Guard,
}

#[derive(Deserialize)]
struct Installed {
    server: String,
}

impl Exchange {
    /// Installs Exchange on a new machine, with the agent's program beside it and http.sys serving; what its programs say goes
    /// into `logs`.
    ///
    /// # Errors
    /// When Wine, or what is built for Windows, is missing, or the machine does not come up.
    pub fn install(logs: PathBuf, guard: Guard) -> Result<Self> {
        let machine = Prefix::new()?;
        machine.doubles()?;
        for (name, place) in [("exchange-host.exe", HOST), ("backstay-agent.exe", AGENT)] {
            machine.write(place, fs::read(built(name)?).with_context(|| name.to_owned())?)?;
        }
        // Whether it runs is nothing to the agent; whether it may is.
        machine.create_service("W3SVC", r"C:\windows\system32\svchost.exe", true)?;
        let mut exchange = Self { http_sys: None, server: String::new(), machine, logs, guard };
        exchange.server = serde_json::from_str::<Installed>(&exchange.host(&["install"])?).context("what install prints")?.server;
        exchange.start_http_sys()?;
        Ok(exchange)
    }

    /// The host's name, as Exchange has it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The machine.
    pub fn machine(&self) -> &Prefix {
        &self.machine
    }

    /// Breaks it, by the words of `exchange-host break`.
    ///
    /// # Errors
    /// When it is broken already.
    pub fn damage(&self, damage: &[&str]) -> Result<()> {
        self.host(&[&["break"], damage].concat()).map(drop)
    }

    /// Certificates, containers of keys and records, each by its name: for comparisons.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub fn snapshot(&self) -> Result<BTreeMap<String, String>> {
        serde_json::from_str(&self.host(&["show"])?).context("what show prints")
    }

    /// What 444 shows to a stranger.
    ///
    /// # Errors
    /// When no handshake takes place.
    pub fn look(&self) -> Result<Shown> {
        Client::find().look(SocketAddr::from((Ipv4Addr::LOCALHOST, 444)))
    }

    /// Restarts http.sys: what is served from memory is gone.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart_http_sys(&mut self) -> Result<()> {
        self.stop_http_sys()?;
        self.start_http_sys()
    }

    /// Stops http.sys: nobody listens on 443 and 444.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_http_sys(&mut self) -> Result<()> {
        self.http_sys.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Cuts the power and boots. What runs by itself on this machine runs then, and http.sys, which belongs to Windows.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn reboot(&mut self) -> Result<()> {
        self.machine.cut_power()?;
        self.machine.boot()?;
        // Wine writes the names of the system below it into every boot; a domain is none of them.
        self.machine.import(&format!("[{NAMES}]\n\"Domain\"=\"{DOMAIN}\""))?;
        self.restart_http_sys()
    }

    /// A command that runs the agent's program on this machine.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = self.machine.command(AGENT);
        command.args(arguments);
        command
    }

    /// Puts the agent's configuration in its place, and a join token beside it.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn invite(&self, token: &[u8]) -> Result<()> {
        self.machine.write(&format!(r"{DATA}\join-token"), token)?;
        self.machine.write(&format!(r"{DATA}\agent.toml"), "look_every = \"1s\"\n")
    }

    /// Starts http.sys, which loads what its records name.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn start_http_sys(&mut self) -> Result<()> {
        let ready = self.machine.path(READY)?;
        let _ = fs::remove_file(&ready);
        let mut command = self.machine.command(HOST);
        command.args(["serve", "--ready", READY]);
        let mut process = Process::start("http.sys", command, &self.logs, &self.guard)?;
        wait::until("http.sys to listen", SOON, || match process.still_runs() {
            Ok(()) => wait::when(ready.exists(), || "it does not say so".to_owned()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })?;
        self.http_sys = Some(process);
        Ok(())
    }

    fn host(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.machine.command(HOST);
        let ended = ended(command.args(arguments), LIMIT)?;
        if ended.code != 0 {
            anyhow::bail!("exchange-host {}: {}{}", arguments.join(" "), ended.stdout, ended.stderr);
        }
        Ok(ended.stdout)
    }
}
