//! Which agents are connected to this controller at this moment. In memory only: whatever a stream is to be told is read from rows
//! when it is woken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use policy::Timestamp;
use policy::id::{ServerName, Sha256};
use policy::peers::Target;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The open streams. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    streams: Arc<Mutex<Streams>>,
}

#[derive(Debug, Default)]
struct Streams {
    opened: u64,
    turns: u64,
    by_server: BTreeMap<ServerName, Stream>,
}

#[derive(Debug)]
struct Stream {
    number: u64,
    heard_at: Timestamp,
    skew: Option<SignedDuration>,
    /// Whom it was asked to look at, and what.
    asked: BTreeMap<ServerName, Sha256>,
    wake: Arc<Notify>,
    displaced: CancellationToken,
}

/// The place of one stream. It is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    connections: Connections,
    server: ServerName,
    number: u64,
    /// Woken when rows about this server may have changed.
    pub wake: Arc<Notify>,
    /// Cancelled when a newer stream of the same server took its place.
    pub displaced: CancellationToken,
}

impl Connections {
    /// Takes the place of a server; an older stream of it is displaced.
    pub fn open(&self, server: &ServerName, now: Timestamp) -> Seat {
        let (wake, displaced) = (Arc::new(Notify::new()), CancellationToken::new());
        let mut streams = self.streams();
        streams.opened += 1;
        streams.turns += 1;
        let number = streams.opened;
        let stream = Stream {
            number,
            heard_at: now,
            skew: None,
            asked: BTreeMap::new(),
            wake: Arc::clone(&wake),
            displaced: displaced.clone(),
        };
        if let Some(old) = streams.by_server.insert(server.clone(), stream) {
            old.displaced.cancel();
        }
        drop(streams);
        Seat { connections: self.clone(), server: server.clone(), number, wake, displaced }
    }

    /// This server has a stream open.
    pub fn is_connected(&self, server: &ServerName) -> bool {
        self.streams().by_server.contains_key(server)
    }

    /// When a connected server last said something.
    pub fn heard_at(&self, server: &ServerName) -> Option<Timestamp> {
        self.streams().by_server.get(server).map(|stream| stream.heard_at)
    }

    /// How far the clock of a connected server is before ours, as it said last; less than nothing when it is behind.
    pub fn skew(&self, server: &ServerName) -> Option<SignedDuration> {
        self.streams().by_server.get(server)?.skew
    }

    /// This peer is asked to look at these, and at no others any more.
    pub fn asks(&self, peer: &ServerName, targets: &[Target]) {
        if let Some(stream) = self.streams().by_server.get_mut(peer) {
            stream.asked = targets.iter().map(|target| (target.server.clone(), target.question)).collect();
        }
    }

    /// Whether this peer was asked this about that server, in the stream that it has open.
    pub fn was_asked(&self, peer: &ServerName, server: &ServerName, question: Sha256) -> bool {
        self.streams().by_server.get(peer).is_some_and(|stream| stream.asked.get(server) == Some(&question))
    }

    /// Those of these servers that have no stream open.
    pub fn away(&self, mut servers: Vec<ServerName>) -> Vec<ServerName> {
        let streams = self.streams();
        servers.retain(|server| !streams.by_server.contains_key(server));
        servers
    }

    /// A number that stays the same as long as nobody comes and nobody goes.
    pub fn turns(&self) -> u64 {
        self.streams().turns
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        self.streams().by_server.len()
    }

    /// Something about this server changed: its stream reads the rows again.
    pub fn wake(&self, server: &ServerName) {
        if let Some(stream) = self.streams().by_server.get(server) {
            stream.wake.notify_one();
        }
    }

    /// Something about all of them changed, such as a document in force.
    pub fn wake_all(&self) {
        for stream in self.streams().by_server.values() {
            stream.wake.notify_one();
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // Nothing that holds it can fail half-way.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The server said something.
    pub fn heard(&self, now: Timestamp) {
        if let Some(stream) = self.connections.streams().by_server.get_mut(&self.server)
            && stream.number == self.number
        {
            stream.heard_at = now;
        }
    }

    /// The server said what time it is there.
    pub fn clock(&self, there: Timestamp, now: Timestamp) {
        if let Some(stream) = self.connections.streams().by_server.get_mut(&self.server)
            && stream.number == self.number
        {
            stream.skew = Some(there.duration_since(now));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut streams = self.connections.streams();
        if streams.by_server.get(&self.server).is_some_and(|stream| stream.number == self.number) {
            streams.by_server.remove(&self.server);
            streams.turns += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ex1() -> ServerName {
        "EX1".parse().expect("a name")
    }

    #[test]
    fn a_newer_stream_displaces_the_older_and_keeps_its_place_when_that_one_goes() {
        let connections = Connections::default();
        let first = connections.open(&ex1(), Timestamp::UNIX_EPOCH);
        let second = connections.open(&ex1(), Timestamp::UNIX_EPOCH);
        assert!(first.displaced.is_cancelled() && !second.displaced.is_cancelled());
        drop(first);
        assert!(connections.is_connected(&ex1()));
        drop(second);
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn what_a_displaced_stream_hears_is_not_taken_for_the_newer_one() {
        let connections = Connections::default();
        let first = connections.open(&ex1(), Timestamp::UNIX_EPOCH);
        let _second = connections.open(&ex1(), Timestamp::UNIX_EPOCH);
        first.heard(Timestamp::MAX);
        assert_eq!(connections.heard_at(&ex1()), Some(Timestamp::UNIX_EPOCH));
    }
}
