//! A running controller: every port is bound before anything runs, and when it stops, streams are closed and what was begun is
//! written before it ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use proto::agent::{EnrolmentServiceServer, SessionServiceServer};
use proto::operator::operator_service_server::OperatorServiceServer;
use proto::signed::SigningKey;
use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use crate::agents::Gateway;
use crate::ca::{Authority, CaError};
use crate::clock::Clock;
use crate::config::{Config, Pages};
use crate::connections::Connections;
use crate::enrolment::{self, Door};
use crate::event;
use crate::listen::{Bound, answer_browsers};
use crate::notify::Channels;
use crate::operators::{Operators, bearer};
use crate::parts::{Advertised, Parts};
use crate::password::Passwords;
use crate::reconcile::{Nudge, Reconciler};
use crate::store::forget::Forgotten;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, Metrics};
use crate::tls::{self, FileCertificate, OwnCertificate, TlsError};
use crate::web::Web;

/// The longest orderly stop.
const STOP: Duration = Duration::from_secs(10);

/// How often the controller makes itself a new certificate, which is good for 90 days.
const OWN_CERTIFICATE: Duration = Duration::from_secs(86_400);

/// How often what is old is forgotten.
const FORGET: Duration = Duration::from_secs(86_400);

/// And how long after the start for the first time.
const FIRST_FORGET: Duration = Duration::from_secs(600);

/// How often the certificate of the pages is looked at.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// Connections of agents at once.
const AGENTS: usize = 20_000;

/// Connections of anybody else at once, per port.
const OTHERS: usize = 256;

/// The most files of the state folder that are looked at for a root key.
const FILES: usize = 1_000;

/// A controller that does not start, or did not end well.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The estate's root key lies where a thief of the controller would find it.
    #[error("state folder: expected no root key in it, found {0}: move it to where no controller runs")]
    RootKey(PathBuf),
    /// A channel by which people are told cannot be used.
    #[error("notify: {0}")]
    Notify(String),
    /// The pages for other machines cannot be.
    #[error("pages: {0}")]
    Pages(String),
    /// The state folder does not read.
    #[error("state folder {path}")]
    StateFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certification authority.
    #[error("the certification authority cannot be used; `backstay init` makes one")]
    Authority(#[source] CaError),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[source] StoreError),
    /// No TLS.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    /// A port is taken, or not ours to take.
    #[error("port {address} for {what}")]
    Bind {
        /// For what.
        what: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file that says where it listens.
    #[error("ready file {path}")]
    Ready {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A listener ended by itself.
    #[error("the listener for {what} ended")]
    Listener {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not stop in time; what was acknowledged is on disk all the same.
    #[error("expected to stop within {STOP:?}, found work still under way")]
    Slow,
}

/// Where a controller listens, as written into the ready file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Agents' sessions.
    pub agents: SocketAddr,
    /// Enrolment.
    pub enrolment: SocketAddr,
    /// Operators.
    pub operators: SocketAddr,
    /// The pages on this machine, metrics and health.
    pub web: SocketAddr,
    /// The pages for other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<SocketAddr>,
}

/// Runs a controller until `stop` is cancelled. When it listens, `ready` is told where.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: Config,
    ready: impl FnOnce(&Addresses) -> Result<(), ServeError>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let served = serve_until(config, ready, clock, stop).await;
    match &served {
        Ok(()) => tracing::info!(event = event::STOPPED.id, version = event::VERSION, "stopped"),
        Err(error) => {
            tracing::error!(event = event::FAILED.id, error = error as &dyn std::error::Error, "the controller cannot go on");
        }
    }
    served
}

async fn serve_until(
    config: Config,
    ready: impl FnOnce(&Addresses) -> Result<(), ServeError>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let authority = Authority::load(&config.state_dir, &config.estate).map_err(ServeError::Authority)?;
    refuse_root_keys(&config.state_dir, &[])?;
    let ports = Ports::bind(&config)?;
    let store = Store::open(&config.database(), &config.estate, clock.now()).await.map_err(ServeError::Store)?;
    let served = with_store(config, authority, ports, store.clone(), ready, clock, stop).await;
    // Also when it ends badly: what waits is written.
    let closed = tokio::time::timeout(STOP, store.close()).await;
    served.and(closed.map_err(|_| ServeError::Slow))
}

/// Says in a file where a controller listens. Whole or not at all: whoever waits for it never reads half of it.
///
/// # Errors
/// [`ServeError::Ready`].
pub fn write_ready(path: &Path, addresses: &Addresses) -> Result<(), ServeError> {
    let write = || -> io::Result<()> {
        let text = serde_json::to_string(addresses)?;
        let beside = path.with_extension("new");
        std::fs::write(&beside, text)?;
        std::fs::rename(beside, path)
    };
    write().map_err(|source| ServeError::Ready { path: path.to_owned(), source })
}

/// Ends when the system asks this process to stop.
pub async fn asked_to_stop() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        let terminated = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = interrupted => {}
            () = terminated => {}
        }
    }
    #[cfg(not(unix))]
    interrupted.await;
}

