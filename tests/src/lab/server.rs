//! One server of the lab, seen and handled from outside: by an administrator, a tool, a disaster or a test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::driver::lab::control::{Control, Request};
use agent::driver::lab::fault::{self, Fault};
use agent::driver::lab::folder::{EstateFile, Folder, Place};
use agent::driver::lab::{LabDriver, file};
use anyhow::{Context, Result};
use policy::certificate::Certificate;
use policy::id::{ServerName, Sha256};
use policy::report::{Fact, SslRecord};

use super::install::{files, kept};

/// How long http.sys may take for an answer.
const LIMIT: Duration = Duration::from_secs(60);

/// One server.
#[derive(Debug, Clone)]
pub struct Server {
    name: ServerName,
    folder: PathBuf,
}

impl Server {
    pub(super) fn new(estate: &Path, name: &ServerName) -> Self {
        Self { name: name.clone(), folder: estate.join(name.as_str()) }
    }

    /// Its NetBIOS name.
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its files.
    pub fn files(&self) -> Folder {
        Folder::new(&self.folder)
    }

    /// A driver for it, as the agent would have.
    pub fn driver(&self) -> LabDriver {
        LabDriver::new(&self.folder)
    }

    /// Its line in the table of the estate.
    ///
    /// # Errors
    /// When the table does not read.
    pub fn place(&self) -> Result<Place> {
        let estate = self.folder.parent().unwrap_or(&self.folder);
        let table = EstateFile::read(estate)?.with_context(|| format!("no estate in {}", estate.display()))?;
        table.place(&self.name).cloned().with_context(|| format!("{} is not in its estate", self.name))
    }

    /// Where that port of it really is.
    ///
    /// # Errors
    /// When it was never up.
    pub fn address(&self, port: u16) -> Result<SocketAddr> {
        let found = self.place()?.socket(port);
        found.map(SocketAddr::V4).with_context(|| format!("port {port} of {} was never up", self.name))
    }

    /// The records of its http.sys, as they are on disk.
    ///
    /// # Errors
    /// When they do not read.
    pub fn records(&self) -> Result<Vec<SslRecord>> {
        Ok(self.files().records()?)
    }

    /// The record that serves 444; `None` when it is gone.
    ///
    /// # Errors
    /// When the records do not read.
    pub fn back_end_record(&self) -> Result<Option<SslRecord>> {
        Ok(self.records()?.into_iter().find(SslRecord::is_back_end))
    }

    /// The certificate that the record of 444 names; `None` when record or certificate is gone.
    ///
    /// # Errors
    /// When a file does not read.
    pub fn back_end_certificate(&self) -> Result<Option<Certificate>> {
        let Some(record) = self.back_end_record()? else { return Ok(None) };
        let Some(thumbprint) = record.thumbprint else { return Ok(None) };
        let stored = self.files().certificate(&record.store(), thumbprint)?;
        stored.map(|stored| Certificate::from_der(&stored.der.0)).transpose().context("the certificate on 444 does not read")
    }

    /// A conversation with its http.sys.
    ///
    /// # Errors
    /// When it is not running.
    pub fn http_sys(&self) -> Result<Control> {
        let hint = || format!("http.sys of {} does not answer: is backstay-lab up?", self.name);
        Control::connect(&self.folder, LIMIT).with_context(hint)
    }

    /// Whether its http.sys answers.
    pub fn is_up(&self) -> bool {
        self.http_sys().is_ok_and(|mut http_sys| http_sys.query().is_ok())
    }

    /// Restarts http.sys: what was deleted from the store is no longer served.
    ///
    /// # Errors
    /// When http.sys is not running.
    pub fn restart(&self) -> Result<()> {
        Ok(self.http_sys()?.change("restart", "http.sys", &Request::Restart)?)
    }

    /// Lets a call go wrong from here on.
    ///
    /// # Errors
    /// When the faults cannot be written.
    pub fn fault(&self, fault: Fault) -> Result<()> {
        Ok(fault::change(&self.folder, |faults| faults.push(fault))?)
    }

    /// Takes every fault away.
    ///
    /// # Errors
    /// When the faults cannot be written.
    pub fn clear_faults(&self) -> Result<()> {
        Ok(fault::change(&self.folder, Vec::clear)?)
    }

    /// Back to the state in which Setup left it: files, records, faults; and http.sys restarted.
    ///
    /// # Errors
    /// When http.sys is not running, or a file cannot be written.
    pub fn heal(&self) -> Result<()> {
        self.clear_faults()?;
        let kept = kept(&self.folder);
        let (mut wanted, mut present) = (files(&kept)?, files(&self.folder)?);
        // Records are http.sys' to write.
        wanted.remove("httpsys.json");
        present.remove("httpsys.json");
        for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
            file::remove(&self.folder.join(name))?;
        }
        for (name, bytes) in wanted.iter().filter(|(name, bytes)| present.get(*name) != Some(bytes)) {
            file::write(&self.folder.join(name), bytes)?;
        }
        let records = Folder::new(&kept).records()?;
        let mut http_sys = self.http_sys()?;
        for extra in http_sys.query()?.iter().filter(|found| !records.iter().any(|record| same_place(record, found))) {
            http_sys.delete(extra)?;
        }
        for record in records {
            http_sys.change("place", &record.endpoint.clone(), &Request::Place { record })?;
        }
        self.restart()
    }

    /// Everything that is on its disk, by name: files whole, private keys by their digest, every record of http.sys as an
    /// entry `record/<kind>/<endpoint>` of its own. To be compared before and after (P4). The event log is left out: what
    /// happened stays written there.
    ///
    /// # Errors
    /// When something does not read.
    pub fn snapshot(&self) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for (name, bytes) in files(&self.folder)? {
            if name == "httpsys.json" {
                continue;
            }
            let text = if name.starts_with("keys/") {
                Sha256::of(&bytes).to_string()
            } else if name == "host.json" {
                let mut host = self.files().host()?;
                host.machine.events = Fact::Known(Vec::new());
                serde_json::to_string(&host).context("a host that JSON can hold")?
            } else {
                String::from_utf8_lossy(&bytes).into_owned()
            };
            found.insert(name, text);
        }
        for record in self.records()? {
            let text = serde_json::to_string(&record).context("a record that JSON can hold")?;
            found.insert(format!("record/{:?}/{}", record.kind, record.endpoint).to_lowercase(), text);
        }
        Ok(found)
    }
}

fn same_place(a: &SslRecord, b: &SslRecord) -> bool {
    a.kind == b.kind && a.endpoint == b.endpoint
}
