//! The promises, asked of what hosts are and of what people really signed: by nothing that the agents or the controller say.

use std::collections::{BTreeMap, BTreeSet};

use policy::certificate::Certificate;
use policy::document::Policy;
use policy::duration::Span;
use policy::id::{PlanId, Sha256, Thumbprint};
use policy::plan::{Plan, Purpose, Step};
use policy::receipt::{Outcome, Receipt};
use policy::report::{SslRecord, Store};

use super::agent::Began;
use super::host::{BACK_END, Host, Picture, Write};
use super::people::People;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: &'static str,
    /// How.
    pub how: String,
}

fn broken(promise: &'static str, how: impl Into<String>) -> Result<(), Broken> {
    Err(Broken { promise, how: how.into() })
}

/// What a policy lets agents do, as the people meant it who wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant {
    pub(super) mode: &'static str,
    pub(super) freeze: bool,
}

/// A run that began and has no end yet.
#[derive(Debug, Clone)]
struct Running {
    began: Began,
    picture: Picture,
    foreign: u64,
}

/// One host under watch.
#[derive(Debug, Default)]
pub(super) struct Watch {
    running: Option<Running>,
    begun: BTreeSet<PlanId>,
    ended: BTreeMap<PlanId, Outcome>,
}

impl Watch {
    /// A plan that is not only a restore is at work.
    pub(super) fn at_work(&self) -> Option<&Plan> {
        self.running.as_ref().map(|running| &running.began.plan).filter(|plan| !plan.purpose.restores())
    }

    /// What ended here, and how.
    pub(super) fn ended(&self) -> &BTreeMap<PlanId, Outcome> {
        &self.ended
    }

    /// A plan begins.
    pub(super) fn begins(
        &mut self,
        began: Began,
        host: &Host,
        people: &People,
        meant: &BTreeMap<Sha256, Meant>,
    ) -> Result<(), Broken> {
        let Began { plan, standing, policy, stops, at } = &began;
        let (id, what) = (plan.id(), plan.purpose.as_str());
        let none = Meant { mode: "observe", freeze: false };
        let meant = meant.get(&policy.id).copied().unwrap_or(none);
        if *standing {
            if !people.policies.contains(&policy.id) {
                broken("P5", format!("{what} under a policy that nobody signed"))?;
            }
            if meant.mode != "act" || !plan.purpose.restores() {
                broken("P5", format!("{what} by the agent's own leave in mode {}", meant.mode))?;
            }
        } else {
            let signed = people.approved.get(&id).map_or(0, BTreeSet::len);
            let need = if plan.purpose == Purpose::GiveBackFrontEnd { 1 } else { 2 };
            if signed < need {
                broken("P5", format!("{what} was approved by {signed} person(s), and {need} must"))?;
            }
            if meant.mode == "observe" {
                broken("P8", format!("{what} where the policy only observes"))?;
            }
            let near_its_end = Span::days(4).after(*at);
            let urgent = fit(&host.picture(), host).is_none_or(|(_, certificate)| certificate.not_after() < near_its_end);
            if meant.freeze && !urgent && !plan.purpose.restores() && plan.purpose != Purpose::GiveBackFrontEnd {
                broken("P8", format!("{what} in a freeze"))?;
            }
        }
        if *stops > 0 {
            broken("P8", format!("{what} after an emergency stop"))?;
        }
        if !self.begun.insert(id) {
            broken("P3", format!("plan {} began a second time", id.short()))?;
        }
        if let Some(other) = &self.running {
            broken("P3", format!("{what} began while plan {} has no end", other.began.plan.id().short()))?;
        }
        self.running = Some(Running { began, picture: host.picture(), foreign: host.foreign() });
        Ok(())
    }

    /// The agent changed something.
    pub(super) fn writes(&self, write: &Write, host: &Host) -> Result<(), Broken> {
        let step = write.step.name();
        let Some(running) = &self.running else { return broken("P3", format!("{step} outside of any run")) };
        let Began { plan, policy, .. } = &running.began;
        if !write.alone {
            return Ok(());
        }
        left_alone(write, plan, policy, host)?;
        if write.worked && lasts(&write.before, host) && !lasts(&write.after, host) {
            broken("P2", format!("{step}{} left 444 with less than it had", if write.back { ", taken back," } else { "" }))?;
        }
        only_444(write, plan)
    }