async fn with_store(
    config: Config,
    authority: Authority,
    ports: Ports,
    store: Store,
    ready: impl FnOnce(&Addresses) -> Result<(), ServeError>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    if let Some(document) = store.trust().await.map_err(ServeError::Store)? {
        let roots = document.trust().map_err(ServeError::Store)?.value.root.keys;
        refuse_root_keys(&config.state_dir, &roots.into_iter().collect::<Vec<_>>())?;
    }
    let channels = Channels::new(&config.notify).map_err(ServeError::Notify)?;
    let own = Arc::new(OwnCertificate::new(&authority, &config.advertise, clock.now()).map_err(ServeError::Tls)?);
    let addresses = ports.addresses();
    let read = |pages: &Pages| FileCertificate::read(&pages.certificate_file, &pages.key_file).map(Arc::new);
    let pages_certificate = config.pages.as_ref().map(read).transpose().map_err(ServeError::Tls)?;
    let parts = Parts {
        advertised: advertised(&config, &addresses),
        web: addresses.web,
        pages_certificate,
        store,
        authority: Arc::new(authority),
        connections: Connections::default(),
        nudge: Nudge::default(),
        told: Arc::default(),
        metrics: Metrics::new(config.metrics),
        config: Arc::new(config),
        passwords: Passwords::default(),
        clock,
    };
    // What ends by itself ends everything; what ends everything else is the caller's token.
    let ending = stop.child_token();
    let tasks = TaskTracker::new();
    let failures = ports.run(&parts, &own, &tasks, &ending)?;
    channels.run(&parts, &tasks, &ending);
    ready(&addresses)?;
    let (estate, Addresses { agents, enrolment, operators, web, pages: _ }) = (&parts.config.estate, &addresses);
    tracing::info!(event = event::STARTED.id, version = event::VERSION, %estate, %agents, %enrolment, %operators, %web, "ready");
    ending.cancelled().await;
    tracing::info!(event = event::STOP_REQUESTED.id, version = event::VERSION, "stopping");
    tasks.close();
    let waited = tokio::time::timeout(STOP, tasks.wait()).await;
    let failure = failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match (failure, waited) {
        (Some(failure), _) => Err(failure),
        (None, Err(_)) => Err(ServeError::Slow),
        (None, Ok(())) => Ok(()),
    }
}

/// The first failure of a listener.
type Failures = Arc<std::sync::Mutex<Option<ServeError>>>;

/// Every port, bound and silent.
struct Ports {
    agents: Bound,
    enrolment: Bound,
    operators: Bound,
    web: Bound,
    pages: Option<Bound>,
}

