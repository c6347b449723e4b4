use policy::document::Policy;
use policy::id::{PlanId, ServerName};
use policy::life::Life;
use policy::plan::Der;
use policy::receipt::Outcome;
use proto::token::Secret;

use crate::audit::{self, Actor, Head};
use crate::reconcile::{Terms, look};
use crate::stage::{
    PROPOSE, People, certificate, enrol, key, knock, later, look_as, noon, person, receipt, report, server, sight, store,
    verified,
};
use crate::store::{Conclude, Held, IdentityState, Knock, PlanFilter, PlanRow, Settled, Store, StoreError};

async fn look_at(store: &Store, name: &ServerName, when: policy::Timestamp) -> Option<PlanRow> {
    assert_eq!(look_as(store, name, when).await.expect("written"), Conclude::Kept);
    let filter = PlanFilter { open_only: false, server: Some(name.clone()) };
    store.plans(&filter, None, 1).await.expect("reads").into_iter().next()
}

/// A store with two servers of one DAG whose certificates end in a week, and the plans that were proposed.
async fn proposed(need: u32) -> (tempfile::TempDir, Store, People, Vec<PlanRow>) {
    let (folder, store) = store().await;
    let people = People::new();
    people.rule(&store, need, PROPOSE).await;
    let mut plans = Vec::new();
    for name in ["EX1", "EX2"] {
        enrol(&store, name).await;
        report(&store, &sight(name, &certificate(name, (2026, 12, 1))), 1, noon()).await;
        plans.push(look_at(&store, &server(name), noon()).await.expect("a plan"));
    }
    (folder, store, people, plans)
}

async fn approve(store: &Store, people: &People, who: &str, plan: PlanId) {
    let signed = people.approval(who, plan, noon(), later(86_400));
    store.add_approval(verified(&signed), signed, Actor::Person(person(who)), noon()).await.expect("kept");
}

async fn life(store: &Store, plan: &PlanRow) -> Life {
    store.plan(&plan.id).await.expect("reads").expect("is there").life
}

async fn audit_holds(store: &Store) -> Vec<String> {
    let entries = store.audit(0, 1000).await.expect("a page");
    assert_eq!(audit::verify(Head::EMPTY, &entries), Ok(store.audit_head().await.expect("a head")));
    entries.into_iter().map(|entry| entry.action).collect()
}

#[tokio::test]
async fn a_plan_goes_from_proposal_to_confirmation_and_every_step_is_told() {
    let (_folder, store, people, plans) = proposed(2).await;
    let plan = &plans[0];
    assert_eq!((plan.life, plan.needed), (Life::Proposed, 2));
    approve(&store, &people, "anna", plan.id).await;
    assert_eq!(look_at(&store, &server("EX1"), noon()).await.expect("a plan").waits_for, "1 of 2 approvals");
    approve(&store, &people, "bert", plan.id).await;
    assert_eq!(look_at(&store, &server("EX1"), noon()).await.expect("a plan").life, Life::Offered);
    let offers = store.offers(&server("EX1")).await.expect("reads");
    assert_eq!((offers.len(), offers[0].id, offers[0].approvals.len()), (1, plan.id, 2));
    assert_eq!(offers[0].body, plan.body, "the bytes that were approved are the bytes that are sent");
    store.begun(&plan.id, &server("EX1"), noon()).await.expect("noted");
    store.begun(&plan.id, &server("EX1"), noon()).await.expect("said twice");
    assert_eq!(life(&store, plan).await, Life::Running);
    let done = receipt(plan.id, Outcome::Restored, later(60));
    assert_eq!(store.settle(&server("EX1"), done.clone(), later(60)).await.expect("settled"), Settled::Now);
    assert_eq!(store.settle(&server("EX1"), done.clone(), later(61)).await.expect("settled"), Settled::Before);
    assert_eq!(store.receipt(&plan.id).await.expect("reads"), Some(done));
    report(&store, &sight("EX1", &certificate("EX1", (2031, 12, 1))), 2, later(62)).await;
    assert_eq!(look_at(&store, &server("EX1"), later(63)).await.expect("a plan").life, Life::Restored, "it soaks");
    assert_eq!(look_at(&store, &server("EX1"), later(121)).await.expect("a plan").life, Life::Confirmed);
    let told = audit_holds(&store).await;
    for action in
        ["plan.proposed", "plan.approval", "plan.approved", "plan.offered", "plan.begun", "plan.restored", "plan.confirmed"]
    {
        assert!(told.iter().any(|told| told == action), "{action} is missing in {told:?}");
    }
}

