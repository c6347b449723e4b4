//! Many at once who should not be: a thousand that wait for a person, a clone that does not give up, names in other letters, agents of other versions.

use policy::trust::PersonRole;
use proto::agent;
use proto::agent::open_request::Message as Request;
use proto::agent::open_response::Message as Response;
use proto::operator::{ListAgentsRequest, OperatorServiceClient};
use proto::token::Secret;
use rcgen::KeyPair;
use tokio::task::JoinSet;
use tonic::Code;

use super::host::{TestHost, door, knock, now, token};
use super::{Running, channel, running};
use crate::audit::Actor;
use crate::stage::{self, key, server, sight};
use crate::store::{IdentityState, Knock, StoreError};

/// Names that are held, each wanted by eight more.
const NAMES: usize = 125;

async fn wants(running: &Running, name: &str, machine: usize) -> Result<IdentityState, StoreError> {
    let secret = Secret::generate().expect("random");
    running.store.create_token(&server(name), secret.hash(), 600, Actor::Console, now()).await.expect("a token");
    let (machine_id, key_id) = (format!("machine-{name}-{machine}"), key(&format!("{name}-{machine}")));
    running.store.enrol(Knock { machine_id, key_id, ..stage::knock(name, secret) }, now()).await.map(|identity| identity.state)
}

#[tokio::test]
async fn a_thousand_machines_that_wait_for_a_person_are_listed_page_by_page_and_nobody_else_waits() {
    let running = running().await;
    let mut inside = TestHost::enrolled(&running, "EX1").await;
    let names: Vec<String> = (1..=NAMES).map(|number| format!("EX{number}")).collect();
    for name in &names {
        if name != "EX1" {
            assert_eq!(wants(&running, name, 0).await.expect("let in"), IdentityState::Active);
        }
        for machine in 1..=8 {
            assert_eq!(wants(&running, name, machine).await.expect("noted"), IdentityState::Pending);
        }
    }
    // A ninth is refused and leaves no trace but the words.
    let ninth = wants(&running, "EX7", 9).await.expect_err("too many");
    assert!(ninth.to_string().contains("machines that wait for the name"), "{ninth}");

    let olga = channel(running.addresses.operators, running.client(Some(running.operator("olga", PersonRole::Viewer)))).await;
    let mut olga = OperatorServiceClient::new(olga.expect("connects"));
    let (mut waiting, mut page_token, mut pages) = (0, String::new(), 0);
    loop {
        let answer =
            olga.list_agents(ListAgentsRequest { page_size: 300, page_token, all: false }).await.expect("a page").into_inner();
        assert!(answer.agents.len() <= 300 && answer.agents.iter().all(|agent| agent.state == "pending"));
        (waiting, page_token, pages) = (waiting + answer.agents.len(), answer.next_page_token, pages + 1);
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((waiting, pages), (NAMES * 8, 4));

    // Who belongs here works as ever, and one of those that waited is let in.
    let mut line = inside.connected(&running).await;
    line.report(&sight("EX1", &stage::certificate("EX1", (2030, 1, 1))), 1, 1).await;
    running.store.admit(key("EX9-3"), Actor::Console, now()).await.expect("admitted");
    let ex9 = running.store.identities(&server("EX9")).await.expect("reads");
    assert_eq!(
        ex9.iter().filter(|one| one.state == IdentityState::Active).map(|one| one.key_id).collect::<Vec<_>>(),
        [key("EX9-3")]
    );
    running.stopped().await;
}

#[tokio::test]
async fn a_clone_that_knocks_two_hundred_times_disturbs_nobody_and_is_told_once() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let mut line = host.connected(&running).await;
    let clone = agent::Hello { machine_id: "machine-clone".to_owned(), ..host.hello() };
    let running = std::sync::Arc::new(running);
    let host = std::sync::Arc::new(host);
    let mut storm = JoinSet::new();
    for _ in 0..20 {
        let (running, host, clone) = (running.clone(), host.clone(), clone.clone());
        storm.spawn(async move {
            for _ in 0..10 {
                assert_eq!(host.open(&running, clone.clone()).await.end().await.code(), Code::PermissionDenied);
            }
        });
    }
    // The machine with the unbroken session reports on meanwhile.
    let begun = tokio::time::Instant::now();
    let mut told = 0;
    while !storm.is_empty() {
        told += 1;
        let mut seen = sight("EX1", &stage::certificate("EX1", (2030, 1, 1)));
        seen.report.hold = Some(format!("look {told}"));
        line.report(&seen, 1, told).await;
        while let Some(done) = storm.try_join_next() {
            done.expect("each was refused");
        }
    }
    eprintln!("{told} reports acknowledged in {:?} beside 200 hellos of a clone", begun.elapsed());
    let identity = running.store.identities(&server("EX1")).await.expect("reads").remove(0);
    assert_eq!(identity.state, IdentityState::Active);
    let trail = running.store.audit(0, 1000).await.expect("a page");
    assert_eq!(trail.iter().filter(|entry| entry.action == "agent.refused").count(), 1, "a storm does not fill the trail");
    drop((line, host));
    std::sync::Arc::try_unwrap(running).unwrap_or_else(|_| panic!("nobody else holds it")).stopped().await;
}

