//! Who this host is: names, machine id, site and group, from the registry of the host itself and from what a domain controller said.

use policy::id::ServerName;
use policy::report::{Fact, Host};

use super::directory::Domain;
use super::fact;
use super::ffi::machine;
use super::ffi::registry::Key;
use crate::driver::DriverError;

/// Where the registry keeps what is read here, below `HKEY_LOCAL_MACHINE`.
#[derive(Debug, Clone)]
struct Places {
    cryptography: String,
    netlogon: String,
    cluster: String,
    cluster_service: String,
}

impl Places {
    fn of_windows() -> Self {
        Self {
            cryptography: r"SOFTWARE\Microsoft\Cryptography".to_owned(),
            netlogon: r"SYSTEM\CurrentControlSet\Services\Netlogon\Parameters".to_owned(),
            cluster: "Cluster".to_owned(),
            cluster_service: r"SYSTEM\CurrentControlSet\Services\ClusSvc".to_owned(),
        }
    }
}

/// The identity of this host.
///
/// # Errors
/// [`DriverError`] when it has no NetBIOS name that reads: nothing can be said of a host without a name.
pub fn host(domain: &Domain) -> Result<Host, DriverError> {
    read(&Places::of_windows(), domain)
}

/// The full name of this host, for handshakes.
///
/// # Errors
/// [`DriverError`] when the machine has none.
pub fn full_name() -> Result<String, DriverError> {
    let name = machine::full_name()?;
    if name.contains('.') {
        return Ok(name);
    }
    Err(DriverError::Unreadable {
        object: "the full name of this machine".to_owned(),
        expected: "a name with a DNS domain".to_owned(),
        found: format!("{name:?}"),
    })
}

fn read(places: &Places, domain: &Domain) -> Result<Host, DriverError> {
    let name = machine::netbios_name()?;
    let name = name.parse::<ServerName>().map_err(|error| DriverError::Unreadable {
        object: "the NetBIOS name of this machine".to_owned(),
        expected: "a name of a server".to_owned(),
        found: format!("{name:?}: {error}"),
    })?;
    Ok(Host {
        name,
        fqdn: fact(full_name()),
        machine_id: machine_id(&places.cryptography),
        ad_site: site(&places.netlogon, domain),
        dag: group(&places.cluster, &places.cluster_service),
    })
}

/// `MachineGuid`, which Windows Setup makes and a rebuilt machine gets anew (G2).
fn machine_id(key: &str) -> Fact<String> {
    let read = || -> Result<Option<String>, DriverError> {
        let Some(key) = Key::machine(key)? else { return Ok(None) };
        key.string("MachineGuid")
    };
    match read() {
        Ok(Some(id)) if !id.trim().is_empty() => Fact::Known(id.trim().to_ascii_lowercase()),
        Ok(_) => Fact::Unknown("the registry holds no MachineGuid".to_owned()),
        Err(error) => Fact::Unknown(crate::chain(&error)),
    }
}

/// The site that an administrator has set for this machine, or that Netlogon found for it, or that a controller says. The first two
/// are known although no controller answers.
fn site(netlogon: &str, domain: &Domain) -> Fact<String> {
    let read = || -> Result<Option<String>, DriverError> {
        let Some(key) = Key::machine(netlogon)? else { return Ok(None) };
        let given = |name| -> Result<Option<String>, DriverError> {
            let value = key.string(name)?.map(|value| value.trim().to_owned());
            Ok(value.filter(|value| !value.is_empty()))
        };
        Ok(given("SiteName")?.or(given("DynamicSiteName")?))
    };
    match read() {
        Ok(Some(site)) => Fact::Known(site),
        Ok(None) => domain.site.clone(),
        Err(error) => Fact::Unknown(crate::chain(&error)),
    }
}

