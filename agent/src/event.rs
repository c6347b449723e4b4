//! Events: what an administrator at three in the morning, or the rules of a SIEM, should find by an id.
//!
//! A log call whose field `event` names one goes into the event log of Windows as well as into the lines ([`native::event`]).
//! What everybody may call stands here; the other calls stand where it happens.

use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;

use native::event::Event;
use policy::finding::{Code, Severity, Verdict};
use policy::receipt::Outcome;

pub mod command;
mod table;

pub use table::*;

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

/// The source of the agent's events.
pub const SOURCE: &str = "BackstayAgent";

/// The event that tells of a verdict: for each a kind of its own, so that each can be filtered by id.
pub fn of(verdict: Verdict) -> &'static Event {
    match verdict {
        Verdict::Healthy => &HEALTHY,
        Verdict::NotApplicable => &NO_BACK_END,
        Verdict::Unknown => &BACK_END_UNKNOWN,
        Verdict::Expiring => &EXPIRING,
        Verdict::Intercepted => &INTERCEPTED,
        Verdict::Misnamed => &MISNAMED,
        Verdict::Expired => &EXPIRED,
        Verdict::Distrusted => &DISTRUSTED,
        Verdict::Dead => &DEAD,
        Verdict::KeyLost => &KEY_LOST,
        Verdict::Deleted => &DELETED,
        Verdict::Unbound => &UNBOUND,
    }
}

/// The event that tells of a finding.
pub fn of_finding(code: Code) -> &'static Event {
    match code.severity() {
        _ if matches!(code, Code::TransportMissing | Code::TransportDenied) => &TRANSPORT_CERTIFICATE,
        Severity::Page => &URGENT_FINDING,
        Severity::Warning | Severity::Note => &FINDING,
    }
}

/// The event that tells how a plan ended.
pub fn of_outcome(outcome: Outcome) -> &'static Event {
    match outcome {
        Outcome::Restored => &PLAN_RESTORED,
        Outcome::Undone => &PLAN_UNDONE,
        Outcome::Failed => &PLAN_FAILED,
        Outcome::Refused => &PLAN_REFUSED,
        Outcome::Superseded => &PLAN_SUPERSEDED,
    }
}

/// The configuration is refused: told before anything else is there that could tell it.
pub fn configuration_refused(error: &dyn Error) {
    #[cfg(windows)]
    let _ = native::event::report(SOURCE, &CONFIGURATION_REFUSED, &[&crate::chain(error)]);
    // Elsewhere whoever started the agent reads it on standard error.
    #[cfg(not(windows))]
    let _ = (error, &CONFIGURATION_REFUSED);
}

/// A setting of the service that Windows did not take: recovery, delay, privileges.
pub fn setting_not_made(setting: &str, error: &dyn Error) {
    tracing::warn!(
        event = SETTING_NOT_MADE.id,
        setting,
        error = crate::chain(error),
        "a setting of the service could not be made"
    );
}

/// The state folder lets others in: `who` may do what.
pub fn state_folder_wide(folder: &Path, who: &str) {
    tracing::warn!(
        event = STATE_FOLDER_WIDE.id,
        folder = %folder.display(),
        who,
        "the state folder is open to more than the system and administrators"
    );
}

/// Tells it when the disk has no room; true when it was that.
pub(crate) fn disk_full(what: &str, error: &(dyn Error + 'static)) -> bool {
    let full = is_full(error);
    if full {
        tracing::error!(event = DISK_FULL.id, what, error = crate::chain(error), "the disk is full");
    }
    full
}

fn is_full(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
        || error.source().is_some_and(is_full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert_eq!(native::event::faults(ALL), [""; 0]);
        assert!(ALL.iter().all(|event| event.id % 1000 < 500), "ids from x500 on are the controller's");
    }

    #[test]
    fn a_full_disk_is_found_below_other_errors() {
        let io = |kind: ErrorKind| crate::AgentError::Io { path: "state".into(), source: kind.into() };
        assert!(is_full(&io(ErrorKind::StorageFull)));
        assert!(!is_full(&io(ErrorKind::PermissionDenied)));
    }
}
