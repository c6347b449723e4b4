//! What the main loop does for doctor: it looks at the host itself as often as the policy says, and tells what anybody's doctor
//! found.
//!
//! Whoever makes a checkup writes it into the state folder, and from there it is told: one way for the agent and for people.

use std::time::Duration;

use policy::Timestamp;
use policy::checkup::{Checkup, Kind};
use policy::duration::Span;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

use super::Attendant;
use super::turns::{Trouble, Turns};
use crate::doctor;
use crate::now;

/// A host that has just started is left alone for so long: everything on it starts too.
const SETTLED: Duration = Duration::from_secs(15 * 60);

/// When it could not be kept, it is not done again before.
const AGAIN: Duration = Duration::from_secs(60 * 60);

impl Attendant {
    /// Tells what is new in the state folder, and begins a look of its own when one is due and nothing is at work.
    pub(super) fn visit(&mut self, turns: &mut Turns) {
        for news in turns.shelf.news(&self.config.state_dir) {
            match news {
                Ok(named) => {
                    let effects = self.session.examined(named.into(), turns.up());
                    self.perform(effects, turns);
                }
                Err(error) => tracing::warn!(error = crate::chain(&error), "what doctor found is not told"),
            }
        }
        let at = Instant::now();
        if turns.checkup.is_some() || turns.work.is_plan() || turns.checkup_at > at {
            return;
        }
        let now = now();
        let every = self.authority.standing(now).policy.rehearse_every;
        turns.checkup_at = at + self.config.look_every;
        if is_due(turns.shelf.newest(), every, turns.up(), now) {
            turns.checkup_at = at + AGAIN.min(span(every.unwrap_or(Span::days(1))));
            let (config, driver) = (self.config.clone(), self.driver.clone());
            turns.checkup = Some(spawn_blocking(move || doctor::examine(&config, driver.as_ref(), Kind::Look)));
        }
    }

    /// The look is over: it is kept, and the next visit tells it.
    pub(super) fn examined(&mut self, checkup: Result<Checkup, JoinError>, turns: &mut Turns) {
        let checkup = match checkup {
            Ok(checkup) => checkup,
            Err(error) => return turns.grumble(&Trouble::CHECKUP_NOT_KEPT, &error),
        };
        let worst = checkup.worst().map(|check| format!("{}: {}", check.name, check.outcome.text()));
        tracing::info!(findings = checkup.has_findings(), worst, "looked at what a renewal needs");
        match doctor::keep(&self.config.state_dir, &checkup) {
            Ok(()) => drop(turns.fine(&Trouble::CHECKUP_NOT_KEPT)),
            Err(error) => turns.grumble(&Trouble::CHECKUP_NOT_KEPT, &error),
        }
        self.visit(turns);
    }
}

/// Whether the host is to be looked at by itself. `newest`: when it last was, in whatever way; one from the future tells of a
/// clock that was set, and of nothing else.
fn is_due(newest: Option<Timestamp>, every: Option<Span>, up: Duration, now: Timestamp) -> bool {
    let Some(every) = every else { return false };
    let recent = |newest: Timestamp| newest <= now && now < every.after(newest);
    up >= SETTLED.min(span(every)) && !newest.is_some_and(recent)
}

fn span(span: Span) -> Duration {
    Duration::from_secs(span.as_seconds().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_looked_at_as_often_as_the_policy_says_once_it_has_settled() {
        let at = |second| Timestamp::from_second(second).expect("a moment");
        let (week, hour) = (Some(Span::days(7)), Duration::from_secs(3600));
        let now = at(700_000);
        assert!(is_due(None, week, hour, now));
        assert!(!is_due(None, week, Duration::from_secs(60), now), "it has just started");
        assert!(!is_due(None, None, hour, now), "only when people ask");
        assert!(!is_due(Some(at(700_000 - 604_799)), week, hour, now));
        assert!(is_due(Some(at(700_000 - 604_800)), week, hour, now));
        assert!(is_due(Some(at(700_001)), week, hour, now), "the clock was set back");
        assert!(is_due(None, Some(Span::seconds(2)), Duration::from_secs(2), now), "a lab has no time to settle");
    }
}
