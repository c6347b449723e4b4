//! What travels, from and to the words of the session. Outward always succeeds; inward believes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use policy::id::{CertificateId, Generation, PlanId, PolicyId, Sha256};
use policy::last::LastKnown;
use policy::plan;
use policy::trust::MAX_BYTES;
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{
    Answer, Busy, CancelOffer, Certificates, CheckupAcknowledged, CheckupsKept, EmergencyStop, Heartbeat, Held as WireHeld,
    Hello as WireHello, Offer as WireOffer, OpenRequest, OpenResponse, ReceiptAcknowledged, Remembered as WireRemembered,
    ReportAcknowledged, ReportMessage, Running, Welcome as WireWelcome, answer,
};
use proto::invalid::{self, Invalid};
use proto::peers;
use proto::report::MAX_MEMORY;
use proto::signed::SignedBytes;
use proto::types;

use crate::session::{
    Acknowledged, Anchor, Document, FromController, Held, Hello, Kept, Latest, Offer, Remembered, Speaker, ToController, Welcome,
};

/// The longest lineage nonce, in bytes.
const MAX_LINEAGE: usize = 64;

/// The most certificates that a controller may want at once.
const MAX_WANTED: usize = 10_000;

/// The most approvals of one offer.
const MAX_APPROVALS: usize = 64;

/// The most checkups that a controller may have of one host.
const MAX_FILED: usize = 16;

/// How often a heartbeat may be asked for.
const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;

/// What the agent says, at `now` by its clock.
pub(super) fn outward(message: ToController, now: Timestamp) -> OpenRequest {
    let message = match message {
        ToController::Hello(said) => Up::Hello(hello(*said, now)),
        ToController::Report { generation, latest } => {
            let Latest { sight, digest: _, memory, decision, seen_at } = latest.as_ref();
            Up::Report(ReportMessage {
                generation: Some(generation.into()),
                report: Some(sight.report.clone().into()),
                decision: decision.clone(),
                seen_at: invalid::micros(*seen_at),
                memory: memory.as_ref().map(remembered).unwrap_or_default(),
            })
        }
        ToController::Certificates(der) => Up::Certificates(Certificates { der }),
        ToController::Heartbeat(digest) => Up::Heartbeat(Heartbeat { digest: bytes(digest), now: invalid::micros(now) }),
        ToController::Receipt(receipt) => Up::Receipt((*receipt).into()),
        ToController::Running(plan) => answer_to(plan, answer::Answer::Running(Running {})),
        ToController::Busy { offered, at_work } => answer_to(offered, answer::Answer::Busy(Busy { plan: at_work.0.to_vec() })),
        ToController::Held(held) => Up::Held(documents(held)),
        ToController::PeerSeen(seen) => Up::PeerSeen(seen.into()),
        ToController::Checkup(named) => Up::Checkup(named.as_ref().clone().into()),
        ToController::Remembered(remembered) => {
            let Remembered { trust, policy, stops } = *remembered;
            Up::Remembered(WireRemembered { trust: Some(trust.into()), policy: policy.map(Into::into), stops })
        }
    };
    OpenRequest { message: Some(message) }
}

/// What the controller says; `None` for a message of a newer controller.
pub(super) fn inward(response: OpenResponse) -> Result<Option<FromController>, Invalid> {
    let OpenResponse { message: Some(message) } = response else { return Ok(None) };
    let message = match message {
        Down::Welcome(wire) => FromController::Welcome(welcome(wire)?),
        Down::ReportAcknowledged(ReportAcknowledged { generation, wanted, audit_sequence, audit_head }) => {
            FromController::ReportAcknowledged {
                generation: invalid::present("ReportAcknowledged.generation", generation)?.into(),
                wanted: invalid::list("ReportAcknowledged.wanted", MAX_WANTED, wanted, |id| {
                    invalid::exactly("ReportAcknowledged.wanted", &id).map(Sha256)
                })?,
                audit: anchor(audit_sequence, &audit_head)?,
            }
        }
        Down::Offer(WireOffer { plan, approvals }) => {
            let plan = invalid::bytes("Offer.plan", plan::MAX_BYTES, plan)?;
            let approvals = invalid::list("Offer.approvals", MAX_APPROVALS, approvals, SignedBytes::try_from)?;
            FromController::Offer(Offer { id: PlanId::of(&plan), plan, approvals })
        }
        Down::ReceiptAcknowledged(ReceiptAcknowledged { plan }) => {
            FromController::ReceiptAcknowledged(digest("ReceiptAcknowledged.plan", &plan)?)
        }
        Down::Trust(signed) => FromController::Document(Document::Trust(signed.try_into()?)),
        Down::Policy(signed) => FromController::Document(Document::Policy(signed.try_into()?)),
        Down::Stop(EmergencyStop { body }) => {
            FromController::Document(Document::Stop(invalid::bytes("EmergencyStop.body", MAX_BYTES, body)?))
        }
        Down::Resume(signed) => FromController::Document(Document::Resume(signed.try_into()?)),
        Down::Cancel(CancelOffer { plan }) => FromController::Cancel(digest("CancelOffer.plan", &plan)?),
        Down::Peers(asked) => FromController::Peers(peers::targets(asked)?),
        Down::CheckupAcknowledged(CheckupAcknowledged { id }) => {
            FromController::CheckupAcknowledged(digest("CheckupAcknowledged.id", &id)?)
        }
    };
    Ok(Some(message))
}

