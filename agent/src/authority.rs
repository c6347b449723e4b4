//! By whose word the agent acts: the trust document and the policy that it holds, and whether it may believe its clock.
//!
//! Documents are kept as they were received. Which of them is held is said by one small file, `floors.json`: version and
//! id of each. It is written after the document's own file and before the document is used, so a document below the
//! floor is never used again, whatever is cut off (TRUST T2, T3). Documents prove themselves by their signatures; who
//! brings them does not matter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use policy::document::Policy;
use policy::id::{PolicyId, Sha256};
use policy::stop::StopId;
use policy::trust::{Class, Root, TrustDocument, Verified, root_fingerprint};
use proto::signed::{self, SignedBytes};
use serde::{Deserialize, Serialize};

use crate::journal::replace;
use crate::session::{Document, Held, Remembered, Version};
use crate::stops::Stops;
use crate::work::Standing;

mod error;
#[cfg(test)]
mod tests;

pub use error::AuthorityError;

/// How far the clock may be behind itself, or off the controller's, and still be believed (TRUST T8).
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// How far the clock advances before that is written down.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(1);

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It is held from here on.
    Adopted(Version),
    /// It is the one that is held, or changes nothing yet.
    Known,
    /// The host is stopped from here on.
    Stopped,
    /// These stops do not hold the host any longer.
    LetGo(Vec<StopId>),
}

