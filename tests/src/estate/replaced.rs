//! What a person does when the controller was lost or stolen, by the commands of the manual.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Estate;

impl Estate {
    /// Runs `backstay` beside the controller, with its configuration.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn beside(&self, arguments: &[&str]) -> Result<Value> {
        self.desk.json(&[arguments, &["--config", &self.controller_config().display().to_string()]].concat())
    }

    /// Another controller in the place of one that was stolen: a CA of its own, the memory from a backup, and a trust document that names
    /// the new CA and not the old one any more. Gives the state folder that the thief has.
    ///
    /// # Errors
    /// When a step does not do what the manual says.
    pub fn replace_controller(&mut self, backup: &Path) -> Result<PathBuf> {
        let stolen = self.folder.join("stolen");
        self.kill_controller()?;
        fs::rename(self.controller_state(), &stolen).context("the thief takes the state folder")?;
        fs::rename(self.desk.identity(), self.folder.join("old-operator.pem")).context("the old bundle")?;
        let ca = self.init()?;
        self.beside(&["restore", "--other-ca", "--from", &backup.display().to_string()])?;
        self.start_controller()?;
        let from = "trust/trust.signed";
        let held = self.desk.json(&["trust", "show", from])?;
        let old = held["ca"][0].as_str().context("the old CA")?;
        let next = ["--ca", &ca, "--without-ca", old, "--key", "trust/root.key", "--out", "next.signed"];
        self.desk.ok(&[&["trust", "next", "--from", from], &next[..]].concat())?;
        self.desk.ok(&["trust", "apply", "next.signed"])?;
        Ok(stolen)
    }
}
