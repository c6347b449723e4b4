use policy::duration::Span;
use policy::life::Life;
use policy::receipt::Outcome;
use policy::trust::PersonRole;
use proto::agent::open_request::Message as Request;
use proto::agent::open_response::Message as Response;
use proto::agent::{self, OpenRequest, answer};
use proto::operator::{ListPlansRequest, OperatorServiceClient, SubmitApprovalRequest};
use tonic::Code;

use super::host::{TestHost, TestLine, now};
use super::{LIMIT, Running, channel, running};
use crate::audit::{self, Actor, Head};
use crate::stage::{certificate_until, server, sight};
use crate::store::{IdentityState, PlanFilter, PlanRow};

/// Waits for a plan of EX1 to come to this.
async fn plan(running: &Running, life: Life) -> PlanRow {
    let filter = PlanFilter { open_only: false, server: Some(server("EX1")) };
    let found = async {
        loop {
            let plans = running.store.plans(&filter, None, 1).await.expect("reads");
            if let Some(plan) = plans.into_iter().find(|plan| plan.life == life) {
                return plan;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let seen = || async { running.store.plans(&filter, None, 10).await.map(|plans| format!("{plans:?}")) };
    match tokio::time::timeout(LIMIT, found).await {
        Ok(plan) => plan,
        Err(_) => panic!("expected a plan that is {}, found {:?}", life.as_str(), seen().await),
    }
}

async fn heartbeat(line: &TestLine) {
    line.say(Request::Heartbeat(agent::Heartbeat { digest: Vec::new(), now: now().as_microsecond() })).await;
}

#[tokio::test]
async fn an_expiring_certificate_is_reported_proposed_approved_offered_and_settled() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let mut line = host.connected(&running).await;
    let old = sight("EX1", &certificate_until("EX1", Span::days(7).after(now())));
    assert_eq!(line.report(&old, 1, 1).await, 1, "the certificate is asked for once");

    let proposed = plan(&running, Life::Proposed).await;
    let carl = channel(running.addresses.operators, running.client(Some(running.operator("carl", PersonRole::Operator)))).await;
    let mut carl = OperatorServiceClient::new(carl.expect("connects"));
    let listed = carl.list_plans(ListPlansRequest::default()).await.expect("a list").into_inner().plans;
    assert_eq!(listed[0].id, proposed.id.0.to_vec());
    let signed = running.people.approval("anna", proposed.id, now(), Span::days(1).after(now()));
    carl.submit_approval(SubmitApprovalRequest { approval: Some(signed.clone().into()), validate_only: false })
        .await
        .expect("taken");

    let Response::Offer(offer) = line.next().await.expect("an offer") else { panic!("expected an offer") };
    assert_eq!((offer.plan, offer.approvals.as_slice()), (proposed.body.clone(), [signed.into()].as_slice()));
    let running_now = agent::Answer { plan: proposed.id.0.to_vec(), answer: Some(answer::Answer::Running(agent::Running {})) };
    line.say(Request::Answer(running_now)).await;
    plan(&running, Life::Running).await;

    // The link is lost in mid-run: the next hello finds the same plan again.
    drop(line);
    let mut line = host.connected(&running).await;
    let Response::Offer(again) = line.next().await.expect("the same offer") else { panic!("expected the offer again") };
    assert_eq!(again.plan, proposed.body);
    let receipt = crate::stage::receipt(proposed.id, Outcome::Restored, now());
    for _ in 0..2 {
        line.say(Request::Receipt(receipt.clone().into())).await;
        let Response::ReceiptAcknowledged(done) = line.next().await.expect("an acknowledgement") else { panic!("expected one") };
        assert_eq!(done.plan, proposed.id.0.to_vec());
    }
    assert_eq!(line.report(&sight("EX1", &certificate_until("EX1", Span::days(1_800).after(now()))), 1, 2).await, 1);
    plan(&running, Life::Confirmed).await;
    let entries = running.store.audit(0, 1_000).await.expect("a page");
    assert_eq!(audit::verify(Head::EMPTY, &entries), Ok(running.store.audit_head().await.expect("a head")));
    running.stopped().await;
}

#[tokio::test]
async fn a_checkup_is_acknowledged_as_often_as_it_is_told_and_the_next_welcome_names_it() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let mut line = host.connected(&running).await;
    let named = crate::stage::looked(now());
    for _ in 0..2 {
        line.say(Request::Checkup(named.clone().into())).await;
        let Response::CheckupAcknowledged(done) = line.next().await.expect("an acknowledgement") else { panic!("expected one") };
        assert_eq!(done.id, named.id.0.to_vec());
    }
    assert_eq!(running.store.checkups(&server("EX1")).await.expect("reads").into_all(), std::slice::from_ref(&named));
    drop(line);
    let mut line = host.open(&running, host.hello()).await;
    let Response::Welcome(welcome) = line.next().await.expect("a welcome") else { panic!("expected a welcome") };
    assert_eq!(welcome.checkups.expect("it keeps checkups").ids, [named.id.0.to_vec()]);
    running.stopped().await;
}

#[tokio::test]
async fn a_hello_in_anothers_name_is_refused_and_told_once() {
    let running = running().await;
    let host = TestHost::enrolled(&running, "EX1").await;
    for _ in 0..3 {
        let hello = agent::Hello { server: "EX2".to_owned(), ..host.hello() };
        let status = host.open(&running, hello).await.end().await;
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("expected a message of EX1"), "{}", status.message());
    }
    let told = running.store.audit(0, 100).await.expect("a page");
    assert_eq!(told.iter().filter(|entry| entry.action == "agent.refused").count(), 1);
    running.stopped().await;
}

