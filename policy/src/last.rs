//! What is remembered between two looks at a host: the last good state of 444, and since when it is lost.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bound::{Bound, distrusted};
use crate::document::Policy;
use crate::duration::Span;
use crate::id::{Sha256, Thumbprint};
use crate::plan::{Der, container_name};
use crate::report::{BACK_END_PORT, Fact, Report, Sight, SslRecord, Store, StoreEntry};

/// Memory of one host, kept as a file on the host and again on the controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastKnown {
    /// The last state in which the chain record → store → key held; `None` when it never did under our eyes.
    pub good: Option<LastGood>,
    /// The present loss.
    pub trouble: Option<Trouble>,
    /// Digest of everything that 444 hangs on, at the last look.
    pub surroundings: Option<Sha256>,
    /// Automatic restores of the last day.
    pub restores: Vec<Timestamp>,
    /// The installation that all this was seen on: a rebuilt server of the same name is another (G2).
    #[serde(default)]
    pub machine_id: Option<String>,
    /// When another installation of this name was first seen (G2).
    #[serde(default)]
    pub rebuilt: Option<Timestamp>,
    /// Exchange as last seen, and its last change (F36, F41, G3).
    #[serde(default)]
    pub exchange: Option<Build>,
    /// The front end as it was when a CA-issued certificate last served 443 (C6).
    #[serde(default)]
    pub front_end: Option<FrontEnd>,
    /// The good state before this one, when somebody put another working certificate on 444 (F19, F22).
    #[serde(default)]
    pub replaced: Option<Replaced>,
    /// When somebody other than the agent changed what 444 names, within the last thirty days; the newest sixteen (G11).
    #[serde(default)]
    pub foreign: Vec<Timestamp>,
}

/// Exchange as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Its version.
    pub version: String,
    /// The version before, and when the change was seen.
    pub changed: Option<(String, Timestamp)>,
}

/// 443 as it was when its certificate came from a CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// Its records, with all parameters.
    pub records: Vec<SslRecord>,
    /// The certificate that they named.
    pub thumbprint: Thumbprint,
    /// The one before, and when this one was first seen (C14).
    #[serde(default)]
    pub before: Option<(Thumbprint, Timestamp)>,
}

/// A good state that another one followed without a loss in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// What stood on 444 before.
    pub before: LastGood,
    /// When the other one was first seen.
    pub at: Timestamp,
}

/// Everything needed to put 444 back exactly as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastGood {
    /// The http.sys record with all its parameters.
    pub record: SslRecord,
    /// The store entry: key link, access list, friendly name.
    pub entry: StoreEntry,
    /// The certificate.
    pub der: Der,
    /// SHA-256 of its SubjectPublicKeyInfo: how its key is recognised in a container.
    pub key_id: Sha256,
    /// A copy stood in the Root store.
    pub trust_copy: bool,
}

impl LastGood {
    /// The certificate's thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        self.entry.thumbprint
    }

    /// The container that holds its key; `None` when it is not known, or there was none.
    pub fn container(&self) -> Option<&str> {
        self.entry.key.known()?.as_ref().map(|link| link.container.as_str())
    }
}

/// A loss on 444.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// When it was first seen.
    pub since: Timestamp,
    /// When something that 444 hangs on last changed: the quiet time counts from here.
    pub changed: Timestamp,
}

