//! The way to the event log: a queue, and one thread that may wait for the service behind it.
//!
//! Nobody who logs ever waits. When the queue is full the event is left out, counted, and the number becomes an event itself: a
//! log that stands still, or a program that says too much, is seen afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::layer::{self, Entry};
use super::strings::clean;
use super::{Event, MOST_STRINGS};
use crate::Code;
use crate::ffi::event::Source;

/// Events that wait to be written.
const QUEUE: usize = 256;

/// The longest wait for what is still in the queue when a program ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The events of a table that are about the log of events itself.
#[derive(Debug, Clone, Copy)]
pub struct Housekeeping {
    /// More of one id than are kept in an hour; its strings are that id and that number.
    pub too_many: &'static Event,
    /// The queue was full; its string is how many were left out.
    pub lost: &'static Event,
}

/// An event log that does not open. A program goes on without it.
#[derive(Debug, Error)]
pub enum LogError {
    /// Windows refused.
    #[error("the event log does not open")]
    Source(#[source] Code),
    /// No thread for it.
    #[error("the event log cannot be written to")]
    Thread(#[source] std::io::Error),
}

/// The open log. When it is dropped, what is in the queue is written, for two seconds at most.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Message>,
}

enum Message {
    Write(Entry),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Log {
    /// Opens the log for a source, and gives the layer through which the events of `table` come into it.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open<S>(
        source: &str,
        table: &'static [Event],
        housekeeping: Housekeeping,
    ) -> Result<(Self, impl Layer<S> + Send + Sync + use<S>), LogError>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let source = Source::open(source).map_err(LogError::Source)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        let thread = std::thread::Builder::new().name("events".to_owned());
        thread.spawn(move || write(&waiting, &source, &counted, housekeeping.lost)).map_err(LogError::Thread)?;
        let log = Self { queue: queue.clone() };
        let layer = layer::layer(table, housekeeping.too_many, move |entry| {
            if let Err(TrySendError::Full(_)) = queue.try_send(Message::Write(entry)) {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok((log, layer))
    }

    /// Waits until everything so far is written, for two seconds at most.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Whether it was written in time makes no difference any more.
            let _ = wait.recv_timeout(LAST_WORDS);
        }
    }

    /// Another hand on the same log, for whoever has to flush it: a panic hook.
    pub fn another(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Writes one event and waits for it: for programs that log nothing else, or not yet.
///
/// # Errors
/// [`Code`].
pub fn report(source: &str, event: &Event, strings: &[&str]) -> Result<(), Code> {
    let strings: Vec<_> = strings.iter().take(MOST_STRINGS).map(|text| clean(text)).collect();
    Source::open(source)?.report(event, &strings)
}

fn write(waiting: &Receiver<Message>, source: &Source, lost: &AtomicU64, told_by: &'static Event) {
    let mut failed = false;
    let mut report = |event: &Event, strings: &[String]| {
        if let Err(error) = source.report(event, strings)
            && !failed
        {
            failed = true;
            tracing::warn!(%error, id = event.id, "the event log takes no events: they stand here only");
        }
    };
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Write(Entry { event, strings }) => report(event, &strings),
            Message::Flush(done) => drop(done.try_send(())),
        }
        // Whatever was left out was so because the queue was full, so this comes after it.
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            report(told_by, &[count.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[expect(unreachable_pub, reason = "the macro makes tables that others see")]
    mod table {
        crate::events! {
            STARTED = 1000 Information(version) {
                en "Started %1.", "";
                de "Gestartet %1.", "";
            }
            TOO_MANY = 9001 Warning(id, most) {
                en "%1 %2", "Look.";
                de "%1 %2", "Nachsehen.";
            }
            LOST = 9002 Warning(count) {
                en "%1", "Look.";
                de "%1", "Nachsehen.";
            }
        }
    }

    const HOUSEKEEPING: Housekeeping = Housekeeping { too_many: &table::TOO_MANY, lost: &table::LOST };

    #[test]
    fn events_are_written_and_a_log_that_is_dropped_has_written_them() {
        let (log, layer) = Log::open("BackstayTest", table::ALL, HOUSEKEEPING).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(event = table::STARTED.id, version = "1", "started");
        });
        let hand = log.another();
        hand.flush();
        drop(log);
        report("BackstayTest", &table::STARTED, &["1"]).unwrap();
    }
}