#[tokio::test]
async fn a_clone_beside_the_connected_machine_is_sent_away_and_alone_it_is_quarantined() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let first = host.connected(&running).await;
    let clone = agent::Hello { machine_id: "machine-clone".to_owned(), ..host.hello() };
    assert_eq!(host.open(&running, clone.clone()).await.end().await.code(), Code::PermissionDenied);
    heartbeat(&first).await;
    let identity = async || running.store.identities(&server("EX1")).await.expect("reads").remove(0);
    assert_eq!(identity().await.state, IdentityState::Active, "the machine with the session keeps the identity");
    drop(first);
    // Whichever comes first, the end of that stream or the next hello, a lone clone is quarantined in the end.
    let quarantined = async {
        while identity().await.state != IdentityState::Quarantined {
            assert_eq!(host.open(&running, clone.clone()).await.end().await.code(), Code::PermissionDenied);
        }
    };
    tokio::time::timeout(LIMIT, quarantined).await.expect("quarantined in time");
    let status = host.open(&running, host.hello()).await.end().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("quarantined"), "{}", status.message());
    running.stopped().await;
}

#[tokio::test]
async fn an_older_report_a_report_for_another_host_and_one_out_of_order_end_the_stream() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let certificate = certificate_until("EX1", Span::days(1_000).after(now()));
    let mut line = host.connected(&running).await;
    line.report(&sight("EX1", &certificate), 1, 5).await;
    let message = |name: &str, epoch, counter| agent::ReportMessage {
        generation: Some(proto::types::Generation { epoch, counter }),
        report: Some(sight(name, &certificate).report.into()),
        decision: String::new(),
        seen_at: now().as_microsecond(),
        memory: Vec::new(),
    };
    for (said, told) in [
        (Request::Report(message("EX1", 1, 4)), "expected a generation above 1.5, found 1.4"),
        (Request::Report(message("EX2", 1, 6)), "found one of EX2"),
        (Request::Report(message("EX1", 2, 1)), "expected epoch 1 at most, found 2"),
        (Request::Hello(host.hello()), "expected one hello"),
        (Request::Report(agent::ReportMessage { report: None, ..message("EX1", 1, 7) }), "ReportMessage.report"),
    ] {
        line.say(said).await;
        let status = line.end().await;
        assert!(status.message().contains(told), "expected {told:?}, found {status:?}");
        line = host.connected(&running).await;
    }
    let row = running.store.server(&server("EX1")).await.expect("reads").expect("is there");
    assert_eq!((row.generation.epoch, row.generation.counter), (1, 5));
    running.stopped().await;
}

