//! What IIS says of its sites and application pools as they run: the objects behind its own tools (`AppHostAdminManager`), of which
//! nothing is used that writes.
//!
//! Their interfaces are described in \[MC-IISA\], whose opnums are the places in the tables below; `state` of a site and of a pool is in Microsoft's
//! IIS reference under `Site` and `ApplicationPool`. The objects read the configuration that counts, a shared one too, and ask WAS.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::{ptr, slice};

use windows_sys::Win32::Foundation::{SysAllocString, SysFreeString, SysStringLen};
use windows_sys::Win32::System::Com::{
    CLSCTX_INPROC_SERVER, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx, CoUninitialize,
};
use windows_sys::Win32::System::Variant::{VARIANT, VT_BSTR, VT_I2, VT_I4, VT_INT, VT_UI4, VT_UINT, VariantClear};
use windows_sys::core::{BSTR, GUID, HRESULT};

use super::{Code, Wide};

/// The class `AppHostAdminManager`, and its interface.
static MANAGER: GUID = GUID::from_u128(0x228f_b8f7_fb53_4fd5_8c7b_ff59_de60_6c5b);
static MANAGER_INTERFACE: GUID = GUID::from_u128(0x9be7_7978_73ed_4a9a_87fd_13f0_9fec_1b13);

/// The place in the configuration at which sites and pools are.
const TOP: &str = "MACHINE/WEBROOT/APPHOST";

/// The most elements of a collection that are read; an Exchange server has two sites and two dozen pools.
const MOST: u32 = 1_000;

/// `E_UNEXPECTED`: an object where there is to be one, and none was given; a value of another type.
const UNEXPECTED: Code = Code(0x8000_FFFF);

/// A list of what IIS runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `system.applicationHost/sites`.
    Sites,
    /// `system.applicationHost/applicationPools`.
    Pools,
}

impl Section {
    fn path(self) -> &'static str {
        match self {
            Self::Sites => "system.applicationHost/sites",
            Self::Pools => "system.applicationHost/applicationPools",
        }
    }
}

/// One site or application pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Its name.
    pub name: String,
    /// Its state: 0 starting, 1 started, 2 stopping, 3 stopped, 4 unknown; or why IIS does not say it.
    pub state: Result<i32, Code>,
}

/// The objects of IIS, for the thread that asked for them.
pub struct Administration {
    manager: Object<IAppHostAdminManager>,
    // After the objects that live in it.
    _apartment: Apartment,
}

impl Administration {
    /// Loads them into this process. It may take as long as the disk does, and what they are asked as long as WAS does.
    ///
    /// # Errors
    /// [`Code`] as `CoCreateInstance` gives it: 0x80040154 where there is no IIS.
    pub fn open() -> Result<Self, Code> {
        let apartment = Apartment::enter()?;
        let mut manager = ptr::null_mut();
        // SAFETY: this thread has entered an apartment; both GUIDs live through the call, and there is room for a pointer.
        checked(unsafe {
            CoCreateInstance(
                &raw const MANAGER,
                ptr::null_mut(),
                CLSCTX_INPROC_SERVER,
                &raw const MANAGER_INTERFACE,
                &raw mut manager,
            )
        })?;
        // SAFETY: the call has just given it, and it has the interface that was asked for.
        Ok(Self { manager: unsafe { Object::given(manager) }?, _apartment: apartment })
    }

    /// The elements of a section with their states, in the order of the configuration.
    ///
    /// # Errors
    /// [`Code`] when the section cannot be read, or has more than a thousand elements: half a list would mislead.
    pub fn states(&self, section: Section) -> Result<Vec<Stated>, Code> {
        let elements = self.section(section)?.collection()?;
        let count = elements.count()?;
        if count > MOST {
            return Err(UNEXPECTED);
        }
        let stated = |index| {
            let element = elements.item(index)?;
            let name = element.property("name")?.value()?.text().ok_or(UNEXPECTED)?;
            let state = element.property("state").and_then(|property| property.value()?.number().ok_or(UNEXPECTED));
            Ok(Stated { name, state })
        };
        (0..count).map(stated).collect()
    }

