//! The loop of a run: do what the run says, report it, repeat. Steps that only look are done here, the others by the driver.

use std::time::Duration;

use jiff::Timestamp;
use policy::admit::{Ground, Leave, admit};
use policy::decide::of_container;
use policy::id::CertificateId;
use policy::plan::{Difference, Plan, Shown, Step, untouched};
use policy::receipt::Receipt;
use policy::report::{Fact, ProbeOutcome, Report, SslRecord};
use policy::trust::{Approval, Verified};

use super::{Clock, Standing, Workbench};
use crate::driver::State;
use crate::event;
use crate::journal::{Begun, Journal};
use crate::probe::path_word;
use crate::run::{Event, Next, Run};

/// The longest sleep between two questions of a run.
const MAX_PAUSE: Duration = Duration::from_secs(10);

impl Workbench {
    /// Drives a run to its end. The receipt is durable when it returns, unless the disk refuses it; then the journal, which
    /// has room of its own, stays open with the end in it.
    pub(super) fn drive(
        &mut self,
        mut run: Run,
        mut journal: Journal,
        begun: &Begun,
        approvals: &[Verified<Approval>],
        standing: &Standing,
        clock: &dyn Clock,
    ) -> Receipt {
        let plan = run.plan().clone();
        let id = plan.id();
        let mut foreign = Vec::new();
        let outcome = loop {
            if self.called_off.is(&id) {
                run.cancel();
            }
            let event = match run.next() {
                Next::Note(note) => Event::Noted(journal.note(&note).map_err(|error| crate::chain(&error))),
                Next::Check(at) => Event::Checked(self.check(&plan.steps[at], &plan, &begun.baseline, &mut foreign)),
                Next::Apply(at) => {
                    let step = &plan.steps[at];
                    tracing::info!(plan = id.short(), step = step.name(), "step");
                    Event::Applied(self.driver.apply(step).map(|applied| applied.gap).map_err(|error| crate::chain(&error)))
                }
                Next::Undo(at) => Event::Undone(self.undo(&plan.steps[at], clock.now())),
                Next::Readmit => Event::Readmitted(self.readmit(&plan, approvals, begun, standing, clock.now())),
                Next::Wait(until) => {
                    let pause = until.duration_since(clock.now()).unsigned_abs().min(MAX_PAUSE);
                    if until > clock.now() {
                        clock.sleep(pause);
                    }
                    Event::Waited
                }
                Next::Finish(outcome) => break outcome,
            };
            run.handle(event, clock.now());
        };
        let by_agent = begun.standing.is_some();
        let receipt = Receipt {
            plan: id,
            outcome,
            notes: run.notes().to_vec(),
            foreign,
            plan_body: by_agent.then(|| begun.plan.clone()),
            standing: begun.standing,
            began_at: begun.at,
            ended_at: clock.now(),
            gap_micros: u64::try_from(run.gap().as_micros()).unwrap_or(u64::MAX),
            objections: Vec::new(),
        };
        // Only when the receipt is durable may the journal go; until then recovery comes to the same end.
        match self.ledger.settle(&receipt) {
            Ok(()) => {
                self.open = None;
                if let Err(error) = journal.close() {
                    let (event, what, error) =
                        (event::STATE_NOT_WRITTEN.id, "journal of a plan that ended", crate::chain(&error));
                    tracing::warn!(event, what, error, "journal could not be removed");
                }
            }
            Err(error) => {
                let error = crate::chain(&error);
                tracing::error!(event = event::RECEIPT_NOT_KEPT.id, error, "receipt could not be kept; the journal stays open");
            }
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
            | Step::Swap { .. }
            | Step::ChangeRecord { .. }
            | Step::Bind { .. }
            | Step::Unarchive { .. }
            | Step::RemoveRecord { .. }
            | Step::ChangeBinding { .. } => self.driver.check(step).map_err(|error| crate::chain(&error)),
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
        let (probes, _) = self.driver.shake(port, own_name(&sight.report));
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
                ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => continue,
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

    /// Takes a step back, unless that would leave the port with less than it has: never back into an expired or dangling
    /// record (rule of restraint 7), and never to none while what was written serves.
    fn undo(&self, step: &Step, now: Timestamp) -> Result<(), String> {
        match step {
            Step::Swap { from: old, .. } | Step::ChangeRecord { from: old, .. } => self.goes_back_to(old, now)?,
            Step::WriteRecord { record } | Step::Bind { record, .. } => self.serves_nothing(step, record)?,
            Step::AddCertificate { .. }
            | Step::CreateKey { .. }
            | Step::GrantKey { .. }
            | Step::Mint { .. }
            | Step::TrustCopy { .. }
            | Step::DryHandshake { .. }
            | Step::Unarchive { .. }
            | Step::RemoveRecord { .. }
            | Step::ChangeBinding { .. }
            | Step::Probe { .. }
            | Step::Compare => {}
        }
        self.driver.undo(step).map_err(|error| crate::chain(&error))
    }

    /// Whether the record may be written again: its certificate is there, opens, and has not ended.
    fn goes_back_to(&self, old: &SslRecord, now: Timestamp) -> Result<(), String> {
        let sight = self.driver.observe().map_err(|error| crate::chain(&error))?;
        let gone = || "the outgoing certificate is no longer there".to_owned();
        let thumbprint = old.thumbprint.ok_or_else(gone)?;
        let entry = match sight.report.entry(&old.store(), thumbprint) {
            Fact::Known(entry) => entry.ok_or_else(gone)?,
            Fact::Unknown(why) => return Err(format!("it is not known whether the outgoing certificate is there: {why}")),
        };
        let certificate = sight.certificates.get(&entry.certificate).ok_or_else(gone)?;
        if certificate.not_after() <= now {
            return Err(format!("the outgoing certificate ended on {}", certificate.not_after()));
        }
        if entry.key_usable() { Ok(()) } else { Err("the key of the outgoing certificate is not known to work".to_owned()) }
    }

    /// Where no record was before, one that serves is more than there was: it stays.
    fn serves_nothing(&self, step: &Step, record: &SslRecord) -> Result<(), String> {
        let written = self.driver.check(step).map_err(|error| crate::chain(&error))?;
        let (State::Done, Some(port)) = (written, record.port()) else { return Ok(()) };
        let sight = self.driver.observe().map_err(|error| crate::chain(&error))?;
        let stands = |found: &&SslRecord| found.kind == record.kind && found.endpoint == record.endpoint;
        let found = sight.report.records.known().and_then(|records| records.iter().find(stands));
        let named = found.and_then(|found| *sight.report.entry(&found.store(), found.thumbprint?).known()?);
        let (probes, _) = self.driver.shake(port, own_name(&sight.report));
        let serves = |outcome: &ProbeOutcome| match outcome {
            ProbeOutcome::Presented { certificate } => named.is_some_and(|named| named.certificate == *certificate),
            ProbeOutcome::NoHandshake(_) | ProbeOutcome::Refused | ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => {
                false
            }
        };
        match probes.iter().find(|probe| serves(&probe.outcome)) {
            None => Ok(()),
            Some(serving) => {
                Err(format!("there was no record on {port} before, and now it serves over {}: it stays", path_word(serving.path)))
            }
        }
    }

    /// Everything of admission but the ledger, for a run that is taken up before it committed anything.
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

fn own_name(report: &Report) -> &str {
    report.host.fqdn.known().map_or(report.host.name.as_str(), String::as_str)
}
