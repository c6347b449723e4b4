//! The steps without a controller, and with another one in its place.

use anyhow::{Context, Result};

use super::{SOON, Tour, changes, does, holds, same, shown};
use crate::desk::hex;
use crate::lab::Damage;
use crate::wait;

const SERVER: &str = "EX1";

pub(super) fn without_controller(tour: &mut Tour) -> Result<()> {
    let (good, host, before) = (tour.look(SERVER)?, tour.estate.host(SERVER)?, tour.disk(SERVER)?);
    does("The controller is killed, as by a power failure. Then the certificate of EX1 is deleted.");
    tour.estate.kill_controller()?;
    host.damage(&Damage::DeleteCertificate)?;
    let back = || same("changes on disk against the state before", &Vec::new(), &changes(&before, &tour.disk(SERVER)?));
    wait::until("the agent to put it back alone", SOON, || wait::Look::from(back()))?;
    same("certificate on 444", &good, &tour.look(SERVER)?)?;
    shown("put back by the agent alone, under the policy that it holds");
    let done = "restored";
    tour.estate.start_controller()?;
    let undelete = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
    let told = tour.estate.wait_plan(SERVER, "what was done meanwhile", SOON * 2, undelete)?;
    shown(&format!("the controller comes back and learns it: plan {}, {done} while it was away", hex(&told.id[..4])));
    for server in ["EX1", "EX2", "EX3"] {
        tour.estate.wait_connected(server, SOON * 2)?;
    }
    Ok(())
}

pub(super) fn one_at_a_time(tour: &mut Tour) -> Result<()> {
    does("Both members of DAG1 end in 20 days. Anna approves both with one signature.");
    let members = ["EX1", "EX2"];
    let mut ids = Vec::new();
    for server in members {
        tour.estate.host(server)?.damage(&Damage::Expiring { days: 20 })?;
        let proposed = |plan: &proto::operator::Plan| plan.purpose == "renew" && plan.life == "proposed";
        ids.push(tour.estate.wait_plan(server, "a proposed renewal", SOON, proposed)?.id);
    }
    let key = tour.estate.desk().key_file("anna").display().to_string();
    let named: Vec<String> = ids.iter().map(|id| hex(id)).collect();
    let mut arguments = vec!["plan", "approve"];
    arguments.extend(named.iter().map(String::as_str));
    arguments.extend(["--key", &key, "--reason", "the wave of November", "--change", "CHG-4714", "--yes"]);
    tour.estate.desk().ok(&arguments)?;
    // Both at work in one answer would be seen.
    let (mut waited, mut seen, mut most) = (false, 0, 0);
    wait::until("both to be confirmed", SOON * 2, || {
        let mut wave = match tour.estate.desk().all_plans() {
            Ok(plans) => plans,
            Err(error) => return wait::Look::NotYet(format!("{error:#}")),
        };
        wave.retain(|plan| ids.contains(&plan.id));
        let at_work = wave.iter().filter(|plan| matches!(plan.life.as_str(), "offered" | "running" | "restored")).count();
        (seen, most) = (seen + 1, most.max(at_work));
        waited |= wave.iter().any(|plan| plan.waits_for.contains("one at a time"));
        let confirmed = wave.iter().filter(|plan| plan.life == "confirmed").count();
        wait::when(confirmed == 2, || format!("{confirmed} of 2"))
    })?;
    same("members at work at once, at most", &1, &most)?;
    holds("one to say that it waits for the other", waited)?;
    for server in members {
        tour.estate.wait_verdict(server, "healthy", SOON)?;
    }
    shown(&format!("renewed one after the other: {seen} looks, never two at work; the second said for whom it waited"));
    Ok(())
}

pub(super) fn restored(tour: &mut Tour) -> Result<()> {
    let backup = tour.estate.folder().join("backup");
    let folder = backup.display().to_string();
    does("A backup is made while the controller works. Then EX1 loses its record, and gets it back.");
    tour.estate.beside(&["backup", "--out", &folder])?;
    let before = tour.done(SERVER)?.len();
    tour.estate.host(SERVER)?.damage(&Damage::RemoveRecord)?;
    tour.estate.wait_verdict(SERVER, "unbound", SOON)?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    let after = tour.done(SERVER)?;
    holds("one plan more", after.len() == before + 1)?;
    let newest = after.last().context("a plan")?.id.clone();
    does("The controller is lost, and put back from the backup, which knows nothing of that.");
    tour.estate.kill_controller()?;
    let done = tour.estate.beside(&["restore", "--from", &folder])?;
    tour.estate.start_controller()?;
    let awaited =
        |tour: &Tour| -> Result<usize> { Ok(tour.estate.desk().json(&["status"])?["awaited"].as_array().map_or(0, Vec::len)) };
    wait::until("every agent to tell what it holds", SOON * 2, || match awaited(tour) {
        Ok(0) => wait::Look::Found(()),
        other => wait::Look::NotYet(format!("{other:?}")),
    })?;
    let known = || Ok::<_, anyhow::Error>(tour.done(SERVER)?.iter().any(|plan| plan.id == newest));
    wait::until("the plan to be known again", SOON, || match known() {
        Ok(true) => wait::Look::Found(()),
        other => wait::Look::NotYet(format!("{other:?}")),
    })?;
    shown(&format!("{} agents were asked, and told it: the repair of EX1 is known again", done["awaited"]));
    Ok(())
}

pub(super) fn replaced(tour: &mut Tour) -> Result<()> {
    does(
        "The controller is stolen, its CA with it. Another takes its place: a CA of its own, the backup, and trust document + 1.",
    );
    let backup = tour.estate.folder().join("backup");
    tour.estate.replace_controller(&backup)?;
    for server in ["EX1", "EX2", "EX3"] {
        tour.estate.wait_connected(server, SOON * 2)?;
        tour.estate.wait_verdict(server, "healthy", SOON)?;
    }
    shown("every agent found the document signed by the root that it holds, and followed; no host was visited");
    let agents = tour.estate.desk().json(&["agent", "list", "--all"])?;
    same("machines", &Some(3), &agents.as_array().map(Vec::len))?;
    shown("nobody enrolled anew; the old CA is believed by nobody");
    Ok(())
}
