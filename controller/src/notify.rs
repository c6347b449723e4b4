//! Telling people and programs what wants them: once when it begins and once when it is over, never once for each look.
//!
//! What wants somebody is compared with what did before, and what is to be said about the difference is written in the same transaction
//! (`store::incidents`). Each channel has a courier, who hands over what waits for it and tries again what he could not: a relay that is down for
//! a night has everything in the morning, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use policy::Timestamp;
use policy::duration::Span;
use policy::id::{ServerName, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::mail::Mailer;
use self::webhook::Hook;
use crate::config::{Kind, Notify};
use crate::event;
use crate::parts::Parts;
use crate::store::{Ears, MAX_PAGE, Message, StoreError};

mod cause;
mod mail;
mod message;
mod webhook;

pub use cause::{Cause, SILENT};
pub use message::{Body, Line, grouped};

/// From one look at whether anything happened to the next.
const BEAT: Duration = Duration::from_secs(2);

/// What depends on time alone is looked at after this long though nothing happened.
const OLD: Duration = Duration::from_secs(20);

/// The most servers in trouble that are told of.
const TROUBLED: u32 = 10_000;

/// The bound of the wait before the first try after one that failed; it doubles from there,
const FIRST: Span = Span::seconds(5);

/// up to this.
const LONGEST: Span = Span::seconds(1_800);

/// What could not be handed over for so long is given up.
const PATIENCE: Span = Span::days(3);

/// Whoever waits for a message that is due later looks again after this long at the latest.
const NAP: Duration = Duration::from_secs(30);

/// How a message reaches its channel.
#[derive(Debug, Clone)]
enum Carrier {
    Mail(Box<Mailer>),
    Webhook(Box<Hook>),
}

impl Carrier {
    async fn carry(&self, id: &str, kind: Kind, body: &Body) -> Result<(), String> {
        match self {
            Self::Mail(mailer) => mailer.carry(id, kind, body).await,
            Self::Webhook(hook) => hook.carry(id, kind, body).await,
        }
    }
}

/// Every channel, ready to be used.
#[derive(Debug)]
pub struct Channels {
    carriers: Vec<(String, Carrier)>,
    alive: Option<(Hook, Duration)>,
}

impl Channels {
    /// What the configuration says; the files that it names are read once, here.
    ///
    /// # Errors
    /// Which channel cannot be, and why.
    pub fn new(notify: &Notify) -> Result<Self, String> {
        let mut carriers = Vec::new();
        for mail in &notify.mail {
            carriers.push((mail.name.clone(), Carrier::Mail(Box::new(Mailer::new(mail)?))));
        }
        for webhook in &notify.webhook {
            carriers.push((webhook.name.clone(), Carrier::Webhook(Box::new(Hook::new(webhook)?))));
        }
        let alive = match &notify.alive {
            Some(alive) => {
                let hook = Hook::alive(&alive.url, alive.inward).map_err(|why| format!("notify.alive: {why}"))?;
                let every = u64::try_from(alive.every.as_seconds()).unwrap_or(1).max(1);
                Some((hook, Duration::from_secs(every)))
            }
            None => None,
        };
        Ok(Self { carriers, alive })
    }

    /// Watches, and tells, until `stop`; each a task of `tasks`.
    pub fn run(self, parts: &Parts, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(watch(parts.clone(), stop.clone()));
        for (name, carrier) in self.carriers {
            tasks.spawn(courier(parts.clone(), name, carrier, stop.clone()));
        }
        if let Some((hook, every)) = self.alive {
            tasks.spawn(alive(parts.clone(), hook, every, stop.clone()));
        }
    }
}

/// Each channel with what it wants to hear.
pub fn ears(notify: &Notify, now: Timestamp) -> Ears {
    let says = |says: &BTreeSet<Kind>| says.iter().copied().collect::<Vec<_>>();
    let mail = notify.mail.iter().map(|mail| (mail.name.clone(), says(&mail.says)));
    let hooks = notify.webhook.iter().map(|hook| (hook.name.clone(), says(&hook.says)));
    Ears { channels: mail.chain(hooks).collect(), calm_at: notify.may_tell(now), next_digest: notify.next_digest(now) }
}

/// Who is away, and since when as far as this controller saw.
#[derive(Debug, Default)]
struct Away {
    since: BTreeMap<ServerName, Timestamp>,
}

impl Away {
    /// Those that are away for long enough. Pure but for what it remembers.
    fn silent(&mut self, away: Vec<ServerName>, long: Span, now: Timestamp) -> Vec<(ServerName, Timestamp)> {
        let here: BTreeSet<ServerName> = away.into_iter().collect();
        self.since.retain(|server, _| here.contains(server));
        for server in here {
            self.since.entry(server).or_insert(now);
        }
        let long_ago = long.before(now);
        self.since.iter().filter(|(_, since)| **since <= long_ago).map(|(server, since)| (server.clone(), *since)).collect()
    }
}

/// Compares what wants somebody with what did, whenever something happened, and now and then.
async fn watch(parts: Parts, stop: CancellationToken) {
    let mut away = Away::default();
    let mut seen: Option<((u64, u64), Instant)> = None;
    let mut begun = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BEAT) => {}
        }
        let happened = (parts.store.commits(), parts.connections.turns());
        if seen.is_some_and(|(before, at)| before == happened && at.elapsed() < OLD) {
            continue;
        }
        let looked = async {
            if !begun {
                away = known(&parts).await?;
                begun = true;
            }
            look(&parts, &mut away).await
        };
        match looked.await {
            Ok(0) => {}
            Ok(_) => parts.told.notify_waiters(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "what wants somebody could not be compared");
                continue;
            }
        }
        // Our own writes are nothing that happened.
        seen = Some(((parts.store.commits(), parts.connections.turns()), Instant::now()));
    }
}

