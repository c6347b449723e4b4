//! An Exchange host as Windows shows it: CryptoAPI stores and keys, the configuration API of http.sys, the registry, the
//! service control manager, the event log, and the configuration file of IIS. No cmdlet and no child process: the management
//! shell is dead when it matters.
//!
//! [`ffi`] is the only part with `unsafe` in it. Everything else is safe Rust over its types. The calls are here; what makes a
//! driver of them is not yet.

#[expect(unsafe_code, reason = "the one place that calls Windows")]
pub mod ffi;
mod keyfile;
pub mod keys;
pub mod records;
mod rsa;
pub mod stores;
