//! From sight to findings and one verdict.
//!
//! [`chain`](self) follows record → store → key and judges the certificate at its end: that gives the verdict. What stands
//! beside it, each file of this folder finds for itself, and none of it changes the verdict. A fact that is unknown gives no
//! finding but the one that says so.

mod certificate;
mod changes;
mod differential;
mod front_end;
mod iis;
mod machine;
mod transport;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::certificate::exchange_lists;
use self::certificate::judge_certificate;
pub(crate) use self::front_end::front_end_certificates;
pub(crate) use self::machine::{JUST_NOW, LEFT_BEHIND};
use crate::bound::Bound;
use crate::certificate::Certificate;
use crate::document::Policy;
use crate::finding::{Code, Finding, Severity, Verdict};
use crate::id::Thumbprint;
use crate::last::LastKnown;
use crate::report::{
    BACK_END_PORT, BACK_END_SITE, KeyState, ProbeOutcome, Report, Role, Sight, SslRecord, Store, StoreEntry, back_end_endpoint,
};

/// What was concluded about one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The one most important cause.
    pub verdict: Verdict,
    /// Everything that deviates, the gravest first.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// Whether a finding of this code was made.
    pub fn has(&self, code: Code) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    /// The gravest of its findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.code.severity()).max()
    }

    /// With findings that others made of the same server, in order.
    #[must_use]
    pub fn with(mut self, more: Vec<Finding>) -> Self {
        self.findings.extend(more);
        self.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.code.severity()), finding.code));
        self
    }
}

/// What is judged.
#[derive(Clone, Copy)]
struct Case<'a> {
    policy: &'a Policy,
    sight: &'a Sight,
    report: &'a Report,
    last: &'a LastKnown,
    now: Timestamp,
}

/// Judges what was seen, in the light of what was known before.
pub fn evaluate(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Assessment {
    let report = &sight.report;
    if let Some(why) = no_back_end(report) {
        let mut findings = vec![finding(Code::NoBackEnd, [why])];
        if let Some(good) = &last.good {
            findings.push(finding(
                Code::Uninstalled,
                [format!("{} was on 444 of this host once: when it is decommissioned, remove its agent too", good.thumbprint())],
            ));
        }
        return Assessment { verdict: Verdict::NotApplicable, findings };
    }
    let case = Case { policy, sight, report, last, now };
    let bound = Bound::of(sight);
    let mut findings = Vec::new();
    let verdict = chain(&case, &bound, &mut findings);
    around(report, &mut findings);
    changes::changes(&case, &mut findings);
    certificate::notes(&case, &bound, &mut findings);
    front_end::front_end(&case, &mut findings);
    transport::transport(&case, &mut findings);
    transport::auth(&case, &mut findings);
    transport::unopenable(&case, &mut findings);
    iis::iis(&case, &mut findings);
    machine::machine(&case, &mut findings);
    differential::differential(&case, verdict, &mut findings);
    Assessment { verdict, findings: Vec::new() }.with(findings)
}

/// A thumbprint, or the word for none.
fn named(thumbprint: Option<Thumbprint>) -> String {
    thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string())
}

fn finding<const N: usize>(code: Code, evidence: [String; N]) -> Finding {
    Finding { code, evidence: evidence.into() }
}

/// Why this server has no back end; `None` when it has one, or when that is unknown.
pub fn no_back_end(report: &Report) -> Option<String> {
    let exchange = report.exchange.known()?;
    let has = exchange.roles.contains(&Role::Mailbox) || exchange.roles.contains(&Role::ClientAccess);
    if exchange.version.starts_with("14.") {
        return Some(format!("Exchange {} has one IIS site and no back end", exchange.version));
    }
    (!has).then(|| format!("Exchange {} is installed here without a mailbox or client access role", exchange.version))
}

