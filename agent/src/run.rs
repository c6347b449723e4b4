//! One plan being executed, as a pure state machine. It decides; `work` does.
//!
//! The contract of its loop: *do what [`Run::next`] says, report it to [`Run::handle`], repeat until it says
//! [`Next::Finish`]; nothing else touches the host.* Every note is durable before `handle(Noted)` is called, so that after a
//! crash the journal tells how far the host may have come, and each step is asked, never assumed, to be done.
//!
//! A run goes forward: check, note the intention, apply, check again, note that it was done. Where a step cannot be done,
//! a renewal goes backward over what it did; a restore takes nothing back, since what it added is better than what was
//! there. Where somebody else changed the facts of a step that writes, nothing is written any more. From the first step on
//! that changes what the host shows (it *commits*: a swap, any other write of a record, a mark, a binding), a run that was
//! interrupted is finished, never undone for a passed deadline (TRUST J4): its expectations no longer hold, and half of it is
//! neither the old state nor the new.
//!
//! A swap from a record that was dangling has no old good state: whoever takes steps back refuses to write such a record
//! (rule of restraint 7), so that a run which left no record writes the new one, and one that cannot be proven ends as failed
//! with the new certificate in place, which is more than there was.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use policy::id::PlanId;
use policy::plan::{Plan, Step};
use policy::receipt::Outcome;
use serde::{Deserialize, Serialize};

use crate::driver::State;

/// How often a probe or comparison is repeated before it counts as failed: http.sys may need a moment.
const PROOF_TRIES: u32 = 6;

/// The pause before the second try; it doubles with each.
const PROOF_PAUSE: SignedDuration = SignedDuration::from_millis(100);

/// How often a record that is gone in mid-change is written before the run gives up.
const MAX_HALVES: u32 = 5;

/// One durable note of the journal, after the `Begun` that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Note {
    /// Step `n` is about to be done.
    Intend(usize),
    /// Step `n` was done; microseconds without its record, where the step forced a gap.
    Did(usize, u64),
    /// The run turned back before step `n`, and why.
    Turn(usize, String),
    /// Step `n` is about to be taken back.
    Undoing(usize),
    /// The run ended so.
    End(Outcome),
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Make this note durable, then say [`Event::Noted`].
    Note(Note),
    /// Ask whether step `n` is done, ready, half or blocked; then say [`Event::Checked`].
    Check(usize),
    /// Do step `n`, then say [`Event::Applied`].
    Apply(usize),
    /// Take step `n` back, then say [`Event::Undone`].
    Undo(usize),
    /// Ask [`policy::admit`] again, leaving out the ledger; then say [`Event::Readmitted`].
    Readmit,
    /// Come back at that time, with [`Event::Waited`].
    Wait(Timestamp),
    /// The run is over.
    Finish(Outcome),
}

/// What came of it. Errors are texts for people: the run only needs to know that it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The note is durable; or it could not be made so.
    Noted(Result<(), String>),
    /// The answer of the host.
    Checked(Result<State, String>),
    /// Done, with the time that the port had no record; or not.
    Applied(Result<Duration, String>),
    /// Taken back; or not.
    Undone(Result<(), String>),
    /// The plan may still go on; or why not.
    Readmitted(Result<(), String>),
    /// The time has come.
    Waited,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Taken up after a crash before anything was committed: may it go on?
    Readmit { at: usize },
    /// A step that commits was intended and no more is known: what does the host say?
    Ask { at: usize, tries: u32 },
    /// The record is gone in mid-change: first the old one.
    PutBack { at: usize },
    /// Is step `at` done?
    Check { at: usize, tries: u32 },
    /// Wait, then check again; with the gap, where the step was just done.
    Pause { at: usize, tries: u32, until: Timestamp, applied: Option<Duration> },
    /// Note that step `at` is intended.
    Intend { at: usize },
    /// Do it.
    Apply { at: usize },
    /// Does the host now say done?
    Verify { at: usize, gap: Duration, tries: u32 },
    /// Note that it was done.
    Did { at: usize, gap: Duration },
    /// Note that the run turns back.
    Turn { at: usize, why: String },
    /// Note that step `at` is taken back.
    Undoing { at: usize },
    /// Take it back.
    Undo { at: usize },
    /// Note the end.
    End(Outcome),
    /// Over.
    Over(Outcome),
}

/// One plan being executed.
#[derive(Debug, Clone)]
pub struct Run {
    plan: Plan,
    phase: Phase,
    /// Steps that this run intended, so that only these are ever taken back.
    intended: Vec<bool>,
    notes: Vec<String>,
    gap: Duration,
    cancelled: bool,
    /// How often a record was found gone in mid-change.
    halves: u32,
}

