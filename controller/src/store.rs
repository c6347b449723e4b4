//! What the controller knows, on disk: verbs of our language over one SQL database.
//!
//! * A verb that returned without an error is on disk. One that returned an error changed nothing.
//! * All writes go through one writer that puts what waits into one transaction (`writer`); reads have a small pool.
//! * Whatever changes something tells it in the audit trail in the same transaction (`trail`).
//! * Updates are guarded by what they expect to find, so that they hold whoever else writes.
//!
//! Rows are private structs beside their queries; what comes out are domain types.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use policy::Timestamp;
use policy::id::EstateName;
use sqlx::AnyPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod backup;
mod browsers;
mod certificates;
mod checkups;
mod conclude;
mod documents;
mod error;
pub mod forget;
mod identities;
mod incidents;
mod open;
mod outbox;
mod peers;
mod plans;
mod receipts;
mod restored;
mod retired;
mod row;
mod scene;
mod servers;
mod standings;
mod stops;
mod tokens;
mod trail;
mod ways_in;
mod writer;

pub use browsers::{Browser, Via};
pub use checkups::Checkups;
pub use conclude::Conclude;
pub use documents::Document;
pub use error::StoreError;
pub use identities::{Forgotten, Identity, IdentityState, Knock};
pub use incidents::{Ears, Incident, Wanting};
pub use outbox::{ChannelState, Message};
pub use peers::{Lookers, Witnessed};
pub use plans::{Offer, PlanCursor, PlanFilter, PlanRow, StoredApproval};
pub use receipts::{Settled, settled};
pub use restored::{Adopted, Awaited, Restore};
pub use scene::{Near, Neighbour, PlanSeen, Scene, Trouble};
pub use servers::{Held, Judged, Listed, Recorded, Recording, ServerRow, Troubled};
pub use standings::{Alone, Change, ChangeCursor, Done, HeldAt, Standing, Stood};
pub use stops::StopRow;
pub use tokens::MAX_TTL_SECONDS;
pub use trail::TrailFilter;
pub use ways_in::{ApiToken, Password, WaysIn};

use error::Doing as _;
use row::Columns;
use writer::Writer;

/// The most rows of one page.
pub const MAX_PAGE: u32 = 1000;

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    writer: Writer,
}

struct Inner {
    estate: EstateName,
    readers: AnyPool,
    tasks: TaskTracker,
    stop: CancellationToken,
    _lock: File,
}

impl Store {
    /// Opens the database file at `path` for this estate, made when it is not there and brought up to date when it is older.
    ///
    /// # Errors
    /// [`StoreError`] when another controller has it open, when it is a foreign database, a newer one, or another estate's.
    pub async fn open(path: &Path, estate: &EstateName, now: Timestamp) -> Result<Self, StoreError> {
        let opened = open::open(path, estate, now).await?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (writer, work) = Writer::new(opened.writer, stop.clone());
        tasks.spawn(work);
        tasks.close();
        let inner = Inner { estate: estate.clone(), readers: opened.readers, tasks, stop, _lock: opened.lock };
        Ok(Self { inner: Arc::new(inner), writer })
    }

    /// The same store, by which every verb is judged and answered as it would be, and changes nothing.
    pub fn trial(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), writer: self.writer.trial() }
    }

    /// Whether it is that one: then nothing has happened that is worth telling.
    pub fn is_trial(&self) -> bool {
        self.writer.is_trial()
    }

    /// Writes what waits, then closes. Verbs that are called later say so.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.wait().await;
        self.inner.readers.close().await;
    }

    /// How large the database is, in bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bytes(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()")
            .fetch_one(self.readers())
            .await
            .doing("reading how large the store is")?;
        Columns(&row).number("bytes")
    }

    /// The estate.
    pub fn estate(&self) -> &EstateName {
        &self.inner.estate
    }

    /// A number that stays the same as long as the rows do.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    fn writer(&self) -> &Writer {
        &self.writer
    }

    fn readers(&self) -> &AnyPool {
        &self.inner.readers
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.estate)
    }
}

/// A page size within its bounds.
fn page(limit: u32) -> i64 {
    i64::from(limit.clamp(1, MAX_PAGE))
}

#[cfg(test)]
mod tests;
