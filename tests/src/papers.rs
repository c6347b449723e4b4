//! Plans, approvals and trust documents as somebody could write them who wants more than is right: made from what a host shows
//! and signed with whatever keys are at hand.

use std::collections::BTreeSet;

use agent::driver::Driver as _;
use anyhow::{Context, Result};
use jiff::Timestamp;
use policy::decide::decide;
use policy::document::Policy;
use policy::duration::Span;
use policy::last::LastKnown;
use policy::plan::Plan;
use policy::stop::{Resume, Stop, StopId};
use policy::trust::{Approval, Kind};
use proto::signed::{SignedBytes, SigningKey};

use crate::desk::ESTATE;
use crate::lab::Server;

/// The plan that the rules would make for what this host shows now, under a policy of this text without its head.
///
/// # Errors
/// When they would make none.
pub fn plan(host: &Server, policy: &str) -> Result<Plan> {
    let sight = host.driver().observe()?;
    let policy = Policy::from_toml(format!("estate = \"{ESTATE}\"\nversion = 1\n{policy}").as_bytes())?;
    let decision = decide(&policy, &sight, &LastKnown::default(), Timestamp::now());
    decision.plan().cloned().with_context(|| format!("expected a plan, found none: {}", decision.why()))
}

/// An approval of this plan by this person, good from now on for a month.
///
/// # Errors
/// When that is no person's name.
pub fn approval(plan: &Plan, person: &str) -> Result<Approval> {
    let now = Timestamp::now();
    Ok(Approval {
        estate: plan.estate.clone(),
        plans: [plan.id()].into(),
        person: person.parse()?,
        requester: None,
        reason: "for the proof".to_owned(),
        change: Some("CHG-666".to_owned()),
        not_before: Span::seconds(300).before(now),
        not_after: Span::days(30).after(now),
    })
}

/// Somebody's word that nothing is to be done anywhere.
///
/// # Errors
/// When that is no person's name.
pub fn stop(person: &str) -> Result<Stop> {
    let reason = "for the proof".to_owned();
    Ok(Stop { estate: ESTATE.parse()?, servers: None, person: person.parse()?, reason, at: Timestamp::now() })
}

/// A person's yes to going on after these stops.
///
/// # Errors
/// When that is no person's name.
pub fn resume(person: &str, stops: &BTreeSet<StopId>) -> Result<Resume> {
    let reason = "for the proof".to_owned();
    Ok(Resume { estate: ESTATE.parse()?, stops: stops.clone(), person: person.parse()?, reason, at: Timestamp::now() })
}

/// A document with the signatures of these keys.
///
/// # Errors
/// When there are too many.
pub fn signed(kind: Kind, bytes: Vec<u8>, keys: &[&SigningKey]) -> Result<SignedBytes> {
    let mut signed = SignedBytes::unsigned(bytes);
    for key in keys {
        key.sign(kind, &mut signed)?;
    }
    Ok(signed)
}
