//! What `doctor` tries on Windows beside the calls that every kind of host has: the registry behind http.sys, notifications,
//! services, access lists, and a handshake by Schannel over every way to 444.

use std::path::Path;
use std::time::Duration;

use policy::id::Thumbprint;
use policy::report::{BACK_END_PORT, ProbePath, SslRecord};
use windows_service::Error;
use windows_service::service::{ServiceAccess, ServiceStartType, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::ffi::{failed, file, schannel, security};
use super::records::{self, Kept};
use super::{WindowsDriver, host, watch};
use crate::doctor::{Attempt, Checks, Trouble, way_in};
use crate::driver::{Driver, DriverError};
use crate::probe;

/// The name of the agent's service.
const SERVICE: &str = "BackstayAgent";

/// For the connection, and again for the handshake.
const LIMIT: Duration = Duration::from_secs(5);

/// Who may read and write the state folder: SYSTEM, administrators, and with this beginning the service's own identity.
const OWNERS: [&str; 2] = ["S-1-5-18", "S-1-5-32-544"];
const SERVICES: &str = "S-1-5-80-";

/// Tries them all. `state` is the agent's state folder.
pub(super) fn examine(driver: &WindowsDriver, state: &Path, checks: &mut Checks) {
    let record = kept(driver, checks);
    let armed = "run doctor as an administrator; until then the agent looks once a minute";
    let iis = "are the services WAS and W3SVC running? Get-Service WAS, W3SVC";
    checks.attempt(Attempt::useful("iis.running", iis), || {
        driver.running.look().counted().map(|found| ((), found)).map_err(Trouble::Wrong)
    });
    checks.attempt(Attempt::useful("watch", armed), || {
        let keys = watch::armed()?;
        Ok(((), format!("{keys} keys of the registry can be watched; that they signal shows when one changes")))
    });
    let install = "backstay-agent install";
    checks.attempt(Attempt::useful("service", install), || service().map(|found| ((), found)));
    let list = "icacls: nobody but SYSTEM and administrators; the installer sets it";
    checks.attempt(Attempt::useful("state.access", list), || access(state).map(|found| ((), found)));
    handshakes(driver, record.and_then(|record| record.thumbprint), checks);
}

/// What the registry keeps of each record for the next start of Windows.
fn kept(driver: &WindowsDriver, checks: &mut Checks) -> Option<SslRecord> {
    let next =
        "compare `netsh http show sslcert` with HKLM\\SYSTEM\\CurrentControlSet\\Services\\HTTP\\Parameters\\SslBindingInfo";
    let back_end = checks.attempt(Attempt::needed("records.registry", next), || {
        let records = driver.records.records()?;
        let kept: Vec<Kept> = records.iter().map(records::kept).collect::<Result<_, _>>()?;
        let nowhere = kept.iter().filter(|kept| **kept == Kept::Nowhere).count();
        let words = format!("{} records, {nowhere} of them not found in the registry, the others the same there", records.len());
        Ok((records.into_iter().find(SslRecord::is_back_end), words))
    });
    checks.attempt(Attempt::useful("record.444.extras", ""), || {
        let record = back_end.clone().flatten().ok_or_else(|| Trouble::NotTried("there is no record on 444".to_owned()))?;
        extras(&record).map(|found| ((), found))
    });
    back_end.flatten()
}

fn extras(record: &SslRecord) -> Result<String, Trouble> {
    let extras = records::extras(record)?;
    Ok(match extras.as_slice() {
        [] => "none: nothing is lost where a record is deleted and set".to_owned(),
        some => format!("{}: a system that deletes and sets the record loses them", some.join(", ")),
    })
}

fn service() -> Result<String, Trouble> {
    const NO_SUCH_SERVICE: i32 = 1060;
    let refused = |error: Error, call| {
        if let Error::Winapi(error) = error { failed(error, call, SERVICE).into() } else { Trouble::Wrong(crate::chain(&error)) }
    };
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT);
    let manager = manager.map_err(|error| refused(error, "OpenSCManager"))?;
    let opened = manager.open_service(SERVICE, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG);
    let service = match opened {
        Ok(service) => service,
        Err(Error::Winapi(error)) if error.raw_os_error() == Some(NO_SUCH_SERVICE) => {
            return Err(Trouble::Lacks(format!("a service {SERVICE}: the agent is not installed as one")));
        }
        Err(error) => return Err(refused(error, "OpenService")),
    };
    let state = service.query_status().map_err(|error| refused(error, "QueryServiceStatus"))?.current_state;
    let start = service.query_config().map(|config| config.start_type);
    let start = match start {
        Ok(ServiceStartType::AutoStart) => "starts with Windows",
        Ok(ServiceStartType::Disabled) => "is disabled",
        Ok(_) => "does not start with Windows",
        Err(_) => "how it starts is not known",
    };
    let words = format!("{SERVICE} {start}, and {}", if state == ServiceState::Running { "runs" } else { "does not run" });
    if start == "starts with Windows" && state == ServiceState::Running { Ok(words) } else { Err(Trouble::Wrong(words)) }
}

/// The state folder holds the agent's identity.
fn access(state: &Path) -> Result<String, Trouble> {
    if !state.is_dir() {
        return Err(Trouble::Lacks(format!("a state folder: there is no {}", state.display())));
    }
    let list = security::entries(&file::access_list(state)?).map_err(|unlisted| Trouble::Wrong(unlisted.to_string()))?;
    let stranger = |sid: &&str| !OWNERS.contains(sid) && !sid.starts_with(SERVICES);
    match list.iter().map(|access| access.sid.as_str()).find(stranger) {
        None => Ok(format!("{} entries, none but SYSTEM, administrators and the service", list.len())),
        Some(sid) => Err(Trouble::Wrong(format!("expected nobody but SYSTEM, administrators and the service, found {sid}"))),
    }
}

/// What the front end of this machine would be shown, under the machine's own TLS policy.
fn handshakes(driver: &WindowsDriver, expected: Option<Thumbprint>, checks: &mut Checks) {
    let next = "compare the TLS policy of this machine (HealthChecker) with what IIS serves on 444";
    // A handshake needs a name; one that this machine does not have is no reason to try none.
    let name = host::full_name().unwrap_or_else(|_| "localhost".to_owned());
    for path in driver.paths() {
        let check = format!("probe.schannel.{}", probe::path_name(path));
        checks.attempt(Attempt::useful(&check, next), || shake(driver, path, &name, expected).map(|found| ((), found)));
    }
}

fn shake(driver: &WindowsDriver, path: ProbePath, name: &str, expected: Option<Thumbprint>) -> Result<String, Trouble> {
    let mut stream = driver.dial(BACK_END_PORT, path, LIMIT).map_err(way_in)?;
    let object = format!("Schannel with 444 over {}", probe::path_word(path));
    let shown = schannel::handshake(&mut stream, name, LIMIT, &object)?;
    let compared = probe::compared(&shown.certificate, expected).map_err(Trouble::Wrong)?;
    Ok(format!("{}, {}; {compared}", shown.protocol, shown.cipher))
}

/// `Windows` with major, minor and build.
pub(super) fn system() -> Result<String, DriverError> {
    super::ffi::machine::version().map(|[major, minor, build]| format!("Windows {major}.{minor}.{build}"))
}
