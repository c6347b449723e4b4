//! Checkups in the state folder: the last of each kind, whoever made it. The running agent notices a new one and tells it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use policy::checkup::{Checkup, Kind};
use proto::checkup::Named;
use thiserror::Error;

use crate::journal::replace;

/// The largest file that is read, in bytes. The largest that is written has less: a bounded number of bounded texts.
const MAX_BYTES: u64 = 1024 * 1024;

/// A checkup that is not kept, or does not read.
#[derive(Debug, Error)]
pub enum KeepError {
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not what this version writes.
    #[error("{path}: expected a checkup as this version writes it; `backstay-agent doctor` writes a new one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Larger than any.
    #[error("{0}: expected at most {MAX_BYTES} bytes, found more")]
    TooLarge(PathBuf),
}

fn file(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("doctor-{}.json", kind.as_str()))
}

/// Keeps a checkup in the place of the last one of its kind, whole or not at all.
///
/// # Errors
/// [`KeepError::Io`], also where there is no state folder: it is the installer's or the agent's to make.
pub fn keep(folder: &Path, checkup: &Checkup) -> Result<(), KeepError> {
    let path = file(folder, checkup.kind);
    let failed = |path: &Path, source| KeepError::Io { path: path.to_owned(), source };
    let bytes = serde_json::to_vec_pretty(checkup).expect("a checkup is plain data");
    // A person may ask for one while the agent makes its own.
    let lock = folder.join("doctor.lock");
    let held = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(|source| failed(&lock, source))?;
    let replaced = replace(&path, &bytes).map_err(|source| failed(&path, source));
    drop(held);
    replaced
}

/// The last checkup of a kind; `None` when there is none.
///
/// # Errors
/// [`KeepError`].
pub fn kept(folder: &Path, kind: Kind) -> Result<Option<Checkup>, KeepError> {
    let path = file(folder, kind);
    let read = File::open(&path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeepError::Io { path, source }),
    };
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(KeepError::TooLarge(path));
    }
    let checkup: Checkup = serde_json::from_slice(&bytes).map_err(|source| KeepError::Damaged { path, source })?;
    Ok(Some(checkup.within_bounds()))
}

/// The right to rehearse here, as long as what it gives is held: two rehearsals would take each other's key away. Without a state
/// folder there is no lock, and no agent either.
///
/// # Errors
/// Why not.
pub(super) fn alone(folder: &Path) -> Result<Option<File>, String> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let path = folder.join("rehearsal.lock");
    let file = File::create(&path).map_err(|error| format!("{}: {}", path.display(), crate::chain(&error)))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Err("another rehearsal is at work".to_owned()),
        Err(fs::TryLockError::Error(error)) => Err(format!("{}: {}", path.display(), crate::chain(&error))),
    }
}

/// What the running agent has seen of the files.
#[derive(Debug, Default)]
pub struct Shelf {
    seen: BTreeMap<Kind, Option<(u64, SystemTime)>>,
    newest: BTreeMap<Kind, policy::Timestamp>,
}

impl Shelf {
    /// The checkups that are new since the last call, and files that do not read.
    pub fn news(&mut self, folder: &Path) -> Vec<Result<Named, KeepError>> {
        let mut news = Vec::new();
        for kind in Kind::ALL {
            let print = fs::metadata(file(folder, kind)).ok().and_then(|found| Some((found.len(), found.modified().ok()?)));
            if self.seen.get(&kind) == Some(&print) {
                continue;
            }
            self.seen.insert(kind, print);
            match kept(folder, kind) {
                Ok(Some(checkup)) => {
                    self.newest.insert(kind, checkup.at);
                    news.push(Ok(Named::new(checkup)));
                }
                Ok(None) => _ = self.newest.remove(&kind),
                Err(error) => {
                    self.newest.remove(&kind);
                    news.push(Err(error));
                }
            }
        }
        news
    }

    /// When the host was last examined, in whatever way.
    pub fn newest(&self) -> Option<policy::Timestamp> {
        self.newest.values().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use policy::checkup::{Check, Outcome, Subject};

    use super::*;

    fn checkup(kind: Kind, found: &str) -> Checkup {
        let outcome = Outcome::Proven { found: found.to_owned() };
        let check = Check { name: "store.MY".to_owned(), needed: true, micros: Some(3), outcome };
        let at = "2026-11-20T10:00:00Z".parse().expect("a moment");
        Checkup { at, kind, agent_version: "0.1.0".to_owned(), subject: Subject::default(), checks: vec![check] }
    }

    #[test]
    fn the_last_of_each_kind_is_kept_and_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shelf = Shelf::default();
        assert!(shelf.news(folder.path()).is_empty());
        let (look, rehearsal) = (checkup(Kind::Look, "2 certificates"), checkup(Kind::Rehearsal, "2 certificates"));
        keep(folder.path(), &look).expect("kept");
        keep(folder.path(), &rehearsal).expect("kept");
        assert_eq!(kept(folder.path(), Kind::Look).expect("reads"), Some(look.clone()));
        let told: Vec<Named> = shelf.news(folder.path()).into_iter().map(|news| news.expect("reads")).collect();
        assert_eq!(told, [Named::new(look), Named::new(rehearsal.clone())]);
        assert_eq!(shelf.newest(), Some(rehearsal.at));
        assert!(shelf.news(folder.path()).is_empty());
        keep(folder.path(), &checkup(Kind::Look, "13 certificates")).expect("kept");
        assert_eq!(shelf.news(folder.path()).len(), 1);
    }

    #[test]
    fn what_is_damaged_or_of_another_version_is_named_once_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = file(folder.path(), Kind::Look);
        let mut shelf = Shelf::default();
        for bytes in [b"{".to_vec(), br#"{"at":"2026-11-20T10:00:00Z","fresh":1}"#.to_vec(), vec![b' '; 1024 * 1024 + 1]] {
            fs::write(&path, bytes).expect("written");
            let news = shelf.news(folder.path());
            assert!(matches!(news.as_slice(), [Err(error)] if error.to_string().contains("doctor-look.json")), "{news:?}");
            assert_eq!(shelf.newest(), None);
        }
        keep(folder.path(), &checkup(Kind::Look, "2 certificates")).expect("kept");
        assert!(matches!(shelf.news(folder.path()).as_slice(), [Ok(_)]));
    }

    #[test]
    fn nothing_is_kept_where_there_is_no_state_folder_and_none_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = folder.path().join("none");
        assert!(matches!(keep(&none, &checkup(Kind::Look, "")), Err(KeepError::Io { .. })));
        assert!(!none.exists());
        assert!(alone(&none).expect("nobody else").is_none());
    }

    #[test]
    fn one_rehearses_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = alone(folder.path()).expect("alone");
        assert_eq!(alone(folder.path()).expect_err("not alone"), "another rehearsal is at work");
        drop(first);
        assert!(alone(folder.path()).expect("alone").is_some());
    }
}
