//! `backstay plan list|show|approve|reject`: what is to be done, and a person's yes or no to it.

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::id::{PlanId, ServerName};
use policy::life::Life;
use policy::receipt::Receipt;
use proto::invalid::{Invalid, moment, present};
use proto::operator::{self, AbandonPlanRequest, GetPlanRequest, GetPlanResponse, ListPlansRequest, RejectPlanRequest};
use serde::Serialize;

use self::preview::Preview;
use super::connection::{Client, answer};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, dash, line, moment as at, moment_if_any, table};
use super::watch::Watch;
use super::{Context, pages, wire};
use crate::by_hand;

mod approve;
pub mod preview;

/// The fewest digits by which a plan may be named.
const MIN_PREFIX: usize = 8;

/// Plans of the estate.
#[derive(Debug, Subcommand)]
pub enum Plan {
    /// Plans that are not ended, or all.
    List(List),
    /// One plan: what it does, what it expects, who approved it, how it ended.
    Show(Show),
    /// Signs plans on this workstation and hands the approval in.
    Approve(approve::Approve),
    /// Takes a plan back before it begins.
    Reject(Reject),
    /// Gives up a plan whose agent is away and whose fate nobody knows.
    Abandon(Abandon),
}

impl Plan {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Approve(approve) => approve.run(context).await,
            Self::Reject(reject) => reject.run(context).await,
            Self::Abandon(abandon) => abandon.run(context).await,
        }
    }
}

/// Lists plans.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay plan list
  backstay plan list --all --server EX1")]
pub struct List {
    /// Ended plans too.
    #[arg(long)]
    all: bool,

    /// Only those of this server.
    #[arg(long, value_name = "NAME")]
    server: Option<ServerName>,

    #[command(flatten)]
    watch: Watch,
}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let ask = async || self.all(&client).await.map(PlanList);
        self.watch.show(&mut context.output, ask, |_| false).await?;
        Ok(Exit::Ok)
    }

    async fn all(&self, client: &Client) -> Result<Vec<PlanRow>, Failure> {
        let doing = "listing the plans";
        let mut rows = Vec::new();
        let server = self.server.as_ref().map(ServerName::to_string).unwrap_or_default();
        let ask = |page_token| {
            let request = ListPlansRequest { page_size: pages::PAGE, page_token, open_only: !self.all, server: server.clone() };
            page(client.clone(), doing, request)
        };
        pages::each(doing, ask, |plans| {
            let read: Result<Vec<_>, _> = plans.into_iter().map(PlanRow::try_from).collect();
            rows.extend(read.doing(|| doing.to_owned())?);
            Ok(())
        })
        .await?;
        Ok(rows)
    }
}

async fn page(mut client: Client, doing: &str, request: ListPlansRequest) -> Result<(Vec<operator::Plan>, String), Failure> {
    let response = answer(doing, client.list_plans(request)).await?;
    Ok((response.plans, response.next_page_token))
}

/// Shows one plan.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay plan show 3f2a9c01
  backstay plan show 3f2a9c01 -o json
  backstay plan show 3f2a9c01 --by-hand
  backstay plan show 3f2a9c01 --watch && echo \"it is confirmed\"")]
pub struct Show {
    /// The plan: its id, or the first 8 digits or more.
    #[arg(value_name = "ID", value_parser = prefix)]
    id: String,

    /// The same steps as lines for Windows PowerShell, for whoever wants to do it by hand.
    #[arg(long, conflicts_with = "watch")]
    by_hand: bool,

    #[command(flatten)]
    watch: Watch,
}

impl Show {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        if self.by_hand {
            let plan = fetch(&mut client, &self.id).await?.plan;
            context.output.show(&ByHand { id: plan.id(), lines: by_hand::lines(&plan) })?;
            return Ok(Exit::Ok);
        }
        let view = self.watch.show(&mut context.output, async || fetch(&mut client, &self.id).await, PlanView::ended).await?;
        // Who waited for the end wants to know which.
        let waited_in_vain = self.watch.is_on() && view.row.life != Life::Confirmed.as_str();
        Ok(if waited_in_vain { Exit::Findings } else { Exit::Ok })
    }
}

/// A plan as lines for PowerShell.
#[derive(Serialize)]
struct ByHand {
    id: PlanId,
    lines: Vec<String>,
}

impl View for ByHand {
    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, row| text + &line(row) + "\n")
    }
}

/// Takes a plan back.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay plan reject 3f2a9c01 --reason \"EX1 is decommissioned on Friday\"")]
pub struct Reject {
    /// The plan: its id, or the first 8 digits or more.
    #[arg(value_name = "ID", value_parser = prefix)]
    id: String,

    /// Why; it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Reject {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = format!("rejecting plan {}", self.id);
        let request = RejectPlanRequest {
            id: self.id.clone(),
            reason: self.reason.clone(),
            validate_only: self.dry_run.validate_only(),
            ..RejectPlanRequest::default()
        };
        let response = answer(&doing, client.reject_plan(request)).await?;
        let plan = present("RejectPlanResponse.plan", response.plan).and_then(PlanRow::try_from).doing(|| doing)?;
        self.dry_run.say(context, &format!("plan {} is {}", plan.id.short(), plan.life));
        context.output.show(&PlanList(vec![plan]))?;
        Ok(Exit::Ok)
    }
}

