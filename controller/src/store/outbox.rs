//! What is to be said through each channel: what waits, what was handed over, what was given up.

use policy::Timestamp;
use policy::finding::Severity;
use policy::id::Person;
use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, json as to_json, micros};
use super::trail::tell;
use crate::audit::Actor;
use crate::config::Kind;
use crate::notify::{Body, Line};

/// One message that waits, was sent, or was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its own, the same whenever it is sent.
    pub id: String,
    /// What kind.
    pub kind: Kind,
    /// What it says.
    pub body: Body,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it is to be sent, or tried again.
    pub due_at: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelState {
    /// Messages that wait.
    pub waiting: u64,
    /// When one was last sent.
    pub sent_at: Option<Timestamp>,
    /// Why the last try failed, if it did.
    pub failure: String,
    /// Messages that were given up.
    pub given_up: u64,
}

impl Store {
    /// Puts a test message in every channel.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn test_channels(&self, channels: Vec<String>, by: Person, now: Timestamp) -> Result<(), StoreError> {
        let estate = self.estate().to_string();
        let line = Line {
            state: "test".to_owned(),
            server: String::new(),
            code: String::new(),
            severity: Severity::Note,
            title: format!("{by} wanted to see whether this arrives"),
            detail: String::new(),
        };
        let body = Body::new(&estate, vec![line], now);
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    for channel in &channels {
                        put(connection, channel, Kind::Test, &body, now, now).await?;
                    }
                    tell(connection, now, &Actor::Person(by), "channels.tested", &estate, json!({"channels": channels})).await
                })
            })
            .await
    }

    /// The message of a channel that is due first, if one waits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_message(&self, channel: &str) -> Result<Option<Message>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM messages WHERE channel = $1 AND sent_at IS NULL AND given_up_at IS NULL ORDER BY due_at, made_at, id LIMIT 1",
        )
        .bind(channel)
        .fetch_optional(self.readers())
        .await
        .doing("reading what is to be said")?;
        row.as_ref().map(|row| message(&Columns(row))).transpose()
    }

    /// It was handed over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sent(&self, id: String, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE messages SET sent_at = $2, failure = '' WHERE id = $1")
                        .bind(id)
                        .bind(micros(now))
                        .execute(connection)
                        .await
                        .doing("noting that something was said")?;
                    Ok(())
                })
            })
            .await
    }

    /// It was not handed over; it is tried again then, or never.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn not_sent(&self, id: String, why: String, again: Option<Timestamp>, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE messages SET attempts = attempts + 1, failure = $2, due_at = COALESCE($3, due_at), given_up_at = $4 WHERE id = $1",
                    )
                    .bind(id)
                    .bind(why)
                    .bind(again.map(micros))
                    .bind(if again.is_none() { Some(micros(now)) } else { None })
                    .execute(connection)
                    .await
                    .doing("noting that something was not said")?;
                    Ok(())
                })
            })
            .await
    }

    /// How a channel stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn channel(&self, name: &str) -> Result<ChannelState, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM messages WHERE channel = $1 AND sent_at IS NULL AND given_up_at IS NULL) AS waiting,
                    (SELECT COUNT(*) FROM messages WHERE channel = $1 AND given_up_at IS NOT NULL) AS given_up,
                    (SELECT MAX(sent_at) FROM messages WHERE channel = $1) AS sent_at,
                    COALESCE((SELECT failure FROM messages WHERE channel = $1 AND sent_at IS NULL AND failure <> '' ORDER BY due_at DESC LIMIT 1), '') AS failure",
        )
        .bind(name)
        .fetch_one(self.readers())
        .await
        .doing("reading how a channel stands")?;
        let row = Columns(&row);
        Ok(ChannelState {
            waiting: row.number("waiting")?,
            sent_at: row.time_if_any("sent_at")?,
            failure: row.text("failure")?,
            given_up: row.number("given_up")?,
        })
    }
}

/// Puts a message where its channel finds it; the same again is the one that is there.
pub(super) async fn put(
    connection: &mut AnyConnection,
    channel: &str,
    kind: Kind,
    body: &Body,
    now: Timestamp,
    due_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO messages (id, channel, kind, body, made_at, due_at, attempts, failure) VALUES ($1, $2, $3, $4, $5, $6, 0, '')
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(body.id(channel, kind))
    .bind(channel)
    .bind(kind.as_str())
    .bind(to_json(body))
    .bind(micros(now))
    .bind(micros(due_at))
    .execute(connection)
    .await
    .doing("keeping what is to be said")?;
    Ok(())
}

fn message(row: &Columns<'_>) -> Result<Message, StoreError> {
    Ok(Message {
        id: row.text("id")?,
        kind: row.word("kind", Kind::from_word)?,
        body: row.json("body")?,
        made_at: row.time("made_at")?,
        due_at: row.time("due_at")?,
        attempts: u32::try_from(row.number("attempts")?).unwrap_or(u32::MAX),
    })
}
