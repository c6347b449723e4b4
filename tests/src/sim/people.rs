//! People: who may sign, what they signed, and a thief who signs nothing that counts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use policy::document::Policy;
use policy::duration::Span;
use policy::id::{PlanId, PolicyId, Sha256};
use policy::plan::Plan;
use policy::stop::{Resume, Stop, StopId};
use policy::trust::{Approval, Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument, root_fingerprint};
use proto::signed::{SignedBytes, SigningKey};

/// Who approves.
pub(super) const APPROVERS: [&str; 3] = ["anna", "ben", "carl"];

/// The head of an Ed25519 key in PKCS#8 (RFC 8410), before its 32 bytes.
const PKCS8: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Modes and their times in a simulated estate.
const LINES: &str = "[quiet]\nrecord_missing = \"30s\"\ndangling = \"30s\"\n[waves]\nsoak = \"1m\"\nat_once = 3\n[limits]\n\
                     restores_per_hour = 100\nrestores_per_day = 1000\n";

pub(super) struct People {
    keys: BTreeMap<&'static str, SigningKey>,
    /// The trust document.
    pub(super) trust: SignedBytes,
    pub(super) document: TrustDocument,
    /// Policies that approvers signed.
    pub(super) policies: BTreeSet<PolicyId>,
    /// Who signed for what, in truth.
    pub(super) approved: BTreeMap<PlanId, BTreeSet<&'static str>>,
}

