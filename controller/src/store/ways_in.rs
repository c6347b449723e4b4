//! Ways in beside certificates and links: passwords of people, and tokens of programs. Of both only a hash.

use policy::Timestamp;
use policy::duration::Span;
use policy::id::{Person, Sha256};
use policy::trust::PersonRole;
use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::browsers::{Browser, read_via};
use super::error::{Doing, StoreError};
use super::row::{Columns, count, micros};
use super::trail::tell;
use crate::audit::Actor;

/// Tokens of programs in an estate.
const MAX_TOKENS: i64 = 200;

/// Wrong passwords in a row that cost nothing: people mistype.
const FREE: i64 = 5;

/// The longest time that a wrong password makes the next one wait, in seconds.
const MAX_WAIT: u32 = 900;

/// The most rows of a kind that are listed.
const LISTED: i64 = 1_000;

/// A password, as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// Whose.
    pub person: Person,
    /// What that person may be by it.
    pub role: PersonRole,
    /// In the PHC format, with its salt and parameters.
    pub hash: String,
    /// When it was set.
    pub set_at: Timestamp,
    /// No password is looked at before.
    pub not_before: Timestamp,
}

/// A token of a program: it is who made it, with less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// As people know it.
    pub name: String,
    /// Who made it, and answers for what is done by it.
    pub person: Person,
    /// As what.
    pub role: PersonRole,
    /// What it may do of that: words of rights, with commas between.
    pub scope: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// When it was used, to the hour.
    pub used_at: Option<Timestamp>,
}

/// Everything by which people and programs come in, but for certificates and a provider's word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaysIn {
    /// Browsers that are signed in, and since when.
    pub browsers: Vec<(Browser, Timestamp)>,
    /// Passwords; the newest first.
    pub passwords: Vec<Password>,
    /// Tokens; by name.
    pub tokens: Vec<ApiToken>,
}

impl Store {
    /// Keeps this as the person's password, in place of the one before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_password(&self, person: Person, role: PersonRole, hash: String, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO passwords (person, role, hash, set_at, wrong, not_before) VALUES ($1, $2, $3, $4, 0, $4)
                         ON CONFLICT (person) DO UPDATE SET role = $2, hash = $3, set_at = $4, wrong = 0, not_before = $4",
                    )
                    .bind(person.as_str())
                    .bind(role.as_str())
                    .bind(hash)
                    .bind(micros(now))
                    .execute(&mut *connection)
                    .await
                    .doing("keeping a password")?;
                    let detail = json!({"role": role.as_str()});
                    tell(connection, now, &Actor::Person(person.clone()), "password.set", person.as_str(), detail).await
                })
            })
            .await
    }

    /// The person's password, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn password(&self, person: &Person) -> Result<Option<Password>, StoreError> {
        let row = sqlx::query("SELECT person, role, hash, set_at, not_before FROM passwords WHERE person = $1")
            .bind(person.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("reading a password")?;
        row.map(|row| password(&Columns(&row))).transpose()
    }

    /// Somebody gave a wrong one: after a few in a row the next has to wait, twice as long each time. Told when it has to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn wrong_password(&self, person: Person, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let row = sqlx::query("UPDATE passwords SET wrong = wrong + 1 WHERE person = $1 RETURNING wrong")
                        .bind(person.as_str())
                        .fetch_optional(&mut *connection)
                        .await
                        .doing("counting a wrong password")?;
                    let Some(row) = row else { return Ok(()) };
                    let wrong = count(Columns(&row).number("wrong")?);
                    if wrong < FREE {
                        return Ok(());
                    }
                    let seconds = 1_u32.checked_shl(u32::try_from(wrong - FREE).unwrap_or(u32::MAX)).unwrap_or(MAX_WAIT);
                    let wait = Span::seconds(seconds.clamp(1, MAX_WAIT));
                    sqlx::query("UPDATE passwords SET not_before = $2 WHERE person = $1")
                        .bind(person.as_str())
                        .bind(micros(wait.after(now)))
                        .execute(&mut *connection)
                        .await
                        .doing("letting the next password wait")?;
                    let detail = json!({"wrong": wrong, "waits": wait.to_string()});
                    tell(connection, now, &Actor::Controller, "password.wrong", person.as_str(), detail).await
                })
            })
            .await
    }

    /// It was the right one: whoever has this secret is that person from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn right_password(&self, browser: Sha256, found: Browser, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE passwords SET wrong = 0 WHERE person = $1")
                        .bind(found.person.as_str())
                        .execute(&mut *connection)
                        .await
                        .doing("forgetting wrong passwords")?;
                    super::browsers::begin(connection, browser, &found, now).await
                })
            })
            .await
    }

    /// Keeps a token of a program.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when there is one of this name, [`StoreError::Full`] when there are too many.
    pub async fn create_api_token(&self, token: ApiToken, hash: Sha256, now: Timestamp) -> Result<(), StoreError> {
        self.writer().write(move |connection| Box::pin(async move { create(connection, token, hash, now).await })).await
    }

    /// The token that this is the hash of, if it is good. That it was used is noted, once an hour.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_token(&self, hash: Sha256, now: Timestamp) -> Result<Option<ApiToken>, StoreError> {
        let row = sqlx::query(
            "SELECT name, person, role, scope, created_at, expires_at, used_at FROM api_tokens WHERE hash = $1 AND expires_at > $2",
        )
        .bind(hash.to_string())
        .bind(micros(now))
        .fetch_optional(self.readers())
        .await
        .doing("looking for a token")?;
        let Some(token) = row.map(|row| api_token(&Columns(&row))).transpose()? else { return Ok(None) };
        if token.used_at.is_none_or(|at| Span::seconds(3_600).after(at) <= now) {
            let name = token.name.clone();
            self.writer()
                .write(move |connection| {
                    Box::pin(async move {
                        let noted =
                            sqlx::query("UPDATE api_tokens SET used_at = $2 WHERE name = $1").bind(name).bind(micros(now));
                        noted.execute(connection).await.doing("noting that a token was used").map(drop)
                    })
                })
                .await?;
        }
        Ok(Some(token))
    }

    /// Forgets a token; whoever has it is nobody from now on. `of` is whose it must be, if that matters.
    ///
    /// # Errors
    /// [`StoreError::NoToken`].
    pub async fn revoke_api_token(&self, name: String, of: Option<Person>, by: Person, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let gone = sqlx::query("DELETE FROM api_tokens WHERE name = $1 AND ($2 = '' OR person = $2)")
                        .bind(&name)
                        .bind(of.as_ref().map_or("", Person::as_str))
                        .execute(&mut *connection)
                        .await
                        .doing("forgetting a token")?;
                    if gone.rows_affected() == 0 {
                        return Err(StoreError::NoToken(name));
                    }
                    tell(connection, now, &Actor::Person(by), "api_token.revoked", &name, json!({})).await
                })
            })
            .await
    }

    /// All ways in, of everybody or of one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ways_in(&self, of: Option<&Person>, now: Timestamp) -> Result<WaysIn, StoreError> {
        let doing = "reading who may come in";
        let whose = of.map_or("", Person::as_str);
        let mut found = WaysIn::default();
        let rows = sqlx::query(
            "SELECT person, role, via, began_at, expires_at FROM browsers WHERE expires_at > $1 AND ($2 = '' OR person = $2)
             ORDER BY began_at DESC, hash LIMIT $3",
        );
        for row in rows.bind(micros(now)).bind(whose).bind(LISTED).fetch_all(self.readers()).await.doing(doing)? {
            let row = Columns(&row);
            found.browsers.push((read_via(&row)?, row.time("began_at")?));
        }
        let rows = sqlx::query(
            "SELECT person, role, hash, set_at, not_before FROM passwords WHERE $1 = '' OR person = $1 ORDER BY set_at DESC, person LIMIT $2",
        );
        for row in rows.bind(whose).bind(LISTED).fetch_all(self.readers()).await.doing(doing)? {
            found.passwords.push(password(&Columns(&row))?);
        }
        let rows = sqlx::query(
            "SELECT name, person, role, scope, created_at, expires_at, used_at FROM api_tokens WHERE $1 = '' OR person = $1
             ORDER BY name LIMIT $2",
        );
        for row in rows.bind(whose).bind(LISTED).fetch_all(self.readers()).await.doing(doing)? {
            found.tokens.push(api_token(&Columns(&row))?);
        }
        Ok(found)
    }

    /// Takes all of them from one person: browsers, links, password and tokens. Says how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_access(&self, person: Person, reason: String, by: Person, now: Timestamp) -> Result<u64, StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let mut ended = 0;
                    for all in [
                        "DELETE FROM browsers WHERE person = $1",
                        "DELETE FROM sign_ins WHERE person = $1",
                        "DELETE FROM passwords WHERE person = $1",
                        "DELETE FROM api_tokens WHERE person = $1",
                    ] {
                        let gone = sqlx::query(all).bind(person.as_str()).execute(&mut *connection).await;
                        ended += gone.doing("ending somebody's access")?.rows_affected();
                    }
                    let detail = json!({"reason": reason, "ended": ended});
                    tell(connection, now, &Actor::Person(by), "access.ended", person.as_str(), detail).await?;
                    Ok(ended)
                })
            })
            .await
    }
}

