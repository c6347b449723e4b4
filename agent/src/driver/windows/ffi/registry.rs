//! The registry, read only: keys of the local machine, their values by type, and [`Watch`] for what changes in them.
//!
//! Always the 64-bit view. A key or a value that does not exist is `None`; a value of another type than the one that is asked for
//! is an error that names it, and so is one that cannot be read. Nothing is converted but what the types say: text that its
//! writer left without a NUL is text all the same.

use std::time::Duration;

use jiff::Timestamp;
use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, ERROR_KEY_DELETED, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_PATH_NOT_FOUND, ERROR_SUCCESS, FILETIME,
    WIN32_ERROR,
};
use windows_sys::Win32::System::Environment::ExpandEnvironmentStringsW;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, REG_BINARY, REG_DWORD, REG_EXPAND_SZ, REG_MULTI_SZ, REG_SZ,
    REG_VALUE_TYPE, RegCloseKey, RegEnumKeyExW, RegEnumValueW, RegOpenKeyExW, RegQueryInfoKeyW, RegQueryValueExW,
};

pub use self::watch::Watch;
use super::{Code, Wide, text};
use crate::driver::DriverError;

#[cfg(test)]
pub(crate) mod scratch;
mod watch;

/// The largest value that is read, in bytes. Windows advises to keep values below 2 KiB; certificates and ACLs are larger.
pub const MAX_VALUE: usize = 1024 * 1024;

/// The longest name of a value, in UTF-16 units (Microsoft: "Registry element size limits"); names of keys end at 255.
const MAX_NAME: usize = 16_383;

/// An open key of the local machine. Closed when it is dropped.
#[derive(Debug)]
pub struct Key {
    handle: HKEY,
    path: String,
}

// SAFETY: a handle of the process, not of a thread; this type only reads through it.
unsafe impl Send for Key {}
// SAFETY: as for `Send`; the registry's calls have locks of their own.
unsafe impl Sync for Key {}

