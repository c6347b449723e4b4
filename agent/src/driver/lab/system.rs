//! The calls of a lab host: its files, and the conversation with its http.sys. Each lets a fault have its way first.

use policy::id::Thumbprint;
use policy::report::{Access, SslRecord, Store};

use super::control::{Control, Request};
use super::fault::Call;
use super::folder::StoredCertificate;
use super::key::Key;
use super::{LabDriver, Turn, file, refused};
use crate::driver::DriverError;
use crate::driver::rehearse::CONTAINER;
use crate::driver::system::{Opened, Stored, System};

/// There is one of this name.
const EXISTS: u32 = 183;

/// The system has no such call.
const NO_SUCH_CALL: u32 = 120;

/// What a lie about the configuration of IIS shows.
const NO_SITES: &str = "<configuration><system.applicationHost><sites/></system.applicationHost></configuration>";

impl LabDriver {
    /// A new conversation for each call: in an old one an answer may still be on its way.
    fn control(&self) -> Result<Control, DriverError> {
        Control::connect(self.folder.path(), self.limit)
    }

    /// The key in that container, whether or not it may be opened.
    pub(super) fn key_in(&self, container: &str) -> Result<Option<Key>, DriverError> {
        match self.meet(Call::KeyRead, container)? {
            Turn::Do => self.folder.key(container),
            Turn::Pretend => Ok(None),
        }
    }

    /// The bytes of applicationHost.config.
    pub(super) fn configuration_file(&self) -> Result<Vec<u8>, DriverError> {
        match self.meet(Call::ConfigRead, "applicationHost.config")? {
            Turn::Do => {
                let path = self.folder.configuration();
                let missing = || file::unreadable(&path, "the configuration of IIS".to_owned(), "no such file".to_owned());
                file::read(&path)?.ok_or_else(missing)
            }
            Turn::Pretend => Ok(NO_SITES.as_bytes().to_vec()),
        }
    }
}

impl System for LabDriver {
    type Key = Key;

    fn key(&self, container: &str) -> Result<Opened<Key>, DriverError> {
        Ok(match self.key_in(container)? {
            None => Opened::Missing,
            Some(key) if !key.opens() => Opened::Denied,
            Some(key) => Opened::Key(key),
        })
    }

    fn create_key(&self, container: &str, bits: u32) -> Result<(), DriverError> {
        if matches!(self.meet(Call::KeyCreate, container)?, Turn::Pretend) {
            return Ok(());
        }
        if self.folder.key(container)?.is_some() {
            return Err(refused("key.create", container, EXISTS));
        }
        let key = Key::generate(bits, Key::default_access()).ok_or_else(|| refused("key.create", container, 87))?;
        self.folder.write_key(container, &key)
    }

    fn grant_key(&self, container: &str, access: &[Access]) -> Result<(), DriverError> {
        if matches!(self.meet(Call::KeyGrant, container)?, Turn::Pretend) {
            return Ok(());
        }
        let key = self.folder.key(container)?.ok_or_else(|| refused("key.grant", container, 2))?;
        self.folder.write_key(container, &key.with_access(access.to_vec()))
    }

    fn delete_rehearsal_key(&self) -> Result<bool, DriverError> {
        match self.meet(Call::KeyDelete, CONTAINER)? {
            Turn::Do => self.folder.remove_key(CONTAINER),
            Turn::Pretend => Ok(true),
        }
    }

    fn stored(&self, store: &Store) -> Result<Vec<Stored>, DriverError> {
        match self.meet(Call::StoreRead, store.as_str())? {
            Turn::Do => Ok(self.folder.certificates_of(store)?.into_iter().map(Stored::from).collect()),
            Turn::Pretend => Ok(Vec::new()),
        }
    }

    fn add(&self, store: &Store, entry: &Stored) -> Result<(), DriverError> {
        match self.meet(Call::StoreAdd, store.as_str())? {
            Turn::Do => self.folder.write_certificate(store, &entry.clone().into()),
            Turn::Pretend => Ok(()),
        }
    }

    fn mark_archived(&self, store: &Store, thumbprint: Thumbprint, archived: bool) -> Result<(), DriverError> {
        if matches!(self.meet(Call::StoreArchive, &thumbprint.to_string())?, Turn::Pretend) {
            return Ok(());
        }
        let found = self.folder.certificate(store, thumbprint)?;
        let found = found.ok_or_else(|| refused("store.archive", &thumbprint.to_string(), 2))?;
        self.folder.write_certificate(store, &StoredCertificate { archived, ..found })
    }

    fn remove_trust_copy(&self, thumbprint: Thumbprint) -> Result<(), DriverError> {
        match self.meet(Call::StoreRemove, &thumbprint.to_string())? {
            Turn::Do => self.folder.remove_certificate(&Store::Root, thumbprint).map(|_| ()),
            Turn::Pretend => Ok(()),
        }
    }

    fn records(&self) -> Result<Vec<SslRecord>, DriverError> {
        let mut records = self.control()?.query()?;
        records.sort_by(|a, b| (a.kind, &a.endpoint).cmp(&(b.kind, &b.endpoint)));
        Ok(records)
    }

    fn set_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        self.control()?.set(record)
    }

    fn update_record(&self, record: &SslRecord) -> Result<bool, DriverError> {
        let request = Request::Update { record: record.clone() };
        match self.control()?.change("httpsys.update", &record.endpoint, &request) {
            Ok(()) => Ok(true),
            Err(DriverError::Refused { code: NO_SUCH_CALL, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn replaces_records(&self) -> Result<bool, DriverError> {
        Ok(self.folder.host()?.updates_records)
    }

    fn delete_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        self.control()?.delete(record)
    }

    fn configuration(&self) -> Result<String, DriverError> {
        let wrong = |found: String| file::unreadable(&self.folder.configuration(), "text in UTF-8".to_owned(), found);
        String::from_utf8(self.configuration_file()?).map_err(|error| wrong(error.to_string()))
    }

    fn write_configuration(&self, text: &str) -> Result<(), DriverError> {
        match self.meet(Call::ConfigWrite, "applicationHost.config")? {
            Turn::Do => file::write(&self.folder.configuration(), text.as_bytes()),
            Turn::Pretend => Ok(()),
        }
    }

    fn full_name(&self) -> Result<String, DriverError> {
        Ok(self.folder.host()?.fqdn)
    }
}

impl From<StoredCertificate> for Stored {
    fn from(stored: StoredCertificate) -> Self {
        let StoredCertificate { der, friendly_name, key, archived } = stored;
        Self { der, friendly_name, key, archived }
    }
}

impl From<Stored> for StoredCertificate {
    fn from(stored: Stored) -> Self {
        let Stored { der, friendly_name, key, archived } = stored;
        Self { der, friendly_name, key, archived }
    }
}