/// The chain record → store → key, and the certificate at its end.
fn chain(case: &Case<'_>, bound: &Bound<'_>, findings: &mut Vec<Finding>) -> Verdict {
    let Case { policy, sight, report, last, now } = *case;
    let presented = presented(&sight.report);
    match bound {
        Bound::Unknown(why) => {
            let evidence = [vec![(*why).to_owned()], unread(&sight.report)].concat();
            findings.push(Finding { code: Code::BackEndUnknown, evidence });
            // What can be said of the certificate is said all the same: recorded hosts show no keys.
            match named_certificate(sight) {
                Some(certificate) => judge_certificate(case, certificate, findings).unwrap_or(Verdict::Unknown),
                None => Verdict::Unknown,
            }
        }
        Bound::NoRecord => {
            let mut evidence = vec![format!("http.sys has no record for {}", back_end_endpoint()), last_sentence(last)];
            evidence.extend(changes::who_unbound(report));
            findings.push(Finding { code: Code::RecordMissing, evidence });
            restless(policy, last, bound, now, findings);
            Verdict::Unbound
        }
        Bound::Dangling { record, thumbprint } => {
            let named = named(*thumbprint);
            let whither = thumbprint.map(|_| format!(", which is not in {}", record.store())).unwrap_or_default();
            let mut evidence = vec![format!("the record {} names {named}{whither}", record.endpoint)];
            let code = if let Some(entry) = in_my(report, record) {
                evidence.push(format!("{} is in MY: only the name of the store is wrong", entry.thumbprint));
                Code::WrongStore
            } else {
                evidence.push(last_sentence(last));
                evidence.extend(thumbprint.iter().flat_map(|thumbprint| changes::who_took(report, *thumbprint)));
                Code::CertificateDeleted
            };
            findings.push(Finding { code, evidence });
            // Known by its bytes when they are at hand, else by memory: also a server seen for the first time is warned.
            let still = presented.iter().any(|shown| match (thumbprint, sight.certificates.get(shown), &last.good) {
                (Some(named), Some(certificate), _) => certificate.thumbprint() == *named,
                (Some(named), None, Some(good)) => good.thumbprint() == *named && good.entry.certificate == *shown,
                (Some(_), None, None) | (None, _, _) => false,
            });
            if still {
                findings.push(finding(
                    Code::LostAtRestart,
                    [format!("{BACK_END_PORT} still shows {named}: http.sys keeps a loaded certificate until it restarts")],
                ));
            }
            restless(policy, last, bound, now, findings);
            Verdict::Deleted
        }
        Bound::KeyUnusable { entry, state, .. } => {
            let code = if *state == KeyState::NotLinked { Code::KeyLinkLost } else { Code::KeyUnusable };
            findings.push(finding(code, [format!("the key of {} in {} is {state}", entry.thumbprint, entry.store)]));
            Verdict::KeyLost
        }
        Bound::Whole { record, entry, certificate } => {
            let judged = judge_certificate(case, certificate, findings);
            let differs = presented.iter().find(|presented| **presented != entry.certificate);
            if let Some(other) = differs {
                findings.push(finding(
                    Code::PresentedDiffers,
                    [format!(
                        "the record {} names {}, a handshake shows {}",
                        record.endpoint,
                        entry.thumbprint,
                        shown_from(sight, other)
                    )],
                ));
            }
            let failures: Vec<String> = sight
                .report
                .probes
                .iter()
                .filter(|probe| probe.port == BACK_END_PORT)
                .filter_map(|probe| match &probe.outcome {
                    ProbeOutcome::NoHandshake(why) => Some(format!("{BACK_END_PORT} over {}: {why}", probe.path)),
                    ProbeOutcome::Refused => Some(format!("{BACK_END_PORT} over {}: nobody listens", probe.path)),
                    ProbeOutcome::Presented { .. } | ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => None,
                })
                .collect();
            let dead = !failures.is_empty();
            if dead {
                findings.push(Finding { code: Code::NoHandshake, evidence: failures });
            }
            match judged {
                Some(verdict @ (Verdict::Distrusted | Verdict::Expired)) => verdict,
                _ if dead => Verdict::Dead,
                _ if differs.is_some() => Verdict::Intercepted,
                Some(verdict) => verdict,
                None => Verdict::Healthy,
            }
        }
    }
}

/// Why facts that the chain hangs on were not read, in the words of whoever tried.
fn unread(report: &Report) -> Vec<String> {
    let facts = [("http.sys records", report.records.unknown()), ("certificate stores", report.stores.unknown())];
    facts.into_iter().filter_map(|(what, why)| Some(format!("{what}: {}", why?))).collect()
}

