//! Certificates in an export: of Get-ExchangeCertificate, or of the certificate drive (`Get-ChildItem Cert:\...`).
//!
//! Of a certificate PowerShell writes little more than its DER. What the store keeps beside it (friendly name, where
//! the key lies) and what Exchange thinks of it (which IIS sites use it) hides in `SerializationData`, a .NET
//! BinaryFormatter blob, which may be missing: then these facts are unknown.
//!
//! Get-ExchangeCertificate does not show a whole store. It leaves out, without a word, certificates that are not fit for
//! Exchange's own use, among them what IIS Manager makes (EXCHANGE.md 1.2). So only the certificate drive proves that a
//! certificate is absent.

use std::collections::BTreeSet;

use policy::certificate::{Certificate, CertificateError};
use policy::id::{ServerName, Thumbprint};
use policy::report::{Fact, KeyState, Store, StoreEntry};
use thiserror::Error;

use crate::clixml::{ClixmlError, Graph, Object, Value};
use crate::names;
use crate::serialized::{Serialized, SerializedError, u32_at};
use crate::xml::Place;

const EXCHANGE: &str = "Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate";
const PLAIN: &str = "System.Security.Cryptography.X509Certificates.X509Certificate2";

/// The members of an object that are read here.
pub(crate) const MEMBERS: &[&str] = &[
    "PSComputerName",
    "SerializationData",
    "RawData",
    "Thumbprint",
    "PSParentPath",
    "Archived",
    "IISServices",
    "FriendlyName",
    "HasPrivateKey",
    "Status",
];

/// The status of a certificate that waits for its issuer, as a number: it lies in the REQUEST store.
const PENDING_REQUEST: u32 = 7;

/// An object that could not be read as a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListedError {
    /// Neither `RawData` nor a usable `SerializationData`.
    #[error("expected the certificate at {place} in RawData or SerializationData, found it in neither")]
    Missing {
        /// Where the object begins.
        place: Place,
        /// Why `SerializationData` gave none.
        source: SerializedError,
    },
    /// A property that is no byte array though it says so.
    #[error("expected the bytes of the certificate at {place}")]
    Bytes {
        /// Where the object begins.
        place: Place,
        /// What is wrong.
        source: ClixmlError,
    },
    /// Not a certificate.
    #[error("expected a certificate in RawData at {place}, found other bytes")]
    Certificate {
        /// Where the object begins.
        place: Place,
        /// What is wrong with the bytes.
        source: CertificateError,
    },
    /// The export contradicts itself.
    #[error("expected the object at {place} to hold certificate {stated}, as {by} says, found {found}")]
    Other {
        /// Where the object begins.
        place: Place,
        /// The property that says so.
        by: &'static str,
        /// The thumbprint that it says.
        stated: String,
        /// The thumbprint of the certificate found.
        found: Thumbprint,
    },
    /// A certificate of a user, not of the machine.
    #[error("expected a store of the local machine for the certificate at {place}, found {found:?}")]
    Location {
        /// Where the object begins.
        place: Place,
        /// Its path on the certificate drive.
        found: String,
    },
}

/// Which IIS site Exchange says uses a certificate: `IIS://EX1/W3SVC/2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IisSite {
    /// The machine.
    pub host: ServerName,
    /// IIS' number of the site.
    pub id: u32,
}

/// One certificate of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As it lies in its store.
    pub entry: StoreEntry,
    /// What it says itself.
    pub certificate: Certificate,
    /// IIS sites that use it, as far as Exchange says so.
    pub sites: BTreeSet<IisSite>,
    /// Read from the certificate drive, which shows a store whole.
    pub from_drive: bool,
}

/// All certificates of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those that were read.
    pub listed: Vec<Listed>,
    /// Those that were not.
    pub unread: Vec<ListedError>,
    /// The machine through which the export was made (`PSComputerName`), usually the server itself.
    pub computers: BTreeSet<String>,
}

/// Whether the object is a certificate.
pub fn is_certificate(object: &Object<'_>) -> bool {
    object.is(EXCHANGE) || object.is(PLAIN)
}

/// Reads the certificates of an export. One that cannot be read does not stop the others.
pub fn read(graph: &Graph<'_>) -> Listing {
    let mut listing = Listing::default();
    for object in graph.roots().filter(|object| is_certificate(object)) {
        listing.computers.extend(object.member_text("PSComputerName").map(str::to_owned));
        match listed(graph, object) {
            Ok(listed) => listing.listed.push(listed),
            Err(error) => listing.unread.push(error),
        }
    }
    listing
}

