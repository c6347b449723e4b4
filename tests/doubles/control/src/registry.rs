//! Values of `HKEY_LOCAL_MACHINE`, by path. A value of another type than the one asked for counts as none.

use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, REG_BINARY, REG_DWORD, REG_ROUTINE_FLAGS, REG_SZ, REG_VALUE_TYPE, RRF_RT_REG_BINARY,
    RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegCloseKey, RegDeleteKeyValueW, RegDeleteTreeW, RegEnumKeyW, RegEnumValueW, RegGetValueW,
    RegOpenKeyExW, RegSetKeyValueW,
};

/// UTF-16 with a NUL at its end.
pub fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// A `REG_DWORD`.
pub fn number(path: &str, name: &str) -> Option<u32> {
    get(path, name, RRF_RT_REG_DWORD)?.try_into().ok().map(u32::from_le_bytes)
}

/// A `REG_BINARY`.
pub fn bytes(path: &str, name: &str) -> Option<Vec<u8>> {
    get(path, name, RRF_RT_REG_BINARY)
}

/// A `REG_SZ`.
pub fn text(path: &str, name: &str) -> Option<String> {
    let bytes = get(path, name, RRF_RT_REG_SZ)?;
    let units: Vec<u16> =
        bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).collect();
    Some(String::from_utf16_lossy(&units))
}

/// Writes a `REG_DWORD`; the answer of Windows.
pub fn set_number(path: &str, name: &str, value: u32) -> u32 {
    set(path, name, REG_DWORD, &value.to_le_bytes())
}

/// Writes a `REG_BINARY`; the answer of Windows.
pub fn set_bytes(path: &str, name: &str, value: &[u8]) -> u32 {
    set(path, name, REG_BINARY, value)
}

/// Writes a `REG_SZ`; the answer of Windows.
pub fn set_text(path: &str, name: &str, value: &str) -> u32 {
    let bytes: Vec<u8> = wide(value).into_iter().flat_map(u16::to_le_bytes).collect();
    set(path, name, REG_SZ, &bytes)
}

/// Removes a value; one that is not there is none the more.
pub fn unset(path: &str, name: &str) {
    let (path, name) = (wide(path), wide(name));
    // SAFETY: both names are terminated.
    unsafe { RegDeleteKeyValueW(HKEY_LOCAL_MACHINE, path.as_ptr(), name.as_ptr()) };
}

/// Removes a key with everything below it; the answer of Windows.
pub fn remove(path: &str) -> u32 {
    let path = wide(path);
    // SAFETY: the name is terminated.
    unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) }
}

/// The names of the keys below one, in order; none below one that is not there.
pub fn keys(path: &str) -> Vec<String> {
    listed(path, |key, index, name| {
        // SAFETY: the key is open, and there is room for 256 units.
        unsafe { RegEnumKeyW(key, index, name.as_mut_ptr(), 256) }
    })
}

/// The names of the values of a key, in order; none of one that is not there.
pub fn values(path: &str) -> Vec<String> {
    listed(path, |key, index, name| {
        let (mut length, none) = (256, ptr::null_mut());
        let place = name.as_mut_ptr();
        // SAFETY: the key is open, and there is room for 256 units.
        unsafe { RegEnumValueW(key, index, place, &raw mut length, ptr::null(), none, ptr::null_mut(), ptr::null_mut()) }
    })
}

/// Every name that `next` gives by its number, until it gives none; each ends with a NUL.
fn listed(path: &str, next: impl Fn(HKEY, u32, &mut [u16; 256]) -> u32) -> Vec<String> {
    let path = wide(path);
    let mut key = HKEY::default();
    // SAFETY: the name is terminated, and the handle is written where one has room.
    if unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) } != ERROR_SUCCESS {
        return Vec::new();
    }
    let mut names = Vec::new();
    for index in 0.. {
        let mut name = [0; 256];
        if next(key, index, &mut name) != ERROR_SUCCESS {
            break;
        }
        let end = name.iter().position(|unit| *unit == 0).unwrap_or(name.len());
        names.push(String::from_utf16_lossy(&name[..end]));
    }
    // SAFETY: the handle is used no more.
    unsafe { RegCloseKey(key) };
    names.sort();
    names
}

fn get(path: &str, name: &str, kinds: REG_ROUTINE_FLAGS) -> Option<Vec<u8>> {
    let (path, name) = (wide(path), wide(name));
    let mut bytes = vec![0; 512];
    loop {
        let mut length = u32::try_from(bytes.len()).ok()?;
        let data = bytes.as_mut_ptr().cast();
        // SAFETY: both names are terminated, and there is room for `length` bytes.
        let code = unsafe {
            RegGetValueW(HKEY_LOCAL_MACHINE, path.as_ptr(), name.as_ptr(), kinds, ptr::null_mut(), data, &raw mut length)
        };
        match code {
            ERROR_SUCCESS => {
                bytes.truncate(usize::try_from(length).ok()?);
                return Some(bytes);
            }
            ERROR_MORE_DATA => bytes.resize(bytes.len() * 2, 0),
            _ => return None,
        }
    }
}

fn set(path: &str, name: &str, kind: REG_VALUE_TYPE, bytes: &[u8]) -> u32 {
    let (path, name) = (wide(path), wide(name));
    let Ok(length) = u32::try_from(bytes.len()) else { return ERROR_MORE_DATA };
    // SAFETY: both names are terminated, and there are that many bytes.
    unsafe { RegSetKeyValueW(HKEY_LOCAL_MACHINE, path.as_ptr(), name.as_ptr(), kind, bytes.as_ptr().cast(), length) }
}
