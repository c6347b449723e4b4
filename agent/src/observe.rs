//! One look at the host for a person, beside an agent that may be running: it locks nothing and changes nothing.

use policy::document::Policy;
use policy::id::EstateName;
use policy::report::Report;
use serde::Serialize;

use crate::authority::Authority;
use crate::driver::Driver;
use crate::hold::Holds;
use crate::memory::Memory;
use crate::view::View;
use crate::work::{Look, WorkError, container, sight};
use crate::{chain, now};

/// What `backstay-agent observe` prints.
#[derive(Debug, Serialize)]
pub struct Observation {
    /// Verdict, decision and reason.
    pub view: String,
    /// What was seen.
    pub report: Report,
}

/// Looks at the host once. The view is the agent's own, from the policy and the memory in its state folder; where there is
/// no policy the host is one in mode observe.
///
/// # Errors
/// [`WorkError`] when the host cannot be looked at.
pub fn observe(holds: &Holds, driver: &dyn Driver) -> Result<Observation, WorkError> {
    let (now, folder) = (now(), holds.folder());
    let last = Memory::open(folder).map_err(WorkError::Memory)?.last().clone();
    // As the agent does, or the two would see different hosts.
    if let Some(container) = container(&last) {
        driver.remember_container(container);
    }
    let sight = sight(driver, holds.why())?;
    let judged = |policy: &Policy, may_act| {
        let last = last.after(&sight, policy, now);
        View::of(&Look { sight: sight.clone(), last }, policy, may_act, now).text
    };
    let view = match Authority::open(folder) {
        Ok(Some(authority)) => {
            let standing = authority.standing(now);
            judged(&standing.policy, standing.authority_fresh(now))
        }
        Ok(None) => {
            let nobody: EstateName = "not-joined".parse().expect("letters and a hyphen make a name");
            judged(&Policy::none_yet(nobody), false)
        }
        Err(error) => format!("the documents that the agent holds do not read: {}", chain(&error)),
    };
    Ok(Observation { view, report: sight.report })
}
