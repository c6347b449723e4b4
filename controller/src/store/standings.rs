//! How servers stood, and what was done to them: the facts of a report about a day.
//!
//! A server that stands as it stood takes no row, however often it is looked at (docs/decisions/0030-how-long-it-was-left-alone.md).

use policy::Timestamp;
use policy::duration::Span;
use policy::finding::{Code, Verdict};
use policy::id::{PlanId, ServerName, Thumbprint};
use policy::receipt::Receipt;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::error::{Doing, StoreError};
use super::plans::{PlanRow, StoredApproval, approval, plan_row};
use super::row::{Columns, json, micros};
use super::{Store, page};
use crate::audit::Head;
use crate::reconcile::Conclusion;

/// A change on 444 and the receipt of a plan belong together when they are no further apart: the plan did it.
const TOGETHER: Span = Span::seconds(600);

/// Rows of one server, the newest: a host that flaps for a year does not fill the disk.
const OF_ONE: i64 = 10_000;

/// How a server stood at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub server: ServerName,
    /// Since when it stood so.
    pub since: Timestamp,
    /// Verdict.
    pub verdict: Verdict,
    /// What was found, the gravest first.
    pub findings: Vec<Code>,
    /// The mode in which it stood.
    pub mode: Option<String>,
    /// Database availability group, when it was known and there was one.
    pub dag: Option<String>,
    /// AD site, when it was known.
    pub ad_site: Option<String>,
    /// Version of Exchange, when it was known.
    pub exchange: Option<String>,
    /// What the record on 444 named.
    pub thumbprint: Option<Thumbprint>,
    /// That certificate in DER, when it was at hand.
    pub certificate: Option<Vec<u8>>,
    /// How long that was left alone.
    pub alone: Alone,
}

/// By what it is known how long 444 was left alone (docs/decisions/0030-how-long-it-was-left-alone.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alone {
    /// Since when the record names that certificate, as far as was seen.
    pub bound_since: Timestamp,
    /// When the server was heard for the first time.
    pub watched_since: Timestamp,
    /// When that certificate begins; `None` when it is not at hand.
    pub not_before: Option<Timestamp>,
    /// When a plan last changed anything there.
    pub touched_at: Option<Timestamp>,
}

impl Alone {
    /// Since when nobody changed what stands on 444, as far as anybody can tell: not before the certificate was made, not before a change
    /// that was seen, and not before a plan of ours that wrote anything there.
    pub fn since(&self) -> Timestamp {
        let Self { bound_since, watched_since, not_before, touched_at } = *self;
        let bound = match not_before {
            Some(not_before) if bound_since == watched_since => not_before.min(bound_since),
            Some(_) | None => bound_since,
        };
        touched_at.map_or(bound, |touched_at| touched_at.max(bound))
    }
}

/// How a server stood from a moment on, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stood {
    /// From when.
    pub since: Timestamp,
    /// Verdict.
    pub verdict: Verdict,
    /// What was found, the gravest first.
    pub findings: Vec<Code>,
    /// What the record on 444 named.
    pub thumbprint: Option<Thumbprint>,
}

/// What held for the whole estate at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldAt {
    /// Version of the policy that was in force; 0 before the first.
    pub policy: u64,
    /// Where the audit trail ended.
    pub audit: Head,
}

/// Something that changed on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was known here.
    pub at: Timestamp,
    /// Where.
    pub server: ServerName,
    /// What the record on 444 named before and after, when that became another: either may be nothing.
    pub rebound: Option<(Option<Thumbprint>, Option<Thumbprint>)>,
    /// The plan that did it; `None` when it was somebody else.
    pub plan: Option<Done>,
}

/// A plan that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The plan.
    pub row: PlanRow,
    /// What it came to.
    pub receipt: Receipt,
    /// As people approved it.
    pub approvals: Vec<StoredApproval>,
}

