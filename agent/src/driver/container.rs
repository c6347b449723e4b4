//! What a plan makes for its key container: the certificate, the copy of it in Root, and the proof that it serves.

use jiff::{Timestamp, ToSpan};
use policy::certificate::Certificate;
use policy::decide::vendor_link;
use policy::id::Thumbprint;
use policy::plan::{Der, Difference};
use policy::report::{SslRecord, Store};

use super::mint::{FRIENDLY_NAME, MintError, Profile};
use super::steps::{Steps, closed, differs, done_if, no_container};
use super::system::{HostKey, Opened, Stored, System};
use super::{DriverError, State, dry};

/// A certificate that was made longer ago is not this plan's (TRUST J5).
const FRESH_DAYS: i64 = 7;

/// A certificate begins so long before it is made, for clocks that are behind.
const BACK_DATED_MINUTES: i64 = 5;

/// Made for this container, as the stores tell.
pub(super) struct Made {
    pub(super) certificate: Certificate,
    stored: Stored,
}

impl<S: System> Steps<'_, S> {
    /// Whether `My` holds a fresh certificate of the container for these names.
    pub(super) fn minted(&self, container: &str, names: [&str; 2]) -> Result<State, DriverError> {
        if matches!(self.0.key(container)?, Opened::Missing) {
            return Ok(no_container(container));
        }
        let made = self.made(container)?;
        Ok(done_if(made.iter().any(|made| !made.stored.archived && is_for(&made.certificate, &names, now()))))
    }

    /// Makes a certificate for the container's key and adds it to `My`.
    pub(super) fn mint(&self, container: &str, netbios: &str, fqdn: &str, months: u32) -> Result<(), DriverError> {
        let der = certificate_for(&self.open(container)?, netbios, fqdn, months)?;
        // An earlier attempt's leftover would make "the container's certificate" two.
        self.archive_unused(container)?;
        let friendly_name = Some(FRIENDLY_NAME.to_owned());
        self.0.add(&Store::My, &Stored { der, friendly_name, key: Some(vendor_link(container)), archived: false })
    }

    /// Adds the public part of the container's certificate to Root.
    pub(super) fn trust_copy(&self, container: &str) -> Result<(), DriverError> {
        let made = self.current(container)?.ok_or_else(|| missing(container))?;
        self.0.add(&Store::Root, &Stored { key: None, ..made.stored })
    }

    /// Removes the copies in Root that nothing refers to.
    pub(super) fn take_back_copy(&self, container: &str) -> Result<(), DriverError> {
        let records = self.0.records()?;
        for made in self.made(container)? {
            let thumbprint = made.certificate.thumbprint();
            if !refers(&records, thumbprint) && self.stored(&Store::Root, thumbprint)?.is_some() {
                self.0.remove_trust_copy(thumbprint)?;
            }
        }
        Ok(())
    }

    /// Shakes hands with the container's certificate on a private port.
    pub(super) fn dry_handshake(&self, container: &str) -> Result<(), DriverError> {
        let made = self.current(container)?.ok_or_else(|| missing(container))?;
        dry::handshake(&made.certificate, self.open(container)?, &self.0.full_name()?)
    }

    /// Archives what was made for the container and stands on no record.
    pub(super) fn archive_unused(&self, container: &str) -> Result<(), DriverError> {
        let unarchived: Vec<Made> = self.made(container)?.into_iter().filter(|made| !made.stored.archived).collect();
        if unarchived.is_empty() {
            return Ok(());
        }
        let records = self.0.records()?;
        for made in unarchived {
            let thumbprint = made.certificate.thumbprint();
            if !refers(&records, thumbprint) {
                self.0.mark_archived(&Store::My, thumbprint, true)?;
            }
        }
        Ok(())
    }

    /// The container's key, which must be there and open.
    fn open(&self, container: &str) -> Result<S::Key, DriverError> {
        match self.0.key(container)? {
            Opened::Missing => Err(missing(container)),
            Opened::Denied => Err(differs(closed(container))),
            Opened::Key(key) => Ok(key),
        }
    }

    /// Everything in `My` whose key is in the container, archived or not, the newest last.
    fn made(&self, container: &str) -> Result<Vec<Made>, DriverError> {
        let key = match self.0.key(container)? {
            Opened::Missing => return Ok(Vec::new()),
            // No key to compare: what a closed container holds is then known by the links to it alone.
            Opened::Denied => None,
            Opened::Key(key) => Some(key.id()),
        };
        let linked = |stored: &Stored| stored.key.as_ref().is_some_and(|link| link.container == container);
        let mine = self.0.stored(&Store::My)?.into_iter().filter(linked);
        let mut made: Vec<Made> = mine
            .filter_map(|stored| Certificate::from_der(&stored.der.0).ok().map(|certificate| Made { certificate, stored }))
            .filter(|made| key.is_none_or(|key| key == made.certificate.key_id()))
            .collect();
        made.sort_by_key(|made| (made.certificate.not_before(), made.certificate.thumbprint()));
        Ok(made)
    }

    /// The container's certificate: the newest that is not archived.
    pub(super) fn current(&self, container: &str) -> Result<Option<Made>, DriverError> {
        Ok(self.made(container)?.into_iter().rfind(|made| !made.stored.archived))
    }
}

/// A certificate in the vendor's profile for these names, signed by its own key.
pub(super) fn certificate_for(key: &dyn HostKey, netbios: &str, fqdn: &str, months: u32) -> Result<Der, DriverError> {
    let unmade = |error: MintError| DriverError::Unreadable {
        object: format!("certificate for {netbios} and {fqdn}"),
        expected: "a profile that can be made".to_owned(),
        found: crate::chain(&error),
    };
    let profile = Profile::vendor(netbios, fqdn, now() - BACK_DATED_MINUTES.minutes(), months).map_err(unmade)?;
    profile.self_signed(key).map(Der).map_err(unmade)
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a driver is the host, and a host has a clock")]
    Timestamp::now()
}

fn is_for(certificate: &Certificate, names: &[&str], now: Timestamp) -> bool {
    let named = certificate.names();
    let same = named.len() == names.len() && names.iter().all(|name| named.iter().any(|own| own.eq_ignore_ascii_case(name)));
    let age = now.duration_since(certificate.not_before());
    same && !age.is_negative() && age.as_secs() < FRESH_DAYS * 24 * 60 * 60
}

fn refers(records: &[SslRecord], thumbprint: Thumbprint) -> bool {
    records.iter().any(|record| record.thumbprint == Some(thumbprint))
}

/// Its key or its certificate is not there.
pub(super) fn missing(container: &str) -> DriverError {
    differs(Difference::new(format!("key container {container}"), "present with its certificate", "absent"))
}
