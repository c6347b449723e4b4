//! A file put in the place of another, whole or not at all; and who may use a file.

use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, LocalFree};
use windows_sys::Win32::Security::Authorization::{GetNamedSecurityInfoW, SE_FILE_OBJECT, SetNamedSecurityInfoW};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, EqualSid, GetFileSecurityW, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
};
use windows_sys::Win32::Storage::FileSystem::ReplaceFileW;

use super::buffer::Buffer;
use super::{Code, Wide};
use crate::driver::DriverError;

/// Puts `new` in the place of `old`, which must be there. Name, times of creation, attributes and access list of the old file stay, as
/// `ReplaceFile` has it; its owner stays too, which `ReplaceFile` says nothing of.
///
/// # Errors
/// [`DriverError::Refused`]: 32 where another program holds one of the two. The old file is then still in its place.
pub fn replace(old: &Path, new: &Path) -> Result<(), DriverError> {
    let object = || old.display().to_string();
    let (before, after) = (owner(old)?, owner(new)?);
    // SAFETY: both point into descriptors that live.
    if unsafe { EqualSid(before.sid, after.sid) } == 0 {
        let path = Wide::new(new);
        // SAFETY: the path is terminated, the identifier lives, and only the owner is set.
        let code = unsafe {
            SetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION,
                before.sid,
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
            )
        };
        if code != ERROR_SUCCESS {
            return Err(Code(code).of("SetNamedSecurityInfo", object()));
        }
    }
    let (replaced, replacement) = (Wide::new(old), Wide::new(new));
    // SAFETY: both paths are terminated; no copy of the old file is kept; what is reserved is null.
    let done = unsafe { ReplaceFileW(replaced.as_ptr(), replacement.as_ptr(), ptr::null(), 0, ptr::null(), ptr::null()) };
    if done == 0 { Err(Code::last().of("ReplaceFile", object())) } else { Ok(()) }
}

/// The access list of a file or folder, as a self-relative security descriptor.
///
/// # Errors
/// [`DriverError::Refused`].
pub fn access_list(path: &Path) -> Result<Vec<u8>, DriverError> {
    let refused = || Code::last().of("GetFileSecurity", path.display().to_string());
    let name = Wide::new(path);
    let mut needed = 0;
    // SAFETY: the path is terminated; nothing is written but how much is needed.
    unsafe { GetFileSecurityW(name.as_ptr(), DACL_SECURITY_INFORMATION, ptr::null_mut(), 0, &raw mut needed) };
    if !(1..=MOST).contains(&needed) {
        return Err(refused());
    }
    let mut list = Buffer::new(needed);
    // SAFETY: the path is terminated; the buffer has room for that many bytes and is aligned.
    let done = unsafe { GetFileSecurityW(name.as_ptr(), DACL_SECURITY_INFORMATION, list.as_mut_ptr(), needed, &raw mut needed) };
    if done == 0 { Err(refused()) } else { Ok(list.bytes().to_vec()) }
}

/// An access list has at most 64 KiB, and little stands around it.
const MOST: u32 = 128 * 1024;

/// Who owns a file.
struct Owner {
    sid: PSID,
    descriptor: PSECURITY_DESCRIPTOR,
}

fn owner(path: &Path) -> Result<Owner, DriverError> {
    let name = Wide::new(path);
    let (mut sid, mut descriptor): (PSID, PSECURITY_DESCRIPTOR) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the path is terminated; only the owner is asked for, and both results are written where they have room.
    let code = unsafe {
        GetNamedSecurityInfoW(
            name.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut sid,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if code == ERROR_SUCCESS && !sid.is_null() {
        Ok(Owner { sid, descriptor })
    } else {
        Err(Code(code).of("GetNamedSecurityInfo", path.display().to_string()))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: the descriptor came from `GetNamedSecurityInfo`, and neither it nor the identifier in it is used any more.
        unsafe { LocalFree(self.descriptor) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_new_file_stands_under_the_old_name() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.config"), folder.path().join("new.config"));
        fs::write(&old, "old").unwrap();
        fs::write(&new, "new").unwrap();
        replace(&old, &new).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "new");
        assert!(!new.exists());
    }

    #[test]
    fn a_folder_says_who_may_use_it_and_one_that_is_not_there_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let list = access_list(folder.path()).unwrap();
        assert!(!crate::driver::windows::ffi::security::entries(&list).unwrap().is_empty());
        assert!(matches!(access_list(&folder.path().join("none")), Err(DriverError::Refused { code: 2, .. })));
    }

    #[test]
    fn nothing_is_put_where_nothing_was_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.config"), folder.path().join("new.config"));
        fs::write(&new, "new").unwrap();
        assert!(matches!(replace(&old, &new), Err(DriverError::Refused { code: 2, .. })));
        assert_eq!(fs::read_to_string(&new).unwrap(), "new");
        fs::rename(&new, &old).unwrap();
        assert!(matches!(replace(&old, &new), Err(DriverError::Refused { code: 2, .. })));
        assert_eq!(fs::read_to_string(&old).unwrap(), "new");
    }
}
