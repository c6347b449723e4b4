//! A stolen controller: it has the CA's key, listens where the agents dial, welcomes them, and offers what it likes.
//!
//! It speaks as well as the real one does, so that what stops it is what the agents hold and see, and nothing else. It hands
//! back the lineage that each agent presents, as a thief would who wants not to be noticed. On the enrolment port it answers
//! whatever it was told to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use controller::ca::Authority;
use controller::listen::Bound;
use controller::tls::{OwnCertificate, mutual, server_only};
use jiff::Timestamp;
use policy::id::PlanId;
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{
    CheckupAcknowledged, CheckupsKept, EnrolRequest, EnrolResponse, EnrolmentService, EnrolmentServiceServer,
    GetSuccessorsRequest, GetSuccessorsResponse, Held, Hello, Offer, OpenRequest, OpenResponse, ReceiptAcknowledged,
    RenewRequest, RenewResponse, ReportAcknowledged, SessionService, SessionServiceServer, Welcome,
};
use proto::types::{Receipt, Signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::desk::ESTATE;
use crate::estate::Ports;
use crate::wait::{self, Look};

/// Connections that it takes at a time.
const CONNECTIONS: usize = 16;

/// A controller in foreign hands.
#[derive(Debug)]
pub struct Forger {
    heard: Heard,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What it has heard, by whom it can be said to.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Sessions>>);

#[derive(Debug, Default)]
struct Sessions {
    lines: BTreeMap<String, UnboundedSender<Result<OpenResponse, Status>>>,
    receipts: Vec<Receipt>,
    /// What each server said that it holds, the newest last.
    held: BTreeMap<String, Vec<Held>>,
    asks: Asks,
}

/// What the thief wants of agents in his welcome, and answers on the enrolment port.
#[derive(Debug, Clone, Default)]
pub struct Asks {
    /// So far is his clock off, in microseconds.
    pub clock: i64,
    /// He welcomes with a lineage of so many bytes.
    pub lineage: Option<usize>,
    /// The trust documents that he tells.
    pub successors: Vec<Signed>,
}

/// By what a controller proves itself: whoever asks for TLS gets this.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl Forger {
    /// Listens where the controller did, with the CA key that lies in `state`, the state folder of the real controller.
    ///
    /// # Errors
    /// When a port is taken, or there is no CA.
    pub fn listen(ports: Ports, state: &Path) -> Result<Self> {
        let authority = Authority::load(state, &ESTATE.parse()?).context("the stolen CA")?;
        let chain = authority.issue_controller(&[], Timestamp::now()).context("a certificate by the stolen CA")?;
        Self::showing(ports, &authority, chain, Asks::default())
    }

    /// Listens there and shows this chain. Whom it lets in does not matter to a thief: the CA is only for those who show a certificate.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn showing(
        ports: Ports,
        clients: &Authority,
        (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
        asks: Asks,
    ) -> Result<Self> {
        let own = Arc::new(OwnCertificate::new(clients, &[], Timestamp::now()).context("a certificate")?);
        let shows = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).context("the chain that is shown")?;
        let shows: Arc<dyn ResolvesServerCert> = Arc::new(Shows(Arc::new(shows)));
        let tls = [mutual(clients, own.clone()), server_only(own)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let (heard, stop) = (Heard::default(), CancellationToken::new());
        heard.sessions().asks = asks;
        let router =
            Routes::new(SessionServiceServer::new(heard.clone())).add_service(EnrolmentServiceServer::new(heard.clone()));
        let mut serve = JoinSet::new();
        for (address, tls) in [ports.agents, ports.enrolment].into_iter().zip(tls) {
            let mut tls = ServerConfig::clone(&*tls.context("TLS by the stolen CA")?);
            tls.cert_resolver = shows.clone();
            let _within = runtime.enter();
            let bound = Bound::new(address).with_context(|| format!("{address} is taken"))?;
            let (accepting, connections) = bound.accept(Arc::new(tls), CONNECTIONS, stop.clone());
            let serving = Server::builder().add_routes(router.clone()).serve_with_incoming(connections);
            let stopped = stop.clone();
            serve.spawn(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = accepting => {}
                    _ = serving => {}
                }
            });
        }
        let thread = thread::spawn(move || runtime.block_on(async { while serve.join_next().await.is_some() {} }));
        Ok(Self { heard, stop, thread: Some(thread) })
    }

    /// From here on he wants this of agents that come; those that came are gone.
    pub fn ask(&self, asks: Asks) {
        let mut sessions = self.heard.sessions();
        sessions.asks = asks;
        sessions.lines.clear();
    }

    /// Says something to a server.
    ///
    /// # Errors
    /// When it has no session.
    pub fn tell(&self, server: &str, message: Down) -> Result<()> {
        let line =
            self.heard.sessions().lines.get(server).cloned().with_context(|| format!("{server} has no session with us"))?;
        line.send(Ok(OpenResponse { message: Some(message) })).map_err(|_| anyhow!("the session with {server} is over"))
    }

    /// Tells a document to a server, and waits until it says what it holds then.
    ///
    /// # Errors
    /// When it does not say so in time.
    pub fn document(&self, server: &str, document: Down, limit: Duration) -> Result<Held> {
        let said = || self.heard.sessions().held.get(server).cloned().unwrap_or_default();
        let before = said().len();
        self.tell(server, document)?;
        wait::until(&format!("{server} to say what it holds"), limit, || {
            said().get(before).cloned().map_or_else(|| Look::NotYet("nothing".to_owned()), Look::Found)
        })
    }

    /// Waits until the agent of this server believes that we are its controller.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn wait_for(&self, server: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("the agent of {server} to come to the forger"), limit, || {
            let sessions = self.heard.sessions();
            wait::when(sessions.lines.contains_key(server), || format!("sessions with {:?}", sessions.lines.keys()))
        })
    }

    /// Offers a plan to a server, with these approvals, and waits for its receipt.
    ///
    /// # Errors
    /// When no receipt comes in time.
    pub fn offer(&self, server: &str, plan: &[u8], approvals: Vec<Signed>, limit: Duration) -> Result<Receipt> {
        let id = PlanId::of(plan);
        let offer = Down::Offer(Offer { plan: plan.to_vec(), approvals });
        // What was said to an earlier offer is no answer to this one.
        self.heard.sessions().receipts.retain(|receipt| receipt.plan != id.0);
        self.tell(server, offer)?;
        wait::until(&format!("the receipt of {server}"), limit, || {
            let found = self.heard.sessions().receipts.iter().find(|receipt| receipt.plan == id.0).cloned();
            found.map_or_else(|| Look::NotYet("none".to_owned()), Look::Found)
        })
    }

    /// Stops, and frees the port.
    ///
    /// # Errors
    /// When it panicked.
    pub fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(|_| anyhow!("the forger panicked")))
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // The port is free when this returns; how the thread ended, `stop` tells.
            let _ = thread.join();
        }
    }
}

