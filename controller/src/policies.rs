//! Policies as people read them, on the command line and on pages: every value in effect, what another one would change, what time brings.

mod calendar;
mod differences;
mod effect;

pub(crate) use calendar::{Day, days, subject};
pub(crate) use differences::{Difference, Differences};
pub(crate) use effect::InEffect;
