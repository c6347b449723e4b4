//! The class and the interfaces of its objects, with the signatures of \[MC-IISA\].

use std::ffi::c_void;
use std::{ptr, slice};

use windows_sys::Win32::Foundation::{
    CLASS_E_CLASSNOTAVAILABLE, E_INVALIDARG, E_POINTER, ERROR_INVALID_INDEX, ERROR_PATH_NOT_FOUND, S_FALSE, S_OK,
    SysAllocStringLen, SysStringLen,
};
use windows_sys::Win32::System::Variant::{VARIANT, VT_BSTR, VT_I4, VT_UI4};
use windows_sys::core::{BSTR, GUID, HRESULT};

use crate::object::{Object, Table, absent, add_ref, query_interface, release};
use crate::said::{self, Said};

const CLASS: u128 = 0x228f_b8f7_fb53_4fd5_8c7b_ff59_de60_6c5b;
const FACTORY: GUID = GUID::from_u128(0x0000_0001_0000_0000_c000_0000_0000_0046);
const MANAGER: GUID = GUID::from_u128(0x9be7_7978_73ed_4a9a_87fd_13f0_9fec_1b13);
const ELEMENT: GUID = GUID::from_u128(0x64ff_8ccc_b287_4dae_b08a_a72c_bf45_f453);
const COLLECTION: GUID = GUID::from_u128(0xc855_0bff_5281_4b1e_ac34_99b6_fa38_464d);
const PROPERTY: GUID = GUID::from_u128(0xed35_f7a1_5024_4e7b_a44d_07dd_af4b_524d);

const NONE: *const c_void = absent as *const c_void;
const QUERY: *const c_void = query_interface as *const c_void;
const ADD: *const c_void = add_ref as *const c_void;
const RELEASE: *const c_void = release as *const c_void;

static FACTORY_TABLE: Table<5> = Table([QUERY, ADD, RELEASE, create_instance as *const c_void, NONE]);
static MANAGER_TABLE: Table<7> = Table([QUERY, ADD, RELEASE, get_admin_section as *const c_void, NONE, NONE, NONE]);
static ELEMENT_TABLE: Table<14> = Table([
    QUERY,
    ADD,
    RELEASE,
    NONE,
    collection as *const c_void,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    get_property_by_name as *const c_void,
    NONE,
    NONE,
]);
static COLLECTION_TABLE: Table<10> =
    Table([QUERY, ADD, RELEASE, count as *const c_void, item as *const c_void, NONE, NONE, NONE, NONE, NONE]);
static PROPERTY_TABLE: Table<12> =
    Table([QUERY, ADD, RELEASE, NONE, value as *const c_void, NONE, NONE, NONE, NONE, NONE, NONE, NONE]);

/// Tells a test that this is the double.
#[unsafe(no_mangle)]
pub extern "system" fn TEST_DOUBLE() -> isize {
    1
}

/// The way to the class.
///
/// # Safety
/// Both GUIDs must be such, and there must be room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DllGetClassObject(class: *const GUID, wanted: *const GUID, place: *mut *mut c_void) -> HRESULT {
    // SAFETY: as the caller promises.
    let GUID { data1, data2, data3, data4 } = unsafe { *class };
    let known = GUID::from_u128(CLASS);
    if (data1, data2, data3, data4) != (known.data1, known.data2, known.data3, known.data4) {
        return CLASS_E_CLASSNOTAVAILABLE;
    }
    // SAFETY: the table is the factory's, and there is room for a pointer.
    unsafe { as_wanted(|new| Object::give(&FACTORY_TABLE, FACTORY, Said::Nothing, new), wanted, place) }
}

/// It stays in the process.
#[unsafe(no_mangle)]
pub extern "system" fn DllCanUnloadNow() -> HRESULT {
    S_FALSE
}

unsafe extern "system" fn create_instance(
    _factory: *mut c_void,
    outer: *mut c_void,
    wanted: *const GUID,
    place: *mut *mut c_void,
) -> HRESULT {
    if !outer.is_null() {
        return E_INVALIDARG;
    }
    // SAFETY: the table is the manager's; of the rest the caller has promised it.
    unsafe { as_wanted(|new| Object::give(&MANAGER_TABLE, MANAGER, Said::Nothing, new), wanted, place) }
}

/// Makes an object, and hands it over as the interface that is wanted.
///
/// # Safety
/// `wanted` must be a GUID, and `place` room for a pointer.
unsafe fn as_wanted(make: impl FnOnce(*mut *mut c_void) -> HRESULT, wanted: *const GUID, place: *mut *mut c_void) -> HRESULT {
    let mut new = ptr::null_mut();
    let made = make(&raw mut new);
    if made != S_OK {
        return made;
    }
    // SAFETY: the object was just made; when it is not wanted, releasing it frees it.
    unsafe {
        let found = query_interface(new, wanted, place);
        release(new);
        found
    }
}

