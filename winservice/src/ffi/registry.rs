//! Two values of a service in the registry. The crate windows-registry is not for the agent: what it brings along imports functions of
//! Windows Runtime, which Server 2008 R2 lacks.

use std::ptr;

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_SET_VALUE, REG_OPTION_NON_VOLATILE, REG_SZ, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegCloseKey,
    RegCreateKeyExW, RegGetValueW, RegSetValueExW,
};

use super::wide;
use crate::Code;

/// The longest text that is read, in UTF-16 units with its NUL.
const MOST_UNITS: usize = 128;

/// Writes a text into a key of this machine; makes the key if there is none.
pub(crate) fn write(key: &str, name: &str, text: &str) -> Result<(), Code> {
    let (key, name, text) = (wide(key), wide(name), wide(text));
    let mut opened: HKEY = ptr::null_mut();
    // SAFETY: the path is terminated; what is optional is null; the handle is written where it has room.
    let code = unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            0,
            ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_SET_VALUE,
            ptr::null(),
            &raw mut opened,
            ptr::null_mut(),
        )
    };
    if code != ERROR_SUCCESS {
        return Err(Code(code));
    }
    let size = u32::try_from(size_of_val(text.as_slice())).map_err(|_| Code(87))?;
    // SAFETY: the key is open for this; the name is terminated, and the text has `size` bytes, its NUL among them.
    let code = unsafe { RegSetValueExW(opened, name.as_ptr(), 0, REG_SZ, text.as_ptr().cast(), size) };
    // SAFETY: the key was opened here and is used no more.
    unsafe { RegCloseKey(opened) };
    if code == ERROR_SUCCESS { Ok(()) } else { Err(Code(code)) }
}

/// A text of a key of this machine.
pub(crate) fn text(key: &str, name: &str) -> Result<String, Code> {
    let (key, name) = (wide(key), wide(name));
    let mut units = [0_u16; MOST_UNITS];
    let mut size = u32::try_from(size_of_val(&units)).expect("256 fits");
    // SAFETY: path and name are terminated; the buffer has room for `size` bytes, and the call ends the text with a NUL.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            ptr::null_mut(),
            units.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
    if code == ERROR_SUCCESS { Ok(String::from_utf16_lossy(text)) } else { Err(Code(code)) }
}

/// A number of a key of this machine.
pub(crate) fn number(key: &str, name: &str) -> Result<u32, Code> {
    let (key, name) = (wide(key), wide(name));
    let (mut number, mut size) = (0_u32, 4);
    // SAFETY: path and name are terminated; the number has room for its four bytes.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_DWORD,
            ptr::null_mut(),
            (&raw mut number).cast(),
            &raw mut size,
        )
    };
    if code == ERROR_SUCCESS { Ok(number) } else { Err(Code(code)) }
}
