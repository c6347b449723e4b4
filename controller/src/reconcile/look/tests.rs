use policy::certificate::Certificate;
use policy::finding::Code;
use policy::id::{CertificateId, Sha256};
use policy::peers::{Peer, Word};
use policy::report::{Fact, Probe, ProbeOutcome, ProbePath, Sight};

use super::*;
use crate::stage::{People, at, certificate, generation, later, noon, server, sight, verified};
use crate::store::{PlanRow, ServerRow};

/// A server and what is in force, to be changed by each test.
struct Stage {
    scene: Scene,
    policy: Policy,
    trust: TrustDocument,
    people: People,
    stopped: Option<String>,
    connected: bool,
    in_force: Held,
    now: Timestamp,
}

/// The certificate of most tests: it ends in eight days, so a renewal may run now.
fn ending() -> Certificate {
    certificate("EX1", (2026, 12, 1))
}

fn policy(extra: &str) -> Policy {
    Policy::from_toml(
        format!("estate = \"contoso\"\nversion = 1\nmode = \"propose\"\n[waves]\nsoak = \"60s\"\n{extra}").as_bytes(),
    )
    .expect("a policy")
}

fn stage(certificate: &Certificate) -> Stage {
    let people = People::new();
    let row = ServerRow {
        name: server("EX1"),
        generation: generation(1, 1),
        digest: None,
        seen_at: Some(noon()),
        verdict: None,
        decision: None,
        why: String::new(),
        mode: None,
        group: "dag:dag1".to_owned(),
        ad_site: None,
        thumbprint: None,
        certificate: None,
        not_after: None,
        agent_version: String::new(),
        held: Held::default(),
        next_look: None,
    };
    let scene = Scene {
        server: row,
        sight: sight("EX1", certificate),
        last: LastKnown::default(),
        assessment: None,
        plans: Vec::new(),
        peers: Vec::new(),
        neighbours: Vec::new(),
    };
    let trust = TrustDocument::from_bytes(&people.trust(1, 2).body).expect("a trust document");
    Stage { scene, policy: policy(""), trust, people, stopped: None, connected: true, in_force: Held::default(), now: noon() }
}

impl Stage {
    fn look(&self) -> Conclusion {
        let terms = Terms {
            policy: &self.policy,
            trust: Some(&self.trust),
            in_force: self.in_force,
            stopped: self.stopped.as_deref(),
            connected: self.connected,
            now: self.now,
        };
        look(&self.scene, &terms)
    }

    /// Looks, and does to the plans what the store does. Returns the life of the newest plan and why it stands there.
    fn step(&mut self) -> (Life, String) {
        let conclusion = self.look();
        self.scene.last = conclusion.last;
        for step in conclusion.moves {
            match step {
                Move::Propose { plan, standing } => self.scene.plans.insert(0, seen(*plan, &standing, self.now)),
                Move::Advance { plan, from, events, standing } => {
                    let now = self.now;
                    let row = self.row(plan);
                    assert_eq!(row.life, from);
                    row.life = events.iter().fold(from, |life, event| life.after(*event).expect("a move that a plan can make"));
                    row.changed_at = now;
                    stand(row, &standing);
                }
                Move::Note { plan, at, standing } => {
                    let row = self.row(plan);
                    assert_eq!(row.life, at);
                    stand(row, &standing);
                }
            }
        }
        let newest = self.scene.plans.first().expect("a plan");
        (newest.row.life, newest.row.waits_for.clone())
    }

    fn row(&mut self, id: PlanId) -> &mut PlanRow {
        &mut self.scene.plans.iter_mut().find(|seen| seen.row.id == id).expect("a plan").row
    }

    fn newest(&mut self) -> &mut PlanSeen {
        self.scene.plans.first_mut().expect("a plan")
    }

    fn approve(&mut self, who: &str, from: Timestamp, until: Timestamp) {
        let id = self.newest().row.id;
        let signed = self.people.approval(who, id, from, until);
        self.newest().approvals.push(verified(&signed));
    }

