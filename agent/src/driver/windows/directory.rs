//! What the directory says of this machine: its forest, its site, and the time.
//!
//! The question goes over the network and may hang, so a thread of its own asks it, one at a time, and a look waits only so long for
//! the answer. Which controller answers is asked again after an hour, the time after a minute; after a failure nobody is asked for a while.
//! What was read keeps holding as long as it would have without a failure: a controller that restarts is no change of this host.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use policy::report::Fact;

use super::ffi::Code;
use super::ffi::directory::{self, Controller};

/// How long a look waits.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a controller is taken to be the nearest, and what it said of forest and site to hold.
const CONTROLLER_HOLDS: Duration = Duration::from_secs(3_600);

/// How long the time is not asked again.
const TIME_HOLDS: Duration = Duration::from_secs(60);

/// How long nobody is asked after a failure.
const REST: Duration = Duration::from_secs(600);

/// What is known of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The DNS name of the forest.
    pub forest: Fact<String>,
    /// The site of this machine.
    pub site: Fact<String>,
    /// How far this machine's clock is ahead, in whole minutes.
    pub clock_ahead: Fact<i32>,
}

/// The directory, and what it said last.
pub struct Directory {
    question: Arc<Question>,
    limit: Duration,
    state: Mutex<State>,
}

/// Asks a controller, which is looked for when none is given.
type Question = dyn Fn(Option<Controller>) -> Answer + Send + Sync;

/// What came of it.
struct Answer {
    controller: Result<Controller, Code>,
    /// Seconds by which this machine's clock is ahead.
    ahead: Result<i64, Code>,
}

#[derive(Default)]
struct State {
    controller: Option<(Controller, Instant)>,
    ahead: Option<(i64, Instant)>,
    /// Why there is no answer, and when that was.
    failed: Option<(String, Instant)>,
    /// The answer that a thread still waits for.
    open: Option<Receiver<Answer>>,
}

impl Directory {
    /// The directory of the domain that this machine is in.
    pub fn new() -> Self {
        Self::asked_by(Arc::new(ask), LIMIT)
    }

    fn asked_by(question: Arc<Question>, limit: Duration) -> Self {
        Self { question, limit, state: Mutex::default() }
    }

    /// What is known, asked anew if that is due.
    pub fn look(&self) -> Domain {
        self.look_at(now())
    }

    fn look_at(&self, now: Instant) -> Domain {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the look that asks waits: those that come while the answer is out would add up.
        let mut limit = Duration::ZERO;
        if state.open.is_none() && state.is_due(now) {
            state.open = self.begin(state.held(now));
            limit = self.limit;
        }
        if let Some(open) = state.open.take() {
            match open.recv_timeout(limit) {
                Ok(answer) => state.take(answer, now),
                Err(RecvTimeoutError::Timeout) => {
                    state.open = Some(open);
                    state.failed = Some(("no domain controller answers in time".to_owned(), now));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    state.failed = Some(("the question to a domain controller was broken off".to_owned(), now));
                }
            }
        }
        state.told(now)
    }

    /// Asks in a thread of its own. `None` when there can be no thread.
    fn begin(&self, controller: Option<Controller>) -> Option<Receiver<Answer>> {
        let (give, take) = sync_channel(1);
        let question = self.question.clone();
        let ask = move || {
            // Nobody takes the answer any more when the agent stops.
            let _ = give.send(question(controller));
        };
        thread::Builder::new().name("directory".to_owned()).spawn(ask).ok().map(|_| take)
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl State {
    fn is_due(&self, now: Instant) -> bool {
        let within = |since: Option<Instant>, span| since.is_some_and(|since| now.saturating_duration_since(since) < span);
        let rests = within(self.failed.as_ref().map(|(_, at)| *at), REST);
        let fresh = within(self.ahead.map(|(_, at)| at), TIME_HOLDS) && self.held(now).is_some();
        !rests && !fresh
    }

    /// The controller that was found within the last hour.
    fn held(&self, now: Instant) -> Option<Controller> {
        let (controller, at) = self.controller.as_ref()?;
        (now.saturating_duration_since(*at) < CONTROLLER_HOLDS).then(|| controller.clone())
    }

    fn take(&mut self, answer: Answer, now: Instant) {
        let Answer { controller, ahead } = answer;
        self.failed = None;
        match controller {
            Ok(controller) if self.held(now).as_ref() != Some(&controller) => self.controller = Some((controller, now)),
            Ok(_) => {}
            Err(Code(1355)) => {
                self.failed = Some(("this machine is in no domain, or no domain controller answers".to_owned(), now));
            }
            Err(code) => self.failed = Some((format!("no domain controller was found: {code}"), now)),
        }
        match ahead {
            Ok(ahead) => self.ahead = Some((ahead, now)),
            Err(code) if self.failed.is_none() => {
                self.failed = Some((format!("the domain controller does not tell the time: {code}"), now));
            }
            Err(_) => {}
        }
    }

    fn told(&self, now: Instant) -> Domain {
        let why = || {
            let why = self.failed.as_ref().map_or("no domain controller was asked", |(why, _)| why);
            why.to_owned()
        };
        let controller = self.held(now);
        let ahead = self.ahead.filter(|(_, at)| now.saturating_duration_since(*at) < REST);
        Domain {
            forest: controller.as_ref().map_or_else(|| Fact::Unknown(why()), |found| Fact::Known(found.forest.clone())),
            site: match controller {
                Some(Controller { site: Some(site), .. }) => Fact::Known(site),
                Some(Controller { site: None, .. }) => {
                    Fact::Unknown("no subnet of the directory holds an address of this machine".to_owned())
                }
                None => Fact::Unknown(why()),
            },
            // Towards zero, so that a clock that is right to half a minute never moves between two numbers.
            clock_ahead: ahead.map_or_else(
                || Fact::Unknown(why()),
                |(ahead, _)| Fact::Known(i32::try_from(ahead / 60).unwrap_or(if ahead < 0 { i32::MIN } else { i32::MAX })),
            ),
        }
    }
}

/// Asks the domain itself.
fn ask(controller: Option<Controller>) -> Answer {
    let calls = match directory::Directory::load() {
        Ok(calls) => calls,
        Err(code) => return Answer { controller: Err(code), ahead: Err(code) },
    };
    let controller = controller.map_or_else(|| calls.controller(), Ok);
    let ahead = controller.as_ref().map_err(|code| *code).and_then(|controller| {
        let theirs = calls.time(&controller.name)?;
        Ok(crate::now().as_second() - theirs)
    });
    Answer { controller, ahead }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long an answer holds is a span of this machine's, not of the calendar")]
    Instant::now()
}

#[cfg(test)]
mod tests;
