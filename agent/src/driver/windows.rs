//! An Exchange host as Windows shows it: CryptoAPI stores and keys, the configuration API of http.sys, the registry, the
//! service control manager, the event log, and the configuration file of IIS. No cmdlet and no child process: the management
//! shell is dead when it matters.
//!
//! [`ffi`] is the only part with `unsafe` in it. Everything else is safe Rust over its types. The calls are here; what makes a
//! driver of them is not yet.

use policy::report::Fact;

use super::DriverError;

pub mod directory;
pub mod events;
pub mod exchange;
#[expect(unsafe_code, reason = "the one place that calls Windows")]
pub mod ffi;
pub mod host;
pub mod iis;
mod keyfile;
pub mod keys;
pub mod machine;
pub mod records;
mod rsa;
pub mod services;
pub mod stores;

/// What was read, or why it was not.
fn fact<T>(read: Result<T, DriverError>) -> Fact<T> {
    read.map_or_else(|error| Fact::Unknown(crate::chain(&error)), Fact::Known)
}
