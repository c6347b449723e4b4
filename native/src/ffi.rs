//! Calls of Windows behind safe types: the event log, the registry as far as a source of events is written there, and DPAPI.
//!
//! All of them are older than Server 2008 R2 and may be imported. The agent's driver has an `ffi` of its own, for everything
//! that is about a host; this one is for what both programs need, and knows nothing of hosts.

use windows_sys::Win32::Foundation::GetLastError;

pub(crate) mod event;
pub(crate) mod registry;
pub(crate) mod seal;

/// A Windows error code, as the call gave it. In numbers, since the words of the system are in its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("error {0} (0x{0:08X})")]
pub struct Code(pub u32);

impl Code {
    fn last() -> Self {
        // SAFETY: reads a value of the calling thread and has no preconditions.
        Self(unsafe { GetLastError() })
    }
}

/// Text for a call that wants UTF-16 with a NUL at its end; what stands behind a NUL inside the text is left out.
struct Wide(Vec<u16>);

impl Wide {
    fn new(text: &str) -> Self {
        Self(text.encode_utf16().take_while(|unit| *unit != 0).chain([0]).collect())
    }

    /// Valid as long as `self` lives; nobody may write through it.
    fn as_ptr(&self) -> *const u16 {
        self.0.as_ptr()
    }
}
