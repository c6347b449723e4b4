//! What was done: the receipt of one plan on one host. It never clears a finding; the next report does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::admit::Objection;
use crate::id::{PlanId, PolicyId};
use crate::life::Event;
use crate::plan::Der;

/// How a plan ended on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, and a fresh handshake shows it.
    Restored,
    /// Taken back: the old good state.
    Undone,
    /// Neither done nor undone: a person must look.
    Failed,
    /// Not begun.
    Refused,
    /// Somebody else changed the facts in mid-run; nothing was written after that.
    Superseded,
}

impl Outcome {
    /// The word that people and scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Undone => "undone",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }

    /// What this outcome means for the plan's life.
    pub fn event(self) -> Event {
        match self {
            Self::Restored => Event::Restore,
            Self::Undone => Event::Undo,
            Self::Failed => Event::Fail,
            Self::Refused => Event::Refuse,
            Self::Superseded => Event::Supersede,
        }
    }
}

/// What became of a plan on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The plan.
    pub plan: PlanId,
    /// How it ended.
    pub outcome: Outcome,
    /// What happened, in order, for people.
    pub notes: Vec<String>,
    /// Facts elsewhere on the host that changed while the plan ran, by whomever.
    pub foreign: Vec<String>,
    /// The plan's bytes when the agent made it itself.
    pub plan_body: Option<Der>,
    /// The policy by whose standing approval it ran; `None` when persons approved.
    pub standing: Option<PolicyId>,
    /// Begin, by the agent's clock.
    pub began_at: Timestamp,
    /// End, by the agent's clock.
    pub ended_at: Timestamp,
    /// Microseconds without a record on 444, where the system forces delete and set; 0 when there was no gap.
    pub gap_micros: u64,
    /// Why it was refused.
    pub objections: Vec<Objection>,
}

impl Receipt {
    /// Of a plan that did not begin.
    pub fn refused(plan: PlanId, notes: Vec<String>, at: Timestamp) -> Self {
        Self {
            plan,
            outcome: Outcome::Refused,
            notes,
            foreign: Vec::new(),
            plan_body: None,
            standing: None,
            began_at: at,
            ended_at: at,
            gap_micros: 0,
            objections: Vec::new(),
        }
    }

    /// Of a plan that people took back before it began.
    pub fn taken_back(plan: PlanId, at: Timestamp) -> Self {
        Self::refused(plan, vec!["taken back before it began".to_owned()], at)
    }
}
