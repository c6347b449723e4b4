//! Private keys of key storage providers (CNG). Exchange wants none of these (EXCHANGE.md 1.3), but a tool may have put one on a
//! port, and then it is looked at, and its certificate can be put back.

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr;
use std::sync::OnceLock;

use policy::id::Sha256;
use windows_sys::Win32::Security::Cryptography::{
    BCRYPT_PAD_PKCS1, BCRYPT_PKCS1_PADDING_INFO, BCRYPT_RSAPUBLIC_BLOB, NCRYPT_MACHINE_KEY_FLAG, NCRYPT_PERSIST_FLAG,
    NCRYPT_SECURITY_DESCR_PROPERTY, NCRYPT_SILENT_FLAG,
};
use windows_sys::Win32::Security::DACL_SECURITY_INFORMATION;

use super::buffer::Buffer;
use super::library::Library;
use super::security::Descriptor;
use super::{Code, Wide};

/// The provider that comes with Windows and keeps its keys in files.
pub const SOFTWARE: &str = "Microsoft Software Key Storage Provider";

/// The provider cannot do that: `NTE_NOT_SUPPORTED`.
pub const NOT_SUPPORTED: Code = Code(0x8009_0029);

/// No call of this name in the library: `ERROR_PROC_NOT_FOUND`.
const NO_CALL: Code = Code(127);

/// More than any key, signature or access list has, in bytes.
const MOST: u32 = 64 * 1024;

/// A call before its signature is known.
type Entry = unsafe extern "system" fn() -> isize;

type OpenProvider = unsafe extern "system" fn(*mut usize, *const u16, u32) -> i32;
type OpenKey = unsafe extern "system" fn(usize, *mut usize, *const u16, u32, u32) -> i32;
type Export = unsafe extern "system" fn(usize, usize, *const u16, *const c_void, *mut u8, u32, *mut u32, u32) -> i32;
type Sign = unsafe extern "system" fn(usize, *const c_void, *const u8, u32, *mut u8, u32, *mut u32, u32) -> i32;
type Read = unsafe extern "system" fn(usize, *const u16, *mut u8, u32, *mut u32, u32) -> i32;
type Write = unsafe extern "system" fn(usize, *const u16, *const u8, u32, u32) -> i32;
type Free = unsafe extern "system" fn(usize) -> i32;

/// The calls of ncrypt.dll that are needed here.
#[derive(Debug, Clone, Copy)]
struct Calls {
    open_provider: OpenProvider,
    open_key: OpenKey,
    export: Export,
    sign: Sign,
    read: Read,
    write: Write,
    free: Free,
}

impl Calls {
    /// Loaded once: a library stays loaded as long as the process.
    fn loaded() -> Result<Self, Code> {
        static LOADED: OnceLock<Result<Calls, Code>> = OnceLock::new();
        *LOADED.get_or_init(Self::load)
    }

    fn load() -> Result<Self, Code> {
        let library = Library::system("ncrypt.dll")?;
        let call = |name| library.entry(name).ok_or(NO_CALL);
        // SAFETY, for each: the call of this name has this signature (ncrypt.h), and the library is never unloaded.
        Ok(Self {
            // SAFETY: as above.
            open_provider: unsafe { transmute::<Entry, OpenProvider>(call(c"NCryptOpenStorageProvider")?) },
            // SAFETY: as above.
            open_key: unsafe { transmute::<Entry, OpenKey>(call(c"NCryptOpenKey")?) },
            // SAFETY: as above.
            export: unsafe { transmute::<Entry, Export>(call(c"NCryptExportKey")?) },
            // SAFETY: as above.
            sign: unsafe { transmute::<Entry, Sign>(call(c"NCryptSignHash")?) },
            // SAFETY: as above.
            read: unsafe { transmute::<Entry, Read>(call(c"NCryptGetProperty")?) },
            // SAFETY: as above.
            write: unsafe { transmute::<Entry, Write>(call(c"NCryptSetProperty")?) },
            // SAFETY: as above.
            free: unsafe { transmute::<Entry, Free>(call(c"NCryptFreeObject")?) },
        })
    }
}

