//! The renewing step: an end that comes near, a proposal, an approval, and a run that breaks nothing.

use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use policy::id::Thumbprint;
use policy::report::Store;

use super::{SOON, Tour, changes, does, holds, same, shown};
use crate::desk::hex;
use crate::lab::Damage;
use crate::outside;
use crate::poll::Poll;

const SERVER: &str = "EX2";

/// How much the measured gap may be exceeded by what a look from outside itself takes, in seconds.
const SLACK: f64 = 0.05;

pub(super) fn renew(tour: &mut Tour) -> Result<()> {
    let host = tour.estate.host(SERVER)?;
    does("Years pass: the certificate of EX2 ends in 20 days.");
    host.damage(&Damage::Expiring { days: 20 })?;
    tour.estate.wait_verdict(SERVER, "expiring", SOON)?;
    let old = tour.look(SERVER)?;
    let plan =
        tour.estate.wait_plan(SERVER, "a proposed renewal", SOON, |plan| plan.purpose == "renew" && plan.life == "proposed")?;
    shown(&format!("the controller says `expiring` and proposes plan {}", hex(&plan.id[..4])));

    let (before, address) = (tour.disk(SERVER)?, tour.estate.back_end(SERVER)?);
    let poll = Poll::start(address);
    does("The approver anna signs the plan on her workstation, with change number CHG-4711.");
    tour.estate.desk().approve(&hex(&plan.id), "anna", "CHG-4711")?;
    let ended = |life: &str| matches!(life, "restored" | "confirmed" | "undone" | "failed" | "refused" | "superseded");
    let end = tour.estate.wait_plan(SERVER, "ended", SOON, |found| found.id == plan.id && ended(&found.life))?;
    holds(
        &format!("the plan to be restored, found {}: {}", end.life, end.waits_for),
        matches!(end.life.as_str(), "restored" | "confirmed"),
    )?;
    tour.estate.wait_verdict(SERVER, "healthy", SOON)?;
    let seen = poll.end()?;

    let new = tour.look(SERVER)?;
    same("names", &vec![SERVER.to_owned(), host.place()?.fqdn], &new.names)?;
    let sixty_months = Timestamp::now().to_zoned(TimeZone::UTC).checked_add(60.months())?.timestamp();
    let off = (new.not_after.as_second() - sixty_months.as_second()).abs();
    holds(&format!("an end in 60 months, found {}", new.not_after), off < 3 * 24 * 3600)?;
    shown(&format!("444 shows {new}"));

    let details = tour.estate.desk().plan(&plan.id)?;
    let receipt = details.receipt.context("the receipt of the plan")?;
    let gap = f64::from(u32::try_from(receipt.gap_micros).unwrap_or(u32::MAX)) / 1e6;
    same("what 444 showed", &vec![old.thumbprint.clone(), new.thumbprint.clone()], &seen.shown)?;
    let longest = seen.longest.as_secs_f64();
    holds(&format!("a gap of {gap} s at most, found {longest} s"), longest <= gap + SLACK)?;
    shown(&format!("old, then new, nothing else; the receipt states a gap of {:.1} ms; from outside: {seen}", gap * 1000.0));
    let change = details.approvals.iter().any(|approval| approval.person == "anna" && approval.change == "CHG-4711");
    holds("the approval of anna with its change number", change)?;

    let thumbprint = |text: &str| text.parse::<Thumbprint>().context("a thumbprint");
    let (outgoing, incoming) = (thumbprint(&old.thumbprint)?, thumbprint(&new.thumbprint)?);
    let in_store = |thumbprint| host.files().certificate(&Store::My, thumbprint);
    holds("the old certificate in the store, not archived", in_store(outgoing)?.is_some_and(|entry| !entry.archived))?;
    let container = in_store(incoming)?.and_then(|entry| entry.key).context("the new certificate's container")?.container;
    let touched = changes(&before, &tour.disk(SERVER)?);
    let expected = [
        |name: &str, _: &str, container: &str| name.starts_with("+keys/") && name.contains(container),
        |name: &str, new: &str, _: &str| lower(name).starts_with("+stores/my/") && lower(name).contains(new),
        |name: &str, new: &str, _: &str| lower(name).starts_with("+stores/root/") && lower(name).contains(new),
        |name: &str, _: &str, _: &str| name == "~record/address/0.0.0.0:444",
    ];
    let new_name = lower(&new.thumbprint);
    let each_once = expected.iter().all(|fits| touched.iter().filter(|name| fits(name, &new_name, &container)).count() == 1);
    holds(
        &format!("a new key, the certificate in MY and Root, and the record's hash, found {touched:?}"),
        touched.len() == 4 && each_once,
    )?;
    let record = |hash: &str| before["record/address/0.0.0.0:444"].replace(hash, "HASH");
    let after = tour.disk(SERVER)?["record/address/0.0.0.0:444"]
        .replace(&lower(&new.thumbprint), "HASH")
        .replace(&new.thumbprint, "HASH");
    holds("the record to differ in its hash only", after == record(&old.thumbprint) || after == record(&lower(&old.thumbprint)))?;
    shown(
        "on the host's disk: a new key, the certificate in MY and in Root, the record's hash; nothing else; the old certificate is kept",
    );

    let front_end = tour.estate.host("EX1")?.address(443)?;
    let page = outside::get(front_end, "mail.lab.test", "/owa/?mailbox=EX2")?;
    same("the page through EX1's front end", &(200, "Exchange Back End EX2\n".to_owned()), &page)?;
    shown("OWA of a mailbox on EX2, through EX1's 443: the page, not a blank one");
    Ok(())
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}
