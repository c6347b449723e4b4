//! A program of ours as a service of Windows. Both the agent and the controller are one, and neither knows the other
//! (docs/decisions/0015).
//!
//! * `run` stands between the service control manager and a program: what it reports is decided by [`life`], which is pure.
//! * `manage` installs, removes, starts, stops and asks; what a service is stands in a [`Definition`], what is told of it in a
//!   [`Status`].
//! * `folder` makes a folder for the service alone; who may have access is decided by [`access`], which is pure.
//!
//! Off Windows only the pure parts are built, for their tests.

pub mod access;
mod definition;
mod error;
pub mod life;
mod status;
mod words;

#[cfg(windows)]
#[expect(unsafe_code, reason = "the calls of Windows that the crate windows-service lacks, or makes in a way that is not ours")]
mod ffi;
#[cfg(windows)]
pub mod folder;
#[cfg(windows)]
pub mod manage;
#[cfg(windows)]
pub mod run;

pub use definition::{Definition, Privilege, RESET, RESTARTS, Setting, Start};
pub use error::{Code, FolderError, ServiceError};
pub use status::{Exit, State, Status};
pub use words::{is_unquoted, words};
