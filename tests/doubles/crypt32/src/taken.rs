//! The calls that know the archived mark, and those that a test makes fail.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use control::{Control, Fault};
use windows_sys::Win32::Foundation::{CRYPT_E_NOT_FOUND, ERROR_INVALID_PARAMETER, SetLastError};
use windows_sys::Win32::Security::Cryptography::{
    CERT_ARCHIVED_PROP_ID, CERT_AUTO_ENROLL_PROP_ID, CERT_CONTEXT, CERT_FIND_HASH, CERT_STORE_ENUM_ARCHIVED_FLAG,
    CERT_STORE_READONLY_FLAG, CERT_SYSTEM_STORE_LOCAL_MACHINE, CRYPT_INTEGER_BLOB, HCERTSTORE,
};

use crate::passed::real;

const CONTROL: Control = Control("crypt32");

/// A store of the machine, to read it.
const TO_READ: u32 = CERT_SYSTEM_STORE_LOCAL_MACHINE | CERT_STORE_READONLY_FLAG;

/// Where the mark is kept.
const KEPT: u32 = CERT_AUTO_ENROLL_PROP_ID;

/// The stores that show what is archived, by handle. One that is closed stays: its handle is opened anew before it is used again.
static SHOWING: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// Tells a test that this is the double.
#[unsafe(no_mangle)]
pub extern "system" fn TEST_DOUBLE() -> isize {
    1
}

/// Opens a store.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertOpenStore(
    provider: *const u8,
    encoding: u32,
    reserved: usize,
    flags: u32,
    parameter: *const c_void,
) -> HCERTSTORE {
    type Call = unsafe extern "system" fn(*const u8, u32, usize, u32, *const c_void) -> HCERTSTORE;
    if flags & TO_READ == TO_READ {
        CONTROL.wait("read");
        if let Some(Fault::Fail(code)) = CONTROL.fault("read") {
            fail(code);
            return ptr::null_mut();
        }
    }
    // SAFETY: the call has this signature, and what it is given is the caller's.
    let store = unsafe { real::<Call>(c"CertOpenStore")(provider, encoding, reserved, flags, parameter) };
    if !store.is_null() {
        let mut showing = SHOWING.lock().unwrap_or_else(PoisonError::into_inner);
        if flags & CERT_STORE_ENUM_ARCHIVED_FLAG == 0 {
            showing.remove(&store.addr());
        } else {
            showing.insert(store.addr());
        }
    }
    store
}

/// The next certificate of a store.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertEnumCertificatesInStore(
    store: HCERTSTORE,
    mut previous: *const CERT_CONTEXT,
) -> *const CERT_CONTEXT {
    type Call = unsafe extern "system" fn(HCERTSTORE, *const CERT_CONTEXT) -> *const CERT_CONTEXT;
    loop {
        // SAFETY: the call has this signature; the context is the caller's, or the one that the call gave last.
        previous = unsafe { real::<Call>(c"CertEnumCertificatesInStore")(store, previous) };
        // SAFETY: null, or just opened.
        if previous.is_null() || shows(store) || !unsafe { archived(previous) } {
            return previous;
        }
    }
}

/// The next certificate of a store that meets a condition.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertFindCertificateInStore(
    store: HCERTSTORE,
    encoding: u32,
    flags: u32,
    by: u32,
    wanted: *const c_void,
    mut previous: *const CERT_CONTEXT,
) -> *const CERT_CONTEXT {
    type Call = unsafe extern "system" fn(HCERTSTORE, u32, u32, u32, *const c_void, *const CERT_CONTEXT) -> *const CERT_CONTEXT;
    loop {
        // SAFETY: the call has this signature; the context is the caller's, or the one that the call gave last.
        previous = unsafe { real::<Call>(c"CertFindCertificateInStore")(store, encoding, flags, by, wanted, previous) };
        // SAFETY: null, or just opened.
        if previous.is_null() || by == CERT_FIND_HASH || shows(store) || !unsafe { archived(previous) } {
            return previous;
        }
    }
}

