//! What the checks say in one word: look, the back end, a renewal.

use std::time::Duration;

use agent::driver::{Driver, State};
use agent::probe::probe;
use anyhow::{Context, Result, bail, ensure};
use policy::certificate::Certificate;
use policy::id::CertificateId;
use policy::plan::{Step, container_name};
use policy::report::{BACK_END_PORT, Fact, ProbeOutcome, Sight, SslRecord, StoreEntry};

use super::Bench;

/// Longer than any call takes on a slow machine.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// The back end as it is seen: record, store entry and certificate.
pub(super) fn back_end(sight: &Sight) -> Result<(SslRecord, StoreEntry, Certificate)> {
    let Fact::Known(Some(record)) = sight.report.back_end_record() else { bail!("no record for 444 is seen") };
    let thumbprint = record.thumbprint.context("the record names no certificate")?;
    let Fact::Known(Some(entry)) = sight.report.entry(&record.store(), thumbprint) else { bail!("{thumbprint} is not seen") };
    let certificate = sight.certificates.get(&entry.certificate).context("the certificate is not at hand")?;
    Ok((record.clone(), entry.clone(), certificate.clone()))
}

/// What 444 shows, over every path the same; `None` when no handshake takes place.
pub(super) fn shown(driver: &dyn Driver) -> Result<Option<CertificateId>> {
    let (probes, _) = probe(driver, BACK_END_PORT, "back-end.test");
    let mut outcomes = probes.into_iter().filter_map(|probe| match probe.outcome {
        ProbeOutcome::Presented { certificate } => Some(Some(certificate)),
        ProbeOutcome::Refused | ProbeOutcome::NoHandshake(_) => Some(None),
        ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => None,
    });
    let first = outcomes.next().context("no path leads to 444")?;
    ensure!(outcomes.all(|other| other == first), "the paths show different things");
    Ok(first)
}

/// A renewal of the back end as the planner makes it, without the steps of the shell.
pub(super) struct Renewal {
    pub(super) container: String,
    pub(super) from: SslRecord,
    pub(super) create: Step,
    pub(super) grant: Step,
    pub(super) mint: Step,
    pub(super) trust: Step,
    pub(super) dry: Step,
    pub(super) swap: Step,
}

impl Renewal {
    /// For what is seen.
    pub(super) fn of(sight: &Sight) -> Result<Self> {
        let (from, entry, certificate) = back_end(sight)?;
        let container = container_name(&"CONFORMANCE".parse()?, &sight.report.host.name, BACK_END_PORT, certificate.id());
        let fqdn = sight.report.host.fqdn.known().context("the full name")?.clone();
        let access = entry.key_access.known().context("the access list")?.clone();
        Ok(Self {
            create: Step::CreateKey { container: container.clone(), bits: 2048 },
            grant: Step::GrantKey { container: container.clone(), access },
            mint: Step::Mint {
                container: container.clone(),
                netbios: sight.report.host.name.as_str().to_owned(),
                fqdn,
                months: 60,
            },
            trust: Step::TrustCopy { container: container.clone() },
            dry: Step::DryHandshake { container: container.clone() },
            swap: Step::Swap { from: from.clone(), container: container.clone() },
            container,
            from,
        })
    }

    /// In order.
    pub(super) fn steps(&self) -> [&Step; 6] {
        [&self.create, &self.grant, &self.mint, &self.trust, &self.dry, &self.swap]
    }

    /// Does everything before the swap.
    pub(super) fn prepare(&self, driver: &dyn Driver) -> Result<()> {
        self.steps().into_iter().take(5).try_for_each(|step| driver.apply(step).map(|_| ()).with_context(|| step.name()))
    }
}

/// A driver, what it sees, and a renewal for that.
pub(super) fn begin(bench: &dyn Bench) -> Result<(Box<dyn Driver>, Sight, Renewal)> {
    let driver = bench.driver();
    let sight = driver.observe()?;
    let renewal = Renewal::of(&sight)?;
    Ok((driver, sight, renewal))
}

/// Checks that the state of `step` is `wanted`.
pub(super) fn expect(driver: &dyn Driver, step: &Step, wanted: &State) -> Result<()> {
    let found = driver.check(step).with_context(|| format!("checking {}", step.name()))?;
    ensure!(found == *wanted, "{}: expected {wanted:?}, found {found:?}", step.name());
    Ok(())
}

/// Checks that `step` is blocked, and that doing it all the same is an error that changes nothing.
pub(super) fn expect_blocked(driver: &dyn Driver, step: &Step) -> Result<()> {
    let before = driver.observe()?;
    let found = driver.check(step).with_context(|| format!("checking {}", step.name()))?;
    ensure!(matches!(found, State::Blocked(_)), "{}: expected it blocked, found {found:?}", step.name());
    ensure!(driver.apply(step).is_err(), "{}: expected an error, found it done though blocked", step.name());
    ensure!(driver.observe()? == before, "{}: it was refused and something changed", step.name());
    Ok(())
}

/// Every record but that of the back end.
pub(super) fn others(sight: &Sight) -> Result<Vec<SslRecord>> {
    let records = sight.report.records.known().context("the records")?;
    Ok(records.iter().filter(|record| !record.is_back_end()).cloned().collect())
}
