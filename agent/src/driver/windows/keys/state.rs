//! What a report says of keys: whether the one that a certificate names can be used, by whom, and which containers there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use policy::certificate::Certificate;
use policy::id::Sha256;
use policy::report::{Access, Fact, KeyContainer, KeyLink, KeyState};

use super::{DENIED, WindowsKey, linked, named};
use crate::driver::DriverError;
use crate::driver::examine::signs;
use crate::driver::system::{HostKey, Opened};
use crate::driver::windows::ffi::Code;

/// Keys as this process has seen them.
///
/// A look comes every minute, and Windows audits each use of a private key. So every look opens the key and compares it, which
/// takes only its public part; it signs once for each container and key, and again after anything went wrong with it.
#[derive(Debug, Default)]
pub struct Keys {
    signed: Mutex<BTreeSet<(String, Sha256)>>,
}

impl Keys {
    /// Opens the key that a certificate names, compares it, and tries it.
    pub fn state(&self, link: &KeyLink, certificate: Option<&Certificate>) -> (Fact<KeyState>, Fact<Vec<Access>>) {
        let (state, access) = match linked(link) {
            Ok(Opened::Missing) => (Fact::Known(KeyState::Missing), Fact::Known(Vec::new())),
            Ok(Opened::Denied) => {
                (Fact::Known(KeyState::Denied), Fact::Unknown(format!("key container {} may not be opened", link.container)))
            }
            Ok(Opened::Key(key)) => {
                (self.compared(link, &key, certificate), key.access().map_or_else(|error| unknown(&error), Fact::Known))
            }
            Err(error) => (unknown(&error), unknown(&error)),
        };
        if state != Fact::Known(KeyState::Usable) {
            self.signed().retain(|(container, _)| *container != link.container);
        }
        (state, access)
    }

    fn compared(&self, link: &KeyLink, key: &WindowsKey, certificate: Option<&Certificate>) -> Fact<KeyState> {
        let Some(certificate) = certificate else {
            return Fact::Unknown("the certificate could not be decoded, so its key could not be compared".to_owned());
        };
        if certificate.key_id() != key.id() {
            return Fact::Known(KeyState::Foreign);
        }
        let known = (link.container.clone(), key.id());
        if self.signed().contains(&known) {
            return Fact::Known(KeyState::Usable);
        }
        match signs(key) {
            Ok(()) => {
                self.signed().insert(known);
                Fact::Known(KeyState::Usable)
            }
            Err(DriverError::Refused { code, .. }) if DENIED.contains(&Code(code)) => Fact::Known(KeyState::Denied),
            Err(error) => unknown(&error),
        }
    }

    #[cfg(test)]
    pub(super) fn tried(&self) -> Vec<(String, Sha256)> {
        self.signed().iter().cloned().collect()
    }

    fn signed(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, Sha256)>> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The containers that certificates name, and those of `remembered` that exist.
pub fn containers<'a>(links: impl IntoIterator<Item = &'a KeyLink>, remembered: &BTreeSet<String>) -> Vec<KeyContainer> {
    let links: BTreeMap<&str, &KeyLink> = links.into_iter().map(|link| (link.container.as_str(), link)).collect();
    let names: BTreeSet<&str> = links.keys().copied().chain(remembered.iter().map(String::as_str)).collect();
    let open = |name: &str| {
        let key_id = match links.get(name).map_or_else(|| named(name), |link| linked(link)) {
            Ok(Opened::Missing) => return None,
            Ok(Opened::Denied) => Fact::Unknown("it may not be opened".to_owned()),
            Ok(Opened::Key(key)) => Fact::Known(key.id()),
            Err(error) => unknown(&error),
        };
        Some(KeyContainer { name: name.to_owned(), key_id })
    };
    names.into_iter().filter_map(open).collect()
}

fn unknown<T>(error: &DriverError) -> Fact<T> {
    Fact::Unknown(crate::chain(error))
}
