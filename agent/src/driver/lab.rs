//! An Exchange host made of files and of sockets that another process holds, for Linux and for tests.
//!
//! The driver reads and writes the files of one host's folder ([`folder`] says which) and asks the host's http.sys over a
//! control socket ([`control`]). It is no mock: keys are keys, certificates are minted and presented in real handshakes,
//! http.sys refuses what Windows would refuse, with the same codes. Any call can be made to fail, hang or lie ([`fault`]).
//!
//! Behind the cargo feature `lab`, which no release build has.

pub mod control;
pub mod fault;
pub mod file;
pub mod folder;
pub mod key;
mod observe;
mod system;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policy::plan::Step;
use policy::report::{BACK_END_PORT, ProbePath, Sight};

use self::fault::{Call, Mode};
use self::folder::Folder;
use self::watch::Fingerprint;
use crate::doctor::{Checks, Wish};
use crate::driver::steps::Steps;
use crate::driver::{Applied, Driver, DriverError, State, examine, rehearse};

/// How long http.sys may take for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The call did not come back in time.
const TIMED_OUT: u32 = 1460;

/// The driver of one lab host.
#[derive(Debug)]
pub struct LabDriver {
    folder: Folder,
    limit: Duration,
    seen: Mutex<Option<Fingerprint>>,
}

/// Whether a call is to be done or only to be said done.
enum Turn {
    Do,
    Pretend,
}

impl LabDriver {
    /// The host whose folder this is.
    pub fn new(folder: &Path) -> Self {
        let seen = Mutex::new(watch::fingerprint(folder).ok());
        Self { folder: Folder::new(folder), limit: LIMIT, seen }
    }

    /// The same, with another limit for the answers of http.sys.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Lets a fault have its way before a call.
    fn meet(&self, call: Call, object: &str) -> Result<Turn, DriverError> {
        let Some(fault) = fault::meet(self.folder.path(), call)? else { return Ok(Turn::Do) };
        match fault.mode {
            Mode::Fail => Err(refused(call.as_str(), object, fault.code)),
            Mode::Lie => Ok(Turn::Pretend),
            Mode::Hang => {
                std::thread::sleep(Duration::from_millis(fault.millis.min(fault::MAX_HANG)));
                Err(refused(call.as_str(), object, TIMED_OUT))
            }
        }
    }
}

impl Driver for LabDriver {
    fn observe(&self) -> Result<Sight, DriverError> {
        self.look()
    }

    fn check(&self, step: &Step) -> Result<State, DriverError> {
        Steps(self).state(step)
    }

    fn apply(&self, step: &Step) -> Result<Applied, DriverError> {
        // No call of a system, but one that can go wrong all the same.
        if let Step::DryHandshake { container } = step
            && self.check(step)? == State::Ready
            && matches!(self.meet(Call::Handshake, container)?, Turn::Pretend)
        {
            return Ok(Applied::default());
        }
        Steps(self).perform(step)
    }

    fn undo(&self, step: &Step) -> Result<(), DriverError> {
        Steps(self).take_back(step)
    }

    fn dial(&self, port: u16, path: ProbePath, limit: Duration) -> Result<TcpStream, DriverError> {
        let asked = match self.meet(Call::Dial, &port.to_string())? {
            Turn::Do => port,
            Turn::Pretend if port == 444 => 443,
            Turn::Pretend => 444,
        };
        let folder::HostFile { name, own_name_leads_to, .. } = self.folder.host()?;
        if let (ProbePath::OwnNameV4 | ProbePath::OwnNameV6, Some(address)) = (path, own_name_leads_to) {
            return Err(DriverError::Elsewhere { object: name.to_string(), address });
        }
        let object = || format!("{name}:{port}");
        let unreachable = |kind: io::ErrorKind| DriverError::Io { object: object(), source: kind.into() };
        if path == ProbePath::OwnNameV6 {
            return Err(unreachable(io::ErrorKind::AddrNotAvailable));
        }
        let estate = self.folder.estate()?;
        let socket = estate.place(&name).and_then(|place| place.socket(asked));
        let socket = socket.ok_or_else(|| unreachable(io::ErrorKind::ConnectionRefused))?;
        TcpStream::connect_timeout(&SocketAddr::V4(socket), limit).map_err(|source| DriverError::Io { object: object(), source })
    }

    fn reach(&self, fqdn: &str, limit: Duration) -> Result<TcpStream, DriverError> {
        let folder::HostFile { name, cannot_reach, .. } = self.folder.host()?;
        let unreachable = |kind: io::ErrorKind| DriverError::Io { object: fqdn.to_owned(), source: kind.into() };
        let estate = self.folder.estate()?;
        let place = estate.servers.iter().find(|place| place.fqdn.eq_ignore_ascii_case(fqdn));
        let place = place.ok_or_else(|| unreachable(io::ErrorKind::NotFound))?;
        if place.name == name {
            return Err(DriverError::Elsewhere { object: fqdn.to_owned(), address: place.address.to_string() });
        }
        // A firewall drops what it does not let through; nobody wants to wait for that.
        if cannot_reach.contains(&place.name) {
            return Err(unreachable(io::ErrorKind::TimedOut));
        }
        let socket = place.socket(BACK_END_PORT).ok_or_else(|| unreachable(io::ErrorKind::ConnectionRefused))?;
        TcpStream::connect_timeout(&SocketAddr::V4(socket), limit)
            .map_err(|source| DriverError::Io { object: fqdn.to_owned(), source })
    }

    fn paths(&self) -> Vec<ProbePath> {
        vec![ProbePath::Loopback, ProbePath::OwnNameV4]
    }

    fn examine(&self, _: &Path, checks: &mut Checks) {
        examine::examine(self, checks);
    }

    fn rehearse(&self, wish: &Wish, checks: &mut Checks) {
        rehearse::rehearse(self, wish, checks);
    }

    fn leftover(&self, checks: &mut Checks) {
        rehearse::leftover(self, checks);
    }

    fn system(&self) -> Result<String, DriverError> {
        Ok("the lab".to_owned())
    }

    fn watch(&self, limit: Duration) -> Result<bool, DriverError> {
        let blind = matches!(self.meet(Call::Watch, "the host's folder")?, Turn::Pretend);
        let mut left = limit;
        loop {
            let print = watch::fingerprint(self.folder.path()).map_err(|source| file::failed(self.folder.path(), source))?;
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = seen.as_ref() != Some(&print);
            *seen = Some(print);
            drop(seen);
            if changed && !blind {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            let beat = watch::BEAT.min(left);
            std::thread::sleep(beat);
            left -= beat;
        }
    }
}

/// A call that the host refused.
fn refused(call: &'static str, object: &str, code: u32) -> DriverError {
    let meaning = match code {
        2 => "not found",
        5 => "access denied",
        87 => "invalid parameter",
        120 => "this system has no such call",
        183 => "exists already",
        1312 => "certificate not there or key unusable",
        TIMED_OUT => "no answer in time",
        _ => "see the system's list of error codes",
    };
    DriverError::Refused { call, object: object.to_owned(), code, meaning }
}
