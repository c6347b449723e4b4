//! One look at one server: what is concluded from what is on disk, and how its plans move on. Pure.
//!
//! The order in which a plan's needs are asked is the order in which people can do something about them: approvals, then its
//! time, then a window, then the turn of its group, then its agent. The first that is missing is what it waits for.

use std::collections::BTreeSet;

use policy::Timestamp;
use policy::admit::{approvers, class};
use policy::bound::Bound;
use policy::decide::{Decision, aside, decide};
use policy::document::{GroupBy, PeerChecks, Policy, Waves};
use policy::evaluate::{Assessment, evaluate};
use policy::finding::Verdict;
use policy::id::{CertificateId, Generation, PlanId, ServerName};
use policy::last::LastKnown;
use policy::life::{Event, Life};
use policy::peers::{self, Agreement};
use policy::plan::{Plan, Purpose};
use policy::report::Sight;
use policy::trust::TrustDocument;

use crate::store::{Held, Near, Neighbour, PlanSeen, Scene, Trouble};

/// What is in force when a look is taken.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The policy; [`Policy::none_yet`] before the first.
    pub policy: &'a Policy,
    /// The trust document; without one nobody can approve.
    pub trust: Option<&'a TrustDocument>,
    /// The documents in force, as an agent that holds them says.
    pub in_force: Held,
    /// Why nothing is begun on this server at all: an emergency stop.
    pub stopped: Option<&'a str>,
    /// The agent's stream is open here.
    pub connected: bool,
    /// Now.
    pub now: Timestamp,
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Of the report that was looked at.
    pub generation: Generation,
    /// Verdict and findings.
    pub assessment: Assessment,
    /// What was remembered when the look was taken; when it changed meanwhile, the look is taken again.
    pub before: LastKnown,
    /// What is remembered for the next look.
    pub last: LastKnown,
    /// The decision in a word.
    pub decision: String,
    /// 444 has nothing to lose: asked once more when a turn is taken.
    pub dead: bool,
    /// Why.
    pub why: String,
    /// The mode in which the server stands.
    pub mode: String,
    /// The certificate on 444, when it is at hand.
    pub certificate: Option<CertificateId>,
    /// Its end.
    pub not_after: Option<Timestamp>,
    /// When time alone may change any of this.
    pub next_look: Option<Timestamp>,
    /// What happens to plans.
    pub moves: Vec<Move>,
    /// How many may be at work: asked once more when a turn is taken.
    pub waves: Waves,
}

/// What happens to a plan. Each is done only if the plan still stands where it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// A new plan.
    Propose {
        /// The plan.
        plan: Box<Plan>,
        /// How it stands.
        standing: Standing,
    },
    /// It moves on, by these events in this order.
    Advance {
        /// Which.
        plan: PlanId,
        /// From where.
        from: Life,
        /// How.
        events: Vec<Event>,
        /// How it stands then.
        standing: Standing,
    },
    /// It stays where it is; what people read about it changed.
    Note {
        /// Which.
        plan: PlanId,
        /// Where it stays.
        at: Life,
        /// How it stands now.
        standing: Standing,
    },
}

/// What people read about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Why it stands where it stands.
    pub why: String,
    /// Earliest begin.
    pub opens_at: Timestamp,
    /// It pages and ignores windows.
    pub urgent: bool,
    /// Persons whose approval counts.
    pub approved: u64,
    /// Persons needed.
    pub needed: u64,
}

