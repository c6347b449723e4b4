//! A checkup on its way from a host to whoever reads it.
//!
//! It is sent until it is acknowledged, so one that were refused for its length would be sent for ever: on the way out
//! everything is brought within the bounds.

use policy::checkup::{Check, Checkup, Kind, MAX_CHECKS, MAX_TEXT, Outcome, Subject};
use policy::id::Sha256;

use crate::invalid::{self, Invalid};
use crate::types::{self, CheckFailed, CheckupKind, check};

/// A checkup with the agent's name for it. Whoever keeps it keeps that name: to compute it anew, a program of another version
/// would need to know the same fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The agent's name for it.
    pub id: Sha256,
    /// What was found.
    pub checkup: Checkup,
}

impl Named {
    /// Within the bounds, and named by its own digest.
    pub fn new(checkup: Checkup) -> Self {
        let checkup = checkup.within_bounds();
        Self { id: checkup.id(), checkup }
    }
}

impl From<Named> for types::Checkup {
    fn from(named: Named) -> Self {
        let Named { id, checkup } = named;
        let Checkup { at, kind, agent_version, subject, checks } = checkup.within_bounds();
        let Subject { machine_id, system, exchange } = subject;
        Self {
            id: id.0.to_vec(),
            kind: CheckupKind::from(kind).into(),
            at: invalid::micros(at),
            agent_version,
            machine_id: machine_id.unwrap_or_default(),
            system: system.unwrap_or_default(),
            exchange: exchange.unwrap_or_default(),
            checks: checks.into_iter().map(types::Check::from).collect(),
        }
    }
}

impl TryFrom<types::Checkup> for Named {
    type Error = Invalid;

    fn try_from(wire: types::Checkup) -> Result<Self, Invalid> {
        let types::Checkup { id, kind, at, agent_version, machine_id, system, exchange, checks } = wire;
        let subject = |field, value: String| -> Result<Option<String>, Invalid> {
            if value.is_empty() { Ok(None) } else { bounded(field, value).map(Some) }
        };
        let checkup = Checkup {
            at: invalid::moment("Checkup.at", at)?,
            kind: invalid::number::<CheckupKind>("Checkup.kind", kind)?.try_into()?,
            agent_version: bounded("Checkup.agent_version", agent_version)?,
            subject: Subject {
                machine_id: subject("Checkup.machine_id", machine_id)?,
                system: subject("Checkup.system", system)?,
                exchange: subject("Checkup.exchange", exchange)?,
            },
            checks: invalid::list("Checkup.checks", MAX_CHECKS, checks, Check::try_from)?,
        };
        Ok(Self { id: Sha256(invalid::exactly("Checkup.id", &id)?), checkup })
    }
}

impl From<Kind> for CheckupKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Look => Self::Look,
            Kind::Rehearsal => Self::Rehearsal,
        }
    }
}

impl TryFrom<CheckupKind> for Kind {
    type Error = Invalid;

    fn try_from(wire: CheckupKind) -> Result<Self, Invalid> {
        match wire {
            CheckupKind::Unspecified => Err(Invalid::Unknown { field: "Checkup.kind", value: 0 }),
            CheckupKind::Look => Ok(Self::Look),
            CheckupKind::Rehearsal => Ok(Self::Rehearsal),
        }
    }
}

impl From<Check> for types::Check {
    fn from(check: Check) -> Self {
        let Check { name, needed, micros, outcome } = check;
        let outcome = match outcome {
            Outcome::Proven { found } => check::Outcome::Proven(found),
            Outcome::Failed { why, code, next } => check::Outcome::Failed(CheckFailed { why, code, next }),
            Outcome::NotTried { why } => check::Outcome::NotTried(why),
            Outcome::Unproven { lacks } => check::Outcome::Unproven(lacks),
        };
        Self { name, needed, micros, outcome: Some(outcome) }
    }
}

impl TryFrom<types::Check> for Check {
    type Error = Invalid;

    fn try_from(wire: types::Check) -> Result<Self, Invalid> {
        let types::Check { name, needed, micros, outcome } = wire;
        let text = |value| bounded("Check.outcome", value);
        let outcome = match invalid::present("Check.outcome", outcome)? {
            check::Outcome::Proven(found) => Outcome::Proven { found: text(found)? },
            check::Outcome::Failed(CheckFailed { why, code, next }) => {
                Outcome::Failed { why: text(why)?, code, next: bounded("CheckFailed.next", next)? }
            }
            check::Outcome::NotTried(why) => Outcome::NotTried { why: text(why)? },
            check::Outcome::Unproven(lacks) => Outcome::Unproven { lacks: text(lacks)? },
        };
        Ok(Self { name: bounded("Check.name", name)?, needed, micros, outcome })
    }
}

fn bounded(field: &'static str, value: String) -> Result<String, Invalid> {
    if value.len() <= MAX_TEXT {
        return Ok(value);
    }
    Err(Invalid::Length { field, expected: format!("at most {MAX_TEXT} bytes"), found: value.len() })
}
