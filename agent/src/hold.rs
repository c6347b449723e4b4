//! The hold: a person at the host says that nothing is to be done there, and that beats policy and orders.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::journal::{replace, sync_folder};

/// The longest reason, in bytes.
const MAX_REASON: usize = 200;

/// A hold that cannot be set or lifted.
#[derive(Debug, Error)]
pub enum HoldError {
    /// No reason, or too much of one.
    #[error("reason of a hold: expected 1 to {MAX_REASON} bytes of text, found {0}")]
    Reason(usize),
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

/// Why the host of this state folder is held. Whatever cannot be read holds too.
pub fn of(folder: &Path) -> Option<String> {
    match fs::read_to_string(file(folder)) {
        Ok(reason) => Some(format!("held on the host: {}", reason.trim().chars().take(MAX_REASON).collect::<String>())),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(format!("held: whether a hold was set cannot be read: {}", error.kind())),
    }
}

/// Holds the host of this state folder. A plan that begins after this is refused; the agent tells it with its next look.
///
/// # Errors
/// [`HoldError`].
pub fn set(folder: &Path, reason: &str) -> Result<(), HoldError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON {
        return Err(HoldError::Reason(reason.len()));
    }
    let path = file(folder);
    fs::create_dir_all(folder)
        .and_then(|()| replace(&path, format!("{reason}\n").as_bytes()))
        .map_err(|source| HoldError::Io { path, source })
}

/// Lifts the hold. True when there was one.
///
/// # Errors
/// [`HoldError::Io`].
pub fn lift(folder: &Path) -> Result<bool, HoldError> {
    let path = file(folder);
    match fs::remove_file(&path).and_then(|()| sync_folder(&path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(HoldError::Io { path, source }),
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_set_with_a_reason_and_lifted_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        assert!(!lift(&state).expect("nothing to lift"));
        set(&state, " disk is being replaced ").expect("sets");
        assert_eq!(of(&state), Some("held on the host: disk is being replaced".to_owned()));
        assert!(lift(&state).expect("lifts"));
        assert!(!lift(&state).expect("nothing to lift"));
        assert_eq!(of(&state), None);
    }

    #[test]
    fn a_hold_that_cannot_be_read_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("hold"), [0xff, 0xfe]).expect("writes");
        assert!(of(folder.path()).is_some_and(|why| why.contains("cannot be read")));
    }

    #[test]
    fn a_hold_without_a_reason_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(set(folder.path(), "  "), Err(HoldError::Reason(0))));
        assert!(matches!(set(folder.path(), &"x".repeat(201)), Err(HoldError::Reason(201))));
        assert!(!folder.path().join("hold").exists());
    }
}