fn listed(graph: &Graph<'_>, object: &Object<'_>) -> Result<Listed, ListedError> {
    let place = object.place;
    let bytes = |name| object.member_bytes(name).map_err(|source| ListedError::Bytes { place, source });
    let (blob, raw) = (bytes("SerializationData")?, bytes("RawData")?);
    let blob = blob.as_deref();
    let serialized = Serialized::find(blob.unwrap_or_default());
    let der = match (&raw, &serialized) {
        (Some(raw), _) => raw,
        (None, Ok(serialized)) => &serialized.der,
        (None, Err(source)) => return Err(ListedError::Missing { place, source: source.clone() }),
    };
    let certificate = Certificate::from_der(der).map_err(|source| ListedError::Certificate { place, source })?;
    let found = certificate.thumbprint();
    if let Some(stated) = object.member_text("Thumbprint").filter(|stated| !stated.eq_ignore_ascii_case(&found.to_string())) {
        return Err(ListedError::Other { place, by: "Thumbprint", stated: stated.chars().take(80).collect(), found });
    }
    let beside = serialized.ok();
    if let Some(other) = beside.as_ref().filter(|beside| beside.der != certificate.der()) {
        let stated = Thumbprint::of(&other.der).to_string();
        return Err(ListedError::Other { place, by: "SerializationData", stated, found });
    }
    let from_drive = object.member_text("PSParentPath").is_some();
    let entry = StoreEntry {
        store: store(graph, object, blob)?,
        certificate: certificate.id(),
        thumbprint: found,
        archived: beside.as_ref().map_or(object.members.get("Archived") == Some(&Value::Bool(true)), |beside| beside.archived),
        friendly_name: friendly_name(object, beside.as_ref()),
        key_state: key_state(object, beside.as_ref()),
        key: beside.map_or_else(not_exported, |beside| Fact::Known(beside.key)),
        key_access: not_exported(),
    };
    let named = graph.texts(object, "IISServices").into_iter().filter_map(iis_site);
    let sites = named.chain(sites_in(blob.unwrap_or_default())).collect();
    Ok(Listed { entry, certificate, sites, from_drive })
}

fn not_exported<T>() -> Fact<T> {
    Fact::Unknown("not in this export".to_owned())
}

fn friendly_name(object: &Object<'_>, beside: Option<&Serialized>) -> Fact<Option<String>> {
    match (object.member_text("FriendlyName"), beside) {
        (Some(name), _) => Fact::Known(Some(name.to_owned()).filter(|name| !name.is_empty())),
        (None, Some(beside)) => Fact::Known(beside.friendly_name.clone()),
        (None, None) => not_exported(),
    }
}

/// An export can prove that no key is linked, but never that a key can be used.
fn key_state(object: &Object<'_>, beside: Option<&Serialized>) -> Fact<KeyState> {
    let says_none = object.members.get("HasPrivateKey") == Some(&Value::Bool(false));
    if says_none || beside.is_some_and(|beside| beside.key.is_none()) { Fact::Known(KeyState::NotLinked) } else { not_exported() }
}

/// The store: as the certificate drive says, else the one in which Get-ExchangeCertificate looks.
fn store(graph: &Graph<'_>, object: &Object<'_>, blob: Option<&[u8]>) -> Result<Store, ListedError> {
    if let Some(path) = object.member_text("PSParentPath") {
        let lower = path.to_ascii_lowercase();
        let machine = lower.rfind("localmachine\\").and_then(|at| path.get(at + "localmachine\\".len()..));
        return machine
            .map(Store::named)
            .ok_or_else(|| ListedError::Location { place: object.place, found: path.chars().take(80).collect() });
    }
    let stated = object.members.get("Status").and_then(|status| graph.text(status));
    let pending = stated.map_or_else(|| blob.and_then(status_in) == Some(PENDING_REQUEST), |status| status == "PendingRequest");
    Ok(if pending { Store::Request } else { Store::My })
}

/// The number of the status enumeration in a BinaryFormatter blob: the only member of its class.
fn status_in(blob: &[u8]) -> Option<u32> {
    const HEAD: &[u8] = b"CertificateStatus\x01\0\0\0\x07value__\0\x08";
    let at = blob.windows(HEAD.len()).position(|window| window == HEAD)?;
    // Four bytes name the assembly.
    u32_at(blob, at + HEAD.len() + 4)
}