/// Nothing, when it is more than a controller reads: then that goes by what it saw itself.
fn remembered(memory: &LastKnown) -> Vec<u8> {
    let bytes = serde_json::to_vec(memory).expect("what is remembered is plain data");
    if bytes.len() <= MAX_MEMORY { bytes } else { Vec::new() }
}

fn hello(said: Hello, now: Timestamp) -> WireHello {
    let Hello { speaker, held, kept, running } = said;
    let Speaker { server, machine_id, agent_version } = speaker;
    let Kept { lineage, generation: _, acknowledged, remembered: _, audit } = kept;
    WireHello {
        protocol: proto::PROTOCOL,
        server: server.to_string(),
        machine_id,
        agent_version,
        lineage,
        held: Some(documents(held)),
        acknowledged: acknowledged.map(|acknowledged| acknowledged.generation.into()),
        digest: bytes(acknowledged.map(|acknowledged| acknowledged.digest)),
        now: invalid::micros(now),
        running: bytes(running),
        audit_sequence: audit.map_or(0, |anchor| anchor.sequence),
        audit_head: bytes(audit.map(|anchor| anchor.head)),
    }
}

fn documents(held: Held) -> WireHeld {
    let Held { trust, policy, stops } = held;
    WireHeld {
        trust: trust.id.0.to_vec(),
        trust_version: trust.number,
        policy: bytes(policy.map(|policy| policy.id)),
        policy_version: policy.map_or(0, |policy| policy.number),
        stops: stops.into_iter().map(|id| id.0.to_vec()).collect(),
    }
}

fn answer_to(plan: PlanId, answer: answer::Answer) -> Up {
    Up::Answer(Answer { plan: plan.0.to_vec(), answer: Some(answer) })
}

fn welcome(wire: WireWelcome) -> Result<Welcome, Invalid> {
    let WireWelcome { lineage, epoch, acknowledged, digest, heartbeat_seconds, now, policy, checkups, recall } = wire;
    let digest = invalid::exactly_or_none("Welcome.digest", &digest)?.map(Sha256);
    let known =
        |(generation, digest): (types::Generation, Sha256)| Acknowledged { generation: Generation::from(generation), digest };
    let seconds = u64::from(heartbeat_seconds).clamp(*HEARTBEAT_SECONDS.start(), *HEARTBEAT_SECONDS.end());
    Ok(Welcome {
        lineage: invalid::bytes("Welcome.lineage", MAX_LINEAGE, lineage)?,
        epoch,
        acknowledged: acknowledged.zip(digest).map(known),
        heartbeat: Duration::from_secs(seconds),
        clock: invalid::moment("Welcome.now", now)?,
        policy: invalid::exactly_or_none("Welcome.policy", &policy)?.map(|id| -> PolicyId { Sha256(id) }),
        checkups: checkups.map(filed).transpose()?,
        recall,
    })
}

fn filed(wire: CheckupsKept) -> Result<BTreeSet<Sha256>, Invalid> {
    let CheckupsKept { ids } = wire;
    let ids = invalid::list("CheckupsKept.ids", MAX_FILED, ids, |id| invalid::exactly("CheckupsKept.ids", &id).map(Sha256))?;
    Ok(ids.into_iter().collect())
}

