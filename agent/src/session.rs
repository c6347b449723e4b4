//! The agent's half of a session with a controller, as a pure state machine: what to send next, what is not acknowledged
//! yet, and when to begin anew.
//!
//! The contract with whoever holds the socket: hand in what happened, do the [`Effect`]s in order, and when one of them
//! cannot be done, drop the connection. Nothing else talks to the controller. Time is how long the agent has been up; the
//! clock on the wall is no concern of a session.
//!
//! * At most one report is on its way. A newer look replaces the one that waits; what changed back meanwhile is not told.
//! * Receipts stay until the controller has them on disk, and are told again in each new session.
//! * Checkups are told to a controller that says it keeps them and does not name them in its welcome.
//! * Everything may arrive twice or late. An acknowledgement counts only for what was sent in this session.
//! * What is not answered within [`ANSWER_LIMIT`] ends the session: a new one begins from what is on disk on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use policy::Timestamp;
use policy::checkup::Kind;
use policy::id::{CertificateId, Generation, PlanId, PolicyId, Sha256};
use policy::last::LastKnown;
use policy::peers::{Seen, Target};
use policy::receipt::{Outcome, Receipt};
use proto::checkup::Named;

use crate::backoff;

mod message;
#[cfg(test)]
mod tests;

pub use message::{
    Acknowledged, Anchor, Document, FromController, Held, Hello, Kept, Latest, Offer, Remembered, Speaker, ToController, Version,
    Welcome,
};

/// How long the controller may take to answer a hello, a report, a receipt or a checkup.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A session that held this long was a good one: the next wait is short again.
const STEADY: Duration = Duration::from_secs(60);

/// Receipts on their way at a time.
const RECEIPT_WINDOW: usize = 16;

/// Refusals that wait for an acknowledgement. They are judged anew when the plan is offered again, so the oldest may go.
const MAX_REFUSALS: usize = 64;

/// The largest message with certificates, in bytes of DER.
const MAX_CERTIFICATES: usize = 256 * 1024;

/// Something to do for the session, in the order given.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Make this durable before the next effect.
    Keep(Kept),
    /// Send this.
    Send(ToController),
    /// Run this plan as soon as nothing else is at work.
    Run(Offer),
    /// This plan was taken back.
    Cancel(PlanId),
    /// The controller has this receipt on disk.
    Settle(PlanId),
    /// Judge this document; say by [`Session::held`] what is held then.
    Judge(Document),
    /// An authenticated controller named the policy in force and its own clock.
    Confirm {
        /// The policy.
        policy: Option<PolicyId>,
        /// The controller's clock.
        clock: Timestamp,
    },
    /// Gather what is held and every receipt that is kept, then [`Session::recalled`].
    Recall,
    /// Look at the 444 of these servers from now on, and of no others; say by [`Session::witnessed`] what is shown.
    LookBeside(Vec<Target>),
    /// Drop the connection and begin anew.
    Reconnect(&'static str),
}

/// The session.
#[derive(Debug)]
pub struct Session {
    speaker: Speaker,
    held: Held,
    kept: Kept,
    latest: Option<Arc<Latest>>,
    /// When the last plan was done. The look that follows is told also when it reads as before: a loss that nobody was told of,
    /// put back, leaves everything as it was, and the controller waits to hear just that.
    prove: Option<Timestamp>,
    receipts: BTreeMap<PlanId, Receipt>,
    checkups: BTreeMap<Kind, Arc<Named>>,
    work: Option<Work>,
    line: Line,
    failures: u32,
}

/// The plan at work, or the next one to be.
#[derive(Debug, Clone, Copy)]
struct Work {
    plan: PlanId,
    offered: bool,
    begun: bool,
}

#[derive(Debug)]
enum Line {
    Down,
    Hailing { since: Duration, until: Duration, told: Held },
    Open(Open),
}

#[derive(Debug)]
struct Open {
    since: Duration,
    until: Duration,
    heartbeat: Duration,
    heartbeat_due: Duration,
    report: Option<Flight>,
    /// Receipts on their way.
    receipts: BTreeMap<PlanId, Said>,
    /// Checkups that the controller has; `None`: it wants none.
    filed: Option<BTreeSet<Sha256>>,
    /// Checkups on their way.
    checkups: BTreeMap<Sha256, Duration>,
    /// Certificates that are wanted and wait for the first look.
    wanted: Vec<CertificateId>,
    /// An offer was turned away because of a plan of the agent's own.
    turned_away: bool,
}

