//! Programs that run, by the name of their file.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;

use windows_sys::Win32::Foundation::{CloseHandle, ERROR_NO_MORE_FILES, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

use super::{Code, text};
use crate::driver::DriverError;

/// The longest path that is asked for, in UTF-16 units.
const MOST_UNITS: usize = 32 * 1024;

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The name of its file, as `ExSetup.exe`.
    pub name: String,
    /// Where that file is; `None` where it may not be asked, or the program has just ended.
    pub path: Option<PathBuf>,
}

/// The programs that run and whose files have one of these names; case does not matter.
///
/// # Errors
/// [`DriverError::Refused`].
pub fn running(names: &[&str]) -> Result<Vec<Process>, DriverError> {
    let refused = |code: Code| code.of("CreateToolhelp32Snapshot", "the programs that run");
    let snapshot = Handle::snapshot().map_err(refused)?;
    let mut entry =
        PROCESSENTRY32W { dwSize: u32::try_from(size_of::<PROCESSENTRY32W>()).expect("568 fits"), ..Default::default() };
    let mut found = Vec::new();
    // SAFETY: the snapshot is open and the entry says its size.
    let mut more = unsafe { Process32FirstW(snapshot.0, &raw mut entry) };
    while more != 0 {
        let name = text(&entry.szExeFile);
        if names.iter().any(|wanted| wanted.eq_ignore_ascii_case(&name)) {
            found.push(Process { name, path: path(entry.th32ProcessID) });
        }
        // SAFETY: as before.
        more = unsafe { Process32NextW(snapshot.0, &raw mut entry) };
    }
    match Code::last() {
        Code(ERROR_NO_MORE_FILES) => Ok(found),
        code => Err(refused(code)),
    }
}

fn path(process: u32) -> Option<PathBuf> {
    // SAFETY: has no preconditions; whether it gave a handle is asked.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process) };
    let process = if process.is_null() { return None } else { Handle(process) };
    let mut units = vec![0_u16; MOST_UNITS];
    let mut length = u32::try_from(units.len()).expect("32768 fits");
    // SAFETY: the process is open, and the buffer has room for `length` units.
    let done = unsafe { QueryFullProcessImageNameW(process.0, PROCESS_NAME_WIN32, units.as_mut_ptr(), &raw mut length) };
    let length = usize::try_from(length).expect("32 bits fit into 64").min(units.len());
    (done != 0).then(|| OsString::from_wide(&units[..length]).into())
}

/// A handle of the kernel. Closed when it is dropped.
struct Handle(HANDLE);

impl Handle {
    fn snapshot() -> Result<Self, Code> {
        // SAFETY: has no preconditions; whether it gave a handle is asked.
        let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
        if snapshot == INVALID_HANDLE_VALUE { Err(Code::last()) } else { Ok(Self(snapshot)) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by this type and is used no more.
        unsafe { CloseHandle(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_runs_is_found_by_its_name_with_its_path() {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_string_lossy().into_owned();
        let found = running(&["no-such-program.exe", &name.to_uppercase()]).unwrap();
        // Other tests run in processes of their own.
        assert!(!found.is_empty());
        for Process { name: found, path } in found {
            assert_eq!(found.to_lowercase(), name.to_lowercase());
            let path = path.expect("a program of the same user").to_string_lossy().to_lowercase();
            assert_eq!(path, own.to_string_lossy().to_lowercase());
        }
        assert_eq!(running(&["no-such-program.exe"]).unwrap(), []);
    }
}
