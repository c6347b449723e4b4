//! The machine around IIS and http.sys: what a report says of it, put together.

use std::collections::BTreeMap;

use jiff::Timestamp;
use policy::report::{AppPool, Fact, Machine, TlsPolicy};
use recorded::component_states::{self, ComponentStates};

use super::directory::Domain;
use super::events::Events;
use super::ffi::machine;
use super::ffi::registry::Key;
use super::pointers::Named;
use super::{DriverError, exchange, fact};

/// What Schannel is allowed, for the whole machine; read when Windows starts.
const PROTOCOLS: &str = r"SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols";

/// What .NET is allowed, which the front end is when it asks the back end; read when a program starts.
const DOT_NET: &str = r"SOFTWARE\Microsoft\.NETFramework";
const DOT_NET_32: &str = r"SOFTWARE\Wow6432Node\Microsoft\.NETFramework";

/// What is read of each of the two.
const VERSIONS: [&str; 2] = ["v2.0.50727", "v4.0.30319"];
const SWITCHES: [&str; 2] = ["SchUseStrongCrypto", "SystemDefaultTlsVersions"];

/// Where Exchange keeps what its components are to do.
const COMPONENTS: &str = r"SOFTWARE\Microsoft\ExchangeServer\v15\ServerComponentStates";

