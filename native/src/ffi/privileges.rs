//! Which privileges the process of a service keeps. The crate windows-service has no call for it.

use windows_service::service::Service;
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, SERVICE_REQUIRED_PRIVILEGES_INFOW,
};

use super::{last, wide};
use crate::Code;

/// Has the manager take away every other privilege at the next start. The service must be open for changes.
pub(crate) fn require(service: &Service, names: &[&str]) -> Result<(), Code> {
    let mut list: Vec<u16> = names.iter().flat_map(wide).collect();
    // An empty name ends the list.
    list.push(0);
    let info = SERVICE_REQUIRED_PRIVILEGES_INFOW { pmszRequiredPrivileges: list.as_mut_ptr() };
    // SAFETY: the handle is open as long as `service`; the structure is the one of this level, and the list in it lives through
    // the call.
    let done =
        unsafe { ChangeServiceConfig2W(service.raw_handle(), SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, (&raw const info).cast()) };
    if done == 0 { Err(last()) } else { Ok(()) }
}
