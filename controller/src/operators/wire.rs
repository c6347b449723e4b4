//! Rows as the wire has them. Each is taken apart whole, so that a new field asks here what becomes of it.

use policy::checkup::Prospect;
use policy::evaluate::Assessment;
use policy::finding::{Finding, Severity};
use policy::id::{CertificateId, Sha256};
use policy::peers::{self, Peer};
use policy::report::ProbeOutcome;
use policy::trust::Approval;
use proto::invalid::micros;
use proto::{operator, types};

use crate::audit::Entry;
use crate::config::Setting;
use crate::connections::Connections;
use crate::store::{Listed, Lookers, PlanRow, Scene, Stood, Troubled};

/// A number that a list cannot exceed in practice.
pub(super) fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The word of a verdict; servers that were not looked at yet have one of their own.
pub(super) fn verdict(word: String) -> String {
    if word == "none" { "no_report".to_owned() } else { word }
}

/// `prospect`: whether a renewal would succeed there, if that was asked; `lookers`: who looks at its 444, if anybody does.
pub(super) fn server(
    row: Listed,
    connections: &Connections,
    prospect: Option<&Prospect>,
    lookers: Option<&Lookers>,
) -> operator::Server {
    let Listed {
        name,
        generation,
        recorded_at,
        verdict,
        decision,
        mode,
        dag,
        ad_site,
        exchange,
        thumbprint,
        certificate,
        not_after,
        agent_version,
        trust_version,
        policy_version,
        alone,
    } = row;
    let heard_at = connections.heard_at(&name);
    let (mut peers_agree, mut peers_differ, mut peers_unknown) = (0, Vec::new(), 0);
    if let Some(Lookers { peers, question }) = lookers {
        for peer in peers {
            match word(peer, *question, certificate) {
                // The word of whoever is not heard may be old.
                Some((agrees, _)) if connections.is_connected(&peer.server) => {
                    if agrees {
                        peers_agree += 1;
                    } else {
                        peers_differ.push(peer.server.to_string());
                    }
                }
                _ => peers_unknown += 1,
            }
        }
    }
    operator::Server {
        verdict: verdict.map(|verdict| verdict.as_str().to_owned()).unwrap_or_default(),
        connected: heard_at.is_some(),
        last_seen: heard_at.max(recorded_at).map(micros).unwrap_or_default(),
        thumbprint: thumbprint.map(|thumbprint| thumbprint.to_string()),
        not_after: not_after.map(micros),
        decision: decision.unwrap_or_default(),
        mode: mode.unwrap_or_default(),
        dag: dag.unwrap_or_default(),
        site: ad_site.unwrap_or_default(),
        exchange: exchange.unwrap_or_default(),
        generation: Some(types::Generation { epoch: generation.epoch, counter: generation.counter }),
        agent_version,
        trust_version,
        policy_version,
        renewal: prospect.map(|prospect| prospect.as_str().to_owned()).unwrap_or_default(),
        renewal_why: prospect.map(Prospect::why).unwrap_or_default(),
        peers_agree,
        peers_differ,
        peers_unknown,
        untouched_since: alone.map(|alone| micros(alone.since())),
        name: name.to_string(),
    }
}

pub(super) fn setting(setting: Setting) -> operator::Setting {
    let Setting { key, value, is_default, meaning } = setting;
    operator::Setting { key, value, is_default, meaning: meaning.to_owned() }
}

/// A server where something wants somebody, and why; what is only noted there is left out.
pub(super) fn trouble(troubled: Troubled) -> operator::Trouble {
    let Troubled { server, assessment: Assessment { verdict, findings } } = troubled;
    let grave = findings.into_iter().filter(|finding| finding.code.severity() > Severity::Note);
    operator::Trouble { server: server.to_string(), verdict: verdict.as_str().to_owned(), findings: grave.map(finding).collect() }
}

pub(super) fn finding(finding: Finding) -> operator::Finding {
    let Finding { code, evidence } = finding;
    operator::Finding {
        code: code.to_string(),
        title: code.title().to_owned(),
        severity: code.severity().as_str().to_owned(),
        evidence,
    }
}

pub(super) fn stood(stood: Stood) -> operator::Stood {
    let Stood { since, verdict, findings, thumbprint } = stood;
    operator::Stood {
        since: micros(since),
        verdict: verdict.as_str().to_owned(),
        findings: findings.iter().map(ToString::to_string).collect(),
        thumbprint: thumbprint.map(|thumbprint| thumbprint.to_string()).unwrap_or_default(),
    }
}

/// What a peer was shown of what stands there now, and whether it is the certificate that should be; `None` when it did not say.
fn word(peer: &Peer, question: Sha256, certificate: Option<CertificateId>) -> Option<(bool, &ProbeOutcome)> {
    let word = peer.word.as_ref().filter(|word| word.question == question)?;
    Some((word.outcome == ProbeOutcome::Presented { certificate: certificate? }, &word.outcome))
}

/// Those who look at a server, and what they were shown since the last change on its 444.
pub(super) fn peers(scene: &Scene) -> Vec<operator::PeerCheck> {
    let (question, certificate) = (scene.question(), peers::shown(&scene.sight));
    let told = |peer: &Peer| {
        let (word, text) = match word(peer, question, certificate).zip(certificate) {
            Some(((agrees, outcome), certificate)) => {
                let text = peers::in_words(&scene.server.name, outcome, certificate);
                (if agrees { "agrees" } else { "differs" }, text)
            }
            None => ("unknown", "has not said what is shown since the last change".to_owned()),
        };
        let (peer, connected) = (peer.server.to_string(), peer.heard);
        operator::PeerCheck { peer, connected, word: word.to_owned(), text }
    };
    scene.peers.iter().map(told).collect()
}

pub(super) fn plan(row: &PlanRow) -> operator::Plan {
    let etag = row.etag();
    let PlanRow {
        id,
        server,
        purpose,
        body: _,
        life,
        waits_for,
        opens_at,
        urgent: _,
        approved,
        needed,
        group: _,
        cancelled: _,
        created_at,
        changed_at,
    } = row;
    operator::Plan {
        id: id.0.to_vec(),
        server: server.to_string(),
        purpose: purpose.as_str().to_owned(),
        life: life.as_str().to_owned(),
        waits_for: waits_for.clone(),
        opens_at: micros(*opens_at),
        created_at: micros(*created_at),
        changed_at: micros(*changed_at),
        approvals: count(*approved),
        needed: count(*needed),
        etag,
    }
}

pub(super) fn approval(approval: Approval) -> operator::ApprovalSummary {
    let Approval { estate: _, plans: _, person, requester: _, reason, change, not_before, not_after } = approval;
    operator::ApprovalSummary {
        person: person.to_string(),
        reason,
        change: change.unwrap_or_default(),
        not_before: micros(not_before),
        not_after: micros(not_after),
    }
}

pub(super) fn audit(entry: Entry) -> operator::AuditEntry {
    let Entry { sequence, at, actor, action, subject, detail, previous, hash } = entry;
    operator::AuditEntry {
        sequence,
        at: micros(at),
        actor,
        action,
        subject,
        detail,
        previous: previous.0.to_vec(),
        hash: hash.0.to_vec(),
    }
}
