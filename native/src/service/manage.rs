//! Installing, removing, starting, stopping and asking: what an administrator does with a service, and what it does for itself at
//! its start.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceConfig, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType, ServiceState, ServiceStatus,
    ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{Definition, Exit, RESET, RESTARTS, ServiceError, Setting, State, Status};
use crate::Code;
use crate::ffi::privileges;
use crate::ffi::registry::Key;

/// How often a service is asked while somebody waits for it.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a removed service may stay until those who have it open let go.
const GONE: Duration = Duration::from_secs(10);

/// The value in which a service says which version of it runs, in its key `Parameters`: it goes with the service.
const VERSION: &str = "RunningVersion";

/// A setting that this Windows did not take, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// What.
    pub setting: Setting,
    /// Why not.
    pub code: Code,
}

/// What installing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// There was one of that name, and it is now as this program wants it.
    pub updated: bool,
    /// What this Windows does not know. On every supported one it is nothing.
    pub unset: Vec<Unset>,
}

/// Makes the service, or brings the one that is there up to date: its command line, its start, its settings. One that runs goes
/// on to run as it is until it is started again. The account of one that is there stays.
///
/// # Errors
/// [`ServiceError`]. A setting that this Windows does not know is none.
pub fn install(definition: &Definition, executable: &Path, arguments: &[OsString]) -> Result<Installed, ServiceError> {
    let name = definition.name;
    let info = info(definition, executable, arguments);
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = manager(definition, access)?;
    let (service, updated) = match manager.create_service(&info, SETTING) {
        Ok(service) => (service, false),
        Err(error) if code(&error) == Some(Code(1073)) => {
            let service = manager.open_service(name, SETTING).map_err(|error| failed(definition, "OpenService", error))?;
            service.change_config(&info).map_err(|error| failed(definition, "ChangeServiceConfig", error))?;
            (service, true)
        }
        Err(error) => return Err(failed(definition, "CreateService", error)),
    };
    let (unset, refused): (Vec<_>, Vec<_>) =
        set(definition, &service).into_iter().partition(|unset| unset.code == Code::INVALID_LEVEL);
    match refused.into_iter().next() {
        None => Ok(Installed { updated, unset }),
        Some(Unset { code: Code::DENIED, .. }) => Err(ServiceError::Denied { name, call: "ChangeServiceConfig2" }),
        Some(Unset { code, .. }) => Err(ServiceError::Refused { name, call: "ChangeServiceConfig2", code }),
    }
}

/// Sets everything again, and says which version runs: for the service itself at its start, so that it is as it should be whoever
/// made it, an installer for example. Gives what could not be set; the service works without.
///
/// # Errors
/// [`ServiceError`] when it may not change itself at all.
pub fn repeat(definition: &Definition, version: &str) -> Result<Vec<Unset>, ServiceError> {
    let manager = manager(definition, ServiceManagerAccess::CONNECT)?;
    let service = manager.open_service(definition.name, SETTING).map_err(|error| failed(definition, "OpenService", error))?;
    let unset = set(definition, &service);
    let said = Key::create(&parameters(definition)).and_then(|key| key.set_text(VERSION, version));
    said.map_err(|code| ServiceError::Refused { name: definition.name, call: "RegSetValueEx", code })?;
    Ok(unset)
}

