//! What pages do. Each form asks one call of the operators' service as the person who is signed in, and leads back to a page that shows what
//! came of it; a second press of the button after that asks for nothing.

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use policy::id::KeyId;
use policy::life::Life;
use policy::plan::Plan;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{
    self, AbandonPlanRequest, GetPlanRequest, ListPlansRequest, MakeStopRequest, RejectPlanRequest, SubmitApprovalRequest,
};
use proto::signed::SignedBytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::access::Who;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web};
use crate::diff::Diff;

/// A form, read strictly: one that does not read is answered with a page that says why.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Web> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let refused = |status, lead| web.trouble(Trouble { status, headline: text!("trouble-form"), lead }, None, &path);
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), web).await;
        let bytes = bytes.map_err(|why| refused(why.status(), why.body_text()))?;
        // What is no UTF-8 would be read with something else in its place.
        if !is_text(&bytes) {
            return Err(refused(StatusCode::BAD_REQUEST, text!("trouble-utf-8")));
        }
        let form = Form::<T>::from_request(Request::from_parts(parts, Body::from(bytes)), web).await;
        form.map(|Form(form)| Self(form)).map_err(|why| refused(why.status(), why.body_text()))
    }
}

/// Whether the bytes that a form stands for are UTF-8.
fn is_text(form: &[u8]) -> bool {
    let digit = |at: usize| form.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let (mut bytes, mut at) = (Vec::with_capacity(form.len()), 0);
    while let Some(byte) = form.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Why somebody wants it of a plan, and how that was when it was shown.
#[derive(Deserialize)]
pub(super) struct Reason {
    reason: String,
    #[serde(default)]
    etag: String,
}

/// An approval that a browser signed.
#[derive(Deserialize)]
pub(super) struct SignedHere {
    /// The bytes, which are JSON.
    approval: String,
    /// The public key, in hexadecimal digits.
    key: String,
    /// The signature, likewise.
    signature: String,
}

/// What is to be stopped.
#[derive(Deserialize)]
pub(super) struct Stopping {
    /// `estate`, `server:EX1`, `dag:DAG1` or `site:Berlin`.
    scope: String,
    reason: String,
}

/// A page that is asked for with `GET`, whatever came before.
fn back(path: &str) -> Response {
    Redirect::to(path).into_response()
}

pub(super) async fn approve(
    State(web): State<Web>,
    who: Who,
    Path(id): Path<String>,
    Sent(signed): Sent<SignedHere>,
) -> Response {
    let done = match signed.into_bytes() {
        Ok(signed) => {
            let request = SubmitApprovalRequest { approval: Some(signed.into()), validate_only: false };
            web.operators.submit_approval(who.ask(request)).await
        }
        Err(status) => Err(status),
    };
    web.plan_done(&who, &id, done.map(|_| ())).await
}

impl SignedHere {
    fn into_bytes(self) -> Result<SignedBytes, tonic::Status> {
        let Self { approval, key, signature } = self;
        let wrong = |what, expected| tonic::Status::invalid_argument(format!("{what}: expected {expected}"));
        let key: KeyId = key.parse().map_err(|_| wrong("key", "64 hexadecimal digits"))?;
        let signature = digits(&signature).ok_or_else(|| wrong("signature", "128 hexadecimal digits"))?;
        Ok(SignedBytes { body: approval.into_bytes(), signatures: vec![(key, signature)] })
    }
}

/// 64 bytes as hexadecimal digits.
fn digits(text: &str) -> Option<[u8; 64]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 64];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16);
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

pub(super) async fn reject(State(web): State<Web>, who: Who, Path(id): Path<String>, Sent(form): Sent<Reason>) -> Response {
    let asked = RejectPlanRequest { id: id.clone(), reason: form.reason, etag: form.etag, validate_only: false };
    let done = web.operators.reject_plan(who.ask(asked)).await;
    web.plan_done(&who, &id, done.map(|_| ())).await
}

pub(super) async fn abandon(State(web): State<Web>, who: Who, Path(id): Path<String>, Sent(form): Sent<Reason>) -> Response {
    let asked = AbandonPlanRequest { id: id.clone(), reason: form.reason, etag: form.etag, validate_only: false };
    let done = web.operators.abandon_plan(who.ask(asked)).await;
    web.plan_done(&who, &id, done.map(|_| ())).await
}

