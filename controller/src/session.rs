//! The controller's half of a session with an agent, as a pure state machine: what is believed of what the agent says, and what
//! is to be done about it.
//!
//! The contract with whoever holds the stream: hand in what came, do the [`Effect`]s in order, and report those that have an answer
//! ([`Session::recorded`], [`Session::settled`], …) before the next message. A [`Breach`] ends the stream. Nothing here is durable:
//! a session that ends loses nothing, because the next one is derived from what is on disk.

use std::collections::BTreeSet;

use policy::Timestamp;
use policy::certificate::MAX_DER;
use policy::id::{CertificateId, Generation, PlanId, PolicyId, ServerName, Sha256};
use policy::last::LastKnown;
use policy::peers::{Seen, Target};
use policy::receipt::Receipt;
use policy::report::Report;
use policy::stop::StopId;
use proto::PROTOCOL;
use proto::checkup::Named;
use proto::signed::SignedBytes;
use thiserror::Error;

use crate::audit::Head;
use crate::store::{Document, Held, Identity, Offer};

/// What an agent says.
#[derive(Debug, Clone)]
pub enum Said {
    /// First of all, and only then.
    Hello(Hello),
    /// A report.
    Report(Box<Told>),
    /// Certificates that were asked for.
    Certificates(Vec<Vec<u8>>),
    /// Nothing changed, and it is so late there. For whoever watches clocks: a session decides nothing by it.
    Heartbeat(Timestamp),
    /// What became of a plan.
    Receipt(Box<Receipt>),
    /// A plan has begun.
    Running(PlanId),
    /// Another plan is at work.
    Busy {
        /// The plan that was offered.
        offered: PlanId,
        /// The plan at work.
        at_work: PlanId,
    },
    /// Its documents changed, or what holds it.
    Held(Held, BTreeSet<StopId>),
    /// What doctor found on the host.
    Checkup(Box<Named>),
    /// What it holds, when it was asked.
    Remembered(Box<Remembered>),
    /// What another server's 444 showed there.
    PeerSeen(Seen),
}

/// What an agent holds, as it was signed or said; nothing of it is believed yet.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Its trust document.
    pub trust: SignedBytes,
    /// Its policy, if it holds one.
    pub policy: Option<SignedBytes>,
    /// The emergency stops that hold it, as bytes.
    pub stops: Vec<Vec<u8>>,
}

/// How an agent introduces itself.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Version of the conversation.
    pub protocol: u32,
    /// Who it says it is.
    pub server: ServerName,
    /// The installation.
    pub machine_id: String,
    /// Version of its program.
    pub agent_version: String,
    /// The nonce of its last welcome.
    pub lineage: Vec<u8>,
    /// Documents.
    pub held: Held,
    /// The emergency stops that hold it.
    pub stops: BTreeSet<StopId>,
    /// The end of the audit trail as it last saw it.
    pub audit: Option<Head>,
}

/// A report with what goes with it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its age.
    pub generation: Generation,
    /// What was seen.
    pub report: Report,
    /// What the agent remembers after it, if it says so.
    pub memory: Option<Box<LastKnown>>,
    /// What the agent makes of it.
    pub said: String,
    /// When, by its clock.
    pub seen_at: Timestamp,
}

/// What the controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// The answer to a hello.
    Welcome(Welcome),
    /// The report is on disk.
    ReportAcknowledged {
        /// Which.
        generation: Generation,
        /// Certificates that are not here.
        wanted: BTreeSet<CertificateId>,
        /// The end of the audit trail.
        audit: Head,
    },
    /// A plan to run.
    Offer {
        /// Its bytes.
        plan: Vec<u8>,
        /// Approvals as they were signed.
        approvals: Vec<SignedBytes>,
    },
    /// The receipt is on disk.
    ReceiptAcknowledged(PlanId),
    /// A trust document.
    Trust(SignedBytes),
    /// The policy.
    Policy(SignedBytes),
    /// A plan that is wanted back.
    Cancel(PlanId),
    /// The checkup is on disk.
    CheckupAcknowledged(Sha256),
    /// An emergency stop.
    Stop(Vec<u8>),
    /// An approver's yes to going on.
    Resume(SignedBytes),
    /// The servers whose 444 it is to look at.
    Peers(Vec<Target>),
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// To be presented next time.
    pub lineage: Vec<u8>,
    /// The epoch of its reports.
    pub epoch: u64,
    /// The report that is on disk, with its digest.
    pub acknowledged: Option<(Generation, Sha256)>,
    /// The policy in force.
    pub policy: Option<PolicyId>,
    /// The checkups that are on disk, by the agent's names for them.
    pub checkups: Vec<Sha256>,
    /// This store was put back from a backup: what the agent holds is wanted.
    pub recall: bool,
}

