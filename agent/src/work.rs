//! The shell of a run: journal, ledger, driver and probes on one side, the pure [`Run`] on the other. It does what the run
//! says and nothing else. Everything blocks; callers use a blocking thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use policy::admit::{Ground, Leave, Refusal, admit};
use policy::document::Policy;
use policy::id::PlanId;
use policy::last::{LastGood, LastKnown};
use policy::plan::{Der, Plan, Step};
use policy::receipt::Receipt;
use policy::report::{BACK_END_PORT, Sight};
use policy::trust::TrustDocument;
use proto::signed::{self, SignedBytes};
use thiserror::Error;

use crate::driver::{Driver, DriverError};
use crate::event;
use crate::hold::Holds;
use crate::journal::{Begun, Journal, JournalError};
use crate::ledger::{Ledger, LedgerError};
use crate::memory::{Memory, MemoryError};
use crate::run::Run;

mod drive;
#[cfg(test)]
mod tests;

/// Something that keeps the workbench from working.
#[derive(Debug, Error)]
pub enum WorkError {
    /// Another agent works on this state folder.
    #[error("state folder {0}: expected to be its only user, found another agent at work")]
    InUse(PathBuf),
    /// The state folder cannot be used.
    #[error("state folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The journal.
    #[error("the journal cannot be used")]
    Journal(#[source] JournalError),
    /// The ledger.
    #[error("the ledger of plans cannot be used")]
    Ledger(#[source] LedgerError),
    /// The last-good file.
    #[error("the last-good file cannot be used")]
    Memory(#[source] MemoryError),
    /// The host.
    #[error("the host cannot be looked at")]
    Driver(#[source] DriverError),
}

/// One look at the host, and what is remembered after it.
#[derive(Debug, Clone)]
pub struct Look {
    /// What was seen, with probes.
    pub sight: Sight,
    /// What is remembered.
    pub last: LastKnown,
}

/// What the agent goes by: the documents that it holds, and whether it may believe its clock.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The policy that is held.
    pub policy: Policy,
    /// The trust document that is held.
    pub trust: TrustDocument,
    /// When an authenticated session last confirmed that policy.
    pub policy_confirmed: Option<Timestamp>,
    /// Why the clock cannot be trusted.
    pub clock_doubt: Option<String>,
}

impl Standing {
    /// Whether that was recently enough for the agent to act by itself.
    pub fn authority_fresh(&self, now: Timestamp) -> bool {
        let days = policy::duration::Span::days(self.policy.limits.authority_days);
        self.policy_confirmed.is_some_and(|confirmed| now <= days.after(confirmed))
    }
}

/// The plan that people took back. It is named, so that it is heard however early or late it comes, and by no other plan.
#[derive(Debug, Clone, Default)]
pub struct CalledOff(Arc<Mutex<Option<PlanId>>>);

impl CalledOff {
    /// Lets this plan turn back, as long as it has not swapped.
    pub fn set(&self, plan: PlanId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
    }

    fn is(&self, plan: &PlanId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(plan)
    }
}

/// Tells that a journal cannot be believed, and why.
fn disbelieved(why: String) -> String {
    tracing::error!(event = event::JOURNAL_DAMAGED.id, why, "the journal cannot be believed: nothing is done on this host");
    why
}

/// The time of a host, as a run lives through it.
pub trait Clock {
    /// What the host's clock reads.
    fn now(&self) -> Timestamp;

    /// Lets so much time pass.
    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

impl<F: Fn() -> Timestamp> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// By whose leave a plan is to run.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// The agent planned it itself under the signed policy.
    Standing,
    /// Persons signed for it: their approvals as they arrived, not yet believed.
    Approvals(&'a [SignedBytes]),
}

/// Everything that works on one host, with the state folder locked for it alone.
pub struct Workbench {
    driver: Arc<dyn Driver>,
    folder: PathBuf,
    holds: Holds,
    ledger: Ledger,
    memory: Memory,
    open: Option<PlanId>,
    damaged: Option<String>,
    called_off: CalledOff,
    on_begin: Option<Box<dyn Fn(PlanId) + Send>>,
    _lock: File,
}

impl Workbench {
    /// Opens the state folder and locks it. The driver is told of the key containers that a restore or an open run will ask
    /// for, which no certificate may name any more, or yet.
    ///
    /// A journal that cannot be believed is no error: it holds the host, and [`Workbench::hold`] says why.
    ///
    /// # Errors
    /// [`WorkError`] when the folder is in use or cannot be used.
    pub fn open(folder: &Path, driver: Arc<dyn Driver>) -> Result<Self, WorkError> {
        let broken = |source| WorkError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(broken)?;
        let lock = File::create(folder.join("lock")).map_err(broken)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(WorkError::InUse(folder.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(broken(source)),
        }
        let ledger = Ledger::open(folder).map_err(WorkError::Ledger)?;
        let memory = Memory::open(folder).map_err(WorkError::Memory)?;
        let (open, damaged) = match Journal::reopen(&folder.join("journal")) {
            Ok(found) => {
                let plan = found.and_then(|(_, begun, _)| Plan::from_bytes(&begun.plan.0).ok());
                let steps = plan.iter().flat_map(|plan| &plan.steps);
                steps.filter_map(Step::container).for_each(|container| driver.remember_container(container));
                (plan.map(|plan| plan.id()), None)
            }
            // It has begun, and how far it came nobody knows: whoever asks hears that it runs, and never that it was refused.
            Err(error @ JournalError::Damaged { .. }) => (ledger.unsettled(), Some(disbelieved(error.to_string()))),
            Err(error @ JournalError::Io { .. }) => return Err(WorkError::Journal(error)),
        };
        if let Some(container) = container(memory.last()) {
            driver.remember_container(container);
        }
        let called_off = CalledOff::default();
        let holds = Holds::by_command(folder);
        Ok(Self {
            driver,
            folder: folder.to_owned(),
            holds,
            ledger,
            memory,
            open,
            damaged,
            called_off,
            on_begin: None,
            _lock: lock,
        })
    }

    /// From here on, these holds count, too.
    pub fn heed(&mut self, holds: Holds) {
        self.holds = holds;
    }

    /// Looks at the host: observation, handshakes with 444, and memory.
    ///
    /// # Errors
    /// [`WorkError::Driver`] when the host cannot be looked at, [`WorkError::Memory`] when what was seen cannot be kept.
    pub fn look(&mut self, policy: &Policy, now: Timestamp) -> Result<Look, WorkError> {
        let sight = self.sight()?;
        let last = self.memory.last().after(&sight, policy, now);
        if let Some(named) = container(&last)
            && container(self.memory.last()) != Some(named)
        {
            self.driver.remember_container(named);
        }
        self.memory.remember(last.clone()).map_err(WorkError::Memory)?;
        Ok(Look { sight, last })
    }

    /// Takes up the run that a stop cut off. To be called first, before the network (TRUST J4).
    ///
    /// # Errors
    /// [`WorkError`] when journal or host cannot be used; the run stays open.
    pub fn recover(&mut self, standing: &Standing, clock: &dyn Clock) -> Result<Option<Receipt>, WorkError> {
        if self.damaged.is_some() {
            return Ok(None);
        }
        let found = Journal::reopen(&self.folder.join("journal")).map_err(WorkError::Journal)?;
        let Some((journal, begun, notes)) = found else { return Ok(None) };
        let plan = match Plan::from_bytes(&begun.plan.0) {
            Ok(plan) => plan,
            Err(error) => {
                self.damaged = Some(disbelieved(format!("the plan in the journal does not read: {error}")));
                return Ok(None);
            }
        };
        if self.ledger.ended(&plan.id()).is_some() {
            // The receipt was kept, the journal not yet removed.
            journal.close().map_err(WorkError::Journal)?;
            self.open = None;
            return Ok(None);
        }
        if !self.ledger.begun().contains(&plan.id()) {
            // Stopped between the journal and the ledger.
            self.ledger.begin(plan.id()).map_err(WorkError::Ledger)?;
        }
        let Some(run) = Run::resume(plan, &notes) else {
            self.damaged = Some(disbelieved("the journal speaks of a step that its plan does not have".to_owned()));
            return Ok(None);
        };
        let signed: Vec<_> = begun.approvals.iter().filter_map(|text| SignedBytes::from_file_text(text).ok()).collect();
        let approvals: Vec<_> = signed.iter().filter_map(|signed| signed::approval(signed).ok()).collect();
        Ok(Some(self.drive(run, journal, &begun, &approvals, standing, clock)))
    }

    /// Admits a plan on a fresh look, and does it. Whatever happens is in the receipt. The receipt of a plan that began is
    /// durable; a refusal is not, since the same plan, asked again, is judged anew.
    pub fn run(&mut self, bytes: &[u8], by: By<'_>, standing: &Standing, clock: &dyn Clock) -> Receipt {
        let now = clock.now();
        let (standing_id, signed) = match by {
            By::Standing => (Some(standing.policy.id), &[][..]),
            By::Approvals(signed) => (None, signed),
        };
        let mut unbelieved = Vec::new();
        let approvals: Vec<_> = signed
            .iter()
            .filter_map(|one| signed::approval(one).map_err(|error| unbelieved.push(crate::chain(&error))).ok())
            .collect();
        let leave = if standing_id.is_some() { Leave::Standing } else { Leave::Approvals(&approvals) };
        let refused = |plan: PlanId, refusal: Refusal, notes: Vec<String>| Receipt {
            standing: standing_id,
            objections: refusal.objections,
            ..Receipt::refused(plan, notes, now)
        };
        let id = policy::id::Sha256::of(bytes);
        let nothing = Refusal { objections: Vec::new() };
        let plan = match Plan::from_bytes(bytes) {
            Ok(plan) if plan.id() == id => plan,
            Ok(_) => return refused(id, nothing, vec!["the plan's bytes are not in the form that this agent writes".to_owned()]),
            Err(error) => return refused(id, nothing, vec![crate::chain(&error)]),
        };
        if let Some(receipt) = self.ledger.ended(&id) {
            return receipt;
        }
        if let Some(open) = self.open {
            // Its receipt could not be kept, on a full disk perhaps: that comes first.
            let recovered = self.recover(standing, clock);
            if let Err(error) = &recovered {
                let error = crate::chain(error);
                tracing::error!(event = event::RUN_STAYS_OPEN.id, error, "open run could not be taken up");
            }
            if self.open.is_some() {
                return refused(id, nothing, vec![format!("busy with plan {}", open.short())]);
            }
        }
        let look = match self.look(&standing.policy, now) {
            Ok(look) => look,
            Err(error) => return refused(id, nothing, vec![crate::chain(&error)]),
        };
        if let Some(why) = self.hold() {
            return refused(id, nothing, vec![why]);
        }
        let ground = Ground {
            policy: &standing.policy,
            trust: &standing.trust,
            sight: &look.sight,
            last: &look.last,
            begun: self.ledger.begun(),
            clock: standing.clock_doubt.as_deref(),
            authority_fresh: standing.authority_fresh(now),
            now,
        };
        if let Err(refusal) = admit(&plan, leave, &ground) {
            unbelieved.insert(0, refusal.to_string());
            return refused(id, refusal, unbelieved);
        }
        let begun = Begun {
            plan: Der(bytes.to_vec()),
            approvals: signed.iter().map(SignedBytes::to_file_text).collect(),
            standing: standing_id,
            baseline: look.sight.report,
            at: now,
        };
        // The journal first: whatever is in the ledger then has a journal or a receipt.
        let journal = match Journal::begin(&self.folder.join("journal"), &begun) {
            Ok(journal) => journal,
            Err(error) => return refused(id, nothing, vec![format!("nothing was begun: {}", crate::chain(&error))]),
        };
        if let Err(error) = self.ledger.begin(id) {
            let note = format!("nothing was begun: {}", crate::chain(&error));
            if let Err(error) = journal.close() {
                let (event, what, error) =
                    (event::STATE_NOT_WRITTEN.id, "journal of a plan that did not begin", crate::chain(&error));
                tracing::warn!(event, what, error, "journal of a plan that did not begin could not be removed");
            }
            return refused(id, nothing, vec![note]);
        }
        self.open = Some(id);
        if let Some(tell) = &self.on_begin {
            tell(id);
        }
        if plan.purpose.restores() && standing_id.is_some() {
            let last = self.memory.last().clone().restored(now);
            if let Err(error) = self.memory.remember(last) {
                let (event, what, error) = (event::STATE_NOT_WRITTEN.id, "last-good file", crate::chain(&error));
                tracing::warn!(event, what, error, "last-good file could not be written");
            }
        }
        self.drive(Run::begin(plan), journal, &begun, &approvals, standing, clock)
    }

    /// The plan whose journal is open.
    pub fn open_plan(&self) -> Option<PlanId> {
        self.open
    }

    /// Receipts that the controller does not have yet.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.ledger.unacknowledged()
    }

    /// When the last plan ended that is remembered here.
    pub fn last_end(&self) -> Option<Timestamp> {
        self.ledger.last_end()
    }

    /// Every receipt that is kept, whether or not the controller has it.
    pub fn every_receipt(&self) -> Vec<Receipt> {
        self.ledger.receipts()
    }

    /// What became of a plan.
    pub fn ended(&self, plan: &PlanId) -> Option<Receipt> {
        self.ledger.ended(plan)
    }

    /// Whether a plan of this id ever began here.
    pub fn has_begun(&self, plan: &PlanId) -> bool {
        self.ledger.begun().contains(plan)
    }

    /// The controller has this receipt on disk.
    ///
    /// # Errors
    /// [`WorkError::Ledger`].
    pub fn acknowledge(&mut self, plan: &PlanId) -> Result<(), WorkError> {
        self.ledger.acknowledge(plan).map_err(WorkError::Ledger)
    }

    /// Why nothing is done on this host: a hold by a person, or a journal that cannot be believed.
    pub fn hold(&self) -> Option<String> {
        self.damaged.clone().or_else(|| self.holds.why())
    }

    /// Where a plan can be called off while it is at work.
    pub fn called_off(&self) -> CalledOff {
        self.called_off.clone()
    }

    /// From here on, `tell` hears of each plan that was admitted and has begun, before its first step.
    pub fn on_begin(&mut self, tell: impl Fn(PlanId) + Send + 'static) {
        self.on_begin = Some(Box::new(tell));
    }

    fn sight(&self) -> Result<Sight, WorkError> {
        sight(self.driver.as_ref(), self.hold())
    }
}

/// The container that holds the key of the last good state.
pub(crate) fn container(last: &LastKnown) -> Option<&str> {
    last.good.as_ref().and_then(LastGood::container)
}

/// What a host shows at this moment: observation, handshakes with 444, and why nothing is done there. Changes nothing, and
/// may be asked while a plan is at work.
///
/// # Errors
/// [`WorkError::Driver`] when the host cannot be looked at.
pub fn sight(driver: &dyn Driver, hold: Option<String>) -> Result<Sight, WorkError> {
    let mut sight = driver.observe().map_err(WorkError::Driver)?;
    let name = sight.report.host.fqdn.known().map_or(sight.report.host.name.as_str(), String::as_str).to_owned();
    let (probes, shown) = driver.shake(BACK_END_PORT, &name);
    sight.report.probes = probes;
    sight.certificates.extend(shown.into_iter().map(|certificate| (certificate.id(), certificate)));
    sight.report.hold = hold;
    // What could not travel is unknown here too: both sides judge the same report.
    sight.report = proto::report::fit(sight.report);
    Ok(sight)
}
