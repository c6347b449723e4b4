//! A store that was put back from a backup: what the copy holds, what it forgot, and what agents bring back.

use std::path::PathBuf;

use policy::stop::Stop;
use proto::token::Secret;

use crate::audit::{Actor, Head};
use crate::session::Remembered;
use crate::stage::{PROPOSE, People, enrol, estate, key, knock, later, noon, person, server, store};
use crate::store::backup::{copy, inspect, mark_in_place, put_back};
use crate::store::{Forgotten, IdentityState, Store, StoreError};

/// A store with two servers, copied at noon, that goes on afterwards.
struct Kept {
    folder: tempfile::TempDir,
    people: People,
    seen: Head,
    stop: Stop,
}

impl Kept {
    async fn new() -> Self {
        let (folder, store) = store().await;
        let people = People::new();
        people.rule(&store, 1, PROPOSE).await;
        enrol(&store, "EX1").await;
        enrol(&store, "EX2").await;
        assert!(store.begin_session(key("EX1"), Vec::new(), vec![1; 16]).await.expect("begun"));
        copy(&folder.path().join("backstay.db"), &folder.path().join("copy")).await.expect("copied while a controller works");
        // What the copy does not know.
        assert!(store.begin_session(key("EX1"), vec![1; 16], vec![2; 16]).await.expect("begun"));
        let policy = people.policy(&next_policy(&store).await);
        let read = proto::signed::policy(&policy).expect("a policy");
        store.apply_policy(read, policy, Actor::Console, later(1)).await.expect("applied");
        let stop = Stop { estate: estate(), servers: None, person: person("omar"), reason: "smoke".to_owned(), at: later(2) };
        store.make_stop(stop.clone(), later(2)).await.expect("made");
        let seen = store.audit_head().await.expect("a head");
        store.close().await;
        drop(store);
        Self { folder, people, seen, stop }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("backstay.db")
    }

    async fn put_back(&self) -> Store {
        let done =
            put_back(&self.folder.path().join("copy"), &self.path(), &estate(), noon(), later(60)).await.expect("put back");
        assert_eq!(done.awaited, 2);
        assert!(done.aside.expect("the old one is kept").exists());
        Store::open(&self.path(), &estate(), later(61)).await.expect("opens")
    }
}

async fn next_policy(store: &Store) -> String {
    let held = store.policy().await.expect("reads").expect("a policy");
    PROPOSE.replace("version = 1", &format!("version = 2\nprevious = \"{}\"", held.id))
}

#[tokio::test]
async fn what_is_put_back_awaits_every_server_and_takes_what_each_one_proves() {
    let kept = Kept::new().await;
    let old = {
        let store = Store::open(&kept.path(), &estate(), later(3)).await.expect("opens");
        let signed = |document: Option<crate::store::Document>| document.expect("one").signed;
        let documents = (signed(store.trust().await.expect("reads")), signed(store.policy().await.expect("reads")));
        store.close().await;
        drop(store);
        documents
    };
    let store = kept.put_back().await;
    assert_eq!(store.policy().await.expect("reads").expect("one").version, 1, "the copy is from before");
    let (restore, awaited) = (store.last_restore().await.expect("reads").expect("one"), store.awaited().await.expect("reads"));
    assert_eq!((restore.made_at, awaited.len()), (Some(noon()), 2));
    let identity = store.identity(&key("EX1")).await.expect("reads").expect("one");
    assert!(identity.lineage.is_empty() && identity.epoch >= later(60).as_second().unsigned_abs(), "{identity:?}");
    assert!(store.begin_session(key("EX1"), vec![2; 16], vec![3; 16]).await.expect("begun"), "whatever lineage it presents");
    assert!(!store.begin_session(key("EX1"), vec![2; 16], vec![4; 16]).await.is_ok_and(|begun| !begun), "and its next");

    let (trust, policy) = old.clone();
    let remembered = Remembered { trust, policy: Some(policy), stops: vec![kept.stop.to_bytes()] };
    let adopted = store.adopt(&server("EX1"), remembered.clone(), Some(kept.seen), later(62)).await.expect("taken");
    assert_eq!(adopted.taken, ["policy", "emergency stop"]);
    assert!(adopted.refused.is_empty(), "{adopted:?}");
    assert_eq!(adopted.lost, Some((restore.head.sequence + 1, kept.seen.sequence)));
    assert_eq!(store.policy().await.expect("reads").expect("one").version, 2);
    assert_eq!(store.stops_of(&server("EX2")).await.expect("reads").len(), 1);
    assert!(!store.awaits(&server("EX1")).await.expect("reads") && store.awaits(&server("EX2")).await.expect("reads"));
    let again = store.adopt(&server("EX1"), remembered, Some(kept.seen), later(63)).await.expect("taken");
    assert!(again.taken.is_empty(), "told twice, taken once");

    store.go_without(&server("EX2"), "gone".to_owned(), Actor::Console, later(64)).await.expect("decided");
    let twice = store.go_without(&server("EX2"), "gone".to_owned(), Actor::Console, later(65)).await;
    assert!(matches!(twice, Err(StoreError::NotAwaited(name)) if name == server("EX2")));
    let told = store.audit(0, 100).await.expect("reads");
    let told: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).skip(kept.seen.sequence as usize - 2).collect();
    assert_eq!(told, ["store.restored", "policy.applied", "stop.made", "agent.remembered", "agent.gone_without"]);
}

