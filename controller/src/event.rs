//! Events: what the event log of Windows keeps of the controller, each by an id ([`native::event`]). The log calls that are
//! events stand where it happens; here is what several of them share.

use native::event::Event;
use policy::evaluate::Assessment;
use policy::finding::{Severity, Verdict};
use policy::id::ServerName;
use policy::receipt::Outcome;

mod table;

pub use table::*;

/// The source of the controller's events.
pub const SOURCE: &str = "BackstayController";

/// The version of this controller.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A log call at the level of its event, for events that are chosen at run time.
macro_rules! tell {
    ($event:expr, $($rest:tt)*) => {{
        let event: &native::event::Event = $event;
        match event.severity {
            native::event::Severity::Error => tracing::error!(event = event.id, $($rest)*),
            native::event::Severity::Warning => tracing::warn!(event = event.id, $($rest)*),
            native::event::Severity::Information => tracing::info!(event = event.id, $($rest)*),
        }
    }};
}

pub(crate) use tell;

/// The event that tells of a server's verdict.
pub fn of(verdict: Verdict) -> &'static Event {
    match verdict {
        Verdict::Healthy | Verdict::NotApplicable => &IN_ORDER,
        Verdict::Unknown | Verdict::Expiring | Verdict::Intercepted | Verdict::Misnamed => &DEVIATES,
        Verdict::Expired | Verdict::Distrusted | Verdict::Dead | Verdict::KeyLost | Verdict::Deleted | Verdict::Unbound => &LOST,
    }
}

/// The event that tells how a plan ended.
pub fn of_outcome(outcome: Outcome) -> &'static Event {
    match outcome {
        Outcome::Restored => &PLAN_DONE,
        Outcome::Undone | Outcome::Refused | Outcome::Superseded => &PLAN_NOT_DONE,
        Outcome::Failed => &PLAN_FAILED,
    }
}

/// Tells of the findings that want somebody at once and were not there before.
pub(crate) fn urgent(server: &ServerName, before: Option<&Assessment>, now: &Assessment) {
    for finding in now.findings.iter().filter(|finding| finding.code.severity() == Severity::Page) {
        if !before.is_some_and(|before| before.has(finding.code)) {
            let words = format!("{}: {}", finding.code.title(), finding.evidence.join("; "));
            tracing::error!(event = URGENT_FINDING.id, %server, code = %finding.code, finding = words, "found on a server");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert_eq!(native::event::faults(ALL), [""; 0]);
        assert!(ALL.iter().all(|event| event.id % 1000 >= 500), "ids below x500 are the agent's");
    }
}
