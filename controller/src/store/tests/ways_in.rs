use policy::id::Sha256;
use policy::trust::PersonRole;

use crate::stage::{later, noon, person, store};
use crate::store::{ApiToken, Browser, StoreError, Via};

fn token(name: &str) -> ApiToken {
    ApiToken {
        name: name.to_owned(),
        person: person("anna"),
        role: PersonRole::Operator,
        scope: "read".to_owned(),
        created_at: noon(),
        expires_at: later(86_400),
        used_at: None,
    }
}

fn browser() -> Browser {
    Browser { person: person("anna"), role: PersonRole::Operator, via: Via::Password, expires_at: later(86_400) }
}

#[tokio::test]
async fn wrong_passwords_wait_twice_as_long_each_time_and_a_right_one_ends_that() {
    let (_folder, store) = store().await;
    store.set_password(person("anna"), PersonRole::Operator, "kept".to_owned(), noon()).await.expect("set");
    let waits = async |wrong: usize| {
        for _ in 0..wrong {
            store.wrong_password(person("anna"), later(100)).await.expect("counted");
        }
        let kept = store.password(&person("anna")).await.expect("reads").expect("one");
        kept.not_before.duration_since(later(100)).as_secs()
    };
    assert_eq!(waits(4).await, -100, "people mistype");
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        assert_eq!(waits(1).await, expected);
    }
    assert_eq!(waits(60).await, 900, "never more, however often");
    store.right_password(Sha256([1; 32]), browser(), later(1_200)).await.expect("in");
    assert_eq!(waits(4).await, 900, "from the beginning: no longer than before");
    assert_eq!(waits(1).await, 1);
    // Nobody's password is nobody's matter.
    let told = store.audit_head().await.expect("reads");
    store.wrong_password(person("bert"), later(100)).await.expect("nothing");
    assert_eq!(store.audit_head().await.expect("reads"), told);
}

#[tokio::test]
async fn a_token_is_good_by_its_hash_until_its_end_and_its_name_is_one() {
    let (_folder, store) = store().await;
    store.create_api_token(token("nagios"), Sha256([1; 32]), noon()).await.expect("made");
    let taken = store.create_api_token(token("nagios"), Sha256([2; 32]), noon()).await;
    assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
    let used = async |hash, when| store.api_token(Sha256([hash; 32]), when).await.expect("reads").map(|token| token.used_at);
    assert_eq!(used(2, later(1)).await, None);
    assert_eq!(used(1, later(1)).await, Some(None));
    let commits = store.commits();
    assert_eq!(used(1, later(3_600)).await, Some(Some(later(1))));
    assert_eq!(store.commits(), commits, "within the hour nothing is written");
    assert_eq!(used(1, later(3_601)).await, Some(Some(later(1))));
    assert_eq!(used(1, later(3_602)).await, Some(Some(later(3_601))));
    assert_eq!(used(1, later(86_400)).await, None, "its end");
    store.create_api_token(token("nagios"), Sha256([3; 32]), later(86_400)).await.expect("what ran out is in nobody's way");

    let stranger = store.revoke_api_token("nagios".to_owned(), Some(person("bert")), person("bert"), later(1)).await;
    assert!(matches!(stranger, Err(StoreError::NoToken(_))), "{stranger:?}");
    store.revoke_api_token("nagios".to_owned(), Some(person("anna")), person("anna"), later(1)).await.expect("gone");
    let again = store.revoke_api_token("nagios".to_owned(), None, person("anna"), later(1)).await;
    assert!(matches!(again, Err(StoreError::NoToken(_))), "{again:?}");
}

#[tokio::test]
async fn tokens_are_bounded() {
    let (_folder, store) = store().await;
    for number in 0..200_u8 {
        store.create_api_token(token(&format!("t{number}")), Sha256([number; 32]), noon()).await.expect("made");
    }
    let more = store.create_api_token(token("more"), Sha256([200; 32]), noon()).await;
    assert!(matches!(more, Err(StoreError::Full { .. })), "{more:?}");
}

#[tokio::test]
async fn all_ways_of_one_person_end_at_once_and_of_nobody_else() {
    let (_folder, store) = store().await;
    for (number, name) in [(1, "anna"), (2, "bert")] {
        let own = Browser { person: person(name), ..browser() };
        store.begin_browser(Sha256([number; 32]), own.clone(), noon()).await.expect("in");
        store.create_sign_in(Sha256([10 + number; 32]), own, noon()).await.expect("a link");
        store.set_password(person(name), PersonRole::Viewer, "kept".to_owned(), noon()).await.expect("set");
        let own = ApiToken { person: person(name), ..token(name) };
        store.create_api_token(own, Sha256([20 + number; 32]), noon()).await.expect("made");
    }
    let all = store.ways_in(None, noon()).await.expect("reads");
    assert_eq!((all.browsers.len(), all.passwords.len(), all.tokens.len()), (2, 2, 2));
    let ended = store.end_access(person("anna"), "left".to_owned(), person("omar"), noon()).await.expect("ended");
    assert_eq!(ended, 4);
    assert_eq!(store.ways_in(Some(&person("anna")), noon()).await.expect("reads"), crate::store::WaysIn::default());
    let bert = store.ways_in(Some(&person("bert")), noon()).await.expect("reads");
    assert_eq!((bert.browsers.len(), bert.passwords.len(), bert.tokens.len()), (1, 1, 1));
    assert_eq!(store.browser(Sha256([1; 32]), noon()).await.expect("reads"), None);
    assert_eq!(store.sign_in(Sha256([11; 32]), Sha256([9; 32]), later(9), noon()).await.expect("reads"), None);
    assert!(store.sign_in(Sha256([12; 32]), Sha256([9; 32]), later(9), noon()).await.expect("reads").is_some());
}
