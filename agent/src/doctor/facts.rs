//! What one look has read already: a check for each part of the report. Pure.

use std::collections::BTreeMap;

use policy::id::Thumbprint;
use policy::report::{AuthCertificates, BACK_END_SITE, Exchange, Fact, Report, Service, Setup};

use super::{Attempt, Checks, Trouble};

const ELEVATE: &str = "run doctor as an administrator, or as SYSTEM";

/// Beyond so many minutes Kerberos refuses to know this machine.
const SKEW: u32 = 5;

/// Notes every part of the report that a renewal rests on, and those that are good to have.
pub(super) fn note(checks: &mut Checks, report: &Report) {
    let host = &report.host;
    let machine = &report.machine;
    let text = |fact: &Fact<String>| said(fact, String::clone);
    checks.note(Attempt::needed("host.machine_id", ELEVATE), text(&host.machine_id));
    let dns = "give this machine a primary DNS suffix, or name it in the policy: [[name]]";
    checks.note(Attempt::useful("host.full_name", dns), text(&host.fqdn));
    checks.note(Attempt::needed("exchange.version", "is this an Exchange server?"), exchange(&report.exchange));
    checks.note(Attempt::needed("exchange.setup", ELEVATE), said(&report.setup, setup));
    checks.note(Attempt::useful("services", ELEVATE), said(&report.services, services));
    let site = "look at the bindings of IIS site \"Exchange Back End\": https *:444:";
    checks.note(Attempt::needed("iis.site", site), iis_site(report));
    checks.note(
        Attempt::needed("iis.metabase", ELEVATE),
        said(&report.metabase, |left| format!("{} left-over hashes", left.len())),
    );
    let nltest = "nltest /dsgetsite on this host";
    checks.note(Attempt::useful("directory.site", nltest), text(&host.ad_site));
    checks.note(Attempt::useful("directory.forest", "nltest /dsgetdc: on this host"), text(&machine.forest));
    let group = |group: &Option<String>| group.clone().unwrap_or_else(|| "in no database availability group".to_owned());
    checks.note(Attempt::useful("directory.dag", "Get-Service ClusSvc"), said(&host.dag, group));
    let rights = "may this computer's account read Exchange's objects in the directory? Get-TransportService, Get-AuthConfig";
    let named = |thumbprint: &Option<Thumbprint>| thumbprint.map_or_else(|| "none".to_owned(), |named| named.to_string());
    checks.note(Attempt::useful("directory.transport", rights), said(&machine.transport, named));
    let auth = |auth: &AuthCertificates| format!("{}, next {}", named(&auth.current), named(&auth.next));
    checks.note(Attempt::useful("directory.auth", rights), said(&machine.auth, auth));
    checks.note(Attempt::useful("tls_policy", ELEVATE), said(&machine.tls, |tls| format!("{} values are set", tls.values.len())));
    checks.note(Attempt::useful("clock", "w32tm /query /status"), clock(&machine.clock_ahead));
    let events = |events: &Vec<_>| format!("{} of the last week matter", events.len());
    checks.note(Attempt::useful("events", "may this account read the log System?"), said(&machine.events, events));
}

fn said<T>(fact: &Fact<T>, say: impl FnOnce(&T) -> String) -> Result<String, Trouble> {
    match fact {
        Fact::Known(value) => Ok(say(value)),
        Fact::Unknown(why) => Err(Trouble::Lacks(why.clone())),
    }
}

fn exchange(exchange: &Fact<Exchange>) -> Result<String, Trouble> {
    if exchange.known().is_some_and(|exchange| exchange.version == "none") {
        return Err(Trouble::Lacks("Exchange 2013 or later: the registry has no ExchangeServer\\v15".to_owned()));
    }
    said(exchange, |Exchange { version, roles }| {
        let roles: Vec<String> = roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        format!("Exchange {version}, {}", if roles.is_empty() { "without a role".to_owned() } else { roles.join(" and ") })
    })
}

fn setup(setup: &Setup) -> String {
    match setup {
        Setup::Idle => "no setup is at work".to_owned(),
        Setup::Running(program) => format!("{program} is at work: a renewal waits for its end"),
        Setup::HalfFinished(what) => format!("half-finished ({what}): a renewal waits until setup has been run to its end"),
    }
}

fn services(services: &BTreeMap<String, Service>) -> String {
    let runs = services.values().filter(|service| service.running == Fact::Known(true)).count();
    let web = services.get("W3SVC").map_or("there is no W3SVC", |service| match service.running {
        Fact::Known(true) => "W3SVC runs",
        Fact::Known(false) => "W3SVC does not run",
        Fact::Unknown(_) => "whether W3SVC runs is not known",
    });
    format!("{} services, {runs} of them run; {web}", services.len())
}