/// What is to be done, in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send this.
    Say(Say),
    /// Write this report down, then [`Session::recorded`].
    Record(Box<Told>),
    /// Keep these certificates.
    Keep(Vec<Vec<u8>>),
    /// Write this receipt down, then [`Session::settled`].
    Settle(Box<Receipt>),
    /// Note that this plan has begun.
    Begun(PlanId),
    /// Write this checkup down, then [`Session::filed`].
    File(Box<Named>),
    /// Take from this what is newer than what is here; the agent saw the audit trail end there.
    Adopt(Box<Remembered>, Option<Head>),
    /// Note what the agent holds, and what holds it.
    Note(Held, BTreeSet<StopId>),
    /// Read the emergency stops, and who said yes to going on after those that this session knows, then [`Session::stops`].
    ReadStops,
    /// Read the documents in force, then [`Session::documents`].
    ReadDocuments,
    /// Read what is offered to this server, then [`Session::offers`].
    ReadOffers,
    /// Read whom this server is to look at, then [`Session::peers`].
    ReadPeers,
    /// Write down what this server was shown on the 444 of another, and look at that one.
    Witness(Seen),
    /// Look at this server.
    Look,
    /// Look at this server if a plan waits there: for its agent to come, or for what it holds. Nothing else of a look hangs on that, and a
    /// thousand that come back at once are not looked at for nothing.
    LookIfAwaited,
}

/// What an agent must not say. The stream ends, and whoever reads the message learns why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Breach {
    /// It speaks another language.
    #[error("protocol of the agent: expected {PROTOCOL}, found {}: {}", .0, update(*.0))]
    Protocol(u32),
    /// It names somebody else than its certificate does.
    #[error("expected a message of {expected}, as the certificate says, found one of {found}")]
    OtherServer {
        /// By the certificate.
        expected: ServerName,
        /// By the message.
        found: ServerName,
    },
    /// A machine with a copy of the key.
    #[error("{server}: expected the machine that enrolled, found another one: {}", quarantine(*.alive))]
    OtherMachine {
        /// Whose identity.
        server: ServerName,
        /// The machine that enrolled has its stream open.
        alive: bool,
    },
    /// A machine that was copied, or set back in time.
    #[error("{server}: expected the lineage of the last session or the one before, found an older one: {}", quarantine(*.alive))]
    Lineage {
        /// Whose identity.
        server: ServerName,
        /// A machine with the unbroken lineage has its stream open.
        alive: bool,
    },
    /// Something before the hello, or a second hello.
    #[error("expected {expected}, found {found}")]
    Order {
        /// What may be said now.
        expected: &'static str,
        /// What was.
        found: &'static str,
    },
    /// A store that was put back without saying so: the agent saw more of it than there is.
    #[error(
        "{server} last saw audit entry {seen}, and the trail here ends at {here}: an older store was put back; expected to be told so by `backstay restore --in-place`"
    )]
    OlderStore {
        /// Who saw more.
        server: ServerName,
        /// What it saw.
        seen: u64,
        /// What is here.
        here: u64,
    },
    /// A report that is not newer.
    #[error("report of {server}: expected a generation above {held}, found {found}")]
    OlderGeneration {
        /// Whose.
        server: ServerName,
        /// On disk.
        held: Generation,
        /// What came.
        found: Generation,
    },
    /// Two different reports of one generation.
    #[error(
        "report {generation} of {server}: expected the one that is on disk or a newer one, found another of the same generation"
    )]
    OtherReport {
        /// Whose.
        server: ServerName,
        /// Which.
        generation: Generation,
    },
    /// A report of an epoch that was never given.
    #[error("report of {server}: expected epoch {expected} at most, found {found}")]
    Epoch {
        /// Whose.
        server: ServerName,
        /// Given in the welcome.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Bytes that nobody asked for in this size.
    #[error("certificate: expected at most {MAX_DER} bytes, found {0}")]
    LargeCertificate(usize),
}