    fn section(&self, section: Section) -> Result<Object<IAppHostElement>, Code> {
        let (path, top) = (Text::new(section.path())?, Text::new(TOP)?);
        let call = self.manager.table().get_admin_section;
        // SAFETY: the object and both texts live through the call.
        unsafe { Object::from(|found| call(self.manager.this, path.0, top.0, found)) }
    }
}

/// What every object begins with.
#[repr(C)]
struct IUnknown {
    query_interface: usize,
    add_ref: usize,
    release: unsafe extern "system" fn(*mut c_void) -> u32,
}

#[repr(C)]
struct IAppHostAdminManager {
    unknown: IUnknown,
    get_admin_section: unsafe extern "system" fn(*mut c_void, BSTR, BSTR, *mut *mut c_void) -> HRESULT,
}

#[repr(C)]
struct IAppHostElement {
    unknown: IUnknown,
    name: usize,
    collection: unsafe extern "system" fn(*mut c_void, *mut *mut c_void) -> HRESULT,
    properties: usize,
    child_elements: usize,
    get_metadata: usize,
    set_metadata: usize,
    schema: usize,
    get_element_by_name: usize,
    get_property_by_name: unsafe extern "system" fn(*mut c_void, BSTR, *mut *mut c_void) -> HRESULT,
}

#[repr(C)]
struct IAppHostElementCollection {
    unknown: IUnknown,
    count: unsafe extern "system" fn(*mut c_void, *mut u32) -> HRESULT,
    item: unsafe extern "system" fn(*mut c_void, VARIANT, *mut *mut c_void) -> HRESULT,
}

#[repr(C)]
struct IAppHostProperty {
    unknown: IUnknown,
    name: usize,
    value: unsafe extern "system" fn(*mut c_void, *mut VARIANT) -> HRESULT,
}

/// The table of an interface, which begins with that of `IUnknown`.
///
/// # Safety
/// The type must be laid out as the interface's table, as far as it goes.
unsafe trait Interface {}

// SAFETY: by [MC-IISA] 3.1.4.2.
unsafe impl Interface for IAppHostAdminManager {}
// SAFETY: by [MC-IISA] 3.1.4.12.
unsafe impl Interface for IAppHostElement {}
// SAFETY: by [MC-IISA] 3.1.4.13.
unsafe impl Interface for IAppHostElementCollection {}
// SAFETY: by [MC-IISA] 3.1.4.22.
unsafe impl Interface for IAppHostProperty {}

/// An object, held as long as this lives.
struct Object<T: Interface> {
    this: *mut c_void,
    interface: PhantomData<T>,
}

impl<T: Interface> Object<T> {
    /// One that a call has just given, or [`UNEXPECTED`] where it gave none.
    ///
    /// # Safety
    /// It must have this interface, and nobody else may release it.
    unsafe fn given(this: *mut c_void) -> Result<Self, Code> {
        if this.is_null() { Err(UNEXPECTED) } else { Ok(Self { this, interface: PhantomData }) }
    }

    /// The one that a call gives.
    ///
    /// # Safety
    /// The call must give one of this interface.
    unsafe fn from(call: impl FnOnce(*mut *mut c_void) -> HRESULT) -> Result<Self, Code> {
        let mut found = ptr::null_mut();
        checked(call(&raw mut found))?;
        // SAFETY: as the caller promises.
        unsafe { Self::given(found) }
    }

    fn table(&self) -> &T {
        // SAFETY: an object begins with the address of its table, which lives as long as the object.
        unsafe { &**self.this.cast::<*const T>() }
    }
}

impl<T: Interface> Drop for Object<T> {
    fn drop(&mut self) {
        // SAFETY: every table begins with that of `IUnknown`.
        let IUnknown { release, .. } = unsafe { &**self.this.cast::<*const IUnknown>() };
        // SAFETY: held since it was given, and released only here.
        unsafe { release(self.this) };
    }
}

impl Object<IAppHostElement> {
    fn collection(&self) -> Result<Object<IAppHostElementCollection>, Code> {
        let call = self.table().collection;
        // SAFETY: the object lives through the call, which gives a collection.
        unsafe { Object::from(|found| call(self.this, found)) }
    }

