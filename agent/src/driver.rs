//! What a host must be able to do for the agent: be looked at, and be changed by the typed steps of a plan.
//!
//! The trait is small and synchronous: Windows calls block, files block, and the shell calls it on a blocking thread. Two
//! drivers exist, `windows` and `lab`; everything above this trait is the same code for both. A driver makes no choices:
//! it is asked whether a step is done, told to do it, and asked again.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use policy::certificate::Certificate;
use policy::plan::{Difference, Step};
use policy::report::{Probe, ProbePath, Sight};
use thiserror::Error;

use crate::doctor::{Attempt, Checks, Trouble, Wish};
use crate::probe::{handshake, probe};

#[cfg(any(feature = "lab", windows))]
mod binding;
#[cfg(any(feature = "lab", windows))]
mod container;
#[cfg(any(feature = "lab", windows))]
pub mod dry;
#[cfg(any(feature = "lab", windows))]
mod examine;
#[cfg(feature = "lab")]
pub mod fault;
#[cfg(all(feature = "lab", unix))]
pub mod lab;
#[cfg(any(feature = "lab", windows))]
pub mod mint;
#[cfg(any(feature = "lab", windows))]
pub mod rehearse;
#[cfg(any(feature = "lab", windows))]
pub mod steps;
#[cfg(any(feature = "lab", windows))]
mod swap;
#[cfg(any(feature = "lab", windows))]
pub mod system;
#[cfg(windows)]
pub mod windows;

const UNTRIED: Attempt<'_> = Attempt::needed("calls", "");

/// Whether a step is done already, can be done, or must not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The host is as the step leaves it.
    Done,
    /// The host is as the step expects it.
    Ready,
    /// Only for a swap and a change of a record: the old record is gone and the new one is not there yet.
    Half,
    /// The host is neither: somebody else was here.
    Blocked(Difference),
}

/// What doing a step showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// How long the port had no record, where the system has no atomic update.
    pub gap: Duration,
}

