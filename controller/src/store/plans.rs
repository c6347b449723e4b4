//! Plans and what people say to them. A plan's life changes only by a guarded update that names the life it expects.

use policy::Timestamp;
use policy::id::{Person, PlanId, ServerName, Sha256};
use policy::life::{Event, Life};
use policy::plan::{Plan, Purpose};
use policy::trust::{Approval, Verified};
use proto::signed::SignedBytes;
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::error::{Doing, StoreError};
use super::row::{Columns, count, damaged, micros};
use super::trail::tell;
use super::{MAX_PAGE, Store, page};
use crate::audit::Actor;

/// Approvals that are kept of one plan.
const MAX_APPROVALS: i64 = 64;

/// A plan as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// SHA-256 of the body.
    pub id: PlanId,
    /// The server.
    pub server: ServerName,
    /// What for.
    pub purpose: Purpose,
    /// The plan's bytes.
    pub body: Vec<u8>,
    /// Where it stands.
    pub life: Life,
    /// Why it stands there.
    pub waits_for: String,
    /// Earliest begin.
    pub opens_at: Timestamp,
    /// It pages and ignores windows.
    pub urgent: bool,
    /// Persons whose approval counted at the last look.
    pub approved: u64,
    /// Persons needed.
    pub needed: u64,
    /// What is not worked on at once with it.
    pub group: String,
    /// Somebody wants it back although it was offered.
    pub cancelled: bool,
    /// First seen.
    pub created_at: Timestamp,
    /// Life or reason last changed.
    pub changed_at: Timestamp,
}

impl PlanRow {
    /// The plan.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn plan(&self) -> Result<Plan, StoreError> {
        Plan::from_bytes(&self.body).map_err(|_| damaged("plans.body", "a plan of this version", &self.id.to_string()))
    }

    /// Another when the plan stands otherwise: what it is to do never changes, for that is what its id names.
    pub fn etag(&self) -> String {
        let Self { id, life, cancelled, approved, changed_at, .. } = self;
        let stands = format!("{id} {} {cancelled} {approved} {}", life.as_str(), micros(*changed_at));
        Sha256::of(stands.as_bytes()).short()
    }

    fn is_as_seen(&self, seen: Option<&str>) -> Result<(), StoreError> {
        match seen {
            Some(seen) if seen != self.etag() => Err(StoreError::Changed { plan: self.id, life: self.life }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Which plans a list holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanFilter {
    /// Only those that are not ended.
    pub open_only: bool,
    /// Only of this server.
    pub server: Option<ServerName>,
}

/// Where a page of plans ended: the newest come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanCursor {
    /// Of the last plan.
    pub created_at: Timestamp,
    /// Of the last plan.
    pub id: PlanId,
}

/// An approval as it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApproval {
    /// SHA-256 of its body.
    pub id: Sha256,
    /// As it was signed.
    pub signed: SignedBytes,
}

impl StoredApproval {
    /// Reads and checks it again, as whoever believes it must.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn verified(&self) -> Result<Verified<Approval>, StoreError> {
        proto::signed::approval(&self.signed).map_err(|_| damaged("approvals.signed", "a signed approval", &self.id.to_string()))
    }
}

/// A plan to be sent, as the rows say at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The plan.
    pub id: PlanId,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Offered, or running as its agent said.
    pub life: Life,
    /// Somebody wants it back.
    pub cancelled: bool,
    /// Approvals as they were signed.
    pub approvals: Vec<SignedBytes>,
}

const BY_ID: &str = "SELECT * FROM plans WHERE id = $1";
const BY_AGE: &str = "SELECT * FROM plans
    WHERE ($1 = '' OR server = $1)
      AND ($2 = 0 OR life IN ('proposed', 'approved', 'waiting', 'offered', 'running', 'restored'))
      AND (created_at < $3 OR (created_at = $3 AND id > $4))
    ORDER BY created_at DESC, id LIMIT $5";

