//! The sockets of an estate, on a thread of their own.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use agent::driver::lab::control::socket;
use agent::driver::lab::folder::{EstateFile, Place};
use anyhow::{Context, Result};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::control;
use super::httpsys::HttpSys;
use super::site::{BackEnd, Role, Site};

/// An estate whose sockets are open. Dropping it closes them, as a power failure of every server at once.
#[derive(Debug)]
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

/// One host, its sockets bound but nobody served yet.
struct Bound {
    name: String,
    http_sys: Arc<Mutex<HttpSys>>,
    control: UnixListener,
    front_end: TcpListener,
    back_end: TcpListener,
}

impl Running {
    /// Binds every socket, noting ports that were found in `table`, and serves.
    pub(super) fn start(folder: &Path, table: &mut EstateFile, lock: File) -> Result<Self> {
        let mut hosts = Vec::new();
        for place in &mut table.servers {
            hosts.push(bind(&folder.join(place.name.as_str()), place).with_context(|| format!("starting {}", place.name))?);
        }
        let back_ends = table.servers.iter().filter_map(|place| {
            let address = SocketAddr::V4(place.socket(444)?);
            Some((place.name.to_string(), BackEnd { fqdn: place.fqdn.clone(), address }))
        });
        let back_ends: Arc<BTreeMap<_, _>> = Arc::new(back_ends.collect());
        let tls = agent::probe::client().context("TLS of the front ends")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let mut serving = JoinSet::new();
        {
            let _within = runtime.enter();
            for Bound { name, http_sys, control, front_end, back_end } in hosts {
                let role = Role::FrontEnd { own: name.clone(), back_ends: back_ends.clone(), tls: tls.clone() };
                let front = Site { port: 443, http_sys: http_sys.clone(), role };
                let back = Site { port: 444, http_sys: http_sys.clone(), role: Role::BackEnd { name } };
                serving.spawn(front.serve(tokio::net::TcpListener::from_std(front_end)?));
                serving.spawn(back.serve(tokio::net::TcpListener::from_std(back_end)?));
                serving.spawn(control::serve(tokio::net::UnixListener::from_std(control)?, http_sys));
            }
        }
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            // An error means that the other end is gone, which is as good as its word.
            let _ = runtime.block_on(stopped);
            drop(serving);
        };
        let thread = std::thread::Builder::new().name("backstay-lab".to_owned()).spawn(serve).context("a thread")?;
        Ok(Self { stop: Some(stop), thread: Some(thread), _lock: lock })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked or it ended: the sockets are closed either way.
            let _ = thread.join();
        }
    }
}

fn bind(host: &Path, place: &mut Place) -> Result<Bound> {
    let front_end = listen(place, 443)?;
    let back_end = listen(place, 444)?;
    let path = socket(host);
    // The lock of the estate is ours, so a socket that is there is nobody's.
    let _ = fs::remove_file(&path);
    let control = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(|| path.display().to_string())?;
    control.set_nonblocking(true).context("control socket")?;
    let http_sys = Arc::new(Mutex::new(HttpSys::start(host)?));
    Ok(Bound { name: place.name.to_string(), http_sys, control, front_end, back_end })
}

fn listen(place: &mut Place, port: u16) -> Result<TcpListener> {
    let real = place.ports.entry(port).or_insert(0);
    let asked = (place.address, *real);
    let listener = TcpListener::bind(asked).with_context(|| format!("port {port} at {}:{}", asked.0, asked.1))?;
    listener.set_nonblocking(true).context("socket")?;
    *real = listener.local_addr().context("socket")?.port();
    Ok(listener)
}