    fn property(&self, name: &str) -> Result<Object<IAppHostProperty>, Code> {
        let name = Text::new(name)?;
        let call = self.table().get_property_by_name;
        // SAFETY: object and name live through the call, which gives a property.
        unsafe { Object::from(|found| call(self.this, name.0, found)) }
    }
}

impl Object<IAppHostElementCollection> {
    fn count(&self) -> Result<u32, Code> {
        let mut count = 0;
        // SAFETY: the object lives through the call, and there is room for the number.
        checked(unsafe { (self.table().count)(self.this, &raw mut count) })?;
        Ok(count)
    }

    fn item(&self, index: u32) -> Result<Object<IAppHostElement>, Code> {
        let mut wanted = VARIANT::default();
        wanted.Anonymous.Anonymous.vt = VT_UI4;
        wanted.Anonymous.Anonymous.Anonymous.ulVal = index;
        let call = self.table().item;
        // SAFETY: the object lives through the call, which gives an element; a number needs not to be freed.
        unsafe { Object::from(|found| call(self.this, wanted, found)) }
    }
}

impl Object<IAppHostProperty> {
    fn value(&self) -> Result<Value, Code> {
        let mut value = Value(VARIANT::default());
        // SAFETY: the object lives through the call, and the value is empty and has room for any.
        checked(unsafe { (self.table().value)(self.this, &raw mut value.0) })?;
        Ok(value)
    }
}

/// A value that the objects gave.
struct Value(VARIANT);

impl Value {
    fn number(&self) -> Option<i32> {
        // SAFETY: every value has its type at this place, and behind it what that says.
        let value = unsafe { &self.0.Anonymous.Anonymous };
        match value.vt {
            // SAFETY: by its type the value is such a number.
            VT_I4 | VT_INT => Some(unsafe { value.Anonymous.lVal }),
            // SAFETY: as above.
            VT_UI4 | VT_UINT => unsafe { value.Anonymous.ulVal }.try_into().ok(),
            // SAFETY: as above.
            VT_I2 => Some(unsafe { value.Anonymous.iVal }.into()),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        // SAFETY: every value has its type at this place, and behind it what that says.
        let value = unsafe { &self.0.Anonymous.Anonymous };
        if value.vt != VT_BSTR {
            return None;
        }
        // SAFETY: by its type the value is a text or null, and a text lives as long as its value.
        unsafe {
            let text = value.Anonymous.bstrVal;
            let length = usize::try_from(SysStringLen(text)).unwrap_or(0);
            Some(if length == 0 { String::new() } else { String::from_utf16_lossy(slice::from_raw_parts(text, length)) })
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: a value that was given to us, or an empty one.
        unsafe { VariantClear(&raw mut self.0) };
    }
}

/// A text in the form that the objects want.
struct Text(BSTR);

impl Text {
    fn new(text: &str) -> Result<Self, Code> {
        let text = Wide::new(text);
        // SAFETY: the text is terminated and lives through the call, which copies it.
        let copy = unsafe { SysAllocString(text.as_ptr()) };
        if copy.is_null() { Err(Code(14)) } else { Ok(Self(copy)) }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: made by the only constructor, and freed only here.
        unsafe { SysFreeString(self.0) };
    }
}

/// This thread's place among the objects; left when this is dropped, which must be on the same thread.
struct Apartment(PhantomData<*mut c_void>);

impl Apartment {
    fn enter() -> Result<Self, Code> {
        // SAFETY: has no preconditions; the reserved parameter is null.
        checked(unsafe { CoInitializeEx(ptr::null(), COINIT_MULTITHREADED.cast_unsigned()) })?;
        Ok(Self(PhantomData))
    }
}

impl Drop for Apartment {
    fn drop(&mut self) {
        // SAFETY: this thread has entered one, and cannot have given this to another.
        unsafe { CoUninitialize() };
    }
}

fn checked(result: HRESULT) -> Result<(), Code> {
    if result < 0 { Err(Code(result.cast_unsigned())) } else { Ok(()) }
}
