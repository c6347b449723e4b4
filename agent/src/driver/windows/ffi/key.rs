//! Private keys of the classic providers (CSP), by CryptoAPI: containers of the machine's or a user's key set (EXCHANGE.md 5.4).
//!
//! The private part never leaves its container, and no container is ever taken away but that of rehearsals. No call shows a
//! window: who would answer it?

use std::ffi::c_void;
use std::ptr;

use windows_sys::Win32::Security::Cryptography::{
    AT_KEYEXCHANGE, AT_SIGNATURE, CALG_MD5, CALG_SHA_256, CRYPT_DELETEKEYSET, CRYPT_MACHINE_KEYSET, CRYPT_NEWKEYSET,
    CRYPT_SILENT, CRYPT_VERIFYCONTEXT, CryptAcquireContextW, CryptCreateHash, CryptDestroyHash, CryptDestroyKey, CryptExportKey,
    CryptGenKey, CryptGetHashParam, CryptGetProvParam, CryptGetUserKey, CryptHashData, CryptReleaseContext, CryptSetProvParam,
    CryptSignHashW, HP_HASHVAL, PP_KEYSET_SEC_DESCR, PROV_RSA_AES, PROV_RSA_SCHANNEL, PUBLICKEYBLOB,
};
use windows_sys::Win32::Security::DACL_SECURITY_INFORMATION;

use super::buffer::Buffer;
use super::security::Descriptor;
use super::{Code, Wide};
use crate::driver::rehearse::CONTAINER;

/// The container holds no key of that kind: `NTE_NO_KEY`.
pub const NO_KEY: Code = Code(0x8009_000D);

/// There is a container of this name: `NTE_EXISTS`.
pub const EXISTS: Code = Code(0x8009_000F);

/// There is no container of this name, or none that may be opened: `NTE_BAD_KEYSET` stands for both.
pub const NO_CONTAINER: Code = Code(0x8009_0016);

/// The provider has no such algorithm: `NTE_BAD_ALGID`.
const NO_ALGORITHM: Code = Code(0x8009_0008);

/// Which of the two keys of a container: 1 for key exchange, as TLS wants it, 2 for signatures only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec(u32);

impl Spec {
    /// `AT_KEYEXCHANGE`.
    pub const EXCHANGE: Self = Self(AT_KEYEXCHANGE);
    /// `AT_SIGNATURE`.
    pub const SIGNATURE: Self = Self(AT_SIGNATURE);

    /// The kind of that number; `None` when there is no such kind.
    pub fn of(number: u32) -> Option<Self> {
        [Self::EXCHANGE, Self::SIGNATURE].into_iter().find(|spec| spec.0 == number)
    }
}

/// Where a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub container: String,
    /// The provider; empty for the default one of the type.
    pub provider: String,
    /// The provider's type.
    pub provider_type: u32,
    /// In the key set of the machine, else of the user as whom this process runs.
    pub machine: bool,
}

impl Place {
    /// Where Setup puts keys: the default provider of `PROV_RSA_SCHANNEL`, the machine's key set.
    pub fn vendor(container: &str) -> Self {
        Self { container: container.to_owned(), provider: String::new(), provider_type: PROV_RSA_SCHANNEL, machine: true }
    }
}

/// An open container.
#[derive(Debug)]
pub struct Container {
    handle: usize,
    place: Place,
}

impl Container {
    /// Opens a container.
    ///
    /// # Errors
    /// [`Code`]: [`NO_CONTAINER`], 5 or 0x80090010 without the right.
    pub fn open(place: Place) -> Result<Self, Code> {
        acquire(Some(&place.container), &place, 0).map(|handle| Self { handle, place })
    }

    /// Makes a container without a key.
    ///
    /// # Errors
    /// [`Code`]: [`EXISTS`].
    pub fn create(place: Place) -> Result<Self, Code> {
        acquire(Some(&place.container), &place, CRYPT_NEWKEYSET).map(|handle| Self { handle, place })
    }

    /// Makes an RSA key for key exchange, not exportable. It takes the place of one that is there: the caller has looked.
    ///
    /// # Errors
    /// [`Code`]: 87 for a size that is none.
    pub fn generate(&self, bits: u32) -> Result<(), Code> {
        let bits = u32::from(u16::try_from(bits).map_err(|_| Code(87))?);
        let mut key = 0;
        // SAFETY: the container is open, and `key` receives a handle. No flag: not exportable.
        done(unsafe { CryptGenKey(self.handle, AT_KEYEXCHANGE, bits << 16, &mut key) })?;
        drop(Key(key));
        Ok(())
    }

