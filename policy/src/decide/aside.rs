//! Repairs beside the certificate of 444: each a proposal of its own, with its own approval (P4). Nothing here ever runs
//! by standing approval.

use jiff::Timestamp;

use super::{Decision, expected, ground, lacking};
use crate::bound::{Bound, disallowed_known, distrusted};
use crate::document::{Mode, Policy};
use crate::evaluate::{iis_redirected, no_back_end};
use crate::last::{FrontEnd, LastKnown};
use crate::plan::{Expect, Purpose, Shown, Step};
use crate::report::{BACK_END_PORT, BACK_END_SITE, Binding, FRONT_END_PORT, Report, Sight, Site, SslRecord, StoreEntry};

/// What is to be done about one thing beside 444's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// What for.
    pub purpose: Purpose,
    /// What the rules say.
    pub decision: Decision,
}

/// Decides about everything beside the certificate of 444 that is not as it should be. Nothing for what is in order.
pub fn aside(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Vec<Aside> {
    if no_back_end(&sight.report).is_some() {
        return Vec::new();
    }
    [give_back(policy, sight, last, now), extra_records(policy, sight), binding(policy, sight)]
        .into_iter()
        .flatten()
        .map(|found| found.decided(policy, &sight.report, now))
        .collect()
}

/// Something that deviates, and the plan for it or what forbids one.
struct Found {
    purpose: Purpose,
    reason: String,
    /// Users see it: windows are not waited for.
    urgent: bool,
    plan: Result<Draft, Vec<String>>,
}

/// What a plan for it expects and does; the rest of a plan is the same for all.
struct Draft {
    expects: Vec<Expect>,
    steps: Vec<Step>,
}

impl Found {
    fn decided(self, policy: &Policy, report: &Report, now: Timestamp) -> Aside {
        let Self { purpose, reason, urgent, plan } = self;
        let mut why = ground(report);
        if let Some(component) = report.machine.maintenance.known().and_then(|found| found.first()) {
            why.push(format!("in maintenance: {component}"));
        }
        let plan = match plan.and_then(|Draft { expects, steps }| {
            super::plan(policy, report, purpose, expects, steps).map_err(|missing| vec![missing])
        }) {
            Ok(plan) if why.is_empty() => plan,
            Ok(_) => return Aside { purpose, decision: Decision::Hold { why: [vec![reason], why].concat(), look_again: None } },
            Err(missing) => {
                return Aside {
                    purpose,
                    decision: Decision::Hold { why: [vec![reason], missing, why].concat(), look_again: None },
                };
            }
        };
        let say = policy.say(&report.host, purpose);
        let decision = match say.mode {
            Mode::Observe => Decision::WouldAct {
                plan,
                at: now,
                why: format!("{reason}; {}: {} this would be proposed", say.because(), say.otherwise("propose or act")),
            },
            Mode::Propose | Mode::Act => Decision::Propose {
                plan,
                opens: now,
                urgent,
                why: format!("{reason}; it changes nothing before a person approves"),
            },
        };
        Aside { purpose, decision }
    }
}

/// C6, C7: 443 shows a self-signed certificate or nothing, and the one from a CA that it had is still there.
fn give_back(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Option<Found> {
    let report = &sight.report;
    let FrontEnd { records: remembered, thumbprint, before: _ } = last.front_end.as_ref()?;
    let present = report.records.known()?;
    let mut steps = Vec::new();
    for wanted in remembered {
        match present.iter().find(|record| record.kind == wanted.kind && record.endpoint == wanted.endpoint) {
            None => steps.push(Step::WriteRecord { record: wanted.clone() }),
            Some(found) if taken_over(sight, found) => {
                steps.push(Step::ChangeRecord { from: found.clone(), to: wanted.clone() });
            }
            Some(_) => {}
        }
    }
    if steps.is_empty() {
        return None;
    }
    let endpoints: Vec<&str> = remembered.iter().map(|record| record.endpoint.as_str()).collect();
    let reason = format!(
        "the front end had {thumbprint} on {}, and a self-signed certificate or none took its place",
        endpoints.join(" and ")
    );
    let plan = fit_for_front_end(policy, sight, remembered, now).and_then(|entry| {
        let on_port: Vec<SslRecord> = present.iter().filter(|record| record.port() == Some(FRONT_END_PORT)).cloned().collect();
        if !on_port.iter().all(SslRecord::wholly_known) {
            return Err(vec![lacking("what else the records on 443 hold")]);
        }
        steps.push(Step::Probe { port: FRONT_END_PORT, shows: Shown::Certificate(entry.certificate) });
        let expects =
            vec![Expect::Records { port: FRONT_END_PORT, records: on_port }, expected(entry).map_err(|missing| vec![missing])?];
        Ok(Draft { expects, steps })
    });
    Some(Found { purpose: Purpose::GiveBackFrontEnd, reason, urgent: true, plan })
}

/// The record names a self-signed certificate, or one that is not there. Another certificate from a CA is somebody's choice.
pub(crate) fn taken_over(sight: &Sight, record: &SslRecord) -> bool {
    let Some(thumbprint) = record.thumbprint else { return true };
    match sight.report.entry(&record.store(), thumbprint).known() {
        None => false,
        Some(None) => true,
        Some(Some(entry)) => sight.certificates.get(&entry.certificate).is_some_and(|found| found.self_issued()),
    }
}

/// The remembered certificate of the front end, when it may be put back there.
fn fit_for_front_end<'a>(
    policy: &Policy,
    sight: &'a Sight,
    remembered: &[SslRecord],
    now: Timestamp,
) -> Result<&'a StoreEntry, Vec<String>> {
    let report = &sight.report;
    let Some((store, thumbprint)) = remembered.first().and_then(|record| Some((record.store(), record.thumbprint?))) else {
        return Err(vec!["no record of the front end is remembered".to_owned()]);
    };
    let entry = match report.entry(&store, thumbprint).known() {
        None => return Err(vec![lacking("what the certificate stores hold")]),
        Some(None) => return Err(vec![format!("{thumbprint} is no longer in {store}: a person must bring it back")]),
        Some(Some(entry)) => *entry,
    };
    let mut why = Vec::new();
    if !entry.key_usable() {
        why.push(format!("the key of {thumbprint} is not known to work"));
    }
    if distrusted(policy, report, thumbprint) || !disallowed_known(report) {
        why.push(format!("{thumbprint} is distrusted or compromised"));
    }
    match sight.certificates.get(&entry.certificate) {
        None => why.push(format!("the bytes of {thumbprint} are not at hand")),
        Some(found) if found.not_after() <= now || now < found.not_before() => {
            why.push(format!("{thumbprint} is valid from {} to {}", found.not_before(), found.not_after()));
        }
        Some(_) => {}
    }
    if why.is_empty() { Ok(entry) } else { Err(why) }
}

