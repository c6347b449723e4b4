//! Private keys of this host: opened, made, and granted.
//!
//! A key is opened from the key link of its certificate, as Windows itself opens it for TLS, and not through the certificate:
//! `CryptAcquireCertificatePrivateKey` remembers handles, and does not say which container it opened. Containers are never
//! listed, none is taken away but that of rehearsals, and a private key never leaves its own.

use policy::id::Sha256;
use policy::report::{Access, KeyLink};

use super::ffi::Code;
use super::ffi::key::{self, Container, EXISTS, NO_CONTAINER, NO_KEY, Place, Spec};
use super::ffi::ncrypt::{NOT_SUPPORTED, SOFTWARE, StoredKey};
use super::ffi::security::{self, Descriptor, Unlisted};
use super::{keyfile, rsa};
use crate::driver::DriverError;
use crate::driver::rehearse::CONTAINER;
use crate::driver::system::{HostKey, Opened};

mod state;

pub use self::state::{Keys, containers};

/// `CRYPT_MACHINE_KEYSET` of a key link.
const MACHINE: u32 = 0x20;

/// The provider type that stands for a key storage provider of CNG.
const CNG: u32 = 0;

/// No right: as the system says it, as an HRESULT, and `NTE_PERM`.
const DENIED: [Code; 3] = [Code(5), Code(0x8007_0005), Code(0x8009_0010)];

/// No such key: `NTE_BAD_KEYSET`, `NTE_NOT_FOUND`.
const MISSING: [Code; 2] = [NO_CONTAINER, Code(0x8009_0011)];

/// An RSA key of this host.
///
/// It holds no handle: those are not for several threads, and while one is open Windows keeps the key in memory. Each use opens
/// the key anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowsKey {
    place: KeyPlace,
    public: Vec<u8>,
    id: Sha256,
}

impl WindowsKey {
    fn new(place: KeyPlace, exported: &[u8]) -> Result<Self, DriverError> {
        let public = match &place {
            KeyPlace::Csp { .. } => rsa::of_csp(exported),
            KeyPlace::Cng { .. } => rsa::of_cng(exported),
        };
        let public = public.ok_or_else(|| place.unreadable("an RSA key", "another"))?;
        let id = Sha256::of(&rsa::spki(&public));
        Ok(Self { place, public, id })
    }

    fn grant(&self, access: &[Access]) -> Result<(), DriverError> {
        let descriptor = Descriptor::of(access).map_err(|unlisted| self.place.unlisted(&unlisted))?;
        let set = self.place.open().and_then(|open| open.set_descriptor(&descriptor));
        set.map_err(|code| code.of("key.grant", self.place.name()))
    }
}

impl HostKey for WindowsKey {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn id(&self) -> Sha256 {
        self.id
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DriverError> {
        let signed = self.place.open().and_then(|open| open.sign(message));
        signed.map_err(|code| code.of("key.sign", self.place.name()))
    }

    fn signer(&self) -> Result<String, DriverError> {
        let place = match &self.place {
            KeyPlace::Cng { provider, .. } => return Ok(format!("by {provider}")),
            KeyPlace::Csp { place, .. } => place,
        };
        let itself = Container::open(place.clone()).and_then(|open| open.signs_itself());
        let kind = place.provider_type;
        Ok(match itself.map_err(|code| code.of("key.sign", self.place.name()))? {
            true => format!("by provider type {kind} itself"),
            false => format!("by provider type 24 in the place of {kind}, which has no SHA-256 (0x80090008)"),
        })
    }

