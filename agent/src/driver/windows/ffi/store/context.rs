//! One certificate of a store: what it says, and how it is made to say something else.

use std::ffi::c_void;
use std::ptr;

use policy::report::KeyLink;
use windows_sys::Win32::Foundation::SetLastError;
use windows_sys::Win32::Security::Cryptography::{
    CERT_ARCHIVED_PROP_ID, CERT_CONTEXT, CERT_FRIENDLY_NAME_PROP_ID, CERT_KEY_PROV_INFO_PROP_ID, CRYPT_INTEGER_BLOB,
    CRYPT_KEY_PROV_INFO, CertCreateCertificateContext, CertFreeCertificateContext, CertGetCertificateContextProperty,
    CertSetCertificateContextProperty, X509_ASN_ENCODING,
};

use super::{NO_SUCH_CALL, NOT_FOUND, done};
use crate::driver::system::Stored;
use crate::driver::windows::ffi::buffer::Buffer;
use crate::driver::windows::ffi::property::{self, Damaged};
use crate::driver::windows::ffi::{Code, Wide};

/// The property grew between two calls: `ERROR_MORE_DATA`.
const MORE: Code = Code(234);

/// A property that is a blob.
#[derive(Clone, Copy)]
struct Blob(u32);

const NAME: Blob = Blob(CERT_FRIENDLY_NAME_PROP_ID);
const ARCHIVED: Blob = Blob(CERT_ARCHIVED_PROP_ID);

/// A certificate as a store holds it. A property that does not read spoils nothing but itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub der: Vec<u8>,
    /// Its friendly name.
    pub friendly_name: Result<Option<String>, Damaged>,
    /// Where its private key is said to be.
    pub key: Result<Option<KeyLink>, Damaged>,
    /// Marked archived.
    pub archived: bool,
}

/// A certificate of a store, or one in no store yet. Open as long as this lives.
pub(super) struct Context(*const CERT_CONTEXT);

impl Context {
    /// A certificate in no store.
    pub(super) fn new(der: &[u8]) -> Result<Self, Code> {
        let len = u32::try_from(der.len()).map_err(|_| Code(87))?;
        // SAFETY: reads `len` bytes, which live until the call is over; it makes a copy.
        let context = unsafe { CertCreateCertificateContext(X509_ASN_ENCODING, der.as_ptr(), len) };
        if context.is_null() { Err(Code::last()) } else { Ok(Self(context)) }
    }

    /// One that a call has just opened for this caller.
    ///
    /// # Safety
    /// It must be open, and nobody else may free it.
    pub(super) unsafe fn opened(context: *const CERT_CONTEXT) -> Self {
        Self(context)
    }

    /// The context itself, as long as this lives.
    pub(super) fn as_ptr(&self) -> *const CERT_CONTEXT {
        self.0
    }

