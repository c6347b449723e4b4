//! An operator's workstation: the command line `backstay` with the operator's bundle, the approvers' keys, the root key, and
//! the policies that were signed. Nothing of it lies where the controller could read it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use controller::cli::connection::{Client, Connection};
use policy::id::Sha256;
use proto::operator::{GetPlanRequest, GetPlanResponse, GetServerRequest, GetServerResponse, ListPlansRequest, Plan};
use proto::signed::SigningKey;
use tonic::{Response, Status};

use crate::binaries::Binaries;
use crate::process;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The name of every estate of the proof.
pub const ESTATE: &str = "contoso";

/// A workstation.
#[derive(Debug, Clone)]
pub struct Desk {
    binaries: Binaries,
    folder: PathBuf,
    controller: SocketAddr,
}

impl Desk {
    /// The workstation whose files are in `folder`, and whose operator speaks to the controller at this address.
    pub fn new(binaries: Binaries, folder: &Path, controller: SocketAddr) -> Self {
        Self { binaries, folder: folder.to_owned(), controller }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The operator's bundle.
    pub fn identity(&self) -> PathBuf {
        self.file("operator.pem")
    }

    /// Where an approver's key lies.
    pub fn key_file(&self, person: &str) -> PathBuf {
        self.file("trust").join(format!("{person}.key"))
    }

    /// An approver's key.
    ///
    /// # Errors
    /// When there is none.
    pub fn key(&self, person: &str) -> Result<SigningKey> {
        let path = self.key_file(person);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        SigningKey::from_file_text(&text).with_context(|| path.display().to_string())
    }

    /// The command line as a person would type it, for others to copy.
    pub fn typed(&self, arguments: &str) -> Result<String> {
        let program = self.binaries.path("backstay")?;
        let (program, identity) = (program.display(), self.identity());
        Ok(format!("{program} --controller {} --identity {} {arguments}", self.controller, identity.display()))
    }

    /// The command `backstay` with these arguments, not run yet.
    ///
    /// # Errors
    /// When it was not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.binaries.command("backstay")?;
        command.current_dir(&self.folder);
        if self.controller.port() != 0 {
            command.arg("--controller").arg(self.controller.to_string());
        }
        // What the arguments say of the same goes before.
        command.arg("--identity").arg(self.identity()).args(arguments);
        Ok(command)
    }

    /// Runs `backstay` with these arguments, in the workstation's folder.
    ///
    /// # Errors
    /// When it does not end in time; not when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        process::run(&mut self.command(arguments)?, LIMIT)
    }

    /// The same, and what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self.run(arguments)?;
        if !status.success() {
            bail!("backstay {} ended with {status}:\n{}", arguments.join(" "), String::from_utf8_lossy(&stderr));
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// The same, as JSON.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = self.ok(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("backstay {}: {text}", arguments.join(" ")))
    }

    /// Writes the next version of the policy, with this text behind its head, signs it and puts it in force.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply_policy(&self, text: &str, signers: &[&str]) -> Result<u64> {
        let held = self.json(&["status"])?["policy_version"].as_u64().context("policy_version")?;
        let file = |version: u64| self.file(&format!("policy-{version}.toml"));
        let version = held + 1;
        let mut head = format!("estate = \"{ESTATE}\"\nversion = {version}\n");
        if held > 0 {
            let previous = fs::read(file(held)).with_context(|| file(held).display().to_string())?;
            head.push_str(&format!("previous = \"{}\"\n", Sha256::of(&previous)));
        }
        let path = file(version);
        fs::write(&path, format!("{head}{text}")).with_context(|| path.display().to_string())?;
        let path = path.display().to_string();
        let keys: Vec<String> = signers.iter().map(|person| self.key_file(person).display().to_string()).collect();
        let keys = keys.iter().flat_map(|key| ["--key", key]);
        let arguments: Vec<&str> = ["policy", "apply", &path].into_iter().chain(keys).collect();
        self.ok(&arguments)?;
        Ok(version)
    }

    /// Signs a plan with an approver's key and hands the approval in, by the command line.
    ///
    /// # Errors
    /// When it is refused.
    pub fn approve(&self, plan: &str, person: &str, change: &str) -> Result<String> {
        let key = self.key_file(person).display().to_string();
        self.ok(&["plan", "approve", plan, "--key", &key, "--reason", "renewal before the end", "--change", change, "--yes"])
    }

    /// Asks the operators' API directly: cheap enough to be asked again and again.
    ///
    /// # Errors
    /// When the controller is not there, or refuses.
    pub fn ask<T>(&self, call: impl AsyncFnOnce(Client) -> Result<Response<T>, Status>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let connection =
            Connection { controller: Some(self.controller.to_string().parse()?), identity: Some(self.identity()), context: None };
        runtime.block_on(async {
            let client = connection.connect().await.map_err(|failure| anyhow::anyhow!(failure.report()))?;
            let answer = tokio::time::timeout(LIMIT, call(client)).await.context("no answer")?;
            answer.map(Response::into_inner).map_err(|status| anyhow::anyhow!("{:?}: {}", status.code(), status.message()))
        })
    }

    /// What the controller knows of a server.
    ///
    /// # Errors
    /// When it does not answer, or does not know it.
    pub fn server(&self, name: &str) -> Result<GetServerResponse> {
        self.ask(async |mut client| client.get_server(GetServerRequest { name: name.to_owned() }).await)
    }

    /// All plans of a server, ended ones too.
    ///
    /// # Errors
    /// When the controller does not answer.
    pub fn plans(&self, name: &str) -> Result<Vec<Plan>> {
        let request = ListPlansRequest { page_size: 1000, server: name.to_owned(), ..ListPlansRequest::default() };
        Ok(self.ask(async |mut client| client.list_plans(request).await)?.plans)
    }

    /// The newest plans of all servers, in one answer.
    ///
    /// # Errors
    /// When the controller does not answer.
    pub fn all_plans(&self) -> Result<Vec<Plan>> {
        Ok(self
            .ask(async |mut client| client.list_plans(ListPlansRequest { page_size: 100, ..ListPlansRequest::default() }).await)?
            .plans)
    }

    /// One plan, with its bytes, approvals and receipt.
    ///
    /// # Errors
    /// When the controller does not answer, or does not know it.
    pub fn plan(&self, id: &[u8]) -> Result<GetPlanResponse> {
        let id = hex(id);
        self.ask(async |mut client| client.get_plan(GetPlanRequest { id }).await)
    }
}

/// Bytes as people see them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