/// The database availability group, which is a failover cluster and gives it its name (EXCHANGE.md 7.2, G14).
///
/// The service of clusters is there as soon as the feature is installed, and disabled until the server joins one. Its database is
/// loaded below `HKLM\Cluster` only while it runs: a member whose service is stopped is a member all the same, of a group unknown.
fn group(cluster: &str, service: &str) -> Fact<Option<String>> {
    const DISABLED: u32 = 4;
    let read = || -> Result<Option<Option<String>>, DriverError> {
        if let Some(key) = Key::machine(cluster)? {
            let name = key.string("ClusterName")?.map(|name| name.trim().to_owned());
            return Ok(name.filter(|name| !name.is_empty()).map(Some));
        }
        let Some(service) = Key::machine(service)? else { return Ok(Some(None)) };
        Ok((service.number("Start")? == Some(DISABLED)).then_some(None))
    };
    match read() {
        Ok(Some(group)) => Fact::Known(group),
        Ok(None) => {
            Fact::Unknown("this server is in a cluster whose name could not be read: its service does not run".to_owned())
        }
        Err(error) => Fact::Unknown(crate::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Registry::{REG_DWORD, REG_SZ};

    use super::super::ffi::registry::scratch::{self, Scratch, wide};
    use super::*;

    fn places(scratch: &Scratch) -> Places {
        Places {
            cryptography: scratch.below("Cryptography"),
            netlogon: scratch.below("Netlogon"),
            cluster: scratch.below("Cluster"),
            cluster_service: scratch.below("ClusSvc"),
        }
    }

    fn set(path: &str, name: &str, text: &str) {
        scratch::set(path, name, REG_SZ, &wide(text));
    }

    fn domain(site: Fact<String>) -> Domain {
        Domain { forest: Fact::not_observed(), site, clock_ahead: Fact::not_observed() }
    }

    fn silent() -> Domain {
        domain(Fact::Unknown("nobody answers".to_owned()))
    }

    #[test]
    fn a_member_of_a_group_knows_who_it_is() {
        let scratch = Scratch::new();
        let places = places(&scratch);
        set(&places.cryptography, "MachineGuid", "0C3A2B1D-7E9F-4A11-9C0E-5B6D7E8F9A0B");
        set(&places.netlogon, "DynamicSiteName", "Berlin");
        set(&places.cluster, "ClusterName", "DAG1");
        let host = read(&places, &silent()).unwrap();
        assert_eq!(host.machine_id, Fact::Known("0c3a2b1d-7e9f-4a11-9c0e-5b6d7e8f9a0b".to_owned()));
        assert_eq!(host.ad_site, Fact::Known("Berlin".to_owned()));
        assert_eq!(host.dag, Fact::Known(Some("DAG1".to_owned())));
        let again = read(&places, &silent()).unwrap();
        assert_eq!((again.machine_id, again.ad_site, again.dag), (host.machine_id, host.ad_site, host.dag));
    }

    #[test]
    fn a_full_name_has_a_domain() {
        let parameters = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";
        let without = fact(full_name());
        set(parameters, "Domain", "contoso.test");
        let with = full_name();
        scratch::unset(parameters, "Domain");
        assert!(without.unknown().is_some_and(|why| why.contains("expected a name with a DNS domain")), "{without:?}");
        assert!(with.unwrap().to_ascii_lowercase().ends_with(".contoso.test"));
    }

    #[test]
    fn the_site_that_was_set_comes_before_the_one_that_was_found() {
        let scratch = Scratch::new();
        let netlogon = scratch.below("Netlogon");
        let told = domain(Fact::Known("Hamburg".to_owned()));
        assert_eq!(site(&netlogon, &told), Fact::Known("Hamburg".to_owned()));
        set(&netlogon, "DynamicSiteName", "Berlin");
        assert_eq!(site(&netlogon, &told), Fact::Known("Berlin".to_owned()));
        set(&netlogon, "SiteName", "Bonn");
        assert_eq!(site(&netlogon, &told), Fact::Known("Bonn".to_owned()));
        set(&netlogon, "SiteName", " ");
        assert_eq!(site(&netlogon, &told), Fact::Known("Berlin".to_owned()));
        scratch::set(&netlogon, "DynamicSiteName", REG_DWORD, &[1, 0, 0, 0]);
        assert!(site(&netlogon, &told).unknown().is_some_and(|why| why.contains("DynamicSiteName")));
    }

    #[test]
    fn without_a_machine_id_none_is_made_up() {
        let scratch = Scratch::new();
        let key = scratch.below("Cryptography");
        let none = Fact::Unknown("the registry holds no MachineGuid".to_owned());
        assert_eq!(machine_id(&key), none);
        set(&key, "MachineGuid", "");
        assert_eq!(machine_id(&key), none);
        scratch::set(&key, "MachineGuid", REG_DWORD, &[1, 0, 0, 0]);
        assert!(machine_id(&key).unknown().is_some_and(|why| why.contains("expected REG_SZ, found REG_DWORD")));
    }

    #[test]
    fn no_cluster_is_no_group_and_a_stopped_cluster_is_a_group_unknown() {
        let scratch = Scratch::new();
        let Places { cluster, cluster_service: service, .. } = places(&scratch);
        assert_eq!(group(&cluster, &service), Fact::Known(None), "the feature is not installed");
        scratch::set(&service, "Start", REG_DWORD, &4_u32.to_le_bytes());
        assert_eq!(group(&cluster, &service), Fact::Known(None), "the feature is installed, and the server in no cluster");
        scratch::set(&service, "Start", REG_DWORD, &2_u32.to_le_bytes());
        let unknown = "this server is in a cluster whose name could not be read: its service does not run";
        assert_eq!(group(&cluster, &service), Fact::Unknown(unknown.to_owned()));
        scratch::create(&cluster);
        assert_eq!(group(&cluster, &service), Fact::Unknown(unknown.to_owned()));
        set(&cluster, "ClusterName", "DAG1");
        assert_eq!(group(&cluster, &service), Fact::Known(Some("DAG1".to_owned())));
        scratch::set(&cluster, "ClusterName", REG_DWORD, &[0; 4]);
        assert!(group(&cluster, &service).unknown().is_some());
    }
}
