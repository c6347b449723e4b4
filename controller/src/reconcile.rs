//! Looks at servers, each when something about it changed or when its time has come. Nothing goes over the whole estate but
//! a change that concerns the whole estate.
//!
//! A nudge carries nothing but a name: what changed is read from the rows, so that a nudge that is lost, doubled or late makes
//! no difference, and a start after a crash is a nudge for everybody. What a look decides is pure ([`look()`]); this file reads,
//! asks, writes, and tells the streams to read their rows again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use policy::Timestamp;
use policy::duration::Span;
use policy::id::{ServerName, Sha256};
use policy::life::Event;
use policy::peers::Peer;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::clock::Clock;
use crate::connections::Connections;
use crate::event::{self, tell};
use crate::store::{Conclude, MAX_PAGE, Scene, Store, StoreError};
use crate::telemetry::Metrics;

mod in_force;
mod look;

pub use in_force::InForce;
pub use look::{Conclusion, Move, Standing, Terms, look};

/// Looks at once. Each waits for its own commit, and these are written together.
const AT_ONCE: usize = 32;

/// The longest sleep: a clock that was set while we slept is noticed then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How soon a look that failed is tried again.
const RETRY: Span = Span::seconds(5);

/// Asks for looks. Clones ask the same reconciler.
#[derive(Debug, Clone, Default)]
pub struct Nudge {
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    names: Mutex<BTreeSet<ServerName>>,
    everybody: std::sync::atomic::AtomicBool,
    wake: Notify,
}

impl Nudge {
    /// Look at this server again. Asked a hundred times before it happens, it happens once.
    pub fn look(&self, server: &ServerName) {
        self.names().insert(server.clone());
        self.asked.wake.notify_one();
    }

    /// Look at every server again: a document in force changed.
    pub fn look_at_all(&self) {
        self.asked.everybody.store(true, std::sync::atomic::Ordering::SeqCst);
        self.asked.wake.notify_one();
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<ServerName>> {
        self.asked.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reconciler needs.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// What is on disk.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// Who asks.
    pub nudge: Nudge,
    /// What is counted.
    pub metrics: Metrics,
    /// The present moment.
    pub clock: Clock,
}

impl Reconciler {
    /// Looks at servers until `stop`; looks that are under way are finished.
    pub async fn run(self, stop: CancellationToken) {
        let shared = Arc::new(Shared { reconciler: self, documents: in_force::Cache::default() });
        let Reconciler { nudge, clock, .. } = &shared.reconciler;
        let mut timer = Timer::default();
        let mut working = BTreeSet::new();
        let mut looks: JoinSet<(ServerName, Option<Timestamp>)> = JoinSet::new();
        nudge.look_at_all();
        loop {
            if nudge.asked.everybody.swap(false, std::sync::atomic::Ordering::SeqCst) {
                shared.everybody().await;
            }
            nudge.names().extend(timer.due(clock.now()));
            while looks.len() < AT_ONCE {
                let next = {
                    let mut names = nudge.names();
                    let next = names.iter().find(|name| !working.contains(*name)).cloned();
                    next.inspect(|name| {
                        names.remove(name);
                    })
                };
                let Some(server) = next else { break };
                working.insert(server.clone());
                let shared = Arc::clone(&shared);
                looks.spawn(async move {
                    let next = shared.look(&server).await;
                    (server, next)
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = nudge.asked.wake.notified() => {}
                Some(done) = looks.join_next() => match done {
                    Ok((server, next)) => {
                        working.remove(&server);
                        timer.set(server, next);
                    }
                    Err(error) => {
                        // Which one it was is not known: all are looked at again.
                        tracing::error!(error = &error as &dyn std::error::Error, "a look ended badly");
                        working.clear();
                        nudge.look_at_all();
                    }
                },
                () = tokio::time::sleep(timer.sleep(clock.now())) => {}
            }
        }
        while looks.join_next().await.is_some() {}
    }
}

/// When servers are looked at though nothing happens.
#[derive(Debug, Default)]
struct Timer {
    by_time: BTreeSet<(Timestamp, ServerName)>,
    by_name: BTreeMap<ServerName, Timestamp>,
}

impl Timer {
    fn set(&mut self, server: ServerName, at: Option<Timestamp>) {
        let old = match at {
            Some(at) => self.by_name.insert(server.clone(), at),
            None => self.by_name.remove(&server),
        };
        if let Some(old) = old {
            self.by_time.remove(&(old, server.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, server));
        }
    }

    /// Those whose time has come; they are forgotten until they are set again.
    fn due(&mut self, now: Timestamp) -> Vec<ServerName> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, server)) = self.by_time.pop_first()
        {
            self.by_name.remove(&server);
            due.push(server);
        }
        due
    }

    fn sleep(&self, now: Timestamp) -> Duration {
        let Some((at, _)) = self.by_time.first() else { return LONGEST_SLEEP };
        // A millisecond more, so that the moment has passed when we wake.
        let wait = at.duration_since(now).unsigned_abs() + Duration::from_millis(1);
        if *at <= now { Duration::ZERO } else { wait.min(LONGEST_SLEEP) }
    }
}

struct Shared {
    reconciler: Reconciler,
    documents: in_force::Cache,
}

impl Shared {
    /// Every server is looked at; when they cannot be listed now, soon.
    async fn everybody(&self) {
        let Reconciler { store, nudge, .. } = &self.reconciler;
        let mut after: Option<ServerName> = None;
        loop {
            match store.server_names(after.as_ref(), MAX_PAGE).await {
                Ok(page) => {
                    let Some(last) = page.last() else { return };
                    after = Some(last.clone());
                    nudge.names().extend(page);
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "servers could not be listed");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    nudge.look_at_all();
                    return;
                }
            }
        }
    }