async fn create(connection: &mut AnyConnection, token: ApiToken, hash: Sha256, now: Timestamp) -> Result<(), StoreError> {
    let ApiToken { name, person, role, scope, created_at: _, expires_at, used_at: _ } = token;
    let doing = "keeping a token";
    // What has run out is in nobody's way.
    sqlx::query("DELETE FROM api_tokens WHERE expires_at <= $1")
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .doing(doing)?;
    let row =
        sqlx::query("SELECT count(*) AS found, coalesce(sum(CASE WHEN name = $1 THEN 1 ELSE 0 END), 0) AS same FROM api_tokens")
            .bind(&name)
            .fetch_one(&mut *connection)
            .await
            .doing(doing)?;
    let row = Columns(&row);
    if row.number("same")? > 0 {
        return Err(StoreError::Taken(name));
    }
    if count(row.number("found")?) >= MAX_TOKENS {
        return Err(StoreError::Full { what: "tokens of programs", limit: MAX_TOKENS });
    }
    sqlx::query(
        "INSERT INTO api_tokens (name, hash, person, role, scope, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&name)
    .bind(hash.to_string())
    .bind(person.as_str())
    .bind(role.as_str())
    .bind(&scope)
    .bind(micros(now))
    .bind(micros(expires_at))
    .execute(&mut *connection)
    .await
    .doing(doing)?;
    let detail = json!({"role": role.as_str(), "scope": scope, "expires_at": expires_at});
    tell(connection, now, &Actor::Person(person), "api_token.created", &name, detail).await
}

fn role(row: &Columns<'_>) -> Result<PersonRole, StoreError> {
    row.word("role", PersonRole::from_word)
}

fn password(row: &Columns<'_>) -> Result<Password, StoreError> {
    Ok(Password {
        person: row.parsed("person")?,
        role: role(row)?,
        hash: row.text("hash")?,
        set_at: row.time("set_at")?,
        not_before: row.time("not_before")?,
    })
}

fn api_token(row: &Columns<'_>) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        name: row.text("name")?,
        person: row.parsed("person")?,
        role: role(row)?,
        scope: row.text("scope")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        used_at: row.time_if_any("used_at")?,
    })
}
