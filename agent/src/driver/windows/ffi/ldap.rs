//! The directory by wldap32.dll: one question at a time, as the account that this program runs as.
//!
//! Microsoft: "Lightweight Directory Access Protocol", reference of winldap.h. The account of a service that runs as SYSTEM is the
//! machine's. What is asked and answered is signed and encrypted by the logon itself, so that a domain that demands it takes it.

use std::ffi::c_void;
use std::{mem, ptr};

use windows_sys::Win32::Networking::Ldap::{
    LDAP, LDAP_BERVAL, LDAP_OPT_ENCRYPT, LDAP_OPT_PROTOCOL_VERSION, LDAP_OPT_REFERRALS, LDAP_OPT_SIGN, LDAP_PORT,
    LDAP_SCOPE_BASE, LDAP_SCOPE_SUBTREE, LDAP_TIMEVAL, LDAP_VERSION3, LDAPControlW, LDAPMessage,
};

use super::library::Library;
use super::{Code, Wide};
use crate::driver::DriverError;

/// How long a connection, and each question, may take.
const LIMIT: LDAP_TIMEVAL = LDAP_TIMEVAL { tv_sec: 4, tv_usec: 0 };

/// `LDAP_AUTH_NEGOTIATE`: Kerberos, or what the domain has beside it.
const NEGOTIATE: u32 = 0x0486;

/// The most objects that a question finds. What is asked for is one.
const MOST_OBJECTS: u32 = 4;

/// The most values of an attribute, and the most bytes of one, that are read.
const MOST_VALUES: usize = 16;
const MOST_BYTES: usize = 64 * 1024;

type Init = unsafe extern "C" fn(*const u16, u32) -> *mut LDAP;
type SetOption = unsafe extern "C" fn(*mut LDAP, i32, *const c_void) -> u32;
type Connect = unsafe extern "C" fn(*mut LDAP, *mut LDAP_TIMEVAL) -> u32;
type Bind = unsafe extern "C" fn(*mut LDAP, *const u16, *const u16, u32) -> u32;
type Search = unsafe extern "C" fn(
    *mut LDAP,
    *const u16,
    u32,
    *const u16,
    *const *const u16,
    u32,
    *const *const LDAPControlW,
    *const *const LDAPControlW,
    *mut LDAP_TIMEVAL,
    u32,
    *mut *mut LDAPMessage,
) -> u32;
type Entry = unsafe extern "C" fn(*mut LDAP, *mut LDAPMessage) -> *mut LDAPMessage;
type Values = unsafe extern "C" fn(*mut LDAP, *mut LDAPMessage, *const u16) -> *mut *mut LDAP_BERVAL;
type FreeValues = unsafe extern "C" fn(*mut *mut LDAP_BERVAL) -> u32;
type FreeMessage = unsafe extern "C" fn(*mut LDAPMessage) -> u32;
type Unbind = unsafe extern "C" fn(*mut LDAP) -> u32;
type LastError = unsafe extern "C" fn() -> u32;

/// The calls of wldap32 that are used here.
#[derive(Debug, Clone, Copy)]
struct Calls {
    init: Init,
    set_option: SetOption,
    connect: Connect,
    bind: Bind,
    search: Search,
    first: Entry,
    next: Entry,
    values: Values,
    free_values: FreeValues,
    free_message: FreeMessage,
    unbind: Unbind,
    last_error: LastError,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// The object that is asked, or below which is looked; empty for the directory's own.
    pub base: &'a str,
    /// Whether everything below it is asked too.
    pub below: bool,
    /// Which objects, as RFC 4515 writes it.
    pub filter: &'a str,
    /// The attribute that is wanted.
    pub attribute: &'static str,
}

/// A directory that knows who asks.
#[derive(Debug)]
pub struct Ldap {
    calls: Calls,
    session: *mut LDAP,
}

