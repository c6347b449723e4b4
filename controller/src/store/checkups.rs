//! Checkups: what doctor found on each host, the last of each kind. Kept once; told again, nothing changes.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::checkup::{Kept, Kind, Prospect, prospect};
use policy::id::{ServerName, Sha256};
use proto::checkup::Named;
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, json as to_json, micros};
use super::trail::tell;
use crate::audit::Actor;

/// The last checkups of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkups(Vec<Named>);

impl Checkups {
    /// Whether a renewal would succeed on the server with this version of Exchange, by its checkups, at `now`.
    pub fn prospect(&self, exchange: Option<&str>, now: Timestamp) -> Prospect {
        let last = |kind| self.0.iter().map(|named| &named.checkup).find(|checkup| checkup.kind == kind);
        let kept = Kept { look: last(Kind::Look), rehearsal: last(Kind::Rehearsal) };
        prospect(kept, exchange, now)
    }

    /// Each of them.
    pub fn into_all(self) -> Vec<Named> {
        self.0
    }
}

impl Store {
    /// Keeps a checkup in the place of the last one of its kind. A rehearsal made something on the host, so it is told in the
    /// audit trail.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_checkup(&self, server: &ServerName, named: Named, now: Timestamp) -> Result<(), StoreError> {
        let server = server.clone();
        self.writer().write(move |connection| Box::pin(async move { keep(connection, &server, &named, now).await })).await
    }

    /// The checkups of one server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkups(&self, server: &ServerName) -> Result<Checkups, StoreError> {
        Ok(self.checkups_between(server, server).await?.remove(server).unwrap_or_default())
    }

    /// The names of the checkups of one server: what an agent that comes is told, and need not send again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkup_ids(&self, server: &ServerName) -> Result<Vec<Sha256>, StoreError> {
        let rows = sqlx::query("SELECT id FROM checkups WHERE server = $1 ORDER BY kind")
            .bind(server.as_str())
            .fetch_all(self.readers())
            .await
            .doing("reading the names of checkups")?;
        rows.iter().map(|row| Columns(row).parsed("id")).collect()
    }

    /// The checkups of all servers from `first` to `last` by name, both included, in one query.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkups_between(
        &self,
        first: &ServerName,
        last: &ServerName,
    ) -> Result<BTreeMap<ServerName, Checkups>, StoreError> {
        let rows =
            sqlx::query("SELECT server, id, checkup FROM checkups WHERE server >= $1 AND server <= $2 ORDER BY server, kind")
                .bind(first.as_str())
                .bind(last.as_str())
                .fetch_all(self.readers())
                .await
                .doing("reading checkups")?;
        let mut found: BTreeMap<ServerName, Checkups> = BTreeMap::new();
        for row in &rows {
            let (server, named) = named(row)?;
            found.entry(server).or_default().0.push(named);
        }
        Ok(found)
    }
}

/// Whoever is let in with this name was never looked at: what is kept of the machine before says nothing of it.
pub(super) async fn forget(connection: &mut AnyConnection, server: &ServerName) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM checkups WHERE server = $1")
        .bind(server.as_str())
        .execute(connection)
        .await
        .doing("forgetting checkups")?;
    Ok(())
}

async fn keep(connection: &mut AnyConnection, server: &ServerName, named: &Named, now: Timestamp) -> Result<(), StoreError> {
    let Named { id, checkup } = named;
    let row = sqlx::query("SELECT id FROM checkups WHERE server = $1 AND kind = $2")
        .bind(server.as_str())
        .bind(checkup.kind.as_str())
        .fetch_optional(&mut *connection)
        .await
        .doing("looking for a checkup")?;
    if row.map(|row| Columns(&row).parsed::<Sha256>("id")).transpose()? == Some(*id) {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO checkups (server, kind, id, checkup, recorded_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (server, kind) DO UPDATE SET id = excluded.id, checkup = excluded.checkup, recorded_at = excluded.recorded_at",
    )
    .bind(server.as_str())
    .bind(checkup.kind.as_str())
    .bind(id.to_string())
    .bind(to_json(checkup))
    .bind(micros(now))
    .execute(&mut *connection)
    .await
    .doing("keeping a checkup")?;
    if checkup.kind == Kind::Rehearsal {
        let worst = checkup.worst().map(|check| format!("{}: {}", check.name, check.outcome.as_str()));
        let detail = json!({"at": checkup.at, "agent_version": checkup.agent_version, "worst": worst});
        tell(connection, now, &Actor::Agent(server.clone()), "server.rehearsed", server.as_str(), detail).await?;
    }
    Ok(())
}

fn named(row: &AnyRow) -> Result<(ServerName, Named), StoreError> {
    let row = Columns(row);
    Ok((row.parsed("server")?, Named { id: row.parsed("id")?, checkup: row.json("checkup")? }))
}
