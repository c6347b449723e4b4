//! The typed steps of a plan: is it done, do it, take it back. Once for every kind of host, above the calls of [`System`], so
//! that what is proven of a step on one host holds on the other; [`Driver`](super::Driver) says what each step promises.

use policy::certificate::Certificate;
use policy::id::Thumbprint;
use policy::plan::{Der, Difference, Step};
use policy::report::{Access, KeyLink, SslRecord, Store};

use super::container::missing;
use super::swap::target;
use super::system::{HostKey, Opened, Stored, System};
use super::{Applied, DriverError, State};

/// The steps of plans on the host that has these calls.
#[derive(Debug)]
pub struct Steps<'a, S>(pub &'a S);

impl<S: System> Steps<'_, S> {
    /// Whether `step` is done, ready, or blocked; see [`Driver::check`](super::Driver::check).
    ///
    /// # Errors
    /// [`DriverError`] when the host cannot tell.
    pub fn state(&self, step: &Step) -> Result<State, DriverError> {
        match step {
            Step::AddCertificate { der, store, key, .. } => self.added(der, store, key),
            Step::WriteRecord { record } => self.written(record),
            Step::CreateKey { container, .. } => Ok(done_if(!matches!(self.0.key(container)?, Opened::Missing))),
            Step::GrantKey { container, access } => self.granted(container, access),
            Step::Mint { container, netbios, fqdn, .. } => self.minted(container, [netbios, fqdn]),
            Step::TrustCopy { container } => match self.current(container)? {
                None => Ok(no_certificate(container)),
                Some(made) => Ok(done_if(self.stored(&Store::Root, made.certificate.thumbprint())?.is_some())),
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

    /// Does `step`, unless it is done; see [`Driver::apply`](super::Driver::apply).
    ///
    /// # Errors
    /// [`DriverError`] when it was not done, or perhaps done: the caller checks again.
    pub fn perform(&self, step: &Step) -> Result<Applied, DriverError> {
        let half = match self.state(step)? {
            State::Done => return Ok(Applied::default()),
            State::Blocked(difference) => return Err(differs(difference)),
            State::Ready => false,
            State::Half => true,
        };
        match step {
            Step::AddCertificate { der, store, key, friendly_name } => self.add_certificate(der, store, key, friendly_name)?,
            Step::WriteRecord { record } => self.0.set_record(record)?,
            Step::CreateKey { container, bits } => self.0.create_key(container, *bits)?,
            Step::GrantKey { container, access } => self.0.grant_key(container, access)?,
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
                self.0.set_record(&target(record, made.certificate.thumbprint()))?;
            }
            Step::Unarchive { thumbprint, store } => self.mark_archived(*thumbprint, store, false)?,
            Step::RemoveRecord { record } => self.0.delete_record(record)?,
            Step::ChangeBinding { site, from, to } => self.rebind(site, from.as_ref(), Some(to))?,
            Step::Probe { .. } | Step::Compare => return Err(DriverError::NotMine(step.name())),
        }
        Ok(Applied::default())
    }

    /// Takes `step` back; see [`Driver::undo`](super::Driver::undo).
    ///
    /// # Errors
    /// [`DriverError`] when it could not be taken back.
    pub fn take_back(&self, step: &Step) -> Result<(), DriverError> {
        match step {
            Step::Swap { from, container } => self.swap_back(from, container),
            Step::TrustCopy { container } => self.take_back_copy(container),
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
        let key = match self.0.key(&link.container)? {
            Opened::Missing => return Ok(no_container(&link.container)),
            Opened::Denied => return Ok(State::Blocked(closed(&link.container))),
            Opened::Key(key) => key,
        };
        if key.id() != certificate.key_id() {
            let fact = format!("key container {}", link.container);
            return Ok(State::Blocked(Difference::new(fact, certificate.key_id().short(), key.id().short())));
        }
        let found = self.stored(store, certificate.thumbprint())?;
        Ok(done_if(found.is_some_and(|found| found.der == *der && found.key.as_ref() == Some(link))))
    }

    fn add_certificate(&self, der: &Der, store: &Store, key: &KeyLink, name: &Option<String>) -> Result<(), DriverError> {
        // One that only lost its key link stays archived or not, as it was.
        let archived = self.stored(store, Thumbprint::of(&der.0))?.is_some_and(|found| found.archived);
        self.0.add(store, &Stored { der: der.clone(), friendly_name: name.clone(), key: Some(key.clone()), archived })
    }

    /// An access list that keeps us from reading it is another than the one that is wanted.
    fn granted(&self, container: &str, access: &[Access]) -> Result<State, DriverError> {
        Ok(match self.0.key(container)? {
            Opened::Missing => no_container(container),
            Opened::Denied => State::Ready,
            Opened::Key(key) => done_if(key.access()? == sorted(access)),
        })
    }

    fn unarchived(&self, thumbprint: Thumbprint, store: &Store) -> Result<State, DriverError> {
        Ok(self.stored(store, thumbprint)?.map_or_else(
            || State::Blocked(Difference::new(format!("{thumbprint} in {store}"), "present", "absent")),
            |found| done_if(!found.archived),
        ))
    }

    fn mark_archived(&self, thumbprint: Thumbprint, store: &Store, archived: bool) -> Result<(), DriverError> {
        let gone = || differs(Difference::new(format!("{thumbprint} in {store}"), "present", "absent"));
        let found = self.stored(store, thumbprint)?.ok_or_else(gone)?;
        if found.archived == archived { Ok(()) } else { self.0.mark_archived(store, thumbprint, archived) }
    }

    /// The certificate of that thumbprint in that store.
    pub(super) fn stored(&self, store: &Store, thumbprint: Thumbprint) -> Result<Option<Stored>, DriverError> {
        Ok(self.0.stored(store)?.into_iter().find(|found| Thumbprint::of(&found.der.0) == thumbprint))
    }
}

fn sorted(access: &[Access]) -> Vec<Access> {
    let mut sorted = access.to_vec();
    sorted.sort();
    sorted
}

pub(super) fn done_if(done: bool) -> State {
    if done { State::Done } else { State::Ready }
}

pub(super) fn closed(container: &str) -> Difference {
    Difference::new(format!("key container {container}"), "one that may be opened", "access denied")
}

pub(super) fn no_container(container: &str) -> State {
    State::Blocked(Difference::new(format!("key container {container}"), "present", "absent"))
}

pub(super) fn no_certificate(container: &str) -> State {
    State::Blocked(Difference::new(format!("certificate of container {container} in MY"), "present", "absent"))
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