impl LastKnown {
    /// SHA-256 of what is remembered: two memories with the same digest are the same.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&serde_json::to_vec(self).expect("what is remembered is plain data"))
    }

    /// The memory after one more look.
    pub fn after(&self, sight: &Sight, policy: &Policy, now: Timestamp) -> Self {
        let report = &sight.report;
        if self.rebuilt(report) {
            // Another installation: what was good there says nothing here (G2).
            return Self { rebuilt: Some(now), ..Self::default().after(sight, policy, now) };
        }
        let surroundings = surroundings(sight);
        let day_ago = Span::days(1).before(now);
        let restores = self.restores.iter().copied().filter(|at| *at > day_ago).collect();
        let bound = Bound::of(sight);
        let (good, trouble) = match bound {
            Bound::Whole { record, entry, certificate } if !distrusted(policy, report, certificate.thumbprint()) => {
                let trust_copy = matches!(report.entry(&Store::Root, entry.thumbprint), Fact::Known(Some(_)));
                let good = LastGood {
                    record: record.clone(),
                    entry: entry.clone(),
                    der: Der(certificate.der().to_vec()),
                    key_id: certificate.key_id(),
                    trust_copy,
                };
                (Some(good), None)
            }
            // Not lost, but nothing to remember as good either.
            Bound::Whole { .. } => (self.good.clone(), None),
            // Not seen: what was lost is still lost as far as anybody knows.
            Bound::Unknown(_) => (self.good.clone(), self.trouble),
            Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. } => {
                let trouble = match self.trouble {
                    None => Trouble { since: now, changed: now },
                    Some(trouble) if self.surroundings == Some(surroundings) => trouble,
                    Some(trouble) => Trouble { changed: now, ..trouble },
                };
                (self.good.clone(), Some(trouble))
            }
        };
        let changed = self.good.as_ref().zip(good.as_ref()).filter(|(was, is)| was.entry.certificate != is.entry.certificate);
        let foreign_change = changed.filter(|(was, is)| !ours(policy, report, was, is));
        let month_ago = Span::days(30).before(now);
        let mut foreign: Vec<Timestamp> = self.foreign.iter().copied().filter(|at| *at > month_ago).collect();
        let mut replaced = self.replaced.clone().filter(|_| changed.is_none());
        if let Some((was, _)) = foreign_change {
            foreign.push(now);
            foreign.drain(..foreign.len().saturating_sub(MOST_FOREIGN));
            replaced = Some(Replaced { before: was.clone(), at: now });
        }
        Self {
            good,
            trouble,
            surroundings: Some(surroundings),
            restores,
            machine_id: report.host.machine_id.known().cloned().or_else(|| self.machine_id.clone()),
            rebuilt: self.rebuilt,
            exchange: self.build_after(report, now),
            front_end: self.front_end_after(sight, now),
            replaced,
            foreign,
        }
    }

    /// The host has another machine id than the one that all this was seen on.
    fn rebuilt(&self, report: &Report) -> bool {
        let found = report.host.machine_id.known();
        self.machine_id.as_ref().zip(found).is_some_and(|(remembered, found)| remembered != found)
    }

    fn front_end_after(&self, sight: &Sight, now: Timestamp) -> Option<FrontEnd> {
        let known = self.front_end.as_ref();
        let Some((records, thumbprint)) = front_end(sight, now) else { return known.cloned() };
        let before = match known {
            Some(known) if known.thumbprint == thumbprint => known.before,
            Some(known) => Some((known.thumbprint, now)),
            None => None,
        };
        Some(FrontEnd { records, thumbprint, before })
    }

    fn build_after(&self, report: &Report, now: Timestamp) -> Option<Build> {
        let Some(found) = report.exchange.known() else { return self.exchange.clone() };
        let changed = match &self.exchange {
            Some(known) if known.version == found.version => known.changed.clone(),
            Some(known) => Some((known.version.clone(), now)),
            None => None,
        };
        Some(Build { version: found.version.clone(), changed })
    }

    /// The memory after an automatic restore.
    #[must_use]
    pub fn restored(mut self, now: Timestamp) -> Self {
        self.restores.push(now);
        self
    }

    /// The version of Exchange before it went back, within the last week (G3, F41): as after a restored snapshot, when
    /// nothing that was known of the host can be relied on.
    pub fn went_back(&self, now: Timestamp) -> Option<&str> {
        let Build { version, changed } = self.exchange.as_ref()?;
        let (before, at) = changed.as_ref()?;
        (parts(version) < parts(before) && now < WENT_BACK.after(*at)).then_some(before)
    }
}

/// How long a build that went back keeps the agent from acting by itself.
pub const WENT_BACK: Span = Span::days(7);

/// The numbers of a version, in order.
fn parts(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

/// The most changes by others that are remembered.
const MOST_FOREIGN: usize = 16;

/// The certificate that followed is one that a plan made here for the one before: its container says so (TRUST J5).
fn ours(policy: &Policy, report: &Report, was: &LastGood, is: &LastGood) -> bool {
    let container = container_name(&policy.estate, &report.host.name, BACK_END_PORT, was.entry.certificate);
    matches!(&is.entry.key, Fact::Known(Some(link)) if link.container == container)
}

/// 443, when each of its records of IIS's own two endpoints names one and the same usable certificate from a CA.
fn front_end(sight: &Sight, now: Timestamp) -> Option<(Vec<SslRecord>, Thumbprint)> {
    let report = &sight.report;
    let records: Vec<SslRecord> = report.records.known()?.iter().filter(|record| record.is_front_end()).cloned().collect();
    let thumbprint = records.first()?.thumbprint?;
    let whole = |record: &SslRecord| {
        let entry = report.entry(&record.store(), thumbprint);
        let Fact::Known(Some(entry)) = entry else { return false };
        let certificate = sight.certificates.get(&entry.certificate);
        record.thumbprint == Some(thumbprint)
            && record.wholly_known()
            && entry.key_usable()
            && certificate.is_some_and(|found| {
                !found.self_issued() && found.thumbprint() == thumbprint && found.not_before() <= now && now < found.not_after()
            })
    };
    records.iter().all(whole).then_some((records, thumbprint))
}

/// Digest of what 444 hangs on: its records, the stores and the key containers.
fn surroundings(sight: &Sight) -> Sha256 {
    let report = &sight.report;
    let records: Option<Vec<_>> =
        report.records.known().map(|records| records.iter().filter(|record| record.port() == Some(BACK_END_PORT)).collect());
    let parts = (records, &report.stores, &report.containers, &report.setup, &report.sites);
    Sha256::of(&serde_json::to_vec(&parts).expect("facts are plain data with text keys"))
}
