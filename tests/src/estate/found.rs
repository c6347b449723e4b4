//! The first start of an estate: what a person does once, by the commands of the manual.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{Estate, Ports, READY, Setup};
use crate::desk::ESTATE;
use crate::process;

/// The file that says that the estate is being founded, by us.
const FOUNDING: &str = "founding";

/// The file that says that it was.
const FOUNDED: &str = "founded";

impl Estate {
    /// Whether the estate was founded to the end.
    pub(super) fn founded(&self) -> bool {
        self.folder.join(FOUNDED).exists()
    }

    /// Founds it, from the beginning where an earlier try was ended in the middle.
    pub(super) fn found(&mut self, setup: &Setup) -> Result<()> {
        let founding = self.folder.join(FOUNDING);
        let ours = founding.exists();
        for name in ["controller", "desk", "agents"] {
            let folder = self.folder.join(name);
            if ours && folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
            }
        }
        fs::write(&founding, "").with_context(|| founding.display().to_string())?;
        for name in ["controller", "desk"] {
            let folder = self.folder.join(name);
            fs::create_dir(&folder).with_context(|| format!("expected an empty folder: {}", folder.display()))?;
        }
        self.write_controller_config()?;
        let fingerprint = self.init()?;
        let mut arguments = vec!["trust", "init", "--estate", ESTATE, "--ca", &fingerprint, "--out", "trust"];
        arguments.extend(setup.approvers.iter().flat_map(|person| ["--approver", person]));
        arguments.extend(setup.need.iter().flat_map(|need| ["--need", need]));
        self.desk.ok(&arguments)?;
        self.start_controller()?;
        self.desk.ok(&["trust", "apply", "trust/trust.signed"])?;
        if let Some(policy) = &setup.policy {
            let first = setup.approvers.first().context("an approver")?;
            self.desk.apply_policy(policy, &[first])?;
        }
        for (server, _) in &setup.servers {
            self.invite(server)?;
        }
        let founded = self.folder.join(FOUNDED);
        fs::rename(&founding, &founded).with_context(|| founded.display().to_string())
    }

    /// Makes state folder and CA; gives the CA's fingerprint.
    pub(super) fn init(&self) -> Result<String> {
        let mut command = self.binaries.command("backstay")?;
        command.args(["init", "-o", "json", "--config"]).arg(self.controller_config()).arg("--out").arg(self.desk.identity());
        let output = process::run(&mut command, READY)?;
        if !output.status.success() {
            bail!("backstay init: {}", String::from_utf8_lossy(&output.stderr));
        }
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).context("what backstay init prints")?;
        made["ca_fingerprint"].as_str().map(str::to_owned).context("the fingerprint of the CA")
    }

    /// Writes the configuration of an agent, with a join token beside it.
    ///
    /// # Errors
    /// When the controller gives no token.
    pub fn invite(&self, server: &str) -> Result<()> {
        let folder = self.agent_folder(server);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let token = folder.join("join-token");
        self.desk.ok(&["token", "create", "--server", server, "--out", &token.display().to_string()])?;
        let config = format!("state_dir = {:?}\njoin_token_file = {token:?}\nlook_every = \"1s\"\n", folder.join("state"));
        fs::write(folder.join("agent.toml"), config).context("agent.toml")
    }

    pub(super) fn controller_config(&self) -> PathBuf {
        self.folder.join("controller").join("controller.toml")
    }

    pub(super) fn write_controller_config(&self) -> Result<()> {
        let Ports { agents, enrolment, operators, web } = self.ports;
        let more = &self.config;
        let config = format!(
            "estate = \"{ESTATE}\"\nstate_dir = {:?}\nadvertise = [\"{}\"]\nheartbeat_seconds = 1\n\n[metrics]\nx509 = true\n\n\
             [listen]\nagents = \"{agents}\"\nenrolment = \"{enrolment}\"\noperators = \"{operators}\"\nweb = \"{web}\"\n{more}",
            self.controller_state(),
            agents.ip()
        );
        fs::write(self.controller_config(), config).context("controller.toml")
    }
}
