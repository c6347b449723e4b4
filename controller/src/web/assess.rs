//! *Assess*: exports that are dropped here are judged as `backstay assess` judges them. They stay in memory, and are gone with the answer.

use askama::Template;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::access::Who;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web};
use crate::cli::assess::{Assessed, assessed, page::sections};

/// The most bytes that are sent at once.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The most files.
const MAX_FILES: usize = 500;

/// The longest name of a file, in bytes.
const MAX_NAME: usize = 500;

/// Assessments at once, on all pages together: each may hold as much as is sent.
pub(super) const AT_ONCE: usize = 2;

pub(super) fn show() -> Result<Shown, Trouble> {
    Ok(Shown { title: text!("common-assess"), main: AssessPage.render()? })
}

#[derive(Template)]
#[template(path = "assess.html")]
struct AssessPage;

#[derive(Template)]
#[template(path = "assessed.html")]
struct AssessedPage {
    lead: String,
    /// Made by the page of the command line, which escapes what others wrote.
    sections: String,
    failures: Vec<String>,
}

/// Files were dropped.
pub(super) async fn judge(State(web): State<Web>, who: Who, request: Request) -> Response {
    match judged(&web, request).await {
        Ok(shown) => web.whole(&shown, Some(&who), "/assess", false),
        Err(trouble) => web.trouble(trouble, Some(&who), "/assess"),
    }
}

async fn judged(web: &Web, request: Request) -> Result<Shown, Trouble> {
    let Ok(_place) = web.desks.try_acquire() else {
        let lead = text!("assessed-others-wait");
        return Err(Trouble { status: StatusCode::TOO_MANY_REQUESTS, headline: text!("common-one-moment"), lead });
    };
    let files = received(request).await?;
    let now = web.parts.clock.now();
    // Reading megabytes of XML is no work for the threads on which agents are answered.
    let found = tokio::task::spawn_blocking(move || assessed(files, now)).await;
    let Assessed { views, failures } = found.map_err(|_| tonic::Status::internal("the exports could not be judged"))?;
    let lead = text!("assessed-lead", count = views.len());
    let main = AssessedPage { lead, sections: sections(&views), failures }.render()?;
    Ok(Shown { title: text!("assessed-assessment"), main })
}

fn refused(status: StatusCode, lead: String) -> Trouble {
    Trouble { status, headline: text!("assessed-files-do-not-read"), lead }
}

/// The files with their names; a folder's have its name before them.
async fn received(request: Request) -> Result<Vec<(String, Bytes)>, Trouble> {
    let broken = |error: MultipartError| refused(error.status(), text!("assessed-too-large", why = error.body_text()));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| refused(error.status(), error.body_text()))?;
    let mut files = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let Some(name) = name(&field) else { continue };
        let bytes = field.bytes().await.map_err(broken)?;
        // A field for files that was left empty comes as one file without a name and without bytes.
        if name.is_empty() && bytes.is_empty() {
            continue;
        }
        if files.len() == MAX_FILES {
            let lead = text!("assessed-too-many", count = MAX_FILES);
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, lead));
        }
        files.push((name, bytes));
    }
    if files.is_empty() {
        return Err(refused(StatusCode::BAD_REQUEST, text!("assessed-no-files")));
    }
    Ok(files)
}

/// The name of a file, for people; `None` for a field that is no file.
fn name(field: &Field<'_>) -> Option<String> {
    let name = field.file_name()?;
    let kept: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut end = kept.len().min(MAX_NAME);
    while !kept.is_char_boundary(end) {
        end -= 1;
    }
    Some(kept[..end].replace('\\', "/"))
}