/// Gives a plan up.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay plan abandon 3f2a9c01 --reason \"EX1 burned down\"")]
pub struct Abandon {
    /// The plan: its id, or the first 8 digits or more.
    #[arg(value_name = "ID", value_parser = prefix)]
    id: String,

    /// Why; it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Abandon {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = format!("abandoning plan {}", self.id);
        let request = AbandonPlanRequest {
            id: self.id.clone(),
            reason: self.reason.clone(),
            validate_only: self.dry_run.validate_only(),
            ..AbandonPlanRequest::default()
        };
        let response = answer(&doing, client.abandon_plan(request)).await?;
        let plan = present("AbandonPlanResponse.plan", response.plan).and_then(PlanRow::try_from).doing(|| doing)?;
        self.dry_run.say(context, &format!(
            "plan {} is given up, and others have their turn; should its agent come back, it ends the plan by its journal and says how",
            plan.id.short()
        ));
        context.output.show(&PlanList(vec![plan]))?;
        Ok(Exit::Ok)
    }
}

/// One plan from the controller. Its id is computed here, from the bytes: what is shown is what would be signed.
async fn fetch(client: &mut Client, id: &str) -> Result<PlanView, Failure> {
    let doing = format!("asking for plan {id}");
    let response = answer(&doing, client.get_plan(GetPlanRequest { id: id.to_owned() })).await?;
    PlanView::of(id, response).doing(|| doing)
}

/// A full id, or enough of its first digits.
fn prefix(text: &str) -> Result<String, String> {
    let fits = (MIN_PREFIX..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("expected {MIN_PREFIX} to 64 hexadecimal digits, found {text:?}"))
    }
}

/// A plan, as it is printed in lists.
#[derive(Debug, Clone, Serialize)]
pub struct PlanRow {
    /// Its id.
    pub id: PlanId,
    /// The server.
    pub server: String,
    /// What for.
    pub purpose: String,
    /// Where it stands.
    pub life: String,
    /// Why it stands there.
    pub waits_for: String,
    /// The earliest begin.
    pub opens_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it last moved.
    pub changed_at: Option<Timestamp>,
    /// How many persons approved it.
    pub approvals: u32,
    /// How many must.
    pub needed: u32,
    /// Another when it stands otherwise.
    pub etag: String,
}

impl TryFrom<operator::Plan> for PlanRow {
    type Error = Invalid;

    fn try_from(plan: operator::Plan) -> Result<Self, Invalid> {
        let operator::Plan { id, server, purpose, life, waits_for, opens_at, created_at, changed_at, approvals, needed, etag } =
            plan;
        Ok(Self {
            id: wire::id("Plan.id", &id)?,
            server,
            purpose,
            life,
            waits_for,
            opens_at: wire::moment_or_never("Plan.opens_at", opens_at)?,
            created_at: wire::moment_or_never("Plan.created_at", created_at)?,
            changed_at: wire::moment_or_never("Plan.changed_at", changed_at)?,
            approvals,
            needed,
            etag,
        })
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct PlanList(Vec<PlanRow>);

impl View for PlanList {
    fn text(&self) -> String {
        plan_table(&self.0)
    }
}

/// Plans as a table.
pub fn plan_table(plans: &[PlanRow]) -> String {
    let row = |plan: &PlanRow| {
        [
            plan.id.short(),
            plan.server.clone(),
            plan.purpose.clone(),
            plan.life.clone(),
            format!("{}/{}", plan.approvals, plan.needed),
            moment_if_any(plan.opens_at),
            dash(&plan.waits_for),
        ]
    };
    table(["PLAN", "SERVER", "PURPOSE", "STATE", "APPROVED", "OPENS", "WAITS FOR"], plans.iter().map(row))
}

/// A plan, as it is printed alone.
#[derive(Debug, Clone, Serialize)]
pub struct PlanView {
    #[serde(flatten)]
    row: PlanRow,
    approved_by: Vec<ApprovalView>,
    receipt: Option<Receipt>,
    /// What would be signed.
    plan: policy::plan::Plan,
}

/// A person's yes, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalView {
    pub(super) person: String,
    pub(super) reason: String,
    pub(super) change: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl PlanView {
    /// Nothing more becomes of it. A word of a later version is taken for an end: whoever waits must not wait for ever.
    fn ended(&self) -> bool {
        Life::from_word(&self.row.life).is_none_or(Life::ended)
    }

    fn of(asked: &str, response: GetPlanResponse) -> Result<Self, Failure> {
        let reading = || "reading the controller's answer".to_owned();
        let GetPlanResponse { plan: row, body, approvals, receipt } = response;
        let row = present("GetPlanResponse.plan", row).and_then(PlanRow::try_from).doing(reading)?;
        let plan = policy::plan::Plan::from_bytes(&body).doing(reading)?;
        let computed = plan.id();
        if computed != row.id || !computed.to_string().starts_with(asked) {
            let forged =
                format!("expected the bytes of plan {asked}, found those of {computed}, which the controller calls {}", row.id);
            return Err(Failure::new(Exit::Error, "the controller shows one plan under the name of another")
                .because(forged)
                .next("do not approve; the controller may be in foreign hands"));
        }
        if plan.host.as_str() != row.server {
            let forged = format!("expected {}, found {}", plan.host, row.server);
            return Err(Failure::new(Exit::Error, "the controller shows the plan under another server's name").because(forged));
        }
        Ok(Self {
            row,
            approved_by: approvals.into_iter().map(ApprovalView::try_from).collect::<Result<_, _>>().doing(reading)?,
            receipt: receipt.map(Receipt::try_from).transpose().doing(reading)?,
            plan,
        })
    }

    fn preview(&self) -> Preview<'_> {
        Preview { plan: &self.plan, row: &self.row }
    }
}

impl TryFrom<operator::ApprovalSummary> for ApprovalView {
    type Error = Invalid;

