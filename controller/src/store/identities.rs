//! Who may speak for a server (TRUST T9): keys of agents, their state, and the lineage that tells a machine from its clone.

use policy::Timestamp;
use policy::id::{ServerName, Sha256};
use proto::token::Secret;
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::error::{Doing, StoreError};
use super::row::{Columns, count, micros};
use super::trail::tell;
use super::{Store, page, restored, servers, tokens};
use crate::audit::Actor;

/// Machines that may wait for one name.
const MAX_PENDING: i64 = 8;

const SELECT: &str = "SELECT * FROM identities WHERE key_id = $1";
const SELECT_HOLDER: &str = "SELECT * FROM identities WHERE server = $1 AND state IN ('active', 'quarantined', 'banned')";

/// Where an identity stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityState {
    /// May speak.
    Active,
    /// Knocked with a good token for a name that another machine holds: a person must decide.
    Pending,
    /// Sent away; the name may be enrolled anew.
    Evicted,
    /// Sent away, and the name with it.
    Banned,
    /// A clone, or a machine that was set back in time: does nothing until a person decides.
    Quarantined,
}

impl IdentityState {
    /// The word that people and rows use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Evicted => "evicted",
            Self::Banned => "banned",
            Self::Quarantined => "quarantined",
        }
    }

    /// Nobody else may enrol under its name.
    pub fn holds_the_name(self) -> bool {
        matches!(self, Self::Active | Self::Quarantined | Self::Banned)
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Pending, Self::Evicted, Self::Banned, Self::Quarantined]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// The key of an agent and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub key_id: Sha256,
    /// For which server it speaks.
    pub server: ServerName,
    /// The installation that enrolled.
    pub machine_id: String,
    /// May it?
    pub state: IdentityState,
    /// Why not.
    pub why: String,
    /// The certificate that was issued last.
    pub certificate: Sha256,
    /// Its end.
    pub not_after: Timestamp,
    /// The nonce of the last welcome; empty before the first.
    pub lineage: Vec<u8>,
    /// The one before.
    pub previous_lineage: Vec<u8>,
    /// The epoch of its reports.
    pub epoch: u64,
    /// First.
    pub enrolled_at: Timestamp,
    /// State last changed.
    pub changed_at: Timestamp,
}

impl Identity {
    /// May speak now?
    ///
    /// # Errors
    /// [`StoreError::NotActive`] says why not.
    pub fn active(&self) -> Result<(), StoreError> {
        match self.state {
            IdentityState::Active => Ok(()),
            IdentityState::Pending | IdentityState::Evicted | IdentityState::Banned | IdentityState::Quarantined => {
                Err(StoreError::NotActive { server: self.server.clone(), state: self.state.as_str(), why: self.why.clone() })
            }
        }
    }
}

/// A host at the door.
#[derive(Debug, Clone)]
pub struct Knock {
    /// The token's secret.
    pub secret: Secret,
    /// The name it wants to speak for.
    pub server: ServerName,
    /// The installation.
    pub machine_id: String,
    /// Its key.
    pub key_id: Sha256,
    /// The certificate that it is to get.
    pub certificate: Sha256,
    /// That certificate's end.
    pub not_after: Timestamp,
}

/// A host with a certificate of ours and a key that is not known: it enrolled after the backup was made that was put back.
#[derive(Debug, Clone)]
pub struct Forgotten {
    /// For which name its certificate speaks.
    pub server: ServerName,
    /// The installation, as it says.
    pub machine_id: String,
    /// Its key.
    pub key_id: Sha256,
    /// The certificate that it shows.
    pub certificate: Sha256,
}

