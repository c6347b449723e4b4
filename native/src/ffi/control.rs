//! The connection of this process with the service control manager. A process is one service, once.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use windows_sys::Win32::Foundation::{ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_PRESHUTDOWN, SERVICE_ACCEPT_SHUTDOWN, SERVICE_ACCEPT_STOP,
    SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_PRESHUTDOWN, SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP, SERVICE_RUNNING,
    SERVICE_START_PENDING, SERVICE_STATUS, SERVICE_STATUS_HANDLE, SERVICE_STOP_PENDING, SERVICE_STOPPED, SERVICE_TABLE_ENTRYW,
    SERVICE_WIN32_OWN_PROCESS, SetServiceStatus, StartServiceCtrlDispatcherW,
};
use windows_sys::core::PWSTR;

use super::{last, wide};
use crate::Code;
use crate::service::life::{Event, Report, Stage};

/// What the manager calls on a thread of its own.
type Main = Box<dyn FnOnce() + Send>;

static MAIN: Mutex<Option<Main>> = Mutex::new(None);

/// Where orders go. Never taken away, for an order may come at any time.
static ORDERS: OnceLock<mpsc::Sender<Event>> = OnceLock::new();

/// Connects this process with the manager, which calls `main`; returns when the service has stopped.
pub(crate) fn dispatch(name: &str, main: Main) -> Result<(), Code> {
    *MAIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(main);
    let mut name = wide(name);
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
        SERVICE_TABLE_ENTRYW { lpServiceName: ptr::null_mut(), lpServiceProc: None },
    ];
    // SAFETY: the table ends with an empty entry; it and the name live until the call returns, which is when the service has
    // stopped.
    if unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) } == 0 { Err(last()) } else { Ok(()) }
}

/// Called by the manager. Its arguments, which somebody may give at `sc start`, are nobody's.
unsafe extern "system" fn service_main(_count: u32, _arguments: *mut PWSTR) {
    let main = MAIN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(main) = main {
        main();
    }
}

/// Called by the manager with an order.
unsafe extern "system" fn handler(control: u32, _kind: u32, _data: *mut c_void, _context: *mut c_void) -> u32 {
    match control {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN | SERVICE_CONTROL_PRESHUTDOWN => {
            if let Some(orders) = ORDERS.get() {
                // Nobody listens any more: it has stopped.
                let _ = orders.send(Event::Stop);
            }
            NO_ERROR
        }
        SERVICE_CONTROL_INTERROGATE => NO_ERROR,
        _ => ERROR_CALL_NOT_IMPLEMENTED,
    }
}

/// Where the service says how it is.
#[derive(Debug)]
pub(crate) struct Reporter(SERVICE_STATUS_HANDLE);

impl Reporter {
    /// Has orders to the service of that name sent to `orders`. To be called by what [`dispatch`] was given.
    pub(crate) fn register(name: &str, orders: mpsc::Sender<Event>) -> Result<Self, Code> {
        // A process is one service, once: there is nothing in it yet.
        let _ = ORDERS.set(orders);
        let name = wide(name);
        // SAFETY: the name is terminated; the handler is a function of this program and takes no context.
        let handle = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(handler), ptr::null()) };
        if handle.is_null() { Err(last()) } else { Ok(Self(handle)) }
    }

    /// Tells the manager how it is.
    pub(crate) fn report(&self, report: &Report) -> Result<(), Code> {
        let Report { stage, checkpoint, wait_hint } = *report;
        let (state, exit) = match stage {
            Stage::Starting => (SERVICE_START_PENDING, 0),
            Stage::Running => (SERVICE_RUNNING, 0),
            Stage::Stopping => (SERVICE_STOP_PENDING, 0),
            Stage::Stopped(exit) => (SERVICE_STOPPED, exit),
        };
        // Shutdown is for what has no preshutdown; that Windows sends one of the two to who takes both is its own matter.
        let orders = SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN | SERVICE_ACCEPT_PRESHUTDOWN;
        let status = SERVICE_STATUS {
            dwServiceType: SERVICE_WIN32_OWN_PROCESS,
            dwCurrentState: state,
            dwControlsAccepted: if stage == Stage::Running { orders } else { 0 },
            dwWin32ExitCode: if exit == 0 { NO_ERROR } else { ERROR_SERVICE_SPECIFIC_ERROR },
            dwServiceSpecificExitCode: exit,
            dwCheckPoint: checkpoint,
            dwWaitHint: u32::try_from(wait_hint.as_millis()).unwrap_or(u32::MAX),
        };
        // SAFETY: the handle is of this service and is never closed; the status is read in the call.
        if unsafe { SetServiceStatus(self.0, &raw const status) } == 0 { Err(last()) } else { Ok(()) }
    }
}
