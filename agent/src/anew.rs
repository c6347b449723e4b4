//! What a person at this host decides about whom it believes: a trust document from a file, who it is forgotten, and the pin itself
//! replaced (TRUST T2, T10). Nobody does any of it from afar.
//!
//! Nothing is deleted. What is forgotten is moved into a folder of the state folder, named by the moment, and the next join token begins
//! anew. What the host did and remembers stays: ledger, receipts, the last good state of 444, holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::Timestamp;
use policy::id::Sha256;
use policy::trust::root_fingerprint;
use proto::signed::SignedBytes;
use thiserror::Error;

use crate::authority::{Authority, AuthorityError, Judged};
use crate::driver::Driver;
use crate::journal::sync_folder;
use crate::now;
use crate::session::{Document, Version};
use crate::work::{WorkError, Workbench};

/// The largest trust document that is read, in bytes; as much as any may have, and its signatures.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// Who the host is, as it was enrolled. The first goes first: without it the host has not joined.
const IDENTITY: [&str; 5] = ["joined.json", "session.json", "identity.der", "identity.key", "ca.der"];

/// By whose word it acts, or stands still. The first goes first: without it nothing is held.
const DOCUMENTS: [&str; 3] = ["floors.json", "documents", "stops.json"];

/// The most folders for what is forgotten that one second may need.
const MAX_IN_A_SECOND: u32 = 100;

/// What was not done. Nothing changed, or what was moved is where it was moved to.
#[derive(Debug, Error)]
pub enum AnewError {
    /// The state folder is in use, or does not read.
    #[error("the state folder; an agent that runs is stopped first")]
    Work(#[source] WorkError),
    /// A run waits for its end.
    #[error("expected no plan at work, found {0} in the journal: start the agent, which brings it to its end, and stop it again")]
    AtWork(String),
    /// Nothing is held.
    #[error("{0}: expected a host that has joined, found none of its documents")]
    NotJoined(PathBuf),
    /// The document is refused, or what is held does not read.
    #[error("the trust document")]
    Authority(#[source] AuthorityError),
    /// The file is not one.
    #[error("{path}: expected a signed trust document as `backstay trust sign` writes it, found {found}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whom a host believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    /// The trust document.
    pub trust: Version,
    /// The fingerprint of the root that signs the next one.
    pub root: Sha256,
    /// Its signers: how many root keys must.
    pub threshold: u32,
    /// The CAs whose controllers are believed.
    pub ca: Vec<Sha256>,
    /// The policy.
    pub policy: Option<Version>,
}

/// What is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// Who the host is. What it holds stays, and the estate's root with it: a token of another is refused.
    Identity,
    /// By whose word it acts, too: the next token pins whatever root it names.
    Everything,
}

/// Whom the host believes; only read, also while an agent runs.
///
/// # Errors
/// [`AnewError`].
pub fn believed(folder: &Path) -> Result<Believed, AnewError> {
    let authority = Authority::open(folder).map_err(AnewError::Authority)?;
    let authority = authority.ok_or_else(|| AnewError::NotJoined(folder.to_owned()))?;
    let (held, root) = (authority.held(), authority.root());
    Ok(Believed {
        trust: held.trust,
        root: root_fingerprint(root),
        threshold: root.threshold,
        ca: authority.ca().iter().copied().collect(),
        policy: held.policy,
    })
}

/// Takes a trust document from a file, as one that a controller sends: when what is held admits it as its successor.
///
/// # Errors
/// [`AnewError`]; then what was held is held.
pub fn take(folder: &Path, driver: Arc<dyn Driver>, file: &Path) -> Result<Judged, AnewError> {
    let _workbench = alone(folder, driver)?;
    let io = |source| AnewError::Io { path: file.to_owned(), source };
    let length = fs::metadata(file).map_err(io)?.len();
    let other = |found: String| AnewError::File { path: file.to_owned(), found };
    if length > MAX_FILE {
        return Err(other(format!("{length} bytes")));
    }
    let text = fs::read_to_string(file).map_err(io)?;
    let signed = SignedBytes::from_file_text(&text).map_err(|error| other(error.to_string()))?;
    let authority = Authority::open(folder).map_err(AnewError::Authority)?;
    let mut authority = authority.ok_or_else(|| AnewError::NotJoined(folder.to_owned()))?;
    authority.judge(&Document::Trust(signed), now()).map_err(AnewError::Authority)
}

/// Forgets, for a new join token. The folder into which it was moved.
///
/// # Errors
/// [`AnewError`].
pub fn forget(folder: &Path, driver: Arc<dyn Driver>, what: Forget) -> Result<PathBuf, AnewError> {
    let workbench = alone(folder, driver)?;
    if let Some(plan) = workbench.open_plan() {
        return Err(AnewError::AtWork(plan.short()));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AnewError::Io { path, source }
    };
    let aside = put_aside(folder, now()).map_err(failed(folder))?;
    let documents: &[&str] = match what {
        Forget::Identity => &[],
        Forget::Everything => &DOCUMENTS,
    };
    for name in IDENTITY.iter().chain(documents) {
        let (from, to) = (folder.join(name), aside.join(name));
        match fs::rename(&from, &to) {
            Ok(()) => sync_folder(&to).map_err(failed(&to))?,
            // Not there: it never was, or an earlier try came so far.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(&from)(source)),
        }
    }
    Ok(aside)
}

/// A new folder for what is forgotten. Two in one second are two: what was forgotten before is never written over.
fn put_aside(folder: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let name = format!("forgotten-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let mut aside = folder.join(&name);
    for number in 2..=MAX_IN_A_SECOND {
        match fs::create_dir(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => aside = folder.join(format!("{name}-{number}")),
            made => return made.map(|()| aside),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{MAX_IN_A_SECOND} folders named {name}")))
}

/// The workbench of a host whose agent does not run, for as long as it is kept.
fn alone(folder: &Path, driver: Arc<dyn Driver>) -> Result<Workbench, AnewError> {
    Workbench::open(folder, driver).map_err(AnewError::Work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_twice_in_one_second_lies_in_two_folders() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let made: Vec<PathBuf> = (0..3).map(|_| put_aside(folder.path(), now).unwrap()).collect();
        assert_eq!(made.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{made:?}");
        assert!(put_aside(&folder.path().join("nowhere"), now).is_err());
    }
}
