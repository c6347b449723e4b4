//! What both programs are to Windows, whatever they do there: sources of events with documented ids, files with a version and a
//! manifest, owners of keys that only their machine can open, and services.
//!
//! * [`event`] is what an event is. Each program has one table of its own; from there come its log calls, the message table in
//!   its exe and the page for people, so that none of them can say something else than the others.
//! * [`resource`] puts message table, version and manifest into an exe. Build scripts call it; it needs nothing but `std`.
//! * `seal`, on Windows alone, seals keys with the machine's own (DPAPI).
//! * [`service`] is a program of ours as a service, with a folder that is its own. It has a feature of its own, which build scripts leave out.
//!
//! `unsafe` stands in `ffi`, so that the controller, which has none, keeps forbidding it.

mod code;
pub mod event;
#[cfg(windows)]
#[expect(unsafe_code, reason = "the one place of this crate that calls Windows")]
mod ffi;
pub mod resource;
#[cfg(windows)]
pub mod seal;
#[cfg(feature = "service")]
pub mod service;

pub use self::code::Code;
