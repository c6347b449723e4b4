//! Calls of Windows behind safe types: the event log, the registry as far as a service or a source of events is written there, DPAPI, the
//! service control manager, and access lists of folders.
//!
//! All of them are older than Server 2008 R2 and may be imported. The agent's driver has an `ffi` of its own, for everything
//! that is about a host; this one is for what both programs need, and knows nothing of hosts.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;

use windows_sys::Win32::Foundation::GetLastError;

use crate::Code;

#[cfg(feature = "service")]
pub(crate) mod control;
pub(crate) mod event;
#[cfg(feature = "service")]
pub(crate) mod privileges;
pub(crate) mod registry;
pub(crate) mod seal;
#[cfg(feature = "service")]
pub(crate) mod security;

/// The calling thread's last error.
fn last() -> Code {
    // SAFETY: reads a value of the calling thread and has no preconditions.
    Code(unsafe { GetLastError() })
}

/// Text for a call that wants UTF-16 with a NUL at its end; what stands behind a NUL inside the text is left out. A pointer to it is valid as
/// long as it lives.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().take_while(|unit| *unit != 0).chain([0]).collect()
}