/// Reads a property.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertGetCertificateContextProperty(
    context: *const CERT_CONTEXT,
    property: u32,
    data: *mut c_void,
    length: *mut u32,
) -> i32 {
    if property != CERT_ARCHIVED_PROP_ID {
        // SAFETY: as the caller promises.
        return unsafe { read(context, property, data, length) };
    }
    // SAFETY: the context is open.
    if !unsafe { archived(context) } {
        return fail(CRYPT_E_NOT_FOUND.cast_unsigned());
    }
    // SAFETY: the caller has room for the length.
    unsafe { *length = 0 };
    1
}

/// Sets a property, or takes it off.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSetCertificateContextProperty(
    context: *const CERT_CONTEXT,
    property: u32,
    flags: u32,
    data: *const c_void,
) -> i32 {
    type Call = unsafe extern "system" fn(*const CERT_CONTEXT, u32, u32, *const c_void) -> i32;
    let call = real::<Call>(c"CertSetCertificateContextProperty");
    if property != CERT_ARCHIVED_PROP_ID {
        // SAFETY: as the caller promises.
        return unsafe { call(context, property, flags, data) };
    }
    if let Some(answer) = faulted("archive") {
        return answer;
    }
    let mut content = 1_u8;
    let kept = CRYPT_INTEGER_BLOB { cbData: 1, pbData: &raw mut content };
    if data.is_null() {
        // SAFETY: the context is open, and null takes off any property.
        return unsafe { call(context, KEPT, flags, ptr::null()) };
    }
    // SAFETY: what is not null is a blob.
    let CRYPT_INTEGER_BLOB { cbData, pbData } = unsafe { *data.cast() };
    if cbData > 0 && pbData.is_null() {
        return fail(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: the context is open; the blob and its byte live until the call is over.
    unsafe { call(context, KEPT, flags, (&raw const kept).cast()) }
}

/// Puts a certificate into a store.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertAddCertificateContextToStore(
    store: HCERTSTORE,
    context: *const CERT_CONTEXT,
    how: u32,
    added: *mut *mut CERT_CONTEXT,
) -> i32 {
    type Call = unsafe extern "system" fn(HCERTSTORE, *const CERT_CONTEXT, u32, *mut *mut CERT_CONTEXT) -> i32;
    if let Some(answer) = faulted("add") {
        return answer;
    }
    // SAFETY: the call has this signature, and what it is given is the caller's.
    unsafe { real::<Call>(c"CertAddCertificateContextToStore")(store, context, how, added) }
}

/// Takes a certificate out of its store. The context is freed, whatever comes of it.
///
/// # Safety
/// As for the call of that name.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertDeleteCertificateFromStore(context: *const CERT_CONTEXT) -> i32 {
    type Call = unsafe extern "system" fn(*const CERT_CONTEXT) -> i32;
    if let Some(answer) = faulted("remove") {
        // SAFETY: the call has this signature, and the context is the caller's to give away.
        unsafe { real::<Call>(c"CertFreeCertificateContext")(context) };
        return answer;
    }
    // SAFETY: as above.
    unsafe { real::<Call>(c"CertDeleteCertificateFromStore")(context) }
}

/// What a test wants this call to answer without doing anything.
fn faulted(call: &str) -> Option<i32> {
    CONTROL.wait(call);
    CONTROL.fault(call).map(|fault| match fault {
        Fault::Fail(code) => fail(code),
        Fault::Lie => 1,
    })
}

fn shows(store: HCERTSTORE) -> bool {
    SHOWING.lock().unwrap_or_else(PoisonError::into_inner).contains(&store.addr())
}

/// # Safety
/// The context must be open.
unsafe fn archived(context: *const CERT_CONTEXT) -> bool {
    let mut length = 0;
    // SAFETY: the context is open, and only the length is asked for.
    unsafe { read(context, KEPT, ptr::null_mut(), &raw mut length) != 0 }
}

/// # Safety
/// As for `CertGetCertificateContextProperty`.
unsafe fn read(context: *const CERT_CONTEXT, property: u32, data: *mut c_void, length: *mut u32) -> i32 {
    type Call = unsafe extern "system" fn(*const CERT_CONTEXT, u32, *mut c_void, *mut u32) -> i32;
    // SAFETY: the call has this signature, and what it is given is as the caller promises.
    unsafe { real::<Call>(c"CertGetCertificateContextProperty")(context, property, data, length) }
}

fn fail(code: u32) -> i32 {
    // SAFETY: sets a value of the calling thread.
    unsafe { SetLastError(code) };
    0
}