/// The IIS paths in a BinaryFormatter blob, where a text is preceded by its length in one byte as long as it is short.
fn sites_in(blob: &[u8]) -> impl Iterator<Item = IisSite> {
    blob.windows(7).enumerate().filter(|(_, window)| window.ends_with(b"IIS://")).filter_map(|(at, window)| {
        let length = usize::from(*window.first()?);
        iis_site(std::str::from_utf8(blob.get(at + 1..)?.get(..length)?).ok()?)
    })
}

fn iis_site(path: &str) -> Option<IisSite> {
    let (host, id) = path.strip_prefix("IIS://")?.split_once("/W3SVC/")?;
    Some(IisSite { host: names::server(host)?, id: id.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;
    use crate::serialized::tests as made;

    fn der() -> Vec<u8> {
        let params = rcgen::CertificateParams::new(vec!["EX1".to_owned(), "ex1.contoso.test".to_owned()]).expect("names");
        params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("signed").der().to_vec()
    }

    fn listing(members: &str) -> Listing {
        let text = format!("<Objs><Obj RefId='0'><TN RefId='0'><T>{EXCHANGE}</T></TN><Props>{members}</Props></Obj></Objs>");
        read(&Graph::read(crate::xml::parse(&text).expect("XML")).expect("objects"))
    }

    fn bytes(name: &str, bytes: &[u8]) -> String {
        format!("<BA N='{name}'>{}</BA>", base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    fn with_sites(der: &[u8]) -> Vec<u8> {
        let site = b"\x11IIS://EX1/W3SVC/2\x0a".as_slice();
        [&made::blob(&made::element(der, "8d5ea9f5", "Microsoft Exchange")), site].concat()
    }

    #[test]
    fn a_certificate_without_raw_data_is_read_from_the_serialized_element() {
        let der = der();
        let both = listing(&(bytes("RawData", &der) + &bytes("SerializationData", &with_sites(&der))));
        let one = listing(&bytes("SerializationData", &with_sites(&der)));
        assert_eq!(both, one);
        let [listed] = &one.listed[..] else { panic!("{one:?}") };
        assert_eq!(listed.certificate.der(), der);
        assert_eq!(listed.entry.store, Store::My);
        assert_eq!(listed.entry.friendly_name, Fact::Known(Some("Microsoft Exchange".into())));
        assert_eq!(listed.entry.key.known().and_then(Option::as_ref).map(|key| key.container.as_str()), Some("8d5ea9f5"));
        assert_eq!(listed.entry.key_state, Fact::Unknown("not in this export".into()));
        assert_eq!(listed.sites, [IisSite { host: "EX1".parse().expect("a name"), id: 2 }].into());
    }

    #[test]
    fn raw_data_alone_leaves_the_rest_unknown() {
        let one = listing(&bytes("RawData", &der()));
        let [listed] = &one.listed[..] else { panic!("{one:?}") };
        assert!(listed.entry.friendly_name.known().is_none() && listed.entry.key.known().is_none());
    }

    #[test]
    fn a_key_that_the_export_denies_is_not_linked() {
        let one = listing(&(bytes("RawData", &der()) + "<B N='HasPrivateKey'>false</B>"));
        assert_eq!(one.listed[0].entry.key_state, Fact::Known(KeyState::NotLinked));
    }

    #[test]
    fn the_store_is_told_by_the_drive_and_by_the_status() {
        let raw = bytes("RawData", &der());
        let path = |path: &str| format!("{raw}<S N='PSParentPath'>Microsoft.PowerShell.Security\\Certificate::{path}</S>");
        assert_eq!(listing(&path("LocalMachine\\WebHosting")).listed[0].entry.store, Store::WebHosting);
        assert!(listing(&path("LocalMachine\\My")).listed[0].from_drive);
        assert!(matches!(listing(&path("CurrentUser\\My")).unread[..], [ListedError::Location { .. }]));
        assert_eq!(listing(&format!("{raw}<S N='Status'>PendingRequest</S>")).listed[0].entry.store, Store::Request);
    }

    #[test]
    fn an_object_that_contradicts_itself_is_not_believed() {
        let (der, other) = (der(), der());
        let stated = listing(&(bytes("RawData", &der) + "<S N='Thumbprint'>00</S>"));
        assert!(matches!(stated.unread[..], [ListedError::Other { by: "Thumbprint", .. }]));
        let mixed = listing(&(bytes("RawData", &der) + &bytes("SerializationData", &with_sites(&other))));
        assert!(matches!(mixed.unread[..], [ListedError::Other { by: "SerializationData", .. }]));
        assert!(matches!(listing("").unread[..], [ListedError::Missing { .. }]));
        assert!(matches!(listing(&bytes("RawData", b"x")).unread[..], [ListedError::Certificate { .. }]));
    }
}
