//! Other consumers of certificates: transport, the Auth Certificate, Exchange's own list. The agent changes none of them.

use super::{Case, finding};
use crate::duration::Span;
use crate::finding::{Code, Finding};
use crate::report::{Fact, KeyState, Store};

/// NETWORK SERVICE, as which transport runs (EXCHANGE.md 1.4).
const NETWORK_SERVICE: &str = "S-1-5-20";

/// How near two ends are to be one entry in the calendar.
const SAME_WEEKS: Span = Span::days(60);

pub(super) fn transport(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { report, .. } = case;
    let Fact::Known(Some(thumbprint)) = report.machine.transport else { return };
    match report.entry(&Store::My, thumbprint) {
        Fact::Known(None) => findings.push(finding(
            Code::TransportMissing,
            [format!(
                "Active Directory names {thumbprint} as the internal transport certificate of this server, and MY does not hold it: event 12014, mail between servers may stand still; a new one is a decision for the owner of mail"
            )],
        )),
        Fact::Known(Some(entry)) => {
            let reads = |access: &Vec<crate::report::Access>| access.iter().any(|one| one.sid == NETWORK_SERVICE);
            if entry.key_usable() && entry.key_access.known().is_some_and(|access| !reads(access)) {
                findings.push(finding(
                    Code::TransportDenied,
                    [format!("NETWORK SERVICE ({NETWORK_SERVICE}) may not read the key of {thumbprint}: transport cannot use it (event 12014); 444 does not need this")],
                ));
            }
        }
        Fact::Unknown(_) => {}
    }
}

pub(super) fn auth(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { sight, report, .. } = case;
    let Some(own) = super::named_certificate(sight) else { return };
    let Some(current) = report.machine.auth.known().and_then(|auth| auth.current) else { return };
    if current == own.thumbprint() {
        findings.push(finding(
            Code::IsAuthCertificate,
            [format!("{current} is on 444 and Get-AuthConfig names it: it is never renewed or retired here; MonitorExchangeAuthCertificate.ps1 makes a proper one")],
        ));
        return;
    }
    let Some(auth) = sight.certificates.values().find(|certificate| certificate.thumbprint() == current) else { return };
    let (ends, own_ends) = (auth.not_after(), own.not_after());
    if ends <= own_ends && SAME_WEEKS.before(own_ends) <= ends {
        findings.push(finding(
            Code::AuthEndsToo,
            [format!("the Auth Certificate {current} ends on {ends}, the back-end certificate on {own_ends}: one entry in the calendar, two owners")],
        ));
    }
}

pub(super) fn unopenable(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let bad: Vec<String> = case
        .report
        .stores
        .known()
        .into_iter()
        .flatten()
        .filter(|entry| entry.store == Store::My && matches!(&entry.key, Fact::Known(Some(link)) if link.provider_type == 0))
        .filter(|entry| matches!(entry.key_state, Fact::Known(KeyState::Missing | KeyState::Denied)))
        .map(|entry| {
            format!(
                "the CNG key of {} in MY cannot be opened: one such certificate can make all of Get-ExchangeCertificate fail",
                entry.thumbprint
            )
        })
        .collect();
    if !bad.is_empty() {
        findings.push(Finding { code: Code::UnopenableCng, evidence: bad });
    }
}