fn anchor(sequence: u64, head: &[u8]) -> Result<Option<Anchor>, Invalid> {
    Ok(invalid::exactly_or_none("ReportAcknowledged.audit_head", head)?.map(|head| Anchor { sequence, head: Sha256(head) }))
}

fn digest(field: &'static str, value: &[u8]) -> Result<CertificateId, Invalid> {
    invalid::exactly(field, value).map(Sha256)
}

fn bytes(digest: Option<Sha256>) -> Vec<u8> {
    digest.map(|digest| digest.0.to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(message: Down) -> OpenResponse {
        OpenResponse { message: Some(message) }
    }

    fn wire_welcome() -> WireWelcome {
        WireWelcome {
            lineage: vec![1; 32],
            epoch: 4,
            acknowledged: Some(types::Generation { epoch: 4, counter: 7 }),
            digest: vec![2; 32],
            heartbeat_seconds: 15,
            now: 1_000_000,
            policy: Vec::new(),
            checkups: None,
            recall: false,
        }
    }

    #[test]
    fn a_welcome_reads() {
        let Ok(Some(FromController::Welcome(welcome))) = inward(response(Down::Welcome(wire_welcome()))) else { panic!("reads") };
        assert_eq!(
            welcome.acknowledged,
            Some(Acknowledged { generation: Generation { epoch: 4, counter: 7 }, digest: Sha256([2; 32]) })
        );
        assert_eq!((welcome.policy, welcome.heartbeat), (None, Duration::from_secs(15)));
        assert_eq!(welcome.checkups, None, "a controller that is older than checkups");
    }

    #[test]
    fn a_controller_that_keeps_checkups_names_those_that_it_has() {
        let kept = |ids| WireWelcome { checkups: Some(CheckupsKept { ids }), ..wire_welcome() };
        assert_eq!(welcome(kept(Vec::new())).expect("reads").checkups, Some(BTreeSet::new()));
        assert_eq!(welcome(kept(vec![vec![5; 32]])).expect("reads").checkups, Some(BTreeSet::from([Sha256([5; 32])])));
        assert!(welcome(kept(vec![vec![5; 31]])).expect_err("malformed").to_string().contains("CheckupsKept.ids"));
        assert!(welcome(kept(vec![vec![5; 32]; 17])).is_err());
    }

    #[test]
    fn a_generation_without_a_digest_is_no_acknowledgement() {
        let wire = WireWelcome { digest: Vec::new(), ..wire_welcome() };
        assert_eq!(welcome(wire).expect("reads").acknowledged, None);
    }

    #[test]
    fn a_heartbeat_of_nothing_does_not_flood_the_controller() {
        let wire = WireWelcome { heartbeat_seconds: 0, ..wire_welcome() };
        assert_eq!(welcome(wire).expect("reads").heartbeat, Duration::from_secs(1));
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_field() {
        let refused = |message| inward(response(message)).expect_err("malformed").to_string();
        assert!(refused(Down::Welcome(WireWelcome { digest: vec![1; 31], ..wire_welcome() })).contains("Welcome.digest"));
        assert!(refused(Down::Welcome(WireWelcome { lineage: vec![1; 65], ..wire_welcome() })).contains("Welcome.lineage"));
        assert!(refused(Down::Welcome(WireWelcome { now: i64::MAX, ..wire_welcome() })).contains("Welcome.now"));
        assert!(refused(Down::Cancel(CancelOffer { plan: vec![1] })).contains("CancelOffer.plan"));
        let offer = WireOffer { plan: vec![0; plan::MAX_BYTES + 1], approvals: Vec::new() };
        assert!(refused(Down::Offer(offer)).contains("Offer.plan"));
        let offer = WireOffer { plan: Vec::new(), approvals: vec![types::Signed::default(); MAX_APPROVALS + 1] };
        assert!(refused(Down::Offer(offer)).contains("Offer.approvals"));
        let acknowledged = ReportAcknowledged { generation: None, ..ReportAcknowledged::default() };
        assert!(refused(Down::ReportAcknowledged(acknowledged)).contains("generation"));
    }

    #[test]
    fn a_message_of_a_newer_controller_is_nothing() {
        assert!(inward(OpenResponse { message: None }).expect("reads").is_none());
    }
}
