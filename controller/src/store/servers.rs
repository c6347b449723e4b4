//! Servers: what each reported last, and what is known of it in the columns that lists need.

use policy::Timestamp;
use policy::document::Mode;
use policy::evaluate::Assessment;
use policy::finding::Verdict;
use policy::id::{CertificateId, Generation, PolicyId, ServerName, Sha256, Thumbprint};
use policy::last::LastKnown;
use policy::report::Report;
use policy::turn::{UNKNOWN_GROUP, group_of};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::error::{Doing, StoreError};
use super::row::{Columns, count, json, micros};
use super::{Alone, Store, checkups, page, standings};

/// What is read of each server for lists.
const LISTED: &str = "SELECT servers.name AS name, epoch, counter, servers.recorded_at AS recorded_at, servers.verdict AS verdict, decision,
   servers.mode AS mode, servers.dag AS dag, servers.ad_site AS ad_site, servers.exchange AS exchange, servers.thumbprint AS thumbprint,
   servers.certificate AS certificate, not_after, agent_version, trust_version, policy_version, bound_since, watched_since, not_before,
   (SELECT max(settled_at) FROM receipts WHERE receipts.server = servers.name AND outcome <> 'refused') AS touched_at
 FROM servers
 LEFT JOIN standings AS stood ON stood.server = servers.name AND stood.gone = 0
   AND stood.since = (SELECT max(since) FROM standings WHERE standings.server = servers.name)
 LEFT JOIN certificates ON certificates.id = stood.certificate";

/// Changes that are kept of one server.
const HISTORY: i64 = 1000;

/// A report as it came.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Who speaks, by the certificate.
    pub server: ServerName,
    /// Its age.
    pub generation: Generation,
    /// What was seen.
    pub report: Report,
    /// What the agent remembers after it; by that it decides what it would put back.
    pub memory: Option<Box<LastKnown>>,
    /// What the agent makes of it, for people.
    pub said: String,
    /// When it was seen, by the agent's clock.
    pub seen_at: Timestamp,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is on disk now.
    Stored,
    /// It was on disk already.
    Known,
}

/// The documents that an agent holds, as it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Trust document.
    pub trust: Option<Sha256>,
    /// Its version.
    pub trust_version: u64,
    /// Policy.
    pub policy: Option<PolicyId>,
    /// Its version.
    pub policy_version: u64,
}

/// A server in a list: a page of a thousand carries of each only what lists show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: ServerName,
    /// Of the newest report.
    pub generation: Generation,
    /// When the newest report was written down, by the controller's clock.
    pub recorded_at: Option<Timestamp>,
    /// `None` before the first look.
    pub verdict: Option<Verdict>,
    /// The decision in a word; `None` before the first look.
    pub decision: Option<String>,
    /// The mode in which it stands, by the policy.
    pub mode: Option<String>,
    /// Database availability group, when it is known and there is one.
    pub dag: Option<String>,
    /// AD site, when it is known.
    pub ad_site: Option<String>,
    /// Version of Exchange, when it is known.
    pub exchange: Option<String>,
    /// Of the certificate that the record on 444 names.
    pub thumbprint: Option<Thumbprint>,
    /// That certificate, when it is at hand.
    pub certificate: Option<CertificateId>,
    /// Its end.
    pub not_after: Option<Timestamp>,
    /// Version of the agent, as it said.
    pub agent_version: String,
    /// Version of the trust document that the agent holds.
    pub trust_version: u64,
    /// Version of the policy that the agent holds.
    pub policy_version: u64,
    /// How long its 444 was left alone; `None` before the first look.
    pub alone: Option<Alone>,
}

/// What is known of a server where it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRow {
    /// Its name.
    pub name: ServerName,
    /// Of the newest report.
    pub generation: Generation,
    /// Digest of the newest report; `None` before the first.
    pub digest: Option<Sha256>,
    /// When it was seen, by the agent's clock.
    pub seen_at: Option<Timestamp>,
    /// `None` before the first look.
    pub verdict: Option<Verdict>,
    /// The decision in a word; `None` before the first look.
    pub decision: Option<String>,
    /// Why.
    pub why: String,
    /// The mode in which it stands, by the policy.
    pub mode: Option<String>,
    /// What is not worked on at once with it ([`group_of`]).
    pub group: String,
    /// AD site, when it is known.
    pub ad_site: Option<String>,
    /// Of the certificate that the record on 444 names.
    pub thumbprint: Option<Thumbprint>,
    /// That certificate, when it is at hand.
    pub certificate: Option<CertificateId>,
    /// Its end.
    pub not_after: Option<Timestamp>,
    /// Version of the agent, as it said.
    pub agent_version: String,
    /// Documents that the agent holds.
    pub held: Held,
    /// When it is looked at again, whatever happens.
    pub next_look: Option<Timestamp>,
}

