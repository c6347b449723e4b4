//! Certificate stores of this host: the calls that steps are made of, and what a report says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use policy::certificate::Certificate;
use policy::id::{CertificateId, Sha256, Thumbprint};
use policy::plan::Der;
use policy::report::{Fact, KeyContainer, KeyState, Store, StoreEntry};

use super::ffi::Code;
use super::ffi::store::{self, CertStore, Found};
use super::keys::{self, Keys};
use crate::driver::DriverError;
use crate::driver::system::Stored;

/// The stores that a report tells of, in its order.
const OBSERVED: [Store; 5] = [Store::My, Store::WebHosting, Store::Root, Store::Request, Store::Disallowed];

/// Every certificate of a store, archived ones too. A store that does not exist holds none. A property that does not read is as
/// good as none: a step that needs it writes it.
///
/// # Errors
/// [`DriverError`] when the store cannot be read.
pub fn stored(store: &Store) -> Result<Vec<Stored>, DriverError> {
    let plain = |found: Found| {
        let Found { der, friendly_name, key, archived } = found;
        Stored { der: Der(der), friendly_name: friendly_name.unwrap_or_default(), key: key.unwrap_or_default(), archived }
    };
    Ok(found(store)?.into_iter().map(plain).collect())
}

/// Puts a certificate into a store; one that is there already gets the properties of `entry`.
///
/// # Errors
/// [`DriverError`] when it was not put there.
pub fn add(store: &Store, entry: &Stored) -> Result<(), DriverError> {
    let added = plain(store).and_then(|name| CertStore::to_change(name)?.add(entry));
    added.map_err(|code| code.of("store.add", format!("{} in {store}", Thumbprint::of(&entry.der.0))))
}

/// Sets or takes off the archived mark.
///
/// # Errors
/// [`DriverError`] when it was not changed, or the certificate is not there.
pub fn mark_archived(store: &Store, thumbprint: Thumbprint, archived: bool) -> Result<(), DriverError> {
    let marked = plain(store).and_then(|name| CertStore::existing_to_change(name)?.mark_archived(thumbprint, archived));
    marked.map_err(|code| code.of("store.archive", format!("{thumbprint} in {store}")))
}

/// Takes the copy out of Root, and out of no other store. One that is not there is no error.
///
/// # Errors
/// [`DriverError`] when it was not taken out.
pub fn remove_trust_copy(thumbprint: Thumbprint) -> Result<(), DriverError> {
    store::remove_from_root(thumbprint).map_err(|code| code.of("store.remove", format!("{thumbprint} in Root")))
}

/// The stores as this process has seen them: certificates that have not changed are not decoded again at every look.
#[derive(Debug, Default)]
pub struct Stores {
    keys: Keys,
    decoded: Mutex<BTreeMap<CertificateId, Certificate>>,
}

/// What one look at the stores and their keys showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Certificates of the machine's stores, in order of store and thumbprint.
    pub stores: Fact<Vec<StoreEntry>>,
    /// Key containers that certificates name or that were remembered, as far as they exist.
    pub containers: Fact<Vec<KeyContainer>>,
    /// Decoded certificates by identity.
    pub certificates: BTreeMap<CertificateId, Certificate>,
}

impl Stores {
    /// Looks at the stores, at the keys of what is in `My` and `WebHosting`, and at the containers of these and of `remembered`.
    ///
    /// Other stores hold certificates of others, in their hundreds; nobody asks for their keys.
    pub fn look(&self, remembered: &BTreeSet<String>) -> Seen {
        let (stores, certificates) = match self.entries() {
            Ok((entries, certificates)) => (Fact::Known(entries), certificates),
            Err(error) => (Fact::Unknown(crate::chain(&error)), BTreeMap::new()),
        };
        let entries = stores.known().into_iter().flatten().filter(|entry| keys_matter(&entry.store));
        let links = entries.filter_map(|entry| entry.key.known()?.as_ref());
        let containers = Fact::Known(keys::containers(links, remembered));
        Seen { stores, containers, certificates }
    }

    fn entries(&self) -> Result<(Vec<StoreEntry>, BTreeMap<CertificateId, Certificate>), DriverError> {
        let mut before = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut certificates = BTreeMap::new();
        let mut entries = Vec::new();
        for store in OBSERVED {
            for found in found(&store)? {
                let id = Sha256::of(&found.der);
                let decode = || Certificate::from_der(&found.der).ok();
                if let Some(known) = before.get(&id).cloned().or_else(decode) {
                    certificates.entry(id).or_insert(known);
                }
                // What does not decode is listed all the same: by its bytes alone it can still be on a record.
                entries.push(self.entry(store.clone(), id, found, certificates.get(&id)));
            }
        }
        before.clone_from(&certificates);
        Ok((entries, certificates))
    }

    fn entry(&self, store: Store, certificate: CertificateId, found: Found, decoded: Option<&Certificate>) -> StoreEntry {
        let Found { der, friendly_name, key, archived } = found;
        let (key_state, key_access) = match &key {
            Ok(None) => (Fact::Known(KeyState::NotLinked), Fact::Known(Vec::new())),
            Ok(Some(_)) if !keys_matter(&store) => {
                let why = format!("keys of certificates in {store} are not opened");
                (Fact::Unknown(why.clone()), Fact::Unknown(why))
            }
            Ok(Some(link)) => self.keys.state(link, decoded),
            Err(damaged) => (Fact::Unknown(damaged.to_string()), Fact::Unknown(damaged.to_string())),
        };
        StoreEntry {
            store,
            certificate,
            thumbprint: Thumbprint::of(&der),
            archived,
            friendly_name: friendly_name.map_or_else(|damaged| Fact::Unknown(damaged.to_string()), Fact::Known),
            key: key.map_or_else(|damaged| Fact::Unknown(damaged.to_string()), Fact::Known),
            key_state,
            key_access,
        }
    }
}

fn keys_matter(store: &Store) -> bool {
    matches!(store, Store::My | Store::WebHosting)
}

/// The certificates of a store in order of their thumbprints, each once.
fn found(store: &Store) -> Result<Vec<Found>, DriverError> {
    let all = plain(store).and_then(|name| CertStore::existing(name)?.map_or_else(|| Ok(Vec::new()), |store| store.all()));
    let mut all = all.map_err(|code| code.of("store.read", store.as_str()))?;
    // A store of the machine is shown as one and kept in several places: what is in two of them (Group Policy adds to Root what
    // Setup put there) is one certificate, and the copy with a key is the one that counts.
    all.sort_by_cached_key(|found| (Thumbprint::of(&found.der), matches!(found.key, Ok(None)), found.archived));
    all.dedup_by(|later, first| later.der == first.der);
    Ok(all)
}

/// A name that stays on this machine: with a backslash it would be a store of another one, and a call reads no further than a NUL.
fn plain(store: &Store) -> Result<&str, Code> {
    let name = store.as_str();
    let fits = !name.is_empty() && !name.contains(['\\', '/', '\0']);
    if fits { Ok(name) } else { Err(Code(87)) }
}

#[cfg(test)]
mod tests;
