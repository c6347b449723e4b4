//! The layer of `tracing` that hears which log calls are events.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Event;
use super::pace::{Fate, MOST, Pace};
use super::strings::Fields;

/// An event that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) event: &'static Event,
    pub(super) strings: Vec<String>,
}

/// Hands each event of `table` to `sink`, whatever the filter of the lines lets through. More of one id than are kept in an hour
/// are told by one `too_many` with that id.
///
/// A call that has no field `event` is not even looked at; one with an id that is not in the table is another crate's.
pub(super) fn layer<S>(
    table: &'static [Event],
    too_many: &'static Event,
    sink: impl Fn(Entry) + Send + Sync + 'static,
) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = filter_fn(|metadata| metadata.is_event() && metadata.fields().field("event").is_some());
    Events { table, too_many, pace: Mutex::default(), sink }.with_filter(filter)
}

struct Events<F> {
    table: &'static [Event],
    too_many: &'static Event,
    pace: Mutex<Pace>,
    sink: F,
}

impl<S: Subscriber, F: Fn(Entry) + 'static> Layer<S> for Events<F> {
    fn on_event(&self, call: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        call.record(&mut fields);
        let Some(event) = self.table.iter().find(|event| Some(u64::from(event.id)) == fields.id) else { return };
        #[expect(clippy::disallowed_methods, reason = "a log call brings no time; what is judged by it takes it as an argument")]
        let now = Instant::now();
        let fate = self.pace.lock().unwrap_or_else(PoisonError::into_inner).judge(event.id, now);
        match fate {
            Fate::Kept => (self.sink)(Entry { event, strings: fields.strings(event) }),
            Fate::FirstTooMany => {
                (self.sink)(Entry { event: self.too_many, strings: vec![event.id.to_string(), MOST.to_string()] });
            }
            Fate::TooMany => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::event::Severity;

    #[expect(unreachable_pub, reason = "the macro makes tables that others see")]
    mod table {
        crate::events! {
            CUT_OFF = 4003 Warning(plan, outcome, count) {
                en "%1 %2 %3", "Look.";
                de "%1 %2 %3", "Nachsehen.";
            }
            TOO_MANY = 9001 Warning(id, most) {
                en "%1 %2", "Look.";
                de "%1 %2", "Nachsehen.";
            }
        }
    }

    /// What `calls` left in the log.
    fn logged(calls: impl FnOnce()) -> Vec<Entry> {
        let entries = Arc::new(Mutex::new(Vec::new()));
        let kept = entries.clone();
        let layer = layer(table::ALL, &table::TOO_MANY, move |entry| kept.lock().expect("no panic").push(entry));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), calls);
        let entries = entries.lock().expect("no panic");
        entries.clone()
    }

    #[test]
    fn fields_become_strings_in_the_order_of_the_table_whatever_the_order_of_the_call() {
        let entries = logged(|| {
            tracing::warn!(count = 3_u64, event = table::CUT_OFF.id, outcome = %"undone", plan = "0123", "cut off");
        });
        assert_eq!(entries, [Entry { event: &table::CUT_OFF, strings: vec!["0123".into(), "undone".into(), "3".into()] }]);
        assert_eq!(entries[0].event.severity, Severity::Warning);
    }

    #[test]
    fn an_error_tells_its_causes_and_what_was_left_out_is_a_dash() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("outer")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Outer("x".parse::<u8>().expect_err("no number"));
        let entries = logged(|| tracing::warn!(event = table::CUT_OFF.id, plan = &error as &dyn std::error::Error, "cut off"));
        assert_eq!(entries[0].strings, ["outer: invalid digit found in string", "-", "-"]);
    }

    #[test]
    fn lines_and_ids_of_others_are_no_events() {
        let entries = logged(|| {
            tracing::error!(plan = "0123", "a line");
            tracing::error!(event = "4003", "a word of another crate");
            tracing::error!(event = 4004_u64, "an id of another table");
            let _span = tracing::info_span!("span", event = 4003_u64).entered();
        });
        assert_eq!(entries, []);
    }

    #[test]
    fn a_flood_of_one_id_ends_in_one_event_that_says_so() {
        let entries = logged(|| (0..200).for_each(|_| tracing::warn!(event = table::CUT_OFF.id, "again")));
        assert_eq!(entries.len(), 61);
        assert_eq!(entries[60], Entry { event: &table::TOO_MANY, strings: vec!["4003".into(), "60".into()] });
    }
}
