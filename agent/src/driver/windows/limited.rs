//! Calls of Windows that may hang: each is made on a thread of its own, whose answer is waited for so long and no longer.
//!
//! A call that hangs can be neither taken back nor ended. It stays *owed* until it comes back, and how many may be owed is bounded: where
//! one hangs, the next would only hang beside it.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
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
    owed: Arc<Owed>,
}

/// How many answers are owed.
#[derive(Debug, Default)]
struct Owed {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One answer that is owed, until the call has ended.
struct Debt(Arc<Owed>);

impl Limited {
    /// Calls to `whom`, each with that limit, of which at most so many are owed.
    pub fn new(whom: &'static str, limit: Duration, most: usize) -> Self {
        Self { whom, limit, most, owed: Arc::default() }
    }

    /// Makes the call and waits for its answer.
    ///
    /// # Errors
    /// [`Late`] when there is none in time. The call may then still do what it was asked to.
    pub fn call<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, Late> {
        let debt = Debt::begin(&self.owed, self.most).ok_or(Late::Owed(self.whom))?;
        let (give, answer) = mpsc::sync_channel(1);
        let work = move || {
            let answered = call();
            // Before the answer, so that whoever has it finds nothing owed.
            drop(debt);
            // Whoever waited may have gone on: then nobody takes it.
            give.send(answered).unwrap_or_default();
        };
        let thread = thread::Builder::new().name(self.whom.to_owned());
        thread.spawn(work).map_err(|error| Late::NoThread(self.whom, error))?;
        answer.recv_timeout(self.limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Late::Limit(self.whom, self.limit),
            RecvTimeoutError::Disconnected => Late::BrokenOff(self.whom),
        })
    }

    /// Waits until no answer is owed, as long as a call may take.
    ///
    /// # Errors
    /// [`Late::Owed`] when one is owed then, too.
    pub fn settled(&self) -> Result<(), Late> {
        let count = self.owed.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.owed.fewer.wait_timeout_while(count, self.limit, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *count == 0 { Ok(()) } else { Err(Late::Owed(self.whom)) }
    }
}

impl Debt {
    fn begin(owed: &Arc<Owed>, most: usize) -> Option<Self> {
        let mut count = owed.count.lock().unwrap_or_else(PoisonError::into_inner);
        (*count < most).then(|| {
            *count += 1;
            Self(owed.clone())
        })
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
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
