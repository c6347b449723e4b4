//! The last question before a plan begins, asked on the host with a fresh look (TRUST T6).
//!
//! All objections are collected, not only the first: an operator who is refused learns everything at once.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bound::{Bound, Unfit};
use crate::decide::{Decision, aside, decide};
use crate::document::{Allow, Mode, Policy, Profile};
use crate::id::{Person, PlanId};
use crate::last::LastKnown;
use crate::plan::{Plan, Purpose, Values};
use crate::report::Sight;
use crate::trust::{Approval, Class, KeyKind, TrustDocument, Verified};

/// The rule that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// P1.
    LeaveAlone,
    /// P5.
    TwoKeys,
    /// The plan is for another estate, host or installation.
    OtherHost,
    /// What is found is not what the plan expects.
    Expectation,
    /// The approval is not in force at this moment.
    Deadline,
    /// A clock that cannot be trusted.
    Clock,
    /// This id has begun here before.
    Once,
    /// A freeze, or no open window.
    Window,
    /// What is lost was not lost, or not unchanged, for long enough.
    Quiet,
    /// Held on the host.
    Hold,
    /// The policy does not let the agent act by itself.
    Mode,
}

impl Rule {
    /// The word that documents, messages and tables use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeaveAlone => "leave_alone",
            Self::TwoKeys => "two_keys",
            Self::OtherHost => "other_host",
            Self::Expectation => "expectation",
            Self::Deadline => "deadline",
            Self::Clock => "clock",
            Self::Once => "once",
            Self::Window => "window",
            Self::Quiet => "quiet",
            Self::Hold => "hold",
            Self::Mode => "mode",
        }
    }

    /// The rule of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<ValueError>::new(word)).ok()
    }

    /// The rule in a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::LeaveAlone => {
                "P1 leave alone: a back-end certificate that is present, bound, usable, fit and outside its expiry window is never changed"
            }
            Self::TwoKeys => {
                "P5 two keys: only what the required number of approvers signed for exactly this plan, or what the signed policy allows"
            }
            Self::OtherHost => "a plan runs only on the host and installation it was made for",
            Self::Expectation => "a plan runs only where everything it expects is found",
            Self::Deadline => "an approval counts only between its dates",
            Self::Clock => "with a clock that cannot be trusted nothing approved runs and nothing is created",
            Self::Once => "a plan begins once per host",
            Self::Window => "approved work runs in an open window and outside every freeze",
            Self::Quiet => "a loss is repaired only after a quiet time, which every foreign change restarts",
            Self::Hold => "a hold on the host beats policy and orders",
            Self::Mode => {
                "nothing runs in mode observe, or of a class that the policy only reports; by itself the agent acts only in mode act, and only to restore"
            }
        }
    }
}

/// One reason for a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objection {
    /// The rule.
    pub rule: Rule,
    /// The facts: expected and found.
    pub detail: String,
    /// When time alone lifts it.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.sentence(), self.detail)
    }
}

/// A plan that may not begin, with every reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// At least one.
    pub objections: Vec<Objection>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused")?;
        self.objections.iter().try_for_each(|objection| write!(f, "; {objection}"))
    }
}

/// By whose leave a plan wants to run.
#[derive(Debug, Clone, Copy)]
pub enum Leave<'a> {
    /// The signed policy's standing approval, for what the agent planned itself.
    Standing,
    /// Approvals by persons.
    Approvals(&'a [Verified<Approval>]),
}

/// What the host knows when it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The policy that is held.
    pub policy: &'a Policy,
    /// The trust document that is held.
    pub trust: &'a TrustDocument,
    /// A look taken at this moment.
    pub sight: &'a Sight,
    /// What is remembered.
    pub last: &'a LastKnown,
    /// Every id that ever began here.
    pub begun: &'a BTreeSet<PlanId>,
    /// Why the clock cannot be trusted.
    pub clock: Option<&'a str>,
    /// The policy was confirmed by an authenticated session within `authority_days`.
    pub authority_fresh: bool,
    /// Now, by the agent's clock.
    pub now: Timestamp,
}

