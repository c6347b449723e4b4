//! From sight to findings and one verdict.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bound::{Bound, Unfit};
use crate::certificate::{Certificate, PublicKey};
use crate::document::Policy;
use crate::finding::{Code, Finding, Verdict};
use crate::last::LastKnown;
use crate::report::{
    BACK_END_PORT, BACK_END_SITE, Fact, KeyState, ProbeOutcome, Report, Role, Setup, Sight, Store, StoreEntry, back_end_endpoint,
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
}

/// Judges what was seen, in the light of what was known before.
pub fn evaluate(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Assessment {
    let report = &sight.report;
    if let Some(why) = no_back_end(report) {
        return Assessment { verdict: Verdict::NotApplicable, findings: vec![finding(Code::NoBackEnd, [why])] };
    }
    let bound = Bound::of(sight);
    let mut findings = Vec::new();
    let verdict = chain(policy, sight, last, &bound, now, &mut findings);
    around(report, &mut findings);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.code.severity()), finding.code));
    Assessment { verdict, findings }
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
fn chain(
    policy: &Policy,
    sight: &Sight,
    last: &LastKnown,
    bound: &Bound<'_>,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Verdict {
    let presented = presented(&sight.report);
    match bound {
        Bound::Unknown(why) => {
            let evidence = [vec![(*why).to_owned()], unread(&sight.report)].concat();
            findings.push(Finding { code: Code::BackEndUnknown, evidence });
            // What can be said of the certificate is said all the same: recorded hosts show no keys.
            match named_certificate(sight) {
                Some(certificate) => judge_certificate(policy, sight, certificate, now, findings).unwrap_or(Verdict::Unknown),
                None => Verdict::Unknown,
            }
        }
        Bound::NoRecord => {
            findings.push(finding(
                Code::RecordMissing,
                [format!("http.sys has no record for {}", back_end_endpoint()), last_sentence(last)],
            ));
            restless(policy, last, bound, now, findings);
            Verdict::Unbound
        }
        Bound::Dangling { record, thumbprint } => {
            let named = thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string());
            let whither = thumbprint.map(|_| format!(", which is not in {}", record.store())).unwrap_or_default();
            findings.push(finding(
                Code::CertificateDeleted,
                [format!("the record {} names {named}{whither}", record.endpoint), last_sentence(last)],
            ));
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
            findings.push(finding(Code::KeyUnusable, [format!("the key of {} in {} is {state}", entry.thumbprint, entry.store)]));
            Verdict::KeyLost
        }
        Bound::Whole { record, entry, certificate } => {
            let judged = judge_certificate(policy, sight, certificate, now, findings);
            let differs = presented.iter().find(|presented| **presented != entry.certificate);
            if let Some(other) = differs {
                findings.push(finding(
                    Code::PresentedDiffers,
                    [format!(
                        "the record {} names {}, a handshake shows certificate {}",
                        record.endpoint,
                        entry.thumbprint,
                        other.short()
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

fn judge_certificate(
    policy: &Policy,
    sight: &Sight,
    certificate: &Certificate,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Option<Verdict> {
    let thumbprint = certificate.thumbprint();
    let ends = certificate.not_after();
    if certificate.signed_with_sha1() && certificate.self_issued() {
        findings.push(finding(
            Code::Sha1,
            [format!("{thumbprint} is signed with SHA-1, as Exchange Setup makes them; nobody verifies the signature of a self-signed certificate, and its renewal will be signed with SHA-256: nothing to do")],
        ));
    }
    match crate::bound::unfit(certificate, policy, &sight.report, now) {
        Some(Unfit::Distrusted) => {
            let by = if policy.compromised.contains(&thumbprint) {
                "the policy lists it as compromised"
            } else {
                "it is in the Disallowed store of the host"
            };
            findings.push(finding(Code::Distrusted, [format!("{thumbprint} on {BACK_END_PORT}: {by}")]));
            Some(Verdict::Distrusted)
        }
        Some(Unfit::OutOfDate) if now < certificate.not_before() => {
            findings.push(finding(
                Code::NotYetValid,
                [format!("{thumbprint} is valid from {}, and it is {now}", certificate.not_before())],
            ));
            Some(Verdict::Unknown)
        }
        Some(Unfit::OutOfDate) => {
            findings.push(finding(Code::Expired, [format!("{thumbprint} ended on {ends}")]));
            Some(Verdict::Expired)
        }
        Some(Unfit::Names) => {
            let wanted = sight.report.host.fqdn.known().map_or(sight.report.host.name.as_str(), String::as_str);
            findings.push(finding(
                Code::NamesMissing,
                [format!("{thumbprint} names {}, not {wanted}", certificate.names().join(", "))],
            ));
            expiring(policy, certificate, now, findings);
            Some(Verdict::Misnamed)
        }
        None => expiring(policy, certificate, now, findings).then_some(Verdict::Expiring),
    }
}

/// Says so when the certificate is near its end.
fn expiring(policy: &Policy, certificate: &Certificate, now: Timestamp, findings: &mut Vec<Finding>) -> bool {
    let ends = certificate.not_after();
    let near = policy.expiry.propose_at.before(ends) <= now;
    if near {
        let opens = policy.renewal_opens(ends);
        let opening = if opens <= now { "it may be renewed since" } else { "it may be renewed from" };
        findings.push(finding(Code::Expiring, [format!("{} ends on {ends}; {opening} {opens}", certificate.thumbprint())]));
    }
    near
}

/// Facts beside the chain that a restore or a reader needs.
fn around(report: &Report, findings: &mut Vec<Finding>) {
    if let Fact::Known(Setup::Running(what) | Setup::HalfFinished(what)) = &report.setup {
        findings.push(finding(Code::SetupAtWork, [what.clone()]));
    }
    if report.has_back_end_binding() == Some(false) {
        findings.push(finding(
            Code::SiteBindingMissing,
            [format!("applicationHost.config has no https binding *:444: on site \"{BACK_END_SITE}\"")],
        ));
    }
    if web_service_disabled(report) == Some(true) {
        findings.push(finding(Code::WebServiceDisabled, ["service W3SVC is disabled".to_owned()]));
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
    if let Some(why) = &report.hold {
        findings.push(finding(Code::AgentHeld, [why.clone()]));
    }
}

/// Whether W3SVC is disabled; `None` when that is unknown.
pub fn web_service_disabled(report: &Report) -> Option<bool> {
    // Windows compares service names without case, and its own tools write `W3Svc`.
    let mut services = report.services.known()?.iter();
    services.find(|(name, _)| name.eq_ignore_ascii_case("W3SVC"))?.1.disabled.known().copied()
}

/// Whether `Get-ExchangeCertificate` lists it, or why not (EXCHANGE.md 1.2; the filter is a hypothesis there).
///
/// # Errors
/// The rule of the filter that leaves it out.
pub fn exchange_lists(certificate: &Certificate, entry: &StoreEntry) -> Result<(), &'static str> {
    if !matches!(entry.store, Store::My | Store::Request) {
        return Err("it is not in the store MY");
    }
    if matches!(entry.key, Fact::Known(None)) {
        return Err("it has no private key");
    }
    if !matches!(certificate.key(), PublicKey::Rsa(_)) {
        return Err("its key is not RSA");
    }
    if certificate.allows_signing() == Some(false) {
        return Err("its key usage lacks digitalSignature, as IIS Manager makes them");
    }
    if certificate.allows_server() == Some(false) {
        return Err("its extended key usage lacks server authentication");
    }
    match entry.key_state {
        Fact::Known(KeyState::Missing | KeyState::Denied) => Err("its private key cannot be opened"),
        Fact::Known(KeyState::Usable | KeyState::NotLinked | KeyState::Foreign) | Fact::Unknown(_) => Ok(()),
    }
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
