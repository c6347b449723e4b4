use policy::duration::Span;
use policy::life::Life;
use policy::receipt::Outcome;
use proto::token::Secret;
use sqlx::Row as _;

use crate::audit::{self, Actor, Head};
use crate::config::Keep;
use crate::stage::look_as;
use crate::stage::{PROPOSE, People, certificate, enrol, noon, person, receipt, report, server, sight, store};
use crate::store::forget::Forgotten;
use crate::store::{PlanFilter, PlanRow, Store};

const KEEP: Keep = Keep { reports: Span::days(10), plans: Span::days(200) };

async fn rows(store: &Store, table: &'static str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(store.readers()).await.expect("counts").get(0)
}

async fn plans(store: &Store) -> Vec<PlanRow> {
    store.plans(&PlanFilter { open_only: false, server: None }, None, 100).await.expect("reads")
}

#[tokio::test]
async fn what_is_old_goes_and_what_still_says_something_stays() {
    let (_folder, store) = store().await;
    People::new().rule(&store, 1, PROPOSE).await;
    enrol(&store, "EX1").await;
    let day = |day| Span::days(day).after(noon());
    // Each look at another certificate proposes another plan and supersedes the last; every report is another one.
    for number in 1..=3_u8 {
        let when = day(number.into());
        report(&store, &sight("EX1", &certificate("EX1", (2026, 12, number))), number.into(), when).await;
        look_as(&store, &server("EX1"), when).await.expect("looked");
    }
    let lives: Vec<Life> = plans(&store).await.into_iter().map(|row| row.life).collect();
    assert_eq!(lives, [Life::Proposed, Life::Superseded, Life::Superseded]);
    // One of the old ones had a receipt all the same.
    let old = plans(&store).await.pop().expect("the oldest").id;
    store.settle(&server("EX1"), receipt(old, Outcome::Undone, day(1)), day(1)).await.expect("settled");
    store
        .create_token(&server("EX9"), Secret::generate().expect("random").hash(), 600, Actor::Console, noon())
        .await
        .expect("a token");
    let before = audit_of(&store).await;

    assert_eq!(store.forget(KEEP, day(10)).await.expect("nothing is old"), Forgotten::default());
    assert_eq!(audit_of(&store).await, before, "and nothing is told");

    let forgotten = store.forget(KEEP, day(100)).await.expect("forgotten");
    assert_eq!(forgotten, Forgotten { reports: 2, plans: 0, tokens: 2 }, "the newest report stays, however old");
    assert_eq!((rows(&store, "history").await, rows(&store, "tokens").await), (1, 0));

    let forgotten = store.forget(KEEP, day(1_000)).await.expect("forgotten");
    assert_eq!(forgotten, Forgotten { reports: 0, plans: 2, tokens: 0 });
    assert_eq!(plans(&store).await.into_iter().map(|row| row.life).collect::<Vec<_>>(), [Life::Proposed], "it is not ended");
    assert_eq!((rows(&store, "receipts").await, rows(&store, "approvals").await), (0, 0));
    assert_eq!(store.newest_report(&server("EX1")).await.expect("reads").expect("is there").host.name, server("EX1"));
    let told = audit_of(&store).await;
    assert_eq!(told.iter().filter(|action| *action == "store.forgot").count(), 2);
    assert_eq!(told[..before.len()], before[..], "the trail is whole");
}

async fn audit_of(store: &Store) -> Vec<String> {
    let entries = store.audit(0, 1000).await.expect("a trail");
    assert_eq!(audit::verify(Head::EMPTY, &entries), Ok(store.audit_head().await.expect("a head")));
    entries.into_iter().map(|entry| entry.action).collect()
}

#[tokio::test]
async fn the_last_plan_of_a_server_stays_for_what_follows_from_it() {
    let (_folder, store) = store().await;
    People::new().rule(&store, 1, PROPOSE).await;
    enrol(&store, "EX1").await;
    report(&store, &sight("EX1", &certificate("EX1", (2026, 12, 1))), 1, noon()).await;
    look_as(&store, &server("EX1"), noon()).await.expect("looked");
    let plan = plans(&store).await.pop().expect("a plan");
    store.reject(&plan.id, None, person("anna"), "not this one".to_owned(), noon()).await.expect("rejected");
    store.forget(KEEP, Span::days(3_000).after(noon())).await.expect("forgotten");
    assert_eq!(plans(&store).await.len(), 1);
}