impl Store {
    /// Plans, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plans(&self, filter: &PlanFilter, after: Option<PlanCursor>, limit: u32) -> Result<Vec<PlanRow>, StoreError> {
        let rows = sqlx::query(BY_AGE)
            .bind(filter.server.as_ref().map_or("", ServerName::as_str))
            .bind(i64::from(filter.open_only))
            .bind(after.map_or(i64::MAX, |cursor| micros(cursor.created_at)))
            .bind(after.map_or_else(String::new, |cursor| cursor.id.to_string()))
            .bind(page(limit))
            .fetch_all(self.readers())
            .await
            .doing("reading plans")?;
        rows.iter().map(plan_row).collect()
    }

    /// One plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plan(&self, id: &PlanId) -> Result<Option<PlanRow>, StoreError> {
        let row = sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(self.readers()).await.doing("reading a plan")?;
        row.as_ref().map(plan_row).transpose()
    }

    /// The one plan whose id begins so, in hexadecimal digits.
    ///
    /// # Errors
    /// [`StoreError::NoPlan`], [`StoreError::AmbiguousPlan`].
    pub async fn plan_by_prefix(&self, prefix: &str) -> Result<PlanRow, StoreError> {
        let shown = || prefix.chars().take(64).collect::<String>();
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StoreError::NoPlan(shown()));
        }
        let first = prefix.to_ascii_lowercase();
        let last = format!("{first}g");
        let rows = sqlx::query("SELECT * FROM plans WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 2")
            .bind(first)
            .bind(last)
            .fetch_all(self.readers())
            .await
            .doing("reading a plan")?;
        match rows.as_slice() {
            [] => Err(StoreError::NoPlan(shown())),
            [row] => plan_row(row),
            more => Err(StoreError::AmbiguousPlan { prefix: shown(), found: more.len() }),
        }
    }

    /// How many plans stand in each life.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lives(&self) -> Result<Vec<(Life, u64)>, StoreError> {
        let rows = sqlx::query("SELECT life, count(*) AS found FROM plans GROUP BY life ORDER BY life")
            .fetch_all(self.readers())
            .await
            .doing("counting plans")?;
        rows.iter().map(|row| Ok((Columns(row).word("life", Life::from_word)?, Columns(row).number("found")?))).collect()
    }

    /// Approvals of a plan, in the order in which they came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn approvals(&self, plan: &PlanId) -> Result<Vec<StoredApproval>, StoreError> {
        let rows = sqlx::query("SELECT id, signed FROM approvals WHERE plan = $1 ORDER BY received_at, id")
            .bind(plan.to_string())
            .fetch_all(self.readers())
            .await
            .doing("reading approvals")?;
        rows.iter().map(approval).collect()
    }

    /// Keeps an approval for each of its plans. Whether it is enough is decided at the next look. The same one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NoPlan`] when a plan that it names is not here; [`StoreError::Life`] when one of them is not waiting any more.
    pub async fn add_approval(
        &self,
        approval: Verified<Approval>,
        signed: SignedBytes,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<PlanRow>, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let mut plans = Vec::new();
                    for id in &approval.value.plans {
                        let plan = by_id(connection, id).await?;
                        if !plan.life.open() {
                            plan.life.after(Event::Approve).map_err(|source| StoreError::Life { plan: *id, source })?;
                        }
                        add_approval(connection, &approval, &signed, &plan, now).await?;
                        plans.push(plan);
                    }
                    let Approval { plans: ids, person, reason, change, not_before, not_after, requester, estate: _ } =
                        &approval.value;
                    let detail = json!({
                        "plans": ids, "person": person, "reason": reason, "change": change, "requester": requester,
                        "not_before": not_before, "not_after": not_after, "signers": approval.signers,
                    });
                    tell(connection, now, &by, "plan.approval", &approval.id.to_string(), detail).await?;
                    Ok(plans)
                })
            })
            .await
    }

    /// A person says no. A plan that was not offered yet is withdrawn; one that was is called back, and ends as its agent says.
    ///
    /// # Errors
    /// [`StoreError::NoPlan`], [`StoreError::Life`] when it ended, [`StoreError::Changed`] when it is not as it was `seen`.
    pub async fn reject(
        &self,
        id: &PlanId,
        seen: Option<String>,
        by: Person,
        reason: String,
        now: Timestamp,
    ) -> Result<PlanRow, StoreError> {
        let id = *id;
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let plan = by_id(connection, &id).await?;
                    plan.is_as_seen(seen.as_deref())?;
                    let actor = Actor::Person(by);
                    let detail = json!({"server": plan.server, "reason": reason});
                    if plan.life.in_flight() {
                        sqlx::query("UPDATE plans SET cancelled = 1, changed_at = $2 WHERE id = $1")
                            .bind(id.to_string())
                            .bind(micros(now))
                            .execute(&mut *connection)
                            .await
                            .doing("calling a plan back")?;
                        tell(connection, now, &actor, "plan.cancelled", &id.to_string(), detail).await?;
                    } else {
                        advance(connection, &plan, Event::Withdraw, &format!("withdrawn by {actor}: {reason}"), now).await?;
                        tell(connection, now, &actor, "plan.withdrawn", &id.to_string(), detail).await?;
                    }
                    by_id(connection, &id).await
                })
            })
            .await
    }

    /// A person gives a plan up whose fate nobody knows. Its host is free for another one.
    ///
    /// # Errors
    /// [`StoreError::NoPlan`], [`StoreError::Life`] when it is not under way, [`StoreError::Changed`] when it is not as it was `seen`.
    pub async fn abandon(
        &self,
        id: &PlanId,
        seen: Option<String>,
        by: Person,
        reason: String,
        now: Timestamp,
    ) -> Result<PlanRow, StoreError> {
        let id = *id;
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let plan = by_id(connection, &id).await?;
                    plan.is_as_seen(seen.as_deref())?;
                    let actor = Actor::Person(by);
                    advance(connection, &plan, Event::Abandon, &format!("abandoned by {actor}: {reason}"), now).await?;
                    let detail = json!({"server": plan.server, "reason": reason});
                    tell(connection, now, &actor, "plan.abandoned", &id.to_string(), detail).await?;
                    by_id(connection, &id).await
                })
            })
            .await
    }

    /// Its agent says that it runs. Said again, nothing changes.
    ///
    /// # Errors
    /// [`StoreError::NoPlan`], [`StoreError::OtherServer`].
    pub async fn begun(&self, id: &PlanId, server: &ServerName, now: Timestamp) -> Result<(), StoreError> {
        let (id, server) = (*id, server.clone());
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let plan = by_id(connection, &id).await?;
                    if plan.server != server {
                        return Err(StoreError::OtherServer { plan: id, expected: plan.server, found: server });
                    }
                    if plan.life != Life::Offered {
                        return Ok(());
                    }
                    advance(connection, &plan, Event::Begin, "the agent is at work", now).await?;
                    tell(connection, now, &Actor::Agent(server), "plan.begun", &id.to_string(), json!({})).await
                })
            })
            .await
    }

    /// What this server is to be sent: the plan that is offered or running there, with its approvals. Always from the rows (J8).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn offers(&self, server: &ServerName) -> Result<Vec<Offer>, StoreError> {
        let rows = sqlx::query("SELECT * FROM plans WHERE server = $1 AND life IN ('offered', 'running') ORDER BY id")
            .bind(server.as_str())
            .fetch_all(self.readers())
            .await
            .doing("reading what is offered")?;
        let mut offers = Vec::new();
        for row in &rows {
            let PlanRow { id, body, life, cancelled, .. } = plan_row(row)?;
            let approvals = self.approvals(&id).await?.into_iter().map(|approval| approval.signed).collect();
            offers.push(Offer { id, body, life, cancelled, approvals });
        }
        Ok(offers)
    }
}

