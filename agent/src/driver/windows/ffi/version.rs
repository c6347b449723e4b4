//! The version that is written into a program's file.

use std::ffi::c_void;
use std::fmt;
use std::mem;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND};
use windows_sys::Win32::Storage::FileSystem::VS_FIXEDFILEINFO;

use super::library::Library;
use super::{Code, Wide};
use crate::driver::DriverError;

/// The largest version resource that is read, in bytes. Real ones have a few thousand.
const MOST_BYTES: u32 = 1024 * 1024;

/// What a `VS_FIXEDFILEINFO` begins with.
const SIGNATURE: u32 = 0xFEEF_04BD;

/// A version of four parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileVersion(pub [u16; 4]);

impl fmt::Display for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, build, revision]) = self;
        write!(f, "{major}.{minor}.{build}.{revision}")
    }
}

type Size = unsafe extern "system" fn(*const u16, *mut u32) -> u32;
type Info = unsafe extern "system" fn(*const u16, u32, u32, *mut c_void) -> i32;
type Value = unsafe extern "system" fn(*const c_void, *const u16, *mut *mut c_void, *mut u32) -> i32;

/// The file version of a program. `None` where there is no such file.
///
/// # Errors
/// [`DriverError`] when the file cannot be read or has no version.
pub fn file_version(path: &Path) -> Result<Option<FileVersion>, DriverError> {
    let object = || path.display().to_string();
    let (size, info, value) = calls().map_err(|code| code.of("GetFileVersionInfo", object()))?;
    let file = Wide::new(path);
    // SAFETY: the path is terminated; the handle that it writes is always zero and is not asked for.
    let length = unsafe { size(file.as_ptr(), ptr::null_mut()) };
    if length == 0 {
        return match Code::last() {
            Code(ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND) => Ok(None),
            code => Err(code.of("GetFileVersionInfoSize", object())),
        };
    }
    let unreadable = |found: &str| DriverError::Unreadable {
        object: object(),
        expected: "a program with a file version".to_owned(),
        found: found.to_owned(),
    };
    if length > MOST_BYTES {
        return Err(unreadable("a version resource of more than a megabyte"));
    }
    // In units of eight bytes, so that what the resource holds lies as it must.
    let mut block = vec![0_u64; usize::try_from(length).expect("32 bits fit into 64").div_ceil(8)];
    // SAFETY: the path is terminated, and the block has room for `length` bytes.
    if unsafe { info(file.as_ptr(), 0, length, block.as_mut_ptr().cast()) } == 0 {
        return Err(Code::last().of("GetFileVersionInfo", object()));
    }
    let (root, mut found, mut found_length) = (Wide::new("\\"), ptr::null_mut(), 0);
    // SAFETY: the block is what the call before filled; it gives a place in the block and how much is there.
    let done = unsafe { value(block.as_ptr().cast(), root.as_ptr(), &raw mut found, &raw mut found_length) };
    if done == 0 || found.is_null() || usize::try_from(found_length).is_ok_and(|length| length < size_of::<VS_FIXEDFILEINFO>()) {
        return Err(unreadable("none"));
    }
    // SAFETY: the place has that many bytes, in the block, which is still there; alignment is not relied on.
    let fixed: VS_FIXEDFILEINFO = unsafe { found.cast::<VS_FIXEDFILEINFO>().read_unaligned() };
    if fixed.dwSignature != SIGNATURE {
        return Err(unreadable("a version resource without its signature"));
    }
    let [high, low] = [fixed.dwFileVersionMS, fixed.dwFileVersionLS].map(|half| {
        let [a, b, c, d] = half.to_be_bytes();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    });
    Ok(Some(FileVersion([high[0], high[1], low[0], low[1]])))
}

/// The three calls; on every Windows.
fn calls() -> Result<(Size, Info, Value), Code> {
    let library = Library::system("version.dll")?;
    let entry = |name| library.entry(name).ok_or(Code(120));
    let (size, info, value) = (entry(c"GetFileVersionInfoSizeW")?, entry(c"GetFileVersionInfoW")?, entry(c"VerQueryValueW")?);
    // SAFETY: version.dll's call of that name has this signature.
    let size = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Size>(size) };
    // SAFETY: as before.
    let info = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Info>(info) };
    // SAFETY: as before.
    let value = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Value>(value) };
    Ok((size, info, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::windows::ffi::machine;

    #[test]
    fn a_program_of_windows_has_a_version_of_four_parts() {
        let version = file_version(&machine::system_folder().unwrap().join("kernel32.dll")).unwrap().unwrap();
        let FileVersion([major, _, build, _]) = version;
        assert!(major >= 6 && build > 0, "{version}");
        assert_eq!(version.to_string().split('.').count(), 4);
    }

    #[test]
    fn a_file_that_is_not_there_has_none_and_one_without_a_version_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(file_version(&folder.path().join("ExSetup.exe")).unwrap(), None);
        assert_eq!(file_version(&folder.path().join("Bin").join("ExSetup.exe")).unwrap(), None);
        let text = folder.path().join("text.exe");
        std::fs::write(&text, "no program").unwrap();
        assert!(file_version(&text).is_err());
        assert!(file_version(&std::env::current_exe().unwrap()).is_err(), "the test itself has no version");
    }
}
