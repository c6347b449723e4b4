//! The calls of wldap32.dll that the agent makes. Each is described on its page at Microsoft.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use control::{Control, Fault};
use windows_sys::Win32::Networking::Ldap::{
    LDAP, LDAP_BERVAL, LDAP_OPT_ENCRYPT, LDAP_OPT_PROTOCOL_VERSION, LDAP_OPT_REFERRALS, LDAP_OPT_SIGN, LDAP_PORT,
    LDAP_SCOPE_BASE, LDAP_SCOPE_SUBTREE, LDAP_TIMEVAL, LDAPControlW, LDAPMessage,
};

use crate::objects::{self, Filter};

/// Tells this library from the real one.
#[unsafe(no_mangle)]
pub static TEST_DOUBLE: u32 = 1;

const CONTROL: Control = Control("wldap32");

const SUCCESS: u32 = 0;
const OPERATIONS_ERROR: u32 = 1;
const SIZE_LIMIT: u32 = 4;
const STRONGER_AUTH_REQUIRED: u32 = 8;
const NO_SUCH_OBJECT: u32 = 32;
const SERVER_DOWN: u32 = 81;
const AUTH_UNKNOWN: u32 = 86;
const FILTER_ERROR: u32 = 87;
const PARAM_ERROR: u32 = 89;

/// `LDAP_AUTH_NEGOTIATE`.
const NEGOTIATE: u32 = 0x0486;

/// What an `LDAP *` leads to here.
#[derive(Default)]
struct Session {
    version: u32,
    follows_referrals: bool,
    signs: bool,
    encrypts: bool,
    connected: bool,
    knows_who: bool,
}

/// What an `LDAPMessage *` leads to: the head of a list without an attribute, or one of its objects.
struct Message {
    attribute: Vec<u16>,
    values: Vec<Vec<u8>>,
    next: *mut Message,
}

impl Message {
    fn before(next: *mut Self, attribute: &[u16], values: Vec<Vec<u8>>) -> *mut Self {
        Box::into_raw(Box::new(Self { attribute: attribute.to_vec(), values, next }))
    }
}

/// What the last call that gives no code met.
static LAST: AtomicU32 = AtomicU32::new(SUCCESS);

fn fault(call: &str) -> Option<u32> {
    CONTROL.wait(call);
    CONTROL.fault(call).map(|fault| match fault {
        Fault::Fail(code) => code,
        Fault::Lie => SUCCESS,
    })
}

/// # Safety
/// Null, or terminated.
unsafe fn units<'a>(place: *const u16) -> &'a [u16] {
    if place.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    let length = (0..).find(|at| unsafe { *place.add(*at) } == 0).unwrap_or(0);
    // SAFETY: as before.
    unsafe { std::slice::from_raw_parts(place, length) }
}

/// # Safety
/// As for `units`.
unsafe fn text(place: *const u16) -> String {
    // SAFETY: the caller's promise.
    String::from_utf16_lossy(unsafe { units(place) })
}

/// See its page at Microsoft.
#[unsafe(no_mangle)]
pub extern "C" fn LdapGetLastError() -> u32 {
    LAST.load(Ordering::SeqCst)
}

