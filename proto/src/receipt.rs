//! A receipt on its way to the controller.
//!
//! A receipt is sent until it is acknowledged, so one that were refused for its length would be sent for ever. What people read
//! in it is therefore cut to the bounds when it is sent; what is decided by is never cut.

use policy::admit::{Objection, Rule};
use policy::id::Sha256;
use policy::plan::{Der, MAX_BYTES};
use policy::receipt::{Outcome, Receipt};

use crate::invalid::{self, Invalid, cut};
use crate::types;

/// The most notes, and the most foreign changes. With texts of full length a receipt still fits into one message.
pub const MAX_NOTES: usize = 200;

/// The most objections; there are fewer rules and facts than this.
pub const MAX_OBJECTIONS: usize = 100;

impl From<Receipt> for types::Receipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { plan, outcome, notes, foreign, plan_body, standing, began_at, ended_at, gap_micros, objections } = receipt;
        Self {
            plan: plan.0.to_vec(),
            outcome: types::Outcome::from(outcome).into(),
            notes: shortened(notes),
            foreign: shortened(foreign),
            plan_body: plan_body.map(|Der(bytes)| bytes).unwrap_or_default(),
            standing: standing.map(|id| id.0.to_vec()).unwrap_or_default(),
            began_at: invalid::micros(began_at),
            ended_at: invalid::micros(ended_at),
            gap_micros: i64::try_from(gap_micros).unwrap_or(i64::MAX),
            objections: objections.into_iter().take(MAX_OBJECTIONS).map(types::Objection::from).collect(),
        }
    }
}

impl TryFrom<types::Receipt> for Receipt {
    type Error = Invalid;

    fn try_from(wire: types::Receipt) -> Result<Self, Invalid> {
        let types::Receipt { plan, outcome, notes, foreign, plan_body, standing, began_at, ended_at, gap_micros, objections } =
            wire;
        let plan_body = invalid::bytes("Receipt.plan_body", MAX_BYTES, plan_body)?;
        Ok(Self {
            plan: Sha256(invalid::exactly("Receipt.plan", &plan)?),
            outcome: invalid::number::<types::Outcome>("Receipt.outcome", outcome)?.try_into()?,
            notes: invalid::list("Receipt.notes", MAX_NOTES, notes, |note| invalid::text("Receipt.notes", note))?,
            foreign: invalid::list("Receipt.foreign", MAX_NOTES, foreign, |note| invalid::text("Receipt.foreign", note))?,
            plan_body: (!plan_body.is_empty()).then_some(Der(plan_body)),
            standing: invalid::exactly_or_none("Receipt.standing", &standing)?.map(Sha256),
            began_at: invalid::moment("Receipt.began_at", began_at)?,
            ended_at: invalid::moment("Receipt.ended_at", ended_at)?,
            gap_micros: u64::try_from(gap_micros).map_err(|_| Invalid::Value {
                field: "Receipt.gap_micros",
                expected: "0 or more",
                found: gap_micros.to_string(),
            })?,
            objections: invalid::list("Receipt.objections", MAX_OBJECTIONS, objections, Objection::try_from)?,
        })
    }
}

impl From<Outcome> for types::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Restored => Self::Restored,
            Outcome::Undone => Self::Undone,
            Outcome::Failed => Self::Failed,
            Outcome::Refused => Self::Refused,
            Outcome::Superseded => Self::Superseded,
        }
    }
}

impl TryFrom<types::Outcome> for Outcome {
    type Error = Invalid;

    fn try_from(wire: types::Outcome) -> Result<Self, Invalid> {
        match wire {
            types::Outcome::Unspecified => Err(Invalid::Unknown { field: "Receipt.outcome", value: 0 }),
            types::Outcome::Restored => Ok(Self::Restored),
            types::Outcome::Undone => Ok(Self::Undone),
            types::Outcome::Failed => Ok(Self::Failed),
            types::Outcome::Refused => Ok(Self::Refused),
            types::Outcome::Superseded => Ok(Self::Superseded),
        }
    }
}

impl From<Objection> for types::Objection {
    fn from(objection: Objection) -> Self {
        let Objection { rule, detail, until } = objection;
        Self { rule: rule.as_str().to_owned(), detail: cut(detail), until: until.map(invalid::micros) }
    }
}

impl TryFrom<types::Objection> for Objection {
    type Error = Invalid;

    fn try_from(wire: types::Objection) -> Result<Self, Invalid> {
        let types::Objection { rule, detail, until } = wire;
        Ok(Self {
            rule: Rule::from_word(&rule).ok_or_else(|| Invalid::Value {
                field: "Objection.rule",
                expected: "the word of a rule",
                found: rule.chars().take(80).collect(),
            })?,
            detail: invalid::text("Objection.detail", detail)?,
            until: until.map(|until| invalid::moment("Objection.until", until)).transpose()?,
        })
    }
}

/// The notes within their bounds; what is left out is said.
fn shortened(mut notes: Vec<String>) -> Vec<String> {
    if notes.len() > MAX_NOTES {
        let left_out = notes.len() - (MAX_NOTES - 1);
        notes.truncate(MAX_NOTES - 1);
        notes.push(format!("{left_out} more are left out"));
    }
    notes.into_iter().map(cut).collect()
}