impl Ports {
    fn bind(config: &Config) -> Result<Self, ServeError> {
        let bind = |what, address| Bound::new(address).map_err(|source| ServeError::Bind { what, address, source });
        let listen = config.listen;
        Ok(Self {
            agents: bind("agents", listen.agents)?,
            enrolment: bind("enrolment", listen.enrolment)?,
            operators: bind("operators", listen.operators)?,
            web: bind("metrics and health", listen.web)?,
            pages: config.pages.as_ref().map(|pages| bind("pages", pages.listen)).transpose()?,
        })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            agents: self.agents.address(),
            enrolment: self.enrolment.address(),
            operators: self.operators.address(),
            web: self.web.address(),
            pages: self.pages.as_ref().map(Bound::address),
        }
    }

    /// Everything that runs, each a task of `tasks`.
    fn run(
        self,
        parts: &Parts,
        own: &Arc<OwnCertificate>,
        tasks: &TaskTracker,
        ending: &CancellationToken,
    ) -> Result<Failures, ServeError> {
        let mutual = tls::mutual(&parts.authority, Arc::clone(own)).map_err(ServeError::Tls)?;
        let mutual_or_token = tls::mutual_or_token(&parts.authority, Arc::clone(own)).map_err(ServeError::Tls)?;
        let server_only = tls::server_only(Arc::clone(own)).map_err(ServeError::Tls)?;
        let failures = Failures::default();
        let guard = Guard { tasks: tasks.clone(), ending: ending.clone(), failures: Arc::clone(&failures) };

        let gateway = Gateway::new(parts.clone(), tasks.clone(), ending.clone());
        let gateway = SessionServiceServer::new(gateway).max_decoding_message_size(proto::MAX_MESSAGE);
        guard.listen("agents", self.agents, mutual, AGENTS, Server::builder(), Routes::new(gateway));

        let door = EnrolmentServiceServer::new(Door::new(parts.clone())).max_decoding_message_size(enrolment::MAX_MESSAGE);
        // Whoever is not known yet has a minute.
        let brief = Server::builder().max_connection_age(Duration::from_secs(60)).timeout(Duration::from_secs(30));
        guard.listen("enrolment", self.enrolment, server_only, OTHERS, brief, Routes::new(door));

        let (health, service) = tonic_health::server::health_reporter();
        guard.tasks.spawn(async move {
            health.set_service_status("", tonic_health::ServingStatus::Serving).await;
            health.set_serving::<OperatorServiceServer<Operators>>().await;
        });
        let operators = OperatorServiceServer::new(Operators::new(parts.clone())).max_decoding_message_size(proto::MAX_MESSAGE);
        let routes = Routes::new(service).add_service(operators).add_service(reflection()).into_axum_router();
        #[cfg(feature = "otlp")]
        let routes = routes.layer(axum::middleware::from_fn(telemetry::traces::call));
        // Before a word of a request is read.
        let routes = routes.layer(from_fn_with_state(parts.clone(), bearer::admit));
        guard.listen("operators", self.operators, mutual_or_token, OTHERS, Server::builder(), routes.into());

        let web = Web::new(parts.clone(), tasks.clone(), ending.clone());
        let (router, until) = (telemetry::router(parts.clone()).merge(web.on_loopback()), ending.clone());
        guard.watch("metrics and health", async move {
            axum::serve(self.web.into_listener(), router)
                .with_graceful_shutdown(until.cancelled_owned())
                .await
                .map_err(Into::into)
        });
        if let (Some(port), Some(pages), Some(certificate)) = (self.pages, &parts.config.pages, &parts.pages_certificate) {
            guard.pages(port, Arc::clone(certificate), web.elsewhere(pages).map_err(ServeError::Pages)?)?;
        }

        let Parts { store, connections, nudge, metrics, clock, .. } = parts.clone();
        let reconciler = Reconciler { store, connections, nudge, metrics, clock };
        tasks.spawn(reconciler.run(ending.clone()));
        tasks.spawn(forget(parts.clone(), ending.clone()));
        tasks.spawn(renew_own(parts.clone(), Arc::clone(own), ending.clone()));
        Ok(failures)
    }
}

/// Answers what is answered on the operators' port, for tools that have no `.proto` files.
fn reflection() -> ServerReflectionServer<impl ServerReflection> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("backstay.operator.v1.OperatorService")
        .with_service_name("grpc.health.v1.Health")
        .build_v1()
        .expect("files that were compiled")
}

/// Spawns listeners and notices when one ends that should not.
struct Guard {
    tasks: TaskTracker,
    ending: CancellationToken,
    failures: Failures,
}