    /// A run ended.
    pub(super) fn ends(&mut self, receipt: &Receipt, host: &Host) -> Result<(), Broken> {
        let Receipt { plan: id, outcome, .. } = receipt;
        if *outcome == Outcome::Refused {
            return match self.begun.contains(id) && !self.ended.contains_key(id) {
                true => broken("P3", format!("plan {} began, and its receipt says refused", id.short())),
                false => Ok(()),
            };
        }
        match self.ended.insert(*id, *outcome) {
            Some(before) if before != *outcome => {
                broken("P3", format!("plan {} ended as {} and as {}", id.short(), before.as_str(), outcome.as_str()))?;
            }
            Some(_) => return Ok(()),
            None => {}
        }
        let Some(running) = self.running.take_if(|running| running.began.plan.id() == *id) else { return Ok(()) };
        let (now, alone) = (host.picture(), running.foreign == host.foreign());
        let dead = |picture: &Picture| !picture.served.contains_key(BACK_END);
        if alone && dead(&now) && !dead(&running.picture) {
            broken("P2", format!("plan {} ended as {}, and 444 that served does not", id.short(), outcome.as_str()))?;
        }
        if alone && *outcome == Outcome::Restored && !running.began.plan.purpose.aside() && (dead(&now) || !lasts(&now, host)) {
            broken("P3", format!("plan {} ended as restored, and 444 does not serve for long", id.short()))?;
        }
        if alone && *outcome == Outcome::Undone && now.records != running.picture.records {
            broken("P3", format!("plan {} ended as undone, and the records are others", id.short()))?;
        }
        Ok(())
    }

    /// After a long calm: whatever began has an end.
    pub(super) fn settled(&self) -> Result<(), Broken> {
        match self.begun.iter().find(|id| !self.ended.contains_key(*id)) {
            Some(id) => broken("P3", format!("plan {} began and never ended", id.short())),
            None => Ok(()),
        }
    }
}

/// P8: never two of one group.
pub(super) fn one_at_a_time(began: &Plan, others: &[(&str, &Plan)]) -> Result<(), Broken> {
    match others.first() {
        Some((other, plan)) if !began.purpose.restores() => broken(
            "P8",
            format!("{} begins while {other} of the same group is at work on {}", began.purpose.as_str(), plan.purpose.as_str()),
        ),
        Some(_) | None => Ok(()),
    }
}

fn back_end(picture: &Picture) -> Option<&SslRecord> {
    picture.records.iter().find(|record| record.endpoint == BACK_END)
}

/// The certificate that the record on 444 names, when it is in its store with its key; and whether it is archived.
fn bound(picture: &Picture, host: &Host) -> Option<(Thumbprint, Certificate, bool)> {
    let record = back_end(picture)?;
    let thumbprint = record.thumbprint?;
    let store = if record.store.as_deref().unwrap_or("MY") == "MY" { Store::My } else { Store::WebHosting };
    let entry = picture.stores.iter().find(|(found, stored)| *found == store && Thumbprint::of(&stored.der.0) == thumbprint);
    let (_, stored) = entry?;
    let certificate = host.certificate(Sha256::of(&stored.der.0))?;
    let key = picture.keys.get(&stored.key.as_ref()?.container)?;
    (*key == certificate.key_id()).then_some((thumbprint, certificate, stored.archived))
}

fn fit(picture: &Picture, host: &Host) -> Option<(Thumbprint, Certificate)> {
    bound(picture, host).filter(|(_, _, archived)| !archived).map(|(thumbprint, certificate, _)| (thumbprint, certificate))
}

/// Whether 444 would still serve after a restart of the host.
fn lasts(picture: &Picture, host: &Host) -> bool {
    bound(picture, host).is_some()
}