impl Key {
    /// The key at `path` below `HKEY_LOCAL_MACHINE`, as `SOFTWARE\Microsoft\Cryptography`. `None` where there is none.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 5 where it may not be read.
    pub fn machine(path: &str) -> Result<Option<Self>, DriverError> {
        let name = Wide::new(path);
        let mut handle = HKEY::default();
        // SAFETY: the name is terminated, and the handle is written where one has room.
        let code = unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, name.as_ptr(), 0, KEY_READ | KEY_WOW64_64KEY, &raw mut handle) };
        match code {
            ERROR_SUCCESS => Ok(Some(Self { handle, path: path.to_owned() })),
            ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => Ok(None),
            code => Err(Code(code).of("RegOpenKeyEx", format!("HKLM\\{path}"))),
        }
    }

    /// The key of that name below this one. `None` where there is none.
    ///
    /// # Errors
    /// As [`Key::machine`].
    pub fn subkey(&self, name: &str) -> Result<Option<Self>, DriverError> {
        Self::machine(&format!("{}\\{name}", self.path))
    }

    /// The names of the keys below this one, in order.
    ///
    /// # Errors
    /// [`DriverError::Refused`].
    pub fn subkeys(&self) -> Result<Vec<String>, DriverError> {
        self.names("RegEnumKeyEx", |index, name, length| {
            // SAFETY: the key is open and `name` has room for `length` units; class and time are not asked for.
            unsafe {
                RegEnumKeyExW(
                    self.handle,
                    index,
                    name,
                    length,
                    std::ptr::null(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                )
            }
        })
    }

    /// The names of the values of this key, in order. A key's default value has an empty name.
    ///
    /// # Errors
    /// [`DriverError::Refused`].
    pub fn values(&self) -> Result<Vec<String>, DriverError> {
        self.names("RegEnumValue", |index, name, length| {
            // SAFETY: the key is open and `name` has room for `length` units; type and data are not asked for.
            unsafe {
                RegEnumValueW(
                    self.handle,
                    index,
                    name,
                    length,
                    std::ptr::null(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                )
            }
        })
    }

    /// A `REG_SZ`. `None` where there is no such value.
    ///
    /// # Errors
    /// [`DriverError`] when it is of another type or cannot be read.
    pub fn string(&self, name: &str) -> Result<Option<String>, DriverError> {
        self.typed(name, "REG_SZ", |kind, bytes| (kind == REG_SZ).then(|| units(bytes)).flatten().map(|units| text(&units)))
    }

    /// A `REG_EXPAND_SZ`, with the variables of the environment put in, or a `REG_SZ` as it is: paths are written as the one or
    /// the other. `None` where there is no such value.
    ///
    /// # Errors
    /// [`DriverError`] when it is of another type or cannot be read.
    pub fn expanded(&self, name: &str) -> Result<Option<String>, DriverError> {
        let found = self.typed(name, "REG_SZ or REG_EXPAND_SZ", |kind, bytes| {
            matches!(kind, REG_SZ | REG_EXPAND_SZ).then(|| units(bytes)).flatten().map(|units| (kind, text(&units)))
        })?;
        match found {
            Some((REG_EXPAND_SZ, text)) => expand(&text).map(Some).map_err(|code| code.of("ExpandEnvironmentStrings", text)),
            other => Ok(other.map(|(_, text)| text)),
        }
    }

    /// A `REG_MULTI_SZ`: its texts up to the empty one that ends it. `None` where there is no such value.
    ///
    /// # Errors
    /// [`DriverError`] when it is of another type or cannot be read.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, DriverError> {
        self.typed(name, "REG_MULTI_SZ", |kind, bytes| {
            let units = (kind == REG_MULTI_SZ).then(|| units(bytes)).flatten()?;
            Some(units.split(|unit| *unit == 0).take_while(|text| !text.is_empty()).map(text).collect())
        })
    }

    /// A `REG_DWORD`. `None` where there is no such value.
    ///
    /// # Errors
    /// [`DriverError`] when it is of another type or cannot be read.
    pub fn number(&self, name: &str) -> Result<Option<u32>, DriverError> {
        self.typed(name, "REG_DWORD", |kind, bytes| {
            (kind == REG_DWORD).then(|| bytes.try_into().ok().map(u32::from_le_bytes)).flatten()
        })
    }

    /// A `REG_BINARY`. `None` where there is no such value.
    ///
    /// # Errors
    /// [`DriverError`] when it is of another type or cannot be read.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, DriverError> {
        self.typed(name, "REG_BINARY", |kind, bytes| (kind == REG_BINARY).then(|| bytes.to_vec()))
    }

    /// When a value of this key, or the list of its subkeys, was last written.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn written(&self) -> Result<Timestamp, DriverError> {
        let mut time = FILETIME::default();
        // SAFETY: the key is open, and only the time is asked for, which has room for one.
        let code = unsafe {
            RegQueryInfoKeyW(
                self.handle,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw mut time,
            )
        };
        if code != ERROR_SUCCESS {
            return Err(Code(code).of("RegQueryInfoKey", self.object()));
        }
        let ticks = u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
        timestamp(ticks).ok_or_else(|| DriverError::Unreadable {
            object: format!("the last write of {}", self.object()),
            expected: "a time of our calendar".to_owned(),
            found: format!("{ticks} ticks since 1601"),
        })
    }

    /// The path below `HKEY_LOCAL_MACHINE`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads a value and takes it when `take` knows its type.
    fn typed<T>(
        &self,
        name: &str,
        expected: &'static str,
        take: impl FnOnce(REG_VALUE_TYPE, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, DriverError> {
        let Some((kind, bytes)) = self.value(name)? else { return Ok(None) };
        let found = || format!("{} of {} bytes", type_name(kind), bytes.len());
        take(kind, &bytes).map(Some).ok_or_else(|| self.unreadable(name, expected, found()))
    }

    fn value(&self, name: &str) -> Result<Option<(REG_VALUE_TYPE, Vec<u8>)>, DriverError> {
        let wide = Wide::new(name);
        let mut bytes = vec![0; 256];
        loop {
            let mut kind = 0;
            let mut length = u32::try_from(bytes.len()).expect("no more than MAX_VALUE");
            // SAFETY: the key is open, the name is terminated, and the buffer has room for `length` bytes.
            let code = unsafe {
                RegQueryValueExW(self.handle, wide.as_ptr(), std::ptr::null(), &raw mut kind, bytes.as_mut_ptr(), &raw mut length)
            };
            let length = usize::try_from(length).expect("32 bits fit into 64");
            match code {
                ERROR_SUCCESS => {
                    bytes.truncate(length);
                    return Ok(Some((kind, bytes)));
                }
                // A key that was deleted since it was opened has no values.
                ERROR_FILE_NOT_FOUND | ERROR_KEY_DELETED => return Ok(None),
                ERROR_MORE_DATA if length <= MAX_VALUE => bytes.resize(length.max(bytes.len() + 1), 0),
                ERROR_MORE_DATA => {
                    let found = format!("{length}");
                    return Err(self.unreadable(name, format!("at most {MAX_VALUE} bytes"), found));
                }
                code => return Err(Code(code).of("RegQueryValueEx", self.value_object(name))),
            }
        }
    }

    /// All names that `next` gives for the numbers from zero on.
    fn names(
        &self,
        call: &'static str,
        mut next: impl FnMut(u32, *mut u16, *mut u32) -> WIN32_ERROR,
    ) -> Result<Vec<String>, DriverError> {
        let mut names = Vec::new();
        let mut buffer = vec![0; MAX_NAME + 1];
        for index in 0.. {
            let mut length = u32::try_from(buffer.len()).expect("16384 fits");
            match next(index, buffer.as_mut_ptr(), &raw mut length) {
                ERROR_SUCCESS => {
                    let length = usize::try_from(length).expect("32 bits fit into 64");
                    names.push(text(&buffer[..length.min(MAX_NAME)]));
                }
                ERROR_NO_MORE_ITEMS | ERROR_KEY_DELETED => break,
                code => return Err(Code(code).of(call, self.object())),
            }
        }
        names.sort();
        Ok(names)
    }

    fn object(&self) -> String {
        format!("HKLM\\{}", self.path)
    }

    fn value_object(&self, name: &str) -> String {
        format!("value {name:?} of {}", self.object())
    }

    fn unreadable(&self, name: &str, expected: impl Into<String>, found: String) -> DriverError {
        DriverError::Unreadable { object: self.value_object(name), expected: expected.into(), found }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by this type and is used no more.
        unsafe { RegCloseKey(self.handle) };
    }
}

/// The units of a text; `None` for an odd number of bytes, which no text has.
fn units(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, []) = bytes.as_chunks() else { return None };
    Some(pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

/// From hundreds of nanoseconds since 1601 in UTC, as Windows counts.
pub(super) fn timestamp(ticks: u64) -> Option<Timestamp> {
    const UNTIL_1970: Duration = Duration::from_secs(11_644_473_600);
    let since_1601 = Duration::new(ticks / 10_000_000, u32::try_from(ticks % 10_000_000).ok()? * 100);
    Timestamp::UNIX_EPOCH.checked_add(since_1601).ok()?.checked_sub(UNTIL_1970).ok()
}

fn expand(text: &str) -> Result<String, Code> {
    let source = Wide::new(text);
    let mut expanded = vec![0; 260];
    loop {
        let room = u32::try_from(expanded.len()).expect("no more than a u32 has asked for");
        // SAFETY: the source is terminated, and the buffer has room for that many units.
        let needed = unsafe { ExpandEnvironmentStringsW(source.as_ptr(), expanded.as_mut_ptr(), room) };
        match usize::try_from(needed).expect("32 bits fit into 64") {
            0 => return Err(Code::last()),
            needed if needed <= expanded.len() => return Ok(super::text(&expanded)),
            needed => expanded.resize(needed, 0),
        }
    }
}

fn type_name(kind: REG_VALUE_TYPE) -> String {
    match kind {
        REG_SZ => "REG_SZ".to_owned(),
        REG_EXPAND_SZ => "REG_EXPAND_SZ".to_owned(),
        REG_BINARY => "REG_BINARY".to_owned(),
        REG_DWORD => "REG_DWORD".to_owned(),
        REG_MULTI_SZ => "REG_MULTI_SZ".to_owned(),
        other => format!("type {other}"),
    }
}

#[cfg(test)]
mod tests;