unsafe extern "system" fn get_admin_section(_this: *mut c_void, path: BSTR, top: BSTR, place: *mut *mut c_void) -> HRESULT {
    // SAFETY: texts of the caller's.
    let (path, top) = unsafe { (text(path), text(top)) };
    if top != "MACHINE/WEBROOT/APPHOST" {
        return win32(ERROR_PATH_NOT_FOUND);
    }
    match said::section(&path) {
        None => win32(ERROR_PATH_NOT_FOUND),
        Some(Err(code)) => code.cast_signed(),
        // SAFETY: the table is an element's; there is room for a pointer.
        Some(Ok(section)) => unsafe { Object::give(&ELEMENT_TABLE, ELEMENT, section, place) },
    }
}

unsafe extern "system" fn collection(this: *mut c_void, place: *mut *mut c_void) -> HRESULT {
    // SAFETY: the object is held; the table is a collection's, and there is room for a pointer.
    unsafe {
        match Object::says(this) {
            says @ Said::Elements(_) => Object::give(&COLLECTION_TABLE, COLLECTION, says.clone(), place),
            _ => absent(),
        }
    }
}

unsafe extern "system" fn get_property_by_name(this: *mut c_void, name: BSTR, place: *mut *mut c_void) -> HRESULT {
    // SAFETY: the object is held, and the text is the caller's.
    let (says, name) = unsafe { (Object::says(this), text(name)) };
    let Said::Element(element) = says else { return absent() };
    match element.property(&name) {
        None => win32(ERROR_INVALID_INDEX),
        // SAFETY: the table is a property's; there is room for a pointer.
        Some(property) => unsafe { Object::give(&PROPERTY_TABLE, PROPERTY, property, place) },
    }
}

unsafe extern "system" fn count(this: *mut c_void, place: *mut u32) -> HRESULT {
    // SAFETY: the object is held.
    let Said::Elements(elements) = (unsafe { Object::says(this) }) else { return absent() };
    if place.is_null() {
        return E_POINTER;
    }
    // SAFETY: there is room for a number.
    unsafe { *place = u32::try_from(elements.len()).unwrap_or(u32::MAX) };
    S_OK
}

unsafe extern "system" fn item(this: *mut c_void, index: VARIANT, place: *mut *mut c_void) -> HRESULT {
    // SAFETY: the object is held.
    let Said::Elements(elements) = (unsafe { Object::says(this) }) else { return absent() };
    // SAFETY: every value has its type at this place, and behind it what that says.
    let index = unsafe {
        match index.Anonymous.Anonymous.vt {
            VT_UI4 => usize::try_from(index.Anonymous.Anonymous.Anonymous.ulVal).ok(),
            VT_I4 => usize::try_from(index.Anonymous.Anonymous.Anonymous.lVal).ok(),
            _ => return E_INVALIDARG,
        }
    };
    match index.and_then(|index| elements.get(index)) {
        None => win32(ERROR_INVALID_INDEX),
        // SAFETY: the table is an element's; there is room for a pointer.
        Some(element) => unsafe { Object::give(&ELEMENT_TABLE, ELEMENT, Said::Element(element.clone()), place) },
    }
}

unsafe extern "system" fn value(this: *mut c_void, place: *mut VARIANT) -> HRESULT {
    if place.is_null() {
        return E_POINTER;
    }
    let mut value = VARIANT::default();
    // SAFETY: the object is held.
    match unsafe { Object::says(this) } {
        Said::Name(name) => {
            let units: Vec<u16> = name.encode_utf16().collect();
            value.Anonymous.Anonymous.vt = VT_BSTR;
            // SAFETY: there are so many units.
            let copy = unsafe { SysAllocStringLen(units.as_ptr(), u32::try_from(units.len()).unwrap_or(0)) };
            value.Anonymous.Anonymous.Anonymous.bstrVal = copy;
        }
        Said::State(Ok(state)) => {
            value.Anonymous.Anonymous.vt = VT_I4;
            value.Anonymous.Anonymous.Anonymous.lVal = *state;
        }
        Said::State(Err(code)) => return code.cast_signed(),
        Said::Nothing | Said::Elements(_) | Said::Element(_) => return absent(),
    }
    // SAFETY: there is room for a value, and it held none.
    unsafe { *place = value };
    S_OK
}

/// # Safety
/// Null, or a text of the caller's.
unsafe fn text(text: BSTR) -> String {
    // SAFETY: as the caller promises.
    let length = unsafe { SysStringLen(text) };
    let length = usize::try_from(length).unwrap_or(0);
    // SAFETY: a text has so many units.
    if length == 0 { String::new() } else { String::from_utf16_lossy(unsafe { slice::from_raw_parts(text, length) }) }
}

/// `HRESULT_FROM_WIN32`.
fn win32(code: u32) -> HRESULT {
    (0x8007_0000 | code).cast_signed()
}