    fn access(&self) -> Result<Vec<Access>, DriverError> {
        let descriptor = self.place.open().and_then(|open| open.descriptor());
        let descriptor = descriptor.map_err(|code| code.of("key.access", self.place.name()))?;
        security::entries(&descriptor).map_err(|unlisted| self.place.unlisted(&unlisted))
    }
}

/// The key of that container, wherever on this machine one of this name is: the vendor's provider, whose containers all of
/// Microsoft's classic providers share, or the software provider of CNG.
///
/// # Errors
/// [`DriverError`] when that cannot be told, or the key is no RSA key.
pub fn named(container: &str) -> Result<Opened<WindowsKey>, DriverError> {
    let name = plain(container)?;
    let vendor = |spec| KeyPlace::Csp { place: Place::vendor(name), spec };
    match first([vendor(Spec::EXCHANGE), vendor(Spec::SIGNATURE)])? {
        Opened::Missing => {}
        found @ (Opened::Denied | Opened::Key(_)) => return Ok(found),
    }
    match first([KeyPlace::Cng { provider: SOFTWARE.to_owned(), name: name.to_owned(), spec: 0, machine: true }]) {
        // A provider that keeps no keys has none of this name.
        Err(DriverError::Refused { code, .. }) if Code(code) == NOT_SUPPORTED => Ok(Opened::Missing),
        found => found,
    }
}

/// The key that a certificate names.
///
/// # Errors
/// [`DriverError`] when that cannot be told, the key is no RSA key, or the container has only one of another kind.
pub fn linked(link: &KeyLink) -> Result<Opened<WindowsKey>, DriverError> {
    let place = KeyPlace::of(link)?;
    let found = first([place.clone()])?;
    match (&found, place.other_kind()) {
        (Opened::Missing, Some(other)) if other.exported().is_ok() => {
            Err(place.unreadable(&format!("a key of kind {}", link.key_spec), "one of another kind only"))
        }
        _ => Ok(found),
    }
}

/// Makes a key in the vendor's profile (EXCHANGE.md 1.1): machine keyset, key exchange, not exportable.
///
/// # Errors
/// [`DriverError::Refused`]: 0x8009000F when there is a key in a container of this name.
pub fn create(container: &str, bits: u32) -> Result<(), DriverError> {
    let place = Place::vendor(plain(container)?);
    let made = match Container::create(place.clone()) {
        // A container without a key is what remains when this was interrupted, and nothing is lost by filling it.
        Err(EXISTS) => Container::open(place).and_then(|open| {
            let empty = [Spec::EXCHANGE, Spec::SIGNATURE].into_iter().all(|spec| open.public(spec) == Err(NO_KEY));
            if empty { Ok(open) } else { Err(EXISTS) }
        }),
        made => made,
    };
    made.and_then(|made| made.generate(bits)).map_err(|code| code.of("key.create", container))
}

/// Takes the container of rehearsals away; true when there was one.
///
/// # Errors
/// [`DriverError`] when it was not taken away. What may not be opened looks as if it were not there, here as elsewhere: who
/// wants to know asks [`named`] afterwards.
pub fn delete_rehearsal() -> Result<bool, DriverError> {
    match key::delete_rehearsal() {
        Ok(()) => Ok(true),
        Err(code) if MISSING.contains(&code) => Ok(false),
        Err(code) => Err(code.of("key.delete", CONTAINER)),
    }
}

/// Sets who may use the key in that container.
///
/// # Errors
/// [`DriverError`] when it was not set, or there is no such key.
pub fn grant(container: &str, access: &[Access]) -> Result<(), DriverError> {
    match named(container)? {
        Opened::Missing => Err(NO_CONTAINER.of("key.grant", container)),
        Opened::Denied => Err(Code(5).of("key.grant", container)),
        Opened::Key(key) => key.grant(access),
    }
}

/// The key at the first of these places that holds one.
fn first(places: impl IntoIterator<Item = KeyPlace>) -> Result<Opened<WindowsKey>, DriverError> {
    for place in places {
        match place.exported() {
            Ok(exported) => return WindowsKey::new(place, &exported).map(Opened::Key),
            Err(code) if DENIED.contains(&code) => return Ok(Opened::Denied),
            Err(code) if MISSING.contains(&code) => {
                if place.locked(code)? {
                    return Ok(Opened::Denied);
                }
            }
            // A container without a key is none.
            Err(NO_KEY) => {}
            Err(code) => return Err(code.of("key.open", place.name())),
        }
    }
    Ok(Opened::Missing)
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyPlace {
    /// In a container of a classic provider, which may hold two.
    Csp { place: Place, spec: Spec },
    /// With a key storage provider.
    Cng { provider: String, name: String, spec: u32, machine: bool },
}

impl KeyPlace {
    fn of(link: &KeyLink) -> Result<Self, DriverError> {
        let KeyLink { container, provider, provider_type, flags, key_spec } = link;
        let (name, provider) = (plain(container)?.to_owned(), provider.clone());
        let machine = flags & MACHINE != 0;
        if *provider_type == CNG {
            return Ok(Self::Cng { provider, name, spec: *key_spec, machine });
        }
        let spec = Spec::of(*key_spec).ok_or_else(|| DriverError::Unreadable {
            object: format!("link to key container {name}"),
            expected: "a key of kind 1 or 2".to_owned(),
            found: key_spec.to_string(),
        })?;
        Ok(Self::Csp { place: Place { container: name, provider, provider_type: *provider_type, machine }, spec })
    }

    fn name(&self) -> &str {
        match self {
            Self::Csp { place, .. } => &place.container,
            Self::Cng { name, .. } => name,
        }
    }

    /// The other of the two places in the same container.
    fn other_kind(&self) -> Option<Self> {
        match self {
            Self::Csp { place, spec } => {
                let spec = if *spec == Spec::EXCHANGE { Spec::SIGNATURE } else { Spec::EXCHANGE };
                Some(Self::Csp { place: place.clone(), spec })
            }
            Self::Cng { .. } => None,
        }
    }

    fn open(&self) -> Result<Open, Code> {
        match self {
            Self::Csp { place, spec } => Container::open(place.clone()).map(|container| Open::Csp(container, *spec)),
            Self::Cng { provider, name, spec, machine } => StoredKey::open(provider, name, *spec, *machine).map(Open::Cng),
        }
    }

    fn exported(&self) -> Result<Vec<u8>, Code> {
        match self.open()? {
            Open::Csp(container, spec) => container.public(spec),
            Open::Cng(key) => key.public(),
        }
    }

    /// A container that was said to be missing is there, and may not be opened.
    fn locked(&self, code: Code) -> Result<bool, DriverError> {
        match self {
            Self::Csp { place, .. } if place.machine => {
                keyfile::exists(&place.container)?.ok_or_else(|| code.of("key.open", &place.container))
            }
            Self::Csp { .. } | Self::Cng { .. } => Ok(false),
        }
    }

    fn unreadable(&self, expected: &str, found: &str) -> DriverError {
        let object = format!("key container {}", self.name());
        DriverError::Unreadable { object, expected: expected.to_owned(), found: found.to_owned() }
    }

    fn unlisted(&self, unlisted: &Unlisted) -> DriverError {
        self.unreadable("an access list of those who may use it", &unlisted.to_string())
    }
}

/// A key that is open.
enum Open {
    Csp(Container, Spec),
    Cng(StoredKey),
}

impl Open {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Code> {
        match self {
            Self::Csp(container, spec) => container.sign(*spec, message),
            Self::Cng(key) => key.sign(message),
        }
    }

    fn descriptor(&self) -> Result<Vec<u8>, Code> {
        match self {
            Self::Csp(container, _) => container.descriptor(),
            Self::Cng(key) => key.descriptor(),
        }
    }

    fn set_descriptor(&self, descriptor: &Descriptor) -> Result<(), Code> {
        match self {
            Self::Csp(container, _) => container.set_descriptor(descriptor),
            Self::Cng(key) => key.set_descriptor(descriptor),
        }
    }
}

/// A name that means itself: an empty one means the default container, and a call reads no further than a NUL.
fn plain(container: &str) -> Result<&str, DriverError> {
    let fits = !container.is_empty() && !container.contains('\0');
    fits.then_some(container).ok_or_else(|| DriverError::Unreadable {
        object: "name of a key container".to_owned(),
        expected: "at least one character, and no NUL".to_owned(),
        found: format!("{:?}", container.chars().take(80).collect::<String>()),
    })
}

#[cfg(test)]
pub(super) mod tests;