/// A server as it was judged last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Which.
    pub server: ServerName,
    /// Its mode then.
    pub mode: Mode,
    /// Verdict and findings.
    pub assessment: Assessment,
}

/// A server where something wants somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Troubled {
    /// Which.
    pub server: ServerName,
    /// Verdict and findings.
    pub assessment: Assessment,
}

impl Store {
    /// Writes a report down, when it is newer than what is on disk. The same one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::OlderGeneration`] names both, [`StoreError::OtherDigest`], [`StoreError::NoServer`].
    pub async fn record_report(&self, recording: Recording, now: Timestamp) -> Result<Recorded, StoreError> {
        self.writer().write(move |connection| Box::pin(async move { record(connection, &recording, now).await })).await
    }

    /// Notes what an agent said of itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_agent(&self, server: &ServerName, version: Option<String>, held: Held) -> Result<(), StoreError> {
        let server = server.clone();
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE servers SET agent_version = COALESCE($2, agent_version), trust_id = $3, trust_version = $4, policy_id = $5, policy_version = $6 WHERE name = $1",
                    )
                    .bind(server.as_str())
                    .bind(version)
                    .bind(held.trust.map(|id| id.to_string()))
                    .bind(count(held.trust_version))
                    .bind(held.policy.map(|id| id.to_string()))
                    .bind(count(held.policy_version))
                    .execute(connection)
                    .await
                    .doing("noting what an agent holds")?;
                    Ok(())
                })
            })
            .await
    }

    /// Servers behind `after`, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn servers(&self, after: Option<&ServerName>, limit: u32) -> Result<Vec<Listed>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!("{LISTED} WHERE servers.name > $1 ORDER BY servers.name LIMIT $2")))
            .bind(after.map_or("", ServerName::as_str))
            .bind(page(limit))
            .fetch_all(self.readers())
            .await
            .doing("reading servers")?;
        rows.iter().map(listed).collect()
    }

    /// One server, as lists show it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn listed(&self, name: &ServerName) -> Result<Option<Listed>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("{LISTED} WHERE servers.name = $1")))
            .bind(name.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("reading a server")?;
        row.as_ref().map(listed).transpose()
    }

    /// Servers as they were judged last, a page of them in one query; those that never reported are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn judged(&self, after: Option<&ServerName>, limit: u32) -> Result<Vec<Judged>, StoreError> {
        let rows = sqlx::query(
            "SELECT servers.name AS name, servers.mode AS mode, reports.assessment AS assessment
             FROM servers JOIN reports ON reports.server = servers.name
             WHERE servers.name > $1 AND reports.assessment IS NOT NULL AND servers.mode IS NOT NULL ORDER BY servers.name LIMIT $2",
        )
        .bind(after.map_or("", ServerName::as_str))
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .doing("reading what was judged")?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                let mode = row.word("mode", |word| serde_json::from_value(serde_json::Value::from(word)).ok())?;
                Ok(Judged { server: row.parsed("name")?, mode, assessment: row.json("assessment")? })
            })
            .collect()
    }

    /// Servers where something was found that pages or warns: those that page first, then by name, the first hundred.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn troubled(&self, most: u32) -> Result<Vec<Troubled>, StoreError> {
        let rows = sqlx::query(
            "SELECT servers.name AS name, reports.assessment AS assessment FROM servers JOIN reports ON reports.server = servers.name
             WHERE servers.worst IN ('page', 'warning') ORDER BY servers.worst, servers.name LIMIT $1",
        )
        .bind(i64::from(most))
        .fetch_all(self.readers())
        .await
        .doing("reading which servers are in trouble")?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                Ok(Troubled { server: row.parsed("name")?, assessment: row.json("assessment")? })
            })
            .collect()
    }

    /// The server whose back-end certificate ends first, and when.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_end(&self) -> Result<Option<(ServerName, Timestamp)>, StoreError> {
        let row = sqlx::query("SELECT name, not_after FROM servers WHERE not_after IS NOT NULL ORDER BY not_after, name LIMIT 1")
            .fetch_optional(self.readers())
            .await
            .doing("reading which certificate ends first")?;
        row.map(|row| Ok((Columns(&row).parsed("name")?, Columns(&row).time("not_after")?))).transpose()
    }

    /// One server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn server(&self, name: &ServerName) -> Result<Option<ServerRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM servers WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("reading a server")?;
        row.as_ref().map(server).transpose()
    }

    /// The newest report of a server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_report(&self, name: &ServerName) -> Result<Option<Report>, StoreError> {
        let row = sqlx::query("SELECT report FROM reports WHERE server = $1")
            .bind(name.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("reading a report")?;
        row.map(|row| Columns(&row).json("report")).transpose()
    }

    /// Names of servers behind `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn server_names(&self, after: Option<&ServerName>, limit: u32) -> Result<Vec<ServerName>, StoreError> {
        let rows = sqlx::query("SELECT name FROM servers WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after.map_or("", ServerName::as_str))
            .bind(page(limit))
            .fetch_all(self.readers())
            .await
            .doing("reading the names of servers")?;
        rows.iter().map(|row| Columns(row).parsed("name")).collect()
    }

    /// How many servers have each verdict; the word is `none` before the first look.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn verdicts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = sqlx::query("SELECT COALESCE(verdict, 'none') AS word, count(*) AS found FROM servers GROUP BY 1 ORDER BY 1")
            .fetch_all(self.readers())
            .await
            .doing("counting verdicts")?;
        rows.iter().map(|row| Ok((Columns(row).text("word")?, Columns(row).number("found")?))).collect()
    }
}