/// Moves a plan on, if it stands where it stood when it was read.
/// The plans of a server whose end is open, the newest first.
pub(super) async fn not_ended(connection: &mut AnyConnection, server: &ServerName) -> Result<Vec<PlanRow>, StoreError> {
    let rows = sqlx::query(BY_AGE)
        .bind(server.as_str())
        .bind(1_i64)
        .bind(i64::MAX)
        .bind("")
        .bind(page(MAX_PAGE))
        .fetch_all(connection)
        .await
        .doing("reading the plans of a server")?;
    rows.iter().map(plan_row).collect()
}

pub(super) async fn advance(
    connection: &mut AnyConnection,
    plan: &PlanRow,
    event: Event,
    why: &str,
    now: Timestamp,
) -> Result<Life, StoreError> {
    let next = plan.life.after(event).map_err(|source| StoreError::Life { plan: plan.id, source })?;
    set_life(connection, plan, next, why, now).await?;
    Ok(next)
}

pub(super) async fn set_life(
    connection: &mut AnyConnection,
    plan: &PlanRow,
    next: Life,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE plans SET life = $3, waits_for = $4, changed_at = $5 WHERE id = $1 AND life = $2")
        .bind(plan.id.to_string())
        .bind(plan.life.as_str())
        .bind(next.as_str())
        .bind(why)
        .bind(micros(now))
        .execute(connection)
        .await
        .doing("moving a plan on")?;
    Ok(())
}

