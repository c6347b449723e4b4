//! How many events of one id are kept: whoever flaps must not push everything else out of the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most events of one id within [`WINDOW`].
pub(super) const MOST: u32 = 60;

/// The time within which they are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(3_600);

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is kept.
    Kept,
    /// It is the first that is too many: that is told once.
    FirstTooMany,
    /// It is left out.
    TooMany,
}

/// Counts by id; ids are those of a table, and so few.
#[derive(Debug, Default)]
pub(super) struct Pace(BTreeMap<u16, (Instant, u32)>);

impl Pace {
    /// Counts one.
    pub(super) fn judge(&mut self, id: u16, now: Instant) -> Fate {
        let (since, count) = self.0.entry(id).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        match *count {
            1..=MOST => Fate::Kept,
            count if count == MOST + 1 => Fate::FirstTooMany,
            _ => Fate::TooMany,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_of_one_id_are_kept_within_an_hour_and_the_next_hour_begins_anew() {
        #[expect(clippy::disallowed_methods, reason = "any moment will do; there is no other way to make one")]
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let judged: Vec<_> = (0..70).map(|second| pace.judge(5000, begin + Duration::from_secs(second))).collect();
        assert!(judged[..60].iter().all(|fate| *fate == Fate::Kept));
        assert_eq!(judged[60], Fate::FirstTooMany);
        assert!(judged[61..].iter().all(|fate| *fate == Fate::TooMany));
        assert_eq!(pace.judge(5001, begin + Duration::from_secs(70)), Fate::Kept, "another id has its own");
        assert_eq!(pace.judge(5000, begin + WINDOW), Fate::Kept);
    }
}
