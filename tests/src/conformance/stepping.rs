//! The steps of a plan: done, ready or blocked; done once; taken back.

use agent::driver::{DriverError, State};
use anyhow::{Context, Result, ensure};
use policy::bound::Bound;
use policy::certificate::PublicKey;
use policy::decide::{of_container, vendor_link};
use policy::plan::{Der, Shown, Step};
use policy::report::{BACK_END_PORT, Fact, KeyState, Store};

use super::Bench;
use super::words::{Renewal, back_end, begin, expect, expect_blocked, others, shown};

pub(super) fn a_renewal_goes_step_by_step_and_no_step_twice(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    for step in renewal.steps() {
        expect(driver.as_ref(), step, &State::Ready)?;
        driver.apply(step).with_context(|| step.name())?;
        // A dry handshake leaves nothing behind, so it is always to be done.
        let after = if matches!(step, Step::DryHandshake { .. }) { State::Ready } else { State::Done };
        expect(bench.driver().as_ref(), step, &after)?;
        let once = driver.observe()?;
        driver.apply(step).with_context(|| format!("{} a second time", step.name()))?;
        ensure!(driver.observe()? == once, "{} done twice does something", step.name());
    }
    let after = driver.observe()?;
    let (record, entry, certificate) = back_end(&after)?;
    ensure!(of_container(&after.report, &renewal.container) == Some(certificate.id()), "444 has another certificate");
    ensure!(matches!(Bound::of(&after), Bound::Whole { .. }), "found {:?}", Bound::of(&after));
    ensure!(shown(driver.as_ref())? == Some(certificate.id()), "444 shows another certificate");
    ensure!(record.parameters == renewal.from.parameters && record.app_id == renewal.from.app_id, "the record lost something");
    let (_, outgoing, _) = back_end(&before)?;
    ensure!(entry.key_access == outgoing.key_access, "the access list is {:?}", entry.key_access);
    let entries = after.report.stores.known().context("the stores")?;
    ensure!(entries.contains(&outgoing), "the outgoing certificate does not stay as it was");
    ensure!(others(&after)? == others(&before)?, "other records changed");
    Ok(())
}

pub(super) fn a_minted_certificate_has_the_vendors_profile(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let sight = driver.observe()?;
    let id = of_container(&sight.report, &renewal.container).context("nothing was minted")?;
    let made = sight.certificates.get(&id).context("the certificate is not at hand")?;
    let name = sight.report.host.name.as_str();
    let fqdn = sight.report.host.fqdn.known().context("the full name")?;
    ensure!(made.subject() == format!("CN={name}") && made.self_issued(), "it names {}", made.subject());
    ensure!(made.names() == [name, fqdn.as_str()], "its names are {:?}", made.names());
    ensure!(made.key() == &PublicKey::Rsa(2048), "its key is {:?}", made.key());
    ensure!(made.signature() == "sha256RSA", "it is signed with {}", made.signature());
    ensure!(made.allows_signing() == Some(true) && made.allows_server() == Some(true), "its usages");
    let days = made.not_after().duration_since(made.not_before()).as_hours() / 24;
    ensure!((1825..=1828).contains(&days), "it is valid {days} days");
    let entries = sight.report.stores.known().context("the stores")?;
    let entry = entries.iter().find(|entry| entry.store == Store::My && entry.certificate == id).context("its entry")?;
    ensure!(entry.friendly_name == Fact::Known(Some("Microsoft Exchange".to_owned())), "{:?}", entry.friendly_name);
    ensure!(entry.key == Fact::Known(Some(vendor_link(&renewal.container))), "{:?}", entry.key);
    ensure!(entry.key_state == Fact::Known(KeyState::Usable), "{:?}", entry.key_state);
    let copy = entries.iter().find(|entry| entry.store == Store::Root && entry.certificate == id).context("its copy in Root")?;
    ensure!(copy.key == Fact::Known(None), "the copy in Root has a key link");
    Ok(())
}

pub(super) fn steps_that_need_a_key_are_blocked_without_it(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    for step in [&renewal.grant, &renewal.mint, &renewal.trust, &renewal.dry, &renewal.swap] {
        expect_blocked(driver.as_ref(), step)?;
    }
    driver.apply(&renewal.create)?;
    for step in [&renewal.trust, &renewal.dry, &renewal.swap] {
        expect_blocked(driver.as_ref(), step)?;
    }
    Ok(())
}

