//! The main loop of an agent that has joined: it looks, decides, works and tells, one thing at a time.
//!
//! ```text
//!   watcher ──wake──▶ ┌────────┐ ──looks, plans──▶ bench (a blocking thread: driver, journal, ledger)
//!   timers ─────────▶ │ attend │ ◀──────done──────
//!                     └────────┘ ──effects──▶ link ══ TLS ══▶ controller
//!   authority, session ──┘  ▲ ◀──events──────┘
//! ```
//!
//! All state is here and nothing is shared, so that whatever happens is handled to its end before the next thing.
//! While a plan is at work the host is still looked at, but nothing else is begun (TRUST J6).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use policy::last::LastKnown;
use policy::receipt::{Outcome, Receipt};
use policy::report::Sight;
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::bench::{Bench, Done};
use crate::config::Config;
use crate::driver::Driver;
use crate::event::{self, tell};
use crate::identity::Identity;
use crate::link::Link;
use crate::session::{Latest, Offer, Session};
use crate::view::{View, unseen};
use crate::work::{Look, WorkError, sight};
use crate::{AgentError, VERSION, now};

mod doctor;
mod peers;
mod renew;
mod talk;
mod told;
mod turns;

use turns::{Refused, Trouble, Turns, Work};

/// The shortest time between two looks, however often the host changes.
const BREATH: Duration = Duration::from_millis(200);

/// A look that is not done when so many others were due hangs in a call of the system.
const LATE: u32 = 5;

/// How long a plan at work may take to come to its end when the agent is stopped; the journal makes it safe to leave then.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A look that does not end. Heartbeats would go on saying that nothing has changed.
#[derive(Debug, thiserror::Error)]
#[error("expected a look at this host to end within {0} s, found it under way: a call of the system does not return")]
struct Hangs(u64);

/// Everything about the one host.
pub(crate) struct Attendant {
    pub(crate) config: Config,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) bench: Bench,
    pub(crate) authority: Authority,
    pub(crate) identity: Identity,
    pub(crate) session: Session,
    pub(crate) link: Link,
    pub(crate) wake: Arc<Notify>,
}

impl Attendant {
    /// Attends to the host until `stop`. A plan at work comes to its end first, within a minute.
    pub(crate) async fn attend(mut self, stop: CancellationToken) -> Result<(), AgentError> {
        let mut turns = Turns::new(&self.bench);
        turns.renew_at = self.renewal_due();
        turns.held(self.bench.free().and_then(|workbench| workbench.hold()));
        self.dial(Duration::ZERO);
        let mut leave_by: Option<Instant> = None;
        loop {
            if leave_by.is_none() {
                self.begin_work(&mut turns);
            } else if self.bench.free().is_some() {
                break;
            }
            let due = self.due(&turns, leave_by);
            tokio::select! {
                () = stop.cancelled(), if leave_by.is_none() => {
                    tracing::info!(event = event::STOP_REQUESTED.id, version = VERSION, "stopping");
                    leave_by = Some(Instant::now() + STOP_LIMIT);
                }
                done = self.bench.done() => self.worked(done.map_err(AgentError::Lost)?, &mut turns),
                Ok(()) = turns.begun.changed() => self.begun(&mut turns),
                event = self.link.next() => self.heard(event, &mut turns),
                () = self.wake.notified() => turns.woken(),
                sight = turns::ended(&mut turns.glance) => self.glanced(sight, &mut turns),
                checkup = turns::ended(&mut turns.checkup) => self.examined(checkup, &mut turns),
                seen = turns::ended(&mut turns.handshake) => self.looked_beside(seen, &mut turns),
                renewed = turns::ended(&mut turns.renewal) => self.renewed(renewed, &mut turns),
                found = turns::ended(&mut turns.successors) => self.succeeded(found, &mut turns),
                () = sleep_until(due) => {
                    if leave_by.is_some_and(|by| by <= Instant::now()) {
                        let (event, version) = (event::LEFT_AT_WORK.id, VERSION);
                        tracing::warn!(event, version, "the work in hand did not end in time: the next start takes its journal up");
                        break;
                    }
                    self.tick(&mut turns);
                }
            }
        }
        self.link.finish().await;
        Ok(())
    }

