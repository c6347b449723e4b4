//! The emergency stops that hold this host, and those that were let go (DESIGN 6 rule 8, TRUST T7).
//!
//! They stand in one file of the state folder. The main loop writes it, before it says that a stop is in force here; whoever asks what holds the
//! host reads it ([`Holds`](crate::hold::Holds)). A file that does not read holds the host, and nothing is written over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use policy::Timestamp;
use policy::id::EstateName;
use policy::stop::{MAX_STOPS, Resume, Stop, StopId, lifted};
use policy::trust::{DocumentError, TrustDocument, Verified};
use proto::signed::{self, SignedBytes, Unbelieved};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::journal::replace;

/// Ids of stops that were let go, the newest last: more than come late.
const MAX_LIFTED: usize = 256;

/// A stop, or a yes to going on, that is refused.
#[derive(Debug, Error)]
pub enum StopError {
    /// The bytes are none.
    #[error("the emergency stop does not hold")]
    Document(#[source] DocumentError),
    /// No signature holds, or the bytes are none.
    #[error("the yes to going on is not believed")]
    Unbelieved(#[source] Unbelieved),
    /// Another estate's.
    #[error("expected an emergency stop or its end for estate {expected}, found one for {found}")]
    OtherEstate {
        /// Ours.
        expected: EstateName,
        /// Its.
        found: EstateName,
    },
    /// Nobody whose word counts signed it.
    #[error("yes to going on of {person}: expected a signature by an approver of that name, found none that counts")]
    NoApprover {
        /// Whose it says it is.
        person: String,
    },
    /// The clock cannot be trusted.
    #[error("whether the keys behind a yes to going on still count is not known: {0}")]
    Clock(String),
    /// There are too many.
    #[error("expected at most {MAX_STOPS} emergency stops at once, found one more; the host is held all the same")]
    TooMany,
    /// The file does not read.
    #[error("{path}: expected what this agent wrote; while it does not read the host is held, and it is not written over")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    in_force: BTreeMap<StopId, Stop>,
    lifted: Vec<StopId>,
}

/// The stops of one host.
#[derive(Debug)]
pub struct Stops {
    path: PathBuf,
    /// `None` while the file does not read.
    kept: Option<Kept>,
    /// Each yes that counted so far. In memory only: a controller tells them again as long as their stops are held.
    said: Vec<Verified<Resume>>,
}

impl Stops {
    /// Those of this state folder.
    pub fn open(folder: &Path) -> Self {
        let path = file(folder);
        let kept = read(&path).ok();
        Self { path, kept, said: Vec::new() }
    }

    /// Ids of the stops that are in force here; none when the file does not read.
    pub fn ids(&self) -> BTreeSet<StopId> {
        self.kept.iter().flat_map(|kept| kept.in_force.keys().copied()).collect()
    }

    /// The bytes of the stops that are in force here.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.kept.iter().flat_map(|kept| kept.in_force.values().map(Stop::to_bytes)).collect()
    }

    /// Somebody stopped this host; in force when this returns. False when it is already, or was let go.
    ///
    /// # Errors
    /// [`StopError`]; then nothing changed.
    pub fn stop(&mut self, bytes: &[u8], estate: &EstateName) -> Result<bool, StopError> {
        let stop = Stop::from_bytes(bytes).map_err(StopError::Document)?;
        if stop.estate != *estate {
            return Err(StopError::OtherEstate { expected: estate.clone(), found: stop.estate });
        }
        let id = StopId::of(bytes);
        let kept = self.kept()?;
        if kept.lifted.contains(&id) || kept.in_force.contains_key(&id) {
            return Ok(false);
        }
        if kept.in_force.len() >= MAX_STOPS {
            return Err(StopError::TooMany);
        }
        let Kept { mut in_force, lifted } = kept;
        in_force.insert(id, stop);
        self.keep(Kept { in_force, lifted }).map(|()| true)
    }

    /// An approver said yes to going on. The stops that are let go by it, with what others said before.
    ///
    /// # Errors
    /// [`StopError`]; then nothing changed.
    pub fn resume(
        &mut self,
        bytes: &SignedBytes,
        trust: &TrustDocument,
        clock_doubt: Option<String>,
        now: Timestamp,
    ) -> Result<Vec<StopId>, StopError> {
        if let Some(why) = clock_doubt {
            return Err(StopError::Clock(why));
        }
        let resume = signed::resume(bytes).map_err(StopError::Unbelieved)?;
        if resume.value.estate != trust.estate {
            return Err(StopError::OtherEstate { expected: trust.estate.clone(), found: resume.value.estate });
        }
        if !trust.approvers(&resume.signers, now).contains(&resume.value.person) {
            return Err(StopError::NoApprover { person: resume.value.person.to_string() });
        }
        let kept = self.kept()?;
        self.said.retain(|said| said.id != resume.id);
        // What is let go, or never came here, needs to be remembered no longer than the others need room.
        self.said.drain(..(self.said.len() + 1).saturating_sub(MAX_STOPS));
        self.said.push(resume);
        let let_go: Vec<StopId> = lifted(trust, &self.said, now).into_iter().filter(|id| !kept.lifted.contains(id)).collect();
        if let_go.is_empty() {
            return Ok(Vec::new());
        }
        let Kept { mut in_force, mut lifted } = kept;
        in_force.retain(|id, _| !let_go.contains(id));
        lifted.extend(&let_go);
        // What was said of these alone has done its work.
        self.said.retain(|said| said.value.stops.iter().any(|id| !lifted.contains(id)));
        lifted.drain(..lifted.len().saturating_sub(MAX_LIFTED));
        self.keep(Kept { in_force, lifted })?;
        Ok(let_go)
    }

    /// What is kept. A file that did not read is read again: perhaps a person has looked at it meanwhile.
    fn kept(&mut self) -> Result<Kept, StopError> {
        if let Some(kept) = &self.kept {
            return Ok(kept.clone());
        }
        let kept = read(&self.path)?;
        self.kept = Some(kept.clone());
        Ok(kept)
    }

    fn keep(&mut self, next: Kept) -> Result<(), StopError> {
        let bytes = serde_json::to_vec_pretty(&next).expect("stops are plain data");
        replace(&self.path, &bytes).map_err(|source| StopError::Io { path: self.path.clone(), source })?;
        self.kept = Some(next);
        Ok(())
    }
}

/// The stops in force by the file of this state folder, as they are at this moment.
///
/// # Errors
/// [`StopError`] when it does not read; then the host is held.
pub fn in_force(folder: &Path) -> Result<BTreeMap<StopId, Stop>, StopError> {
    read(&file(folder)).map(|kept| kept.in_force)
}

/// Where they are kept.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("stops.json")
}

fn read(path: &Path) -> Result<Kept, StopError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| StopError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::default()),
        Err(source) => Err(StopError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
