//! DLLs of the system that an old Windows lacks, or whose calls differ from one Windows to the next: loaded when they are asked
//! for, from System32 and from nowhere else, so that a missing call is a value and not an agent that does not start.
//!
//! A library stays loaded as long as the process: what [`Library::entry`] gave can be called at any time.

use core::ffi::CStr;
use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, HMODULE};
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_FLAGS, LOAD_LIBRARY_SEARCH_SYSTEM32, LOAD_WITH_ALTERED_SEARCH_PATH, LoadLibraryExW,
};
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

use super::{Code, Wide};

/// A DLL of the system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library(HMODULE);

// SAFETY: the handle is the address at which the library lies. It is the same for every thread, and nothing unloads it.
unsafe impl Send for Library {}
// SAFETY: as for `Send`; the loader's calls have locks of their own.
unsafe impl Sync for Library {}

impl Library {
    /// The library of that file name, as `httpapi.dll`. [`Code`] 126 when this Windows has none.
    pub(super) fn system(name: &'static str) -> Result<Self, Code> {
        match load(&Wide::new(name), LOAD_LIBRARY_SEARCH_SYSTEM32) {
            // Windows Server 2008 R2 without KB2533623 does not know the flag.
            Err(Code(ERROR_INVALID_PARAMETER)) => Self::by_full_path(name),
            loaded => loaded,
        }
    }

    /// A call of the library. `None` where this Windows has no such call.
    pub(super) fn entry(&self, name: &CStr) -> Option<unsafe extern "system" fn() -> isize> {
        // SAFETY: the library is loaded and stays so; the name is terminated.
        unsafe { GetProcAddress(self.0, name.as_ptr().cast()) }
    }

    /// By a path that leaves nothing to search, and with the library's own folder for those that it needs.
    fn by_full_path(name: &'static str) -> Result<Self, Code> {
        load(&Wide::new(system_folder()?.join(name)), LOAD_WITH_ALTERED_SEARCH_PATH)
    }
}

fn load(name: &Wide, flags: LOAD_LIBRARY_FLAGS) -> Result<Library, Code> {
    // SAFETY: the name is terminated and lives through the call; the file handle is reserved and null.
    let module = unsafe { LoadLibraryExW(name.as_ptr(), ptr::null_mut(), flags) };
    if module.is_null() { Err(Code::last()) } else { Ok(Library(module)) }
}

pub(super) fn system_folder() -> Result<PathBuf, Code> {
    let mut path = vec![0; 260];
    loop {
        let room = u32::try_from(path.len()).expect("a path's length fits: it came from a u32");
        // SAFETY: the buffer has room for that many units.
        let length = unsafe { GetSystemDirectoryW(path.as_mut_ptr(), room) };
        match usize::try_from(length).expect("32 bits fit into 64") {
            0 => return Err(Code::last()),
            // The length without the NUL when it fitted, with it when it did not.
            length if length < path.len() => return Ok(OsString::from_wide(&path[..length]).into()),
            length => path.resize(length, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_the_system_has_its_calls_and_no_others() {
        let library = Library::system("httpapi.dll").unwrap();
        assert!(library.entry(c"HttpInitialize").is_some());
        assert!(library.entry(c"HttpNoSuchCall").is_none());
    }

    #[test]
    fn without_the_flag_the_same_library_is_loaded_by_its_full_path() {
        let library = Library::by_full_path("httpapi.dll").unwrap();
        assert_eq!(library.0, Library::system("httpapi.dll").unwrap().0);
    }

    #[test]
    fn a_library_that_this_windows_lacks_is_an_error_and_not_the_end() {
        assert_eq!(Library::system("backstay-has-no-such.dll").unwrap_err(), Code(126));
    }

    #[test]
    fn nothing_is_taken_from_the_folder_of_the_program() {
        let program = std::env::current_exe().unwrap();
        let beside = program.with_file_name("backstay-planted.dll");
        std::fs::copy(system_folder().unwrap().join("httpapi.dll"), &beside).unwrap();
        let loaded = Library::system("backstay-planted.dll");
        std::fs::remove_file(&beside).unwrap();
        assert_eq!(loaded.unwrap_err(), Code(126));
    }
}
