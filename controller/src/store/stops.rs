//! Emergency stops: which are in force, who said yes to going on, and whom they hold by the agents' own word.

use std::collections::{BTreeMap, BTreeSet};

use policy::Timestamp;
use policy::id::{Person, ServerName};
use policy::stop::{MAX_STOPS, Resume, Stop, StopId, lifted, yes};
use policy::trust::Verified;
use proto::signed::SignedBytes;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::Store;
use super::documents::trust_in_force;
use super::error::{Doing, StoreError};
use super::row::{Columns, damaged, micros};
use super::trail::tell;
use crate::audit::Actor;

/// The most stops that are listed, the newest first.
const LISTED: i64 = 200;

/// A stop as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRow {
    /// Its id.
    pub id: StopId,
    /// What it says.
    pub stop: Stop,
    /// Its bytes.
    pub body: Vec<u8>,
    /// When approvers let it go; `None` while it is in force.
    pub lifted_at: Option<Timestamp>,
}

impl Store {
    /// Puts a stop in force.
    ///
    /// # Errors
    /// [`StoreError::TooManyStops`] when so many are in force already.
    pub async fn make_stop(&self, stop: Stop, now: Timestamp) -> Result<StopId, StoreError> {
        let body = stop.to_bytes();
        let id = StopId::of(&body);
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let held = in_force(connection).await?;
                    if held.len() >= MAX_STOPS {
                        return Err(StoreError::TooManyStops);
                    }
                    sqlx::query("INSERT INTO stops (id, body, made_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
                        .bind(id.to_string())
                        .bind(String::from_utf8_lossy(&body).into_owned())
                        .bind(micros(now))
                        .execute(&mut *connection)
                        .await
                        .doing("keeping an emergency stop")?;
                    let detail = json!({"servers": stop.servers, "reason": stop.reason});
                    tell(connection, now, &Actor::Person(stop.person), "stop.made", &id.to_string(), detail).await?;
                    Ok(id)
                })
            })
            .await
    }

    /// Stops, the newest first: those in force, or the last of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stops(&self, all: bool) -> Result<Vec<StopRow>, StoreError> {
        let sql = if all {
            "SELECT id, body, lifted_at FROM stops ORDER BY made_at DESC, id LIMIT $1"
        } else {
            "SELECT id, body, lifted_at FROM stops WHERE lifted_at IS NULL ORDER BY made_at DESC, id LIMIT $1"
        };
        let rows = sqlx::query(sql).bind(LISTED).fetch_all(self.readers()).await.doing("reading emergency stops")?;
        rows.iter().map(stop_row).collect()
    }

    /// The stops in force that hold this server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stops_of(&self, server: &ServerName) -> Result<Vec<StopRow>, StoreError> {
        Ok(self.stops(false).await?.into_iter().filter(|row| row.stop.covers(server)).collect())
    }

    /// Every yes to going on after these stops, as it was signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resumes(&self, stops: &BTreeSet<StopId>) -> Result<Vec<SignedBytes>, StoreError> {
        if stops.is_empty() {
            return Ok(Vec::new());
        }
        // Bounded by how many are listed.
        let places: Vec<String> = (1..=stops.len()).map(|at| format!("${at}")).collect();
        let text = format!("SELECT DISTINCT id, signed FROM resumes WHERE stop IN ({}) ORDER BY id", places.join(", "));
        let query = stops.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, stop| query.bind(stop.to_string()));
        let rows = query.fetch_all(self.readers()).await.doing("reading who said yes to going on")?;
        rows.iter().map(signed).collect()
    }

    /// Who said yes to going on after each stop, by the trust document in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn yes(&self, stops: &BTreeSet<StopId>, now: Timestamp) -> Result<BTreeMap<StopId, BTreeSet<Person>>, StoreError> {
        let Some(trust) = self.trust().await? else { return Ok(BTreeMap::new()) };
        let resumes = self.resumes(stops).await?.iter().map(verified).collect::<Result<Vec<_>, _>>()?;
        Ok(yes(&trust.trust()?.value, &resumes, now))
    }

    /// Keeps an approver's yes to going on; the stops that are let go by it, with what others said before.
    ///
    /// # Errors
    /// [`StoreError::NoStop`] when one of them was never made.
    pub async fn add_resume(
        &self,
        resume: Verified<Resume>,
        signed: SignedBytes,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<StopId>, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let trust = trust_in_force(connection).await?;
                    let mut all = Vec::new();
                    for stop in &resume.value.stops {
                        known(connection, stop).await?;
                        sqlx::query(
                            "INSERT INTO resumes (stop, id, signed, received_at) VALUES ($1, $2, $3, $4) ON CONFLICT (stop, id) DO NOTHING",
                        )
                        .bind(stop.to_string())
                        .bind(resume.id.to_string())
                        .bind(signed.to_file_text())
                        .bind(micros(now))
                        .execute(&mut *connection)
                        .await
                        .doing("keeping a yes to going on")?;
                        all.extend(said(connection, stop).await?);
                    }
                    let mut let_go = Vec::new();
                    for stop in lifted(&trust, &all, now).intersection(&resume.value.stops) {
                        let done = sqlx::query("UPDATE stops SET lifted_at = $2 WHERE id = $1 AND lifted_at IS NULL")
                            .bind(stop.to_string())
                            .bind(micros(now))
                            .execute(&mut *connection)
                            .await
                            .doing("letting an emergency stop go")?;
                        if done.rows_affected() > 0 {
                            let_go.push(*stop);
                        }
                    }
                    let Resume { stops, person, reason, .. } = &resume.value;
                    let detail = json!({
                        "stops": stops, "person": person, "reason": reason, "signers": resume.signers, "let_go": let_go,
                    });
                    tell(connection, now, &by, "stop.resume", &resume.id.to_string(), detail).await?;
                    Ok(let_go)
                })
            })
            .await
    }

    /// Notes which stops hold a host, as its agent says. It says so at each beginning and with each new document, and mostly nothing changed:
    /// then nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_stopped(&self, server: &ServerName, stops: BTreeSet<StopId>) -> Result<(), StoreError> {
        let noted =
            sqlx::query("SELECT stop FROM stopped WHERE server = $1").bind(server.as_str()).fetch_all(self.readers()).await;
        let noted = noted.doing("reading which emergency stops hold a host")?;
        if noted.iter().map(|row| Columns(row).parsed("stop")).collect::<Result<BTreeSet<StopId>, _>>()? == stops {
            return Ok(());
        }
        let server = server.clone();
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let doing = "noting which emergency stops hold a host";
                    sqlx::query("DELETE FROM stopped WHERE server = $1")
                        .bind(server.as_str())
                        .execute(&mut *connection)
                        .await
                        .doing(doing)?;
                    for stop in stops {
                        sqlx::query("INSERT INTO stopped (server, stop) VALUES ($1, $2)")
                            .bind(server.as_str())
                            .bind(stop.to_string())
                            .execute(&mut *connection)
                            .await
                            .doing(doing)?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Which stops hold whom, as the agents say.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stopped(&self) -> Result<BTreeMap<StopId, BTreeSet<ServerName>>, StoreError> {
        let rows = sqlx::query("SELECT stop, server FROM stopped").fetch_all(self.readers()).await;
        let mut stopped: BTreeMap<StopId, BTreeSet<ServerName>> = BTreeMap::new();
        for row in &rows.doing("reading whom emergency stops hold")? {
            let row = Columns(row);
            stopped.entry(row.parsed("stop")?).or_default().insert(row.parsed("server")?);
        }
        Ok(stopped)
    }

    /// The servers of these DAGs and AD sites, by their newest reports.
    ///
    /// # Errors
    /// [`StoreError::NoGroup`] for one that has none.
    pub async fn servers_of(&self, dags: &[String], sites: &[String]) -> Result<BTreeSet<ServerName>, StoreError> {
        let dags = dags.iter().map(|dag| ("SELECT name FROM servers WHERE dag = $1", "DAG", dag));
        let sites = sites.iter().map(|site| ("SELECT name FROM servers WHERE ad_site = $1", "AD site", site));
        let mut found = BTreeSet::new();
        for (sql, kind, name) in dags.chain(sites) {
            let rows = sqlx::query(sql).bind(name).fetch_all(self.readers()).await.doing("reading the servers of a group")?;
            if rows.is_empty() {
                return Err(StoreError::NoGroup { kind, name: name.clone() });
            }
            for row in &rows {
                found.insert(Columns(row).parsed("name")?);
            }
        }
        Ok(found)
    }
}

