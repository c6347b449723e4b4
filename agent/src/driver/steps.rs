//! The typed steps of a plan on a lab host: is it done, do it, take it back.

use jiff::{Timestamp, ToSpan};
use policy::certificate::Certificate;
use policy::decide::vendor_link;
use policy::id::Thumbprint;
use policy::plan::{Der, Difference, Step};
use policy::report::{Access, KeyLink, SslRecord, Store};

use super::fault::Call;
use super::folder::StoredCertificate;
use super::key::Key;
use super::mint::{FRIENDLY_NAME, MintError, Profile};
use super::swap::target;
use super::{LabDriver, Turn, dry, refused};
use crate::driver::{Applied, DriverError, State};

/// A certificate that was made longer ago is not this plan's (TRUST J5).
const FRESH_DAYS: i64 = 7;

/// A certificate begins so long before it is made, for clocks that are behind.
const BACK_DATED_MINUTES: i64 = 5;

/// Made for this container, as the stores tell.
pub(super) struct Made {
    pub(super) certificate: Certificate,
    stored: StoredCertificate,
}

impl LabDriver {
    pub(super) fn state(&self, step: &Step) -> Result<State, DriverError> {
        match step {
            Step::AddCertificate { der, store, key, .. } => self.added(der, store, key),
            Step::WriteRecord { record } => self.written(record),
            Step::CreateKey { container, .. } => Ok(done_if(self.key(container)?.is_some())),
            Step::GrantKey { container, access } => {
                Ok(self.key(container)?.map_or_else(|| no_container(container), |key| done_if(key.access() == sorted(access))))
            }
            Step::Mint { container, netbios, fqdn, .. } => {
                if self.key(container)?.is_none() {
                    return Ok(no_container(container));
                }
                let names = [netbios.as_str(), fqdn.as_str()];
                let made = self.made(container)?;
                Ok(done_if(made.iter().any(|made| !made.stored.archived && is_for(&made.certificate, &names, now()))))
            }
            Step::TrustCopy { container } => match self.current(container)? {
                None => Ok(no_certificate(container)),
                Some(made) => Ok(done_if(self.folder.certificate(&Store::Root, made.certificate.thumbprint())?.is_some())),
            },
            Step::DryHandshake { container } => {
                Ok(self.current(container)?.map_or_else(|| no_certificate(container), |_| State::Ready))
            }
            Step::Swap { from, container } => self.swapped(from, container),
            Step::ChangeRecord { from, to } => self.changed(from, to),
            Step::Bind { record, container } => self.bound(record, container),
            Step::Unarchive { thumbprint, store } => self.unarchived(*thumbprint, store),
            Step::RemoveRecord { record } => Ok(match self.written(record)? {
                State::Ready => State::Done,
                State::Done => State::Ready,
                other @ (State::Half | State::Blocked(_)) => other,
            }),
            Step::ChangeBinding { site, from, to } => self.rebound(site, from.as_ref(), to),
            Step::Probe { .. } | Step::Compare => Err(DriverError::NotMine(step.name())),
        }
    }

    pub(super) fn perform(&self, step: &Step) -> Result<Applied, DriverError> {
        let half = match self.state(step)? {
            State::Done => return Ok(Applied::default()),
            State::Blocked(difference) => return Err(differs(difference)),
            State::Ready => false,
            State::Half => true,
        };
        match step {
            Step::AddCertificate { der, store, key, friendly_name } => self.add_certificate(der, store, key, friendly_name)?,
            Step::WriteRecord { record } => self.control()?.set(record)?,
            Step::CreateKey { container, bits } => self.create_key(container, *bits)?,
            Step::GrantKey { container, access } => self.grant_key(container, access)?,
            Step::Mint { container, netbios, fqdn, months } => self.mint(container, netbios, fqdn, *months)?,
            Step::TrustCopy { container } => self.trust_copy(container)?,
            Step::DryHandshake { container } => self.dry_handshake(container)?,
            Step::Swap { from, container } => {
                let made = self.current(container)?.ok_or_else(|| missing(container))?;
                let target = target(from, made.certificate.thumbprint());
                return if half { self.fill(&target, from) } else { self.replace(from, &target) };
            }
            Step::ChangeRecord { from, to } => {
                return if half { self.fill(to, from) } else { self.replace(from, to) };
            }
            Step::Bind { record, container } => {
                let made = self.current(container)?.ok_or_else(|| missing(container))?;
                self.control()?.set(&target(record, made.certificate.thumbprint()))?;
            }
            Step::Unarchive { thumbprint, store } => self.mark_archived(*thumbprint, store, false)?,
            Step::RemoveRecord { record } => self.control()?.delete(record)?,
            Step::ChangeBinding { site, from, to } => self.rebind(site, from.as_ref(), Some(to))?,
            Step::Probe { .. } | Step::Compare => return Err(DriverError::NotMine(step.name())),
        }
        Ok(Applied::default())
    }

