//! The steps against thieves: a controller in foreign hands, and the trail that tells of everything.

use anyhow::{Context, Result};
use policy::duration::Span;
use policy::plan::Plan;
use policy::trust::Kind;
use proto::types::{Outcome, Receipt};

use super::{SOON, Tour, changes, does, holds, same, shown};
use crate::forger::Forger;
use crate::papers;

const SERVER: &str = "EX3";

pub(super) fn stolen(tour: &mut Tour) -> Result<()> {
    let held = forge(tour);
    // However it ended: the steps behind this one need the real one.
    if tour.estate.controller().is_err() {
        tour.estate.start_controller()?;
    }
    held?;
    for server in ["EX1", "EX2", "EX3"] {
        tour.estate.wait_connected(server, SOON * 2)?;
        tour.estate.wait_verdict(server, "healthy", SOON)?;
    }
    shown("the real controller comes back, and so do the agents");
    Ok(())
}

fn forge(tour: &mut Tour) -> Result<()> {
    let host = tour.estate.host(SERVER)?;
    let (good, before) = (tour.look(SERVER)?, tour.disk(SERVER)?);
    let opens = Span::days(30).before(good.not_after);
    does(&format!("{SERVER} is healthy: {good}. Its window opens on {}.", opens.strftime("%F")));
    does("The controller is stopped. A thief with its CA key listens in its place, and the agents come to him.");
    tour.estate.stop_controller()?;
    let forger = Forger::listen(tour.estate.ports(), &tour.estate.controller_state())?;
    forger.wait_for(SERVER, SOON * 2)?;

    // What the planner would plan, had the window opened years ago.
    let plan = papers::plan(&host, "mode = \"act\"\n[expiry]\npropose_at = \"3650d\"\nrenew_before = \"3650d\"\n")?;
    let receipt = forger.offer(SERVER, &plan.to_bytes(), Vec::new(), SOON)?;
    let refused = |receipt: &Receipt, rule: &str| {
        let objection = receipt.objections.iter().find(|objection| objection.rule == rule).cloned();
        objection.with_context(|| format!("expected a refusal by rule {rule}, found {receipt:?}"))
    };
    same("outcome", &(Outcome::Refused as i32), &receipt.outcome)?;
    let keys = refused(&receipt, "two_keys")?;
    refused(&receipt, "leave_alone")?;
    shown(&format!("he orders a renewal: refused, {}", keys.detail));

    does("He even has a genuine approval: anna signed exactly this plan.");
    let plan = Plan { attempt: 2, ..plan };
    let approval = papers::approval(&plan, "anna")?;
    let approval = papers::signed(Kind::Approval, approval.to_bytes(), &[&tour.estate.desk().key("anna")?])?;
    let receipt = forger.offer(SERVER, &plan.to_bytes(), vec![approval.into()], SOON)?;
    same("outcome", &(Outcome::Refused as i32), &receipt.outcome)?;
    let alone = refused(&receipt, "leave_alone")?;
    holds("the signature to be believed, so that P1 alone refuses", refused(&receipt, "two_keys").is_err())?;
    same("the date on which the window opens", &Some(opens.as_microsecond()), &alone.until)?;
    shown(&format!("refused by P1, leave alone: {}", alone.detail));
    same("changes on disk", &Vec::new(), &changes(&before, &tour.disk(SERVER)?))?;
    same("certificate on 444", &good, &tour.look(SERVER)?)?;
    shown("nothing changed on the host");

    forger.stop()
}

pub(super) fn audit(tour: &mut Tour) -> Result<()> {
    let verified = tour.estate.desk().json(&["audit", "verify"])?;
    let entries = verified["entries"].as_u64().unwrap_or_default();
    holds("a trail that tells of what was done", entries > 10)?;
    shown(&format!("{entries} entries, each chained to the one before"));
    Ok(())
}