/// A provider or a key, open.
#[derive(Debug)]
struct Handle {
    calls: Calls,
    handle: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: opened by the call that this was made from, and freed only here.
        unsafe { (self.calls.free)(self.handle) };
    }
}

/// An open key of a key storage provider.
#[derive(Debug)]
pub struct StoredKey {
    key: Handle,
    /// Freed after the key, in order of declaration.
    _provider: Handle,
}

impl StoredKey {
    /// Opens the key of this name. `spec` is what a key link says of it: 1 and 2 for keys with a kind of the classic providers.
    ///
    /// # Errors
    /// [`Code`]: 0x80090016 when there is no such key; 126 when this Windows has no CNG.
    pub fn open(provider: &str, name: &str, spec: u32, machine: bool) -> Result<Self, Code> {
        let calls = Calls::loaded()?;
        let (provider, name) = (Wide::new(provider), Wide::new(name));
        let mut handle = 0;
        // SAFETY: the name is terminated and lives until the call is over; `handle` receives a handle.
        done(unsafe { (calls.open_provider)(&mut handle, provider.as_ptr(), 0) })?;
        let provider = Handle { calls, handle };
        let spec = if matches!(spec, 1 | 2) { spec } else { 0 };
        let flags = if machine { NCRYPT_MACHINE_KEY_FLAG } else { 0 } | NCRYPT_SILENT_FLAG;
        let mut handle = 0;
        // SAFETY: the provider is open, the name is terminated and lives until the call is over; `handle` receives a handle.
        done(unsafe { (calls.open_key)(provider.handle, &mut handle, name.as_ptr(), spec, flags) })?;
        Ok(Self { key: Handle { calls, handle }, _provider: provider })
    }

    /// The public key, as a `BCRYPT_RSAPUBLIC_BLOB`.
    ///
    /// # Errors
    /// [`Code`]: [`NOT_SUPPORTED`] and others when it is no RSA key.
    pub fn public(&self) -> Result<Vec<u8>, Code> {
        sized(|target, room, len| {
            // SAFETY: the key is open, the public part is exported to nobody's key and without parameters; the target is null or
            // has so much room.
            unsafe {
                (self.key.calls.export)(
                    self.key.handle,
                    0,
                    BCRYPT_RSAPUBLIC_BLOB,
                    ptr::null(),
                    target,
                    room,
                    len,
                    NCRYPT_SILENT_FLAG,
                )
            }
        })
    }

    /// Signs with PKCS#1 v1.5 and SHA-256. The signature is big-endian.
    ///
    /// # Errors
    /// [`Code`] as `NCryptSignHash` gives it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Code> {
        let Sha256(digest) = Sha256::of(message);
        let algorithm = Wide::new("SHA256");
        let padding = BCRYPT_PKCS1_PADDING_INFO { pszAlgId: algorithm.as_ptr() };
        let padding: *const BCRYPT_PKCS1_PADDING_INFO = &raw const padding;
        let flags = BCRYPT_PAD_PKCS1 | NCRYPT_SILENT_FLAG;
        sized(|target, room, len| {
            // SAFETY: the key is open; this padding takes such a structure, and it, its text and the 32 bytes of the digest live
            // until the call is over; the target is null or has so much room.
            unsafe { (self.key.calls.sign)(self.key.handle, padding.cast(), digest.as_ptr(), 32, target, room, len, flags) }
        })
    }

    /// Who may use the key: a self-relative security descriptor with its access list.
    ///
    /// # Errors
    /// [`Code`] as `NCryptGetProperty` gives it.
    pub fn descriptor(&self) -> Result<Vec<u8>, Code> {
        let flags = DACL_SECURITY_INFORMATION | NCRYPT_SILENT_FLAG;
        sized(|target, room, len| {
            // SAFETY: the key is open, the name is terminated; the target is null or has so much room.
            unsafe { (self.key.calls.read)(self.key.handle, NCRYPT_SECURITY_DESCR_PROPERTY, target, room, len, flags) }
        })
    }

    /// Sets who may use the key. Owner and group stay.
    ///
    /// # Errors
    /// [`Code`] as `NCryptSetProperty` gives it.
    pub fn set_descriptor(&self, descriptor: &Descriptor) -> Result<(), Code> {
        let (value, len) = (descriptor.as_ptr().cast(), descriptor.len());
        let flags = DACL_SECURITY_INFORMATION | NCRYPT_PERSIST_FLAG | NCRYPT_SILENT_FLAG;
        // SAFETY: the key is open, the name is terminated; the descriptor has so many bytes and lives until the call is over.
        done(unsafe { (self.key.calls.write)(self.key.handle, NCRYPT_SECURITY_DESCR_PROPERTY, value, len, flags) })
    }
}

