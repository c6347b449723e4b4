//! A store that was put back from a backup (TRUST T11): whom it has not heard since, and what agents tell it of what it forgot.

use policy::Timestamp;
use policy::id::ServerName;
use policy::stop::{MAX_STOPS, Stop, StopId};
use serde_json::json;
use sqlx::AnyConnection;

use super::documents::{adopt_policy, adopt_trust};
use super::error::{Doing, StoreError};
use super::row::{Columns, micros};
use super::trail::tell;
use super::{MAX_PAGE, Store};
use crate::audit::{Actor, Head};
use crate::session::Remembered;
use crate::status::chain;

/// A server that was not heard since the store was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Which.
    pub server: ServerName,
    /// Since when.
    pub since: Timestamp,
}

/// The last time that the store was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// When.
    pub at: Timestamp,
    /// When the backup was made; `None` when it was no backup of ours.
    pub made_at: Option<Timestamp>,
    /// Where the audit trail ended in it.
    pub head: Head,
}

/// What a store took from an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// What is in force here now and was not before, in words.
    pub taken: Vec<String>,
    /// What was not taken, and why not.
    pub refused: Vec<String>,
    /// The entries of the audit trail that were lost with the old store, the first and the last, as far as this agent saw it.
    pub lost: Option<(u64, u64)>,
}

impl Store {
    /// Servers that were not heard since the store was put back, by name; the first thousand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn awaited(&self) -> Result<Vec<Awaited>, StoreError> {
        let rows = sqlx::query("SELECT server, since FROM awaited ORDER BY server LIMIT $1")
            .bind(i64::from(MAX_PAGE))
            .fetch_all(self.readers())
            .await
            .doing("reading who is awaited")?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                Ok(Awaited { server: row.parsed("server")?, since: row.time("since")? })
            })
            .collect()
    }

    /// Whether this server was not heard since the store was put back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn awaits(&self, server: &ServerName) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT since FROM awaited WHERE server = $1")
            .bind(server.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("reading who is awaited")?;
        Ok(row.is_some())
    }

    /// The last time that the store was put back; `None` when it never was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_restore(&self) -> Result<Option<Restore>, StoreError> {
        let row = sqlx::query("SELECT at, made_at, sequence, hash FROM restores ORDER BY at DESC LIMIT 1")
            .fetch_optional(self.readers())
            .await
            .doing("reading when the store was put back")?;
        row.map(|row| {
            let row = Columns(&row);
            let head = Head { sequence: row.number("sequence")?, hash: row.parsed("hash")? };
            Ok(Restore { at: row.time("at")?, made_at: row.time_if_any("made_at")?, head })
        })
        .transpose()
    }

    /// Takes what an agent holds and this store does not, as far as it proves itself, and awaits that server no longer. `seen`: where the
    /// agent saw the audit trail end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn adopt(
        &self,
        server: &ServerName,
        remembered: Remembered,
        seen: Option<Head>,
        now: Timestamp,
    ) -> Result<Adopted, StoreError> {
        let (server, estate) = (server.clone(), self.estate().clone());
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let Remembered { trust, policy, stops } = remembered;
                    let by = Actor::Agent(server.clone());
                    let mut adopted = Adopted::default();
                    adopted.note("trust document", adopt_trust(connection, &trust, &by, now).await)?;
                    if let Some(policy) = policy {
                        adopted.note("policy", adopt_policy(connection, &policy, &by, now).await)?;
                    }
                    for body in stops {
                        let stop = Stop::from_bytes(&body).ok().filter(|stop| stop.estate == estate && stop.covers(&server));
                        match stop {
                            Some(stop) => adopted.note("emergency stop", adopt_stop(connection, &stop, &by, now).await)?,
                            None => {
                                adopted.refused.push("emergency stop: expected one of this estate that holds the host".to_owned())
                            }
                        }
                    }
                    adopted.lost = lost(connection, seen).await?;
                    if await_no_longer(connection, &server).await? || !adopted.taken.is_empty() {
                        let Adopted { taken, refused, lost } = &adopted;
                        let detail = json!({"taken": taken, "refused": refused, "lost": lost});
                        tell(connection, now, &by, "agent.remembered", server.as_str(), detail).await?;
                    }
                    Ok(adopted)
                })
            })
            .await
    }

    /// A person decides not to wait for what a server has to tell.
    ///
    /// # Errors
    /// [`StoreError::NotAwaited`].
    pub async fn go_without(&self, server: &ServerName, reason: String, by: Actor, now: Timestamp) -> Result<(), StoreError> {
        let server = server.clone();
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    if !await_no_longer(connection, &server).await? {
                        return Err(StoreError::NotAwaited(server));
                    }
                    tell(connection, now, &by, "agent.gone_without", server.as_str(), json!({"reason": reason})).await
                })
            })
            .await
    }
}