/// Looks at one server.
pub fn look(scene: &Scene, terms: &Terms<'_>) -> Conclusion {
    let Terms { policy, now, .. } = *terms;
    let last = scene.last.after(&scene.sight, policy, now);
    let from_outside = peers::findings(&scene.sight, &scene.peers, scene.question());
    let assessment = evaluate(policy, &scene.sight, &last, now).with(from_outside);
    let decision = decide(policy, &scene.sight, &last, now);
    let (certificate, not_after) = match Bound::of(&scene.sight) {
        Bound::Whole { certificate, .. } => (Some(certificate.id()), Some(certificate.not_after())),
        Bound::Unknown(_) | Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. } => (None, None),
    };
    let mut times: Vec<Timestamp> = decision.look_again().into_iter().collect();
    times.extend(turning_points(policy, not_after, &last));
    let mut why = decision.why();
    let mut moves = Vec::new();
    for seen in &scene.plans {
        moves.extend(soaked(seen, scene, terms, assessment.verdict, &mut times));
    }
    if !scene.plans.iter().any(|seen| seen.row.life.in_flight()) {
        let own = |seen: &PlanSeen| !seen.plan.purpose.aside();
        moves.extend(proposals(&decision, &own, scene, terms, &mut why, &mut times));
        let offers = moves.iter().any(|step| matches!(step, Move::Advance { events, .. } if events.contains(&Event::Offer)));
        moves.extend(beside(scene, terms, &last, offers, &mut times));
    }
    Conclusion {
        generation: scene.server.generation,
        before: scene.last.clone(),
        decision: decision.word().to_owned(),
        dead: is_dead(&scene.sight),
        why,
        mode: policy.mode_of(&scene.sight.report.host).as_str().to_owned(),
        certificate,
        not_after,
        next_look: times.into_iter().filter(|at| *at > now).min(),
        assessment,
        last,
        moves,
        waves: policy.waves,
    }
}

/// Moments at which time alone changes a verdict.
fn turning_points(policy: &Policy, not_after: Option<Timestamp>, last: &LastKnown) -> Vec<Timestamp> {
    let expiry = policy.expiry;
    let mut points: Vec<Timestamp> = last.trouble.iter().map(|trouble| policy.quiet.ceiling.after(trouble.since)).collect();
    if let Some(end) = not_after {
        points.extend([policy.proposes_from(end), policy.renewal_opens(end), expiry.urgent_at.before(end), end]);
        points.extend(policy.last_chance(end));
    }
    points
}

/// A result that was shown by a handshake is confirmed when it still stands after the soak, and those who look at the server from
/// outside are shown it too.
fn soaked(seen: &PlanSeen, scene: &Scene, terms: &Terms<'_>, verdict: Verdict, times: &mut Vec<Timestamp>) -> Option<Move> {
    if seen.row.life != Life::Restored {
        return None;
    }
    let soaked_at = terms.policy.waves.soak.after(seen.row.changed_at);
    if terms.now < soaked_at {
        times.push(soaked_at);
        return None;
    }
    let newer = scene.server.seen_at.zip(seen.began_at).is_none_or(|(report, began)| began <= report);
    if verdict != Verdict::Healthy || !newer {
        return None;
    }
    match from_outside(seen, scene, terms, times) {
        Ok(witnesses) => {
            let why = format!("healthy {} after it was restored; {witnesses}", terms.policy.waves.soak);
            Some(advance(seen, vec![Event::Confirm], Standing { why, ..standing(seen) }))
        }
        Err(why) => waits(seen, why, standing(seen)),
    }
}

/// What those who look at the server say to it; or what is missing.
fn from_outside(seen: &PlanSeen, scene: &Scene, terms: &Terms<'_>, times: &mut Vec<Timestamp>) -> Result<String, String> {
    let server = &scene.server.name;
    let Some(certificate) = peers::shown(&scene.sight) else { return Ok("nothing to compare with".to_owned()) };
    let PeerChecks { every, count: _ } = terms.policy.peers;
    let patience = every.after(every.after(seen.row.changed_at));
    let is_over = patience <= terms.now;
    // After a start nobody is connected yet. Later on, who is not here is not waited for, and may be what was wrong.
    let asked = scene.peers.iter().filter(|peer| peer.heard || !is_over);
    match peers::agreement(asked, scene.question(), certificate) {
        Agreement::NoPeer => Ok("no other agent could say".to_owned()),
        Agreement::Agree(witnesses) => Ok(format!("{} shown it too", are(&witnesses))),
        Agreement::Waits { silent, agreed: _ } if !is_over => {
            times.push(patience);
            Err(format!("waits for the peer check of {}", named(&silent)))
        }
        Agreement::Waits { silent, agreed } => {
            let agreed = if agreed.is_empty() { String::new() } else { format!("{} shown it too; ", are(&agreed)) };
            Ok(format!("{agreed}{} did not say", named(&silent)))
        }
        Agreement::Differs { peer, outcome } => {
            // Whoever objects and goes away says nothing to that.
            times.push(every.after(terms.now).max(patience));
            Err(format!(
                "{peer} {}: it is confirmed when that is over, or given up by `backstay plan abandon`",
                peers::in_words(server, &outcome, certificate)
            ))
        }
    }
}

