//! The records of http.sys as reports and plans have them, with every field carried over; and the registry beside them, where
//! Windows keeps them for the next start.
//!
//! A write is believed only when http.sys and the registry both show its certificate. A key that is not where it is looked for is
//! no failure: it is said, by [`Kept::Nowhere`].
//!
//! Of the registry the following is known, from exports of real hosts and from what Microsoft's own tools read there:
//! `SslBindingInfo` holds a key per endpoint, called `0.0.0.0:444`; `SslSniBindingInfo` holds keys called otherwise, whose value
//! `HostnamePort` is the endpoint. `SslCertHash` is `REG_BINARY`. How records of the central store are called is not known.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use policy::id::Thumbprint;
use policy::report::{Fact, RecordKind, SslParameters, SslRecord};
use uuid::Uuid;

use super::ffi::http::{At, Entry, Http, QUERY};
use super::ffi::registry::Key;
use super::limited::{Late, Limited};
use crate::driver::DriverError;
use crate::event;

#[cfg(test)]
mod tests;

/// The keys below `HKEY_LOCAL_MACHINE` in which Windows keeps the records, in the order of [`RecordKind`]. What changes below them is
/// a change of the records.
pub const KEYS: [&str; 3] = [
    r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo",
    r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslSniBindingInfo",
    r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslCcsBindingInfo",
];

/// The value that holds the certificate's SHA-1.
const HASH: &str = "SslCertHash";

/// The value that holds the endpoint of a record by name.
const HOST_AND_PORT: &str = "HostnamePort";

/// The values that [`SslRecord`] carries.
const CARRIED: [&str; 10] = [
    HASH,
    HOST_AND_PORT,
    "AppId",
    "SslCertStoreName",
    "DefaultSslCertCheckMode",
    "DefaultSslRevocationFreshnessTime",
    "DefaultSslRevocationUrlRetrievalTimeout",
    "DefaultSslCtlIdentifier",
    "DefaultSslCtlStoreName",
    "DefaultFlags",
];

/// How often the records are listed anew until two lists agree.
const MAX_LISTS: usize = 10;

/// What the registry says of a record that http.sys holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The same certificate: the record is there after the next start.
    Same,
    /// No key for it where one is looked for.
    Nowhere,
}

/// How long a call of http.sys may take. One reads or writes a record in a few milliseconds, and has the certificate's key opened.
const LIMIT: Duration = Duration::from_secs(5);

/// The records of this host.
///
/// A call that hangs is an error in time; it may then still be done. So nothing is read while a write has not come back: what would be
/// seen is not what will be.
#[derive(Debug)]
pub struct Records {
    http: Arc<OnceLock<Http>>,
    reads: Limited,
    writes: Limited,
}

impl Default for Records {
    fn default() -> Self {
        let reads = Limited::new("http.sys", LIMIT, 1);
        // Beside one that hangs there is the one that puts the old record back.
        Self { http: Arc::default(), reads, writes: Limited::new("http.sys", LIMIT, 2) }
    }
}

impl Records {
    /// All records, by kind and endpoint.
    ///
    /// # Errors
    /// [`DriverError`] when they cannot be read, or change faster than they can be listed.
    pub fn records(&self) -> Result<Vec<SslRecord>, DriverError> {
        self.read("its records", |http| agreed(|| list(http)))
    }