/// What a call writes that first says how much.
fn sized(call: impl Fn(*mut u8, u32, &mut u32) -> i32) -> Result<Vec<u8>, Code> {
    let mut len = 0;
    done(call(ptr::null_mut(), 0, &mut len))?;
    if len > MOST {
        return Err(Code(234));
    }
    let mut buffer = Buffer::new(len);
    done(call(buffer.as_mut_ptr().cast(), len, &mut len))?;
    buffer.truncate(len);
    Ok(buffer.bytes().to_vec())
}

fn done(status: i32) -> Result<(), Code> {
    if status < 0 { Err(Code(status.cast_unsigned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use policy::report::Access;

    use super::super::security;
    use super::*;
    use crate::driver::windows::rsa;

    type Create = unsafe extern "system" fn(usize, *mut usize, *const u16, *const u16, u32, u32) -> i32;
    type Finish = unsafe extern "system" fn(usize, u32) -> i32;

    /// A new key that nobody keeps: the only kind that every system has.
    fn fleeting() -> StoredKey {
        let calls = Calls::loaded().unwrap();
        let library = Library::system("ncrypt.dll").unwrap();
        let entry = |name| library.entry(name).unwrap();
        // SAFETY: the call of this name has this signature.
        let create = unsafe { transmute::<Entry, Create>(entry(c"NCryptCreatePersistedKey")) };
        // SAFETY: the call of this name has this signature.
        let finish = unsafe { transmute::<Entry, Finish>(entry(c"NCryptFinalizeKey")) };
        let (software, algorithm, length) = (Wide::new(SOFTWARE), Wide::new("RSA"), Wide::new("Length"));
        let mut handle = 0;
        // SAFETY: the name is terminated; `handle` receives a handle.
        done(unsafe { (calls.open_provider)(&mut handle, software.as_ptr(), 0) }).unwrap();
        let provider = Handle { calls, handle };
        let mut handle = 0;
        // SAFETY: the provider is open, the algorithm terminated, and the key has no name; `handle` receives a handle.
        done(unsafe { create(provider.handle, &mut handle, algorithm.as_ptr(), ptr::null(), 0, 0) }).unwrap();
        let key = Handle { calls, handle };
        let bits = 2048_u32.to_le_bytes();
        // SAFETY: the key is open, the name terminated, and the value has four bytes.
        done(unsafe { (calls.write)(key.handle, length.as_ptr(), bits.as_ptr(), 4, 0) }).unwrap();
        // SAFETY: the key is open.
        done(unsafe { finish(key.handle, 0) }).unwrap();
        StoredKey { key, _provider: provider }
    }

    #[test]
    fn a_key_signs_and_its_public_part_verifies() {
        let key = fleeting();
        let public = rsa::of_cng(&key.public().unwrap()).unwrap();
        let signature = key.sign(b"message").unwrap();
        let verifier = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        verifier.verify(b"message", &signature).unwrap();
        assert!(verifier.verify(b"another", &signature).is_err());
    }

    #[test]
    fn a_descriptor_reads_back_as_it_was_set() {
        let key = fleeting();
        let access = [Access { sid: "S-1-5-18".to_owned(), mask: 0x1F_01FF }];
        key.set_descriptor(&Descriptor::of(&access).unwrap()).unwrap();
        assert_eq!(security::entries(&key.descriptor().unwrap()).unwrap(), access);
    }

    #[test]
    fn a_provider_that_is_not_there_is_an_error() {
        assert!(StoredKey::open("No Such Provider", "key", 0, true).is_err());
    }
}