    /// Gives the workbench the next thing to do, if it has nothing: what was said first, then orders, then the agent's own
    /// plan, then a look.
    fn begin_work(&mut self, turns: &mut Turns) {
        let (at, now) = (Instant::now(), now());
        let Some(workbench) = self.bench.free() else {
            if turns.work.is_plan() && turns.look_at <= at && turns.glance.is_none() {
                let (driver, hold) = (self.driver.clone(), turns.hold.clone());
                turns.glance = Some(spawn_blocking(move || sight(driver.as_ref(), hold)));
                turns.look_at = at + self.config.look_every;
            }
            return;
        };
        for plan in std::mem::take(&mut turns.acknowledged) {
            if let Err(error) = workbench.acknowledge(&plan) {
                let (event, what, error) = (event::STATE_NOT_WRITTEN.id, "acknowledged receipt", crate::chain(&error));
                tracing::warn!(event, what, plan = plan.short(), error, "acknowledged receipt could not be put away");
            }
        }
        let taken_back = std::mem::take(&mut turns.cancels).into_iter();
        let receipts: Vec<_> =
            taken_back.map(|plan| workbench.ended(&plan).unwrap_or_else(|| Receipt::taken_back(plan, now))).collect();
        let recalled = std::mem::take(&mut turns.recall).then(|| workbench.every_receipt());
        let open = workbench.open_plan().filter(|_| !turns.recovered);
        let own = turns.own.take().map(|plan| plan.untried(|id| workbench.has_begun(id)));
        if let Some(Offer { id, plan, approvals }) = turns.offer.take() {
            tracing::info!(event = event::PLAN_OFFERED.id, plan = id.short(), "an offered plan is judged");
            self.bench.run(plan, Some(approvals), self.authority.standing(now), crate::now);
            turns.work = Work::Offered(id);
            turns.look_at = at + self.config.look_every;
        } else if let Some(plan) = own.filter(|plan| turns.may_try(plan.id(), at)) {
            let id = plan.id();
            let (event, purpose) = (event::OWN_PLAN.id, plan.purpose.as_str());
            tracing::info!(event, plan = id.short(), purpose, "the policy lets the agent act");
            self.session.starts(id);
            self.bench.run(plan.to_bytes(), None, self.authority.standing(now), crate::now);
            turns.work = Work::Own(id);
            turns.look_at = at + self.config.look_every;
        } else if turns.look_at <= at {
            if open.is_some() {
                // Its receipt could not be kept, or the host could not be asked: that comes before everything, once per look.
                self.bench.recover(self.authority.standing(now), crate::now);
                turns.recovered = true;
            } else {
                self.bench.look(self.authority.standing(now), now);
                turns.recovered = false;
                turns.look_at = at + self.config.look_every;
            }
            turns.work = Work::Looking;
            turns.late_at = Some(at + self.config.look_every * LATE);
        }
        for receipt in receipts {
            let effects = self.session.settled(receipt, turns.up());
            self.perform(effects, turns);
        }
        if let Some(receipts) = recalled {
            self.recall(receipts, turns);
        }
    }

    fn begun(&mut self, turns: &mut Turns) {
        let plan = *turns.begun.borrow_and_update();
        if let Some(plan) = plan {
            tracing::info!(event = event::PLAN_BEGAN.id, plan = plan.short(), "a plan has begun");
        }
        let effects = plan.map(|plan| self.session.began(plan)).unwrap_or_default();
        self.perform(effects, turns);
    }

    fn worked(&mut self, done: Done, turns: &mut Turns) {
        let work = std::mem::replace(&mut turns.work, Work::Nothing);
        turns.late_at = None;
        match done {
            Done::Looked(Ok(look)) => self.looked(*look, turns),
            Done::Looked(Err(error)) => self.unseen(&error, turns),
            Done::Recovered(Ok(Some(receipt))) => self.ended(receipt, turns),
            Done::Recovered(Ok(None)) => self.ended_before(turns),
            Done::Recovered(Err(error)) => turns.grumble(&Trouble::STAYS_OPEN, &error),
            Done::Ran(receipt) if receipt.outcome == Outcome::Refused && matches!(work, Work::Own(_)) => {
                let (plan, notes) = (receipt.plan.short(), receipt.notes.join("; "));
                tracing::warn!(event = event::PLAN_REFUSED.id, plan, notes, "the agent's own plan was refused");
                let refused = Refused::again(turns.refused, receipt.plan, Instant::now());
                turns.look_at = turns.look_at.min(refused.until);
                turns.refused = Some(refused);
                let effects = self.session.gave_up(receipt.plan);
                self.perform(effects, turns);
            }
            Done::Ran(receipt) => self.ended(receipt, turns),
        }
    }

    /// A receipt is told at once; what the host looks like then is the next look's to say.
    fn ended(&mut self, receipt: Receipt, turns: &mut Turns) {
        let (plan, outcome, notes) = (receipt.plan.short(), receipt.outcome.as_str(), receipt.notes.join("; "));
        tell!(event::of_outcome(receipt.outcome), plan, outcome, notes, "plan ended");
        let effects = self.session.settled(receipt, turns.up());
        self.perform(effects, turns);
        turns.look_at = Instant::now();
    }

