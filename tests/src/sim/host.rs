//! A host in memory: stores, keys and http.sys as the steps of plans see them. What a step means is the product's own
//! code; here is only what the calls of a system do.
//!
//! Between any two calls the world may go on, and the agent may be killed: a run holds its [`Baton`] at each.

mod calls;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;
use std::panic::resume_unwind;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::driver::steps::Steps;
use agent::driver::system::{HostKey, Stored, System};
use agent::driver::{Applied, Driver, DriverError, State};
use agent::work::Clock;
use jiff::{SignedDuration, Timestamp};
use policy::certificate::Certificate;
use policy::id::{CertificateId, Sha256, Thumbprint};
use policy::plan::{Der, Step};
use policy::report::{
    Access, Fact, KeyContainer, KeyState, Probe, ProbeOutcome, ProbePath, Report, Setup, Sight, SslRecord, Store, StoreEntry,
};

use super::bugs::Bug;
use super::mind::stage::{self, der::Recipe};

/// What a run that stands at a call is told.
pub(super) enum Go {
    On,
    /// The process is killed here.
    Die,
}

/// What a run tells.
pub(super) enum Stop<T> {
    AtCall,
    Done(T),
}

/// What is thrown where a process is killed. No panic: nobody's fault, and nothing is printed.
struct Killed;

/// Says that a run stands at a call.
pub(super) type Tell = Box<dyn Fn() + Send>;

/// The ends by which a run waits for the world.
#[derive(Default)]
struct Baton(Mutex<Option<(Tell, Receiver<Go>)>>);

impl std::fmt::Debug for Baton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Baton")
    }
}

/// A key: its name is all that there is to know of it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    id: Sha256,
    word: String,
    access: Vec<Access>,
}

impl HostKey for Key {
    fn public(&self) -> &[u8] {
        self.word.as_bytes()
    }

    fn id(&self) -> Sha256 {
        self.id
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, DriverError> {
        Ok(vec![0x5a; 256])
    }

    fn signer(&self) -> Result<String, DriverError> {
        Ok("by nothing: a simulated key".to_owned())
    }

    fn access(&self) -> Result<Vec<Access>, DriverError> {
        Ok(self.access.clone())
    }
}

/// What a host has that matters, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) stores: Vec<(Store, Stored)>,
    pub(super) records: Vec<SslRecord>,
    /// What http.sys shows from memory, by endpoint.
    pub(super) served: BTreeMap<String, CertificateId>,
    /// Words of keys by container.
    pub(super) keys: BTreeMap<String, Sha256>,
}

/// A call of an agent that changes the host.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) step: Step,
    pub(super) back: bool,
    pub(super) worked: bool,
    pub(super) before: Picture,
    pub(super) after: Picture,
    pub(super) at: Timestamp,
    /// Nobody else changed anything meanwhile, in the gap of a swap.
    pub(super) alone: bool,
}

#[derive(Debug)]
struct Inner {
    base: Report,
    picture: Picture,
    keys: BTreeMap<String, Key>,
    certificates: BTreeMap<CertificateId, Certificate>,
    setup: Setup,
    clock: Timestamp,
    minted: u32,
    /// http.sys has the call that updates a record without a gap.
    updates: bool,
    /// The next calls that write fail so.
    refusals: VecDeque<bool>,
    writes: Vec<Write>,
    /// How often somebody else changed something.
    foreign: u64,
}

/// A simulated server.
#[derive(Debug)]
pub(super) struct Host {
    inner: Mutex<Inner>,
    baton: Baton,
    bug: Option<Bug>,
}

/// The endpoint of the back end.
pub(super) const BACK_END: &str = "0.0.0.0:444";

/// The certificate that Setup made, ending then.
pub(super) fn back_end_of(name: &str, ends: Timestamp) -> Recipe {
    let names = vec![name.to_owned(), format!("{}.contoso.test", name.to_lowercase())];
    Recipe { names, to: ends, key: format!("{name}-be"), ..stage::be() }
}