impl Store {
    /// The identity of a key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identity(&self, key_id: &Sha256) -> Result<Option<Identity>, StoreError> {
        let row =
            sqlx::query(SELECT).bind(key_id.to_string()).fetch_optional(self.readers()).await.doing("reading an identity")?;
        row.as_ref().map(identity).transpose()
    }

    /// Every identity that a name ever had, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identities(&self, server: &ServerName) -> Result<Vec<Identity>, StoreError> {
        let rows = sqlx::query("SELECT * FROM identities WHERE server = $1 ORDER BY enrolled_at DESC, key_id LIMIT 100")
            .bind(server.as_str())
            .fetch_all(self.readers())
            .await
            .doing("reading identities")?;
        rows.iter().map(identity).collect()
    }

    /// Identities behind this one, by server and key: all, or those about which a person must decide at `decide`, which are those that
    /// wait, are quarantined or banned, and those that let their certificate end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identities_behind(
        &self,
        after: Option<(ServerName, Sha256)>,
        decide: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Identity>, StoreError> {
        let (server, key) = after.map(|(server, key)| (server.to_string(), key.to_string())).unwrap_or_default();
        let rows = sqlx::query(
            "SELECT * FROM identities WHERE (server > $1 OR (server = $1 AND key_id > $2))
             AND ($3 = 0 OR state IN ('pending', 'quarantined', 'banned') OR (state = 'active' AND not_after <= $4))
             ORDER BY server, key_id LIMIT $5",
        )
        .bind(server)
        .bind(key)
        .bind(i64::from(decide.is_some()))
        .bind(decide.map_or(0, micros))
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .doing("reading identities")?;
        rows.iter().map(identity).collect()
    }

    /// Identities whose key begins with these hexadecimal digits, two at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identities_by_prefix(&self, digits: &str) -> Result<Vec<Identity>, StoreError> {
        let rows = sqlx::query("SELECT * FROM identities WHERE key_id >= $1 AND key_id < $2 ORDER BY key_id LIMIT 2")
            .bind(digits)
            .bind(format!("{digits}g"))
            .fetch_all(self.readers())
            .await
            .doing("reading identities")?;
        rows.iter().map(identity).collect()
    }

    /// Servers for which somebody may speak, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expected(&self) -> Result<Vec<ServerName>, StoreError> {
        let rows = sqlx::query("SELECT server FROM identities WHERE state = 'active' ORDER BY server")
            .fetch_all(self.readers())
            .await
            .doing("reading who may speak")?;
        rows.iter().map(|row| Columns(row).parsed("server")).collect()
    }

    /// Lets a host in, for a token that is good: the token is used up and the key becomes the name's identity. When another machine
    /// holds the name, the host waits for a person, and its token stays good for when it was admitted.
    ///
    /// # Errors
    /// [`StoreError::Token`], [`StoreError::NotActive`], [`StoreError::TooMany`].
    pub async fn enrol(&self, knock: Knock, now: Timestamp) -> Result<Identity, StoreError> {
        self.writer().write(move |connection| Box::pin(async move { enrol(connection, &knock, now).await })).await
    }

    /// Notes a machine that this store forgot: it waits for a person. Asked again, the answer is the same.
    ///
    /// # Errors
    /// [`StoreError::TooMany`].
    pub async fn remember(&self, forgotten: Forgotten, now: Timestamp) -> Result<Identity, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let Forgotten { server, machine_id, key_id, certificate } = forgotten;
                    if by_key(connection, &key_id).await?.is_none() {
                        // Its certificate shows a later end than is known here; it renews when it is let in.
                        let secret = Secret::generate().map_err(|_| StoreError::Token("none can be made"))?;
                        let knock = Knock { secret, server, machine_id, key_id, certificate, not_after: now };
                        may_wait(connection, &knock.server).await?;
                        let why = "it enrolled after the backup that was put back";
                        insert(connection, &knock, IdentityState::Pending, why, now).await?;
                        let detail = json!({"key": key_id, "machine_id": knock.machine_id, "why": why});
                        let (actor, subject) = (Actor::Agent(knock.server.clone()), knock.server.as_str());
                        tell(connection, now, &actor, "agent.pending", subject, detail).await?;
                    }
                    by_key(connection, &key_id).await?.ok_or(StoreError::UnknownKey)
                })
            })
            .await
    }

    /// Notes a new certificate for the same key.
    ///
    /// # Errors
    /// [`StoreError::UnknownKey`], [`StoreError::NotActive`].
    pub async fn renewed(
        &self,
        key_id: Sha256,
        certificate: Sha256,
        not_after: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let identity = by_key(connection, &key_id).await?.ok_or(StoreError::UnknownKey)?;
                    identity.active()?;
                    certify(connection, &key_id, &certificate, not_after).await?;
                    let detail = json!({"certificate": certificate, "not_after": not_after});
                    tell(
                        connection,
                        now,
                        &Actor::Agent(identity.server.clone()),
                        "agent.renewed",
                        identity.server.as_str(),
                        detail,
                    )
                    .await
                })
            })
            .await
    }

    /// Begins a session: `lineage` is what the agent presents next time. False when `presented` is neither the current nor the
    /// previous one, and then nothing changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_session(&self, key_id: Sha256, presented: Vec<u8>, lineage: Vec<u8>) -> Result<bool, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE identities SET lineage = $2, previous_lineage = $3 WHERE key_id = $1 AND state = 'active' AND (lineage = $3 OR previous_lineage = $3 OR length(lineage) = 0)",
                    )
                    .bind(key_id.to_string())
                    .bind(lineage)
                    .bind(presented)
                    .execute(connection)
                    .await
                    .doing("beginning a session")?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// Narrows: quarantines, evicts or bans.
    ///
    /// # Errors
    /// [`StoreError::UnknownKey`].
    pub async fn narrow(
        &self,
        key_id: Sha256,
        to: IdentityState,
        why: String,
        by: Actor,
        now: Timestamp,
    ) -> Result<Identity, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let mut identity = by_key(connection, &key_id).await?.ok_or(StoreError::UnknownKey)?;
                    if identity.state == to {
                        return Ok(identity);
                    }
                    let detail = json!({"key": key_id, "from": identity.state.as_str(), "why": why});
                    set_state(connection, &key_id, to, &why, now).await?;
                    if to != IdentityState::Quarantined {
                        restored::await_no_longer(connection, &identity.server).await?;
                    }
                    let action = format!("agent.{}", to.as_str());
                    tell(connection, now, &by, &action, identity.server.as_str(), detail).await?;
                    (identity.state, identity.why, identity.changed_at) = (to, why, now);
                    Ok(identity)
                })
            })
            .await
    }

    /// A person lets a machine in that waits or was quarantined. Whoever held the name is evicted; reports begin a new epoch. One that is let
    /// in already, and whose certificate has ended, may renew it anew from now on.
    ///
    /// # Errors
    /// [`StoreError::UnknownKey`], [`StoreError::NotActive`] for one that was sent away.
    pub async fn admit(&self, key_id: Sha256, by: Actor, now: Timestamp) -> Result<Identity, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let identity = by_key(connection, &key_id).await?.ok_or(StoreError::UnknownKey)?;
                    match identity.state {
                        IdentityState::Active if now < identity.not_after => return Ok(identity),
                        IdentityState::Active => {
                            certify(connection, &key_id, &identity.certificate, now).await?;
                            let detail = json!({"key": key_id, "ended": identity.not_after});
                            tell(connection, now, &by, "agent.admitted", identity.server.as_str(), detail).await?;
                            return by_key(connection, &key_id).await?.ok_or(StoreError::UnknownKey);
                        }
                        IdentityState::Pending | IdentityState::Quarantined => {}
                        IdentityState::Evicted | IdentityState::Banned => identity.active()?,
                    }
                    if let Some(holder) = holder(connection, &identity.server).await?.filter(|holder| holder.key_id != key_id) {
                        if holder.state == IdentityState::Banned {
                            holder.active()?;
                        }
                        set_state(connection, &holder.key_id, IdentityState::Evicted, "another machine was admitted for its name", now).await?;
                    }
                    let epoch = next_epoch(connection, &identity.server).await?;
                    sqlx::query("UPDATE identities SET state = 'active', why = '', lineage = $2, previous_lineage = $2, epoch = $3, changed_at = $4 WHERE key_id = $1")
                        .bind(key_id.to_string())
                        .bind(Vec::new())
                        .bind(count(epoch))
                        .bind(micros(now))
                        .execute(&mut *connection)
                        .await
                        .doing("admitting an agent")?;
                    servers::admit(connection, &identity.server).await?;
                    tell(connection, now, &by, "agent.admitted", identity.server.as_str(), json!({"key": key_id})).await?;
                    by_key(connection, &key_id).await?.ok_or(StoreError::UnknownKey)
                })
            })
            .await
    }
}

