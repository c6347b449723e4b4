//! 444 is lost: the gentlest rung that puts back what was there, and everything that forbids it (EXCHANGE.md 5.3).
//!
//! By itself the agent only makes whole what was whole: it writes the record back (R0), points it at the store that holds its
//! certificate (R0b), puts the very same certificate back (R1), or links it to its key again (R1b). Where nothing of that is
//! possible because what was there is beyond recovery, [`anew`](super::anew) proposes what takes its place.

use jiff::Timestamp;

use super::{Decision, anew, expected, lacking, plan, prerequisites, records_on};
use crate::bound::{Bound, disallowed_known, distrusted};
use crate::certificate::Certificate;
use crate::document::{Mode, Policy};
use crate::duration::Span;
use crate::evaluate::{in_my, presented};
use crate::last::{LastGood, LastKnown};
use crate::plan::{Expect, Plan, Purpose, Shown, Step};
use crate::report::{BACK_END_PORT, Fact, KeyState, Report, Sight, SslRecord, Store, StoreEntry};

/// Why no rung leads back.
pub(super) enum NoRung {
    /// Something stands in the way; what was there may still come back.
    Blocked(Vec<String>),
    /// What was there is beyond recovery, or must not come back.
    Beyond(String),
}

/// Decides about a server whose record is gone, or names a certificate that is gone or has lost its key.
pub(super) fn restore(policy: &Policy, sight: &Sight, last: &LastKnown, bound: &Bound<'_>, now: Timestamp) -> Decision {
    let report = &sight.report;
    let say = policy.say(&report.host, Purpose::RestoreRecord);
    // After its build went back nothing is done by itself (G3).
    let mode = if last.went_back(now).is_some() { say.mode.min(Mode::Propose) } else { say.mode };
    let mut why = prerequisites(report);
    why.extend(in_the_way(report, last, bound));
    let plan = match rung(policy, sight, last, bound, now) {
        Ok(plan) => plan,
        Err(NoRung::Beyond(reason)) => return anew::propose(policy, sight, last, bound, now, reason, why),
        Err(NoRung::Blocked(more)) => return Decision::Hold { why: [why, more].concat(), look_again: None },
    };
    let limit = (mode != Mode::Propose).then(|| over_limit(policy, last, now)).flatten();
    if let Some((reason, _)) = &limit {
        why.push(reason.clone());
    }
    if !why.is_empty() {
        return Decision::Hold { why, look_again: limit.map(|(_, until)| until) };
    }
    let quiet = bound.quiet(policy);
    let what = match bound {
        Bound::NoRecord => "the record on 444 is gone",
        Bound::Dangling { .. } if plan.purpose == Purpose::FixStore => {
            "the record on 444 names a store that does not hold its certificate"
        }
        Bound::KeyUnusable { .. } => "the certificate on 444 has lost the link to its key",
        Bound::Dangling { .. } | Bound::Unknown(_) | Bound::Whole { .. } => "the certificate on 444 was deleted",
    };
    let at = quiet.after(last.trouble.map_or(now, |trouble| trouble.changed));
    match mode {
        Mode::Observe => Decision::WouldAct {
            plan,
            at,
            why: format!(
                "{what}; {}: {} it would be put back at {at}, after {quiet} of quiet",
                say.because(),
                say.otherwise("act")
            ),
        },
        Mode::Propose if say.mode == Mode::Act => Decision::Propose {
            plan,
            opens: at,
            urgent: true,
            why: format!("{what}; the build of Exchange went back, as after a restored snapshot: a person must approve"),
        },
        Mode::Propose => {
            Decision::Propose { plan, opens: at, urgent: true, why: format!("{what}; {}: a person must approve", say.because()) }
        }
        Mode::Act => Decision::Act { plan, at, why: format!("{what}; put back at {at}, after {quiet} of quiet") },
    }
}

