//! What `backstay-agent doctor` found on a host: each call that a renewal needs, tried there, and what came of it.
//!
//! A [`Checkup`] is one run of it. The agent keeps the last one of each [`Kind`] and the controller has a copy;
//! [`prospect`](prospect()) says from the two whether a renewal would succeed on that host.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::Sha256;

mod prospect;

pub use self::prospect::{FRESH, GOOD_FOR, Kept, Prospect, prospect};

/// The most checks of one checkup. A host has a few for each store, way and address.
pub const MAX_CHECKS: usize = 200;

/// The longest text of a checkup, in bytes. With texts of full length a checkup still fits into one message.
pub const MAX_TEXT: usize = 1000;

/// One run of doctor on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkup {
    /// When it began, by the host's clock.
    pub at: Timestamp,
    /// What was done.
    pub kind: Kind,
    /// Version of the agent that did it.
    pub agent_version: String,
    /// On what.
    pub subject: Subject,
    /// What was tried, in order.
    pub checks: Vec<Check>,
}

/// What doctor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It looks, and changes nothing. The agent does this by itself as often as the policy says.
    Look,
    /// It looks, and then makes a key, a certificate and a handshake beside all that serves. Only people order this, on the host.
    Rehearsal,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Look, Self::Rehearsal];

    /// Its word in files, in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Rehearsal => "rehearsal",
        }
    }
}

/// What a checkup says something of: another one of these, and it says nothing any more. `None` is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The installation.
    pub machine_id: Option<String>,
    /// The operating system and its build, without its monthly patches: `Windows 6.3.9600`.
    pub system: Option<String>,
    /// Exchange, as a report has it.
    pub exchange: Option<String>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its stable name: `store.MY`, `probe.loopback`.
    pub name: String,
    /// A renewal cannot do without.
    pub needed: bool,
    /// How long it took, in microseconds; `None` for what another check has read already.
    pub micros: Option<u64>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Done here, and it works here.
    Proven {
        /// What was seen.
        found: String,
    },
    /// Done here, and it does not work.
    Failed {
        /// What went wrong.
        why: String,
        /// The system's code, where it gave one.
        code: Option<u32>,
        /// What a person does next.
        next: String,
    },
    /// Not done.
    NotTried {
        /// Why not.
        why: String,
    },
    /// It cannot be shown here.
    Unproven {
        /// What this host lacks.
        lacks: String,
    },
}

impl Outcome {
    /// Its word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proven { .. } => "proven",
            Self::Failed { .. } => "failed",
            Self::NotTried { .. } => "not_tried",
            Self::Unproven { .. } => "unproven",
        }
    }

    /// What is said of it, without the next step.
    pub fn text(&self) -> &str {
        match self {
            Self::Proven { found: text }
            | Self::Failed { why: text, .. }
            | Self::NotTried { why: text }
            | Self::Unproven { lacks: text } => text,
        }
    }
}

impl Check {
    /// Somebody should look at it: it failed, or it could not be shown although a renewal needs it.
    pub fn is_finding(&self) -> bool {
        match self.outcome {
            Outcome::Failed { .. } => true,
            Outcome::Unproven { .. } => self.needed,
            Outcome::Proven { .. } | Outcome::NotTried { .. } => false,
        }
    }

    /// The larger, the worse: what failed and is needed first.
    fn weight(&self) -> u8 {
        match (&self.outcome, self.needed) {
            (Outcome::Failed { .. }, true) => 6,
            (Outcome::Failed { .. }, false) => 5,
            (Outcome::Unproven { .. }, true) => 4,
            (Outcome::NotTried { .. }, true) => 3,
            (Outcome::Unproven { .. }, false) => 2,
            (Outcome::NotTried { .. }, false) => 1,
            (Outcome::Proven { .. }, _) => 0,
        }
    }
}

