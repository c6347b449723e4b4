//! The workbench behind the main loop: it works on a blocking thread, one job at a time, and nobody else touches it then.

use policy::Timestamp;
use policy::id::PlanId;
use policy::receipt::Receipt;
use proto::signed::SignedBytes;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::work::{By, CalledOff, Look, Standing, WorkError, Workbench};

/// A job that was done.
#[derive(Debug)]
pub(crate) enum Done {
    /// The host was looked at.
    Looked(Result<Box<Look>, WorkError>),
    /// An open run was taken up and ended, if there was one.
    Recovered(Result<Option<Receipt>, WorkError>),
    /// A plan ran, or was refused.
    Ran(Receipt),
}

/// The workbench and what it is doing.
pub(crate) struct Bench {
    place: Place,
    called_off: CalledOff,
    begun: watch::Receiver<Option<PlanId>>,
}

enum Place {
    Free(Box<Workbench>),
    Taken(JoinHandle<(Box<Workbench>, Done)>),
    /// The thread that had it is gone.
    Lost,
}

impl Bench {
    /// A workbench that is free.
    pub(crate) fn new(mut workbench: Workbench) -> Self {
        let (tell, begun) = watch::channel(None);
        workbench.on_begin(move |plan| {
            tell.send_replace(Some(plan));
        });
        let called_off = workbench.called_off();
        Self { place: Place::Free(Box::new(workbench)), called_off, begun }
    }

    /// The workbench, when it has nothing to do.
    pub(crate) fn free(&mut self) -> Option<&mut Workbench> {
        match &mut self.place {
            Place::Free(workbench) => Some(workbench),
            Place::Taken(_) | Place::Lost => None,
        }
    }

    /// Begins to look at the host. Nothing, when the workbench is taken.
    pub(crate) fn look(&mut self, standing: Standing, now: Timestamp) {
        self.take(move |workbench| Done::Looked(workbench.look(&standing.policy, now).map(Box::new)));
    }

    /// Begins to take up an open run. Nothing, when the workbench is taken.
    pub(crate) fn recover(&mut self, standing: Standing, clock: fn() -> Timestamp) {
        self.take(move |workbench| Done::Recovered(workbench.recover(&standing, &clock)));
    }

    /// Begins a plan: the agent's own, or one with approvals by persons. Nothing, when the workbench is taken.
    pub(crate) fn run(
        &mut self,
        plan: Vec<u8>,
        approvals: Option<Vec<SignedBytes>>,
        standing: Standing,
        clock: fn() -> Timestamp,
    ) {
        self.take(move |workbench| {
            let by = approvals.as_deref().map_or(By::Standing, By::Approvals);
            Done::Ran(workbench.run(&plan, by, &standing, &clock))
        });
    }

    /// Lets this plan, which is at work, turn back, as long as it has not swapped.
    pub(crate) fn call_off(&self, plan: PlanId) {
        self.called_off.set(plan);
    }

    /// The end of the job; never, while there is none. May be dropped and asked again.
    ///
    /// # Errors
    /// [`JoinError`] when the job panicked: the workbench is lost, and only a new start takes the journal up.
    pub(crate) async fn done(&mut self) -> Result<Done, JoinError> {
        let Place::Taken(job) = &mut self.place else { return std::future::pending().await };
        let ended = job.await;
        self.place = Place::Lost;
        let (workbench, done) = ended?;
        self.place = Place::Free(workbench);
        Ok(done)
    }

    /// Names the last plan that was admitted and has begun.
    pub(crate) fn begun(&self) -> watch::Receiver<Option<PlanId>> {
        self.begun.clone()
    }

    fn take(&mut self, job: impl FnOnce(&mut Workbench) -> Done + Send + 'static) {
        self.place = match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Free(mut workbench) => Place::Taken(spawn_blocking(move || {
                let done = job(&mut workbench);
                (workbench, done)
            })),
            other @ (Place::Taken(_) | Place::Lost) => other,
        };
    }
}
