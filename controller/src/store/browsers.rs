//! Browsers that are signed in, and the links by which they do. Of each secret only the hash is kept.

use policy::Timestamp;
use policy::id::{Person, Sha256};
use policy::trust::PersonRole;
use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, count, micros};
use super::trail::tell;
use crate::audit::Actor;

/// Links of one person that are good at once, and browsers of one person: beyond that, the oldest is forgotten.
const OF_ONE: u64 = 16;

/// By which way somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// A link that the command line made.
    Link,
    /// A password.
    Password,
    /// A provider of OpenID Connect.
    Oidc,
}

impl Via {
    /// As it stands in the store and in the trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Password => "password",
            Self::Oidc => "oidc",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Link, Self::Password, Self::Oidc].into_iter().find(|via| via.as_str() == word)
    }
}

/// Who looks at pages, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    /// Who.
    pub person: Person,
    /// As what.
    pub role: PersonRole,
    /// By which way.
    pub via: Via,
    /// Until when.
    pub expires_at: Timestamp,
}

impl Store {
    /// Keeps a link by which this person may sign in once, until it expires.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_sign_in(&self, link: Sha256, browser: Browser, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    forget(connection, &LINKS, &browser.person, now).await?;
                    let Browser { person, role, via: _, expires_at } = browser;
                    sqlx::query("INSERT INTO sign_ins (hash, person, role, expires_at) VALUES ($1, $2, $3, $4)")
                        .bind(link.to_string())
                        .bind(person.as_str())
                        .bind(role.as_str())
                        .bind(micros(expires_at))
                        .execute(connection)
                        .await
                        .doing("keeping a link to sign in by")?;
                    Ok(())
                })
            })
            .await
    }

    /// Uses a link up: from now on, whoever has the secret of `browser` is that person. `None` when the link is not good, or not any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sign_in(
        &self,
        link: Sha256,
        browser: Sha256,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Browser>, StoreError> {
        // Guesses write nothing, and keep nobody waiting.
        let row = sqlx::query("SELECT hash FROM sign_ins WHERE hash = $1").bind(link.to_string()).fetch_optional(self.readers());
        if row.await.doing("looking for a link")?.is_none() {
            return Ok(None);
        }
        self.writer()
            .write(move |connection| Box::pin(async move { sign_in(connection, link, browser, expires_at, now).await }))
            .await
    }

    /// Who this browser is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn browser(&self, hash: Sha256, now: Timestamp) -> Result<Option<Browser>, StoreError> {
        let row = sqlx::query("SELECT person, role, via, expires_at FROM browsers WHERE hash = $1 AND expires_at > $2")
            .bind(hash.to_string())
            .bind(micros(now))
            .fetch_optional(self.readers())
            .await
            .doing("reading who is signed in")?;
        row.map(|row| read_via(&Columns(&row))).transpose()
    }

    /// From now on, whoever has this secret is that person: somebody else vouched for it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_browser(&self, browser: Sha256, found: Browser, now: Timestamp) -> Result<(), StoreError> {
        self.writer().write(move |connection| Box::pin(async move { begin(connection, browser, &found, now).await })).await
    }

    /// This browser is nobody any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sign_out(&self, hash: Sha256, by: Person, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query("DELETE FROM browsers WHERE hash = $1")
                        .bind(hash.to_string())
                        .execute(&mut *connection)
                        .await
                        .doing("signing a browser out")?;
                    if done.rows_affected() == 0 {
                        return Ok(());
                    }
                    let person = by.to_string();
                    tell(connection, now, &Actor::Person(by), "browser.signed_out", &person, json!({})).await
                })
            })
            .await
    }
}

async fn sign_in(
    connection: &mut AnyConnection,
    link: Sha256,
    browser: Sha256,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<Option<Browser>, StoreError> {
    let row = sqlx::query("DELETE FROM sign_ins WHERE hash = $1 AND expires_at > $2 RETURNING person, role, expires_at")
        .bind(link.to_string())
        .bind(micros(now))
        .fetch_optional(&mut *connection)
        .await
        .doing("using a link up")?;
    let Some(row) = row else { return Ok(None) };
    let found = Browser { expires_at, ..read(&Columns(&row))? };
    begin(connection, browser, &found, now).await?;
    Ok(Some(found))
}

pub(super) async fn begin(
    connection: &mut AnyConnection,
    browser: Sha256,
    found: &Browser,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Browser { person, role, via, expires_at } = found;
    forget(connection, &BROWSERS, person, now).await?;
    sqlx::query("INSERT INTO browsers (hash, person, role, via, began_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(browser.to_string())
        .bind(person.as_str())
        .bind(role.as_str())
        .bind(via.as_str())
        .bind(micros(now))
        .bind(micros(*expires_at))
        .execute(&mut *connection)
        .await
        .doing("signing a browser in")?;
    let detail = json!({"role": role.as_str(), "via": via.as_str(), "expires_at": expires_at});
    tell(connection, now, &Actor::Person(person.clone()), "browser.signed_in", person.as_str(), detail).await
}

/// What has expired, of everybody; and the oldest of one person, so that there is room for one more.
const LINKS: [&str; 2] = [
    "DELETE FROM sign_ins WHERE expires_at <= $1",
    "DELETE FROM sign_ins WHERE person = $1
       AND hash NOT IN (SELECT hash FROM sign_ins WHERE person = $1 ORDER BY expires_at DESC, hash LIMIT $2)",
];
const BROWSERS: [&str; 2] = [
    "DELETE FROM browsers WHERE expires_at <= $1",
    "DELETE FROM browsers WHERE person = $1
       AND hash NOT IN (SELECT hash FROM browsers WHERE person = $1 ORDER BY expires_at DESC, hash LIMIT $2)",
];

async fn forget(
    connection: &mut AnyConnection,
    [expired, oldest]: &[&'static str; 2],
    person: &Person,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "forgetting links and browsers that are of no use any more";
    sqlx::query(*expired).bind(micros(now)).execute(&mut *connection).await.doing(doing)?;
    sqlx::query(*oldest).bind(person.as_str()).bind(count(OF_ONE - 1)).execute(connection).await.doing(doing)?;
    Ok(())
}

pub(super) fn read_via(row: &Columns<'_>) -> Result<Browser, StoreError> {
    Ok(Browser { via: row.word("via", Via::from_word)?, ..read(row)? })
}

fn read(row: &Columns<'_>) -> Result<Browser, StoreError> {
    Ok(Browser {
        person: row.parsed("person")?,
        role: row.word("role", PersonRole::from_word)?,
        via: Via::Link,
        expires_at: row.time("expires_at")?,
    })
}