pub(super) async fn stop(State(web): State<Web>, who: Who, Sent(Stopping { scope, reason }): Sent<Stopping>) -> Response {
    let asked = match scope.split_once(':') {
        None if scope == "estate" => MakeStopRequest { estate: true, reason, ..MakeStopRequest::default() },
        Some(("server", name)) => MakeStopRequest { servers: vec![name.to_owned()], reason, ..MakeStopRequest::default() },
        Some(("dag", name)) => MakeStopRequest { dags: vec![name.to_owned()], reason, ..MakeStopRequest::default() },
        Some(("site", name)) => MakeStopRequest { sites: vec![name.to_owned()], reason, ..MakeStopRequest::default() },
        _ => {
            let status = tonic::Status::invalid_argument(text!("trouble-scope"));
            return web.trouble(status.into(), Some(&who), "/stops");
        }
    };
    match web.operators.make_stop(who.ask(asked)).await {
        Ok(_) => back("/stops"),
        Err(status) => web.trouble(status.into(), Some(&who), "/stops"),
    }
}

impl Web {
    /// What was wanted of a plan is done, or is refused; and where the plan is another than was shown, what has changed is said.
    async fn plan_done(&self, who: &Who, id: &str, done: Result<(), tonic::Status>) -> Response {
        let path = format!("/plans/{id}");
        let status = match done {
            Ok(()) => return back(&path),
            Err(status) => status,
        };
        let refused = status.message().to_owned();
        let trouble = Trouble::from(status);
        if trouble.status != StatusCode::CONFLICT {
            return self.trouble(trouble, Some(who), &path);
        }
        let shown = match self.changed(who, id, refused).await {
            Ok(Some(changed)) => changed.render().map_err(Trouble::from),
            // It ended, and nothing stands in its place.
            Ok(None) => return self.trouble(trouble, Some(who), &path),
            Err(trouble) => Err(trouble),
        };
        match shown {
            Ok(main) => {
                let shown = Shown { title: text!("changed-the-plan-has-changed"), main };
                let mut response = self.whole(&shown, Some(who), &path, false);
                *response.status_mut() = StatusCode::CONFLICT;
                response
            }
            Err(trouble) => self.trouble(trouble, Some(who), &path),
        }
    }

    /// The plan that stands in the place of one that ended, beside that one.
    async fn changed(&self, who: &Who, id: &str, refused: String) -> Result<Option<Changed>, Trouble> {
        let shown = self.operators.get_plan(who.ask(GetPlanRequest { id: id.to_owned() })).await?.into_inner();
        let Some(plan) = shown.plan else { return Ok(None) };
        if Life::from_word(&plan.life).is_none_or(|life| !life.ended()) {
            return Ok(None);
        }
        let request =
            ListPlansRequest { page_size: 1, open_only: true, server: plan.server.clone(), ..ListPlansRequest::default() };
        let now = self.operators.list_plans(who.ask(request)).await?.into_inner().plans;
        let Some(now) = now.into_iter().next() else { return Ok(None) };
        let id: String = now.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = self.operators.get_plan(who.ask(GetPlanRequest { id: id.clone() })).await?.into_inner();
        let diff = |body: &[u8]| {
            let plan = Plan::from_bytes(body).map_err(|error| tonic::Status::internal(error.to_string()))?;
            Ok::<_, tonic::Status>(Diff::of(&plan))
        };
        Ok(Some(Changed::of(refused, plan, (diff(&shown.body)?, diff(&now.body)?), id)))
    }
}

/// The plan that was shown is no more; another stands in its place.
#[derive(Template)]
#[template(path = "changed.html")]
struct Changed {
    refused: String,
    headline: String,
    id: String,
    lines: Vec<ChangedLine>,
}

/// What one of the two has, or both.
struct ChangedLine {
    class: &'static str,
    word: String,
    text: String,
}

impl Changed {
    /// Pure: both plans line by line, what is the same once.
    fn of(refused: String, plan: operator::Plan, (shown, now): (Diff, Diff), id: String) -> Self {
        let told = |diff: &Diff| {
            let before = diff.old.iter().map(|line| text!("changed-before", line = line.as_str()));
            let after = diff.new.iter().map(|line| text!("changed-after", line = line.as_str()));
            let steps = text!("changed-steps", steps = diff.steps.join(", "));
            before.chain(after).chain([steps, text!("changed-expects", count = diff.expects)]).collect::<Vec<_>>()
        };
        let (shown, now) = (told(&shown), told(&now));
        let gone = shown.iter().filter(|line| !now.contains(line));
        let gone = gone.map(|line| ChangedLine { class: "old", word: text!("changed-shown"), text: line.clone() });
        let is = now.iter().map(|line| {
            let (class, word) =
                if shown.contains(line) { ("same", text!("changed-as-shown")) } else { ("new", text!("changed-now")) };
            ChangedLine { class, word, text: line.clone() }
        });
        Self {
            refused,
            headline: text!("changed-what-is-different-on", server = plan.server),
            id,
            lines: gone.chain(is).collect(),
        }
    }
}
