//! `backstay audit list|verify`: who did what, and whether the trail is as it was written.
//!
//! The chain is recomputed here, entry by entry, from what the controller shows: a controller cannot vouch for itself.
//! Only somebody who kept an anchor, a sequence number and its hash, can tell a whole trail from one that was rewritten.

use std::str::FromStr;

use clap::{Args, Subcommand};
use policy::id::Sha256;
use proto::invalid::{Invalid, moment};
use proto::operator::{self, GetStatusRequest, ListAuditRequest};
use serde::Serialize;

use super::connection::{Client, answer};
use super::failure::{Doing, Exit, Failure};
use super::output::{View, moment as at, pairs, table};
use super::{Context, pages, wire};
use crate::audit::{Entry, Head, verify};

/// The audit trail.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// The newest entries, or all.
    List(List),
    /// Recomputes the whole chain here and says where it breaks.
    Verify(Verify),
}

impl Audit {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Verify(verify) => verify.run(context).await,
        }
    }
}

/// Lists audit entries.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay audit list
  backstay audit list --all -o json > trail.json")]
pub struct List {
    /// How many of the newest entries.
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: u64,

    /// The whole trail.
    #[arg(long, conflicts_with = "last")]
    all: bool,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let after = if self.all { 0 } else { head(&mut client).await?.sequence.saturating_sub(self.last) };
        let mut entries = Vec::new();
        let output = &mut context.output;
        each(&client, "listing the audit trail", after, |page| {
            entries.extend(page);
            output.progress(&format!("read {} entries", entries.len()));
            Ok(())
        })
        .await?;
        context.output.show(&Trail(entries.into_iter().map(EntryView::from).collect()))?;
        Ok(Exit::Ok)
    }
}

/// Verifies the audit trail.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay audit verify
  backstay audit verify --anchor 4711:9c1f…e0      also compares with what you noted earlier")]
pub struct Verify {
    /// A sequence number and its hash that you kept, as an earlier run printed them.
    #[arg(long, value_name = "SEQUENCE:HASH")]
    anchor: Vec<Anchor>,
}

impl Verify {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        // Asked for first: entries may follow while the trail is read, but these must be in it.
        let promised = head(&mut client).await?;
        let mut anchors: Vec<Head> = self.anchor.iter().map(|anchor| anchor.0).chain([promised]).collect();
        anchors.retain(|anchor| anchor.sequence > 0);
        let mut end = Head::EMPTY;
        let output = &mut context.output;
        each(&client, "reading the audit trail", 0, |page| {
            output.progress(&format!("verified {} of {} entries", end.sequence, promised.sequence));
            end = verify(end, &page).map_err(|broken| Failure::new(Exit::Error, "the audit trail is broken").because(broken))?;
            for entry in &page {
                anchored(&anchors, entry)?;
            }
            Ok(())
        })
        .await?;
        if let Some(missing) = anchors.iter().find(|anchor| anchor.sequence > end.sequence) {
            let cut = format!("expected entry {}, found the end at {}", missing.sequence, end.sequence);
            return Err(Failure::new(Exit::Error, "the audit trail is broken").because(cut));
        }
        context.output.show(&Verified { entries: end.sequence, head: end.hash, anchors: self.anchor.len() })?;
        context.output.say(&format!("keep this elsewhere, and compare next time: --anchor {}:{}", end.sequence, end.hash));
        Ok(Exit::Ok)
    }
}

fn anchored(anchors: &[Head], entry: &Entry) -> Result<(), Failure> {
    match anchors.iter().find(|anchor| anchor.sequence == entry.sequence && anchor.hash != entry.hash) {
        None => Ok(()),
        Some(anchor) => Err(Failure::new(Exit::Error, "the audit trail is another one than it was")
            .because(format!("audit entry {}: expected hash {}, found {}", entry.sequence, anchor.hash, entry.hash))),
    }
}

pub(super) async fn head(client: &mut Client) -> Result<Head, Failure> {
    let doing = "asking where the audit trail ends";
    let status = answer(doing, client.get_status(GetStatusRequest {})).await?;
    let hash = wire::digest("GetStatusResponse.audit_head", &status.audit_head).doing(|| doing.to_owned())?;
    Ok(Head { sequence: status.audit_sequence, hash })
}

