//! The calls, with the signatures and the errors of winevt.h.

use std::ffi::c_void;
use std::{fs, slice};

use windows_sys::Win32::Foundation::{
    ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_NO_MORE_ITEMS, SetLastError,
};
use windows_sys::Win32::System::EventLog::{EvtQueryChannelPath, EvtQueryReverseDirection, EvtRenderEventXml};

use crate::{Object, channel, open};

/// Tells a test that this is the double, and how many handles are open.
#[unsafe(no_mangle)]
pub extern "system" fn TEST_DOUBLE() -> isize {
    isize::try_from(open().objects.len()).unwrap_or(isize::MAX)
}

/// Asks a channel; a handle of results, or zero.
///
/// # Safety
/// Path and query must be terminated.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn EvtQuery(session: isize, path: *const u16, query: *const u16, flags: u32) -> isize {
    if session != 0 || path.is_null() || query.is_null() || flags & EvtQueryChannelPath == 0 {
        return fail(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: as the caller promises.
    let (path, query) = unsafe { (text(path), text(query)) };
    match channel::ask(&path, &query) {
        Ok(mut events) => {
            if flags & EvtQueryReverseDirection == 0 {
                events.reverse();
            }
            open().add(Object::Results(events))
        }
        Err(code) => fail(code),
    }
}

/// Gives the next events, at most `size`.
///
/// # Safety
/// There must be room for `size` handles and for the count.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn EvtNext(
    results: isize,
    size: u32,
    events: *mut isize,
    _timeout: u32,
    flags: u32,
    returned: *mut u32,
) -> i32 {
    if size == 0 || events.is_null() || returned.is_null() || flags != 0 {
        return fail(ERROR_INVALID_PARAMETER);
    }
    let mut open = open();
    let Some(Object::Results(left)) = open.objects.get_mut(&results) else { return fail(ERROR_INVALID_HANDLE) };
    let count = left.len().min(usize::try_from(size).unwrap_or(usize::MAX));
    let taken: Vec<_> = left.drain(left.len() - count..).rev().collect();
    // SAFETY: the caller has room for `size` handles, and these are no more.
    let room = unsafe { slice::from_raw_parts_mut(events, count) };
    for (place, event) in room.iter_mut().zip(taken) {
        *place = open.add(Object::Event(event));
    }
    // SAFETY: the caller has room for the count.
    unsafe { *returned = u32::try_from(count).unwrap_or(size) };
    if count == 0 { fail(ERROR_NO_MORE_ITEMS) } else { 1 }
}

/// Writes the XML of an event, in UTF-16 and terminated.
///
/// # Safety
/// There must be room for `size` bytes and for both numbers.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn EvtRender(
    context: isize,
    fragment: isize,
    flags: u32,
    size: u32,
    buffer: *mut c_void,
    used: *mut u32,
    properties: *mut u32,
) -> i32 {
    if context != 0 || flags != EvtRenderEventXml || used.is_null() || properties.is_null() {
        return fail(ERROR_INVALID_PARAMETER);
    }
    let open = open();
    let Some(Object::Event(file)) = open.objects.get(&fragment) else { return fail(ERROR_INVALID_HANDLE) };
    let Ok(xml) = fs::read_to_string(file) else { return fail(ERROR_INVALID_HANDLE) };
    let units: Vec<u16> = xml.encode_utf16().chain([0]).collect();
    let needed = u32::try_from(units.len() * 2).unwrap_or(u32::MAX);
    // SAFETY: the caller has room for both numbers.
    unsafe { (*used, *properties) = (needed, 0) };
    if buffer.is_null() || size < needed {
        return fail(ERROR_INSUFFICIENT_BUFFER);
    }
    // SAFETY: the caller has room for `size` bytes, and these are no more.
    unsafe { slice::from_raw_parts_mut(buffer.cast(), units.len()).copy_from_slice(&units) };
    1
}

/// Closes a handle. One that is not open is an error, as for a caller that closes twice.
#[unsafe(no_mangle)]
pub extern "system" fn EvtClose(object: isize) -> i32 {
    match open().objects.remove(&object) {
        Some(_) => 1,
        None => fail(ERROR_INVALID_HANDLE),
    }
}

fn fail<T: Default>(code: u32) -> T {
    // SAFETY: sets a value of the calling thread.
    unsafe { SetLastError(code) };
    T::default()
}

/// # Safety
/// The text must be terminated.
unsafe fn text(place: *const u16) -> String {
    let mut length = 0;
    // SAFETY: no NUL was met before, so this unit belongs to the text or is its NUL.
    while unsafe { *place.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: so many units were just looked at.
    String::from_utf16_lossy(unsafe { slice::from_raw_parts(place, length) })
}
