//! Incidents: told once when they begin and once when they are over, through the channels that want to hear it, and never twice.

use policy::Timestamp;
use policy::duration::Span;
use policy::finding::Severity;

use crate::audit::Actor;
use crate::config::Kind;
use crate::notify::Cause;
use crate::stage::{PROPOSE, People, certificate, enrol, later, look_as, noon, person, report, server, sight, store};
use crate::store::{Ears, Store, StoreError};

fn cause(server: &str, code: &str, severity: Severity) -> Cause {
    Cause {
        server: server.to_owned(),
        code: code.to_owned(),
        severity,
        title: "444 is dead".to_owned(),
        detail: "no record".to_owned(),
    }
}

/// Two channels: one that hears everything, one that is only woken.
fn ears(now: Timestamp) -> Ears {
    Ears {
        channels: vec![("ops".to_owned(), vec![Kind::Page, Kind::Warning, Kind::Digest]), ("pager".to_owned(), vec![Kind::Page])],
        calm_at: Span::seconds(3_600).after(now),
        next_digest: Span::days(7).after(now),
    }
}

async fn note(store: &Store, causes: &[Cause], now: Timestamp) -> usize {
    store.note(causes.to_vec(), ears(now), now).await.expect("noted")
}

/// Takes what waits for a channel, and says when it is due and what it says.
async fn heard(store: &Store, channel: &str) -> Vec<(Kind, Timestamp, String)> {
    let mut heard = Vec::new();
    while let Some(message) = store.next_message(channel).await.expect("reads") {
        let lines = message.body.lines.iter().map(|line| format!("{} {} {}", line.state, line.server, line.code));
        heard.push((message.kind, message.due_at, lines.collect::<Vec<_>>().join(", ")));
        store.sent(message.id, noon()).await.expect("noted");
    }
    heard
}

#[tokio::test]
async fn a_cause_is_told_once_when_it_begins_and_once_when_it_stayed_away_for_a_minute() {
    let (_folder, store) = store().await;
    let dead = cause("EX1", "BST101", Severity::Page);
    let soon = cause("EX1", "BST201", Severity::Warning);
    assert_eq!(note(&store, &[dead.clone(), soon.clone()], noon()).await, 3);
    for second in [0, 1, 30] {
        assert_eq!(note(&store, &[dead.clone(), soon.clone()], later(second)).await, 0, "the same again is told to nobody");
    }
    assert_eq!(heard(&store, "pager").await, [(Kind::Page, noon(), "opened EX1 BST101".to_owned())]);
    assert_eq!(
        heard(&store, "ops").await,
        [(Kind::Page, noon(), "opened EX1 BST101".to_owned()), (Kind::Warning, later(3_600), "opened EX1 BST201".to_owned())],
        "what wakes nobody waits for the morning"
    );
    // It flaps.
    for second in [40, 80, 120] {
        assert_eq!(note(&store, std::slice::from_ref(&soon), later(second)).await, 0);
        assert_eq!(note(&store, &[dead.clone(), soon.clone()], later(second + 20)).await, 0);
    }
    assert_eq!(note(&store, std::slice::from_ref(&soon), later(200)).await, 0);
    assert_eq!(note(&store, std::slice::from_ref(&soon), later(259)).await, 0);
    assert_eq!(note(&store, std::slice::from_ref(&soon), later(260)).await, 2);
    assert_eq!(heard(&store, "pager").await, [(Kind::Page, later(260), "resolved EX1 BST101".to_owned())]);
    let all = store.incidents(false, None, 10).await.expect("reads");
    let times: Vec<_> = all.iter().map(|incident| (incident.cause.code.as_str(), incident.resolved_at)).collect();
    assert!(times.contains(&("BST101", Some(later(260)))) && times.contains(&("BST201", None)), "{times:?}");
    // What comes back is another incident.
    assert_eq!(note(&store, &[dead, soon], later(300)).await, 2);
    assert_eq!(store.incidents(false, None, 10).await.expect("reads").len(), 3);
    assert_eq!(store.incidents(true, None, 10).await.expect("reads").len(), 2);
}

