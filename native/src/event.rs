//! Events: what the event log of Windows keeps of a program, by an id that means one thing for ever.
//!
//! A log call becomes an event by its field `event`, which holds the id; its other fields become the insertion strings, in the
//! order of the table. So one call gives the line and the event, and on Linux the line alone, with the id in it:
//!
//! ```text
//! tracing::warn!(event = event::RUN_CUT_OFF.id, plan, outcome, notes, "a run that was cut off has ended");
//! ```

#[cfg(any(windows, test))]
mod layer;
#[cfg(windows)]
mod log;
#[cfg(any(windows, test))]
mod pace;
#[cfg(windows)]
mod source;
#[cfg(any(windows, test))]
mod strings;

#[cfg(windows)]
pub use self::log::{Housekeeping, Log, LogError, report};
#[cfg(windows)]
pub use self::source::{SourceError, register, registered, unregister};

/// The log of every Backstay program: its name in the Event Viewer, and its key in the registry. Windows tells logs apart by
/// their first eight characters.
pub const LOG: &str = "Backstay";

/// The most insertion strings of one event.
pub const MOST_STRINGS: usize = 6;

/// The longest insertion string, in UTF-16 units; what is longer is cut and ends in `…`. Windows keeps 31,839 characters of each
/// string and 61,440 bytes of all of them together (`ReportEventW`), which six of these stay below.
pub const LONGEST_STRING: usize = 4_096;

/// How grave an event is, as the event log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something went as it should.
    Information,
    /// Somebody should look in working hours.
    Warning,
    /// Somebody should look now.
    Error,
}

impl Severity {
    /// The word of the Event Viewer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Information => "Information",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }
}

/// One kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its number. 1xxx life of the program, 2xxx what is found, 3xxx policy and approval, 4xxx execution, 5xxx identity and
    /// transport, 9xxx internal; below x500 of the agent, from there on of the controller.
    pub id: u16,
    /// Its name in the code, for people who look there.
    pub name: &'static str,
    /// How grave it is; the same for every event of the kind, so that a filter can go by the id.
    pub severity: Severity,
    /// The fields of the log call that become its insertion strings, in this order.
    pub fields: &'static [&'static str],
    /// In English, and shown to whoever has neither.
    pub english: Text,
    /// In German.
    pub german: Text,
}

/// An event in one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// What happened. `%1` stands for the first insertion string.
    pub says: &'static str,
    /// What to do about it; empty when there is nothing to do.
    pub advice: &'static str,
}

impl Text {
    /// As the message table has it: what happened, and below it what to do.
    pub fn message(&self) -> String {
        let Self { says, advice } = self;
        if advice.is_empty() { (*says).to_owned() } else { format!("{says}%n%n{advice}") }
    }
}

/// The table of a program: a constant for each event, and `ALL` of them in the order of their ids.
///
/// ```
/// mod table {
///     native::events! {
///         STARTED = 1000 Information(version) {
///             en "The agent %1 has started.", "";
///             de "Der Agent %1 wurde gestartet.", "";
///         }
///     }
/// }
/// assert_eq!(table::STARTED.fields, ["version"]);
/// assert_eq!(table::ALL.len(), 1);
/// ```
#[macro_export]
macro_rules! events {
    ($($name:ident = $id:literal $severity:ident($($field:ident),*) {
        en $english:literal, $advice:literal;
        de $german:literal, $rat:literal;
    })*) => {
        $(
            #[doc = $english]
            pub const $name: $crate::event::Event = $crate::event::Event {
                id: $id,
                name: stringify!($name),
                severity: $crate::event::Severity::$severity,
                fields: &[$(stringify!($field)),*],
                english: $crate::event::Text { says: $english, advice: $advice },
                german: $crate::event::Text { says: $german, advice: $rat },
            };
        )*

        /// Every event of this program.
        pub const ALL: &[$crate::event::Event] = &[$($name),*];
    };
}

/// What is wrong with a table, in words for whoever wrote it: ids out of order or twice, texts that name a string which the
/// event has not, or leave one out, in either language, more strings than [`MOST_STRINGS`], and a warning or error without
/// advice.
pub fn faults(table: &[Event]) -> Vec<String> {
    let mut faults = Vec::new();
    for pair in table.windows(2) {
        if pair[0].id >= pair[1].id {
            faults.push(format!("{}: expected an id above {}", pair[1].id, pair[0].id));
        }
    }
    for event in table {
        let id = event.id;
        if !matches!(id / 1000, 1..=5 | 9) {
            faults.push(format!("{id}: expected an id in 1xxx to 5xxx or 9xxx"));
        }
        if event.fields.len() > MOST_STRINGS {
            faults.push(format!("{id}: expected at most {MOST_STRINGS} insertion strings, found {}", event.fields.len()));
        }
        for (language, text) in [("English", event.english), ("German", event.german)] {
            let expected: Vec<usize> = (1..=event.fields.len()).collect();
            let mut found = insertions(text.says);
            found.sort_unstable();
            found.dedup();
            if found != expected {
                faults.push(format!("{id} in {language}: expected the insertions {expected:?}, found {found:?}"));
            }
            if !insertions(text.advice).is_empty() {
                faults.push(format!("{id} in {language}: expected no insertion in what to do"));
            }
            if text.advice.is_empty() != event.english.advice.is_empty() {
                faults.push(format!("{id}: expected what to do in both languages or in none"));
            }
        }
        if event.severity != Severity::Information && event.english.advice.is_empty() {
            faults.push(format!("{id}: expected what to do about a {}", event.severity.as_str()));
        }
    }
    faults
}

/// The numbers behind each `%`.
fn insertions(text: &str) -> Vec<usize> {
    text.split('%').skip(1).filter_map(|rest| rest.chars().next()?.to_digit(10)).map(|digit| digit as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn event(id: u16, says: &'static str) -> Event {
        let text = Text { says, advice: "" };
        Event { id, name: "TEST", severity: Severity::Information, fields: &["plan"], english: text, german: text }
    }

    #[test]
    fn a_table_that_is_in_order_has_no_faults() {
        assert_eq!(faults(&[event(1000, "Plan %1"), event(9001, "%1 and %1")]), [""; 0]);
    }

    #[test]
    fn every_kind_of_fault_is_found_and_named() {
        let wrong = |table: &[Event], part: &str| {
            let found = faults(table);
            assert!(found.iter().any(|fault| fault.contains(part)), "{part}: {found:?}");
        };
        wrong(&[event(1001, "%1"), event(1001, "%1")], "expected an id above 1001");
        wrong(&[event(6000, "%1")], "1xxx to 5xxx or 9xxx");
        wrong(&[event(1000, "no plan")], "expected the insertions [1], found []");
        wrong(&[event(1000, "%1 %2")], "found [1, 2]");
        wrong(&[Event { fields: &["a", "b", "c", "d", "e", "f", "g"], ..event(1000, "") }], "at most 6");
        wrong(&[Event { severity: Severity::Error, ..event(1000, "%1") }], "what to do about a Error");
        let english = Text { says: "%1", advice: "Look." };
        wrong(&[Event { english, ..event(1000, "%1") }], "both languages");
        wrong(&[Event { english: Text { advice: "%1", ..english }, ..event(1000, "%1") }], "no insertion in what to do");
    }

    #[test]
    fn what_to_do_stands_below_what_happened() {
        assert_eq!(Text { says: "Lost.", advice: "Look." }.message(), "Lost.%n%nLook.");
        assert_eq!(Text { says: "Found.", advice: "" }.message(), "Found.");
    }
}
