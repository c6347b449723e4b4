//! Whether a certificate can be served: it is in the named store of the machine, and its key opens.

use std::ptr;

use windows_sys::Win32::Security::Cryptography::{
    CERT_CONTEXT, CERT_FIND_SHA1_HASH, CERT_KEY_PROV_INFO_PROP_ID, CERT_STORE_OPEN_EXISTING_FLAG, CERT_STORE_PROV_SYSTEM_W,
    CERT_STORE_READONLY_FLAG, CERT_SYSTEM_STORE_LOCAL_MACHINE, CRYPT_INTEGER_BLOB, CRYPT_KEY_PROV_INFO, CRYPT_MACHINE_KEYSET,
    CRYPT_SILENT, CertCloseStore, CertFindCertificateInStore, CertFreeCertificateContext, CertGetCertificateContextProperty,
    CertOpenStore, CryptAcquireContextW, CryptReleaseContext, PKCS_7_ASN_ENCODING, X509_ASN_ENCODING,
};

use ::control::registry::wide;

/// Whether the store of the machine holds the certificate, with a key of the machine that opens.
pub(crate) fn is_usable(store: &str, hash: &[u8]) -> bool {
    let name = wide(store);
    let flags = CERT_SYSTEM_STORE_LOCAL_MACHINE | CERT_STORE_OPEN_EXISTING_FLAG | CERT_STORE_READONLY_FLAG;
    // SAFETY: the provider takes a terminated name.
    let store = unsafe { CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, flags, name.as_ptr().cast()) };
    if store.is_null() {
        return false;
    }
    let Ok(length) = u32::try_from(hash.len()) else { return false };
    let wanted = CRYPT_INTEGER_BLOB { cbData: length, pbData: hash.as_ptr().cast_mut() };
    let encoding = X509_ASN_ENCODING | PKCS_7_ASN_ENCODING;
    // SAFETY: the store is open, and the hash lives through the call, which only reads it.
    let found =
        unsafe { CertFindCertificateInStore(store, encoding, 0, CERT_FIND_SHA1_HASH, (&raw const wanted).cast(), ptr::null()) };
    let opens = !found.is_null() && key_opens(found);
    // SAFETY: both are open, or null, which the calls take; they are used no more.
    unsafe {
        CertFreeCertificateContext(found);
        CertCloseStore(store, 0);
    }
    opens
}

fn key_opens(certificate: *const CERT_CONTEXT) -> bool {
    let mut length = 0;
    // SAFETY: the certificate is open; only the length is asked for.
    unsafe { CertGetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, ptr::null_mut(), &raw mut length) };
    let Ok(room) = usize::try_from(length) else { return false };
    if room < size_of::<CRYPT_KEY_PROV_INFO>() {
        return false;
    }
    // In words: the structure wants eight bytes each.
    let mut buffer = vec![0_u64; room.div_ceil(size_of::<u64>())];
    let data = buffer.as_mut_ptr().cast();
    // SAFETY: the certificate is open, and there is room for `length` bytes.
    if unsafe { CertGetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, data, &raw mut length) } == 0 {
        return false;
    }
    // SAFETY: the call has written one, whose pointers lead into the buffer.
    let link = unsafe { &*buffer.as_ptr().cast::<CRYPT_KEY_PROV_INFO>() };
    if link.dwProvType == 0 || link.dwFlags & CRYPT_MACHINE_KEYSET == 0 {
        return false;
    }
    let mut provider = 0;
    let flags = CRYPT_MACHINE_KEYSET | CRYPT_SILENT;
    let name = if link.pwszProvName.is_null() || is_empty(link.pwszProvName) { ptr::null() } else { link.pwszProvName };
    // SAFETY: both names are terminated or null.
    let opened = unsafe { CryptAcquireContextW(&raw mut provider, link.pwszContainerName, name, link.dwProvType, flags) } != 0;
    if opened {
        // SAFETY: it was just opened and is used no more.
        unsafe { CryptReleaseContext(provider, 0) };
    }
    opened
}

fn is_empty(text: *const u16) -> bool {
    // SAFETY: a terminated text has a first unit.
    unsafe { *text == 0 }
}
