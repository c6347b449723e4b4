//! The last-good file: what 444 looked like when it was whole, kept on the host itself so that a loss can be repaired
//! whether or not the controller is reachable (TRUST decision 1).

use std::fs;
use std::path::{Path, PathBuf};

use policy::last::LastKnown;
use thiserror::Error;

use crate::journal::replace;

/// A last-good file that cannot be written or read.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file does not read.
    #[error("{path}: expected the last known state of 444")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// What is remembered of this host.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    last: LastKnown,
}

impl Memory {
    /// Reads the file in this folder; nothing is remembered when there is none.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn open(folder: &Path) -> Result<Self, MemoryError> {
        let path = folder.join("last-good.json");
        let last = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| MemoryError::Damaged { path: path.clone(), source })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => LastKnown::default(),
            Err(source) => return Err(MemoryError::Io { path, source }),
        };
        Ok(Self { path, last })
    }

    /// What is remembered.
    pub fn last(&self) -> &LastKnown {
        &self.last
    }

    /// Remembers. Durable when it returns; what did not change is not written again.
    ///
    /// # Errors
    /// [`MemoryError::Io`]; the memory in use is the new one all the same.
    pub fn remember(&mut self, last: LastKnown) -> Result<(), MemoryError> {
        if last == self.last {
            return Ok(());
        }
        self.last = last;
        let bytes = serde_json::to_vec_pretty(&self.last).expect("what is remembered is plain data");
        replace(&self.path, &bytes).map_err(|source| MemoryError::Io { path: self.path.clone(), source })
    }
}
