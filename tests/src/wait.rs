//! Waiting for a condition, with a bound: the one place of the proof that sleeps.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: short at first, and longer the longer it takes, so that waiting does not itself slow down what is waited for.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(100);

/// Looks until `look` finds something.
///
/// # Errors
/// When `limit` has passed: says what was waited for, and what `look` last said was in the way.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Look<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        let missing = match look() {
            Look::Found(found) => return Ok(found),
            Look::NotYet(missing) => missing,
        };
        if began.elapsed() >= limit {
            bail!("waited {} s for {what}; last seen: {missing}", limit.as_secs_f32());
        }
        beat((began.elapsed() / 10).clamp(SHORTEST, LONGEST));
    }
}

/// Looks again and again for as long as `time` lasts, and stops at the first look that goes wrong: for what must *not* happen.
///
/// # Errors
/// Those of `look`.
pub fn throughout(time: Duration, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        look()?;
        beat(LONGEST);
    }
    look()
}

/// Waits a moment between two looks of a loop that has its own bound.
#[expect(clippy::disallowed_methods, reason = "this is the helper that sleeps between two looks")]
pub fn beat(time: Duration) {
    thread::sleep(time);
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T> {
    /// What was waited for.
    Found(T),
    /// What is in the way.
    NotYet(String),
}

impl<T> From<Result<T>> for Look<T> {
    fn from(result: Result<T>) -> Self {
        match result {
            Ok(found) => Self::Found(found),
            Err(error) => Self::NotYet(format!("{error:#}")),
        }
    }
}

/// Found when true.
pub fn when(condition: bool, missing: impl FnOnce() -> String) -> Look<()> {
    if condition { Look::Found(()) } else { Look::NotYet(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_is_an_error_that_says_what_was_seen_last() {
        let error = until("rain", Duration::from_millis(50), || Look::<()>::NotYet("sun".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "waited 0.05 s for rain; last seen: sun");
    }

    #[test]
    fn what_comes_later_is_found() {
        let mut looks = 0;
        let found = until("three", Duration::from_secs(5), || {
            looks += 1;
            if looks == 3 { Look::Found(looks) } else { Look::NotYet(looks.to_string()) }
        });
        assert_eq!(found.unwrap(), 3);
    }
}
