//! The calls of httpapi.dll that configure TLS. All of them are one after the other, in every process: http.sys is one. A call that is
//! slow is so before its turn: what holds it up is not what the others wait for.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_ALREADY_EXISTS, ERROR_CALL_NOT_IMPLEMENTED, ERROR_FILE_NOT_FOUND, ERROR_INSUFFICIENT_BUFFER,
    ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_NO_MORE_ITEMS, ERROR_NO_SUCH_LOGON_SESSION, ERROR_REVISION_MISMATCH,
    HANDLE, NO_ERROR,
};
use windows_sys::Win32::Networking::HttpServer::{
    HTTP_INITIALIZE, HTTP_INITIALIZE_CONFIG, HTTP_INITIALIZE_SERVER, HTTP_SERVICE_CONFIG_ID, HTTP_SERVICE_CONFIG_QUERY_TYPE,
    HTTP_SERVICE_CONFIG_SSL_CCS_QUERY, HTTP_SERVICE_CONFIG_SSL_QUERY, HTTP_SERVICE_CONFIG_SSL_SNI_QUERY, HTTPAPI_VERSION,
    HttpServiceConfigQueryExact, HttpServiceConfigQueryNext,
};
use windows_sys::Win32::System::Threading::{CreateMutexW, INFINITE, ReleaseMutex, WaitForSingleObject};

use crate::record::{self, Kind, Place, Record};
use crate::{certificate, control, store};
use ::control::registry::wide;

/// Tells this library from the real one.
#[unsafe(no_mangle)]
pub static TEST_DOUBLE: u32 = 1;

/// How often this process has initialised it.
static INITIALISED: AtomicU32 = AtomicU32::new(0);

/// How long a SHA-1 is.
const HASH: usize = 20;

/// See its page at Microsoft.
#[unsafe(no_mangle)]
pub extern "system" fn HttpInitialize(version: HTTPAPI_VERSION, flags: HTTP_INITIALIZE, reserved: *mut c_void) -> u32 {
    control::wait("initialize");
    let answer = (|| {
        if let Some(code) = control::fault("initialize") {
            return code;
        }
        let known = flags != 0 && flags & !(HTTP_INITIALIZE_CONFIG | HTTP_INITIALIZE_SERVER) == 0;
        match (version.HttpApiMajorVersion, version.HttpApiMinorVersion) {
            _ if !known || !reserved.is_null() => ERROR_INVALID_PARAMETER,
            (1 | 2, 0) => {
                INITIALISED.fetch_add(1, Ordering::SeqCst);
                NO_ERROR
            }
            _ => ERROR_REVISION_MISMATCH,
        }
    })();
    control::log("initialize", &flags.to_string(), answer);
    answer
}

/// See its page at Microsoft.
#[unsafe(no_mangle)]
pub extern "system" fn HttpTerminate(flags: HTTP_INITIALIZE, reserved: *mut c_void) -> u32 {
    let down = INITIALISED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1));
    let answer = if down.is_err() || !reserved.is_null() { ERROR_INVALID_PARAMETER } else { NO_ERROR };
    control::log("terminate", &flags.to_string(), answer);
    answer
}

/// See its page at Microsoft.
///
/// # Safety
/// As there: `info` has so many bytes, and what it points to is there.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn HttpSetServiceConfiguration(
    handle: HANDLE,
    id: HTTP_SERVICE_CONFIG_ID,
    info: *const c_void,
    length: u32,
    overlapped: *const c_void,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        change("set", (handle, id, info, length, overlapped), |kind, _| match record::record(kind, info) {
            None => ERROR_INVALID_PARAMETER,
            Some(record) => match usable(&record) {
                NO_ERROR if store::find(kind, &record.place).is_some() => ERROR_ALREADY_EXISTS,
                NO_ERROR => store::write(kind, &record),
                code => code,
            },
        })
    }
}

/// See its page at Microsoft.
///
/// # Safety
/// As there: `info` has so many bytes, and what it points to is there.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn HttpUpdateServiceConfiguration(
    handle: HANDLE,
    id: HTTP_SERVICE_CONFIG_ID,
    info: *const c_void,
    length: u32,
    overlapped: *const c_void,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        change("update", (handle, id, info, length, overlapped), |kind, place| match record::record(kind, info) {
            _ if !control::updates() => ERROR_CALL_NOT_IMPLEMENTED,
            None => ERROR_INVALID_PARAMETER,
            Some(_) if store::find(kind, place).is_none() => ERROR_FILE_NOT_FOUND,
            Some(record) => match usable(&record) {
                NO_ERROR => store::write(kind, &record),
                code => code,
            },
        })
    }
}

