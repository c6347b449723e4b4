//! The proof, a crate: the lab estate, and everything that is shown end to end with real processes.
//!
//! * [`lab`] is Exchange hosts made of files and sockets, to break and to heal.
#![forbid(unsafe_code)]

pub mod lab;
