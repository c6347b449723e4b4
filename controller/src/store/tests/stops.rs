//! Emergency stops: in force from the moment they are kept, let go by enough approvers and by nobody else, and counted by the agents' word.

use std::collections::BTreeSet;

use policy::report::Fact;
use policy::stop::{MAX_STOPS, Stop, StopId};
use proto::signed::SignedBytes;

use crate::audit::Actor;
use crate::stage::{People, certificate, enrol, estate, later, noon, person, report, server, sight, store};
use crate::store::{Store, StoreError};

fn stop(servers: Option<&[&str]>, reason: &str) -> Stop {
    let servers = servers.map(|names| names.iter().map(|name| server(name)).collect());
    Stop { estate: estate(), servers, person: person("omar"), reason: reason.to_owned(), at: noon() }
}

async fn ruled(need: u32) -> (tempfile::TempDir, Store, People) {
    let (folder, store) = store().await;
    let people = People::new();
    people.rule(&store, need, crate::stage::PROPOSE).await;
    (folder, store, people)
}

async fn say_yes(store: &Store, signed: SignedBytes) -> Result<Vec<StopId>, StoreError> {
    store.add_resume(proto::signed::resume(&signed).expect("a yes"), signed, Actor::Person(person("olga")), later(9)).await
}

async fn held(store: &Store, name: &str) -> Vec<StopId> {
    store.stops_of(&server(name)).await.expect("reads").into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_stop_is_in_force_for_those_it_covers_until_as_many_as_are_needed_say_yes() {
    let (_folder, store, people) = ruled(2).await;
    let all = store.make_stop(stop(None, "all"), noon()).await.expect("kept");
    let one = store.make_stop(stop(Some(&["EX1"]), "one"), later(1)).await.expect("kept");
    assert_eq!(store.make_stop(stop(None, "all"), later(2)).await.expect("the same again"), all);
    assert_eq!((held(&store, "EX1").await, held(&store, "EX2").await), (vec![one, all], vec![all]));

    assert!(say_yes(&store, people.resume("anna", &[all, one], "found")).await.expect("kept").is_empty());
    assert!(say_yes(&store, people.resume("anna", &[all], "again")).await.expect("kept").is_empty(), "a person counts once");
    assert_eq!(held(&store, "EX2").await, [all]);
    assert_eq!(say_yes(&store, people.resume("bert", &[all], "found")).await.expect("kept"), [all]);
    assert_eq!((held(&store, "EX1").await, held(&store, "EX2").await), (vec![one], Vec::new()));
    assert!(say_yes(&store, people.resume("bert", &[all], "once more")).await.expect("kept").is_empty(), "it is let go once");

    // What an agent needs that still holds it: every yes that lists it.
    let yes = store.resumes(&BTreeSet::from([all])).await.expect("reads");
    assert_eq!(yes.len(), 4);
    let said = store.yes(&BTreeSet::from([all, one]), later(9)).await.expect("reads");
    assert_eq!((said[&all].len(), said[&one].len()), (2, 1));
    let rows = store.stops(true).await.expect("reads");
    assert_eq!(rows.iter().map(|row| (row.id, row.lifted_at)).collect::<Vec<_>>(), [(one, None), (all, Some(later(9)))]);
    let told = store.audit(0, 100).await.expect("reads");
    let told: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).filter(|action| action.starts_with("stop.")).collect();
    assert_eq!(told, ["stop.made", "stop.made", "stop.made", "stop.resume", "stop.resume", "stop.resume", "stop.resume"]);
}

#[tokio::test]
async fn a_yes_to_a_stop_that_never_was_is_refused_and_nothing_of_it_is_kept() {
    let (_folder, store, people) = ruled(1).await;
    let real = store.make_stop(stop(None, "all"), noon()).await.expect("kept");
    let never = StopId::of(b"never");
    let refused = say_yes(&store, people.resume("anna", &[real, never], "found")).await;
    assert!(matches!(refused, Err(StoreError::NoStop(id)) if id == never), "{refused:?}");
    assert_eq!(held(&store, "EX1").await, [real]);
    assert!(store.resumes(&BTreeSet::from([real])).await.expect("reads").is_empty());
}

#[tokio::test]
async fn who_is_stopped_is_what_the_agent_said_last() {
    let (_folder, store, _people) = ruled(1).await;
    let (first, second) = (StopId::of(b"1"), StopId::of(b"2"));
    store.note_stopped(&server("EX1"), BTreeSet::from([first, second])).await.expect("kept");
    store.note_stopped(&server("EX2"), BTreeSet::from([first])).await.expect("kept");
    let both = BTreeSet::from([server("EX1"), server("EX2")]);
    let stopped = store.stopped().await.expect("reads");
    assert_eq!((&stopped[&first], &stopped[&second]), (&both, &BTreeSet::from([server("EX1")])));
    // Said once more by an agent that comes back: nothing changes.
    store.note_stopped(&server("EX1"), BTreeSet::from([first, second])).await.expect("kept");
    assert_eq!(store.stopped().await.expect("reads"), stopped);
    store.note_stopped(&server("EX1"), BTreeSet::from([second])).await.expect("kept");
    assert_eq!(store.stopped().await.expect("reads")[&first], BTreeSet::from([server("EX2")]));
    store.note_stopped(&server("EX2"), BTreeSet::new()).await.expect("kept");
    let stopped = store.stopped().await.expect("reads");
    assert_eq!(stopped.keys().collect::<Vec<_>>(), [&second]);
}

#[tokio::test]
async fn there_are_never_more_stops_in_force_than_an_agent_keeps() {
    let (_folder, store, _people) = ruled(1).await;
    for number in 0..MAX_STOPS {
        store.make_stop(stop(None, &format!("stop {number}")), noon()).await.expect("kept");
    }
    let more = store.make_stop(stop(None, "one more"), noon()).await;
    assert!(matches!(more, Err(StoreError::TooManyStops)), "{more:?}");
}

#[tokio::test]
async fn a_group_is_who_is_in_it_now() {
    let (_folder, store, _people) = ruled(1).await;
    for name in ["EX1", "EX2"] {
        enrol(&store, name).await;
        let mut seen = sight(name, &certificate(name, (2031, 1, 1)));
        seen.report.host.dag = Fact::Known(Some("DAG1".to_owned()));
        seen.report.host.ad_site = Fact::Known("Berlin".to_owned());
        report(&store, &seen, 1, noon()).await;
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = BTreeSet::from([server("EX1"), server("EX2")]);
    assert_eq!(store.servers_of(&names(&["DAG1"]), &[]).await.expect("reads"), both);
    assert_eq!(store.servers_of(&[], &names(&["Berlin"])).await.expect("reads"), both);
    for (dags, sites) in [(names(&["Berlin"]), Vec::new()), (Vec::new(), names(&["DAG1"])), (names(&["DAG1", "x"]), Vec::new())] {
        let none = store.servers_of(&dags, &sites).await;
        assert!(matches!(none, Err(StoreError::NoGroup { .. })), "{none:?}");
    }
}
