//! An approval that is handed in: judged by the trust document in force as every agent will judge it, so that who signed in
//! vain learns it at once.

use policy::Timestamp;
use policy::admit::approvers;
use policy::document::Policy;
use policy::id::{EstateName, Person};
use policy::trust::{Approval, TrustDocument, Verified};
use proto::signed::SignedBytes;
use tonic::Status;

use super::refusal::believed;
use crate::audit::Actor;
use crate::parts::Parts;
use crate::status::failed;
use crate::store::{PlanRow, Store, StoreError};

/// Keeps an approval for each of its plans, or says why it would not count. The same one again changes nothing.
pub(super) async fn submit(parts: &Parts, signed: SignedBytes, by: Person) -> Result<Vec<PlanRow>, Status> {
    let Parts { store, connections, nudge, clock, .. } = parts;
    let approval = proto::signed::approval(&signed).map_err(|error| believed(&error))?;
    let trust = trust_in_force(store).await?;
    let now = clock.now();
    counts(&approval, store.estate(), &trust, now)?;
    let mut standing = Vec::new();
    let mut known = 0;
    for id in &approval.value.plans {
        let plan = store.plan(id).await.map_err(failed)?.ok_or_else(|| failed(StoreError::NoPlan(id.to_string())))?;
        let stored = store.approvals(id).await.map_err(failed)?;
        if stored.iter().any(|stored| stored.id == approval.id) {
            known += 1;
        }
        let others = stored
            .into_iter()
            .filter(|stored| stored.id != approval.id)
            .map(|stored| stored.verified())
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let persons = fits(&plan, &approval, others, &trust, now)?;
        let waits_for = format!("{persons} of {} approvals; what it waits for next is decided now", plan.needed);
        standing.push(PlanRow { approved: persons, waits_for, ..plan });
    }
    if known == approval.value.plans.len() {
        return Ok(standing);
    }
    store.add_approval(approval, signed, Actor::Person(by), now).await.map_err(failed)?;
    for plan in &standing {
        nudge.look(&plan.server);
        connections.wake(&plan.server);
    }
    Ok(standing)
}

/// Whether it counts at all, whatever the plans.
fn counts(approval: &Verified<Approval>, estate: &EstateName, trust: &TrustDocument, now: Timestamp) -> Result<(), Status> {
    let Approval { estate: own, person, requester, not_after, .. } = &approval.value;
    if own != estate {
        return Err(Status::failed_precondition(format!("approval: expected one for estate {estate}, found one for {own}")));
    }
    if *not_after <= now {
        return Err(Status::failed_precondition(format!(
            "approval of {person}: expected one that still counts, found one until {not_after}, and it is {now}"
        )));
    }
    if requester.as_ref() == Some(person) {
        return Err(Status::permission_denied(format!("{person} asked for the plan and cannot approve it")));
    }
    if trust.signed_as(person, &approval.signers, now).is_none() {
        return Err(Status::permission_denied(format!(
            "approval of {person}: expected a signature by an approver of that name, found none that counts by trust version {}",
            trust.version
        )));
    }
    Ok(())
}

/// Whether it adds a person to this plan, and how many there are with it.
fn fits(
    plan: &PlanRow,
    approval: &Verified<Approval>,
    others: Vec<Verified<Approval>>,
    trust: &TrustDocument,
    now: Timestamp,
) -> Result<u64, Status> {
    let person = &approval.value.person;
    let short = plan.id.short();
    if !plan.life.open() {
        let life = plan.life.as_str();
        return Err(Status::failed_precondition(format!(
            "plan {short} of {}: expected one that waits for approval, found it {life}",
            plan.server
        )));
    }
    let body = plan.plan().map_err(failed)?;
    // As of the moment at which the new one begins to count: people may sign for tomorrow.
    let at = now.max(approval.value.not_before);
    let (before, _) = approvers(&body, &others, trust, at);
    if before.contains(person) {
        return Err(Status::already_exists(format!(
            "plan {short}: {person} approved it already, and persons are counted, not approvals"
        )));
    }
    let mut all = others;
    all.push(approval.clone());
    let (after, notes) = approvers(&body, &all, trust, at);
    // Who takes another's place adds nobody either.
    if !after.contains(person) || after.len() == before.len() {
        let about_person: Vec<String> = notes.into_iter().filter(|note| note.contains(person.as_str())).collect();
        return Err(Status::permission_denied(format!(
            "plan {short}: the approval of {person} would not count: {}",
            about_person.join("; ")
        )));
    }
    Ok(after.len() as u64)
}

/// The trust document in force.
pub(super) async fn trust_in_force(store: &Store) -> Result<TrustDocument, Status> {
    let Some(document) = store.trust().await.map_err(failed)? else {
        return Err(Status::failed_precondition(
            "expected a trust document in force, found none: `backstay trust init` on a workstation, then `backstay trust apply`",
        ));
    };
    Ok(document.trust().map_err(failed)?.value)
}

/// The policy in force; before the first, that of an estate that has none.
pub(super) async fn policy_in_force(store: &Store) -> Result<Policy, Status> {
    match store.policy().await.map_err(failed)? {
        Some(document) => Ok(document.policy().map_err(failed)?.value),
        None => Ok(Policy::none_yet(store.estate().clone())),
    }
}
