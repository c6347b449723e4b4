//! http.sys of one host: records on disk, certificates in memory, with the semantics of the real one.
//!
//! * Writing a record where one is fails with 183, and one whose certificate is not in the named store, or whose key cannot
//!   be used, with 1312.
//! * A certificate is loaded when its record is written and when http.sys starts. It is then served until the record goes or
//!   http.sys restarts, whatever becomes of the store: "444 still handshakes" proves nothing.
//! * A record whose certificate cannot be loaded stays. Connections to it are accepted and closed after the ClientHello,
//!   and each of them tries to load it once more: a certificate that is put back is served without a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use agent::driver::lab::control::{Answer, Request};
use agent::driver::lab::fault::Call;
use agent::driver::lab::folder::Folder;
use anyhow::Result;
use policy::report::{RecordKind, SslRecord};
use rustls::ServerConfig;

use super::tls;

const NOT_FOUND: u32 = 2;
const INVALID_PARAMETER: u32 = 87;
const NO_SUCH_CALL: u32 = 120;
const EXISTS: u32 = 183;
const DEVICE: u32 = 1117;
const UNUSABLE: u32 = 1312;

type Key = (RecordKind, String);

/// The http.sys of one host.
pub(super) struct HttpSys {
    host: Folder,
    records: BTreeMap<Key, SslRecord>,
    loaded: BTreeMap<Key, Arc<ServerConfig>>,
}

impl HttpSys {
    /// Starts with the records that are on disk, and loads their certificates as far as they are there.
    pub(super) fn start(host: &Path) -> Result<Self> {
        let host = Folder::new(host);
        let records = host.records()?.into_iter().map(|record| (key(&record), record)).collect();
        let mut started = Self { host, records, loaded: BTreeMap::new() };
        started.load_all();
        Ok(started)
    }

    /// The host's folder.
    pub(super) fn host(&self) -> &Path {
        self.host.path()
    }

    /// The call that a request is, for faults. The lab's own requests are none.
    pub(super) fn call(request: &Request) -> Option<Call> {
        match request {
            Request::Query => Some(Call::Query),
            Request::Set { .. } => Some(Call::Set),
            Request::Update { .. } => Some(Call::Update),
            Request::Delete { .. } => Some(Call::Delete),
            Request::Place { .. } | Request::Restart => None,
        }
    }

    /// Does what is asked.
    pub(super) fn answer(&mut self, request: Request) -> Answer {
        let done = match request {
            Request::Query => return Answer::Records(self.records.values().cloned().collect()),
            Request::Set { record } => self.set(record),
            Request::Update { record } => self.update(record),
            Request::Delete { kind, endpoint } => self.delete(&(kind, endpoint)),
            Request::Place { record } => self.place(record),
            Request::Restart => {
                self.load_all();
                Ok(())
            }
        };
        done.map_or_else(Answer::Refused, |()| Answer::Done)
    }

    /// What is served to a client that asks for `name` on `port`; `None` closes the connection.
    pub(super) fn credential(&mut self, port: u16, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let by_name = name.map(|name| (RecordKind::Sni, format!("{}:{port}", name.to_ascii_lowercase())));
        let by_address = (RecordKind::Address, format!("0.0.0.0:{port}"));
        let key = by_name.filter(|key| self.records.contains_key(key)).unwrap_or(by_address);
        if let Some(loaded) = self.loaded.get(&key) {
            return Some(loaded.clone());
        }
        let loaded = self.load(self.records.get(&key)?)?;
        self.loaded.insert(key, loaded.clone());
        Some(loaded)
    }

    fn set(&mut self, record: SslRecord) -> Result<(), u32> {
        if self.records.contains_key(&key(&record)) {
            return Err(EXISTS);
        }
        self.write_loaded(record)
    }

    fn update(&mut self, record: SslRecord) -> Result<(), u32> {
        if !self.host.host().is_ok_and(|host| host.updates_records) {
            return Err(NO_SUCH_CALL);
        }
        if !self.records.contains_key(&key(&record)) {
            return Err(NOT_FOUND);
        }
        self.write_loaded(record)
    }

    fn delete(&mut self, key: &Key) -> Result<(), u32> {
        let mut records = self.records.clone();
        records.remove(key).ok_or(NOT_FOUND)?;
        self.keep(records)?;
        self.loaded.remove(key);
        Ok(())
    }

    fn write_loaded(&mut self, record: SslRecord) -> Result<(), u32> {
        let whole = record.app_id.known().is_some() && record.parameters.known().is_some();
        if !whole || record.port().is_none() {
            return Err(INVALID_PARAMETER);
        }
        let loaded = self.load(&record).ok_or(UNUSABLE)?;
        self.write(record, Some(loaded))
    }

    fn place(&mut self, record: SslRecord) -> Result<(), u32> {
        let loaded = self.load(&record);
        self.write(record, loaded)
    }

    fn write(&mut self, record: SslRecord, loaded: Option<Arc<ServerConfig>>) -> Result<(), u32> {
        let key = key(&record);
        let mut records = self.records.clone();
        records.insert(key.clone(), record);
        self.keep(records)?;
        match loaded {
            Some(loaded) => self.loaded.insert(key, loaded),
            None => self.loaded.remove(&key),
        };
        Ok(())
    }

    fn load_all(&mut self) {
        let load = |(key, record): (&Key, &SslRecord)| Some((key.clone(), self.load(record)?));
        self.loaded = self.records.iter().filter_map(load).collect();
    }

    /// On disk first: what was answered "done" is still so after a kill.
    fn keep(&mut self, records: BTreeMap<Key, SslRecord>) -> Result<(), u32> {
        let list: Vec<SslRecord> = records.values().cloned().collect();
        self.host.write_records(&list).map_err(|error| {
            tracing::error!(error = agent::chain(&error), "records could not be written");
            DEVICE
        })?;
        self.records = records;
        Ok(())
    }

    fn load(&self, record: &SslRecord) -> Option<Arc<ServerConfig>> {
        match self.host.credential(record) {
            Ok(found) => found.and_then(|(certificate, key)| tls::server(&certificate, &key)),
            Err(error) => {
                tracing::warn!(endpoint = record.endpoint, error = agent::chain(&error), "certificate could not be loaded");
                None
            }
        }
    }
}

fn key(record: &SslRecord) -> Key {
    (record.kind, record.endpoint.clone())
}
