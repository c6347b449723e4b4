//! The life of a plan on the controller, as one enum (TRUST decision 5).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Waits for approvers.
    Proposed,
    /// Enough persons approved.
    Approved,
    /// Approved, and waits for its window, its turn or its agent.
    Waiting,
    /// Sent to the agent; its fate is unknown until a receipt arrives.
    Offered,
    /// The agent says that it runs.
    Running,
    /// A fresh handshake shows the result.
    Restored,
    /// Soak passed and peers agree; without peers: soak only.
    Confirmed,
    /// Taken back on the host: the old good state.
    Undone,
    /// Neither done nor undone: a person must look.
    Failed,
    /// Refused by the agent.
    Refused,
    /// The facts changed before it began.
    Superseded,
    /// Its approvals ran out.
    Expired,
    /// Taken back by people before it began.
    Withdrawn,
    /// Given up by people while its fate was unknown, or nobody could confirm it.
    Abandoned,
}

/// What happens to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Enough persons approved.
    Approve,
    /// Something other than approval is missing.
    Wait,
    /// It is sent.
    Offer,
    /// The agent has begun.
    Begin,
    /// The agent says: done and shown by a handshake.
    Restore,
    /// The soak passed.
    Confirm,
    /// The agent says: taken back.
    Undo,
    /// The agent says: failed.
    Fail,
    /// The agent refuses.
    Refuse,
    /// The facts changed.
    Supersede,
    /// Time is over.
    Expire,
    /// People take it back.
    Withdraw,
    /// People give it up.
    Abandon,
}

/// A move that a plan in this state cannot make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a plan that is {from} cannot {event:?}", from = from.as_str())]
pub struct InvalidTransition {
    /// Where it stands.
    pub from: Life,
    /// What was to happen.
    pub event: Event,
}

impl Life {
    /// Every state.
    pub const ALL: &[Self] = &[
        Self::Proposed,
        Self::Approved,
        Self::Waiting,
        Self::Offered,
        Self::Running,
        Self::Restored,
        Self::Confirmed,
        Self::Undone,
        Self::Failed,
        Self::Refused,
        Self::Superseded,
        Self::Expired,
        Self::Withdrawn,
        Self::Abandoned,
    ];

    /// The word that people, scripts and rows use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Running => "running",
            Self::Restored => "restored",
            Self::Confirmed => "confirmed",
            Self::Undone => "undone",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Abandoned => "abandoned",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|life| life.as_str() == word)
    }

    /// The plan may be on its way or at work on the host: it holds the host's only slot.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Offered | Self::Running)
    }

    /// Not begun, and still possible.
    pub fn open(self) -> bool {
        matches!(self, Self::Proposed | Self::Approved | Self::Waiting)
    }

    /// Nothing more happens to it.
    pub fn ended(self) -> bool {
        !self.open() && !self.in_flight() && self != Self::Restored
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`InvalidTransition`] when a plan in this state cannot make that move.
    pub fn after(self, event: Event) -> Result<Self, InvalidTransition> {
        let next = match (self, event) {
            (Self::Proposed, Event::Approve) => Self::Approved,
            (Self::Approved | Self::Waiting, Event::Wait) => Self::Waiting,
            (Self::Approved | Self::Waiting, Event::Offer) => Self::Offered,
            (Self::Offered | Self::Running, Event::Begin) => Self::Running,
            (Self::Offered | Self::Running, Event::Restore) => Self::Restored,
            (Self::Restored, Event::Confirm) => Self::Confirmed,
            (Self::Offered | Self::Running, Event::Undo) => Self::Undone,
            (Self::Offered | Self::Running, Event::Fail) => Self::Failed,
            (Self::Offered, Event::Refuse) => Self::Refused,
            (Self::Proposed | Self::Approved | Self::Waiting, Event::Supersede) => Self::Superseded,
            // On the host: foreign changes ended the run.
            (Self::Offered | Self::Running, Event::Supersede) => Self::Superseded,
            (Self::Proposed | Self::Approved | Self::Waiting, Event::Expire) => Self::Expired,
            (Self::Proposed | Self::Approved | Self::Waiting, Event::Withdraw) => Self::Withdrawn,
            // Done, and nobody is left to prove that it holds: others must not wait for that for ever.
            (Self::Offered | Self::Running | Self::Restored, Event::Abandon) => Self::Abandoned,
            (from, event) => return Err(InvalidTransition { from, event }),
        };
        Ok(next)
    }
}