impl Run {
    /// A run that has been admitted and whose `Begun` is durable.
    pub fn begin(plan: Plan) -> Self {
        let intended = vec![false; plan.steps.len()];
        Self {
            plan,
            phase: Phase::Check { at: 0, tries: 0 },
            intended,
            notes: Vec::new(),
            gap: Duration::ZERO,
            cancelled: false,
            halves: 0,
        }
        .settled()
    }

    /// A run that a crash cut off, from the notes behind its `Begun`. `None` when a note speaks of a step that the plan does
    /// not have: then the journal cannot be believed.
    pub fn resume(plan: Plan, journal: &[Note]) -> Option<Self> {
        let steps = plan.steps.len();
        let belongs = |note: &Note| match note {
            Note::Intend(at) | Note::Did(at, _) | Note::Turn(at, _) | Note::Undoing(at) => *at < steps,
            Note::End(_) => true,
        };
        if !journal.iter().all(belongs) {
            return None;
        }
        let mut run = Self::begin(plan);
        run.notes.push("taken up again after a stop in mid-run".to_owned());
        let mut phase = Phase::Readmit { at: 0 };
        for note in journal {
            phase = match note {
                Note::Intend(at) => {
                    if let Some(slot) = run.intended.get_mut(*at) {
                        *slot = true;
                    }
                    if run.commits(*at) { Phase::Ask { at: *at, tries: 0 } } else { run.taken_up(*at) }
                }
                Note::Did(at, micros) => {
                    run.gap = run.gap.max(Duration::from_micros(*micros));
                    run.taken_up(at + 1)
                }
                Note::Turn(at, why) => {
                    run.notes.push(why.clone());
                    Phase::Undoing { at: *at }
                }
                Note::Undoing(at) => Phase::Undo { at: *at },
                Note::End(outcome) => Phase::Over(*outcome),
            };
        }
        run.phase = phase;
        Some(run.settled())
    }

