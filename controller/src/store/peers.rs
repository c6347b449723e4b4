//! Who looks at whose 444, and what they were shown.
//!
//! The members of a group stand in a ring, in the order of their names: each is looked at by the next three behind it, and looks at the
//! three before it. So nobody has to be told who does what, every server has its peers as long as the group has members, and the load is
//! the same for all.

use std::collections::BTreeMap;

use policy::id::{PlanId, ServerName, Sha256, Thumbprint};
use policy::peers::{MAX_PEERS, Peer, Seen, Target, Word, question};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, damaged, from_json, json, parse};

/// As many as fit into SQL.
const PEERS: i64 = MAX_PEERS as i64;

/// Between the parts of a looker, and behind each of several, where they are put together: in no name, no digest and no JSON of ours.
const BETWEEN: &str = "\t";
const BEHIND: &str = "\n";

/// Those who look at a server, and what they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookers {
    /// Who, with their last words.
    pub peers: Vec<Peer>,
    /// What they are asked now.
    pub question: Sha256,
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witnessed {
    /// It is on disk, and new.
    Now,
    /// It was on disk already.
    Known,
}

impl Store {
    /// The servers that `name` is to look at, the nearest first: those of its group that are known by a full name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn peer_targets(&self, name: &ServerName) -> Result<Vec<Target>, StoreError> {
        let rows = sqlx::query(
            "WITH ring AS (
               SELECT * FROM (SELECT 0 AS turn, name, fqdn, thumbprint FROM servers
                 WHERE grp = (SELECT grp FROM servers WHERE name = $1) AND name < $1 ORDER BY name DESC LIMIT $2)
               UNION ALL
               SELECT * FROM (SELECT 1 AS turn, name, fqdn, thumbprint FROM servers
                 WHERE grp = (SELECT grp FROM servers WHERE name = $1) AND name > $1 ORDER BY name DESC LIMIT $2))
             SELECT name, fqdn, thumbprint,
               (SELECT id FROM plans WHERE plans.server = ring.name AND life IN ('restored', 'confirmed') ORDER BY changed_at DESC, id LIMIT 1) AS done
             FROM ring ORDER BY turn, name DESC LIMIT $2",
        )
        .bind(name.as_str())
        .bind(PEERS)
        .fetch_all(self.readers())
        .await
        .doing("reading whom a server looks at")?;
        rows.iter().filter_map(|row| target(row).transpose()).collect()
    }

    /// The servers that look at `name`, the nearest first, with their last words. Who of them is connected, the rows do not say.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn peers(&self, name: &ServerName) -> Result<Vec<Peer>, StoreError> {
        let rows = sqlx::query(
            "WITH ring AS (
               SELECT * FROM (SELECT 0 AS turn, name FROM servers
                 WHERE grp = (SELECT grp FROM servers WHERE name = $1) AND name > $1 ORDER BY name LIMIT $2)
               UNION ALL
               SELECT * FROM (SELECT 1 AS turn, name FROM servers
                 WHERE grp = (SELECT grp FROM servers WHERE name = $1) AND name < $1 ORDER BY name LIMIT $2))
             SELECT ring.name AS name, question, outcome, before FROM ring
             LEFT JOIN peer_checks ON peer_checks.server = $1 AND peer_checks.peer = ring.name
             ORDER BY turn, ring.name LIMIT $2",
        )
        .bind(name.as_str())
        .bind(PEERS)
        .fetch_all(self.readers())
        .await
        .doing("reading who looks at a server")?;
        rows.iter().map(peer).collect()
    }

    /// Those who look at each of the servers from `first` to `last` by name, both included: of the nearest `count` behind each, all in one
    /// query. A server at which nobody looks is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn peers_between(
        &self,
        first: &ServerName,
        last: &ServerName,
        count: u32,
    ) -> Result<BTreeMap<ServerName, Lookers>, StoreError> {
        // A row for each that is looked at, not for each that looks: with a thousand servers, what a row costs is what is felt.
        let rows = sqlx::query(
            "WITH ring AS (
               SELECT name, grp, thumbprint, ROW_NUMBER() OVER (PARTITION BY grp ORDER BY name) - 1 AS place,
                 COUNT(*) OVER (PARTITION BY grp) AS members FROM servers),
             steps AS (SELECT 1 AS step UNION ALL SELECT 2 UNION ALL SELECT 3)
             SELECT looked.name AS server, looked.thumbprint AS thumbprint,
               string_agg(looker.name || $4 || COALESCE(question || $4 || outcome || $4 || COALESCE(before, ''), ''), $5 ORDER BY steps.step) AS lookers,
               (SELECT id FROM plans WHERE plans.server = looked.name AND life IN ('restored', 'confirmed') ORDER BY changed_at DESC, id LIMIT 1) AS done
             FROM ring AS looked
             JOIN steps ON steps.step < looked.members AND steps.step <= $3
             JOIN ring AS looker ON looker.grp = looked.grp AND looker.place = (looked.place + steps.step) % looked.members
             LEFT JOIN peer_checks ON peer_checks.server = looked.name AND peer_checks.peer = looker.name
             WHERE looked.name >= $1 AND looked.name <= $2
             GROUP BY looked.name, looked.thumbprint
             ORDER BY looked.name",
        )
        .bind(first.as_str())
        .bind(last.as_str())
        .bind(i64::from(count))
        .bind(BETWEEN)
        .bind(BEHIND)
        .fetch_all(self.readers())
        .await
        .doing("reading who looks at whom")?;
        rows.iter().map(lookers).collect()
    }

    /// Writes down what `peer` was shown. The same again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn witness(&self, peer: &ServerName, seen: Seen) -> Result<Witnessed, StoreError> {
        let peer = peer.clone();
        self.writer().write(move |connection| Box::pin(async move { witness(connection, &peer, &seen).await })).await
    }
}

