//! The agent of one Exchange host: it watches the back-end certificate, tells a controller what it sees, and repairs what the
//! signed policy or signed approvals let it repair.
//!
//! [`run()`] ties the parts together. The pure ones decide: [`session`] what is said, [`run`](mod@run) how a plan is done,
//! [`view`] what is made of a look, and `policy` everything about certificates. The others do: [`work`] on the host,
//! [`link`] on the network, [`authority`] and [`identity`] on files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use policy::report::{Fact, Host};
use proto::names::Address;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::attend::Attendant;
use crate::authority::{Authority, AuthorityError};
use crate::bench::{Bench, Done};
use crate::config::Config;
use crate::driver::{Driver, DriverError};
use crate::identity::{Admission, Identity, IdentityError};
use crate::link::Link;
use crate::session::{Kept, Session, Speaker};
use crate::watcher::Watcher;
use crate::work::{WorkError, Workbench};

pub mod anew;
mod attend;
pub mod authority;
pub mod backoff;
mod bench;
pub mod config;
pub mod doctor;
pub mod driver;
pub mod event;
pub mod hold;
pub mod identity;
pub mod journal;
pub mod ledger;
pub mod link;
pub mod log;
pub mod memory;
pub mod observe;
pub mod peers;
pub mod probe;
pub mod proxy;
pub mod run;
pub mod session;
pub mod setup;
pub mod stops;
pub mod tls;
pub mod view;
mod watcher;
pub mod work;

/// The version of this agent.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long to wait for a join token, or for a host that does not answer, before asking again.
const PAUSE: Duration = Duration::from_secs(5);

