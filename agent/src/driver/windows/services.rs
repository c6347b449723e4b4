//! The Windows services that 444 hangs on: whether they run, and whether they may.

use std::collections::BTreeMap;

use policy::report::{Fact, Service};
use windows_service::Error;
use windows_service::service::{ServiceAccess, ServiceStartType, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::fact;
use super::ffi::failed;
use super::ffi::registry::Key;
use crate::driver::DriverError;

/// Where Windows keeps its services; the key's name is the service's, in every language (EXCHANGE.md 4.5).
const ROOT: &str = r"SYSTEM\CurrentControlSet\Services";

/// What IIS is made of, from the driver up (EXCHANGE.md 3.3).
const IIS: [&str; 5] = ["HTTP", "WAS", "IISADMIN", "W3SVC", "WinRM"];

/// What the names of Exchange's own begin with.
const EXCHANGE: &str = "MSExchange";

/// The services that matter here, by the name of their key; those that this machine does not have are not listed.
pub fn services() -> Fact<BTreeMap<String, Service>> {
    fact(read(ROOT))
}

fn read(root: &str) -> Result<BTreeMap<String, Service>, DriverError> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
        .map_err(|error| refused(error, "OpenSCManager", "this machine"))?;
    let names = Key::machine(root)?.map(|key| key.subkeys()).transpose()?.unwrap_or_default();
    let mut services = BTreeMap::new();
    for name in names.into_iter().filter(|name| matters(name)) {
        if let Some(service) = service(&manager, &name) {
            services.insert(name, service);
        }
    }
    Ok(services)
}

fn matters(name: &str) -> bool {
    let is_exchange = name.get(..EXCHANGE.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(EXCHANGE));
    is_exchange || IIS.iter().any(|iis| iis.eq_ignore_ascii_case(name))
}

/// One service. `None` for a key that belongs to none: Exchange keeps its performance counters in keys like these.
fn service(manager: &ServiceManager, name: &str) -> Option<Service> {
    const NO_SUCH_SERVICE: i32 = 1060;
    let unknown = |error, call| {
        let why = crate::chain(&refused(error, call, name));
        Service { running: Fact::Unknown(why.clone()), disabled: Fact::Unknown(why) }
    };
    let opened = manager.open_service(name, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG);
    let service = match opened {
        Ok(service) => service,
        Err(Error::Winapi(error)) if error.raw_os_error() == Some(NO_SUCH_SERVICE) => return None,
        Err(error) => return Some(unknown(error, "OpenService")),
    };
    let running = service.query_status().map(|status| status.current_state == ServiceState::Running);
    let disabled = service.query_config().map(|config| config.start_type == ServiceStartType::Disabled);
    Some(Service {
        running: fact(running.map_err(|error| refused(error, "QueryServiceStatus", name))),
        disabled: fact(disabled.map_err(|error| refused(error, "QueryServiceConfig", name))),
    })
}

fn refused(error: Error, call: &'static str, object: &str) -> DriverError {
    if let Error::Winapi(error) = error {
        return failed(error, call, object);
    }
    DriverError::Unreadable {
        object: object.to_owned(),
        expected: "a service that reads".to_owned(),
        found: crate::chain(&error),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use windows_service::service::{ServiceErrorControl, ServiceInfo, ServiceType};

    use super::super::ffi::registry::scratch;
    use super::*;

    /// A service that is taken away when the test ends.
    struct Made(&'static str);

    impl Made {
        fn new(name: &'static str, start_type: ServiceStartType) -> Self {
            let info = ServiceInfo {
                name: name.into(),
                display_name: format!("{name}, wie Menschen es nennen").into(),
                service_type: ServiceType::OWN_PROCESS,
                start_type,
                error_control: ServiceErrorControl::Normal,
                executable_path: r"C:\none.exe".into(),
                launch_arguments: Vec::<OsString>::new(),
                dependencies: Vec::new(),
                account_name: None,
                account_password: None,
            };
            let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CREATE_SERVICE).unwrap();
            manager.create_service(&info, ServiceAccess::QUERY_STATUS).unwrap();
            Self(name)
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).unwrap();
            manager.open_service(self.0, ServiceAccess::DELETE).unwrap().delete().unwrap();
        }
    }

    #[test]
    fn services_are_known_by_the_name_of_their_key_and_what_is_absent_is_not_listed() {
        let _there = [
            Made::new("MSExchangeBackstayOne", ServiceStartType::AutoStart),
            Made::new("msexchangebackstaytwo", ServiceStartType::Disabled),
            Made::new("BackstayThree", ServiceStartType::AutoStart),
        ];
        // Performance counters keep a key like this one.
        let counters = format!("{ROOT}\\MSExchange Backstay Counters");
        scratch::create(&counters);
        let read = read(ROOT);
        scratch::remove(&counters);
        let read = read.unwrap();
        let stopped = |disabled| Service { running: Fact::Known(false), disabled: Fact::Known(disabled) };
        assert_eq!(read.get("MSExchangeBackstayOne"), Some(&stopped(false)));
        assert_eq!(read.get("msexchangebackstaytwo"), Some(&stopped(true)));
        for absent in ["BackstayThree", "MSExchange Backstay Counters", "MSExchangeIS"] {
            assert_eq!(read.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_service_that_runs_is_running() {
        let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).unwrap();
        // Of what Wine starts by itself.
        let running = Service { running: Fact::Known(true), disabled: Fact::Known(false) };
        assert_eq!(service(&manager, "PlugPlay"), Some(running));
        assert_eq!(service(&manager, "BackstayNone"), None);
    }

    #[test]
    fn only_what_444_hangs_on_matters() {
        for name in ["MSExchangeIS", "msexchangeis", "w3svc", "W3SVC", "HTTP", "WinRM", "IISAdmin"] {
            assert!(matters(name), "{name}");
        }
        for name in ["MSExchang", "Spooler", "HTTPS", "", "ÄMSExchange"] {
            assert!(!matters(name), "{name}");
        }
    }
}
