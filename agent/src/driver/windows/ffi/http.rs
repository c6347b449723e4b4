//! The configuration of http.sys through httpapi.dll: which certificate is served at which endpoint.
//!
//! Version 1.0 of the API, which every Windows that runs Exchange has (Microsoft: "HTTP Server API", `HttpInitialize` with
//! `HTTP_INITIALIZE_CONFIG`). Records by server name and of the central store exist from Windows Server 2012 on; an older one
//! has none of them. A record is replaced in one call from Windows 10 1703 and Server 2019 on; see [`Http::update`].
//!
//! What http.sys answers is a buffer with pointers into itself. Each pointer is compared with the buffer before anything behind it
//! is read (`answer.rs`).

use std::ffi::{CStr, c_void};
use std::ptr;

use policy::report::RecordKind;
use uuid::Uuid;
use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_FILE_NOT_FOUND, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_PARAMETER, ERROR_NO_MORE_ITEMS,
    ERROR_NOT_FOUND, ERROR_NOT_SUPPORTED, ERROR_PROC_NOT_FOUND, HANDLE, NO_ERROR,
};
use windows_sys::Win32::Networking::HttpServer::{
    HTTP_INITIALIZE, HTTP_INITIALIZE_CONFIG, HTTP_SERVICE_CONFIG_ID, HTTP_SERVICE_CONFIG_QUERY_TYPE, HTTPAPI_VERSION,
    HttpServiceConfigQueryExact, HttpServiceConfigQueryNext, HttpServiceConfigSSLCertInfo, HttpServiceConfigSslCcsCertInfo,
    HttpServiceConfigSslSniCertInfo,
};

use self::answer::Answer;
pub use self::at::At;
use super::Code;
use super::library::Library;
use crate::driver::DriverError;

mod answer;
mod at;
#[cfg(test)]
pub(crate) mod double;
mod request;

/// The most records of one kind.
const MAX_RECORDS: u32 = 100_000;

/// The largest record, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A record: all that `HTTP_SERVICE_CONFIG_SSL_PARAM` holds, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How it is found.
    pub at: At,
    /// `pSslHash`: SHA-1 of the certificate; empty where there is none.
    pub hash: Vec<u8>,
    /// `AppId`.
    pub app_id: Uuid,
    /// `pSslCertStoreName`.
    pub store: Option<String>,
    /// `DefaultCertCheckMode`.
    pub check_mode: u32,
    /// `DefaultRevocationFreshnessTime`, in seconds.
    pub freshness: u32,
    /// `DefaultRevocationUrlRetrievalTimeout`, in milliseconds.
    pub url_timeout: u32,
    /// `pDefaultSslCtlIdentifier`.
    pub ctl_identifier: Option<String>,
    /// `pDefaultSslCtlStoreName`.
    pub ctl_store: Option<String>,
    /// `DefaultFlags`.
    pub flags: u32,
}

type Initialize = unsafe extern "system" fn(HTTPAPI_VERSION, HTTP_INITIALIZE, *mut c_void) -> u32;
type Terminate = unsafe extern "system" fn(HTTP_INITIALIZE, *mut c_void) -> u32;
/// `HttpSetServiceConfiguration`, `HttpDeleteServiceConfiguration` and `HttpUpdateServiceConfiguration`.
type Change = unsafe extern "system" fn(HANDLE, HTTP_SERVICE_CONFIG_ID, *const c_void, u32, *const c_void) -> u32;
type Query = unsafe extern "system" fn(
    HANDLE,
    HTTP_SERVICE_CONFIG_ID,
    *const c_void,
    u32,
    *mut c_void,
    u32,
    *mut u32,
    *const c_void,
) -> u32;

/// The configuration API, initialised until this is dropped.
#[derive(Debug)]
pub struct Http {
    terminate: Terminate,
    query: Query,
    set: Change,
    delete: Change,
    update: Option<Change>,
}