fn named(servers: &[ServerName]) -> String {
    servers.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
}

fn are(servers: &[ServerName]) -> String {
    format!("{} {}", named(servers), if servers.len() == 1 { "is" } else { "are" })
}

/// What is proposed beside the certificate of 444: each purpose has a plan of its own, and no other takes its place.
fn beside(scene: &Scene, terms: &Terms<'_>, last: &LastKnown, mut offered: bool, times: &mut Vec<Timestamp>) -> Vec<Move> {
    let found = aside(terms.policy, &scene.sight, last, terms.now);
    let in_order = Decision::LeaveAlone { why: "what it was for is in order".to_owned(), look_again: None };
    let mut moves = Vec::new();
    for purpose in Purpose::ASIDE {
        let decision = found.iter().find(|found| found.purpose == purpose).map_or(&in_order, |found| &found.decision);
        let mut why = String::new();
        moves.extend(proposals(decision, &|seen| seen.plan.purpose == purpose, scene, terms, &mut why, times));
    }
    // One plan of a host is at work at a time: what is on 444 comes first, and the rest waits for the next look.
    moves.retain(|step| match step {
        Move::Advance { events, .. } if events.contains(&Event::Offer) => !std::mem::replace(&mut offered, true),
        Move::Advance { .. } | Move::Propose { .. } | Move::Note { .. } => true,
    });
    moves
}

/// The plan that the decision wants, and those of its kind that it does not want any more.
fn proposals(
    decision: &Decision,
    kind: &dyn Fn(&PlanSeen) -> bool,
    scene: &Scene,
    terms: &Terms<'_>,
    why: &mut String,
    times: &mut Vec<Timestamp>,
) -> Vec<Move> {
    let open = || scene.plans.iter().filter(|seen| seen.row.life.open() && kind(seen));
    match decision {
        Decision::Propose { plan, opens, urgent, why: reason } => {
            let mut moves: Vec<Move> = open()
                .filter(|seen| !seen.plan.same_but_attempt(plan))
                .map(|seen| superseded(seen, "the facts or the policy changed"))
                .collect();
            match open().find(|seen| seen.plan.same_but_attempt(plan)) {
                Some(seen) => moves.extend(forward(seen, *opens, *urgent, scene, terms, times)),
                None => match again(plan, *urgent, scene) {
                    Ok(plan) => moves.push(propose(plan, *opens, *urgent, reason, terms)),
                    Err(not) => *why = format!("{why}; {not}"),
                },
            }
            moves
        }
        // Something cannot be judged at this moment: approvals are not thrown away for that.
        Decision::Hold { why: held, .. } => {
            open().filter_map(|seen| waits(seen, format!("held: {}", held.join("; ")), standing(seen))).collect()
        }
        Decision::LeaveAlone { why, .. } | Decision::WouldAct { why, .. } | Decision::Act { why, .. } => {
            open().map(|seen| superseded(seen, why)).collect()
        }
    }
}

