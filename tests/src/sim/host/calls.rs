//! The calls of a simulated host's system: keys, stores, records, as Windows answers them.

use agent::driver::DriverError;
use agent::driver::system::{Opened, Stored, System};
use policy::certificate::Certificate;
use policy::id::Thumbprint;
use policy::report::{Access, SslRecord, Store};

use super::super::bugs::Bug;
use super::super::mind::stage::{self, der::Recipe};
use super::{Hands, Host, Key, refused};

impl System for Host {
    type Key = Key;

    fn key(&self, container: &str) -> Result<Opened<Key>, DriverError> {
        Ok(self.inner().keys.get(container).cloned().map_or(Opened::Missing, Opened::Key))
    }

    fn create_key(&self, container: &str, _bits: u32) -> Result<(), DriverError> {
        let mut inner = self.inner();
        let made = Recipe { key: container.to_owned(), ..stage::be() }.bake();
        inner.add_key(container, container, made.key_id());
        Ok(())
    }

    fn grant_key(&self, container: &str, access: &[Access]) -> Result<(), DriverError> {
        let mut access = access.to_vec();
        access.sort();
        let mut inner = self.inner();
        let key = inner.keys.get_mut(container).ok_or_else(|| refused(2, "no such container"))?;
        key.access = access;
        Ok(())
    }

    fn delete_rehearsal_key(&self) -> Result<bool, DriverError> {
        Ok(false)
    }

    fn stored(&self, store: &Store) -> Result<Vec<Stored>, DriverError> {
        Ok(self.inner().picture.stores.iter().filter(|(found, _)| found == store).map(|(_, stored)| stored.clone()).collect())
    }

    fn add(&self, store: &Store, entry: &Stored) -> Result<(), DriverError> {
        let mut inner = self.inner();
        if self.bug == Some(Bug::AddReplaces) {
            inner.picture.stores.retain(|(found, _)| found != store);
        }
        if let Ok(made) = Certificate::from_der(&entry.der.0) {
            inner.certificates.insert(made.id(), made);
        }
        inner.picture.stores.retain(|(found, stored)| found != store || stored.der != entry.der);
        inner.picture.stores.push((store.clone(), entry.clone()));
        Ok(())
    }

    fn mark_archived(&self, store: &Store, thumbprint: Thumbprint, archived: bool) -> Result<(), DriverError> {
        for (found, stored) in &mut self.inner().picture.stores {
            if found == store && Thumbprint::of(&stored.der.0) == thumbprint {
                stored.archived = archived;
            }
        }
        Ok(())
    }

    fn remove_trust_copy(&self, thumbprint: Thumbprint) -> Result<(), DriverError> {
        Hands(&mut self.inner()).delete(&Store::Root, thumbprint);
        Ok(())
    }

    fn records(&self) -> Result<Vec<SslRecord>, DriverError> {
        let mut records = self.inner().picture.records.clone();
        records.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
        Ok(records)
    }

    fn set_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        let mut inner = self.inner();
        if inner.picture.records.iter().any(|found| found.endpoint == record.endpoint) {
            return Err(refused(183, "exists already"));
        }
        let id = inner.usable(record).ok_or_else(|| refused(1312, "certificate not there or key unusable"))?;
        inner.picture.records.push(record.clone());
        inner.picture.served.insert(record.endpoint.clone(), id);
        Ok(())
    }

    fn update_record(&self, record: &SslRecord) -> Result<bool, DriverError> {
        let mut inner = self.inner();
        if !inner.updates {
            return Ok(false);
        }
        let id = inner.usable(record).ok_or_else(|| refused(1312, "certificate not there or key unusable"))?;
        let found = inner.picture.records.iter_mut().find(|found| found.endpoint == record.endpoint);
        *found.ok_or_else(|| refused(2, "no such record"))? = record.clone();
        inner.picture.served.insert(record.endpoint.clone(), id);
        Ok(true)
    }

    fn replaces_records(&self) -> Result<bool, DriverError> {
        Ok(self.inner().updates)
    }

    fn delete_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        {
            let mut inner = self.inner();
            let before = inner.picture.records.len();
            inner.picture.records.retain(|found| found.endpoint != record.endpoint);
            if inner.picture.records.len() == before {
                return Err(refused(2, "no such record"));
            }
            inner.picture.served.remove(&record.endpoint);
        }
        // Here a process may be killed with half of a swap done.
        self.pause();
        Ok(())
    }

    fn configuration(&self) -> Result<String, DriverError> {
        Err(DriverError::NotMine("configuration"))
    }

    fn write_configuration(&self, _text: &str) -> Result<(), DriverError> {
        Err(DriverError::NotMine("configuration"))
    }

    fn full_name(&self) -> Result<String, DriverError> {
        Ok(self.inner().base.host.fqdn.known().cloned().unwrap_or_default())
    }
}
