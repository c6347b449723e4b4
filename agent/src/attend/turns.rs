//! What the main loop remembers between two turns.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use native::event::Event;
use policy::checkup::Checkup;
use policy::id::PlanId;
use policy::peers::Seen;
use policy::plan::Plan;
use policy::report::Sight;
use proto::signed::SignedBytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::told::Told;
use crate::bench::Bench;
use crate::doctor::Shelf;
use crate::event::{self, tell};
use crate::identity::{IdentityError, Renewed};
use crate::peers::Peers;
use crate::session::Offer;
use crate::work::WorkError;

/// A request for a renewed certificate that is on its way.
pub(super) type Renewal = Pin<Box<dyn Future<Output = Result<Renewed, IdentityError>> + Send>>;

/// A question for newer trust documents that is on its way.
pub(super) type Successors = Pin<Box<dyn Future<Output = Result<Vec<SignedBytes>, IdentityError>> + Send>>;

pub(super) struct Turns {
    /// When the loop began; sessions count from here.
    pub(super) born: Instant,
    /// Names the last plan that has begun.
    pub(super) begun: watch::Receiver<Option<PlanId>>,
    /// What the workbench is busy with.
    pub(super) work: Work,
    /// The plan that was offered and accepted, until the workbench is free.
    pub(super) offer: Option<Offer>,
    /// The agent's own plan, from the look just before.
    pub(super) own: Option<Plan>,
    /// Its last plan that was refused.
    pub(super) refused: Option<Refused>,
    /// Receipts that the controller has, until the workbench is free.
    pub(super) acknowledged: BTreeSet<PlanId>,
    /// Plans that were taken back, until the workbench is free.
    pub(super) cancels: BTreeSet<PlanId>,
    /// The controller asked what is held here; told when the workbench is free.
    pub(super) recall: bool,
    /// An open run was tried since the last look.
    pub(super) recovered: bool,
    pub(super) look_at: Instant,
    /// When a look that is under way has taken so long that the last one says nothing any more; until that was told.
    pub(super) late_at: Option<Instant>,
    /// A look beside a plan at work.
    pub(super) glance: Option<JoinHandle<Result<Sight, WorkError>>>,
    /// Why nothing is done on this host, as the last look found it: it stands in files and the registry, and is not read at each turn.
    pub(super) hold: Option<String>,
    /// What doctor found, as far as it was told.
    pub(super) shelf: Shelf,
    /// A look of doctor's own.
    pub(super) checkup: Option<JoinHandle<Checkup>>,
    /// Not before.
    pub(super) checkup_at: Instant,
    /// Other servers whose 444 is looked at.
    pub(super) peers: Peers,
    /// A handshake with one of them.
    pub(super) handshake: Option<JoinHandle<Seen>>,
    /// What was told last.
    pub(super) told: Told,
    /// There was a session since the start.
    pub(super) met: bool,
    pub(super) renewal: Option<Renewal>,
    pub(super) renew_at: Instant,
    pub(super) renewals_failed: u32,
    pub(super) successors: Option<Successors>,
    troubles: BTreeMap<&'static str, String>,
}

/// A plan of the agent's own that was refused on this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    plan: PlanId,
    times: u32,
    /// It is not tried again before.
    pub(super) until: Instant,
}

impl Refused {
    /// The first pause, which doubles with each refusal of the same plan: a full disk may have room in a moment, and 444 is dead meanwhile.
    const FIRST: Duration = Duration::from_secs(2);

    /// The longest.
    const LAST: Duration = Duration::from_secs(60);

    /// Refused once more.
    pub(super) fn again(before: Option<Self>, plan: PlanId, at: Instant) -> Self {
        let times = before.filter(|before| before.plan == plan).map_or(0, |before| before.times + 1);
        let pause = Self::FIRST.saturating_mul(1 << times.min(16)).min(Self::LAST);
        Self { plan, times, until: at + pause }
    }
}

/// What the workbench is busy with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Nothing,
    Looking,
    /// A plan that persons approved.
    Offered(PlanId),
    /// A plan of the agent's own.
    Own(PlanId),
}

impl Work {
    pub(super) fn is_plan(self) -> bool {
        matches!(self, Self::Offered(_) | Self::Own(_))
    }
}

