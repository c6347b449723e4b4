//! What `backstay-agent` does at a console: a file per command that is more than a call.

pub(crate) mod configuration;
pub(crate) mod doctor;
pub(crate) mod hold;
pub(crate) mod run;
pub(crate) mod trust;
