//! The agent's own certificate: asked for anew when two thirds of its life are over, and then again until it is there.

use std::time::Duration;

use tokio::time::Instant;

use super::Attendant;
use super::turns::{Trouble, Turns};
use crate::event;
use crate::identity::IdentityError;
use crate::session::Effect;
use crate::{backoff, chosen, now, random};

impl Attendant {
    pub(super) fn renewal_due(&self) -> Instant {
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

    pub(super) fn renewed(&mut self, renewed: Result<Vec<u8>, IdentityError>, turns: &mut Turns) {
        match renewed.and_then(|der| self.identity.keep(der)) {
            Ok(()) => {
                let until = self.identity.renew_at();
                tracing::info!(event = event::IDENTITY_RENEWED.id, %until, "the agent's identity was renewed");
                turns.fine(&Trouble::NOT_RENEWED);
                turns.renewals_failed = 0;
                // A certificate that is due at once must not make the agent spin.
                turns.renew_at = self.renewal_due().max(Instant::now() + Duration::from_secs(1));
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
}