async fn enrol(connection: &mut AnyConnection, knock: &Knock, now: Timestamp) -> Result<Identity, StoreError> {
    let Knock { secret, server, machine_id, key_id, certificate, not_after } = knock;
    let token = tokens::good(connection, server, secret, key_id, now).await?;
    let known = by_key(connection, key_id).await?;
    if let Some(other) = known.as_ref().filter(|known| known.server != *server) {
        return Err(StoreError::NameTaken { server: other.server.clone(), state: "under the same key" });
    }
    let holder = holder(connection, server).await?;
    let actor = Actor::Agent(server.clone());
    match (holder, known) {
        (Some(holder), _) if holder.key_id == *key_id => {
            holder.active()?;
            // Asked again: the answer was lost on the way.
            certify(connection, key_id, certificate, *not_after).await?;
        }
        (Some(holder), _) if holder.state == IdentityState::Banned => holder.active()?,
        (Some(_), Some(known)) => return Ok(known),
        (Some(holder), None) => {
            pending(connection, knock, &holder, now).await?;
            return by_key(connection, key_id).await?.ok_or(StoreError::UnknownKey);
        }
        (None, Some(known)) if known.state == IdentityState::Pending => {
            set_state(connection, key_id, IdentityState::Active, "", now).await?;
            certify(connection, key_id, certificate, *not_after).await?;
            tell(connection, now, &actor, "agent.enrolled", server.as_str(), json!({"key": key_id, "machine_id": machine_id}))
                .await?;
        }
        (None, Some(known)) => known.active()?,
        (None, None) => {
            insert(connection, knock, IdentityState::Active, "", now).await?;
            tell(connection, now, &actor, "agent.enrolled", server.as_str(), json!({"key": key_id, "machine_id": machine_id}))
                .await?;
        }
    }
    servers::admit(connection, server).await?;
    tokens::use_up(connection, &token, key_id, now).await?;
    by_key(connection, key_id).await?.ok_or(StoreError::UnknownKey)
}

