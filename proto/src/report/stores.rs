//! Certificates in the machine's stores, and the containers that hold their keys.

use policy::id::{Sha256, Thumbprint};
use policy::report::{Access, Fact, KeyContainer, KeyLink, KeyState, Store, StoreEntry};

use super::fact;
use crate::agent;
use crate::invalid::{self, Invalid, present};

/// The most store entries of one report.
pub const MAX_ENTRIES: usize = 5000;

/// The most key containers of one report.
pub const MAX_CONTAINERS: usize = 5000;

/// The most entries of one key's access list.
const MAX_ACCESS: usize = 100;

pub(super) fn stores_to_wire(stores: Fact<Vec<StoreEntry>>) -> Option<agent::StoresFact> {
    fact::to_wire(stores, |entries| agent::StoreEntries { entries: entries.into_iter().map(agent::StoreEntry::from).collect() })
}

pub(super) fn stores_from_wire(wire: Option<agent::StoresFact>) -> Result<Fact<Vec<StoreEntry>>, Invalid> {
    fact::from_wire("Report.stores", wire, |agent::StoreEntries { entries }| {
        invalid::list("StoreEntries.entries", MAX_ENTRIES, entries, StoreEntry::try_from)
    })
}

pub(super) fn containers_to_wire(containers: Fact<Vec<KeyContainer>>) -> Option<agent::ContainersFact> {
    let one = |KeyContainer { name, key_id }| agent::KeyContainer {
        name,
        key_id: fact::to_wire(key_id, |Sha256(digest)| digest.to_vec()),
    };
    fact::to_wire(containers, |containers| agent::KeyContainers { containers: containers.into_iter().map(one).collect() })
}

pub(super) fn containers_from_wire(wire: Option<agent::ContainersFact>) -> Result<Fact<Vec<KeyContainer>>, Invalid> {
    let one = |agent::KeyContainer { name, key_id }| {
        let digest = |digest: Vec<u8>| invalid::exactly("KeyContainer.key_id", &digest).map(Sha256);
        Ok(KeyContainer {
            name: invalid::text("KeyContainer.name", name)?,
            key_id: fact::from_wire("KeyContainer.key_id", key_id, digest)?,
        })
    };
    fact::from_wire("Report.containers", wire, |agent::KeyContainers { containers }| {
        invalid::list("KeyContainers.containers", MAX_CONTAINERS, containers, one)
    })
}

impl From<StoreEntry> for agent::StoreEntry {
    fn from(entry: StoreEntry) -> Self {
        let StoreEntry { store, certificate, thumbprint, archived, friendly_name, key, key_state, key_access } = entry;
        let access = |Access { sid, mask }| agent::Access { sid, mask };
        Self {
            store: Some(store.into()),
            certificate: certificate.0.to_vec(),
            thumbprint: thumbprint.0.to_vec(),
            archived,
            friendly_name: fact::optional_text_to_wire(friendly_name),
            key: fact::to_wire(key, |link| agent::OptionalKeyLink { link: link.map(agent::KeyLink::from) }),
            key_state: fact::to_wire(key_state, |state| agent::KeyState::from(state).into()),
            key_access: fact::to_wire(key_access, |list| agent::AccessList { entries: list.into_iter().map(access).collect() }),
        }
    }
}

impl TryFrom<agent::StoreEntry> for StoreEntry {
    type Error = Invalid;

    fn try_from(wire: agent::StoreEntry) -> Result<Self, Invalid> {
        let agent::StoreEntry { store, certificate, thumbprint, archived, friendly_name, key, key_state, key_access } = wire;
        let access = |agent::Access { sid, mask }| Ok(Access { sid: invalid::text("Access.sid", sid)?, mask });
        Ok(Self {
            store: present("StoreEntry.store", store)?.try_into()?,
            certificate: Sha256(invalid::exactly("StoreEntry.certificate", &certificate)?),
            thumbprint: Thumbprint(invalid::exactly("StoreEntry.thumbprint", &thumbprint)?),
            archived,
            friendly_name: fact::optional_text_from_wire("StoreEntry.friendly_name", friendly_name)?,
            key: fact::from_wire("StoreEntry.key", key, |agent::OptionalKeyLink { link }| {
                link.map(KeyLink::try_from).transpose()
            })?,
            key_state: fact::from_wire("StoreEntry.key_state", key_state, key_state_of)?,
            key_access: fact::from_wire("StoreEntry.key_access", key_access, |agent::AccessList { entries }| {
                invalid::list("AccessList.entries", MAX_ACCESS, entries, access)
            })?,
        })
    }
}