    /// Writes a record where none is.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 183 where one is, 1312 where its certificate or key cannot be used, 1460 where http.sys does not
    /// answer. [`DriverError::Unreadable`] when not every field of it is known, or when it is written and http.sys or the registry
    /// show another certificate.
    pub fn set_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        let (record, entry) = (record.clone(), entry(record)?);
        self.write("HttpSetServiceConfiguration", &entry.at.clone(), move |http| {
            http.set(&entry)?;
            confirm(http, &record, &entry)
        })
    }

    /// Puts a record in place of the one at its endpoint, without a gap. False where this Windows has no such call, and nothing was
    /// done.
    ///
    /// # Errors
    /// As [`Records::set_record`], and [`DriverError::Refused`] 2 where there is none.
    pub fn update_record(&self, record: &SslRecord) -> Result<bool, DriverError> {
        let (record, entry) = (record.clone(), entry(record)?);
        self.write("HttpUpdateServiceConfiguration", &entry.at.clone(), move |http| {
            Ok(http.update(&entry)? && confirm(http, &record, &entry).map(|()| true)?)
        })
    }

    /// Whether this Windows has the call of [`Records::update_record`].
    ///
    /// # Errors
    /// [`DriverError`] when there is no configuration of http.sys.
    pub fn replaces(&self) -> Result<bool, DriverError> {
        self.read("its calls", |http| Ok(http.replaces()))
    }

    /// Removes a record.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 2 where there is none, 1460 where http.sys does not answer.
    pub fn delete_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        let at = at(record)?;
        // Nothing is compared: between this and the next write the port has no record.
        self.write("HttpDeleteServiceConfiguration", &at.clone(), move |http| http.delete(&at))
    }

    fn read<T: Send + 'static>(
        &self,
        what: &str,
        read: impl FnOnce(&Http) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let late = |late: Late| late.of(QUERY, what);
        self.writes.settled().map_err(late)?;
        let http = self.http.clone();
        self.reads.call(move || read(opened(&http)?)).map_err(late)?
    }

    fn write<T: Send + 'static>(
        &self,
        call: &'static str,
        at: &At,
        write: impl FnOnce(&Http) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let http = self.http.clone();
        self.writes.call(move || write(opened(&http)?)).map_err(|late| late.of(call, at.to_string()))?
    }
}

/// http.sys, opened when it is first asked for: a machine on which IIS is only being installed has it a moment later.
fn opened(http: &OnceLock<Http>) -> Result<&Http, DriverError> {
    if let Some(open) = http.get() {
        return Ok(open);
    }
    let opened = Http::open()?;
    Ok(http.get_or_init(|| opened))
}

fn list(http: &Http) -> Result<Vec<SslRecord>, DriverError> {
    let mut records = Vec::new();
    for kind in [RecordKind::Address, RecordKind::Sni, RecordKind::Ccs] {
        records.extend(http.entries(kind)?.into_iter().map(record));
    }
    records.sort_by(|a, b| (a.kind, &a.endpoint).cmp(&(b.kind, &b.endpoint)));
    Ok(records)
}

/// Looks whether what was written is there, for http.sys and for the next start.
fn confirm(http: &Http, record: &SslRecord, entry: &Entry) -> Result<(), DriverError> {
    match http.entry(&entry.at)? {
        Some(found) if found.hash == entry.hash => {}
        Some(found) => return Err(differs(record, "http.sys".to_owned(), &found.hash)),
        None => return Err(differs(record, "http.sys".to_owned(), &[])),
    }
    if kept(record)? == Kept::Nowhere {
        let (event, endpoint) = (event::RECORD_NOT_SHOWN.id, &record.endpoint);
        tracing::warn!(event, endpoint, "the registry does not show a record that was written");
    }
    Ok(())
}

/// Compares the record's certificate with the one in the registry.
///
/// # Errors
/// [`DriverError::Unreadable`] with both, when they differ; [`DriverError`] when the registry cannot be read.
pub fn kept(record: &SslRecord) -> Result<Kept, DriverError> {
    let Some(key) = key(&at(record)?)? else { return Ok(Kept::Nowhere) };
    let found = key.bytes(HASH)?.unwrap_or_default();
    if hash(record) == found { Ok(Kept::Same) } else { Err(differs(record, format!("HKLM\\{}", key.path()), &found)) }
}

/// What Windows keeps of this record beside the fields of [`SslRecord`], by name: switches that newer Windows has per record. An
/// update leaves it alone; a record that is deleted and set loses it.
///
/// # Errors
/// [`DriverError`] when the registry cannot be read.
pub fn extras(record: &SslRecord) -> Result<Vec<String>, DriverError> {
    let Some(key) = key(&at(record)?)? else { return Ok(Vec::new()) };
    let carried = |name: &str| CARRIED.iter().any(|carried| carried.eq_ignore_ascii_case(name));
    let below = key.subkeys()?.into_iter().map(|name| format!("{name}\\"));
    Ok(key.values()?.into_iter().filter(|name| !carried(name)).chain(below).collect())
}

