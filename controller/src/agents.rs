//! The gateway: one stream per agent, and the shell around [`session`](crate::session). It reads, asks the session what to do, does it,
//! and says nothing that is not on disk.
//!
//! Who speaks is taken from the client certificate. Whether that identity may still speak is read again for every message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy::Timestamp;
use policy::duration::Span;
use policy::id::{CertificateId, ServerName, Sha256};
use policy::receipt::Outcome;
use proto::agent::{OpenRequest, OpenResponse, SessionService};
use proto::names::Peer;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::audit::{Actor, Head};
use crate::connections::Seat;
use crate::event::{self, tell};
use crate::listen::Caller;
use crate::parts::Parts;
use crate::session::{Breach, Effect, Hello, Remembered, Said, Say, Session, Told};
use crate::status::{chain, failed, told};
use crate::store::{Adopted, Forgotten, Identity, IdentityState, Recording, Settled, StoreError, Witnessed};

mod wire;

/// Messages that wait for a slow agent. One that lets more pile up is dropped, and resumes when it comes back.
const OUTGOING: usize = 256;

/// How long an agent may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// A refused identity is told once in this time.
const QUIET: Span = Span::seconds(600);

/// Heartbeats that may fail to come before the stream is given up.
const MISSED: u32 = 3;

/// The gateway. Clones share it.
#[derive(Debug, Clone)]
pub struct Gateway {
    parts: Parts,
    streams: TaskTracker,
    stop: CancellationToken,
    refusals: Refusals,
}

/// When a refused identity was last told in the audit trail: whoever comes back every second does not fill it.
type Refusals = Arc<Mutex<BTreeMap<ServerName, Timestamp>>>;

impl Gateway {
    /// Streams are held until `stop`; whoever stops waits for `streams`.
    pub fn new(parts: Parts, streams: TaskTracker, stop: CancellationToken) -> Self {
        Self { parts, streams, stop, refusals: Refusals::default() }
    }
}

#[tonic::async_trait]
impl SessionService for Gateway {
    type OpenStream = ReceiverStream<Result<OpenResponse, Status>>;

