//! Security descriptors of folders, as text; and whose account this process has.

use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{CloseHandle, ERROR_SUCCESS, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW, SDDL_REVISION_1, SE_FILE_OBJECT,
    SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACL, CheckTokenMembership, CreateWellKnownSid, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl,
    GetSecurityDescriptorOwner, GetTokenInformation, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, SECURITY_MAX_SID_SIZE, SetFileSecurityW, TOKEN_QUERY, TOKEN_USER, TokenUser,
    WinBuiltinAdministratorsSid,
};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::core::PWSTR;

use super::{last, wide};
use crate::Code;
use crate::service::access::Account;

/// Makes a folder with this descriptor from its first moment on. [`Code`] 183 when there is one, or a file.
pub(crate) fn create(path: &Path, sddl: &str) -> Result<(), Code> {
    let descriptor = Descriptor::parse(sddl)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).expect("24 fits"),
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    let path = wide(path);
    // SAFETY: the path is terminated; attributes and descriptor live through the call.
    if unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) } == 0 { Err(last()) } else { Ok(()) }
}

/// The owner and the access list of a folder.
pub(crate) fn read(path: &Path) -> Result<String, Code> {
    let path = wide(path);
    let parts = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the path is terminated; of the results only the descriptor is asked for, and it is written where it has room.
    let code = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            parts,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(Code(code));
    }
    let descriptor = Descriptor(descriptor);
    let mut text: PWSTR = ptr::null_mut();
    // SAFETY: the descriptor is whole; the text is written where it has room, its length is not asked for.
    let done = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(descriptor.0, SDDL_REVISION_1, parts, &raw mut text, ptr::null_mut())
    };
    if done == 0 { Err(last()) } else { Ok(Text(text).read()) }
}

/// Gives a folder, and by inheritance what is in it, this access list, and this owner if the text names one.
///
/// The first call hands the list down to what is in the folder. The second sets exactly this list, and changes nothing on Windows: Wine adds
/// the list of the folder above in the first, even to one that is protected from it.
pub(crate) fn write(path: &Path, sddl: &str) -> Result<(), Code> {
    let descriptor = Descriptor::parse(sddl)?;
    let owner = descriptor.owner()?;
    let dacl = descriptor.dacl()?;
    let mut parts = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    if !owner.is_null() {
        parts |= OWNER_SECURITY_INFORMATION;
    }
    let path = wide(path);
    // SAFETY: the path is terminated; owner and list point into the descriptor, which lives through the call.
    let code = unsafe { SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, parts, owner, ptr::null_mut(), dacl, ptr::null()) };
    if code != ERROR_SUCCESS {
        return Err(Code(code));
    }
    let parts = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the path is terminated, the descriptor is whole and lives through the call.
    if unsafe { SetFileSecurityW(path.as_ptr(), parts, descriptor.0) } == 0 { Err(last()) } else { Ok(()) }
}

/// Whose account this process has.
pub(crate) fn account() -> Result<Account, Code> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: the handle of the own process is always valid; the token is written where it has room.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(last());
    }
    let token = Token(token);
    // The structure, and behind it the identifier that it points to; aligned as a pointer needs it.
    let mut buffer = [0_u64; 16];
    let room = u32::try_from(size_of_val(&buffer)).expect("128 fits");
    let mut length = 0;
    // SAFETY: the token is open; the buffer has room for `room` bytes, which is more than the structure and the longest
    // identifier.
    let done = unsafe { GetTokenInformation(token.0, TokenUser, buffer.as_mut_ptr().cast(), room, &raw mut length) };
    if done == 0 {
        return Err(last());
    }
    // SAFETY: the call has written a `TOKEN_USER` at the start of the buffer, which is aligned for it.
    let user = unsafe { buffer.as_ptr().cast::<TOKEN_USER>().read() };
    let mut text: PWSTR = ptr::null_mut();
    // SAFETY: the identifier lies in the buffer, which lives; the text is written where it has room.
    if unsafe { ConvertSidToStringSidW(user.User.Sid, &raw mut text) } == 0 {
        return Err(last());
    }
    Ok(Account { sid: Text(text).read(), is_administrator: is_administrator()? })
}

/// The Administrators are among the groups of this process, and in force.
fn is_administrator() -> Result<bool, Code> {
    let mut sid = [0_u32; SECURITY_MAX_SID_SIZE as usize / 4];
    let mut length = SECURITY_MAX_SID_SIZE;
    // SAFETY: the buffer has room for the longest identifier, and is aligned for one.
    let done =
        unsafe { CreateWellKnownSid(WinBuiltinAdministratorsSid, ptr::null_mut(), sid.as_mut_ptr().cast(), &raw mut length) };
    if done == 0 {
        return Err(last());
    }
    let mut member = 0;
    // SAFETY: no token means that of this thread; the identifier is whole; the answer is written where it has room.
    let done = unsafe { CheckTokenMembership(ptr::null_mut(), sid.as_mut_ptr().cast(), &raw mut member) };
    if done == 0 { Err(last()) } else { Ok(member != 0) }
}

/// A security descriptor in one piece, of Windows' own memory. Freed when it is dropped.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn parse(sddl: &str) -> Result<Self, Code> {
        let text = wide(sddl);
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text is terminated; the descriptor is written where it has room, its size is not asked for.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if done == 0 { Err(last()) } else { Ok(Self(descriptor)) }
    }

    /// Points into the descriptor; null when it names none.
    fn owner(&self) -> Result<PSID, Code> {
        let (mut owner, mut defaulted) = (ptr::null_mut(), 0);
        // SAFETY: the descriptor is whole; the results are written where they have room.
        let done = unsafe { GetSecurityDescriptorOwner(self.0, &raw mut owner, &raw mut defaulted) };
        if done == 0 { Err(last()) } else { Ok(owner) }
    }

    /// Points into the descriptor.
    fn dacl(&self) -> Result<*const ACL, Code> {
        let (mut dacl, mut present, mut defaulted) = (ptr::null_mut(), 0, 0);
        // SAFETY: as for the owner.
        let done = unsafe { GetSecurityDescriptorDacl(self.0, &raw mut present, &raw mut dacl, &raw mut defaulted) };
        match (done, present) {
            (0, _) => Err(last()),
            // No list would let everybody in.
            (_, 0) => Err(Code(87)),
            _ => Ok(dacl),
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: Windows allocated it with `LocalAlloc` for this type, and it is used no more.
        unsafe { LocalFree(self.0) };
    }
}

/// Text of Windows' own memory. Freed when it is dropped.
struct Text(PWSTR);

impl Text {
    fn read(&self) -> String {
        let mut length = 0;
        // SAFETY: the text ends with a NUL, and nothing behind that is read.
        while unsafe { self.0.add(length).read() } != 0 {
            length += 1;
        }
        // SAFETY: so many units were just read, and nobody writes to them.
        String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(self.0, length) })
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: as for a descriptor.
        unsafe { LocalFree(self.0.cast()) };
    }
}

/// A token, open. Closed when it is dropped.
struct Token(HANDLE);

impl Drop for Token {
    fn drop(&mut self) {
        // SAFETY: the handle was opened for this type and is used no more.
        unsafe { CloseHandle(self.0) };
    }
}
