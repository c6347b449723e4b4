//! What was on 444 is beyond recovery: what takes its place. Always a person's choice (rule of restraint 4).
//!
//! If one certificate in the vendor's profile appeared after the loss, somebody has made it for this purpose, and it is
//! proposed (C3, C7). Else a new one is made (R2). Both say so aloud: the thumbprint changes.

use jiff::Timestamp;

use super::{Decision, agreed_name, expected, plan, records_on};
use crate::bound::{Bound, unfit};
use crate::document::{Mode, Policy};
use crate::evaluate::exchange_lists;
use crate::id::{CertificateId, Sha256};
use crate::last::LastKnown;
use crate::plan::{Expect, Plan, Purpose, Shown, Step, container_name};
use crate::report::{
    Access, BACK_END_PORT, Fact, IIS_APP_ID, RecordKind, Report, Sight, SslParameters, SslRecord, Store, StoreEntry,
    back_end_endpoint,
};

/// Who may use a new key when nothing is known of the old one: SYSTEM and Administrators all, NETWORK SERVICE reads, as
/// transport needs it (EXCHANGE.md 1.4).
const VENDOR_ACCESS: [(&str, u32); 3] = [("S-1-5-18", 0x001F_01FF), ("S-1-5-32-544", 0x001F_01FF), ("S-1-5-20", 0x0012_0089)];

/// How far a clock may be off, in minutes, for a certificate to be made (EXCHANGE.md 5.1).
pub(crate) const MOST_MINUTES: u32 = 5;

/// Proposes what takes the place of what was lost. `reason` says why it is lost for good; `why` holds what forbids every
/// write at this moment.
pub(super) fn propose(
    policy: &Policy,
    sight: &Sight,
    last: &LastKnown,
    bound: &Bound<'_>,
    now: Timestamp,
    reason: String,
    mut why: Vec<String>,
) -> Decision {
    let report = &sight.report;
    let plan = match candidates(policy, sight, last, now).as_slice() {
        [] => {
            why.extend(not_made(report));
            create(policy, sight, last, bound).map(|plan| (plan, "a new certificate is needed"))
        }
        [only] => {
            bind(policy, report, last, bound, only).map(|plan| (plan, "one was made after the loss that can take its place"))
        }
        several => Err(format!(
            "{} were all made after the loss: which one belongs on 444 is a person's choice",
            several.iter().map(|entry| entry.thumbprint.to_string()).collect::<Vec<_>>().join(" and ")
        )),
    };
    let at = bound.quiet(policy).after(last.trouble.map_or(now, |trouble| trouble.changed));
    let (plan, what) = match plan {
        Ok(found) if why.is_empty() => found,
        Ok(_) => return Decision::Hold { why: [vec![reason], why].concat(), look_again: None },
        Err(missing) => return Decision::Hold { why: [vec![reason], why, vec![missing]].concat(), look_again: None },
    };
    let say = policy.say(&report.host, plan.purpose);
    match say.mode {
        Mode::Observe => Decision::WouldAct {
            plan,
            at,
            why: format!("{reason}; {what}; {}: {} this would be proposed", say.because(), say.otherwise("propose or act")),
        },
        Mode::Propose | Mode::Act => Decision::Propose {
            plan,
            opens: at,
            urgent: true,
            why: format!("{reason}; {what}, and a person must approve: the thumbprint changes, and transport may present it too"),
        },
    }
}

/// What forbids making a certificate, though it may forbid nothing else.
pub(super) fn not_made(report: &Report) -> Option<String> {
    // A clock that nobody compared is judged by the agent itself, before the plan begins (TRUST T8).
    let minutes = *report.machine.clock_ahead.known()?;
    let way = if minutes > 0 { "ahead of" } else { "behind" };
    (minutes.unsigned_abs() > MOST_MINUTES)
        .then(|| format!("the clock is {} minutes {way} the domain's: nothing is made with wrong dates", minutes.unsigned_abs()))
}

/// Certificates in the vendor's profile that were made after the loss and would be fit for 444.
fn candidates<'a>(policy: &Policy, sight: &'a Sight, last: &LastKnown, now: Timestamp) -> Vec<&'a StoreEntry> {
    let report = &sight.report;
    let (Some(entries), Some(trouble)) = (report.stores.known(), last.trouble) else { return Vec::new() };
    let fit = |entry: &&StoreEntry| {
        entry.store == Store::My
            && !entry.archived
            && entry.key_usable()
            && last.good.as_ref().is_none_or(|good| good.entry.certificate != entry.certificate)
            && sight.certificates.get(&entry.certificate).is_some_and(|certificate| {
                certificate.thumbprint() == entry.thumbprint
                    && certificate.self_issued()
                    && trouble.since <= certificate.not_before()
                    && unfit(certificate, policy, report, now).is_none()
                    && exchange_lists(certificate, entry).is_ok()
            })
    };
    entries.iter().filter(fit).collect()
}