/// Removes the service; stops it before, within `bound`.
///
/// # Errors
/// [`ServiceError`]; [`ServiceError::Open`] when it goes only when others close it.
pub fn uninstall(definition: &Definition, bound: Duration) -> Result<(), ServiceError> {
    stop(definition, bound)?;
    let manager = manager(definition, ServiceManagerAccess::CONNECT)?;
    let service = open(&manager, definition, ServiceAccess::DELETE)?;
    match service.delete() {
        Err(error) if code(&error) != Some(Code::MARKED) => return Err(failed(definition, "DeleteService", error)),
        Ok(()) | Err(_) => drop(service),
    }
    let mut waited = Duration::ZERO;
    loop {
        match open(&manager, definition, ServiceAccess::QUERY_STATUS) {
            Err(ServiceError::Absent { .. }) => return Ok(()),
            Ok(_) | Err(_) if waited >= GONE => return Err(ServiceError::Open { name: definition.name }),
            Ok(_) | Err(_) => {}
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

/// Starts the service and waits until it runs, for `bound` at most. False when it ran already.
///
/// # Errors
/// [`ServiceError`]; [`ServiceError::Stopped`] with the meaning of its exit code when it does not go on to run.
pub fn start(definition: &Definition, bound: Duration, words: fn(u32) -> Option<&'static str>) -> Result<bool, ServiceError> {
    let manager = manager(definition, ServiceManagerAccess::CONNECT)?;
    let service = open(&manager, definition, ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    match service.start::<OsString>(&[]) {
        Ok(()) => {}
        Err(error) if code(&error) == Some(Code::RUNS) => return Ok(false),
        Err(error) => return Err(failed(definition, "StartService", error)),
    }
    await_state(definition, &service, State::Running, bound, |status| match state(status) {
        State::Stopped => Err(ServiceError::Stopped { name: definition.name, exit: exit(status, words).to_string() }),
        State::Running | State::Starting | State::Stopping | State::Other => Ok(()),
    })?;
    Ok(true)
}

/// Stops the service and waits until it has, for `bound` at most. False when it did not run.
///
/// # Errors
/// [`ServiceError`].
pub fn stop(definition: &Definition, bound: Duration) -> Result<bool, ServiceError> {
    let manager = manager(definition, ServiceManagerAccess::CONNECT)?;
    let service = open(&manager, definition, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
    match service.stop() {
        Ok(_) => {}
        Err(error) if code(&error) == Some(Code::RUNS_NOT) => return Ok(false),
        // It stops already.
        Err(error)
            if code(&error) == Some(Code(1061))
                && query(definition, &service).is_ok_and(|status| state(&status) == State::Stopping) => {}
        Err(error) => return Err(failed(definition, "ControlService", error)),
    }
    await_state(definition, &service, State::Stopped, bound, |_| Ok(()))?;
    Ok(true)
}

/// How the service is.
///
/// # Errors
/// [`ServiceError`].
pub fn status(definition: &Definition, words: fn(u32) -> Option<&'static str>) -> Result<Status, ServiceError> {
    let manager = manager(definition, ServiceManagerAccess::CONNECT)?;
    let service = open(&manager, definition, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG)?;
    let status = query(definition, &service)?;
    let config = config(definition, &service)?;
    let state = state(&status);
    let version = Key::open(&parameters(definition)).ok().flatten().and_then(|key| key.text(VERSION).ok());
    let version = version.filter(|_| state != State::Stopped);
    Ok(Status {
        service: definition.name,
        state,
        pid: status.process_id,
        exit: (state == State::Stopped).then(|| exit(&status, words)),
        start: start_type(definition, config.start_type),
        account: config.account_name.map(|name| name.to_string_lossy().into_owned()),
        image_path: config.executable_path.to_string_lossy().into_owned(),
        version,
    })
}

/// What the service manager starts: program and arguments, as it keeps them.
///
/// # Errors
/// [`ServiceError`].
pub fn image_path(definition: &Definition) -> Result<PathBuf, ServiceError> {
    let manager = manager(definition, ServiceManagerAccess::CONNECT)?;
    let service = open(&manager, definition, ServiceAccess::QUERY_CONFIG)?;
    Ok(config(definition, &service)?.executable_path)
}

/// What it takes to set everything: whoever asks for restarts must be allowed to start it (Microsoft, `SERVICE_FAILURE_ACTIONS`).
const SETTING: ServiceAccess = ServiceAccess::CHANGE_CONFIG.union(ServiceAccess::START).union(ServiceAccess::QUERY_STATUS);

fn info(definition: &Definition, executable: &Path, arguments: &[OsString]) -> ServiceInfo {
    ServiceInfo {
        name: definition.name.into(),
        display_name: definition.display_name.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        // A path with a blank in it is put in quotes: unquoted, somebody else's `C:\Program.exe` would be started.
        executable_path: executable.to_owned(),
        launch_arguments: arguments.to_vec(),
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    }
}

/// Sets everything, and gives what was not taken.
fn set(definition: &Definition, service: &Service) -> Vec<Unset> {
    let unset = |setting: Setting| {
        let code = set_one(service, &setting).err()?;
        Some(Unset { setting, code })
    };
    definition.settings().into_iter().filter_map(unset).collect()
}

fn set_one(service: &Service, setting: &Setting) -> Result<(), Code> {
    let done = match setting {
        Setting::Description(text) => service.set_description(text),
        Setting::Delayed(delayed) => service.set_delayed_auto_start(*delayed),
        Setting::Restarts => service.update_failure_actions(ServiceFailureActions {
            reset_period: ServiceFailureResetPeriod::After(RESET),
            reboot_msg: None,
            command: None,
            actions: Some(RESTARTS.map(|delay| ServiceAction { action_type: ServiceActionType::Restart, delay }).to_vec()),
        }),
        Setting::RestartsAfterErrors => service.set_failure_actions_on_non_crash_failures(true),
        Setting::Sid => service.set_config_service_sid_info(ServiceSidType::Unrestricted),
        Setting::Privileges(names) => return privileges::require(service, names),
        Setting::Preshutdown(time) => service.set_preshutdown_timeout(*time),
    };
    done.map_err(|error| code(&error).unwrap_or(Code(87)))
}

fn await_state(
    definition: &Definition,
    service: &Service,
    wanted: State,
    bound: Duration,
    check: impl Fn(&ServiceStatus) -> Result<(), ServiceError>,
) -> Result<(), ServiceError> {
    let mut waited = Duration::ZERO;
    loop {
        let status = query(definition, service)?;
        let found = state(&status);
        if found == wanted {
            return Ok(());
        }
        check(&status)?;
        if waited >= bound {
            let wanted = if wanted == State::Running { "running" } else { "stopped" };
            return Err(ServiceError::NotInTime { name: definition.name, wanted, found: found.to_string(), waited });
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

fn state(status: &ServiceStatus) -> State {
    match status.current_state {
        ServiceState::Stopped => State::Stopped,
        ServiceState::StartPending => State::Starting,
        ServiceState::StopPending => State::Stopping,
        ServiceState::Running => State::Running,
        ServiceState::ContinuePending | ServiceState::PausePending | ServiceState::Paused => State::Other,
    }
}

fn exit(status: &ServiceStatus, words: fn(u32) -> Option<&'static str>) -> Exit {
    match status.exit_code {
        ServiceExitCode::Win32(code) => Exit::of(code, None, words),
        ServiceExitCode::ServiceSpecific(own) => Exit::of(1066, Some(own), words),
    }
}

fn start_type(definition: &Definition, start: ServiceStartType) -> String {
    match start {
        ServiceStartType::AutoStart => {
            let delayed = Key::open(&key(definition)).and_then(|key| key.map(|key| key.number("DelayedAutostart")).transpose());
            let delayed = delayed.is_ok_and(|delayed| delayed.is_some_and(|delayed| delayed != 0));
            if delayed { "automatic, delayed" } else { "automatic" }.to_owned()
        }
        ServiceStartType::OnDemand => "by hand".to_owned(),
        ServiceStartType::Disabled => "disabled".to_owned(),
        ServiceStartType::SystemStart | ServiceStartType::BootStart => "as a driver".to_owned(),
    }
}

fn key(definition: &Definition) -> String {
    format!(r"SYSTEM\CurrentControlSet\Services\{}", definition.name)
}

fn parameters(definition: &Definition) -> String {
    format!(r"{}\Parameters", key(definition))
}

fn query(definition: &Definition, service: &Service) -> Result<ServiceStatus, ServiceError> {
    service.query_status().map_err(|error| failed(definition, "QueryServiceStatus", error))
}

fn config(definition: &Definition, service: &Service) -> Result<ServiceConfig, ServiceError> {
    service.query_config().map_err(|error| failed(definition, "QueryServiceConfig", error))
}

fn manager(definition: &Definition, access: ServiceManagerAccess) -> Result<ServiceManager, ServiceError> {
    ServiceManager::local_computer(None::<&str>, access).map_err(|error| failed(definition, "OpenSCManager", error))
}

fn open(manager: &ServiceManager, definition: &Definition, access: ServiceAccess) -> Result<Service, ServiceError> {
    manager.open_service(definition.name, access).map_err(|error| failed(definition, "OpenService", error))
}

fn code(error: &Error) -> Option<Code> {
    let Error::Winapi(error) = error else { return None };
    io::Error::raw_os_error(error).map(|code| Code(code.cast_unsigned()))
}

fn failed(definition: &Definition, call: &'static str, error: Error) -> ServiceError {
    let Definition { name, command, .. } = *definition;
    match code(&error) {
        Some(Code::NO_SERVICE) => ServiceError::Absent { name, command },
        Some(Code::DENIED) => ServiceError::Denied { name, call },
        Some(code) => ServiceError::Refused { name, call, code },
        None => ServiceError::Odd { name, why: error.to_string() },
    }
}