impl Heard {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl SessionService for Heard {
    type OpenStream = UnboundedReceiverStream<Result<OpenResponse, Status>>;

    async fn open(&self, request: Request<Streaming<OpenRequest>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut said = request.into_inner();
        let (line, answers) = unbounded_channel();
        let heard = self.clone();
        let listen = async move {
            let mut who = String::new();
            while let Ok(Some(OpenRequest { message: Some(message) })) = said.message().await {
                let asks = heard.sessions().asks.clone();
                if let Some(answer) = answer_to(&message, &asks) {
                    // Who has gone comes back.
                    let _ = line.send(Ok(OpenResponse { message: Some(answer) }));
                }
                // Only now, so that what is offered next comes behind the answer.
                let mut sessions = heard.sessions();
                match message {
                    Up::Hello(Hello { server, .. }) => {
                        sessions.lines.insert(server.clone(), line.clone());
                        who = server;
                    }
                    Up::Receipt(receipt) => sessions.receipts.push(receipt),
                    Up::Held(held) => sessions.held.entry(who.clone()).or_default().push(held),
                    Up::Report(_)
                    | Up::Certificates(_)
                    | Up::Heartbeat(_)
                    | Up::Answer(_)
                    | Up::Checkup(_)
                    | Up::Remembered(_)
                    | Up::PeerSeen(_) => {}
                }
            }
            heard.sessions().lines.retain(|_, known| !known.same_channel(&line));
        };
        tokio::spawn(listen);
        Ok(Response::new(UnboundedReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl EnrolmentService for Heard {
    async fn enrol(&self, _request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        Err(Status::unimplemented("a thief gives no identities away"))
    }

    async fn renew(&self, _request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("a thief renews no identities"))
    }

    async fn get_successors(&self, _request: Request<GetSuccessorsRequest>) -> Result<Response<GetSuccessorsResponse>, Status> {
        Ok(Response::new(GetSuccessorsResponse { trust: self.sessions().asks.successors.clone() }))
    }
}

/// What a real controller would answer; and what the thief asks.
fn answer_to(message: &Up, asks: &Asks) -> Option<Down> {
    match message {
        Up::Hello(Hello { lineage, held, acknowledged, digest, .. }) => Some(Down::Welcome(Welcome {
            lineage: asks.lineage.map_or_else(|| lineage.clone(), |bytes| vec![7; bytes]),
            epoch: acknowledged.map_or(1, |generation| generation.epoch),
            acknowledged: *acknowledged,
            digest: digest.clone(),
            heartbeat_seconds: 1,
            now: Timestamp::now().as_microsecond() + asks.clock,
            policy: held.as_ref().map(|held| held.policy.clone()).unwrap_or_default(),
            checkups: Some(CheckupsKept::default()),
            recall: false,
        })),
        Up::Report(report) => {
            Some(Down::ReportAcknowledged(ReportAcknowledged { generation: report.generation, ..ReportAcknowledged::default() }))
        }
        Up::Receipt(receipt) => Some(Down::ReceiptAcknowledged(ReceiptAcknowledged { plan: receipt.plan.clone() })),
        Up::Checkup(checkup) => Some(Down::CheckupAcknowledged(CheckupAcknowledged { id: checkup.id.clone() })),
        Up::Certificates(_) | Up::Heartbeat(_) | Up::Answer(_) | Up::Held(_) | Up::Remembered(_) | Up::PeerSeen(_) => None,
    }
}
