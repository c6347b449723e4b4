//! What the main loop does for the session: it hands in what was heard, and does the effects.

use std::collections::VecDeque;
use std::time::Duration;

use policy::id::PlanId;
use policy::receipt::Receipt;
use tokio::time::Instant;

use super::Attendant;
use super::turns::{Trouble, Turns, Work};
use crate::authority::Judged;
use crate::event::{self, tell};
use crate::identity::Joined;
use crate::link::Event;
use crate::session::{Document, Effect};
use crate::tls::{self, PinnedCa};
use crate::{keep_session, now, random};

/// A session ends after this long, give or take a tenth: each new one confirms the policy anew.
const SESSION_AGE: Duration = Duration::from_secs(12 * 3600);

/// A session that began with a clock in doubt: controllers tell theirs only in a welcome, and until the next one nothing that persons
/// signed counts here, also when the clock is right again.
const DOUBTFUL_AGE: Duration = Duration::from_secs(300);

/// Plans that were taken back and wait for the workbench.
const MAX_CANCELS: usize = 64;

impl Attendant {
    pub(super) fn heard(&mut self, event: Event, turns: &mut Turns) {
        match event {
            Event::Connected(address) => {
                tracing::debug!(controller = %address, "connected");
                let age = SESSION_AGE.mul_f64(0.9 + 0.2 * random());
                let effects = self.session.connected(age, turns.up());
                self.perform(effects, turns);
            }
            Event::Received(message) => {
                let effects = self.session.received(message, turns.up());
                self.perform(effects, turns);
            }
            Event::Invalid(invalid) => {
                let error = crate::chain(&invalid);
                tracing::warn!(event = event::MESSAGE_REFUSED.id, error, "a message of the controller cannot be, and is ignored");
            }
            Event::Lost(error) => {
                turns.grumble(if error.sends_away() { &Trouble::SENT_AWAY } else { &Trouble::NO_SESSION }, &error);
                if error.is_unbelieved() {
                    self.disbelieved(turns);
                } else {
                    self.redial(turns);
                }
            }
        }
    }

