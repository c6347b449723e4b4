//! A program of ours as a service of Windows. Both the agent and the controller are one, and neither knows the other
//! (docs/decisions/0015).
//!
//! * `run` stands between the service control manager and a program: what it reports is decided by [`life`], which is pure.
//! * `manage` installs, removes, starts, stops and asks; what a service is stands in a [`Definition`], what is told of it in a
//!   [`Status`].
//! * `folder` makes a folder for the service alone; who may have access is decided by [`access`], which is pure.
//!
//! Off Windows only the pure parts are built, for their tests. Of the calls themselves most are the crate windows-service's; those that it lacks, or
//! makes in a way that is not ours, stand in `ffi`: it frees its handler of controls at the first stop, and a second one that comes before the
//! first is reported would use it.

pub mod access;
mod definition;
mod error;
pub mod life;
mod status;
mod words;

#[cfg(windows)]
pub mod folder;
#[cfg(windows)]
pub mod manage;
#[cfg(windows)]
pub mod run;

pub use definition::{Definition, Privilege, RESET, RESTARTS, Setting, Start};
pub use error::{FolderError, ServiceError};
pub use status::{Exit, State, Status};
pub use words::{is_unquoted, words};
