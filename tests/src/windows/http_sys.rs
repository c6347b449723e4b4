//! What http.sys does in the kernel and Wine does not at all: TLS on the ports that have a record, from certificates of the machine's stores.
//!
//! The records are those that the double of httpapi keeps in the registry, the keys are in their containers: whatever an agent changes
//! by its own calls is served here, or no longer. The semantics are those of the lab's http.sys (`tests::lab`):
//!
//! * a certificate is loaded when its record is first asked for and served until the record changes or http.sys restarts, whatever
//!   becomes of the store;
//! * a connection to a record whose certificate cannot be loaded is closed after the ClientHello, and each tries once more.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::driver::dry::served;
use agent::driver::system::{Opened, System};
use agent::driver::windows::WindowsDriver;
use anyhow::{Context, Result};
use policy::certificate::Certificate;
use policy::id::Thumbprint;
use policy::report::SslRecord;
use rustls::{ServerConfig, ServerConnection};

/// For every read and write of a connection.
const LIMIT: Duration = Duration::from_secs(5);

/// What is in memory: by endpoint, for which certificate, and what serves it.
type Loaded = BTreeMap<String, (Option<Thumbprint>, Arc<ServerConfig>)>;

/// The http.sys of this machine, on its loopback address. One at a time: the ports are real.
#[derive(Clone)]
pub struct HttpSys {
    driver: Arc<WindowsDriver>,
    loaded: Arc<Mutex<Loaded>>,
}

impl HttpSys {
    /// Listens on `ports`, each on a thread of its own that ends with the process.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn start(ports: &[u16]) -> Result<Self> {
        let this = Self { driver: Arc::new(WindowsDriver::new()), loaded: Arc::default() };
        for port in ports.iter().copied() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))?;
            let this = this.clone();
            std::thread::Builder::new().name(format!("port {port}")).spawn(move || this.listen(port, &listener))?;
        }
        Ok(this)
    }

    /// Forgets what is in memory, as a restart of the machine does.
    pub fn restart(&self) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Loads the certificate of every record, as far as it can be: what a machine does when it starts.
    pub fn load_all(&self) {
        let records = self.driver.records().unwrap_or_default();
        for port in records.iter().filter_map(SslRecord::port) {
            self.credential(port);
        }
    }

    fn listen(&self, port: u16, listener: &TcpListener) {
        for connection in listener.incoming() {
            let Ok(stream) = connection else { continue };
            let this = self.clone();
            // A client that leaves is everyday; what it saw is what is tested.
            let _ = std::thread::Builder::new().spawn(move || this.serve(port, stream));
        }
    }

    fn serve(&self, port: u16, mut stream: TcpStream) -> Option<()> {
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.set_write_timeout(Some(LIMIT)).ok()?;
        let config = self.credential(port)?;
        let mut tls = ServerConnection::new(config).ok()?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).ok()?;
        }
        tls.send_close_notify();
        tls.complete_io(&mut stream).ok()?;
        Some(())
    }

    /// What is served on a port; `None` closes the connection.
    fn credential(&self, port: u16) -> Option<Arc<ServerConfig>> {
        let endpoint = format!("0.0.0.0:{port}");
        let record = self.driver.records().ok()?.into_iter().find(|record| record.endpoint == endpoint);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = record else {
            loaded.remove(&endpoint);
            return None;
        };
        if let Some((thumbprint, config)) = loaded.get(&endpoint)
            && *thumbprint == record.thumbprint
        {
            return Some(config.clone());
        }
        let config = self.load(&record)?;
        loaded.insert(endpoint, (record.thumbprint, config.clone()));
        Some(config)
    }

    fn load(&self, record: &SslRecord) -> Option<Arc<ServerConfig>> {
        let stored = self.driver.stored(&record.store()).ok()?;
        let stored = stored.into_iter().find(|stored| Some(Thumbprint::of(&stored.der.0)) == record.thumbprint)?;
        let certificate = Certificate::from_der(&stored.der.0).ok()?;
        match self.driver.key(&stored.key?.container).ok()? {
            Opened::Key(key) => served(&certificate, key).ok().map(Arc::new),
            Opened::Missing | Opened::Denied => None,
        }
    }
}
