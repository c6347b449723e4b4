//! What wants somebody, from when it was first seen until it is gone; what is to be said about it is put into the outbox in the same transaction, so
//! that nothing is said twice and nothing is forgotten.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::duration::Span;
use policy::finding::Severity;
use policy::id::{Person, Sha256};
use policy::preflight::patch_day_before;
use serde_json::{Value, json};
use sqlx::AnyConnection;

use super::Store;
use super::error::{Doing, StoreError};
use super::outbox::put;
use super::row::{Columns, count, damaged, micros};
use super::trail::tell;
use super::{MAX_PAGE, page};
use crate::audit::Actor;
use crate::config::Kind;
use crate::notify::{Body, Cause, Line, grouped};

/// What is gone is over only after it stayed gone for so long: what flaps is one incident.
const SETTLE: Span = Span::seconds(60);

/// What ends within this time stands in a digest.
const AHEAD: Span = Span::days(90);

/// How often the head of the audit trail is sent out.
const ANCHOR: Span = Span::days(1);

/// Lines of a digest for certificates that end.
const ENDS: i64 = 50;

/// Acts of agents that are told at once; what is more is told by the next look.
const ACTS: i64 = 500;

/// One thing that wants, or wanted, somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its own, and no other's.
    pub id: String,
    /// What it is.
    pub cause: Cause,
    /// When it was first seen.
    pub opened_at: Timestamp,
    /// Who said that somebody is at it, and when.
    pub acknowledged: Option<(Timestamp, Person)>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
}

/// Through which channels what is told, and when.
#[derive(Debug, Clone)]
pub struct Ears {
    /// Each channel with what it wants to hear.
    pub channels: Vec<(String, Vec<Kind>)>,
    /// When something that wakes nobody may be told.
    pub calm_at: Timestamp,
    /// When the next digest is due, after one that is made now.
    pub next_digest: Timestamp,
}

impl Store {
    /// Compares what wants somebody now with what did before, and writes what is to be said about the difference. Gives how many messages
    /// that made. The same again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note(&self, causes: Vec<Cause>, ears: Ears, now: Timestamp) -> Result<usize, StoreError> {
        let estate = self.estate().to_string();
        self.writer().write(move |connection| Box::pin(async move { note(connection, &estate, &causes, &ears, now).await })).await
    }

    /// Somebody is at it: told once, in the audit trail.
    ///
    /// # Errors
    /// [`StoreError::NoIncident`].
    pub async fn acknowledge(&self, id: String, by: Person, now: Timestamp) -> Result<Incident, StoreError> {
        self.writer().write(move |connection| Box::pin(async move { acknowledge(connection, &id, by, now).await })).await
    }

    /// Incidents, the newest first; with `open` only those that are not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn incidents(
        &self,
        open: bool,
        before: Option<(Timestamp, String)>,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError> {
        let (at, id) = before.map_or((i64::MAX, String::new()), |(at, id)| (micros(at), id));
        let rows = sqlx::query(
            "SELECT * FROM incidents WHERE ($1 = 0 OR resolved_at IS NULL) AND (opened_at < $2 OR (opened_at = $2 AND id < $3))
             ORDER BY opened_at DESC, id DESC LIMIT $4",
        )
        .bind(i64::from(open))
        .bind(at)
        .bind(id)
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .doing("reading incidents")?;
        rows.iter().map(|row| incident(&Columns(row))).collect()
    }
}

/// What wants somebody now, by severity; and what waits to be told, by channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanting {
    /// Incidents that are not over.
    pub incidents: Vec<(Severity, u64)>,
    /// Messages that wait in each channel.
    pub waiting: Vec<(String, u64)>,
}

impl Store {
    /// How much wants somebody, and how much of that is still to be told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn wanting(&self) -> Result<Wanting, StoreError> {
        let doing = "counting what wants somebody";
        let rows = sqlx::query("SELECT severity, COUNT(*) AS found FROM incidents WHERE resolved_at IS NULL GROUP BY severity");
        let mut wanting = Wanting::default();
        for row in rows.fetch_all(self.readers()).await.doing(doing)? {
            let row = Columns(&row);
            wanting.incidents.push((row.word("severity", severity)?, row.number("found")?));
        }
        let rows = sqlx::query(
            "SELECT channel, COUNT(*) AS found FROM messages WHERE sent_at IS NULL AND given_up_at IS NULL GROUP BY channel",
        );
        for row in rows.fetch_all(self.readers()).await.doing(doing)? {
            let row = Columns(&row);
            wanting.waiting.push((row.text("channel")?, row.number("found")?));
        }
        Ok(wanting)
    }
}

