//! *Policy*: every value in effect and who signed it; and what another one would change, before anybody signs that.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use policy::Timestamp;
use policy::document::Policy;
use policy::trust::{TrustDocument, Verified};
use proto::operator::GetPolicyRequest;
use proto::operator::operator_service_server::OperatorService as _;
use proto::signed::SignedBytes;
use serde::Deserialize;

use super::access::Who;
use super::acts::Sent;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web, calendar, people};
use crate::policies::{Day, Difference, Differences, InEffect};
use crate::status::chain;

/// Days of the calendar that are shown of a policy that is tried.
const FORESEEN: usize = 100;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let held = in_force(web, who).await?;
    let trust = people::trust_in_force(web, who).await?;
    let page = PolicyPage::of(held.as_ref(), trust.as_ref().map(|trust| &trust.value), web.parts.clock.now());
    Ok(Shown { title: text!("common-policy"), main: page.render()? })
}

/// The policy in force with who signed it, and its own bytes.
pub(super) async fn in_force(web: &Web, who: &Who) -> Result<Option<(Verified<Policy>, String)>, Trouble> {
    let Some(signed) = web.operators.get_policy(who.ask(GetPolicyRequest {})).await?.into_inner().policy else { return Ok(None) };
    let signed = SignedBytes::try_from(signed).map_err(tonic::Status::from)?;
    let policy = proto::signed::policy(&signed).map_err(|error| tonic::Status::internal(error.to_string()))?;
    Ok(Some((policy, String::from_utf8_lossy(&signed.body).into_owned())))
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    lead: String,
    doubts: Vec<String>,
    values: Vec<Value>,
    text: String,
    /// What the next one must begin with.
    head: String,
}

/// A key and what it is; entries of lists stand below each other.
struct Value {
    key: String,
    lines: Vec<String>,
}

impl PolicyPage {
    /// Pure: the same document makes the same page.
    fn of(held: Option<&(Verified<Policy>, String)>, trust: Option<&TrustDocument>, now: Timestamp) -> Self {
        let Some((Verified { value: policy, id, signers }, text)) = held else {
            return Self {
                lead: text!("estate-no-policy"),
                doubts: Vec::new(),
                values: Vec::new(),
                text: String::new(),
                head: "version = 1".to_owned(),
            };
        };
        let persons: Vec<String> =
            trust.map(|trust| trust.approvers(signers, now)).unwrap_or_default().iter().map(ToString::to_string).collect();
        let by = if persons.is_empty() { text!("policy-nobody-any-more") } else { persons.join(", ") };
        Self {
            lead: text!("policy-in-force", version = policy.version, by = by),
            doubts: policy.doubts(now),
            values: values(policy),
            text: text.clone(),
            head: format!("version = {}\nprevious = \"{id}\"", policy.version + 1),
        }
    }
}

fn values(policy: &Policy) -> Vec<Value> {
    let rows = InEffect::of(policy).rows().into_iter();
    rows.map(|(key, value)| Value { key, lines: value.lines().map(str::to_owned).collect() }).collect()
}

/// A policy that somebody wants.
#[derive(Deserialize)]
pub(super) struct Tried {
    policy: String,
}

/// What would be different. Nothing is changed, whoever asks.
pub(super) async fn try_it(State(web): State<Web>, who: Who, Sent(Tried { policy: text }): Sent<Tried>) -> Response {
    match tried(&web, &who, text).await {
        Ok((status, shown)) => {
            let mut response = web.whole(&shown, Some(&who), "/policy", false);
            *response.status_mut() = status;
            response
        }
        Err(trouble) => web.trouble(trouble, Some(&who), "/policy"),
    }
}

async fn tried(web: &Web, who: &Who, text: String) -> Result<(StatusCode, Shown), Trouble> {
    let held = in_force(web, who).await?;
    let now = web.parts.clock.now();
    // Browsers end lines in their own way; what would be signed is a file of the approver's.
    let text = text.replace("\r\n", "\n");
    let (status, page) = match Policy::from_toml(text.as_bytes()) {
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, TriedPage { wrong: chain(&error), text, ..TriedPage::default() }),
        Ok(policy) => {
            let estate = &web.parts.config.estate;
            let old = held.map_or_else(|| Policy::none_yet(estate.clone()), |(held, _)| held.value);
            let Differences(changes) = Differences::between(&InEffect::of(&old), &InEffect::of(&policy));
            let doubts = policy.doubts(now);
            let mut days = calendar::foreseen(web, who, policy).await?;
            let more = days.len().saturating_sub(FORESEEN);
            days.truncate(FORESEEN);
            let more = if more == 0 { String::new() } else { text!("policy-tried-more", count = more) };
            (StatusCode::OK, TriedPage { wrong: String::new(), changes, doubts, days, more, text })
        }
    };
    Ok((status, Shown { title: text!("policy-tried-a-policy-is-tried"), main: page.render()? }))
}

#[derive(Template, Default)]
#[template(path = "policy_tried.html")]
struct TriedPage {
    wrong: String,
    changes: Vec<Difference>,
    doubts: Vec<String>,
    days: Vec<Day>,
    /// That time brings more; empty when it does not.
    more: String,
    text: String,
}
