//! Why a server is judged as it is: facts, rule, decision, what would change it, when it is looked at next (P9). Pure.

use policy::Timestamp;
use policy::admit::Rule;
use policy::bound::Bound;
use policy::decide::{Decision, decide};
use policy::document::Policy;
use policy::duration::Span;
use policy::evaluate::{evaluate, named_certificate, no_back_end};
use policy::last::LastKnown;
use policy::peers;
use policy::report::{BACK_END_PORT, Fact, ProbeOutcome, Report, Setup, Sight};
use proto::invalid::micros;
use proto::operator::ExplainServerResponse;

use crate::store::{PlanSeen, Scene, ServerRow};

/// Explains a server that reported, as of `now`.
pub(super) fn explain(scene: &Scene, policy: &Policy, connected: bool, now: Timestamp) -> ExplainServerResponse {
    let Scene { server, sight, last, assessment: _, plans, peers, neighbours: _ } = scene;
    let last = last.after(sight, policy, now);
    let assessment = evaluate(policy, sight, &last, now).with(peers::findings(sight, peers, scene.question()));
    let decision = decide(policy, sight, &last, now);
    let next_look = server.next_look.filter(|at| now < *at).or_else(|| policy::look::next_look(policy, sight, &last, now));
    let mut facts = facts(sight, &last, policy, now);
    let question = scene.question();
    if let Some(certificate) = peers::shown(sight) {
        let answered = peers.iter().filter_map(|peer| Some((peer, peer.word.as_ref().filter(|word| word.question == question)?)));
        facts.extend(
            answered.map(|(peer, word)| format!("{} {}", peer.server, peers::in_words(&server.name, &word.outcome, certificate))),
        );
    }
    facts.extend(
        assessment
            .findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.code, finding.code.title(), finding.evidence.join("; "))),
    );
    if !connected {
        facts.push("its agent is not connected here: this is what it said last".to_owned());
    }
    let open = plans.iter().find(|seen| !seen.row.life.ended());
    facts.extend(open.map(|seen| {
        let row = &seen.row;
        format!("plan {} to {} is {}: {}", row.id.short(), row.purpose.as_str(), row.life.as_str(), row.waits_for)
    }));
    ExplainServerResponse {
        verdict: assessment.verdict.as_str().to_owned(),
        facts,
        rule: rule(&decision, &sight.report).to_owned(),
        decision: decision.word().to_owned(),
        why: decision.why(),
        would_change: would_change(&decision, policy, open, now),
        next_look: next_look.map(micros),
    }
}

/// Explains a server that was let in and said nothing yet.
pub(super) fn silent(row: &ServerRow) -> ExplainServerResponse {
    ExplainServerResponse {
        verdict: "unknown".to_owned(),
        facts: vec![format!("{} is enrolled and sent no report yet", row.name)],
        rule: NOTHING_UNKNOWN.to_owned(),
        decision: "hold".to_owned(),
        why: row.why.clone(),
        would_change: vec!["its first report: does its agent run and reach this controller?".to_owned()],
        next_look: row.next_look.map(micros),
    }
}

const NOTHING_UNKNOWN: &str = "what is unknown, or held by a fact of the host, permits nothing";

fn facts(sight: &Sight, last: &LastKnown, policy: &Policy, now: Timestamp) -> Vec<String> {
    let report = &sight.report;
    let mut facts = vec![chain(sight)];
    if let Some(certificate) = named_certificate(sight) {
        facts.push(format!(
            "the certificate names {}, is valid from {} to {}, and is signed {}",
            certificate.names().join(", "),
            certificate.not_before(),
            certificate.not_after(),
            certificate.signature()
        ));
    }
    for probe in report.probes.iter().filter(|probe| probe.port == BACK_END_PORT) {
        let shown = match &probe.outcome {
            ProbeOutcome::Presented { certificate } => match sight.certificates.get(certificate) {
                Some(certificate) => format!("shows {}", certificate.thumbprint()),
                None => format!("shows a certificate that is not at hand, SHA-256 {}", certificate.short()),
            },
            ProbeOutcome::Refused => "finds nobody".to_owned(),
            ProbeOutcome::NoHandshake(why) => format!("fails: {why}"),
            ProbeOutcome::Unreachable(why) => format!("does not arrive: {why}"),
            ProbeOutcome::Elsewhere(address) => format!("leads to {address}, which is not this host"),
        };
        facts.push(format!("a handshake with {BACK_END_PORT} over {} {shown}", probe.path));
    }
    if let Some(trouble) = last.trouble {
        facts.push(format!("lost since {}, last change on the host at {}", trouble.since, trouble.changed));
    }
    if let Fact::Known(Setup::Running(what) | Setup::HalfFinished(what)) = &report.setup {
        facts.push(format!("Exchange setup: {what}"));
    }
    let mode = policy.mode_of(&report.host).as_str();
    facts.push(match policy.version {
        0 => format!("no policy is in force: mode {mode}"),
        version => format!("mode {mode} by policy version {version}"),
    });
    if let Err(closed) = policy.may_run(now, false) {
        facts.push(format!("approved work may not run now: {}", closed.why));
    }
    facts
}

