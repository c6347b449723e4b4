//! Who may say what: the trust document, approvals, and what it takes to believe a signature (TRUST T1–T4).
//!
//! Signatures are checked outside, where the cryptography is; what arrives here is a [`Verified`] value together with
//! the keys whose signatures held. Whether these keys count is decided here, from the trust document that is held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::duration::Span;
use crate::id::{EstateName, KeyId, Person, PlanId, Sha256};

/// The largest signed document that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// The longest validity of an approval.
pub const MAX_APPROVAL: Span = Span::days(90);

/// What kind of thing is signed; part of what is signed, so that a signature over one kind is none over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A trust document.
    Trust,
    /// A policy.
    Policy,
    /// An approval of plans.
    Approval,
    /// A yes to going on after an emergency stop.
    Resume,
}

impl Kind {
    /// The line that precedes the digest in what is signed.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Trust => "backstay.trust.v1\n",
            Self::Policy => "backstay.policy.v1\n",
            Self::Approval => "backstay.approval.v1\n",
            Self::Resume => "backstay.resume.v1\n",
        }
    }
}

/// A document whose bytes were read and whose signatures were checked. `signers` are the keys whose signatures held;
/// the others were dropped. The id is SHA-256 of the bytes as they arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    /// What the bytes say.
    pub value: T,
    /// SHA-256 of the bytes.
    pub id: Sha256,
    /// Keys whose signatures over these bytes hold.
    pub signers: BTreeSet<KeyId>,
}

/// A role of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonRole {
    /// Looks.
    Viewer,
    /// Proposes, rejects, stops.
    Operator,
    /// Signs approvals and policies.
    Approver,
    /// Reads everything, verifies the audit trail.
    Auditor,
    /// Enrols agents and manages people.
    Admin,
}

impl PersonRole {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Operator, Self::Approver, Self::Auditor, Self::Admin];

    /// The word that documents and certificates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// What needs signatures, and how many persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A renewal, or a restore in mode `propose`.
    Renew,
    /// A new certificate where nothing is recoverable.
    Create,
    /// Anything on 443.
    FrontEnd,
    /// A new policy.
    Policy,
    /// Raising a mode.
    Mode,
    /// Going on after an emergency stop.
    Resume,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] = [Self::Renew, Self::Create, Self::FrontEnd, Self::Policy, Self::Mode, Self::Resume];

    /// The word that documents use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Create => "create",
            Self::FrontEnd => "front_end",
            Self::Policy => "policy",
            Self::Mode => "mode",
            Self::Resume => "resume",
        }
    }

    /// The class of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// Plans are of such a class; the others are what documents say.
    pub fn of_plans(self) -> bool {
        matches!(self, Self::Renew | Self::Create | Self::FrontEnd)
    }
}

/// The trust document of an estate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDocument {
    /// The estate.
    pub estate: EstateName,
    /// Grows with each document.
    pub version: u64,
    /// Root keys and how many of them must sign the next document.
    pub root: Root,
    /// People and their keys.
    #[serde(deserialize_with = "without_repeats")]
    pub persons: BTreeMap<Person, PersonKeys>,
    /// Persons needed per class; a class that is not named needs one.
    #[serde(deserialize_with = "without_repeats")]
    pub need: BTreeMap<Class, u32>,
    /// Classes of plans for which keys of browsers count, for all persons needed but one. What agents of older versions do not know they
    /// refuse, so it stands in a document only where it says something.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub browser: BTreeSet<Class>,
    /// SHA-256 fingerprints of the CA certificates whose controllers are believed.
    pub ca: BTreeSet<Sha256>,
}

/// The root of trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// How many of the keys must sign.
    pub threshold: u32,
    /// The keys.
    pub keys: BTreeSet<KeyId>,
}

/// What a person may do, and with which keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonKeys {
    /// Roles.
    pub roles: BTreeSet<PersonRole>,
    /// Keys.
    pub keys: Vec<PersonKey>,
}

/// One key of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonKey {
    /// The public key.
    pub key: KeyId,
    /// Where it is kept.
    pub kind: KeyKind,
    /// Until when it counts.
    pub until: Timestamp,
}

/// Where a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// A file of the person: the trusted path.
    File,
    /// A browser: what it shows before it signs comes from the controller. It counts only where the document names the class of the plan,
    /// and never for the last of the persons needed (TRUST decision 4).
    Browser,
}