impl Ldap {
    /// Connects to a controller of this machine's domain, whichever Windows finds, and logs on.
    ///
    /// # Errors
    /// [`DriverError::Refused`] with the code of LDAP: 81 where no controller answers, 49 where it does not know this account; or
    /// with that of Windows where there is no LDAP.
    pub fn open() -> Result<Self, DriverError> {
        let calls = Calls::load().map_err(|code| code.of("LoadLibraryEx", "wldap32.dll"))?;
        // SAFETY: without a name it finds a controller of this machine's domain.
        let session = unsafe { (calls.init)(ptr::null(), LDAP_PORT) };
        if session.is_null() {
            // SAFETY: reads a value of the calling thread.
            return Err(refused("ldap_init", "", unsafe { (calls.last_error)() }));
        }
        let ldap = Self { calls, session };
        let version = LDAP_VERSION3;
        ldap.option(LDAP_OPT_PROTOCOL_VERSION, (&raw const version).cast())?;
        ldap.option(LDAP_OPT_REFERRALS, OFF)?;
        ldap.option(LDAP_OPT_SIGN, ON)?;
        ldap.option(LDAP_OPT_ENCRYPT, ON)?;
        let mut limit = LIMIT;
        // SAFETY: the session is open, and the time is there.
        done("ldap_connect", "", unsafe { (calls.connect)(session, &raw mut limit) })?;
        // SAFETY: the session is open; without a name and a secret it is this program's account that logs on.
        done("ldap_bind_s", "", unsafe { (calls.bind)(session, ptr::null(), ptr::null(), NEGOTIATE) })?;
        Ok(ldap)
    }

    /// The values of the attribute, for each object that the question finds.
    ///
    /// # Errors
    /// [`DriverError::Refused`] with the code of LDAP; 32 where there is no such object. [`DriverError::Unreadable`] when more is
    /// found than is read of any object.
    pub fn ask(&self, question: &Question<'_>) -> Result<Vec<Vec<Vec<u8>>>, DriverError> {
        let Question { base, below, filter, attribute } = *question;
        let (place, wanted, name) = (Wide::new(base), Wide::new(filter), Wide::new(attribute));
        let attributes = [name.as_ptr(), ptr::null()];
        let (scope, none) = (if below { LDAP_SCOPE_SUBTREE } else { LDAP_SCOPE_BASE }, ptr::null());
        let (mut limit, mut found) = (LIMIT, ptr::null_mut());
        // SAFETY: the session is open; the texts are terminated and the list of attributes ends with null; there are no controls;
        // the result is written where one has room.
        let code = unsafe {
            let (place, wanted, list) = (place.as_ptr(), wanted.as_ptr(), attributes.as_ptr());
            let limit = &raw mut limit;
            (self.calls.search)(self.session, place, scope, wanted, list, 0, none, none, limit, MOST_OBJECTS, &raw mut found)
        };
        let found = Message { calls: self.calls, message: found };
        done("ldap_search_ext_s", base, code)?;
        let mut objects = Vec::new();
        // SAFETY: the session is open, and the message its answer; null where it holds no object.
        let mut entry = unsafe { (self.calls.first)(self.session, found.message) };
        while !entry.is_null() {
            objects.push(self.values(entry, attribute, &name)?);
            // SAFETY: as before; the entry is one of the message.
            entry = unsafe { (self.calls.next)(self.session, entry) };
        }
        Ok(objects)
    }

    fn values(&self, entry: *mut LDAPMessage, attribute: &str, name: &Wide) -> Result<Vec<Vec<u8>>, DriverError> {
        // SAFETY: the session is open, the entry is one of an answer that lives, and the name is terminated.
        let list = unsafe { (self.calls.values)(self.session, entry, name.as_ptr()) };
        if list.is_null() {
            return Ok(Vec::new());
        }
        let list = List { calls: self.calls, list };
        let mut values = Vec::new();
        loop {
            // SAFETY: the list ends with null, which was not met yet.
            let value = unsafe { list.list.add(values.len()).read() };
            if value.is_null() {
                return Ok(values);
            }
            // SAFETY: every place before the null leads to one such structure, which lives as long as the list.
            let LDAP_BERVAL { bv_len, bv_val } = unsafe { value.read() };
            let length = usize::try_from(bv_len).unwrap_or(usize::MAX);
            if values.len() == MOST_VALUES || length > MOST_BYTES {
                let expected = format!("at most {MOST_VALUES} values of {MOST_BYTES} bytes");
                return Err(DriverError::Unreadable { object: attribute.to_owned(), expected, found: "more".to_owned() });
            }
            // SAFETY: there are that many bytes; for none the place may be anything.
            let bytes = if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bv_val.cast_const(), length) } };
            values.push(bytes.to_vec());
        }
    }

    fn option(&self, option: u32, value: *const c_void) -> Result<(), DriverError> {
        // SAFETY: the session is open, and the value is of the option's type.
        done("ldap_set_option", "", unsafe { (self.calls.set_option)(self.session, option.cast_signed(), value) })
    }
}

