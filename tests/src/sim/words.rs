//! What travels: each half of a session has its own words for the same messages.

use std::time::Duration;

use agent::session::{Acknowledged, Anchor, Document, FromController, Held, Offer, ToController, Welcome};
use controller::session::{Hello, Said, Say, Told, Welcome as Greeting};
use controller::store::Held as Noted;
use jiff::Timestamp;
use policy::id::Sha256;

/// What an agent said, as its controller hears it.
pub(super) fn said(message: ToController) -> Option<Said> {
    Some(match message {
        ToController::Hello(hello) => {
            let agent::session::Hello { speaker, held, kept, running: _ } = *hello;
            Said::Hello(Hello {
                protocol: proto::PROTOCOL,
                server: speaker.server,
                machine_id: speaker.machine_id,
                agent_version: speaker.agent_version,
                lineage: kept.lineage,
                held: noted(&held),
                stops: held.stops,
                audit: kept.audit.map(|anchor| controller::audit::Head { sequence: anchor.sequence, hash: anchor.head }),
            })
        }
        ToController::Report { generation, latest } => Said::Report(Box::new(Told {
            generation,
            report: latest.sight.report.clone(),
            memory: latest.memory.clone().map(Box::new),
            said: latest.decision.clone(),
            seen_at: latest.seen_at,
        })),
        ToController::Certificates(der) => Said::Certificates(der),
        ToController::Heartbeat(_) => Said::Heartbeat(Timestamp::UNIX_EPOCH),
        ToController::Receipt(receipt) => Said::Receipt(receipt),
        ToController::Running(plan) => Said::Running(plan),
        ToController::Busy { offered, at_work } => Said::Busy { offered, at_work },
        ToController::Held(held) => Said::Held(noted(&held), held.stops),
        ToController::Checkup(_) | ToController::Remembered(_) | ToController::PeerSeen(_) => return None,
    })
}

fn noted(held: &Held) -> Noted {
    Noted {
        trust: Some(held.trust.id),
        trust_version: held.trust.number,
        policy: held.policy.map(|policy| policy.id),
        policy_version: held.policy.map_or(0, |policy| policy.number),
    }
}

/// What the controller said, as an agent hears it, by the controller's clock.
pub(super) fn heard(say: Say, clock: Timestamp) -> FromController {
    match say {
        Say::Welcome(Greeting { lineage, epoch, acknowledged, policy, checkups: _, recall }) => {
            FromController::Welcome(Welcome {
                lineage,
                epoch,
                acknowledged: acknowledged.map(|(generation, digest)| Acknowledged { generation, digest }),
                heartbeat: Duration::from_secs(15),
                clock,
                policy,
                checkups: None,
                recall,
            })
        }
        Say::ReportAcknowledged { generation, wanted, audit } => FromController::ReportAcknowledged {
            generation,
            wanted: wanted.into_iter().collect(),
            audit: Some(Anchor { sequence: audit.sequence, head: audit.hash }),
        },
        Say::Offer { plan, approvals } => FromController::Offer(Offer { id: Sha256::of(&plan), plan, approvals }),
        Say::ReceiptAcknowledged(plan) => FromController::ReceiptAcknowledged(plan),
        Say::Trust(signed) => FromController::Document(Document::Trust(signed)),
        Say::Policy(signed) => FromController::Document(Document::Policy(signed)),
        Say::Cancel(plan) => FromController::Cancel(plan),
        Say::CheckupAcknowledged(id) => FromController::CheckupAcknowledged(id),
        Say::Peers(targets) => FromController::Peers(targets),
        Say::Stop(body) => FromController::Document(Document::Stop(body)),
        Say::Resume(signed) => FromController::Document(Document::Resume(signed)),
    }
}
