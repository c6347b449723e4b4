//! The audit trail in the database. [`tell`] is called inside the transaction of the change that it tells of.

use policy::Timestamp;
use serde_json::Value;
use sqlx::AnyConnection;

use super::error::{Doing, StoreError};
use super::row::{Columns, count, micros};
use super::{Store, page};
use crate::audit::{Actor, Entry, Head};

/// Adds the next link.
pub(super) async fn tell(
    connection: &mut AnyConnection,
    at: Timestamp,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    // The update comes first: it holds the row until the commit, so that nobody else adds a link to the same end.
    let row = sqlx::query("UPDATE audit_head SET sequence = sequence + 1 WHERE one = 1 RETURNING sequence - 1 AS sequence, hash")
        .fetch_one(&mut *connection)
        .await
        .doing("finding the end of the audit trail")?;
    let columns = Columns(&row);
    let head = Head { sequence: columns.number("sequence")?, hash: columns.parsed("hash")? };
    let entry = Entry::after(head, at, actor, action, subject, detail.to_string());
    sqlx::query(
        "INSERT INTO audit (sequence, at, actor, action, subject, detail, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(count(entry.sequence))
    .bind(micros(entry.at))
    .bind(entry.actor.as_str())
    .bind(entry.action.as_str())
    .bind(entry.subject.as_str())
    .bind(entry.detail.as_str())
    .bind(entry.previous.to_string())
    .bind(entry.hash.to_string())
    .execute(&mut *connection)
    .await
    .doing("adding to the audit trail")?;
    sqlx::query("UPDATE audit_head SET hash = $1 WHERE one = 1")
        .bind(entry.hash.to_string())
        .execute(connection)
        .await
        .doing("moving the end of the audit trail")?;
    Ok(())
}

/// Entries behind sequence number `after`, oldest first.
pub(super) async fn entries<'e>(
    from: impl sqlx::Executor<'e, Database = sqlx::Any>,
    after: u64,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query(
        "SELECT sequence, at, actor, action, subject, detail, previous, hash FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2",
    )
    .bind(count(after))
    .bind(page(limit))
    .fetch_all(from)
    .await
    .doing("reading the audit trail")?;
    rows.iter()
        .map(|row| {
            let row = Columns(row);
            Ok(Entry {
                sequence: row.number("sequence")?,
                at: row.time("at")?,
                actor: row.text("actor")?,
                action: row.text("action")?,
                subject: row.text("subject")?,
                detail: row.text("detail")?,
                previous: row.parsed("previous")?,
                hash: row.parsed("hash")?,
            })
        })
        .collect()
}

impl Store {
    /// Entries behind sequence number `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(&self, after: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        entries(self.readers(), after, limit).await
    }

    /// Where the trail ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_head(&self) -> Result<Head, StoreError> {
        let row = sqlx::query("SELECT sequence, hash FROM audit_head WHERE one = 1")
            .fetch_one(self.readers())
            .await
            .doing("reading the end of the audit trail")?;
        let row = Columns(&row);
        Ok(Head { sequence: row.number("sequence")?, hash: row.parsed("hash")? })
    }

    /// Tells of something that changed nothing else, such as a refusal.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell(
        &self,
        actor: Actor,
        action: &'static str,
        subject: String,
        detail: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| Box::pin(async move { tell(connection, now, &actor, action, &subject, detail).await }))
            .await
    }
}