/// Where a page of changes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeCursor {
    /// Of the last one.
    pub at: Timestamp,
    /// Of the last one.
    pub server: ServerName,
    /// Of the last one.
    pub plan: Option<PlanId>,
}

impl Change {
    /// The place behind it.
    pub fn cursor(&self) -> ChangeCursor {
        ChangeCursor { at: self.at, server: self.server.clone(), plan: self.plan.as_ref().map(|done| done.row.id) }
    }
}

impl Store {
    /// How the servers behind `after` stood at a moment, by name; those that had not joined yet or were retired are none of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standings(&self, at: Timestamp, after: Option<&ServerName>, limit: u32) -> Result<Vec<Standing>, StoreError> {
        let rows = sqlx::query(
            "SELECT stood.*, certificates.der AS der, certificates.not_before AS not_before,
               (SELECT max(settled_at) FROM receipts WHERE receipts.server = stood.server AND outcome <> 'refused' AND settled_at <= $1) AS touched_at
             FROM standings AS stood LEFT JOIN certificates ON certificates.id = stood.certificate
             WHERE stood.since <= $1 AND stood.gone = 0 AND stood.server > $2
               AND NOT EXISTS (SELECT 1 FROM standings AS newer WHERE newer.server = stood.server AND newer.since > stood.since AND newer.since <= $1)
             ORDER BY stood.server LIMIT $3",
        )
        .bind(micros(at))
        .bind(after.map_or("", ServerName::as_str))
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .doing("reading how servers stood")?;
        rows.iter().map(standing).collect()
    }

    /// How a server stood until now, the newest first: verdict, findings and what 444 named.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(&self, server: &ServerName, limit: u32) -> Result<Vec<Stood>, StoreError> {
        let rows = sqlx::query("SELECT since, verdict, findings, thumbprint FROM standings WHERE server = $1 AND gone = 0 ORDER BY since DESC LIMIT $2")
            .bind(server.as_str())
            .bind(page(limit))
            .fetch_all(self.readers())
            .await
            .doing("reading how a server stood until now")?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                Ok(Stood {
                    since: row.time("since")?,
                    verdict: row.word("verdict", verdict)?,
                    findings: row.json("findings")?,
                    thumbprint: row.parsed_if_any("thumbprint")?,
                })
            })
            .collect()
    }

    /// What held for the whole estate at a moment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held_at(&self, at: Timestamp) -> Result<HeldAt, StoreError> {
        let policy = sqlx::query("SELECT version FROM policies WHERE applied_at <= $1 ORDER BY version DESC LIMIT 1")
            .bind(micros(at))
            .fetch_optional(self.readers())
            .await
            .doing("reading which policy was in force")?;
        let audit = sqlx::query("SELECT sequence, hash FROM audit WHERE at <= $1 ORDER BY sequence DESC LIMIT 1")
            .bind(micros(at))
            .fetch_optional(self.readers())
            .await
            .doing("reading where the audit trail ended")?;
        let audit = audit.map(|row| {
            let row = Columns(&row);
            Ok::<_, StoreError>(Head { sequence: row.number("sequence")?, hash: row.parsed("hash")? })
        });
        Ok(HeldAt {
            policy: policy.map(|row| Columns(&row).number("version")).transpose()?.unwrap_or_default(),
            audit: audit.transpose()?.unwrap_or(Head::EMPTY),
        })
    }

    /// What changed on servers behind `since` until `until`, the oldest first: plans that were run, and what somebody else put on 444.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn changes(
        &self,
        (since, until): (Timestamp, Timestamp),
        after: Option<ChangeCursor>,
        limit: u32,
    ) -> Result<Vec<Change>, StoreError> {
        let begin = after.as_ref().map_or(since, |after| after.at);
        let (server, plan) = after.map(|after| (after.server.to_string(), after.plan)).unzip();
        let rows = sqlx::query(
            "WITH rebound AS (
               SELECT new.server AS server, new.since AS since, new.thumbprint AS thumbprint,
                 (SELECT old.thumbprint FROM standings AS old WHERE old.server = new.server AND old.since < new.since ORDER BY old.since DESC LIMIT 1) AS before
               FROM standings AS new WHERE new.bound_since = new.since AND new.watched_since < new.since AND new.gone = 0),
             happened AS (
               SELECT settled_at AS at, server, plan,
                 (SELECT max(since) FROM rebound WHERE rebound.server = receipts.server AND abs(rebound.since - receipts.settled_at) <= $6) AS since
               FROM receipts WHERE outcome <> 'refused' AND settled_at >= $1 AND settled_at <= $2 AND EXISTS (SELECT 1 FROM plans WHERE plans.id = receipts.plan)
               UNION ALL
               SELECT since AS at, server, '' AS plan, since FROM rebound WHERE since >= $1 AND since <= $2
                 AND NOT EXISTS (SELECT 1 FROM receipts WHERE receipts.server = rebound.server AND outcome <> 'refused' AND abs(rebound.since - receipts.settled_at) <= $6))
             SELECT happened.at AS at, happened.server AS happened_on, happened.plan AS happened_by, plans.*, receipts.receipt AS receipt,
               rebound.since AS rebound_since, rebound.thumbprint AS thumbprint, rebound.before AS before
             FROM happened LEFT JOIN plans ON plans.id = happened.plan LEFT JOIN receipts ON receipts.plan = happened.plan
             LEFT JOIN rebound ON rebound.server = happened.server AND rebound.since = happened.since
             WHERE (happened.at, happened.server, happened.plan) > ($3, $4, $5)
             ORDER BY happened.at, happened.server, happened.plan LIMIT $7",
        )
        .bind(micros(begin))
        .bind(micros(until))
        .bind(micros(begin))
        .bind(server.unwrap_or_default())
        .bind(plan.flatten().map(|id| id.to_string()).unwrap_or_default())
        .bind(TOGETHER.as_seconds() * 1_000_000)
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .doing("reading what changed on servers")?;
        let mut changes = rows.iter().map(change).collect::<Result<Vec<_>, _>>()?;
        if let (Some(first), Some(last)) = (changes.first().map(|change| change.at), changes.last().map(|change| change.at)) {
            self.approved(&mut changes, first, last).await?;
        }
        Ok(changes)
    }

    /// Who approved the plans of these changes: one question for all.
    async fn approved(&self, changes: &mut [Change], first: Timestamp, last: Timestamp) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT approvals.plan AS plan, approvals.id AS id, approvals.signed AS signed
             FROM approvals JOIN receipts ON receipts.plan = approvals.plan
             WHERE receipts.settled_at >= $1 AND receipts.settled_at <= $2 ORDER BY approvals.received_at, approvals.id",
        )
        .bind(micros(first))
        .bind(micros(last))
        .fetch_all(self.readers())
        .await
        .doing("reading who approved what was done")?;
        for row in &rows {
            let plan: PlanId = Columns(row).parsed("plan")?;
            let of = changes.iter_mut().filter_map(|change| change.plan.as_mut()).find(|done| done.row.id == plan);
            if let Some(done) = of {
                done.approvals.push(approval(row)?);
            }
        }
        Ok(())
    }
}