#[tokio::test]
async fn of_one_group_one_plan_is_at_work_and_the_next_waits_until_it_is_confirmed() {
    let (_folder, store, people, plans) = proposed(1).await;
    for plan in &plans {
        approve(&store, &people, "anna", plan.id).await;
    }
    // Both looks read before either writes, as two controllers would.
    let policy = store.policy().await.expect("reads").expect("in force").policy().expect("policy").value;
    let trust = store.trust().await.expect("reads").expect("in force").trust().expect("trust").value;
    let terms =
        Terms { policy: &policy, trust: Some(&trust), in_force: Held::default(), stopped: None, connected: true, now: noon() };
    let mut conclusions = Vec::new();
    for name in ["EX1", "EX2"] {
        let scene = store.scene(&server(name)).await.expect("reads").expect("reported");
        conclusions.push((server(name), look(&scene, &terms)));
    }
    for (name, conclusion) in conclusions {
        store.conclude(&name, conclusion, noon()).await.expect("written");
    }
    assert_eq!((life(&store, &plans[0]).await, life(&store, &plans[1]).await), (Life::Offered, Life::Waiting));
    let waits = store.plan(&plans[1].id).await.expect("reads").expect("is there").waits_for;
    assert!(waits.contains("EX1"), "{waits}");
    store.settle(&server("EX1"), receipt(plans[0].id, Outcome::Restored, later(1)), later(1)).await.expect("settled");
    assert_eq!(look_at(&store, &server("EX2"), later(2)).await.expect("a plan").life, Life::Waiting, "it soaks, the wave waits");
    report(&store, &sight("EX1", &certificate("EX1", (2031, 12, 1))), 2, later(3)).await;
    look_at(&store, &server("EX1"), later(62)).await.expect("confirmed");
    assert_eq!(store.waiting_beside(&server("EX1")).await.expect("reads"), [server("EX2")]);
    assert_eq!(look_at(&store, &server("EX2"), later(63)).await.expect("a plan").life, Life::Offered);
}

#[tokio::test]
async fn a_server_that_is_retired_is_forgotten_and_what_was_done_there_is_not() {
    let (_folder, store, people, plans) = proposed(1).await;
    let (ex1, by) = (server("EX1"), || Actor::Person(person("omar")));
    approve(&store, &people, "anna", plans[0].id).await;
    look_at(&store, &ex1, noon()).await.expect("offered");
    let refused = store.retire(&ex1, "gone".to_owned(), by(), later(1)).await;
    assert!(matches!(&refused, Err(StoreError::UnderWay { plan, .. }) if *plan == plans[0].id), "{refused:?}");

    // Done, and never confirmed: those beside it wait, and a person may end that.
    store.settle(&ex1, receipt(plans[0].id, Outcome::Restored, later(60)), later(60)).await.expect("settled");
    store.retire(&ex1, "gone".to_owned(), by(), later(61)).await.expect("retired");
    store.retire(&server("EX2"), "gone, too".to_owned(), by(), later(62)).await.expect("retired");
    assert_eq!((life(&store, &plans[0]).await, life(&store, &plans[1]).await), (Life::Abandoned, Life::Withdrawn));
    assert!(store.servers(None, 10).await.expect("reads").is_empty());
    assert!(store.scene(&ex1).await.expect("reads").is_none() && store.expected().await.expect("reads").is_empty());
    let identities = store.identities(&ex1).await.expect("reads");
    assert_eq!((identities.len(), identities[0].state, identities[0].why.as_str()), (1, IdentityState::Evicted, "gone"));
    assert!(store.receipt(&plans[0].id).await.expect("reads").is_some());
    assert!(audit_holds(&store).await.ends_with(&["server.retired".to_owned(), "server.retired".to_owned()]));

    let again = store.retire(&ex1, "gone".to_owned(), by(), later(63)).await;
    assert!(matches!(again, Err(StoreError::NoServer(_))), "{again:?}");
    // The name is free for another machine, which begins anew.
    let secret = Secret::generate().expect("random");
    store.create_token(&server("EX2"), secret.hash(), 600, Actor::Console, later(64)).await.expect("a token");
    store.enrol(Knock { key_id: key("another"), ..knock("EX2", secret) }, later(64)).await.expect("enrolled");
    assert!(store.server(&server("EX2")).await.expect("reads").is_some_and(|row| row.digest.is_none()));
}