/// The attempt that is to be proposed, or why none is.
fn again(plan: &Plan, urgent: bool, scene: &Scene) -> Result<Plan, String> {
    let same = || scene.plans.iter().filter(|seen| seen.plan.same_but_attempt(plan));
    if let Some(seen) = same().max_by_key(|seen| seen.plan.attempt) {
        let id = seen.row.id.short();
        match seen.row.life {
            Life::Withdrawn if seen.row.urgent || !urgent => {
                return Err(format!(
                    "plan {id} for these facts was {}: it is not proposed again while they are the same",
                    seen.row.waits_for
                ));
            }
            Life::Restored | Life::Confirmed
                if scene.server.seen_at.zip(seen.ended_at).is_none_or(|(report, ended)| report < ended) =>
            {
                return Err(format!("plan {id} was done after this report: the next one will show it"));
            }
            Life::Withdrawn
            | Life::Restored
            | Life::Confirmed
            | Life::Undone
            | Life::Failed
            | Life::Refused
            | Life::Superseded
            | Life::Expired
            | Life::Abandoned
            | Life::Proposed
            | Life::Approved
            | Life::Waiting
            | Life::Offered
            | Life::Running => {}
        }
    }
    Ok(plan.clone().untried(|id| scene.plans.iter().any(|seen| seen.row.id == *id)))
}

fn propose(plan: Plan, opens_at: Timestamp, urgent: bool, reason: &str, terms: &Terms<'_>) -> Move {
    let needed = needed(&plan, terms);
    let why = format!("{reason}; 0 of {needed} approvals");
    Move::Propose { plan: Box::new(plan), standing: Standing { why, opens_at, urgent, approved: 0, needed } }
}

fn needed(plan: &Plan, terms: &Terms<'_>) -> u64 {
    terms.trust.map_or(1, |trust| u64::from(trust.need(class(plan))))
}

/// An open plan that is still wanted: as far as it can go now.
fn forward(
    seen: &PlanSeen,
    opens_at: Timestamp,
    urgent: bool,
    scene: &Scene,
    terms: &Terms<'_>,
    times: &mut Vec<Timestamp>,
) -> Option<Move> {
    let now = terms.now;
    let needed = needed(&seen.plan, terms);
    let persons = terms.trust.map(|trust| approvers(&seen.plan, &seen.approvals, trust, now).0).unwrap_or_default();
    let approved = persons.len() as u64;
    times.extend(seen.approvals.iter().flat_map(|approval| [approval.value.not_before, approval.value.not_after]));
    let standing = |why: String| Standing { why, opens_at, urgent, approved, needed };
    if approved < needed {
        let why = format!("{approved} of {needed} approvals");
        return if seen.row.life == Life::Proposed {
            waits(seen, why, standing(String::new()))
        } else {
            Some(advance(seen, vec![Event::Expire], standing(format!("its approvals do not count any more: {why}"))))
        };
    }
    let approve = (seen.row.life == Life::Proposed).then_some(Event::Approve);
    let blocked = blocked(seen, opens_at, urgent, scene, terms, times);
    match (blocked, approve) {
        (None, approve) => Some(advance(
            seen,
            approve.into_iter().chain([Event::Offer]).collect(),
            standing("sent to its agent; no word from it yet".to_owned()),
        )),
        (Some(why), Some(approve)) => Some(advance(seen, vec![approve, Event::Wait], standing(why))),
        (Some(why), None) if seen.row.life == Life::Approved => Some(advance(seen, vec![Event::Wait], standing(why))),
        (Some(why), None) => waits(seen, why, standing(String::new())),
    }
}

/// The first thing, besides approvals, for which a plan must wait.
fn blocked(
    seen: &PlanSeen,
    opens_at: Timestamp,
    urgent: bool,
    scene: &Scene,
    terms: &Terms<'_>,
    times: &mut Vec<Timestamp>,
) -> Option<String> {
    let Terms { policy, in_force, stopped, connected, now, .. } = *terms;
    if let Some(why) = stopped {
        return Some(why.to_owned());
    }
    if now < opens_at {
        times.push(opens_at);
        return Some(format!("it may run from {opens_at}"));
    }
    if !seen.plan.purpose.restores() {
        if let Err(closed) = policy.may_run(now, urgent) {
            times.extend(closed.until.known());
            return Some(match closed.until.known() {
                Some(until) => format!("{} until {until}", closed.why),
                None => closed.why,
            });
        }
        if let Some(why) = turn(&scene.neighbours, policy.waves, is_dead(&scene.sight)) {
            return Some(why);
        }
    }
    if !connected {
        return Some("its agent is not connected".to_owned());
    }
    let held = scene.server.held;
    if held.trust != in_force.trust || held.policy != in_force.policy {
        return Some(format!(
            "its agent holds trust document {} and policy {}, in force are {} and {}",
            held.trust_version, held.policy_version, in_force.trust_version, in_force.policy_version
        ));
    }
    None
}

