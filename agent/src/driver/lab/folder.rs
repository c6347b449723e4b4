//! One lab host as files: what stands where, and the few ways to change it.
//!
//! | file | holds |
//! | --- | --- |
//! | `../estate.json` | every server of the estate, and where its ports really are |
//! | `host.json` | identity, Exchange, setup state, services |
//! | `applicationHost.config` | the IIS sites, as IIS writes them |
//! | `stores/<store>/<thumbprint>.json` | certificates of the machine's stores |
//! | `keys/<container>.json` | private keys with their access lists |
//! | `httpsys.json` | the records of http.sys; only `backstay-lab` writes it |
//! | `httpsys.sock` | the way to that http.sys |
//! | `faults.json` | what is to go wrong |

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use policy::certificate::Certificate;
use policy::id::{ServerName, Thumbprint};
use policy::plan::Der;
use policy::report::{Exchange, KeyLink, Machine, Setup, SslRecord, Store};
use serde::{Deserialize, Serialize};

use super::file;
use super::key::{Key, KeyFile};
use crate::driver::DriverError;

/// `estate.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EstateFile {
    /// The servers, in order of their creation.
    pub servers: Vec<Place>,
}

impl EstateFile {
    /// Reads the estate in this folder; `None` when there is none.
    ///
    /// # Errors
    /// [`DriverError`] when the file does not read.
    pub fn read(estate: &Path) -> Result<Option<Self>, DriverError> {
        file::read_json(&estate.join("estate.json"))
    }

    /// Where that server is; `None` when the estate has none of this name.
    pub fn place(&self, name: &ServerName) -> Option<&Place> {
        self.servers.iter().find(|place| place.name == *name)
    }
}

/// One server in the table of the estate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// NetBIOS name; also the name of the host's folder.
    pub name: ServerName,
    /// Fully qualified DNS name.
    pub fqdn: String,
    /// Database availability group.
    pub dag: Option<String>,
    /// Active Directory site.
    pub ad_site: String,
    /// The loopback address that stands for the server's own.
    pub address: Ipv4Addr,
    /// The real port of each port; 0 until `backstay-lab` has found a free one.
    pub ports: BTreeMap<u16, u16>,
}

impl Place {
    /// Where that port of the server really is; `None` when it has none, or it never listened.
    pub fn socket(&self, port: u16) -> Option<SocketAddrV4> {
        self.ports.get(&port).filter(|real| **real != 0).map(|real| SocketAddrV4::new(self.address, *real))
    }
}

/// `host.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// NetBIOS name.
    pub name: ServerName,
    /// Fully qualified DNS name.
    pub fqdn: String,
    /// What tells this installation from another of the same name.
    pub machine_id: String,
    /// Active Directory site.
    pub ad_site: String,
    /// Database availability group.
    pub dag: Option<String>,
    /// Version and roles.
    pub exchange: Exchange,
    /// Setup at work?
    pub setup: Setup,
    /// Services by key name.
    pub services: BTreeMap<String, ServiceFile>,
    /// What else the machine and its directory say; a host of an older lab says nothing of it.
    #[serde(default = "Machine::not_observed")]
    pub machine: Machine,
    /// IIS sites that are stopped, by name.
    #[serde(default)]
    pub stopped_sites: BTreeSet<String>,
    /// The host's own name leads to this address, which is none of its own.
    #[serde(default)]
    pub own_name_leads_to: Option<String>,
    /// Servers whose 444 something between keeps from this one.
    #[serde(default)]
    pub cannot_reach: BTreeSet<ServerName>,
    /// http.sys can replace a record at once, as from Server 2019 on; else it must be deleted and set.
    #[serde(default)]
    pub updates_records: bool,
}

/// A service in `host.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFile {
    /// It runs.
    pub running: bool,
    /// It may not be started.
    pub disabled: bool,
}

/// One certificate in one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredCertificate {
    /// The certificate.
    pub der: Der,
    /// Its friendly name.
    pub friendly_name: Option<String>,
    /// Where its key is said to be.
    pub key: Option<KeyLink>,
    /// Hidden from lists, found by hash.
    pub archived: bool,
}

