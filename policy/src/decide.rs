//! What the policy allows for what was seen: a plan and under whose authority it may run, or why there is none.

mod anew;
mod aside;
mod renewal;
mod restore;

use jiff::Timestamp;

pub(crate) use self::anew::MOST_MINUTES;
pub(crate) use self::aside::taken_over;
pub use self::aside::{Aside, aside};
pub use self::renewal::{of_container, vendor_link};

use crate::bound::Bound;
use crate::document::Policy;
use crate::evaluate::{no_back_end, web_service_disabled};
use crate::last::LastKnown;
use crate::plan::{Expect, Plan, Purpose, Step, Values};
use crate::report::{BACK_END_SITE, Fact, Report, Setup, Sight, SslRecord, StoreEntry};

/// What is to be done, by whose leave, and when it is worth asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to do.
    LeaveAlone {
        /// Why, in a sentence that names the rule.
        why: String,
        /// When time alone may change the answer.
        look_again: Option<Timestamp>,
    },
    /// Mode `observe`: what would have been done.
    WouldAct {
        /// The plan.
        plan: Plan,
        /// When it would have begun.
        at: Timestamp,
        /// Why not.
        why: String,
    },
    /// A person must approve.
    Propose {
        /// The plan.
        plan: Plan,
        /// Earliest begin; may lie in the past.
        opens: Timestamp,
        /// Pages and ignores windows, never approvals.
        urgent: bool,
        /// Why.
        why: String,
    },
    /// The policy itself approves; the agent acts.
    Act {
        /// The plan.
        plan: Plan,
        /// End of the quiet time.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// Something is wrong, and nothing may be done about it yet.
    Hold {
        /// What forbids it, each a sentence.
        why: Vec<String>,
        /// When time alone may change the answer.
        look_again: Option<Timestamp>,
    },
}

impl Decision {
    /// The plan, whoever may run it.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::WouldAct { plan, .. } | Self::Propose { plan, .. } | Self::Act { plan, .. } => Some(plan),
            Self::LeaveAlone { .. } | Self::Hold { .. } => None,
        }
    }

    /// When the plan may begin at the earliest, as far as the rules of this file go.
    pub fn begins(&self) -> Option<Timestamp> {
        match self {
            Self::WouldAct { at, .. } | Self::Act { at, .. } => Some(*at),
            Self::Propose { opens, .. } => Some(*opens),
            Self::LeaveAlone { .. } | Self::Hold { .. } => None,
        }
    }

    /// The moment that this decision itself names; it may lie in the past. When to look again is
    /// [`next_look`](crate::look::next_look)'s answer.
    pub fn look_again(&self) -> Option<Timestamp> {
        match self {
            Self::LeaveAlone { look_again, .. } | Self::Hold { look_again, .. } => *look_again,
            Self::WouldAct { at, .. } | Self::Act { at, .. } => Some(*at),
            Self::Propose { opens, .. } => Some(*opens),
        }
    }

    /// The decision in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::LeaveAlone { .. } => "leave_alone",
            Self::WouldAct { .. } => "would_act",
            Self::Propose { .. } => "propose",
            Self::Act { .. } => "act",
            Self::Hold { .. } => "hold",
        }
    }

    /// Why, for people.
    pub fn why(&self) -> String {
        match self {
            Self::LeaveAlone { why, .. } | Self::WouldAct { why, .. } | Self::Propose { why, .. } | Self::Act { why, .. } => {
                why.clone()
            }
            Self::Hold { why, .. } => why.join("; "),
        }
    }
}

/// Decides what to do on one server.
pub fn decide(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Decision {
    if let Some(why) = no_back_end(&sight.report) {
        return Decision::LeaveAlone { why, look_again: None };
    }
    let bound = Bound::of(sight);
    match bound {
        Bound::Unknown(why) => Decision::Hold { why: vec![format!("{why}: what is unknown permits nothing")], look_again: None },
        Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. } => {
            restore::restore(policy, sight, last, &bound, now)
        }
        Bound::Whole { record, entry, certificate } => renewal::renewal(policy, sight, record, entry, certificate, now),
    }
}

/// What must hold before a certificate or its record is written on a host (rules of restraint 2 and 6).
fn prerequisites(report: &Report) -> Vec<String> {
    let mut why = ground(report);
    if report.has_back_end_binding() != Some(true) {
        why.push(format!("the IIS site \"{BACK_END_SITE}\" is not known to have the https binding *:444:"));
    }
    why
}

