//! Exchange as it is installed, and whether its setup is at work (EXCHANGE.md 4.6, G4, G6, G12): registry, process list, and the file
//! of its setup program; no cmdlet.
//!
//! A security update runs as `msiexec` like any other package, so it is not seen here by name. It disables the services of IIS
//! while it works, and that forbids every step (G4); the event log tells of it afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use policy::report::{Exchange, Fact, Role, Setup};

use super::fact;
use super::ffi::failed;
use super::ffi::process::{self, Process};
use super::ffi::registry::Key;
use super::ffi::version::file_version;
use crate::driver::DriverError;

/// Where Exchange keeps its settings.
const ROOT: &str = r"SOFTWARE\Microsoft\ExchangeServer";

/// The keys of the roles. In Exchange 2013 the front end of a client access server is `CafeRole`, later a part of every mailbox server.
const ROLES: [(&str, Role); 5] = [
    ("MailboxRole", Role::Mailbox),
    ("ClientAccessRole", Role::ClientAccess),
    ("CafeRole", Role::ClientAccess),
    ("FrontendTransportRole", Role::ClientAccess),
    ("EdgeTransportRole", Role::Edge),
];

/// What setup leaves in the key of a role until it is done with it: as a value, or as a key.
const LEFT: [&str; 2] = ["Watermark", "Action"];

/// Programs that only Exchange Setup has.
const SETUP_PROGRAMS: [&str; 2] = ["ExSetup.exe", "ExSetupUI.exe"];

/// The program that starts them; many products have one of this name.
const PERHAPS_SETUP: [&str; 1] = ["Setup.exe"];

/// One of these lies beside Exchange's own, on the medium or where it is installed.
const BESIDE_SETUP: [&str; 2] = ["ExchangeServer.msi", "ExSetup.exe"];

/// Version and roles.
pub fn exchange() -> Fact<Exchange> {
    fact(installed(ROOT))
}

/// Whether setup is at work, or was and never finished.
pub fn setup() -> Fact<Setup> {
    fact(at_work(ROOT, &SETUP_PROGRAMS, &PERHAPS_SETUP))
}

/// When `ExSetup` last wrote its log, below the root of the system drive; `None` when there is none.
///
/// # Errors
/// [`DriverError::Refused`] when the log may not be looked at.
pub fn last_setup(system_folder: &Path) -> Result<Option<Timestamp>, DriverError> {
    let Some(drive) = system_folder.ancestors().last() else { return Ok(None) };
    written(&drive.join("ExchangeSetupLogs").join("ExchangeSetup.log"))
}

fn written(path: &Path) -> Result<Option<Timestamp>, DriverError> {
    let object = || path.display().to_string();
    let time = match std::fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(time) => time,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error, "GetFileAttributesEx", object())),
    };
    let time = Timestamp::try_from(time).and_then(|time| Timestamp::from_second(time.as_second()));
    time.map(Some).map_err(|_| DriverError::Unreadable {
        object: object(),
        expected: "a time of our calendar".to_owned(),
        found: "another".to_owned(),
    })
}

fn installed(root: &str) -> Result<Exchange, DriverError> {
    let Some(key) = Key::machine(&format!("{root}\\v15"))? else { return older(root) };
    let mut roles = BTreeSet::new();
    for (name, role) in ROLES {
        if key.subkey(name)?.is_some() {
            roles.insert(role);
        }
    }
    match key.subkey("Setup")? {
        Some(setup) => Ok(Exchange { version: version(&setup)?, roles }),
        None if roles.is_empty() => older(root),
        None => Err(DriverError::Unreadable {
            object: format!("HKLM\\{root}\\v15"),
            expected: "a key Setup beside those of the roles".to_owned(),
            found: "none, as when setup is at work or was cut off".to_owned(),
        }),
    }
}

/// Exchange 2010, which has no back end, or none at all: then there is nothing here to guard (G1, G6).
fn older(root: &str) -> Result<Exchange, DriverError> {
    let version = match Key::machine(&format!("{root}\\v14\\Setup"))? {
        Some(setup) => numbers(&setup)?,
        None => "none".to_owned(),
    };
    Ok(Exchange { version, roles: BTreeSet::new() })
}

/// The file version of `ExSetup.exe`, which security updates raise, or what the last cumulative update wrote into the registry when that
/// names no folder. Never the one where the other is wanted: the agent would see Exchange go back to an older build.
fn version(setup: &Key) -> Result<String, DriverError> {
    let Some(folder) = setup.expanded("MsiInstallPath")?.filter(|folder| !folder.trim().is_empty()) else {
        return numbers(setup);
    };
    let program = PathBuf::from(folder.trim()).join("Bin").join("ExSetup.exe");
    let version = file_version(&program)?.ok_or_else(|| DriverError::Unreadable {
        object: program.display().to_string(),
        expected: "the setup program of Exchange".to_owned(),
        found: "none, as while an update replaces it".to_owned(),
    })?;
    Ok(version.to_string())
}

fn numbers(setup: &Key) -> Result<String, DriverError> {
    let number = |name| -> Result<u32, DriverError> {
        setup.number(name)?.ok_or_else(|| DriverError::Unreadable {
            object: format!("HKLM\\{}", setup.path()),
            expected: format!("a value {name}"),
            found: "none".to_owned(),
        })
    };
    let parts = [number("MsiProductMajor")?, number("MsiProductMinor")?, number("MsiBuildMajor")?, number("MsiBuildMinor")?];
    Ok(parts.map(|part| part.to_string()).join("."))
}

/// `sure` are programs that only Exchange Setup has, `perhaps` those that are Exchange's when its files lie beside them.
fn at_work(root: &str, sure: &[&str], perhaps: &[&str]) -> Result<Setup, DriverError> {
    for Process { name, path } in process::running(&[sure, perhaps].concat())? {
        let folder = path.as_deref().and_then(Path::parent);
        let beside = || folder.is_some_and(|folder| BESIDE_SETUP.iter().any(|file| folder.join(file).exists()));
        if sure.iter().any(|sure| sure.eq_ignore_ascii_case(&name)) || beside() {
            return Ok(Setup::Running(name));
        }
    }
    let Some(key) = Key::machine(&format!("{root}\\v15"))? else { return Ok(Setup::Idle) };
    for name in key.subkeys()?.into_iter().filter(|name| name.ends_with("Role") || name == "AdminTools") {
        let Some(role) = key.subkey(&name)? else { continue };
        let there = [role.values()?, role.subkeys()?].concat();
        if let Some(left) = LEFT.iter().find(|left| there.iter().any(|name| name.eq_ignore_ascii_case(left))) {
            return Ok(Setup::HalfFinished(format!("{name}\\{left}")));
        }
    }
    Ok(Setup::Idle)
}

#[cfg(test)]
mod tests;