/// Notes how a server stands, as its row says, unless it stood so before. While it cannot be judged, what stands there is what was seen last.
pub(super) async fn note(
    connection: &mut AnyConnection,
    server: &ServerName,
    conclusion: &Conclusion,
    now: Timestamp,
) -> Result<(), StoreError> {
    let findings: Vec<Code> = conclusion.assessment.findings.iter().map(|finding| finding.code).collect();
    let done = sqlx::query(
        "INSERT INTO standings (server, since, gone, verdict, findings, mode, dag, ad_site, exchange, thumbprint, certificate, bound_since, watched_since)
         SELECT name, $2, 0, stands.verdict, $3, stands.mode, stands.dag, stands.ad_site, stands.exchange, stands.names, stands.holds,
           CASE WHEN old.server IS NOT NULL AND old.thumbprint IS NOT DISTINCT FROM stands.names THEN old.bound_since ELSE $2 END,
           COALESCE(old.watched_since, $2)
         FROM (SELECT servers.*,
                 CASE WHEN verdict = 'unknown' AND thumbprint IS NULL THEN (SELECT thumbprint FROM standings WHERE server = $1 ORDER BY since DESC LIMIT 1) ELSE thumbprint END AS names,
                 CASE WHEN verdict = 'unknown' AND thumbprint IS NULL THEN (SELECT certificate FROM standings WHERE server = $1 ORDER BY since DESC LIMIT 1) ELSE certificate END AS holds
               FROM servers WHERE name = $1) AS stands
         LEFT JOIN (SELECT * FROM standings WHERE server = $1 ORDER BY since DESC LIMIT 1) AS old ON old.server = stands.name AND old.gone = 0
         WHERE old.server IS NULL OR old.verdict <> stands.verdict OR old.findings <> $3 OR old.thumbprint IS DISTINCT FROM stands.names
           OR old.certificate IS DISTINCT FROM stands.holds
         ON CONFLICT (server, since) DO NOTHING",
    )
    .bind(server.as_str())
    .bind(micros(now))
    .bind(json(&findings))
    .execute(&mut *connection)
    .await
    .doing("noting how a server stands")?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM standings WHERE server = $1 AND since < (SELECT since FROM standings WHERE server = $1 ORDER BY since DESC LIMIT 1 OFFSET $2)",
    )
    .bind(server.as_str())
    .bind(OF_ONE - 1)
    .execute(connection)
    .await
    .doing("forgetting how a server stood long ago")?;
    Ok(())
}

