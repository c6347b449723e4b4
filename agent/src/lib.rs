//! The agent of one Exchange host.
#![forbid(unsafe_code)]

pub mod authority;
pub mod backoff;
pub mod config;
pub mod driver;
pub mod identity;
pub mod journal;
pub mod ledger;
pub mod link;
pub mod memory;
pub mod probe;
pub mod run;
pub mod session;
pub mod tls;
pub mod work;

/// An error with everything that caused it, in one line for logs and receipts.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
