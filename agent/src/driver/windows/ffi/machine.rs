//! The machine itself: its names, its system folder, and when Windows started.

use std::ffi::{CStr, c_void};
use std::mem;
use std::path::PathBuf;
use std::ptr;

use jiff::Timestamp;
use windows_sys::Win32::Foundation::ERROR_MORE_DATA;
use windows_sys::Win32::System::SystemInformation::{
    COMPUTER_NAME_FORMAT, ComputerNamePhysicalDnsFullyQualified, ComputerNamePhysicalNetBIOS, GetComputerNameExW,
};

use super::library::Library;
use super::registry::{Key, timestamp};
use super::{Code, library, text};
use crate::driver::DriverError;

/// The NetBIOS name of this machine; on a node of a cluster its own, not the cluster's.
///
/// # Errors
/// [`DriverError::Refused`].
pub fn netbios_name() -> Result<String, DriverError> {
    name(ComputerNamePhysicalNetBIOS, "the NetBIOS name")
}

/// The full DNS name of this machine; on a node of a cluster its own. Without a dot where the machine has no DNS domain.
///
/// # Errors
/// [`DriverError::Refused`].
pub fn full_name() -> Result<String, DriverError> {
    name(ComputerNamePhysicalDnsFullyQualified, "the full name")
}

/// System32, as a 64-bit program sees it.
///
/// # Errors
/// [`DriverError::Refused`].
pub fn system_folder() -> Result<PathBuf, DriverError> {
    library::system_folder().map_err(|code| code.of("GetSystemDirectory", "this machine"))
}

/// Where programs keep what is the machine's and no user's; most often `C:\ProgramData`.
///
/// # Errors
/// [`DriverError`].
pub fn program_data() -> Result<PathBuf, DriverError> {
    const LIST: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
    let folder = Key::machine(LIST)?.map(|key| key.expanded("ProgramData")).transpose()?.flatten();
    let folder = folder.ok_or_else(|| Code(2).of("RegQueryValueEx", format!("value \"ProgramData\" of HKLM\\{LIST}")))?;
    Ok(folder.into())
}

/// When Windows started, in whole seconds. Windows keeps it as a value of its own and moves it only when the clock is set;
/// computed from the time that has passed since it would be another second at every look.
///
/// # Errors
/// [`DriverError`].
pub fn booted() -> Result<Timestamp, DriverError> {
    const NAME: &CStr = c"NtQuerySystemInformation";
    const SYSTEM_TIME_OF_DAY: i32 = 3;
    type Query = unsafe extern "system" fn(i32, *mut c_void, u32, *mut u32) -> i32;
    let refused = |code: Code| code.of("NtQuerySystemInformation", "the start of Windows");
    let entry = Library::system("ntdll.dll").map_err(refused)?.entry(NAME).ok_or_else(|| refused(Code(120)))?;
    // SAFETY: ntdll's call of that name has had this signature since Windows NT.
    let query: Query = unsafe { mem::transmute(entry) };
    // SYSTEM_TIMEOFDAY_INFORMATION: the first of its 48 bytes are the start, in hundreds of nanoseconds since 1601.
    let mut information = [0_u64; 6];
    let size = u32::try_from(size_of_val(&information)).expect("48 fits");
    // SAFETY: the buffer has room for `size` bytes and is aligned for 64-bit numbers; the length written is not asked for.
    let status = unsafe { query(SYSTEM_TIME_OF_DAY, information.as_mut_ptr().cast(), size, ptr::null_mut()) };
    if status < 0 {
        return Err(refused(Code(status.cast_unsigned())));
    }
    let [start, ..] = information;
    let whole = timestamp(start).and_then(|start| Timestamp::from_second(start.as_second()).ok());
    whole.ok_or_else(|| DriverError::Unreadable {
        object: "the start of Windows".to_owned(),
        expected: "a time of our calendar".to_owned(),
        found: format!("{start} ticks since 1601"),
    })
}

/// Major, minor and build of this Windows, as it is and not as it is said to a program without a manifest.
///
/// # Errors
/// [`DriverError::Refused`].
pub fn version() -> Result<[u32; 3], DriverError> {
    const NAME: &CStr = c"RtlGetVersion";
    type Query = unsafe extern "system" fn(*mut u32) -> i32;
    let refused = |code: Code| code.of("RtlGetVersion", "this machine");
    let entry = Library::system("ntdll.dll").map_err(refused)?.entry(NAME).ok_or_else(|| refused(Code(120)))?;
    // SAFETY: ntdll's call of that name takes one pointer and gives a status since Windows 2000.
    let query: Query = unsafe { mem::transmute(entry) };
    // RTL_OSVERSIONINFOW: its size in bytes, major, minor, build, platform, and a text of 128 units of 16 bits.
    let mut information = [0_u32; 69];
    information[0] = u32::try_from(size_of_val(&information)).expect("276 fits");
    // SAFETY: the structure says its own size, and no more is written.
    let status = unsafe { query(information.as_mut_ptr()) };
    if status < 0 {
        return Err(refused(Code(status.cast_unsigned())));
    }
    let [_, major, minor, build, ..] = information;
    Ok([major, minor, build])
}

fn name(format: COMPUTER_NAME_FORMAT, object: &'static str) -> Result<String, DriverError> {
    let mut buffer = vec![0_u16; 256];
    loop {
        let mut length = u32::try_from(buffer.len()).expect("no more than a u32 has asked for");
        // SAFETY: the buffer has room for `length` units.
        let done = unsafe { GetComputerNameExW(format, buffer.as_mut_ptr(), &raw mut length) };
        let length = usize::try_from(length).expect("32 bits fit into 64");
        match (done, Code::last()) {
            (0, Code(ERROR_MORE_DATA)) if length > buffer.len() => buffer.resize(length, 0),
            (0, code) => return Err(code.of("GetComputerNameEx", object)),
            _ => return Ok(text(&buffer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_started_before_now_and_the_same_second_at_each_look() {
        let first = booted().unwrap();
        assert!(first < crate::now(), "{first}");
        assert!(crate::now().as_second() - first.as_second() < 24 * 3_600, "{first}");
        assert_eq!(first.subsec_nanosecond(), 0);
        assert!((0..100).all(|_| booted().unwrap() == first));
    }

    #[test]
    fn the_machine_has_its_names_and_its_system_folder() {
        let name = netbios_name().unwrap();
        assert!(!name.is_empty() && name.len() <= 15 && !name.contains('.'), "{name}");
        assert!(full_name().unwrap().to_ascii_uppercase().starts_with(&name.to_ascii_uppercase()));
        assert!(system_folder().unwrap().join("kernel32.dll").is_file());
        let [major, _, build] = version().unwrap();
        assert!(major >= 6 && build >= 7601, "{major}, {build}");
        assert_eq!(program_data().unwrap(), PathBuf::from(r"C:\ProgramData"));
    }
}