impl People {
    pub(super) fn new() -> Result<Self> {
        let names = APPROVERS.into_iter().chain(["root", "eve"]);
        let keys = names.map(|name| Ok((name, key(name)?))).collect::<Result<BTreeMap<_, _>>>()?;
        let until: Timestamp = "2100-01-01T00:00:00Z".parse()?;
        let person = |name: &str| -> Result<_> {
            let key = keys.get(name).context("a key")?.id();
            let keys = vec![PersonKey { key, kind: KeyKind::File, until }];
            Ok((name.parse()?, PersonKeys { roles: BTreeSet::from([PersonRole::Approver]), keys }))
        };
        let document = TrustDocument {
            estate: "contoso".parse()?,
            version: 1,
            root: Root { threshold: 1, keys: BTreeSet::from([keys.get("root").context("the root")?.id()]) },
            persons: APPROVERS.into_iter().map(person).collect::<Result<_>>()?,
            need: BTreeMap::from([(Class::Renew, 2), (Class::Create, 2)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::new(),
        };
        let mut people =
            Self { keys, trust: SignedBytes::default(), document, policies: BTreeSet::new(), approved: BTreeMap::new() };
        people.trust = people.signed(Kind::Trust, people.document.to_bytes(), "root")?;
        Ok(people)
    }

    pub(super) fn root(&self) -> Sha256 {
        root_fingerprint(&self.document.root)
    }

    fn signed(&self, kind: Kind, body: Vec<u8>, by: &str) -> Result<SignedBytes> {
        let mut signed = SignedBytes::unsigned(body);
        self.keys.get(by).context("a key")?.sign(kind, &mut signed)?;
        Ok(signed)
    }

    /// The next policy.
    pub(super) fn policy(&mut self, held: Option<&Policy>, mode: &str, freeze: bool) -> Result<SignedBytes> {
        let version = held.map_or(1, |held| held.version + 1);
        let previous = held.map_or_else(String::new, |held| format!("previous = \"{}\"\n", held.id));
        let freeze = if freeze {
            "[[freeze]]\nfrom = \"2020-01-01\"\nto = \"2099-12-31\"\nzone = \"UTC\"\nreason = \"nothing moves\"\n"
        } else {
            ""
        };
        let text = format!("estate = \"contoso\"\nversion = {version}\n{previous}mode = \"{mode}\"\n{LINES}{freeze}");
        self.policies.insert(Sha256::of(text.as_bytes()));
        self.signed(Kind::Policy, text.into_bytes(), "anna")
    }

    /// A policy that the thief wrote and signed.
    pub(super) fn forged_policy(&self, held: &Policy) -> Result<SignedBytes> {
        let (version, previous) = (held.version + 1, held.id);
        let text = format!("estate = \"contoso\"\nversion = {version}\nprevious = \"{previous}\"\nmode = \"act\"\n{LINES}");
        self.signed(Kind::Policy, text.into_bytes(), "eve")
    }

    /// This person approves a plan, for a month from `now`.
    pub(super) fn approve(&mut self, plan: &Plan, person: &'static str, now: Timestamp) -> Result<SignedBytes> {
        self.approved.entry(plan.id()).or_default().insert(person);
        self.signed(Kind::Approval, approval(plan, person, now)?.to_bytes(), person)
    }

    /// Approvals in the names of all, by the thief.
    pub(super) fn forged_approvals(&self, plan: &Plan, now: Timestamp) -> Result<Vec<SignedBytes>> {
        APPROVERS.iter().map(|person| self.signed(Kind::Approval, approval(plan, person, now)?.to_bytes(), "eve")).collect()
    }

    /// What a machine that reads no signatures believes: that whoever is named has signed.
    pub(super) fn sign_in_any_name(&self, kind: Kind, signed: &mut SignedBytes) {
        if let Ok(approval) = Approval::from_bytes(&signed.body)
            && let Some(key) = self.keys.get(approval.person.as_str())
        {
            let _ = key.sign(kind, signed);
        }
    }

    /// What a machine believes that does not read for which plan somebody signed.
    pub(super) fn take_for(&self, plan: PlanId, signed: &mut SignedBytes) {
        let Ok(approval) = Approval::from_bytes(&signed.body) else { return };
        let Some(key) = self.keys.get(approval.person.as_str()) else { return };
        if signed.signatures.iter().any(|(by, _)| *by == key.id()) {
            *signed = SignedBytes::unsigned(Approval { plans: [plan].into(), ..approval }.to_bytes());
            let _ = key.sign(Kind::Approval, signed);
        }
    }

    pub(super) fn stop(&self, number: u64, now: Timestamp) -> Result<(StopId, Vec<u8>)> {
        let reason = format!("stop number {number}");
        let stop = Stop { estate: "contoso".parse()?, servers: None, person: "anna".parse()?, reason, at: now };
        let body = stop.to_bytes();
        Ok((StopId::of(&body), body))
    }

    /// An approver lets these stops go.
    pub(super) fn resume(&self, stops: &BTreeSet<StopId>, now: Timestamp) -> Result<SignedBytes> {
        self.resumed(stops, "anna", "anna", now)
    }

    /// The thief does, in an approver's name.
    pub(super) fn forged_resume(&self, stops: &BTreeSet<StopId>, now: Timestamp) -> Result<SignedBytes> {
        self.resumed(stops, "anna", "eve", now)
    }

    fn resumed(&self, stops: &BTreeSet<StopId>, person: &str, by: &str, now: Timestamp) -> Result<SignedBytes> {
        let reason = "the case is closed".to_owned();
        let resume = Resume { estate: "contoso".parse()?, stops: stops.clone(), person: person.parse()?, reason, at: now };
        self.signed(Kind::Resume, resume.to_bytes(), by)
    }
}

fn approval(plan: &Plan, person: &str, now: Timestamp) -> Result<Approval> {
    Ok(Approval {
        estate: plan.estate.clone(),
        plans: [plan.id()].into(),
        person: person.parse()?,
        requester: None,
        reason: "as planned".to_owned(),
        change: None,
        not_before: Span::days(1).before(now),
        not_after: Span::days(30).after(now),
    })
}

/// A key of nobody but the simulation: its secret is its name.
fn key(name: &str) -> Result<SigningKey> {
    let secret = Sha256::of(format!("a key of the simulation: {name}").as_bytes());
    let text = BASE64_STANDARD.encode([&PKCS8[..], &secret.0].concat());
    Ok(SigningKey::from_file_text(&format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))?)
}
