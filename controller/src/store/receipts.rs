//! Receipts: what an agent says a plan came to. Settled once; said again, the answer is the same.

use policy::Timestamp;
use policy::id::{PlanId, ServerName, Sha256};
use policy::last::LastKnown;
use policy::life::Life;
use policy::plan::Plan;
use policy::receipt::{Outcome, Receipt};
use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::error::{Doing, StoreError};
use super::plans::{find, set_life};
use super::row::{Columns, json as to_json, micros};
use super::trail::tell;
use crate::audit::Actor;

/// What a receipt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was new, and is on disk now.
    Now,
    /// It was on disk already.
    Before,
}

impl Store {
    /// The receipt of a plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn receipt(&self, plan: &PlanId) -> Result<Option<Receipt>, StoreError> {
        let row = sqlx::query("SELECT receipt FROM receipts WHERE plan = $1")
            .bind(plan.to_string())
            .fetch_optional(self.readers())
            .await
            .doing("reading a receipt")?;
        row.map(|row| Columns(&row).json("receipt")).transpose()
    }

    /// Writes a receipt down and ends its plan accordingly. A plan that the agent made itself is written down with it.
    ///
    /// # Errors
    /// [`StoreError::OtherServer`] when it is another server's plan.
    pub async fn settle(&self, server: &ServerName, receipt: Receipt, now: Timestamp) -> Result<Settled, StoreError> {
        let server = server.clone();
        self.writer().write(move |connection| Box::pin(async move { settle(connection, &server, &receipt, now).await })).await
    }
}

async fn settle(
    connection: &mut AnyConnection,
    server: &ServerName,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let id = receipt.plan;
    let plan = find(connection, &id).await?;
    if let Some((owner, before)) = earlier(connection, &id).await? {
        if owner != *server {
            return Err(StoreError::OtherServer { plan: id, expected: owner, found: server.clone() });
        }
        // The receipt may be older than the plan here: the same facts give the same plan, proposed anew by a store that was put back, and
        // its agent answers with what it did then.
        let answers = before == receipt.outcome.as_str() && plan.as_ref().is_some_and(|plan| plan.life.in_flight());
        // A refusal is no end: the same plan, made by the agent itself, is judged anew.
        let done_after_all = before == Outcome::Refused.as_str() && receipt.outcome != Outcome::Refused;
        if !answers && !done_after_all {
            return Ok(Settled::Before);
        }
    }
    let mut unread = None;
    match plan {
        Some(plan) if plan.server != *server => {
            return Err(StoreError::OtherServer { plan: id, expected: plan.server, found: server.clone() });
        }
        Some(plan) => {
            let why = receipt.notes.last().map_or_else(|| receipt.outcome.as_str().to_owned(), Clone::clone);
            set_life(connection, &plan, settled(plan.life, receipt.outcome), &why, now).await?;
        }
        None => unread = own_plan(connection, server, receipt, now).await?,
    }
    sqlx::query(
        "INSERT INTO receipts (plan, server, outcome, receipt, ended_at, settled_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (plan) DO UPDATE SET outcome = excluded.outcome, receipt = excluded.receipt, ended_at = excluded.ended_at, settled_at = excluded.settled_at",
    )
        .bind(id.to_string())
        .bind(server.as_str())
        .bind(receipt.outcome.as_str())
        .bind(to_json(receipt))
        .bind(micros(receipt.ended_at))
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .doing("keeping a receipt")?;
    if receipt.standing.is_some() && receipt.outcome == Outcome::Restored {
        remember_restore(connection, server, receipt.ended_at).await?;
    }
    let Receipt { plan: _, outcome, notes, foreign, plan_body: _, standing, began_at, ended_at, gap_micros, objections } =
        receipt;
    let detail = json!({
        "server": server, "notes": notes, "foreign": foreign, "standing": standing, "began_at": began_at, "ended_at": ended_at,
        "gap_micros": gap_micros, "objections": objections, "plan_body": unread,
    });
    tell(connection, now, &Actor::Agent(server.clone()), &format!("plan.{}", outcome.as_str()), &id.to_string(), detail).await?;
    Ok(Settled::Now)
}

/// The life of a plan whose receipt has come. The host has the last word, also about a plan of which this store, perhaps put back from
/// a backup, does not remember that it was offered, and about one that the agent made itself after it was refused or its time was over
/// here; but what people gave up stays given up.
pub fn settled(life: Life, outcome: Outcome) -> Life {
    let done_all_the_same = outcome != Outcome::Refused && matches!(life, Life::Refused | Life::Superseded | Life::Expired);
    if (life.ended() || life == Life::Restored) && !done_all_the_same {
        return life;
    }
    life.after(outcome.event()).or_else(|_| Life::Offered.after(outcome.event())).unwrap_or(life)
}

/// The receipt that is on disk: whose, and how it ended.
async fn earlier(connection: &mut AnyConnection, id: &PlanId) -> Result<Option<(ServerName, String)>, StoreError> {
    let row = sqlx::query("SELECT server, outcome FROM receipts WHERE plan = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("looking for a receipt")?;
    row.map(|row| Ok((Columns(&row).parsed("server")?, Columns(&row).text("outcome")?))).transpose()
}

/// A plan that nobody here proposed: the agent made it under standing approval. When its body is missing or is not what it must be,
/// which is returned, only the receipt is kept: it is acknowledged all the same, because an agent sends it until it is.
async fn own_plan(
    connection: &mut AnyConnection,
    server: &ServerName,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Option<&'static str>, StoreError> {
    let Some(body) = &receipt.plan_body else { return Ok(Some("expected the plan's bytes, found none")) };
    if Sha256::of(&body.0) != receipt.plan {
        return Ok(Some("expected the bytes of that id, found others"));
    }
    let (Ok(text), Ok(plan)) = (str::from_utf8(&body.0), Plan::from_bytes(&body.0)) else {
        return Ok(Some("expected a plan of this version, found other bytes"));
    };
    if plan.host != *server {
        return Ok(Some("expected a plan for the server that sent it, found one for another"));
    }
    let life = settled(Life::Offered, receipt.outcome);
    let why = match &receipt.standing {
        Some(policy) => format!("by standing approval of policy {}", policy.short()),
        None => "made by the agent".to_owned(),
    };
    sqlx::query(
        "INSERT INTO plans (id, server, purpose, body, life, waits_for, opens_at, urgent, approved, needed, grp, cancelled, created_at, changed_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, 0, 0, 0, grp, 0, $8, $8 FROM servers WHERE name = $2",
    )
    .bind(receipt.plan.to_string())
    .bind(server.as_str())
    .bind(plan.purpose.as_str())
    .bind(text)
    .bind(life.as_str())
    .bind(why)
    .bind(micros(receipt.began_at))
    .bind(micros(now))
    .execute(connection)
    .await
    .doing("keeping a plan of an agent")?;
    Ok(None)
}

/// The limits on automatic restores are judged here too, so that people see what the agent will say.
async fn remember_restore(connection: &mut AnyConnection, server: &ServerName, at: Timestamp) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT last_known FROM reports WHERE server = $1")
        .bind(server.as_str())
        .fetch_optional(&mut *connection)
        .await
        .doing("reading what is remembered")?;
    let Some(row) = row else { return Ok(()) };
    let last: LastKnown = Columns(&row).json_if_any("last_known")?.unwrap_or_default();
    sqlx::query("UPDATE reports SET last_known = $2 WHERE server = $1")
        .bind(server.as_str())
        .bind(to_json(&last.restored(at)))
        .execute(connection)
        .await
        .doing("remembering a restore")?;
    Ok(())
}