#[tokio::test]
async fn what_agents_do_by_themselves_is_told_and_what_was_approved_is_not() {
    let (_folder, store) = store().await;
    let tell = async |action: &'static str, standing: serde_json::Value| {
        let detail = serde_json::json!({"server": "EX1", "standing": standing, "notes": ["undelete: done"], "foreign": []});
        store.tell(Actor::Controller, action, "abc".to_owned(), detail, noon()).await.expect("told");
    };
    tell("plan.restored", "0a".into()).await;
    assert_eq!(note(&store, &[], noon()).await, 0, "what was before anybody listened is old");
    tell("plan.restored", "0a".into()).await;
    tell("plan.restored", serde_json::Value::Null).await;
    tell("plan.confirmed", "0a".into()).await;
    tell("plan.refused", "0a".into()).await;
    assert_eq!(note(&store, &[], later(1)).await, 2);
    assert_eq!(note(&store, &[], later(2)).await, 0);
    let message = store.next_message("pager").await.expect("reads").expect("one");
    let titles: Vec<&str> = message.body.lines.iter().map(|line| line.title.as_str()).collect();
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert!(
        titles.iter().any(|title| title.contains("put back")) && titles.iter().any(|title| title.contains("refused")),
        "{titles:?}"
    );
    assert_eq!(message.body.lines[0].detail, "undelete: done");
}

#[tokio::test]
async fn a_digest_comes_when_it_is_due_and_once() {
    let (_folder, store) = store().await;
    let soon = [cause("EX1", "BST201", Severity::Warning), cause("EX2", "BST201", Severity::Warning)];
    note(&store, &soon, noon()).await;
    let week = 7 * 86_400;
    assert_eq!(note(&store, &soon, later(week - 1)).await, 0);
    assert_eq!(note(&store, &soon, later(week)).await, 1);
    assert_eq!(note(&store, &soon, later(week + 1)).await, 0);
    let digest = heard(&store, "ops").await.into_iter().find(|(kind, ..)| *kind == Kind::Digest).expect("a digest");
    assert_eq!((digest.1, digest.2.as_str()), (later(week), "open EX1, EX2 BST201, anchor  "));
}

#[tokio::test]
async fn a_digest_says_which_patch_day_comes_before_an_end() {
    let (_folder, store) = store().await;
    People::new().rule(&store, 1, PROPOSE).await;
    for (name, end) in [("EX1", (2026, 12, 5)), ("EX2", (2026, 12, 20)), ("EX3", (2030, 1, 1))] {
        enrol(&store, name).await;
        report(&store, &sight(name, &certificate(name, end)), 1, noon()).await;
        // A look notes when the certificate ends.
        look_as(&store, &server(name), noon()).await.expect("looked at");
    }
    note(&store, &[], noon()).await;
    assert_eq!(note(&store, &[], later(7 * 86_400)).await, 1);
    let message = store.next_message("ops").await.expect("reads").expect("a digest");
    let titles: Vec<String> = message
        .body
        .lines
        .into_iter()
        .filter(|line| line.state == "ends")
        .map(|line| format!("{}: {}", line.server, line.title))
        .collect();
    assert_eq!(
        titles,
        [
            "EX1: its back-end certificate ends on 2026-12-05, before the next patch day: an update stops half-way then",
            "EX2: its back-end certificate ends on 2026-12-20, and the last patch day before is 2026-12-08",
        ]
    );
}

