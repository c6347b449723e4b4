//! The swap: never less on 444 than before, and nothing but 444.

use std::time::Duration;

use agent::driver::{DriverError, State};
use anyhow::{Context, Result, ensure};
use policy::bound::Bound;
use policy::report::{Fact, Store};

use super::Bench;
use super::words::{back_end, begin, expect, expect_blocked, others, shown};

/// A gap that nobody would call one: the target is 5 ms, and test machines are slow.
const SMALL: Duration = Duration::from_secs(2);

pub(super) fn a_swap_changes_one_record_and_states_its_gap(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let prepared = driver.observe()?;
    let applied = driver.apply(&renewal.swap)?;
    ensure!(applied.gap < SMALL, "the gap was {:?}", applied.gap);
    let after = driver.observe()?;
    ensure!(others(&after)? == others(&before)?, "other records changed");
    ensure!(after.report.stores == prepared.report.stores, "the stores changed");
    ensure!(driver.apply(&renewal.swap)?.gap.is_zero(), "nothing was to do, and a gap is stated");
    Ok(())
}

pub(super) fn a_swap_stops_before_a_foreign_record(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let front_end = others(&sight)?.into_iter().find(|record| record.port() == Some(443)).context("a record for 443")?;
    let mut foreign = renewal.from.clone();
    foreign.thumbprint = front_end.thumbprint;
    bench.delete_record(&renewal.from)?;
    bench.write_record(&foreign)?;
    expect_blocked(driver.as_ref(), &renewal.swap)?;
    let before = driver.observe()?;
    ensure!(driver.undo(&renewal.swap).is_err(), "a foreign record was undone");
    ensure!(driver.observe()? == before, "a foreign record was touched");
    Ok(())
}

pub(super) fn a_swap_that_was_cut_off_is_half_and_goes_either_way(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    let (_, _, outgoing) = back_end(&sight)?;
    renewal.prepare(driver.as_ref())?;

    bench.delete_record(&renewal.from)?;
    expect(driver.as_ref(), &renewal.swap, &State::Half)?;
    driver.undo(&renewal.swap)?;
    expect(driver.as_ref(), &renewal.swap, &State::Ready)?;
    ensure!(shown(driver.as_ref())? == Some(outgoing.id()), "the old certificate is not served");

    bench.delete_record(&renewal.from)?;
    driver.apply(&renewal.swap)?;
    expect(driver.as_ref(), &renewal.swap, &State::Done)?;
    ensure!(shown(driver.as_ref())?.is_some_and(|shown| shown != outgoing.id()), "the new certificate is not served");
    driver.undo(&renewal.swap)?;
    ensure!(driver.observe()?.report.records == sight.report.records, "the records are not as they were");
    Ok(())
}

pub(super) fn a_swap_without_a_usable_key_removes_nothing(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    bench.delete_key(&renewal.container)?;
    ensure!(driver.apply(&renewal.swap).is_err(), "a certificate without a key was put on 444");
    ensure!(driver.observe()?.report.records == sight.report.records, "the records changed");
    ensure!(shown(driver.as_ref())?.is_some(), "444 does not serve");
    Ok(())
}

pub(super) fn a_swap_is_not_undone_into_a_dangling_record(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    let (_, _, outgoing) = back_end(&sight)?;
    renewal.prepare(driver.as_ref())?;
    driver.apply(&renewal.swap)?;
    bench.delete_certificate(&Store::My, outgoing.thumbprint())?;
    let swapped = driver.observe()?;
    let refused = driver.undo(&renewal.swap);
    ensure!(matches!(refused, Err(DriverError::Refused { code: 1312, .. })), "expected 1312, found {refused:?}");
    let after = driver.observe()?;
    ensure!(after == swapped, "something changed");
    ensure!(matches!(Bound::of(&after), Bound::Whole { .. }), "found {:?}", Bound::of(&after));
    ensure!(shown(driver.as_ref())?.is_some(), "444 does not serve");
    // And when the record is gone as well, there is nothing to write.
    let Fact::Known(Some(record)) = after.report.back_end_record() else { anyhow::bail!("no record") };
    bench.delete_record(record)?;
    ensure!(matches!(driver.undo(&renewal.swap), Err(DriverError::Refused { code: 1312, .. })), "a dangling record was written");
    driver.apply(&renewal.swap)?;
    expect(driver.as_ref(), &renewal.swap, &State::Done)
}
