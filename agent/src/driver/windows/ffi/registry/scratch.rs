//! A key of its own for each test, which is gone when the test ends; and the writes that the agent itself never does.

use std::sync::atomic::{AtomicU32, Ordering};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_ALL_ACCESS, KEY_WOW64_64KEY, REG_VALUE_TYPE, RegCloseKey, RegCreateKeyExW, RegDeleteTreeW,
    RegDeleteValueW, RegSetValueExW,
};

use crate::driver::windows::ffi::Wide;

/// A key below `HKLM\SOFTWARE\Backstay tests`, which no other test has.
#[derive(Debug)]
pub(crate) struct Scratch(String);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = format!("SOFTWARE\\Backstay tests\\{}-{number}", std::process::id());
        create(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        &self.0
    }

    pub(crate) fn below(&self, name: &str) -> String {
        format!("{}\\{name}", self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Makes a key, with what lies above it.
pub(crate) fn create(path: &str) {
    // SAFETY: the handle was just opened.
    unsafe { RegCloseKey(open(path)) };
}

/// Sets a value of a key, which is made if it is not there; the bytes are whatever the test wants.
pub(crate) fn set(path: &str, name: &str, kind: REG_VALUE_TYPE, bytes: &[u8]) {
    let (key, name) = (open(path), Wide::new(name));
    let length = u32::try_from(bytes.len()).unwrap();
    // Wine looks at where no bytes are.
    let data = if bytes.is_empty() { std::ptr::null() } else { bytes.as_ptr() };
    // SAFETY: the key is open, the name is terminated, and there are that many bytes.
    let code = unsafe { RegSetValueExW(key, name.as_ptr(), 0, kind, data, length) };
    // SAFETY: the handle is used no more.
    unsafe { RegCloseKey(key) };
    assert_eq!(code, ERROR_SUCCESS, "{path}");
}

/// The bytes of a text in UTF-16, with the NUL that ends it.
pub(crate) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Removes a value, if it is there.
pub(crate) fn unset(path: &str, name: &str) {
    let (key, name) = (open(path), Wide::new(name));
    // SAFETY: the key is open and the name is terminated.
    let code = unsafe { RegDeleteValueW(key, name.as_ptr()) };
    // SAFETY: the handle is used no more.
    unsafe { RegCloseKey(key) };
    assert!([ERROR_SUCCESS, ERROR_FILE_NOT_FOUND].contains(&code), "{path}: {code}");
}

/// Removes a key with everything below it, if it is there.
pub(crate) fn remove(path: &str) {
    let name = Wide::new(path);
    // SAFETY: the name is terminated.
    let code = unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, name.as_ptr()) };
    assert!([ERROR_SUCCESS, ERROR_FILE_NOT_FOUND].contains(&code), "{path}: {code}");
}

fn open(path: &str) -> HKEY {
    let name = Wide::new(path);
    let mut key = HKEY::default();
    let (nothing, access) = (std::ptr::null(), KEY_ALL_ACCESS | KEY_WOW64_64KEY);
    // SAFETY: the name is terminated, and the handle is written where one has room.
    let code = unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            name.as_ptr(),
            0,
            nothing,
            0,
            access,
            std::ptr::null(),
            &raw mut key,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(code, ERROR_SUCCESS, "{path}");
    key
}
