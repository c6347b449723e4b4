//! The one writer (docs/decisions/0006-one-writer.md): takes what waits, writes it in one transaction, and answers only after the commit.
//!
//! A hundred reports that arrive together cost one flush to disk. Each write stands in its own savepoint, so that a refused one
//! takes nothing with it; when the database itself fails, the whole batch is taken back and everybody is told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::AnyConnection;
use sqlx::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::error::{Doing, StoreError};

/// The most writes of one transaction.
const BATCH: usize = 100;

/// The most writes that wait. Whoever comes later waits to be let in.
const QUEUE: usize = 1000;

/// A write under way.
pub(super) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

/// The way to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    commits: Arc<AtomicU64>,
    /// What is written is taken back again.
    trial: bool,
}

impl Writer {
    /// The writer, and the task that does its work until `stop`, after which what waits is still written.
    pub(super) fn new(connection: AnyConnection, stop: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        (Self { jobs, commits: Arc::clone(&commits), trial: false }, run(connection, waiting, commits, stop))
    }

    /// The way to the same writer, by which everything is done and taken back again before it is answered.
    pub(super) fn trial(&self) -> Self {
        Self { trial: true, ..self.clone() }
    }

    /// Whether it is that one.
    pub(super) fn is_trial(&self) -> bool {
        self.trial
    }

    /// How many transactions were committed since the start: while it stays the same, so do the rows.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Does `work` in a transaction. When this returns, it is on disk or nothing of it is.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Write { work: Some(work), trial: self.trial, result: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

trait Job: Send {
    /// Does it; a failure of the database itself is handed back.
    fn work<'c>(&'c mut self, connection: &'c mut AnyConnection) -> Pin<Box<dyn Future<Output = Done> + Send + 'c>>;
    /// Tells whoever waits.
    fn answer(self: Box<Self>, committed: Result<(), Arc<StoreError>>);
}

enum Done {
    Kept,
    /// It was refused, or only tried.
    TakenBack,
    Failed(Arc<StoreError>),
}

struct Write<T, F> {
    work: Option<F>,
    trial: bool,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
{
    fn work<'c>(&'c mut self, connection: &'c mut AnyConnection) -> Pin<Box<dyn Future<Output = Done> + Send + 'c>> {
        let work = self.work.take();
        Box::pin(async move {
            let Some(work) = work else { return Done::TakenBack };
            match work(connection).await {
                Ok(value) => {
                    self.result = Some(Ok(value));
                    if self.trial { Done::TakenBack } else { Done::Kept }
                }
                Err(error) if error.is_failure() => Done::Failed(Arc::new(error)),
                Err(error) => {
                    self.result = Some(Err(error));
                    Done::TakenBack
                }
            }
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), Arc<StoreError>>) {
        let answer = match (committed, self.result) {
            // A refusal holds whether or not the others were committed.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed),
            (Err(why), Some(Ok(_)) | None) => Err(StoreError::NotCommitted(why)),
        };
        // Whoever asked may have gone; the write stands all the same.
        drop(self.reply.send(answer));
    }
}

async fn run(
    mut connection: AnyConnection,
    mut waiting: mpsc::Receiver<Box<dyn Job>>,
    commits: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            biased;
            job = waiting.recv() => job,
            () = stop.cancelled() => {
                waiting.close();
                waiting.recv().await
            }
        };
        let Some(first) = first else { break };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(job) = waiting.try_recv()
        {
            batch.push(job);
        }
        let span = tracing::debug_span!("commit", writes = batch.len());
        let committed = transact(&mut connection, &mut batch).instrument(span).await;
        commits.fetch_add(1, Ordering::Release);
        if let Err(why) = &committed {
            let error: &dyn std::error::Error = why.as_ref();
            tracing::error!(
                event = crate::event::STORE_FAILED.id,
                writes = batch.len(),
                error,
                "a transaction was not committed"
            );
        }
        for job in batch {
            job.answer(committed.clone());
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the writer's connection did not close well");
    }
}

async fn transact(connection: &mut AnyConnection, batch: &mut [Box<dyn Job>]) -> Result<(), Arc<StoreError>> {
    // Not deferred: a transaction that reads first and writes later fails when another process wrote in between.
    execute(connection, "BEGIN IMMEDIATE", "beginning a transaction").await?;
    match savepoints(connection, batch).await {
        Ok(()) => Ok(()),
        Err(why) => {
            // The database may have taken it back already, as SQLite does when the disk is full.
            if let Err(error) = execute(connection, "ROLLBACK", "taking a transaction back").await {
                tracing::debug!(error = error.as_ref() as &dyn std::error::Error, "nothing to take back");
            }
            Err(why)
        }
    }
}

async fn savepoints(connection: &mut AnyConnection, batch: &mut [Box<dyn Job>]) -> Result<(), Arc<StoreError>> {
    for job in batch.iter_mut() {
        execute(connection, "SAVEPOINT one_write", "marking a write").await?;
        match job.work(connection).await {
            Done::Kept => {}
            Done::TakenBack => execute(connection, "ROLLBACK TO SAVEPOINT one_write", "taking a write back").await?,
            Done::Failed(why) => return Err(why),
        }
        execute(connection, "RELEASE SAVEPOINT one_write", "ending a write").await?;
    }
    execute(connection, "COMMIT", "committing").await
}

async fn execute(connection: &mut AnyConnection, sql: &'static str, doing: &'static str) -> Result<(), Arc<StoreError>> {
    sqlx::query(sql).execute(connection).await.doing(doing).map(drop).map_err(Arc::new)
}
