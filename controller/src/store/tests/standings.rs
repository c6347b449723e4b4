use policy::certificate::Certificate;
use policy::finding::Verdict;
use policy::receipt::Outcome;
use proto::token::Secret;

use crate::audit::Actor;
use crate::stage::look_as;
use crate::stage::{
    PROPOSE, People, certificate, enrol, key, knock, later, noon, person, receipt, report, server, sight, store, verified,
};
use crate::store::{Alone, Change, Conclude, Knock, PlanFilter, Standing, Store};

async fn look_at(store: &Store, when: policy::Timestamp) {
    assert_eq!(look_as(store, &server("EX1"), when).await.expect("written"), Conclude::Kept);
}

async fn stood(store: &Store, seconds: u32) -> Option<Standing> {
    store.standings(later(seconds), None, 10).await.expect("reads").into_iter().next()
}

async fn changes(store: &Store, until: u32) -> Vec<Change> {
    store.changes((noon(), later(until)), None, 10).await.expect("reads")
}

/// A server with a healthy back end, seen at noon.
async fn watched() -> (tempfile::TempDir, Store, Certificate) {
    let (folder, store) = store().await;
    let people = People::new();
    people.rule(&store, 1, PROPOSE).await;
    enrol(&store, "EX1").await;
    let good = certificate("EX1", (2031, 12, 1));
    store.store_certificates(vec![good.der().to_vec()], noon()).await.expect("kept");
    report(&store, &sight("EX1", &good), 1, noon()).await;
    look_at(&store, noon()).await;
    (folder, store, good)
}

#[tokio::test]
async fn a_server_that_is_left_alone_takes_one_row_however_often_it_is_looked_at() {
    let (_folder, store, good) = watched().await;
    for (counter, after) in [(2, 1_000), (3, 2_000)] {
        report(&store, &sight("EX1", &good), counter, later(after)).await;
        look_at(&store, later(after)).await;
    }
    assert_eq!(store.standings(policy::Timestamp::UNIX_EPOCH, None, 10).await.expect("reads"), [], "it had not joined");
    let stands = stood(&store, 3_000).await.expect("it stands");
    assert_eq!((stands.since, stands.alone.bound_since, stands.alone.watched_since), (noon(), noon(), noon()));
    assert_eq!((stands.verdict, stands.thumbprint), (Verdict::Healthy, Some(good.thumbprint())));
    assert_eq!(stands.certificate.as_deref(), Some(good.der()));
    assert_eq!(changes(&store, 3_000).await, []);
    assert_eq!(stands.alone.not_before, Some(good.not_before()));
}

#[test]
fn a_server_is_untouched_since_its_certificate_was_made_or_since_the_last_change_that_is_known() {
    let made = policy::Timestamp::UNIX_EPOCH;
    let alone = Alone { bound_since: noon(), watched_since: noon(), not_before: Some(made), touched_at: None };
    assert_eq!(alone.since(), made, "it stood there when we came");
    assert_eq!(Alone { not_before: None, ..alone }.since(), noon(), "what is not at hand says nothing");
    assert_eq!(Alone { bound_since: later(100), ..alone }.since(), later(100), "somebody put it there, we saw it");
    assert_eq!(Alone { touched_at: Some(later(50)), ..alone }.since(), later(50), "we put it back");
    let refused = Alone { bound_since: later(100), touched_at: Some(later(50)), ..alone };
    assert_eq!(refused.since(), later(100), "and somebody put another one there");
}

#[tokio::test]
async fn a_list_says_of_each_server_how_long_it_was_left_alone_as_a_report_of_now_does() {
    let (_folder, store, good) = watched().await;
    enrol(&store, "EX2").await;
    let other = certificate("EX1", (2031, 12, 2));
    let same = async |seconds: u32| {
        let listed = store.servers(None, 10).await.expect("reads");
        let alone: Vec<_> = listed.iter().map(|listed| (listed.name.as_str(), listed.alone)).collect();
        let stands = stood(&store, seconds).await.map(|standing| standing.alone);
        assert_eq!(alone, [("EX1", stands), ("EX2", None)]);
        assert_eq!(store.listed(&server("EX1")).await.expect("reads").as_ref(), listed.first());
        stands.map(|alone| alone.since())
    };
    assert_eq!(same(10).await, Some(good.not_before()));
    report(&store, &sight("EX1", &other), 2, later(5_000)).await;
    look_at(&store, later(5_000)).await;
    assert_eq!(same(6_000).await, Some(later(5_000)));
    store.retire(&server("EX1"), "replaced".to_owned(), Actor::Person(person("omar")), later(7_000)).await.expect("retired");
    assert_eq!(store.listed(&server("EX1")).await.expect("reads"), None);
}

