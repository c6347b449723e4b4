//! A whole estate of real processes: `backstay-lab`, `backstay serve` and an agent per server over mutual TLS, with a
//! workstation beside it. Everything lies in one folder, and everything ends when it is dropped or when we are killed.
//!
//! | in the folder | what |
//! | --- | --- |
//! | `lab/` | the hosts, as `backstay-lab` keeps them |
//! | `controller/` | `controller.toml` and the controller's state |
//! | `agents/EX1/` | `agent.toml`, join token and state of one agent |
//! | `desk/` | the workstation: operator's bundle, keys, policies |
//! | `logs/` | what each process says |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::desk::Desk;
use crate::lab;
use crate::process::{Guard, Process};
use crate::wait::{self, Look, when};

mod found;
mod replaced;
mod watch;

/// How long a process may take to be ready.
const READY: Duration = Duration::from_secs(30);

/// What an estate is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Servers of the lab and their DAGs; with none, there is no lab.
    pub servers: Vec<(&'static str, Option<&'static str>)>,
    /// Who may approve.
    pub approvers: Vec<&'static str>,
    /// How many must, by class, for example `renew=2`.
    pub need: Vec<&'static str>,
    /// What stands at the end of `controller.toml`.
    pub config: String,
    /// The first policy, without its head; signed by the first approver. `None`: no policy.
    pub policy: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            servers: vec![("EX1", Some("DAG1")), ("EX2", Some("DAG1")), ("EX3", None)],
            approvers: vec!["anna", "ben"],
            need: Vec::new(),
            config: String::new(),
            policy: Some(policy("observe")),
        }
    }
}

/// A policy without its head, with times of the lab: `mode` for every server.
pub fn policy(mode: &str) -> String {
    format!(
        "mode = \"{mode}\"\n\n[quiet]\nrecord_missing = \"2s\"\ndangling = \"2s\"\nceiling = \"60s\"\n\n[waves]\nsoak = \"1s\"\n\n[peers]\nevery = \"1s\"\n\n\
         [limits]\nrestores_per_hour = 100\nrestores_per_day = 1000\n"
    )
}

/// An estate whose processes run.
#[derive(Debug)]
pub struct Estate {
    agents: BTreeMap<String, Process>,
    controller: Option<Process>,
    lab: Option<Process>,
    ports: Ports,
    binaries: Binaries,
    desk: Desk,
    /// What stands at the end of `controller.toml`.
    config: String,
    folder: PathBuf,
    guard: Guard,
    _lock: File,
    // The last to go.
    temporary: Option<TempDir>,
}

/// Where a controller listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Ports {
    /// Agents' sessions.
    pub agents: SocketAddr,
    /// Enrolment.
    pub enrolment: SocketAddr,
    /// Operators.
    pub operators: SocketAddr,
    /// Metrics and health.
    pub web: SocketAddr,
}

impl Estate {
    /// An estate in a temporary folder, running, with every agent connected and the policy in force everywhere.
    ///
    /// # Errors
    /// When something does not start; the error says what, with the end of its log.
    pub fn temporary(setup: &Setup) -> Result<Self> {
        let temporary = tempfile::tempdir().context("a temporary folder")?;
        let mut estate = Self::in_folder(temporary.path(), setup)?;
        estate.temporary = Some(temporary);
        Ok(estate)
    }

