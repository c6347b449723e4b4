//! IIS around the back end: bindings, sites, pools, and what metabase-style tools left behind.

use super::{Case, finding, named};
use crate::finding::{Code, Finding};
use crate::report::{AppPool, BACK_END_PORT, BACK_END_SITE, Binding, Fact, Site};

/// The front end's IIS site (EXCHANGE.md 2.1).
const FRONT_END_SITE: &str = "Default Web Site";

pub(super) fn iis(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { report, .. } = case;
    bindings(report.sites.known().map_or(&[], Vec::as_slice), findings);
    if let Fact::Known(Some(elsewhere)) = &report.machine.iis_redirected {
        findings.push(finding(
            Code::ConfigurationElsewhere,
            [format!("IIS reads {elsewhere}: bindings are read there and never written")],
        ));
    }
    let sites = report.sites.known().into_iter().flatten();
    let stopped = sites
        .filter(|site| [BACK_END_SITE, FRONT_END_SITE].contains(&site.name.as_str()) && site.running == Fact::Known(false))
        .map(|site| format!("the IIS site \"{}\" is stopped", site.name));
    let pools = report.machine.app_pools.known().into_iter().flatten();
    let pools = pools
        .filter(|(name, state)| name.starts_with("MSExchange") && **state == AppPool::Stopped)
        .map(|(name, _)| format!("the application pool {name} is stopped"));
    let stopped: Vec<String> = stopped.chain(pools).collect();
    if !stopped.is_empty() {
        findings.push(Finding { code: Code::SiteStopped, evidence: stopped });
    }
    metabase(case, findings);
}

fn bindings(sites: &[Site], findings: &mut Vec<Finding>) {
    let on_port = |site: &Site| -> Vec<Binding> {
        site.bindings
            .iter()
            .filter(|binding| binding.protocol == "https" && binding.port() == Some(BACK_END_PORT))
            .cloned()
            .collect()
    };
    let Some(back_end) = sites.iter().find(|site| site.name == BACK_END_SITE) else { return };
    let own = on_port(back_end);
    let tied: Vec<String> = own
        .iter()
        .filter(|binding| binding.information != format!("*:{BACK_END_PORT}:"))
        .map(|binding| {
            format!("the IIS site \"{BACK_END_SITE}\" is bound to {binding}; with Extended Protection that gives 0x80090346")
        })
        .collect();
    if !tied.is_empty() {
        findings.push(Finding { code: Code::BindingTied, evidence: tied });
    }
    let flagged: Vec<String> = own
        .iter()
        .filter(|binding| binding.ssl_flags & (Binding::SNI | Binding::CENTRAL_STORE) != 0)
        .map(|binding| {
            format!("the IIS site \"{BACK_END_SITE}\" is bound to {binding}; 1 is SNI, 2 the central certificate store")
        })
        .collect();
    if !flagged.is_empty() {
        findings.push(Finding { code: Code::BindingFlags, evidence: flagged });
    }
    let others: Vec<String> = sites
        .iter()
        .filter(|site| site.name != BACK_END_SITE && !on_port(site).is_empty())
        .map(|site| format!("the IIS site \"{}\" is bound to port {BACK_END_PORT} too: only one of the two can start", site.name))
        .collect();
    if !others.is_empty() {
        findings.push(Finding { code: Code::OtherSite, evidence: others });
    }
}

/// Layer C: what IIS Admin writes into http.sys again when it starts (EXCHANGE.md 2.2).
fn metabase(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Case { report, .. } = case;
    let Fact::Known(record) = report.back_end_record() else { return };
    let Some(site) = report.sites.known().into_iter().flatten().find(|site| site.name == BACK_END_SITE) else { return };
    let path = format!("LM/W3SVC/{}", site.id);
    let bound = record.and_then(|record| record.thumbprint);
    let stale: Vec<String> = report
        .metabase
        .known()
        .into_iter()
        .flatten()
        .filter(|binding| binding.path.eq_ignore_ascii_case(&path) && binding.thumbprint != bound)
        .map(|binding| {
            format!(
                "{} holds {}, the record on 444 names {}: IIS Admin writes its own again when it starts",
                binding.path,
                named(binding.thumbprint),
                named(bound)
            )
        })
        .collect();
    if !stale.is_empty() {
        findings.push(Finding { code: Code::StaleMetabase, evidence: stale });
    }
}
