//! Signed documents as they were signed: the chain of trust, and the policies.

use policy::Timestamp;
use policy::document::Policy;
use policy::id::Sha256;
use policy::trust::{Class, DocumentError, TrustDocument, Verified};
use proto::signed::SignedBytes;
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, count, damaged, micros};
use super::trail::tell;
use crate::audit::Actor;

/// The longest chain of trust that is handed out at once.
const CHAIN: i64 = 100;

const TRUST: &str = "SELECT version, id, signed FROM trust_documents ORDER BY version DESC LIMIT 1";
const POLICY: &str = "SELECT version, id, signed FROM policies ORDER BY version DESC LIMIT 1";

/// A signed document in force, or that once was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// SHA-256 of the body.
    pub id: Sha256,
    /// Grows with each.
    pub version: u64,
    /// As it was signed.
    pub signed: SignedBytes,
}

impl Document {
    /// Reads it as a trust document. It was verified when it was applied; it is read again, because a database is only a file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn trust(&self) -> Result<Verified<TrustDocument>, StoreError> {
        proto::signed::trust(&self.signed)
            .map_err(|_| damaged("trust_documents.signed", "a signed trust document", &self.id.to_string()))
    }

    /// Reads it as a policy.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn policy(&self) -> Result<Verified<Policy>, StoreError> {
        proto::signed::policy(&self.signed).map_err(|_| damaged("policies.signed", "a signed policy", &self.id.to_string()))
    }
}

impl Store {
    /// The trust document in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trust(&self) -> Result<Option<Document>, StoreError> {
        let row = sqlx::query(TRUST).fetch_optional(self.readers()).await.doing("reading the trust document")?;
        row.as_ref().map(document).transpose()
    }

    /// The trust documents behind `version`, in the order in which an agent walks them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trust_chain(&self, version: u64) -> Result<Vec<Document>, StoreError> {
        let rows = sqlx::query("SELECT version, id, signed FROM trust_documents WHERE version > $1 ORDER BY version LIMIT $2")
            .bind(count(version))
            .bind(CHAIN)
            .fetch_all(self.readers())
            .await
            .doing("reading the chain of trust")?;
        rows.iter().map(document).collect()
    }

    /// The policy in force; `None` before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn policy(&self) -> Result<Option<Document>, StoreError> {
        let row = sqlx::query(POLICY).fetch_optional(self.readers()).await.doing("reading the policy")?;
        row.as_ref().map(document).transpose()
    }

    /// Puts a trust document in force, when the one before it admits it, or when it is the first and signed by its own root.
    /// The same one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Document`] when it must not follow.
    pub async fn apply_trust(
        &self,
        next: Verified<TrustDocument>,
        signed: SignedBytes,
        by: Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let estate = self.estate().clone();
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let held = newest(connection, TRUST).await?;
                    match &held {
                        Some(held) if held.id == next.id => return Ok(()),
                        Some(held) => held.trust()?.value.admits_successor(&next),
                        None if next.value.estate != estate => Err(DocumentError::Value {
                            what: "estate of the trust document",
                            expected: estate.to_string(),
                            found: next.value.estate.to_string(),
                        }),
                        None => next.value.self_signed(&next.signers),
                    }
                    .map_err(StoreError::Document)?;
                    keep_trust(connection, &next, &signed, &by, now).await
                })
            })
            .await
    }

    /// Puts a policy in force, when it names the one before it and enough approvers signed. The same one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Document`] when it must not follow, [`StoreError::TooFewSigners`].
    pub async fn apply_policy(
        &self,
        next: Verified<Policy>,
        signed: SignedBytes,
        by: Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let held = newest(connection, POLICY).await?;
                    if held.as_ref().is_some_and(|held| held.id == next.id) {
                        return Ok(());
                    }
                    let trust = trust_in_force(connection).await?;
                    let before = match &held {
                        Some(held) => held.policy()?.value,
                        None => Policy::none_yet(trust.estate.clone()),
                    };
                    follows(&before, &next.value)?;
                    keep_policy(connection, &trust, &before, &next, &signed, &by, now).await
                })
            })
            .await
    }
}

/// Takes a trust document from an agent to a store that was put back from a backup: when it is newer than what is here, and what is
/// here admits it. What came between may be missing. False when there is nothing to take.
pub(super) async fn adopt_trust(
    connection: &mut AnyConnection,
    signed: &SignedBytes,
    by: &Actor,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let next = proto::signed::trust(signed).map_err(StoreError::Unbelieved)?;
    // Without any, nothing here says whose root is believed: a person applies the first.
    let held = trust_in_force(connection).await?;
    if next.value.version <= held.version {
        return Ok(false);
    }
    held.admits_successor(&next).map_err(StoreError::Document)?;
    keep_trust(connection, &next, signed, by, now).await.map(|()| true)
}

