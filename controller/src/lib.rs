//! `backstay`: the controller of an estate, and the command line of its operators.
//!
//! The rooms of the server, from the wire inwards:
//!
//! * [`listen`] accepts TLS connections, [`tls`] says who is believed on them, [`ca`] issues what they are believed by.
//! * [`enrolment`] lets hosts in, [`agents`] holds the streams of those that are in, and [`connections`] knows which are. What is
//!   said on a stream is judged by [`session`], which is pure. [`operators`] answers the command line, and [`web`] shows the same as pages.
//! * [`store`] keeps everything; nothing is acknowledged before it says so. Every change is told in its chained
//!   [`audit`] trail, in the same transaction.
//! * [`reconcile`] looks at one server at a time, when something about it changed or its time has come, and moves its plans.
//!   What it decides is pure.
//! * [`serve`] ties them together by [`parts`], [`telemetry`] and [`event`] show them to other tools, [`status`] words what went wrong.
//!
//! [`diff`] tells what a plan changes, in ten lines, [`by_hand`] how one would do it without us; [`colour`] is what pages have in common.
//!
//! Without the feature `server` only what an operator's workstation needs is built.
#![forbid(unsafe_code)]

pub mod audit;
pub mod by_hand;
pub mod cli;
pub mod clock;
pub mod colour;
pub mod diff;
mod policies;

#[cfg(feature = "server")]
pub mod agents;
#[cfg(feature = "server")]
pub mod ca;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod connections;
#[cfg(feature = "server")]
pub mod enrolment;
#[cfg(feature = "server")]
pub mod event;
#[cfg(feature = "server")]
pub mod listen;
#[cfg(feature = "server")]
pub mod notify;
#[cfg(feature = "server")]
pub mod operators;
#[cfg(feature = "server")]
pub mod parts;
#[cfg(feature = "server")]
pub mod password;
#[cfg(feature = "server")]
pub mod reconcile;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod status;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tls;
#[cfg(feature = "server")]
pub mod web;

#[cfg(all(test, feature = "server"))]
mod stage;