    /// Does the effects in order; when one cannot be done, the connection is dropped and the rest with it.
    pub(super) fn perform(&mut self, effects: Vec<Effect>, turns: &mut Turns) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Keep(kept) => {
                    if let Err(error) = keep_session(&self.config.state_dir, &kept) {
                        turns.grumble(&Trouble::SESSION_NOT_KEPT, &error);
                        return self.redial(turns);
                    }
                    turns.fine(&Trouble::SESSION_NOT_KEPT);
                }
                Effect::Send(message) => {
                    if let Err(error) = self.link.send(message, now()) {
                        turns.grumble(&Trouble::NO_SESSION, &error);
                        return self.redial(turns);
                    }
                }
                Effect::Run(offer) => turns.offer = Some(offer),
                Effect::Cancel(plan) => self.cancel(plan, turns),
                Effect::Settle(plan) => {
                    turns.acknowledged.insert(plan);
                }
                Effect::Judge(document) => effects.extend(self.judge(&document, turns)),
                Effect::Confirm { policy, clock } => {
                    self.met(turns);
                    turns.peers.anew();
                    match self.authority.confirm(policy, clock, now()) {
                        Ok(()) => drop(turns.fine(&Trouble::POLICY_NOT_CONFIRMED)),
                        Err(error) => turns.grumble(&Trouble::POLICY_NOT_CONFIRMED, &error),
                    }
                    if self.authority.clock_doubt(now()).is_some() {
                        self.session.shorten(DOUBTFUL_AGE.mul_f64(0.9 + 0.2 * random()), turns.up());
                    }
                }
                Effect::Recall => turns.recall = true,
                Effect::LookBeside(targets) => self.asked_to_look(targets, turns),
                Effect::Reconnect(why) => {
                    tracing::info!(why, "the session is begun anew");
                    return self.redial(turns);
                }
            }
        }
    }

    /// Tells a controller whose store was put back from a backup what is held here and every receipt that is kept.
    pub(super) fn recall(&mut self, receipts: Vec<Receipt>, turns: &mut Turns) {
        match self.authority.remembered() {
            Ok(remembered) => {
                tracing::info!(
                    receipts = receipts.len(),
                    "the controller was put back from a backup and is told what is held here"
                );
                let effects = self.session.recalled(remembered, receipts, turns.up());
                self.perform(effects, turns);
            }
            Err(error) => {
                let error = crate::chain(&error);
                tracing::warn!(error, "what is held here could not be told to a controller that was put back from a backup");
            }
        }
    }

    /// A session began. An event only after a while without one: sessions are begun anew twice a day.
    fn met(&self, turns: &mut Turns) {
        let missed = [Trouble::NO_SESSION, Trouble::SENT_AWAY].map(|trouble| turns.fine(&trouble)).contains(&true);
        if missed || !std::mem::replace(&mut turns.met, true) {
            let Joined { estate, server, .. } = self.identity.joined();
            tracing::info!(event = event::SESSION.id, %estate, %server, "a session with a controller began");
        } else {
            tracing::info!("a session with a controller began");
        }
    }

    /// Dials the next controller at once or after a while, with the identity and the pins of this moment.
    pub(super) fn dial(&mut self, wait: Duration) {
        let (certificate, key) = self.identity.credentials();
        let ca = PinnedCa::new(self.authority.ca().clone(), self.identity.ca().to_vec());
        match tls::identified(ca, certificate, key) {
            Ok(config) => self.link.dial_at(Instant::now() + wait, config),
            Err(error) => {
                // Only another identity helps; its renewal dials again.
                let error = crate::chain(&error);
                tracing::error!(
                    event = event::IDENTITY_UNUSABLE.id,
                    error,
                    "key and certificate of this host cannot be used together"
                );
                self.link.close();
            }
        }
    }

    fn redial(&mut self, turns: &mut Turns) {
        turns.peers.anew();
        let wait = self.session.disconnected(random(), turns.up());
        self.dial(wait);
    }

    fn cancel(&mut self, plan: PlanId, turns: &mut Turns) {
        tracing::info!(event = event::PLAN_TAKEN_BACK.id, plan = plan.short(), "a plan was taken back");
        if matches!(turns.work, Work::Offered(at_work) if at_work == plan) {
            return self.bench.call_off(plan);
        }
        turns.offer.take_if(|offer| offer.id == plan);
        if turns.cancels.len() < MAX_CANCELS {
            turns.cancels.insert(plan);
        }
    }

    /// Nothing is begun any more: the hold sees to that. A plan at work turns back, or comes to its end if it has swapped.
    fn stand_still(&mut self, turns: &mut Turns) {
        match turns.work {
            Work::Offered(plan) | Work::Own(plan) => self.bench.call_off(plan),
            Work::Nothing | Work::Looking => {}
        }
        turns.own = None;
        turns.look_at = Instant::now();
    }

    fn judge(&mut self, document: &Document, turns: &mut Turns) -> Vec<Effect> {
        let (what, held, refused) = match document {
            Document::Trust(_) => ("trust document", &event::TRUST_HELD, &event::TRUST_REFUSED),
            Document::Policy(_) => ("policy", &event::POLICY_HELD, &event::POLICY_REFUSED),
            // What holds the host is told when it is looked at.
            Document::Stop(_) => ("emergency stop", &event::HOLD_ON, &event::STOP_REFUSED),
            Document::Resume(_) => ("yes to going on", &event::HOLD_OFF, &event::STOP_REFUSED),
        };
        let ca = self.authority.ca().clone();
        match self.authority.judge(document, now()) {
            Ok(Judged::Adopted(version)) => {
                tell!(held, what, version = version.number, id = version.id.short(), "a new document is held");
                turns.look_at = Instant::now();
            }
            Ok(Judged::Stopped) => {
                tracing::info!("an emergency stop is in force on this host");
                self.stand_still(turns);
            }
            Ok(Judged::LetGo(stops)) => {
                let stops: Vec<String> = stops.iter().map(|id| id.short()).collect();
                tracing::info!(stops = stops.join(", "), "approvers let emergency stops go");
                turns.look_at = Instant::now();
            }
            Ok(Judged::Known) => tracing::debug!(what, "the document is held already"),
            Err(error) => tell!(refused, what, error = crate::chain(&error), "a document is refused"),
        }
        let mut effects = self.session.held(self.authority.held());
        if ca != *self.authority.ca() {
            effects.push(self.follow(turns));
        }
        effects
    }
}