/// Takes a policy from an agent to a store that was put back from a backup, as an agent that missed some would take it.
pub(super) async fn adopt_policy(
    connection: &mut AnyConnection,
    signed: &SignedBytes,
    by: &Actor,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let next = proto::signed::policy(signed).map_err(StoreError::Unbelieved)?;
    let trust = trust_in_force(connection).await?;
    let held = match newest(connection, POLICY).await? {
        Some(held) => held.policy()?.value,
        None => Policy::none_yet(trust.estate.clone()),
    };
    if next.value.version <= held.version {
        return Ok(false);
    }
    if next.value.estate != held.estate || next.value.version == held.version + 1 {
        follows(&held, &next.value)?;
    }
    keep_policy(connection, &trust, &held, &next, signed, by, now).await.map(|()| true)
}

async fn keep_trust(
    connection: &mut AnyConnection,
    next: &Verified<TrustDocument>,
    signed: &SignedBytes,
    by: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO trust_documents (version, id, signed, applied_at) VALUES ($1, $2, $3, $4)")
        .bind(count(next.value.version))
        .bind(next.id.to_string())
        .bind(signed.to_file_text())
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .doing("keeping the trust document")?;
    let detail = json!({"version": next.value.version, "signers": next.signers});
    tell(connection, now, by, "trust.applied", &next.id.to_string(), detail).await
}

/// Keeps a policy that may follow `before`, when enough approvers signed it.
async fn keep_policy(
    connection: &mut AnyConnection,
    trust: &TrustDocument,
    before: &Policy,
    next: &Verified<Policy>,
    signed: &SignedBytes,
    by: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    let persons = trust.approvers(&next.signers, now);
    let need = if raises_a_mode(before, &next.value) {
        trust.need(Class::Policy).max(trust.need(Class::Mode))
    } else {
        trust.need(Class::Policy)
    };
    if (persons.len() as u64) < u64::from(need) {
        return Err(StoreError::TooFewSigners { what: "policy", need, found: persons.len() });
    }
    sqlx::query("INSERT INTO policies (version, id, signed, applied_at) VALUES ($1, $2, $3, $4)")
        .bind(count(next.value.version))
        .bind(next.id.to_string())
        .bind(signed.to_file_text())
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .doing("keeping the policy")?;
    let detail = json!({"version": next.value.version, "signers": persons});
    tell(connection, now, by, "policy.applied", &next.id.to_string(), detail).await
}

/// The trust document in force, inside of a write.
pub(super) async fn trust_in_force(connection: &mut AnyConnection) -> Result<TrustDocument, StoreError> {
    let trust = newest(connection, TRUST).await?;
    let trust = trust.ok_or_else(|| refused("trust document", "one, before anything that people sign", "none"))?;
    Ok(trust.trust()?.value)
}

async fn newest(connection: &mut AnyConnection, sql: &'static str) -> Result<Option<Document>, StoreError> {
    let row = sqlx::query(sql).fetch_optional(connection).await.doing("reading the document in force")?;
    row.as_ref().map(document).transpose()
}

fn document(row: &AnyRow) -> Result<Document, StoreError> {
    let row = Columns(row);
    let (version, id): (u64, Sha256) = (row.number("version")?, row.parsed("id")?);
    let signed = SignedBytes::from_file_text(&row.text("signed")?)
        .ok()
        .filter(|signed| signed.id() == id)
        .ok_or_else(|| damaged("signed", "the document of this id", &id.to_string()))?;
    Ok(Document { id, version, signed })
}

fn refused(what: &'static str, expected: impl ToString, found: impl ToString) -> StoreError {
    StoreError::Document(DocumentError::Value { what, expected: expected.to_string(), found: found.to_string() })
}

/// Whether `next` is written to follow `held` (TRUST T3).
fn follows(held: &Policy, next: &Policy) -> Result<(), StoreError> {
    if next.estate != held.estate {
        return Err(refused("estate of the policy", &held.estate, &next.estate));
    }
    if next.version != held.version + 1 {
        return Err(refused("version of the policy", held.version + 1, next.version));
    }
    let expected = (held.version > 0).then_some(held.id);
    if next.previous != expected {
        let show = |id: Option<Sha256>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Err(refused("previous policy", show(expected), show(next.previous)));
    }
    Ok(())
}

/// Whether any server may be allowed more by `next`. A group that was not there counts as raising what it names above `observe`.
fn raises_a_mode(held: &Policy, next: &Policy) -> bool {
    let known = |group: &policy::document::Group| {
        held.groups
            .iter()
            .any(|old| (&old.servers, &old.dag, &old.site) == (&group.servers, &group.dag, &group.site) && old.mode >= group.mode)
    };
    next.mode > held.mode
        || next.groups.iter().any(|group| group.mode > policy::document::Mode::Observe && !known(group))
        // Fewer or other groups: a server may fall through to a higher mode than its group gave it.
        || held.groups.iter().any(|old| old.mode < next.mode && !next.groups.contains(old))
}
