//! The proof, a crate: the lab estate, the demo and its tour, and everything that is shown end to end with real processes.
//!
//! * [`lab`] is Exchange hosts made of files and sockets, to break and to heal.
//! * [`estate`] is a whole estate of the real binaries, built by [`binaries`] and held by [`process`]; [`desk`] is the operator's
//!   workstation in it, [`forger`] a controller in foreign hands, [`impostor`] an
//!   agent's identity in them.
//! * [`papers`] are what a dishonest person could write and sign.
//! * [`outside`] looks at a server as a stranger does, [`poll`] does so all the time. What is claimed to be served is checked
//!   with them.
//! * [`demo`] is an estate to play with, [`tour`] the main job told and checked step by step.
//! * [`conformance`] is what every driver of a host must do; `windows` is a host of Windows for it, and the only part that is built
//!   for Windows beside it.
//! * [`wine`] is Windows machines, `alone` a test with every port of its own to put them, and all that belongs to them, on.
//! * [`disk`] and [`mod@line`] fail when a test wants them to.
//! * [`pe`] reads what a Windows exe carries beside its code.
//! * [`sim`] is whole lives of small estates from a seed.
//! * [`wait`] waits for what happens, never for a time.
#![forbid(unsafe_code)]

#[cfg(feature = "estate")]
pub mod alone;
#[cfg(feature = "estate")]
pub mod binaries;
pub mod conformance;
#[cfg(feature = "estate")]
pub mod demo;
#[cfg(feature = "estate")]
pub mod desk;
#[cfg(feature = "estate")]
pub mod disk;
#[cfg(feature = "estate")]
pub mod estate;
#[cfg(feature = "estate")]
pub mod forger;
#[cfg(feature = "estate")]
pub mod impostor;
#[cfg(feature = "estate")]
pub mod lab;
#[cfg(feature = "estate")]
pub mod line;
#[cfg(feature = "estate")]
pub mod outside;
#[cfg(feature = "estate")]
pub mod papers;
pub mod pe;
#[cfg(feature = "estate")]
pub mod poll;
#[cfg(feature = "estate")]
pub mod process;
#[cfg(feature = "estate")]
pub mod sim;
#[cfg(feature = "estate")]
pub mod tour;
pub mod wait;
#[cfg(windows)]
pub mod windows;
#[cfg(feature = "estate")]
pub mod wine;
