//! Between the service control manager and a program: orders in, reports out. What to report is [`life`](super::life)'s to say.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use super::ServiceError;
use super::life::{Bounds, Event, Life, Stage, TICK};
use crate::Code;
use crate::ffi::control::{Reporter, dispatch};

/// How a program says that it does what it is there for.
#[derive(Debug, Clone)]
pub struct Up(Sender<Event>);

impl Up {
    /// It does; from now on the service is running. Said again, it changes nothing.
    pub fn is_up(&self) {
        // Nobody listens when the service has stopped meanwhile.
        let _ = self.0.send(Event::Up);
    }
}

/// Runs this process as the service of that name, until `work` has ended or took too long to stop; then the process is to end
/// too. `stop` is called at the first order to stop, `work` on a thread of its own; what it gives is the service's exit code, 0
/// when all is well.
///
/// # Errors
/// [`ServiceError::Console`] when the manager did not start this process, [`ServiceError::Refused`] when it does not listen.
pub fn run(
    name: &'static str,
    bounds: Bounds,
    stop: impl Fn() + Send + 'static,
    work: impl FnOnce(Up) -> u32 + Send + 'static,
) -> Result<(), ServiceError> {
    let main = move || {
        if let Err(code) = live(name, bounds, stop, work) {
            tracing::error!(service = name, %code, "the service control manager does not listen");
        }
    };
    dispatch(name, Box::new(main)).map_err(|code| match code {
        Code::NO_MANAGER => ServiceError::Console { name },
        code => ServiceError::Refused { name, call: "StartServiceCtrlDispatcher", code },
    })
}

#[expect(clippy::disallowed_methods, reason = "the shell around the life of a service: the one place where it reads the clock")]
fn live(name: &str, bounds: Bounds, stop: impl Fn(), work: impl FnOnce(Up) -> u32 + Send + 'static) -> Result<(), Code> {
    let born = Instant::now();
    let (tell, events) = mpsc::channel();
    let reporter = Reporter::register(name, tell.clone())?;
    let mut life = Life::new(bounds);
    reporter.report(&life.report())?;
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let exit = work(Up(tell.clone()));
        let _ = tell.send(Event::Ended(exit));
    });
    if started.is_err() {
        // No thread: ended before it began.
        return life.handle(Event::Ended(1), born.elapsed()).map_or(Ok(()), |report| reporter.report(&report));
    }
    loop {
        let event = match events.recv_timeout(TICK) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Event::Tick,
        };
        let Some(report) = life.handle(event, born.elapsed()) else { continue };
        match (report.stage, event) {
            // Before it is reported: what is done on it takes no time, and the manager may wait for the report.
            (Stage::Stopping, Event::Stop) => stop(),
            (Stage::Running, Event::Tick) => {
                tracing::warn!(service = name, "starting takes long; it is reported as running, so that it can be stopped");
            }
            (Stage::Stopped(_), Event::Tick) => {
                tracing::error!(
                    service = name,
                    "stopping took too long: it is left as it stands, and the next start takes it up"
                );
            }
            _ => {}
        }
        reporter.report(&report)?;
        if matches!(report.stage, Stage::Stopped(_)) {
            return Ok(());
        }
    }
}