/// What speaks against any write on 444, whichever rung.
fn in_the_way(report: &Report, last: &LastKnown, bound: &Bound<'_>) -> Vec<String> {
    let mut why = Vec::new();
    if !disallowed_known(report) {
        why.push("the Disallowed store was not read".to_owned());
    }
    if let Bound::Dangling { record, .. } | Bound::KeyUnusable { record, .. } = bound
        && !record.wholly_known()
    {
        why.push(lacking("what else the record on 444 holds"));
    }
    let own = last.good.as_ref().map(|good| good.entry.certificate);
    let named = match bound {
        Bound::Dangling { thumbprint, .. } => *thumbprint,
        Bound::KeyUnusable { entry, .. } => Some(entry.thumbprint),
        Bound::Unknown(_) | Bound::NoRecord | Bound::Whole { .. } => None,
    };
    let named = named.and_then(|named| report.stores.known()?.iter().find(|entry| entry.thumbprint == named));
    let ours = |shown| Some(shown) == own || named.is_some_and(|entry| entry.certificate == shown);
    if presented(report).into_iter().any(|shown| !ours(shown)) {
        why.push("a handshake on 444 shows another certificate: something else answers there".to_owned());
    }
    if report.other_record_on_back_end_port() {
        why.push("another record exists on port 444".to_owned());
    }
    why
}

/// The gentlest plan that makes whole what was whole.
fn rung(policy: &Policy, sight: &Sight, last: &LastKnown, bound: &Bound<'_>, now: Timestamp) -> Result<Plan, NoRung> {
    if let Bound::Dangling { record, .. } = bound
        && let Some(entry) = in_my(&sight.report, record)
    {
        return fix_store(policy, sight, record, entry, now);
    }
    if let Bound::KeyUnusable { entry, state, .. } = bound {
        match state {
            KeyState::NotLinked => {}
            KeyState::Missing | KeyState::Foreign => {
                return Err(NoRung::Beyond(format!("the key of {} is {state}", entry.thumbprint)));
            }
            KeyState::Denied | KeyState::Usable => {
                return Err(NoRung::Blocked(vec![format!(
                    "the key of {} is {state}: give SYSTEM and Administrators access to its container again; nothing is made while it may come back",
                    entry.thumbprint
                )]));
            }
        }
    }
    let Some(good) = &last.good else {
        return Err(NoRung::Beyond("no good state of this server was ever seen, so there is nothing to put back".to_owned()));
    };
    returnable(policy, &sight.report, good, bound, now)?;
    good_plan(policy, &sight.report, good, bound)
}

/// R0b: the certificate that the record means is in `MY`, the record looks for it elsewhere.
fn fix_store(policy: &Policy, sight: &Sight, record: &SslRecord, entry: &StoreEntry, now: Timestamp) -> Result<Plan, NoRung> {
    let report = &sight.report;
    let thumbprint = entry.thumbprint;
    let mut why = Vec::new();
    match sight.certificates.get(&entry.certificate) {
        None => why.push(format!("the bytes of {thumbprint} are not at hand")),
        Some(certificate) if certificate.thumbprint() != thumbprint => {
            why.push(format!("the report contradicts itself: {thumbprint} in MY is {}", certificate.thumbprint()));
        }
        Some(certificate) => why.extend(not_by_itself(certificate, now)),
    }
    if distrusted(policy, report, thumbprint) {
        why.push(format!("{thumbprint} is distrusted or compromised: it is never bound"));
    }
    if !entry.key_usable() {
        why.push(format!("the key of {thumbprint} is not known to work: a record for it would serve nothing"));
    }
    if !why.is_empty() {
        return Err(NoRung::Blocked(why));
    }
    let to = SslRecord { store: Some(Store::My.as_str().to_owned()), ..record.clone() };
    let expects = vec![expected(entry).map_err(|missing| NoRung::Blocked(vec![missing]))?];
    let steps = vec![Step::ChangeRecord { from: record.clone(), to }];
    served(policy, report, Purpose::FixStore, expects, steps, entry)
}