pub(super) fn what_was_minted_is_found_again_after_a_crash(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    drop(driver);
    let driver = bench.driver();
    let found = driver.observe()?;
    for step in [&renewal.create, &renewal.grant, &renewal.mint, &renewal.trust] {
        expect(driver.as_ref(), step, &State::Done)?;
        driver.apply(step)?;
    }
    ensure!(driver.observe()? == found, "a second certificate was made");
    expect(driver.as_ref(), &renewal.swap, &State::Ready)
}

pub(super) fn a_key_without_certificate_is_taken_up_again(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let first = driver.observe()?;
    driver.undo(&renewal.trust)?;
    driver.undo(&renewal.mint)?;
    ensure!(of_container(&driver.observe()?.report, &renewal.container).is_none(), "what was undone still counts");
    expect(driver.as_ref(), &renewal.create, &State::Done)?;
    expect(driver.as_ref(), &renewal.mint, &State::Ready)?;
    renewal.prepare(driver.as_ref())?;
    let second = driver.observe()?;
    ensure!(first.report.containers == second.report.containers, "another key was made");
    let of = |sight: &policy::report::Sight| of_container(&sight.report, &renewal.container);
    ensure!(of(&second).is_some() && of(&second) != of(&first), "no new certificate was made");
    Ok(())
}

pub(super) fn a_container_has_one_certificate(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    let first = of_container(&driver.observe()?.report, &renewal.container);
    // As years later, when the earlier one counts no longer.
    let other = Step::Mint {
        container: renewal.container.clone(),
        netbios: "OTHER".to_owned(),
        fqdn: "other.lab.test".to_owned(),
        months: 60,
    };
    expect(driver.as_ref(), &other, &State::Ready)?;
    driver.apply(&other)?;
    let report = driver.observe()?.report;
    let linked = |entry: &&policy::report::StoreEntry| entry.key == Fact::Known(Some(vendor_link(&renewal.container)));
    let entries: Vec<_> = report.stores.known().context("the stores")?.iter().filter(linked).collect();
    ensure!(entries.len() == 2 && entries.iter().filter(|entry| !entry.archived).count() == 1, "found {entries:?}");
    ensure!(of_container(&report, &renewal.container) != first, "the earlier certificate still counts");
    Ok(())
}

pub(super) fn undoing_a_renewal_leaves_the_host_as_it_was(bench: &dyn Bench) -> Result<()> {
    let (driver, before, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    driver.apply(&renewal.swap)?;
    for step in renewal.steps().into_iter().rev() {
        driver.undo(step).with_context(|| format!("undoing {}", step.name()))?;
        let once = driver.observe()?;
        driver.undo(step).with_context(|| format!("undoing {} a second time", step.name()))?;
        ensure!(driver.observe()? == once, "undoing {} twice does something", step.name());
    }
    let after = driver.observe()?;
    ensure!(after.report.records == before.report.records, "the records differ");
    let (_, _, certificate) = back_end(&after)?;
    ensure!(shown(driver.as_ref())? == Some(certificate.id()), "444 shows another certificate");
    let was = before.report.stores.known().context("the stores")?;
    let is = after.report.stores.known().context("the stores")?;
    ensure!(was.iter().all(|entry| is.contains(entry)), "a certificate that was there before differs");
    let added: Vec<_> = is.iter().filter(|entry| !was.contains(entry)).collect();
    ensure!(added.len() == 1 && added[0].archived && added[0].store == Store::My, "left behind: {added:?}");
    Ok(())
}

pub(super) fn undoing_spares_what_a_record_refers_to(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    renewal.prepare(driver.as_ref())?;
    driver.apply(&renewal.swap)?;
    let before = driver.observe()?;
    driver.undo(&renewal.trust)?;
    driver.undo(&renewal.mint)?;
    ensure!(driver.observe()? == before, "the certificate on 444 was touched");
    Ok(())
}

pub(super) fn a_deleted_certificate_comes_back_as_the_same_and_serves(bench: &dyn Bench) -> Result<()> {
    let driver = bench.driver();
    let before = driver.observe()?;
    let (_, entry, certificate) = back_end(&before)?;
    let link = entry.key.known().cloned().flatten().context("the key link")?;
    let friendly_name = entry.friendly_name.known().cloned().flatten();
    let add = Step::AddCertificate { der: Der(certificate.der().to_vec()), store: entry.store, key: link, friendly_name };
    expect(driver.as_ref(), &add, &State::Done)?;

    bench.delete_certificate(&Store::My, certificate.thumbprint())?;
    ensure!(matches!(Bound::of(&driver.observe()?), Bound::Dangling { .. }), "a deleted certificate is still seen");
    ensure!(shown(driver.as_ref())? == Some(certificate.id()), "a deleted certificate is not served until the restart");
    bench.restart_http_sys()?;
    ensure!(shown(driver.as_ref())?.is_none(), "a deleted certificate is served after the restart");

    expect(driver.as_ref(), &add, &State::Ready)?;
    driver.apply(&add)?;
    expect(driver.as_ref(), &add, &State::Done)?;
    ensure!(driver.observe()? == before, "the host is not as it was");
    ensure!(shown(driver.as_ref())? == Some(certificate.id()), "what was put back is not served");
    driver.undo(&add)?;
    ensure!(driver.observe()? == before, "undoing an undelete takes something away");
    Ok(())
}

pub(super) fn a_certificate_is_not_added_to_a_key_that_is_not_its_own(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, renewal) = begin(bench)?;
    driver.apply(&renewal.create)?;
    let (_, entry, certificate) = back_end(&sight)?;
    bench.delete_certificate(&Store::My, certificate.thumbprint())?;
    for container in [renewal.container.as_str(), "no such container"] {
        let step = Step::AddCertificate {
            der: Der(certificate.der().to_vec()),
            store: entry.store.clone(),
            key: vendor_link(container),
            friendly_name: None,
        };
        expect_blocked(driver.as_ref(), &step)?;
    }
    Ok(())
}