    /// Approved by both, until tomorrow.
    fn approved(&mut self) {
        self.step();
        self.approve("anna", noon(), later(86_400));
        self.approve("bert", noon(), later(86_400));
    }

    fn ended(&mut self, life: Life, ended_at: Timestamp) {
        let newest = self.newest();
        newest.row.life = life;
        newest.ended_at = Some(ended_at);
    }
}

fn stand(row: &mut PlanRow, standing: &Standing) {
    row.waits_for.clone_from(&standing.why);
    (row.opens_at, row.urgent, row.approved, row.needed) =
        (standing.opens_at, standing.urgent, standing.approved, standing.needed);
}

fn seen(plan: Plan, standing: &Standing, now: Timestamp) -> PlanSeen {
    let row = PlanRow {
        id: plan.id(),
        server: plan.host.clone(),
        purpose: plan.purpose,
        body: plan.to_bytes(),
        life: Life::Proposed,
        waits_for: standing.why.clone(),
        opens_at: standing.opens_at,
        urgent: standing.urgent,
        approved: standing.approved,
        needed: standing.needed,
        group: "dag:dag1".to_owned(),
        cancelled: false,
        created_at: now,
        changed_at: now,
    };
    PlanSeen { row, plan, approvals: Vec::new(), began_at: None, ended_at: None }
}

fn unread(sight: &mut Sight) {
    sight.report.stores = Fact::Unknown("access denied".to_owned());
}

#[test]
fn a_healthy_server_is_left_alone_until_its_certificate_nears_its_end() {
    let conclusion = stage(&certificate("EX1", (2027, 11, 23))).look();
    assert_eq!((conclusion.assessment.verdict, conclusion.decision.as_str()), (Verdict::Healthy, "leave_alone"));
    assert!(conclusion.moves.is_empty());
    assert_eq!(conclusion.next_look, Some(at("2027-09-24T00:00:00Z")), "60 days before the end");
}

#[test]
fn an_ending_certificate_is_proposed_once_and_the_same_look_again_changes_nothing() {
    let mut stage = stage(&ending());
    let (life, why) = stage.step();
    assert_eq!(life, Life::Proposed);
    assert!(why.contains("0 of 2 approvals"), "{why}");
    stage.step();
    assert!(stage.look().moves.is_empty());
    assert_eq!(stage.scene.plans.len(), 1);
}

#[test]
fn a_plan_waits_first_for_approvals_then_for_its_window_its_turn_and_its_agent() {
    let mut stage = stage(&ending());
    stage.step();
    stage.approve("anna", noon(), later(86_400));
    assert_eq!(stage.step(), (Life::Proposed, "1 of 2 approvals".to_owned()));
    stage.approve("anna", noon(), later(90_000));
    assert_eq!(stage.step().0, Life::Proposed, "persons are counted, not signatures");
    stage.approve("bert", noon(), later(86_400));
    let (windowless, frozen) =
        (policy(""), policy("[[freeze]]\nfrom = \"2026-11-20\"\nto = \"2026-11-25\"\nzone = \"UTC\"\nreason = \"payday\"\n"));
    stage.policy = frozen;
    stage.scene.neighbours =
        vec![Neighbour { server: server("EX2"), near: Near::Group, trouble: Trouble::Lost { verdict: Verdict::Deleted } }];
    stage.connected = false;
    stage.in_force.policy_version = 2;
    stage.in_force.policy = Some(Sha256([2; 32]));
    stage.stopped = Some("emergency stop 51b0f3b6b7a4".to_owned());
    let (life, why) = stage.step();
    assert_eq!((life, why.as_str()), (Life::Waiting, "emergency stop 51b0f3b6b7a4"));
    stage.stopped = None;
    let (life, why) = stage.step();
    assert_eq!(life, Life::Waiting);
    assert!(why.contains("payday"), "{why}");
    assert_eq!(stage.look().next_look, Some(later(86_400)), "the approvals run out before the freeze ends");
    stage.policy = windowless;
    assert!(stage.step().1.contains("EX2 of the same group is deleted"));
    stage.scene.neighbours.clear();
    assert!(stage.step().1.contains("not connected"));
    stage.connected = true;
    assert!(stage.step().1.contains("policy 0, in force are 0 and 2"));
    stage.scene.server.held = stage.in_force;
    assert_eq!(stage.step().0, Life::Offered);
    assert!(stage.look().moves.is_empty(), "from here on its agent has the word");
}