    async fn open(&self, request: Request<Streaming<OpenRequest>>) -> Result<Response<Self::OpenStream>, Status> {
        let (server, key_id, certificate) = agent(&request)?;
        let (outgoing, responses) = mpsc::channel(OUTGOING);
        let (parts, stop, refusals) = (self.parts.clone(), self.stop.clone(), Arc::clone(&self.refusals));
        let line = Line { parts, server, key_id, certificate, outgoing, stop, refusals };
        self.streams.spawn(line.hold(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// Who is at the other end.
fn agent(request: &Request<Streaming<OpenRequest>>) -> Result<(ServerName, Sha256, Sha256), Status> {
    let caller = request.extensions().get::<Caller>().and_then(|caller| caller.identity.as_ref());
    let Some(caller) = caller else { return Err(Status::unauthenticated("expected the certificate of an agent, found none")) };
    match &caller.peer {
        Peer::Agent { estate: _, server } => Ok((server.clone(), caller.key_id, caller.certificate)),
        operator @ Peer::Operator { .. } => {
            Err(Status::permission_denied(format!("expected the certificate of an agent, found one of {operator}")))
        }
    }
}

/// One stream.
struct Line {
    parts: Parts,
    server: ServerName,
    key_id: Sha256,
    certificate: Sha256,
    outgoing: mpsc::Sender<Result<OpenResponse, Status>>,
    stop: CancellationToken,
    refusals: Refusals,
}

impl Line {
    #[tracing::instrument(name = "session", skip_all, fields(server = %self.server))]
    async fn hold(self, mut incoming: Streaming<OpenRequest>) {
        match self.converse(&mut incoming).await {
            Ok(()) => tracing::info!("a session ended"),
            Err(status) => {
                if status.code() == tonic::Code::DeadlineExceeded {
                    let (event, server, why) = (event::AGENT_SILENT.id, &self.server, status.message());
                    tracing::warn!(event, %server, why, "an agent fell silent");
                }
                tracing::info!(code = ?status.code(), why = status.message(), "a session ended");
                // Said as the last thing, if there is still room for it.
                drop(self.outgoing.try_send(Err(status)));
            }
        }
        // What waits for this agent says from now on that it does.
        if let Err(error) = self.look_if_awaited().await {
            tracing::error!(error = &error as &dyn std::error::Error, "whether a plan waits for an agent could not be read");
            self.parts.nudge.look(&self.server);
        }
    }

    async fn look_if_awaited(&self) -> Result<(), StoreError> {
        if self.parts.store.is_awaited(&self.server).await? {
            self.parts.nudge.look(&self.server);
        }
        Ok(())
    }

    async fn converse(&self, incoming: &mut Streaming<OpenRequest>) -> Result<(), Status> {
        let Parts { config, clock, .. } = &self.parts;
        let (mut session, seat) = self.greet(incoming).await?;
        let patience = Duration::from_secs(config.heartbeat.as_seconds().unsigned_abs()) * MISSED + HELLO;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Status::unavailable("this controller stops")),
                () = seat.displaced.cancelled() => return Err(Status::aborted("a newer session of this server took the place of this one")),
                () = seat.wake.notified() => {
                    self.identity().await?;
                    self.perform(&mut session, Session::woken()).await?;
                }
                message = tokio::time::timeout(patience, incoming.message()) => {
                    let message = message.map_err(|_| Status::deadline_exceeded(format!("expected a heartbeat within {patience:?}, found silence")))??;
                    let Some(message) = message else { return Ok(()) };
                    seat.heard(clock.now());
                    self.identity().await?;
                    let said = wire::said(message).map_err(|invalid| self.refuse("invalid", invalid.into()))?;
                    if let Said::Heartbeat(there) = &said {
                        seat.clock(*there, clock.now());
                    }
                    let effects = match session.on(said) {
                        Ok(effects) => effects,
                        Err(breach) => return Err(self.breached(breach).await),
                    };
                    self.perform(&mut session, effects).await?;
                }
            }
        }
    }

    /// Hello and welcome.
    async fn greet(&self, incoming: &mut Streaming<OpenRequest>) -> Result<(Session, Seat), Status> {
        let Parts { store, connections, clock, .. } = &self.parts;
        let identity = match store.identity(&self.key_id).await.map_err(failed)? {
            Some(identity) => self.may_speak(identity)?,
            None => return Err(self.forgotten(incoming).await?),
        };
        let hello = self.hello(incoming).await?;
        let row = store.server(&self.server).await.map_err(failed)?;
        let noted = row.as_ref().is_some_and(|row| row.held == hello.held && row.agent_version == hello.agent_version);
        let on_disk = row.and_then(|row| Some((row.generation, row.digest?)));
        let alive = connections.is_connected(&self.server);
        let audit = store.audit_head().await.map_err(failed)?;
        let mut session = match Session::begin(&self.server, &hello, &identity, on_disk, alive, audit) {
            Ok(session) => session,
            Err(breach) => return Err(self.breached(breach).await),
        };
        let mut lineage = vec![0; 16];
        aws_lc_rs::rand::fill(&mut lineage).map_err(told(tonic::Code::Internal))?;
        if !store.begin_session(self.key_id, hello.lineage.clone(), lineage.clone()).await.map_err(failed)? {
            // Somebody with the same key began a session between the two reads.
            return Err(self.breached(Breach::Lineage { server: self.server.clone(), alive: true }).await);
        }
        let seat = connections.open(&self.server, clock.now());
        if !noted {
            store.note_agent(&self.server, Some(hello.agent_version.clone()), hello.held).await.map_err(failed)?;
        }
        store.note_stopped(&self.server, hello.stops.clone()).await.map_err(failed)?;
        let recall = store.awaits(&self.server).await.map_err(failed)?;
        if !recall {
            self.check_anchor(&hello).await?;
        }
        let policy = store.policy().await.map_err(failed)?.map(|document| document.id);
        let missing = self.missing_on_disk().await?;
        let checkups = store.checkup_ids(&self.server).await.map_err(failed)?;
        let effects = session.welcome(lineage, policy, missing, audit, checkups, recall);
        self.perform(&mut session, effects).await?;
        Ok((session, seat))
    }

    /// A key that enrolled with our CA and is not known here: a store that was put back from a backup forgot it, and a person lets it in
    /// again. Else nobody enrolled with it.
    async fn forgotten(&self, incoming: &mut Streaming<OpenRequest>) -> Result<Status, Status> {
        let Parts { store, clock, .. } = &self.parts;
        if store.last_restore().await.map_err(failed)?.is_none() {
            return Ok(failed(StoreError::UnknownKey));
        }
        let hello = self.hello(incoming).await?;
        if hello.server != self.server {
            let (expected, found) = (self.server.clone(), hello.server);
            return Ok(self.breached(Breach::OtherServer { expected, found }).await);
        }
        let forgotten = Forgotten {
            server: self.server.clone(),
            machine_id: hello.machine_id,
            key_id: self.key_id,
            certificate: self.certificate,
        };
        let identity = store.remember(forgotten, clock.now()).await.map_err(failed)?;
        let why = identity.active().err().map_or_else(|| failed(StoreError::UnknownKey), failed);
        let (event, server) = (event::AGENT_WAITS.id, &self.server);
        tracing::warn!(event, %server, why = why.message(), "a machine that this store forgot waits for a person");
        Ok(why)
    }

    async fn hello(&self, incoming: &mut Streaming<OpenRequest>) -> Result<Hello, Status> {
        let message = tokio::select! {
            () = self.stop.cancelled() => return Err(Status::unavailable("this controller stops")),
            message = tokio::time::timeout(HELLO, incoming.message()) => message,
        };
        let message =
            message.map_err(|_| Status::deadline_exceeded(format!("expected a hello within {HELLO:?}, found silence")))??;
        let message = message.ok_or_else(|| Status::cancelled("expected a hello, found the end of the stream"))?;
        let said = wire::said(message).map_err(|invalid| self.refuse("invalid", invalid.into()))?;
        if let Said::Hello(hello) = said {
            return Ok(hello);
        }
        Err(self.breached(Breach::Order { expected: "a hello", found: "another message" }).await)
    }

    /// The identity behind this stream, if it may speak.
    async fn identity(&self) -> Result<Identity, Status> {
        let identity = self.parts.store.identity(&self.key_id).await.map_err(failed)?;
        self.may_speak(identity.ok_or(StoreError::UnknownKey).map_err(failed)?)
    }

    fn may_speak(&self, identity: Identity) -> Result<Identity, Status> {
        if identity.server != self.server {
            return Err(Status::permission_denied(format!(
                "expected the key of {}, found the key of {}",
                self.server, identity.server
            )));
        }
        identity.active().map_err(failed)?;
        Ok(identity)
    }

    async fn perform(&self, session: &mut Session, effects: Vec<Effect>) -> Result<(), Status> {
        let Parts { store, nudge, metrics, clock, .. } = &self.parts;
        let mut waiting = VecDeque::from(effects);
        // Bounded: what an effect adds is only said, read or looked at, and adds nothing more.
        while let Some(effect) = waiting.pop_front() {
            let more = match effect {
                Effect::Say(say) => {
                    self.say(say)?;
                    Vec::new()
                }
                Effect::Record(report) => self.record(session, *report).await?,
                Effect::Keep(certificates) => {
                    store.store_certificates(certificates, clock.now()).await.map_err(failed)?;
                    Vec::new()
                }
                Effect::Settle(receipt) => {
                    let (plan, ended, outcome) = (receipt.plan, event::of_outcome(receipt.outcome), receipt.outcome.as_str());
                    let ended_on_host = receipt.outcome != Outcome::Refused;
                    let (notes, took) = (receipt.notes.join("; "), receipt.ended_at.duration_since(receipt.began_at));
                    let settled = store.settle(&self.server, *receipt, clock.now()).await.map_err(failed)?;
                    // A refusal is no change, and a receipt may come twice.
                    if settled == Settled::Now && ended_on_host {
                        metrics.changed(took);
                    }
                    tell!(ended, server = %self.server, plan = plan.short(), outcome, notes, "a plan ended");
                    for waiting in store.waiting_beside(&self.server).await.map_err(failed)? {
                        nudge.look(&waiting);
                    }
                    session.settled(plan)
                }
                Effect::Begun(plan) => {
                    match store.begun(&plan, &self.server, clock.now()).await {
                        // A store that was put back from a backup may not know it; its receipt will tell.
                        Ok(()) | Err(StoreError::NoPlan(_)) => {}
                        Err(error) => return Err(failed(error)),
                    }
                    Vec::new()
                }
                Effect::File(named) => {
                    let id = named.id;
                    store.keep_checkup(&self.server, *named, clock.now()).await.map_err(failed)?;
                    session.filed(id)
                }
                Effect::Adopt(remembered, seen) => {
                    self.adopt(*remembered, seen).await?;
                    Vec::new()
                }
                Effect::Note(held, stops) => {
                    store.note_agent(&self.server, None, held).await.map_err(failed)?;
                    store.note_stopped(&self.server, stops).await.map_err(failed)?;
                    Vec::new()
                }
                Effect::ReadStops => {
                    let in_force = store.stops_of(&self.server).await.map_err(failed)?;
                    let let_go =
                        session.stopped().iter().copied().filter(|id| in_force.iter().all(|row| row.id != *id)).collect();
                    let resumes = store.resumes(&let_go).await.map_err(failed)?;
                    session.stops(in_force.into_iter().map(|row| (row.id, row.body)).collect(), resumes)
                }
                Effect::ReadDocuments => {
                    let chain = store.trust_chain(session.trust_version()).await.map_err(failed)?;
                    let policy = store.policy().await.map_err(failed)?;
                    session.documents(chain, policy)
                }
                Effect::ReadPeers => session.peers(store.peer_targets(&self.server).await.map_err(failed)?),
                Effect::Witness(seen) => {
                    let target = seen.server.clone();
                    if store.witness(&self.server, seen).await.map_err(failed)? == Witnessed::Now {
                        nudge.look(&target);
                    }
                    Vec::new()
                }
                Effect::ReadOffers => session.offers(store.offers(&self.server).await.map_err(failed)?),
                Effect::Look => {
                    nudge.look(&self.server);
                    Vec::new()
                }
                Effect::LookIfAwaited => {
                    self.look_if_awaited().await.map_err(failed)?;
                    Vec::new()
                }
            };
            more.into_iter().rev().for_each(|effect| waiting.push_front(effect));
        }
        Ok(())
    }

    async fn record(&self, session: &mut Session, told: Told) -> Result<Vec<Effect>, Status> {
        let Parts { store, metrics, clock, .. } = &self.parts;
        let Told { generation, report, memory, said, seen_at } = told;
        let (digest, named) = (report.digest(), report.named_certificates());
        let recording = Recording { server: self.server.clone(), generation, report, memory, said, seen_at };
        store.record_report(recording, clock.now()).await.map_err(|error| self.refuse("report", failed(error)))?;
        metrics.reported();
        let missing = store.certificates_missing(&named).await.map_err(failed)?;
        let audit = store.audit_head().await.map_err(failed)?;
        Ok(session.recorded(generation, digest, missing, audit))
    }

    /// Takes what the agent holds and this store, put back from a backup, does not. Others may have waited for just that.
    async fn adopt(&self, remembered: Remembered, seen: Option<Head>) -> Result<(), Status> {
        let Parts { store, nudge, connections, clock, .. } = &self.parts;
        let Adopted { taken, refused, lost } = store.adopt(&self.server, remembered, seen, clock.now()).await.map_err(failed)?;
        let (event, server) = (event::REMEMBERED.id, &self.server);
        let taken = if taken.is_empty() { "nothing that was not here".to_owned() } else { taken.join(", ") };
        tracing::info!(event, %server, taken, "an agent told what it holds to a store that was put back");
        for what in refused {
            tracing::warn!(event = event::NOT_ADOPTED.id, %server, what, "what an agent holds was not taken");
        }
        if let Some((first, last)) = lost {
            let (event, what) = (event::AUDIT_LOST.id, format!("{first} to {last}"));
            tracing::warn!(event, %server, what, "entries of the audit trail were lost with the store");
        }
        nudge.look_at_all();
        connections.wake_all();
        Ok(())
    }

    /// Never waits: an agent that does not read is dropped, and the others are not held up.
    fn say(&self, say: Say) -> Result<(), Status> {
        let Parts { config, connections, clock, .. } = &self.parts;
        if let Say::Peers(targets) = &say {
            connections.asks(&self.server, targets);
        }
        let response = wire::response(say, config.heartbeat, clock.now());
        self.outgoing
            .try_send(Ok(response))
            .map_err(|_| Status::resource_exhausted("expected the agent to read what it is sent, found its queue full"))
    }

    /// Certificates of the report on disk that are not here.
    async fn missing_on_disk(&self) -> Result<BTreeSet<CertificateId>, Status> {
        let store = &self.parts.store;
        match store.newest_report(&self.server).await.map_err(failed)? {
            Some(report) => store.certificates_missing(&report.named_certificates()).await.map_err(failed),
            None => Ok(BTreeSet::new()),
        }
    }

    /// What the agent last saw of the audit trail must still be in it (TRUST T11).
    async fn check_anchor(&self, hello: &Hello) -> Result<(), Status> {
        let Some(anchor) = hello.audit.filter(|anchor| anchor.sequence > 0) else { return Ok(()) };
        let entries = self.parts.store.audit(anchor.sequence - 1, 1).await.map_err(failed)?;
        match entries.first().filter(|entry| entry.sequence == anchor.sequence) {
            Some(entry) if entry.hash == anchor.hash => {}
            Some(entry) => {
                let (event, sequence) = (event::AUDIT_DIFFERS.id, anchor.sequence);
                let what = format!("{} saw {}, found is {}", self.server, anchor.hash, entry.hash);
                tracing::error!(event, sequence, what, "the audit trail is not the one that the agent saw");
            }
            None => {
                let (event, sequence) = (event::AUDIT_DIFFERS.id, anchor.sequence);
                let what = "it ends before: was an older store put back?";
                tracing::error!(event, sequence, what, "the audit trail ends before what the agent saw");
            }
        }
        Ok(())
    }

    async fn breached(&self, breach: Breach) -> Status {
        let Parts { store, clock, .. } = &self.parts;
        let why = breach.to_string();
        let now = clock.now();
        let actor = Actor::Agent(self.server.clone());
        let written = if breach.quarantines() {
            let done = store.narrow(self.key_id, IdentityState::Quarantined, why.clone(), Actor::Controller, now);
            done.await.map(drop)
        } else if breach.is_about_identity() && self.is_first_refusal(now) {
            store.tell(actor, "agent.refused", self.server.to_string(), json!({"key": self.key_id, "why": why}), now).await
        } else {
            Ok(())
        };
        if let Err(error) = written {
            tracing::error!(error = chain(&error), "a breach could not be told in the audit trail");
        }
        if breach.is_about_identity() {
            tracing::error!(event = event::IDENTITY_DOUBTED.id, server = %self.server, why, "an identity is doubted");
            self.refuse("identity", Status::permission_denied(why))
        } else {
            self.refuse("breach", Status::failed_precondition(why))
        }
    }

    /// The names in the map are those of certificates that we issued, so it is bounded by the estate.
    fn is_first_refusal(&self, now: Timestamp) -> bool {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let last = refusals.insert(self.server.clone(), now);
        last.is_none_or(|last| QUIET.after(last) <= now)
    }

    fn refuse(&self, reason: &'static str, status: Status) -> Status {
        self.parts.metrics.refused(reason);
        status
    }
}