/// Whether one more machine may wait for this name.
async fn may_wait(connection: &mut AnyConnection, server: &ServerName) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT count(*) AS found FROM identities WHERE server = $1 AND state = 'pending'")
        .bind(server.as_str())
        .fetch_one(&mut *connection)
        .await
        .doing("counting who waits")?;
    if count(Columns(&row).number("found")?) >= MAX_PENDING {
        return Err(StoreError::TooMany { what: "machines that wait for the name", server: server.clone(), limit: MAX_PENDING });
    }
    Ok(())
}

/// A second machine for one name.
async fn pending(connection: &mut AnyConnection, knock: &Knock, holder: &Identity, now: Timestamp) -> Result<(), StoreError> {
    let server = &knock.server;
    may_wait(connection, server).await?;
    let why = format!("the name is held by {} since {}", holder.key_id.short(), holder.enrolled_at);
    insert(connection, knock, IdentityState::Pending, &why, now).await?;
    let detail = json!({"key": knock.key_id, "machine_id": knock.machine_id, "holder": holder.key_id});
    tell(connection, now, &Actor::Agent(server.clone()), "agent.pending", server.as_str(), detail).await
}

async fn insert(
    connection: &mut AnyConnection,
    knock: &Knock,
    state: IdentityState,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let epoch = next_epoch(connection, &knock.server).await?;
    sqlx::query(
        "INSERT INTO identities (key_id, server, machine_id, state, why, certificate, not_after, lineage, previous_lineage, epoch, enrolled_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $10)",
    )
    .bind(knock.key_id.to_string())
    .bind(knock.server.as_str())
    .bind(knock.machine_id.as_str())
    .bind(state.as_str())
    .bind(why)
    .bind(knock.certificate.to_string())
    .bind(micros(knock.not_after))
    .bind(Vec::new())
    .bind(count(epoch))
    .bind(micros(now))
    .execute(connection)
    .await
    .doing("enrolling an agent")?;
    Ok(())
}

/// Above whatever any machine of that name reported with.
async fn next_epoch(connection: &mut AnyConnection, server: &ServerName) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COALESCE(MAX(epoch), 0) AS newest FROM identities WHERE server = $1")
        .bind(server.as_str())
        .fetch_one(connection)
        .await
        .doing("reading the newest epoch")?;
    Ok(Columns(&row).number("newest")? + 1)
}

async fn certify(
    connection: &mut AnyConnection,
    key_id: &Sha256,
    certificate: &Sha256,
    not_after: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE identities SET certificate = $2, not_after = $3 WHERE key_id = $1")
        .bind(key_id.to_string())
        .bind(certificate.to_string())
        .bind(micros(not_after))
        .execute(connection)
        .await
        .doing("noting a certificate")?;
    Ok(())
}

async fn set_state(
    connection: &mut AnyConnection,
    key_id: &Sha256,
    state: IdentityState,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE identities SET state = $2, why = $3, changed_at = $4 WHERE key_id = $1")
        .bind(key_id.to_string())
        .bind(state.as_str())
        .bind(why)
        .bind(micros(now))
        .execute(connection)
        .await
        .doing("changing the state of an identity")?;
    Ok(())
}

async fn by_key(connection: &mut AnyConnection, key_id: &Sha256) -> Result<Option<Identity>, StoreError> {
    let row = sqlx::query(SELECT).bind(key_id.to_string()).fetch_optional(connection).await.doing("reading an identity")?;
    row.as_ref().map(identity).transpose()
}

async fn holder(connection: &mut AnyConnection, server: &ServerName) -> Result<Option<Identity>, StoreError> {
    let row =
        sqlx::query(SELECT_HOLDER).bind(server.as_str()).fetch_optional(connection).await.doing("reading who holds a name")?;
    row.as_ref().map(identity).transpose()
}

fn identity(row: &AnyRow) -> Result<Identity, StoreError> {
    let row = Columns(row);
    Ok(Identity {
        key_id: row.parsed("key_id")?,
        server: row.parsed("server")?,
        machine_id: row.text("machine_id")?,
        state: row.word("state", IdentityState::from_word)?,
        why: row.text("why")?,
        certificate: row.parsed("certificate")?,
        not_after: row.time("not_after")?,
        lineage: row.bytes("lineage")?,
        previous_lineage: row.bytes("previous_lineage")?,
        epoch: row.number("epoch")?,
        enrolled_at: row.time("enrolled_at")?,
        changed_at: row.time("changed_at")?,
    })
}