#[tokio::test]
async fn a_document_that_proves_nothing_is_not_taken_and_the_server_awaited_no_longer() {
    let kept = Kept::new().await;
    let store = kept.put_back().await;
    let thief = People::new();
    let forged = PROPOSE.replace("version = 1", &format!("version = 9\nprevious = \"{}\"", key("x")));
    let remembered = Remembered { trust: thief.trust(9, 1), policy: Some(thief.policy(&forged)), stops: vec![b"{}".to_vec()] };
    let adopted = store.adopt(&server("EX1"), remembered, None, later(62)).await.expect("judged");
    assert!(adopted.taken.is_empty(), "{adopted:?}");
    assert_eq!(adopted.refused.len(), 3, "{adopted:?}");
    assert_eq!(store.trust().await.expect("reads").expect("one").version, 1);
    assert!(!store.awaits(&server("EX1")).await.expect("reads"));
    // A policy that enough approvers signed is taken, though the one before it never came here.
    let missed = kept.people.policy(&forged);
    let remembered = Remembered { trust: kept.people.trust(1, 1), policy: Some(missed), stops: Vec::new() };
    assert_eq!(store.adopt(&server("EX2"), remembered, None, later(63)).await.expect("judged").taken, ["policy"]);
}

#[tokio::test]
async fn a_machine_that_the_store_forgot_waits_for_a_person_and_an_open_token_is_good_no_longer() {
    let (folder, store) = store().await;
    People::new().rule(&store, 1, PROPOSE).await;
    let secret = Secret::generate().expect("random");
    store.create_token(&server("EX3"), secret.hash(), 600, Actor::Console, noon()).await.expect("a token");
    store.close().await;
    drop(store);
    let path = folder.path().join("backstay.db");
    mark_in_place(&path, &estate(), later(1)).await.expect("marked");
    let store = Store::open(&path, &estate(), later(2)).await.expect("opens");
    assert!(matches!(store.enrol(knock("EX3", secret), later(3)).await, Err(StoreError::Token(_))));
    let forgotten = || Forgotten {
        server: server("EX3"),
        machine_id: "machine-EX3".to_owned(),
        key_id: key("EX3"),
        certificate: key("certificate"),
    };
    for _ in 0..2 {
        let identity = store.remember(forgotten(), later(4)).await.expect("noted");
        assert_eq!(identity.state, IdentityState::Pending);
    }
    assert_eq!(store.admit(key("EX3"), Actor::Console, later(5)).await.expect("admitted").state, IdentityState::Active);
    assert!(store.begin_session(key("EX3"), vec![7; 16], vec![8; 16]).await.expect("begun"));
}

#[tokio::test]
async fn nothing_is_put_back_over_a_controller_at_work_or_from_what_is_no_whole_copy() {
    let kept = Kept::new().await;
    let (copy, path) = (kept.folder.path().join("copy"), kept.path());
    let store = Store::open(&path, &estate(), later(3)).await.expect("opens");
    let busy = put_back(&copy, &path, &estate(), noon(), later(60)).await;
    assert!(matches!(busy, Err(StoreError::InUse { .. })), "{busy:?}");
    store.close().await;
    drop(store);
    // One link of the trail is another: found, and what was there stays.
    let mut bytes = std::fs::read(&copy).expect("reads");
    let at = bytes.windows(14).rposition(|found| found == b"agent.enrolled").expect("a link");
    bytes[at] = b'A';
    let other = kept.folder.path().join("other");
    std::fs::write(&other, &bytes).expect("written");
    assert!(matches!(inspect(&other).await, Err(StoreError::Trail(_))));
    assert!(matches!(put_back(&other, &path, &estate(), noon(), later(60)).await, Err(StoreError::Trail(_))));
    // A restore that was cut off is said, and the next one takes its place.
    assert!(matches!(Store::open(&path, &estate(), later(61)).await, Err(StoreError::CutOff { .. })));
    put_back(&copy, &path, &estate(), noon(), later(62)).await.expect("put back");
    drop(Store::open(&path, &estate(), later(63)).await.expect("opens"));
    std::fs::write(&other, b"no database at all, but long enough to be looked at").expect("written");
    assert!(matches!(inspect(&other).await, Err(StoreError::Foreign { .. })));
}
