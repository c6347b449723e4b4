//! The chain on 444 holds: leave it alone, unless its certificate ends or must not be trusted.

use jiff::Timestamp;

use super::{Decision, agreed_name, anew, expected, lacking, plan, prerequisites, records_on, values};
use crate::bound::Unfit;
use crate::certificate::Certificate;
use crate::document::{Allow, Mode, Policy};
use crate::evaluate::presented;
use crate::id::CertificateId;
use crate::plan::{Plan, Purpose, Shown, Step, container_name};
use crate::report::{BACK_END_PORT, Fact, KeyLink, ProbeOutcome, Report, Sight, SslRecord, Store, StoreEntry};

/// R1c: the certificate on 444 is archived, and its handshake fails. While it works it is left alone.
fn unarchive(policy: &Policy, sight: &Sight, entry: &StoreEntry, now: Timestamp) -> Option<Decision> {
    let report = &sight.report;
    let dead = report.probes.iter().any(|probe| {
        probe.port == BACK_END_PORT && matches!(probe.outcome, ProbeOutcome::NoHandshake(_) | ProbeOutcome::Refused)
    });
    if !entry.archived || !dead {
        return None;
    }
    let reason = format!("{} on 444 is archived and is not served", entry.thumbprint);
    let steps = vec![
        Step::Unarchive { thumbprint: entry.thumbprint, store: entry.store.clone() },
        Step::Probe { port: BACK_END_PORT, shows: Shown::Certificate(entry.certificate) },
    ];
    let made = records_on(report, BACK_END_PORT)
        .and_then(|records| plan(policy, report, Purpose::Unarchive, vec![records, expected(entry)?], steps));
    let mut why = prerequisites(report);
    let plan = match made {
        Ok(plan) if why.is_empty() => plan,
        made => {
            why.extend(made.err());
            return Some(Decision::Hold { why: [vec![reason], why].concat(), look_again: None });
        }
    };
    let say = policy.say(&report.host, plan.purpose);
    Some(match say.mode {
        Mode::Observe => Decision::WouldAct {
            plan,
            at: now,
            why: format!(
                "{reason}; {}: {} it would be proposed to take the mark off",
                say.because(),
                say.otherwise("propose or act")
            ),
        },
        Mode::Propose | Mode::Act => Decision::Propose {
            plan,
            opens: now,
            urgent: true,
            why: format!("{reason}; somebody archived it, so a person must approve that the mark is taken off"),
        },
    })
}

