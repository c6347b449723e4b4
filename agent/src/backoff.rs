//! How long to wait before the next try, so that a thousand agents that lost one controller do not all come back at once.

use std::time::Duration;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(500);

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// The wait after `failures` tries that failed before this one: anything from nothing to a bound that doubles from half a
/// second to a minute (full jitter). `random` is drawn from 0 to 1 by the caller.
pub fn delay(failures: u32, random: f64) -> Duration {
    // 2^7 times half a second is past the longest wait.
    let bound = FIRST.saturating_mul(1 << failures.min(7)).min(LONGEST);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_from_half_a_second_to_a_minute() {
        assert_eq!(delay(0, 1.0), Duration::from_millis(500));
        assert_eq!(delay(1, 1.0), Duration::from_secs(1));
        assert_eq!(delay(6, 1.0), Duration::from_secs(32));
        assert_eq!(delay(7, 1.0), Duration::from_secs(60));
        assert_eq!(delay(u32::MAX, 1.0), Duration::from_secs(60));
    }

    #[test]
    fn the_wait_is_spread_over_the_whole_bound() {
        assert_eq!(delay(7, 0.0), Duration::ZERO);
        assert_eq!(delay(7, 0.5), Duration::from_secs(30));
    }

    #[test]
    fn a_random_number_out_of_range_makes_no_wait_out_of_range() {
        assert_eq!(delay(3, 7.0), Duration::from_secs(4));
        assert_eq!(delay(3, -1.0), Duration::ZERO);
    }
}