/// Controllers go first, so that no agent is newer than what it speaks to.
fn update(found: u32) -> &'static str {
    if found > PROTOCOL { "update the controllers before the agents" } else { "update the agent" }
}

fn quarantine(alive: bool) -> &'static str {
    if alive { "this one does nothing until a person decides" } else { "it is quarantined until a person decides" }
}

impl Breach {
    /// A sign of a clone: it is told in the audit trail, and where no machine with the unbroken lineage is connected, the identity is
    /// quarantined.
    pub fn quarantines(&self) -> bool {
        matches!(self, Self::OtherMachine { alive: false, .. } | Self::Lineage { alive: false, .. })
    }

    /// Somebody is not who the certificate says: told in the audit trail.
    pub fn is_about_identity(&self) -> bool {
        matches!(self, Self::OtherServer { .. } | Self::OtherMachine { .. } | Self::Lineage { .. })
    }
}

/// A session after its hello.
#[derive(Debug)]
pub struct Session {
    server: ServerName,
    epoch: u64,
    on_disk: Option<(Generation, Sha256)>,
    held: Held,
    /// Where it saw the audit trail end before this session.
    seen: Option<Head>,
    /// The emergency stops that hold it, by its own word.
    stopped: BTreeSet<StopId>,
    wanted: BTreeSet<CertificateId>,
    told: BTreeSet<PlanId>,
    called_back: BTreeSet<PlanId>,
    pushed: Pushed,
    /// Stops and yeses that were told in this session, by id.
    about_stops: BTreeSet<Sha256>,
    /// Whom it was asked to look at.
    peers: Vec<Target>,
}

/// The newest versions that were sent in this session; whether they were taken, the agent says.
#[derive(Debug, Default)]
struct Pushed {
    trust: u64,
    policy: u64,
}

impl Session {
    /// Judges a hello. `alive`: this server has a stream open at this moment; `audit`: where the trail here ends.
    ///
    /// An identity without lineage never had a session, or was let in anew by a person, or its lineage was lost with a store: whatever
    /// is presented begins it.
    ///
    /// # Errors
    /// [`Breach`].
    pub fn begin(
        server: &ServerName,
        hello: &Hello,
        identity: &Identity,
        on_disk: Option<(Generation, Sha256)>,
        alive: bool,
        audit: Head,
    ) -> Result<Self, Breach> {
        if hello.protocol != PROTOCOL {
            return Err(Breach::Protocol(hello.protocol));
        }
        if hello.server != *server {
            return Err(Breach::OtherServer { expected: server.clone(), found: hello.server.clone() });
        }
        if hello.machine_id != identity.machine_id {
            return Err(Breach::OtherMachine { server: server.clone(), alive });
        }
        let known = [&identity.lineage, &identity.previous_lineage].contains(&&hello.lineage);
        if !known && !identity.lineage.is_empty() {
            // A clone that lies about the trail is refused all the same.
            return Err(match hello.audit.filter(|seen| audit.sequence < seen.sequence) {
                Some(seen) => Breach::OlderStore { server: server.clone(), seen: seen.sequence, here: audit.sequence },
                None => Breach::Lineage { server: server.clone(), alive },
            });
        }
        Ok(Self {
            server: server.clone(),
            epoch: identity.epoch,
            on_disk,
            held: hello.held,
            seen: hello.audit,
            stopped: hello.stops.clone(),
            wanted: BTreeSet::new(),
            told: BTreeSet::new(),
            called_back: BTreeSet::new(),
            pushed: Pushed::default(),
            about_stops: BTreeSet::new(),
            peers: Vec::new(),
        })
    }

