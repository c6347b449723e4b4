//! What the agent makes of a look: a line for people, and what it may do by itself. Pure.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::decide::{Decision, decide};
use policy::document::Policy;
use policy::evaluate::{Assessment, evaluate};
use policy::id::ServerName;
use policy::look::next_look;
use policy::plan::Plan;
use policy::report::{Fact, Host, Report, Sight};

use crate::work::Look;

/// What the agent makes of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Verdict, decision and reason in one line.
    pub text: String,
    /// A plan that the agent runs by itself, at once.
    pub act: Option<Plan>,
    /// When only time must pass for another view.
    pub look_again: Option<Timestamp>,
    /// The verdict, and everything that deviates.
    pub assessment: Assessment,
}

impl View {
    /// Judges a look. `may_act` says that the policy was confirmed recently enough for the agent to act by itself.
    pub fn of(look: &Look, policy: &Policy, may_act: bool, now: Timestamp) -> Self {
        let Look { sight, last } = look;
        let assessment = evaluate(policy, sight, last, now);
        let decision = decide(policy, sight, last, now);
        let later = decision.look_again().filter(|at| now < *at);
        let look_again = next_look(policy, sight, last, now).into_iter().chain(later).min();
        let text = format!("{}: {}: {}", assessment.verdict.as_str(), decision.word(), decision.why());
        match decision {
            Decision::Act { .. } if !may_act => {
                let days = policy.limits.authority_days;
                let lapsed = format!("{text}; not done: no controller confirmed the policy within {days} days");
                Self { text: lapsed, act: None, look_again, assessment }
            }
            Decision::Act { plan, at, .. } if at <= now => Self { text, act: Some(plan), look_again, assessment },
            Decision::Act { .. }
            | Decision::LeaveAlone { .. }
            | Decision::WouldAct { .. }
            | Decision::Propose { .. }
            | Decision::Hold { .. } => Self { text, act: None, look_again, assessment },
        }
    }
}

/// What is told of a host that could not be looked at: nothing of it is known, and so nothing is permitted.
pub fn unseen(server: &ServerName, why: &str, hold: Option<String>) -> Sight {
    fn unknown<T>(why: &str) -> Fact<T> {
        Fact::Unknown(why.to_owned())
    }
    let host =
        Host { name: server.clone(), fqdn: unknown(why), machine_id: unknown(why), ad_site: unknown(why), dag: unknown(why) };
    let report = Report {
        host,
        exchange: unknown(why),
        setup: unknown(why),
        stores: unknown(why),
        containers: unknown(why),
        records: unknown(why),
        sites: unknown(why),
        metabase: unknown(why),
        services: unknown(why),
        machine: policy::report::Machine::not_observed(),
        probes: Vec::new(),
        hold,
    };
    Sight { report: proto::report::fit(report), certificates: BTreeMap::new() }
}
