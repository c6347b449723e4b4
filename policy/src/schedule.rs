//! When a renewal may run: the expiry window, the maintenance windows, the freezes, and how they meet (rule of restraint 9).
//!
//! Each question is answered by stepping from freeze to opening to freeze, never by walking over days; a policy has at most a
//! thousand of each, so every loop ends.

use jiff::Timestamp;

use crate::document::Policy;
use crate::duration::Span;
use crate::window::Freeze;

/// Without maintenance windows every moment before a freeze is permitted: work may then run on its last day.
const LAST_DAY: Span = Span::days(1);

/// What must be left of an opening before a freeze for it to count as the last chance, unless the opening is shorter by itself.
const ENOUGH: Span = Span::seconds(3600);

/// The most steps of one answer: each passes a freeze or an opening that a freeze covers.
const MOST_STEPS: usize = 4000;

impl Policy {
    /// The moment from which a certificate that ends at `not_after` may be renewed: `renew_before` its end, or earlier, at the
    /// last permitted window before a freeze in which it would end (rule 9).
    pub fn renewal_opens(&self, not_after: Timestamp) -> Timestamp {
        let usual = self.expiry.renew_before.before(not_after);
        match self.frozen_end(not_after) {
            None => usual,
            Some(freeze) => self.last_permitted(freeze.from()).map_or(usual, |last| usual.min(last)),
        }
    }

    /// The moment from which approvals are collected: `propose_at` before the end, and as much earlier as the renewal opens
    /// earlier, so that people have the same time for their yes.
    pub fn proposes_from(&self, not_after: Timestamp) -> Timestamp {
        let earlier = self.expiry.renew_before.before(not_after).duration_since(self.renewal_opens(not_after));
        let usual = self.expiry.propose_at.before(not_after);
        usual.checked_sub(earlier).unwrap_or(usual)
    }

    /// The freeze for whose sake a renewal opens earlier than usual; `None` when it does not.
    pub fn opens_early_for(&self, not_after: Timestamp) -> Option<&Freeze> {
        let usual = self.expiry.renew_before.before(not_after);
        self.frozen_end(not_after).filter(|_| self.renewal_opens(not_after) < usual)
    }

    /// The first moment at or after `from` at which approved work may run, if it comes before `limit`.
    pub fn permitted_from(&self, from: Timestamp, limit: Timestamp) -> Option<Timestamp> {
        let mut at = from;
        for _ in 0..MOST_STEPS {
            if at >= limit {
                return None;
            }
            if let Some(until) = self.freezes.iter().filter_map(|freeze| freeze.holds_until(at)).max() {
                at = until;
            } else if self.windows.is_empty() || self.windows.iter().any(|window| window.open_until(at).is_some()) {
                return Some(at);
            } else {
                at = self.windows.iter().filter_map(|window| window.next_opening(at)).min()?;
            }
        }
        None
    }

    /// The first moment at or after `from` that no freeze covers, if it comes before `limit`.
    pub fn thawed_from(&self, from: Timestamp, limit: Timestamp) -> Option<Timestamp> {
        let mut at = from;
        // Each step passes the end of a freeze.
        for _ in 0..=self.freezes.len() {
            match self.freezes.iter().filter_map(|freeze| freeze.holds_until(at)).max() {
                Some(until) => at = until,
                None => return (at < limit).then_some(at),
            }
        }
        None
    }

    /// Why a certificate that ends at `not_after` cannot be renewed in time by approved work from `now` on; `None` when it
    /// can. It is said at once, years before if need be, and not on the day; and as soon as the last window has passed.
    pub fn no_window_before(&self, not_after: Timestamp, now: Timestamp) -> Option<String> {
        let opens = self.renewal_opens(not_after).max(now);
        // With `renew_before = 0d` the renewal comes after the end, and that is wanted.
        if opens >= not_after || self.permitted_from(opens, not_after).is_some() {
            return None;
        }
        // Words that stay the same as long as the answer does: no `now` in them.
        Some(if now < opens {
            format!("between {opens} and its end on {not_after} no window opens that is not frozen")
        } else {
            format!("before its end on {not_after} no window opens any more that is not frozen")
        })
    }

    /// The end of the last window before `not_after` that no freeze covers: from then on approved work cannot come in time.
    pub fn last_chance(&self, not_after: Timestamp) -> Option<Timestamp> {
        let end = self.frozen_end(not_after).map_or(not_after, Freeze::from);
        if self.windows.is_empty() {
            return Some(end);
        }
        let last = self.last_permitted(end)?;
        let until = self.windows.iter().filter_map(|window| window.open_until(last)).max()?;
        Some(self.next_freeze(last).map_or(until, |freeze| until.min(freeze)).min(end))
    }

