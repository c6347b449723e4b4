use serde_json::json;
use tokio::task::JoinSet;

use crate::audit::{self, Actor, Head};
use crate::stage::{noon, store};
use crate::store::trail::tell;
use crate::store::{Store, StoreError};

async fn entries(store: &Store) -> Vec<audit::Entry> {
    let mut all = Vec::new();
    loop {
        let page = store.audit(all.len() as u64, 100).await.expect("a page");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test]
async fn hundreds_that_write_at_once_are_all_in_one_chain() {
    let (_folder, store) = store().await;
    let mut writers = JoinSet::new();
    for number in 0..300 {
        let store = store.clone();
        writers.spawn(async move { store.tell(Actor::Controller, "test.written", number.to_string(), json!({}), noon()).await });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("no panic").expect("written");
    }
    let all = entries(&store).await;
    assert_eq!(all.len(), 300);
    assert_eq!(audit::verify(Head::EMPTY, &all), Ok(store.audit_head().await.expect("a head")));
}

#[tokio::test]
async fn a_refused_write_leaves_nothing_and_takes_nothing_with_it() {
    let (_folder, store) = store().await;
    let mut writers = JoinSet::new();
    for number in 0..50 {
        let store = store.clone();
        writers.spawn(async move {
            store
                .writer()
                .write(move |connection| {
                    Box::pin(async move {
                        tell(connection, noon(), &Actor::Controller, "test.written", "x", json!({})).await?;
                        if number % 2 == 0 { Ok(()) } else { Err(StoreError::Token("refused after it wrote")) }
                    })
                })
                .await
                .is_ok()
        });
    }
    let mut written = 0;
    while let Some(done) = writers.join_next().await {
        written += u64::from(done.expect("no panic"));
    }
    let all = entries(&store).await;
    assert_eq!((written, all.len() as u64), (25, 25));
    assert!(audit::verify(Head::EMPTY, &all).is_ok());
}

#[tokio::test]
async fn when_the_database_fails_nobody_of_the_batch_is_told_that_it_is_written() {
    let (_folder, store) = store().await;
    // On one thread both are asked for before the writer takes up either: they stand in one transaction.
    let good = store.tell(Actor::Controller, "test.written", "good".to_owned(), json!({}), noon());
    let bad = store.writer().write(|connection| {
        Box::pin(async move {
            let failed = sqlx::query("INSERT INTO no_such_table VALUES (1)").execute(connection).await;
            failed.map(drop).map_err(|source| StoreError::Query { doing: "failing", source })
        })
    });
    let (good, bad) = tokio::join!(good, bad);
    assert!(matches!(good, Err(StoreError::NotCommitted(_))), "{good:?}");
    assert!(matches!(bad, Err(StoreError::NotCommitted(_))), "{bad:?}");
    assert_eq!(entries(&store).await.len(), 0);
    // And the writer goes on.
    store.tell(Actor::Controller, "test.written", "next".to_owned(), json!({}), noon()).await.expect("written");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_folder, store) = store().await;
    store.close().await;
    let late = store.tell(Actor::Controller, "test.written", "late".to_owned(), json!({}), noon()).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
}