/// A row for a server that was just let in, unless there is one.
pub(super) async fn admit(connection: &mut AnyConnection, server: &ServerName) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO servers (name, epoch, counter, said, why, grp, agent_version, trust_version, policy_version)
         VALUES ($1, 0, 0, '', 'no report yet', $2, '', 0, 0) ON CONFLICT (name) DO NOTHING",
    )
    .bind(server.as_str())
    .bind(UNKNOWN_GROUP)
    .execute(&mut *connection)
    .await
    .doing("noting a server")?;
    checkups::forget(connection, server).await
}

async fn record(connection: &mut AnyConnection, recording: &Recording, now: Timestamp) -> Result<Recorded, StoreError> {
    let Recording { server, generation, report, memory: _, said, seen_at } = recording;
    let digest = report.digest();
    let row = sqlx::query("SELECT epoch, counter, digest FROM servers WHERE name = $1")
        .bind(server.as_str())
        .fetch_optional(&mut *connection)
        .await
        .doing("reading a generation")?;
    let Some(row) = row else { return Err(StoreError::NoServer(server.clone())) };
    let row = Columns(&row);
    let held = Generation { epoch: row.number("epoch")?, counter: row.number("counter")? };
    match row.parsed_if_any::<Sha256>("digest")? {
        Some(known) if held == *generation && known == digest => return Ok(Recorded::Known),
        Some(known) if held == *generation => {
            return Err(StoreError::OtherDigest { server: server.clone(), generation: held, held: known, found: digest });
        }
        _ if *generation <= held => return Err(StoreError::OlderGeneration { server: server.clone(), held, found: *generation }),
        known => {
            let body = json(report);
            if known != Some(digest) {
                keep(connection, recording, &digest, &body, now).await?;
            }
            replace(connection, recording, &digest, &body, said, *seen_at, now).await?;
        }
    }
    Ok(Recorded::Stored)
}

/// Into the history, which keeps changes and not repeats, and of these the newest.
async fn keep(
    connection: &mut AnyConnection,
    recording: &Recording,
    digest: &Sha256,
    body: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO history (server, epoch, counter, recorded_at, digest, report) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(recording.server.as_str())
        .bind(count(recording.generation.epoch))
        .bind(count(recording.generation.counter))
        .bind(micros(now))
        .bind(digest.to_string())
        .bind(body)
        .execute(&mut *connection)
        .await
        .doing("adding to the history of a server")?;
    sqlx::query(
        "DELETE FROM history WHERE server = $1 AND recorded_at < (SELECT recorded_at FROM history WHERE server = $1 ORDER BY epoch DESC, counter DESC LIMIT 1 OFFSET $2)",
    )
    .bind(recording.server.as_str())
    .bind(HISTORY - 1)
    .execute(connection)
    .await
    .doing("shortening the history of a server")?;
    Ok(())
}