impl Host {
    pub(super) fn new(name: &str, dag: Option<&str>, ends: Timestamp, updates: bool, clock: Timestamp, bug: Option<Bug>) -> Self {
        let (be, fe) = (back_end_of(name, ends), Recipe { key: format!("{name}-fe"), ..stage::fe() });
        let (baked, public) = (be.bake(), fe.bake());
        let Sight { report: mut base, certificates } = stage::host(&baked, &public);
        base.host.name = name.parse().expect("a name");
        base.host.fqdn = Fact::Known(format!("{}.contoso.test", name.to_lowercase()));
        base.host.machine_id = Fact::Known(format!("machine-{name}"));
        base.host.dag = Fact::Known(dag.map(str::to_owned));
        let entries = base.stores.known().cloned().unwrap_or_default();
        let stored = |entry: &StoreEntry| {
            let der = certificates.get(&entry.certificate).map(|certificate| certificate.der().to_vec()).unwrap_or_default();
            let key = entry.key.known().cloned().flatten();
            let friendly_name = entry.friendly_name.known().cloned().flatten();
            (entry.store.clone(), Stored { der: Der(der), friendly_name, key, archived: false })
        };
        let access = entries.first().and_then(|entry| entry.key_access.known().cloned()).unwrap_or_default();
        let key = |word: &str, certificate: &Certificate| Key {
            id: certificate.key_id(),
            word: word.to_owned(),
            access: access.clone(),
        };
        let keys = BTreeMap::from([("be-key".to_owned(), key(&be.key, &baked)), ("fe-key".to_owned(), key(&fe.key, &public))]);
        let records = base.records.known().cloned().unwrap_or_default();
        let mut picture = Picture {
            stores: entries.iter().map(stored).collect(),
            records,
            served: BTreeMap::new(),
            keys: keys.iter().map(|(name, key)| (name.clone(), key.id)).collect(),
        };
        for record in &picture.records {
            let certificate = if record.is_back_end() { &baked } else { &public };
            picture.served.insert(record.endpoint.clone(), certificate.id());
        }
        let inner = Inner {
            base,
            picture,
            keys,
            certificates,
            setup: Setup::Idle,
            clock,
            minted: 0,
            updates,
            refusals: VecDeque::new(),
            writes: Vec::new(),
            foreign: 0,
        };
        Self { inner: Mutex::new(inner), baton: Baton::default(), bug }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the world's side ---

    pub(super) fn set_clock(&self, clock: Timestamp) {
        self.inner().clock = clock;
    }

    pub(super) fn clock(&self) -> Timestamp {
        self.inner().clock
    }

    pub(super) fn picture(&self) -> Picture {
        self.inner().picture.clone()
    }

    pub(super) fn certificate(&self, id: CertificateId) -> Option<Certificate> {
        self.inner().certificates.get(&id).cloned()
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.inner().writes)
    }

    pub(super) fn foreign(&self) -> u64 {
        self.inner().foreign
    }

    pub(super) fn dag(&self) -> Option<String> {
        self.inner().base.host.dag.known().cloned().flatten()
    }

    /// The next call that writes fails, before or after it took effect.
    pub(super) fn fail_next(&self, before: bool) {
        self.inner().refusals.push_back(before);
    }

    pub(super) fn no_more_failures(&self) {
        self.inner().refusals.clear();
    }

