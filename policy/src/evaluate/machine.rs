//! The machine: setup, updates, clock, services, names. What forbids a step, and what looks like 444's fault and is not.

use super::changes::told;
use super::{Case, finding, web_service_disabled};
use crate::decide::MOST_MINUTES;
use crate::duration::Span;
use crate::finding::{Code, Finding};
use crate::report::{EventKind, Fact, ProbeOutcome, Setup};

/// How long an update counts as one that has just been.
pub(crate) const JUST_NOW: Span = Span::days(1);

/// How long after its last run a half-finished setup counts as left behind.
pub(crate) const LEFT_BEHIND: Span = Span::days(14);

/// Services that Exchange needs, in the order in which they start (EXCHANGE.md 3.3).
const SERVICES: [&str; 22] = [
    "HTTP",
    "WAS",
    "IISAdmin",
    "W3Svc",
    "WinRM",
    "MSExchangeADTopology",
    "MSExchangeServiceHost",
    "MSExchangeHM",
    "MSExchangeDiagnostics",
    "MSExchangeIS",
    "MSExchangeRepl",
    "MSExchangeRPC",
    "MSExchangeThrottling",
    "MSExchangeDelivery",
    "MSExchangeSubmission",
    "MSExchangeMailboxAssistants",
    "MSExchangeMailboxReplication",
    "MSExchangeTransport",
    "MSExchangeFrontEndTransport",
    "MSExchangeTransportLogSearch",
    "MSExchangeEdgeSync",
    "MSExchangeHMRecovery",
];

pub(super) fn machine(case: &Case<'_>, findings: &mut Vec<Finding>) {
    setup(case, findings);
    services(case, findings);
    time(case, findings);
    names(case, findings);
    let machine = &case.report.machine;
    if let Some(parts) = machine.maintenance.known().filter(|parts| !parts.is_empty()) {
        findings.push(Finding {
            code: Code::Maintenance,
            evidence: parts.iter().map(|part| format!("{part}: proposals wait until it is over")).collect(),
        });
    }
    if let (Fact::Known(tls), Fact::Known(booted)) = (&machine.tls, &machine.booted)
        && let Some(changed) = tls.changed.filter(|changed| booted < changed)
    {
        findings.push(finding(
            Code::TlsAtRestart,
            [format!(
                "the TLS policy was changed at {changed}, Windows runs since {booted}: 444 may fail after the next restart"
            )],
        ));
    }
    let actions: Vec<String> = told(case.report, EventKind::RecoveryAction, |_| true).collect();
    if !actions.is_empty() {
        findings.push(Finding { code: Code::ManagedAvailability, evidence: actions });
    }
    if let Some(why) = &case.report.hold {
        findings.push(finding(Code::AgentHeld, [why.clone()]));
    }
}

fn setup(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { report, last, now, .. } = case;
    match &report.setup {
        Fact::Known(Setup::Running(what)) => findings.push(finding(Code::SetupAtWork, [what.clone()])),
        Fact::Known(Setup::HalfFinished(what)) => {
            findings.push(finding(Code::SetupAtWork, [what.clone()]));
            if let Fact::Known(Some(ran)) = report.machine.last_setup
                && LEFT_BEHIND.after(ran) <= *now
            {
                findings.push(finding(
                    Code::WatermarkLeft,
                    [format!(
                        "{what}, and setup last ran at {ran}: until somebody finishes it nothing is ever done on this host"
                    )],
                ));
            }
        }
        Fact::Known(Setup::Idle) | Fact::Unknown(_) => {}
    }
    if let Some(before) = last.went_back(*now) {
        let found = last.exchange.as_ref().map_or("unknown", |build| build.version.as_str());
        findings.push(finding(
            Code::WentBack,
            [format!("Exchange was {before} and is {found}, as after a restored snapshot or backup: nothing is done by itself for a week")],
        ));
    } else if let Some((before, at)) = last.exchange.as_ref().and_then(|build| build.changed.as_ref())
        && *now < JUST_NOW.after(*at)
    {
        let found = last.exchange.as_ref().map_or("unknown", |build| build.version.as_str());
        let mut evidence = vec![format!(
            "Exchange was {before} until {at} and is {found}; C:\\ExchangeSetupLogs\\ExchangeSetup.log says which certificate it took for which site"
        )];
        evidence.extend(told(report, EventKind::Update, |_| true));
        findings.push(Finding { code: Code::Updated, evidence });
    }
    if let Some(at) = last.rebuilt {
        findings.push(finding(
            Code::Rebuilt,
            [format!("another machine id under this name since {at}: what was known of the old installation is void, and a person admits the new one")],
        ));
    }
}

fn services(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { report, .. } = case;
    if web_service_disabled(report) == Some(true) {
        findings.push(finding(Code::WebServiceDisabled, ["service W3SVC is disabled".to_owned()]));
    }
    let Some(services) = report.services.known() else { return };
    let stopped: Vec<String> = SERVICES
        .iter()
        .filter_map(|name| services.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)))
        .filter(|(_, service)| service.running == Fact::Known(false) && service.disabled != Fact::Known(true))
        .map(|(name, _)| format!("service {name} does not run"))
        .collect();
    if !stopped.is_empty() {
        findings.push(Finding { code: Code::ServicesStopped, evidence: stopped });
    }
}

fn time(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if let Fact::Known(minutes) = case.report.machine.clock_ahead
        && minutes.unsigned_abs() > MOST_MINUTES
    {
        let way = if minutes > 0 { "ahead of" } else { "behind" };
        findings.push(finding(
            Code::ClockOff,
            [format!(
                "the clock is {} minutes {way} the domain's: no certificate is made with wrong dates",
                minutes.unsigned_abs()
            )],
        ));
    }
}

fn names(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { policy, report, .. } = case;
    let host = &report.host;
    if policy.given_name(&host.name).is_none()
        && let Fact::Known(fqdn) = &host.fqdn
        && !fqdn.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(host.name.as_str()))
    {
        findings.push(finding(
            Code::NamesDisagree,
            [format!(
                "NetBIOS says {}, the full name is {fqdn}: no certificate is made until they agree or the policy names one",
                host.name
            )],
        ));
    }
    let elsewhere: Vec<String> = report
        .probes
        .iter()
        .filter_map(|probe| match &probe.outcome {
            ProbeOutcome::Elsewhere(address) => Some(format!(
                "port {} over {}: {address} is none of this host's addresses, so what answers there says nothing",
                probe.port, probe.path
            )),
            ProbeOutcome::Presented { .. }
            | ProbeOutcome::Refused
            | ProbeOutcome::NoHandshake(_)
            | ProbeOutcome::Unreachable(_) => None,
        })
        .collect();
    if !elsewhere.is_empty() {
        findings.push(Finding { code: Code::NameElsewhere, evidence: elsewhere });
    }
    if host.dag.known().is_none() && host.ad_site.known().is_none() {
        findings.push(finding(
            Code::GroupUnknown,
            ["neither DAG nor AD site could be read: the server counts as one group with all others".to_owned()],
        ));
    }
}