pub(super) async fn by_id(connection: &mut AnyConnection, id: &PlanId) -> Result<PlanRow, StoreError> {
    find(connection, id).await?.ok_or_else(|| StoreError::NoPlan(id.to_string()))
}

pub(super) async fn find(connection: &mut AnyConnection, id: &PlanId) -> Result<Option<PlanRow>, StoreError> {
    let row = sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(connection).await.doing("reading a plan")?;
    row.as_ref().map(plan_row).transpose()
}

async fn add_approval(
    connection: &mut AnyConnection,
    approval: &Verified<Approval>,
    signed: &SignedBytes,
    plan: &PlanRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT count(*) AS found FROM approvals WHERE plan = $1")
        .bind(plan.id.to_string())
        .fetch_one(&mut *connection)
        .await
        .doing("counting approvals")?;
    if count(Columns(&row).number("found")?) >= MAX_APPROVALS {
        return Err(StoreError::TooMany { what: "approvals of a plan", server: plan.server.clone(), limit: MAX_APPROVALS });
    }
    sqlx::query("INSERT INTO approvals (id, plan, person, signed, received_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (plan, id) DO NOTHING")
        .bind(approval.id.to_string())
        .bind(plan.id.to_string())
        .bind(approval.value.person.as_str())
        .bind(signed.to_file_text())
        .bind(micros(now))
        .execute(connection)
        .await
        .doing("keeping an approval")?;
    Ok(())
}

pub(super) fn approval(row: &AnyRow) -> Result<StoredApproval, StoreError> {
    let row = Columns(row);
    let id: Sha256 = row.parsed("id")?;
    let signed = SignedBytes::from_file_text(&row.text("signed")?)
        .ok()
        .filter(|signed| signed.id() == id)
        .ok_or_else(|| damaged("approvals.signed", "the approval of this id", &id.to_string()))?;
    Ok(StoredApproval { id, signed })
}

pub(super) fn plan_row(row: &AnyRow) -> Result<PlanRow, StoreError> {
    let row = Columns(row);
    let id: PlanId = row.parsed("id")?;
    let body = row.text("body")?.into_bytes();
    if Sha256::of(&body) != id {
        return Err(damaged("plans.body", "the plan of this id", &id.to_string()));
    }
    Ok(PlanRow {
        id,
        server: row.parsed("server")?,
        purpose: row.word("purpose", |word| serde_json::from_value(serde_json::Value::from(word)).ok())?,
        body,
        life: row.word("life", Life::from_word)?,
        waits_for: row.text("waits_for")?,
        opens_at: row.time("opens_at")?,
        urgent: row.flag("urgent")?,
        approved: row.number("approved")?,
        needed: row.number("needed")?,
        group: row.text("grp")?,
        cancelled: row.flag("cancelled")?,
        created_at: row.time("created_at")?,
        changed_at: row.time("changed_at")?,
    })
}