/// A list that the next one agrees with. A list is read record by record, by number, and one that is written or removed meanwhile
/// shifts the others.
fn agreed<T: PartialEq>(mut list: impl FnMut() -> Result<T, DriverError>) -> Result<T, DriverError> {
    let mut last = list()?;
    for _ in 0..MAX_LISTS {
        let again = list()?;
        if again == last {
            return Ok(again);
        }
        last = again;
    }
    Err(DriverError::Unreadable {
        object: "records of http.sys".to_owned(),
        expected: "two lists that agree".to_owned(),
        found: format!("{} that differ", MAX_LISTS + 1),
    })
}

/// The record as http.sys gave it.
fn record(entry: Entry) -> SslRecord {
    let Entry { at, hash, app_id, store, check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = entry;
    let thumbprint = Thumbprint::try_from(hash.as_slice()).ok();
    let parameters = if thumbprint.is_some() || hash.is_empty() {
        Fact::Known(SslParameters { check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags })
    } else {
        // What cannot be written again as it is must not be taken for a record that can.
        Fact::Unknown(format!("the record holds a hash of {} bytes, where a thumbprint has 20", hash.len()))
    };
    SslRecord {
        kind: at.kind(),
        endpoint: at.to_string(),
        thumbprint,
        store,
        app_id: Fact::Known(app_id.braced().to_string()),
        parameters,
    }
}

/// The record as http.sys takes it.
fn entry(record: &SslRecord) -> Result<Entry, DriverError> {
    let SslRecord { kind: _, endpoint: _, thumbprint: _, store, app_id, parameters } = record;
    let unknown = |found: &str| unreadable(record, "a record of which every field is known", found);
    let app_id = match app_id {
        Fact::Known(text) => Uuid::try_parse(text).map_err(|_| unreadable(record, "a GUID as its application", text))?,
        Fact::Unknown(why) => return Err(unknown(why)),
    };
    let SslParameters { check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = match parameters {
        Fact::Known(parameters) => parameters.clone(),
        Fact::Unknown(why) => return Err(unknown(why)),
    };
    let (at, hash, store) = (at(record)?, hash(record), store.clone());
    Ok(Entry { at, hash, app_id, store, check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags })
}

fn at(record: &SslRecord) -> Result<At, DriverError> {
    At::parse(record.kind, &record.endpoint).ok_or_else(|| unreadable(record, "an endpoint of its kind", &record.endpoint))
}

fn hash(record: &SslRecord) -> Vec<u8> {
    record.thumbprint.map(|thumbprint| thumbprint.0.to_vec()).unwrap_or_default()
}

/// The record's key in the registry.
fn key(at: &At) -> Result<Option<Key>, DriverError> {
    let [by_address, by_name, central] = KEYS;
    match at {
        At::Address(address) => Key::machine(&format!("{by_address}\\{address}")),
        At::Name(..) => {
            let Some(list) = Key::machine(by_name)? else { return Ok(None) };
            let endpoint = at.to_string();
            for name in list.subkeys()? {
                let Some(key) = list.subkey(&name)? else { continue };
                if key.string(HOST_AND_PORT)?.is_some_and(|found| found.eq_ignore_ascii_case(&endpoint)) {
                    return Ok(Some(key));
                }
            }
            Ok(None)
        }
        At::Central(port) => Key::machine(&format!("{central}\\{port}")),
    }
}

fn differs(record: &SslRecord, object: String, found: &[u8]) -> DriverError {
    let shown = |thumbprint: Option<Thumbprint>| thumbprint.map_or_else(|| "none".to_owned(), |known| known.to_string());
    let found = match Thumbprint::try_from(found) {
        Ok(thumbprint) => shown(Some(thumbprint)),
        Err(_) if found.is_empty() => shown(None),
        Err(error) => error.to_string(),
    };
    DriverError::Unreadable {
        object: format!("the certificate of {} in {object}", record.endpoint),
        expected: shown(record.thumbprint),
        found,
    }
}

fn unreadable(record: &SslRecord, expected: &str, found: &str) -> DriverError {
    let object = format!("record {}", record.endpoint);
    DriverError::Unreadable { object, expected: expected.to_owned(), found: found.to_owned() }
}
