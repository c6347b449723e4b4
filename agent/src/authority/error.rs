//! Why a document is refused, or a file of the agent's does not read.

use std::path::PathBuf;

use policy::id::Sha256;
use policy::trust::DocumentError;
use proto::signed::{InvalidFile, Unbelieved};
use thiserror::Error;

use crate::stops::StopError;

/// A document that is refused, or files that do not read.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One of the agent's own files does not read.
    #[error("{path}: expected what this agent wrote")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A held document's file does not read.
    #[error("{path}: expected the signed document that is held")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidFile,
    },
    /// A held document's file holds another document.
    #[error("{path}: expected document {}, found {}", expected.short(), found.short())]
    Replaced {
        /// The file.
        path: PathBuf,
        /// The document that is held.
        expected: Sha256,
        /// What is there.
        found: Sha256,
    },
    /// Signatures or content do not hold.
    #[error("the {what} is not believed")]
    Unbelieved {
        /// Which document.
        what: &'static str,
        /// Why.
        #[source]
        source: Unbelieved,
    },
    /// An emergency stop or the end of one.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// Another root than the pinned one signed the first trust document.
    #[error("root of the trust document: expected the pinned fingerprint {expected}, found {found}")]
    OtherRoot {
        /// The pin.
        expected: Sha256,
        /// What the document's root has.
        found: Sha256,
    },
    /// The trust document does not follow the one that is held.
    #[error("the trust document is refused")]
    Refused(#[source] DocumentError),
    /// Older than what is held.
    #[error("version of the {what}: expected above {floor}, found {found}")]
    Lower {
        /// Which document.
        what: &'static str,
        /// The version held.
        floor: u64,
        /// What came.
        found: u64,
    },
    /// Two documents of one version: somebody who can sign says different things to different hosts.
    #[error("ALARM: there are two documents for version {version} of the {what}: expected {held}, found {found}")]
    Forked {
        /// Which document.
        what: &'static str,
        /// The version.
        version: u64,
        /// The one held.
        held: Sha256,
        /// The other.
        found: Sha256,
    },
    /// The policy is for another estate.
    #[error("estate of the policy: expected {expected}, found {found}")]
    OtherEstate {
        /// Ours.
        expected: String,
        /// The policy's.
        found: String,
    },
    /// The policy says that it follows another than the one before it.
    #[error("policy before version {version}: expected {expected}, found {found}")]
    OtherPrevious {
        /// The version of the policy that came.
        version: u64,
        /// The policy held.
        expected: Sha256,
        /// What it says.
        found: String,
    },
    /// Too few approvers signed the policy.
    #[error("approvers of the policy: expected {expected}, found {found}")]
    Approvers {
        /// How many are needed.
        expected: u32,
        /// How many signed.
        found: usize,
    },
}
