//! Numbers of `HKLM\SOFTWARE\TestDouble\nativerd`.

use std::ptr;

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, RRF_RT_REG_DWORD, RegCloseKey, RegEnumValueW, RegGetValueW, RegOpenKeyExW,
};

const ROOT: &str = r"SOFTWARE\TestDouble\nativerd";

pub(crate) fn number(name: &str) -> Option<u32> {
    value(ROOT, name)
}

/// Every number in the key of that name, in order of the values' names; none where there is no key.
pub(crate) fn numbers(key: &str) -> Vec<(String, u32)> {
    let path = format!(r"{ROOT}\{key}");
    let mut named: Vec<_> = names(&path).into_iter().filter_map(|name| value(&path, &name).map(|value| (name, value))).collect();
    named.sort();
    named
}

fn value(path: &str, name: &str) -> Option<u32> {
    let (path, name) = (wide(path), wide(name));
    let (mut value, mut length) = (0_u32, 4);
    // SAFETY: both names are terminated, and there is room for a number.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_DWORD,
            ptr::null_mut(),
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (code == ERROR_SUCCESS).then_some(value)
}

fn names(path: &str) -> Vec<String> {
    let path = wide(path);
    let mut key = HKEY::default();
    // SAFETY: the name is terminated, and the handle is written where one has room.
    if unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) } != ERROR_SUCCESS {
        return Vec::new();
    }
    let mut names = Vec::new();
    for index in 0.. {
        let (mut name, mut length) = ([0; 256], 256);
        let (name_at, none) = (name.as_mut_ptr(), ptr::null_mut());
        // SAFETY: the key is open, and there is room for 256 units.
        let code =
            unsafe { RegEnumValueW(key, index, name_at, &raw mut length, ptr::null(), none, ptr::null_mut(), ptr::null_mut()) };
        if code != ERROR_SUCCESS {
            break;
        }
        names.push(String::from_utf16_lossy(&name[..usize::try_from(length).unwrap_or(0)]));
    }
    // SAFETY: the handle is used no more.
    unsafe { RegCloseKey(key) };
    names
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
