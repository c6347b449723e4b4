//! Writing down what a look came to: all of it, if the report that was looked at is still the newest, and each move of a plan
//! only from where the plan was seen.

use std::sync::Arc;

use policy::Timestamp;
use policy::document::GroupBy;
use policy::finding::Severity;
use policy::id::ServerName;
use policy::last::LastKnown;
use policy::life::{Event, Life};
use policy::plan::Plan;
use serde_json::json;
use sqlx::AnyConnection;

use super::error::{Doing, StoreError};
use super::plans::{PlanRow, find};
use super::row::{Columns, count, json as to_json, micros};
use super::trail::tell;
use super::{Store, standings};
use crate::audit::Actor;
use crate::reconcile::{Conclusion, Move, Standing};

/// What became of a conclusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclude {
    /// It is on disk.
    Kept,
    /// A newer report or a receipt came meanwhile: look again. Nothing was written.
    Outdated,
}

impl Store {
    /// Writes a conclusion down.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn conclude(
        &self,
        server: &ServerName,
        conclusion: impl Into<Arc<Conclusion>>,
        now: Timestamp,
    ) -> Result<Conclude, StoreError> {
        let (server, conclusion) = (server.clone(), conclusion.into());
        self.writer()
            .write(move |connection| Box::pin(async move { conclude(connection, &server, &conclusion, now).await }))
            .await
    }
}

async fn conclude(
    connection: &mut AnyConnection,
    server: &ServerName,
    conclusion: &Conclusion,
    now: Timestamp,
) -> Result<Conclude, StoreError> {
    let Conclusion {
        generation: _,
        before: _,
        last: _,
        assessment,
        decision,
        dead: _,
        why,
        mode,
        certificate,
        not_after,
        next_look,
        moves,
        waves: _,
    } = conclusion;
    // Nothing is written before this: it tells whether what was looked at still is what is there.
    if !remember(connection, server, conclusion).await? {
        return Ok(Conclude::Outdated);
    }
    sqlx::query(
        "UPDATE servers SET verdict = $2, decision = $3, why = $4, mode = $5, certificate = $6, not_after = $7, next_look = $8, worst = $9 WHERE name = $1",
    )
    .bind(server.as_str())
    .bind(assessment.verdict.as_str())
    .bind(decision.as_str())
    .bind(why.as_str())
    .bind(mode.as_str())
    .bind(certificate.map(|id| id.to_string()))
    .bind(not_after.map(micros))
    .bind(next_look.map(micros))
    .bind(assessment.worst().map(Severity::as_str))
    .execute(&mut *connection)
    .await
    .doing("concluding")?;
    sqlx::query("UPDATE reports SET assessment = $2 WHERE server = $1")
        .bind(server.as_str())
        .bind(to_json(assessment))
        .execute(&mut *connection)
        .await
        .doing("concluding")?;
    standings::note(connection, server, conclusion, now).await?;
    // Those that make room come first: a plan that is superseded and the one that follows it may be of one look.
    for step in moves {
        match step {
            Move::Propose { plan, standing } => propose(connection, plan, standing, now).await?,
            Move::Note { plan, at, standing } => {
                if let Some(row) = find(connection, plan).await?.filter(|row| row.life == *at) {
                    stand(connection, &row, row.life, standing, row.changed_at).await?;
                }
            }
            Move::Advance { plan, from, events, standing } => {
                if let Some(row) = find(connection, plan).await?.filter(|row| row.life == *from) {
                    advance(connection, &row, events, standing, conclusion, now).await?;
                }
            }
        }
    }
    Ok(Conclude::Kept)
}

/// What is remembered for the next look, when report and memory are still those of this one.
async fn remember(connection: &mut AnyConnection, server: &ServerName, conclusion: &Conclusion) -> Result<bool, StoreError> {
    let Conclusion { generation, before, last, .. } = conclusion;
    let done = sqlx::query(
        "UPDATE reports SET last_known = $2 WHERE server = $1 AND (last_known = $3 OR (last_known IS NULL AND $4 = 1))
           AND EXISTS (SELECT 1 FROM servers WHERE name = $1 AND epoch = $5 AND counter = $6)",
    )
    .bind(server.as_str())
    .bind(to_json(last))
    .bind(to_json(before))
    .bind(i64::from(*before == LastKnown::default()))
    .bind(count(generation.epoch))
    .bind(count(generation.counter))
    .execute(connection)
    .await
    .doing("remembering a look")?;
    Ok(done.rows_affected() == 1)
}

