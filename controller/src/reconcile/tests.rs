use std::future::poll_fn;
use std::pin::pin;

use super::*;
use crate::audit::Actor;
use crate::parts::Parts;
use crate::stage::{PROPOSE, People, certificate, enrol, later, look_as, noon, parts, person, report, server, sight, verified};
use crate::store::PlanFilter;

#[test]
fn a_server_has_one_time_and_is_due_once() {
    let mut timer = Timer::default();
    timer.set(server("EX1"), Some(Span::seconds(60).after(noon())));
    timer.set(server("EX1"), Some(Span::seconds(10).after(noon())));
    timer.set(server("EX2"), Some(Span::seconds(20).after(noon())));
    assert!(timer.due(noon()).is_empty());
    assert_eq!(timer.due(Span::seconds(20).after(noon())), [server("EX1"), server("EX2")]);
    assert!(timer.due(Timestamp::MAX).is_empty());
    timer.set(server("EX1"), Some(noon()));
    timer.set(server("EX1"), None);
    assert!(timer.due(Timestamp::MAX).is_empty());
}

#[test]
fn the_timer_sleeps_until_the_first_time_and_never_long() {
    let mut timer = Timer::default();
    assert_eq!(timer.sleep(noon()), LONGEST_SLEEP);
    timer.set(server("EX1"), Some(Span::days(300).after(noon())));
    assert_eq!(timer.sleep(noon()), LONGEST_SLEEP);
    timer.set(server("EX2"), Some(Span::seconds(2).after(noon())));
    assert_eq!(timer.sleep(noon()), Duration::from_millis(2001));
    assert_eq!(timer.sleep(Span::seconds(2).after(noon())), Duration::ZERO);
}

#[test]
fn a_server_that_is_nudged_a_hundred_times_is_looked_at_once() {
    let nudge = Nudge::default();
    for _ in 0..100 {
        nudge.look(&server("EX1"));
    }
    assert_eq!(nudge.names().len(), 1);
}

/// A renewal that was just approved, of a server whose agent is away.
async fn just_approved(parts: &Parts) -> Shared {
    let Parts { store, connections, nudge, metrics, clock, .. } = parts.clone();
    let people = People::new();
    people.rule(&store, 1, PROPOSE).await;
    enrol(&store, "EX1").await;
    report(&store, &sight("EX1", &certificate("EX1", (2026, 12, 1))), 1, noon()).await;
    look_as(&store, &server("EX1"), noon()).await.expect("proposed");
    let plan = store.plans(&PlanFilter::default(), None, 1).await.expect("reads").remove(0);
    let approval = people.approval("anna", plan.id, noon(), later(86_400));
    store.add_approval(verified(&approval), approval, Actor::Person(person("anna")), noon()).await.expect("kept");
    let shared =
        Shared { reconciler: Reconciler { store, connections, nudge, metrics, clock }, documents: in_force::Cache::default() };
    let held = shared.documents.read(&shared.reconciler.store).await.expect("in force").held;
    shared.reconciler.store.note_agent(&server("EX1"), None, held).await.expect("noted");
    shared
}

#[tokio::test]
async fn an_agent_that_comes_while_its_server_is_looked_at_is_sent_what_was_approved() {
    let ex1 = server("EX1");
    let mut met = 0;
    for moment in 0.. {
        let (_folder, parts) = parts().await;
        let shared = just_approved(&parts).await;
        let Parts { store, connections, nudge, .. } = &parts;
        let comes = Notify::new();
        // The agent comes at one pause of the look after the other.
        let mut pauses = 0;
        let mut looking = pin!(shared.look(&ex1));
        let look = poll_fn(|context| {
            let polled = looking.as_mut().poll(context);
            if polled.is_ready() || pauses == moment {
                comes.notify_one();
            }
            pauses += 1;
            polled
        });
        // As its session does.
        let session = async {
            comes.notified().await;
            let seat = connections.open(&ex1, noon());
            if store.is_awaited(&ex1).await.expect("reads") {
                nudge.look(&ex1);
            }
            seat
        };
        let (_, _seat) = tokio::join!(look, session);
        let was_there = moment < pauses;
        while nudge.names().pop_first().is_some() {
            shared.look(&ex1).await;
        }
        let offered = store.offers(&ex1).await.expect("reads");
        assert_eq!(offered.len(), 1, "the agent came at pause {moment}, and is sent nothing");
        if !was_there {
            break;
        }
        met = moment;
    }
    assert!(met > 2, "a look has more pauses than {met}");
}
