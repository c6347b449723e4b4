//! The calls of Windows that a service needs and that the crate windows-service lacks, behind safe types: the only `unsafe`
//! outside the agent's driver.
//!
//! That crate also frees its handler of controls at the first stop, and a second one that comes before the first is reported
//! would use it; the handler [here](control) lives as long as the process.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;

use windows_sys::Win32::Foundation::GetLastError;

use crate::Code;

pub(crate) mod control;
pub(crate) mod privileges;
pub(crate) mod registry;
pub(crate) mod security;

/// The calling thread's last error.
fn last() -> Code {
    // SAFETY: reads a value of the calling thread and has no preconditions.
    Code(unsafe { GetLastError() })
}

/// Text with a NUL at its end. What stands behind a NUL inside the text is left out.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().take_while(|unit| *unit != 0).chain([0]).collect()
}
