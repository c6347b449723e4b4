use policy::id::Sha256;
use proto::token::Secret;

use crate::audit::Actor;
use crate::stage::{enrol, key, knock, later, noon, person, server, store};
use crate::store::{IdentityState, Knock, Store, StoreError};

async fn token(store: &Store, name: &str) -> Secret {
    let secret = Secret::generate().expect("random");
    store.create_token(&server(name), secret.hash(), 600, Actor::Console, noon()).await.expect("a token");
    secret
}

fn clone_of(name: &str, secret: &Secret) -> Knock {
    Knock { key_id: key("another"), machine_id: "machine-another".to_owned(), ..knock(name, secret.clone()) }
}

#[tokio::test]
async fn a_token_lets_one_key_in_and_then_nobody_else() {
    let (_folder, store) = store().await;
    let secret = token(&store, "EX1").await;
    let identity = store.enrol(knock("EX1", secret.clone()), noon()).await.expect("in");
    assert_eq!((identity.state, identity.epoch), (IdentityState::Active, 1));
    // The answer was lost, the same host asks again.
    assert_eq!(store.enrol(knock("EX1", secret.clone()), later(1)).await.expect("again").key_id, key("EX1"));
    let other = store.enrol(clone_of("EX1", &secret), later(2)).await;
    assert!(matches!(other, Err(StoreError::Token(_))), "{other:?}");
}

#[tokio::test]
async fn a_token_is_for_one_name_and_for_a_time_and_must_be_known() {
    let (_folder, store) = store().await;
    let secret = token(&store, "EX1").await;
    for (knock, when) in [
        (knock("EX2", secret.clone()), noon()),
        (knock("EX1", secret), later(601)),
        (knock("EX1", Secret::generate().expect("random")), noon()),
    ] {
        let refused = store.enrol(knock, when).await;
        assert!(matches!(refused, Err(StoreError::Token(_))), "{refused:?}");
    }
    assert_eq!(store.audit_head().await.expect("a head").sequence, 1, "a stranger at the door writes nothing");
}

#[tokio::test]
async fn the_secret_itself_is_nowhere_in_the_database() {
    let (folder, store) = store().await;
    let secret = token(&store, "EX1").await;
    store.enrol(knock("EX1", secret.clone()), noon()).await.expect("in");
    store.close().await;
    let text = secret.to_text();
    for file in std::fs::read_dir(folder.path()).expect("reads") {
        let bytes = std::fs::read(file.expect("an entry").path()).expect("reads");
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()));
    }
}

#[tokio::test]
async fn tokens_of_one_server_are_bounded() {
    let (_folder, store) = store().await;
    for _ in 0..16 {
        token(&store, "EX1").await;
    }
    let more = store.create_token(&server("EX1"), Sha256([1; 32]), 600, Actor::Console, noon()).await;
    assert!(matches!(more, Err(StoreError::TooMany { .. })), "{more:?}");
    store.create_token(&server("EX1"), Sha256([1; 32]), 600, Actor::Console, later(601)).await.expect("the others ran out");
}

#[tokio::test]
async fn a_second_machine_for_a_name_waits_for_a_person_and_then_takes_its_place() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    let secret = token(&store, "EX1").await;
    let waiting = store.enrol(clone_of("EX1", &secret), later(1)).await.expect("waits");
    assert_eq!(waiting.state, IdentityState::Pending);
    assert!(store.identity(&key("EX1")).await.expect("reads").expect("is there").active().is_ok(), "the first goes on");
    let admitted = store.admit(key("another"), Actor::Person(person("carl")), later(2)).await.expect("admitted");
    assert_eq!((admitted.state, admitted.epoch), (IdentityState::Active, 3));
    let first = store.identity(&key("EX1")).await.expect("reads").expect("is there");
    assert_eq!(first.state, IdentityState::Evicted);
    assert!(matches!(first.active(), Err(StoreError::NotActive { .. })));
    // Its token was not used up by waiting.
    assert_eq!(store.enrol(clone_of("EX1", &secret), later(3)).await.expect("in").state, IdentityState::Active);
}

#[tokio::test]
async fn a_banned_name_stays_closed_and_an_evicted_one_is_free() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    enrol(&store, "EX2").await;
    let by = || Actor::Person(person("carl"));
    store.narrow(key("EX1"), IdentityState::Banned, "stolen".to_owned(), by(), noon()).await.expect("banned");
    store.narrow(key("EX2"), IdentityState::Evicted, "rebuilt".to_owned(), by(), noon()).await.expect("evicted");
    let banned = store.enrol(clone_of("EX1", &token(&store, "EX1").await), later(1)).await;
    assert!(matches!(banned, Err(StoreError::NotActive { .. })), "{banned:?}");
    let secret = token(&store, "EX2").await;
    let again = store.enrol(knock("EX2", secret.clone()), later(1)).await;
    assert!(matches!(again, Err(StoreError::NotActive { .. })), "the key that was sent away does not come back: {again:?}");
    assert_eq!(store.enrol(clone_of("EX2", &secret), later(1)).await.expect("another machine").epoch, 2);
}

#[tokio::test]
async fn a_session_begins_with_the_current_lineage_or_the_one_before() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    let begin =
        |presented: &'static [u8], next: &'static [u8]| store.begin_session(key("EX1"), presented.to_vec(), next.to_vec());
    assert!(begin(b"", b"one").await.expect("asks"));
    // The welcome was lost: the agent still has what it had before.
    assert!(begin(b"", b"two").await.expect("asks"));
    assert!(!begin(b"one", b"x").await.expect("asks"), "nobody was ever told this one");
    assert!(begin(b"two", b"three").await.expect("asks"));
    assert!(!begin(b"", b"x").await.expect("asks"), "a machine that was set back");
    assert!(begin(b"three", b"four").await.expect("asks"));
}

#[tokio::test]
async fn an_identity_that_is_quarantined_begins_no_session_until_it_is_admitted() {
    let (_folder, store) = store().await;
    enrol(&store, "EX1").await;
    assert!(store.begin_session(key("EX1"), Vec::new(), b"one".to_vec()).await.expect("asks"));
    store
        .narrow(key("EX1"), IdentityState::Quarantined, "a clone".to_owned(), Actor::Controller, noon())
        .await
        .expect("narrowed");
    assert!(!store.begin_session(key("EX1"), b"one".to_vec(), b"two".to_vec()).await.expect("asks"));
    let admitted = store.admit(key("EX1"), Actor::Person(person("carl")), noon()).await.expect("admitted");
    assert_eq!((admitted.epoch, admitted.lineage), (2, Vec::new()));
    assert!(store.begin_session(key("EX1"), Vec::new(), b"three".to_vec()).await.expect("asks"));
}