    /// The estate in this folder, running: founded when there is none, else as it was left.
    ///
    /// # Errors
    /// When something does not start; the error says what, with the end of its log.
    pub fn in_folder(folder: &Path, setup: &Setup) -> Result<Self> {
        let binaries = Binaries::build()?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let lock = locked(&folder)?;
        let nowhere = SocketAddr::from((address(&folder), 0));
        let mut estate = Self {
            agents: BTreeMap::new(),
            controller: None,
            lab: None,
            ports: Ports { agents: nowhere, enrolment: nowhere, operators: nowhere, web: nowhere },
            desk: Desk::new(binaries.clone(), &folder.join("desk"), nowhere),
            binaries,
            config: setup.config.clone(),
            guard: Guard::new()?,
            folder,
            _lock: lock,
            temporary: None,
        };
        if !setup.servers.is_empty() {
            estate.start_lab(setup)?;
        }
        if !estate.founded() {
            estate.found(setup)?;
        } else {
            estate.start_controller()?;
        }
        for (server, _) in &setup.servers {
            estate.start_agent(server)?;
        }
        estate.wait_until_joined(setup)?;
        Ok(estate)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The workstation.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Where the controller listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// What its metrics say, as `curl` gets them.
    ///
    /// # Errors
    /// When the controller does not answer.
    pub fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.ports.web)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The controller's state folder, which a thief has.
    pub fn controller_state(&self) -> PathBuf {
        self.folder.join("controller").join("state")
    }

    /// The folder of one agent: its configuration, and in `state` what it keeps.
    pub fn agent_folder(&self, server: &str) -> PathBuf {
        self.folder.join("agents").join(server)
    }

    /// The hosts.
    ///
    /// # Errors
    /// When their folder does not read.
    pub fn lab(&self) -> Result<lab::Estate> {
        lab::Estate::open(&self.folder.join("lab"))
    }