async fn note(
    connection: &mut AnyConnection,
    estate: &str,
    causes: &[Cause],
    ears: &Ears,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let rows = sqlx::query("SELECT * FROM incidents WHERE resolved_at IS NULL").fetch_all(&mut *connection).await;
    let mut open = BTreeMap::new();
    for row in &rows.doing("reading what is open")? {
        let row = Columns(row);
        open.insert(row.text("cause")?, (incident(&row)?, row.time_if_any("gone_since")?));
    }
    let mut lines = Vec::new();
    for cause in causes {
        match open.remove(&cause.key()) {
            None => {
                begin(connection, cause, now).await?;
                lines.push(line("opened", cause));
            }
            Some((_, None)) => {}
            Some((incident, Some(_))) => gone(connection, &incident.id, None, None).await?,
        }
    }
    for (incident, gone_since) in open.into_values() {
        match gone_since {
            None => gone(connection, &incident.id, Some(now), None).await?,
            Some(since) if SETTLE.after(since) <= now => {
                gone(connection, &incident.id, Some(since), Some(now)).await?;
                lines.push(line("resolved", &incident.cause));
            }
            Some(_) => {}
        }
    }
    let told = told_until(connection, ears, now).await?;
    lines.extend(acts(connection, told.audit_sequence).await?);
    let mut made = 0;
    for (channel, says) in &ears.channels {
        for (kind, severity, due_at) in [(Kind::Page, Severity::Page, now), (Kind::Warning, Severity::Warning, ears.calm_at)] {
            let own: Vec<Line> = lines.iter().filter(|line| line.severity == severity).cloned().collect();
            if says.contains(&kind) && !own.is_empty() {
                put(connection, channel, kind, &Body::new(estate, own, now), now, due_at).await?;
                made += 1;
            }
        }
    }
    if told.digest_at <= now {
        let body = Body::new(estate, digest(connection, now).await?, now);
        for (channel, says) in &ears.channels {
            if says.contains(&Kind::Digest) {
                put(connection, channel, Kind::Digest, &body, now, now).await?;
                made += 1;
            }
        }
        sqlx::query("UPDATE notified SET digest_at = $1 WHERE one = 1")
            .bind(micros(ears.next_digest))
            .execute(&mut *connection)
            .await
            .doing("noting when the next digest is due")?;
    }
    if told.anchor_at <= now {
        let body = Body::new(estate, vec![anchor(connection).await?], now);
        for (channel, says) in &ears.channels {
            if says.contains(&Kind::Anchor) {
                put(connection, channel, Kind::Anchor, &body, now, now).await?;
                made += 1;
            }
        }
        sqlx::query("UPDATE notified SET anchor_at = $1 WHERE one = 1")
            .bind(micros(ANCHOR.after(now)))
            .execute(connection)
            .await
            .doing("noting when the next anchor is due")?;
    }
    Ok(made)
}

/// Where the audit trail ends.
async fn anchor(connection: &mut AnyConnection) -> Result<Line, StoreError> {
    let row = sqlx::query("SELECT sequence, hash FROM audit_head WHERE one = 1").fetch_one(connection).await;
    let row = row.doing("reading the end of the audit trail")?;
    let (sequence, hash) = (Columns(&row).number("sequence")?, Columns(&row).text("hash")?);
    Ok(Line {
        state: "anchor".to_owned(),
        server: String::new(),
        code: String::new(),
        severity: Severity::Note,
        title: format!("the audit trail has {sequence} entries; kept elsewhere, this line proves later that none was changed"),
        detail: format!("{sequence}:{hash}"),
    })
}

fn line(state: &str, cause: &Cause) -> Line {
    let Cause { server, code, severity, title, detail } = cause.clone();
    Line { state: state.to_owned(), server, code, severity, title, detail }
}

