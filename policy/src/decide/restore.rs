//! 444 is lost: the gentlest rung that puts back what was there, and everything that forbids it.

use jiff::Timestamp;

use super::{Decision, common_expects, expected, lacking, prerequisites, values};
use crate::bound::{Bound, disallowed_known, distrusted};
use crate::certificate::Certificate;
use crate::document::{Mode, Policy};
use crate::duration::Span;
use crate::evaluate::presented;
use crate::last::{LastGood, LastKnown};
use crate::plan::{Expect, Plan, Purpose, Shown, Step};
use crate::report::{BACK_END_PORT, Fact, Report, Sight, SslRecord, StoreEntry};

/// Decides about a server whose record is gone or names a certificate that is gone.
pub(super) fn restore(policy: &Policy, sight: &Sight, last: &LastKnown, bound: &Bound<'_>, now: Timestamp) -> Decision {
    let report = &sight.report;
    let mode = policy.mode_of(&report.host);
    let mut why = prerequisites(report);
    let Some(good) = &last.good else {
        why.push("no good state of this server was ever seen, so there is nothing to put back: a person must look".to_owned());
        return Decision::Hold { why, look_again: None };
    };
    why.extend(unrestorable(policy, sight, good, bound, now));
    let limit = (mode != Mode::Propose).then(|| over_limit(policy, last, now)).flatten();
    if let Some((reason, _)) = &limit {
        why.push(reason.clone());
    }
    let plan = match restore_plan(policy, report, good, bound) {
        Ok(plan) if why.is_empty() => plan,
        Ok(_) => return Decision::Hold { why, look_again: limit.map(|(_, until)| until) },
        Err(missing) => {
            why.push(missing);
            return Decision::Hold { why, look_again: None };
        }
    };
    let quiet = bound.quiet(policy);
    let what = match bound {
        Bound::NoRecord => "the record on 444 is gone",
        Bound::Dangling { .. } | Bound::Unknown(_) | Bound::KeyUnusable { .. } | Bound::Whole { .. } => {
            "the certificate on 444 was deleted"
        }
    };
    let at = quiet.after(last.trouble.map_or(now, |trouble| trouble.changed));
    match mode {
        Mode::Observe => Decision::WouldAct {
            plan,
            at,
            why: format!("{what}; mode is observe: in mode act it would be put back at {at}, after {quiet} of quiet"),
        },
        Mode::Propose => {
            Decision::Propose { plan, opens: at, urgent: true, why: format!("{what}; mode is propose: a person must approve") }
        }
        Mode::Act => Decision::Act { plan, at, why: format!("{what}; put back at {at}, after {quiet} of quiet") },
    }
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

/// Why the last good certificate must not be put back.
fn unrestorable(policy: &Policy, sight: &Sight, good: &LastGood, bound: &Bound<'_>, now: Timestamp) -> Vec<String> {
    let report = &sight.report;
    let mut why = Vec::new();
    let thumbprint = good.thumbprint();
    if distrusted(policy, report, thumbprint) {
        why.push(format!("{thumbprint} is distrusted or compromised: it is never put back; a new certificate is needed and a person must order it"));
    }
    if !disallowed_known(report) {
        why.push("the Disallowed store was not read".to_owned());
    }
    match Certificate::from_der(&good.der.0) {
        Err(error) => why.push(format!("the remembered certificate {thumbprint} does not read: {error}")),
        Ok(certificate) => why.extend(unfit_to_return(good, &certificate, now)),
    }
    if !good.record.wholly_known() {
        why.push("the last good record is not known with all its parameters".to_owned());
    }
    if let Bound::Dangling { record, thumbprint: named } = bound {
        // The record is somebody's; it is made whole only if it names what we remember.
        if *named != Some(thumbprint) || record.store() != good.record.store() {
            let names = named.map_or_else(|| "no certificate".to_owned(), |named| named.to_string());
            why.push(format!(
                "the record on 444 names {names} in {}, the last good one named {thumbprint} in {}: somebody wrote it, a person must look",
                record.store(),
                good.record.store()
            ));
        }
        if !record.wholly_known() {
            why.push(lacking("what else the record on 444 holds"));
        }
    }
    if present(report, good).is_some_and(|entry| entry.archived && !good.entry.archived) {
        why.push(format!("{thumbprint} was archived since it was last good: somebody retired it, a person must look"));
    }
    if presented(report).iter().any(|certificate| *certificate != good.entry.certificate) {
        why.push("a handshake on 444 shows another certificate: something else answers there".to_owned());
    }
    if report.other_record_on_back_end_port() {
        why.push("another record exists on port 444".to_owned());
    }
    why
}

/// What the remembered certificate itself says against being put back.
fn unfit_to_return(good: &LastGood, certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut why = Vec::new();
    let thumbprint = good.thumbprint();
    if certificate.thumbprint() != thumbprint
        || certificate.id() != good.entry.certificate
        || certificate.key_id() != good.key_id
        || good.record.thumbprint != Some(thumbprint)
    {
        why.push(format!("what is remembered of {thumbprint} contradicts itself: its bytes are {}", certificate.thumbprint()));
    }
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

/// The steps that put 444 back, or the fact that is missing for them.
fn restore_plan(policy: &Policy, report: &Report, good: &LastGood, bound: &Bound<'_>) -> Result<Plan, String> {
    let store = good.record.store();
    let records = report.records.known().ok_or_else(|| lacking("the list of http.sys records"))?;
    let records: Vec<SslRecord> = records.iter().filter(|record| record.port() == Some(BACK_END_PORT)).cloned().collect();
    let mut expects = common_expects(report)?;
    expects.push(Expect::Records { port: BACK_END_PORT, records });
    let mut steps = Vec::new();
    let purpose = match present(report, good) {
        Some(entry) => {
            if !entry.key_usable() {
                return Err(format!(
                    "the key of {} is not known to work: a record for it would serve nothing",
                    good.thumbprint()
                ));
            }
            expects.push(expected(entry)?);
            Purpose::RestoreRecord
        }
        None => {
            let link = good.entry.key.known().ok_or_else(|| lacking("where the key of the deleted certificate was"))?;
            let link = link.clone().ok_or_else(|| NOTHING_RECOVERABLE.to_owned())?;
            let containers = match &report.containers {
                Fact::Known(containers) => containers,
                Fact::Unknown(reason) => return Err(format!("{} ({reason})", lacking("the list of key containers"))),
            };
            if !containers
                .iter()
                .any(|container| container.name == link.container && container.key_id == Fact::Known(good.key_id))
            {
                return Err(NOTHING_RECOVERABLE.to_owned());
            }
            expects.push(Expect::NoCertificate { thumbprint: good.thumbprint(), store: store.clone() });
            expects.push(Expect::Container { name: link.container.clone(), key_id: good.key_id });
            let friendly_name = good.entry.friendly_name.known().cloned().flatten();
            steps.push(Step::AddCertificate { der: good.der.clone(), store, key: link, friendly_name });
            Purpose::Undelete
        }
    };
    if matches!(bound, Bound::NoRecord) {
        steps.push(Step::WriteRecord { record: good.record.clone() });
    }
    steps.push(Step::Probe { port: BACK_END_PORT, shows: Shown::Certificate(good.entry.certificate) });
    steps.push(Step::Compare);
    Ok(Plan {
        estate: policy.estate.clone(),
        host: report.host.name.clone(),
        machine_id: report.host.machine_id.known().ok_or_else(|| lacking("the machine id"))?.clone(),
        purpose,
        attempt: 1,
        values: values(policy),
        expects,
        steps,
    })
}

const NOTHING_RECOVERABLE: &str = "the deleted certificate's key is not in its container: nothing recoverable, a new certificate is needed and a person must order it";
