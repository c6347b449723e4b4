//! The simulation: whole lives of small estates from a seed, by the product's own cores, and the promises asked after every step.
//!
//! Real are policy, sessions of both sides, looks, journal, ledger, memory, documents and stops, with their files in memory. Simulated are
//! hosts, the line, clocks, people, other tools and a thief; and the controller's store, whose rows change here as its own change.
//! `docs/simulation.md` says what that shows and what not.

mod agent;
mod bugs;
mod chance;
mod controller;
mod host;
mod people;
mod promises;
mod words;
mod world;

/// The stage on which the tests of `policy` play, and no other: one server as Setup leaves it.
#[path = "../../policy/tests"]
mod mind {
    #[expect(dead_code, reason = "the simulation needs a part of it")]
    pub(crate) mod stage;
}

/// A folder in memory, where the system has one: a life writes and flushes hundreds of files.
///
/// # Errors
/// When there is no folder for temporary files.
pub fn memory() -> std::io::Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

pub use bugs::Bug;
pub use promises::Broken;
pub use world::{Lived, live};