    /// As long as nothing is committed, a run that is taken up must be admitted again; after that it is finished.
    fn taken_up(&self, at: usize) -> Phase {
        // A restore adds only what was there before: finishing it harms nothing, and half of it no longer meets its expectations.
        if self.committed(at) || self.plan.purpose.restores() { Phase::Check { at, tries: 0 } } else { Phase::Readmit { at } }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan's id.
    pub fn id(&self) -> PlanId {
        self.plan.id()
    }

    /// What happened, in order, for people.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The longest time that the port of a record was without it.
    pub fn gap(&self) -> Duration {
        self.gap
    }

    /// Asks the run to turn back if it can: as long as nothing is committed it does, after that it goes on to its end.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// What is to be done.
    pub fn next(&self) -> Next {
        match &self.phase {
            Phase::Readmit { .. } => Next::Readmit,
            Phase::Ask { at, .. } | Phase::Check { at, .. } | Phase::Verify { at, .. } => Next::Check(*at),
            Phase::PutBack { at } | Phase::Undo { at } => Next::Undo(*at),
            Phase::Pause { until, .. } => Next::Wait(*until),
            Phase::Intend { at } => Next::Note(Note::Intend(*at)),
            Phase::Apply { at } => Next::Apply(*at),
            Phase::Did { at, gap } => Next::Note(Note::Did(*at, u64::try_from(gap.as_micros()).unwrap_or(u64::MAX))),
            Phase::Turn { at, why } => Next::Note(Note::Turn(*at, why.clone())),
            Phase::Undoing { at } => Next::Note(Note::Undoing(*at)),
            Phase::End(outcome) => Next::Note(Note::End(*outcome)),
            Phase::Over(outcome) => Next::Finish(*outcome),
        }
    }

    /// Takes in what came of the last [`Run::next`]. An event that does not belong to it changes nothing.
    pub fn handle(&mut self, event: Event, now: Timestamp) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over(Outcome::Failed));
        self.phase = match (phase, event) {
            (Phase::Readmit { at }, Event::Readmitted(Ok(()))) => Phase::Check { at, tries: 0 },
            (Phase::Readmit { at }, Event::Readmitted(Err(why))) => self.turn(at, why),

            (Phase::Ask { at, .. }, Event::Checked(Ok(State::Done))) => Phase::Did { at, gap: Duration::ZERO },
            (Phase::Ask { at, .. }, Event::Checked(Ok(State::Ready))) => self.taken_up(at),
            (Phase::Ask { at, .. }, Event::Checked(Ok(State::Half))) => self.put_back(at),
            (Phase::Ask { at, .. }, Event::Checked(Ok(State::Blocked(difference)))) => self.foreign(at, &difference.to_string()),
            (Phase::Ask { at, tries }, Event::Checked(Err(why))) => self.retry(at, tries, &why, None, now),

            (Phase::PutBack { at }, Event::Undone(Ok(()))) => {
                self.say(at, "the record was gone in mid-change: the old one was written back");
                if self.halves > 1 { self.turn(at, "it left no record twice".to_owned()) } else { self.taken_up(at) }
            }
            (Phase::PutBack { at }, Event::Undone(Err(why))) => {
                self.say(
                    at,
                    &format!("the record was gone in mid-change and the old one cannot be written ({why}): the new one is"),
                );
                Phase::Apply { at }
            }

            (Phase::Check { at, tries }, Event::Checked(answer)) => self.checked(at, tries, answer, now),
            (Phase::Pause { at, tries, applied: Some(gap), .. }, Event::Waited) => Phase::Verify { at, gap, tries },
            (Phase::Pause { at, tries, .. }, Event::Waited) if self.commits(at) => Phase::Ask { at, tries },
            (Phase::Pause { at, tries, .. }, Event::Waited) => Phase::Check { at, tries },

            (Phase::Intend { at }, Event::Noted(Ok(()))) => {
                if let Some(slot) = self.intended.get_mut(at) {
                    *slot = true;
                }
                Phase::Apply { at }
            }
            (Phase::Intend { at }, Event::Noted(Err(why))) => {
                self.turn(at, format!("the journal does not take another note: {why}"))
            }

            (Phase::Apply { at }, Event::Applied(Ok(gap))) => {
                self.gap = self.gap.max(gap);
                Phase::Verify { at, gap, tries: 0 }
            }
            (Phase::Apply { at }, Event::Applied(Err(why))) => {
                self.say(at, &format!("did not succeed: {why}"));
                // Perhaps it did all the same: the host is asked.
                Phase::Verify { at, gap: Duration::ZERO, tries: 0 }
            }

            (Phase::Verify { at, gap, .. }, Event::Checked(Ok(State::Done))) => Phase::Did { at, gap },
            (Phase::Verify { at, .. }, Event::Checked(Ok(State::Half))) => self.put_back(at),
            (Phase::Verify { at, .. }, Event::Checked(Ok(State::Blocked(difference)))) => {
                self.foreign(at, &difference.to_string())
            }
            (Phase::Verify { at, .. }, Event::Checked(Ok(State::Ready))) => {
                self.turn(at, "the host does not say that it is done".to_owned())
            }
            // A call that did not come back in time may still be done: nobody goes back before the host says how far it came.
            (Phase::Verify { at, gap, tries }, Event::Checked(Err(why))) => self.retry(at, tries, &why, Some(gap), now),

            // What was done is done, whether it could be noted or not; recovery asks the host.
            (Phase::Did { at, .. }, Event::Noted(_)) => {
                self.say(at, "done");
                if self.cancelled && self.turns_at(at + 1) {
                    self.turn(at + 1, "called off".to_owned())
                } else {
                    Phase::Check { at: at + 1, tries: 0 }
                }
            }

            (Phase::Turn { at, .. }, Event::Noted(_)) => Phase::Undoing { at },
            (Phase::Undoing { at }, Event::Noted(_)) => Phase::Undo { at },
            (Phase::Undo { at }, Event::Undone(Ok(()))) => {
                self.say(at, "taken back");
                self.further_back(at)
            }
            (Phase::Undo { at }, Event::Undone(Err(why))) => {
                self.say(at, &format!("could not be taken back: {why}"));
                Phase::End(Outcome::Failed)
            }

            // The end is true even where it could not be noted: recovery comes to the same one.
            (Phase::End(outcome), Event::Noted(_)) => Phase::Over(outcome),

            (phase, _) => phase,
        };
        let settled = self.clone().settled();
        *self = settled;
    }

    /// Moves on over phases that need nothing from the shell.
    fn settled(mut self) -> Self {
        loop {
            let at_end = matches!(self.phase, Phase::Check { at, .. } | Phase::Readmit { at } if at >= self.plan.steps.len());
            if at_end {
                self.phase = Phase::End(Outcome::Restored);
                return self;
            }
            let Phase::Undoing { at } = self.phase else { return self };
            if self.takes_back(at) {
                return self;
            }
            // Steps that this run never intended, or that leave nothing, are not taken back.
            self.phase = self.further_back(at);
        }
    }

    fn checked(&mut self, at: usize, tries: u32, answer: Result<State, String>, now: Timestamp) -> Phase {
        let proof = self.proof(at);
        match answer {
            Ok(State::Done) if proof => {
                self.say(at, "holds");
                Phase::Check { at: at + 1, tries: 0 }
            }
            Ok(State::Done) => {
                // A run that was taken up finds a step done that it intended; a fresh one finds it done by nobody of ours.
                self.say(at, "was done already");
                Phase::Check { at: at + 1, tries: 0 }
            }
            Ok(State::Ready) if !proof => Phase::Intend { at },
            Ok(State::Ready) => self.retry(at, tries, "not shown yet", None, now),
            Ok(State::Half) => self.put_back(at),
            Ok(State::Blocked(difference)) if proof => self.retry(at, tries, &difference.to_string(), None, now),
            Ok(State::Blocked(difference)) => self.foreign(at, &difference.to_string()),
            Err(why) => self.retry(at, tries, &why, None, now),
        }
    }

    /// The record is gone in mid-change: the old one, else the new one; a few times, then a person must look.
    fn put_back(&mut self, at: usize) -> Phase {
        self.halves += 1;
        if self.halves > MAX_HALVES {
            self.say(at, "neither the old nor the new record can be written: the port has none, a person must look");
            return Phase::End(Outcome::Failed);
        }
        Phase::PutBack { at }
    }

    /// Tries again a few times with a growing pause, then turns back.
    fn retry(&mut self, at: usize, tries: u32, why: &str, applied: Option<Duration>, now: Timestamp) -> Phase {
        if tries + 1 >= PROOF_TRIES {
            return self.turn(at, format!("{}: {why}", self.name(at)));
        }
        let pause = PROOF_PAUSE.saturating_mul(1 << tries);
        Phase::Pause { at, tries: tries + 1, until: now.checked_add(pause).unwrap_or(Timestamp::MAX), applied }
    }

    /// Goes back over what was done; a restore has nothing to go back over.
    fn turn(&mut self, at: usize, why: String) -> Phase {
        self.say(at, &why);
        if self.plan.purpose.restores() {
            return Phase::End(if self.intended.contains(&true) { Outcome::Failed } else { Outcome::Undone });
        }
        Phase::Turn { at, why }
    }

    /// Somebody else changed what this step writes: nothing is written any more.
    fn foreign(&mut self, at: usize, difference: &str) -> Phase {
        self.say(at, &format!("somebody else was here: {difference}"));
        Phase::End(Outcome::Superseded)
    }

    fn further_back(&self, at: usize) -> Phase {
        match at.checked_sub(1) {
            Some(before) => Phase::Undoing { at: before },
            None => Phase::End(Outcome::Undone),
        }
    }

    fn takes_back(&self, at: usize) -> bool {
        let leaves = self.commits(at)
            || self.plan.steps.get(at).is_some_and(|step| matches!(step, Step::TrustCopy { .. } | Step::Mint { .. }));
        leaves && self.intended.get(at).copied().unwrap_or(false)
    }

    /// Whether a run that is called off turns back before step `at`: not once something is committed.
    fn turns_at(&self, at: usize) -> bool {
        !self.plan.purpose.restores() && !self.committed(at)
    }

    /// Whether a step before `at` commits.
    fn committed(&self, at: usize) -> bool {
        (0..at).any(|before| self.commits(before))
    }

    /// Steps that change what the host shows to others, and what the plan expects to find.
    fn commits(&self, at: usize) -> bool {
        match self.plan.steps.get(at) {
            Some(
                Step::Swap { .. }
                | Step::ChangeRecord { .. }
                | Step::WriteRecord { .. }
                | Step::Bind { .. }
                | Step::Unarchive { .. }
                | Step::RemoveRecord { .. }
                | Step::ChangeBinding { .. },
            ) => true,
            Some(
                Step::AddCertificate { .. }
                | Step::CreateKey { .. }
                | Step::GrantKey { .. }
                | Step::Mint { .. }
                | Step::TrustCopy { .. }
                | Step::DryHandshake { .. }
                | Step::Probe { .. }
                | Step::Compare,
            )
            | None => false,
        }
    }

    /// Steps that only look.
    fn proof(&self, at: usize) -> bool {
        matches!(self.plan.steps.get(at), Some(Step::DryHandshake { .. } | Step::Probe { .. } | Step::Compare))
    }

    fn name(&self, at: usize) -> &'static str {
        self.plan.steps.get(at).map_or("end", Step::name)
    }

    fn say(&mut self, at: usize, what: &str) {
        self.notes.push(format!("{}: {what}", self.name(at)));
    }
}

#[cfg(test)]
mod tests;