/// The folder of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// That folder.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Identity, Exchange, setup and services.
    ///
    /// # Errors
    /// [`DriverError`] when the file is missing or does not read.
    pub fn host(&self) -> Result<HostFile, DriverError> {
        let path = self.0.join("host.json");
        file::read_json(&path)?.ok_or_else(|| file::unreadable(&path, "a lab host".to_owned(), "no such file".to_owned()))
    }

    /// Writes `host.json`.
    ///
    /// # Errors
    /// [`DriverError`] when it cannot be written.
    pub fn write_host(&self, host: &HostFile) -> Result<(), DriverError> {
        file::write_json(&self.0.join("host.json"), host)
    }

    /// The estate to which this host belongs.
    ///
    /// # Errors
    /// [`DriverError`] when there is none or its file does not read.
    pub fn estate(&self) -> Result<EstateFile, DriverError> {
        let parent = self.0.parent().unwrap_or(&self.0);
        let missing = || file::unreadable(&parent.join("estate.json"), "a lab estate".to_owned(), "no such file".to_owned());
        EstateFile::read(parent)?.ok_or_else(missing)
    }

    /// Where the configuration of IIS is.
    pub(super) fn configuration(&self) -> PathBuf {
        self.0.join("applicationHost.config")
    }

    /// Where http.sys keeps its records; for others than http.sys only to look at.
    ///
    /// # Errors
    /// [`DriverError`] when the file does not read.
    pub fn records(&self) -> Result<Vec<SslRecord>, DriverError> {
        Ok(file::read_json(&self.0.join("httpsys.json"))?.unwrap_or_default())
    }

    /// Writes `httpsys.json`; for http.sys alone.
    ///
    /// # Errors
    /// [`DriverError`] when it cannot be written.
    pub fn write_records(&self, records: &[SslRecord]) -> Result<(), DriverError> {
        file::write_json(&self.0.join("httpsys.json"), &records)
    }

    /// Every certificate of every store, in order of store and thumbprint.
    ///
    /// # Errors
    /// [`DriverError`] when one of them does not read: half a list would mislead.
    pub fn certificates(&self) -> Result<Vec<(Store, StoredCertificate)>, DriverError> {
        let root = self.0.join("stores");
        let Some(stores) = file::names(&root)? else {
            return Err(file::unreadable(&root, "certificate stores".to_owned(), "no such folder".to_owned()));
        };
        let mut found = Vec::new();
        for name in stores {
            let store = Store::named(&name);
            found.extend(read_all(&root.join(name))?.into_iter().map(|entry| (store.clone(), entry)));
        }
        found.sort_by_key(|(store, entry)| (store.clone(), Thumbprint::of(&entry.der.0)));
        Ok(found)
    }

    /// Every certificate of one store, in order of thumbprint; none where there is no such store.
    ///
    /// # Errors
    /// [`DriverError`] when one of them does not read.
    pub fn certificates_of(&self, store: &Store) -> Result<Vec<StoredCertificate>, DriverError> {
        read_all(&self.0.join("stores").join(plain(store.as_str())?))
    }

    /// The certificate of that thumbprint in that store; `None` when it is not there.
    ///
    /// # Errors
    /// [`DriverError`] when it does not read.
    pub fn certificate(&self, store: &Store, thumbprint: Thumbprint) -> Result<Option<StoredCertificate>, DriverError> {
        file::read_json(&self.certificate_file(store, thumbprint)?)
    }

    /// Adds a certificate to a store, or replaces what the store says of it.
    ///
    /// # Errors
    /// [`DriverError`] when it cannot be written.
    pub fn write_certificate(&self, store: &Store, entry: &StoredCertificate) -> Result<(), DriverError> {
        file::write_json(&self.certificate_file(store, Thumbprint::of(&entry.der.0))?, entry)
    }

    /// Removes a certificate from a store; false when it was not there.
    ///
    /// # Errors
    /// [`DriverError`] when it cannot be removed.
    pub fn remove_certificate(&self, store: &Store, thumbprint: Thumbprint) -> Result<bool, DriverError> {
        file::remove(&self.certificate_file(store, thumbprint)?)
    }

    /// What http.sys loads for `record`: the certificate that it names, with the key to it. `None` stands for 1312: the
    /// certificate is not in that store, or its key is missing, may not be opened, or is another's.
    ///
    /// # Errors
    /// [`DriverError`] when a file is there and does not read.
    pub fn credential(&self, record: &SslRecord) -> Result<Option<(Certificate, Key)>, DriverError> {
        let Some(thumbprint) = record.thumbprint else { return Ok(None) };
        let Some(stored) = self.certificate(&record.store(), thumbprint)? else { return Ok(None) };
        let (Some(link), Ok(certificate)) = (stored.key, Certificate::from_der(&stored.der.0)) else { return Ok(None) };
        let key = self.key(&link.container)?.filter(|key| key.opens() && key.id() == certificate.key_id());
        Ok(key.map(|key| (certificate, key)))
    }

    /// The names of the key containers, in order.
    ///
    /// # Errors
    /// [`DriverError`] when they cannot be listed.
    pub fn containers(&self) -> Result<Vec<String>, DriverError> {
        let root = self.0.join("keys");
        let Some(files) = file::names(&root)? else {
            return Err(file::unreadable(&root, "key containers".to_owned(), "no such folder".to_owned()));
        };
        Ok(files.iter().filter_map(|file| file.strip_suffix(".json")).map(str::to_owned).collect())
    }

    /// The key in that container; `None` when there is no such container.
    ///
    /// # Errors
    /// [`DriverError`] when the container holds no key that reads.
    pub fn key(&self, container: &str) -> Result<Option<Key>, DriverError> {
        let path = self.key_file(container)?;
        let Some(stored) = file::read_json::<KeyFile>(&path)? else { return Ok(None) };
        Key::open(&path, stored).map(Some)
    }

    /// Writes a key container.
    ///
    /// # Errors
    /// [`DriverError`] when it cannot be written.
    pub fn write_key(&self, container: &str, key: &Key) -> Result<(), DriverError> {
        file::write_json(&self.key_file(container)?, &key.file())
    }

    /// Removes a key container; false when there was none. The driver does this to the container of rehearsals alone, scenarios
    /// to others.
    ///
    /// # Errors
    /// [`DriverError`] when it cannot be removed.
    pub fn remove_key(&self, container: &str) -> Result<bool, DriverError> {
        file::remove(&self.key_file(container)?)
    }

    fn certificate_file(&self, store: &Store, thumbprint: Thumbprint) -> Result<PathBuf, DriverError> {
        Ok(self.0.join("stores").join(plain(store.as_str())?).join(format!("{thumbprint}.json")))
    }

    fn key_file(&self, container: &str) -> Result<PathBuf, DriverError> {
        Ok(self.0.join("keys").join(format!("{}.json", plain(container)?)))
    }
}

