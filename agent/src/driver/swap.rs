//! The writes that a port hangs on: from one certificate to another, with the smallest gap that is possible, and from none to
//! one.
//!
//! Where http.sys can update, there is no gap. Else the record is deleted and set, and whatever goes wrong between the two,
//! the old record is written back at once.

use std::time::Instant;

use policy::certificate::Certificate;
use policy::id::Thumbprint;
use policy::plan::Difference;
use policy::report::{SslRecord, Store};

use super::steps::{Steps, differs, no_certificate, record_difference};
use super::system::{HostKey, Opened, System};
use super::{Applied, DriverError, State};
use crate::event;

/// The record exists.
const EXISTS: u32 = 183;

/// The certificate is not there, or its key cannot be used.
const UNUSABLE: u32 = 1312;

impl<S: System> Steps<'_, S> {
    /// The record that is found as `like` is, whatever else it holds.
    pub(super) fn record_like(&self, like: &SslRecord) -> Result<Option<SslRecord>, DriverError> {
        Ok(self.0.records()?.into_iter().find(|record| record.kind == like.kind && record.endpoint == like.endpoint))
    }

    pub(super) fn swapped(&self, from: &SslRecord, container: &str) -> Result<State, DriverError> {
        let Some(found) = self.record_like(from)? else { return Ok(State::Half) };
        let Some(made) = self.current(container)? else { return Ok(no_certificate(container)) };
        Ok(if found == target(from, made.certificate.thumbprint()) {
            State::Done
        } else if found == *from {
            State::Ready
        } else {
            State::Blocked(record_difference(from, &found))
        })
    }

    /// Puts `new` in the place of `old`.
    pub(super) fn replace(&self, old: &SslRecord, new: &SslRecord) -> Result<Applied, DriverError> {
        // http.sys would refuse after the old one is gone; asked before, nothing is lost.
        if !self.usable(new)? {
            return Err(unusable(new));
        }
        if self.0.update_record(new)? {
            return Ok(Applied::default());
        }
        let begun = now();
        self.0.delete_record(old).map_err(|error| self.put_back(old, error))?;
        self.0.set_record(new).map_err(|error| self.put_back(old, error))?;
        Ok(Applied { gap: begun.elapsed() })
    }

    /// What http.sys asks of a record: its certificate is in the store that it names, and the key to it opens.
    fn usable(&self, record: &SslRecord) -> Result<bool, DriverError> {
        let Some(thumbprint) = record.thumbprint else { return Ok(false) };
        let Some(stored) = self.stored(&record.store(), thumbprint)? else { return Ok(false) };
        let (Some(link), Ok(certificate)) = (stored.key, Certificate::from_der(&stored.der.0)) else { return Ok(false) };
        Ok(matches!(self.0.key(&link.container)?, Opened::Key(key) if key.id() == certificate.key_id()))
    }

    /// Writes `new` where a swap that was cut off left nothing.
    pub(super) fn fill(&self, new: &SslRecord, old: &SslRecord) -> Result<Applied, DriverError> {
        let begun = now();
        self.0.set_record(new).map_err(|error| self.put_back(old, error))?;
        Ok(Applied { gap: begun.elapsed() })
    }

    /// How far the change of `from` to `to` has come.
    pub(super) fn changed(&self, from: &SslRecord, to: &SslRecord) -> Result<State, DriverError> {
        if (from.kind, &from.endpoint) != (to.kind, &to.endpoint) {
            let fact = "the endpoint of a record that is changed";
            return Ok(State::Blocked(Difference::new(fact, from.endpoint.clone(), to.endpoint.clone())));
        }
        Ok(match self.record_like(from)? {
            None => State::Half,
            Some(found) if found == *to => State::Done,
            Some(found) if found == *from => State::Ready,
            Some(found) => State::Blocked(record_difference(from, &found)),
        })
    }

    /// Writes `from` again where `ours` stands or nothing.
    pub(super) fn change_back(&self, from: &SslRecord, ours: Option<&SslRecord>) -> Result<(), DriverError> {
        match self.record_like(from)? {
            None => self.0.set_record(from),
            Some(found) if found == *from => Ok(()),
            Some(found) if ours == Some(&found) => self.replace(&found, from).map(|_| ()),
            Some(found) => Err(differs(record_difference(from, &found))),
        }
    }

    pub(super) fn swap_back(&self, from: &SslRecord, container: &str) -> Result<(), DriverError> {
        let ours = self.current(container)?.map(|made| target(from, made.certificate.thumbprint()));
        self.change_back(from, ours.as_ref())
    }

    /// Whether a record stands where none was.
    pub(super) fn written(&self, record: &SslRecord) -> Result<State, DriverError> {
        Ok(match self.record_like(record)? {
            None => State::Ready,
            Some(found) if found == *record => State::Done,
            Some(found) => State::Blocked(record_difference(record, &found)),
        })
    }

    pub(super) fn bound(&self, record: &SslRecord, container: &str) -> Result<State, DriverError> {
        match self.current(container)? {
            Some(made) => self.written(&target(record, made.certificate.thumbprint())),
            None => Ok(no_certificate(container)),
        }
    }

    /// Takes a record away that was written where none was: `ours`, and no other.
    pub(super) fn unwrite(&self, like: &SslRecord, ours: Option<&SslRecord>) -> Result<(), DriverError> {
        match self.record_like(like)? {
            None => Ok(()),
            Some(found) if ours == Some(&found) => self.0.delete_record(&found),
            Some(found) => Err(differs(record_difference(ours.unwrap_or(like), &found))),
        }
    }

    /// Closes the gap that `error` may have left open. The error stays the answer.
    fn put_back(&self, old: &SslRecord, error: DriverError) -> DriverError {
        match self.0.set_record(old) {
            Ok(()) | Err(DriverError::Refused { code: EXISTS, .. }) => {}
            Err(second) => {
                let (event, endpoint, error) = (event::OLD_RECORD_LOST.id, &old.endpoint, crate::chain(&second));
                tracing::error!(event, endpoint, error, "old record could not be put back");
            }
        }
        error
    }
}

/// `from` with that certificate, which is in `My`; everything else stays.
pub(super) fn target(from: &SslRecord, thumbprint: Thumbprint) -> SslRecord {
    let mut record = SslRecord { thumbprint: Some(thumbprint), ..from.clone() };
    if record.store() != Store::My {
        record.store = Some(Store::My.as_str().to_owned());
    }
    record
}

fn unusable(record: &SslRecord) -> DriverError {
    let meaning = "certificate not there or key unusable";
    DriverError::Refused { call: "httpsys.set", object: record.endpoint.clone(), code: UNUSABLE, meaning }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the gap is measured where it is made")]
    Instant::now()
}