#[tokio::test]
async fn a_receipt_or_answer_of_another_server_is_refused() {
    let (_folder, store, people, plans) = proposed(1).await;
    approve(&store, &people, "anna", plans[0].id).await;
    look_at(&store, &server("EX1"), noon()).await.expect("offered");
    let settled = store.settle(&server("EX2"), receipt(plans[0].id, Outcome::Restored, noon()), noon()).await;
    assert!(matches!(settled, Err(StoreError::OtherServer { .. })), "{settled:?}");
    let begun = store.begun(&plans[0].id, &server("EX2"), noon()).await;
    assert!(matches!(begun, Err(StoreError::OtherServer { .. })), "{begun:?}");
    assert_eq!(life(&store, &plans[0]).await, Life::Offered);
}

#[tokio::test]
async fn a_plan_that_the_agent_made_is_written_down_with_its_receipt() {
    let (_folder, store, _people, plans) = proposed(1).await;
    let mut own = plans[0].plan().expect("reads");
    own.attempt = 7;
    let mut done = receipt(own.id(), Outcome::Restored, noon());
    done.plan_body = Some(Der(own.to_bytes()));
    done.standing = Some(policy::id::Sha256([4; 32]));
    assert_eq!(store.settle(&server("EX1"), done, noon()).await.expect("settled"), Settled::Now);
    let row = store.plan(&own.id()).await.expect("reads").expect("is there");
    assert_eq!(row.life, Life::Restored);
    assert!(row.waits_for.contains("standing approval"), "{}", row.waits_for);
    let last = store.scene(&server("EX1")).await.expect("reads").expect("reported").last;
    assert_eq!(last.restores, [noon()], "the limits on automatic restores count it");
}

#[tokio::test]
async fn a_receipt_whose_plan_is_not_what_it_says_is_kept_without_the_plan() {
    let (_folder, store, _people, plans) = proposed(1).await;
    let mut own = plans[0].plan().expect("reads");
    for (attempt, sender, altered) in [(7, "EX1", true), (8, "EX2", false)] {
        own.attempt = attempt;
        let mut done = receipt(own.id(), Outcome::Restored, noon());
        done.plan_body = Some(Der(if altered { b"something else".to_vec() } else { own.to_bytes() }));
        // Refused, it would come again for ever, and nothing else of this agent would come through.
        assert_eq!(store.settle(&server(sender), done, noon()).await.expect("kept"), Settled::Now);
        assert!(store.plan(&own.id()).await.expect("reads").is_none());
        let told = store.audit(0, 1_000).await.expect("a page").pop().expect("an entry");
        assert!(told.detail.contains("\"plan_body\":\"expected"), "{}", told.detail);
    }
}

#[tokio::test]
async fn a_failure_stops_the_wave_until_a_person_decides_about_the_next_attempt() {
    let (_folder, store, people, plans) = proposed(1).await;
    approve(&store, &people, "anna", plans[0].id).await;
    look_at(&store, &server("EX1"), noon()).await.expect("offered");
    store.settle(&server("EX1"), receipt(plans[0].id, Outcome::Undone, later(1)), later(1)).await.expect("settled");
    let second = look_at(&store, &server("EX1"), later(2)).await.expect("another attempt");
    assert_eq!((second.life, second.plan().expect("reads").attempt), (Life::Proposed, 2));
    approve(&store, &people, "anna", plans[1].id).await;
    let waits = look_at(&store, &server("EX2"), later(3)).await.expect("a plan");
    assert_eq!(waits.life, Life::Waiting);
    assert!(waits.waits_for.contains("a failure stops the wave"), "{}", waits.waits_for);
    store.reject(&second.id, None, person("carl"), "EX1 is looked after by hand".to_owned(), later(4)).await.expect("rejected");
    assert_eq!(look_at(&store, &server("EX2"), later(5)).await.expect("a plan").life, Life::Offered);
}

