//! An Exchange host as Windows shows it: CryptoAPI stores and keys, the configuration API of http.sys, the registry, the
//! service control manager, the event log, and the configuration file of IIS. No cmdlet and no child process: the management
//! shell is dead when it matters.
//!
//! [`ffi`] is the only part with `unsafe` in it. Everything else is safe Rust over its types. What a plan's steps mean is not said here:
//! the driver gives the calls of [`System`], and [`Steps`] does the rest as on any other host.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policy::id::Thumbprint;
use policy::plan::Step;
use policy::report::{Access, BACK_END_PORT, Fact, ProbePath, Report, Sight, SslRecord, Store};

use self::directory::Directory;
use self::events::Events;
use self::iis::Iis;
use self::keys::WindowsKey;
use self::pointers::Pointers;
use self::records::Records;
use self::running::Running;
use self::stores::Stores;
use self::watch::Watching;
use super::steps::Steps;
use super::system::{Opened, Stored, System};
use super::{Applied, Driver, DriverError, State, examine, rehearse};
use crate::doctor::{Checks, Wish};

mod dial;
pub mod directory;
mod doctor;
pub mod events;
pub mod exchange;
#[expect(unsafe_code, reason = "the one place that calls Windows")]
pub mod ffi;
pub mod host;
pub mod iis;
mod keyfile;
pub mod keys;
pub mod limited;
pub mod machine;
pub mod pointers;
pub mod records;
mod rsa;
pub mod running;
pub mod services;
pub mod stores;
mod watch;

/// The driver of the machine that this program runs on.
#[derive(Debug, Default)]
pub struct WindowsDriver {
    stores: Stores,
    directory: Directory,
    pointers: Pointers,
    events: Events,
    running: Running,
    records: Records,
    remembered: Mutex<BTreeSet<String>>,
    watching: Mutex<Watching>,
}

impl WindowsDriver {
    /// Nothing is read before the first look.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Driver for WindowsDriver {
    fn observe(&self) -> Result<Sight, DriverError> {
        let domain = self.directory.look();
        let host = host::host(&domain)?;
        let named = self.pointers.look(&host.name);
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stores::Seen { stores, containers, certificates } = self.stores.look(&remembered);
        let running = self.running.look();
        let iis = Iis::of_this_machine().map(|iis| iis.look());
        let iis::Seen { sites, metabase, redirected } = iis.unwrap_or_else(|error| {
            let why = crate::chain(&error);
            iis::Seen { sites: Fact::Unknown(why.clone()), metabase: Fact::Unknown(why.clone()), redirected: Fact::Unknown(why) }
        });
        let report = Report {
            host,
            exchange: exchange::exchange(),
            setup: exchange::setup(),
            stores,
            containers,
            records: fact(self.records()),
            sites: running.tell(sites),
            metabase,
            services: services::services(),
            machine: machine::machine(&domain, named, redirected, running.pools, &self.events),
            probes: Vec::new(),
            hold: None,
        };
        Ok(Sight { report, certificates })
    }

    fn check(&self, step: &Step) -> Result<State, DriverError> {
        Steps(self).state(step)
    }

    fn apply(&self, step: &Step) -> Result<Applied, DriverError> {
        Steps(self).perform(step)
    }

    fn undo(&self, step: &Step) -> Result<(), DriverError> {
        Steps(self).take_back(step)
    }

    fn dial(&self, port: u16, path: ProbePath, limit: Duration) -> Result<TcpStream, DriverError> {
        dial::dial(port, path, limit)
    }

    fn reach(&self, fqdn: &str, limit: Duration) -> Result<TcpStream, DriverError> {
        dial::reach(fqdn, BACK_END_PORT, limit)
    }

    fn greet(&self, stream: TcpStream, name: &str) -> Result<Vec<u8>, String> {
        dial::greet(stream, name)
    }

    fn paths(&self) -> Vec<ProbePath> {
        vec![ProbePath::Loopback, ProbePath::OwnNameV4, ProbePath::OwnNameV6]
    }

    fn watch(&self, limit: Duration) -> Result<bool, DriverError> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).wait(limit)
    }

    fn examine(&self, state: &Path, checks: &mut Checks) {
        examine::examine(self, checks);
        doctor::examine(self, state, checks);
    }

    fn rehearse(&self, wish: &Wish, checks: &mut Checks) {
        rehearse::rehearse(self, wish, checks);
    }

    fn leftover(&self, checks: &mut Checks) {
        rehearse::leftover(self, checks);
    }

    fn system(&self) -> Result<String, DriverError> {
        doctor::system()
    }

    fn remember_container(&self, container: &str) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned());
    }
}

impl System for WindowsDriver {
    type Key = WindowsKey;

    fn key(&self, container: &str) -> Result<Opened<WindowsKey>, DriverError> {
        keys::named(container)
    }

    fn create_key(&self, container: &str, bits: u32) -> Result<(), DriverError> {
        keys::create(container, bits)
    }

    fn grant_key(&self, container: &str, access: &[Access]) -> Result<(), DriverError> {
        keys::grant(container, access)
    }

    fn delete_rehearsal_key(&self) -> Result<bool, DriverError> {
        keys::delete_rehearsal()
    }

    fn stored(&self, store: &Store) -> Result<Vec<Stored>, DriverError> {
        stores::stored(store)
    }

    fn add(&self, store: &Store, entry: &Stored) -> Result<(), DriverError> {
        stores::add(store, entry)
    }

    fn mark_archived(&self, store: &Store, thumbprint: Thumbprint, archived: bool) -> Result<(), DriverError> {
        stores::mark_archived(store, thumbprint, archived)
    }

    fn remove_trust_copy(&self, thumbprint: Thumbprint) -> Result<(), DriverError> {
        stores::remove_trust_copy(thumbprint)
    }

    fn records(&self) -> Result<Vec<SslRecord>, DriverError> {
        self.records.records()
    }

    fn set_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        self.records.set_record(record)
    }

    fn update_record(&self, record: &SslRecord) -> Result<bool, DriverError> {
        self.records.update_record(record)
    }

    fn replaces_records(&self) -> Result<bool, DriverError> {
        self.records.replaces()
    }

    fn delete_record(&self, record: &SslRecord) -> Result<(), DriverError> {
        self.records.delete_record(record)
    }

    fn configuration(&self) -> Result<String, DriverError> {
        Iis::of_this_machine()?.configuration()
    }

    fn write_configuration(&self, text: &str) -> Result<(), DriverError> {
        Iis::of_this_machine()?.write_configuration(text)
    }

    fn full_name(&self) -> Result<String, DriverError> {
        host::full_name()
    }
}

fn fact<T>(read: Result<T, DriverError>) -> Fact<T> {
    read.map_or_else(|error| Fact::Unknown(crate::chain(&error)), Fact::Known)
}