    /// The public key of that kind, as a `PUBLICKEYBLOB`.
    ///
    /// # Errors
    /// [`Code`]: [`NO_KEY`].
    pub fn public(&self, spec: Spec) -> Result<Vec<u8>, Code> {
        let mut key = 0;
        // SAFETY: the container is open, and `key` receives a handle.
        done(unsafe { CryptGetUserKey(self.handle, spec.0, &mut key) })?;
        let key = Key(key);
        sized(|target, len| {
            // SAFETY: the key is open; the target is null or has room for `len` bytes.
            unsafe { CryptExportKey(key.0, 0, PUBLICKEYBLOB, 0, target.cast(), len) }
        })
    }

    /// Signs with PKCS#1 v1.5 and SHA-256. The signature is big-endian.
    ///
    /// # Errors
    /// [`Code`]: [`NO_KEY`], 5 or 0x80090010 without the right.
    pub fn sign(&self, spec: Spec, message: &[u8]) -> Result<Vec<u8>, Code> {
        let hash = match Hash::of(self.handle, CALG_SHA_256, message) {
            Ok(hash) => return hash.sign(spec),
            // The SChannel provider of some systems knows no SHA-256. Microsoft's providers share their containers, and this
            // one does.
            Err(NO_ALGORITHM) if self.place.provider_type != PROV_RSA_AES => {
                let place = Place { provider: String::new(), provider_type: PROV_RSA_AES, ..self.place.clone() };
                Self::open(place).map_err(|_| NO_ALGORITHM)?
            }
            Err(code) => return Err(code),
        };
        Hash::of(hash.handle, CALG_SHA_256, message)?.sign(spec)
    }

    /// The container's own provider has SHA-256; else [`Container::sign`] signs by another one.
    ///
    /// # Errors
    /// [`Code`] as `CryptCreateHash` gives it.
    pub fn signs_itself(&self) -> Result<bool, Code> {
        match Hash::of(self.handle, CALG_SHA_256, &[]) {
            Ok(_) => Ok(true),
            Err(NO_ALGORITHM) if self.place.provider_type != PROV_RSA_AES => Ok(false),
            Err(code) => Err(code),
        }
    }

    /// Who may use the container: a self-relative security descriptor with its access list.
    ///
    /// # Errors
    /// [`Code`] as `CryptGetProvParam` gives it.
    pub fn descriptor(&self) -> Result<Vec<u8>, Code> {
        sized(|target, len| {
            // SAFETY: the container is open; the target is null or has room for `len` bytes.
            unsafe { CryptGetProvParam(self.handle, PP_KEYSET_SEC_DESCR, target.cast(), len, DACL_SECURITY_INFORMATION) }
        })
    }

