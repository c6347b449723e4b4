//! Join tokens: only the hash is kept, each lets one key in, and none for long.

use policy::Timestamp;
use policy::duration::Span;
use policy::id::{ServerName, Sha256};
use proto::token::Secret;
use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, count, micros};
use super::trail::tell;
use crate::audit::Actor;

/// The longest time for which a token is good, in seconds: a week.
pub const MAX_TTL_SECONDS: u32 = 604_800;

/// Tokens of one server that are good at once. All of them are compared when somebody knocks.
const MAX_OPEN: i64 = 16;

impl Store {
    /// Makes a token good for `ttl_seconds`, and says until when. What is kept is its hash.
    ///
    /// # Errors
    /// [`StoreError::TooMany`].
    pub async fn create_token(
        &self,
        server: &ServerName,
        hash: Sha256,
        ttl_seconds: u32,
        by: Actor,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let server = server.clone();
        let expires_at = Span::seconds(ttl_seconds.clamp(1, MAX_TTL_SECONDS)).after(now);
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM tokens WHERE server = $1 AND expires_at <= $2")
                        .bind(server.as_str())
                        .bind(micros(now))
                        .execute(&mut *connection)
                        .await
                        .doing("forgetting tokens that ran out")?;
                    let row = sqlx::query("SELECT count(*) AS found FROM tokens WHERE server = $1")
                        .bind(server.as_str())
                        .fetch_one(&mut *connection)
                        .await
                        .doing("counting tokens")?;
                    if count(Columns(&row).number("found")?) >= MAX_OPEN {
                        return Err(StoreError::TooMany { what: "tokens", server, limit: MAX_OPEN });
                    }
                    sqlx::query(
                        "INSERT INTO tokens (hash, server, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
                    )
                    .bind(hash.to_string())
                    .bind(server.as_str())
                    .bind(by.to_string())
                    .bind(micros(now))
                    .bind(micros(expires_at))
                    .execute(&mut *connection)
                    .await
                    .doing("keeping a token")?;
                    tell(connection, now, &by, "token.created", server.as_str(), json!({"expires_at": expires_at})).await?;
                    Ok(expires_at)
                })
            })
            .await
    }
}

/// The hash of the token that this is the secret of, if it is good for this server and this key.
pub(super) async fn good(
    connection: &mut AnyConnection,
    server: &ServerName,
    secret: &Secret,
    key_id: &Sha256,
    now: Timestamp,
) -> Result<Sha256, StoreError> {
    let rows = sqlx::query("SELECT hash, used_by FROM tokens WHERE server = $1 AND expires_at > $2 ORDER BY hash LIMIT $3")
        .bind(server.as_str())
        .bind(micros(now))
        .bind(MAX_OPEN)
        .fetch_all(connection)
        .await
        .doing("reading tokens")?;
    let mut found = None;
    for row in &rows {
        let row = Columns(row);
        let hash: Sha256 = row.parsed("hash")?;
        // Each is compared, in the same time.
        if secret.matches(hash) {
            found = Some((hash, row.parsed_if_any::<Sha256>("used_by")?));
        }
    }
    match found {
        Some((hash, None)) => Ok(hash),
        Some((hash, Some(user))) if user == *key_id => Ok(hash),
        Some((_, Some(_))) | None => Err(StoreError::Token(
            "expected one that is good for this server, found none: it may be used, too old, or for another name",
        )),
    }
}

/// From now on it is good for this key only, and only to hear the answer again.
pub(super) async fn use_up(
    connection: &mut AnyConnection,
    token: &Sha256,
    key_id: &Sha256,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE tokens SET used_by = $2, used_at = $3 WHERE hash = $1 AND used_by IS NULL")
        .bind(token.to_string())
        .bind(key_id.to_string())
        .bind(micros(now))
        .execute(connection)
        .await
        .doing("using a token up")?;
    Ok(())
}