    fn try_from(approval: operator::ApprovalSummary) -> Result<Self, Invalid> {
        let operator::ApprovalSummary { person, reason, change, not_before, not_after } = approval;
        Ok(Self {
            person,
            reason,
            change,
            not_before: moment("ApprovalSummary.not_before", not_before)?,
            not_after: moment("ApprovalSummary.not_after", not_after)?,
        })
    }
}

impl View for PlanView {
    fn text(&self) -> String {
        let mut text = self.preview().text();
        text.push_str(&format!("\nstate {}, since {}\n", line(&self.row.life), moment_if_any(self.row.changed_at)));
        if !self.row.waits_for.is_empty() {
            text.push_str(&format!("  {}\n", line(&self.row.waits_for)));
        }
        text.push_str("\nsteps\n");
        for (index, step) in self.plan.steps.iter().enumerate() {
            text.push_str(&format!("  {}. {}\n", index + 1, line(&step.describe())));
        }
        for approval in &self.approved_by {
            let ApprovalView { person, reason, change, not_before, not_after } = approval;
            let change = if change.is_empty() { String::new() } else { format!(", change {}", line(change)) };
            text.push_str(&format!(
                "\napproved by {} from {} to {}{change}\n  {}\n",
                line(person),
                at(*not_before),
                at(*not_after),
                line(reason)
            ));
        }
        if let Some(receipt) = &self.receipt {
            text.push_str(&receipt_text(receipt));
        }
        text
    }
}

fn receipt_text(receipt: &Receipt) -> String {
    let mut text = format!("\n{} at {}\n", receipt.outcome.as_str(), at(receipt.ended_at));
    if receipt.gap_micros > 0 {
        text.push_str(&format!("  444 had no record for {} microseconds\n", receipt.gap_micros));
    }
    let refused = receipt.objections.iter().map(ToString::to_string);
    let elsewhere = receipt.foreign.iter().map(|fact| format!("changed elsewhere meanwhile: {fact}"));
    for note in receipt.notes.iter().cloned().chain(refused).chain(elsewhere) {
        text.push_str(&format!("  {}\n", line(&note)));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use policy::plan::{Plan as Body, Purpose, Values};

    use super::*;

    pub(crate) fn body() -> Body {
        Body {
            estate: "contoso".parse().expect("a name"),
            host: "EX1".parse().expect("a name"),
            machine_id: "5d1c".to_owned(),
            purpose: Purpose::Renew,
            attempt: 1,
            values: Values { key_bits: 2048, months: 60 },
            expects: Vec::new(),
            steps: vec![policy::plan::Step::Compare],
        }
    }

    fn response(id: PlanId, server: &str) -> GetPlanResponse {
        let plan = operator::Plan { id: id.0.to_vec(), server: server.to_owned(), ..operator::Plan::default() };
        GetPlanResponse { plan: Some(plan), body: body().to_bytes(), ..GetPlanResponse::default() }
    }

    #[test]
    fn a_plan_is_shown_only_under_the_id_of_its_bytes() {
        let id = body().id();
        let asked = id.short();
        assert!(PlanView::of(&asked, response(id, "EX1")).is_ok());
        let other = PlanView::of(&asked, response(PlanId::of(b"another"), "EX1")).expect_err("another id");
        assert!(other.report().contains("do not approve"), "{}", other.report());
        assert!(PlanView::of("00000000", response(id, "EX1")).is_err(), "not the plan that was asked for");
        assert!(PlanView::of(&asked, response(id, "EX2")).is_err(), "another server's name");
    }

    #[test]
    fn plans_are_named_by_eight_digits_or_more() {
        assert_eq!(prefix("3F2A9C01"), Ok("3f2a9c01".to_owned()));
        for text in ["3f2a9c0", "3f2a9c0x", "", &"a".repeat(65)] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }
}
