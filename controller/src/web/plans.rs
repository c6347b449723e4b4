//! *Plans*: what waits, for whom and for what; and each as a change that is approved with more confidence than it would be made by hand.

use askama::Template;
use jiff::Timestamp;
use policy::admit::class;
use policy::id::Sha256;
use policy::life::Life;
use policy::plan::Plan;
use policy::receipt::Receipt;
use policy::trust::TrustDocument;
use proto::invalid::present;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, GetPlanRequest, GetPlanResponse, ListPlansRequest};

use super::access::Who;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web, people};
use crate::by_hand;
use crate::diff::Diff;
use crate::operators::access::Right;

/// Plans on the page: the newest.
const SHOWN: i32 = 200;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let request = ListPlansRequest { page_size: SHOWN, open_only: false, ..ListPlansRequest::default() };
    let answer = web.operators.list_plans(who.ask(request)).await?.into_inner();
    let plans: Vec<PlanLine> = answer.plans.into_iter().map(PlanLine::of).collect();
    let waiting = plans.iter().filter(|plan| plan.open).count();
    let lead = match (waiting, plans.len()) {
        (_, 0) => text!("plans-none"),
        (0, _) => text!("plans-none-waits"),
        (waiting, _) => text!("plans-wait", count = waiting),
    };
    Ok(Shown { title: text!("common-plans"), main: Plans { lead, plans }.render()? })
}

#[derive(Template)]
#[template(path = "plans.html")]
struct Plans {
    lead: String,
    plans: Vec<PlanLine>,
}

pub(super) async fn show_one(web: &Web, who: &Who, id: &str) -> Result<Shown, Trouble> {
    let answer = web.operators.get_plan(who.ask(GetPlanRequest { id: id.to_owned() })).await?.into_inner();
    let trust = people::trust_in_force(web, who).await?;
    let page = PlanPage::of(answer, trust.as_ref().map(|trust| &trust.value), |right| who.may(right))?;
    Ok(Shown { title: text!("plan-title", purpose = page.purpose.as_str(), server = page.server.as_str()), main: page.render()? })
}

#[derive(Template)]
#[template(path = "plan.html")]
struct PlanPage {
    id: String,
    short: String,
    server: String,
    purpose: String,
    life: String,
    waits_for: String,
    opens: String,
    approved: String,
    expects: String,
    open: bool,
    /// Which state of it was shown.
    etag: String,
    /// What this role may do with it.
    may_reject: bool,
    may_abandon: bool,
    /// Whether an approver may sign in a browser.
    browsers: String,
    /// The keys of browsers that would count, as `person:key`; none where such keys do not.
    browser_keys: Option<String>,
    diff: Diff,
    /// The same as lines for PowerShell.
    by_hand: String,
    said: Vec<String>,
    receipt: Vec<String>,
}

impl PlanPage {
    /// Pure: the same answers make the same page.
    fn of(answer: GetPlanResponse, trust: Option<&TrustDocument>, may: impl Fn(Right) -> bool) -> Result<Self, tonic::Status> {
        let GetPlanResponse { plan, body, approvals, receipt } = answer;
        let plan = present("GetPlanResponse.plan", plan)?;
        let etag = plan.etag.clone();
        let needed = plan.needed;
        let PlanLine { short, server, purpose, life, approved, opens, waits_for, open } = PlanLine::of(plan);
        let stands = Life::from_word(&life);
        let body = Plan::from_bytes(&body).map_err(|error| tonic::Status::internal(error.to_string()))?;
        let said = approvals.into_iter().map(|approval| {
            let operator::ApprovalSummary { person, reason, change, not_before: _, not_after } = approval;
            let change = if change.is_empty() { String::new() } else { format!(" ({change})") };
            text!("plan-said", person = person, reason = reason, change = change, day = day(not_after))
        });
        let receipt = receipt.map(Receipt::try_from).transpose()?;
        let (class, diff) = (class(&body), Diff::of(&body));
        let keys = trust.filter(|trust| trust.browser.contains(&class)).map(people::browser_keys);
        let browsers = match &keys {
            Some(_) => text!("plan-browsers-count", needed = needed, browsers = needed.saturating_sub(1)),
            None => text!("plan-browsers-do-not-count", class = class.as_str()),
        };
        Ok(Self {
            may_reject: may(Right::Reject) && stands.is_some_and(|life| !life.ended()),
            may_abandon: may(Right::Abandon) && stands.is_some_and(|life| life.in_flight() || life == Life::Restored),
            browsers,
            browser_keys: keys,
            etag,
            id: body.id().to_string(),
            short,
            server,
            purpose,
            life,
            waits_for,
            opens,
            approved,
            expects: text!("plan-expects-facts", count = diff.expects),
            open,
            diff,
            by_hand: by_hand::lines(&body).join("\n"),
            said: said.collect(),
            receipt: receipt.map(|receipt| told(&receipt)).unwrap_or_default(),
        })
    }
}

/// What became of it on its host, in order.
fn told(receipt: &Receipt) -> Vec<String> {
    let mut lines = vec![text!(
        "plan-ended",
        outcome = receipt.outcome.as_str(),
        at = receipt.ended_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    )];
    if let Some(policy) = &receipt.standing {
        lines.push(text!("plan-standing", policy = policy.short()));
    }
    if receipt.gap_micros > 0 {
        lines.push(text!("plan-gap", micros = receipt.gap_micros));
    }
    lines.extend(receipt.notes.iter().cloned());
    lines.extend(receipt.objections.iter().map(ToString::to_string));
    lines.extend(receipt.foreign.iter().map(|fact| text!("plan-foreign", fact = fact.to_string())));
    lines
}

/// A plan in a table.
pub(super) struct PlanLine {
    pub(super) short: String,
    pub(super) server: String,
    pub(super) purpose: String,
    pub(super) life: String,
    pub(super) approved: String,
    pub(super) opens: String,
    pub(super) waits_for: String,
    /// An approver's word is wanted.
    pub(super) open: bool,
}

impl PlanLine {
    pub(super) fn of(plan: operator::Plan) -> Self {
        let operator::Plan {
            id,
            server,
            purpose,
            life,
            waits_for,
            opens_at,
            created_at: _,
            changed_at: _,
            approvals,
            needed,
            etag: _,
        } = plan;
        let open = Life::from_word(&life) == Some(Life::Proposed);
        Self {
            short: id.try_into().map_or_else(|_| String::new(), |id| Sha256(id).short()),
            server,
            purpose: purpose.replace('_', " "),
            life,
            approved: text!("plan-approved-of", approvals = approvals, needed = needed),
            opens: day(opens_at),
            waits_for,
            open,
        }
    }
}

/// A minute, of microseconds since 1970.
pub(super) fn moment(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// A day, of microseconds since 1970.
pub(super) fn day(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |at| at.strftime("%F").to_string())
}
