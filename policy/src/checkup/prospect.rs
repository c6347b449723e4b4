//! Would a renewal succeed on this host? What its last checkups say, and how far they can still be believed.
//!
//! It is a word about the host's calls, keys and access. Whether a renewal may run (hold, window, freeze, approvals) is for
//! [`admit`](crate::admit) and the plan to say.

use std::fmt;

use jiff::Timestamp;

use super::{Check, Checkup, Kind, Outcome};
use crate::duration::Span;

/// A rehearsal says nothing any more when it is older.
pub const GOOD_FOR: Span = Span::days(365);

/// The newest checkup of either kind says nothing any more when it is older: what was fine then may have changed since.
pub const FRESH: Span = Span::days(45);

/// The last checkups of a host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kept<'a> {
    /// The last one that only looked.
    pub look: Option<&'a Checkup>,
    /// The last rehearsal.
    pub rehearsal: Option<&'a Checkup>,
}

/// Whether a renewal would succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// Everything of it but the writing of the record was done there, and worked.
    Yes {
        /// When.
        rehearsed: Timestamp,
    },
    /// Something that it needs does not work there.
    No {
        /// What, and why.
        why: String,
    },
    /// Nobody knows.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Prospect {
    /// Its word: `yes`, `no` or `unknown`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Yes { .. } => "yes",
            Self::No { .. } => "no",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why.
    pub fn why(&self) -> String {
        match self {
            Self::Yes { rehearsed } => format!("rehearsed {}", day(*rehearsed)),
            Self::No { why } | Self::Unknown { why } => why.clone(),
        }
    }
}

impl fmt::Display for Prospect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes { .. } => write!(f, "yes, {}", self.why()),
            Self::No { why } => write!(f, "no: {why}"),
            Self::Unknown { why } => write!(f, "not known: {why}"),
        }
    }
}

/// Judges the last checkups of a host at `now`. `exchange` is its Exchange as last reported, when that is known.
pub fn prospect(kept: Kept<'_>, exchange: Option<&str>, now: Timestamp) -> Prospect {
    let Kept { look, rehearsal } = kept;
    // A rehearsal looks first: what was looked at before says nothing more.
    let look = look.filter(|look| rehearsal.is_none_or(|rehearsal| rehearsal.at < look.at));
    for checkup in look.into_iter().chain(rehearsal) {
        if let Some(check) = checkup.checks.iter().find(|check| check.needed && matches!(check.outcome, Outcome::Failed { .. })) {
            return Prospect::No { why: format!("{} ({})", shown(check), done(checkup)) };
        }
    }
    let unknown = |why: String| Prospect::Unknown { why };
    let Some(rehearsal) = rehearsal else {
        return unknown(match look {
            None => "never rehearsed; `backstay-agent doctor --rehearse` on the host does".to_owned(),
            Some(look) => {
                format!("never rehearsed, only looked at {}; `backstay-agent doctor --rehearse` on the host does", day(look.at))
            }
        });
    };
    for checkup in look.into_iter().chain([rehearsal]) {
        let open = |check: &&Check| check.needed && !matches!(check.outcome, Outcome::Proven { .. });
        // A look leaves out what only a rehearsal does.
        let left_out = |check: &Check| checkup.kind == Kind::Look && matches!(check.outcome, Outcome::NotTried { .. });
        if let Some(check) = checkup.checks.iter().filter(open).find(|check| !left_out(check)) {
            return unknown(format!("{} ({})", shown(check), done(checkup)));
        }
    }
    if let Some(why) = changed(rehearsal, look, exchange) {
        return unknown(format!("{why} since the rehearsal of {}", day(rehearsal.at)));
    }
    if GOOD_FOR.after(rehearsal.at) <= now {
        return unknown(format!("the last rehearsal is of {}, more than {GOOD_FOR} ago", day(rehearsal.at)));
    }
    let newest = look.unwrap_or(rehearsal);
    if FRESH.after(newest.at) <= now {
        return unknown(format!("last looked at {}, more than {FRESH} ago", day(newest.at)));
    }
    Prospect::Yes { rehearsed: rehearsal.at }
}