async fn propose(connection: &mut AnyConnection, plan: &Plan, standing: &Standing, now: Timestamp) -> Result<(), StoreError> {
    let id = plan.id();
    let body = String::from_utf8(plan.to_bytes()).expect("JSON is UTF-8");
    let done = sqlx::query(
        "INSERT INTO plans (id, server, purpose, body, life, waits_for, opens_at, urgent, approved, needed, grp, cancelled, created_at, changed_at)
         SELECT $1, $2, $3, $4, 'proposed', $5, $6, $7, 0, $8, grp, 0, $9, $9 FROM servers WHERE name = $2 ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(plan.host.as_str())
    .bind(plan.purpose.as_str())
    .bind(body)
    .bind(standing.why.as_str())
    .bind(micros(standing.opens_at))
    .bind(i64::from(standing.urgent))
    .bind(count(standing.needed))
    .bind(micros(now))
    .execute(&mut *connection)
    .await
    .doing("proposing a plan")?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let detail = json!({"server": plan.host, "purpose": plan.purpose, "attempt": plan.attempt, "opens_at": standing.opens_at, "why": standing.why});
    tell(connection, now, &Actor::Controller, "plan.proposed", &id.to_string(), detail).await
}

async fn advance(
    connection: &mut AnyConnection,
    row: &PlanRow,
    events: &[Event],
    standing: &Standing,
    conclusion: &Conclusion,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut life = row.life;
    let mut why = standing.why.clone();
    for event in events {
        let mut event = *event;
        if event == Event::Offer
            && let Some(other) = taken(connection, row, conclusion).await?
        {
            // Two looks at once came to the same; the slot or the turn went to the other one.
            why = other;
            event = Event::Wait;
        }
        life = life.after(event).map_err(|source| StoreError::Life { plan: row.id, source })?;
        let detail = json!({"server": row.server, "why": why});
        if life != Life::Waiting || row.life != Life::Waiting {
            tell(connection, now, &Actor::Controller, &format!("plan.{}", life.as_str()), &row.id.to_string(), detail).await?;
        }
    }
    stand(connection, row, life, &Standing { why, ..standing.clone() }, now).await?;
    if life == Life::Offered {
        // The group in which it stands now is the one whose turn it takes.
        sqlx::query("UPDATE plans SET grp = (SELECT grp FROM servers WHERE name = $2) WHERE id = $1")
            .bind(row.id.to_string())
            .bind(row.server.as_str())
            .execute(connection)
            .await
            .doing("taking a turn")?;
    }
    Ok(())
}

/// Who has the host's slot (J1) or the turn (P8) at this moment. Asked inside the transaction; two unique indices stand behind it.
///
/// Whoever has nothing to lose does not wait for those that are done and not confirmed.
async fn taken(connection: &mut AnyConnection, row: &PlanRow, conclusion: &Conclusion) -> Result<Option<String>, StoreError> {
    let Conclusion { waves, dead, .. } = conclusion;
    let found = sqlx::query(
        "SELECT server, id FROM plans WHERE id <> $1 AND (
           (server = $2 AND life IN ('offered', 'running'))
           OR ($3 = 1 AND server IN (SELECT other.name FROM servers AS own JOIN servers AS other ON own.grp = other.grp
                   OR ($4 = 1 AND (own.ad_site = other.ad_site OR own.ad_site IS NULL OR other.ad_site IS NULL))
                 WHERE own.name = $2 AND other.name <> $2)
               AND (life IN ('offered', 'running') OR ($5 = 0 AND life = 'restored' AND purpose NOT IN ('restore_record', 'undelete', 'fix_store', 'relink')))))
         ORDER BY server LIMIT 1",
    )
    .bind(row.id.to_string())
    .bind(row.server.as_str())
    .bind(i64::from(!row.purpose.restores()))
    .bind(i64::from(waves.group_by == GroupBy::Site))
    .bind(i64::from(*dead))
    .fetch_optional(&mut *connection)
    .await
    .doing("asking whose turn it is")?;
    if let Some(found) = found {
        return Ok(Some(format!("one at a time: {} of the same group is at work", Columns(&found).text("server")?)));
    }
    if row.purpose.restores() {
        return Ok(None);
    }
    let found = sqlx::query(
        "SELECT count(DISTINCT server) AS found FROM plans
         WHERE server <> $1 AND (life IN ('offered', 'running') OR ($2 = 0 AND life = 'restored')) AND purpose NOT IN ('restore_record', 'undelete', 'fix_store', 'relink')",
    )
    .bind(row.server.as_str())
    .bind(i64::from(*dead))
    .fetch_one(connection)
    .await
    .doing("counting who is at work")?;
    let at_work = Columns(&found).number("found")?;
    Ok((at_work >= u64::from(waves.at_once))
        .then(|| format!("one at a time: {at_work} of {} server(s) that the policy has in work at once", waves.at_once)))
}

async fn stand(
    connection: &mut AnyConnection,
    row: &PlanRow,
    life: Life,
    standing: &Standing,
    changed_at: Timestamp,
) -> Result<(), StoreError> {
    let Standing { why, opens_at, urgent, approved, needed } = standing;
    sqlx::query(
        "UPDATE plans SET life = $3, waits_for = $4, opens_at = $5, urgent = $6, approved = $7, needed = $8, changed_at = $9 WHERE id = $1 AND life = $2",
    )
    .bind(row.id.to_string())
    .bind(row.life.as_str())
    .bind(life.as_str())
    .bind(why.as_str())
    .bind(micros(*opens_at))
    .bind(i64::from(*urgent))
    .bind(count(*approved))
    .bind(count(*needed))
    .bind(micros(changed_at))
    .execute(connection)
    .await
    .doing("moving a plan on")?;
    Ok(())
}