/// See its page at Microsoft.
///
/// # Safety
/// As there: `info` has so many bytes, and what it points to is there.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn HttpDeleteServiceConfiguration(
    handle: HANDLE,
    id: HTTP_SERVICE_CONFIG_ID,
    info: *const c_void,
    length: u32,
    overlapped: *const c_void,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { change("delete", (handle, id, info, length, overlapped), store::remove) }
}

/// See its page at Microsoft.
///
/// # Safety
/// As there: `input` and `output` have so many bytes, and what the input points to is there.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn HttpQueryServiceConfiguration(
    handle: HANDLE,
    id: HTTP_SERVICE_CONFIG_ID,
    input: *const c_void,
    input_length: u32,
    output: *mut c_void,
    output_length: u32,
    needed: *mut u32,
    overlapped: *const c_void,
) -> u32 {
    control::wait("query");
    let _turn = Turn::take();
    let (mut object, mut answer) = (format!("{id}"), ready(handle, overlapped, "query"));
    if answer == NO_ERROR {
        // SAFETY: the caller's promise.
        let found = match unsafe { question(id, input, input_length) } {
            None => Err(ERROR_INVALID_PARAMETER),
            Some((kind, Question::Exact(place))) => {
                object = format!("{id} {place}");
                store::find(kind, &place).ok_or(ERROR_FILE_NOT_FOUND)
            }
            Some((kind, Question::Next(token))) => {
                object = format!("{id} {token}");
                let records = store::records(kind);
                usize::try_from(token).ok().and_then(|at| records.into_iter().nth(at)).ok_or(ERROR_NO_MORE_ITEMS)
            }
        };
        // SAFETY: the caller's promise.
        answer = found.map_or_else(|code| code, |record| unsafe { give(&record, output, output_length, needed) });
    }
    control::log("query", &object, answer);
    answer
}

/// What a query asks for.
enum Question {
    Exact(Place),
    Next(u32),
}

/// # Safety
/// `input` has so many bytes, and what it points to is there.
unsafe fn question(id: HTTP_SERVICE_CONFIG_ID, input: *const c_void, length: u32) -> Option<(Kind, Question)> {
    let kind = known(id)?;
    let length = usize::try_from(length).ok()?;
    let whole = match kind {
        Kind::Address => size_of::<HTTP_SERVICE_CONFIG_SSL_QUERY>(),
        Kind::Name => size_of::<HTTP_SERVICE_CONFIG_SSL_SNI_QUERY>(),
        Kind::Central => size_of::<HTTP_SERVICE_CONFIG_SSL_CCS_QUERY>(),
    };
    if input.is_null() || length < whole {
        return None;
    }
    let asked = |what: HTTP_SERVICE_CONFIG_QUERY_TYPE, token: u32, place: Option<Place>| {
        if what == HttpServiceConfigQueryNext {
            Some(Question::Next(token))
        } else if what == HttpServiceConfigQueryExact {
            place.map(Question::Exact)
        } else {
            None
        }
    };
    // SAFETY: there are enough bytes of the kind's structure, and what it points to is there. Only an exact query has a key.
    let question = unsafe {
        match kind {
            Kind::Address => {
                let query = &*input.cast::<HTTP_SERVICE_CONFIG_SSL_QUERY>();
                let exact = query.QueryDesc == HttpServiceConfigQueryExact;
                let address = if exact { query.KeyDesc.pIpPort.as_ref() } else { None };
                let place = address.and_then(|address| record::by_address(address)).map(Place::Address);
                asked(query.QueryDesc, query.dwToken, place)
            }
            Kind::Name => {
                let query = &*input.cast::<HTTP_SERVICE_CONFIG_SSL_SNI_QUERY>();
                let exact = query.QueryDesc == HttpServiceConfigQueryExact;
                let place = if exact { record::by_name(&query.KeyDesc.IpPort, query.KeyDesc.Host) } else { None };
                asked(query.QueryDesc, query.dwToken, place)
            }
            Kind::Central => {
                let query = &*input.cast::<HTTP_SERVICE_CONFIG_SSL_CCS_QUERY>();
                asked(query.QueryDesc, query.dwToken, record::central(&query.KeyDesc.LocalAddress))
            }
        }
    };
    question.map(|question| (kind, question))
}