fn iis_site(report: &Report) -> Result<String, Trouble> {
    match report.has_back_end_binding() {
        None => Err(Trouble::Lacks(report.sites.unknown().unwrap_or("IIS").to_owned())),
        Some(true) => Ok(format!("site \"{BACK_END_SITE}\" is bound to *:444:")),
        Some(false) => Err(Trouble::Wrong(format!("expected a site \"{BACK_END_SITE}\" with https on *:444:, found none"))),
    }
}

fn clock(ahead: &Fact<i32>) -> Result<String, Trouble> {
    match ahead {
        Fact::Known(minutes) if minutes.unsigned_abs() > SKEW => {
            Err(Trouble::Wrong(format!("expected the time of the domain, found a clock that is {minutes} minutes ahead of it")))
        }
        Fact::Known(minutes) => Ok(format!("{minutes} minutes ahead of the domain")),
        Fact::Unknown(why) => Err(Trouble::Lacks(why.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use policy::checkup::Check;
    use policy::report::{Binding, Host, Machine, Role, Site};

    use super::*;

    fn unknown() -> Report {
        let host = Host {
            name: "EX1".parse().expect("a name"),
            fqdn: Fact::not_observed(),
            machine_id: Fact::not_observed(),
            ad_site: Fact::not_observed(),
            dag: Fact::not_observed(),
        };
        Report {
            host,
            exchange: Fact::not_observed(),
            setup: Fact::not_observed(),
            stores: Fact::not_observed(),
            containers: Fact::not_observed(),
            records: Fact::not_observed(),
            sites: Fact::not_observed(),
            metabase: Fact::not_observed(),
            services: Fact::not_observed(),
            machine: Machine::not_observed(),
            probes: Vec::new(),
            hold: None,
        }
    }

    fn checked(report: &Report) -> BTreeMap<String, Check> {
        let mut checks = Checks::default();
        note(&mut checks, report);
        checks.into_all().into_iter().map(|check| (check.name.clone(), check)).collect()
    }

    #[test]
    fn what_was_not_read_is_unproven_and_says_why() {
        let checks = checked(&unknown());
        assert!(checks.values().all(|check| check.outcome.as_str() == "unproven"), "{checks:?}");
        assert!(checks.values().all(|check| check.outcome.text() == "not observed"), "{checks:?}");
        assert!(checks["exchange.version"].is_finding() && !checks["directory.forest"].is_finding());
    }

    #[test]
    fn what_was_read_is_said_in_a_line() {
        let mut report = unknown();
        let exchange = Exchange { version: "15.1.2507.6".to_owned(), roles: BTreeSet::from([Role::Mailbox]) };
        report.exchange = Fact::Known(exchange);
        report.setup = Fact::Known(Setup::Running("ExSetup.exe".to_owned()));
        report.services = Fact::Known(BTreeMap::from([(
            "W3SVC".to_owned(),
            Service { running: Fact::Known(false), disabled: Fact::Known(true) },
        )]));
        report.machine.clock_ahead = Fact::Known(-3);
        report.machine.transport = Fact::Known(Some(Thumbprint([0xAB; 20])));
        report.machine.auth = Fact::Known(AuthCertificates { current: Some(Thumbprint([0xCD; 20])), next: None });
        let binding = Binding { protocol: "https".to_owned(), information: "*:444:".to_owned(), ssl_flags: 0 };
        let site = Site { id: 2, name: BACK_END_SITE.to_owned(), bindings: vec![binding], running: Fact::not_observed() };
        report.sites = Fact::Known(vec![site]);
        let checks = checked(&report);
        let text = |name: &str| (checks[name].outcome.as_str(), checks[name].outcome.text());
        assert_eq!(text("exchange.version"), ("proven", "Exchange 15.1.2507.6, mailbox"));
        assert_eq!(text("exchange.setup"), ("proven", "ExSetup.exe is at work: a renewal waits for its end"));
        assert_eq!(text("services"), ("proven", "1 services, 0 of them run; W3SVC does not run"));
        assert_eq!(text("iis.site"), ("proven", "site \"Exchange Back End\" is bound to *:444:"));
        assert_eq!(text("directory.transport"), ("proven", "AB".repeat(20).as_str()));
        assert_eq!(text("directory.auth"), ("proven", format!("{}, next none", "CD".repeat(20)).as_str()));
        assert_eq!(text("clock"), ("proven", "-3 minutes ahead of the domain"));
    }

    #[test]
    fn a_site_without_its_binding_and_a_wrong_clock_are_named() {
        let mut report = unknown();
        report.sites = Fact::Known(Vec::new());
        report.machine.clock_ahead = Fact::Known(-6);
        let checks = checked(&report);
        assert_eq!((checks["iis.site"].outcome.as_str(), checks["clock"].outcome.as_str()), ("failed", "failed"));
    }
}