#[tokio::test]
async fn a_name_in_other_letters_is_the_same_name() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "ex1").await;
    assert_eq!(host.name.as_str(), "EX1");
    // Another machine by the same name, however it spells it, waits.
    for name in ["EX1", "Ex1"] {
        let (secret, key) = (token(&running, name).await, KeyPair::generate().expect("a key"));
        let waits = door(&running).await.enrol(knock(name, &secret, &key)).await.expect_err("waits");
        assert!(waits.message().contains("a person must admit this machine"), "{}", waits.message());
    }
    // The machine itself may spell itself as it likes.
    host.name = "Ex1".parse().expect("a name");
    let hello = agent::Hello { server: "eX1".to_owned(), machine_id: "machine-ex1".to_owned(), ..host.hello() };
    let mut line = host.open(&running, hello).await;
    assert!(matches!(line.next().await.expect("welcome"), Response::Welcome(_)));
    let names = running.store.server_names(None, 10).await.expect("reads");
    assert_eq!(names, [server("EX1")], "one server, by one name");
    running.stopped().await;
}

#[tokio::test]
async fn an_agent_of_another_protocol_is_told_who_is_to_be_updated() {
    let running = running().await;
    let host = TestHost::enrolled(&running, "EX1").await;
    for (protocol, words) in
        [(proto::PROTOCOL - 1, "update the agent"), (proto::PROTOCOL + 1, "update the controllers before the agents")]
    {
        let status = host.open(&running, agent::Hello { protocol, ..host.hello() }).await.end().await;
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(words), "{}", status.message());
    }
    assert!(
        running.store.server(&server("EX1")).await.expect("reads").expect("a row").agent_version.is_empty(),
        "nothing is noted"
    );
    running.stopped().await;
}

/// The first agents knew neither checkups nor peers nor what a restored store asks: they leave it all unanswered, and work.
#[tokio::test]
async fn an_agent_from_before_what_came_later_works_as_ever() {
    let running = running().await;
    let mut old = TestHost::enrolled(&running, "EX1").await;
    let mut peer = TestHost::enrolled(&running, "EX2").await;
    let mut line = old.connected(&running).await;
    line.report(&sight("EX1", &stage::certificate("EX1", (2030, 1, 1))), 1, 1).await;
    let mut beside = peer.connected(&running).await;
    beside.report(&sight("EX2", &stage::certificate("EX2", (2030, 1, 1))), 1, 1).await;
    // It is asked to look at EX2, once EX2 has a full name and a group, and says nothing to it.
    let Response::Peers(asked) = line.next().await.expect("asked") else { panic!("expected the question") };
    assert_eq!(asked.targets.iter().map(|target| target.server.as_str()).collect::<Vec<_>>(), ["EX2"]);
    line.say(Request::Heartbeat(agent::Heartbeat { digest: Vec::new(), now: now().as_microsecond() })).await;
    line.report(&sight("EX1", &stage::certificate("EX1", (2031, 1, 1))), 1, 2).await;
    running.stopped().await;
}