/// What is another one than when it was rehearsed. What is not known on both sides is no change.
fn changed(rehearsal: &Checkup, look: Option<&Checkup>, exchange: Option<&str>) -> Option<String> {
    let then = &rehearsal.subject;
    let now = look.map(|look| &look.subject);
    let known = |text: &Option<String>| text.clone();
    let of_look = |read: fn(&super::Subject) -> &Option<String>| now.and_then(|subject| known(read(subject)));
    let differs = |what: &str, then: &Option<String>, now: Option<String>| match (then, now) {
        (Some(then), Some(now)) if *then != now => Some(format!("{what} changed from {then} to {now}")),
        _ => None,
    };
    differs("the installation", &then.machine_id, of_look(|subject| &subject.machine_id))
        .or_else(|| differs("the system", &then.system, of_look(|subject| &subject.system)))
        .or_else(|| {
            differs("Exchange", &then.exchange, exchange.map(str::to_owned).or_else(|| of_look(|subject| &subject.exchange)))
        })
}

fn shown(check: &Check) -> String {
    format!("{}: {}", check.name, check.outcome.text())
}

fn done(checkup: &Checkup) -> String {
    match checkup.kind {
        Kind::Look => format!("looked at {}", day(checkup.at)),
        Kind::Rehearsal => format!("rehearsed {}", day(checkup.at)),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::*;

    const EXCHANGE: Option<&str> = Some("15.1.2507.6");

    fn at(text: &str) -> Timestamp {
        format!("{text}T10:00:00Z").parse().expect("a moment")
    }

    fn checkup(day: &str, kind: Kind, outcomes: &[(&str, bool, Outcome)]) -> Checkup {
        let check = |(name, needed, outcome): &(&str, bool, Outcome)| Check {
            name: (*name).to_owned(),
            needed: *needed,
            micros: None,
            outcome: outcome.clone(),
        };
        let subject = Subject {
            machine_id: Some("m-1".to_owned()),
            system: Some("Windows 6.3.9600".to_owned()),
            exchange: EXCHANGE.map(str::to_owned),
        };
        let checks = outcomes.iter().map(check).collect();
        Checkup { at: at(day), kind, agent_version: "0.1.0".to_owned(), subject, checks }
    }

    fn proven() -> Outcome {
        Outcome::Proven { found: "it works".to_owned() }
    }

    fn failed() -> Outcome {
        Outcome::Failed { why: "access denied".to_owned(), code: Some(5), next: String::new() }
    }

    fn good(day: &str, kind: Kind) -> Checkup {
        let rehearsed = match kind {
            Kind::Look => Outcome::NotTried { why: "only a rehearsal does".to_owned() },
            Kind::Rehearsal => proven(),
        };
        checkup(day, kind, &[("store.MY", true, proven()), ("rehearse.key", true, rehearsed)])
    }

    fn says(look: Option<&Checkup>, rehearsal: Option<&Checkup>, now: &str) -> String {
        prospect(Kept { look, rehearsal }, EXCHANGE, at(now)).to_string()
    }

    #[test]
    fn who_was_never_rehearsed_is_not_known() {
        assert!(says(None, None, "2026-11-25").starts_with("not known: never rehearsed; "));
        let look = good("2026-11-20", Kind::Look);
        assert!(says(Some(&look), None, "2026-11-25").starts_with("not known: never rehearsed, only looked at 2026-11-20; "));
    }

    #[test]
    fn a_rehearsal_in_which_all_that_is_needed_worked_is_a_yes() {
        let rehearsal = good("2026-11-20", Kind::Rehearsal);
        assert_eq!(says(None, Some(&rehearsal), "2026-11-25"), "yes, rehearsed 2026-11-20");
        let look = good("2026-11-24", Kind::Look);
        assert_eq!(says(Some(&look), Some(&rehearsal), "2026-12-25"), "yes, rehearsed 2026-11-20");
        let mut beside = rehearsal;
        beside.checks.push(Check { name: "events".to_owned(), needed: false, micros: None, outcome: failed() });
        assert_eq!(says(None, Some(&beside), "2026-11-25"), "yes, rehearsed 2026-11-20");
    }

    #[test]
    fn what_failed_and_is_needed_is_a_no_whichever_found_it() {
        let bad = |day, kind| checkup(day, kind, &[("records", true, failed()), ("store.MY", true, failed())]);
        let rehearsal = bad("2026-11-20", Kind::Rehearsal);
        assert_eq!(says(None, Some(&rehearsal), "2026-11-25"), "no: records: access denied (rehearsed 2026-11-20)");
        // A look finds less: what failed in a rehearsal failed until the next one.
        let look = good("2026-11-24", Kind::Look);
        assert_eq!(says(Some(&look), Some(&rehearsal), "2026-11-25"), "no: records: access denied (rehearsed 2026-11-20)");
        let (look, rehearsal) = (bad("2026-11-24", Kind::Look), good("2026-11-20", Kind::Rehearsal));
        assert_eq!(says(Some(&look), Some(&rehearsal), "2026-11-25"), "no: records: access denied (looked at 2026-11-24)");
        assert_eq!(says(Some(&look), None, "2026-11-25"), "no: records: access denied (looked at 2026-11-24)");
        let rehearsal = good("2026-11-25", Kind::Rehearsal);
        assert_eq!(says(Some(&look), Some(&rehearsal), "2026-11-25"), "yes, rehearsed 2026-11-25", "mended since the look");
    }

    #[test]
    fn what_could_not_be_shown_and_is_needed_is_not_known() {
        for outcome in [Outcome::Unproven { lacks: "no 444".to_owned() }, Outcome::NotTried { why: "no 444".to_owned() }] {
            let rehearsal = checkup("2026-11-20", Kind::Rehearsal, &[("rehearse.handshake", true, outcome)]);
            let expected = "not known: rehearse.handshake: no 444 (rehearsed 2026-11-20)";
            assert_eq!(says(None, Some(&rehearsal), "2026-11-25"), expected);
        }
    }

    #[test]
    fn what_changed_since_the_rehearsal_makes_it_worth_nothing() {
        let rehearsal = good("2026-11-20", Kind::Rehearsal);
        let mut look = good("2026-11-24", Kind::Look);
        look.subject.system = Some("Windows 10.0.17763".to_owned());
        let expected =
            "not known: the system changed from Windows 6.3.9600 to Windows 10.0.17763 since the rehearsal of 2026-11-20";
        assert_eq!(says(Some(&look), Some(&rehearsal), "2026-11-25"), expected);
        look.subject.system = None;
        assert_eq!(says(Some(&look), Some(&rehearsal), "2026-11-25"), "yes, rehearsed 2026-11-20", "unknown is no change");
        look.subject.machine_id = Some("m-2".to_owned());
        assert!(says(Some(&look), Some(&rehearsal), "2026-11-25").starts_with("not known: the installation changed from m-1"));
        let kept = Kept { look: None, rehearsal: Some(&rehearsal) };
        let updated = prospect(kept, Some("15.1.2507.39"), at("2026-11-25")).to_string();
        assert!(updated.starts_with("not known: Exchange changed from 15.1.2507.6 to 15.1.2507.39"), "{updated}");
        assert_eq!(prospect(kept, None, at("2026-11-25")).as_str(), "yes");
    }

    #[test]
    fn what_is_old_is_not_known() {
        let rehearsal = good("2026-11-20", Kind::Rehearsal);
        assert_eq!(says(None, Some(&rehearsal), "2027-01-03"), "yes, rehearsed 2026-11-20");
        assert_eq!(says(None, Some(&rehearsal), "2027-01-04"), "not known: last looked at 2026-11-20, more than 45d ago");
        let look = good("2027-11-10", Kind::Look);
        assert_eq!(says(Some(&look), Some(&rehearsal), "2027-11-19"), "yes, rehearsed 2026-11-20");
        let expected = "not known: the last rehearsal is of 2026-11-20, more than 365d ago";
        assert_eq!(says(Some(&look), Some(&rehearsal), "2027-11-20"), expected);
    }
}