pub(super) fn a_record_is_written_only_where_none_is(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, Renewal { from, .. }) = begin(bench)?;
    let write = Step::WriteRecord { record: from.clone() };
    expect(driver.as_ref(), &write, &State::Done)?;
    let front_end = others(&sight)?.into_iter().find(|record| record.port() == Some(443)).context("a record for 443")?;
    let mut other = from.clone();
    other.thumbprint = front_end.thumbprint;
    expect_blocked(driver.as_ref(), &Step::WriteRecord { record: other })?;
    bench.delete_record(&from)?;
    expect(driver.as_ref(), &write, &State::Ready)?;
    driver.apply(&write)?;
    expect(driver.as_ref(), &write, &State::Done)?;
    ensure!(driver.observe()? == sight, "the record is not as it was");
    ensure!(shown(driver.as_ref())?.is_some(), "444 does not serve again");
    for _ in 0..2 {
        driver.undo(&write)?;
        ensure!(driver.observe()?.report.back_end_record() == Fact::Known(None), "what was written is still there");
    }
    Ok(())
}

pub(super) fn a_record_is_not_written_without_its_certificate(bench: &dyn Bench) -> Result<()> {
    let (driver, sight, Renewal { from, .. }) = begin(bench)?;
    let (_, _, certificate) = back_end(&sight)?;
    bench.delete_record(&from)?;
    bench.delete_certificate(&Store::My, certificate.thumbprint())?;
    let refused = driver.apply(&Step::WriteRecord { record: from });
    ensure!(matches!(refused, Err(DriverError::Refused { code: 1312, .. })), "expected 1312, found {refused:?}");
    ensure!(driver.observe()?.report.back_end_record() == Fact::Known(None), "a record was written");
    Ok(())
}

pub(super) fn what_the_shell_does_is_not_for_the_driver(bench: &dyn Bench) -> Result<()> {
    let (driver, _, renewal) = begin(bench)?;
    for step in [Step::Compare, Step::Probe { port: BACK_END_PORT, shows: Shown::OfContainer(renewal.container) }] {
        ensure!(matches!(driver.check(&step), Err(DriverError::NotMine(_))), "{} is checked", step.name());
        ensure!(matches!(driver.apply(&step), Err(DriverError::NotMine(_))), "{} is done", step.name());
        ensure!(matches!(driver.undo(&step), Err(DriverError::NotMine(_))), "{} is undone", step.name());
    }
    Ok(())
}