impl Guard {
    fn listen(
        &self,
        what: &'static str,
        port: Bound,
        config: Arc<rustls::ServerConfig>,
        connections: usize,
        server: Server,
        routes: Routes,
    ) {
        let (accepting, incoming) = port.accept(config, connections, self.ending.clone());
        self.tasks.spawn(accepting);
        let until = self.ending.clone().cancelled_owned();
        let served = server
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .http2_max_header_list_size(16 * 1024)
            .max_concurrent_streams(32)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, until);
        self.watch(what, async move { served.await.map_err(Into::into) });
    }

    /// For browsers on other machines.
    fn pages(&self, port: Bound, certificate: Arc<FileCertificate>, router: Router) -> Result<(), ServeError> {
        let config = tls::browsers(Arc::clone(&certificate)).map_err(ServeError::Tls)?;
        let (accepting, accepted) = port.accept(config, OTHERS, self.ending.clone());
        self.tasks.spawn(accepting);
        self.tasks.spawn(read_again(certificate, self.ending.clone()));
        let answering = answer_browsers(accepted, router, self.tasks.clone(), self.ending.clone());
        self.watch("pages", async move {
            answering.await;
            Ok(())
        });
        Ok(())
    }

    fn watch(
        &self,
        what: &'static str,
        listener: impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    ) {
        let (ending, failures) = (self.ending.clone(), Arc::clone(&self.failures));
        self.tasks.spawn(async move {
            if let Err(source) = listener.await {
                let mut first = failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                first.get_or_insert(ServeError::Listener { what, source });
            }
            ending.cancel();
        });
    }
}

/// Forgets what is old, first a while after the start: then everybody comes back.
async fn forget(parts: Parts, ending: CancellationToken) {
    let mut wait = FIRST_FORGET;
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = FORGET,
        }
        match parts.store.forget(parts.config.keep, parts.clock.now()).await {
            Ok(Forgotten { reports: 0, plans: 0, tokens: 0 }) => {}
            Ok(Forgotten { reports, plans, tokens }) => tracing::info!(reports, plans, tokens, "what was old is forgotten"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "what is old could not be forgotten"),
        }
    }
}

async fn renew_own(parts: Parts, own: Arc<OwnCertificate>, ending: CancellationToken) {
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            () = tokio::time::sleep(OWN_CERTIFICATE) => {}
        }
        if let Err(error) = own.renew(&parts.authority, &parts.config.advertise, parts.clock.now()) {
            let (event, error): (_, &dyn std::error::Error) = (event::OWN_CERTIFICATE_KEPT.id, &error);
            tracing::warn!(event, error, "the controller's own certificate was not renewed");
        }
    }
}

/// Takes up a certificate that somebody renewed. While the two files do not fit together, the present one is shown.
async fn read_again(certificate: Arc<FileCertificate>, ending: CancellationToken) {
    let mut told = false;
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            () = tokio::time::sleep(READ_AGAIN) => {}
        }
        let reading = Arc::clone(&certificate);
        match tokio::task::spawn_blocking(move || reading.read_again()).await {
            Ok(Ok(differs)) => {
                told = false;
                if differs {
                    tracing::info!(?certificate, "the pages have another certificate");
                }
            }
            // Once, not at each look.
            Ok(Err(_)) if told => {}
            Ok(Err(error)) => {
                told = true;
                let (event, error): (_, &dyn std::error::Error) = (event::PAGES_CERTIFICATE_KEPT.id, &error);
                tracing::warn!(event, error, "the certificate of the pages was not read again");
            }
            Err(_) => return,
        }
    }
}

/// By its name, or by being the private half of a root key in force.
fn refuse_root_keys(folder: &Path, roots: &[policy::id::KeyId]) -> Result<(), ServeError> {
    let failed = |source| ServeError::StateFolder { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)?.take(FILES) {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let small = || std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= 4_096);
        let is_root = || {
            let text = std::fs::read_to_string(&path).map(zeroize::Zeroizing::new).ok();
            text.and_then(|text| SigningKey::from_file_text(&text).ok()).is_some_and(|key| roots.contains(&key.id()))
        };
        if name == "root.key" || name.ends_with(".root.key") || (!roots.is_empty() && small() && is_root()) {
            return Err(ServeError::RootKey(path));
        }
    }
    Ok(())
}

fn advertised(config: &Config, addresses: &Addresses) -> Advertised {
    let at = |port| config.advertise.iter().filter_map(|name| name.at(port).ok()).collect();
    Advertised { agents: at(addresses.agents.port()), enrolment: at(addresses.enrolment.port()) }
}

#[cfg(test)]
mod tests;
