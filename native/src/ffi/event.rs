//! A source of events, open for writing.

use std::ptr;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

use super::{last, wide};
use crate::Code;
use crate::event::{Event, Severity};

/// A source of events on this machine. Closed when it is dropped.
pub(crate) struct Source(HANDLE);

// SAFETY: the handle is of the process, not of a thread, and this type is used by one thread at a time.
unsafe impl Send for Source {}

impl Source {
    /// The source of that name. One that is not registered writes into the log `Application`, without texts.
    pub(crate) fn open(name: &str) -> Result<Self, Code> {
        let name = wide(name);
        // SAFETY: no server names this machine; the name is terminated.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), name.as_ptr()) };
        if handle.is_null() { Err(last()) } else { Ok(Self(handle)) }
    }

    /// Writes an event. Waits for the service of the event log.
    pub(crate) fn report(&self, event: &Event, strings: &[String]) -> Result<(), Code> {
        let kind = match event.severity {
            Severity::Information => EVENTLOG_INFORMATION_TYPE,
            Severity::Warning => EVENTLOG_WARNING_TYPE,
            Severity::Error => EVENTLOG_ERROR_TYPE,
        };
        let strings: Vec<Vec<u16>> = strings.iter().map(wide).collect();
        let pointers: Vec<*const u16> = strings.iter().map(Vec::as_ptr).collect();
        let count = u16::try_from(pointers.len()).expect("an event has no more strings than a table allows");
        // SAFETY: the source is open; there are `count` pointers to terminated texts that live through the call; no user and no
        // data are given.
        let done = unsafe {
            ReportEventW(self.0, kind, 0, u32::from(event.id), ptr::null_mut(), count, 0, pointers.as_ptr(), ptr::null())
        };
        if done == 0 { Err(last()) } else { Ok(()) }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by this type and is used no more.
        unsafe { DeregisterEventSource(self.0) };
    }
}
