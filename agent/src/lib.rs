//! The agent of one Exchange host.
#![forbid(unsafe_code)]

pub mod driver;
