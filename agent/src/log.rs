//! Where log calls go: lines to standard error, as the configuration says, and on Windows events to the event log, whatever it
//! says.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Log as Settings, LogFormat};
use crate::event;

/// The open log. When it is dropped, events that wait are written.
#[derive(Debug)]
#[must_use = "events that wait are written when it is dropped"]
pub struct Log {
    #[cfg(windows)]
    _events: Option<native::event::Log>,
}

/// Lets log calls, and a panic, be seen from here on. To be called once.
///
/// # Errors
/// When the filter of the settings is none.
pub fn start(settings: &Settings) -> Result<Log, ParseError> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let log = open(tracing_subscriber::registry().with(lines.with_filter(filter)));
    Ok(log)
}

#[cfg(not(windows))]
fn open(subscriber: impl Into<tracing::Dispatch>) -> Log {
    subscriber.init();
    tell_panics(|| {});
    Log {}
}

#[cfg(windows)]
fn open<S>(subscriber: S) -> Log
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    use native::event::{Housekeeping, registered};
    let housekeeping = Housekeeping { too_many: &event::TOO_MANY, lost: &event::EVENTS_LOST };
    match native::event::Log::open(event::SOURCE, event::ALL, housekeeping) {
        Ok((events, layer)) => {
            subscriber.with(layer).init();
            if !registered(event::SOURCE) {
                tracing::warn!(
                    "the source of events is not registered, and they lack their texts: backstay-agent events register"
                );
            }
            let last = events.another();
            tell_panics(move || last.flush());
            Log { _events: Some(events) }
        }
        Err(error) => {
            subscriber.init();
            tracing::warn!(error = crate::chain(&error), "events go to the lines only");
            tell_panics(|| {});
            Log { _events: None }
        }
    }
}

/// On Windows a panic ends the agent. What it says is told first.
fn tell_panics(flush: impl Fn() + Send + Sync + 'static) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(event = event::PANICKED.id, error = %panic, "an error of the agent's own");
        flush();
        usual(panic);
    }));
}