/// The certificates in the folder of a store, in order of their files, which their thumbprints name.
fn read_all(folder: &Path) -> Result<Vec<StoredCertificate>, DriverError> {
    let files = file::names(folder)?.unwrap_or_default();
    // One that vanished since it was listed is not there.
    files.iter().filter_map(|file| file::read_json(&folder.join(file)).transpose()).collect()
}

/// A name that stays in its folder: names of stores and containers come from records and plans.
fn plain(name: &str) -> Result<&str, DriverError> {
    let fits = (1..=200).contains(&name.len()) && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    fits.then_some(name).ok_or_else(|| DriverError::Unreadable {
        object: "name of a store or key container".to_owned(),
        expected: "1 to 200 bytes without path separators, not beginning with a dot".to_owned(),
        found: format!("{:?}", name.chars().take(80).collect::<String>()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_records_and_plans_never_leave_the_folder() {
        let folder = Folder::new(Path::new("/nowhere"));
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", &"x".repeat(201)] {
            assert!(folder.key(name).is_err(), "{name:?}");
            assert!(folder.certificate(&Store::Other(name.to_owned()), Thumbprint([0; 20])).is_err(), "{name:?}");
        }
        assert!(folder.key("WMSvc Certificate Key Container").unwrap().is_none());
    }
}