async fn in_force(connection: &mut AnyConnection) -> Result<Vec<AnyRow>, StoreError> {
    sqlx::query("SELECT id FROM stops WHERE lifted_at IS NULL").fetch_all(connection).await.doing("counting emergency stops")
}

async fn known(connection: &mut AnyConnection, stop: &StopId) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT id FROM stops WHERE id = $1").bind(stop.to_string()).fetch_optional(connection).await;
    row.doing("reading an emergency stop")?.map(drop).ok_or(StoreError::NoStop(*stop))
}

async fn said(connection: &mut AnyConnection, stop: &StopId) -> Result<Vec<Verified<Resume>>, StoreError> {
    let rows = sqlx::query("SELECT id, signed FROM resumes WHERE stop = $1").bind(stop.to_string()).fetch_all(connection).await;
    rows.doing("reading who said yes to going on")?.iter().map(|row| verified(&signed(row)?)).collect()
}

fn stop_row(row: &AnyRow) -> Result<StopRow, StoreError> {
    let row = Columns(row);
    let (id, body): (StopId, String) = (row.parsed("id")?, row.text("body")?);
    let stop = Stop::from_bytes(body.as_bytes()).ok().filter(|_| StopId::of(body.as_bytes()) == id);
    let stop = stop.ok_or_else(|| damaged("stops.body", "the emergency stop of this id", &id.to_string()))?;
    Ok(StopRow { id, stop, body: body.into_bytes(), lifted_at: row.time_if_any("lifted_at")? })
}

fn signed(row: &AnyRow) -> Result<SignedBytes, StoreError> {
    let row = Columns(row);
    let id: StopId = row.parsed("id")?;
    let signed = SignedBytes::from_file_text(&row.text("signed")?).ok().filter(|signed| signed.id() == id);
    signed.ok_or_else(|| damaged("resumes.signed", "the document of this id", &id.to_string()))
}

fn verified(signed: &SignedBytes) -> Result<Verified<Resume>, StoreError> {
    proto::signed::resume(signed).map_err(|_| damaged("resumes.signed", "a signed yes to going on", &signed.id().to_string()))
}
