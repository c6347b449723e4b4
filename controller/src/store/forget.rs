//! What is old is forgotten: past reports, ended plans with all that was said to them, join tokens that nobody can use any more. Never the
//! audit trail: it is whole from its first entry, or it proves nothing.

use policy::Timestamp;
use policy::duration::Span;
use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::micros;
use crate::audit::Actor;
use crate::config::Keep;

/// Rows of one transaction: nobody waits long behind it.
const AT_ONCE: i64 = 200;

/// Transactions of one go. What is left is for the next day.
const GOES: u32 = 500;

/// A used or expired token is kept so long, for whoever asks who joined by it; the audit trail knows it for ever.
const TOKENS: Span = Span::days(30);

/// How much was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Past reports; the newest of a server is never one of them.
    pub reports: u64,
    /// Plans that ended, but for the last of each server.
    pub plans: u64,
    /// Join tokens.
    pub tokens: u64,
}

impl Store {
    /// Forgets what is older than `keep` says at `now`, a bounded piece at a time, and tells in the audit trail how much it was.
    ///
    /// # Errors
    /// [`StoreError`]; what was forgotten until then stays so.
    pub async fn forget(&self, keep: Keep, now: Timestamp) -> Result<Forgotten, StoreError> {
        let Keep { reports, plans } = keep;
        let (reports, plans, tokens) = (reports.before(now), plans.before(now), TOKENS.before(now));
        let mut forgotten = Forgotten::default();
        for _ in 0..GOES {
            let piece = self
                .writer()
                .write(move |connection| Box::pin(async move { piece(connection, reports, plans, tokens).await }))
                .await?;
            forgotten.reports += piece.reports;
            forgotten.plans += piece.plans;
            forgotten.tokens += piece.tokens;
            if piece == Forgotten::default() {
                break;
            }
        }
        if forgotten != Forgotten::default() {
            let Forgotten { reports, plans, tokens } = forgotten;
            let detail = json!({"reports": reports, "plans": plans, "tokens": tokens});
            self.tell(Actor::Controller, "store.forgot", self.estate().to_string(), detail, now).await?;
        }
        Ok(forgotten)
    }
}

/// A piece of the plans that are old. The last of a server is none: it says how its group's wave stands, and which facts were turned down.
macro_rules! old_plans {
    () => {
        "SELECT old.id FROM plans AS old
         WHERE old.changed_at < $1 AND old.life IN ('confirmed', 'undone', 'failed', 'refused', 'superseded', 'expired', 'withdrawn', 'abandoned')
           AND EXISTS (SELECT 1 FROM plans AS newer WHERE newer.server = old.server AND newer.created_at > old.created_at)
         ORDER BY old.changed_at, old.id LIMIT $2"
    };
}

async fn piece(
    connection: &mut AnyConnection,
    reports: Timestamp,
    plans: Timestamp,
    tokens: Timestamp,
) -> Result<Forgotten, StoreError> {
    let (reports_before, said_before) = (reports, tokens);
    let reports = delete(
        connection,
        "DELETE FROM history WHERE (server, epoch, counter) IN (
           SELECT old.server, old.epoch, old.counter FROM history AS old
           WHERE old.recorded_at < $1 AND EXISTS (SELECT 1 FROM history AS newer WHERE newer.server = old.server AND newer.recorded_at > old.recorded_at)
           ORDER BY old.recorded_at LIMIT $2)",
        reports,
    )
    .await?;
    // The plans themselves last: by them the others are found.
    delete(connection, concat!("DELETE FROM approvals WHERE plan IN (", old_plans!(), ")"), plans).await?;
    delete(connection, concat!("DELETE FROM receipts WHERE plan IN (", old_plans!(), ")"), plans).await?;
    let plans = delete(connection, concat!("DELETE FROM plans WHERE id IN (", old_plans!(), ")"), plans).await?;
    let tokens = delete(
        connection,
        "DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        tokens,
    )
    .await?;
    delete(
        connection,
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE made_at < $1 AND (sent_at IS NOT NULL OR given_up_at IS NOT NULL) ORDER BY made_at LIMIT $2)",
        said_before,
    )
    .await?;
    delete(
        connection,
        "DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE resolved_at < $1 ORDER BY opened_at LIMIT $2)",
        reports_before,
    )
    .await?;
    Ok(Forgotten { reports, plans, tokens })
}

async fn delete(connection: &mut AnyConnection, sql: &'static str, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(sql).bind(micros(before)).bind(AT_ONCE).execute(connection).await.doing("forgetting what is old")?;
    Ok(done.rows_affected())
}