/// From here on there is no server of this name.
pub(super) async fn end(connection: &mut AnyConnection, server: &ServerName, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO standings (server, since, gone, verdict, findings, bound_since, watched_since)
         SELECT server, $2, 1, verdict, '[]', $2, watched_since FROM standings WHERE server = $1 ORDER BY since DESC LIMIT 1
         ON CONFLICT (server, since) DO UPDATE SET gone = 1",
    )
    .bind(server.as_str())
    .bind(micros(now))
    .execute(connection)
    .await
    .doing("noting that a server is no more")?;
    Ok(())
}

fn verdict(word: &str) -> Option<Verdict> {
    serde_json::from_value(serde_json::Value::from(word)).ok()
}

fn standing(row: &AnyRow) -> Result<Standing, StoreError> {
    let row = Columns(row);
    Ok(Standing {
        server: row.parsed("server")?,
        since: row.time("since")?,
        verdict: row.word("verdict", verdict)?,
        findings: row.json("findings")?,
        mode: row.text_if_any("mode")?,
        dag: row.text_if_any("dag")?,
        ad_site: row.text_if_any("ad_site")?,
        exchange: row.text_if_any("exchange")?,
        thumbprint: row.parsed_if_any("thumbprint")?,
        certificate: row.bytes_if_any("der")?,
        alone: alone(&row)?,
    })
}

pub(super) fn alone(row: &Columns<'_>) -> Result<Alone, StoreError> {
    Ok(Alone {
        bound_since: row.time("bound_since")?,
        watched_since: row.time("watched_since")?,
        not_before: row.time_if_any("not_before")?,
        touched_at: row.time_if_any("touched_at")?,
    })
}

fn change(found: &AnyRow) -> Result<Change, StoreError> {
    let row = Columns(found);
    let rebound = match row.time_if_any("rebound_since")? {
        Some(_) => Some((row.parsed_if_any("before")?, row.parsed_if_any("thumbprint")?)),
        None => None,
    };
    let plan = match row.json_if_any("receipt")? {
        Some(receipt) => Some(Done { row: plan_row(found)?, receipt, approvals: Vec::new() }),
        None => None,
    };
    Ok(Change { at: row.time("at")?, server: row.parsed("happened_on")?, rebound, plan })
}
