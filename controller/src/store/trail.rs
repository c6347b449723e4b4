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

/// Which entries, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrailFilter {
    /// Only those with a larger sequence number.
    pub after: u64,
    /// Only those with a smaller one.
    pub before: Option<u64>,
    /// Only those in whose actor, action, subject or detail this stands; capitals of ASCII do not matter. Empty for all.
    pub contains: String,
    /// The newest first.
    pub newest_first: bool,
}

/// Entries behind sequence number `after`, oldest first.
pub(super) async fn entries<'e>(
    from: impl sqlx::Executor<'e, Database = sqlx::Any>,
    after: u64,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    found(from, &TrailFilter { after, ..TrailFilter::default() }, limit).await
}

/// By sequence number, which is the table's own order: what is not looked through costs nothing.
const UP: &str = "SELECT sequence, at, actor, action, subject, detail, previous, hash FROM audit WHERE sequence > $1 AND sequence < $2
   AND ($3 = '%%' OR actor LIKE $3 ESCAPE '!' OR action LIKE $3 ESCAPE '!' OR subject LIKE $3 ESCAPE '!' OR detail LIKE $3 ESCAPE '!')
   ORDER BY sequence LIMIT $4";
const DOWN: &str = "SELECT sequence, at, actor, action, subject, detail, previous, hash FROM audit WHERE sequence > $1 AND sequence < $2
   AND ($3 = '%%' OR actor LIKE $3 ESCAPE '!' OR action LIKE $3 ESCAPE '!' OR subject LIKE $3 ESCAPE '!' OR detail LIKE $3 ESCAPE '!')
   ORDER BY sequence DESC LIMIT $4";

async fn found<'e>(
    from: impl sqlx::Executor<'e, Database = sqlx::Any>,
    TrailFilter { after, before, contains, newest_first }: &TrailFilter,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let like: String =
        contains.chars().flat_map(|c| matches!(c, '%' | '_' | '!').then_some('!').into_iter().chain([c])).collect();
    let rows = sqlx::query(if *newest_first { DOWN } else { UP })
        .bind(count(*after))
        .bind(before.map_or(i64::MAX, count))
        .bind(format!("%{like}%"))
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

    /// Entries that were asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_found(&self, filter: &TrailFilter, limit: u32) -> Result<Vec<Entry>, StoreError> {
        found(self.readers(), filter, limit).await
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
