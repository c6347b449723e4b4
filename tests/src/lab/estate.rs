//! The estate folder: its servers, and the way to bring them up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use agent::driver::lab::file;
use agent::driver::lab::folder::{EstateFile, Place};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use policy::id::ServerName;

use super::install;
use super::organization::Organization;
use super::running::Running;
use super::server::Server;

/// The AD site of every lab server that is not told otherwise.
const AD_SITE: &str = "Default-First-Site-Name";

/// The most servers in one estate: each has its own loopback address.
const MAX_SERVERS: usize = 1000;

/// An estate folder.
#[derive(Debug, Clone)]
pub struct Estate {
    folder: PathBuf,
}

impl Estate {
    /// The estate in `folder`, made with EX1 and EX2 in a DAG and EX3 in none when there is nothing yet.
    ///
    /// # Errors
    /// When the folder cannot be written or holds something else.
    pub fn usual(folder: &Path) -> Result<Self> {
        Self::with(folder, &[("EX1", Some("DAG1")), ("EX2", Some("DAG1")), ("EX3", None)])
    }

    /// The estate in `folder`, to which servers of these names and DAGs are added as far as they are missing. Their ports
    /// are found when they come up first.
    ///
    /// # Errors
    /// When the folder cannot be written, holds something else, or a name is no server's.
    pub fn with(folder: &Path, servers: &[(&str, Option<&str>)]) -> Result<Self> {
        let estate = Self { folder: folder.to_owned() };
        let mut table = estate.table_or_none()?.unwrap_or(EstateFile { servers: Vec::new() });
        let missing: Vec<_> =
            servers.iter().filter(|(name, _)| !table.servers.iter().any(|place| place.name.as_str() == *name)).collect();
        if missing.is_empty() {
            return Ok(estate);
        }
        for (name, dag) in missing {
            let name: ServerName = name.parse()?;
            let place = place(name, dag.map(str::to_owned), table.servers.len())?;
            table = estate.add(table, place)?;
        }
        Ok(estate)
    }

    /// The estate that is in `folder`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> Result<Self> {
        let estate = Self { folder: folder.to_owned() };
        estate.table()?;
        Ok(estate)
    }

    /// Adds one server, installed as Setup does, at exactly this place; port 0 is found when it comes up first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn install(&self, place: Place) -> Result<Server> {
        let table = self.table_or_none()?.unwrap_or(EstateFile { servers: Vec::new() });
        if table.place(&place.name).is_some() {
            bail!("expected a new server, found {} in {}", place.name, self.folder.display());
        }
        let server = Server::new(&self.folder, &place.name);
        self.add(table, place)?;
        Ok(server)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The servers, in order of their creation.
    ///
    /// # Errors
    /// When the table does not read.
    pub fn servers(&self) -> Result<Vec<Server>> {
        Ok(self.table()?.servers.iter().map(|place| Server::new(&self.folder, &place.name)).collect())
    }

    /// One server.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn server(&self, name: &str) -> Result<Server> {
        let wanted: ServerName = name.parse()?;
        let table = self.table()?;
        let known = || table.servers.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
        let place = table.place(&wanted).with_context(|| format!("expected one of {}, found {wanted}", known()))?;
        Ok(Server::new(&self.folder, &place.name))
    }

    /// Opens the sockets of every server; they are open until what is returned is dropped.
    ///
    /// # Errors
    /// When another process has them open, or a port is taken.
    pub fn up(&self) -> Result<Running> {
        let lock = File::create(self.folder.join("lab.lock")).context("lab.lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                bail!("{}: expected nobody to serve this estate, found another backstay-lab at it", self.folder.display())
            }
            Err(fs::TryLockError::Error(error)) => return Err(error).context("lab.lock"),
        }
        let mut table = self.table()?;
        let before = table.clone();
        let running = Running::start(&self.folder, &mut table, lock)?;
        // Only when every port is known does a client learn of any.
        if table != before {
            file::write_json(&self.folder.join("estate.json"), &table)?;
        }
        Ok(running)
    }

    /// Where every server is.
    ///
    /// # Errors
    /// When there is no estate here.
    pub fn table(&self) -> Result<EstateFile> {
        self.table_or_none()?.with_context(|| format!("expected a lab estate in {}, found none", self.folder.display()))
    }

    fn table_or_none(&self) -> Result<Option<EstateFile>> {
        Ok(EstateFile::read(&self.folder)?)
    }

    fn add(&self, mut table: EstateFile, place: Place) -> Result<EstateFile> {
        if table.servers.len() >= MAX_SERVERS {
            bail!("expected at most {MAX_SERVERS} servers, found one more");
        }
        let now = Timestamp::now();
        let organization = Organization::of(&self.folder, now)?;
        install::install(&self.folder.join(place.name.as_str()), &place, &organization, now)
            .with_context(|| format!("installing {}", place.name))?;
        table.servers.push(place);
        file::write_json(&self.folder.join("estate.json"), &table)?;
        Ok(table)
    }
}

/// The usual place of the server that is `number` before others: a loopback address of its own, any free port.
fn place(name: ServerName, dag: Option<String>, number: usize) -> Result<Place> {
    let [high, low] = u16::try_from(number + 1).context("a number of servers")?.to_be_bytes();
    Ok(Place {
        fqdn: format!("{}.lab.test", name.as_str().to_ascii_lowercase()),
        name,
        dag,
        ad_site: AD_SITE.to_owned(),
        address: Ipv4Addr::new(127, 44, high, low),
        ports: BTreeMap::from([(443, 0), (444, 0)]),
    })
}