/// A receipt on its way.
#[derive(Debug, Clone, Copy)]
struct Said {
    outcome: Outcome,
    sent: Duration,
}

/// The report on its way.
#[derive(Debug)]
struct Flight {
    generation: Generation,
    latest: Arc<Latest>,
    sent: Duration,
}

impl Session {
    /// A session that is not connected. `receipts` are those that no controller acknowledged, `running` the plan whose journal
    /// is open. `last_end` is when the last plan ended, acknowledged or not: whether its proof was told is not known, so it is told.
    pub fn new(
        speaker: Speaker,
        held: Held,
        kept: Kept,
        receipts: Vec<Receipt>,
        running: Option<PlanId>,
        last_end: Option<Timestamp>,
    ) -> Self {
        let prove = receipts.iter().filter_map(done_at).max().max(last_end);
        let receipts = receipts.into_iter().map(|receipt| (receipt.plan, receipt)).collect();
        let work = running.map(|plan| Work { plan, offered: true, begun: true });
        let checkups = BTreeMap::new();
        Self { speaker, held, kept, latest: None, prove, receipts, checkups, work, line: Line::Down, failures: 0 }
    }

    /// The plan at work, or the one that was accepted and waits for its turn.
    pub fn at_work(&self) -> Option<PlanId> {
        self.work.map(|work| work.plan)
    }

    /// A stream is open. After `lifetime` a new one is wanted, whatever happens.
    pub fn connected(&mut self, lifetime: Duration, now: Duration) -> Vec<Effect> {
        self.line = Line::Hailing { since: now, until: now + lifetime, told: self.held.clone() };
        vec![Effect::Send(ToController::Hello(Box::new(Hello {
            speaker: self.speaker.clone(),
            held: self.held.clone(),
            kept: self.kept.clone(),
            running: self.work.filter(|work| work.begun).map(|work| work.plan),
        })))]
    }