    /// What follows a hello whose lineage is on disk. `missing`: certificates of the report on disk that are not here;
    /// `checkups`: those that are; `recall`: this store was put back, and the agent has not told yet what it holds.
    pub fn welcome(
        &mut self,
        lineage: Vec<u8>,
        policy: Option<PolicyId>,
        missing: BTreeSet<CertificateId>,
        audit: Head,
        checkups: Vec<Sha256>,
        recall: bool,
    ) -> Vec<Effect> {
        let welcome = Welcome { lineage, epoch: self.epoch, acknowledged: self.on_disk, policy, checkups, recall };
        let mut effects = vec![Effect::Say(Say::Welcome(welcome)), Effect::ReadDocuments, Effect::ReadStops];
        // Certificates that were on their way when the last session ended are asked for again.
        if let Some((generation, _)) = self.on_disk
            && !missing.is_empty()
        {
            effects.push(self.acknowledge(generation, missing, audit));
        }
        effects.extend([Effect::ReadOffers, Effect::ReadPeers, Effect::LookIfAwaited]);
        effects
    }

    /// What is done when rows about this server may have changed.
    pub fn woken() -> Vec<Effect> {
        vec![Effect::ReadDocuments, Effect::ReadStops, Effect::ReadOffers, Effect::ReadPeers]
    }

    /// The agent said something.
    ///
    /// # Errors
    /// [`Breach`].
    pub fn on(&mut self, said: Said) -> Result<Vec<Effect>, Breach> {
        match said {
            Said::Hello(_) => Err(Breach::Order { expected: "one hello", found: "a second one" }),
            Said::Report(told) => self.report(told),
            Said::Certificates(certificates) => self.certificates(certificates),
            Said::Heartbeat(_) => Ok(Vec::new()),
            Said::Receipt(receipt) => Ok(vec![Effect::Settle(receipt)]),
            Said::Running(plan) => Ok(vec![Effect::Begun(plan)]),
            Said::Busy { offered, at_work: _ } => {
                // It is offered again when the plan at work has its receipt.
                self.told.remove(&offered);
                Ok(Vec::new())
            }
            Said::Held(held, stops) => {
                self.held = held;
                self.stopped.clone_from(&stops);
                Ok(vec![Effect::Note(held, stops), Effect::LookIfAwaited])
            }
            // Nobody speaks of a server that it was not asked about.
            Said::PeerSeen(seen) => {
                let asked = self.peers.iter().any(|target| target.server == seen.server);
                Ok(asked.then_some(Effect::Witness(seen)).into_iter().collect())
            }
            Said::Checkup(named) => Ok(vec![Effect::File(named)]),
            Said::Remembered(mut remembered) => {
                remembered.stops.retain(|body| self.stopped.contains(&StopId::of(body)));
                Ok(vec![
                    Effect::Adopt(remembered, self.seen),
                    Effect::ReadDocuments,
                    Effect::ReadStops,
                    Effect::ReadOffers,
                    Effect::Look,
                ])
            }
        }
    }

    /// A report is on disk. `missing`: certificates that it names and that are not here.
    pub fn recorded(
        &mut self,
        generation: Generation,
        digest: Sha256,
        missing: BTreeSet<CertificateId>,
        audit: Head,
    ) -> Vec<Effect> {
        self.on_disk = Some((generation, digest));
        vec![self.acknowledge(generation, missing, audit), Effect::Look]
    }

    /// A receipt is on disk.
    pub fn settled(&mut self, plan: PlanId) -> Vec<Effect> {
        self.told.remove(&plan);
        vec![Effect::Say(Say::ReceiptAcknowledged(plan)), Effect::ReadOffers, Effect::Look]
    }

    /// A checkup is on disk.
    pub fn filed(&mut self, id: Sha256) -> Vec<Effect> {
        vec![Effect::Say(Say::CheckupAcknowledged(id))]
    }