    /// One host.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn host(&self, name: &str) -> Result<lab::Server> {
        self.lab()?.server(name)
    }

    /// Where 444 of a host really is.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn back_end(&self, name: &str) -> Result<SocketAddr> {
        self.host(name)?.address(444)
    }

    /// The binaries of which it is made.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// What ends its processes when we end.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    // --- processes ---

    /// The running controller.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn controller(&mut self) -> Result<&mut Process> {
        self.controller.as_mut().context("the controller was stopped")
    }

    /// The running agent of a server.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn agent(&mut self, server: &str) -> Result<&mut Process> {
        self.agents.get_mut(server).with_context(|| format!("the agent of {server} was stopped"))
    }

    /// Starts the controller and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_controller(&mut self) -> Result<()> {
        let ready = self.folder.join("controller").join("ready.json");
        let _ = fs::remove_file(&ready);
        let mut command = self.controller_command()?;
        command.arg("--ready-file").arg(&ready);
        let mut process = Process::start("controller", command, &self.folder.join("logs"), &self.guard)?;
        self.ports = wait::until("the controller to be ready", READY, || {
            if let Err(ended) = process.still_runs() {
                return Look::NotYet(format!("{ended:#}"));
            }
            Look::from(read_ready(&ready))
        })?;
        self.controller = Some(process);
        // From now on the agents know where it is: it must come back there.
        self.write_controller_config()?;
        self.desk = Desk::new(self.binaries.clone(), &self.folder.join("desk"), self.ports.operators);
        Ok(())
    }

    /// The command by which the controller runs.
    ///
    /// # Errors
    /// When the build did not make it.
    pub fn controller_command(&self) -> Result<Command> {
        let mut command = self.binaries.command("backstay")?;
        command.args(["serve", "--config"]).arg(self.controller_config());
        Ok(command)
    }

    /// Starts a command as the controller, which may not live to be ready.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_controller(&mut self, command: Command) -> Result<()> {
        self.controller = Some(Process::start("controller", command, &self.folder.join("logs"), &self.guard)?);
        Ok(())
    }

    /// Kills the controller as a power failure would.
    ///
    /// # Errors
    /// When it does not vanish.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Asks the controller to stop.
    ///
    /// # Errors
    /// When it does not, or says that something went wrong.
    pub fn stop_controller(&mut self) -> Result<()> {
        self.controller.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// Starts the agent of a server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_agent(&mut self, server: &str) -> Result<()> {
        self.run_agent(server, self.agent_command(server)?)
    }

    /// The command by which the agent of a server runs.
    ///
    /// # Errors
    /// When the build did not make it.
    pub fn agent_command(&self, server: &str) -> Result<Command> {
        let config = self.agent_folder(server).join("agent.toml");
        let mut command = self.binaries.command("backstay-agent")?;
        command.args(["run", "--config"]).arg(config).args(["--driver", "lab", "--lab-dir"]);
        command.arg(self.folder.join("lab")).args(["--lab-server", server]);
        Ok(command)
    }

    /// Starts a command as the agent of a server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_agent(&mut self, server: &str, command: Command) -> Result<()> {
        let process = Process::start(&format!("agent-{server}"), command, &self.folder.join("logs"), &self.guard)?;
        self.agents.insert(server.to_owned(), process);
        Ok(())
    }

    /// Kills the agent of a server as a power failure would.
    ///
    /// # Errors
    /// When it does not vanish.
    pub fn kill_agent(&mut self, server: &str) -> Result<()> {
        self.agents.remove(server).map_or(Ok(()), |mut process| process.kill())
    }

    /// Asks the agent of a server to stop.
    ///
    /// # Errors
    /// When it does not, or says that something went wrong.
    pub fn stop_agent(&mut self, server: &str) -> Result<()> {
        self.agents.remove(server).map_or(Ok(()), |mut process| process.stop())
    }

    /// Asks everything to stop: agents first, then the controller, then the hosts.
    ///
    /// # Errors
    /// The first process that does not stop as it should; the others are stopped all the same.
    pub fn stop(&mut self) -> Result<()> {
        let agents = std::mem::take(&mut self.agents).into_values();
        let stopped = agents.chain(self.controller.take()).chain(self.lab.take()).map(|mut process| process.stop());
        stopped.collect::<Vec<_>>().into_iter().collect()
    }

    /// Fails when a process has ended by itself.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn still_runs(&mut self) -> Result<()> {
        self.agents.values_mut().chain(&mut self.controller).chain(&mut self.lab).try_for_each(Process::still_runs)
    }

    // --- starting ---

    fn start_lab(&mut self, setup: &Setup) -> Result<()> {
        let folder = self.folder.join("lab");
        let mut command = self.binaries.command("backstay-lab")?;
        command.arg("up").arg("--dir").arg(&folder);
        for (server, dag) in &setup.servers {
            command.arg("--server").arg(dag.map_or_else(|| (*server).to_owned(), |dag| format!("{server}={dag}")));
        }
        let mut process = Process::start("lab", command, &self.folder.join("logs"), &self.guard)?;
        for (server, _) in &setup.servers {
            wait::until(&format!("{server} to be up"), READY, || {
                if let Err(ended) = process.still_runs() {
                    return Look::NotYet(format!("{ended:#}"));
                }
                let up = lab::Estate::open(&folder).and_then(|lab| lab.server(server)).is_ok_and(|host| host.is_up());
                when(up, || "its http.sys does not answer".to_owned())
            })?;
        }
        self.lab = Some(process);
        Ok(())
    }

    fn wait_until_joined(&self, setup: &Setup) -> Result<()> {
        let version =
            self.desk.ask(async |mut client| client.get_status(proto::operator::GetStatusRequest {}).await)?.policy_version;
        for (name, _) in &setup.servers {
            self.wait_server(name, "the first report", READY, |response| {
                let server = response.server.clone().unwrap_or_default();
                let told = server.generation.is_some() && !server.verdict.is_empty();
                when(server.connected && told && server.policy_version == version, || format!("{server:?}"))
            })?;
        }
        Ok(())
    }
}

/// A loopback address of the estate's own: a port that was free once stays free for its controller, whatever else dials out.
fn address(folder: &Path) -> Ipv4Addr {
    let digest = policy::id::Sha256::of(folder.as_os_str().as_encoded_bytes()).0;
    Ipv4Addr::new(127, 45, digest[0], digest[1].max(1))
}

fn locked(folder: &Path) -> Result<File> {
    let lock = File::create(folder.join("estate.lock")).context("estate.lock")?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => bail!("{}: this estate runs already, in another process", folder.display()),
        Err(fs::TryLockError::Error(error)) => Err(error).context("estate.lock"),
    }
}

fn read_ready(path: &Path) -> Result<Ports> {
    let text = fs::read_to_string(path).context("not ready")?;
    serde_json::from_str(&text).with_context(|| format!("ready file: {text}"))
}