async fn begin(connection: &mut AnyConnection, cause: &Cause, now: Timestamp) -> Result<(), StoreError> {
    let id = Sha256::of(format!("{} {now}", cause.key()).as_bytes()).to_string();
    sqlx::query(
        "INSERT INTO incidents (id, cause, server, code, severity, title, detail, opened_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.get(..16).unwrap_or(&id).to_owned())
    .bind(cause.key())
    .bind(cause.server.as_str())
    .bind(cause.code.as_str())
    .bind(cause.severity.as_str())
    .bind(cause.title.as_str())
    .bind(cause.detail.as_str())
    .bind(micros(now))
    .execute(connection)
    .await
    .doing("noting an incident")?;
    Ok(())
}

async fn gone(
    connection: &mut AnyConnection,
    id: &str,
    since: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE incidents SET gone_since = $2, resolved_at = $3 WHERE id = $1")
        .bind(id)
        .bind(since.map(micros))
        .bind(resolved_at.map(micros))
        .execute(connection)
        .await
        .doing("noting how an incident stands")?;
    Ok(())
}

/// Up to where everything was told.
struct Told {
    audit_sequence: u64,
    digest_at: Timestamp,
    anchor_at: Timestamp,
}

/// What happened before anybody listened is told to nobody.
async fn told_until(connection: &mut AnyConnection, ears: &Ears, now: Timestamp) -> Result<Told, StoreError> {
    let doing = "reading up to where everything was told";
    let row = sqlx::query("SELECT audit_sequence, digest_at, anchor_at FROM notified WHERE one = 1")
        .fetch_optional(&mut *connection)
        .await;
    if let Some(row) = row.doing(doing)? {
        let row = Columns(&row);
        return Ok(Told {
            audit_sequence: row.number("audit_sequence")?,
            digest_at: row.time("digest_at")?,
            anchor_at: row.time("anchor_at")?,
        });
    }
    let row = sqlx::query("SELECT sequence FROM audit_head WHERE one = 1").fetch_one(&mut *connection).await.doing(doing)?;
    let told = Told { audit_sequence: Columns(&row).number("sequence")?, digest_at: ears.next_digest.max(now), anchor_at: now };
    sqlx::query("INSERT INTO notified (one, audit_sequence, digest_at) VALUES (1, $1, $2)")
        .bind(count(told.audit_sequence))
        .bind(micros(told.digest_at))
        .execute(connection)
        .await
        .doing("beginning to listen")?;
    Ok(told)
}

/// What agents did by themselves since then, and what they would not do; and who said that somebody is at it.
async fn acts(connection: &mut AnyConnection, after: u64) -> Result<Vec<Line>, StoreError> {
    let rows = sqlx::query(
        "SELECT sequence, actor, action, detail FROM audit WHERE sequence > $1
         AND action IN ('incident.acknowledged', 'plan.restored', 'plan.undone', 'plan.failed', 'plan.refused') ORDER BY sequence LIMIT $2",
    )
    .bind(count(after))
    .bind(ACTS)
    .fetch_all(&mut *connection)
    .await
    .doing("reading what agents did")?;
    let mut lines = Vec::new();
    let mut last = after;
    for row in &rows {
        let row = Columns(row);
        last = row.number("sequence")?;
        let detail: Value = row.json("detail")?;
        let action = row.text("action")?;
        if action == "incident.acknowledged" {
            lines.extend(acknowledged(&row.text("actor")?, &detail));
            continue;
        }
        if detail["standing"].is_null() {
            continue;
        }
        let title = match action.as_str() {
            "plan.restored" => "the agent put back what was lost, by standing approval",
            "plan.undone" => "the agent undid its own repair",
            "plan.failed" => "the agent's own repair failed",
            _ => "the agent refused its own repair",
        };
        let list =
            |key: &str| detail[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("; ");
        let why = [list("foreign"), list("notes")].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        lines.push(Line {
            state: "did".to_owned(),
            server: detail["server"].as_str().unwrap_or_default().to_owned(),
            code: String::new(),
            severity: Severity::Page,
            title: title.to_owned(),
            detail: why.chars().take(500).collect(),
        });
    }
    if i64::try_from(rows.len()).unwrap_or(ACTS) < ACTS {
        // Nothing of what follows is looked through twice.
        let row = sqlx::query("SELECT sequence FROM audit_head WHERE one = 1").fetch_one(&mut *connection).await;
        last = Columns(&row.doing("reading the end of the audit trail")?).number("sequence")?;
    }
    if last > after {
        sqlx::query("UPDATE notified SET audit_sequence = $1 WHERE one = 1")
            .bind(count(last))
            .execute(connection)
            .await
            .doing("noting up to where everything was told")?;
    }
    Ok(lines)
}

/// Whoever was woken learns that somebody is at it. Entries of before this was told say too little, and are told to nobody.
fn acknowledged(actor: &str, detail: &Value) -> Option<Line> {
    let text = |key: &str| detail[key].as_str().map(str::to_owned);
    let severity = severity(&text("severity")?)?;
    let who = actor.strip_prefix("person:").unwrap_or(actor);
    let title = format!("{who} is at it: {}", text("title")?);
    Some(Line {
        state: "acknowledged".to_owned(),
        server: text("server")?,
        code: text("code")?,
        severity,
        title,
        detail: String::new(),
    })
}

fn severity(word: &str) -> Option<Severity> {
    [Severity::Note, Severity::Warning, Severity::Page].into_iter().find(|one| one.as_str() == word)
}

/// A line for each cause that is open, for what waits for approvers, and for what ends.
async fn digest(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<Line>, StoreError> {
    let rows = sqlx::query("SELECT * FROM incidents WHERE resolved_at IS NULL ORDER BY server, code LIMIT $1")
        .bind(page(MAX_PAGE))
        .fetch_all(&mut *connection)
        .await
        .doing("reading what is open")?;
    let open: Result<Vec<Line>, StoreError> = rows.iter().map(|row| Ok(line("open", &incident(&Columns(row))?.cause))).collect();
    let mut lines = grouped(open?);
    lines.push(anchor(connection).await?);
    let row = sqlx::query("SELECT COUNT(*) AS found FROM plans WHERE life = 'proposed'").fetch_one(&mut *connection).await;
    let waiting: u64 = Columns(&row.doing("counting plans that wait")?).number("found")?;
    let plain = |state: &str, server: String, title: String| Line {
        state: state.to_owned(),
        server,
        code: String::new(),
        severity: Severity::Note,
        title,
        detail: String::new(),
    };
    if waiting > 0 {
        lines.push(plain("waits", String::new(), format!("{waiting} plan(s) wait for approvers")));
    }
    let rows = sqlx::query(
        "SELECT name, not_after FROM servers WHERE not_after IS NOT NULL AND not_after < $1 ORDER BY not_after, name LIMIT $2",
    )
    .bind(micros(AHEAD.after(now)))
    .bind(ENDS)
    .fetch_all(connection)
    .await
    .doing("reading what ends")?;
    let mut ends = Vec::new();
    for row in &rows {
        let row = Columns(row);
        let end = row.time("not_after")?;
        let day = end.strftime("%F");
        // What must be done before an update comes is seen in time for that night.
        let text = match patch_day_before(end, now) {
            Some(patch) => format!("its back-end certificate ends on {day}, and the last patch day before is {patch}"),
            None if end < now => format!("its back-end certificate ended on {day}: an update stops half-way"),
            None => format!("its back-end certificate ends on {day}, before the next patch day: an update stops half-way then"),
        };
        ends.push(plain("ends", row.text("name")?, text));
    }
    lines.extend(grouped(ends));
    Ok(lines)
}

async fn acknowledge(connection: &mut AnyConnection, id: &str, by: Person, now: Timestamp) -> Result<Incident, StoreError> {
    let row = sqlx::query("SELECT * FROM incidents WHERE id = $1 AND resolved_at IS NULL")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await
        .doing("looking for an incident")?;
    let found = row.as_ref().map(|row| incident(&Columns(row))).transpose()?;
    let found = found.ok_or_else(|| StoreError::NoIncident(id.to_owned()))?;
    if found.acknowledged.is_some() {
        return Ok(found);
    }
    sqlx::query("UPDATE incidents SET acknowledged_at = $2, acknowledged_by = $3 WHERE id = $1")
        .bind(id)
        .bind(micros(now))
        .bind(by.as_str())
        .execute(&mut *connection)
        .await
        .doing("noting that somebody is at it")?;
    let Cause { server, code, severity, title, detail: _ } = &found.cause;
    let detail = json!({"server": server, "code": code, "severity": severity.as_str(), "title": title});
    tell(connection, now, &Actor::Person(by.clone()), "incident.acknowledged", id, detail).await?;
    Ok(Incident { acknowledged: Some((now, by)), ..found })
}

fn incident(row: &Columns<'_>) -> Result<Incident, StoreError> {
    let acknowledged = match (row.time_if_any("acknowledged_at")?, row.text_if_any("acknowledged_by")?) {
        (Some(at), Some(by)) => Some((at, by.parse().map_err(|_| damaged("acknowledged_by", "a person", &by))?)),
        _ => None,
    };
    Ok(Incident {
        id: row.text("id")?,
        cause: Cause {
            server: row.text("server")?,
            code: row.text("code")?,
            severity: row.word("severity", severity)?,
            title: row.text("title")?,
            detail: row.text("detail")?,
        },
        opened_at: row.time("opened_at")?,
        acknowledged,
        resolved_at: row.time_if_any("resolved_at")?,
    })
}
