//! What every object is: a table of methods, a count, and what it says.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use windows_sys::Win32::Foundation::{E_NOINTERFACE, E_NOTIMPL, E_POINTER, S_OK};
use windows_sys::core::{GUID, HRESULT};

use crate::said::Said;

const UNKNOWN: GUID = GUID::from_u128(0x0000_0000_0000_0000_c000_0000_0000_0046);

/// The methods of one interface, in their order.
pub(crate) struct Table<const N: usize>(pub(crate) [*const c_void; N]);

// SAFETY: addresses of functions, the same for every thread.
unsafe impl<const N: usize> Sync for Table<N> {}

/// An object; it begins with the address of its table.
#[repr(C)]
pub(crate) struct Object {
    table: *const c_void,
    interface: GUID,
    count: AtomicU32,
    says: Said,
}

impl Object {
    /// Writes a new one, held once, to where the caller wants it.
    ///
    /// # Safety
    /// The table must be that of the interface, and `place` null or room for a pointer.
    pub(crate) unsafe fn give<const N: usize>(
        table: &'static Table<N>,
        interface: GUID,
        says: Said,
        place: *mut *mut c_void,
    ) -> HRESULT {
        if place.is_null() {
            return E_POINTER;
        }
        let object = Self { table: table.0.as_ptr().cast(), interface, count: AtomicU32::new(1), says };
        // SAFETY: there is room for a pointer.
        unsafe { *place = Box::into_raw(Box::new(object)).cast() };
        S_OK
    }

    /// What the object at `this` says.
    ///
    /// # Safety
    /// `this` must be an object that is held, and stay so as long as the answer is used.
    pub(crate) unsafe fn says<'a>(this: *mut c_void) -> &'a Said {
        // SAFETY: as the caller promises.
        let object: &Self = unsafe { &*this.cast() };
        &object.says
    }
}

pub(crate) unsafe extern "system" fn query_interface(this: *mut c_void, wanted: *const GUID, place: *mut *mut c_void) -> HRESULT {
    if wanted.is_null() || place.is_null() {
        return E_POINTER;
    }
    // SAFETY: an object that is held, and a GUID.
    let (object, wanted) = unsafe { (&*this.cast::<Object>(), &*wanted) };
    let same =
        |one: &GUID| (one.data1, one.data2, one.data3, one.data4) == (wanted.data1, wanted.data2, wanted.data3, wanted.data4);
    let found = if same(&UNKNOWN) || same(&object.interface) { this } else { ptr::null_mut() };
    // SAFETY: there is room for a pointer.
    unsafe { *place = found };
    if found.is_null() {
        return E_NOINTERFACE;
    }
    object.count.fetch_add(1, Ordering::Relaxed);
    S_OK
}

pub(crate) unsafe extern "system" fn add_ref(this: *mut c_void) -> u32 {
    // SAFETY: an object that is held.
    let object: &Object = unsafe { &*this.cast() };
    object.count.fetch_add(1, Ordering::Relaxed) + 1
}

pub(crate) unsafe extern "system" fn release(this: *mut c_void) -> u32 {
    // SAFETY: an object that is held.
    let object: &Object = unsafe { &*this.cast() };
    let left = object.count.fetch_sub(1, Ordering::AcqRel) - 1;
    if left == 0 {
        // SAFETY: made as a box, and nobody holds it any more.
        drop(unsafe { Box::from_raw(this.cast::<Object>()) });
    }
    left
}

/// A method that nobody here calls.
pub(crate) extern "system" fn absent() -> HRESULT {
    E_NOTIMPL
}
