//! A stolen controller: it has the CA's key, listens where the agents dial, welcomes them, and offers what it likes.
//!
//! It speaks as well as the real one does, so that what stops it is what the agents hold and see, and nothing else. It hands
//! back the lineage that each agent presents, as a thief would who wants not to be noticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use controller::ca::Authority;
use controller::listen::Bound;
use controller::tls::{OwnCertificate, mutual};
use jiff::Timestamp;
use policy::id::PlanId;
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{
    CheckupAcknowledged, CheckupsKept, Hello, Offer, OpenRequest, OpenResponse, ReceiptAcknowledged, ReportAcknowledged,
    SessionService, SessionServiceServer, Welcome,
};
use proto::types::{Receipt, Signed};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::desk::ESTATE;
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
}

impl Forger {
    /// Listens on the agents' port with the CA key that lies in `state`, the state folder of the real controller.
    ///
    /// # Errors
    /// When the port is taken, or there is no CA.
    pub fn listen(address: SocketAddr, state: &Path) -> Result<Self> {
        let authority = Authority::load(state, &ESTATE.parse()?).context("the stolen CA")?;
        let own = OwnCertificate::new(&authority, &[], Timestamp::now()).context("a certificate by the stolen CA")?;
        let tls = mutual(&authority, Arc::new(own)).context("TLS by the stolen CA")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let bound = {
            let _within = runtime.enter();
            Bound::new(address).with_context(|| format!("{address} is taken"))?
        };
        let (heard, stop) = (Heard::default(), CancellationToken::new());
        let (service, stopped) = (SessionServiceServer::new(heard.clone()), stop.clone());
        let serve = async move {
            let (accepting, connections) = bound.accept(tls, CONNECTIONS, stopped.clone());
            let serving = Server::builder().add_service(service).serve_with_incoming(connections);
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accepting => {}
                _ = serving => {}
            }
        };
        let thread = thread::spawn(move || runtime.block_on(serve));
        Ok(Self { heard, stop, thread: Some(thread) })
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
        let line = {
            let mut sessions = self.heard.sessions();
            // What was said to an earlier offer is no answer to this one.
            sessions.receipts.retain(|receipt| receipt.plan != id.0);
            sessions.lines.get(server).cloned().with_context(|| format!("{server} has no session with us"))?
        };
        line.send(Ok(OpenResponse { message: Some(offer) })).map_err(|_| anyhow!("the session with {server} is over"))?;
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
            while let Ok(Some(OpenRequest { message: Some(message) })) = said.message().await {
                if let Some(answer) = answer_to(&message) {
                    // Who has gone comes back.
                    let _ = line.send(Ok(OpenResponse { message: Some(answer) }));
                }
                // Only now, so that what is offered next comes behind the answer.
                let mut sessions = heard.sessions();
                if let Up::Hello(Hello { server, .. }) = &message {
                    sessions.lines.insert(server.clone(), line.clone());
                }
                if let Up::Receipt(receipt) = message {
                    sessions.receipts.push(receipt);
                }
            }
        };
        tokio::spawn(listen);
        Ok(Response::new(UnboundedReceiverStream::new(answers)))
    }
}

/// What a real controller would answer.
fn answer_to(message: &Up) -> Option<Down> {
    match message {
        Up::Hello(Hello { lineage, held, acknowledged, digest, .. }) => Some(Down::Welcome(Welcome {
            lineage: lineage.clone(),
            epoch: acknowledged.map_or(1, |generation| generation.epoch),
            acknowledged: *acknowledged,
            digest: digest.clone(),
            heartbeat_seconds: 1,
            now: Timestamp::now().as_microsecond(),
            policy: held.as_ref().map(|held| held.policy.clone()).unwrap_or_default(),
            checkups: Some(CheckupsKept::default()),
            recall: false,
        })),
        Up::Report(report) => {
            Some(Down::ReportAcknowledged(ReportAcknowledged { generation: report.generation, ..ReportAcknowledged::default() }))
        }
        Up::Receipt(receipt) => Some(Down::ReceiptAcknowledged(ReceiptAcknowledged { plan: receipt.plan.clone() })),
        Up::Checkup(checkup) => Some(Down::CheckupAcknowledged(CheckupAcknowledged { id: checkup.id.clone() })),
        Up::Certificates(_) | Up::Heartbeat(_) | Up::Answer(_) | Up::Held(_) | Up::Remembered(_) => None,
    }
}
