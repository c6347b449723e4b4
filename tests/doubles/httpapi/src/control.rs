//! What a test says through the registry: what fails, what this Windows can do, and where each call is written down.

use std::fs::File;
use std::io::Write;

use windows_sys::Win32::System::Threading::Sleep;

use crate::registry;

/// Below `HKEY_LOCAL_MACHINE`.
const CONTROL: &str = r"SOFTWARE\TestDouble\httpapi";

/// Where Windows keeps its records.
const HOME: &str = r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters";

/// The code that this call is to fail with, if any. One that is slow is so before it does anything.
pub(crate) fn fault(call: &str) -> Option<u32> {
    if let Some(millis) = registry::number(CONTROL, &format!("slow_{call}")) {
        // SAFETY: waits, and has no preconditions.
        unsafe { Sleep(millis) };
    }
    let name = format!("fail_{call}");
    let wanted = registry::text(CONTROL, &name)?;
    let (code, times) = match wanted.split_once(',') {
        Some((code, times)) => (code, Some(times.trim().parse::<u32>().ok()?)),
        None => (wanted.as_str(), None),
    };
    let code: u32 = code.trim().parse().ok()?;
    match times {
        Some(0) => return None,
        Some(1) => registry::unset(CONTROL, &name),
        Some(times) => _ = registry::set_text(CONTROL, &name, &format!("{code},{}", times - 1)),
        None => {}
    }
    Some(code)
}

/// This Windows replaces a record in one call.
pub(crate) fn updates() -> bool {
    registry::number(CONTROL, "updates") == Some(1)
}

/// This Windows knows records by address only.
pub(crate) fn is_old() -> bool {
    registry::number(CONTROL, "old") == Some(1)
}

/// The key below which the records are.
pub(crate) fn home() -> String {
    registry::text(CONTROL, "home").unwrap_or_else(|| HOME.to_owned())
}

/// Writes a call and its answer down, if somebody wants to know.
pub(crate) fn log(call: &str, object: &str, code: u32) {
    let Some(path) = registry::text(CONTROL, "log") else { return };
    if let Ok(mut file) = File::options().append(true).create(true).open(path) {
        // A test that misses a line says so.
        let _ = file.write_all(format!("{call} {object} = {code}\n").as_bytes());
    }
}