#[test]
fn a_renewal_that_is_approved_early_waits_until_it_may_run() {
    let mut stage = stage(&certificate("EX1", (2027, 1, 10)));
    stage.approved();
    let (life, why) = stage.step();
    assert_eq!((life, why.as_str()), (Life::Waiting, "it may run from 2026-12-11T00:00:00Z"));
}

#[test]
fn an_approval_that_is_not_in_force_yet_is_waited_for() {
    let mut stage = stage(&ending());
    stage.step();
    stage.approve("anna", noon(), later(86_400));
    stage.approve("bert", later(600), later(86_400));
    assert_eq!(stage.step().0, Life::Proposed);
    assert_eq!(stage.look().next_look, Some(later(600)));
    stage.now = later(600);
    assert_eq!(stage.step().0, Life::Offered);
}

#[test]
fn when_approvals_run_out_the_plan_expires_and_the_next_attempt_needs_new_ones() {
    let mut stage = stage(&ending());
    stage.approved();
    stage.connected = false;
    assert_eq!(stage.step().0, Life::Waiting);
    stage.now = later(86_400);
    assert_eq!(stage.step().0, Life::Expired);
    let (life, _) = stage.step();
    assert_eq!((life, stage.newest().plan.attempt, stage.newest().row.approved), (Life::Proposed, 2, 0));
}

#[test]
fn changed_facts_supersede_a_plan_and_propose_another() {
    let mut stage = stage(&ending());
    stage.approved();
    let first = stage.newest().row.id;
    stage.scene.sight = sight("EX1", &certificate("EX1", (2026, 12, 2)));
    let (life, _) = stage.step();
    assert_eq!((life, stage.row(first).life), (Life::Proposed, Life::Superseded));
    assert_ne!(stage.newest().row.id, first);
}

#[test]
fn a_fact_that_cannot_be_read_for_a_while_takes_no_approval_away() {
    let mut stage = stage(&ending());
    stage.approved();
    stage.connected = false;
    stage.step();
    let whole = stage.scene.sight.clone();
    unread(&mut stage.scene.sight);
    let (life, why) = stage.step();
    assert_eq!(life, Life::Waiting);
    assert!(why.starts_with("held: "), "{why}");
    stage.scene.sight = whole;
    stage.connected = true;
    assert_eq!(stage.step().0, Life::Offered);
}

#[test]
fn what_is_not_wanted_any_more_is_superseded() {
    let mut observed = stage(&ending());
    observed.step();
    observed.policy = Policy::from_toml(b"estate = \"contoso\"\nversion = 1\n").expect("a policy");
    assert_eq!(observed.step().0, Life::Superseded);
    let mut healed = stage(&ending());
    healed.step();
    healed.scene.sight = sight("EX1", &certificate("EX1", (2030, 1, 1)));
    assert_eq!(healed.step().0, Life::Superseded);
}

#[test]
fn nothing_is_proposed_or_superseded_while_a_plan_may_be_at_work() {
    let mut stage = stage(&ending());
    stage.approved();
    assert_eq!(stage.step().0, Life::Offered);
    stage.scene.sight = sight("EX1", &certificate("EX1", (2026, 12, 2)));
    assert!(stage.look().moves.is_empty());
    stage.newest().row.life = Life::Running;
    assert!(stage.look().moves.is_empty());
}

