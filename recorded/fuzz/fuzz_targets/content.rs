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
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Some(text).filter(|text| text.len() < 4000)
}
