//! What a domain controller says: the forest, the site of this machine, and the time.
//!
//! The calls go over the network and may take as long as it likes; [`super::super::directory`] waits for them with a limit.

use std::ffi::c_void;
use std::mem;
use std::ptr;

use windows_sys::Win32::NetworkManagement::NetManagement::TIME_OF_DAY_INFO;
use windows_sys::Win32::Networking::ActiveDirectory::{DOMAIN_CONTROLLER_INFOW, DS_RETURN_DNS_NAME};

use super::library::Library;
use super::{Code, Wide, text};

/// The longest name that a domain controller gives, in UTF-16 units. DNS names end at 255.
const MOST_UNITS: usize = 1024;

/// A domain controller, and what it says of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Its name, without backslashes.
    pub name: String,
    /// The DNS name of the forest.
    pub forest: String,
    /// The site of this machine; `None` where no subnet of the directory holds it.
    pub site: Option<String>,
}

type Find =
    unsafe extern "system" fn(*const u16, *const u16, *const c_void, *const u16, u32, *mut *mut DOMAIN_CONTROLLER_INFOW) -> u32;
type Time = unsafe extern "system" fn(*const u16, *mut *mut u8) -> u32;
type Free = unsafe extern "system" fn(*const c_void) -> u32;

/// The calls of netapi32 that are used here.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    find: Find,
    time: Time,
    free: Free,
}

impl Directory {
    /// Loads them.
    ///
    /// # Errors
    /// [`Code`] when this system lacks one.
    pub fn load() -> Result<Self, Code> {
        let library = Library::system("netapi32.dll")?;
        let entry = |name| library.entry(name).ok_or(Code(120));
        let (find, time, free) = (entry(c"DsGetDcNameW")?, entry(c"NetRemoteTOD")?, entry(c"NetApiBufferFree")?);
        // SAFETY: netapi32's call of that name has this signature.
        let find = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Find>(find) };
        // SAFETY: as before.
        let time = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Time>(time) };
        // SAFETY: as before.
        let free = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Free>(free) };
        Ok(Self { find, time, free })
    }

    /// A domain controller of this machine's domain.
    ///
    /// # Errors
    /// [`Code`] 1355 when there is no domain, or none of its controllers answers.
    pub fn controller(&self) -> Result<Controller, Code> {
        let mut found = ptr::null_mut();
        let nothing = ptr::null();
        // SAFETY: without names it asks for this machine's own domain; the result is written where one has room.
        let code = unsafe { (self.find)(nothing, nothing, ptr::null(), nothing, DS_RETURN_DNS_NAME, &raw mut found) };
        if code != 0 {
            return Err(Code(code));
        }
        let found = Buffer { place: found, free: self.free };
        // SAFETY: the call succeeded, so the buffer holds one such structure until it is freed.
        let DOMAIN_CONTROLLER_INFOW { DomainControllerName, DnsForestName, ClientSiteName, .. } =
            unsafe { found.place.read_unaligned() };
        // SAFETY: each is null or points to a terminated text in that buffer.
        let [name, forest, site] = [DomainControllerName, DnsForestName, ClientSiteName].map(|place| unsafe { text_at(place) });
        let name = name.map(|name| name.trim_start_matches('\\').to_owned());
        match (name, forest) {
            (Some(name), Some(forest)) => Ok(Controller { name, forest, site }),
            _ => Err(Code(1355)),
        }
    }

    /// The seconds since 1970 in UTC by that machine's clock.
    ///
    /// # Errors
    /// [`Code`] when it does not answer.
    pub fn time(&self, machine: &str) -> Result<i64, Code> {
        let name = Wide::new(format!("\\\\{machine}"));
        let mut found = ptr::null_mut();
        // SAFETY: the name is terminated; the result is written where one has room.
        let code = unsafe { (self.time)(name.as_ptr(), &raw mut found) };
        if code != 0 || found.is_null() {
            return Err(Code(code));
        }
        let found = Buffer { place: found.cast::<TIME_OF_DAY_INFO>(), free: self.free };
        // SAFETY: the call succeeded, so the buffer holds one such structure until it is freed.
        let TIME_OF_DAY_INFO { tod_elapsedt, .. } = unsafe { found.place.read_unaligned() };
        Ok(tod_elapsedt.into())
    }
}

/// What a call of netapi32 gave. Freed when it is dropped.
struct Buffer<T> {
    place: *mut T,
    free: Free,
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: netapi32 gave the buffer, and it is used no more.
        unsafe { (self.free)(self.place.cast()) };
    }
}

/// The text at a place that is null or points to a terminated one; `None` for null and for an empty one.
///
/// # Safety
/// The place must be null, or stay readable up to its NUL.
unsafe fn text_at(place: *const u16) -> Option<String> {
    if place.is_null() {
        return None;
    }
    let mut units = Vec::new();
    while units.len() < MOST_UNITS {
        // SAFETY: no NUL was met before, so this unit belongs to the text or is its NUL.
        let unit = unsafe { place.add(units.len()).read_unaligned() };
        if unit == 0 {
            break;
        }
        units.push(unit);
    }
    (!units.is_empty()).then(|| text(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_domain_has_no_controller() {
        // Wine has the call and no domain.
        assert!(Directory::load().unwrap().controller().is_err());
    }

    #[test]
    fn a_text_ends_at_its_nul_and_nowhere_is_none() {
        let wide = Wide::new("contoso.test");
        // SAFETY: a terminated text that lives.
        assert_eq!(unsafe { text_at(wide.as_ptr()) }.as_deref(), Some("contoso.test"));
        // SAFETY: null.
        assert_eq!(unsafe { text_at(ptr::null()) }, None);
        // SAFETY: as the first.
        assert_eq!(unsafe { text_at(Wide::new("").as_ptr()) }, None);
    }
}