/// What the agent holds.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    trust: Verified<TrustDocument>,
    policy: Option<Verified<Policy>>,
    times: Times,
    /// The highest reading of the clock; on disk it may be up to [`CLOCK_STEP`] lower.
    latest: Timestamp,
    /// How the controller's clock differed at the last welcome, when it did.
    off_controller: Option<String>,
    stops: Stops,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Floors {
    trust: Version,
    policy: Option<Version>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    latest: Timestamp,
    confirmed: Option<Confirmed>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmed {
    policy: PolicyId,
    at: Timestamp,
}

impl Authority {
    /// Begins with the first trust document: signed by the root that is pinned.
    ///
    /// # Errors
    /// [`AuthorityError`]; then nothing was written.
    pub fn found(folder: &Path, trust: &SignedBytes, pinned: Sha256, now: Timestamp) -> Result<Self, AuthorityError> {
        let verified = first_trust(trust, pinned)?;
        let authority = Self {
            folder: folder.to_owned(),
            trust: verified,
            policy: None,
            times: Times { latest: now, confirmed: None },
            latest: now,
            off_controller: None,
            stops: Stops::open(folder),
        };
        authority.store(trust)?;
        authority.write_floors(authority.floors())?;
        authority.write_times()?;
        Ok(authority)
    }

    /// Reads what is held; `None` when the host never joined.
    ///
    /// # Errors
    /// [`AuthorityError`] when a file does not read or is not the one that the floor names.
    pub fn open(folder: &Path) -> Result<Option<Self>, AuthorityError> {
        let Some(Floors { trust, policy }) = read_json::<Floors>(&folder.join("floors.json"))? else { return Ok(None) };
        let trust = signed::trust(&held_document(folder, trust.id)?)
            .map_err(|source| AuthorityError::Unbelieved { what: "trust document", source })?;
        let policy = policy
            .map(|version| {
                signed::policy(&held_document(folder, version.id)?)
                    .map_err(|source| AuthorityError::Unbelieved { what: "policy", source })
            })
            .transpose()?;
        let times = read_json::<Times>(&folder.join("times.json"))?.unwrap_or_default();
        Ok(Some(Self {
            folder: folder.to_owned(),
            trust,
            policy,
            times,
            latest: times.latest,
            off_controller: None,
            stops: Stops::open(folder),
        }))
    }

    /// Judges a document that arrived over an authenticated connection, and holds it from here on when it is a successor.
    ///
    /// # Errors
    /// [`AuthorityError`] with the reason; then what was held is held.
    pub fn judge(&mut self, document: &Document, now: Timestamp) -> Result<Judged, AuthorityError> {
        match document {
            Document::Trust(bytes) => self.judge_trust(bytes),
            Document::Policy(bytes) => {
                let judged = self.judge_policy(bytes, now)?;
                self.confirm_policy(bytes.id(), now)?;
                Ok(judged)
            }
            Document::Stop(bytes) => {
                let stopped = self.stops.stop(bytes, &self.trust.value.estate).map_err(AuthorityError::Stop)?;
                Ok(if stopped { Judged::Stopped } else { Judged::Known })
            }
            Document::Resume(bytes) => {
                let doubt = self.clock_doubt(now);
                let let_go = self.stops.resume(bytes, &self.trust.value, doubt, now).map_err(AuthorityError::Stop)?;
                Ok(if let_go.is_empty() { Judged::Known } else { Judged::LetGo(let_go) })
            }
        }
    }

    /// An authenticated controller named the policy in force, and its own clock.
    ///
    /// # Errors
    /// [`AuthorityError::Io`] when it cannot be written down.
    pub fn confirm(&mut self, policy: Option<PolicyId>, clock: Timestamp, now: Timestamp) -> Result<(), AuthorityError> {
        let off = clock.duration_since(now);
        self.off_controller = (off.abs() > CLOCK_TOLERANCE)
            .then(|| format!("the clock reads {now} and the controller's {clock}: more than 5 minutes apart"));
        match policy {
            Some(policy) => self.confirm_policy(policy, now),
            None => Ok(()),
        }
    }

    /// The clock was read.
    ///
    /// # Errors
    /// [`AuthorityError::Io`] when it cannot be written down.
    pub fn clock_read(&mut self, now: Timestamp) -> Result<(), AuthorityError> {
        self.latest = self.latest.max(now);
        if self.latest.duration_since(self.times.latest) < CLOCK_STEP {
            return Ok(());
        }
        self.times.latest = self.latest;
        self.write_times()
    }

    /// What a plan is judged by at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let none_yet = || Policy::none_yet(self.trust.value.estate.clone());
        let policy = self.policy.as_ref().map_or_else(none_yet, |policy| policy.value.clone());
        let confirmed = self.times.confirmed.filter(|confirmed| confirmed.policy == policy.id);
        Standing {
            policy,
            trust: self.trust.value.clone(),
            policy_confirmed: confirmed.map(|confirmed| confirmed.at),
            clock_doubt: self.clock_doubt(now),
        }
    }

    /// The policy that is held, if any.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().map(|policy| &policy.value)
    }

    /// Version and id of what is held, and the stops in force.
    pub fn held(&self) -> Held {
        let Floors { trust, policy } = self.floors();
        Held { trust, policy, stops: self.stops.ids() }
    }

    /// What is held, as it was signed or said.
    ///
    /// # Errors
    /// [`AuthorityError`] when a document's file does not read any more.
    pub fn remembered(&self) -> Result<Remembered, AuthorityError> {
        let Floors { trust, policy } = self.floors();
        Ok(Remembered {
            trust: held_document(&self.folder, trust.id)?,
            policy: policy.map(|version| held_document(&self.folder, version.id)).transpose()?,
            stops: self.stops.bodies(),
        })
    }

    /// The root by which the next trust document is signed.
    pub fn root(&self) -> &Root {
        &self.trust.value.root
    }

    /// Fingerprints of the CA certificates whose controllers are believed.
    pub fn ca(&self) -> &BTreeSet<Sha256> {
        &self.trust.value.ca
    }

    fn judge_trust(&mut self, bytes: &SignedBytes) -> Result<Judged, AuthorityError> {
        let what = "trust document";
        let next = signed::trust(bytes).map_err(|source| AuthorityError::Unbelieved { what, source })?;
        let held = self.held().trust;
        if against_floor(what, held, next.value.version, next.id)? {
            return Ok(Judged::Known);
        }
        self.trust.value.admits_successor(&next).map_err(AuthorityError::Refused)?;
        self.store(bytes)?;
        let version = Version { number: next.value.version, id: next.id };
        self.write_floors(Floors { trust: version, ..self.floors() })?;
        self.trust = next;
        self.drop_document(held.id);
        Ok(Judged::Adopted(version))
    }

    fn judge_policy(&mut self, bytes: &SignedBytes, now: Timestamp) -> Result<Judged, AuthorityError> {
        let what = "policy";
        let next = signed::policy(bytes).map_err(|source| AuthorityError::Unbelieved { what, source })?;
        let held = self.held().policy;
        if let Some(held) = held
            && against_floor(what, held, next.value.version, next.id)?
        {
            return Ok(Judged::Known);
        }
        let estate = &self.trust.value.estate;
        if next.value.estate != *estate {
            return Err(AuthorityError::OtherEstate { expected: estate.to_string(), found: next.value.estate.to_string() });
        }
        // Versions may have been missed; the very next one must follow what is held.
        if let Some(held) = held
            && next.value.version == held.number + 1
            && next.value.previous != Some(held.id)
        {
            let found = next.value.previous.map_or_else(|| "none".to_owned(), |id| id.to_string());
            return Err(AuthorityError::OtherPrevious { version: next.value.version, expected: held.id, found });
        }
        let expected = self.trust.value.need(Class::Policy);
        let found = self.trust.value.approvers(&next.signers, now).len();
        if (found as u64) < u64::from(expected) {
            return Err(AuthorityError::Approvers { expected, found });
        }
        self.store(bytes)?;
        let version = Version { number: next.value.version, id: next.id };
        self.write_floors(Floors { policy: Some(version), ..self.floors() })?;
        self.policy = Some(next);
        if let Some(held) = held {
            self.drop_document(held.id);
        }
        Ok(Judged::Adopted(version))
    }

    fn confirm_policy(&mut self, policy: PolicyId, now: Timestamp) -> Result<(), AuthorityError> {
        if self.policy.as_ref().is_none_or(|held| held.id != policy) {
            return Ok(());
        }
        self.times.confirmed = Some(Confirmed { policy, at: now });
        self.write_times()
    }

    /// Why the clock cannot be trusted at `now`, if it cannot.
    pub fn clock_doubt(&self, now: Timestamp) -> Option<String> {
        let behind = self.latest.duration_since(now);
        let went_back = || format!("the clock reads {now}, and it read {} before: more than 5 minutes later", self.latest);
        (behind > CLOCK_TOLERANCE).then(went_back).or_else(|| self.off_controller.clone())
    }

    fn floors(&self) -> Floors {
        Floors {
            trust: Version { number: self.trust.value.version, id: self.trust.id },
            policy: self.policy.as_ref().map(|policy| Version { number: policy.value.version, id: policy.id }),
        }
    }

    fn store(&self, bytes: &SignedBytes) -> Result<(), AuthorityError> {
        let path = document_path(&self.folder, bytes.id());
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(|source| AuthorityError::Io { path: folder.to_owned(), source })?;
        replace(&path, bytes.to_file_text().as_bytes()).map_err(|source| AuthorityError::Io { path, source })
    }

    fn write_floors(&self, floors: Floors) -> Result<(), AuthorityError> {
        self.write("floors.json", &floors)
    }

    fn write_times(&self) -> Result<(), AuthorityError> {
        self.write("times.json", &self.times)
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), AuthorityError> {
        let path = self.folder.join(name);
        let bytes = serde_json::to_vec_pretty(value).expect("versions and times are plain data");
        replace(&path, &bytes).map_err(|source| AuthorityError::Io { path, source })
    }

    /// The document before is of no use any more; when it cannot be removed it does no harm either.
    fn drop_document(&self, id: Sha256) {
        if let Err(error) = fs::remove_file(document_path(&self.folder, id)) {
            tracing::debug!(error = crate::chain(&error), "an older document stays");
        }
    }
}

