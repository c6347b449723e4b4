//! What the policy allows for what was seen: a plan and under whose authority it may run, or why there is none.

use jiff::Timestamp;

use crate::bound::{Bound, Unfit, disallowed_known, distrusted};
use crate::certificate::Certificate;
use crate::document::{Allow, Mode, Policy};
use crate::duration::Span;
use crate::evaluate::{no_back_end, presented, web_service_disabled};
use crate::id::CertificateId;
use crate::last::{LastGood, LastKnown};
use crate::plan::{Expect, Plan, Purpose, Shown, Step, Values, container_name};
use crate::report::{BACK_END_PORT, BACK_END_SITE, Fact, KeyLink, Report, Setup, Sight, SslRecord, Store, StoreEntry};

/// What is to be done, by whose leave, and when it is worth asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to do.
    LeaveAlone {
        /// Why, in a sentence that names the rule.
        why: String,
        /// When time alone may change the answer.
        look_again: Option<Timestamp>,
    },
    /// Mode `observe`: what would have been done.
    WouldAct {
        /// The plan.
        plan: Plan,
        /// When it would have begun.
        at: Timestamp,
        /// Why not.
        why: String,
    },
    /// A person must approve.
    Propose {
        /// The plan.
        plan: Plan,
        /// Earliest begin.
        opens: Timestamp,
        /// Pages and ignores windows, never approvals.
        urgent: bool,
        /// Why.
        why: String,
    },
    /// The policy itself approves; the agent acts.
    Act {
        /// The plan.
        plan: Plan,
        /// End of the quiet time.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// Something is wrong, and nothing may be done about it yet.
    Hold {
        /// What forbids it, each a sentence.
        why: Vec<String>,
        /// When time alone may change the answer.
        look_again: Option<Timestamp>,
    },
}

impl Decision {
    /// The plan, whoever may run it.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::WouldAct { plan, .. } | Self::Propose { plan, .. } | Self::Act { plan, .. } => Some(plan),
            Self::LeaveAlone { .. } | Self::Hold { .. } => None,
        }
    }

    /// When time alone may change the answer.
    pub fn look_again(&self) -> Option<Timestamp> {
        match self {
            Self::LeaveAlone { look_again, .. } | Self::Hold { look_again, .. } => *look_again,
            Self::WouldAct { at, .. } | Self::Act { at, .. } => Some(*at),
            Self::Propose { opens, .. } => Some(*opens),
        }
    }

    /// The decision in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::LeaveAlone { .. } => "leave_alone",
            Self::WouldAct { .. } => "would_act",
            Self::Propose { .. } => "propose",
            Self::Act { .. } => "act",
            Self::Hold { .. } => "hold",
        }
    }

    /// Why, for people.
    pub fn why(&self) -> String {
        match self {
            Self::LeaveAlone { why, .. } | Self::WouldAct { why, .. } | Self::Propose { why, .. } | Self::Act { why, .. } => {
                why.clone()
            }
            Self::Hold { why, .. } => why.join("; "),
        }
    }
}

