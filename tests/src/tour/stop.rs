//! The emergency stop: one operator, nothing moves any more, and going on takes the approver.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{SOON, Tour, changes, does, holds, same, shown};
use crate::lab::Damage;
use crate::wait;

const SERVER: &str = "EX1";

/// Longer than the quiet time after which an agent in mode act puts back what is lost.
const BEYOND: Duration = Duration::from_secs(5);

pub(super) fn stand_still(tour: &mut Tour) -> Result<()> {
    let (good, host, before) = (tour.look(SERVER)?, tour.estate.host(SERVER)?, tour.disk(SERVER)?);
    does("An operator stops the estate, alone.");
    let began = Instant::now();
    let made = tour.estate.desk().json(&["stop", "estate", "--reason", "something is wrong, nobody knows what"])?;
    let (stop, confirmed) = (made[0]["id"].as_str().context("id")?.to_owned(), &made[0]["confirmed"]);
    holds("all three agents to confirm", *confirmed == 3)?;
    shown(&format!("{confirmed} of 3 agents say after {:.1} s that they stand still", began.elapsed().as_secs_f64()));
    host.damage(&Damage::DeleteCertificate)?;
    let lost = tour.disk(SERVER)?;
    tour.estate.wait_verdict(SERVER, "deleted", SOON)?;
    wait::throughout(BEYOND, || same("changes on disk", &Vec::new(), &changes(&lost, &tour.disk(SERVER)?)))?;
    same("certificate on 444", &good, &tour.look(SERVER)?)?;
    shown("a certificate is deleted: told, and not put back; 444 goes on serving");
    let key = tour.estate.desk().key_file("anna").display().to_string();
    tour.estate.desk().ok(&["resume", &stop, "--key", &key, "--reason", "a clean-up script, now gone", "--yes"])?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    same("changes on disk against the state before", &Vec::new(), &changes(&before, &tour.disk(SERVER)?))?;
    shown("anna signs that work may go on: each agent checks it, and the certificate is put back");
    Ok(())
}
