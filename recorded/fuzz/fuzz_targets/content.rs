//! One exported file: it is read, or refused with a reason, and either can be told to people.

#![no_main]

use std::error::Error;

use libfuzzer_sys::fuzz_target;
use recorded::export::Content;

fuzz_target!(|bytes: &[u8]| {
    match Content::read(bytes) {
        Ok(content) => {
            assert!(!content.summary().is_empty());
            assert!(content.unread().iter().all(|error| told(error).is_some()));
        }
        Err(error) => assert!(told(&error).is_some()),
    }
});

/// An error with its causes. A message of more than a few lines would be no message, but the file over again.
fn told(error: &dyn Error) -> Option<String> {
    let causes: Vec<String> = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    Some(causes.join(": ")).filter(|text| text.len() < 4000)
}