impl Turns {
    pub(super) fn new(bench: &Bench) -> Self {
        let born = Instant::now();
        Self {
            born,
            begun: bench.begun(),
            work: Work::Nothing,
            offer: None,
            own: None,
            refused: None,
            acknowledged: BTreeSet::new(),
            cancels: BTreeSet::new(),
            recall: false,
            recovered: false,
            look_at: born,
            late_at: None,
            glance: None,
            hold: None,
            shelf: Shelf::default(),
            checkup: None,
            checkup_at: born,
            peers: Peers::default(),
            handshake: None,
            told: Told::default(),
            met: false,
            renewal: None,
            renew_at: born,
            renewals_failed: 0,
            successors: None,
            troubles: BTreeMap::new(),
        }
    }

    /// How long the agent is up: the time of sessions.
    pub(super) fn up(&self) -> Duration {
        self.born.elapsed()
    }

    /// Why nothing is done on this host; told when it changes.
    pub(super) fn held(&mut self, hold: Option<String>) {
        self.told.hold(hold.as_deref());
        self.hold = hold;
    }

    /// Something may have changed on the host. A plan at work changes it itself, and must not be told of in mid-swap: the look
    /// after it is soon enough.
    pub(super) fn woken(&mut self) {
        if !self.work.is_plan() {
            self.look_at = self.look_at.min(Instant::now());
        }
    }

    pub(super) fn may_try(&self, plan: PlanId, at: Instant) -> bool {
        self.refused.is_none_or(|refused| refused.plan != plan || refused.until <= at)
    }

    /// Logs a trouble when it begins or its words change, not at every try. It is an event when it begins: tries at several
    /// controllers may fail in turn for several reasons.
    pub(super) fn grumble(&mut self, trouble: &Trouble, error: &(dyn std::error::Error + 'static)) {
        let (what, text) = (trouble.what, crate::chain(error));
        match self.troubles.insert(what, text.clone()) {
            Some(said) if said == text => {}
            Some(_) => tracing::warn!(error = text, "{what}"),
            None if event::disk_full(what, error) => {}
            None => tell!(trouble.event, what, error = text, "{what}"),
        }
    }

    /// The trouble is over. True when there was one.
    pub(super) fn fine(&mut self, trouble: &Trouble) -> bool {
        self.troubles.remove(trouble.what).is_some()
    }
}

/// Something that goes wrong, and again with each try, until it is over.
pub(super) struct Trouble {
    event: &'static Event,
    /// What it is, for people.
    pub(super) what: &'static str,
}

impl Trouble {
    pub(super) const UNSEEN: Self = Self { event: &event::HOST_UNSEEN, what: "the host could not be looked at" };
    pub(super) const STAYS_OPEN: Self = Self { event: &event::RUN_STAYS_OPEN, what: "the open run could not be taken up" };
    pub(super) const NO_SESSION: Self = Self { event: &event::NO_SESSION, what: "no session with a controller" };
    pub(super) const SENT_AWAY: Self = Self { event: &event::SENT_AWAY, what: "the controller does not let this host speak" };
    pub(super) const NOT_RENEWED: Self =
        Self { event: &event::IDENTITY_NOT_RENEWED, what: "the agent's identity could not be renewed" };
    pub(super) const SESSION_NOT_KEPT: Self = Self::not_written("the state of the session could not be kept");
    pub(super) const CLOCK_NOT_KEPT: Self = Self::not_written("the clock's high-water mark could not be kept");
    pub(super) const POLICY_NOT_CONFIRMED: Self = Self::not_written("that the policy is in force could not be written down");
    pub(super) const CHECKUP_NOT_KEPT: Self = Self::not_written("what doctor found could not be kept");

    const fn not_written(what: &'static str) -> Self {
        Self { event: &event::STATE_NOT_WRITTEN, what }
    }
}

/// The end of something that may be under way; never, when it is not. May be dropped and asked again.
pub(super) async fn ended<F: Future + Unpin>(slot: &mut Option<F>) -> F::Output {
    let Some(under_way) = slot else { return std::future::pending().await };
    let output = under_way.await;
    *slot = None;
    output
}

#[cfg(test)]
mod tests {
    use policy::id::Sha256;

    use super::*;

    #[test]
    fn what_is_refused_again_and_again_is_tried_less_often_and_another_plan_at_once() {
        let (one, other, at) = (Sha256([1; 32]), Sha256([2; 32]), Instant::now());
        let mut refused = None;
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                refused = Some(Refused::again(refused, one, at));
                refused.map_or(0, |refused| (refused.until - at).as_secs())
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(Refused::again(refused, other, at).until - at, Refused::FIRST);
    }
}
