//! The steps of repairs other than a renewal: each is done once, says so, and is taken back to the very state before it.

use agent::driver::{Driver, State};
use anyhow::{Context, Result, ensure};
use policy::decide::of_container;
use policy::plan::Step;
use policy::report::{BACK_END_SITE, Binding, Fact, SslRecord, Store};

use super::Bench;
use super::words::{back_end, begin, expect, expect_blocked, others, shown};

/// Does a step, twice, and says how it stands after each.
fn forth(driver: &dyn Driver, step: &Step) -> Result<()> {
    expect(driver, step, &State::Ready)?;
    driver.apply(step).with_context(|| step.name())?;
    expect(driver, step, &State::Done)?;
    let once = driver.observe()?;
    driver.apply(step).with_context(|| format!("{} a second time", step.name()))?;
    ensure!(driver.observe()? == once, "{} done twice does something", step.name());
    Ok(())
}

/// Does a step and takes it back, each twice; the host then is as it was.
fn forth_and_back(driver: &dyn Driver, step: &Step) -> Result<()> {
    let before = driver.observe()?;
    forth(driver, step)?;
    ensure!(driver.observe()? != before, "{} changed nothing", step.name());
    for time in ["once", "twice"] {
        driver.undo(step).with_context(|| format!("undoing {} {time}", step.name()))?;
        ensure!(driver.observe()? == before, "{} undone {time} leaves the host another", step.name());
    }
    expect(driver, step, &State::Ready)
}

/// The record of 444 with the certificate of the front end.
fn with_front_end(sight: &policy::report::Sight, from: &SslRecord) -> Result<SslRecord> {
    let front_end = others(sight)?.into_iter().find(|record| record.port() == Some(443)).context("a record for 443")?;
    Ok(SslRecord { thumbprint: front_end.thumbprint, ..from.clone() })
}

pub(super) fn a_changed_record_goes_there_and_back(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    let (_, _, outgoing) = back_end(&sight)?;
    let to = with_front_end(&sight, &renewal.from)?;
    let change = Step::ChangeRecord { from: renewal.from.clone(), to };
    forth_and_back(driver.as_ref(), &change)?;
    ensure!(shown(driver.as_ref())? == Some(outgoing.id()), "444 does not show the old certificate");

    // Cut off in the middle, it is half, and goes either way.
    bench.delete_record(&renewal.from)?;
    expect(driver.as_ref(), &change, &State::Half)?;
    driver.undo(&change)?;
    ensure!(driver.observe()? == sight, "the old record is not back");
    bench.delete_record(&renewal.from)?;
    driver.apply(&change)?;
    expect(driver.as_ref(), &change, &State::Done)?;
    ensure!(shown(driver.as_ref())?.is_some_and(|shown| shown != outgoing.id()), "444 does not show the new certificate");
    ensure!(others(&driver.observe()?)? == others(&sight)?, "other records changed");
    Ok(())
}

pub(super) fn a_change_of_a_record_stops_before_a_foreign_one(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let to = with_front_end(&sight, &renewal.from)?;
    let elsewhere = SslRecord { endpoint: "0.0.0.0:445".to_owned(), ..to.clone() };
    expect_blocked(driver.as_ref(), &Step::ChangeRecord { from: renewal.from.clone(), to: elsewhere })?;
    let change = Step::ChangeRecord { from: renewal.from.clone(), to };
    driver.apply(&renewal.swap)?;
    expect_blocked(driver.as_ref(), &change)?;
    let swapped = driver.observe()?;
    ensure!(driver.undo(&change).is_err(), "a foreign record was undone");
    ensure!(driver.observe()? == swapped, "a foreign record was touched");
    Ok(())
}

pub(super) fn a_record_is_bound_where_none_is_and_unbound_only_if_it_is_ours(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    let record = SslRecord { thumbprint: None, ..renewal.from.clone() };
    let bind = Step::Bind { record, container: renewal.container.clone() };
    expect_blocked(driver.as_ref(), &bind)?;
    renewal.prepare(driver.as_ref())?;
    let made = of_container(&driver.observe()?.report, &renewal.container);
    // The old record is somebody else's: it is neither written over nor taken away.
    expect_blocked(driver.as_ref(), &bind)?;
    ensure!(driver.undo(&bind).is_err(), "a record that was there before was taken away");
    ensure!(driver.observe()?.report.records == sight.report.records, "a record that was there before was touched");

    bench.delete_record(&renewal.from)?;
    forth_and_back(driver.as_ref(), &bind)?;
    forth(driver.as_ref(), &bind)?;
    ensure!(made.is_some() && shown(driver.as_ref())? == made, "444 does not show what was bound");
    Ok(())
}

pub(super) fn the_archived_mark_is_taken_off_and_set_again(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let made = of_container(&driver.observe()?.report, &renewal.container).context("nothing was minted")?;
    let entries = driver.observe()?.report.stores.known().cloned().context("the stores")?;
    let thumbprint = entries.iter().find(|entry| entry.certificate == made).context("its entry")?.thumbprint;
    let unarchive = Step::Unarchive { thumbprint, store: Store::My };
    expect(driver.as_ref(), &unarchive, &State::Done)?;
    driver.undo(&renewal.mint)?;
    forth_and_back(driver.as_ref(), &unarchive)?;
    bench.delete_certificate(&Store::My, thumbprint)?;
    expect_blocked(driver.as_ref(), &unarchive)
}

pub(super) fn a_removed_record_is_written_again(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    let extra = SslRecord { endpoint: "127.0.0.9:444".to_owned(), ..renewal.from };
    bench.write_record(&extra)?;
    let remove = Step::RemoveRecord { record: extra.clone() };
    forth_and_back(driver.as_ref(), &remove)?;
    let other = with_front_end(&sight, &extra)?;
    expect_blocked(driver.as_ref(), &Step::RemoveRecord { record: other.clone() })?;
    driver.apply(&remove)?;
    ensure!(driver.observe()? == sight, "more than the one record is gone");
    bench.write_record(&other)?;
    ensure!(driver.undo(&remove).is_err(), "a foreign record was written over");
    ensure!(driver.observe()?.report.records.known().is_some_and(|records| records.contains(&other)), "it was touched");
    Ok(())
}

pub(super) fn a_binding_of_iis_is_changed_and_changed_back(bench: &dyn Bench) -> Result<()> {
    let driver = bench.driver();
    let sight = driver.observe()?;
    let Fact::Known(sites) = &sight.report.sites else { anyhow::bail!("the sites are not known") };
    let site = sites.iter().find(|site| site.name == BACK_END_SITE).context("the back-end site")?;
    let from = site.bindings.iter().find(|binding| binding.port() == Some(444)).context("its binding")?.clone();
    let to = Binding { information: "10.0.0.1:444:".to_owned(), ssl_flags: Binding::SNI, ..from.clone() };
    let change = |from: Option<&Binding>, to: &Binding| Step::ChangeBinding {
        site: BACK_END_SITE.to_owned(),
        from: from.cloned(),
        to: to.clone(),
    };
    forth_and_back(driver.as_ref(), &change(Some(&from), &to))?;
    // A second one on the port would be one too many; on a port without one it is added.
    expect_blocked(driver.as_ref(), &change(None, &to))?;
    forth_and_back(driver.as_ref(), &change(None, &Binding { information: "*:4440:".to_owned(), ..from }))
}
