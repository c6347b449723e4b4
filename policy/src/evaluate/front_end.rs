//! The front end, 443. It is none of the policy's business, but users see it, and its troubles look like 444's.

use super::{Case, finding, named};
use crate::certificate::Certificate;
use crate::decide::taken_over;
use crate::finding::{Code, Finding};
use crate::last::FrontEnd;
use crate::report::{BACK_END_PORT, Fact, Sight, SslRecord, StoreEntry};

/// The port of the web management service (EXCHANGE.md 1.6).
const MANAGEMENT_PORT: u16 = 8172;

pub(super) fn front_end(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { sight, report, last, now, .. } = case;
    let records: Vec<&SslRecord> = report.records.known().into_iter().flatten().collect();
    let own: Vec<&SslRecord> = records.iter().copied().filter(|record| record.is_front_end()).collect();
    if let Some(FrontEnd { records: remembered, thumbprint, before }) = &last.front_end {
        let taken: Vec<String> = remembered
            .iter()
            .filter_map(|wanted| match own.iter().find(|record| record.endpoint == wanted.endpoint) {
                None => Some(format!("{} had {thumbprint} and has no record", wanted.endpoint)),
                Some(found) if taken_over(sight, found) => {
                    Some(format!("{} had {thumbprint} and names {}", wanted.endpoint, named(found.thumbprint)))
                }
                Some(_) => None,
            })
            .collect();
        if !taken.is_empty() && report.records.known().is_some() {
            findings.push(Finding { code: Code::FrontEndTaken, evidence: taken });
        } else if let Some((before, at)) = before {
            findings.push(finding(
                Code::FrontEndChanged,
                [format!(
                    "443 shows {thumbprint} since {at}, before that {before}; 444 is another site with a certificate of its own, and the names of the server are not needed on 443"
                )],
            ));
        }
    }
    let dangling = |record: &SslRecord| {
        let entry = record.thumbprint.map(|thumbprint| report.entry(&record.store(), thumbprint));
        matches!(entry, Some(Fact::Known(None)))
    };
    let gone: Vec<String> = own
        .iter()
        .filter(|record| dangling(record))
        .map(|record| format!("{} names {}, which is not in {}", record.endpoint, named(record.thumbprint), record.store()))
        .collect();
    if !gone.is_empty() {
        findings.push(Finding { code: Code::FrontEndDangling, evidence: gone });
    }
    let management: Vec<String> = records
        .iter()
        .filter(|record| record.port() == Some(MANAGEMENT_PORT))
        .filter(|record| dangling(record))
        .map(|record| {
            format!("{} names {}: the next cumulative update will stop for it", record.endpoint, named(record.thumbprint))
        })
        .collect();
    if !management.is_empty() {
        findings.push(Finding { code: Code::ManagementDangling, evidence: management });
    }
    for (entry, certificate) in entries(sight) {
        if certificate.not_after() <= *now {
            findings.push(finding(
                Code::FrontEndExpired,
                [format!(
                    "{} on 443 ended on {}: a cumulative update stops half-way for it",
                    certificate.thumbprint(),
                    certificate.not_after()
                )],
            ));
        }
        if matches!(&entry.key, Fact::Known(Some(link)) if link.provider_type == 0) {
            findings.push(finding(
                Code::FrontEndCng,
                [format!(
                    "the key of {} on 443 is in a CNG provider: OWA and ECP go round in circles at the logon; import it again with a CSP",
                    certificate.thumbprint()
                )],
            ));
        }
    }
    shared(case, &own, findings);
}

/// One certificate on both ends: normal on a fresh server, and otherwise worth knowing.
fn shared(case: &Case<'_>, own: &[&SslRecord], findings: &mut Vec<Finding>) {
    let Case { sight, report, .. } = case;
    let Fact::Known(Some(back)) = report.back_end_record() else { return };
    let Some(thumbprint) = back.thumbprint else { return };
    if !own.iter().any(|record| record.thumbprint == Some(thumbprint)) {
        return;
    }
    let from_ca = super::named_certificate(sight).is_some_and(|certificate| !certificate.self_issued());
    let reading = if from_ca {
        "whatever renews it for 443 may move it on 444 too"
    } else {
        "on a server that never had another certificate this is how Setup leaves it"
    };
    findings.push(finding(Code::SharedWithFrontEnd, [format!("{thumbprint} is on 443 and on {BACK_END_PORT}: {reading}")]));
}

/// Entries and certificates that the front end's records name.
fn entries(sight: &Sight) -> Vec<(&StoreEntry, &Certificate)> {
    let report = &sight.report;
    let mut found: Vec<(&StoreEntry, &Certificate)> = Vec::new();
    for record in report.records.known().into_iter().flatten().filter(|record| record.is_front_end()) {
        let Some(thumbprint) = record.thumbprint else { continue };
        let Fact::Known(Some(entry)) = report.entry(&record.store(), thumbprint) else { continue };
        let Some(certificate) = sight.certificates.get(&entry.certificate) else { continue };
        if !found.iter().any(|(known, _)| known.certificate == entry.certificate) {
            found.push((entry, certificate));
        }
    }
    found
}

/// Certificates that the front end's records name.
pub(crate) fn front_end_certificates(sight: &Sight) -> impl Iterator<Item = &Certificate> {
    entries(sight).into_iter().map(|(_, certificate)| certificate)
}
