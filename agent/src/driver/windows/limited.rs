//! Calls of Windows that may hang: each is made on a thread of its own, whose answer is waited for so long and no longer.
//!
//! A call that hangs can be neither taken back nor ended. It stays *owed* until it comes back, and how many are made at once is bounded:
//! where one hangs, the next would only hang beside it. One that is merely under way is waited for.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use windows_sys::Win32::Foundation::ERROR_TIMEOUT;

use crate::driver::DriverError;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Late {
    /// Nobody was asked: as many answers are owed as may be.
    #[error("{0} still owes the answer to an earlier call")]
    Owed(&'static str),
    /// Asked, and the answer is owed from now on.
    #[error("expected an answer of {0} within {1:?}, found none")]
    Limit(&'static str, Duration),
    /// Nobody was asked: this machine gives no thread.
    #[error("no thread to ask {0} on: {1}")]
    NoThread(&'static str, #[source] io::Error),
    /// The call ended without an answer: only a panic does that, and only where one does not end the process.
    #[error("{0} was asked, and the asking ended without an answer")]
    BrokenOff(&'static str),
}

impl Late {
    /// The same as the failure of a call on an object. 1460 where it did not come back.
    pub fn of(self, call: &'static str, object: impl Into<String>) -> DriverError {
        let refused = |object, meaning| DriverError::Refused { call, object, code: ERROR_TIMEOUT, meaning };
        match self {
            Self::Owed(_) => refused(object.into(), "an earlier call has not come back"),
            Self::Limit(..) => refused(object.into(), "no answer in time"),
            Self::NoThread(_, source) => DriverError::Io { object: object.into(), source },
            Self::BrokenOff(_) => {
                let (expected, found) = ("an answer".to_owned(), self.to_string());
                DriverError::Unreadable { object: object.into(), expected, found }
            }
        }
    }
}

/// Calls to one part of Windows.
#[derive(Debug)]
pub struct Limited {
    whom: &'static str,
    limit: Duration,
    most: usize,
    calls: Arc<Calls>,
}

/// The calls that have not come back, each by its number.
#[derive(Debug, Default)]
struct Calls {
    out: Mutex<BTreeMap<u64, Waits>>,
    ended: Condvar,
    /// How many were ever made: the next one's number.
    made: AtomicU64,
}

/// Who waits for the answer of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Whoever made it.
    Somebody,
    /// Nobody any more: it is owed.
    Nobody,
}

/// One call, until it has come back.
struct Out {
    calls: Arc<Calls>,
    number: u64,
}

impl Limited {
    /// Calls to `whom`, each with that limit, of which at most so many are made at once.
    pub fn new(whom: &'static str, limit: Duration, most: usize) -> Self {
        Self { whom, limit, most, calls: Arc::default() }
    }

    /// Makes the call and waits for its answer.
    ///
    /// # Errors
    /// [`Late`] when there is none in time. The call may then still do what it was asked to.
    pub fn call<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, Late> {
        let out = self.begin()?;
        let number = out.number;
        let (give, answer) = mpsc::sync_channel(1);
        let work = move || {
            let answered = call();
            // Before the answer, so that whoever has it finds nothing owed.
            drop(out);
            // Whoever waited may have gone on: then nobody takes it.
            give.send(answered).unwrap_or_default();
        };
        let thread = thread::Builder::new().name(self.whom.to_owned());
        thread.spawn(work).map_err(|error| Late::NoThread(self.whom, error))?;
        answer.recv_timeout(self.limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                self.calls.out().entry(number).and_modify(|waits| *waits = Waits::Nobody);
                // Whoever waits for a place learns that none may come.
                self.calls.ended.notify_all();
                Late::Limit(self.whom, self.limit)
            }
            RecvTimeoutError::Disconnected => Late::BrokenOff(self.whom),
        })
    }

    /// Waits until no call is out, as long as a call may take.
    ///
    /// # Errors
    /// [`Late::Owed`] when one is then, too.
    pub fn settled(&self) -> Result<(), Late> {
        let waited = self.calls.ended.wait_timeout_while(self.calls.out(), self.limit, |out| !out.is_empty());
        let (out, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if out.is_empty() { Ok(()) } else { Err(Late::Owed(self.whom)) }
    }

    /// Takes a place among the calls. One that is under way is waited for; where only owed answers stand in the way, nobody waits.
    fn begin(&self) -> Result<Out, Late> {
        let busy = |out: &mut BTreeMap<u64, Waits>| out.len() >= self.most && out.values().any(|waits| *waits == Waits::Somebody);
        let waited = self.calls.ended.wait_timeout_while(self.calls.out(), self.limit, busy);
        let (mut out, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if out.len() >= self.most {
            return Err(Late::Owed(self.whom));
        }
        let number = self.calls.made.fetch_add(1, Ordering::Relaxed);
        out.insert(number, Waits::Somebody);
        Ok(Out { calls: self.calls.clone(), number })
    }
}

impl Calls {
    fn out(&self) -> MutexGuard<'_, BTreeMap<u64, Waits>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.calls.out().remove(&self.number);
        self.calls.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A call that ends when it is told to.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (go, wait) = mpsc::channel::<()>();
        (go, move || wait.recv().unwrap())
    }

    #[test]
    fn an_answer_in_time_is_given_and_nothing_is_owed() {
        let calls = Limited::new("somebody", LONG, 1);
        for number in 0..100 {
            assert_eq!(calls.call(move || number).unwrap(), number);
        }
        calls.settled().unwrap();
    }

    #[test]
    fn a_call_that_is_merely_under_way_is_waited_for() {
        let calls = Arc::new(Limited::new("somebody", LONG, 1));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let calls = calls.clone();
                thread::spawn(move || (0..20).for_each(|number| assert_eq!(calls.call(move || number).unwrap(), number)))
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        calls.settled().unwrap();
    }

    #[test]
    fn what_is_owed_is_bounded_and_can_be_waited_for() {
        let calls = Limited::new("somebody", Duration::from_millis(20), 2);
        let (first, wait_first) = held();
        let (second, wait_second) = held();
        let late = calls.call(wait_first).unwrap_err();
        assert_eq!(late.to_string(), "expected an answer of somebody within 20ms, found none");
        assert!(matches!(calls.call(wait_second), Err(Late::Limit(..))));
        let owed = calls.call(|| unreachable!("nobody is asked")).unwrap_err();
        assert_eq!(owed.to_string(), "somebody still owes the answer to an earlier call");
        first.send(()).unwrap();
        assert!(matches!(calls.settled(), Err(Late::Owed(_))), "the second is still owed");
        second.send(()).unwrap();
        while calls.settled().is_err() {}
        calls.call(|| ()).unwrap();
    }
}
