//! Calls that fail, hang or lie: an error or a check that says so, never a host in an unknown state.

use std::time::Instant;

use agent::driver::fault::{Call, Fault, Mode};
use agent::driver::{Driver, State};
use anyhow::{Context, Result, ensure};
use policy::plan::Step;
use policy::report::{Fact, Report, Sight};

use super::Bench;
use super::words::{LONG, Renewal, back_end, begin, expect, shown};
use crate::wait::{self, Look};

pub(super) fn a_set_that_fails_leaves_the_old_record(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    for code in [5, 183, 1312] {
        if !bench.fault(Fault::new(Call::Set, Mode::Fail).code(code).times(1))? {
            return Ok(());
        }
        ensure!(driver.apply(&renewal.swap).is_err(), "a set that failed with {code} is no error");
        ensure!(driver.observe()?.report.records == before.report.records, "the old record is not back after {code}");
        ensure!(shown(driver.as_ref())?.is_some(), "444 does not serve");
    }
    // Back again, and the second half fails there: the new record stays.
    driver.apply(&renewal.swap)?;
    let swapped = driver.observe()?;
    bench.fault(Fault::new(Call::Set, Mode::Fail).times(1))?;
    ensure!(driver.undo(&renewal.swap).is_err(), "an undo that failed is no error");
    ensure!(driver.observe()? == swapped, "the new record is not back");
    driver.undo(&renewal.swap)?;
    ensure!(driver.observe()?.report.records == before.report.records, "the old record is not back");
    Ok(())
}

pub(super) fn a_gap_that_cannot_be_closed_is_half(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    if !bench.fault(Fault::new(Call::Set, Mode::Fail).times(2))? {
        return Ok(());
    }
    ensure!(driver.apply(&renewal.swap).is_err(), "a set that failed is no error");
    expect(driver.as_ref(), &renewal.swap, &State::Half)?;
    driver.undo(&renewal.swap)?;
    ensure!(driver.observe()?.report.records == before.report.records, "the old record is not back");
    Ok(())
}

pub(super) fn a_call_that_fails_is_an_error_and_can_be_repeated(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    for (call, step) in writes(&renewal) {
        if bench.fault(Fault::new(call, Mode::Fail).times(1))? {
            ensure!(driver.apply(step).is_err(), "{call} failed, and {} did not say so", step.name());
            expect_not_done(driver.as_ref(), step)?;
        }
        driver.apply(step).with_context(|| step.name())?;
        expect_done(driver.as_ref(), step)?;
    }
    for (call, step) in undos(&renewal) {
        if bench.fault(Fault::new(call, Mode::Fail).times(1))? {
            ensure!(driver.undo(step).is_err(), "{call} failed, and undoing {} did not say so", step.name());
        }
        driver.undo(step).with_context(|| format!("undoing {}", step.name()))?;
    }
    Ok(())
}

pub(super) fn a_call_that_lies_is_found_out_by_the_check(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    for (call, step) in writes(&renewal) {
        for call in [Some(call), (call == Call::Delete).then_some(Call::Set)].into_iter().flatten() {
            if bench.fault(Fault::new(call, Mode::Lie).times(1))? {
                // Whether the driver noticed is its own affair; the check must.
                let _ = driver.apply(step);
                expect_not_done(driver.as_ref(), step)?;
            }
        }
        driver.apply(step).with_context(|| step.name())?;
        expect_done(driver.as_ref(), step)?;
    }
    Ok(())
}

pub(super) fn an_http_sys_that_hangs_is_an_error_in_time(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let hang = |call| Fault::new(call, Mode::Hang).millis(15_000).times(1);
    if !bench.fault(hang(Call::Set))? {
        return Ok(());
    }
    let begun = Instant::now();
    ensure!(driver.apply(&renewal.swap).is_err(), "a call that hangs is no error");
    ensure!(begun.elapsed() < LONG, "it took {:?}", begun.elapsed());
    // A write that has not come back may still be done: nothing need be known before it has.
    let records = wait::until("http.sys to answer again", LONG, || match driver.observe() {
        Ok(Sight { report: Report { records: Fact::Unknown(why), .. }, .. }) => Look::NotYet(why),
        Ok(sight) => Look::Found(sight.report.records),
        Err(error) => Look::NotYet(error.to_string()),
    })?;
    ensure!(records == before.report.records, "the old record is not back");
    bench.fault(hang(Call::Query))?;
    ensure!(driver.check(&renewal.swap).is_err(), "a call that hangs is no error");
    bench.fault(hang(Call::Query))?;
    ensure!(matches!(driver.observe()?.report.records, Fact::Unknown(_)), "records of a call that hangs are known");
    Ok(())
}

pub(super) fn what_cannot_be_read_is_unknown(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    if bench.fault(Fault::new(Call::Query, Mode::Fail).times(1))? {
        let report = driver.observe()?.report;
        ensure!(report.records.known().is_none() && report.stores == before.report.stores, "records that failed");
    }
    if bench.fault(Fault::new(Call::StoreRead, Mode::Fail).times(1))? {
        let sight = driver.observe()?;
        ensure!(sight.report.stores.known().is_none() && sight.report.records == before.report.records, "stores that failed");
    }
    if bench.fault(Fault::new(Call::ConfigRead, Mode::Fail).times(1))? {
        let report = driver.observe()?.report;
        ensure!(report.sites.known().is_none() && report.metabase.known().is_none(), "a configuration that failed");
    }
    if bench.fault(Fault::new(Call::KeyRead, Mode::Fail))? {
        let (_, entry, _) = back_end(&driver.observe()?)?;
        ensure!(entry.key_state.known().is_none() && entry.key_access.known().is_none(), "a key that failed");
        ensure!(driver.check(&renewal.create).is_err(), "a container that cannot be read is said to be there or not");
    }
    if bench.fault(Fault::new(Call::Dial, Mode::Fail))? {
        ensure!(shown(driver.as_ref()).is_err(), "a port that cannot be dialled shows something");
    }
    Ok(())
}

/// Every step that writes, in order, with the call that it hangs on.
fn writes(renewal: &Renewal) -> [(Call, &Step); 6] {
    [
        (Call::KeyCreate, &renewal.create),
        (Call::KeyGrant, &renewal.grant),
        (Call::StoreAdd, &renewal.mint),
        (Call::StoreAdd, &renewal.trust),
        (Call::Handshake, &renewal.dry),
        (Call::Delete, &renewal.swap),
    ]
}

/// The same for taking back.
fn undos(renewal: &Renewal) -> [(Call, &Step); 3] {
    [(Call::Delete, &renewal.swap), (Call::StoreRemove, &renewal.trust), (Call::StoreArchive, &renewal.mint)]
}

fn expect_done(driver: &dyn Driver, step: &Step) -> Result<()> {
    if matches!(step, Step::DryHandshake { .. }) { Ok(()) } else { expect(driver, step, &State::Done) }
}

fn expect_not_done(driver: &dyn Driver, step: &Step) -> Result<()> {
    let found = driver.check(step)?;
    ensure!(found != State::Done, "{} is said to be done", step.name());
    Ok(())
}
