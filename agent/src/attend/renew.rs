//! The agent's own certificate: asked for anew when two thirds of its life are over, and then again until it is there.

use std::time::Duration;

use proto::signed::SignedBytes;
use tokio::time::Instant;

use super::Attendant;
use super::turns::{Trouble, Turns};
use crate::event;
use crate::identity::{IdentityError, Renewed, successors};
use crate::session::{Document, Effect};
use crate::{backoff, chosen, now, random};

/// No longer than this until whoever is not believed is tried again, and asked for a newer trust document.
const UNBELIEVED_PAUSE: Duration = Duration::from_secs(15);

impl Attendant {
    pub(super) fn renewal_due(&self) -> Instant {
        if self.identity.is_of_the_past(self.authority.ca()) {
            return Instant::now();
        }
        let wait = self.identity.renew_at().duration_since(now());
        Instant::now() + Duration::try_from(wait).unwrap_or_default()
    }

    pub(super) fn renew_if_due(&mut self, turns: &mut Turns) {
        if Instant::now() < turns.renew_at || turns.renewal.is_some() {
            return;
        }
        let addresses = chosen(&self.config.controllers.enrolment, &self.identity.joined().enrolment);
        let proxy = self.config.controllers.proxy.clone();
        match self.identity.renewal(addresses, proxy, self.authority.ca().clone()) {
            Ok(renewal) => turns.renewal = Some(Box::pin(renewal)),
            Err(error) => self.renewed(Err(error), turns),
        }
    }

    pub(super) fn renewed(&mut self, renewed: Result<Renewed, IdentityError>, turns: &mut Turns) {
        match renewed.and_then(|renewed| self.identity.keep(renewed)) {
            Ok(()) => {
                let until = self.identity.renew_at();
                tracing::info!(event = event::IDENTITY_RENEWED.id, %until, "the agent's identity was renewed");
                turns.fine(&Trouble::NOT_RENEWED);
                turns.renewals_failed = 0;
                // A certificate that is due at once must not make the agent spin.
                turns.renew_at = self.renewal_due().max(Instant::now() + Duration::from_secs(1));
                self.session.forgive();
                self.perform(vec![Effect::Reconnect("the identity is a new one")], turns);
            }
            Err(error) => {
                turns.grumble(&Trouble::NOT_RENEWED, &error);
                // A third of its life is left: the pauses grow to an hour.
                let pause = backoff::delay(turns.renewals_failed, 0.5 + random() / 2.0).saturating_mul(60);
                turns.renewals_failed = turns.renewals_failed.saturating_add(1);
                turns.renew_at = Instant::now() + pause;
            }
        }
    }

    /// Other CAs are believed from here on. What failed so far says nothing about their controllers.
    pub(super) fn follow(&mut self, turns: &mut Turns) -> Effect {
        self.session.forgive();
        (turns.renewal, turns.renewals_failed) = (None, 0);
        turns.renew_at = turns.renew_at.min(self.renewal_due());
        Effect::Reconnect("other CA certificates count from here on")
    }

    /// Somebody answers who is not believed: perhaps a controller by a new CA, of which a newer trust document speaks. Whoever it is may
    /// tell that document, for it proves itself; and is dialled again before long.
    pub(super) fn disbelieved(&mut self, turns: &mut Turns) {
        let wait = self.session.disconnected(random(), turns.up());
        self.dial(wait.min(UNBELIEVED_PAUSE.mul_f64(random())));
        if turns.successors.is_some() {
            return;
        }
        let addresses = chosen(&self.config.controllers.enrolment, &self.identity.joined().enrolment);
        let (proxy, held) = (self.config.controllers.proxy.clone(), self.authority.held().trust);
        turns.successors = Some(Box::pin(successors(addresses, proxy, held)));
    }

    pub(super) fn succeeded(&mut self, found: Result<Vec<SignedBytes>, IdentityError>, turns: &mut Turns) {
        match found {
            Ok(documents) => {
                for document in documents {
                    self.perform(vec![Effect::Judge(Document::Trust(document))], turns);
                }
            }
            // That nobody believed is there is said elsewhere.
            Err(error) => tracing::debug!(error = crate::chain(&error), "nobody tells a newer trust document"),
        }
    }
}