/// What must hold before anything at all is written on a host.
fn ground(report: &Report) -> Vec<String> {
    let mut why = Vec::new();
    if report.exchange.known().is_none() {
        why.push("version and roles of Exchange are unknown".to_owned());
    }
    match &report.setup {
        Fact::Known(Setup::Idle) => {}
        Fact::Known(Setup::Running(what)) => why.push(format!("Exchange setup is at work: {what}")),
        Fact::Known(Setup::HalfFinished(what)) => why.push(format!("Exchange setup is half-finished: {what}")),
        Fact::Unknown(reason) => why.push(format!("whether Exchange setup is at work is unknown: {reason}")),
    }
    match web_service_disabled(report) {
        Some(false) => {}
        Some(true) => why.push("service W3SVC is disabled: somebody wants it so".to_owned()),
        None => why.push("whether service W3SVC is disabled is unknown".to_owned()),
    }
    if report.host.machine_id.known().is_none() {
        why.push("the machine id is unknown".to_owned());
    }
    if let Some(reason) = &report.hold {
        why.push(format!("the agent on this host is held: {reason}"));
    }
    why
}

/// A plan of these expectations and steps, and of what every plan expects and does.
fn plan(policy: &Policy, report: &Report, purpose: Purpose, expects: Vec<Expect>, mut steps: Vec<Step>) -> Result<Plan, String> {
    steps.push(Step::Compare);
    Ok(Plan {
        estate: policy.estate.clone(),
        host: report.host.name.clone(),
        machine_id: report.host.machine_id.known().ok_or_else(|| lacking("the machine id"))?.clone(),
        purpose,
        attempt: 1,
        values: values(policy),
        expects: [common_expects(report)?, expects].concat(),
        steps,
    })
}

/// All records on this port as they are, with all parameters.
fn records_on(report: &Report, port: u16) -> Result<Expect, String> {
    let records = report.records.known().ok_or_else(|| lacking("the list of http.sys records"))?;
    let records: Vec<SslRecord> = records.iter().filter(|record| record.port() == Some(port)).cloned().collect();
    if !records.iter().all(SslRecord::wholly_known) {
        return Err(lacking(&format!("what else the records on {port} hold")));
    }
    Ok(Expect::Records { port, records })
}

/// The full name for a new certificate: the one that the policy gives the server, else its own when that agrees with its
/// NetBIOS name (G9).
fn agreed_name(policy: &Policy, report: &Report) -> Result<String, String> {
    if let Some(given) = policy.given_name(&report.host.name) {
        return Ok(given.to_owned());
    }
    let fqdn = report.host.fqdn.known().ok_or_else(|| lacking("the full name of the host"))?.clone();
    let label = fqdn.split('.').next().unwrap_or_default();
    if !label.eq_ignore_ascii_case(report.host.name.as_str()) || !fqdn.contains('.') {
        return Err(format!(
            "the names of the host disagree: NetBIOS {}, full name {fqdn}; nothing is made until they agree or the policy names one",
            report.host.name
        ));
    }
    Ok(fqdn)
}

fn values(policy: &Policy) -> Values {
    Values { key_bits: policy.certificate.key_bits, months: policy.certificate.months }
}

/// The sentence for a fact that was not read.
fn lacking(what: &str) -> String {
    format!("{what} is unknown: what is unknown permits nothing")
}

/// What every plan expects, whatever it does.
fn common_expects(report: &Report) -> Result<Vec<Expect>, String> {
    let fqdn = report.host.fqdn.known().ok_or_else(|| lacking("the full name of the host"))?.clone();
    let metabase = report.metabase.known().ok_or_else(|| lacking("the list of metabase properties"))?.clone();
    Ok(vec![Expect::Fqdn(fqdn), Expect::Metabase(metabase)])
}

/// The certificate exactly as it is.
fn expected(entry: &StoreEntry) -> Result<Expect, String> {
    let key = entry.key.known().ok_or_else(|| lacking("where the key of the certificate is"))?;
    Ok(Expect::Certificate {
        certificate: entry.certificate,
        store: entry.store.clone(),
        archived: entry.archived,
        key: key.clone(),
        usable: entry.key_usable(),
    })
}
