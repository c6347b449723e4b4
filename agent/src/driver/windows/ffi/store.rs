//! Certificate stores of the local machine, as CryptoAPI keeps them (EXCHANGE.md 1.1, 1.9, 5.4).
//!
//! Whatever a tool has written into a store comes out as plain data or as a [`Damaged`](super::property::Damaged), never as a
//! pointer. Every change is committed before its call returns: a store that writes at once ignores that, and Wine's writes only
//! then. Nothing here takes a certificate out of a store, but [`remove_from_root`].

use std::ptr;

use policy::id::Thumbprint;
use windows_sys::Win32::Security::Cryptography::{
    CERT_FIND_SHA1_HASH, CERT_STORE_ADD_NEW, CERT_STORE_CTRL_COMMIT, CERT_STORE_CTRL_COMMIT_FORCE_FLAG,
    CERT_STORE_ENUM_ARCHIVED_FLAG, CERT_STORE_OPEN_EXISTING_FLAG, CERT_STORE_PROV_SYSTEM_W, CERT_STORE_READONLY_FLAG,
    CERT_SYSTEM_STORE_LOCAL_MACHINE, CRYPT_INTEGER_BLOB, CertAddCertificateContextToStore, CertCloseStore, CertControlStore,
    CertDeleteCertificateFromStore, CertEnumCertificatesInStore, CertFindCertificateInStore, CertOpenStore, HCERTSTORE,
    X509_ASN_ENCODING,
};

use self::context::Context;
use super::{Code, Wide};
use crate::driver::system::Stored;

mod context;

pub use self::context::Found;

/// There is no such object: `CRYPT_E_NOT_FOUND`.
pub const NOT_FOUND: Code = Code(0x8009_2004);

/// A store that does not exist: `ERROR_FILE_NOT_FOUND`.
const NO_STORE: Code = Code(2);

/// An enumeration that is over, as some stores say it: `ERROR_NO_MORE_FILES`.
const NO_MORE: Code = Code(18);

/// A store that has nothing to commit, a system that has no such property: `ERROR_CALL_NOT_IMPLEMENTED`.
const NO_SUCH_CALL: Code = Code(120);

/// An open store of the local machine.
#[derive(Debug)]
pub struct CertStore(HCERTSTORE);

impl CertStore {
    /// Opens a store to read it; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`Code`] as `CertOpenStore` gives it.
    pub fn existing(name: &str) -> Result<Option<Self>, Code> {
        match Self::open(name, CERT_STORE_OPEN_EXISTING_FLAG | CERT_STORE_READONLY_FLAG) {
            Ok(store) => Ok(Some(store)),
            Err(NO_STORE) => Ok(None),
            Err(code) => Err(code),
        }
    }

    /// Opens a store to change it, and makes it when there is none, as every tool does.
    ///
    /// # Errors
    /// [`Code`] as `CertOpenStore` gives it: 5 without the right to write.
    pub fn to_change(name: &str) -> Result<Self, Code> {
        Self::open(name, 0)
    }

    /// Opens a store to change what is in it.
    ///
    /// # Errors
    /// [`Code`] as `CertOpenStore` gives it: 2 when there is none of this name.
    pub fn existing_to_change(name: &str) -> Result<Self, Code> {
        Self::open(name, CERT_STORE_OPEN_EXISTING_FLAG)
    }