/// C3, C7: the record names the candidate.
fn bind(policy: &Policy, report: &Report, last: &LastKnown, bound: &Bound<'_>, entry: &StoreEntry) -> Result<Plan, String> {
    let named = |record: SslRecord| SslRecord {
        thumbprint: Some(entry.thumbprint),
        store: Some(Store::My.as_str().to_owned()),
        ..record
    };
    let step = match present(bound) {
        Some(record) => Step::ChangeRecord { from: record.clone(), to: named(record.clone()) },
        None => Step::WriteRecord { record: named(template(last)) },
    };
    let shows = Shown::Certificate(entry.certificate);
    let expects = vec![records_on(report, BACK_END_PORT)?, expected(entry)?];
    plan(policy, report, Purpose::BindCandidate, expects, vec![step, Step::Probe { port: BACK_END_PORT, shows }])
}

/// R2: a new certificate in the vendor's profile.
fn create(policy: &Policy, sight: &Sight, last: &LastKnown, bound: &Bound<'_>) -> Result<Plan, String> {
    let report = &sight.report;
    let fqdn = agreed_name(policy, report)?;
    let outgoing = outgoing(last, bound);
    let container = container_name(&policy.estate, &report.host.name, BACK_END_PORT, outgoing);
    let good = last.good.as_ref();
    let access = match good.and_then(|good| good.entry.key_access.known()) {
        Some(access) if !access.is_empty() => access.clone(),
        Some(_) | None => VENDOR_ACCESS.iter().map(|(sid, mask)| Access { sid: (*sid).to_owned(), mask: *mask }).collect(),
    };
    let netbios = report.host.name.as_str().to_owned();
    let (bits, months) = (policy.certificate.key_bits, policy.certificate.months);
    let mut steps = vec![
        Step::CreateKey { container: container.clone(), bits },
        Step::GrantKey { container: container.clone(), access },
        Step::Mint { container: container.clone(), netbios, fqdn, months },
    ];
    if good.is_some_and(|good| good.trust_copy) {
        steps.push(Step::TrustCopy { container: container.clone() });
    }
    steps.push(Step::DryHandshake { container: container.clone() });
    steps.push(match present(bound) {
        Some(record) => Step::Swap { from: record.clone(), container: container.clone() },
        None => Step::Bind { record: template(last), container: container.clone() },
    });
    steps.push(Step::Probe { port: BACK_END_PORT, shows: Shown::OfContainer(container) });
    let mut expects = vec![records_on(report, BACK_END_PORT)?];
    match bound {
        Bound::KeyUnusable { entry, .. } => expects.push(expected(entry)?),
        Bound::Dangling { record, thumbprint: Some(thumbprint) } => {
            expects.push(Expect::NoCertificate { thumbprint: *thumbprint, store: record.store() });
        }
        Bound::Dangling { .. } | Bound::NoRecord | Bound::Unknown(_) | Bound::Whole { .. } => {}
    }
    plan(policy, report, Purpose::Create, expects, steps)
}

/// What the new key follows (TRUST J5).
fn outgoing(last: &LastKnown, bound: &Bound<'_>) -> CertificateId {
    match (bound, &last.good) {
        (Bound::KeyUnusable { entry, .. }, _) => entry.certificate,
        (_, Some(good)) => good.entry.certificate,
        (Bound::Dangling { record, .. }, None) => {
            Sha256::of(&serde_json::to_vec(record).expect("a record is plain data without maps"))
        }
        (Bound::NoRecord | Bound::Unknown(_) | Bound::Whole { .. }, None) => Sha256::of(b"no record"),
    }
}

/// The record on 444, when there is one.
fn present<'a>(bound: &Bound<'a>) -> Option<&'a SslRecord> {
    match bound {
        Bound::Dangling { record, .. } | Bound::KeyUnusable { record, .. } | Bound::Whole { record, .. } => Some(record),
        Bound::NoRecord | Bound::Unknown(_) => None,
    }
}

/// A record for 444 without a certificate: as it last was, else as IIS writes them.
fn template(last: &LastKnown) -> SslRecord {
    match &last.good {
        Some(good) => SslRecord { thumbprint: None, store: Some(Store::My.as_str().to_owned()), ..good.record.clone() },
        None => SslRecord {
            kind: RecordKind::Address,
            endpoint: back_end_endpoint(),
            thumbprint: None,
            store: Some(Store::My.as_str().to_owned()),
            app_id: Fact::Known(IIS_APP_ID.to_owned()),
            parameters: Fact::Known(SslParameters::default()),
        },
    }
}
