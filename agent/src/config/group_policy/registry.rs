//! Reads the values of the policy's key as they are; what is made of them is decided above.

use super::{Found, Kind, Layer, kind};
use crate::config::{ConfigError, Origin};
use crate::driver::DriverError;
use crate::driver::windows::ffi::registry::Key;

/// The layer that the key at `path` makes; an empty one where there is no such key.
pub(super) fn read(path: &str) -> Layer {
    match values(path) {
        Ok(values) => super::layer(&values),
        Err(error) => {
            let mut layer = Layer::default();
            layer.fault(ConfigError::Registry { origin: Origin::GroupPolicy(String::new()), why: crate::chain(&error) });
            layer
        }
    }
}

fn values(path: &str) -> Result<Vec<(String, Found)>, DriverError> {
    let Some(key) = Key::machine(path)? else { return Ok(Vec::new()) };
    let names = key.values()?;
    // A value that goes while it is read was not there.
    Ok(names.into_iter().filter_map(|name| found(&key, &name).map(|found| (name, found))).collect())
}

fn found(key: &Key, name: &str) -> Option<Found> {
    let read = match kind(name).unwrap_or(Kind::Text) {
        Kind::Text => key.expanded(name).map(|text| text.map(Found::Text)),
        Kind::List => key.strings(name).map(|list| list.map(Found::List)),
        Kind::Number => key.number(name).map(|number| number.map(Found::Number)),
    };
    match read {
        Ok(found) => found,
        Err(DriverError::Unreadable { found, .. }) => Some(Found::Other(found)),
        Err(error) => Some(Found::Unreadable(crate::chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Registry::{REG_BINARY, REG_DWORD, REG_EXPAND_SZ, REG_MULTI_SZ, REG_QWORD, REG_SZ};

    use super::super::HOLD;
    use super::*;
    use crate::driver::windows::ffi::registry::MAX_VALUE;
    use crate::driver::windows::ffi::registry::scratch::{self, Scratch, wide};

    fn told(layer: &Layer) -> Vec<String> {
        layer.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_that_a_policy_wrote_are_read() {
        let scratch = Scratch::new();
        let at = scratch.path();
        scratch::set(at, "StateDir", REG_EXPAND_SZ, &wide(r"%SystemDrive%\Bäckstay"));
        scratch::set(at, "LogFilter", REG_SZ, &wide("warn"));
        scratch::set(at, "LOOKEVERYSECONDS", REG_DWORD, &45_u32.to_le_bytes());
        scratch::set(at, "ControllersAgents", REG_MULTI_SZ, &[wide("a:1"), wide("b:2"), wide("")].concat());
        scratch::set(at, HOLD, REG_DWORD, &1_u32.to_le_bytes());
        scratch::set(at, "HoldReason", REG_SZ, &wide("Wartung über Nacht"));
        let Layer { settings, faults } = read(at);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(settings.state_dir.expect("set").value.to_str().map(str::to_lowercase).as_deref(), Some(r"c:\bäckstay"));
        assert_eq!(settings.log_filter.expect("set").value, "warn");
        assert_eq!(settings.look_every.expect("set").value.as_secs(), 45);
        assert_eq!(settings.agents.expect("set").value.len(), 2);
        assert_eq!(settings.holds[0].value, "Wartung über Nacht");
    }

    #[test]
    fn a_hold_comes_and_goes_while_the_agent_runs() {
        let scratch = Scratch::new();
        let held = || read(scratch.path()).settings.holds.len();
        assert_eq!(held(), 0);
        scratch::set(scratch.path(), HOLD, REG_DWORD, &1_u32.to_le_bytes());
        assert_eq!(held(), 1);
        scratch::unset(scratch.path(), HOLD);
        assert_eq!(held(), 0);
        scratch::remove(scratch.path());
        assert_eq!((held(), read(scratch.path()).faults.len()), (0, 0), "a key that is not there says nothing");
    }

    #[test]
    fn values_of_a_wrong_type_are_told_and_a_wrong_hold_holds() {
        let scratch = Scratch::new();
        let at = scratch.path();
        scratch::set(at, "StateDir", REG_DWORD, &[1, 0, 0, 0]);
        scratch::set(at, "LookEverySeconds", REG_SZ, &wide("60s"));
        scratch::set(at, "ControllersAgents", REG_SZ, &wide("a:1"));
        scratch::set(at, "LogFilter", REG_BINARY, &[1]);
        scratch::set(at, "LogFormat", REG_SZ, &wide(&"x".repeat(2000)));
        scratch::set(at, "JoinTokenFile", REG_SZ, &vec![b'x'; MAX_VALUE + 2]);
        scratch::set(at, "Unknown", REG_QWORD, &[0; 8]);
        scratch::set(at, HOLD, REG_QWORD, &[0; 8]);
        let layer = read(at);
        let told = told(&layer);
        for says in [
            r"\StateDir: state_dir: expected REG_SZ or REG_EXPAND_SZ, found REG_DWORD of 4 bytes",
            r"\LookEverySeconds: look_every: expected REG_DWORD, found REG_SZ of 8 bytes",
            r"\ControllersAgents: controllers.agents: expected REG_MULTI_SZ, found REG_SZ of 8 bytes",
            r"\LogFilter: log.filter: expected REG_SZ or REG_EXPAND_SZ, found REG_BINARY of 1 bytes",
            r"\LogFormat: log.format: expected",
            r"\JoinTokenFile: join_token_file: expected",
            "\"Unknown\"",
            r"\Hold: hold: expected REG_DWORD 1 to hold, or 0, found type 11 of 8 bytes",
        ] {
            assert!(told.iter().any(|told| told.contains(says)), "expected {says} in {told:?}");
        }
        assert_eq!((told.len(), layer.settings.holds.len()), (8, 1));
    }
}
