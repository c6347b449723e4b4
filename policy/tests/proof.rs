//! The proof of the mind: scenarios as prose, a table of refusals, and properties that hold for every host.

mod admit;
mod documents;
mod edges;
mod properties;
mod scenarios;
mod stage;
mod untouched;
mod windows;