    /// These are the documents in force: the chain of trust behind what the agent holds, and the policy.
    pub fn documents(&mut self, chain: Vec<Document>, policy: Option<Document>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for document in chain {
            if document.version > self.held.trust_version.max(self.pushed.trust) {
                self.pushed.trust = document.version;
                effects.push(Effect::Say(Say::Trust(document.signed)));
            }
        }
        if let Some(document) = policy
            && document.version > self.held.policy_version.max(self.pushed.policy)
        {
            self.pushed.policy = document.version;
            effects.push(Effect::Say(Say::Policy(document.signed)));
        }
        effects
    }

    /// The emergency stops that hold this host by its own word.
    pub fn stopped(&self) -> &BTreeSet<StopId> {
        &self.stopped
    }

    /// These stops are in force for this server, and these yeses were said to going on after those that hold it and are not. Each is told
    /// once in a session; whether it was taken, the agent says.
    pub fn stops(&mut self, in_force: Vec<(StopId, Vec<u8>)>, resumes: Vec<SignedBytes>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (id, body) in in_force {
            if !self.stopped.contains(&id) && self.about_stops.insert(id) {
                effects.push(Effect::Say(Say::Stop(body)));
            }
        }
        for resume in resumes {
            if self.about_stops.insert(resume.id()) {
                effects.push(Effect::Say(Say::Resume(resume)));
            }
        }
        effects
    }

    /// These plans are offered to this server, or run there, by the rows.
    pub fn offers(&mut self, offers: Vec<Offer>) -> Vec<Effect> {
        let ids: BTreeSet<PlanId> = offers.iter().map(|offer| offer.id).collect();
        self.told.retain(|id| ids.contains(id));
        self.called_back.retain(|id| ids.contains(id));
        let mut effects = Vec::new();
        for Offer { id, body, life: _, cancelled, approvals } in offers {
            if cancelled {
                if self.called_back.insert(id) {
                    effects.push(Effect::Say(Say::Cancel(id)));
                }
            } else if self.told.insert(id) {
                effects.push(Effect::Say(Say::Offer { plan: body, approvals }));
            }
        }
        effects
    }

    /// These are the servers whose 444 this one is to look at; told when they are others than before, or are asked anew.
    pub fn peers(&mut self, targets: Vec<Target>) -> Vec<Effect> {
        if self.peers == targets {
            return Vec::new();
        }
        self.peers.clone_from(&targets);
        vec![Effect::Say(Say::Peers(targets))]
    }

    /// The version of the trust document from which the chain is to be read.
    pub fn trust_version(&self) -> u64 {
        self.held.trust_version.max(self.pushed.trust)
    }

    fn report(&mut self, told: Box<Told>) -> Result<Vec<Effect>, Breach> {
        let server = self.server.clone();
        let (generation, name) = (told.generation, &told.report.host.name);
        if *name != server {
            return Err(Breach::OtherServer { expected: server, found: name.clone() });
        }
        if generation.epoch > self.epoch {
            return Err(Breach::Epoch { server, expected: self.epoch, found: generation.epoch });
        }
        match self.on_disk {
            // Said twice: what is on disk is acknowledged again by writing nothing.
            Some((held, digest)) if held == generation && told.report.digest() == digest => Ok(vec![Effect::Record(told)]),
            Some((held, _)) if held == generation => Err(Breach::OtherReport { server, generation }),
            Some((held, _)) if generation < held => Err(Breach::OlderGeneration { server, held, found: generation }),
            Some(_) | None => Ok(vec![Effect::Record(told)]),
        }
    }

    fn certificates(&mut self, certificates: Vec<Vec<u8>>) -> Result<Vec<Effect>, Breach> {
        if let Some(large) = certificates.iter().find(|der| der.len() > MAX_DER) {
            return Err(Breach::LargeCertificate(large.len()));
        }
        // What nobody asked for is not kept.
        let asked: Vec<Vec<u8>> = certificates.into_iter().filter(|der| self.wanted.remove(&Sha256::of(der))).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Effect::Keep(asked), Effect::Look])
    }

    fn acknowledge(&mut self, generation: Generation, missing: BTreeSet<CertificateId>, audit: Head) -> Effect {
        // Bounded by what one report may name.
        self.wanted = missing;
        Effect::Say(Say::ReportAcknowledged { generation, wanted: self.wanted.clone(), audit })
    }
}

#[cfg(test)]
mod tests;
