//! The certificate on 444 itself: its trust, dates and names, which make the verdict, and what is only worth a note.

use jiff::Timestamp;

use super::{Case, finding};
use crate::bound::{Bound, Unfit, names_fit};
use crate::certificate::{Certificate, PublicKey};
use crate::document::Policy;
use crate::finding::{Code, Finding, Verdict};
use crate::report::{BACK_END_PORT, Fact, KeyState, Store, StoreEntry};

/// The friendly name that Setup gives (EXCHANGE.md 1.1).
const FRIENDLY_NAME: &str = "Microsoft Exchange";

/// Judges the certificate at the end of the chain, by trust, dates and names.
pub(super) fn judge_certificate(case: &Case<'_>, certificate: &Certificate, findings: &mut Vec<Finding>) -> Option<Verdict> {
    let Case { policy, sight, now, .. } = *case;
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
            if certificate.self_issued() {
                findings.push(finding(
                    Code::HostRenamed,
                    [format!(
                        "{thumbprint} is self-signed for {}, and this host is {wanted}: an Exchange server must not be renamed or cloned",
                        certificate.names().join(", ")
                    )],
                ));
            }
            expiring(policy, certificate, now, findings);
            Some(Verdict::Misnamed)
        }
        None => expiring(policy, certificate, now, findings).then_some(Verdict::Expiring),
    }
}

/// Says so when the certificate is near its end.
fn expiring(policy: &Policy, certificate: &Certificate, now: Timestamp, findings: &mut Vec<Finding>) -> bool {
    let ends = certificate.not_after();
    if let Some(why) = policy.no_window_before(ends, now) {
        findings.push(finding(Code::NoWindow, [format!("{}: {why}", certificate.thumbprint())]));
    }
    let near = policy.proposes_from(ends) <= now;
    if near {
        let opens = policy.renewal_opens(ends);
        let opening = if opens <= now { "it may be renewed since" } else { "it may be renewed from" };
        findings.push(finding(Code::Expiring, [format!("{} ends on {ends}; {opening} {opens}", certificate.thumbprint())]));
    }
    near
}

/// What is worth knowing about a certificate that serves.
pub(super) fn notes(case: &Case<'_>, bound: &Bound<'_>, findings: &mut Vec<Finding>) {
    let Case { policy, sight, report, .. } = case;
    let alike: Vec<String> = report
        .stores
        .known()
        .into_iter()
        .flatten()
        .filter(|entry| entry.store == Store::My && entry.friendly_name == Fact::Known(Some(FRIENDLY_NAME.to_owned())))
        .map(|entry| entry.thumbprint.to_string())
        .collect();
    if alike.len() > 1 {
        findings.push(finding(
            Code::SameFriendlyName,
            [format!("{}: only the record on {BACK_END_PORT} tells which one serves", alike.join(", "))],
        ));
    }
    let Bound::Whole { entry, certificate, .. } = bound else { return };
    let thumbprint = certificate.thumbprint();
    if entry.archived {
        findings.push(finding(
            Code::Archived,
            [format!("{thumbprint} in {} is archived: hidden from every list, still found by its hash", entry.store)],
        ));
    }
    if !certificate.self_issued() && names_fit(certificate, policy, report) {
        findings.push(finding(
            Code::FromAuthority,
            [format!(
                "{thumbprint} was issued by {} and names the server: accepted; what renews it may move or archive it, and it is never put back by itself",
                certificate.issuer()
            )],
        ));
    }
    if let Err(reason) = exchange_lists(certificate, entry) {
        findings.push(finding(
            Code::NotListed,
            [format!("{thumbprint} serves 444 and Get-ExchangeCertificate leaves it out, since {reason}; it ends on {} and no Exchange tool will say so", certificate.not_after())],
        ));
    }
    let setup_made = certificate.self_issued() && certificate.signed_with_sha1();
    if setup_made && matches!(sight.report.entry(&Store::Root, thumbprint), Fact::Known(None)) {
        findings.push(finding(
            Code::RootCopyMissing,
            [format!("Setup puts a copy of {thumbprint} into Root and there is none: harmless, unless AllowInternalUntrustedCerts was switched off")],
        ));
    }
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