#[tokio::test]
async fn what_somebody_else_put_on_444_is_a_change_that_no_plan_made() {
    let (_folder, store, good) = watched().await;
    let other = certificate("EX1", (2031, 12, 2));
    report(&store, &sight("EX1", &other), 2, later(5_000)).await;
    look_at(&store, later(5_000)).await;
    let found = changes(&store, 9_000).await;
    let [Change { at, server: on, rebound, plan }] = &found[..] else { panic!("expected one change, found {found:?}") };
    assert_eq!((*at, on, plan), (later(5_000), &server("EX1"), &None));
    assert_eq!(*rebound, Some((Some(good.thumbprint()), Some(other.thumbprint()))));
    let (before, after) = (stood(&store, 4_999).await.expect("stood"), stood(&store, 5_000).await.expect("stands"));
    assert_eq!((before.thumbprint, before.alone.bound_since), (Some(good.thumbprint()), noon()));
    assert_eq!(
        (after.thumbprint, after.alone.bound_since, after.alone.watched_since),
        (Some(other.thumbprint()), later(5_000), noon())
    );
    // The page behind it is empty.
    assert_eq!(store.changes((noon(), later(9_000)), Some(found[0].cursor()), 10).await.expect("reads"), []);
}

#[tokio::test]
async fn a_renewal_is_one_change_with_who_approved_it_and_what_it_put_there() {
    let (_folder, store) = store().await;
    let people = People::new();
    people.rule(&store, 1, PROPOSE).await;
    enrol(&store, "EX1").await;
    let (old, new) = (certificate("EX1", (2026, 12, 1)), certificate("EX1", (2031, 12, 1)));
    report(&store, &sight("EX1", &old), 1, noon()).await;
    look_at(&store, noon()).await;
    let plan = store.plans(&PlanFilter::default(), None, 1).await.expect("reads").remove(0);
    let signed = people.approval("anna", plan.id, noon(), later(86_400));
    store.add_approval(verified(&signed), signed, Actor::Person(person("anna")), noon()).await.expect("kept");
    look_at(&store, noon()).await;
    store.settle(&server("EX1"), receipt(plan.id, Outcome::Restored, later(60)), later(60)).await.expect("settled");
    report(&store, &sight("EX1", &new), 2, later(61)).await;
    look_at(&store, later(61)).await;
    let found = changes(&store, 9_000).await;
    let [Change { at, rebound, plan: Some(done), .. }] = &found[..] else { panic!("expected one change, found {found:?}") };
    assert_eq!(*at, later(60));
    assert_eq!(*rebound, Some((Some(old.thumbprint()), Some(new.thumbprint()))));
    assert_eq!((done.row.id, done.receipt.outcome), (plan.id, Outcome::Restored));
    let [approval] = &done.approvals[..] else { panic!("expected one approval, found {:?}", done.approvals) };
    assert_eq!(approval.verified().expect("signed").value.person, person("anna"));
    assert_eq!(stood(&store, 100).await.expect("stands").alone.touched_at, Some(later(60)));
    assert_eq!(stood(&store, 59).await.expect("stood").alone.touched_at, None);
    let listed = store.listed(&server("EX1")).await.expect("reads").expect("is there");
    assert_eq!(listed.alone.expect("looked at"), stood(&store, 100).await.expect("stands").alone);
}

#[tokio::test]
async fn what_cannot_be_read_for_a_while_is_not_taken_for_a_change() {
    let (_folder, store, good) = watched().await;
    let mut blind = sight("EX1", &good);
    blind.report.records = policy::report::Fact::Unknown("access denied".to_owned());
    report(&store, &blind, 2, later(100)).await;
    look_at(&store, later(100)).await;
    let meanwhile = stood(&store, 150).await.expect("stands");
    assert_eq!((meanwhile.verdict, meanwhile.thumbprint), (Verdict::Unknown, Some(good.thumbprint())));
    report(&store, &sight("EX1", &good), 3, later(200)).await;
    look_at(&store, later(200)).await;
    let again = stood(&store, 250).await.expect("stands");
    assert_eq!((again.since, again.alone.bound_since), (later(200), noon()));
    assert_eq!(changes(&store, 300).await, []);
}

#[tokio::test]
async fn a_retired_server_stood_until_it_was_retired_and_one_of_its_name_begins_anew() {
    let (_folder, store, _good) = watched().await;
    store.retire(&server("EX1"), "replaced".to_owned(), Actor::Person(person("omar")), later(500)).await.expect("retired");
    assert!(stood(&store, 499).await.is_some());
    assert_eq!(stood(&store, 500).await, None);
    let another = Secret::generate().expect("random");
    store.create_token(&server("EX1"), another.hash(), 600, Actor::Console, later(501)).await.expect("a token");
    let knock = Knock { key_id: key("another"), machine_id: "another".to_owned(), ..knock("EX1", another) };
    store.enrol(knock, later(502)).await.expect("enrolled");
    report(&store, &sight("EX1", &certificate("EX1", (2031, 12, 3))), 1, later(600)).await;
    look_at(&store, later(600)).await;
    let anew = stood(&store, 600).await.expect("stands");
    assert_eq!((anew.alone.bound_since, anew.alone.watched_since), (later(600), later(600)));
    assert_eq!(changes(&store, 900).await, [], "it is another machine, nobody changed this one");
}

#[tokio::test]
async fn what_held_for_the_estate_is_told_as_of_the_moment() {
    let (_folder, store, _good) = watched().await;
    let held = store.held_at(later(1)).await.expect("reads");
    assert_eq!((held.policy, held.audit), (1, store.audit_head().await.expect("a head")));
    let before = store.held_at(policy::Timestamp::UNIX_EPOCH).await.expect("reads");
    assert_eq!((before.policy, before.audit.sequence), (0, 0));
}
