//! A look at a lab host: its files and its http.sys become a `Sight`. Changes nothing.

use std::collections::BTreeMap;

use policy::certificate::Certificate;
use policy::id::{Sha256, Thumbprint};
use policy::report::{Fact, Host, KeyContainer, KeyLink, KeyState, MetabaseBinding, Report, Service, Sight, Site, StoreEntry};
use recorded::application_host::{self, ApplicationHost};

use super::fault::Call;
use super::folder::{HostFile, StoredCertificate};
use super::{LabDriver, Turn, file};
use crate::driver::DriverError;
use crate::driver::system::System as _;

impl LabDriver {
    pub(super) fn look(&self) -> Result<Sight, DriverError> {
        self.meet(Call::HostRead, "host.json")?;
        let HostFile {
            name,
            fqdn,
            machine_id,
            ad_site,
            dag,
            exchange,
            setup,
            services,
            machine,
            stopped_sites,
            own_name_leads_to: _,
            cannot_reach: _,
            updates_records: _,
        } = self.folder.host()?;
        let (stores, certificates) = match self.stores() {
            Ok((entries, certificates)) => (Fact::Known(entries), certificates),
            Err(error) => (unknown(&error), BTreeMap::new()),
        };
        let (sites, metabase) = match self.sites() {
            Ok((sites, metabase)) => {
                let running = |site: Site| Site { running: Fact::Known(!stopped_sites.contains(&site.name)), ..site };
                (Fact::Known(sites.into_iter().map(running).collect()), Fact::Known(metabase))
            }
            Err(error) => (unknown(&error), unknown(&error)),
        };
        let services = services.into_iter().map(|(name, service)| {
            (name, Service { running: Fact::Known(service.running), disabled: Fact::Known(service.disabled) })
        });
        let report = Report {
            host: Host {
                name,
                fqdn: Fact::Known(fqdn),
                machine_id: Fact::Known(machine_id),
                ad_site: Fact::Known(ad_site),
                dag: Fact::Known(dag),
            },
            exchange: Fact::Known(exchange),
            setup: Fact::Known(setup),
            stores,
            containers: self.containers().map_or_else(|error| unknown(&error), Fact::Known),
            records: self.records().map_or_else(|error| unknown(&error), Fact::Known),
            sites,
            metabase,
            services: Fact::Known(services.collect()),
            machine,
            probes: Vec::new(),
            hold: None,
        };
        Ok(Sight { report, certificates })
    }

    fn stores(&self) -> Result<(Vec<StoreEntry>, BTreeMap<Sha256, Certificate>), DriverError> {
        let listed = match self.meet(Call::StoreRead, "stores")? {
            Turn::Do => self.folder.certificates()?,
            Turn::Pretend => Vec::new(),
        };
        let mut entries = Vec::new();
        let mut certificates = BTreeMap::new();
        for (store, stored) in listed {
            let StoredCertificate { der, friendly_name, key, archived } = stored;
            // What does not decode is listed all the same: by its bytes alone it can still be on a record.
            let decoded = Certificate::from_der(&der.0).ok();
            let (key_state, key_access) = self.key_of(key.as_ref(), decoded.as_ref());
            entries.push(StoreEntry {
                store,
                certificate: Sha256::of(&der.0),
                thumbprint: Thumbprint::of(&der.0),
                archived,
                friendly_name: Fact::Known(friendly_name),
                key: Fact::Known(key),
                key_state,
                key_access,
            });
            certificates.extend(decoded.map(|certificate| (certificate.id(), certificate)));
        }
        Ok((entries, certificates))
    }

    /// Opens the key that a store entry names, and compares it with the certificate.
    fn key_of(
        &self,
        link: Option<&KeyLink>,
        certificate: Option<&Certificate>,
    ) -> (Fact<KeyState>, Fact<Vec<policy::report::Access>>) {
        let Some(link) = link else { return (Fact::Known(KeyState::NotLinked), Fact::Known(Vec::new())) };
        let key = match self.key_in(&link.container) {
            Ok(Some(key)) => key,
            Ok(None) => return (Fact::Known(KeyState::Missing), Fact::Known(Vec::new())),
            Err(error) => return (unknown(&error), unknown(&error)),
        };
        let state = match certificate {
            _ if !key.opens() => Fact::Known(KeyState::Denied),
            None => Fact::Unknown("the certificate could not be decoded, so its key could not be compared".to_owned()),
            Some(certificate) if certificate.key_id() == key.id() => Fact::Known(KeyState::Usable),
            Some(_) => Fact::Known(KeyState::Foreign),
        };
        (state, Fact::Known(key.access().to_vec()))
    }

    fn containers(&self) -> Result<Vec<KeyContainer>, DriverError> {
        let names = match self.meet(Call::KeyRead, "keys")? {
            Turn::Do => self.folder.containers()?,
            Turn::Pretend => Vec::new(),
        };
        let open = |name: String| match self.folder.key(&name) {
            Ok(Some(key)) => Some(KeyContainer { name, key_id: Fact::Known(key.id()) }),
            Ok(None) => None,
            Err(error) => Some(KeyContainer { name, key_id: unknown(&error) }),
        };
        Ok(names.into_iter().filter_map(open).collect())
    }

    fn sites(&self) -> Result<(Vec<Site>, Vec<MetabaseBinding>), DriverError> {
        let bytes = self.configuration_file()?;
        let path = self.folder.configuration();
        let wrong = |found: String| file::unreadable(&path, "the configuration of IIS".to_owned(), found);
        let text = recorded::text::decode(&bytes).map_err(|error| wrong(error.to_string()))?;
        let root = recorded::xml::parse(&text).map_err(|error| wrong(error.to_string()))?;
        let ApplicationHost { sites, metabase, unread } =
            application_host::read(&root).map_err(|error| wrong(error.to_string()))?;
        match unread.first() {
            Some(error) => Err(wrong(error.to_string())),
            None => Ok((sites, metabase)),
        }
    }
}

fn unknown<T>(error: &DriverError) -> Fact<T> {
    Fact::Unknown(crate::chain(error))
}