/// Who was away before this controller was started, and was told of.
async fn known(parts: &Parts) -> Result<Away, StoreError> {
    let open = parts.store.incidents(true, None, MAX_PAGE).await?;
    let silent = open.into_iter().filter(|incident| incident.cause.code == SILENT);
    let since = silent.filter_map(|incident| Some((incident.cause.server.parse().ok()?, Timestamp::UNIX_EPOCH)));
    Ok(Away { since: since.collect() })
}

async fn look(parts: &Parts, away: &mut Away) -> Result<usize, StoreError> {
    let Parts { store, connections, clock, config, pages_certificate, .. } = parts;
    let now = clock.now();
    let pages_end = pages_certificate.as_ref().and_then(|certificate| certificate.ends());
    let troubled = store.troubled(TROUBLED).await?;
    let silent = away.silent(connections.away(store.expected().await?), config.notify.silent_after, now);
    store.note(cause::causes(&troubled, &silent, pages_end, now), ears(&config.notify, now), now).await
}

/// Hands over what waits for one channel.
async fn courier(parts: Parts, name: String, carrier: Carrier, stop: CancellationToken) {
    loop {
        let woken = parts.told.notified();
        // A relay that hangs holds nobody up who stops; what it may have had already it knows again by its id.
        let delivered = tokio::select! {
            () = stop.cancelled() => return,
            delivered = deliver(&parts, &name, &carrier) => delivered,
        };
        let nap = match delivered {
            Ok(nap) => nap,
            Err(error) => {
                tracing::warn!(channel = name, error = &error as &dyn std::error::Error, "what is to be said cannot be read");
                NAP
            }
        };
        if nap.is_zero() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = woken => {}
            () = tokio::time::sleep(nap) => {}
        }
    }
}

/// Tries the message that is due first, and says how long there is nothing to do.
async fn deliver(parts: &Parts, name: &str, carrier: &Carrier) -> Result<Duration, StoreError> {
    let Parts { store, clock, .. } = parts;
    let Some(message) = store.next_message(name).await? else { return Ok(NAP) };
    let now = clock.now();
    if now < message.due_at {
        let wait = Duration::try_from(message.due_at.duration_since(now)).unwrap_or_default();
        return Ok(wait.clamp(Duration::from_millis(10), NAP));
    }
    let carried = carrier.carry(&message.id, message.kind, &message.body).await;
    settle(parts, name, message, carried).await?;
    Ok(Duration::ZERO)
}

async fn settle(parts: &Parts, name: &str, message: Message, carried: Result<(), String>) -> Result<(), StoreError> {
    let Parts { store, clock, .. } = parts;
    let now = clock.now();
    let Message { id, kind, attempts, made_at, .. } = message;
    match carried {
        Ok(()) => {
            tracing::info!(channel = name, id, kind = kind.as_str(), "told");
            store.sent(id, now).await
        }
        Err(why) => {
            // What a relay or a program says is somebody else's text.
            let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
            let again = retry(&id, attempts, made_at, now);
            match again {
                Some(at) => {
                    tracing::warn!(channel = name, id, kind = kind.as_str(), attempts = attempts + 1, %at, why, "could not tell, and tries again")
                }
                None => tracing::error!(
                    event = event::NOT_TOLD.id,
                    channel = name,
                    id,
                    kind = kind.as_str(),
                    why,
                    "could not tell, and gave up"
                ),
            }
            store.not_sent(id, why, again, now).await
        }
    }
}

/// When a message that could not be handed over is tried again; `None` when it was tried for long enough. The wait is anything up to a bound that
/// doubles, and is drawn from the message itself, so that many do not come back together.
fn retry(id: &str, attempts: u32, made_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    if PATIENCE.after(made_at) <= now {
        return None;
    }
    let bound = FIRST.as_seconds().saturating_mul(1 << attempts.min(20)).min(LONGEST.as_seconds());
    let drawn = Sha256::of(format!("{id} {attempts}").as_bytes()).0;
    let share = i64::from(u16::from_be_bytes([drawn[0], drawn[1]]));
    // At least a second: a program that refuses at once is not asked in a circle.
    let micros = (bound * 1_000_000 * share / i64::from(u16::MAX)).max(1_000_000);
    Timestamp::from_microsecond(now.as_microsecond().saturating_add(micros)).ok()
}

/// Calls somebody else as long as the store answers, who notices when nobody calls any more.
async fn alive(parts: Parts, hook: Hook, every: Duration, stop: CancellationToken) {
    loop {
        let called = match parts.store.audit_head().await {
            Ok(_) => tokio::select! {
                () = stop.cancelled() => return,
                called = hook.call() => called,
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = called {
            tracing::warn!(why, "could not say that all is well");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

#[cfg(test)]
mod tests;