/// # Safety
/// `output` has room for so many bytes, and `needed` for a number, or they are null.
unsafe fn give(record: &Record, output: *mut c_void, room: u32, needed: *mut u32) -> u32 {
    let bytes = record::answer(record, output.addr());
    let Ok(length) = u32::try_from(bytes.len()) else { return ERROR_INVALID_PARAMETER };
    if !needed.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *needed = length };
    }
    if output.is_null() || room < length {
        return ERROR_INSUFFICIENT_BUFFER;
    }
    if !output.addr().is_multiple_of(align_of::<u64>()) {
        return ERROR_INVALID_PARAMETER;
    }
    // SAFETY: the caller's promise: there is room for `room` bytes, which are enough.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), output.cast(), bytes.len()) };
    NO_ERROR
}

/// The parameters of a change.
type Change = (HANDLE, HTTP_SERVICE_CONFIG_ID, *const c_void, u32, *const c_void);

/// # Safety
/// The information has so many bytes, and what it points to is there.
unsafe fn change(call: &str, (handle, id, info, length, overlapped): Change, todo: impl FnOnce(Kind, &Place) -> u32) -> u32 {
    control::wait(call);
    let _turn = Turn::take();
    let (mut object, mut answer) = (format!("{id}"), ready(handle, overlapped, call));
    if answer == NO_ERROR {
        answer = match known(id) {
            Some(_) if info.is_null() => ERROR_INVALID_PARAMETER,
            Some(kind) if usize::try_from(length).is_ok_and(|length| length < kind.length()) => ERROR_INSUFFICIENT_BUFFER,
            // SAFETY: the caller's promise; there are enough bytes of the kind's structure.
            Some(kind) => match unsafe { record::place(kind, info) } {
                Some(place) => {
                    object = place.to_string();
                    control::fault(call).unwrap_or_else(|| todo(kind, &place))
                }
                None => ERROR_INVALID_PARAMETER,
            },
            None => ERROR_INVALID_PARAMETER,
        };
    }
    control::log(call, &object, answer);
    answer
}

/// What is the same for every call on a record.
fn ready(handle: HANDLE, overlapped: *const c_void, call: &str) -> u32 {
    if !handle.is_null() || INITIALISED.load(Ordering::SeqCst) == 0 {
        ERROR_INVALID_HANDLE
    } else if !overlapped.is_null() {
        ERROR_INVALID_PARAMETER
    } else if call == "query" {
        control::fault(call).unwrap_or(NO_ERROR)
    } else {
        NO_ERROR
    }
}

/// The list that an id stands for, if this Windows has it.
fn known(id: HTTP_SERVICE_CONFIG_ID) -> Option<Kind> {
    Kind::of(id).filter(|kind| *kind == Kind::Address || !control::is_old())
}

/// Whether the record's certificate can be served. The central store's are not named by records.
fn usable(record: &Record) -> u32 {
    match record.place {
        Place::Central(_) => NO_ERROR,
        Place::Address(_) | Place::Name(..) if record.hash.len() != HASH => ERROR_INVALID_PARAMETER,
        Place::Address(_) | Place::Name(..) => {
            let store = record.store.as_deref().unwrap_or("MY");
            if certificate::is_usable(store, &record.hash) { NO_ERROR } else { ERROR_NO_SUCH_LOGON_SESSION }
        }
    }
}

/// The right to be the one who changes records.
struct Turn(HANDLE);

impl Turn {
    fn take() -> Self {
        let name = wide(r"Global\TestDouble httpapi");
        // SAFETY: the name is terminated; no attributes are given.
        let mutex = unsafe { CreateMutexW(ptr::null(), 0, name.as_ptr()) };
        // SAFETY: a mutex, or null, for which the wait fails at once. One that its process left by dying is ours too.
        unsafe { WaitForSingleObject(mutex, INFINITE) };
        Self(mutex)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // SAFETY: the mutex is ours, and used no more.
        unsafe {
            ReleaseMutex(self.0);
            CloseHandle(self.0);
        }
    }
}