impl From<Store> for agent::Store {
    fn from(store: Store) -> Self {
        let known = |store: agent::KnownStore| agent::store::Store::Known(store.into());
        let store = match store {
            Store::My => known(agent::KnownStore::My),
            Store::WebHosting => known(agent::KnownStore::WebHosting),
            Store::Root => known(agent::KnownStore::Root),
            Store::Request => known(agent::KnownStore::Request),
            Store::Disallowed => known(agent::KnownStore::Disallowed),
            Store::Other(name) => agent::store::Store::Other(name),
        };
        Self { store: Some(store) }
    }
}

impl TryFrom<agent::Store> for Store {
    type Error = Invalid;

    fn try_from(wire: agent::Store) -> Result<Self, Invalid> {
        let agent::Store { store } = wire;
        match present("Store.store", store)? {
            agent::store::Store::Known(value) => match invalid::number("Store.known", value)? {
                agent::KnownStore::Unspecified => Err(Invalid::Unknown { field: "Store.known", value }),
                agent::KnownStore::My => Ok(Self::My),
                agent::KnownStore::WebHosting => Ok(Self::WebHosting),
                agent::KnownStore::Root => Ok(Self::Root),
                agent::KnownStore::Request => Ok(Self::Request),
                agent::KnownStore::Disallowed => Ok(Self::Disallowed),
            },
            // One store, one name: `my` written out would be a second `My` that no rule knows.
            agent::store::Store::Other(name) => match Self::named(&invalid::text("Store.other", name)?) {
                other @ Self::Other(_) => Ok(other),
                known @ (Self::My | Self::WebHosting | Self::Root | Self::Request | Self::Disallowed) => {
                    Err(Invalid::Value { field: "Store.other", expected: "a store that has no number", found: known.to_string() })
                }
            },
        }
    }
}

impl From<KeyLink> for agent::KeyLink {
    fn from(link: KeyLink) -> Self {
        let KeyLink { container, provider, provider_type, flags, key_spec } = link;
        Self { container, provider, provider_type, flags, key_spec }
    }
}

impl TryFrom<agent::KeyLink> for KeyLink {
    type Error = Invalid;

    fn try_from(wire: agent::KeyLink) -> Result<Self, Invalid> {
        let agent::KeyLink { container, provider, provider_type, flags, key_spec } = wire;
        Ok(Self {
            container: invalid::text("KeyLink.container", container)?,
            provider: invalid::text("KeyLink.provider", provider)?,
            provider_type,
            flags,
            key_spec,
        })
    }
}

impl From<KeyState> for agent::KeyState {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Usable => Self::Usable,
            KeyState::NotLinked => Self::NotLinked,
            KeyState::Missing => Self::Missing,
            KeyState::Denied => Self::Denied,
            KeyState::Foreign => Self::Foreign,
        }
    }
}

fn key_state_of(value: i32) -> Result<KeyState, Invalid> {
    match invalid::number("StoreEntry.key_state", value)? {
        agent::KeyState::Unspecified => Err(Invalid::Unknown { field: "StoreEntry.key_state", value }),
        agent::KeyState::Usable => Ok(KeyState::Usable),
        agent::KeyState::NotLinked => Ok(KeyState::NotLinked),
        agent::KeyState::Missing => Ok(KeyState::Missing),
        agent::KeyState::Denied => Ok(KeyState::Denied),
        agent::KeyState::Foreign => Ok(KeyState::Foreign),
    }
}