#[test]
fn a_rejected_plan_is_proposed_again_only_when_it_becomes_urgent() {
    let mut stage = stage(&ending());
    stage.step();
    stage.newest().row.life = Life::Withdrawn;
    stage.newest().row.waits_for = "withdrawn by person:carl: not now".to_owned();
    let conclusion = stage.look();
    assert!(conclusion.moves.is_empty());
    assert!(conclusion.why.contains("withdrawn by person:carl"), "{}", conclusion.why);
    assert_eq!(conclusion.next_look, Some(at("2026-11-28T00:00:00Z")), "three days before the end it is urgent");
    stage.now = at("2026-11-28T00:00:00Z");
    assert_eq!(stage.step().0, Life::Proposed);
    assert_eq!((stage.newest().plan.attempt, stage.newest().row.urgent), (2, true));
    stage.newest().row.life = Life::Withdrawn;
    assert!(stage.look().moves.is_empty(), "who rejects it when it is urgent has the last word");
}

#[test]
fn another_attempt_is_proposed_after_a_failure_and_none_on_facts_older_than_a_success() {
    for life in [Life::Failed, Life::Undone, Life::Refused, Life::Abandoned] {
        let mut stage = stage(&ending());
        stage.step();
        stage.ended(life, later(10));
        assert_eq!(stage.step().0, Life::Proposed, "after {}", life.as_str());
        assert_eq!(stage.newest().plan.attempt, 2);
    }
    let mut done = stage(&ending());
    done.step();
    done.ended(Life::Confirmed, later(10));
    assert!(done.look().moves.is_empty(), "the report is older than the receipt");
    done.scene.server.seen_at = Some(later(20));
    assert_eq!(done.step().0, Life::Proposed, "somebody put the old certificate back");
}

#[test]
fn a_result_is_confirmed_after_its_soak_and_only_while_the_server_is_healthy() {
    let mut stage = stage(&ending());
    stage.step();
    stage.ended(Life::Restored, later(10));
    stage.newest().began_at = Some(later(5));
    stage.newest().row.changed_at = later(10);
    stage.now = later(100);
    stage.scene.sight = sight("EX1", &certificate("EX1", (2030, 1, 1)));
    assert_eq!(stage.step().0, Life::Restored, "the newest report is from before it began");
    stage.scene.server.seen_at = Some(later(12));
    unread(&mut stage.scene.sight);
    assert_eq!(stage.step().0, Life::Restored, "nobody knows whether it is healthy");
    stage.scene.sight = sight("EX1", &certificate("EX1", (2030, 1, 1)));
    stage.now = later(60);
    assert_eq!(stage.step().0, Life::Restored);
    assert_eq!(stage.look().next_look, Some(later(70)));
    stage.now = later(70);
    assert_eq!(stage.step().0, Life::Confirmed);
}

/// A renewal that is done, its soak passed, and what its own handshake shows; seconds from noon.
fn soaked() -> (Stage, CertificateId) {
    let mut stage = stage(&ending());
    stage.step();
    stage.ended(Life::Restored, later(10));
    stage.newest().row.changed_at = later(10);
    let renewed = certificate("EX1", (2030, 1, 1));
    stage.scene.sight = sight("EX1", &renewed);
    let outcome = ProbeOutcome::Presented { certificate: renewed.id() };
    stage.scene.sight.report.probes = vec![Probe { port: 444, path: ProbePath::Loopback, outcome }];
    stage.scene.server.seen_at = Some(later(12));
    stage.now = later(70);
    (stage, renewed.id())
}

fn peer(stage: &Stage, name: &str, outcome: ProbeOutcome, before: Option<ProbeOutcome>) -> Peer {
    Peer { server: server(name), word: Some(Word { question: stage.scene.question(), outcome, before }), heard: true }
}