/// F9: records on port 444 that do not belong there.
fn extra_records(policy: &Policy, sight: &Sight) -> Option<Found> {
    let records: Vec<SslRecord> =
        sight.report.records.known()?.iter().filter(|record| record.port() == Some(BACK_END_PORT)).cloned().collect();
    let extra: Vec<SslRecord> = records.iter().filter(|record| !record.is_back_end()).cloned().collect();
    if extra.is_empty() {
        return None;
    }
    let names: Vec<&str> = extra.iter().map(|record| record.endpoint.as_str()).collect();
    let reason = format!("on port {BACK_END_PORT} there is more than its own record: {}", names.join(", "));
    // What remains must serve: an extra record may be all that keeps 444 alive.
    let plan = match Bound::of(sight) {
        Bound::Whole { entry, .. } if !distrusted(policy, &sight.report, entry.thumbprint) => {
            if records.iter().all(SslRecord::wholly_known) {
                expected(entry).map_err(|missing| vec![missing]).map(|own| Draft {
                    expects: vec![Expect::Records { port: BACK_END_PORT, records: records.clone() }, own],
                    steps: extra
                        .into_iter()
                        .map(|record| Step::RemoveRecord { record })
                        .chain([Step::Probe { port: BACK_END_PORT, shows: Shown::Certificate(entry.certificate) }])
                        .collect(),
                })
            } else {
                Err(vec![lacking("what else the records on 444 hold")])
            }
        }
        Bound::Whole { .. } | Bound::Unknown(_) | Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. } => {
            Err(vec!["444's own record must serve before another is taken away".to_owned()])
        }
    };
    Some(Found { purpose: Purpose::RemoveExtraRecord, reason, urgent: false, plan })
}

/// F10, F11: the https binding of the back-end site.
fn binding(policy: &Policy, sight: &Sight) -> Option<Found> {
    let report = &sight.report;
    let sites = report.sites.known()?;
    let wanted = format!("*:{BACK_END_PORT}:");
    let on_port = |site: &Site| -> Vec<Binding> {
        site.bindings
            .iter()
            .filter(|binding| binding.protocol == "https" && binding.port() == Some(BACK_END_PORT))
            .cloned()
            .collect()
    };
    let site = sites.iter().find(|site| site.name == BACK_END_SITE)?;
    let present = on_port(site);
    if let [only] = present.as_slice()
        && only.information == wanted
        && only.ssl_flags & (Binding::SNI | Binding::CENTRAL_STORE) == 0
    {
        return None;
    }
    let shown = |bindings: &[Binding]| bindings.iter().map(Binding::to_string).collect::<Vec<_>>().join(", ");
    let reason = if present.is_empty() {
        format!("the IIS site \"{BACK_END_SITE}\" has no https binding on port {BACK_END_PORT}")
    } else {
        format!("the IIS site \"{BACK_END_SITE}\" is bound to {}", shown(&present))
    };
    let mut why = Vec::new();
    if present.len() > 1 {
        why.push("there is more than one such binding: which one to keep is a person's choice".to_owned());
    }
    if let Some(other) = sites.iter().find(|other| other.name != BACK_END_SITE && !on_port(other).is_empty()) {
        why.push(format!("the IIS site \"{}\" is bound to port {BACK_END_PORT} too", other.name));
    }
    match iis_redirected(report) {
        Some(false) => {}
        Some(true) => why.push("IIS reads its configuration from elsewhere: nothing is written there".to_owned()),
        None => why.push(lacking("whether IIS reads its configuration from elsewhere")),
    }
    let from = present.first().cloned();
    let flags = from.as_ref().map_or(0, |from| from.ssl_flags & !(Binding::SNI | Binding::CENTRAL_STORE));
    let to = Binding { protocol: "https".to_owned(), information: wanted, ssl_flags: flags };
    let mut steps = vec![Step::ChangeBinding { site: BACK_END_SITE.to_owned(), from, to }];
    let mut expects = vec![Expect::Bindings { site: BACK_END_SITE.to_owned(), bindings: site.bindings.clone() }];
    if let Bound::Whole { entry, .. } = Bound::of(sight)
        && !distrusted(policy, report, entry.thumbprint)
    {
        match expected(entry) {
            Ok(own) => expects.push(own),
            Err(missing) => why.push(missing),
        }
        steps.push(Step::Probe { port: BACK_END_PORT, shows: Shown::Certificate(entry.certificate) });
    }
    let plan = if why.is_empty() { Ok(Draft { expects, steps }) } else { Err(why) };
    Some(Found { purpose: Purpose::FixBinding, reason, urgent: false, plan })
}
