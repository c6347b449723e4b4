//! `backstay audit list|verify|export`: who did what, whether the trail is as it was written, and a copy of it elsewhere.
//!
//! The chain is recomputed here, entry by entry, from what the controller shows: a controller cannot vouch for itself.
//! Only somebody who kept an anchor, a sequence number and its hash, can tell a whole trail from one that was rewritten.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use policy::id::Sha256;
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
    /// Writes the trail into a file, an entry a line, as JSON.
    Export(Export),
}

impl Audit {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Verify(verify) => verify.run(context).await,
            Self::Export(export) => export.run(context).await,
        }
    }
}

/// Lists audit entries.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay audit list
  backstay audit list --contains EX1
  backstay audit list --all -o json > trail.json")]
pub struct List {
    /// How many of the newest entries.
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: u64,

    /// The whole trail.
    #[arg(long, conflicts_with = "last")]
    all: bool,

    /// Only entries in which this text stands, in any column.
    #[arg(long, value_name = "TEXT", default_value = "")]
    contains: String,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let doing = "listing the audit trail";
        let wanted = ListAuditRequest { contains: self.contains.clone(), ..ListAuditRequest::default() };
        let entries = if self.all {
            let mut entries = Vec::new();
            let output = &mut context.output;
            each(&client, doing, wanted, |page| {
                entries.extend(page);
                output.progress(&format!("read {} entries", entries.len()));
                Ok(())
            })
            .await?;
            entries
        } else {
            newest(&client, doing, wanted, self.last).await?
        };
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
        each(&client, "reading the audit trail", ListAuditRequest::default(), |page| {
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

/// Writes the trail into a file.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay audit export --out trail.jsonl
  backstay audit export --after 4711 --out trail-2.jsonl")]
pub struct Export {
    /// A new file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Only entries behind this number: what an earlier file ended with.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,
}

impl Export {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let doing = || format!("writing {}", self.out.display());
        let file = File::create_new(&self.out).map_err(|error| Failure::new(Exit::Error, doing()).because(error))?;
        let mut file = BufWriter::new(file);
        let mut end: Option<Head> = None;
        let output = &mut context.output;
        let wanted = ListAuditRequest { after: self.after, ..ListAuditRequest::default() };
        each(&client, "reading the audit trail", wanted, |page| {
            let Some(first) = page.first() else { return Ok(()) };
            let before = end.unwrap_or(Head { sequence: self.after, hash: first.previous });
            let last =
                verify(before, &page).map_err(|broken| Failure::new(Exit::Error, "the audit trail is broken").because(broken))?;
            end = Some(last);
            for entry in page {
                let line = serde_json::to_string(&EntryView::from(entry)).doing(doing)?;
                writeln!(file, "{line}").doing(doing)?;
            }
            output.progress(&format!("wrote entries up to {}", last.sequence));
            Ok(())
        })
        .await?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all()).doing(doing)?;
        let end = end.unwrap_or(Head { sequence: self.after, ..Head::EMPTY });
        let entries = end.sequence.saturating_sub(self.after);
        context.output.show(&Exported { entries, last: end.sequence, head: end.hash, file: self.out.clone() })?;
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
struct Exported {
    entries: u64,
    last: u64,
    head: Sha256,
    file: PathBuf,
}

impl View for Exported {
    fn text(&self) -> String {
        pairs([
            ("entries", self.entries.to_string()),
            ("last", format!("{}:{}", self.last, self.head)),
            ("file", self.file.display().to_string()),
        ])
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

/// The last so many entries of those that are wanted, in ascending order.
async fn newest(client: &Client, doing: &str, wanted: ListAuditRequest, count: u64) -> Result<Vec<Entry>, Failure> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    let mut page_token = String::new();
    for _ in 0..pages::MAX_PAGES {
        let missing = i32::try_from(count - entries.len()).unwrap_or(i32::MAX).min(pages::PAGE);
        if missing == 0 {
            break;
        }
        let request = ListAuditRequest { page_size: missing, page_token, newest_first: true, ..wanted.clone() };
        let (page, next) = page(client.clone(), doing, request).await?;
        let read: Result<Vec<_>, _> = page.into_iter().map(Entry::try_from).collect();
        entries.extend(read.doing(|| doing.to_owned())?);
        page_token = next;
        if page_token.is_empty() || entries.len() >= count {
            break;
        }
    }
    entries.truncate(count);
    entries.reverse();
    Ok(entries)
}

pub(super) async fn each(
    client: &Client,
    doing: &str,
    wanted: ListAuditRequest,
    mut take: impl FnMut(Vec<Entry>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let ask = |page_token| page(client.clone(), doing, ListAuditRequest { page_size: pages::PAGE, page_token, ..wanted.clone() });
    pages::each(doing, ask, |entries| {
        let read: Result<Vec<_>, _> = entries.into_iter().map(Entry::try_from).collect();
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
        let read = Entry::try_from(wire).expect("reads");
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
