//! The installer of the agent: made by `deploy/windows/package`, looked into with `msiinfo`, and run by a Windows machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Ended, LIMIT, Prefix, ended};
use crate::process;

/// What an installer may take; Wine needs three seconds.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);

/// Exit codes of `msiexec`, as much of them as Wine passes on.
pub mod code {
    /// All was done.
    pub const DONE: i32 = 0;
    /// 1603: refused, by a condition or by what the installer ran before anything was changed.
    pub const FATAL: i32 = 1603 % 256;
    /// 1627: something failed on the way, and what was done was taken back. Windows says 1603 here too.
    pub const FAILED: i32 = 1627 % 256;
}

/// Makes an installer of the agent that was built, in `folder`. `sign` are the variables of `deploy/windows/sign`.
///
/// # Errors
/// When the agent was not built, or no installer can be made of it; says why.
pub fn package(version: &str, folder: &Path, sign: &[(&str, &Path)]) -> Result<PathBuf> {
    let mut command = script("package");
    command.arg("--exe").arg(super::built("backstay-agent.exe")?).arg("--out").arg(folder).args(["--version", version]);
    command.envs(sign.iter().copied());
    succeed(command)?;
    Ok(folder.join(format!("backstay-agent-{version}-x64.msi")))
}

/// Looks at signatures by `deploy/windows/sign verify`.
///
/// # Errors
/// When one is not good; says why.
pub fn verify(ca: &Path, files: &[&Path]) -> Result<()> {
    let mut command = script("sign");
    command.arg("verify").arg("--ca").arg(ca).args(files);
    succeed(command).map(drop)
}

/// The rows of a table of an installer, without its heads.
///
/// # Errors
/// When there is no such table.
pub fn table(msi: &Path, name: &str) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("msiinfo");
    command.arg("export").arg(msi).arg(name);
    let text = succeed(command)?;
    let rows = text.lines().skip(3).filter(|row| !row.is_empty());
    Ok(rows.map(|row| row.split('\t').map(str::to_owned).collect()).collect())
}

impl Prefix {
    /// Runs `msiexec` without a window, with everything that it can log in `C:\msi.log`. Wine's does not wait for a service that it has told
    /// to stop: stop it first.
    ///
    /// # Errors
    /// When it does not end. How it ended is for the caller.
    pub fn msiexec(&self, what: &str, msi: &Path, properties: &[&str]) -> Result<Ended> {
        let name = msi.file_name().and_then(|name| name.to_str()).with_context(|| format!("{}: no name", msi.display()))?;
        let place = format!(r"C:\setup\{name}");
        self.write(&place, std::fs::read(msi).with_context(|| msi.display().to_string())?)?;
        let mut command = self.command("msiexec");
        command.args([what, &place, "/qn", "/l*v", r"C:\msi.log"]).args(properties);
        ended(&mut command, INSTALL_LIMIT)
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new(format!("{}/../deploy/windows/{name}", env!("CARGO_MANIFEST_DIR")));
    for variable in ["CERTIFICATE", "KEY", "PASSWORD_FILE", "PKCS11_MODULE", "PKCS11_ENGINE", "TIMESTAMP"] {
        command.env_remove(format!("BACKSTAY_SIGN_{variable}"));
    }
    command
}

fn succeed(mut command: Command) -> Result<String> {
    let output = process::run(&mut command, LIMIT)?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
