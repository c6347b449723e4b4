//! *Audit*: who did what; looked through, verified, and taken away as a file.

use std::convert::Infallible;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use policy::id::Sha256;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{AuditEntry, GetStatusRequest, ListAuditRequest};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::access::Who;
use super::plans::moment;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web};
use crate::audit::{Entry, Head, verify};

/// Entries on a page.
const SHOWN: i32 = 100;

/// Entries that are read at once.
const PAGE: i32 = 1_000;

/// What is looked for, and where the page begins.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    words: String,
    #[serde(default)]
    behind: String,
}

pub(super) async fn list(State(web): State<Web>, who: Who, Query(Wanted { words, behind }): Query<Wanted>) -> Response {
    let request =
        ListAuditRequest { page_size: SHOWN, page_token: behind, contains: words.clone(), newest_first: true, after: 0 };
    let shown = match web.operators.list_audit(who.ask(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            Trail::of(answer.entries, words, answer.next_page_token).render().map_err(Trouble::from)
        }
        Err(status) => Err(status.into()),
    };
    match shown {
        Ok(main) => web.whole(&Shown { title: text!("common-audit"), main }, Some(&who), "/audit", false),
        Err(trouble) => web.trouble(trouble, Some(&who), "/audit"),
    }
}

#[derive(Template)]
#[template(path = "trail.html")]
struct Trail {
    words: String,
    entries: Vec<Line>,
    older: String,
}

struct Line {
    sequence: u64,
    at: String,
    actor: String,
    action: String,
    subject: String,
    detail: String,
}

impl Trail {
    /// Pure: the same entries make the same page.
    fn of(entries: Vec<AuditEntry>, words: String, older: String) -> Self {
        let line = |AuditEntry { sequence, at, actor, action, subject, detail, previous: _, hash: _ }| Line {
            sequence,
            at: moment(at),
            actor,
            action,
            // Digests are shortened for people; names stay.
            subject: subject.parse::<Sha256>().map_or(subject, |digest| digest.short()),
            detail: if detail == "{}" { String::new() } else { detail },
        };
        Self { words, entries: entries.into_iter().map(line).collect(), older }
    }
}

/// The chain is computed anew, from its first entry.
pub(super) async fn verified(State(web): State<Web>, who: Who) -> Response {
    let shown = match checked(&web, &who).await {
        Ok(checked) => checked.render().map_err(Trouble::from),
        Err(trouble) => Err(trouble),
    };
    match shown {
        Ok(main) => web.whole(&Shown { title: text!("trail-verified-title"), main }, Some(&who), "/audit", false),
        Err(trouble) => web.trouble(trouble, Some(&who), "/audit"),
    }
}

#[derive(Template)]
#[template(path = "trail_verified.html")]
struct Checked {
    headline: String,
    lead: String,
    broken: bool,
    entries: u64,
    head: String,
}

impl Checked {
    /// `broken`: what is wrong behind the last entry that holds.
    fn of(broken: Option<String>, end: Head) -> Self {
        let (headline, lead) = match &broken {
            None => (text!("trail-verified-unbroken"), text!("trail-verified-entries", count = end.sequence)),
            Some(broken) => {
                (text!("trail-verified-broken"), text!("trail-verified-up-to", broken = broken.as_str(), count = end.sequence))
            }
        };
        Self { headline, lead, broken: broken.is_some(), entries: end.sequence, head: end.hash.to_string() }
    }
}

async fn checked(web: &Web, who: &Who) -> Result<Checked, Trouble> {
    let promised = web.operators.get_status(who.ask(GetStatusRequest {})).await?.into_inner().audit_sequence;
    let mut end = Head::EMPTY;
    loop {
        let entries = read(web, who, end.sequence).await?;
        if entries.is_empty() {
            break;
        }
        match verify(end, &entries) {
            Ok(head) => end = head,
            Err(broken) => return Ok(Checked::of(Some(broken.to_string()), end)),
        }
    }
    let cut = || text!("trail-verified-cut", promised = promised, end = end.sequence);
    Ok(Checked::of((end.sequence < promised).then(cut), end))
}

async fn read(web: &Web, who: &Who, after: u64) -> Result<Vec<Entry>, Trouble> {
    let request = ListAuditRequest { page_size: PAGE, after, ..ListAuditRequest::default() };
    let entries = web.operators.list_audit(who.ask(request)).await?.into_inner().entries;
    let entries: Result<Vec<_>, _> = entries.into_iter().map(Entry::try_from).collect();
    Ok(entries.map_err(tonic::Status::from)?)
}

/// The whole trail as a file, an entry a line: what `backstay audit export` writes.
pub(super) async fn export(State(web): State<Web>, who: Who) -> Response {
    let name = format!("attachment; filename=\"audit-{}.jsonl\"", web.parts.store.estate());
    let Ok(name) = HeaderValue::from_str(&name) else {
        return web.trouble(tonic::Status::internal("the estate's name is no file name").into(), Some(&who), "/audit");
    };
    let (lines, stream) = mpsc::channel::<Result<Bytes, Infallible>>(1);
    let tasks = web.tasks.clone();
    tasks.spawn(async move {
        let mut after = 0;
        // Whoever takes it slowly, or goes, is waited for by nobody else.
        while let Ok(entries) = read(&web, &who, after).await {
            let Some(last) = entries.last() else { return };
            after = last.sequence;
            let text: String = entries.iter().map(line).collect();
            tokio::select! {
                () = web.stop.cancelled() => return,
                sent = lines.send(Ok(text.into())) => if sent.is_err() { return },
            }
        }
    });
    let kind = HeaderValue::from_static("application/jsonl; charset=utf-8");
    let head = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    (head, Body::from_stream(ReceiverStream::new(stream))).into_response()
}

fn line(entry: &Entry) -> String {
    format!("{}\n", serde_json::to_string(entry).unwrap_or_default())
}
