//! The thread that waits for the host to change. It only wakes: what changed is found out by looking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use crate::driver::Driver;
use crate::event;

/// How long one call waits. Short, because a stop is noticed in between.
const LIMIT: Duration = Duration::from_secs(1);

/// How long to leave a host alone that cannot be watched. It is looked at periodically all the same.
const PAUSE: Duration = Duration::from_secs(5);

/// A thread that calls [`Driver::watch`] until this is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Wakes `wake` whenever something may have changed. However often that is, a wake that was not noticed yet is one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn spawn(driver: Arc<dyn Driver>, wake: Arc<Notify>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread =
            std::thread::Builder::new().name("watch".to_owned()).spawn(move || watch(driver.as_ref(), &wake, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that hangs in a call of the system must not keep the agent from stopping.
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            let _ = thread.join();
        }
    }
}

fn watch(driver: &dyn Driver, wake: &Notify, stop: &AtomicBool) {
    let mut watching = true;
    while !stop.load(Ordering::Relaxed) {
        match driver.watch(LIMIT) {
            Ok(changed) => {
                if !watching {
                    tracing::info!(event = event::WATCH_RESUMED.id, version = crate::VERSION, "the host can be watched again");
                }
                watching = true;
                if changed {
                    wake.notify_one();
                }
            }
            Err(error) => {
                if watching {
                    let error = crate::chain(&error);
                    tracing::warn!(
                        event = event::WATCH_FAILED.id,
                        error,
                        "the host cannot be watched: it is looked at periodically"
                    );
                }
                watching = false;
                pause(stop);
            }
        }
    }
}

fn pause(stop: &AtomicBool) {
    let beat = Duration::from_millis(250);
    let mut left = PAUSE;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(beat);
        left = left.saturating_sub(beat);
    }
}