#[tokio::test]
async fn a_receipt_for_a_plan_that_nobody_remembers_is_kept_and_acknowledged() {
    let (_folder, store, _people, _plans) = proposed(1).await;
    let lost = receipt(policy::id::Sha256([3; 32]), Outcome::Undone, noon());
    assert_eq!(store.settle(&server("EX1"), lost.clone(), noon()).await.expect("settled"), Settled::Now);
    assert_eq!(store.settle(&server("EX1"), lost, noon()).await.expect("settled"), Settled::Before);
}

#[tokio::test]
async fn what_was_refused_and_is_done_later_by_the_agent_itself_is_learned() {
    let (_folder, store, people, plans) = proposed(1).await;
    approve(&store, &people, "anna", plans[0].id).await;
    look_at(&store, &server("EX1"), noon()).await.expect("offered");
    let refused = receipt(plans[0].id, Outcome::Refused, later(1));
    assert_eq!(store.settle(&server("EX1"), refused.clone(), later(1)).await.expect("settled"), Settled::Now);
    assert_eq!(life(&store, &plans[0]).await, Life::Refused);
    assert_eq!(store.settle(&server("EX1"), refused.clone(), later(2)).await.expect("settled"), Settled::Before);
    // The same facts give the same plan, and the same plan has the same id.
    let done = receipt(plans[0].id, Outcome::Restored, later(60));
    assert_eq!(store.settle(&server("EX1"), done.clone(), later(60)).await.expect("settled"), Settled::Now);
    assert_eq!(life(&store, &plans[0]).await, Life::Restored);
    assert_eq!(store.settle(&server("EX1"), refused, later(61)).await.expect("settled"), Settled::Before);
    assert_eq!(store.receipt(&plans[0].id).await.expect("reads").expect("is there"), done);
}

#[tokio::test]
async fn an_end_from_before_a_plan_was_proposed_does_not_leave_it_on_its_way_for_ever() {
    let (_folder, store, people, plans) = proposed(1).await;
    let (ex1, id) = (server("EX1"), plans[0].id);
    let scene = store.scene(&ex1).await.expect("reads").expect("reported");
    for (outcome, end) in [
        (Outcome::Refused, Life::Refused),
        (Outcome::Undone, Life::Undone),
        (Outcome::Failed, Life::Failed),
        (Outcome::Superseded, Life::Superseded),
        (Outcome::Restored, Life::Restored),
    ] {
        let (_folder, other) = crate::stage::store().await;
        people.rule(&other, 1, PROPOSE).await;
        enrol(&other, "EX1").await;
        // Somebody else had offered the very plan, or this store has forgotten it since.
        let before = receipt(id, outcome, noon());
        assert_eq!(other.settle(&ex1, before.clone(), noon()).await.expect("kept"), Settled::Now);
        report(&other, &scene.sight, 1, noon()).await;
        assert_eq!(look_at(&other, &ex1, noon()).await.expect("a plan").id, id);
        approve(&other, &people, "anna", id).await;
        assert_eq!(look_at(&other, &ex1, later(1)).await.expect("a plan").life, Life::Offered);
        // What was done is not done again: the agent answers with its receipt.
        if outcome != Outcome::Refused {
            let refused = receipt(id, Outcome::Refused, later(2));
            assert_eq!(other.settle(&ex1, refused, later(2)).await.expect("settled"), Settled::Before, "after {outcome:?}");
        }
        assert_eq!(other.settle(&ex1, before.clone(), later(2)).await.expect("settled"), Settled::Now);
        assert_eq!(life(&other, &plans[0]).await, end);
        assert_eq!(other.settle(&ex1, before, later(3)).await.expect("settled"), Settled::Before);
        audit_holds(&other).await;
    }
}

#[tokio::test]
async fn a_rejected_plan_is_withdrawn_and_one_that_is_under_way_is_called_back() {
    let (_folder, store, people, plans) = proposed(1).await;
    approve(&store, &people, "anna", plans[0].id).await;
    look_at(&store, &server("EX1"), noon()).await.expect("offered");
    let called = store.reject(&plans[0].id, None, person("carl"), "not today".to_owned(), noon()).await.expect("called back");
    assert_eq!((called.life, called.cancelled), (Life::Offered, true));
    assert!(store.offers(&server("EX1")).await.expect("reads")[0].cancelled);
    let withdrawn = store.reject(&plans[1].id, None, person("carl"), "never".to_owned(), noon()).await.expect("withdrawn");
    assert_eq!(withdrawn.life, Life::Withdrawn);
    assert!(matches!(
        store.reject(&plans[1].id, None, person("carl"), "again".to_owned(), noon()).await,
        Err(StoreError::Life { .. })
    ));
    let late = people.approval("anna", plans[1].id, noon(), later(60));
    let refused = store.add_approval(verified(&late), late, Actor::Console, noon()).await;
    assert!(matches!(refused, Err(StoreError::Life { .. })), "{refused:?}");
    audit_holds(&store).await;
}

