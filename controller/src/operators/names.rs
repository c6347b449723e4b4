//! Whom answers name persons to (`privacy.names` of `controller.toml`).
//!
//! Signed documents are handed out whole, or nobody could check them; the audit trail names whoever did each thing in entries that are chained, so who
//! is shown no names is shown none of it.

use policy::trust::PersonRole;
use proto::operator;
use tonic::Status;

use crate::config::Names;

/// What stands in the place of a name.
pub(crate) const SOMEBODY: &str = "somebody";

/// Whether this role is shown names. `None` is nobody of ours, or a program, which is shown what its maker's role is.
pub(crate) fn shown(names: Names, role: Option<PersonRole>) -> bool {
    names == Names::Everybody || matches!(role, Some(PersonRole::Auditor | PersonRole::Admin))
}

/// Something that names persons.
pub(super) trait Named {
    /// Takes the names away.
    fn unname(&mut self);
}

fn unname(name: &mut String) {
    if !name.is_empty() {
        SOMEBODY.clone_into(name);
    }
}

impl Named for operator::ApprovalSummary {
    fn unname(&mut self) {
        unname(&mut self.person);
    }
}

impl Named for operator::Plan {
    /// Why it stands where it does names whoever withdrew it or gave it up, as `VERB by person:NAME: REASON`.
    fn unname(&mut self) {
        if let Some((verb, named)) = self.waits_for.split_once(" by person:")
            && let Some((_, reason)) = named.split_once(": ")
        {
            self.waits_for = format!("{verb} by {SOMEBODY}: {reason}");
        }
    }
}

impl Named for operator::Change {
    fn unname(&mut self) {
        self.plan.iter_mut().for_each(Named::unname);
        self.approvals.iter_mut().for_each(Named::unname);
    }
}

impl Named for operator::Incident {
    fn unname(&mut self) {
        unname(&mut self.acknowledged_by);
    }
}

impl Named for operator::Stop {
    fn unname(&mut self) {
        self.yes.iter_mut().for_each(unname);
    }
}

/// The trail, for whoever is shown no names.
pub(super) fn trail() -> Status {
    Status::permission_denied(
        "the audit trail names persons: expected an auditor or an admin, because privacy.names of the controller's configuration keeps these for them",
    )
}
