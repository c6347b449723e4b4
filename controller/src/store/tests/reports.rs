use std::collections::BTreeSet;

use policy::id::Sha256;
use policy::last::LastKnown;

use crate::stage::{certificate, enrol, generation, later, noon, report, server, sight, store};
use crate::store::{Held, Recorded, Recording, Store, StoreError};

fn recording(epoch: u64, counter: u64, hold: Option<&str>) -> Recording {
    let mut seen = sight("EX1", &fixed());
    seen.report.hold = hold.map(str::to_owned);
    Recording {
        server: server("EX1"),
        generation: generation(epoch, counter),
        report: seen.report,
        memory: None,
        said: "healthy".to_owned(),
        seen_at: noon(),
    }
}

/// One certificate for all reports of this file: they must differ only where a test says so.
fn fixed() -> policy::certificate::Certificate {
    static MADE: std::sync::OnceLock<policy::certificate::Certificate> = std::sync::OnceLock::new();
    MADE.get_or_init(|| certificate("EX1", (2030, 1, 1))).clone()
}

async fn history(store: &Store) -> i64 {
    use sqlx::Row;
    sqlx::query("SELECT count(*) FROM history").fetch_one(store.readers()).await.expect("counts").get(0)
}

#[tokio::test]
async fn a_newer_report_takes_the_place_of_an_older_and_never_the_other_way() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    assert_eq!(store.record_report(recording(1, 2, None), noon()).await.expect("stored"), Recorded::Stored);
    let older = store.record_report(recording(1, 1, Some("other")), noon()).await.expect_err("older");
    assert_eq!(older.to_string(), "report of EX1: expected a generation above 1.2, found 1.1");
    // A host that was put back continues in a new epoch, whatever its counter.
    assert_eq!(store.record_report(recording(2, 1, Some("other")), noon()).await.expect("stored"), Recorded::Stored);
    let row = store.server(&server("EX1")).await.expect("reads").expect("is there");
    assert_eq!(row.generation, generation(2, 1));
    assert_eq!(row.digest, Some(recording(2, 1, Some("other")).report.digest()));
    assert_eq!(row.thumbprint, Some(fixed().thumbprint()));
    assert_eq!(row.group, "dag:dag1");
    let listed = store.listed(&server("EX1")).await.expect("reads").expect("is there");
    assert_eq!((listed.dag.as_deref(), listed.exchange.as_deref()), (Some("DAG1"), Some("15.2.1544.4")));
}

#[tokio::test]
async fn what_the_agent_remembers_counts_and_who_says_nothing_of_it_changes_nothing() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    store.record_report(recording(1, 1, None), noon()).await.expect("stored");
    let remembered = || async { store.scene(&server("EX1")).await.expect("reads").expect("reported").last };
    assert_eq!(remembered().await, LastKnown::default());
    // Of a state that this controller never saw.
    let memory = LastKnown::default().restored(later(5));
    let told = Recording { memory: Some(Box::new(memory.clone())), ..recording(1, 2, None) };
    store.record_report(told, later(10)).await.expect("stored");
    assert_eq!(remembered().await, memory);
    store.record_report(recording(1, 3, None), later(20)).await.expect("stored");
    assert_eq!(remembered().await, memory);
}

#[tokio::test]
async fn a_report_that_is_replayed_changes_nothing_and_another_of_its_generation_is_refused() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    store.record_report(recording(1, 1, None), noon()).await.expect("stored");
    assert_eq!(store.record_report(recording(1, 1, None), later(60)).await.expect("known"), Recorded::Known);
    let other = store.record_report(recording(1, 1, Some("other")), noon()).await;
    assert!(matches!(other, Err(StoreError::OtherDigest { .. })), "{other:?}");
    assert_eq!(store.listed(&server("EX1")).await.expect("reads").expect("is there").recorded_at, Some(noon()));
}

#[tokio::test]
async fn history_keeps_changes_and_not_repeats() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    for (counter, hold) in [(1, None), (2, None), (3, Some("held")), (4, Some("held")), (5, None)] {
        store.record_report(recording(1, counter, hold), later(counter.try_into().expect("small"))).await.expect("stored");
    }
    assert_eq!(history(&store).await, 3);
}

#[tokio::test]
async fn nobody_reports_for_a_server_that_is_not_enrolled() {
    let (_folder, store) = store().await;
    let error = store.record_report(recording(1, 1, None), noon()).await.expect_err("unknown");
    assert!(matches!(error, StoreError::NoServer(_)), "{error}");
}

#[tokio::test]
async fn certificates_are_kept_once_under_their_own_hash() {
    let (_folder, store) = store().await;
    let (first, second) = (certificate("EX1", (2030, 1, 1)), certificate("EX2", (2030, 1, 1)));
    let both = BTreeSet::from([first.id(), second.id()]);
    assert_eq!(store.certificates_missing(&both).await.expect("reads"), both);
    store.store_certificates(vec![first.der().to_vec(), first.der().to_vec()], noon()).await.expect("kept");
    assert_eq!(store.certificates_missing(&both).await.expect("reads"), BTreeSet::from([second.id()]));
    let found = store.certificates(&both).await.expect("reads");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(first.id(), first.der().to_vec())]);
}

#[tokio::test]
async fn servers_come_in_pages_by_name() {
    let (_folder, store) = store().await;
    for name in ["EX3", "EX1", "EX2"] {
        enrol(&store, name).await;
    }
    let first = store.servers(None, 2).await.expect("a page");
    let second = store.servers(first.last().map(|row| &row.name), 2).await.expect("a page");
    let names: Vec<String> = first.iter().chain(&second).map(|row| row.name.to_string()).collect();
    assert_eq!(names, ["EX1", "EX2", "EX3"]);
    assert!(store.servers(Some(&server("EX3")), 2).await.expect("a page").is_empty());
}

#[tokio::test]
async fn what_an_agent_holds_and_which_version_it_is_are_noted() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    let held = Held { trust: Some(Sha256([1; 32])), trust_version: 3, policy: None, policy_version: 0 };
    store.note_agent(&server("EX1"), Some("0.2.0".to_owned()), held).await.expect("noted");
    store
        .note_agent(&server("EX1"), None, Held { policy_version: 1, policy: Some(Sha256([2; 32])), ..held })
        .await
        .expect("noted");
    let row = store.server(&server("EX1")).await.expect("reads").expect("is there");
    assert_eq!((row.agent_version.as_str(), row.held.trust_version, row.held.policy), ("0.2.0", 3, Some(Sha256([2; 32]))));
}

#[tokio::test]
async fn a_scene_holds_the_report_and_the_certificates_that_are_at_hand() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    assert!(store.scene(&server("EX1")).await.expect("reads").is_none(), "before the first report there is nothing to look at");
    let seen = sight("EX1", &fixed());
    report(&store, &seen, 1, noon()).await;
    assert_eq!(store.scene(&server("EX1")).await.expect("reads").expect("is there").sight, seen);
}