pub(super) async fn each(
    client: &Client,
    doing: &str,
    after: u64,
    mut take: impl FnMut(Vec<Entry>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let ask = |page_token| page(client.clone(), doing, ListAuditRequest { page_size: pages::PAGE, page_token, after });
    pages::each(doing, ask, |entries| {
        let read: Result<Vec<_>, _> = entries.into_iter().map(entry).collect();
        take(read.doing(|| doing.to_owned())?)
    })
    .await
}

async fn page(
    mut client: Client,
    doing: &str,
    request: ListAuditRequest,
) -> Result<(Vec<operator::AuditEntry>, String), Failure> {
    let response = answer(doing, client.list_audit(request)).await?;
    Ok((response.entries, response.next_page_token))
}

fn entry(wire: operator::AuditEntry) -> Result<Entry, Invalid> {
    let operator::AuditEntry { sequence, at, actor, action, subject, detail, previous, hash } = wire;
    Ok(Entry {
        sequence,
        at: moment("AuditEntry.at", at)?,
        actor,
        action,
        subject,
        detail,
        previous: wire::id("AuditEntry.previous", &previous)?,
        hash: wire::id("AuditEntry.hash", &hash)?,
    })
}

/// A sequence number and its hash.
#[derive(Debug, Clone, Copy)]
struct Anchor(Head);

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(sequence, hash)| Some((sequence.parse().ok()?, hash.parse().ok()?)));
        let wrong = || "expected SEQUENCE:HASH, with 64 hexadecimal digits".to_owned();
        parsed.map(|(sequence, hash)| Self(Head { sequence, hash })).ok_or_else(wrong)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Trail(Vec<EntryView>);

#[derive(Serialize)]
struct EntryView {
    sequence: u64,
    at: policy::Timestamp,
    actor: String,
    action: String,
    subject: String,
    detail: String,
    previous: Sha256,
    hash: Sha256,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let Entry { sequence, at, actor, action, subject, detail, previous, hash } = entry;
        Self { sequence, at, actor, action, subject, detail, previous, hash }
    }
}

impl View for Trail {
    fn text(&self) -> String {
        let row = |entry: &EntryView| {
            let EntryView { sequence, at: moment, actor, action, subject, detail, previous: _, hash: _ } = entry;
            [sequence.to_string(), at(*moment), actor.clone(), action.clone(), shortened(subject), detail.clone()]
        };
        table(["NO", "AT", "WHO", "WHAT", "TO", "DETAIL"], self.0.iter().map(row))
    }
}

/// Digests are shortened for people; names stay.
fn shortened(subject: &str) -> String {
    subject.parse::<Sha256>().map_or_else(|_| subject.to_owned(), |digest| digest.short())
}

#[derive(Serialize)]
struct Verified {
    entries: u64,
    head: Sha256,
    /// How many kept anchors were compared.
    anchors: usize,
}

impl View for Verified {
    fn text(&self) -> String {
        let compared = if self.anchors == 0 {
            "none given: a trail rewritten as a whole would not show".to_owned()
        } else {
            format!("{} held", self.anchors)
        };
        pairs([("trail", format!("{} entries, unbroken", self.entries)), ("head", self.head.to_string()), ("anchors", compared)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Actor;

    #[test]
    fn an_entry_keeps_its_hash_over_the_wire() {
        let at = "2026-11-22T10:00:00.123456Z".parse().expect("a moment");
        let told = Entry::after(Head::EMPTY, at, &Actor::Controller, "plan.proposed", "abc", "{}".to_owned());
        let wire = operator::AuditEntry {
            sequence: told.sequence,
            at: proto::invalid::micros(told.at),
            actor: told.actor.clone(),
            action: told.action.clone(),
            subject: told.subject.clone(),
            detail: told.detail.clone(),
            previous: told.previous.0.to_vec(),
            hash: told.hash.0.to_vec(),
        };
        let read = entry(wire).expect("reads");
        assert_eq!(verify(Head::EMPTY, [&read]), Ok(told.head()));
        assert!(anchored(&[told.head()], &read).is_ok());
        let forged = Head { hash: Sha256([7; 32]), ..told.head() };
        assert!(anchored(&[forged], &read).expect_err("another hash").report().contains("audit entry 1"));
    }

    #[test]
    fn an_anchor_is_a_number_and_a_hash() {
        assert!(format!("12:{}", "ab".repeat(32)).parse::<Anchor>().is_ok());
        for text in ["", "12", "12:ab", "x:abc"] {
            assert!(text.parse::<Anchor>().is_err(), "{text}");
        }
    }
}
