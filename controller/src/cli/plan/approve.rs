//! `backstay plan approve`: shows what is to be done, signs it on this workstation, hands the approval in.
//!
//! The controller is asked for the bytes and believed in nothing: the id is computed here, what is shown is read from the
//! bytes, and what is signed is that id. The key never leaves this machine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use policy::Timestamp;
use policy::duration::Span;
use policy::id::{EstateName, Person};
use policy::trust::{Approval, Kind};
use proto::invalid::Invalid;
use proto::operator::SubmitApprovalRequest;
use proto::signed::{SignedBytes, SigningKey};

use super::{PlanList, PlanRow, PlanView, fetch, prefix};
use crate::cli::connection::answer;
use crate::cli::dry_run::DryRun;
use crate::cli::failure::{Doing, Exit, Failure};
use crate::cli::output::moment;
use crate::cli::{Context, approver, files};

/// An approval counts from this long before it is signed: the clocks of a workstation and of a host differ.
const SKEW: Span = Span::seconds(300);

/// Signs plans and hands the approval in.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay plan approve 3f2a9c01 --key anna.key --reason \"renewal of the back end\" --change CHG-12
  backstay plan approve 3f2a9c01 77d0e1f2 --key anna.key --reason \"DAG1, second half\" --days 14 --yes")]
pub struct Approve {
    /// The plans: ids, or the first 8 digits or more of each. One signature covers them all.
    #[arg(value_name = "ID", required = true, value_parser = prefix)]
    ids: Vec<String>,

    /// Your signing key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Why; it is signed and stands in the audit trail.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,

    /// The change number of your change process.
    #[arg(long, value_name = "NR")]
    change: Option<String>,

    /// How many days the approval counts, 1 to 90.
    #[arg(long, value_name = "N", default_value_t = 45, value_parser = clap::value_parser!(u16).range(1..=90))]
    days: u16,

    /// Do not ask.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Approve {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let key = files::key(&self.key)?;
        let mut client = context.connection.connect().await?;
        let mut plans: Vec<PlanView> = Vec::new();
        for id in &self.ids {
            plans.push(fetch(&mut client, id).await?);
        }
        let now = context.clock.now();
        let trust = approver::trust_in_force(&mut client).await?;
        let estate = one_estate(&plans)?;
        let person = approver::owner(&trust, &estate, key.id(), now)?;
        for plan in &plans {
            context.output.say(&plan.preview().text());
        }
        let what = if plans.len() == 1 { "this plan".to_owned() } else { format!("these {} plans", plans.len()) };
        approver::agree(context, &format!("Sign {what} as {person}? [y/N]"), self.yes).await?;

        let approval = self.approval(estate, person.clone(), &plans, now);
        let until = approval.not_after;
        let signed = sign(&key, &approval)?;
        let doing = "handing the approval in";
        let request = SubmitApprovalRequest { approval: Some(signed.into()), validate_only: self.dry_run.validate_only() };
        let response = answer(doing, client.submit_approval(request)).await?;
        let rows: Result<Vec<_>, Invalid> = response.plans.into_iter().map(PlanRow::try_from).collect();
        self.dry_run.say(context, &format!("approved as {person}, until {}", moment(until)));
        context.output.show(&PlanList(rows.doing(|| doing.to_owned())?))?;
        Ok(Exit::Ok)
    }

    fn approval(&self, estate: EstateName, person: Person, plans: &[PlanView], now: Timestamp) -> Approval {
        let not_before = SKEW.before(now);
        Approval {
            estate,
            plans: plans.iter().map(|view| view.plan.id()).collect(),
            person,
            // What the controller proposes was asked for by nobody.
            requester: None,
            reason: self.reason.clone(),
            change: self.change.clone(),
            not_before,
            // Counted from the same moment: 90 days are the most between the two.
            not_after: Span::days(self.days).after(not_before),
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=1000).contains(&text.len()) { Ok(text.to_owned()) } else { Err("expected 1 to 1000 bytes of text".to_owned()) }
}

fn one_estate(plans: &[PlanView]) -> Result<EstateName, Failure> {
    let estates: BTreeSet<&EstateName> = plans.iter().map(|view| &view.plan.estate).collect();
    match (estates.first(), estates.len()) {
        (Some(estate), 1) => Ok((*estate).clone()),
        (_, found) => Err(Failure::new(Exit::Usage, format!("approving: expected plans of one estate, found {found}"))),
    }
}

fn sign(key: &SigningKey, approval: &Approval) -> Result<SignedBytes, Failure> {
    let doing = || "signing the approval".to_owned();
    let mut signed = SignedBytes::unsigned(approval.to_bytes());
    key.sign(Kind::Approval, &mut signed).doing(doing)?;
    // What an agent would refuse to read is not handed in.
    proto::signed::approval(&signed).doing(doing)?;
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn an_approval_of_ninety_days_is_one_that_agents_read() {
        let key = SigningKey::generate().expect("a key");
        let approve = Approve {
            ids: Vec::new(),
            key: PathBuf::new(),
            reason: "renewal".into(),
            change: None,
            days: 90,
            yes: true,
            dry_run: DryRun::default(),
        };
        let row = super::super::tests::body();
        let mut approval = approve.approval(
            "contoso".parse().expect("a name"),
            "anna".parse().expect("a name"),
            &[],
            at("2026-11-22T00:00:00Z"),
        );
        approval.plans.insert(row.id());
        let signed = sign(&key, &approval).expect("signed");
        assert_eq!(proto::signed::approval(&signed).expect("believed").value, approval);
    }
}