    pub(super) fn take_back(&self, step: &Step) -> Result<(), DriverError> {
        match step {
            Step::Swap { from, container } => self.swap_back(from, container),
            Step::TrustCopy { container } => {
                let records = self.records()?;
                for made in self.made(container)? {
                    let thumbprint = made.certificate.thumbprint();
                    if !refers(&records, thumbprint) && matches!(self.meet(Call::StoreRemove, &thumbprint.to_string())?, Turn::Do)
                    {
                        self.folder.remove_certificate(&Store::Root, thumbprint)?;
                    }
                }
                Ok(())
            }
            Step::Mint { container, .. } => self.archive_unused(container),
            Step::WriteRecord { record } => self.unwrite(record, Some(record)),
            Step::Bind { record, container } => {
                let ours = self.current(container)?.map(|made| target(record, made.certificate.thumbprint()));
                self.unwrite(record, ours.as_ref())
            }
            Step::ChangeRecord { from, to } => self.change_back(from, Some(to)),
            Step::RemoveRecord { record } => self.change_back(record, None),
            Step::Unarchive { thumbprint, store } => self.mark_archived(*thumbprint, store, true),
            Step::ChangeBinding { site, from, to } => match self.rebound(site, from.as_ref(), to)? {
                State::Done => self.rebind(site, Some(to), from.as_ref()),
                State::Ready => Ok(()),
                State::Blocked(difference) => Err(differs(difference)),
                State::Half => Err(DriverError::NotMine(step.name())),
            },
            Step::AddCertificate { .. } | Step::CreateKey { .. } | Step::GrantKey { .. } | Step::DryHandshake { .. } => Ok(()),
            Step::Probe { .. } | Step::Compare => Err(DriverError::NotMine(step.name())),
        }
    }

    fn added(&self, der: &Der, store: &Store, link: &KeyLink) -> Result<State, DriverError> {
        let certificate = Certificate::from_der(&der.0).map_err(|error| DriverError::Unreadable {
            object: "the certificate of step add_certificate".to_owned(),
            expected: "an X.509 certificate".to_owned(),
            found: error.to_string(),
        })?;
        let Some(key) = self.key(&link.container)? else { return Ok(no_container(&link.container)) };
        if key.id() != certificate.key_id() {
            let fact = format!("key container {}", link.container);
            return Ok(State::Blocked(Difference::new(fact, certificate.key_id().short(), key.id().short())));
        }
        let found = self.folder.certificate(store, certificate.thumbprint())?;
        Ok(done_if(found.is_some_and(|found| found.der == *der && found.key.as_ref() == Some(link) && key.opens())))
    }

    fn add_certificate(&self, der: &Der, store: &Store, key: &KeyLink, name: &Option<String>) -> Result<(), DriverError> {
        let thumbprint = Thumbprint::of(&der.0);
        // One that only lost its key link stays archived or not, as it was.
        let archived = self.folder.certificate(store, thumbprint)?.is_some_and(|found| found.archived);
        let entry = StoredCertificate { der: der.clone(), friendly_name: name.clone(), key: Some(key.clone()), archived };
        self.add(store, &entry)
    }

    fn add(&self, store: &Store, entry: &StoredCertificate) -> Result<(), DriverError> {
        match self.meet(Call::StoreAdd, store.as_str())? {
            Turn::Do => self.folder.write_certificate(store, entry),
            Turn::Pretend => Ok(()),
        }
    }

    fn create_key(&self, container: &str, bits: u32) -> Result<(), DriverError> {
        if matches!(self.meet(Call::KeyCreate, container)?, Turn::Pretend) {
            return Ok(());
        }
        let key = Key::generate(bits, Key::default_access()).ok_or_else(|| refused("key.create", container, 87))?;
        self.folder.write_key(container, &key)
    }

    fn grant_key(&self, container: &str, access: &[Access]) -> Result<(), DriverError> {
        if matches!(self.meet(Call::KeyGrant, container)?, Turn::Pretend) {
            return Ok(());
        }
        let key = self.folder.key(container)?.ok_or_else(|| missing(container))?;
        self.folder.write_key(container, &key.with_access(access.to_vec()))
    }

    fn mint(&self, container: &str, netbios: &str, fqdn: &str, months: u32) -> Result<(), DriverError> {
        let key = self.key(container)?.ok_or_else(|| missing(container))?;
        let unmade = |error: MintError| DriverError::Unreadable {
            object: format!("certificate for {netbios} and {fqdn}"),
            expected: "a profile that can be made".to_owned(),
            found: crate::chain(&error),
        };
        let profile = Profile::vendor(netbios, fqdn, now() - BACK_DATED_MINUTES.minutes(), months).map_err(unmade)?;
        let der = Der(profile.self_signed(key.pair()).map_err(unmade)?);
        // An earlier attempt's leftover would make "the container's certificate" two.
        self.archive_unused(container)?;
        let friendly_name = Some(FRIENDLY_NAME.to_owned());
        self.add(&Store::My, &StoredCertificate { der, friendly_name, key: Some(vendor_link(container)), archived: false })
    }