    /// Somebody else changes the host.
    pub(super) fn change(&self, change: impl FnOnce(&mut Hands<'_>)) {
        let mut inner = self.inner();
        inner.foreign += 1;
        change(&mut Hands(&mut inner));
        inner.load();
    }

    /// From here on a run waits at each call.
    pub(super) fn hold_baton(&self, tell: Tell, go: Receiver<Go>) {
        *self.baton.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((tell, go));
    }

    pub(super) fn drop_baton(&self) {
        *self.baton.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The world goes on, if a run is at work here.
    fn pause(&self) {
        let ends = self.baton.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((tell, go)) = ends else { return };
        tell();
        match go.recv() {
            Ok(Go::On) => *self.baton.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((tell, go)),
            Ok(Go::Die) | Err(_) => resume_unwind(Box::new(Killed)),
        }
    }

    /// A call that changes the host: what was before and after it is kept for those who judge.
    fn writing<T>(&self, step: &Step, back: bool, call: impl FnOnce() -> Result<T, DriverError>) -> Result<T, DriverError> {
        self.pause();
        let (before, others) = (self.picture(), self.foreign());
        let fails = self.inner().refusals.pop_front();
        let result = match fails {
            Some(true) => Err(refused(31, "a device attached to the system is not functioning")),
            Some(false) => call().and(Err(refused(1460, "no answer in time"))),
            None => call(),
        };
        self.inner().load();
        let (after, at) = (self.picture(), self.clock());
        let alone = others == self.foreign();
        let write = Write { step: step.clone(), back, worked: result.is_ok(), before, after, at, alone };
        self.inner().writes.push(write);
        self.pause();
        result
    }
}

fn refused(code: u32, meaning: &'static str) -> DriverError {
    DriverError::Refused { call: "simulated", object: "host".to_owned(), code, meaning }
}

/// What people, installers and other tools do to a host.
pub(super) struct Hands<'a>(&'a mut Inner);

impl Hands<'_> {
    /// The certificate that the record of 444 names.
    pub(super) fn bound(&self) -> Option<Thumbprint> {
        self.0.picture.records.iter().find(|record| record.is_back_end())?.thumbprint
    }

    pub(super) fn delete(&mut self, store: &Store, thumbprint: Thumbprint) {
        self.0.picture.stores.retain(|(found, stored)| found != store || Thumbprint::of(&stored.der.0) != thumbprint);
    }

    pub(super) fn touch(&mut self, thumbprint: Thumbprint, mut change: impl FnMut(&mut Stored)) {
        let found = self.0.picture.stores.iter_mut().filter(|(store, _)| *store == Store::My);
        found.filter(|(_, stored)| Thumbprint::of(&stored.der.0) == thumbprint).for_each(|(_, stored)| change(stored));
    }

    pub(super) fn remove_record(&mut self) {
        self.0.picture.records.retain(|record| !record.is_back_end());
        self.0.picture.served.remove(BACK_END);
    }

    pub(super) fn set_store_name(&mut self, name: &str) {
        for record in self.0.picture.records.iter_mut().filter(|record| record.is_back_end()) {
            record.store = Some(name.to_owned());
        }
    }

    /// Puts a certificate of this recipe into MY, and on these ports.
    pub(super) fn install(&mut self, recipe: &Recipe, endpoints: &[&str]) {
        let made = recipe.bake();
        let container = format!("{}-key", recipe.key);
        self.0.add_key(&container, &recipe.key, made.key_id());
        let key = Some(policy::decide::vendor_link(&container));
        let stored =
            Stored { der: Der(made.der().to_vec()), friendly_name: Some("Microsoft Exchange".to_owned()), key, archived: false };
        self.delete(&Store::My, made.thumbprint());
        self.0.picture.stores.push((Store::My, stored));
        for endpoint in endpoints {
            self.0.picture.records.retain(|record| record.endpoint != *endpoint);
            self.0.picture.records.push(stage::record(endpoint, Some(made.thumbprint()), "MY"));
            self.0.picture.served.insert((*endpoint).to_owned(), made.id());
        }
        self.0.certificates.insert(made.id(), made);
    }

    /// The host starts anew: http.sys shows only what is there.
    pub(super) fn restart(&mut self) {
        self.0.picture.served.clear();
    }

    pub(super) fn setup(&mut self, setup: Setup) {
        self.0.setup = setup;
    }
}

impl Inner {
    fn add_key(&mut self, container: &str, word: &str, id: Sha256) {
        let access = [("S-1-5-18", 0x1f_01ff), ("S-1-5-32-544", 0x1f_01ff)];
        let access = access.map(|(sid, mask)| Access { sid: sid.to_owned(), mask }).to_vec();
        self.keys.insert(container.to_owned(), Key { id, word: word.to_owned(), access });
        self.picture.keys.insert(container.to_owned(), id);
    }

