//! The restoring steps: a certificate deleted, a record removed, a tool between delete and add.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{SOON, Tour, changes, does, holds, same, shown};
use crate::estate::policy;
use crate::lab::Damage;
use crate::poll::Poll;
use crate::wait;

const SERVER: &str = "EX1";

/// The quiet time of the tour's policy, and long enough behind it that something would have been done.
const QUIET: Duration = Duration::from_secs(2);
const BEYOND: Duration = Duration::from_secs(5);

pub(super) fn observe(tour: &mut Tour) -> Result<()> {
    let (good, host) = (tour.look(SERVER)?, tour.estate.host(SERVER)?);
    does(&format!("{SERVER} shows {good}."));
    does("Its certificate is deleted from the store, as in a clean-up.");
    host.damage(&Damage::DeleteCertificate)?;
    let (began, broken) = (Instant::now(), tour.disk(SERVER)?);
    let poll = Poll::start(tour.estate.back_end(SERVER)?);
    tour.estate.wait_verdict(SERVER, "deleted", SOON)?;
    shown(&format!("the controller says `deleted` after {:.1} s", began.elapsed().as_secs_f64()));
    let explained = tour.estate.desk().json(&["explain", SERVER])?;
    same("decision", &"would_act", &explained["decision"].as_str().unwrap_or_default())?;
    let why = explained["why"].as_str().context("why")?;
    holds("what would have been done, when and why", why.contains("mode is observe") && why.contains("put back at"))?;
    shown(&format!("and what it would have done: {why}"));
    wait::throughout(QUIET + BEYOND, || same("changes on disk", &Vec::new(), &changes(&broken, &tour.disk(SERVER)?)))?;
    let seen = poll.end()?;
    holds(
        &format!("444 to show {} all the time, found {seen}", good.thumbprint),
        seen.refusals == 0 && seen.shown == [good.thumbprint],
    )?;
    shown(&format!("nothing changed on the host, seconds beyond the quiet time; from outside: {seen}"));
    host.heal()?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)
}

pub(super) fn undelete(tour: &mut Tour) -> Result<()> {
    does("The approver anna signs a policy with mode act.");
    let version = tour.estate.desk().apply_policy(&policy("act"), &["anna"])?;
    for server in ["EX1", "EX2", "EX3"] {
        tour.estate.wait_server(server, "the new policy", SOON, |response| {
            let held = response.server.as_ref().map(|server| server.policy_version).unwrap_or_default();
            wait::when(held == version, || format!("version {held}"))
        })?;
    }
    let (good, host, before) = (tour.look(SERVER)?, tour.estate.host(SERVER)?, tour.disk(SERVER)?);
    let poll = Poll::start(tour.estate.back_end(SERVER)?);
    does("The certificate is deleted again.");
    host.damage(&Damage::DeleteCertificate)?;
    let began = Instant::now();
    tour.estate.wait_verdict(SERVER, "deleted", SOON)?;
    shown(&format!("seen after {:.1} s", began.elapsed().as_secs_f64()));
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    let took = began.elapsed();
    holds(&format!("a quiet time of {} s, found {took:?}", QUIET.as_secs()), took >= QUIET)?;
    let seen = poll.end()?;
    let always = seen.refusals == 0 && seen.shown == [good.thumbprint.clone()];
    holds(&format!("444 to show {} all the time, found {seen}", good.thumbprint), always)?;
    shown(&format!("put back after {:.1} s, and 444 served all the time; from outside: {seen}", took.as_secs_f64()));
    same("changes on disk against the state before", &Vec::new(), &changes(&before, &tour.disk(SERVER)?))?;
    shown("the host's disk is as it was before, to the last entry");
    host.restart()?;
    same("certificate on 444 after a restart of http.sys", &good, &tour.look(SERVER)?)?;
    shown("http.sys restarts, and 444 still shows the same certificate");
    Ok(())
}

pub(super) fn record(tour: &mut Tour) -> Result<()> {
    let (good, host, before) = (tour.look(SERVER)?, tour.estate.host(SERVER)?, tour.disk(SERVER)?);
    does("The record of 444 is removed from http.sys, as an update does.");
    host.damage(&Damage::RemoveRecord)?;
    let began = Instant::now();
    holds("444 to be dead", tour.look(SERVER).is_err())?;
    tour.estate.wait_verdict(SERVER, "unbound", SOON)?;
    shown(&format!("444 is dead, and the controller says `unbound` after {:.1} s", began.elapsed().as_secs_f64()));
    let back = wait::until("444 to serve again", SOON, || tour.look(SERVER).into())?;
    let took = began.elapsed();
    same("certificate on 444", &good, &back)?;
    holds(&format!("a quiet time of {} s, found {took:?}", QUIET.as_secs()), took >= QUIET)?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    same("changes on disk against the state before", &Vec::new(), &changes(&before, &tour.disk(SERVER)?))?;
    shown(&format!("back after {:.1} s with the same thumbprint, and nothing else changed", took.as_secs_f64()));
    Ok(())
}

pub(super) fn not_raced(tour: &mut Tour) -> Result<()> {
    let (good, host, before) = (tour.look(SERVER)?, tour.estate.host(SERVER)?, tour.disk(SERVER)?);
    // What was done before is told before.
    let settled = |tour: &Tour| Ok::<_, anyhow::Error>(tour.done(SERVER)?.len());
    let done = settled(tour)?;
    does("A tool deletes the record of 444 and adds it again, a second later.");
    host.damage(&Damage::ForeignRecordRewrite { within_ms: 1000 })?;
    wait::throughout(QUIET + BEYOND, || {
        same("changes on disk", &Vec::new(), &changes(&before, &tour.disk(SERVER)?))?;
        same("certificate on 444", &good, &tour.look(SERVER)?)
    })?;
    same("plans that were run", &done, &settled(tour)?)?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    shown("the tool had its way; the agent ran nothing, then or in the seconds after the quiet time");
    Ok(())
}