/// Anti-flap: why no further automatic restore is allowed, and until when. A person who approves is no automatism, so in
/// mode `propose` nobody asks.
fn over_limit(policy: &Policy, last: &LastKnown, now: Timestamp) -> Option<(String, Timestamp)> {
    let over = |span: Span, most: u32| {
        let mut within: Vec<Timestamp> = last.restores.iter().copied().filter(|at| span.before(now) < *at).collect();
        within.sort_unstable();
        // The limit is free again when only `most - 1` are left within the span.
        let frees = within.len().checked_sub(most as usize).map(|index| span.after(within[index]));
        (within.len(), frees)
    };
    let (hour, hour_frees) = over(Span::seconds(3_600), policy.limits.restores_per_hour);
    let (day, day_frees) = over(Span::days(1), policy.limits.restores_per_day);
    hour_frees.max(day_frees).map(|until| {
        let why = format!(
            "{hour} automatic restores in the last hour and {day} in the last day: something takes it away again, a person must look; none before {until}"
        );
        (why, until)
    })
}

/// Whether the last good certificate may come back.
fn returnable(policy: &Policy, report: &Report, good: &LastGood, bound: &Bound<'_>, now: Timestamp) -> Result<(), NoRung> {
    let thumbprint = good.thumbprint();
    let mut why = Vec::new();
    if let Bound::Dangling { record, thumbprint: named } = bound
        && (*named != Some(thumbprint) || record.store() != good.record.store())
    {
        // The record is somebody's; it is made whole only if it names what we remember.
        let names = named.map_or_else(|| "no certificate".to_owned(), |named| named.to_string());
        why.push(format!(
            "the record on 444 names {names} in {}, the last good one named {thumbprint} in {}: somebody wrote it, a person must look",
            record.store(),
            good.record.store()
        ));
    }
    if let Bound::KeyUnusable { entry, .. } = bound
        && entry.certificate != good.entry.certificate
    {
        why.push(format!(
            "the certificate on 444 is {}, the last good one was {thumbprint}: somebody changed it",
            entry.thumbprint
        ));
    }
    if !good.record.wholly_known() {
        why.push("the last good record is not known with all its parameters".to_owned());
    }
    if present(report, good).is_some_and(|entry| entry.archived && !good.entry.archived) {
        why.push(format!("{thumbprint} was archived since it was last good: somebody retired it, a person must look"));
    }
    let beyond = match Certificate::from_der(&good.der.0) {
        Err(error) => Some(format!("the remembered certificate {thumbprint} does not read: {error}")),
        Ok(certificate) if contradicts(good, &certificate) => {
            why.push(format!(
                "what is remembered of {thumbprint} contradicts itself: its bytes are {}",
                certificate.thumbprint()
            ));
            None
        }
        Ok(_) if distrusted(policy, report, thumbprint) => {
            Some(format!("{thumbprint} is distrusted or compromised: it is never put back"))
        }
        Ok(certificate) => not_by_itself(&certificate, now).into_iter().next(),
    };
    match (why.is_empty(), beyond) {
        (true, None) => Ok(()),
        (true, Some(beyond)) => Err(NoRung::Beyond(beyond)),
        (false, _) => Err(NoRung::Blocked(why)),
    }
}

/// The memory does not fit together: its parts are of two certificates.
fn contradicts(good: &LastGood, certificate: &Certificate) -> bool {
    certificate.thumbprint() != good.thumbprint()
        || certificate.id() != good.entry.certificate
        || certificate.key_id() != good.key_id
        || good.record.thumbprint != Some(good.thumbprint())
}