    fn open(name: &str, flags: u32) -> Result<Self, Code> {
        let name = Wide::new(name);
        // Archived certificates are still found by hash, so they must be seen (EXCHANGE.md F7).
        let flags = flags | CERT_SYSTEM_STORE_LOCAL_MACHINE | CERT_STORE_ENUM_ARCHIVED_FLAG;
        // SAFETY: this provider takes a terminated name, which lives until the call is over.
        let store = unsafe { CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, flags, name.as_ptr().cast()) };
        if store.is_null() { Err(Code::last()) } else { Ok(Self(store)) }
    }

    /// Every certificate of the store, archived ones too, in the store's order.
    ///
    /// # Errors
    /// [`Code`] when the enumeration broke off: half a list would mislead.
    pub fn all(&self) -> Result<Vec<Found>, Code> {
        let mut found = Vec::new();
        let mut previous = None;
        loop {
            let last = previous.take().map_or(ptr::null(), Context::into_raw);
            // SAFETY: the store is open; the context is null or the one that the call gave last, and the call takes it over.
            let context = unsafe { CertEnumCertificatesInStore(self.0, last) };
            if context.is_null() {
                break;
            }
            // SAFETY: the call has just opened it, and nobody else has it.
            let context = unsafe { Context::opened(context) };
            found.push(context.read());
            previous = Some(context);
        }
        match Code::last() {
            Code(0) | NOT_FOUND | NO_MORE => Ok(found),
            code => Err(code),
        }
    }

    /// Puts a certificate into the store, or gives the one that is there the properties of `entry`. A certificate appears with
    /// its properties: nobody sees one whose key is not yet linked.
    ///
    /// # Errors
    /// [`Code`] when something was not done: 5 without the right, `CRYPT_E_ASN1_*` for bytes that Windows does not take for a
    /// certificate.
    pub fn add(&self, entry: &Stored) -> Result<(), Code> {
        if let Some(present) = self.find(Thumbprint::of(&entry.der.0))? {
            present.describe(entry)?;
        } else {
            let made = Context::new(&entry.der.0)?;
            made.describe(entry)?;
            // SAFETY: store and context are open, and no new context is asked for.
            done(unsafe { CertAddCertificateContextToStore(self.0, made.as_ptr(), CERT_STORE_ADD_NEW, ptr::null_mut()) })?;
        }
        self.commit()
    }

    /// Sets the archived mark, or takes it off.
    ///
    /// # Errors
    /// [`Code`]: [`NOT_FOUND`] when the certificate is not there.
    pub fn mark_archived(&self, thumbprint: Thumbprint, archived: bool) -> Result<(), Code> {
        self.find(thumbprint)?.ok_or(NOT_FOUND)?.mark_archived(archived)?;
        self.commit()
    }

    fn find(&self, thumbprint: Thumbprint) -> Result<Option<Context>, Code> {
        let Thumbprint(mut hash) = thumbprint;
        let wanted = CRYPT_INTEGER_BLOB { cbData: 20, pbData: hash.as_mut_ptr() };
        let wanted: *const CRYPT_INTEGER_BLOB = &raw const wanted;
        // SAFETY: the store is open; a search by hash takes a blob, and it and its bytes live until the call is over.
        let context =
            unsafe { CertFindCertificateInStore(self.0, X509_ASN_ENCODING, 0, CERT_FIND_SHA1_HASH, wanted.cast(), ptr::null()) };
        if !context.is_null() {
            // SAFETY: the call has just opened it, and nobody else has it.
            return Ok(Some(unsafe { Context::opened(context) }));
        }
        match Code::last() {
            NOT_FOUND => Ok(None),
            code => Err(code),
        }
    }

    fn commit(&self) -> Result<(), Code> {
        // SAFETY: the store is open, and this control takes no parameter.
        let committed =
            done(unsafe { CertControlStore(self.0, CERT_STORE_CTRL_COMMIT_FORCE_FLAG, CERT_STORE_CTRL_COMMIT, ptr::null()) });
        match committed {
            Err(NO_SUCH_CALL) => Ok(()),
            other => other,
        }
    }
}

impl Drop for CertStore {
    fn drop(&mut self) {
        // SAFETY: opened by the only constructor and closed only here; contexts keep what they need of it.
        unsafe { CertCloseStore(self.0, 0) };
    }
}

#[cfg(test)]
impl CertStore {
    /// Takes a certificate out of any store, as an administrator may.
    pub fn delete(name: &str, thumbprint: Thumbprint) -> Result<(), Code> {
        remove(name, thumbprint)
    }

    /// Sets a friendly name of whatever bytes.
    pub fn rename(&self, thumbprint: Thumbprint, bytes: &[u8]) -> Result<(), Code> {
        self.find(thumbprint)?.ok_or(NOT_FOUND)?.rename(bytes)?;
        self.commit()
    }
}

/// Takes a certificate out of Root: the only store from which one is ever taken. It need not be there.
///
/// # Errors
/// [`Code`] when it is still there.
pub fn remove_from_root(thumbprint: Thumbprint) -> Result<(), Code> {
    remove("Root", thumbprint)
}

fn remove(name: &str, thumbprint: Thumbprint) -> Result<(), Code> {
    let store = CertStore::existing_to_change(name)?;
    let Some(present) = store.find(thumbprint)? else { return Ok(()) };
    let context = present.into_raw();
    // SAFETY: the context is open, and the call takes it over, even when it fails.
    done(unsafe { CertDeleteCertificateFromStore(context) })?;
    store.commit()
}

fn done(success: i32) -> Result<(), Code> {
    if success == 0 { Err(Code::last()) } else { Ok(()) }
}