#[test]
fn who_looks_from_outside_confirms_a_result_or_holds_it_up() {
    let (mut stage, renewed) = soaked();
    let (shown, old) = (ProbeOutcome::Presented { certificate: renewed }, ProbeOutcome::Presented { certificate: ending().id() });
    stage.policy = policy("[peers]\nevery = \"5m\"\n");
    let silent = Peer { server: server("EX3"), word: None, heard: true };
    stage.scene.peers = vec![peer(&stage, "EX2", shown.clone(), Some(old.clone())), silent];
    assert_eq!(stage.step(), (Life::Restored, "waits for the peer check of EX3".to_owned()));
    assert_eq!(stage.look().next_look, Some(later(610)), "twice the time between two looks");

    stage.scene.peers = vec![
        peer(&stage, "EX2", shown.clone(), Some(old.clone())),
        peer(&stage, "EX3", ProbeOutcome::Refused, Some(old.clone())),
    ];
    let (life, why) = stage.step();
    assert_eq!(life, Life::Restored);
    assert!(why.starts_with("EX3 finds nobody on 444 of EX1: it is confirmed when that is over"), "{why}");
    assert!(stage.look().assessment.has(Code::Unreached));
    stage.now = later(90_000);
    assert_eq!(stage.step().0, Life::Restored, "no time makes it good");

    stage.scene.peers[1] = peer(&stage, "EX3", shown, Some(old));
    let (life, why) = stage.step();
    assert_eq!((life, why.as_str()), (Life::Confirmed, "healthy 1m after it was restored; EX2, EX3 are shown it too"));
}

#[test]
fn who_does_not_answer_is_not_waited_for_for_ever() {
    let (mut stage, renewed) = soaked();
    stage.policy = policy("[peers]\nevery = \"5m\"\n");
    let shown = ProbeOutcome::Presented { certificate: renewed };
    let stale = Word { question: Sha256([9; 32]), outcome: shown.clone(), before: None };
    stage.scene.peers = vec![peer(&stage, "EX2", shown, None), Peer { server: server("EX3"), word: Some(stale), heard: true }];
    stage.now = later(609);
    assert_eq!(stage.step().0, Life::Restored, "what EX3 said is about what stood there before");
    stage.now = later(610);
    let (life, why) = stage.step();
    assert_eq!((life, why.as_str()), (Life::Confirmed, "healthy 1m after it was restored; EX2 is shown it too; EX3 did not say"));
}

#[test]
fn after_a_start_peers_are_waited_for_that_are_not_connected_yet() {
    let (mut stage, renewed) = soaked();
    stage.policy = policy("[peers]\nevery = \"5m\"\n");
    let shown = ProbeOutcome::Presented { certificate: renewed };
    let away = Peer { server: server("EX3"), word: None, heard: false };
    let bad = Peer { heard: false, ..peer(&stage, "EX2", ProbeOutcome::Refused, Some(shown)) };
    stage.scene.peers = vec![away.clone()];
    assert_eq!(stage.step(), (Life::Restored, "waits for the peer check of EX3".to_owned()));
    stage.scene.peers = vec![bad, away];
    assert!(stage.step().1.starts_with("EX2 finds nobody"));
    assert!(!stage.look().assessment.has(Code::Unreached), "what EX2 said may be old");
    stage.now = later(610);
    let (life, why) = stage.step();
    assert_eq!((life, why.as_str()), (Life::Confirmed, "healthy 1m after it was restored; no other agent could say"));
}

