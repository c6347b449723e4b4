//! The audit trail: who did what to which thing, as a chain in which no link can be changed, removed or moved unseen.
//!
//! The hash of an entry is SHA-256 over the hash before it and the JSON of the entry. Whoever keeps one sequence number and
//! its hash elsewhere, as every agent does, can later tell whether the trail up to there is the one that was shown then.

use std::fmt;

use policy::Timestamp;
use policy::id::{Person, ServerName, Sha256};
use proto::invalid::{Invalid, exactly, moment};
use proto::operator::AuditEntry;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What precedes the first entry.
pub const BEGINNING: Sha256 = Sha256([0; 32]);

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The controller, by its rules.
    Controller,
    /// An agent.
    Agent(ServerName),
    /// A person, by the own certificate or signature.
    Person(Person),
    /// Whoever may write the controller's files, at its own machine.
    Console,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.write_str("controller"),
            Self::Agent(server) => write!(f, "agent:{server}"),
            Self::Person(person) => write!(f, "person:{person}"),
            Self::Console => f.write_str("console"),
        }
    }
}

/// Where a trail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Sequence number of the last entry; 0 when there is none.
    pub sequence: u64,
    /// Its hash.
    pub hash: Sha256,
}

impl Head {
    /// Of a trail without entries.
    pub const EMPTY: Self = Self { sequence: 0, hash: BEGINNING };
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Counted from 1 without gaps.
    pub sequence: u64,
    /// When, by the controller's clock.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What, as a word with a dot: `plan.offered`.
    pub action: String,
    /// To which thing.
    pub subject: String,
    /// Everything else, as JSON.
    pub detail: String,
    /// Hash of the entry before.
    pub previous: Sha256,
    /// Hash of this entry.
    pub hash: Sha256,
}

impl Entry {
    /// The entry that follows `head`.
    pub fn after(head: Head, at: Timestamp, actor: &Actor, action: &str, subject: &str, detail: String) -> Self {
        let mut entry = Self {
            sequence: head.sequence + 1,
            at,
            actor: actor.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
            previous: head.hash,
            hash: BEGINNING,
        };
        entry.hash = entry.computed_hash();
        entry
    }

    /// The trail's end when this is its last entry.
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }

    fn computed_hash(&self) -> Sha256 {
        let Self { sequence, at, actor, action, subject, detail, previous, hash: _ } = self;
        let told = Told { sequence: *sequence, at: at.as_microsecond(), actor, action, subject, detail };
        let json = serde_json::to_vec(&told).expect("an entry is plain data with text keys");
        Sha256::of(&[previous.0.as_slice(), &json].concat())
    }
}

impl TryFrom<AuditEntry> for Entry {
    type Error = Invalid;

    fn try_from(wire: AuditEntry) -> Result<Self, Invalid> {
        let AuditEntry { sequence, at, actor, action, subject, detail, previous, hash } = wire;
        Ok(Self {
            sequence,
            at: moment("AuditEntry.at", at)?,
            actor,
            action,
            subject,
            detail,
            previous: Sha256(exactly("AuditEntry.previous", &previous)?),
            hash: Sha256(exactly("AuditEntry.hash", &hash)?),
        })
    }
}

/// What is hashed. The order of the fields is part of the format.
#[derive(Serialize, Deserialize)]
struct Told<'a> {
    sequence: u64,
    at: i64,
    actor: &'a str,
    action: &'a str,
    subject: &'a str,
    detail: &'a str,
}

/// A trail that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// An entry is missing or stands twice.
    #[error("expected audit entry {expected}, found {found}")]
    Gap {
        /// The sequence number that follows.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// The entry does not follow the one before it.
    #[error("audit entry {sequence}: expected it to follow {expected}, found {found}")]
    Link {
        /// Of the entry.
        sequence: u64,
        /// Hash of the entry before.
        expected: Sha256,
        /// What the entry says.
        found: Sha256,
    },
    /// The entry's content is not what was hashed.
    #[error("audit entry {sequence}: expected content of hash {expected}, found content of hash {found}")]
    Content {
        /// Of the entry.
        sequence: u64,
        /// What the entry says.
        expected: Sha256,
        /// What its content gives.
        found: Sha256,
    },
}

/// Checks that these entries follow `head`, one after the other, and says where they end.
///
/// # Errors
/// [`Broken`] names the first entry that does not hold.
pub fn verify<'a>(head: Head, entries: impl IntoIterator<Item = &'a Entry>) -> Result<Head, Broken> {
    entries.into_iter().try_fold(head, |head, entry| {
        let expected = head.sequence + 1;
        if entry.sequence != expected {
            return Err(Broken::Gap { expected, found: entry.sequence });
        }
        if entry.previous != head.hash {
            return Err(Broken::Link { sequence: entry.sequence, expected: head.hash, found: entry.previous });
        }
        let found = entry.computed_hash();
        if found != entry.hash {
            return Err(Broken::Content { sequence: entry.sequence, expected: entry.hash, found });
        }
        Ok(entry.head())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail() -> Vec<Entry> {
        let mut head = Head::EMPTY;
        (0..5)
            .map(|second| {
                let at = Timestamp::from_second(1_800_000_000 + second).expect("a moment");
                let entry = Entry::after(head, at, &Actor::Controller, "plan.proposed", "abc", format!("{{\"n\":{second}}}"));
                head = entry.head();
                entry
            })
            .collect()
    }

    #[test]
    fn a_trail_as_it_was_written_holds_and_tells_its_end() {
        let trail = trail();
        assert_eq!(verify(Head::EMPTY, &trail), Ok(trail[4].head()));
        // Page by page is the same.
        let half = verify(Head::EMPTY, &trail[..2]).expect("the first page holds");
        assert_eq!(verify(half, &trail[2..]), Ok(trail[4].head()));
    }

    #[test]
    fn every_change_of_every_field_is_found() {
        let changes: [fn(&mut Entry); 7] = [
            |entry| entry.sequence = 9,
            |entry| entry.at = Timestamp::UNIX_EPOCH,
            |entry| entry.actor = "person:eve".to_owned(),
            |entry| entry.action = "plan.offered".to_owned(),
            |entry| entry.subject.push('x'),
            |entry| entry.detail.clear(),
            |entry| entry.previous = BEGINNING,
        ];
        for change in changes {
            let mut trail = trail();
            change(&mut trail[2]);
            assert!(verify(Head::EMPTY, &trail).is_err());
            // Even when the changed entry is hashed anew, the next one gives it away.
            trail[2].hash = trail[2].computed_hash();
            assert!(verify(Head::EMPTY, &trail).is_err());
        }
    }

    #[test]
    fn a_removed_doubled_or_moved_entry_is_found() {
        let whole = trail();
        for index in 0..4 {
            let mut cut = whole.clone();
            cut.remove(index);
            assert!(matches!(verify(Head::EMPTY, &cut), Err(Broken::Gap { .. })));
            let mut moved = whole.clone();
            moved.swap(index, index + 1);
            assert!(verify(Head::EMPTY, &moved).is_err());
        }
    }
}