#[tokio::test]
async fn somebody_is_at_it_and_that_is_told_once() {
    let (_folder, store) = store().await;
    note(&store, &[cause("EX1", "BST101", Severity::Page)], noon()).await;
    let id = store.incidents(true, None, 1).await.expect("reads").remove(0).id;
    for who in ["anna", "bert"] {
        let found = store.acknowledge(id.clone(), person(who), later(5)).await.expect("noted");
        assert_eq!(found.acknowledged, Some((later(5), person("anna"))), "who was first");
    }
    let told = store.audit(0, 10).await.expect("reads");
    let told: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(told, ["incident.acknowledged"]);
    note(&store, &[], later(6)).await;
    note(&store, &[], later(70)).await;
    for gone in [id, "nothing".to_owned()] {
        let refused = store.acknowledge(gone, person("anna"), later(71)).await;
        assert!(matches!(refused, Err(StoreError::NoIncident(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn what_could_not_be_said_waits_and_what_is_given_up_is_not_tried_again() {
    let (_folder, store) = store().await;
    store.test_channels(vec!["ops".to_owned()], person("anna"), noon()).await.expect("kept");
    let message = store.next_message("ops").await.expect("reads").expect("one");
    store.not_sent(message.id.clone(), "refused".to_owned(), Some(later(30)), noon()).await.expect("noted");
    let again = store.next_message("ops").await.expect("reads").expect("still");
    assert_eq!((again.attempts, again.due_at, again.id.as_str()), (1, later(30), message.id.as_str()));
    let state = store.channel("ops").await.expect("reads");
    assert_eq!((state.waiting, state.failure.as_str(), state.sent_at), (1, "refused", None));
    store.not_sent(message.id, "refused".to_owned(), None, later(40)).await.expect("noted");
    assert_eq!(store.next_message("ops").await.expect("reads"), None);
    let state = store.channel("ops").await.expect("reads");
    assert_eq!((state.waiting, state.given_up), (0, 1));
}

#[tokio::test]
async fn where_the_trail_ends_is_sent_out_once_a_day_to_whoever_keeps_it() {
    let (_folder, store) = store().await;
    let ears = |now| Ears { channels: vec![("archive".to_owned(), vec![Kind::Anchor])], ..ears(now) };
    store.tell(Actor::Console, "test.told", "x".to_owned(), serde_json::json!({}), noon()).await.expect("told");
    assert_eq!(store.note(Vec::new(), ears(noon()), noon()).await.expect("noted"), 1);
    for second in [1, 86_399] {
        assert_eq!(store.note(Vec::new(), ears(later(second)), later(second)).await.expect("noted"), 0);
    }
    let head = store.audit_head().await.expect("reads");
    let message = store.next_message("archive").await.expect("reads").expect("one");
    let expected = format!("{}:{}", head.sequence, head.hash);
    assert_eq!((message.kind, message.body.lines[0].detail.as_str()), (Kind::Anchor, expected.as_str()));
    assert!(message.body.text().contains(&format!("backstay audit verify --anchor {expected}")), "{}", message.body.text());
    assert_eq!(store.note(Vec::new(), ears(later(86_400)), later(86_400)).await.expect("noted"), 1, "the next day");
}

#[tokio::test]
async fn whoever_was_woken_learns_that_somebody_is_at_it() {
    let (_folder, store) = store().await;
    note(&store, &[cause("EX1", "BST101", Severity::Page), cause("EX2", "BST201", Severity::Warning)], noon()).await;
    for incident in store.incidents(true, None, 10).await.expect("reads") {
        store.acknowledge(incident.id, person("anna"), later(5)).await.expect("noted");
    }
    let both = [cause("EX1", "BST101", Severity::Page), cause("EX2", "BST201", Severity::Warning)];
    assert_eq!(note(&store, &both, later(6)).await, 3);
    assert_eq!(note(&store, &both, later(7)).await, 0, "once");
    let pager = heard(&store, "pager").await;
    assert_eq!(pager.last().expect("told"), &(Kind::Page, later(6), "acknowledged EX1 BST101".to_owned()));
    let ops = heard(&store, "ops").await;
    assert!(ops.iter().any(|(kind, _, text)| *kind == Kind::Warning && text == "acknowledged EX2 BST201"), "{ops:?}");
}
