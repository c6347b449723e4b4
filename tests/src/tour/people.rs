//! The steps in which people decide: what is distrusted, what cannot be put back, and the front end.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use super::{SOON, Tour, changes, does, holds, same, shown};
use crate::desk::hex;
use crate::lab::Damage;
use crate::outside::Shown;
use crate::wait;

const SERVER: &str = "EX3";

/// Longer than the quiet time after which an agent in mode act puts back what is lost.
const BEYOND: Duration = Duration::from_secs(5);

pub(super) fn distrusted(tour: &mut Tour) -> Result<()> {
    let host = tour.estate.host(SERVER)?;
    does(&format!("The certificate of {SERVER} is put on the list of what Windows distrusts, and then deleted."));
    host.damage(&Damage::Distrust)?;
    host.damage(&Damage::DeleteCertificate)?;
    let lost = tour.disk(SERVER)?;
    tour.estate.wait_verdict(SERVER, "deleted", SOON)?;
    wait::throughout(BEYOND, || same("changes on disk", &Vec::new(), &changes(&lost, &tour.disk(SERVER)?)))?;
    let why = tour.estate.desk().json(&["explain", SERVER])?.to_string();
    holds(&format!("the reason, found {why}"), why.contains("distrust") || why.contains("Disallowed"))?;
    shown("deleted, and not put back: what is distrusted is bound by nobody's standing word");
    host.heal()?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)
}

pub(super) fn created(tour: &mut Tour) -> Result<()> {
    let (host, old) = (tour.estate.host(SERVER)?, tour.look(SERVER)?);
    does(&format!("On {SERVER} the private key is gone, the certificate, and its record: nothing can be put back."));
    host.damage(&Damage::DeleteKey)?;
    host.damage(&Damage::RemoveRecordAndCertificate)?;
    let plan = tour.estate.wait_plan(SERVER, "a proposal", SOON, |plan| plan.purpose == "create" && plan.life == "proposed")?;
    holds("444 to be dead", tour.look(SERVER).is_err())?;
    shown(&format!("the controller proposes plan {}: a new certificate, which takes an approver also now", hex(&plan.id[..4])));
    tour.estate.desk().approve(&hex(&plan.id), "anna", "CHG-4712")?;
    let new = wait::until("444 to serve again", SOON, || tour.look(SERVER).into())?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    holds("another certificate", new.thumbprint != old.thumbprint)?;
    same("names", &vec![SERVER.to_owned(), host.place()?.fqdn], &new.names)?;
    holds(&format!("an end in 60 months, found {}", new.not_after), is_in_sixty_months(&new)?)?;
    shown(&format!("approved, and made as Exchange's setup makes one: {new}"));
    Ok(())
}

pub(super) fn front_end(tour: &mut Tour) -> Result<()> {
    let host = tour.estate.host(SERVER)?;
    let (mail, back_end) = (tour.client.look(host.address(443)?)?, tour.look(SERVER)?);
    does(&format!("A renewal in EAC puts the back-end certificate of {SERVER} on 443 as well."));
    host.damage(&Damage::FrontEndTaken)?;
    let taken = tour.disk(SERVER)?;
    let wanted = |plan: &proto::operator::Plan| plan.purpose == "give_back_front_end" && plan.life == "proposed";
    let plan = tour.estate.wait_plan(SERVER, "a proposal for 443", SOON, wanted)?;
    wait::throughout(BEYOND, || same("changes on disk", &Vec::new(), &changes(&taken, &tour.disk(SERVER)?)))?;
    let now = tour.client.look(host.address(443)?)?;
    same("certificate on 443", &back_end, &now)?;
    shown(&format!("443 shows {now}; giving it back is proposed, and only that"));
    tour.estate.desk().approve(&hex(&plan.id), "anna", "CHG-4713")?;
    let back = || {
        let found = tour.client.look(host.address(443)?)?;
        same("certificate on 443", &mail, &found)
    };
    wait::until("443 to show its certificate", SOON, || wait::Look::from(back()))?;
    same("certificate on 444", &back_end, &tour.look(SERVER)?)?;
    tour.estate.wait_plan(SERVER, "confirmed", SOON, |found| found.id == plan.id && found.life == "confirmed")?;
    shown("approved, and 443 shows what it showed before; 444 was not touched");
    Ok(())
}

fn is_in_sixty_months(certificate: &Shown) -> Result<bool> {
    let wanted = Timestamp::now().to_zoned(TimeZone::UTC).checked_add(60.months()).context("a date")?.timestamp();
    Ok((certificate.not_after.as_second() - wanted.as_second()).abs() < 3 * 24 * 3600)
}