async fn witness(connection: &mut AnyConnection, peer: &ServerName, seen: &Seen) -> Result<Witnessed, StoreError> {
    let Seen { server, question, outcome } = seen;
    let done = sqlx::query(
        "INSERT INTO peer_checks (server, peer, question, outcome) SELECT name, $2, $3, $4 FROM servers WHERE name = $1
         ON CONFLICT (server, peer) DO UPDATE SET question = excluded.question, outcome = excluded.outcome,
           before = CASE WHEN peer_checks.question = excluded.question THEN peer_checks.before ELSE peer_checks.outcome END
         WHERE peer_checks.question <> excluded.question OR peer_checks.outcome <> excluded.outcome",
    )
    .bind(server.as_str())
    .bind(peer.as_str())
    .bind(question.to_string())
    .bind(json(outcome))
    .execute(connection)
    .await
    .doing("writing down what a server was shown on another's 444")?;
    Ok(if done.rows_affected() == 1 { Witnessed::Now } else { Witnessed::Known })
}

/// Whose full name is not known cannot be looked at.
fn target(row: &AnyRow) -> Result<Option<Target>, StoreError> {
    let row = Columns(row);
    let Some(fqdn) = row.text_if_any("fqdn")? else { return Ok(None) };
    let (thumbprint, done): (Option<Thumbprint>, Option<PlanId>) = (row.parsed_if_any("thumbprint")?, row.parsed_if_any("done")?);
    Ok(Some(Target { server: row.parsed("name")?, fqdn, question: question(thumbprint, done) }))
}

fn lookers(row: &AnyRow) -> Result<(ServerName, Lookers), StoreError> {
    let row = Columns(row);
    let peers = row.text("lookers")?.split(BEHIND).map(looker).collect::<Result<_, _>>()?;
    let question = question(row.parsed_if_any("thumbprint")?, row.parsed_if_any("done")?);
    Ok((row.parsed("server")?, Lookers { peers, question }))
}

/// As `peers_between` has them put together: a name, and behind it the word, if there is one.
fn looker(text: &str) -> Result<Peer, StoreError> {
    let parts: Vec<&str> = text.split(BETWEEN).collect();
    let (name, word) = match parts.as_slice() {
        [name, ""] => (name, None),
        [name, question, outcome, before] => {
            let before = if before.is_empty() { None } else { Some(from_json("before", before)?) };
            let word = Word { question: parse("question", question)?, outcome: from_json("outcome", outcome)?, before };
            (name, Some(word))
        }
        _ => return Err(damaged("lookers", "a name and a word", text)),
    };
    Ok(Peer { server: parse("name", name)?, word, heard: false })
}

fn peer(row: &AnyRow) -> Result<Peer, StoreError> {
    let row = Columns(row);
    let word = match row.parsed_if_any::<Sha256>("question")? {
        None => None,
        Some(question) => Some(Word { question, outcome: row.json("outcome")?, before: row.json_if_any("before")? }),
    };
    Ok(Peer { server: row.parsed("name")?, word, heard: false })
}
