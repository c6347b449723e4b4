//! The shell of a run: journal, ledger, driver and probes on one side, the pure [`Run`] on the other. It does what the run
//! says and nothing else. Everything blocks; callers use a blocking thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use policy::admit::{Ground, Leave, Refusal, admit};
use policy::certificate::Certificate;
use policy::decide::of_container;
use policy::document::Policy;
use policy::id::{CertificateId, PlanId};
use policy::last::LastKnown;
use policy::plan::{Der, Difference, Plan, Shown, Step, untouched};
use policy::receipt::{Outcome, Receipt};
use policy::report::{BACK_END_PORT, ProbeOutcome, Report, Sight};
use policy::trust::{Approval, TrustDocument, Verified};
use proto::signed::{self, SignedBytes};
use thiserror::Error;

use crate::driver::{Driver, DriverError, State};
use crate::journal::{Begun, Journal, JournalError};
use crate::ledger::{Ledger, LedgerError};
use crate::memory::{Memory, MemoryError};
use crate::probe::{path_word, probe};
use crate::run::{Event, Next, Run};

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
    fn authority_fresh(&self, now: Timestamp) -> bool {
        let days = policy::duration::Span::days(self.policy.limits.authority_days);
        self.policy_confirmed.is_some_and(|confirmed| now <= days.after(confirmed))
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
    ledger: Ledger,
    memory: Memory,
    open: Option<PlanId>,
    damaged: Option<String>,
    cancel: Arc<AtomicBool>,
    _lock: File,
}

