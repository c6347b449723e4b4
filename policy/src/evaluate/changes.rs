//! What others did: to the certificate of 444, again and again, and who.

use super::{Case, named};
use crate::finding::{Code, Finding};
use crate::id::Thumbprint;
use crate::last::Replaced;
use crate::report::{Event, EventKind, Report, back_end_endpoint};

pub(super) fn changes(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { report, last, .. } = case;
    if let Some(Replaced { before, at }) = &last.replaced
        && let Some(good) = &last.good
    {
        let mut evidence = vec![format!(
            "444 names {} since {at}, before that {}: what works is left alone; to have the former one back a person must order it",
            good.thumbprint(),
            before.thumbprint()
        )];
        evidence.extend(told(report, EventKind::RecordWritten, |event| event.object.as_deref() == Some(&back_end_endpoint())));
        evidence.extend(told(report, EventKind::CertificateReplaced, |event| event.thumbprint == Some(before.thumbprint())));
        findings.push(Finding { code: Code::Replaced, evidence });
    }
    if last.restores.len() > 1 {
        let times: Vec<String> = last.restores.iter().map(ToString::to_string).collect();
        let mut evidence = vec![format!("put back at {}, and taken away again", times.join(" and at "))];
        evidence.extend(suspects(report));
        findings.push(Finding { code: Code::Flapping, evidence });
    }
    if last.foreign.len() > 1 {
        let times: Vec<String> = last.foreign.iter().map(ToString::to_string).collect();
        let mut evidence = vec![format!(
            "others put another certificate on 444 at {}: hand 444 over to one of them, or stop it",
            times.join(" and at ")
        )];
        evidence.extend(suspects(report));
        findings.push(Finding { code: Code::OtherManager, evidence });
    }
}

/// Who deleted or archived this certificate, as the life-cycle log says.
pub(super) fn who_took(report: &Report, thumbprint: Thumbprint) -> Vec<String> {
    let about = |event: &Event| event.thumbprint == Some(thumbprint);
    let deleted = told(report, EventKind::CertificateDeleted, about);
    deleted.chain(told(report, EventKind::CertificateArchived, about)).collect()
}

/// Who deleted the record of 444, as the system log says.
pub(super) fn who_unbound(report: &Report) -> Vec<String> {
    told(report, EventKind::RecordDeleted, |event| event.object.as_deref() == Some(&back_end_endpoint())).collect()
}

/// What may write 444 behind everybody's back.
fn suspects(report: &Report) -> Vec<String> {
    let metabase = report.metabase.known().into_iter().flatten();
    let stale =
        metabase.map(|binding| format!("{} holds {} in its metabase properties", binding.path, named(binding.thumbprint)));
    let written = told(report, EventKind::RecordWritten, |_| true);
    stale.chain(written).take(8).collect()
}

/// Events of one kind in words.
pub(super) fn told<'a>(
    report: &'a Report,
    kind: EventKind,
    about: impl Fn(&Event) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    let events = report.machine.events.known().into_iter().flatten();
    events.filter(move |event| event.kind == kind && about(event)).map(
        |Event { at, kind, thumbprint, object, process, account }| {
            let what = match kind {
                EventKind::CredentialFailed => "http.sys could not use the certificate",
                EventKind::RecordDeleted => "the record was deleted",
                EventKind::RecordWritten => "the record was written",
                EventKind::KeyFailed => "the private key could not be used",
                EventKind::CertificateDeleted => "the certificate was deleted",
                EventKind::CertificateArchived => "the certificate was archived",
                EventKind::CertificateInstalled => "the certificate was installed",
                EventKind::CertificateReplaced => "the certificate was replaced, which has IIS rebind it",
                EventKind::TransportCertificate => "transport missed its certificate",
                EventKind::RecoveryAction => "a recovery action",
                EventKind::WebFailure => "a web failure",
                EventKind::Update => "an update",
            };
            let mut text = format!("{at}: {what}");
            for (word, value) in [(" ", object), (" by ", process), (" as ", account)] {
                if let Some(value) = value {
                    text.push_str(word);
                    text.push_str(value);
                }
            }
            if let Some(thumbprint) = thumbprint {
                text.push_str(&format!(" ({thumbprint})"));
            }
            text
        },
    )
}