/// See its page at Microsoft.
#[unsafe(no_mangle)]
pub extern "C" fn ldap_initW(host: *const u16, port: u32) -> *mut LDAP {
    if let Some(code) = fault("init") {
        LAST.store(code, Ordering::SeqCst);
        return ptr::null_mut();
    }
    if !host.is_null() || port != LDAP_PORT {
        LAST.store(SERVER_DOWN, Ordering::SeqCst);
        return ptr::null_mut();
    }
    Box::into_raw(Box::new(Session { version: 2, follows_referrals: true, ..Session::default() })).cast()
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_set_optionW(session: *mut LDAP, option: i32, value: *const c_void) -> u32 {
    // SAFETY: the caller's promise.
    let Some(session) = (unsafe { session.cast::<Session>().as_mut() }) else { return PARAM_ERROR };
    // A switch is an address: LDAP_OPT_ON is 1, LDAP_OPT_OFF is null.
    let on = !value.is_null();
    match option.cast_unsigned() {
        LDAP_OPT_PROTOCOL_VERSION if value.is_null() => return PARAM_ERROR,
        // SAFETY: of this option the value leads to a number.
        LDAP_OPT_PROTOCOL_VERSION => session.version = unsafe { *value.cast::<u32>() },
        LDAP_OPT_REFERRALS => session.follows_referrals = on,
        LDAP_OPT_SIGN => session.signs = on,
        LDAP_OPT_ENCRYPT => session.encrypts = on,
        _ => return PARAM_ERROR,
    }
    SUCCESS
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_connect(session: *mut LDAP, _: *mut LDAP_TIMEVAL) -> u32 {
    // SAFETY: the caller's promise.
    let Some(session) = (unsafe { session.cast::<Session>().as_mut() }) else { return PARAM_ERROR };
    if let Some(code) = fault("connect") {
        return code;
    }
    session.connected = true;
    SUCCESS
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_bind_sW(session: *mut LDAP, name: *const u16, secret: *const u16, method: u32) -> u32 {
    // SAFETY: the caller's promise.
    let Some(session) = (unsafe { session.cast::<Session>().as_mut() }) else { return PARAM_ERROR };
    if let Some(code) = fault("bind") {
        return code;
    }
    match () {
        () if !session.connected => SERVER_DOWN,
        () if method != NEGOTIATE || !name.is_null() || !secret.is_null() => AUTH_UNKNOWN,
        () if !session.signs || !session.encrypts || session.version != 3 => STRONGER_AUTH_REQUIRED,
        () => {
            session.knows_who = true;
            SUCCESS
        }
    }
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_search_ext_sW(
    session: *mut LDAP,
    base: *const u16,
    scope: u32,
    filter: *const u16,
    attributes: *const *const u16,
    only_names: u32,
    _: *const *const LDAPControlW,
    _: *const *const LDAPControlW,
    _: *mut LDAP_TIMEVAL,
    most: u32,
    found: *mut *mut LDAPMessage,
) -> u32 {
    // SAFETY: the caller's promise.
    let Some(session) = (unsafe { session.cast::<Session>().as_ref() }) else { return PARAM_ERROR };
    if let Some(code) = fault("search") {
        return code;
    }
    // SAFETY: the caller's promise: texts that end, and a list that ends with null.
    let (base, filter, attribute, one) = unsafe {
        let first = *attributes;
        (text(base), text(filter), units(first), !first.is_null() && (*attributes.add(1)).is_null())
    };
    if !session.knows_who || session.follows_referrals {
        return OPERATIONS_ERROR;
    }
    let below = match scope {
        LDAP_SCOPE_BASE => false,
        LDAP_SCOPE_SUBTREE => true,
        _ => return PARAM_ERROR,
    };
    if !one || only_names != 0 {
        return PARAM_ERROR;
    }
    let Some(filter) = Filter::read(&filter) else { return FILTER_ERROR };
    let Some(mut objects) = objects::search(&base, below, &filter, &String::from_utf16_lossy(attribute)) else {
        return NO_SUCH_OBJECT;
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let code = if most != 0 && objects.len() > most { SIZE_LIMIT } else { SUCCESS };
    objects.truncate(if most == 0 { objects.len() } else { most });
    let object = |next, values| Message::before(next, attribute, values);
    let first = objects.into_iter().rev().fold(ptr::null_mut(), object);
    // SAFETY: the caller's promise.
    unsafe { *found = Message::before(first, &[], Vec::new()).cast() };
    code
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_first_entry(session: *mut LDAP, answer: *mut LDAPMessage) -> *mut LDAPMessage {
    // SAFETY: the caller's promise; the first object stands behind the head as each other stands behind the one before.
    unsafe { ldap_next_entry(session, answer) }
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_next_entry(_: *mut LDAP, before: *mut LDAPMessage) -> *mut LDAPMessage {
    // SAFETY: the caller's promise.
    unsafe { before.cast::<Message>().as_ref() }.map_or(ptr::null_mut(), |message| message.next.cast())
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_get_values_lenW(
    _: *mut LDAP,
    object: *mut LDAPMessage,
    attribute: *const u16,
) -> *mut *mut LDAP_BERVAL {
    // SAFETY: the caller's promise.
    let (object, attribute) = unsafe { (object.cast::<Message>().as_ref(), units(attribute)) };
    let Some(Message { values, .. }) = object.filter(|object| object.attribute == attribute && !object.values.is_empty()) else {
        return ptr::null_mut();
    };
    let value = |bytes: &Vec<u8>| {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let place = Box::leak(bytes.clone().into_boxed_slice()).as_mut_ptr();
        Box::into_raw(Box::new(LDAP_BERVAL { bv_len: length, bv_val: place }))
    };
    let list: Vec<*mut LDAP_BERVAL> = values.iter().map(value).chain([ptr::null_mut()]).collect();
    Box::leak(list.into_boxed_slice()).as_mut_ptr()
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_value_free_len(list: *mut *mut LDAP_BERVAL) -> u32 {
    if list.is_null() {
        return SUCCESS;
    }
    // SAFETY: the caller's promise: made by `ldap_get_values_lenW`, which ends it with null.
    let length = (0..).find(|at| unsafe { (*list.add(*at)).is_null() }).unwrap_or(0) + 1;
    // SAFETY: as before; each value is a box, and its bytes are a boxed slice of their length.
    unsafe {
        for value in Box::from_raw(ptr::slice_from_raw_parts_mut(list, length)).iter().filter(|value| !value.is_null()) {
            let LDAP_BERVAL { bv_len, bv_val } = *Box::from_raw(*value);
            let length = usize::try_from(bv_len).unwrap_or(0);
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(bv_val, length)));
        }
    }
    SUCCESS
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_msgfree(answer: *mut LDAPMessage) -> u32 {
    let mut message = answer.cast::<Message>();
    while !message.is_null() {
        // SAFETY: the caller's promise: the head of a list of boxes.
        message = unsafe { Box::from_raw(message) }.next;
    }
    SUCCESS
}

/// See its page at Microsoft.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_unbind(session: *mut LDAP) -> u32 {
    if session.is_null() {
        return PARAM_ERROR;
    }
    // SAFETY: the caller's promise: made by `ldap_initW`.
    drop(unsafe { Box::from_raw(session.cast::<Session>()) });
    SUCCESS
}
