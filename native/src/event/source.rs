//! Where Windows looks up a source of events: which log it writes to, and which file has its texts.

use std::path::Path;

use thiserror::Error;

use super::LOG;
use crate::Code;
use crate::ffi::registry::{Key, remove};

const LOGS: &str = r"SYSTEM\CurrentControlSet\Services\EventLog";

/// Errors, warnings and information, as `TypesSupported` adds them up.
const TYPES: u32 = 1 | 2 | 4;

/// How large the log grows before its oldest events go, in bytes: a year and more of an agent that has something to say every
/// hour.
const LOG_BYTES: u32 = 16 * 1024 * 1024;

/// A source that was not written down.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Only administrators may.
    #[error("{0}: expected an administrator, found somebody who may not write there")]
    Denied(String),
    /// The registry refused.
    #[error("{key}")]
    Registry {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: Code,
    },
}

/// Writes the source down; what was written before is written over. `messages` is the exe with the texts.
///
/// The log itself is made where there is none. How large it grows and what is done when it is full are written only then: an
/// administrator's choice stays.
///
/// # Errors
/// [`SourceError`].
pub fn register(source: &str, messages: &Path) -> Result<(), SourceError> {
    let log = format!(r"{LOGS}\{LOG}");
    let key = format!(r"{log}\{source}");
    if Key::open(&log).map_err(|code| failed(&log, code))?.is_none() {
        let made = Key::create(&log).and_then(|log| {
            log.set_number("MaxSize", LOG_BYTES)?;
            log.set_number("Retention", 0)
        });
        made.map_err(|code| failed(&log, code))?;
    }
    let written = Key::create(&key).and_then(|key| {
        key.set_path("EventMessageFile", &messages.to_string_lossy())?;
        key.set_number("TypesSupported", TYPES)
    });
    written.map_err(|code| failed(&key, code))
}

/// Takes the source away, and the log when no other source is in it. Events that were written stay in their file.
///
/// # Errors
/// [`SourceError`].
pub fn unregister(source: &str) -> Result<(), SourceError> {
    let log = format!(r"{LOGS}\{LOG}");
    let key = format!(r"{log}\{source}");
    remove(&key).map_err(|code| failed(&key, code))?;
    let failed = |code| failed(&log, code);
    match Key::open(&log).map_err(failed)?.map(|log| log.subkeys()).transpose().map_err(failed)? {
        // Windows itself makes a source with the name of the log; only that one is left.
        Some(1) if Key::open(&format!(r"{log}\{LOG}")).map_err(failed)?.is_some() => {
            remove(&format!(r"{log}\{LOG}")).and_then(|()| remove(&log)).map_err(failed)
        }
        Some(0) => remove(&log).map_err(failed),
        Some(_) | None => Ok(()),
    }
}

/// Whether the source is written down; false where that cannot be read.
pub fn registered(source: &str) -> bool {
    Key::open(&format!(r"{LOGS}\{LOG}\{source}")).is_ok_and(|key| key.is_some())
}

fn failed(key: &str, source: Code) -> SourceError {
    let key = format!("HKLM\\{key}");
    if source == Code::DENIED { SourceError::Denied(key) } else { SourceError::Registry { key, source } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_down_and_taken_away_and_the_log_goes_with_its_last_one() {
        let exe = std::env::current_exe().unwrap();
        let log = || Key::open(&format!(r"{LOGS}\{LOG}")).unwrap().is_some();
        assert!(!registered("One") && !log());
        register("One", &exe).unwrap();
        register("One", &exe).unwrap();
        register("Other", &exe).unwrap();
        assert!(registered("One") && registered("Other") && log());
        unregister("One").unwrap();
        unregister("One").unwrap();
        assert!(!registered("One") && registered("Other") && log());
        unregister("Other").unwrap();
        assert!(!log());
    }
}