/// May this plan begin?
///
/// # Errors
/// [`Refusal`] with every objection.
pub fn admit(plan: &Plan, leave: Leave<'_>, ground: &Ground<'_>) -> Result<(), Refusal> {
    let mut objections = Vec::new();
    let mut object = |rule: Rule, detail: String, until: Option<Timestamp>| objections.push(Objection { rule, detail, until });
    let Ground { policy, trust, sight, last, begun, clock, authority_fresh, now } = *ground;
    let report = &sight.report;

    if plan.estate != policy.estate || plan.estate != trust.estate {
        object(Rule::OtherHost, format!("expected estate {}, found {}", trust.estate, plan.estate), None);
    }
    match leave {
        Leave::Standing => {
            let say = policy.say(&report.host, plan.purpose);
            if say.mode != Mode::Act || !plan.purpose.restores() {
                let (host, purpose) = (&plan.host, plan.purpose.as_str());
                object(Rule::Mode, format!("on {host} {} and the plan is to {purpose}", say.because()), None);
            }
            if !authority_fresh {
                object(Rule::Mode, format!("no controller confirmed the policy for {} days", policy.limits.authority_days), None);
            }
        }
        Leave::Approvals(approvals) => {
            let (persons, notes) = approvers(plan, approvals, trust, now);
            let need = trust.need(class(plan));
            if (persons.len() as u64) < u64::from(need) {
                let who = persons.iter().map(Person::to_string).chain(notes).collect::<Vec<_>>().join("; ");
                let who = if who.is_empty() { "no approval at all".to_owned() } else { who };
                object(Rule::TwoKeys, format!("expected {need} approver(s), found {}: {who}", persons.len()), None);
                for (Approval { person, not_before, not_after, .. }, _) in signed(plan, approvals, trust, now).0 {
                    if now < *not_before {
                        object(Rule::Deadline, format!("the approval of {person} begins at {not_before}"), Some(*not_before));
                    } else if *not_after <= now {
                        object(Rule::Deadline, format!("the approval of {person} ended at {not_after}"), None);
                    }
                }
            }
            if let Some(why) = clock {
                object(Rule::Clock, why.to_owned(), None);
            }
            let say = policy.say(&report.host, plan.purpose);
            if say.mode == Mode::Observe {
                let (host, because) = (&plan.host, say.because());
                object(Rule::Mode, format!("on {host} {because}: nothing of that kind runs there, approved or not"), None);
            }
            if !plan.purpose.restores()
                && let Err(closed) = policy.may_run(now, plan.purpose == Purpose::GiveBackFrontEnd || urgent(policy, sight, now))
            {
                object(Rule::Window, closed.why, closed.until.known().copied());
            }
        }
    }
    let id = plan.id();
    if begun.contains(&id) {
        object(Rule::Once, format!("plan {} has begun here before", id.short()), None);
    }
    for difference in plan.differences(report) {
        let rule =
            if difference.fact == "server" || difference.fact == "machine id" { Rule::OtherHost } else { Rule::Expectation };
        object(rule, difference.to_string(), None);
    }
    if let Some(objection) = leave_alone(plan, policy, sight, now) {
        object(objection.rule, objection.detail, objection.until);
    }
    if let Some(why) = &report.hold {
        object(Rule::Hold, why.clone(), None);
    }
    // The plan must be one that the rules, asked here and now, would make: steps cannot be smuggled in with matching expectations.
    if objections.is_empty() {
        objections.extend(not_ours(plan, policy, sight, last, now));
    }
    if objections.is_empty() { Ok(()) } else { Err(Refusal { objections }) }
}

/// The class whose number of persons the plan needs.
pub fn class(plan: &Plan) -> Class {
    match plan.purpose {
        Purpose::RestoreRecord
        | Purpose::Undelete
        | Purpose::FixStore
        | Purpose::Relink
        | Purpose::Unarchive
        | Purpose::BindCandidate
        | Purpose::Renew
        | Purpose::RemoveExtraRecord
        | Purpose::FixBinding => Class::Renew,
        Purpose::Create => Class::Create,
        Purpose::GiveBackFrontEnd => Class::FrontEnd,
    }
}

/// Distinct persons whose approval counts for this plan at `now`, and why others do not. Who signed in a browser counts where the trust document
/// says so, and beside at least one who did not: a page comes from the controller, and P5 must hold when that lies.
pub fn approvers(
    plan: &Plan,
    approvals: &[Verified<Approval>],
    trust: &TrustDocument,
    now: Timestamp,
) -> (BTreeSet<Person>, Vec<String>) {
    let (signed, mut notes) = signed(plan, approvals, trust, now);
    // Whoever asked for the plan says so at best in the words of the others: one approval that names a requester binds all.
    let requesters: BTreeSet<&Person> = signed.iter().filter_map(|(approval, _)| approval.requester.as_ref()).collect();
    let (mut persons, mut in_browsers) = (BTreeSet::new(), Vec::new());
    for (approval, kind) in signed {
        let Approval { person, not_before, not_after, estate: _, plans: _, requester: _, reason: _, change: _ } = approval;
        if requesters.contains(person) {
            notes.push(format!("{person} asked for the plan and cannot approve it"));
        } else if now < *not_before || *not_after <= now {
            notes.push(format!("the approval of {person} counts from {not_before} to {not_after}, and it is {now}"));
        } else if kind == KeyKind::Browser {
            in_browsers.push(person);
        } else if !persons.insert(person.clone()) {
            notes.push(format!("{person} approved more than once and counts once"));
        }
    }
    let need = trust.need(class(plan));
    let mut room = need.saturating_sub(1);
    for person in in_browsers {
        if persons.contains(person) {
            notes.push(format!("{person} approved more than once and counts once"));
        } else if room == 0 {
            notes.push(format!("{person} approved in a browser, where at most {} of {need} may", need.saturating_sub(1)));
        } else {
            persons.insert(person.clone());
            room -= 1;
        }
    }
    (persons, notes)
}

