//! What is said in a session, in words of the domain. `link` turns them into what travels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use policy::id::{CertificateId, Generation, PlanId, PolicyId, ServerName, Sha256};
use policy::last::LastKnown;
use policy::peers::{Seen, Target};
use policy::receipt::Receipt;
use policy::report::Sight;
use policy::stop::StopId;
use proto::checkup::Named;
use proto::signed::SignedBytes;
use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// NetBIOS name of the host.
    pub server: ServerName,
    /// The installation.
    pub machine_id: String,
    /// Version of this program.
    pub agent_version: String,
}

/// A version of a document and the document's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Grows with each document.
    pub number: u64,
    /// SHA-256 of the bytes.
    pub id: Sha256,
}

/// The documents by which the agent judges, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The trust document.
    pub trust: Version,
    /// The policy, if it holds one.
    pub policy: Option<Version>,
    /// The emergency stops in force on this host.
    pub stops: BTreeSet<StopId>,
}

/// One look, as it is told.
#[derive(Debug, Clone)]
pub struct Latest {
    /// What was seen.
    pub sight: Sight,
    /// Digest of the report in it.
    pub digest: Sha256,
    /// What is remembered after it; nothing, when nothing was seen.
    pub memory: Option<LastKnown>,
    /// What the agent makes of it, for people.
    pub decision: String,
    /// When.
    pub seen_at: Timestamp,
}

/// The end of the audit trail as the controller last named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Number of the last entry.
    pub sequence: u64,
    /// Its hash.
    pub head: Sha256,
}

/// What survives a restart of the agent. Small: it is written whole whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The nonce of the last welcome; empty before the first.
    pub lineage: Vec<u8>,
    /// The epoch of the last welcome, and the counter of the last report that was sent.
    pub generation: Generation,
    /// The last report that a controller has on disk.
    pub acknowledged: Option<Acknowledged>,
    /// Digest of the memory that came with the last report of which that is true.
    #[serde(default)]
    pub remembered: Option<Sha256>,
    /// The end of the audit trail.
    pub audit: Option<Anchor>,
}

/// A report that a controller has on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    /// Its generation.
    pub generation: Generation,
    /// Its digest.
    pub digest: Sha256,
}

/// The first thing that the agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Who.
    pub speaker: Speaker,
    /// Documents.
    pub held: Held,
    /// Lineage, last acknowledged report and audit anchor.
    pub kept: Kept,
    /// The plan whose journal is open.
    pub running: Option<PlanId>,
}

/// What the agent says.
#[derive(Debug, Clone)]
pub enum ToController {
    /// First of all.
    Hello(Box<Hello>),
    /// A report that differs from the acknowledged one.
    Report {
        /// Its age.
        generation: Generation,
        /// What was seen.
        latest: Arc<Latest>,
    },
    /// Certificates that were asked for, in DER.
    Certificates(Vec<Vec<u8>>),
    /// Nothing changed.
    Heartbeat(Option<Sha256>),
    /// What became of a plan.
    Receipt(Box<Receipt>),
    /// The plan that was offered has begun.
    Running(PlanId),
    /// Another plan is at work.
    Busy {
        /// The plan that was offered.
        offered: PlanId,
        /// The plan at work.
        at_work: PlanId,
    },
    /// Documents changed.
    Held(Held),
    /// What doctor found here.
    Checkup(Arc<Named>),
    /// What is held here, for a controller that asked for it.
    Remembered(Box<Remembered>),
    /// What another server's 444 showed, for a controller that asked for it.
    PeerSeen(Seen),
}

/// What the agent holds, as it was signed or said: a controller whose store was put back from a backup may know less (TRUST T11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The trust document.
    pub trust: SignedBytes,
    /// The policy, if it holds one.
    pub policy: Option<SignedBytes>,
    /// The emergency stops in force on this host.
    pub stops: Vec<Vec<u8>>,
}

/// A plan to run, and the approvals that came with it: nothing of it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// SHA-256 of the bytes.
    pub id: PlanId,
    /// The plan's bytes.
    pub plan: Vec<u8>,
    /// Approvals as they arrived.
    pub approvals: Vec<SignedBytes>,
}

/// A document that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A trust document.
    Trust(SignedBytes),
    /// A policy.
    Policy(SignedBytes),
    /// An emergency stop, which nobody signs.
    Stop(Vec<u8>),
    /// A yes to going on after stops.
    Resume(SignedBytes),
}

/// What the controller says.
#[derive(Debug, Clone)]
pub enum FromController {
    /// The answer to the hello.
    Welcome(Welcome),
    /// A report is on disk.
    ReportAcknowledged {
        /// Which.
        generation: Generation,
        /// Certificates whose bytes are wanted.
        wanted: Vec<CertificateId>,
        /// The end of the audit trail.
        audit: Option<Anchor>,
    },
    /// A plan to run.
    Offer(Offer),
    /// A receipt is on disk.
    ReceiptAcknowledged(PlanId),
    /// A document.
    Document(Document),
    /// People took the plan back.
    Cancel(PlanId),
    /// A checkup is on disk.
    CheckupAcknowledged(Sha256),
    /// The servers whose 444 is to be looked at.
    Peers(Vec<Target>),
}

/// The answer to the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// To be kept before anything else is said.
    pub lineage: Vec<u8>,
    /// The epoch of all reports from here on.
    pub epoch: u64,
    /// The last report that the controller has on disk.
    pub acknowledged: Option<Acknowledged>,
    /// How often to say that nothing changed.
    pub heartbeat: Duration,
    /// The controller's clock.
    pub clock: Timestamp,
    /// The policy that is in force.
    pub policy: Option<PolicyId>,
    /// The checkups that the controller has on disk; `None` when it is older than checkups.
    pub checkups: Option<BTreeSet<Sha256>>,
    /// The controller's store was put back from a backup, and it asks what the agent holds.
    pub recall: bool,
}
