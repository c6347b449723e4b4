use policy::checkup::{Checkup, Kind};
use policy::id::ServerName;
use proto::checkup::Named;

use crate::stage::{enrol, later, looked, noon, server, store};
use crate::store::{Checkups, Store};

fn rehearsed(at: policy::Timestamp) -> Named {
    Named::new(Checkup { kind: Kind::Rehearsal, ..looked(at).checkup })
}

async fn kept(store: &Store, name: &str) -> Vec<Named> {
    store.checkups(&server(name)).await.expect("reads").into_all()
}

async fn audited(store: &Store) -> Vec<String> {
    let entries = store.audit(0, 100).await.expect("reads");
    entries.into_iter().filter(|entry| entry.action == "server.rehearsed").map(|entry| entry.detail).collect()
}

#[tokio::test]
async fn the_last_of_each_kind_is_kept_and_only_a_rehearsal_is_told_and_once() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    let ex1 = server("EX1");
    for named in [looked(noon()), rehearsed(noon()), looked(later(60)), rehearsed(noon())] {
        store.keep_checkup(&ex1, named, later(120)).await.expect("kept");
    }
    assert_eq!(kept(&store, "EX1").await, [looked(later(60)), rehearsed(noon())]);
    let told = audited(&store).await;
    assert!(matches!(told.as_slice(), [detail] if detail.contains("\"worst\":null")), "{told:?}");
}

#[tokio::test]
async fn a_page_of_servers_has_the_checkups_of_these_and_no_others() {
    let (_folder, store) = store().await;
    for name in ["EX1", "EX2", "EX3"] {
        enrol(&store, name).await;
        store.keep_checkup(&server(name), rehearsed(noon()), noon()).await.expect("kept");
    }
    let found = store.checkups_between(&server("EX2"), &server("EX3")).await.expect("reads");
    assert_eq!(found.keys().map(ServerName::as_str).collect::<Vec<_>>(), ["EX2", "EX3"]);
    assert_eq!(found[&server("EX2")].prospect(None, later(60)).to_string(), "yes, rehearsed 2026-11-23");
    assert_eq!(Checkups::default().prospect(None, later(60)).as_str(), "unknown");
}

#[tokio::test]
async fn another_machine_of_the_same_name_begins_with_none() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    store.keep_checkup(&server("EX1"), rehearsed(noon()), noon()).await.expect("kept");
    let ex1 = server("EX1");
    store
        .writer()
        .write(move |connection| Box::pin(async move { crate::store::servers::admit(connection, &ex1).await }))
        .await
        .expect("let in");
    assert!(kept(&store, "EX1").await.is_empty());
}