/// Decides about a server whose 444 is whole.
pub(super) fn renewal(
    policy: &Policy,
    sight: &Sight,
    record: &SslRecord,
    entry: &StoreEntry,
    certificate: &Certificate,
    now: Timestamp,
) -> Decision {
    let report = &sight.report;
    let ends = certificate.not_after();
    let window = policy.renewal_opens(ends);
    let unfit = crate::bound::unfit(certificate, policy, report, now);
    let (opens, reason) = match unfit {
        Some(Unfit::Distrusted) => (now, "the certificate on 444 is distrusted".to_owned()),
        Some(Unfit::OutOfDate) if now < certificate.not_before() => {
            return Decision::Hold {
                why: vec![format!(
                    "the certificate on 444 is valid only from {}: a clock is wrong, nothing is made",
                    certificate.not_before()
                )],
                look_again: Some(certificate.not_before()),
            };
        }
        Some(Unfit::OutOfDate) => (window, format!("the back-end certificate ended on {ends}")),
        // A wrong name is no reason to change what works (P1), and none to let it end unnoticed either.
        Some(Unfit::Names) | None => {
            if let Some(decision) = unarchive(policy, sight, entry, now) {
                return decision;
            }
            let propose = policy.proposes_from(ends);
            if let Some(exception) = policy.exception(&report.host.name, Allow::EarlyRenewal, now) {
                (window.min(now), format!("excepted until {} by {}: {}", exception.until, exception.owner, exception.reason))
            } else if propose <= now {
                let early = policy.opens_early_for(ends);
                let early =
                    early.map(|freeze| format!(", in a freeze ({}): it opens at the last window before it", freeze.reason));
                (window, format!("the back-end certificate ends on {ends}{}", early.unwrap_or_default()))
            } else if unfit.is_some() {
                return Decision::Hold {
                    why: vec![format!(
                        "the certificate on 444 does not name the server: it works and is left alone until a person orders a change, or until {propose}, when its renewal is proposed"
                    )],
                    look_again: Some(propose),
                };
            } else {
                return Decision::LeaveAlone {
                    why: format!(
                        "P1: present, bound, usable and fit until {ends}: left alone; renewal is proposed from {propose} and may run from {window}"
                    ),
                    look_again: Some(propose),
                };
            }
        }
    };
    let urgent = policy.expiry.urgent_at.before(ends) <= now;
    let mut why = prerequisites(report);
    why.extend(anew::not_made(report));
    if report.machine.auth.known().is_some_and(|auth| auth.current == Some(entry.thumbprint)) {
        why.push(format!("{} is the organisation's Auth Certificate too: its owner must part the two first", entry.thumbprint));
    }
    why.extend(report.machine.maintenance.known().into_iter().flatten().map(|what| format!("in maintenance: {what}")));
    if presented(report).iter().any(|shown| *shown != entry.certificate) {
        why.push("a handshake on 444 shows another certificate: something else answers there, and no handshake could prove the new one".to_owned());
    }
    let plan = match renewal_plan(policy, sight, record, entry, certificate) {
        Ok(plan) => Some(plan),
        Err(missing) => {
            why.push(missing);
            None
        }
    };
    let plan = match plan {
        Some(plan) if why.is_empty() => plan,
        _ => return Decision::Hold { why: [vec![reason], why].concat(), look_again: None },
    };
    let say = policy.say(&report.host, plan.purpose);
    match say.mode {
        Mode::Observe => Decision::WouldAct {
            plan,
            at: opens,
            why: format!(
                "{reason}; {}: {} a renewal would be proposed, to run from {opens}",
                say.because(),
                say.otherwise("propose or act")
            ),
        },
        Mode::Propose | Mode::Act => {
            Decision::Propose { plan, opens, urgent, why: format!("{reason}; a renewal needs approval and may run from {opens}") }
        }
    }
}

/// The typed steps of a renewal (EXCHANGE.md 5.2), or the fact that is missing for them.
fn renewal_plan(
    policy: &Policy,
    sight: &Sight,
    record: &SslRecord,
    entry: &StoreEntry,
    certificate: &Certificate,
) -> Result<Plan, String> {
    let report = &sight.report;
    let fqdn = agreed_name(policy, report)?;
    if report.other_record_on_back_end_port() {
        return Err("another record exists on port 444".to_owned());
    }
    let access = entry.key_access.known().ok_or_else(|| lacking("the access list of the outgoing key"))?.clone();
    let container = container_name(&policy.estate, &report.host.name, BACK_END_PORT, certificate.id());
    let trusted = match report.entry(&Store::Root, certificate.thumbprint()) {
        Fact::Known(found) => found.is_some(),
        Fact::Unknown(_) => return Err(lacking("whether Root holds a copy")),
    };
    let expects = vec![records_on(report, BACK_END_PORT)?, expected(entry)?];
    let values = values(policy);
    let mut steps = vec![
        Step::CreateKey { container: container.clone(), bits: values.key_bits },
        Step::GrantKey { container: container.clone(), access },
        Step::Mint { container: container.clone(), netbios: report.host.name.as_str().to_owned(), fqdn, months: values.months },
    ];
    if trusted {
        steps.push(Step::TrustCopy { container: container.clone() });
    }
    steps.extend([
        Step::DryHandshake { container: container.clone() },
        Step::Swap { from: record.clone(), container: container.clone() },
        Step::Probe { port: BACK_END_PORT, shows: Shown::OfContainer(container) },
    ]);
    plan(policy, report, Purpose::Renew, expects, steps)
}

/// The key link of a key that a plan makes: the vendor's profile (EXCHANGE.md 1.1).
pub fn vendor_link(container: &str) -> KeyLink {
    KeyLink { container: container.to_owned(), provider: String::new(), provider_type: 12, flags: 0x20, key_spec: 1 }
}

/// The certificate of `My` whose key is in `container`, not archived: the one that a plan made there.
pub fn of_container(report: &Report, container: &str) -> Option<CertificateId> {
    report
        .stores
        .known()?
        .iter()
        .find(|entry| {
            entry.store == Store::My
                && !entry.archived
                && matches!(&entry.key, Fact::Known(Some(link)) if link.container == container)
        })
        .map(|entry| entry.certificate)
}
