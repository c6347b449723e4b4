//! What is to go wrong on a lab host: `faults.json`, asked at every call that on Windows would enter the system.
//!
//! The driver asks for the calls that it makes on files, http.sys for its own. A fault that counts is used up by whoever
//! meets it, under a lock, so that "fail once" means once.

use std::fs::File;
use std::path::Path;

use super::file;
use crate::driver::DriverError;
pub use crate::driver::fault::{Call, Fault, MAX_HANG, Mode, UnknownWord};

/// What stands in the way of this call of `host`, a lab host's folder; counts it.
///
/// # Errors
/// [`DriverError`] when `faults.json` does not read.
pub fn meet(host: &Path, call: Call) -> Result<Option<Fault>, DriverError> {
    if !host.join("faults.json").exists() {
        return Ok(None);
    }
    change(host, |faults| {
        for fault in faults.iter_mut().filter(|fault| fault.call == call) {
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            match &mut fault.times {
                None => return Some(fault.clone()),
                Some(0) => {}
                Some(times) => {
                    *times -= 1;
                    return Some(fault.clone());
                }
            }
        }
        None
    })
}

/// Changes the faults of `host` under their lock.
///
/// # Errors
/// [`DriverError`] when `faults.json` does not read or cannot be written.
pub fn change<T>(host: &Path, change: impl FnOnce(&mut Vec<Fault>) -> T) -> Result<T, DriverError> {
    let path = host.join("faults.json");
    let lock = host.join(".faults.lock");
    let held = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(|source| file::failed(&lock, source))?;
    let before: Vec<Fault> = file::read_json(&path)?.unwrap_or_default();
    let mut faults = before.clone();
    let answer = change(&mut faults);
    faults.retain(|fault| fault.times != Some(0));
    if faults.is_empty() {
        file::remove(&path)?;
    } else if faults != before {
        file::write_json(&path, &faults)?;
    }
    drop(held);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_counts_is_met_so_many_times_and_leaves_no_file() {
        let host = tempfile::tempdir().unwrap();
        let fault = Fault::new(Call::Set, Mode::Fail).code(1312).after(1).times(2);
        change(host.path(), |faults| faults.push(fault)).unwrap();
        let met: Vec<bool> = (0..5).map(|_| meet(host.path(), Call::Set).unwrap().is_some()).collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert!(!host.path().join("faults.json").exists());
    }
}
