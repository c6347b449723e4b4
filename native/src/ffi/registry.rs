//! Keys of the local machine: as much as it takes to write down a source of events, and to take it away, and two values of a service.
//!
//! The crate windows-registry is not for the agent: what it brings along imports functions of Windows Runtime, which Server 2008 R2 lacks.

use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_DWORD, REG_EXPAND_SZ, REG_SAM_FLAGS, REG_SZ,
    RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegCloseKey, RegCreateKeyExW, RegDeleteKeyExW, RegGetValueW, RegOpenKeyExW,
    RegQueryInfoKeyW, RegSetValueExW,
};

use super::wide;
use crate::Code;

/// The longest text that is read, in UTF-16 units with its NUL.
const MOST_UNITS: usize = 128;

/// An open key, in the 64-bit view. Closed when it is dropped.
pub(crate) struct Key(HKEY);

impl Key {
    /// The key at this path below `HKEY_LOCAL_MACHINE`, made with those above it where there is none.
    pub(crate) fn create(path: &str) -> Result<Self, Code> {
        let path = wide(path);
        let mut handle = HKEY::default();
        // SAFETY: the path is terminated, there is room for a handle, and neither class nor security is given.
        let code = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                ptr::null(),
                0,
                KEY_WRITE | KEY_WOW64_64KEY,
                ptr::null(),
                &raw mut handle,
                ptr::null_mut(),
            )
        };
        done(code).map(|()| Self(handle))
    }

    /// The key at this path. `None` where there is none.
    pub(crate) fn open(path: &str) -> Result<Option<Self>, Code> {
        Self::open_for(path, KEY_READ)
    }

    fn open_for(path: &str, access: REG_SAM_FLAGS) -> Result<Option<Self>, Code> {
        let path = wide(path);
        let mut handle = HKEY::default();
        // SAFETY: the path is terminated, and there is room for a handle.
        match unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, access | KEY_WOW64_64KEY, &raw mut handle) } {
            ERROR_FILE_NOT_FOUND => Ok(None),
            code => done(code).map(|()| Some(Self(handle))),
        }
    }

    /// Writes a `REG_EXPAND_SZ`.
    pub(crate) fn set_path(&self, name: &str, path: &str) -> Result<(), Code> {
        self.set(name, REG_EXPAND_SZ, &bytes(path))
    }

    /// Writes a `REG_SZ`.
    pub(crate) fn set_text(&self, name: &str, text: &str) -> Result<(), Code> {
        self.set(name, REG_SZ, &bytes(text))
    }

    /// A `REG_SZ` of at most 127 units.
    pub(crate) fn text(&self, name: &str) -> Result<String, Code> {
        let name = wide(name);
        let mut units = [0_u16; MOST_UNITS];
        let mut size = u32::try_from(size_of_val(&units)).expect("256 fits");
        let buffer = units.as_mut_ptr().cast();
        // SAFETY: the key is open and the name is terminated; the buffer has room for `size` bytes, and the call ends the text with a NUL.
        done(unsafe { RegGetValueW(self.0, ptr::null(), name.as_ptr(), RRF_RT_REG_SZ, ptr::null_mut(), buffer, &raw mut size) })?;
        let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
        Ok(String::from_utf16_lossy(text))
    }

    /// A `REG_DWORD`.
    pub(crate) fn number(&self, name: &str) -> Result<u32, Code> {
        let name = wide(name);
        let (mut number, mut size) = (0_u32, 4);
        let place = (&raw mut number).cast();
        // SAFETY: the key is open and the name is terminated; the number has room for its four bytes.
        done(unsafe {
            RegGetValueW(self.0, ptr::null(), name.as_ptr(), RRF_RT_REG_DWORD, ptr::null_mut(), place, &raw mut size)
        })?;
        Ok(number)
    }

    /// Writes a `REG_DWORD`.
    pub(crate) fn set_number(&self, name: &str, number: u32) -> Result<(), Code> {
        self.set(name, REG_DWORD, &number.to_le_bytes())
    }

    fn set(&self, name: &str, kind: u32, bytes: &[u8]) -> Result<(), Code> {
        let name = wide(name);
        let length = u32::try_from(bytes.len()).expect("a path or a number");
        // SAFETY: the key is open, the name is terminated, and there are `length` bytes.
        done(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, bytes.as_ptr(), length) })
    }

    /// How many keys are below this one.
    pub(crate) fn subkeys(&self) -> Result<u32, Code> {
        let mut count = 0;
        // SAFETY: the key is open, and only the number of keys is asked for, which has room for one.
        let code = unsafe {
            RegQueryInfoKeyW(
                self.0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
                &raw mut count,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        done(code).map(|()| count)
    }
}

/// Removes the key at this path, which must have none below it. One that is not there is as good.
pub(crate) fn remove(path: &str) -> Result<(), Code> {
    let path = wide(path);
    // SAFETY: the path is terminated.
    match unsafe { RegDeleteKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), KEY_WOW64_64KEY, 0) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => done(code),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    wide(text).into_iter().flat_map(u16::to_le_bytes).collect()
}

fn done(code: u32) -> Result<(), Code> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(Code(code)) }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by this type and is used no more.
        unsafe { RegCloseKey(self.0) };
    }
}