impl Http {
    /// Loads and initialises the API.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 126 where there is no httpapi.dll, or as the API gives it.
    pub fn open() -> Result<Self, DriverError> {
        let library = Library::system("httpapi.dll").map_err(|code| code.of("LoadLibraryEx", "httpapi.dll"))?;
        // SAFETY: the types are those of http.h; `*const c_void` stands for `LPOVERLAPPED`, which is reserved and null.
        let (initialize, http) = unsafe {
            (
                std::mem::transmute::<Entrance, Initialize>(needed(library, c"HttpInitialize")?),
                Self {
                    terminate: std::mem::transmute::<Entrance, Terminate>(needed(library, c"HttpTerminate")?),
                    query: std::mem::transmute::<Entrance, Query>(needed(library, c"HttpQueryServiceConfiguration")?),
                    set: std::mem::transmute::<Entrance, Change>(needed(library, c"HttpSetServiceConfiguration")?),
                    delete: std::mem::transmute::<Entrance, Change>(needed(library, c"HttpDeleteServiceConfiguration")?),
                    update: std::mem::transmute::<Option<Entrance>, Option<Change>>(
                        library.entry(c"HttpUpdateServiceConfiguration"),
                    ),
                },
            )
        };
        let version = HTTPAPI_VERSION { HttpApiMajorVersion: 1, HttpApiMinorVersion: 0 };
        // SAFETY: no memory is handed over; the last parameter is reserved and null.
        match unsafe { initialize(version, HTTP_INITIALIZE_CONFIG, ptr::null_mut()) } {
            NO_ERROR => Ok(http),
            code => {
                // What was not initialised is not terminated.
                std::mem::forget(http);
                Err(Code(code).of("HttpInitialize", "the configuration of http.sys"))
            }
        }
    }

    /// All records of a kind, in the order of http.sys; none where this Windows does not know the kind.
    ///
    /// # Errors
    /// [`DriverError`] as the API gives it, or when its answer does not read.
    pub fn entries(&self, kind: RecordKind) -> Result<Vec<Entry>, DriverError> {
        let object = || format!("records of http.sys, kind {kind:?}");
        let mut entries = Vec::new();
        for token in 0..MAX_RECORDS {
            match self.ask(kind, HttpServiceConfigQueryNext, None, token) {
                Ok(answer) => entries.push(answer.entry(kind)?),
                Err(Code(ERROR_NO_MORE_ITEMS)) => return Ok(entries),
                Err(Code(ERROR_INVALID_PARAMETER)) if token == 0 && kind != RecordKind::Address => return Ok(entries),
                Err(code) => return Err(code.of(QUERY, object())),
            }
        }
        let (expected, found) = (format!("at most {MAX_RECORDS}"), "more".to_owned());
        Err(DriverError::Unreadable { object: object(), expected, found })
    }

    /// The record at exactly this endpoint; `None` where there is none.
    ///
    /// # Errors
    /// As [`Http::entries`].
    pub fn entry(&self, at: &At) -> Result<Option<Entry>, DriverError> {
        let kind = at.kind();
        match self.ask(kind, HttpServiceConfigQueryExact, Some(at), 0) {
            Ok(answer) => answer.entry(kind).map(Some),
            Err(Code(ERROR_FILE_NOT_FOUND | ERROR_NOT_FOUND)) => Ok(None),
            Err(Code(ERROR_INVALID_PARAMETER)) if kind != RecordKind::Address => Ok(None),
            Err(code) => Err(code.of(QUERY, at.to_string())),
        }
    }

    /// Writes a record where none is.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 183 where one is, 1312 where its certificate or key cannot be used, 5 for one who may not.
    pub fn set(&self, entry: &Entry) -> Result<(), DriverError> {
        done(call(self.set, entry)).map_err(|code| code.of("HttpSetServiceConfiguration", entry.at.to_string()))
    }