    /// Looks at one server; when it is to be looked at again.
    async fn look(&self, server: &ServerName) -> Option<Timestamp> {
        let span = tracing::debug_span!("look", %server, verdict = Empty, decision = Empty);
        match self.try_look(server).instrument(span).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%server, error = &error as &dyn std::error::Error, "a server could not be looked at");
                Some(RETRY.after(self.reconciler.clock.now()))
            }
        }
    }

    async fn try_look(&self, server: &ServerName) -> Result<Option<Timestamp>, StoreError> {
        let Reconciler { store, connections, nudge, metrics, clock } = &self.reconciler;
        let Some(mut scene) = store.scene(server).await? else { return Ok(None) };
        let documents = self.documents.read(store).await?;
        scene.look_from(documents.policy.peers.count, |peer| connections.is_connected(peer));
        let stopped = store
            .stops_of(server)
            .await?
            .first()
            .map(|row| format!("emergency stop {} by {}: going on takes approvers", row.id.short(), row.stop.line()));
        let now = clock.now();
        let connected = connections.is_connected(server);
        let terms = Terms {
            policy: &documents.policy,
            trust: documents.trust.as_ref(),
            in_force: documents.held,
            stopped: stopped.as_deref(),
            connected,
            now,
        };
        let conclusion = Arc::new(look(&scene, &terms));
        tracing::Span::current()
            .record("verdict", conclusion.assessment.verdict.as_str())
            .record("decision", conclusion.decision.as_str());
        let question = scene.question();
        for peer in unanswered(&scene, question).filter(|peer| !connections.was_asked(peer, server, question)) {
            connections.wake(peer);
        }
        let next = conclusion.next_look;
        metrics.evaluated(&conclusion.decision);
        if !is_news(&scene, &conclusion) {
            return Ok(next);
        }
        let moved = conclusion.moves.iter().any(|step| matches!(step, Move::Advance { .. }));
        let turned = scene.server.verdict != Some(conclusion.assessment.verdict);
        match store.conclude(server, conclusion.clone(), now).await? {
            Conclude::Outdated => nudge.look(server),
            Conclude::Kept => {
                tell_kept(server, &scene, &conclusion);
                for waited in approved(&scene, &conclusion, now) {
                    metrics.approved(waited);
                }
                if moved || turned {
                    connections.wake(server);
                    for waiting in store.waiting_beside(server).await? {
                        nudge.look(&waiting);
                    }
                }
            }
        }
        // Who came or went meanwhile asked what waits before this was written, and does not ask again.
        if connections.is_connected(server) != connected {
            nudge.look(server);
        }
        Ok(next)
    }
}

/// What is written down is told, and once: a verdict that turned, what pages, and what people wait for, which is a proposal, its
/// approval, its way to the host.
fn tell_kept(server: &ServerName, scene: &Scene, conclusion: &Conclusion) {
    let Conclusion { assessment, decision, moves, .. } = conclusion;
    if scene.server.verdict != Some(assessment.verdict) {
        let verdict = assessment.verdict;
        tell!(event::of(verdict), %server, verdict = verdict.as_str(), decision, "a server's verdict changed");
    }
    event::urgent(server, scene.assessment.as_ref(), assessment);
    for step in moves {
        match step {
            Move::Propose { plan, standing } => {
                let (plan, why) = (plan.id().short(), &standing.why);
                tracing::info!(event = event::PLAN_PROPOSED.id, %server, plan, why, "a plan is proposed");
            }
            Move::Advance { plan, events, .. } => {
                let plan = plan.short();
                if events.contains(&Event::Approve) {
                    tracing::info!(event = event::PLAN_APPROVED.id, %server, plan, "a plan is approved");
                }
                if events.contains(&Event::Offer) {
                    tracing::info!(event = event::PLAN_OFFERED.id, %server, plan, "a plan is sent to its agent");
                }
            }
            Move::Note { .. } => {}
        }
    }
}

/// Those who look at this server and have not answered what is asked now.
fn unanswered(scene: &Scene, question: Sha256) -> impl Iterator<Item = &ServerName> {
    let answered = move |peer: &&Peer| peer.word.as_ref().is_some_and(|word| word.question == question);
    scene.peers.iter().filter(move |peer| !answered(peer)).map(|peer| &peer.server)
}

/// How long each plan waited that enough persons have approved now.
fn approved(scene: &Scene, conclusion: &Conclusion, now: Timestamp) -> impl Iterator<Item = SignedDuration> {
    let approved = conclusion.moves.iter().filter_map(|step| match step {
        Move::Advance { plan, events, .. } if events.contains(&Event::Approve) => Some(*plan),
        Move::Advance { .. } | Move::Propose { .. } | Move::Note { .. } => None,
    });
    approved.filter_map(move |id| {
        let seen = scene.plans.iter().find(|seen| seen.row.id == id)?;
        Some(now.duration_since(seen.row.created_at))
    })
}

/// Whether there is anything to write down.
fn is_news(scene: &Scene, conclusion: &Conclusion) -> bool {
    let Scene { server, last, assessment, .. } = scene;
    !conclusion.moves.is_empty()
        || assessment.as_ref() != Some(&conclusion.assessment)
        || *last != conclusion.last
        || server.verdict != Some(conclusion.assessment.verdict)
        || server.decision.as_deref() != Some(&conclusion.decision)
        || server.why != conclusion.why
        || server.mode.as_deref() != Some(&conclusion.mode)
        || server.certificate != conclusion.certificate
        || server.not_after != conclusion.not_after
        || server.next_look != conclusion.next_look
}

#[cfg(test)]
mod tests;
