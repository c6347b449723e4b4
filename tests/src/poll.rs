//! Looks at 444 all the time while something happens to it, from outside: what was shown, and for how long nothing was.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::outside::{self, Shown};
use crate::wait;

/// Between two looks.
const BEAT: Duration = Duration::from_millis(4);

/// A poll that goes on until it is asked what it saw.
#[derive(Debug)]
pub struct Poll {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What a poll saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many handshakes took place.
    pub handshakes: u32,
    /// How many did not.
    pub refusals: u32,
    /// The longest time for which 444 certainly refused: from the end of the first refused look in a row to the begin of the
    /// last. What lies between two refused looks was no service; how long it lasted beyond them nobody saw.
    pub longest: Duration,
    /// Thumbprints in the order in which they appeared, without repetition in a row.
    pub shown: Vec<String>,
    /// What the first refusal said.
    pub first_refusal: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handshakes, refusals, longest, shown, first_refusal: _ } = self;
        let shown: Vec<&str> = shown.iter().map(|thumbprint| thumbprint.get(..8).unwrap_or(thumbprint)).collect();
        write!(f, "{handshakes} handshakes show {}; ", shown.join(", then "))?;
        match refusals {
            0 => write!(f, "none was refused"),
            1 => write!(f, "1 was refused"),
            _ => write!(f, "{refusals} were refused, over {:.1} ms", longest.as_secs_f64() * 1000.0),
        }
    }
}

impl Poll {
    /// Begins to look.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            let mut refused_since = None;
            while !stopped.load(Ordering::Relaxed) {
                look(address, &mut seen, &mut refused_since);
                wait::beat(BEAT);
            }
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends, and says what was seen.
    ///
    /// # Errors
    /// When the poll broke.
    pub fn end(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| anyhow!("the poll has ended"))?;
        thread.join().map_err(|_| anyhow!("the poll panicked"))
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look(address: SocketAddr, seen: &mut Seen, refused_since: &mut Option<Instant>) {
    let begin = Instant::now();
    match outside::handshake(address).and_then(|der| Shown::of_der(&der)) {
        Ok(shown) => {
            seen.handshakes += 1;
            *refused_since = None;
            if seen.shown.last() != Some(&shown.thumbprint) {
                seen.shown.push(shown.thumbprint);
            }
        }
        Err(error) => {
            seen.refusals += 1;
            let since = *refused_since.get_or_insert_with(Instant::now);
            seen.longest = seen.longest.max(begin.saturating_duration_since(since));
            seen.first_refusal.get_or_insert_with(|| format!("{error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_where_nobody_listens_is_refused_all_the_time() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let poll = Poll::start(address);
        wait::throughout(Duration::from_millis(100), || Ok(())).unwrap();
        let seen = poll.end().unwrap();
        assert!(seen.refusals > 1 && seen.handshakes == 0 && seen.longest > Duration::ZERO, "{seen:?}");
        assert!(seen.first_refusal.unwrap().contains("does not answer"));
    }
}
