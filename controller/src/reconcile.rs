//! Looks at servers, one at a time each, when something about them changed or their time has come.

mod look;

pub use look::{Conclusion, Move, Standing, Terms, look};