    /// Puts a record in place of the one at its endpoint, at once. False where this Windows has no such call, and nothing was done.
    ///
    /// A Windows that has the call and answers 50 or 120, which is to say that it does not do it, is taken for one without.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 2 where there is none, 1312 where its certificate or key cannot be used.
    pub fn update(&self, entry: &Entry) -> Result<bool, DriverError> {
        let Some(update) = self.update else { return Ok(false) };
        match call(update, entry) {
            NO_ERROR => Ok(true),
            ERROR_CALL_NOT_IMPLEMENTED | ERROR_NOT_SUPPORTED => Ok(false),
            code => Err(Code(code).of("HttpUpdateServiceConfiguration", entry.at.to_string())),
        }
    }

    /// Whether httpapi.dll has `HttpUpdateServiceConfiguration`. One that has it may still say that it does not do it; see
    /// [`Http::update`].
    pub fn replaces(&self) -> bool {
        self.update.is_some()
    }

    /// Removes the record at an endpoint.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 2 where there is none.
    pub fn delete(&self, at: &At) -> Result<(), DriverError> {
        let entry = Entry::nothing(at.clone());
        done(call(self.delete, &entry)).map_err(|code| code.of("HttpDeleteServiceConfiguration", at.to_string()))
    }

    /// One query, with a buffer that grows as long as it is too small.
    fn ask(&self, kind: RecordKind, what: HTTP_SERVICE_CONFIG_QUERY_TYPE, at: Option<&At>, token: u32) -> Result<Answer, Code> {
        let mut answer = Answer::with_room(FIRST_ROOM);
        loop {
            let mut needed = 0;
            let (room, id) = (answer.room(), id(kind));
            let code = request::query(kind, what, at, token, |input, length| {
                // SAFETY: the input is a structure of that kind and length, and the output has room for that many bytes.
                unsafe {
                    (self.query)(ptr::null_mut(), id, input, length, answer.as_mut_ptr(), room, &raw mut needed, ptr::null())
                }
            });
            // A record may grow between two calls, so it may be asked for more than twice.
            let larger = usize::try_from(needed).expect("32 bits fit into 64").max(answer.len() + 1);
            match code {
                NO_ERROR => return Ok(answer),
                ERROR_INSUFFICIENT_BUFFER if larger <= MAX_ANSWER => answer = Answer::with_room(larger),
                code => return Err(Code(code)),
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn without_update(self) -> Self {
        let mut http = self;
        http.update = None;
        http
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        // SAFETY: initialised once with the same flag; the last parameter is reserved and null.
        unsafe { (self.terminate)(HTTP_INITIALIZE_CONFIG, ptr::null_mut()) };
    }
}

/// What the first call has room for: a record with short names.
const FIRST_ROOM: usize = 512;

/// The call that every reading comes to.
pub const QUERY: &str = "HttpQueryServiceConfiguration";

type Entrance = unsafe extern "system" fn() -> isize;

fn needed(library: Library, name: &CStr) -> Result<Entrance, DriverError> {
    let missing = || Code(ERROR_PROC_NOT_FOUND).of("GetProcAddress", format!("{} of httpapi.dll", name.to_string_lossy()));
    library.entry(name).ok_or_else(missing)
}

fn call(change: Change, entry: &Entry) -> u32 {
    let id = id(entry.at.kind());
    request::set(entry, |input, length| {
        // SAFETY: the input is a structure of that kind and length, and lives through the call together with what it points to.
        unsafe { change(ptr::null_mut(), id, input, length, ptr::null()) }
    })
}

fn done(code: u32) -> Result<(), Code> {
    if code == NO_ERROR { Ok(()) } else { Err(Code(code)) }
}

fn id(kind: RecordKind) -> HTTP_SERVICE_CONFIG_ID {
    match kind {
        RecordKind::Address => HttpServiceConfigSSLCertInfo,
        RecordKind::Sni => HttpServiceConfigSslSniCertInfo,
        RecordKind::Ccs => HttpServiceConfigSslCcsCertInfo,
    }
}