impl Checkup {
    /// What names this checkup: equal exactly when it says the same.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&serde_json::to_vec(self).expect("a checkup has no map with keys that are not text"))
    }

    /// The check that matters most, the earliest of several: one that failed before one that could not be shown, and what a
    /// renewal needs before what it does not. `None` when all are proven.
    pub fn worst(&self) -> Option<&Check> {
        let worst = self.checks.iter().map(Check::weight).max().filter(|weight| *weight > 0)?;
        self.checks.iter().find(|check| check.weight() == worst)
    }

    /// Something is to be looked at.
    pub fn has_findings(&self) -> bool {
        self.checks.iter().any(Check::is_finding)
    }

    /// The same within the bounds of a checkup: long texts are cut, and checks beyond the bound left out, which the last one
    /// says.
    #[must_use]
    pub fn within_bounds(mut self) -> Self {
        if self.checks.len() > MAX_CHECKS {
            let more = self.checks.len() - (MAX_CHECKS - 1);
            self.checks.truncate(MAX_CHECKS - 1);
            let outcome =
                Outcome::NotTried { why: format!("{more} more checks are left out: a checkup has at most {MAX_CHECKS}") };
            self.checks.push(Check { name: "left_out".to_owned(), needed: true, micros: None, outcome });
        }
        let Self { at: _, kind: _, agent_version, subject: Subject { machine_id, system, exchange }, checks } = &mut self;
        let of_subject = [machine_id, system, exchange].into_iter().flatten();
        of_subject.chain([agent_version]).for_each(cut);
        for Check { name, needed: _, micros: _, outcome } in checks {
            cut(name);
            match outcome {
                Outcome::Failed { why, code: _, next } => [why, next].into_iter().for_each(cut),
                Outcome::Proven { found: text } | Outcome::NotTried { why: text } | Outcome::Unproven { lacks: text } => {
                    cut(text)
                }
            }
        }
        self
    }
}

fn cut(text: &mut String) {
    const MARK: char = '…';
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT - MARK.len_utf8()));
        text.push(MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, needed: bool, outcome: Outcome) -> Check {
        Check { name: name.to_owned(), needed, micros: Some(7), outcome }
    }

    fn proven() -> Outcome {
        Outcome::Proven { found: "it is there".to_owned() }
    }

    fn failed() -> Outcome {
        Outcome::Failed { why: "access denied".to_owned(), code: Some(5), next: "run it elevated".to_owned() }
    }

    fn unproven() -> Outcome {
        Outcome::Unproven { lacks: "no IPv6".to_owned() }
    }

    fn not_tried() -> Outcome {
        Outcome::NotTried { why: "the one before failed".to_owned() }
    }

    fn checkup(checks: Vec<Check>) -> Checkup {
        let at = "2026-11-20T10:00:00Z".parse().expect("a moment");
        Checkup { at, kind: Kind::Look, agent_version: "0.1.0".to_owned(), subject: Subject::default(), checks }
    }

    #[test]
    fn the_worst_is_what_failed_and_is_needed_the_first_of_several() {
        let checks = [
            check("a", true, proven()),
            check("b", false, failed()),
            check("c", true, unproven()),
            check("d", true, failed()),
            check("e", true, failed()),
        ];
        let worst = |keep: &str| {
            let kept = checks.iter().filter(|check| keep.contains(check.name.as_str())).cloned().collect();
            checkup(kept).worst().map(|check| check.name.clone())
        };
        assert_eq!(worst("abcde").as_deref(), Some("d"));
        assert_eq!(worst("abc").as_deref(), Some("b"));
        assert_eq!(worst("ac").as_deref(), Some("c"));
        assert_eq!(worst("a"), None);
    }

    #[test]
    fn what_was_not_tried_is_no_finding_and_what_is_not_needed_may_be_unproven() {
        for (needed, outcome, finding) in [
            (true, proven(), false),
            (true, not_tried(), false),
            (false, unproven(), false),
            (true, unproven(), true),
            (false, failed(), true),
            (true, failed(), true),
        ] {
            let checkup = checkup(vec![check("a", needed, outcome)]);
            assert_eq!(checkup.has_findings(), finding, "{checkup:?}");
        }
    }

    #[test]
    fn json_keeps_it_whole_and_knows_no_other_fields() {
        let whole = checkup(vec![
            check("a", true, proven()),
            check("b", false, failed()),
            check("c", true, not_tried()),
            check("d", false, unproven()),
        ]);
        let json = serde_json::to_string(&whole).expect("json");
        assert!(json.contains(r#"{"name":"a","needed":true,"micros":7,"outcome":"proven","found":"it is there"}"#), "{json}");
        let read: Checkup = serde_json::from_str(&json).expect("reads");
        assert_eq!((read.id(), &read), (whole.id(), &whole));
        assert!(serde_json::from_str::<Checkup>(&json.replacen("\"kind\"", "\"kin\"", 1)).is_err());
    }

    #[test]
    fn what_says_too_much_is_cut_to_its_bounds_and_says_so() {
        let many = checkup(vec![check(&"ä".repeat(2000), true, failed()); 500]).within_bounds();
        assert_eq!(many.checks.len(), MAX_CHECKS);
        assert!(many.checks.iter().all(|check| check.name.len() <= MAX_TEXT));
        assert!(many.checks.last().is_some_and(|last| last.outcome.text().starts_with("301 more checks are left out")));
        assert_eq!(many.clone().within_bounds(), many);
    }
}