#[tokio::test]
async fn an_agent_that_is_evicted_in_mid_session_is_not_heard_again() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let mut line = host.connected(&running).await;
    let identity = running.store.identities(&server("EX1")).await.expect("reads").remove(0);
    running
        .store
        .narrow(identity.key_id, IdentityState::Evicted, "sold".to_owned(), Actor::Console, now())
        .await
        .expect("evicted");
    heartbeat(&line).await;
    let status = line.end().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("sold"), "{}", status.message());
    running.stopped().await;
}

#[tokio::test]
async fn a_newer_session_displaces_the_older_and_a_stop_ends_all_in_order() {
    let running = running().await;
    let mut host = TestHost::enrolled(&running, "EX1").await;
    let mut first = host.connected(&running).await;
    let mut second = host.connected(&running).await;
    assert_eq!(first.end().await.code(), Code::Aborted);
    running.stop.cancel();
    assert_eq!(second.end().await.code(), Code::Unavailable);
    running.stopped().await;
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_dropped_and_the_others_are_not_held_up() {
    let running = running().await;
    let mut deaf = TestHost::enrolled(&running, "EX1").await;
    let mut good = TestHost::enrolled(&running, "EX2").await;
    let mut line = deaf.connected(&running).await;
    let receipt = crate::stage::receipt(policy::id::Sha256([1; 32]), Outcome::Undone, now());
    let message = || OpenRequest { message: Some(Request::Receipt(receipt.clone().into())) };
    // Each is answered, and no answer is read. When nobody listens any more, the stream is closed or full.
    let mut sent = 0;
    while sent < 20_000 && matches!(tokio::time::timeout(LIMIT / 10, line.say.send(message())).await, Ok(Ok(()))) {
        sent += 1;
    }
    let mut heard = 0;
    let last = async {
        while let Ok(Some(_)) = line.hear.message().await {
            heard += 1;
        }
    };
    tokio::time::timeout(LIMIT, last).await.expect("its stream ended");
    assert!(heard < sent, "what waits for an agent is bounded: it heard {heard} of {sent} answers");
    let mut other = good.connected(&running).await;
    other.report(&sight("EX2", &certificate_until("EX2", Span::days(1_000).after(now()))), 1, 1).await;
    // It comes back, and is heard again.
    deaf.connected(&running).await.report(&sight("EX1", &certificate_until("EX1", Span::days(1_000).after(now()))), 1, 1).await;
    running.stopped().await;
}

#[tokio::test]
async fn the_operators_port_says_what_it_answers() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let running = running().await;
    let carl = channel(running.addresses.operators, running.client(Some(running.operator("carl", PersonRole::Viewer)))).await;
    let mut client = ServerReflectionClient::new(carl.expect("connects"));
    let mut ask = async |wanted| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(wanted) };
        let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.expect("answers").into_inner();
        answers.message().await.expect("a message").expect("one").message_response.expect("an answer")
    };
    let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("expected a list")
    };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"backstay.operator.v1.OperatorService".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("agent")), "what is not answered here: {names:?}");
    let symbol = MessageRequest::FileContainingSymbol("backstay.operator.v1.OperatorService".to_owned());
    let MessageResponse::FileDescriptorResponse(file) = ask(symbol).await else { panic!("expected a file") };
    assert!(file.file_descriptor_proto[0].windows(8).any(|bytes| bytes == b"MakeStop"));
}
