//! DPAPI: bytes that only this machine can open.

use std::ffi::c_void;
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::last;
use crate::Code;

/// Nobody is there to be asked; and the machine's key, not that of an account: the service may be given another one.
const FLAGS: u32 = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;

/// What only this machine, given the same entropy, opens again.
pub(crate) fn protect(plain: &[u8], entropy: &[u8]) -> Result<Zeroizing<Vec<u8>>, Code> {
    let (plain, entropy) = (blob(plain), blob(entropy));
    let mut sealed = nothing();
    // SAFETY: both inputs live through the call, which only reads them; there is room for a result; nothing else is given.
    let done = unsafe {
        CryptProtectData(&raw const plain, ptr::null(), &raw const entropy, ptr::null(), ptr::null(), FLAGS, &raw mut sealed)
    };
    if done == 0 { Err(last()) } else { Ok(taken(&sealed)) }
}

/// What was sealed here with the same entropy.
pub(crate) fn unprotect(sealed: &[u8], entropy: &[u8]) -> Result<Zeroizing<Vec<u8>>, Code> {
    let (sealed, entropy) = (blob(sealed), blob(entropy));
    let mut plain = nothing();
    // SAFETY: as in `protect`; the description is not asked for.
    let done = unsafe {
        CryptUnprotectData(
            &raw const sealed,
            ptr::null_mut(),
            &raw const entropy,
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut plain,
        )
    };
    if done == 0 { Err(last()) } else { Ok(taken(&plain)) }
}

fn blob(bytes: &[u8]) -> CRYPT_INTEGER_BLOB {
    CRYPT_INTEGER_BLOB {
        cbData: u32::try_from(bytes.len()).expect("keys and names are small"),
        pbData: bytes.as_ptr().cast_mut(),
    }
}

fn nothing() -> CRYPT_INTEGER_BLOB {
    CRYPT_INTEGER_BLOB { cbData: 0, pbData: ptr::null_mut() }
}

/// Copies what the call gave, overwrites it and gives it back.
fn taken(blob: &CRYPT_INTEGER_BLOB) -> Zeroizing<Vec<u8>> {
    if blob.pbData.is_null() {
        return Zeroizing::default();
    }
    let length = usize::try_from(blob.cbData).expect("32 bits fit into 64");
    // SAFETY: the call allocated that many bytes there and wrote them, and nobody else knows of them.
    let bytes = unsafe { std::slice::from_raw_parts_mut(blob.pbData, length) };
    let copy = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    // SAFETY: the memory came from the call, which asks for it to be freed so, and is used no more.
    unsafe { LocalFree(blob.pbData.cast::<c_void>()) };
    copy
}
