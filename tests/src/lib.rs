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
//! * [`conformance`] is what every driver of a host must do.
//! * [`wine`] is Windows machines, for what runs there.
//! * [`wait`] waits for what happens, never for a time.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod conformance;
pub mod demo;
pub mod desk;
pub mod estate;
pub mod forger;
pub mod impostor;
pub mod lab;
pub mod outside;
pub mod papers;
pub mod poll;
pub mod process;
pub mod tour;
pub mod wait;
pub mod wine;
