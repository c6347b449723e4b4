//! What a test says through the registry: what fails, what this Windows can do, and where each call is written down.

use std::fs::File;
use std::io::Write;

use ::control::{Control, Fault};
use windows_sys::Win32::Foundation::NO_ERROR;

const CONTROL: Control = Control("httpapi");

/// Where Windows keeps its records.
const HOME: &str = r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters";

/// Waits as long as a test wants this call to be slow.
pub(crate) fn wait(call: &str) {
    CONTROL.wait(call);
}

/// What this call is to answer without doing anything, if a test wants that.
pub(crate) fn fault(call: &str) -> Option<u32> {
    CONTROL.fault(call).map(|fault| match fault {
        Fault::Fail(code) => code,
        Fault::Lie => NO_ERROR,
    })
}

/// This Windows replaces a record in one call.
pub(crate) fn updates() -> bool {
    CONTROL.number("updates") == Some(1)
}

/// This Windows knows records by address only.
pub(crate) fn is_old() -> bool {
    CONTROL.number("old") == Some(1)
}

/// The key below which the records are.
pub(crate) fn home() -> String {
    CONTROL.text("home").unwrap_or_else(|| HOME.to_owned())
}

/// Writes a call and its answer down, if somebody wants to know.
pub(crate) fn log(call: &str, object: &str, code: u32) {
    let Some(path) = CONTROL.text("log") else { return };
    if let Ok(mut file) = File::options().append(true).create(true).open(path) {
        // A test that misses a line says so.
        let _ = file.write_all(format!("{call} {object} = {code}\n").as_bytes());
    }
}