#[tokio::test]
async fn a_plan_whose_fate_is_unknown_keeps_its_place_until_people_give_it_up() {
    let (_folder, store, people, plans) = proposed(1).await;
    approve(&store, &people, "anna", plans[0].id).await;
    look_at(&store, &server("EX1"), noon()).await.expect("offered");
    // The facts change, and all the same nothing else is proposed while it may be at work.
    report(&store, &sight("EX1", &certificate("EX1", (2026, 12, 2))), 2, later(1)).await;
    assert_eq!(look_at(&store, &server("EX1"), later(2)).await.expect("a plan").id, plans[0].id);
    assert_eq!(life(&store, &plans[0]).await, Life::Offered);
    assert!(matches!(
        store.abandon(&plans[1].id, None, person("carl"), "x".to_owned(), noon()).await,
        Err(StoreError::Life { .. })
    ));
    store.abandon(&plans[0].id, None, person("carl"), "the host is gone".to_owned(), later(3)).await.expect("given up");
    let next = look_at(&store, &server("EX1"), later(4)).await.expect("a plan");
    assert_eq!((next.id == plans[0].id, next.life), (false, Life::Proposed));
    // What people gave up stays given up, whatever its agent says in the end.
    store.settle(&server("EX1"), receipt(plans[0].id, Outcome::Restored, later(5)), later(5)).await.expect("settled");
    assert_eq!(life(&store, &plans[0]).await, Life::Abandoned);
}

#[tokio::test]
async fn a_look_that_was_overtaken_by_a_report_or_a_restore_writes_nothing() {
    let (_folder, store, _people, plans) = proposed(1).await;
    let conclude = async |scene: crate::store::Scene| {
        let policy = Policy::none_yet(crate::stage::estate());
        let terms =
            Terms { policy: &policy, trust: None, in_force: Held::default(), stopped: None, connected: true, now: later(9) };
        store.conclude(&server("EX1"), look(&scene, &terms), later(9)).await.expect("answered")
    };
    let scene = async || store.scene(&server("EX1")).await.expect("reads").expect("reported");
    let before = scene().await;
    let mut own = plans[0].plan().expect("reads");
    own.attempt = 9;
    let mut done = receipt(own.id(), Outcome::Restored, later(1));
    (done.plan_body, done.standing) = (Some(Der(own.to_bytes())), Some(policy::id::Sha256([4; 32])));
    store.settle(&server("EX1"), done, later(1)).await.expect("settled");
    assert_eq!(conclude(before).await, Conclude::Outdated, "it does not know of the restore");
    let before = scene().await;
    report(&store, &sight("EX1", &certificate("EX1", (2031, 1, 1))), 2, later(2)).await;
    assert_eq!(conclude(before).await, Conclude::Outdated, "it does not know of the report");
    let now = scene().await;
    assert_eq!((now.last.restores.len(), now.server.mode.as_deref()), (1, Some("propose")));
    assert_eq!(conclude(now).await, Conclude::Kept);
}

#[tokio::test]
async fn plans_are_found_by_the_beginning_of_their_id() {
    let (_folder, store, _people, plans) = proposed(1).await;
    let id = plans[0].id.to_string();
    assert_eq!(store.plan_by_prefix(&id[..12]).await.expect("found").id, plans[0].id);
    assert_eq!(store.plan_by_prefix(&id.to_uppercase()).await.expect("found").id, plans[0].id);
    assert!(matches!(store.plan_by_prefix("").await, Err(StoreError::NoPlan(_))));
    assert!(matches!(store.plan_by_prefix("zz").await, Err(StoreError::NoPlan(_))));
    let page = store.plans(&PlanFilter::default(), None, 1).await.expect("a page");
    let cursor = crate::store::PlanCursor { created_at: page[0].created_at, id: page[0].id };
    let next = store.plans(&PlanFilter::default(), Some(cursor), 10).await.expect("a page");
    assert_eq!(next.len(), 1);
    assert_ne!(next[0].id, page[0].id);
}
