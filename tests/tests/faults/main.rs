//! What happens to processes, disks and lines while a host is worked on, with real programs: `docs/faults.md` is the table of it.

mod counted;
mod disks;
mod random;
mod silence;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use policy::report::Store;
use proto::operator::Plan;
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::outside::{Client, Shown};
use tests::wait::{self, when};

/// For whatever must happen in the end: an agent that found nobody again and again comes back within a minute.
const LIMIT: Duration = Duration::from_secs(90);

/// For whoever is to notice silence: an answer that does not come is given up after 30 s, a ping after 45 s.
const NOTICED: Duration = Duration::from_secs(90);

const SERVER: &str = "EX1";

/// One server in mode `act`.
fn estate() -> Result<Estate> {
    Estate::temporary(&Setup { servers: vec![(SERVER, None)], policy: Some(policy("act")), ..Setup::default() })
}

/// Lets the certificate's end come near, and waits for the renewal that is proposed.
fn propose(estate: &Estate, known: &mut BTreeSet<Vec<u8>>) -> Result<Plan> {
    let host = estate.host(SERVER)?;
    host.heal()?;
    host.damage(&Damage::Expiring { days: 20 })?;
    let fresh = |plan: &Plan| plan.purpose == "renew" && plan.life == "proposed" && !known.contains(&plan.id);
    let plan = estate.wait_plan(SERVER, "a new renewal", LIMIT, fresh)?;
    known.insert(plan.id.clone());
    Ok(plan)
}

fn approve(estate: &Estate, plan: &Plan) -> Result<()> {
    estate.desk().approve(&hex(&plan.id), "anna", "CHG-1").map(drop)
}

/// Waits until the controller knows how the plan ended on the host.
fn settled(estate: &Estate, plan: &Plan) -> Result<Plan> {
    estate.wait_plan(SERVER, "ended", LIMIT, |found| found.id == plan.id && ended(found))
}

fn ended(plan: &Plan) -> bool {
    matches!(plan.life.as_str(), "restored" | "confirmed" | "undone" | "failed" | "refused" | "superseded")
}

/// What a host had before a renewal.
struct Before {
    shown: Shown,
    containers: BTreeSet<String>,
}

impl Before {
    fn of(estate: &Estate) -> Result<Self> {
        let containers = estate.host(SERVER)?.files().containers()?.into_iter().collect();
        Ok(Self { shown: look(estate)?, containers })
    }
}

fn look(estate: &Estate) -> Result<Shown> {
    Client::find().look(estate.back_end(SERVER)?)
}

/// Whatever was done to it meanwhile, the renewal that ended so left the new certificate or the old one, whole and known to the controller.
/// True for the new one.
fn old_or_new(estate: &Estate, end: &Plan, before: &Before) -> Result<bool> {
    let (host, shown, old) = (estate.host(SERVER)?, look(estate)?, &before.shown);
    let renewed = match end.life.as_str() {
        "restored" | "confirmed" => true,
        "undone" | "refused" => false,
        other => bail!("expected restored, undone or refused, found {other}: {}", end.waits_for),
    };
    ensure!(renewed == (shown != *old), "the plan is {}, and 444, which showed {old}, shows {shown}", end.life);
    estate.wait_verdict(SERVER, if renewed { "healthy" } else { "expiring" }, LIMIT)?;
    let record = host.back_end_record()?.and_then(|record| record.thumbprint).context("a record on 444")?;
    ensure!(record.to_string() == shown.thumbprint, "the record names {record}, and 444 shows {shown}");

    let containers = host.files().containers()?.into_iter();
    let made: Vec<String> = containers.filter(|name| !before.containers.contains(name)).collect();
    ensure!(made.len() <= 1, "expected one new key container at most, found {made:?}");
    let entries = host.files().certificates()?;
    let of_container = entries
        .iter()
        .filter(|(store, entry)| *store == Store::My && entry.key.as_ref().is_some_and(|key| made.contains(&key.container)));
    ensure!(of_container.count() <= 1, "expected one certificate at most in the new container");
    Ok(renewed)
}

/// Waits until the log of this process has these words.
fn says(estate: &Estate, of: &str, words: &str) -> Result<()> {
    let path = estate.folder().join(format!("logs/{of}.log"));
    wait::until(&format!("{of} to say {words:?}"), NOTICED, || {
        let log = fs::read_to_string(&path).unwrap_or_default();
        when(log.contains(words), || log)
    })
}