/// Whose turn it is instead (P8): a neighbour's of the same group, or of as many servers as the policy has in work at once.
fn turn(neighbours: &[Neighbour], waves: Waves, dead: bool) -> Option<String> {
    let group = |near: Near| match near {
        Near::Group => Some("group"),
        Near::Site if waves.group_by == GroupBy::Site => Some("AD site"),
        Near::Site | Near::Estate => None,
    };
    // Who serves nothing takes nothing from a group in which another is lost, went wrong, or is done and not well: two such would wait
    // for each other for ever (P8: a 444 that is dead waits for no wave). What is at work there is waited for all the same.
    let counts = |neighbour: &&Neighbour| match neighbour.trouble {
        Trouble::Lost { .. } | Trouble::WentWrong { .. } | Trouble::AtWork { life: Life::Restored, .. } => !dead,
        Trouble::AtWork { .. } | Trouble::Unheard => true,
    };
    if let Some((Neighbour { server, trouble, .. }, group)) =
        neighbours.iter().filter(counts).find_map(|neighbour| Some((neighbour, group(neighbour.near)?)))
    {
        return Some(match trouble {
            Trouble::AtWork { plan, life, restores: _ } => {
                format!("one at a time: {server} of the same {group} has plan {} {}", plan.short(), life.as_str())
            }
            Trouble::WentWrong { plan, life } => format!(
                "a failure stops the wave: plan {} of {server} of the same {group} was {}, and nobody decided about the next attempt",
                plan.short(),
                life.as_str()
            ),
            Trouble::Unheard => format!(
                "one at a time: the store was put back from a backup, and what was done on {server} of the same {group} since is not known; \
                 it tells when it comes, or `backstay agent go-without {server}`"
            ),
            Trouble::Lost { verdict } => format!("one at a time: {server} of the same {group} is {verdict}"),
        });
    }
    let at_work: BTreeSet<&ServerName> = neighbours
        .iter()
        .filter(counts)
        .filter(|neighbour| matches!(neighbour.trouble, Trouble::AtWork { restores: false, .. }))
        .map(|neighbour| &neighbour.server)
        .collect();
    let first = at_work.first().filter(|_| at_work.len() >= waves.at_once as usize)?;
    Some(format!(
        "one at a time: {} of {} server(s) that the policy has in work at once, {first} among them",
        at_work.len(),
        waves.at_once
    ))
}

/// Whether 444 has nothing to lose.
fn is_dead(sight: &Sight) -> bool {
    match Bound::of(sight) {
        Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. } => true,
        Bound::Whole { .. } | Bound::Unknown(_) => false,
    }
}

fn superseded(seen: &PlanSeen, why: &str) -> Move {
    advance(seen, vec![Event::Supersede], Standing { why: why.to_owned(), ..standing(seen) })
}

fn advance(seen: &PlanSeen, events: Vec<Event>, standing: Standing) -> Move {
    Move::Advance { plan: seen.row.id, from: seen.row.life, events, standing }
}

/// It stays where it is; said only when there is something new to say.
fn waits(seen: &PlanSeen, why: String, rest: Standing) -> Option<Move> {
    let now = Standing { why, ..rest };
    (now != standing(seen)).then_some(Move::Note { plan: seen.row.id, at: seen.row.life, standing: now })
}

fn standing(seen: &PlanSeen) -> Standing {
    let row = &seen.row;
    Standing {
        why: row.waits_for.clone(),
        opens_at: row.opens_at,
        urgent: row.urgent,
        approved: row.approved,
        needed: row.needed,
    }
}

#[cfg(test)]
mod tests;