/// What the certificate itself says against being bound without a person.
fn not_by_itself(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let thumbprint = certificate.thumbprint();
    let mut why = Vec::new();
    if certificate.not_after() <= now || now < certificate.not_before() {
        why.push(format!(
            "{thumbprint} is valid from {} to {}: it is not put back outside these dates",
            certificate.not_before(),
            certificate.not_after()
        ));
    }
    if !certificate.self_issued() {
        why.push(format!("{thumbprint} was issued by a CA ({}): it is never put back by itself", certificate.issuer()));
    }
    why
}

/// The last good certificate in its store, when it is still there.
fn present<'a>(report: &'a Report, good: &LastGood) -> Option<&'a StoreEntry> {
    let store = good.record.store();
    report.stores.known()?.iter().find(|entry| entry.store == store && entry.certificate == good.entry.certificate)
}

/// The steps that put the last good state back.
fn good_plan(policy: &Policy, report: &Report, good: &LastGood, bound: &Bound<'_>) -> Result<Plan, NoRung> {
    let blocked = |missing: String| NoRung::Blocked(vec![missing]);
    let mut steps = Vec::new();
    let (purpose, expects) = match present(report, good) {
        Some(entry) if entry.key_state == Fact::Known(KeyState::NotLinked) => {
            let (expect, step) = again(report, good)?;
            steps.push(step);
            (Purpose::Relink, vec![expected(entry).map_err(blocked)?, expect])
        }
        Some(entry) if entry.key_usable() => (Purpose::RestoreRecord, vec![expected(entry).map_err(blocked)?]),
        Some(_) => {
            return Err(blocked(format!(
                "the key of {} is not known to work: a record for it would serve nothing",
                good.thumbprint()
            )));
        }
        None => {
            let (expect, step) = again(report, good)?;
            steps.push(step);
            let gone = Expect::NoCertificate { thumbprint: good.thumbprint(), store: good.record.store() };
            (Purpose::Undelete, vec![gone, expect])
        }
    };
    if matches!(bound, Bound::NoRecord) {
        steps.push(Step::WriteRecord { record: good.record.clone() });
    }
    served(policy, report, purpose, expects, steps, &good.entry)
}

/// The step that adds the certificate with its key link, and the container that must hold its key.
fn again(report: &Report, good: &LastGood) -> Result<(Expect, Step), NoRung> {
    let beyond = || NoRung::Beyond(format!("the key of {} is not in its container: nothing is recoverable", good.thumbprint()));
    let blocked = |missing: String| NoRung::Blocked(vec![missing]);
    let link = good.entry.key.known().ok_or_else(|| blocked(lacking("where the key of the certificate was")))?;
    let link = link.clone().ok_or_else(beyond)?;
    let containers = match &report.containers {
        Fact::Known(containers) => containers,
        Fact::Unknown(reason) => return Err(blocked(format!("{} ({reason})", lacking("the list of key containers")))),
    };
    match containers.iter().find(|container| container.name == link.container) {
        Some(container) if container.key_id == Fact::Known(good.key_id) => {}
        Some(container) if container.key_id.known().is_none() => {
            return Err(blocked(lacking("which key the container of the certificate holds")));
        }
        Some(_) | None => return Err(beyond()),
    }
    let expect = Expect::Container { name: link.container.clone(), key_id: good.key_id };
    let friendly_name = good.entry.friendly_name.known().cloned().flatten();
    Ok((expect, Step::AddCertificate { der: good.der.clone(), store: good.record.store(), key: link, friendly_name }))
}

/// A plan that ends with `shown` being served.
fn served(
    policy: &Policy,
    report: &Report,
    purpose: Purpose,
    expects: Vec<Expect>,
    mut steps: Vec<Step>,
    shown: &StoreEntry,
) -> Result<Plan, NoRung> {
    steps.push(Step::Probe { port: BACK_END_PORT, shows: Shown::Certificate(shown.certificate) });
    let expects = records_on(report, BACK_END_PORT).map(|records| [vec![records], expects].concat());
    expects.and_then(|expects| plan(policy, report, purpose, expects, steps)).map_err(|missing| NoRung::Blocked(vec![missing]))
}