/// P1: a fit certificate outside its window stays on 444, and stays what it is.
fn left_alone(write: &Write, plan: &Plan, policy: &Policy, host: &Host) -> Result<(), Broken> {
    let Some((thumbprint, certificate)) = fit(&write.before, host) else { return Ok(()) };
    let distrusted = |(store, stored): &(Store, _)| {
        let stored: &agent::driver::system::Stored = stored;
        *store == Store::Disallowed && Thumbprint::of(&stored.der.0) == thumbprint
    };
    let opens = policy.expiry.renew_before.before(certificate.not_after());
    let ours = |stored: &agent::driver::system::Stored| {
        stored.key.as_ref().is_some_and(|link| Some(link.container.as_str()) == plan.container())
    };
    let entry = |picture: &Picture| {
        let found =
            picture.stores.iter().find(|(store, stored)| *store == Store::My && Thumbprint::of(&stored.der.0) == thumbprint);
        found.map(|(_, stored)| stored.clone())
    };
    if write.before.stores.iter().any(distrusted) || opens <= write.at || entry(&write.before).is_some_and(|stored| ours(&stored))
    {
        return Ok(());
    }
    if back_end(&write.before) != back_end(&write.after) {
        broken("P1", format!("{} changed 444, where {thumbprint} was fit until {}", write.step.name(), certificate.not_after()))?;
    }
    if entry(&write.before) != entry(&write.after) {
        broken("P1", format!("{} changed {thumbprint} in MY, which was fit", write.step.name()))?;
    }
    Ok(())
}

/// P4: nothing but what the step is for.
fn only_444(write: &Write, plan: &Plan) -> Result<(), Broken> {
    let Write { step, back, before, after, .. } = write;
    let endpoints = before.records.iter().chain(&after.records).map(|record| record.endpoint.as_str()).collect::<BTreeSet<_>>();
    let record = |picture: &Picture, endpoint: &str| picture.records.iter().find(|record| record.endpoint == endpoint).cloned();
    for endpoint in endpoints {
        let may = match plan.purpose {
            Purpose::GiveBackFrontEnd => endpoint.ends_with(":443"),
            Purpose::RemoveExtraRecord => endpoint.ends_with(":444") && endpoint != BACK_END,
            Purpose::FixBinding => false,
            Purpose::RestoreRecord
            | Purpose::Undelete
            | Purpose::FixStore
            | Purpose::Relink
            | Purpose::Unarchive
            | Purpose::Create
            | Purpose::BindCandidate
            | Purpose::Renew => endpoint == BACK_END,
        };
        if !may && record(before, endpoint) != record(after, endpoint) {
            broken("P4", format!("{} changed the record {endpoint}", step.name()))?;
        }
    }
    let is = |one: &(Store, _), other: &(Store, _)| {
        let (one, other): (&(Store, agent::driver::system::Stored), &(Store, agent::driver::system::Stored)) = (one, other);
        one.0 == other.0 && one.1.der == other.1.der
    };
    for was in &before.stores {
        match after.stores.iter().find(|found| is(was, found)) {
            None if *back && was.0 == Store::Root && matches!(step, Step::TrustCopy { .. }) => {}
            None => broken("P4", format!("{} took a certificate out of {}", step.name(), was.0))?,
            Some(found) if found == was => {}
            Some(_) if matches!(step, Step::AddCertificate { .. } | Step::Unarchive { .. } | Step::Mint { .. }) => {}
            Some(_) => broken("P4", format!("{} changed a certificate in {}", step.name(), was.0))?,
        }
    }
    let adds = matches!(step, Step::AddCertificate { .. } | Step::Mint { .. } | Step::TrustCopy { .. });
    if !adds && after.stores.iter().any(|found| !before.stores.iter().any(|was| is(was, found))) {
        broken("P4", format!("{} put a certificate into a store", step.name()))?;
    }
    if before.keys.iter().any(|(name, key)| after.keys.get(name) != Some(key)) {
        broken("P4", format!("{} changed or lost a key", step.name()))?;
    }
    Ok(())
}

/// When a run of this host ended as far as the controller knows.
pub(super) fn learned(host: &str, id: &PlanId, here: Outcome, there: Option<Outcome>) -> Result<(), Broken> {
    match there {
        Some(there) if there == here => Ok(()),
        Some(there) => broken(
            "P3",
            format!("plan {} of {host} ended as {}, and the controller believes {}", id.short(), here.as_str(), there.as_str()),
        ),
        None => {
            broken("P3", format!("plan {} of {host} ended as {}, and the controller never learned it", id.short(), here.as_str()))
        }
    }
}

/// What must be true in the end, when nothing is in the way any more.
pub(super) fn liveness(how: impl Into<String>) -> Broken {
    Broken { promise: "liveness", how: how.into() }
}
