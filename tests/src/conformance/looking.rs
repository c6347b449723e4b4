//! Looking, dialling and watching.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use policy::bound::Bound;
use policy::report::{BACK_END_PORT, Fact, KeyState, Setup, Store};

use super::Bench;
use super::words::{LONG, back_end, begin, shown};

/// How soon a watch must wake: a tenth of a second is wanted, and test machines are slow.
const SOON: Duration = Duration::from_secs(2);

pub(super) fn looking_changes_nothing_and_says_the_same_twice(bench: &dyn Bench) -> Result<()> {
    let (driver, first, renewal) = begin(bench)?;
    for step in renewal.steps() {
        driver.check(step)?;
    }
    driver.undo(&renewal.mint)?;
    let second = bench.driver().observe()?;
    ensure!(first == second, "two looks at a host at rest differ");
    ensure!(first.report.digest() == second.report.digest(), "two equal reports have different digests");
    Ok(())
}

pub(super) fn the_back_end_is_seen_whole(bench: &dyn Bench) -> Result<()> {
    let sight = bench.driver().observe()?;
    ensure!(matches!(Bound::of(&sight), Bound::Whole { .. }), "found {:?}", Bound::of(&sight));
    let (record, entry, certificate) = back_end(&sight)?;
    ensure!(record.app_id.known().is_some() && record.parameters.known().is_some(), "the record is not wholly known");
    ensure!(entry.key_state == Fact::Known(KeyState::Usable), "the key is {:?}", entry.key_state);
    let link = entry.key.known().and_then(Option::as_ref).context("the key link")?;
    let containers = sight.report.containers.known().context("the containers")?;
    let container = containers.iter().find(|container| container.name == link.container).context("its container")?;
    ensure!(container.key_id == Fact::Known(certificate.key_id()), "container and certificate have different keys");
    ensure!(sight.report.setup == Fact::Known(Setup::Idle), "setup is {:?}", sight.report.setup);
    ensure!(sight.report.host.machine_id.known().is_some(), "no machine id");
    Ok(())
}

pub(super) fn lists_are_in_order(bench: &dyn Bench) -> Result<()> {
    let report = bench.driver().observe()?.report;
    let stores = report.stores.known().context("the stores")?;
    ensure!(stores.is_sorted_by_key(|entry| (entry.store.clone(), entry.thumbprint)), "certificates are not in order");
    ensure!(report.containers.known().context("the containers")?.is_sorted_by_key(|found| found.name.clone()), "containers");
    ensure!(
        report.records.known().context("the records")?.is_sorted_by_key(|found| (found.kind, found.endpoint.clone())),
        "records"
    );
    Ok(())
}

pub(super) fn dialling_leads_to_what_the_record_serves(bench: &dyn Bench) -> Result<()> {
    let driver = bench.driver();
    let (record, _, certificate) = back_end(&driver.observe()?)?;
    ensure!(shown(driver.as_ref())? == Some(certificate.id()), "444 shows another certificate than its record names");
    bench.delete_record(&record)?;
    ensure!(shown(driver.as_ref())?.is_none(), "444 shows a certificate without a record");
    Ok(())
}

pub(super) fn watching_wakes_for_a_change_of_the_store_and_of_a_record(bench: &dyn Bench) -> Result<()> {
    let driver = bench.driver();
    let (record, _, certificate) = back_end(&driver.observe()?)?;
    while driver.watch(Duration::from_millis(200))? {}
    let changes: [&dyn Fn() -> Result<()>; 3] = [&|| bench.delete_record(&record), &|| bench.write_record(&record), &|| {
        bench.delete_certificate(&Store::My, certificate.thumbprint())
    }];
    for change in changes {
        let (seen, after) = std::thread::scope(|scope| -> Result<_> {
            // Whether the change comes before the watch begins or while it waits: it must be seen.
            let watching = scope.spawn(|| driver.watch(LONG));
            let changed = change();
            let begun = Instant::now();
            let seen = watching.join().map_err(|_| anyhow!("the watch panicked"))??;
            changed.map(|()| (seen, begun.elapsed()))
        })?;
        ensure!(seen, "a change was not seen");
        ensure!(after < SOON, "a change was seen after {after:?}");
        while driver.watch(Duration::from_millis(200))? {}
    }
    Ok(())
}

pub(super) fn watching_a_host_at_rest_ends_with_its_limit(bench: &dyn Bench) -> Result<()> {
    let driver = bench.driver();
    driver.observe()?;
    while driver.watch(Duration::from_millis(200))? {}
    let begun = Instant::now();
    ensure!(!driver.watch(Duration::from_millis(300))?, "a change was seen where none was");
    ensure!(begun.elapsed() >= Duration::from_millis(250), "the watch ended after {:?}", begun.elapsed());
    ensure!(driver.dial(BACK_END_PORT, driver.paths()[0], LONG).is_ok(), "444 cannot be dialled");
    Ok(())
}