/// How far record, store and key hold together, in a sentence.
fn chain(sight: &Sight) -> String {
    match Bound::of(sight) {
        Bound::Unknown(why) => format!("what hangs on {BACK_END_PORT} is not known: {why}"),
        Bound::NoRecord => format!("http.sys has no record for {BACK_END_PORT}"),
        Bound::Dangling { record, thumbprint } => {
            let named = thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string());
            format!("the record {} names {named}, which is not in {}", record.endpoint, record.store())
        }
        Bound::KeyUnusable { record, entry, state } => {
            format!("the record {} names {} in {}, and its key is {state}", record.endpoint, entry.thumbprint, entry.store)
        }
        Bound::Whole { record, entry, .. } => {
            format!("the record {} names {} in {}, and its key can be used", record.endpoint, entry.thumbprint, entry.store)
        }
    }
}

/// The rule that decided.
fn rule(decision: &Decision, report: &Report) -> &'static str {
    match decision {
        Decision::LeaveAlone { .. } if no_back_end(report).is_some() => "a server without a back end has nothing to watch",
        Decision::LeaveAlone { .. } => Rule::LeaveAlone.sentence(),
        Decision::WouldAct { .. } => Rule::Mode.sentence(),
        Decision::Propose { .. } => Rule::TwoKeys.sentence(),
        Decision::Act { .. } => Rule::Quiet.sentence(),
        Decision::Hold { .. } => NOTHING_UNKNOWN,
    }
}

fn would_change(decision: &Decision, policy: &Policy, open: Option<&PlanSeen>, now: Timestamp) -> Vec<String> {
    match decision {
        Decision::LeaveAlone { look_again, .. } => {
            let time = look_again.map(|at| format!("time: from {at} a renewal is proposed"));
            let exception = look_again.map(|_| {
                "an exception for this server in the signed policy (allow = \"early_renewal\"), with owner, reason and end date".to_owned()
            });
            let loss = look_again.map(|_| format!("a loss of record, certificate or key on {BACK_END_PORT}"));
            let none = look_again.is_none().then(|| "a report that shows a mailbox or client access role".to_owned());
            [time, exception, loss, none].into_iter().flatten().collect()
        }
        Decision::WouldAct { at, .. } => vec![
            format!("mode propose or act for this server in the signed policy; in act it would begin at {at}"),
            "a report in which nothing is lost".to_owned(),
        ],
        Decision::Propose { opens, urgent, .. } => proposed(policy, open, *opens, *urgent, now),
        Decision::Act { at, .. } => vec![
            format!("time: the agent begins at {at} by itself"),
            format!(
                "any change on the host that {BACK_END_PORT} hangs on: it restarts the quiet time, for {} at most",
                quiet_ceiling(policy)
            ),
            "a lower mode in the signed policy, or a hold on the host".to_owned(),
        ],
        Decision::Hold { why, look_again } => {
            let mut changes: Vec<String> = why.iter().map(|why| format!("a report that says otherwise than: {why}")).collect();
            changes.extend(look_again.filter(|at| now < *at).map(|at| format!("time: limits are counted again at {at}")));
            changes
        }
    }
}

fn quiet_ceiling(policy: &Policy) -> Span {
    policy.quiet.ceiling
}

fn proposed(policy: &Policy, open: Option<&PlanSeen>, opens: Timestamp, urgent: bool, now: Timestamp) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some(seen) = open {
        let row = &seen.row;
        let missing = row.needed.saturating_sub(row.approved);
        if missing > 0 {
            changes
                .push(format!("{missing} more approval(s): backstay plan approve {} --key FILE --reason TEXT", row.id.short()));
        }
    }
    if now < opens {
        changes.push(format!("time: it may begin from {opens}"));
    }
    if let Err(closed) = policy.may_run(now.max(opens), urgent) {
        let until = match closed.until {
            Fact::Known(at) => format!(", asked again at {at}"),
            Fact::Unknown(why) => format!(", {why}"),
        };
        changes.push(format!("{}{until}", closed.why));
    }
    changes.push("a report with other facts: then this plan is superseded".to_owned());
    changes
}