    /// Sets who may use the container. Owner and group stay.
    ///
    /// # Errors
    /// [`Code`] as `CryptSetProvParam` gives it.
    pub fn set_descriptor(&self, descriptor: &Descriptor) -> Result<(), Code> {
        // SAFETY: the container is open; the descriptor is whole, says itself how long it is, and lives until the call is over.
        done(unsafe {
            CryptSetProvParam(self.handle, PP_KEYSET_SEC_DESCR, descriptor.as_ptr().cast(), DACL_SECURITY_INFORMATION)
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // SAFETY: opened by `acquire` and released only here; hashes and keys of it are gone by then.
        unsafe { CryptReleaseContext(self.handle, 0) };
    }
}

#[cfg(test)]
impl Container {
    /// The private key, as nobody but a test asks for it.
    pub fn private(&self, spec: Spec) -> Result<Vec<u8>, Code> {
        use windows_sys::Win32::Security::Cryptography::PRIVATEKEYBLOB;
        let mut key = 0;
        // SAFETY: the container is open, and `key` receives a handle.
        done(unsafe { CryptGetUserKey(self.handle, spec.0, &mut key) })?;
        let key = Key(key);
        // SAFETY: the key is open; the target is null or has room for `len` bytes.
        sized(|target, len| unsafe { CryptExportKey(key.0, 0, PRIVATEKEYBLOB, 0, target.cast(), len) })
    }

    /// Takes a container away, as a tool may.
    pub fn delete(place: Place) -> Result<(), Code> {
        // No handle comes of it.
        acquire(Some(&place.container), &place, CRYPT_DELETEKEYSET).map(drop)
    }
}

/// Takes the container of rehearsals away, with the key in it. It takes no name: there is no way to take another one.
///
/// # Errors
/// [`Code`]: [`NO_CONTAINER`] when there is none, or none that may be opened.
pub fn delete_rehearsal() -> Result<(), Code> {
    // No handle comes of it.
    acquire(Some(CONTAINER), &Place::vendor(CONTAINER), CRYPT_DELETEKEYSET).map(drop)
}

/// MD5, by which CryptoAPI names the files of containers. Good for nothing else.
///
/// # Errors
/// [`Code`] when no provider gives it.
pub fn md5(bytes: &[u8]) -> Result<[u8; 16], Code> {
    let place = Place { container: String::new(), provider: String::new(), provider_type: PROV_RSA_AES, machine: false };
    let provider = acquire(None, &place, CRYPT_VERIFYCONTEXT).map(|handle| Container { handle, place })?;
    let hash = Hash::of(provider.handle, CALG_MD5, bytes)?;
    let mut digest = [0; 16];
    let mut len = 16;
    // SAFETY: the hash is open; the target has room for the `len` bytes of an MD5.
    done(unsafe { CryptGetHashParam(hash.0, HP_HASHVAL, digest.as_mut_ptr(), &mut len, 0) })?;
    Ok(digest)
}

fn acquire(container: Option<&str>, place: &Place, flags: u32) -> Result<usize, Code> {
    let container = container.map(Wide::new);
    let provider = (!place.provider.is_empty()).then(|| Wide::new(&place.provider));
    let pointer = |text: &Option<Wide>| text.as_ref().map_or(ptr::null(), Wide::as_ptr);
    let keys = if place.machine { CRYPT_MACHINE_KEYSET } else { 0 };
    let mut handle = 0;
    // SAFETY: the texts are null or terminated and live until the call is over; `handle` receives a handle.
    let acquired = unsafe {
        CryptAcquireContextW(
            &mut handle,
            pointer(&container),
            pointer(&provider),
            place.provider_type,
            flags | keys | CRYPT_SILENT,
        )
    };
    done(acquired).map(|()| handle)
}

/// An open key.
struct Key(usize);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: given by a call that opened it, and closed only here. The key in the container stays.
        unsafe { CryptDestroyKey(self.0) };
    }
}

/// A hash that has taken in its message.
struct Hash(usize);

impl Hash {
    fn of(provider: usize, algorithm: u32, message: &[u8]) -> Result<Self, Code> {
        let len = u32::try_from(message.len()).map_err(|_| Code(87))?;
        let mut hash = 0;
        // SAFETY: the provider is open, and `hash` receives a handle.
        done(unsafe { CryptCreateHash(provider, algorithm, 0, 0, &mut hash) })?;
        let hash = Self(hash);
        // SAFETY: the hash is open, and `len` bytes are read.
        done(unsafe { CryptHashData(hash.0, message.as_ptr(), len, 0) })?;
        Ok(hash)
    }

    fn sign(&self, spec: Spec) -> Result<Vec<u8>, Code> {
        let mut signature = sized(|target, len| {
            // SAFETY: the hash is open; the target is null or has room for `len` bytes; there is no description.
            unsafe { CryptSignHashW(self.0, spec.0, ptr::null(), 0, target.cast(), len) }
        })?;
        // CryptoAPI is little-endian; certificates and TLS are not.
        signature.reverse();
        Ok(signature)
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        // SAFETY: made by the only constructor, and destroyed only here.
        unsafe { CryptDestroyHash(self.0) };
    }
}

/// What a call writes that first says how much.
fn sized(call: impl Fn(*mut c_void, &mut u32) -> i32) -> Result<Vec<u8>, Code> {
    /// Keys, signatures and access lists have a few kilobytes; an access list never has more than this.
    const MOST: u32 = 64 * 1024;
    let mut len = 0;
    done(call(ptr::null_mut(), &mut len))?;
    if len > MOST {
        return Err(Code(234));
    }
    let mut buffer = Buffer::new(len);
    done(call(buffer.as_mut_ptr(), &mut len))?;
    buffer.truncate(len);
    Ok(buffer.bytes().to_vec())
}

fn done(success: i32) -> Result<(), Code> {
    if success == 0 { Err(Code::last()) } else { Ok(()) }
}
