//! Waiting until something that 444 hangs on may have changed: the stores, the records, and the configuration of IIS; and until Group Policy
//! may hold this host.
//!
//! The notification of a certificate store (`CertControlStore`) needs the store kept open and says yes under Wine without ever
//! signalling. The stores lie in the registry, and so do the records of http.sys: one kind of notification serves both.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::ffi::machine;
use super::ffi::registry::Watch;
use crate::config::group_policy::POLICY_KEY;
use crate::driver::DriverError;

/// What lies in the registry. Root and Disallowed too: a certificate that is distrusted is told as soon as one that is deleted.
const KEYS: [&str; 6] = [
    r"SOFTWARE\Microsoft\SystemCertificates\MY",
    r"SOFTWARE\Microsoft\SystemCertificates\WebHosting",
    r"SOFTWARE\Microsoft\SystemCertificates\Root",
    r"SOFTWARE\Microsoft\SystemCertificates\Disallowed",
    r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters",
    POLICY_KEY,
];

/// How long the configuration file of IIS is left unseen.
const BEAT: Duration = Duration::from_millis(500);

/// Length and time of the configuration file; `None` when there is none.
type Print = Option<(u64, SystemTime)>;

/// What was seen when the caller last looked.
#[derive(Debug, Default)]
pub(super) struct Watching {
    registry: Option<Watch>,
    configuration: Option<Print>,
}

impl Watching {
    /// Waits at most `limit`. The first wait says that something may have changed: nobody has seen what was before.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<bool, DriverError> {
        let Some(registry) = &mut self.registry else {
            self.configuration = Some(print());
            self.registry = Some(Watch::on(&KEYS)?);
            return Ok(true);
        };
        let mut left = limit;
        loop {
            let beat = BEAT.min(left);
            let changed = !registry.wait(beat)?.is_empty();
            let print = print();
            let configured = self.configuration.as_ref() != Some(&print);
            self.configuration = Some(print);
            if changed || configured {
                return Ok(true);
            }
            left -= beat;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }
}

/// How many keys can be watched. They are let go at once.
pub(super) fn armed() -> Result<usize, DriverError> {
    Watch::on(&KEYS).map(|_| KEYS.len())
}

fn print() -> Print {
    let path: PathBuf = machine::system_folder().ok()?.join("inetsrv").join("config").join("applicationHost.config");
    let found = std::fs::metadata(path).ok()?;
    Some((found.len(), found.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Registry::REG_SZ;

    use super::super::ffi::registry::scratch;
    use super::*;

    /// Waits out what other tests change meanwhile.
    fn at_rest(watching: &mut Watching) {
        let rested = (0..1_000).any(|_| !watching.wait(Duration::from_millis(50)).unwrap());
        assert!(rested, "this machine is never at rest");
    }

    #[test]
    fn a_hold_by_group_policy_wakes_although_its_key_was_not_there() {
        let mut watching = Watching::default();
        assert!(watching.wait(Duration::ZERO).unwrap(), "nobody has seen what was before");
        at_rest(&mut watching);
        scratch::set(POLICY_KEY, "Hold", REG_SZ, &scratch::wide("change freeze"));
        let woken = watching.wait(Duration::from_secs(10)).unwrap();
        at_rest(&mut watching);
        scratch::set(POLICY_KEY, "Hold", REG_SZ, &scratch::wide("longer"));
        let again = watching.wait(Duration::from_secs(10)).unwrap();
        scratch::remove(POLICY_KEY);
        assert!(woken && again);
    }
}