impl Workbench {
    /// Opens the state folder and locks it.
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
            Ok(found) => (found.and_then(|(_, begun, _)| Plan::from_bytes(&begun.plan.0).ok()).map(|plan| plan.id()), None),
            Err(error @ JournalError::Damaged { .. }) => (None, Some(error.to_string())),
            Err(error @ JournalError::Io { .. }) => return Err(WorkError::Journal(error)),
        };
        let cancel = Arc::new(AtomicBool::new(false));
        Ok(Self { driver, folder: folder.to_owned(), ledger, memory, open, damaged, cancel, _lock: lock })
    }

    /// Looks at the host: observation, handshakes with 444, and memory.
    ///
    /// # Errors
    /// [`WorkError::Driver`] when the host cannot be looked at, [`WorkError::Memory`] when what was seen cannot be kept.
    pub fn look(&mut self, policy: &Policy, now: Timestamp) -> Result<Look, WorkError> {
        let sight = self.sight()?;
        let last = self.memory.last().after(&sight, policy, now);
        self.memory.remember(last.clone()).map_err(WorkError::Memory)?;
        Ok(Look { sight, last })
    }

    /// Takes up the run that a stop cut off. To be called first, before the network (TRUST J4).
    ///
    /// # Errors
    /// [`WorkError`] when journal or host cannot be used; the run stays open.
    pub fn recover(&mut self, standing: &Standing, clock: &dyn Fn() -> Timestamp) -> Result<Option<Receipt>, WorkError> {
        if self.damaged.is_some() {
            return Ok(None);
        }
        let found = Journal::reopen(&self.folder.join("journal")).map_err(WorkError::Journal)?;
        let Some((journal, begun, notes)) = found else { return Ok(None) };
        let plan = match Plan::from_bytes(&begun.plan.0) {
            Ok(plan) => plan,
            Err(error) => {
                self.damaged = Some(format!("the plan in the journal does not read: {error}"));
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
        let run = Run::resume(plan, &notes);
        let signed: Vec<_> = begun.approvals.iter().filter_map(|text| SignedBytes::from_file_text(text).ok()).collect();
        let approvals: Vec<_> = signed.iter().filter_map(|signed| signed::approval(signed).ok()).collect();
        Ok(Some(self.drive(run, journal, &begun, &approvals, standing, clock)))
    }

    /// Admits a plan on a fresh look, and does it. Whatever happens is in the receipt. The receipt of a plan that began is
    /// durable; a refusal is not, since the same plan, asked again, is judged anew.
    pub fn run(&mut self, bytes: &[u8], by: By<'_>, standing: &Standing, clock: &dyn Fn() -> Timestamp) -> Receipt {
        let now = clock();
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
            plan,
            outcome: Outcome::Refused,
            notes,
            foreign: Vec::new(),
            plan_body: None,
            standing: standing_id,
            began_at: now,
            ended_at: now,
            gap_micros: 0,
            objections: refusal.objections,
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
                tracing::error!(error = crate::chain(&error), "journal of a plan that did not begin could not be removed");
            }
            return refused(id, nothing, vec![note]);
        }
        self.open = Some(id);
        if plan.purpose.restores() && standing_id.is_some() {
            let last = self.memory.last().clone().restored(now);
            if let Err(error) = self.memory.remember(last) {
                tracing::error!(error = crate::chain(&error), "last-good file could not be written");
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
        let by_person = || match fs::read_to_string(self.folder.join("hold")) {
            Ok(reason) => Some(format!("held on the host: {}", reason.trim().chars().take(200).collect::<String>())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("held: whether a hold was set cannot be read: {}", error.kind())),
        };
        self.damaged.clone().or_else(by_person)
    }

    /// Set it to let the run at work turn back before its swap.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    fn sight(&self) -> Result<Sight, WorkError> {
        let mut sight = self.driver.observe().map_err(WorkError::Driver)?;
        let name = sight.report.host.fqdn.known().map_or(sight.report.host.name.as_str(), String::as_str).to_owned();
        let (probes, shown) = probe(self.driver.as_ref(), BACK_END_PORT, &name);
        sight.report.probes = probes;
        sight.certificates.extend(shown.into_iter().map(|certificate| (certificate.id(), certificate)));
        sight.report.hold = self.hold();
        Ok(sight)
    }

    /// The loop: do what the run says, report it, repeat.
    fn drive(
        &mut self,
        mut run: Run,
        mut journal: Journal,
        begun: &Begun,
        approvals: &[Verified<Approval>],
        standing: &Standing,
        clock: &dyn Fn() -> Timestamp,
    ) -> Receipt {
        self.cancel.store(false, Ordering::Relaxed);
        let plan = run.plan().clone();
        let mut foreign = Vec::new();
        let outcome = loop {
            if self.cancel.load(Ordering::Relaxed) {
                run.cancel();
            }
            let event = match run.next() {
                Next::Note(note) => Event::Noted(journal.note(&note).map_err(|error| crate::chain(&error))),
                Next::Check(at) => Event::Checked(self.check(&plan.steps[at], &plan, &begun.baseline, &mut foreign)),
                Next::Apply(at) => {
                    let step = &plan.steps[at];
                    tracing::info!(plan = plan.id().short(), step = step.name(), "step");
                    Event::Applied(self.driver.apply(step).map(|applied| applied.gap).map_err(|error| crate::chain(&error)))
                }
                Next::Undo(at) => Event::Undone(self.undo(&plan.steps[at], clock())),
                Next::Readmit => Event::Readmitted(self.readmit(&plan, approvals, begun, standing, clock())),
                Next::Wait(until) => {
                    let pause = until.duration_since(clock()).unsigned_abs().min(std::time::Duration::from_secs(10));
                    if until > clock() {
                        std::thread::sleep(pause);
                    }
                    Event::Waited
                }
                Next::Finish(outcome) => break outcome,
            };
            run.handle(event, clock());
        };
        let by_agent = begun.standing.is_some();
        let receipt = Receipt {
            plan: plan.id(),
            outcome,
            notes: run.notes().to_vec(),
            foreign,
            plan_body: by_agent.then(|| begun.plan.clone()),
            standing: begun.standing,
            began_at: begun.at,
            ended_at: clock(),
            gap_micros: u64::try_from(run.gap().as_micros()).unwrap_or(u64::MAX),
            objections: Vec::new(),
        };
        // Only when the receipt is durable may the journal go; until then recovery comes to the same end.
        match self.ledger.settle(&receipt) {
            Ok(()) => {
                self.open = None;
                if let Err(error) = journal.close() {
                    tracing::error!(error = crate::chain(&error), "journal could not be removed");
                }
            }
            Err(error) => tracing::error!(error = crate::chain(&error), "receipt could not be kept; the journal stays open"),
        }
        receipt
    }

    fn check(&self, step: &Step, plan: &Plan, baseline: &Report, foreign: &mut Vec<String>) -> Result<State, String> {
        match step {
            Step::DryHandshake { .. } => self.driver.apply(step).map(|_| State::Done).map_err(|error| crate::chain(&error)),
            Step::Probe { port, shows } => self.proof(*port, shows),
            Step::Compare => {
                let sight = self.driver.observe().map_err(|error| crate::chain(&error))?;
                *foreign = untouched(baseline, &sight.report, plan).iter().map(ToString::to_string).collect();
                // A change elsewhere is told and stops the wave; it is no reason to take 444 back (rule of restraint 7).
                Ok(State::Done)
            }
            Step::AddCertificate { .. }
            | Step::WriteRecord { .. }
            | Step::CreateKey { .. }
            | Step::GrantKey { .. }
            | Step::Mint { .. }
            | Step::TrustCopy { .. }
            | Step::Swap { .. } => self.driver.check(step).map_err(|error| crate::chain(&error)),
        }
    }

    /// Every path that can be reached at all must show the certificate, and one of them must.
    fn proof(&self, port: u16, shows: &Shown) -> Result<State, String> {
        let sight = self.driver.observe().map_err(|error| crate::chain(&error))?;
        let wanted: CertificateId = match shows {
            Shown::Certificate(id) => *id,
            Shown::OfContainer(container) => of_container(&sight.report, container)
                .ok_or_else(|| format!("no certificate of container {container} is in MY"))?,
        };
        let name = sight.report.host.fqdn.known().map_or(sight.report.host.name.as_str(), String::as_str);
        let (probes, _) = probe(self.driver.as_ref(), port, name);
        let mut shown = false;
        for probe in &probes {
            let found = match &probe.outcome {
                ProbeOutcome::Presented { certificate } if *certificate == wanted => {
                    shown = true;
                    continue;
                }
                ProbeOutcome::Presented { certificate } => certificate.short(),
                ProbeOutcome::NoHandshake(why) => why.clone(),
                ProbeOutcome::Refused => "nobody listens".to_owned(),
                // No IPv6, or a name that resolves elsewhere: not this certificate's fault.
                ProbeOutcome::Unreachable(_) => continue,
            };
            let fact = format!("{port} over {}", path_word(probe.path));
            return Ok(State::Blocked(Difference::new(fact, wanted.short(), found)));
        }
        if shown {
            Ok(State::Done)
        } else {
            Ok(State::Blocked(Difference::new(format!("port {port}"), wanted.short(), "no path that can be reached")))
        }
    }

    fn undo(&self, step: &Step, now: Timestamp) -> Result<(), String> {
        if let Step::Swap { from, .. } = step {
            // Never back into an expired or dangling record (rule of restraint 7).
            let sight = self.driver.observe().map_err(|error| crate::chain(&error))?;
            let old = from
                .thumbprint
                .and_then(|thumbprint| sight.certificates.values().find(|certificate| certificate.thumbprint() == thumbprint));
            match old {
                None => return Err("the outgoing certificate is no longer there".to_owned()),
                Some(old) if expired(old, now) => return Err(format!("the outgoing certificate ended on {}", old.not_after())),
                Some(_) => {}
            }
        }
        self.driver.undo(step).map_err(|error| crate::chain(&error))
    }

    /// Everything of admission but the ledger, for a run that is taken up before its swap.
    fn readmit(
        &self,
        plan: &Plan,
        approvals: &[Verified<Approval>],
        begun: &Begun,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<(), String> {
        let sight = self.sight().map_err(|error| crate::chain(&error))?;
        let others = self.ledger.begun().iter().filter(|id| **id != plan.id()).copied().collect();
        let ground = Ground {
            policy: &standing.policy,
            trust: &standing.trust,
            sight: &sight,
            last: self.memory.last(),
            begun: &others,
            clock: standing.clock_doubt.as_deref(),
            authority_fresh: standing.authority_fresh(now),
            now,
        };
        let leave = if begun.standing.is_some() { Leave::Standing } else { Leave::Approvals(approvals) };
        admit(plan, leave, &ground).map_err(|refusal| refusal.to_string())
    }
}

fn expired(certificate: &Certificate, now: Timestamp) -> bool {
    certificate.not_after() <= now
}