/// A document that is not what it claims to be.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// Larger than [`MAX_BYTES`].
    #[error("expected a document of at most {MAX_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not JSON, an unknown field or a value of the wrong kind.
    #[error("document does not read")]
    Json(#[source] serde_json::Error),
    /// Values that cannot be.
    #[error("{what}: expected {expected}, found {found}")]
    Value {
        /// What.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
}

pub(crate) fn wrong(what: &'static str, expected: impl Into<String>, found: impl ToString) -> DocumentError {
    DocumentError::Value { what, expected: expected.into(), found: found.to_string() }
}

impl TrustDocument {
    /// Reads a trust document, strictly.
    ///
    /// # Errors
    /// [`DocumentError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        let keys = document.root.keys.len();
        if document.version == 0 {
            return Err(wrong("version of the trust document", "1 or more", 0));
        }
        if document.root.threshold == 0 || document.root.threshold as usize > keys {
            return Err(wrong("root threshold", format!("1 to {keys}"), document.root.threshold));
        }
        if document.need.values().any(|need| *need == 0) {
            return Err(wrong("need", "1 or more persons per class", 0));
        }
        for class in &document.browser {
            if !class.of_plans() {
                return Err(wrong(
                    "classes in which keys of browsers count",
                    "only of plans: renew, create, front_end",
                    class.as_str(),
                ));
            }
            if document.need(*class) < 2 {
                let expected = format!("{} to need 2 persons or more: all but one may sign in a browser", class.as_str());
                return Err(wrong("classes in which keys of browsers count", expected, document.need(*class)));
            }
        }
        let mut seen = BTreeSet::new();
        for key in document.persons.values().flat_map(|person| &person.keys) {
            if !seen.insert(key.key) || document.root.keys.contains(&key.key) {
                return Err(wrong("key of a person", "a key that stands once in the document", key.key));
            }
        }
        Ok(document)
    }

    /// The bytes of the document, as they are to be signed once and never written again.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a trust document is plain data with text keys")
    }

    /// Persons needed for a class.
    pub fn need(&self, class: Class) -> u32 {
        self.need.get(&class).copied().unwrap_or(1)
    }

    /// The approvers behind these keys at `now`: persons are counted, not keys. Keys of browsers do not count.
    pub fn approvers(&self, signers: &BTreeSet<KeyId>, now: Timestamp) -> BTreeSet<Person> {
        self.persons.keys().filter(|name| self.signed_as(name, signers, now) == Some(KeyKind::File)).cloned().collect()
    }

    /// With what kind of key this person, as an approver, is among these signers at `now`; a file before a browser.
    pub fn signed_as(&self, name: &Person, signers: &BTreeSet<KeyId>, now: Timestamp) -> Option<KeyKind> {
        let person = self.persons.get(name).filter(|person| person.roles.contains(&PersonRole::Approver))?;
        let counts = |key: &&PersonKey| now < key.until && signers.contains(&key.key);
        person.keys.iter().filter(counts).map(|key| key.kind).min()
    }

    /// Whether enough root keys of *this* document signed the next one.
    pub fn admits_successor(&self, next: &Verified<Self>) -> Result<(), DocumentError> {
        if next.value.estate != self.estate {
            return Err(wrong("estate of the trust document", self.estate.as_str(), &next.value.estate));
        }
        if next.value.version <= self.version {
            return Err(wrong("version of the trust document", format!("above {}", self.version), next.value.version));
        }
        let held = next.signers.intersection(&self.root.keys).count();
        if held < self.root.threshold as usize {
            return Err(wrong("root signatures of the version held", self.root.threshold.to_string(), held));
        }
        next.value.self_signed(&next.signers)
    }

    /// Whether enough of its own root keys signed it: what a first document needs.
    pub fn self_signed(&self, signers: &BTreeSet<KeyId>) -> Result<(), DocumentError> {
        let own = signers.intersection(&self.root.keys).count();
        if own < self.root.threshold as usize {
            return Err(wrong("root signatures", self.root.threshold.to_string(), own));
        }
        Ok(())
    }
}

/// Reads a map in which no key stands twice. Readers that keep the last or the first of two would see two documents in one,
/// and `Anna` and `anna` are one person.
fn without_repeats<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Debug,
    V: Deserialize<'de>,
{
    struct Once<K, V>(PhantomData<(K, V)>);
    impl<'de, K: Deserialize<'de> + Ord + fmt::Debug, V: Deserialize<'de>> Visitor<'de> for Once<K, V> {
        type Value = BTreeMap<K, V>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map in which no key stands twice")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry::<K, V>()? {
                if map.contains_key(&key) {
                    return Err(serde::de::Error::custom(format!("{key:?} stands twice")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(Once(PhantomData))
}

/// The root's fingerprint, which agents pin when they enrol: SHA-256 over threshold and sorted keys.
pub fn root_fingerprint(root: &Root) -> Sha256 {
    let keys: String = root.keys.iter().map(|key| format!("{key}\n")).collect();
    Sha256::of(format!("backstay.root.v1\n{}\n{keys}", root.threshold).as_bytes())
}

/// A person's yes to plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The estate.
    pub estate: EstateName,
    /// Plans, by id: one signature may cover a wave.
    pub plans: BTreeSet<PlanId>,
    /// Who approves.
    pub person: Person,
    /// Who asked for it; `None` when the planner proposed it.
    pub requester: Option<Person>,
    /// Why.
    pub reason: String,
    /// The change number of the firm's change process.
    pub change: Option<String>,
    /// From when.
    pub not_before: Timestamp,
    /// Until when, at most 90 days later.
    pub not_after: Timestamp,
}

impl Approval {
    /// Reads an approval, strictly.
    ///
    /// # Errors
    /// [`DocumentError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let approval: Self = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        if approval.plans.is_empty() {
            return Err(wrong("plans of an approval", "at least one", "none"));
        }
        if approval.not_after < approval.not_before || MAX_APPROVAL.after(approval.not_before) < approval.not_after {
            let found = format!("{} to {}", approval.not_before, approval.not_after);
            return Err(wrong("validity of an approval", format!("a beginning and an end at most {MAX_APPROVAL} later"), found));
        }
        if approval.reason.trim().is_empty() || approval.reason.len() > 1000 {
            return Err(wrong("reason of an approval", "1 to 1000 bytes of text", approval.reason.len()));
        }
        Ok(approval)
    }

    /// The bytes of the approval, as they are to be signed once and never written again.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an approval is plain data")
    }
}