    /// http.sys loads a record's certificate at the first handshake that finds it usable, and shows it from then on, whatever becomes of
    /// it in the store.
    fn load(&mut self) {
        for record in self.picture.records.clone() {
            if let Some(id) = self.usable(&record) {
                self.picture.served.entry(record.endpoint.clone()).or_insert(id);
            }
        }
    }

    /// What http.sys would show for this record, if it can: its certificate is in its store and the key belongs to it.
    fn usable(&self, record: &SslRecord) -> Option<CertificateId> {
        let found = self
            .picture
            .stores
            .iter()
            .find(|(store, stored)| *store == record.store() && Some(Thumbprint::of(&stored.der.0)) == record.thumbprint);
        let (_, stored) = found?;
        let id = Sha256::of(&stored.der.0);
        let key = self.keys.get(&stored.key.as_ref()?.container)?;
        (self.certificates.get(&id)?.key_id() == key.id).then_some(id)
    }
}

impl Driver for Host {
    fn observe(&self) -> Result<Sight, DriverError> {
        self.pause();
        let inner = self.inner();
        let mut report = inner.base.clone();
        report.setup = Fact::Known(inner.setup.clone());
        report.records = Fact::Known(inner.picture.records.clone());
        report.containers = Fact::Known(
            inner.keys.iter().map(|(name, key)| KeyContainer { name: name.clone(), key_id: Fact::Known(key.id) }).collect(),
        );
        let entry = |(store, stored): &(Store, Stored)| {
            let certificate = Sha256::of(&stored.der.0);
            let key_id = inner.certificates.get(&certificate).map(Certificate::key_id);
            let key = stored.key.as_ref().map(|link| inner.keys.get(&link.container));
            let key_state = match key {
                None => KeyState::NotLinked,
                Some(None) => KeyState::Missing,
                Some(Some(key)) if Some(key.id) == key_id => KeyState::Usable,
                Some(Some(_)) => KeyState::Foreign,
            };
            StoreEntry {
                store: store.clone(),
                certificate,
                thumbprint: Thumbprint::of(&stored.der.0),
                archived: stored.archived,
                friendly_name: Fact::Known(stored.friendly_name.clone()),
                key: Fact::Known(stored.key.clone()),
                key_state: Fact::Known(key_state),
                key_access: Fact::Known(key.flatten().map(|key| key.access.clone()).unwrap_or_default()),
            }
        };
        let entries: Vec<StoreEntry> = inner.picture.stores.iter().map(entry).collect();
        let there = |id: &CertificateId| entries.iter().any(|entry| entry.certificate == *id);
        let certificates = inner.certificates.iter().filter(|(id, _)| there(id)).map(|(id, made)| (*id, made.clone())).collect();
        report.stores = Fact::Known(entries);
        report.probes = Vec::new();
        Ok(Sight { report, certificates })
    }

    fn check(&self, step: &Step) -> Result<State, DriverError> {
        self.pause();
        let state = Steps(self).state(step)?;
        Ok(match (self.bug, state) {
            (Some(Bug::SwapBlindly), State::Blocked(_)) if matches!(step, Step::Swap { .. }) => State::Ready,
            (Some(Bug::HalfIsDone), State::Half) => State::Done,
            (_, state) => state,
        })
    }

    fn apply(&self, step: &Step) -> Result<Applied, DriverError> {
        self.writing(step, false, || match (self.bug, step) {
            (_, Step::DryHandshake { .. }) => Ok(Applied::default()),
            (_, Step::Mint { container, netbios, fqdn, months: _ }) => self.mint(container, netbios, fqdn),
            (Some(Bug::SwapBlindly), Step::Swap { from, container }) => self.swap_blindly(from, container),
            (Some(Bug::SwapOnlyDeletes), Step::Swap { from, .. }) => self.delete_record(from).map(|()| Applied::default()),
            (Some(Bug::SwapEverywhere), Step::Swap { from, .. }) => {
                let done = Steps(self).perform(step)?;
                self.swap_everywhere(from);
                Ok(done)
            }
            _ => Steps(self).perform(step),
        })
    }

