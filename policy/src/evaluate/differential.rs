//! 444 is in order and OWA or ECP fail all the same: what else the report shows, in the order of EXCHANGE.md 3.4. A blank
//! page has many causes, and changing certificates cures none of these.

use super::changes::told;
use super::{Case, finding};
use crate::finding::{Code, Finding, Verdict};
use crate::report::EventKind;

/// Findings that explain a blank page and are not about 444.
const CAUSES: [Code; 9] = [
    Code::FrontEndDangling,
    Code::ServicesStopped,
    Code::SiteStopped,
    Code::OtherSite,
    Code::BindingTied,
    Code::TlsAtRestart,
    Code::FrontEndCng,
    Code::FrontEndExpired,
    Code::ManagedAvailability,
];

pub(super) fn differential(case: &Case<'_>, verdict: Verdict, findings: &mut Vec<Finding>) {
    let failures: Vec<String> = told(case.report, EventKind::WebFailure, |_| true).collect();
    if !matches!(verdict, Verdict::Healthy | Verdict::Expiring) || failures.is_empty() {
        return;
    }
    let causes: Vec<&str> =
        findings.iter().map(|found| found.code).filter(|code| CAUSES.contains(code)).map(Code::title).collect();
    let elsewhere = if causes.is_empty() {
        "nothing else that this host can see explains it: look at the Auth Certificate, at the TLS policies of the other servers, at the server that holds the mailbox, at canary data".to_owned()
    } else {
        format!("look there first: {}", causes.join("; "))
    };
    let mut found = finding(Code::NotTheCertificate, ["444 is in order: leave the certificate alone".to_owned(), elsewhere]);
    found.evidence.extend(failures);
    findings.push(found);
}
