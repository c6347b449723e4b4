//! What goes wrong with services and folders, for the person who must act on it.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::Code;

/// A service that was not installed, removed, started, stopped, asked, or run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// There is none.
    #[error("service {name}: expected it to be installed, found none; `{command} install` makes it")]
    Absent {
        /// The service.
        name: &'static str,
        /// What installs it.
        command: &'static str,
    },
    /// The account may not.
    #[error("service {name}: {call} was denied; run this as an administrator, in a console that was started as one")]
    Denied {
        /// The service.
        name: &'static str,
        /// The call of Windows.
        call: &'static str,
    },
    /// Windows said no.
    #[error("service {name}: {call}")]
    Refused {
        /// The service.
        name: &'static str,
        /// The call of Windows.
        call: &'static str,
        /// Why.
        #[source]
        code: Code,
    },
    /// It stopped by itself instead of running.
    #[error("service {name}: expected it to run, found it stopped again with {exit}")]
    Stopped {
        /// The service.
        name: &'static str,
        /// With what, and what that means.
        exit: String,
    },
    /// It did not get there in time.
    #[error("service {name}: waited {} s for it to be {wanted}, found {found}", waited.as_secs())]
    NotInTime {
        /// The service.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
        /// How long.
        waited: Duration,
    },
    /// It is removed when the last program closes it.
    #[error("service {name}: expected it to be gone, found it open somewhere: close the Services console and other tools")]
    Open {
        /// The service.
        name: &'static str,
    },
    /// Something that Windows gave does not read, or that it was given cannot be.
    #[error("service {name}: {why}")]
    Odd {
        /// The service.
        name: &'static str,
        /// What is odd about it.
        why: String,
    },
    /// The program was told to be a service, by a person at a console.
    #[error(
        "service {name}: expected the service control manager to start this, found a console; run it without --service there"
    )]
    Console {
        /// The service.
        name: &'static str,
    },
}

impl ServiceError {
    /// With which code a command line ends because of it (docs/cli.md): 3 there is none, 5 denied, 7 not in time, 1 everything
    /// else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Absent { .. } => 3,
            Self::Denied { .. } => 5,
            Self::NotInTime { .. } => 7,
            Self::Refused { .. } | Self::Stopped { .. } | Self::Open { .. } | Self::Odd { .. } | Self::Console { .. } => 1,
        }
    }
}

/// A folder that is not the service's alone.
#[derive(Debug, Error)]
pub enum FolderError {
    /// Not made, read or changed.
    #[error("folder {path}: {call}")]
    Refused {
        /// The folder.
        path: PathBuf,
        /// The call of Windows.
        call: &'static str,
        /// Why.
        #[source]
        code: Code,
    },
    /// Something else is in its place.
    #[error("folder {0}: expected a folder, found a file or a link; whoever put it there could exchange what the service reads")]
    NoFolder(PathBuf),
    /// It is not the service's own, and others use it.
    #[error("folder {0}: expected a folder of the service's own, found one that others use for other things; name an empty one")]
    NotOwn(PathBuf),
    /// Its access list stays as it is, whatever is said.
    #[error("folder {path}: expected access for SYSTEM and Administrators alone, found also {found}, and that cannot be changed")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Who else.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_denied_or_late_has_a_code_of_its_own_and_says_what_to_do() {
        let (name, command) = ("Some", "some.exe");
        let absent = ServiceError::Absent { name, command };
        assert_eq!((absent.exit_code(), absent.to_string().contains("some.exe install")), (3, true));
        let denied = ServiceError::Denied { name, call: "OpenSCManager" };
        assert_eq!((denied.exit_code(), denied.to_string().contains("administrator")), (5, true));
        let late =
            ServiceError::NotInTime { name, wanted: "stopped", found: "stopping".to_owned(), waited: Duration::from_secs(9) };
        assert_eq!(
            (late.exit_code(), late.to_string().as_str()),
            (7, "service Some: waited 9 s for it to be stopped, found stopping")
        );
        assert_eq!(ServiceError::Refused { name, call: "CreateService", code: Code::MARKED }.exit_code(), 1);
    }
}