async fn replace(
    connection: &mut AnyConnection,
    recording: &Recording,
    digest: &Sha256,
    body: &str,
    said: &str,
    seen_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let report = &recording.report;
    let thumbprint = report.back_end_record().known().copied().flatten().and_then(|record| record.thumbprint);
    sqlx::query(
        "UPDATE servers SET epoch = $2, counter = $3, digest = $4, recorded_at = $5, seen_at = $6, said = $7, grp = $8, dag = $9, ad_site = $10, exchange = $11, thumbprint = $12, fqdn = $13 WHERE name = $1",
    )
    .bind(recording.server.as_str())
    .bind(count(recording.generation.epoch))
    .bind(count(recording.generation.counter))
    .bind(digest.to_string())
    .bind(micros(now))
    .bind(micros(seen_at))
    .bind(said)
    .bind(group_of(&report.host))
    .bind(report.host.dag.known().cloned().flatten())
    .bind(report.host.ad_site.known().cloned())
    .bind(report.exchange.known().map(|exchange| exchange.version.clone()))
    .bind(thumbprint.map(|thumbprint| thumbprint.to_string()))
    .bind(report.host.fqdn.known().cloned())
    .execute(&mut *connection)
    .await
    .doing("writing a report down")?;
    sqlx::query(
        "INSERT INTO reports (server, report, last_known) VALUES ($1, $2, $3)
         ON CONFLICT (server) DO UPDATE SET report = excluded.report, last_known = COALESCE(excluded.last_known, reports.last_known)",
    )
    .bind(recording.server.as_str())
    .bind(body)
    .bind(recording.memory.as_deref().map(json))
    .execute(connection)
    .await
    .doing("writing a report down")?;
    Ok(())
}

fn listed(row: &AnyRow) -> Result<Listed, StoreError> {
    let row = Columns(row);
    Ok(Listed {
        name: row.parsed("name")?,
        generation: Generation { epoch: row.number("epoch")?, counter: row.number("counter")? },
        recorded_at: row.time_if_any("recorded_at")?,
        verdict: verdict(&row)?,
        decision: row.text_if_any("decision")?,
        mode: row.text_if_any("mode")?,
        dag: row.text_if_any("dag")?,
        ad_site: row.text_if_any("ad_site")?,
        exchange: row.text_if_any("exchange")?,
        thumbprint: row.parsed_if_any("thumbprint")?,
        certificate: row.parsed_if_any("certificate")?,
        not_after: row.time_if_any("not_after")?,
        agent_version: row.text("agent_version")?,
        trust_version: row.number("trust_version")?,
        policy_version: row.number("policy_version")?,
        alone: match row.time_if_any("bound_since")? {
            Some(_) => Some(standings::alone(&row)?),
            None => None,
        },
    })
}

fn verdict(row: &Columns<'_>) -> Result<Option<Verdict>, StoreError> {
    Ok(match row.text_if_any("verdict")? {
        None => None,
        Some(_) => Some(row.word("verdict", |word| serde_json::from_value(serde_json::Value::from(word)).ok())?),
    })
}

pub(super) fn server(row: &AnyRow) -> Result<ServerRow, StoreError> {
    let row = Columns(row);
    Ok(ServerRow {
        name: row.parsed("name")?,
        generation: Generation { epoch: row.number("epoch")?, counter: row.number("counter")? },
        digest: row.parsed_if_any("digest")?,
        seen_at: row.time_if_any("seen_at")?,
        verdict: verdict(&row)?,
        decision: row.text_if_any("decision")?,
        why: row.text("why")?,
        mode: row.text_if_any("mode")?,
        group: row.text("grp")?,
        ad_site: row.text_if_any("ad_site")?,
        thumbprint: row.parsed_if_any("thumbprint")?,
        certificate: row.parsed_if_any("certificate")?,
        not_after: row.time_if_any("not_after")?,
        agent_version: row.text("agent_version")?,
        held: Held {
            trust: row.parsed_if_any("trust_id")?,
            trust_version: row.number("trust_version")?,
            policy: row.parsed_if_any("policy_id")?,
            policy_version: row.number("policy_version")?,
        },
        next_look: row.time_if_any("next_look")?,
    })
}