    /// The freeze in which a certificate would end: the first of those that follow one another without a gap.
    fn frozen_end(&self, not_after: Timestamp) -> Option<&Freeze> {
        let mut found =
            self.freezes.iter().filter(|freeze| freeze.holds_until(not_after).is_some()).min_by_key(|freeze| freeze.from())?;
        for _ in 0..self.freezes.len() {
            let touches = |freeze: &&Freeze| freeze.from() < found.from() && found.from() <= freeze.until();
            match self.freezes.iter().filter(touches).min_by_key(|freeze| freeze.from()) {
                Some(earlier) => found = earlier,
                None => break,
            }
        }
        Some(found)
    }

    /// The last opening before `end` that no freeze covers and that is long enough for work before a freeze or `end` cuts it off.
    fn last_permitted(&self, end: Timestamp) -> Option<Timestamp> {
        let mut before = end;
        for _ in 0..MOST_STEPS {
            let last = if self.windows.is_empty() {
                LAST_DAY.before(before)
            } else {
                self.windows.iter().filter_map(|window| window.last_opening(before)).max()?
            };
            if let Some(freeze) = self.freezes.iter().find(|freeze| freeze.holds_until(last).is_some()) {
                before = freeze.from();
            } else if self.is_cut_off(last, end) {
                before = last;
            } else {
                return Some(last);
            }
        }
        None
    }

    /// Whether so little of the windows that open at `start` is left before a freeze or before `end` that it is no chance.
    fn is_cut_off(&self, start: Timestamp, end: Timestamp) -> bool {
        let cut = self.next_freeze(start).map_or(end, |freeze| freeze.min(end));
        let closes = self.windows.iter().filter_map(|window| window.open_until(start)).max();
        cut < ENOUGH.after(start) && closes.is_none_or(|closes| cut < closes)
    }