/// The certificate that the record names, wherever it was decoded, even when its key is unknown.
pub fn named_certificate(sight: &Sight) -> Option<&Certificate> {
    let record = sight.report.back_end_record();
    let record = (*record.known()?)?;
    let thumbprint = record.thumbprint?;
    let entry = sight.report.entry(&record.store(), thumbprint);
    let entry = (*entry.known()?)?;
    sight.certificates.get(&entry.certificate)
}

/// What stands on port 444 beside the chain.
fn around(report: &Report, findings: &mut Vec<Finding>) {
    if report.has_back_end_binding() == Some(false) {
        findings.push(finding(
            Code::SiteBindingMissing,
            [format!("applicationHost.config has no https binding *:444: on site \"{BACK_END_SITE}\"")],
        ));
    }
    let extra: Vec<String> = report
        .records
        .known()
        .into_iter()
        .flatten()
        .filter(|record| record.port() == Some(BACK_END_PORT) && !record.is_back_end())
        .map(|record| format!("record {} exists beside {}", record.endpoint, back_end_endpoint()))
        .collect();
    if !extra.is_empty() {
        findings.push(Finding { code: Code::ExtraRecord, evidence: extra });
    }
}

/// The entry of `MY` that a record means which looks for it in another store (R0b).
pub fn in_my<'a>(report: &'a Report, record: &SslRecord) -> Option<&'a StoreEntry> {
    if record.store() == Store::My {
        return None;
    }
    let entries = report.stores.known()?;
    entries.iter().find(|entry| entry.store == Store::My && Some(entry.thumbprint) == record.thumbprint)
}

/// A certificate that somebody else shows, with its issuer when it is at hand.
fn shown_from(sight: &Sight, certificate: &crate::id::CertificateId) -> String {
    match sight.certificates.get(certificate) {
        Some(found) => format!("{} issued by {}", found.thumbprint(), found.issuer()),
        None => format!("certificate {}", certificate.short()),
    }
}

/// Whether W3SVC is disabled; `None` when that is unknown.
pub fn web_service_disabled(report: &Report) -> Option<bool> {
    // Windows compares service names without case, and its own tools write `W3Svc`.
    let mut services = report.services.known()?.iter();
    services.find(|(name, _)| name.eq_ignore_ascii_case("W3SVC"))?.1.disabled.known().copied()
}

/// Whether IIS reads its configuration from elsewhere; `None` when that is unknown.
pub fn iis_redirected(report: &Report) -> Option<bool> {
    report.machine.iis_redirected.known().map(Option::is_some)
}

/// Certificates that handshakes on 444 showed.
pub fn presented(report: &Report) -> Vec<crate::id::CertificateId> {
    report
        .probes
        .iter()
        .filter(|probe| probe.port == BACK_END_PORT)
        .filter_map(|probe| match &probe.outcome {
            ProbeOutcome::Presented { certificate } => Some(*certificate),
            ProbeOutcome::Refused | ProbeOutcome::NoHandshake(_) | ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => {
                None
            }
        })
        .collect()
}

fn last_sentence(last: &LastKnown) -> String {
    match (&last.good, &last.trouble) {
        (Some(good), Some(trouble)) => {
            format!("last known good: {} in {}; lost since {}", good.thumbprint(), good.record.store(), trouble.since)
        }
        (Some(good), None) => format!("last known good: {} in {}", good.thumbprint(), good.record.store()),
        (None, _) => "no good state of this server was ever seen".to_owned(),
    }
}

/// The quiet time has not ended at its ceiling: somebody keeps changing what 444 hangs on.
fn restless(policy: &Policy, last: &LastKnown, bound: &Bound<'_>, now: Timestamp, findings: &mut Vec<Finding>) {
    if let Some(trouble) = last.trouble
        && policy.quiet.ceiling.after(trouble.since) <= now
        && now < bound.quiet(policy).after(trouble.changed)
    {
        findings.push(finding(
            Code::Restless,
            [format!("lost since {}, and something that {BACK_END_PORT} hangs on changed at {}", trouble.since, trouble.changed)],
        ));
    }
}
