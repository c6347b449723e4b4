//! The hold: a person at the host says that nothing is to be done there, and that beats policy and orders.
//!
//! He says so by command, by `hold` in `agent.toml` or by Group Policy. An operator of the estate says so by an emergency stop, which only approvers
//! end. Holds add up: none lifts another, and whatever cannot be read holds. They are read anew whenever it matters, for a hold must work
//! on an agent that runs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::{self, Origin, Set};
use crate::journal::{replace, sync_folder};
use crate::stops;

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 200;

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

/// Where the holds of one host come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holds {
    folder: PathBuf,
    /// `agent.toml`, and whether it was named and so must be there.
    file: Option<(PathBuf, bool)>,
}

impl Holds {
    /// The command's, in this state folder; those of the file at this path, which must be there when it was `named`; and Group
    /// Policy's.
    pub fn new(folder: &Path, file: &Path, named: bool) -> Self {
        Self { folder: folder.to_owned(), file: Some((file.to_owned(), named)) }
    }

    /// The command's alone.
    pub fn by_command(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: None }
    }

    /// The state folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every reason that holds the host at this moment, with the place that it comes from.
    pub fn in_force(&self) -> Vec<Set<String>> {
        let configured = self
            .file
            .iter()
            .flat_map(|(path, named)| config::holds_of_file(path, *named).into_iter().chain(config::holds_of_group_policy()));
        commanded(&self.folder).into_iter().chain(configured).chain(stopped(&self.folder)).collect()
    }

    /// The same in one line, for reports and refusals. `None` when nothing holds the host.
    pub fn why(&self) -> Option<String> {
        let held: Vec<_> = self.in_force().into_iter().map(|Set { value, origin }| format!("by {origin}: {value}")).collect();
        (!held.is_empty()).then(|| format!("held on the host {}", held.join("; ")))
    }
}

/// The hold by command. One that cannot be read holds too.
fn commanded(folder: &Path) -> Option<Set<String>> {
    let path = file(folder);
    let value = match fs::read_to_string(&path) {
        Ok(reason) => reason.trim().chars().take(MAX_REASON).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => format!("whether a hold was set cannot be read: {}", error.kind()),
    };
    Some(Set { value, origin: Origin::Command(path) })
}

/// The emergency stops. When it cannot be read whether there is one, there may be.
fn stopped(folder: &Path) -> Vec<Set<String>> {
    match stops::in_force(folder) {
        Ok(stops) => stops.into_iter().map(|(id, stop)| Set { value: stop.line(), origin: Origin::Stop(id.short()) }).collect(),
        Err(error) => vec![Set { value: crate::chain(&error), origin: Origin::Stop("that cannot be read".to_owned()) }],
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
        let holds = Holds::by_command(&state);
        let why = holds.why().expect("held");
        assert_eq!(why, format!("held on the host by command {}: disk is being replaced", state.join("hold").display()));
        assert!(lift(&state).expect("lifts"));
        assert!(!lift(&state).expect("nothing to lift"));
        assert_eq!(holds.why(), None);
    }

    #[test]
    fn a_hold_that_cannot_be_read_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("hold"), [0xff, 0xfe]).expect("writes");
        assert!(Holds::by_command(folder.path()).why().is_some_and(|why| why.contains("cannot be read")));
    }

    #[test]
    fn a_hold_without_a_reason_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(set(folder.path(), "  "), Err(HoldError::Reason(0))));
        assert!(matches!(set(folder.path(), &"x".repeat(201)), Err(HoldError::Reason(201))));
        assert!(!folder.path().join("hold").exists());
    }

    #[test]
    fn the_file_holds_while_the_agent_runs_and_no_command_lifts_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let write = |text: &str| fs::write(&path, text).expect("writes");
        let holds = Holds::new(folder.path(), &path, false);
        assert_eq!(holds.why(), None);
        write("# who reads this\nhold = \"change freeze\"\n");
        let why = format!("held on the host by file {}:2: change freeze", path.display());
        assert_eq!(holds.why(), Some(why.clone()));
        set(folder.path(), "disk").expect("sets");
        assert_eq!(holds.in_force().len(), 2);
        assert!(holds.why().is_some_and(|both| both.contains(": disk; by file ")));
        assert!(lift(folder.path()).expect("lifts"));
        assert_eq!(holds.why(), Some(why));
        write("hold = \"half a line\nlog");
        assert!(holds.why().is_some_and(|why| why.contains("cannot be read")), "what does not read may have held");
        write("look_evry = \"60s\"\n");
        assert_eq!(holds.why(), None, "what is wrong otherwise stops the next start, and is no hold");
        fs::remove_file(&path).expect("removes");
        assert_eq!(holds.why(), None);
        assert!(Holds::new(folder.path(), &path, true).why().is_some(), "the file that was named must be there");
    }
}
