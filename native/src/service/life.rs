//! The life of a service as the service control manager is told of it. Pure: what happened and when goes in, what to report comes
//! out.
//!
//! ```text
//!              up, or too long            asked to stop
//!   Starting ───────────────────▶ Running ──────────────▶ Stopping
//!      │ ended                       │ ended                 │ ended, or too long
//!      └─────────────────────────────┴───────────────────────┴──────────▶ Stopped(exit)
//! ```
//!
//! What starts or stops says at each tick that it goes on, by a checkpoint that rises: who does not is taken for hung. A service
//! that starts takes no orders, so one that takes too long is reported as running: a person can stop it then.

use std::time::Duration;

/// How often to report while something is under way.
pub const TICK: Duration = Duration::from_secs(2);

/// By when the manager may expect the next report, with room for a busy machine.
const HINT: Duration = Duration::from_secs(20);

/// The exit code of a service that did not come to its end in time.
pub const TOO_SLOW: u32 = 7;

/// How long what may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// To be up.
    pub start: Duration,
    /// To end after a stop.
    pub stop: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing, for a [`TICK`].
    Tick,
    /// The program does what it is there for.
    Up,
    /// Somebody, or the end of Windows, asks it to stop.
    Stop,
    /// The program has ended: 0, or why.
    Ended(u32),
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not up yet; takes no orders.
    Starting,
    /// Up; takes the order to stop.
    Running,
    /// Was asked to stop.
    Stopping,
    /// Ended: 0, or the service's own exit code.
    Stopped(u32),
}

/// What the manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Where it is.
    pub stage: Stage,
    /// Rises while something is under way, and is 0 otherwise.
    pub checkpoint: u32,
    /// When the next report is to be expected; zero when none is.
    pub wait_hint: Duration,
}

/// The life of one service, from its first report to its last.
#[derive(Debug)]
pub struct Life {
    bounds: Bounds,
    stage: Stage,
    since: Duration,
    checkpoint: u32,
}

impl Life {
    /// It has just been started: that is time zero.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, stage: Stage::Starting, since: Duration::ZERO, checkpoint: 1 }
    }

    /// What there is to say at this moment.
    pub fn report(&self) -> Report {
        let pending = matches!(self.stage, Stage::Starting | Stage::Stopping);
        let (checkpoint, wait_hint) = if pending { (self.checkpoint, HINT) } else { (0, Duration::ZERO) };
        Report { stage: self.stage, checkpoint, wait_hint }
    }

    /// Takes what happened, `now` after the start, and gives what is to be reported; `None` when nothing has changed.
    pub fn handle(&mut self, event: Event, now: Duration) -> Option<Report> {
        let took = now.saturating_sub(self.since);
        let next = match (self.stage, event) {
            (Stage::Stopped(_), _) => return None,
            (_, Event::Ended(exit)) => Stage::Stopped(exit),
            (Stage::Starting, Event::Up) => Stage::Running,
            (Stage::Starting, Event::Tick) if took >= self.bounds.start => Stage::Running,
            (Stage::Stopping, Event::Tick) if took >= self.bounds.stop => Stage::Stopped(TOO_SLOW),
            (Stage::Starting | Stage::Stopping, Event::Tick) => {
                self.checkpoint += 1;
                return Some(self.report());
            }
            (Stage::Starting | Stage::Running, Event::Stop) => Stage::Stopping,
            (Stage::Running, Event::Tick | Event::Up) | (Stage::Stopping, Event::Up | Event::Stop) => return None,
        };
        (self.stage, self.since, self.checkpoint) = (next, now, 1);
        Some(self.report())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { start: Duration::from_secs(60), stop: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The stage and checkpoint of each report, from events and their seconds.
    fn lives(events: &[(u64, Event)]) -> Vec<(Stage, u32)> {
        let mut life = Life::new(BOUNDS);
        let reports = events.iter().filter_map(|(seconds, event)| life.handle(*event, at(*seconds)));
        reports.map(|report| (report.stage, report.checkpoint)).collect()
    }

    #[test]
    fn a_service_that_starts_runs_and_stops_says_so_with_rising_checkpoints() {
        let said = lives(&[
            (2, Event::Tick),
            (4, Event::Tick),
            (5, Event::Up),
            (7, Event::Tick),
            (8, Event::Stop),
            (10, Event::Tick),
            (11, Event::Ended(0)),
            (12, Event::Tick),
        ]);
        let expected = [
            (Stage::Starting, 2),
            (Stage::Starting, 3),
            (Stage::Running, 0),
            (Stage::Stopping, 1),
            (Stage::Stopping, 2),
            (Stage::Stopped(0), 0),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_start_that_takes_too_long_is_reported_as_running_so_that_it_can_be_stopped() {
        let said = lives(&[(59, Event::Tick), (60, Event::Tick), (61, Event::Up), (62, Event::Stop)]);
        assert_eq!(said, [(Stage::Starting, 2), (Stage::Running, 0), (Stage::Stopping, 1)]);
    }

    #[test]
    fn a_stop_that_takes_too_long_ends_with_a_code_of_its_own() {
        let said = lives(&[(1, Event::Up), (100, Event::Stop), (109, Event::Tick), (110, Event::Tick), (111, Event::Ended(0))]);
        assert_eq!(said, [(Stage::Running, 0), (Stage::Stopping, 1), (Stage::Stopping, 2), (Stage::Stopped(TOO_SLOW), 0)]);
    }

    #[test]
    fn whatever_ends_a_service_is_its_exit_code_and_a_second_stop_changes_nothing() {
        assert_eq!(lives(&[(1, Event::Ended(2))]), [(Stage::Stopped(2), 0)]);
        assert_eq!(lives(&[(1, Event::Up), (2, Event::Ended(1))]), [(Stage::Running, 0), (Stage::Stopped(1), 0)]);
        let twice = lives(&[(1, Event::Stop), (2, Event::Stop), (3, Event::Up), (4, Event::Ended(0))]);
        assert_eq!(twice, [(Stage::Stopping, 1), (Stage::Stopped(0), 0)]);
    }

    #[test]
    fn the_next_report_comes_long_before_it_is_missed() {
        let mut life = Life::new(BOUNDS);
        assert!(life.report().wait_hint > TICK * 5);
        assert_eq!(life.handle(Event::Up, at(1)).map(|report| report.wait_hint), Some(Duration::ZERO));
    }
}