impl Drop for Ldap {
    fn drop(&mut self) {
        // SAFETY: the session is open and used no more.
        unsafe { (self.calls.unbind)(self.session) };
    }
}

/// What a search answered.
struct Message {
    calls: Calls,
    message: *mut LDAPMessage,
}

impl Drop for Message {
    fn drop(&mut self) {
        if !self.message.is_null() {
            // SAFETY: the search gave it, and it is used no more.
            unsafe { (self.calls.free_message)(self.message) };
        }
    }
}

/// Values that were read.
struct List {
    calls: Calls,
    list: *mut *mut LDAP_BERVAL,
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: wldap32 gave it, and it is used no more.
        unsafe { (self.calls.free_values)(self.list) };
    }
}

impl Calls {
    fn load() -> Result<Self, Code> {
        type Any = unsafe extern "system" fn() -> isize;
        let library = Library::system("wldap32.dll")?;
        let entry = |name| library.entry(name).ok_or(Code(127));
        // SAFETY: wldap32's calls of those names have these signatures.
        unsafe {
            Ok(Self {
                init: mem::transmute::<Any, Init>(entry(c"ldap_initW")?),
                set_option: mem::transmute::<Any, SetOption>(entry(c"ldap_set_optionW")?),
                connect: mem::transmute::<Any, Connect>(entry(c"ldap_connect")?),
                bind: mem::transmute::<Any, Bind>(entry(c"ldap_bind_sW")?),
                search: mem::transmute::<Any, Search>(entry(c"ldap_search_ext_sW")?),
                first: mem::transmute::<Any, Entry>(entry(c"ldap_first_entry")?),
                next: mem::transmute::<Any, Entry>(entry(c"ldap_next_entry")?),
                values: mem::transmute::<Any, Values>(entry(c"ldap_get_values_lenW")?),
                free_values: mem::transmute::<Any, FreeValues>(entry(c"ldap_value_free_len")?),
                free_message: mem::transmute::<Any, FreeMessage>(entry(c"ldap_msgfree")?),
                unbind: mem::transmute::<Any, Unbind>(entry(c"ldap_unbind")?),
                last_error: mem::transmute::<Any, LastError>(entry(c"LdapGetLastError")?),
            })
        }
    }
}

/// `LDAP_OPT_ON` and `LDAP_OPT_OFF`, which are addresses.
const ON: *const c_void = ptr::without_provenance(1);
const OFF: *const c_void = ptr::null();

fn done(call: &'static str, object: &str, code: u32) -> Result<(), DriverError> {
    if code == 0 { Ok(()) } else { Err(refused(call, object, code)) }
}

/// By the codes of RFC 4511 and winldap.h.
fn refused(call: &'static str, object: &str, code: u32) -> DriverError {
    let meaning = match code {
        4 => "more objects than are read",
        8 => "the directory wants another way to log on",
        32 => "no such object",
        49 => "the directory does not know this account",
        50 => "this account may not read it",
        81 => "no domain controller answers",
        82 => "this machine cannot log on to the directory",
        85 => "no answer in time",
        91 => "no connection to a domain controller",
        _ => "see the codes of LDAP",
    };
    let object = if object.is_empty() { "the directory" } else { object };
    DriverError::Refused { call, object: object.to_owned(), code, meaning }
}
