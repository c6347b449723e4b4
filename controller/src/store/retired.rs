//! A server that is no more: nobody speaks for it, and what was known of it is forgotten.

use policy::Timestamp;
use policy::id::ServerName;
use policy::life::{Event, Life};
use serde_json::json;
use sqlx::AnyConnection;

use super::error::{Doing, StoreError};
use super::plans::{advance, not_ended};
use super::row::micros;
use super::trail::tell;
use super::{Store, standings};
use crate::audit::Actor;

/// Where something is told of a server.
const FORGET: [&str; 8] = [
    "DELETE FROM servers WHERE name = $1",
    "DELETE FROM reports WHERE server = $1",
    "DELETE FROM history WHERE server = $1",
    "DELETE FROM checkups WHERE server = $1",
    "DELETE FROM peer_checks WHERE server = $1 OR peer = $1",
    "DELETE FROM stopped WHERE server = $1",
    "DELETE FROM awaited WHERE server = $1",
    "DELETE FROM tokens WHERE server = $1",
];

impl Store {
    /// A person takes a server out of the estate: whoever spoke for it is evicted, plans that did not begin are withdrawn, and what was
    /// reported is forgotten. Plans, receipts and the audit trail stay; a banned name stays banned.
    ///
    /// # Errors
    /// [`StoreError::NoServer`]; [`StoreError::UnderWay`] while the fate of a plan is open.
    pub async fn retire(&self, server: &ServerName, reason: String, by: Actor, now: Timestamp) -> Result<(), StoreError> {
        let server = server.clone();
        self.writer().write(move |connection| Box::pin(async move { retire(connection, server, &reason, &by, now).await })).await
    }
}

async fn retire(
    connection: &mut AnyConnection,
    server: ServerName,
    reason: &str,
    by: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut ended = Vec::new();
    for plan in not_ended(connection, &server).await? {
        if plan.life.in_flight() {
            return Err(StoreError::UnderWay { server, plan: plan.id });
        }
        let event = if plan.life == Life::Restored { Event::Abandon } else { Event::Withdraw };
        advance(connection, &plan, event, &format!("the server was retired: {reason}"), now).await?;
        ended.push(plan.id);
    }
    let evicted = sqlx::query(
        "UPDATE identities SET state = 'evicted', why = $2, changed_at = $3 WHERE server = $1 AND state NOT IN ('evicted', 'banned')",
    )
    .bind(server.as_str())
    .bind(reason)
    .bind(micros(now))
    .execute(&mut *connection)
    .await
    .doing("sending the machines of a server away")?
    .rows_affected();
    standings::end(connection, &server, now).await?;
    let mut forgotten = 0;
    for sql in FORGET {
        let done = sqlx::query(sql).bind(server.as_str()).execute(&mut *connection).await.doing("forgetting a server")?;
        forgotten += done.rows_affected();
    }
    if evicted + forgotten == 0 {
        return Err(StoreError::NoServer(server));
    }
    let detail = json!({"reason": reason, "evicted": evicted, "ended": ended});
    tell(connection, now, by, "server.retired", server.as_str(), detail).await
}
