//! Every value of a policy that is in effect.

use std::collections::BTreeMap;

use policy::document::{Action, Exception, Group, Name, Policy};
use policy::duration::Span;
use policy::id::PolicyId;
use serde::Serialize;

/// Every value of a policy that is in effect, defaults included, by its key.
#[derive(Debug, Serialize)]
pub(crate) struct InEffect {
    estate: String,
    version: u64,
    id: PolicyId,
    previous: Option<PolicyId>,
    mode: &'static str,
    rehearse_every: String,
    expiry: BTreeMap<&'static str, String>,
    quiet: BTreeMap<&'static str, String>,
    actions: BTreeMap<&'static str, &'static str>,
    waves: BTreeMap<&'static str, String>,
    peers: BTreeMap<&'static str, String>,
    limits: BTreeMap<&'static str, String>,
    certificate: BTreeMap<&'static str, String>,
    groups: Vec<String>,
    windows: Vec<String>,
    freezes: Vec<String>,
    names: Vec<String>,
    compromised: Vec<String>,
    exceptions: Vec<String>,
}

impl InEffect {
    pub(crate) fn of(policy: &Policy) -> Self {
        let Policy {
            id,
            estate,
            version,
            previous,
            expiry,
            quiet,
            mode,
            rehearse_every,
            actions,
            groups,
            windows,
            freezes,
            waves,
            peers,
            limits,
            certificate,
            names,
            compromised,
            exceptions,
        } = policy;
        Self {
            estate: estate.to_string(),
            version: *version,
            id: *id,
            previous: *previous,
            mode: mode.as_str(),
            rehearse_every: rehearse_every.unwrap_or(Span::days(0)).to_string(),
            expiry: [
                ("propose_at", expiry.propose_at.to_string()),
                ("renew_before", expiry.renew_before.to_string()),
                ("urgent_at", expiry.urgent_at.to_string()),
            ]
            .into(),
            quiet: [
                ("record_missing", quiet.record_missing.to_string()),
                ("dangling", quiet.dangling.to_string()),
                ("ceiling", quiet.ceiling.to_string()),
            ]
            .into(),
            actions: Action::ALL.map(|action| (action.as_str(), actions.of(action).as_str())).into(),
            waves: [
                ("group_by", waves.group_by.as_str().to_owned()),
                ("at_once", waves.at_once.to_string()),
                ("soak", waves.soak.to_string()),
            ]
            .into(),
            peers: [("count", peers.count.to_string()), ("every", peers.every.to_string())].into(),
            limits: [
                ("restores_per_hour", limits.restores_per_hour.to_string()),
                ("restores_per_day", limits.restores_per_day.to_string()),
                ("authority_days", limits.authority_days.to_string()),
            ]
            .into(),
            certificate: [("key_bits", certificate.key_bits.to_string()), ("months", certificate.months.to_string())].into(),
            groups: groups.iter().map(group).collect(),
            windows: windows.iter().map(ToString::to_string).collect(),
            freezes: freezes.iter().map(ToString::to_string).collect(),
            names: names.iter().map(|Name { server, full_name }| format!("{server}: {full_name}")).collect(),
            compromised: compromised.iter().map(ToString::to_string).collect(),
            exceptions: exceptions.iter().map(exception).collect(),
        }
    }

    /// Each key with its value; entries of a list stand on lines of their own.
    pub(crate) fn rows(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = vec![
            ("estate".to_owned(), self.estate.clone()),
            ("version".to_owned(), self.version.to_string()),
            ("id".to_owned(), self.id.to_string()),
            ("previous".to_owned(), self.previous.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            ("mode".to_owned(), self.mode.to_owned()),
            ("rehearse_every".to_owned(), self.rehearse_every.clone()),
        ];
        rows.extend(self.actions.iter().map(|(key, value)| (format!("actions.{key}"), (*value).to_owned())));
        let tables = [
            ("expiry", &self.expiry),
            ("quiet", &self.quiet),
            ("waves", &self.waves),
            ("peers", &self.peers),
            ("limits", &self.limits),
            ("certificate", &self.certificate),
        ];
        for (name, keys) in tables {
            rows.extend(keys.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
        }
        let lists = [
            ("group", &self.groups, "none"),
            ("window", &self.windows, "none: approved work may run at any time"),
            ("freeze", &self.freezes, "none"),
            ("name", &self.names, "none"),
            ("compromised", &self.compromised, "none"),
            ("exception", &self.exceptions, "none"),
        ];
        for (name, list, empty) in lists {
            let lines = list;
            rows.push((name.to_owned(), if lines.is_empty() { empty.to_owned() } else { lines.join("\n") }));
        }
        rows
    }
}

fn group(group: &Group) -> String {
    let Group { name, servers, dag, site, mode } = group;
    let mut members: Vec<String> = servers.iter().map(ToString::to_string).collect();
    members.extend(dag.iter().map(|dag| format!("DAG {dag}")));
    members.extend(site.iter().map(|site| format!("AD site {site}")));
    format!("{name}: {}; mode {}", if members.is_empty() { "nobody".to_owned() } else { members.join(", ") }, mode.as_str())
}

fn exception(exception: &Exception) -> String {
    let Exception { server, allow, owner, reason, until } = exception;
    let until = until.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("{server}: {} until {until}, {owner}: {reason}", allow.as_str())
}