    /// When the next freeze begins after `at`.
    fn next_freeze(&self, at: Timestamp) -> Option<Timestamp> {
        self.freezes.iter().map(Freeze::from).filter(|from| at < *from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn policy(lines: &str) -> Policy {
        let text = format!("estate = \"contoso\"\nversion = 1\n{lines}");
        Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    const SATURDAYS: &str = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"Europe/Berlin\"\n";

    fn freeze(from: &str, to: &str) -> String {
        format!("[[freeze]]\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"Europe/Berlin\"\nreason = \"year end\"\n")
    }

    #[test]
    fn without_a_freeze_it_opens_thirty_days_before() {
        let ends = at("2027-03-10T08:00:00Z");
        assert_eq!(policy(SATURDAYS).renewal_opens(ends), at("2027-02-08T08:00:00Z"));
        assert_eq!(policy("").proposes_from(ends), at("2027-01-09T08:00:00Z"));
    }

    #[test]
    fn a_freeze_that_contains_the_end_moves_it_to_the_last_window_before() {
        // From 20 November to 10 January nothing moves; the certificate ends on Christmas Eve.
        let policy = policy(&format!("{SATURDAYS}{}", freeze("2026-11-20", "2027-01-10")));
        let ends = at("2026-12-24T08:00:00Z");
        let opens = policy.renewal_opens(ends);
        assert_eq!(opens, at("2026-11-14T21:00:00Z"), "the Saturday before the freeze");
        assert!(policy.may_run(opens, false).is_ok());
        assert_eq!(policy.opens_early_for(ends).map(|freeze| freeze.reason.as_str()), Some("year end"));
        assert_eq!(policy.proposes_from(ends), at("2026-10-15T21:00:00Z"), "people have thirty days for their yes, as ever");
        // The last window passes unused: said from that moment on, for in the freeze nothing runs.
        let chance = policy.last_chance(ends).expect("a window");
        assert_eq!(chance, at("2026-11-15T01:00:00Z"));
        assert_eq!(policy.no_window_before(ends, at("2026-11-15T00:59:59Z")), None);
        assert!(policy.no_window_before(ends, chance).is_some());
        // One that ends before the freeze is none of its business.
        assert_eq!(policy.renewal_opens(at("2026-11-19T08:00:00Z")), at("2026-10-20T08:00:00Z"));
    }

    #[test]
    fn an_opening_that_a_freeze_cuts_short_is_no_chance() {
        // Open on Saturdays from 22:00 UTC+1; the freeze begins at midnight of Sunday: two hours are left, and they count.
        let ends = at("2026-12-24T08:00:00Z");
        let two_hours = policy(&format!("{SATURDAYS}{}", freeze("2026-11-22", "2027-01-10")));
        assert_eq!(two_hours.renewal_opens(ends), at("2026-11-21T21:00:00Z"));
        assert_eq!(two_hours.last_chance(ends), Some(at("2026-11-21T23:00:00Z")), "until the freeze");
        // From 23:30 half an hour would be left of four: the Saturday before is the last.
        let late = SATURDAYS.replace("22:00", "23:30");
        let half = policy(&format!("{late}{}", freeze("2026-11-22", "2027-01-10")));
        assert_eq!(half.renewal_opens(ends), at("2026-11-14T22:30:00Z"));
        // The same when it is another freeze that cuts it short, and none but that Saturday lies between the two.
        let two = policy(&format!("{late}{}{}", freeze("2026-11-22", "2026-11-23"), freeze("2026-11-25", "2027-01-10")));
        assert_eq!(two.renewal_opens(ends), at("2026-11-14T22:30:00Z"));
        let two = policy(&format!("{SATURDAYS}{}{}", freeze("2026-11-22", "2026-11-23"), freeze("2026-11-25", "2027-01-10")));
        assert_eq!(two.last_chance(ends), Some(at("2026-11-21T23:00:00Z")), "until the nearer freeze");
        // From 23:00 one hour is left, and an hour is enough.
        let hour = policy(&format!("{}{}", SATURDAYS.replace("22:00", "23:00"), freeze("2026-11-22", "2027-01-10")));
        assert_eq!(hour.renewal_opens(ends), at("2026-11-21T22:00:00Z"));
        // A window of half an hour is short by itself.
        let short = policy(&format!("{}{}", late.replace("4h", "30m"), freeze("2026-11-22", "2027-01-10")));
        assert_eq!(short.renewal_opens(ends), at("2026-11-21T22:30:00Z"));
    }

    #[test]
    fn a_freeze_that_begins_after_the_renewal_opens_moves_nothing() {
        let policy = policy(&format!("{SATURDAYS}{}", freeze("2026-12-20", "2027-01-10")));
        let ends = at("2026-12-24T08:00:00Z");
        assert_eq!(policy.renewal_opens(ends), at("2026-11-24T08:00:00Z"));
        assert_eq!(policy.opens_early_for(ends), None, "it opens when it always does");
        assert_eq!(policy.thawed_from(ends, at("2027-01-10T23:00:00Z")), None, "it thaws at the limit, and not before it");
        assert_eq!(policy.thawed_from(ends, at("2027-01-10T23:00:01Z")), Some(at("2027-01-10T23:00:00Z")));
    }

    #[test]
    fn freezes_that_overlap_or_touch_are_one() {
        let chain = [freeze("2026-12-10", "2027-01-10"), freeze("2026-11-20", "2026-12-09"), freeze("2026-10-01", "2026-11-25")];
        let policy = policy(&format!("{SATURDAYS}{}", chain.concat()));
        let ends = at("2026-12-24T08:00:00Z");
        assert_eq!(policy.renewal_opens(ends), at("2026-09-26T20:00:00Z"), "the last Saturday of September, in summer time");
        assert_eq!(policy.proposes_from(ends), at("2026-08-27T20:00:00Z"), "and approvals are collected a month before");
        let without_windows = self::policy(&chain.concat());
        assert_eq!(without_windows.last_chance(ends), Some(at("2026-09-30T22:00:00Z")), "before the first of them");
        assert_eq!(without_windows.renewal_opens(ends), at("2026-09-29T22:00:00Z"), "on the last day before");
    }

    #[test]
    fn no_window_before_the_end_is_said_at_once() {
        // Frozen from before it may be renewed, and no window at all before that freeze, for another covers it.
        let now = at("2026-11-24T00:00:00Z");
        let year = freeze("2020-01-01", "2027-12-31");
        let policy_frozen = policy(&format!("{SATURDAYS}{year}"));
        let ends = at("2027-06-01T08:00:00Z");
        assert_eq!(policy_frozen.renewal_opens(ends), at("2019-12-28T21:00:00Z"));
        assert!(policy_frozen.no_window_before(ends, now).is_some(), "that Saturday is long past");
        // Nothing is frozen when it ends, and yet no window lies between.
        let gap = policy(&format!("[expiry]\nrenew_before = \"10d\"\n{SATURDAYS}{}", freeze("2027-05-20", "2027-05-31")));
        let why = gap.no_window_before(ends, now).expect("no Saturday between");
        assert!(why.contains("2027-05-22T08:00:00Z"), "{why}");
        assert_eq!(policy("").no_window_before(ends, now), None);
        assert_eq!(policy(&format!("[expiry]\nrenew_before = \"0d\"\n{SATURDAYS}")).no_window_before(ends, now), None);
    }

    #[test]
    fn a_thousand_windows_and_freezes_are_answered() {
        let many = SATURDAYS.repeat(1000);
        let freezes: String = (1..=28).map(|day| freeze(&format!("2026-11-{day:02}"), &format!("2027-01-{day:02}"))).collect();
        let policy = policy(&format!("{many}{freezes}"));
        let ends = at("2026-12-24T08:00:00Z");
        assert_eq!(policy.renewal_opens(ends), at("2026-10-31T21:00:00Z"));
        assert!(policy.permitted_from(at("2026-11-05T00:00:00Z"), ends).is_none());
    }
}