    /// The stream is gone, or could not be opened. Returns how long to wait before the next try.
    pub fn disconnected(&mut self, random: f64, now: Duration) -> Duration {
        if let Line::Open(open) = &self.line
            && now.saturating_sub(open.since) >= STEADY
        {
            self.failures = 0;
        }
        self.line = Line::Down;
        let delay = backoff::delay(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// This session ends after `lifetime` at the latest: something that is only said when one begins is wanted again soon.
    pub fn shorten(&mut self, lifetime: Duration, now: Duration) {
        if let Line::Open(open) = &mut self.line {
            open.until = open.until.min(now + lifetime);
        }
    }

    /// The next try is not like those that failed: another controller is dialled, or another identity dials.
    pub fn forgive(&mut self) {
        self.failures = 0;
    }

    /// The controller said something.
    pub fn received(&mut self, message: FromController, now: Duration) -> Vec<Effect> {
        match message {
            FromController::Welcome(welcome) => self.welcomed(welcome, now),
            FromController::ReportAcknowledged { generation, wanted, audit } => {
                self.report_acknowledged(generation, &wanted, audit, now)
            }
            FromController::Offer(offer) => self.offered(offer, now),
            FromController::ReceiptAcknowledged(plan) => self.receipt_acknowledged(plan, now),
            // It proves itself by its own signatures, whoever brings it and whenever; or it only narrows.
            FromController::Document(document) => vec![Effect::Judge(document)],
            FromController::Cancel(plan) if self.receipts.contains_key(&plan) => self.tell_receipts(now),
            FromController::Cancel(plan) => match self.line {
                Line::Open(_) => vec![Effect::Cancel(plan)],
                Line::Down | Line::Hailing { .. } => Vec::new(),
            },
            FromController::CheckupAcknowledged(id) => self.checkup_acknowledged(id),
            FromController::Peers(targets) => match self.line {
                Line::Open(_) => vec![Effect::LookBeside(targets)],
                Line::Down | Line::Hailing { .. } => Vec::new(),
            },
        }
    }

    /// Doctor was at the host: this takes the place of the last of its kind.
    pub fn examined(&mut self, named: Arc<Named>, now: Duration) -> Vec<Effect> {
        self.checkups.insert(named.checkup.kind, named);
        self.tell_checkups(now)
    }

    /// The host was looked at.
    pub fn looked(&mut self, latest: Arc<Latest>, now: Duration) -> Vec<Effect> {
        let wanted = match &mut self.line {
            Line::Open(open) => std::mem::take(&mut open.wanted),
            Line::Down | Line::Hailing { .. } => Vec::new(),
        };
        let mut effects = certificates(&latest, &wanted);
        self.latest = Some(latest);
        effects.extend(self.tell_report(now));
        effects
    }

    /// This is what is held here, and these are the receipts that are kept, acknowledged or not: a store that was put back from a
    /// backup does not have them all, and acknowledges each again.
    pub fn recalled(&mut self, remembered: Remembered, receipts: Vec<Receipt>, now: Duration) -> Vec<Effect> {
        if !matches!(self.line, Line::Open(_)) {
            return Vec::new();
        }
        self.receipts.extend(receipts.into_iter().map(|receipt| (receipt.plan, receipt)));
        let mut effects = vec![Effect::Send(ToController::Remembered(Box::new(remembered)))];
        effects.extend(self.tell_receipts(now));
        effects
    }

    /// The 444 of another server was looked at, as the controller asked in this session. Lost with the session, and told in the next:
    /// nothing waits for it to be acknowledged.
    pub fn witnessed(&self, seen: Seen) -> Vec<Effect> {
        match self.line {
            Line::Open(_) => vec![Effect::Send(ToController::PeerSeen(seen))],
            Line::Down | Line::Hailing { .. } => Vec::new(),
        }
    }

    /// The agent is about to run a plan of its own.
    pub fn starts(&mut self, plan: PlanId) {
        self.work = Some(Work { plan, offered: false, begun: false });
    }

    /// The plan at work was admitted and has begun.
    pub fn began(&mut self, plan: PlanId) -> Vec<Effect> {
        match &mut self.work {
            Some(work) if work.plan == plan && !work.begun => {
                work.begun = true;
                let tell = work.offered && matches!(self.line, Line::Open(_));
                tell.then_some(Effect::Send(ToController::Running(plan))).into_iter().collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// A plan ended, or was not begun.
    pub fn settled(&mut self, receipt: Receipt, now: Duration) -> Vec<Effect> {
        self.work = self.work.filter(|work| work.plan != receipt.plan);
        self.prove = self.prove.max(done_at(&receipt));
        self.receipts.insert(receipt.plan, receipt);
        self.forget_refusals();
        self.tell_receipts(now)
    }

    /// A plan of the agent's own was not begun. That is no receipt; but a controller that was told to wait for one begins anew.
    pub fn gave_up(&mut self, plan: PlanId) -> Vec<Effect> {
        self.work = self.work.filter(|work| work.plan != plan);
        match &self.line {
            Line::Open(open) if open.turned_away => vec![Effect::Reconnect("an offer was turned away for nothing")],
            Line::Open(_) | Line::Down | Line::Hailing { .. } => Vec::new(),
        }
    }

    /// Documents were judged, and this is what is held.
    pub fn held(&mut self, held: Held) -> Vec<Effect> {
        self.held = held.clone();
        match self.line {
            Line::Open(_) => vec![Effect::Send(ToController::Held(held))],
            // The next hello names them; after one that is on its way, the welcome is answered with them.
            Line::Down | Line::Hailing { .. } => Vec::new(),
        }
    }

    /// When [`Session::tick`] has something to do, if nothing else happens.
    pub fn due(&self) -> Option<Duration> {
        match &self.line {
            Line::Down => None,
            Line::Hailing { since, until, .. } => Some((*since + ANSWER_LIMIT).min(*until)),
            Line::Open(open) => {
                let heartbeat = [open.heartbeat_due, open.until];
                open.unanswered().map(|sent| sent + ANSWER_LIMIT).into_iter().chain(heartbeat).min()
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        if self.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        match &mut self.line {
            Line::Down => Vec::new(),
            Line::Hailing { .. } => vec![Effect::Reconnect("no welcome came in time")],
            Line::Open(open) if open.unanswered().is_some_and(|sent| sent + ANSWER_LIMIT <= now) => {
                vec![Effect::Reconnect("a report, receipt or checkup was not acknowledged in time")]
            }
            Line::Open(open) if open.until <= now => {
                vec![Effect::Reconnect("the session is old: what is said when one begins is wanted again")]
            }
            Line::Open(open) => {
                open.heartbeat_due = now + open.heartbeat;
                let digest = self.kept.acknowledged.map(|acknowledged| acknowledged.digest);
                vec![Effect::Send(ToController::Heartbeat(digest))]
            }
        }
    }

    fn welcomed(&mut self, welcome: Welcome, now: Duration) -> Vec<Effect> {
        let Line::Hailing { until, told, .. } = &self.line else { return Vec::new() };
        let (until, changed) = (*until, *told != self.held);
        let Welcome { lineage, epoch, acknowledged, heartbeat, clock, policy, checkups, recall } = welcome;
        // A host that was put back to an older state must not use a number twice.
        let known =
            acknowledged.map(|known| known.generation).filter(|known| known.epoch == epoch).map_or(0, |known| known.counter);
        self.kept.lineage = lineage;
        self.kept.generation = Generation { epoch, counter: self.kept.generation.counter.max(known) };
        self.kept.acknowledged = acknowledged;
        self.kept.remembered = self.kept.remembered.filter(|_| !recall);
        self.line = Line::Open(Open {
            since: now,
            until,
            heartbeat,
            heartbeat_due: now + heartbeat,
            report: None,
            receipts: BTreeMap::new(),
            filed: checkups,
            checkups: BTreeMap::new(),
            wanted: Vec::new(),
            turned_away: false,
        });
        let mut effects = vec![Effect::Keep(self.kept.clone()), Effect::Confirm { policy, clock }];
        if changed {
            effects.push(Effect::Send(ToController::Held(self.held.clone())));
        }
        if recall {
            effects.push(Effect::Recall);
        }
        effects.extend(self.tell_receipts(now));
        effects.extend(self.tell_report(now));
        effects.extend(self.tell_checkups(now));
        effects
    }

    fn report_acknowledged(
        &mut self,
        generation: Generation,
        wanted: &[CertificateId],
        audit: Option<Anchor>,
        now: Duration,
    ) -> Vec<Effect> {
        let Line::Open(open) = &mut self.line else { return Vec::new() };
        let Some(flight) = open.report.take_if(|flight| flight.generation == generation) else {
            // Said again, perhaps because certificates that were wanted then were lost on the way.
            if self.kept.acknowledged.is_none_or(|acknowledged| acknowledged.generation != generation) {
                return Vec::new();
            }
            match &self.latest {
                Some(latest) => return certificates(latest, wanted),
                None => open.wanted = wanted.to_vec(),
            }
            return Vec::new();
        };
        self.kept.acknowledged = Some(Acknowledged { generation, digest: flight.latest.digest });
        self.prove = self.prove.filter(|done| flight.latest.seen_at < *done);
        self.kept.remembered = remembered(&flight.latest).or(self.kept.remembered);
        self.kept.audit = audit.or(self.kept.audit);
        let mut effects = vec![Effect::Keep(self.kept.clone())];
        effects.extend(certificates(&flight.latest, wanted));
        effects.extend(self.tell_report(now));
        effects
    }

    fn offered(&mut self, offer: Offer, now: Duration) -> Vec<Effect> {
        let Line::Open(open) = &mut self.line else { return Vec::new() };
        let id = offer.id;
        if self.receipts.contains_key(&id) {
            return self.tell_receipts(now);
        }
        match self.work {
            Some(work) if work.plan == id && work.begun => vec![Effect::Send(ToController::Running(id))],
            // Accepted already, and not admitted yet: there is nothing to say that would be true.
            Some(work) if work.plan == id => Vec::new(),
            Some(work) => {
                open.turned_away |= !work.offered;
                vec![Effect::Send(ToController::Busy { offered: id, at_work: work.plan })]
            }
            None => {
                self.work = Some(Work { plan: id, offered: true, begun: false });
                vec![Effect::Run(offer)]
            }
        }
    }

    fn receipt_acknowledged(&mut self, plan: PlanId, now: Duration) -> Vec<Effect> {
        let Line::Open(open) = &mut self.line else { return Vec::new() };
        let Some(told) = open.receipts.remove(&plan) else { return Vec::new() };
        // What is acknowledged is what was told. A refusal is no end: meanwhile the plan may have been done, and that is told now.
        let settled = self.receipts.get(&plan).filter(|receipt| receipt.outcome == told.outcome).map(|receipt| receipt.outcome);
        let mut effects = Vec::new();
        if let Some(outcome) = settled {
            self.receipts.remove(&plan);
            // A refusal is on no disk; whatever lies there of this plan by now was not told.
            effects.extend((outcome != Outcome::Refused).then_some(Effect::Settle(plan)));
        }
        effects.extend(self.tell_receipts(now));
        effects
    }

    fn checkup_acknowledged(&mut self, id: Sha256) -> Vec<Effect> {
        if let Line::Open(Open { filed: Some(filed), checkups, .. }) = &mut self.line
            && checkups.remove(&id).is_some()
        {
            filed.insert(id);
        }
        Vec::new()
    }

    /// Tells the checkups that the controller does not have. One that is older than checkups would end the session over one.
    fn tell_checkups(&mut self, now: Duration) -> Vec<Effect> {
        let Line::Open(Open { filed: Some(filed), checkups: on_their_way, .. }) = &mut self.line else { return Vec::new() };
        let new = |named: &&Arc<Named>| !filed.contains(&named.id) && !on_their_way.contains_key(&named.id);
        let told: Vec<Arc<Named>> = self.checkups.values().filter(new).cloned().collect();
        on_their_way.extend(told.iter().map(|named| (named.id, now)));
        told.into_iter().map(|named| Effect::Send(ToController::Checkup(named))).collect()
    }

    fn tell_report(&mut self, now: Duration) -> Vec<Effect> {
        let Line::Open(open) = &mut self.line else { return Vec::new() };
        let Some(latest) = self.latest.as_ref().filter(|_| open.report.is_none()) else { return Vec::new() };
        let known = self.kept.acknowledged.is_some_and(|known| known.digest == latest.digest);
        // A host that reads as before may have been another meanwhile: then something else would be put back.
        let remembered = remembered(latest).is_none_or(|memory| self.kept.remembered == Some(memory));
        let proves = self.prove.is_some_and(|done| done <= latest.seen_at);
        if known && remembered && !proves {
            return Vec::new();
        }
        self.kept.generation.counter += 1;
        let generation = self.kept.generation;
        open.report = Some(Flight { generation, latest: latest.clone(), sent: now });
        // The number first: one that was used must never be used for another report.
        vec![Effect::Keep(self.kept.clone()), Effect::Send(ToController::Report { generation, latest: latest.clone() })]
    }

    fn tell_receipts(&mut self, now: Duration) -> Vec<Effect> {
        let Line::Open(open) = &mut self.line else { return Vec::new() };
        let room = RECEIPT_WINDOW.saturating_sub(open.receipts.len());
        let next: Vec<_> =
            self.receipts.values().filter(|receipt| !open.receipts.contains_key(&receipt.plan)).take(room).cloned().collect();
        open.receipts.extend(next.iter().map(|receipt| (receipt.plan, Said { outcome: receipt.outcome, sent: now })));
        next.into_iter().map(|receipt| Effect::Send(ToController::Receipt(Box::new(receipt)))).collect()
    }

    fn forget_refusals(&mut self) {
        let mut refusals: Vec<_> = self
            .receipts
            .values()
            .filter(|receipt| receipt.outcome == Outcome::Refused)
            .map(|receipt| (receipt.ended_at, receipt.plan))
            .collect();
        refusals.sort_unstable();
        for (_, plan) in refusals.iter().take(refusals.len().saturating_sub(MAX_REFUSALS)) {
            self.receipts.remove(plan);
        }
    }
}

fn remembered(latest: &Latest) -> Option<Sha256> {
    latest.memory.as_ref().map(LastKnown::digest)
}

/// When the plan of this receipt was done; `None` when nothing was.
fn done_at(receipt: &Receipt) -> Option<Timestamp> {
    (receipt.outcome != Outcome::Refused).then_some(receipt.ended_at)
}

impl Open {
    /// When the oldest thing that waits for an answer was sent.
    fn unanswered(&self) -> Option<Duration> {
        let waiting = self.receipts.values().map(|said| said.sent).chain(self.checkups.values().copied());
        self.report.iter().map(|flight| flight.sent).chain(waiting).min()
    }
}

/// The certificates that are wanted, as far as they are at hand, in messages of bounded size.
fn certificates(latest: &Latest, wanted: &[CertificateId]) -> Vec<Effect> {
    let mut messages: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut room = 0;
    for der in wanted.iter().filter_map(|id| latest.sight.certificates.get(id)).map(|certificate| certificate.der().to_vec()) {
        match messages.last_mut().filter(|_| der.len() <= room) {
            Some(message) => {
                room -= der.len();
                message.push(der);
            }
            None => {
                room = MAX_CERTIFICATES.saturating_sub(der.len());
                messages.push(vec![der]);
            }
        }
    }
    messages.into_iter().map(|message| Effect::Send(ToController::Certificates(message))).collect()
}