impl Adopted {
    /// A document that does not prove itself is left where it is; only a database that fails ends everything.
    fn note(&mut self, what: &str, adopted: Result<bool, StoreError>) -> Result<(), StoreError> {
        match adopted {
            Ok(true) => self.taken.push(what.to_owned()),
            Ok(false) => {}
            Err(error) if error.is_failure() => return Err(error),
            Err(error) => self.refused.push(format!("{what}: {}", chain(&error))),
        }
        Ok(())
    }
}

/// True when it was awaited.
pub(super) async fn await_no_longer(connection: &mut AnyConnection, server: &ServerName) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM awaited WHERE server = $1")
        .bind(server.as_str())
        .execute(connection)
        .await
        .doing("awaiting a server no longer")?;
    Ok(done.rows_affected() > 0)
}

/// Marks a database as put back, before anybody reads it: every lineage is lost, reports begin an epoch above every one that was ever
/// given, tokens that may have been used are good no longer, and every machine that may speak is awaited.
pub(super) async fn mark(
    connection: &mut AnyConnection,
    made_at: Option<Timestamp>,
    head: Head,
    now: Timestamp,
) -> Result<u64, StoreError> {
    // Seconds since 1970: also above the epoch of an earlier restore of the same backup, which is forgotten with it.
    sqlx::query(
        "UPDATE identities SET lineage = $1, previous_lineage = $1,
           epoch = CASE WHEN epoch + 1 > $2 THEN epoch + 1 ELSE $2 END",
    )
    .bind(Vec::new())
    .bind(now.as_second())
    .execute(&mut *connection)
    .await
    .doing("beginning a new epoch")?;
    sqlx::query("DELETE FROM tokens WHERE used_by IS NULL").execute(&mut *connection).await.doing("revoking tokens")?;
    sqlx::query("DELETE FROM awaited").execute(&mut *connection).await.doing("awaiting every server")?;
    let done = sqlx::query("INSERT INTO awaited (server, since) SELECT server, $1 FROM identities WHERE state = 'active'")
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .doing("awaiting every server")?;
    sqlx::query("INSERT INTO restores (at, made_at, sequence, hash) VALUES ($1, $2, $3, $4)")
        .bind(micros(now))
        .bind(made_at.map(micros))
        .bind(super::row::count(head.sequence))
        .bind(head.hash.to_string())
        .execute(&mut *connection)
        .await
        .doing("noting that the store was put back")?;
    let detail = json!({"made_at": made_at, "sequence": head.sequence, "hash": head.hash, "awaited": done.rows_affected()});
    tell(connection, now, &Actor::Console, "store.restored", "store", detail).await?;
    Ok(done.rows_affected())
}

async fn adopt_stop(connection: &mut AnyConnection, stop: &Stop, by: &Actor, now: Timestamp) -> Result<bool, StoreError> {
    let body = stop.to_bytes();
    let id = StopId::of(&body);
    let row = sqlx::query("SELECT count(*) AS found FROM stops WHERE lifted_at IS NULL")
        .fetch_one(&mut *connection)
        .await
        .doing("counting emergency stops")?;
    if Columns(&row).number("found")? >= MAX_STOPS as u64 {
        return Err(StoreError::TooManyStops);
    }
    // One that was let go here stays so: whoever holds it still is told.
    let done = sqlx::query("INSERT INTO stops (id, body, made_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
        .bind(id.to_string())
        .bind(String::from_utf8_lossy(&body).into_owned())
        .bind(micros(stop.at))
        .execute(&mut *connection)
        .await
        .doing("keeping an emergency stop")?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let detail = json!({"servers": stop.servers, "reason": stop.reason, "made_by": stop.person});
    tell(connection, now, by, "stop.made", &id.to_string(), detail).await.map(|()| true)
}

/// The entries behind the end of the backup that was put back, up to where an agent saw the trail go on.
async fn lost(connection: &mut AnyConnection, seen: Option<Head>) -> Result<Option<(u64, u64)>, StoreError> {
    let Some(seen) = seen else { return Ok(None) };
    let row = sqlx::query("SELECT sequence FROM restores ORDER BY at DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .doing("reading when the store was put back")?;
    let Some(row) = row else { return Ok(None) };
    let ended = Columns(&row).number("sequence")?;
    Ok((ended < seen.sequence).then_some((ended + 1, seen.sequence)))
}
