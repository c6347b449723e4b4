//! Lengths of time as people write them in a policy: `60d`, `4h`, `2m`, `30s`, `0d`.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The longest length that a policy may name: a hundred years of days.
const MAX_SECONDS: i64 = 100 * 366 * 86_400;

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a length of time such as \"30s\", \"2m\", \"4h\" or \"60d\" (at most a hundred years), found {0:?}")]
pub struct InvalidSpan(String);

/// A length of elapsed time, never negative. A day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

impl Span {
    /// That many seconds.
    pub const fn seconds(seconds: u32) -> Self {
        Self(seconds as i64)
    }

    /// That many days of 24 hours.
    pub const fn days(days: u16) -> Self {
        Self(days as i64 * 86_400)
    }

    /// The length in seconds.
    pub fn as_seconds(self) -> i64 {
        self.0
    }

    /// `at` and this much later; the end of time when there is no such moment.
    pub fn after(self, at: Timestamp) -> Timestamp {
        at.checked_add(SignedDuration::from_secs(self.0)).unwrap_or(Timestamp::MAX)
    }

    /// `at` and this much earlier; the beginning of time when there is no such moment.
    pub fn before(self, at: Timestamp) -> Timestamp {
        at.checked_sub(SignedDuration::from_secs(self.0)).unwrap_or(Timestamp::MIN)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let wrong = || InvalidSpan(text.chars().take(40).collect());
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let seconds = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(unit)).ok_or_else(wrong)?;
        (seconds <= MAX_SECONDS).then_some(Self(seconds)).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            seconds if seconds % 86_400 == 0 => (seconds / 86_400, 'd'),
            seconds if seconds % 3_600 == 0 => (seconds / 3_600, 'h'),
            seconds if seconds % 60 == 0 => (seconds / 60, 'm'),
            seconds => (seconds, 's'),
        };
        write!(f, "{count}{unit}")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written_as_people_write_them() {
        for text in ["0d", "30s", "2m", "4h", "60d"] {
            assert_eq!(text.parse::<Span>().expect(text).to_string(), text);
        }
        assert_eq!("90m".parse::<Span>().expect("90 minutes").as_seconds(), 5_400);
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for text in ["", "d", "2", "-2m", "2 m", "2w", "99999999999999999999d", "40000d", "é", "1é"] {
            assert!(text.parse::<Span>().is_err(), "{text:?} was taken");
        }
    }
}
