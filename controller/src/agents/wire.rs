//! Between what travels and what it means. What does not parse is refused with the name of its field.

use std::collections::BTreeSet;

use policy::Timestamp;
use policy::duration::Span;
use policy::id::Sha256;
use policy::stop::MAX_STOPS;
use policy::trust::MAX_BYTES;
use proto::agent::open_request::Message as Request;
use proto::agent::open_response::Message as Response;
use proto::agent::{self, OpenRequest, OpenResponse, answer};
use proto::invalid::{Invalid, bytes, exactly, exactly_or_none, id, list, micros, moment, present, text};
use proto::peers;
use proto::report::MAX_MEMORY;

use crate::audit::Head;
use crate::session::{Hello, Remembered, Said, Say, Told, Welcome};
use crate::store::Held;

/// The most certificates of one message.
const MAX_CERTIFICATES: usize = 1000;

/// The longest lineage that is presented. Ours are shorter.
const MAX_LINEAGE: usize = 64;

/// What an agent says.
pub(super) fn said(request: OpenRequest) -> Result<Said, Invalid> {
    Ok(match present("OpenRequest.message", request.message)? {
        Request::Hello(wire) => Said::Hello(hello(wire)?),
        Request::Report(agent::ReportMessage { generation, report, decision, seen_at, memory }) => Said::Report(Box::new(Told {
            generation: present("ReportMessage.generation", generation)?.into(),
            report: present("ReportMessage.report", report)?.try_into()?,
            // Of another version, perhaps, or of an agent that says nothing of it: then what was seen here counts.
            memory: serde_json::from_slice(&bytes("ReportMessage.memory", MAX_MEMORY, memory)?).ok().map(Box::new),
            said: text("ReportMessage.decision", decision)?,
            seen_at: moment("ReportMessage.seen_at", seen_at)?,
        })),
        Request::Certificates(agent::Certificates { der }) => {
            Said::Certificates(list("Certificates.der", MAX_CERTIFICATES, der, Ok)?)
        }
        Request::Heartbeat(agent::Heartbeat { digest, now }) => {
            exactly_or_none::<32>("Heartbeat.digest", &digest)?;
            Said::Heartbeat(moment("Heartbeat.now", now)?)
        }
        Request::Receipt(receipt) => Said::Receipt(Box::new(receipt.try_into()?)),
        Request::Answer(agent::Answer { plan, answer }) => {
            let offered = Sha256(exactly("Answer.plan", &plan)?);
            match present("Answer.answer", answer)? {
                answer::Answer::Running(agent::Running {}) => Said::Running(offered),
                answer::Answer::Busy(agent::Busy { plan }) => {
                    Said::Busy { offered, at_work: Sha256(exactly("Busy.plan", &plan)?) }
                }
            }
        }
        Request::Held(wire) => Said::Held(held(&wire)?, stops(&wire)?),
        Request::Remembered(agent::Remembered { trust, policy, stops }) => Said::Remembered(Box::new(Remembered {
            trust: present("Remembered.trust", trust)?.try_into()?,
            policy: policy.map(TryInto::try_into).transpose()?,
            stops: list("Remembered.stops", MAX_STOPS, stops, |body| bytes("Remembered.stops", MAX_BYTES, body))?,
        })),
        Request::PeerSeen(seen) => Said::PeerSeen(seen.try_into()?),
        Request::Checkup(checkup) => Said::Checkup(Box::new(checkup.try_into()?)),
    })
}

fn hello(wire: agent::Hello) -> Result<Hello, Invalid> {
    let agent::Hello {
        protocol,
        server,
        machine_id,
        agent_version,
        lineage,
        held: documents,
        // What it runs and what it last had acknowledged follows from rows and from its receipts.
        acknowledged: _,
        digest: _,
        now,
        running: _,
        audit_sequence,
        audit_head,
    } = wire;
    moment("Hello.now", now)?;
    if lineage.len() > MAX_LINEAGE {
        return Err(Invalid::Length {
            field: "Hello.lineage",
            expected: format!("at most {MAX_LINEAGE} bytes"),
            found: lineage.len(),
        });
    }
    let documents = present("Hello.held", documents)?;
    let hash = exactly_or_none("Hello.audit_head", &audit_head)?;
    Ok(Hello {
        protocol,
        server: id("Hello.server", &server)?,
        machine_id: text("Hello.machine_id", machine_id)?,
        agent_version: text("Hello.agent_version", agent_version)?.chars().take(64).collect(),
        lineage,
        held: held(&documents)?,
        stops: stops(&documents)?,
        audit: hash.map(|hash| Head { sequence: audit_sequence, hash: Sha256(hash) }),
    })
}

fn held(wire: &agent::Held) -> Result<Held, Invalid> {
    let agent::Held { trust, trust_version, policy, policy_version, stops: _ } = wire;
    Ok(Held {
        trust: exactly_or_none("Held.trust", trust)?.map(Sha256),
        trust_version: *trust_version,
        policy: exactly_or_none("Held.policy", policy)?.map(Sha256),
        policy_version: *policy_version,
    })
}

/// An agent holds no more stops at once.
fn stops(wire: &agent::Held) -> Result<BTreeSet<Sha256>, Invalid> {
    let ids = list("Held.stops", MAX_STOPS, wire.stops.clone(), |id| exactly("Held.stops", &id).map(Sha256))?;
    Ok(ids.into_iter().collect())
}

/// What the controller says.
pub(super) fn response(say: Say, heartbeat: Span, now: Timestamp) -> OpenResponse {
    let digest = |id: Sha256| id.0.to_vec();
    let message = match say {
        Say::Welcome(Welcome { lineage, epoch, acknowledged, policy, checkups, recall }) => Response::Welcome(agent::Welcome {
            lineage,
            epoch,
            acknowledged: acknowledged.map(|(generation, _)| generation.into()),
            digest: acknowledged.map(|(_, known)| digest(known)).unwrap_or_default(),
            heartbeat_seconds: u32::try_from(heartbeat.as_seconds()).unwrap_or(u32::MAX),
            now: micros(now),
            policy: policy.map(digest).unwrap_or_default(),
            checkups: Some(agent::CheckupsKept { ids: checkups.into_iter().map(digest).collect() }),
            recall,
        }),
        Say::ReportAcknowledged { generation, wanted, audit } => Response::ReportAcknowledged(agent::ReportAcknowledged {
            generation: Some(generation.into()),
            wanted: wanted.into_iter().map(digest).collect(),
            audit_sequence: audit.sequence,
            audit_head: digest(audit.hash),
        }),
        Say::Offer { plan, approvals } => {
            Response::Offer(agent::Offer { plan, approvals: approvals.into_iter().map(Into::into).collect() })
        }
        Say::ReceiptAcknowledged(plan) => Response::ReceiptAcknowledged(agent::ReceiptAcknowledged { plan: digest(plan) }),
        Say::Trust(signed) => Response::Trust(signed.into()),
        Say::Policy(signed) => Response::Policy(signed.into()),
        Say::Cancel(plan) => Response::Cancel(agent::CancelOffer { plan: digest(plan) }),
        Say::Stop(body) => Response::Stop(agent::EmergencyStop { body }),
        Say::Resume(signed) => Response::Resume(signed.into()),
        Say::Peers(targets) => Response::Peers(peers::asked(targets)),
        Say::CheckupAcknowledged(id) => Response::CheckupAcknowledged(agent::CheckupAcknowledged { id: digest(id) }),
    };
    OpenResponse { message: Some(message) }
}