    /// A run that seemed open had its receipt already.
    fn ended_before(&mut self, turns: &mut Turns) {
        let Some(plan) = self.session.at_work() else { return };
        if let Some(receipt) = self.bench.free().and_then(|workbench| workbench.ended(&plan)) {
            self.ended(receipt, turns);
        }
    }

    fn looked(&mut self, look: Look, turns: &mut Turns) {
        let (at, now) = (Instant::now(), now());
        if turns.fine(&Trouble::UNSEEN) {
            tracing::info!(event = event::HOST_SEEN.id, version = VERSION, "the host can be looked at again");
        }
        turns.fine(&Trouble::STAYS_OPEN);
        turns.held(look.sight.report.hold.clone());
        match self.authority.clock_read(now) {
            Ok(()) => drop(turns.fine(&Trouble::CLOCK_NOT_KEPT)),
            Err(error) => turns.grumble(&Trouble::CLOCK_NOT_KEPT, &error),
        }
        let standing = self.authority.standing(now);
        turns.told.standing(&standing, self.authority.held().policy.is_some(), now);
        let view = View::of(&look, &standing.policy, standing.authority_fresh(now), now);
        turns.told.view(&view);
        let View { text, act, look_again, assessment: _ } = view;
        let memory = Some(look.last);
        turns.look_at = turns.look_at.max(at + BREATH);
        if let Some(moment) = look_again {
            turns.look_at = turns.look_at.min(at + moment.duration_since(now).unsigned_abs().max(BREATH));
        }
        turns.own = act.filter(|_| self.session.at_work().is_none());
        self.tell(look.sight, memory, text, turns);
    }

    /// A look while a plan is at work: it is told, and nothing follows from it.
    fn glanced(&mut self, sight: Result<Result<Sight, WorkError>, JoinError>, turns: &mut Turns) {
        match (sight, &turns.work) {
            (Ok(Ok(sight)), Work::Offered(plan) | Work::Own(plan)) => {
                let text = format!("plan {} is at work", plan.short());
                self.tell(sight, None, text, turns);
            }
            // The plan has ended meanwhile: the look that follows knows more.
            (Ok(Ok(_)), Work::Nothing | Work::Looking) => {}
            (Ok(Err(error)), _) => turns.grumble(&Trouble::UNSEEN, &error),
            (Err(error), _) => turns.grumble(&Trouble::UNSEEN, &error),
        }
    }

    /// Not to know is worth telling: what was seen before is no longer so sure.
    fn unseen(&mut self, error: &(dyn Error + 'static), turns: &mut Turns) {
        turns.grumble(&Trouble::UNSEEN, error);
        let why = format!("{}: {}", Trouble::UNSEEN.what, crate::chain(error));
        let hold = turns.hold.clone();
        self.tell(unseen(&self.identity.joined().server, &why, hold), None, why, turns);
    }

    fn tell(&mut self, sight: Sight, memory: Option<LastKnown>, decision: String, turns: &mut Turns) {
        let digest = sight.report.digest();
        let latest = Arc::new(Latest { sight, digest, memory, decision, seen_at: now() });
        let effects = self.session.looked(latest, turns.up());
        self.perform(effects, turns);
    }

    fn tick(&mut self, turns: &mut Turns) {
        if turns.late_at.take_if(|late| *late <= Instant::now()).is_some() {
            self.unseen(&Hangs((self.config.look_every * LATE).as_secs()), turns);
        }
        let effects = self.session.tick(turns.up());
        self.perform(effects, turns);
        self.visit(turns);
        self.look_beside(turns);
        self.renew_if_due(turns);
    }

    /// When something is due though nothing happens. Whoever is about to leave begins nothing any more.
    fn due(&mut self, turns: &Turns, leave_by: Option<Instant>) -> Instant {
        let session = self.session.due().map(|up| turns.born + up);
        let far = Instant::now() + self.config.look_every;
        let due = session.into_iter().chain([far]);
        if let Some(leave_by) = leave_by {
            return due.chain([leave_by]).min().unwrap_or(far);
        }
        let can_look = self.bench.free().is_some() || (turns.work.is_plan() && turns.glance.is_none());
        let look = can_look.then_some(turns.look_at);
        let renewal = turns.renewal.is_none().then_some(turns.renew_at);
        let beside = turns.peers.due(self.peer_checks()).filter(|_| turns.handshake.is_none()).map(|up| turns.born + up);
        due.chain(look).chain(renewal).chain(beside).chain(turns.late_at).min().unwrap_or(far)
    }
}
