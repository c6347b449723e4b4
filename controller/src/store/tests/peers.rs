use policy::id::Sha256;
use policy::peers::{Peer, Seen, Word};
use policy::report::{Fact, ProbeOutcome};

use crate::audit::Actor;
use crate::stage::{certificate, enrol, noon, report, server, sight, store};
use crate::store::{Store, Witnessed};

/// Lets them in, and has each report as a member of that DAG.
async fn members(store: &Store, names: &[&str], dag: &str) {
    for name in names {
        enrol(store, name).await;
        let mut seen = sight(name, &certificate(name, (2030, 1, 1)));
        seen.report.host.dag = Fact::Known(Some(dag.to_owned()));
        report(store, &seen, 1, noon()).await;
    }
}

async fn targets(store: &Store, name: &str) -> Vec<String> {
    let found = store.peer_targets(&server(name)).await.expect("reads");
    found.into_iter().map(|target| target.server.to_string()).collect()
}

async fn peers(store: &Store, name: &str) -> Vec<String> {
    let found = store.peers(&server(name)).await.expect("reads");
    found.into_iter().map(|peer| peer.server.to_string()).collect()
}

#[tokio::test]
async fn each_server_of_a_group_is_looked_at_by_the_three_behind_it() {
    let (_folder, store) = store().await;
    let names = ["EX1", "EX2", "EX3", "EX4", "EX5"];
    members(&store, &names, "DAG1").await;
    members(&store, &["EX6"], "DAG2").await;
    assert_eq!(peers(&store, "EX1").await, ["EX2", "EX3", "EX4"]);
    assert_eq!(peers(&store, "EX4").await, ["EX5", "EX1", "EX2"]);
    assert_eq!(targets(&store, "EX4").await, ["EX3", "EX2", "EX1"]);
    assert_eq!(targets(&store, "EX2").await, ["EX1", "EX5", "EX4"]);
    assert!(peers(&store, "EX6").await.is_empty() && targets(&store, "EX6").await.is_empty(), "alone in its group");
    // Who looks and who is looked at say the same, the nearest first.
    for name in names {
        for (nearness, target) in targets(&store, name).await.iter().enumerate() {
            assert_eq!(peers(&store, target).await[nearness], name, "{name} looks at {target}");
        }
    }
    // All of them at once say what each alone says, and of as many as the policy has look.
    let all = store.peers_between(&server("EX1"), &server("EX6"), 3).await.expect("reads");
    assert_eq!(all.len(), 5, "nobody looks at EX6");
    for name in names {
        assert_eq!(all[&server(name)].peers, store.peers(&server(name)).await.expect("reads"), "{name}");
    }
    let some = store.peers_between(&server("EX4"), &server("EX4"), 2).await.expect("reads");
    assert_eq!(some.len(), 1);
    assert_eq!(some[&server("EX4")].peers.iter().map(|peer| peer.server.as_str()).collect::<Vec<_>>(), ["EX5", "EX1"]);
    store.retire(&server("EX3"), "gone".to_owned(), Actor::Controller, noon()).await.expect("retired");
    assert_eq!(peers(&store, "EX1").await, ["EX2", "EX4", "EX5"]);
}

#[tokio::test]
async fn who_never_named_itself_is_not_looked_at_but_looks() {
    let (_folder, store) = store().await;
    members(&store, &["EX1"], "DAG1").await;
    enrol(&store, "EX2").await;
    assert!(targets(&store, "EX1").await.is_empty(), "EX2 is of an unknown group until it reports");
    let mut nameless = sight("EX2", &certificate("EX2", (2030, 1, 1)));
    nameless.report.host.fqdn = Fact::Unknown("not read".to_owned());
    report(&store, &nameless, 1, noon()).await;
    assert!(targets(&store, "EX1").await.is_empty());
    assert_eq!(targets(&store, "EX2").await, ["EX1"]);
}

#[tokio::test]
async fn a_word_is_kept_once_and_beside_what_was_shown_before_the_question() {
    let (_folder, store) = store().await;
    members(&store, &["EX1", "EX2"], "DAG1").await;
    let say = async |question: u8, outcome: ProbeOutcome| {
        let seen = Seen { server: server("EX1"), question: Sha256([question; 32]), outcome };
        store.witness(&server("EX2"), seen).await.expect("written")
    };
    let word = async || match store.peers(&server("EX1")).await.expect("reads").as_slice() {
        [Peer { word, .. }] => word.clone(),
        other => panic!("{other:?}"),
    };
    let shown = |byte| ProbeOutcome::Presented { certificate: Sha256([byte; 32]) };
    assert_eq!(word().await, None);
    assert_eq!(say(1, shown(7)).await, Witnessed::Now);
    assert_eq!(say(1, shown(7)).await, Witnessed::Known);
    assert_eq!(word().await, Some(Word { question: Sha256([1; 32]), outcome: shown(7), before: None }));
    assert_eq!(say(2, ProbeOutcome::Refused).await, Witnessed::Now);
    assert_eq!(say(2, shown(8)).await, Witnessed::Now, "it came round");
    assert_eq!(word().await, Some(Word { question: Sha256([2; 32]), outcome: shown(8), before: Some(shown(7)) }));
    let scene = store.scene(&server("EX1")).await.expect("reads").expect("a scene");
    let target = store.peer_targets(&server("EX2")).await.expect("reads").remove(0);
    assert_eq!((target.question, target.fqdn.as_str()), (scene.question(), "ex1.contoso.test"), "both compute one question");
    let all = store.peers_between(&server("EX1"), &server("EX1"), 3).await.expect("reads");
    assert_eq!((all[&server("EX1")].question, &all[&server("EX1")].peers), (scene.question(), &scene.peers));
    // Of a server that is not there nothing is kept.
    let of_nobody = Seen { server: server("EX9"), question: Sha256([1; 32]), outcome: ProbeOutcome::Refused };
    assert_eq!(store.witness(&server("EX2"), of_nobody).await.expect("ignored"), Witnessed::Known);
}