#[test]
fn a_restore_waits_for_no_window_and_no_turn() {
    let mut stage = stage(&certificate("EX1", (2030, 1, 1)));
    stage.scene.last = stage.look().last;
    stage.scene.sight.report.records = Fact::Known(Vec::new());
    stage.policy = policy("[[freeze]]\nfrom = \"2026-11-20\"\nto = \"2026-11-25\"\nzone = \"UTC\"\nreason = \"payday\"\n");
    stage.scene.neighbours =
        vec![Neighbour { server: server("EX2"), near: Near::Group, trouble: Trouble::Lost { verdict: Verdict::Unbound } }];
    stage.approved();
    assert_eq!(stage.newest().plan.purpose.as_str(), "restore_record");
    let (life, why) = stage.step();
    assert_eq!((life, why.as_str()), (Life::Waiting, "it may run from 2026-11-23T12:02:00Z"), "but for the quiet time");
    stage.now = later(120);
    assert_eq!(stage.step().0, Life::Offered);
}

#[test]
fn two_of_a_group_that_are_lost_do_not_wait_for_each_other() {
    let mut stage = stage(&certificate("EX1", (2030, 1, 1)));
    stage.scene.sight.report.records = Fact::Known(Vec::new());
    stage.scene.sight.report.stores = Fact::Known(Vec::new());
    stage.scene.neighbours =
        vec![Neighbour { server: server("EX2"), near: Near::Group, trouble: Trouble::Lost { verdict: Verdict::Deleted } }];
    stage.approved();
    assert_eq!(stage.newest().plan.purpose.as_str(), "create", "nothing can be put back");
    stage.now = later(3_600);
    assert_eq!(stage.step(), (Life::Offered, "sent to its agent; no word from it yet".to_owned()));
    // Nor for one that is done and does not get well; but one at a time, also then.
    let waits = |life, dead| {
        let trouble = Trouble::AtWork { plan: Sha256([1; 32]), life, restores: false };
        turn(&[Neighbour { server: server("EX2"), near: Near::Group, trouble }], stage.policy.waves, dead).is_some()
    };
    assert_eq!(
        [waits(Life::Restored, true), waits(Life::Restored, false), waits(Life::Running, true), waits(Life::Offered, true)],
        [false, true, true, true]
    );
}

#[test]
fn what_is_beside_444_is_a_plan_of_its_own_and_neither_takes_the_place_of_the_other() {
    let mut stage = stage(&ending());
    stage.step();
    assert_eq!(stage.scene.plans.len(), 1, "the renewal");
    let report = &mut stage.scene.sight.report;
    report.machine.iis_redirected = Fact::Known(None);
    let Fact::Known(sites) = &mut report.sites else { panic!("sites are known") };
    sites[0].bindings[0].ssl_flags = 1;
    stage.step();
    let purposes = |stage: &Stage| -> Vec<(Purpose, Life)> {
        stage.scene.plans.iter().map(|seen| (seen.plan.purpose, seen.row.life)).collect()
    };
    assert_eq!(purposes(&stage), [(Purpose::FixBinding, Life::Proposed), (Purpose::Renew, Life::Proposed)]);
    // Both are approved: 444 goes first, the binding waits until nothing else is at work.
    for index in [0, 1] {
        let id = stage.scene.plans[index].row.id;
        for who in ["anna", "bert"] {
            let signed = stage.people.approval(who, id, noon(), later(86_400));
            stage.scene.plans[index].approvals.push(verified(&signed));
        }
    }
    stage.step();
    assert_eq!(purposes(&stage), [(Purpose::FixBinding, Life::Proposed), (Purpose::Renew, Life::Offered)]);
    stage.scene.plans[1].row.life = Life::Failed;
    stage.scene.plans[1].ended_at = Some(noon());
    // Put right by a person: its plan is not wanted any more, and the renewal is tried again.
    let Fact::Known(sites) = &mut stage.scene.sight.report.sites else { panic!("sites are known") };
    sites[0].bindings[0].ssl_flags = 0;
    stage.step();
    let life =
        |purpose| purposes(&stage).into_iter().filter(|(found, _)| *found == purpose).map(|(_, life)| life).collect::<Vec<_>>();
    assert_eq!(life(Purpose::FixBinding), [Life::Superseded]);
    assert_eq!(life(Purpose::Renew), [Life::Proposed, Life::Failed]);
}