    fn trust_copy(&self, container: &str) -> Result<(), DriverError> {
        let made = self.current(container)?.ok_or_else(|| missing(container))?;
        let StoredCertificate { der, friendly_name, key: _, archived } = made.stored;
        self.add(&Store::Root, &StoredCertificate { der, friendly_name, key: None, archived })
    }

    fn dry_handshake(&self, container: &str) -> Result<(), DriverError> {
        if matches!(self.meet(Call::Handshake, container)?, Turn::Pretend) {
            return Ok(());
        }
        let made = self.current(container)?.ok_or_else(|| missing(container))?;
        let key = self.key(container)?.ok_or_else(|| missing(container))?;
        dry::handshake(&made.certificate, &key, &self.folder.host()?.fqdn)
    }

    fn unarchived(&self, thumbprint: Thumbprint, store: &Store) -> Result<State, DriverError> {
        Ok(self.folder.certificate(store, thumbprint)?.map_or_else(
            || State::Blocked(Difference::new(format!("{thumbprint} in {store}"), "present", "absent")),
            |found| done_if(!found.archived),
        ))
    }

    fn mark_archived(&self, thumbprint: Thumbprint, store: &Store, archived: bool) -> Result<(), DriverError> {
        let gone = || differs(Difference::new(format!("{thumbprint} in {store}"), "present", "absent"));
        let found = self.folder.certificate(store, thumbprint)?.ok_or_else(gone)?;
        if found.archived == archived || matches!(self.meet(Call::StoreArchive, &thumbprint.to_string())?, Turn::Pretend) {
            return Ok(());
        }
        self.folder.write_certificate(store, &StoredCertificate { archived, ..found })
    }

    /// Archives what was made for the container and stands on no record.
    fn archive_unused(&self, container: &str) -> Result<(), DriverError> {
        let unarchived: Vec<Made> = self.made(container)?.into_iter().filter(|made| !made.stored.archived).collect();
        if unarchived.is_empty() {
            return Ok(());
        }
        let records = self.records()?;
        for made in unarchived {
            let thumbprint = made.certificate.thumbprint();
            if !refers(&records, thumbprint) && matches!(self.meet(Call::StoreArchive, &thumbprint.to_string())?, Turn::Do) {
                self.folder.write_certificate(&Store::My, &StoredCertificate { archived: true, ..made.stored })?;
            }
        }
        Ok(())
    }

    /// Everything in `My` whose key is in the container, archived or not, the newest last.
    fn made(&self, container: &str) -> Result<Vec<Made>, DriverError> {
        if matches!(self.meet(Call::StoreRead, "stores")?, Turn::Pretend) {
            return Ok(Vec::new());
        }
        let Some(key) = self.key(container)? else { return Ok(Vec::new()) };
        let linked = |stored: &StoredCertificate| stored.key.as_ref().is_some_and(|link| link.container == container);
        let mine = self.folder.certificates()?.into_iter().filter(|(store, stored)| *store == Store::My && linked(stored));
        let mut made: Vec<Made> = mine
            .filter_map(|(_, stored)| Certificate::from_der(&stored.der.0).ok().map(|certificate| Made { certificate, stored }))
            .filter(|made| made.certificate.key_id() == key.id())
            .collect();
        made.sort_by_key(|made| (made.certificate.not_before(), made.certificate.thumbprint()));
        Ok(made)
    }

    /// The container's certificate: the newest that is not archived.
    pub(super) fn current(&self, container: &str) -> Result<Option<Made>, DriverError> {
        Ok(self.made(container)?.into_iter().rfind(|made| !made.stored.archived))
    }
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

fn sorted(access: &[Access]) -> Vec<Access> {
    let mut sorted = access.to_vec();
    sorted.sort();
    sorted
}

fn done_if(done: bool) -> State {
    if done { State::Done } else { State::Ready }
}

fn no_container(container: &str) -> State {
    State::Blocked(Difference::new(format!("key container {container}"), "present", "absent"))
}

pub(super) fn no_certificate(container: &str) -> State {
    State::Blocked(Difference::new(format!("certificate of container {container} in MY"), "present", "absent"))
}

fn missing(container: &str) -> DriverError {
    differs(Difference::new(format!("key container {container}"), "present with its certificate", "absent"))
}

pub(super) fn record_difference(expected: &SslRecord, found: &SslRecord) -> Difference {
    let show = |record: &SslRecord| {
        let hash = record.thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string());
        format!("{hash} in {}", record.store())
    };
    let same = show(expected) == show(found);
    let found = if same { format!("{} with other parameters", show(found)) } else { show(found) };
    Difference::new(format!("record {}", expected.endpoint), show(expected), found)
}

pub(super) fn differs(difference: Difference) -> DriverError {
    let Difference { fact, expected, found } = difference;
    DriverError::Unreadable { object: fact, expected, found }
}