/// Something without which the agent cannot go on.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The state folder, or the host.
    #[error("the agent cannot work on this host")]
    Work(#[source] WorkError),
    /// The identity's files.
    #[error("the agent's identity cannot be used")]
    Identity(#[source] IdentityError),
    /// The documents' files.
    #[error("the signed documents that the agent holds cannot be used")]
    Authority(#[source] AuthorityError),
    /// A file of the session.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others have access to the state folder.
    #[cfg(windows)]
    #[error("the state folder cannot be kept from others")]
    Folder(#[source] native::service::FolderError),
    /// The identity is there, the documents are not.
    #[error("{0}: expected the trust document of the estate that this host has joined, found none")]
    NoTrust(PathBuf),
    /// A job panicked: the next start takes its journal up.
    #[error("the work in hand was lost")]
    Lost(#[source] JoinError),
    /// No thread for watching.
    #[error("the host cannot be watched")]
    Watch(#[source] std::io::Error),
}

/// Runs the agent until `stop`: takes up what a stop cut off, joins the estate if it has not, and attends to the host. `up` is
/// called when nothing is left half-way on the host: what is to come has no end of its own, to wait for a join token or to
/// attend.
///
/// # Errors
/// [`AgentError`] when the agent cannot go on; what it can wait for, it waits for.
pub async fn run(config: Config, driver: Arc<dyn Driver>, stop: CancellationToken, up: impl Fn()) -> Result<(), AgentError> {
    tracing::info!(event = event::STARTED.id, version = VERSION, state = %config.state_dir.display(), "started");
    let ended = run_until(config, driver, stop, up).await;
    match &ended {
        Ok(()) => tracing::info!(event = event::STOPPED.id, version = VERSION, "stopped"),
        Err(error) => tracing::error!(event = event::FAILED.id, error = chain(error), "the agent cannot go on"),
    }
    ended
}

async fn run_until(config: Config, driver: Arc<dyn Driver>, stop: CancellationToken, up: impl Fn()) -> Result<(), AgentError> {
    let folder = config.state_dir.clone();
    private_folder(&folder)?;
    let mut workbench = Workbench::open(&folder, driver.clone()).map_err(AgentError::Work)?;
    workbench.heed(config.holds.clone());
    let receipts = workbench.receipts();
    let mut bench = Bench::new(workbench);

    let identity = Identity::open(&folder).map_err(AgentError::Identity)?;
    let (identity, authority) = match identity {
        Some(identity) => {
            let authority = Authority::open(&folder).map_err(AgentError::Authority)?;
            (identity, authority.ok_or_else(|| AgentError::NoTrust(folder.clone()))?)
        }
        None => {
            up();
            match join(&config, driver.clone(), &stop).await {
                Some(Admission { identity, authority }) => (identity, authority),
                None => return Ok(()),
            }
        }
    };

    // Before the network: a host that was left half-way comes to a known end whether or not a controller is there.
    bench.recover(authority.standing(now()), now);
    let recovered = match bench.done().await.map_err(AgentError::Lost)? {
        Done::Recovered(recovered) => recovered,
        Done::Looked(_) | Done::Ran(_) => Ok(None),
    };
    match &recovered {
        Ok(Some(receipt)) => {
            let (plan, outcome, notes) = (receipt.plan.short(), receipt.outcome.as_str(), receipt.notes.join("; "));
            tracing::warn!(event = event::RUN_CUT_OFF.id, plan, outcome, notes, "a run that was cut off has ended");
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(event = event::RUN_STAYS_OPEN.id, error = chain(error), "a run that was cut off stays open");
        }
    }
    up();
    let receipts = receipts.into_iter().chain(recovered.ok().flatten()).collect();

    let Some(machine_id) = machine_id(driver.clone(), &stop).await else { return Ok(()) };
    let joined = identity.joined();
    let speaker = Speaker { server: joined.server.clone(), machine_id, agent_version: VERSION.to_owned() };
    let (open, last_end) = bench.free().map_or((None, None), |workbench| (workbench.open_plan(), workbench.last_end()));
    let session = Session::new(speaker, authority.held(), kept_session(&folder), receipts, open, last_end);
    let link = Link::new(chosen(&config.controllers.agents, &joined.agents), config.controllers.proxy.clone());
    let wake = Arc::new(Notify::new());
    let watcher = Watcher::spawn(driver.clone(), wake.clone()).map_err(AgentError::Watch)?;
    let (estate, server) = (joined.estate.clone(), joined.server.clone());
    tracing::info!(%estate, %server, version = VERSION, "attending");
    let attended = Attendant { config, driver, bench, authority, identity, session, link, wake }.attend(stop).await;
    drop(watcher);
    attended
}

/// An error with everything that caused it, in one line for logs and receipts.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The agent's clock, in microseconds: what is kept and what travels is the same moment.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place where the agent reads the clock")]
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// A random number from 0 to 1, to spread tries; nothing secret hangs on it.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without a random source the tries are merely not spread.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// The configuration's addresses, and without them those of the join token.
pub(crate) fn chosen(configured: &[Address], joined: &[Address]) -> Vec<Address> {
    if configured.is_empty() { joined.to_vec() } else { configured.to_vec() }
}

/// The installation's id, without which the agent cannot say who it is: a wrong one would look like a clone. `None` when the
/// agent is stopped meanwhile.
async fn machine_id(driver: Arc<dyn Driver>, stop: &CancellationToken) -> Option<String> {
    let mut said = String::new();
    loop {
        let text = match host(driver.clone()).await.map(|host| host.machine_id) {
            Ok(Fact::Known(id)) => return Some(id),
            Ok(Fact::Unknown(why)) => format!("the machine id is unknown: {why}"),
            Err(error) => chain(&error),
        };
        if said != text {
            tracing::warn!(event = event::MACHINE_UNKNOWN.id, error = text, "the agent does not know yet on which machine it is");
            said = text;
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(PAUSE) => {}
        }
    }
}

/// Joins the estate, trying as long as it takes. `None` when the agent is stopped meanwhile.
async fn join(config: &Config, driver: Arc<dyn Driver>, stop: &CancellationToken) -> Option<Admission> {
    let mut said = String::new();
    let mut failures = 0;
    loop {
        let (event, wait, text) = tokio::select! {
            () = stop.cancelled() => return None,
            joined = try_to_join(config, driver.clone()) => match joined {
                Ok(Some(admission)) => return Some(admission),
                Ok(None) => {
                    let path = config.join_token_file.display();
                    (&event::WAITING_FOR_TOKEN, PAUSE, format!("expected a join token in {path}, found none"))
                }
                Err(error) => {
                    failures += 1;
                    (&event::NOT_JOINED, backoff::delay(failures, random()), chain(&error))
                }
            }
        };
        if said != text {
            event::tell!(event, error = text, "this host has not joined an estate yet");
            said = text;
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(wait) => {}
        }
    }
}

async fn try_to_join(config: &Config, driver: Arc<dyn Driver>) -> Result<Option<Admission>, AgentError> {
    let Some(token) = identity::read_token(&config.join_token_file).map_err(AgentError::Identity)? else { return Ok(None) };
    let host = host(driver).await?;
    let machine_id = host.machine_id.known().cloned().unwrap_or_default();
    let addresses = chosen(&config.controllers.enrolment, &token.controllers);
    let proxy = config.controllers.proxy.as_ref();
    let admission = identity::enrol(&config.state_dir, &token, &addresses, proxy, &host.name, &machine_id, now())
        .await
        .map_err(AgentError::Identity)?;
    tracing::info!(event = event::JOINED.id, estate = %token.estate, server = %host.name, "this host has joined the estate");
    // It worked once and is of no use any more; a file that stays is a nuisance, not a danger.
    if let Err(error) = std::fs::remove_file(&config.join_token_file) {
        tracing::warn!(event = event::TOKEN_STAYS.id, error = chain(&error), "the used join token could not be removed");
    }
    Ok(Some(admission))
}

/// Makes the state folder, if it is not there, for nobody but the agent.
#[cfg(not(windows))]
fn private_folder(folder: &Path) -> Result<(), AgentError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| AgentError::Io { path: folder.to_owned(), source })
}

/// Makes the state folder, if it is not there, for the system and administrators; takes it from others, if it is. So too the
/// folder of the configuration, if it is above: it holds the join token, and everybody may make folders where Windows has it.
#[cfg(windows)]
fn private_folder(folder: &Path) -> Result<(), AgentError> {
    let configuration = Config::default_path();
    let above = configuration.parent().unwrap_or(folder);
    native::service::folder::private_below(above, folder, &["lock", "begun"]).map_err(AgentError::Folder)
}

async fn host(driver: Arc<dyn Driver>) -> Result<Host, AgentError> {
    let look = spawn_blocking(move || driver.observe()).await.map_err(AgentError::Lost)?;
    look.map(|sight| sight.report.host).map_err(|error: DriverError| AgentError::Work(WorkError::Driver(error)))
}

fn session_path(folder: &Path) -> PathBuf {
    folder.join("session.json")
}

/// What is kept of the last session. When it does not read, the agent comes as one that never was: the controller decides.
fn kept_session(folder: &Path) -> Kept {
    let path = session_path(folder);
    let unreadable = |error: &dyn std::error::Error| {
        let (event, path, error) = (event::SESSION_UNREADABLE.id, path.display(), chain(error));
        tracing::error!(event, %path, error, "the state of the last session does not read");
        Kept::default()
    };
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| unreadable(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
        Err(error) => unreadable(&error),
    }
}

pub(crate) fn keep_session(folder: &Path, kept: &Kept) -> Result<(), AgentError> {
    let path = session_path(folder);
    let bytes = serde_json::to_vec_pretty(kept).expect("what is kept of a session is plain data");
    journal::replace(&path, &bytes).map_err(|source| AgentError::Io { path, source })
}
