//! Windows calls behind safe types: a file per family of calls, and what all of them need.
//!
//! Each handle is a type with one constructor and a `Drop`; each `unsafe` block says why it is sound; nothing above this folder
//! knows a pointer. Text goes in as [`Wide`], which owns its NUL-terminated buffer as long as a call may read it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};

use thiserror::Error;
use windows_sys::Win32::Foundation::{GetLastError, SetLastError};

use crate::driver::DriverError;

pub mod administration;
mod buffer;
pub mod directory;
pub mod event_log;
pub mod file;
pub mod http;
pub mod key;
pub mod ldap;
mod library;
pub mod machine;
pub mod ncrypt;
pub mod process;
pub mod property;
pub mod registry;
pub mod schannel;
pub mod security;
pub mod store;
pub mod version;

/// A Windows error code, or an HRESULT, as the call gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("error {0} (0x{0:08X})")]
pub struct Code(pub u32);

impl Code {
    /// The calling thread's last error.
    pub fn last() -> Self {
        // SAFETY: reads a value of the calling thread and has no preconditions.
        Self(unsafe { GetLastError() })
    }

    /// Forgets the calling thread's last error.
    pub(super) fn clear() {
        // SAFETY: sets a value of the calling thread and has no preconditions.
        unsafe { SetLastError(0) };
    }

    /// The error of a call on an object, for people: with the call, the object, and the code in words.
    pub fn of(self, call: &'static str, object: impl Into<String>) -> DriverError {
        let meaning = match self.0 {
            2 => "not found",
            5 => "access denied",
            32 => "in use by another program",
            87 => "invalid parameter",
            120 => "this system has no such call",
            126 => "no such library",
            127 => "the library has no such call",
            183 => "exists already",
            1060 => "no such service",
            1312 => "certificate not there or key unusable",
            0x8004_0154 => "no such class on this system",
            0x8007_0422 => "the service is disabled",
            0x8007_0426 => "the service does not run",
            0x8007_06BA => "the service does not answer",
            0x8009_0008 => "the provider has no such algorithm",
            0x8009_000D => "no such key",
            0x8009_000F => "the key container exists already",
            0x8009_0010 => "access to the key denied",
            0x8009_0016 => "no such key container",
            0x8009_0326 => "the server's message is none of this handshake",
            0x8009_0331 => "no protocol or cipher in common",
            0x8009_2004 => "no such certificate",
            0x8009_2005 => "the certificate is in the store already",
            _ => "see the system's list of error codes",
        };
        DriverError::Refused { call, object: object.into(), code: self.0, meaning }
    }
}

/// What the standard library met at a call on an object: by the code of the system, since its words are in the language of Windows.
pub fn failed(error: io::Error, call: &'static str, object: impl Into<String>) -> DriverError {
    match error.raw_os_error() {
        Some(code) => Code(code.cast_unsigned()).of(call, object),
        None => DriverError::Io { object: object.into(), source: error },
    }
}

/// Text for a call that wants UTF-16 with a NUL at its end. What stands behind a NUL inside the text is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wide(Vec<u16>);

impl Wide {
    /// The text, terminated.
    pub fn new(text: impl AsRef<OsStr>) -> Self {
        let mut units: Vec<u16> = text.as_ref().encode_wide().take_while(|unit| *unit != 0).collect();
        units.push(0);
        Self(units)
    }

    /// The first unit. Valid as long as `self` lives; a call that writes through it must not be given it.
    pub(super) fn as_ptr(&self) -> *const u16 {
        self.0.as_ptr()
    }
}

/// The text before the first NUL, or all of it; what is no UTF-16 is replaced.
pub(super) fn text(units: &[u16]) -> String {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    OsString::from_wide(&units[..end]).to_string_lossy().into_owned()
}