/// Everything of the machine. What the directory and IIS say comes from the caller, who has asked them.
pub fn machine(
    domain: &Domain,
    named: Named,
    iis_redirected: Fact<Option<String>>,
    app_pools: Fact<BTreeMap<String, AppPool>>,
    events: &Events,
) -> Machine {
    let Named { transport, auth } = named;
    Machine {
        booted: fact(machine::booted()),
        clock_ahead: domain.clock_ahead.clone(),
        maintenance: fact(maintenance(COMPONENTS)),
        last_setup: fact(machine::system_folder().and_then(|folder| exchange::last_setup(&folder))),
        iis_redirected,
        app_pools,
        tls: fact(tls(PROTOCOLS, &[("", DOT_NET), (r"Wow6432Node\", DOT_NET_32)])),
        auth,
        transport,
        forest: domain.forest.clone(),
        events: events.look(),
    }
}

/// The components that somebody took out of service. A paused node of the cluster is not looked for.
fn maintenance(root: &str) -> Result<Vec<String>, DriverError> {
    let Some(key) = Key::machine(root)? else { return Ok(Vec::new()) };
    let mut states = ComponentStates::new();
    for component in key.subkeys()? {
        let Some(key) = key.subkey(&component)? else { continue };
        let mut requesters = BTreeMap::new();
        for requester in key.values()? {
            if let Some(value) = key.string(&requester)? {
                requesters.insert(requester, value);
            }
        }
        states.insert(component, requesters);
    }
    component_states::in_maintenance(&states).map_err(|error| DriverError::Unreadable {
        object: format!("HKLM\\{root}"),
        expected: "states of components".to_owned(),
        found: error.to_string(),
    })
}

/// The policy for TLS: what is set explicitly. `changed` is of Schannel's keys alone, since only they wait for the next start of
/// Windows, and the keys of .NET hold much else.
fn tls(protocols: &str, dot_net: &[(&str, &str)]) -> Result<TlsPolicy, DriverError> {
    let mut values = BTreeMap::new();
    let mut changed = None;
    if let Some(root) = Key::machine(protocols)? {
        newer(&mut changed, &root)?;
        for protocol in root.subkeys()? {
            let Some(key) = root.subkey(&protocol)? else { continue };
            newer(&mut changed, &key)?;
            for side in key.subkeys()? {
                let Some(key) = key.subkey(&side)? else { continue };
                newer(&mut changed, &key)?;
                for name in ["DisabledByDefault", "Enabled"] {
                    if let Some(value) = key.number(name)? {
                        values.insert(format!("{protocol}\\{side}\\{name}"), value);
                    }
                }
            }
        }
    }
    for (prefix, root) in dot_net {
        for version in VERSIONS {
            let Some(key) = Key::machine(&format!("{root}\\{version}"))? else { continue };
            for name in SWITCHES {
                if let Some(value) = key.number(name)? {
                    values.insert(format!("{prefix}.NETFramework\\{version}\\{name}"), value);
                }
            }
        }
    }
    Ok(TlsPolicy { values, changed })
}

/// The later of the two times, in whole seconds.
fn newer(changed: &mut Option<Timestamp>, key: &Key) -> Result<(), DriverError> {
    let written = key.written()?;
    let written = Timestamp::from_second(written.as_second()).unwrap_or(written);
    *changed = (*changed).max(Some(written));
    Ok(())
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Registry::{REG_DWORD, REG_SZ};

    use super::super::ffi::registry::scratch::{self, Scratch, wide};
    use super::*;

    fn state(root: &str, component: &str, requester: &str, value: &str) {
        scratch::set(&format!("{root}\\{component}"), requester, REG_SZ, &wide(value));
    }

    #[test]
    fn what_is_out_of_service_is_named_and_nothing_is_where_nothing_is_set() {
        let scratch = Scratch::new();
        assert_eq!(maintenance(&scratch.below("none")).unwrap(), Vec::<String>::new());
        let root = scratch.path();
        assert_eq!(maintenance(root).unwrap(), Vec::<String>::new());
        state(root, "HubTransport", "Maintenance", "1:2:638999999999999999");
        state(root, "ServerWideOffline", "Maintenance", "1:0:638999999999999999");
        state(root, "OwaProxy", "HealthAPI", "1:0:638999999999999999");
        state(root, "OabProxy", "Functional", "1:1:638999999999999999");
        let expected = ["HubTransport is draining", "ServerWideOffline is inactive"];
        assert_eq!(maintenance(root).unwrap(), expected);
        assert_eq!(maintenance(root).unwrap(), expected);
    }

    #[test]
    fn a_state_that_does_not_read_makes_the_whole_unknown() {
        let scratch = Scratch::new();
        let root = scratch.path();
        state(root, "HubTransport", "Maintenance", "Inactive");
        assert!(
            fact(maintenance(root)).unknown().is_some_and(|why| why.contains("HubTransport") && why.contains("\"Inactive\""))
        );
        scratch::set(&format!("{root}\\HubTransport"), "Maintenance", REG_DWORD, &[0; 4]);
        assert!(fact(maintenance(root)).unknown().is_some_and(|why| why.contains("expected REG_SZ, found REG_DWORD")));
    }

    #[test]
    fn the_policy_for_tls_is_what_is_set_and_when() {
        let scratch = Scratch::new();
        let (protocols, dot_net) = (scratch.below("Protocols"), scratch.below(".NETFramework"));
        let places = [("", dot_net.as_str()), (r"Wow6432Node\", "SOFTWARE\\no such key")];
        assert_eq!(tls(&protocols, &places).unwrap(), TlsPolicy { values: BTreeMap::new(), changed: None });
        let number = |key: String, name, value: u32| scratch::set(&key, name, REG_DWORD, &value.to_le_bytes());
        let begun = crate::now();
        number(format!("{protocols}\\TLS 1.2\\Server"), "Enabled", 1);
        number(format!("{protocols}\\TLS 1.0\\Client"), "DisabledByDefault", u32::MAX);
        number(format!("{protocols}\\TLS 1.0\\Client"), "Something", 7);
        number(format!("{dot_net}\\v4.0.30319"), "SchUseStrongCrypto", 1);
        let policy = tls(&protocols, &places).unwrap();
        let expected = [
            (r".NETFramework\v4.0.30319\SchUseStrongCrypto", 1),
            (r"TLS 1.0\Client\DisabledByDefault", u32::MAX),
            (r"TLS 1.2\Server\Enabled", 1),
        ];
        assert_eq!(policy.values, expected.map(|(name, value)| (name.to_owned(), value)).into());
        let changed = policy.changed.unwrap();
        assert!(begun.as_second() <= changed.as_second() && changed <= crate::now(), "{changed}");
        assert_eq!(changed.subsec_nanosecond(), 0);
        assert_eq!(tls(&protocols, &places).unwrap(), policy);
        while crate::now().as_second() == changed.as_second() {
            std::thread::yield_now();
        }
        number(format!("{protocols}\\TLS 1.2\\Server"), "Enabled", 0);
        assert!(tls(&protocols, &places).unwrap().changed > Some(changed), "the time of the last key");
    }

    #[test]
    fn a_switch_of_another_type_is_named() {
        let scratch = Scratch::new();
        let key = scratch.below(r"TLS 1.2\Server");
        scratch::set(&key, "Enabled", REG_SZ, &wide("1"));
        let why = fact(tls(scratch.path(), &[]));
        assert!(
            why.unknown().is_some_and(|why| why.contains(r"TLS 1.2\Server") && why.contains("expected REG_DWORD")),
            "{why:?}"
        );
    }
}