/// Approvals for this very plan that carry a valid signature of the approver they name, with what kind of key, and what is wrong with the others.
fn signed<'a>(
    plan: &Plan,
    approvals: &'a [Verified<Approval>],
    trust: &TrustDocument,
    now: Timestamp,
) -> (Vec<(&'a Approval, KeyKind)>, Vec<String>) {
    let id = plan.id();
    let (mut signed, mut notes) = (Vec::new(), Vec::new());
    for Verified { value: approval, signers, id: _ } in approvals {
        let person = &approval.person;
        if approval.estate != plan.estate || !approval.plans.contains(&id) {
            notes.push(format!("the approval of {person} is for another plan"));
            continue;
        }
        match trust.signed_as(person, signers, now) {
            None => notes.push(format!("the approval of {person} carries no valid signature of an approver of that name")),
            Some(KeyKind::Browser) if !trust.browser.contains(&class(plan)) => {
                let class = class(plan).as_str();
                notes.push(format!(
                    "{person} approved in a browser, and trust version {} does not let that count for {class}",
                    trust.version
                ));
            }
            Some(kind) => signed.push((approval, kind)),
        }
    }
    (signed, notes)
}

/// P1, asked of the host as it is: is something fit about to be changed?
fn leave_alone(plan: &Plan, policy: &Policy, sight: &Sight, now: Timestamp) -> Option<Objection> {
    // What it changes is not the certificate of 444, or nothing but a mark that keeps it from being served.
    if plan.purpose.aside() || plan.purpose == Purpose::Unarchive {
        return None;
    }
    let bound = Bound::of(sight);
    let Bound::Whole { certificate, .. } = bound else { return None };
    if matches!(bound.unfit(policy, &sight.report, now), Some(Unfit::Distrusted | Unfit::OutOfDate)) {
        return None;
    }
    let opens = policy.renewal_opens(certificate.not_after());
    if opens <= now || policy.exception(&plan.host, Allow::EarlyRenewal, now).is_some() {
        return None;
    }
    Some(Objection {
        rule: Rule::LeaveAlone,
        detail: format!(
            "{} on 444 is fit until {}; it may be renewed from {opens} and it is {now}",
            certificate.thumbprint(),
            certificate.not_after()
        ),
        until: Some(opens),
    })
}

/// Why the rules, asked here with the plan's own policy values, would not make this very plan, or not let it begin yet.
fn not_ours(plan: &Plan, policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Option<Objection> {
    let object = |rule: Rule, detail: String, until: Option<Timestamp>| Some(Objection { rule, detail, until });
    let Values { key_bits, months } = plan.values;
    let profile = Profile { key_bits, months };
    if !profile.allowed() {
        return object(Rule::Expectation, format!("no policy allows a certificate of {key_bits} bits for {months} months"), None);
    }
    let policy = Policy { certificate: profile, ..policy.clone() };
    let decision = decision_for(plan.purpose, &policy, sight, last, now);
    match decision.plan() {
        None => {
            let detail = format!("this host would plan nothing for what it sees: {}", decision.why());
            object(Rule::Expectation, detail, decision.look_again())
        }
        Some(own) if !own.same_but_attempt(plan) => {
            let why = decision.why();
            let detail = format!("the steps are not those that this host would plan for what it sees: {why}");
            object(Rule::Expectation, detail, None)
        }
        Some(_) => match decision.begins() {
            Some(at) if now < at => object(Rule::Quiet, format!("the quiet time ends at {at}, and it is {now}"), Some(at)),
            Some(_) | None => None,
        },
    }
}

/// What the rules say about what a plan is for: the certificate of 444, or something beside it.
fn decision_for(purpose: Purpose, policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Decision {
    if !purpose.aside() {
        return decide(policy, sight, last, now);
    }
    let found = aside(policy, sight, last, now).into_iter().find(|found| found.purpose == purpose);
    found.map_or_else(
        || Decision::LeaveAlone { why: format!("there is nothing to {}", purpose.as_str()), look_again: None },
        |found| found.decision,
    )
}

/// Whether the certificate on 444 is so near its end, or past it, that windows are ignored.
fn urgent(policy: &Policy, sight: &Sight, now: Timestamp) -> bool {
    match Bound::of(sight) {
        Bound::Whole { certificate, .. } => policy.expiry.urgent_at.before(certificate.not_after()) <= now,
        Bound::Unknown(_) | Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. } => false,
    }
}