/// The first trust document of a host: signed by its own root, which must be the one that is pinned.
///
/// # Errors
/// [`AuthorityError`].
pub fn first_trust(bytes: &SignedBytes, pinned: Sha256) -> Result<Verified<TrustDocument>, AuthorityError> {
    let verified = signed::trust(bytes).map_err(|source| AuthorityError::Unbelieved { what: "trust document", source })?;
    let found = root_fingerprint(&verified.value.root);
    if found != pinned {
        return Err(AuthorityError::OtherRoot { expected: pinned, found });
    }
    verified.value.self_signed(&verified.signers).map_err(AuthorityError::Refused)?;
    Ok(verified)
}

/// True when it is the one that is held; an error when it is below the floor or beside it.
fn against_floor(what: &'static str, held: Version, version: u64, id: Sha256) -> Result<bool, AuthorityError> {
    if id == held.id {
        return Ok(true);
    }
    match version.cmp(&held.number) {
        std::cmp::Ordering::Greater => Ok(false),
        std::cmp::Ordering::Equal => Err(AuthorityError::Forked { what, version, held: held.id, found: id }),
        std::cmp::Ordering::Less => Err(AuthorityError::Lower { what, floor: held.number, found: version }),
    }
}

fn document_path(folder: &Path, id: Sha256) -> PathBuf {
    folder.join("documents").join(format!("{id}.json"))
}

fn held_document(folder: &Path, id: Sha256) -> Result<SignedBytes, AuthorityError> {
    let path = document_path(folder, id);
    let text = fs::read_to_string(&path).map_err(|source| AuthorityError::Io { path: path.clone(), source })?;
    let bytes = SignedBytes::from_file_text(&text).map_err(|source| AuthorityError::File { path: path.clone(), source })?;
    if bytes.id() != id {
        return Err(AuthorityError::Replaced { path, expected: id, found: bytes.id() });
    }
    Ok(bytes)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, AuthorityError> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| AuthorityError::Damaged { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AuthorityError::Io { path: path.to_owned(), source }),
    }
}