/// A call to the host that did not succeed.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The host answered with a Windows error code (the lab uses the same numbers).
    #[error("{call} on {object}: expected success, found error {code} ({meaning})")]
    Refused {
        /// The call.
        call: &'static str,
        /// What it was called on.
        object: String,
        /// The system's code: 5 access denied, 183 exists already, 1312 certificate not there or key unusable.
        code: u32,
        /// The code in words.
        meaning: &'static str,
    },
    /// Something on the host does not read.
    #[error("{object}: expected {expected}, found {found}")]
    Unreadable {
        /// What was read.
        object: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Input or output failed.
    #[error("{object}")]
    Io {
        /// File or socket.
        object: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The host's own name leads to an address that is none of its own.
    #[error("{object}: expected an address of this host, found {address}")]
    Elsewhere {
        /// The name or path.
        object: String,
        /// Where it leads.
        address: String,
    },
    /// A step that this driver does not do: the shell does it (`probe`, `compare`).
    #[error("step {0} is not one for the driver")]
    NotMine(&'static str),
}

/// One kind of host.
pub trait Driver: Send + Sync {
    /// Looks at everything that a report holds, but the probes, which the agent adds. Changes nothing.
    ///
    /// # Errors
    /// Only when the host cannot be looked at at all; a single fact that cannot be read is [`policy::report::Fact::Unknown`].
    fn observe(&self) -> Result<Sight, DriverError>;

    /// Whether `step` is done, ready, or blocked. Changes nothing.
    ///
    /// * `add_certificate`: done when the store holds it with this key link and a usable key; blocked when the container is
    ///   missing or holds another key.
    /// * `write_record`: done when exactly this record exists; blocked when another does.
    /// * `create_key`: done when the container exists.
    /// * `grant_key`: done when the access list reads back so.
    /// * `mint`: done when `MY` holds an unarchived certificate with the container's key, these names, and a begin less than
    ///   7 days ago; blocked when the container is missing.
    /// * `trust_copy`: done when Root holds the container's certificate; blocked when there is none.
    /// * `dry_handshake`: ready; blocked when there is no certificate.
    /// * `swap`: done when the record is `from` with the container's certificate; ready when it is `from`; half when there is
    ///   none; blocked otherwise.
    /// * `change_record`: as `swap`, with `to` in place of the container's certificate.
    /// * `bind`: done when exactly this record exists with the container's certificate; blocked when another does or there is
    ///   no certificate.
    /// * `unarchive`: done when the certificate is in the store without the mark; blocked when it is not there.
    /// * `remove_record`: done when there is none at its endpoint; blocked when there is another.
    /// * `change_binding`: done when the site has the binding `to` and not `from`; ready when it has `from` and not `to`, or,
    ///   where `from` is `None`, no https binding on the port of `to`; blocked otherwise.
    ///
    /// # Errors
    /// [`DriverError`] when the host cannot tell.
    fn check(&self, step: &Step) -> Result<State, DriverError>;

    /// Does `step`. Durable when it returns. `mint` archives an earlier certificate of the container that no record refers to,
    /// so that "the container's certificate" is one.
    ///
    /// # Errors
    /// [`DriverError`] when it was not done, or perhaps done: the caller checks again.
    fn apply(&self, step: &Step) -> Result<Applied, DriverError>;

    /// Takes `step` back, as far as this plan added something and nothing refers to it: `swap` and `change_record` write
    /// `from` again, `write_record` and `bind` remove the record if it is exactly theirs, `remove_record` writes it again,
    /// `unarchive` sets the mark, `change_binding` makes the binding `from` again, `trust_copy` removes the copy, `mint`
    /// archives the certificate. Other steps leave nothing to take back. Idempotent. What somebody else wrote meanwhile is an
    /// error and stays.
    ///
    /// # Errors
    /// [`DriverError`] when it could not be taken back, for example because the old record's certificate is unusable (1312).
    fn undo(&self, step: &Step) -> Result<(), DriverError>;

    /// Connects to one of the host's own ports over `path`, with a time limit for the connection.
    ///
    /// # Errors
    /// [`DriverError::Io`] as the system gives it.
    fn dial(&self, port: u16, path: ProbePath, limit: Duration) -> Result<TcpStream, DriverError>;

    /// Connects to the 444 of another server by its full name, with a time limit for each address to which that leads. What leads to
    /// this host itself is [`DriverError::Elsewhere`].
    ///
    /// # Errors
    /// [`DriverError::Io`] as the system gives it.
    fn reach(&self, fqdn: &str, limit: Duration) -> Result<TcpStream, DriverError> {
        let _ = (fqdn, limit);
        Err(DriverError::NotMine("reach"))
    }

    /// The leaf certificate that the server at the other end of `stream` shows, asked as this host's front end would ask it: what the TLS
    /// policies of both permit decides (F29).
    ///
    /// # Errors
    /// Why there is none, in few and constant words.
    fn greet(&self, stream: TcpStream, name: &str) -> Result<Vec<u8>, String> {
        handshake(stream, name).map_err(str::to_owned)
    }

    /// The paths over which this host can be dialled.
    fn paths(&self) -> Vec<ProbePath>;

    /// Shakes hands with `port` over every path, and gives every certificate that was shown: what is really served.
    fn shake(&self, port: u16, name: &str) -> (Vec<Probe>, Vec<Certificate>) {
        probe(self, port, name)
    }

    /// Waits until something that the back end hangs on may have changed, at most `limit`. True when it may have.
    ///
    /// # Errors
    /// [`DriverError`] when watching is impossible; the caller then looks periodically.
    fn watch(&self, limit: Duration) -> Result<bool, DriverError>;

    /// Tries the calls that a renewal makes, as far as they change nothing, and notes each. `state` is the agent's state folder,
    /// which a host that has access lists looks at.
    fn examine(&self, state: &Path, checks: &mut Checks) {
        let _ = state;
        checks.note(UNTRIED, Err(Trouble::Lacks("a driver that tries its calls".to_owned())));
    }

    /// Goes through a renewal up to the moment at which something that serves would change: a key in a container that is the
    /// rehearsal's own and is taken away again, a certificate in memory, a handshake on a private port. Notes each step.
    fn rehearse(&self, wish: &Wish, checks: &mut Checks) {
        checks.note(UNTRIED, Err(Trouble::Lacks(format!("a driver that makes a key for {}", wish.fqdn))));
    }

    /// Notes whether a rehearsal was cut off here and left its container. Changes nothing.
    fn leftover(&self, checks: &mut Checks) {
        let _ = checks;
    }

    /// The operating system and its build, as far as a change of it is another system: `Windows 6.3.9600`.
    ///
    /// # Errors
    /// [`DriverError`] when the host cannot tell.
    fn system(&self) -> Result<String, DriverError> {
        Err(DriverError::NotMine("system"))
    }

    /// From here on looks tell of this key container too, whether or not a certificate names it. A host that lists all
    /// containers ignores it.
    fn remember_container(&self, container: &str) {
        let _ = container;
    }
}