    /// For a call that takes the context over.
    pub(super) fn into_raw(self) -> *const CERT_CONTEXT {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    /// Gives it the properties of `entry`. What is so already is left alone: a key link may carry parameters of its provider.
    pub(super) fn describe(&self, entry: &Stored) -> Result<(), Code> {
        let Found { der: _, friendly_name, key, archived } = self.read();
        if friendly_name.as_ref() != Ok(&entry.friendly_name) {
            self.name(entry.friendly_name.as_deref())?;
        }
        if key.as_ref() != Ok(&entry.key) {
            self.link(entry.key.as_ref())?;
        }
        if archived != entry.archived {
            self.mark_archived(entry.archived)?;
        }
        Ok(())
    }

    fn name(&self, name: Option<&str>) -> Result<(), Code> {
        let bytes = name.map(|name| name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        self.set_bytes(NAME, bytes.as_deref())
    }

    /// Sets the archived mark, or takes it off.
    pub(super) fn mark_archived(&self, archived: bool) -> Result<(), Code> {
        self.set_bytes(ARCHIVED, archived.then_some(&[]))
    }

    #[cfg(test)]
    pub(super) fn rename(&self, bytes: &[u8]) -> Result<(), Code> {
        self.set_bytes(NAME, Some(bytes))
    }

    /// Sets one of the properties that are blobs, or takes it off.
    fn set_bytes(&self, property: Blob, bytes: Option<&[u8]>) -> Result<(), Code> {
        let Some(bytes) = bytes else { return self.clear(property.0) };
        let len = u32::try_from(bytes.len()).map_err(|_| Code(87))?;
        let blob = CRYPT_INTEGER_BLOB { cbData: len, pbData: bytes.as_ptr().cast_mut() };
        // SAFETY: the property is a blob, whose bytes live until the call is over.
        unsafe { self.set(property.0, &raw const blob) }
    }

    fn link(&self, link: Option<&KeyLink>) -> Result<(), Code> {
        let Some(KeyLink { container, provider, provider_type, flags, key_spec }) = link else {
            return self.clear(CERT_KEY_PROV_INFO_PROP_ID);
        };
        let container = Wide::new(container);
        // Setup names no provider, which stands for the default one of the type.
        let provider = (!provider.is_empty()).then(|| Wide::new(provider));
        let info = CRYPT_KEY_PROV_INFO {
            pwszContainerName: container.as_ptr().cast_mut(),
            pwszProvName: provider.as_ref().map_or(ptr::null_mut(), |provider| provider.as_ptr().cast_mut()),
            dwProvType: *provider_type,
            dwFlags: *flags,
            cProvParam: 0,
            rgProvParam: ptr::null_mut(),
            dwKeySpec: *key_spec,
        };
        // SAFETY: the property is such a structure, whose texts live until the call is over.
        unsafe { self.set(CERT_KEY_PROV_INFO_PROP_ID, &raw const info) }
    }

    fn clear(&self, property: u32) -> Result<(), Code> {
        // SAFETY: null takes off any property.
        unsafe { self.set::<c_void>(property, ptr::null()) }
    }

    /// Sets a property.
    ///
    /// # Safety
    /// The value must be what the property is made of, or null, and live with all to which it points until this returns.
    unsafe fn set<T>(&self, property: u32, value: *const T) -> Result<(), Code> {
        // A system without the property fails without a word, and must not be taken at an older one.
        // SAFETY: writes a value of the calling thread and has no preconditions.
        unsafe { SetLastError(0) };
        // SAFETY: the context is open; of the value the caller has promised what is needed, and the call makes a copy.
        match done(unsafe { CertSetCertificateContextProperty(self.0, property, 0, value.cast()) }) {
            Err(Code(0)) => Err(NO_SUCH_CALL),
            set => set,
        }
    }

    /// What it says.
    pub(super) fn read(&self) -> Found {
        // SAFETY: an open context is a valid structure, which nothing changes.
        let CERT_CONTEXT { pbCertEncoded, cbCertEncoded, .. } = unsafe { *self.0 };
        let len = usize::try_from(cbCertEncoded).unwrap_or(0);
        let der = if pbCertEncoded.is_null() || len == 0 {
            Vec::new()
        } else {
            // SAFETY: the context owns so many bytes at this place, as long as it is open.
            unsafe { std::slice::from_raw_parts(pbCertEncoded, len) }.to_vec()
        };
        let name = self.property(NAME.0).map(|read| read.map(|read| property::name(read.bytes())));
        let link = |read: Buffer| property::link(read.bytes());
        let key = self.property(CERT_KEY_PROV_INFO_PROP_ID).and_then(|read| read.map(link).transpose());
        // The mark is the property itself; its content says nothing.
        let archived = !matches!(self.property(ARCHIVED.0), Ok(None));
        Found { der, friendly_name: name, key, archived }
    }

    /// A property as it stands; `None` when there is none.
    fn property(&self, id: u32) -> Result<Option<Buffer>, Damaged> {
        // Somebody may set a longer one between the two calls; nobody does so for ever.
        for _ in 0..4 {
            let mut len = 0;
            if let Err(code) = self.fill(id, None, &mut len) {
                return if code == NOT_FOUND { Ok(None) } else { Err(Damaged::Refused(code)) };
            }
            if len > property::LONGEST {
                return Err(Damaged::TooLong(len));
            }
            let mut buffer = Buffer::new(len);
            match self.fill(id, Some(&mut buffer), &mut len) {
                Ok(()) => {
                    buffer.truncate(len);
                    return Ok(Some(buffer));
                }
                Err(NOT_FOUND) => return Ok(None),
                Err(MORE) => {}
                Err(code) => return Err(Damaged::Refused(code)),
            }
        }
        Err(Damaged::Refused(MORE))
    }

    /// Writes a property into a buffer of `len` bytes, or only its length.
    fn fill(&self, id: u32, target: Option<&mut Buffer>, len: &mut u32) -> Result<(), Code> {
        let target = target.map_or(ptr::null_mut(), Buffer::as_mut_ptr);
        // SAFETY: the context is open; the target is null, or has room for `len` bytes and is aligned for every structure.
        done(unsafe { CertGetCertificateContextProperty(self.0, id, target, len) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: a context that nobody else frees: `into_raw` forgets the guard.
        unsafe { CertFreeCertificateContext(self.0) };
    }
}