    fn undo(&self, step: &Step) -> Result<(), DriverError> {
        self.writing(step, true, || Steps(self).take_back(step))
    }

    fn dial(&self, _port: u16, _path: ProbePath, _limit: Duration) -> Result<TcpStream, DriverError> {
        Err(DriverError::NotMine("dial"))
    }

    fn paths(&self) -> Vec<ProbePath> {
        vec![ProbePath::Loopback, ProbePath::OwnNameV4]
    }

    fn shake(&self, port: u16, _name: &str) -> (Vec<Probe>, Vec<Certificate>) {
        let inner = self.inner();
        let shown = inner.picture.served.get(&format!("0.0.0.0:{port}")).copied();
        let outcome = match shown {
            Some(certificate) => ProbeOutcome::Presented { certificate },
            None => ProbeOutcome::NoHandshake("the connection was reset".to_owned()),
        };
        let probes = self.paths().into_iter().map(|path| Probe { port, path, outcome: outcome.clone() }).collect();
        (probes, shown.and_then(|id| inner.certificates.get(&id).cloned()).into_iter().collect())
    }

    fn watch(&self, _limit: Duration) -> Result<bool, DriverError> {
        Ok(false)
    }
}

impl Host {
    /// As the product's own step, with bytes that chance has no part in.
    fn mint(&self, container: &str, netbios: &str, fqdn: &str) -> Result<Applied, DriverError> {
        let mut inner = self.inner();
        inner.minted += 1;
        let word = inner.keys.get(container).map(|key| key.word.clone()).ok_or_else(|| refused(2, "no such container"))?;
        let from = inner.clock;
        let to = Timestamp::from_second(from.as_second() + 5 * 365 * 24 * 3600).unwrap_or(from);
        let names = vec![netbios.to_owned(), fqdn.to_owned()];
        let made = Recipe { names, issuer: None, from, to, sha1: false, key: word, signs: true }.bake();
        let key = Some(policy::decide::vendor_link(container));
        let friendly_name = Some("Microsoft Exchange".to_owned());
        inner.picture.stores.push((Store::My, Stored { der: Der(made.der().to_vec()), friendly_name, key, archived: false }));
        inner.certificates.insert(made.id(), made);
        Ok(Applied::default())
    }

    fn swap_blindly(&self, from: &SslRecord, container: &str) -> Result<Applied, DriverError> {
        let mut inner = self.inner();
        let ours = |(store, stored): &&(Store, Stored)| {
            *store == Store::My && stored.key.as_ref().is_some_and(|link| link.container == container)
        };
        let stored = inner.picture.stores.iter().find(ours).map(|(_, stored)| stored.der.clone());
        let der = stored.ok_or_else(|| refused(1312, "no certificate"))?;
        inner.picture.records.retain(|record| record.endpoint != from.endpoint);
        inner.picture.records.push(SslRecord { thumbprint: Some(Thumbprint::of(&der.0)), ..from.clone() });
        inner.picture.served.insert(from.endpoint.clone(), Sha256::of(&der.0));
        Ok(Applied::default())
    }

    fn swap_everywhere(&self, from: &SslRecord) {
        let mut inner = self.inner();
        let new =
            inner.picture.records.iter().find(|record| record.endpoint == from.endpoint).and_then(|record| record.thumbprint);
        for record in inner.picture.records.iter_mut().filter(|record| record.is_front_end()) {
            record.thumbprint = new;
        }
    }
}

/// The clock of a host while a run lives through it.
#[derive(Debug)]
pub(super) struct HostClock(pub(super) std::sync::Arc<Host>);

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        self.0.clock()
    }

    fn sleep(&self, pause: Duration) {
        let mut inner = self.0.inner();
        inner.clock = inner.clock.saturating_add(SignedDuration::try_from(pause).unwrap_or_default()).unwrap_or(inner.clock);
    }
}