/// Decides what to do on one server.
pub fn decide(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Decision {
    if let Some(why) = no_back_end(&sight.report) {
        return Decision::LeaveAlone { why, look_again: None };
    }
    let bound = Bound::of(sight);
    match bound {
        Bound::Unknown(why) => Decision::Hold { why: vec![format!("{why}: what is unknown permits nothing")], look_again: None },
        Bound::NoRecord | Bound::Dangling { .. } => restore(policy, sight, last, &bound, now),
        Bound::KeyUnusable { entry, state, .. } => Decision::Hold {
            why: vec![format!("the key of {} is {state:?}: no step for this is known, a person must look", entry.thumbprint)],
            look_again: None,
        },
        Bound::Whole { record, entry, certificate } => renewal(policy, sight, record, entry, certificate, now),
    }
}

/// 444 is lost: the gentlest rung that puts back what was there.
fn restore(policy: &Policy, sight: &Sight, last: &LastKnown, bound: &Bound<'_>, now: Timestamp) -> Decision {
    let report = &sight.report;
    let mut why = prerequisites(report);
    let Some(good) = &last.good else {
        why.push("no good state of this server was ever seen, so there is nothing to put back: a person must look".to_owned());
        return Decision::Hold { why, look_again: None };
    };
    why.extend(unrestorable(policy, sight, good, bound, now));
    let hour = last.restores_since(Span::seconds(3_600).before(now));
    let day = last.restores.len();
    if hour >= policy.limits.restores_per_hour as usize || day >= policy.limits.restores_per_day as usize {
        why.push(format!("{hour} automatic restores in the last hour and {day} in the last day: something takes it away again, a person must look"));
    }
    let trouble_at = last.trouble.map_or(now, |trouble| trouble.changed);
    if !why.is_empty() {
        // Limits pass with time; everything else changes with a report.
        return Decision::Hold { why, look_again: Some(Span::seconds(3_600).after(now)) };
    }
    let Some(plan) = restore_plan(policy, report, good, bound) else {
        return Decision::Hold {
            why: vec!["the deleted certificate's key is not in its container: nothing recoverable, a new certificate is needed and a person must order it".to_owned()],
            look_again: None,
        };
    };
    let (quiet, what) = match bound {
        Bound::NoRecord => (policy.quiet.record_missing, "the record on 444 is gone"),
        Bound::Dangling { .. } | Bound::Unknown(_) | Bound::KeyUnusable { .. } | Bound::Whole { .. } => {
            (policy.quiet.dangling, "the certificate on 444 was deleted")
        }
    };
    let at = quiet.after(trouble_at);
    match policy.mode_of(&report.host) {
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

/// What must hold before anything is written on a host (rules of restraint 2 and 6).
fn prerequisites(report: &Report) -> Vec<String> {
    let mut why = Vec::new();
    if report.exchange.known().is_none() {
        why.push("version and roles of Exchange are unknown".to_owned());
    }
    match &report.setup {
        Fact::Known(Setup::Idle) => {}
        Fact::Known(Setup::Running(what)) => why.push(format!("Exchange setup is at work: {what}")),
        Fact::Known(Setup::HalfFinished(what)) => why.push(format!("Exchange setup is half-finished: {what}")),
        Fact::Unknown(reason) => why.push(format!("whether Exchange setup is at work is unknown: {reason}")),
    }
    let has_binding = report.sites.known().map(|sites| {
        sites.iter().any(|site| {
            site.name == BACK_END_SITE
                && site.bindings.iter().any(|binding| binding.protocol == "https" && binding.information == "*:444:")
        })
    });
    if has_binding != Some(true) {
        why.push(format!("the IIS site \"{BACK_END_SITE}\" is not known to have the https binding *:444:"));
    }
    match web_service_disabled(report) {
        Some(false) => {}
        Some(true) => why.push("service W3SVC is disabled: somebody wants it so".to_owned()),
        None => why.push("whether service W3SVC is disabled is unknown".to_owned()),
    }
    if report.host.machine_id.known().is_none() {
        why.push("the machine id is unknown".to_owned());
    }
    if let Some(reason) = &report.hold {
        why.push(format!("the agent on this host is held: {reason}"));
    }
    why
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
        Ok(certificate) => {
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
        }
    }
    if good.record.app_id.known().is_none() || good.record.parameters.known().is_none() {
        why.push("the last good record is not known with all its parameters".to_owned());
    }
    if let Bound::Dangling { record, thumbprint: named } = bound {
        // The record is somebody's; it is made whole only if it names what we remember.
        if *named != Some(thumbprint) || record.store() != good.record.store() {
            why.push(format!("the record on 444 names another certificate than the last good one, {thumbprint}: somebody wrote it, a person must look"));
        }
    }
    if presented(report).iter().any(|certificate| *certificate != good.entry.certificate) {
        why.push("a handshake on 444 shows another certificate: something else answers there".to_owned());
    }
    if report.records.known().into_iter().flatten().any(|record| record.port() == Some(BACK_END_PORT) && !record.is_back_end()) {
        why.push("another record exists on port 444".to_owned());
    }
    why
}

fn restore_plan(policy: &Policy, report: &Report, good: &LastGood, bound: &Bound<'_>) -> Option<Plan> {
    let store = good.record.store();
    let present = report.stores.known()?.iter().find(|entry| entry.store == store && entry.certificate == good.entry.certificate);
    let records: Vec<SslRecord> =
        report.records.known()?.iter().filter(|record| record.port() == Some(BACK_END_PORT)).cloned().collect();
    let mut expects = common_expects(report)?;
    expects.push(Expect::Records { port: BACK_END_PORT, records });
    let mut steps = Vec::new();
    let purpose = match present {
        Some(entry) => {
            if !entry.key_usable() {
                return None;
            }
            expects.push(expected(entry)?);
            Purpose::RestoreRecord
        }
        None => {
            let link = good.entry.key.known()?.clone()?;
            let held = report
                .containers
                .known()?
                .iter()
                .any(|container| container.name == link.container && container.key_id == Fact::Known(good.key_id));
            if !held {
                return None;
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
    Some(Plan {
        estate: policy.estate.clone(),
        host: report.host.name.clone(),
        machine_id: report.host.machine_id.known()?.clone(),
        purpose,
        attempt: 1,
        values: values(policy),
        expects,
        steps,
    })
}

fn values(policy: &Policy) -> Values {
    Values { key_bits: policy.certificate.key_bits, months: policy.certificate.months }
}

fn common_expects(report: &Report) -> Option<Vec<Expect>> {
    let fqdn = report.host.fqdn.known()?.clone();
    let metabase = report.metabase.known()?.clone();
    Some(vec![Expect::Fqdn(fqdn), Expect::Metabase(metabase)])
}

fn expected(entry: &StoreEntry) -> Option<Expect> {
    Some(Expect::Certificate {
        certificate: entry.certificate,
        store: entry.store.clone(),
        archived: entry.archived,
        key: entry.key.known()?.clone(),
        usable: entry.key_usable(),
    })
}

/// The chain holds: leave it alone, unless the certificate ends or must not be trusted.
fn renewal(
    policy: &Policy,
    sight: &Sight,
    record: &SslRecord,
    entry: &StoreEntry,
    certificate: &Certificate,
    now: Timestamp,
) -> Decision {
    let report = &sight.report;
    let ends = certificate.not_after();
    let excepted = policy.exception(&report.host.name, Allow::EarlyRenewal, now);
    let (opens, reason) = match crate::bound::unfit(certificate, policy, report, now) {
        Some(Unfit::Distrusted) => (now, "the certificate on 444 is distrusted".to_owned()),
        Some(Unfit::Names) => {
            return Decision::Hold {
                why: vec![
                    "the certificate on 444 does not name the server: it works and is left alone until a person orders a change"
                        .to_owned(),
                ],
                look_again: None,
            };
        }
        Some(Unfit::OutOfDate) if now < certificate.not_before() => {
            return Decision::Hold {
                why: vec![format!(
                    "the certificate on 444 is valid only from {}: a clock is wrong, nothing is made",
                    certificate.not_before()
                )],
                look_again: Some(certificate.not_before()),
            };
        }
        Some(Unfit::OutOfDate) => (policy.renewal_opens(ends), format!("the back-end certificate ended on {ends}")),
        None => match excepted {
            Some(exception) => (now, format!("excepted until {} by {}: {}", exception.until, exception.owner, exception.reason)),
            None => {
                let propose = policy.expiry.propose_at.before(ends);
                if now < propose {
                    return Decision::LeaveAlone {
                        why: format!(
                            "P1: present, bound, usable and fit until {ends}: left alone; renewal is proposed from {propose} and may run from {}",
                            policy.renewal_opens(ends)
                        ),
                        look_again: Some(propose),
                    };
                }
                (policy.renewal_opens(ends), format!("the back-end certificate ends on {ends}"))
            }
        },
    };
    let urgent = policy.expiry.urgent_at.before(ends) <= now;
    let mut why = prerequisites(report);
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
    match policy.mode_of(&report.host) {
        Mode::Observe => Decision::WouldAct {
            plan,
            at: opens,
            why: format!("{reason}; mode is observe: in mode propose or act a renewal would be proposed, to run from {opens}"),
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
    let unknown = |what: &str| format!("{what} is unknown: what is unknown permits nothing");
    let fqdn = report.host.fqdn.known().ok_or_else(|| unknown("the full name of the host"))?.clone();
    let label = fqdn.split('.').next().unwrap_or_default();
    if !label.eq_ignore_ascii_case(report.host.name.as_str()) || !fqdn.contains('.') {
        return Err(format!(
            "the names of the host disagree: NetBIOS {}, full name {fqdn}; nothing is made until they agree",
            report.host.name
        ));
    }
    let records = report.records.known().ok_or_else(|| unknown("the list of http.sys records"))?;
    if records.iter().any(|other| other.port() == Some(BACK_END_PORT) && !other.is_back_end()) {
        return Err("another record exists on port 444".to_owned());
    }
    if record.parameters.known().is_none() || record.app_id.known().is_none() {
        return Err(unknown("what else the record on 444 holds"));
    }
    let access = entry.key_access.known().ok_or_else(|| unknown("the access list of the outgoing key"))?.clone();
    let machine_id = report.host.machine_id.known().ok_or_else(|| unknown("the machine id"))?.clone();
    let container = container_name(&policy.estate, &report.host.name, BACK_END_PORT, certificate.id());
    let trusted = match report.entry(&Store::Root, certificate.thumbprint()) {
        Fact::Known(found) => found.is_some(),
        Fact::Unknown(_) => return Err(unknown("whether Root holds a copy")),
    };
    let mut expects = common_expects(report).ok_or_else(|| unknown("the metabase properties"))?;
    expects.push(Expect::Records { port: BACK_END_PORT, records: vec![record.clone()] });
    expects.push(expected(entry).ok_or_else(|| unknown("the key link of the outgoing certificate"))?);
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
        Step::Compare,
    ]);
    Ok(Plan {
        estate: policy.estate.clone(),
        host: report.host.name.clone(),
        machine_id,
        purpose: Purpose::Renew,
        attempt: 1,
        values,
        expects,
        steps,
    })
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
