use crate::audit::Actor;
use crate::stage::{PROPOSE, People, noon, store};
use crate::store::{Store, StoreError};
use policy::trust::Kind;
use proto::signed::SignedBytes;

async fn trust(store: &Store, signed: SignedBytes) -> Result<(), StoreError> {
    store.apply_trust(proto::signed::trust(&signed).expect("believed"), signed, Actor::Console, noon()).await
}

async fn policy(store: &Store, signed: SignedBytes) -> Result<(), StoreError> {
    store.apply_policy(proto::signed::policy(&signed).expect("believed"), signed, Actor::Console, noon()).await
}

#[tokio::test]
async fn trust_documents_form_a_chain_that_is_handed_out_in_order() {
    let (_folder, store) = store().await;
    let people = People::new();
    for version in [1, 2, 4] {
        trust(&store, people.trust(version, 1)).await.expect("follows");
    }
    let chain = store.trust_chain(1).await.expect("a chain");
    assert_eq!(chain.iter().map(|document| document.version).collect::<Vec<_>>(), [2, 4]);
    // As it was signed, byte by byte.
    assert_eq!(chain[1].signed, people.trust(4, 1));
    assert_eq!(store.trust().await.expect("reads").expect("in force").version, 4);
}

#[tokio::test]
async fn a_trust_document_of_another_root_or_an_older_version_is_refused() {
    let (_folder, store) = store().await;
    let people = People::new();
    trust(&store, people.trust(2, 1)).await.expect("the first");
    for other in [people.trust(1, 1), People::new().trust(3, 1)] {
        let refused = trust(&store, other).await;
        assert!(matches!(refused, Err(StoreError::Document(_))), "{refused:?}");
    }
    trust(&store, people.trust(2, 1)).await.expect("the same again changes nothing");
    assert_eq!(store.audit_head().await.expect("a head").sequence, 1);
}

#[tokio::test]
async fn a_policy_names_the_one_before_and_is_signed_by_enough_approvers() {
    let (_folder, store) = store().await;
    let people = People::new();
    let early = policy(&store, people.policy(PROPOSE)).await;
    assert!(matches!(early, Err(StoreError::Document(_))), "no policy before there is trust: {early:?}");
    trust(&store, people.trust(1, 1)).await.expect("applied");
    let first = people.policy(PROPOSE);
    let mut stranger = SignedBytes::unsigned(first.body.clone());
    people.root.sign(Kind::Policy, &mut stranger).expect("signed");
    let refused = policy(&store, stranger).await;
    assert!(matches!(refused, Err(StoreError::TooFewSigners { need: 1, found: 0, .. })), "{refused:?}");
    policy(&store, first.clone()).await.expect("applied");
    let orphan = policy(&store, people.policy("estate = \"contoso\"\nversion = 2\nprevious = \"0000000000000000000000000000000000000000000000000000000000000000\"\n")).await;
    assert!(matches!(orphan, Err(StoreError::Document(_))), "{orphan:?}");
    let second = format!("estate = \"contoso\"\nversion = 2\nprevious = \"{}\"\n", first.id());
    policy(&store, people.policy(&second)).await.expect("applied");
    assert_eq!(store.policy().await.expect("reads").expect("in force").signed.body, second.as_bytes());
}
