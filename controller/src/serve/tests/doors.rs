use policy::trust::PersonRole;
use proto::agent::{OpenRequest, RenewRequest, SessionServiceClient};
use proto::names::Peer;
use rcgen::KeyPair;
use tokio_stream::StreamExt;
use tonic::Code;

use super::host::{TestHost, door, knock, now, request, token};
use super::{channel, running};
use crate::audit::Actor;
use crate::store::IdentityState;

#[tokio::test]
async fn a_host_enrols_and_renews_by_its_key_and_nobody_else_does() {
    let running = running().await;
    let host = TestHost::enrolled(&running, "EX1").await;
    assert_eq!(Peer::of_certificate(&host.certificate).expect("a peer").to_string(), "backstay://contoso/agent/EX1");
    let mut door = door(&running).await;
    let renewed = door.renew(RenewRequest { certificate: host.certificate.to_vec(), request: request(&host.key) }).await;
    let renewed = renewed.expect("renewed").into_inner().certificate;
    assert_ne!(renewed, host.certificate.to_vec());
    assert_eq!(Peer::of_certificate(&renewed), Peer::of_certificate(&host.certificate));
    // A thief with the certificate and another key.
    let stranger = KeyPair::generate().expect("a key");
    let refused = door.renew(RenewRequest { certificate: host.certificate.to_vec(), request: request(&stranger) }).await;
    assert_eq!(refused.expect_err("another key").code(), Code::PermissionDenied);
    // A host with another host's certificate.
    let other = TestHost::enrolled(&running, "EX2").await;
    let refused = door.renew(RenewRequest { certificate: other.certificate.to_vec(), request: request(&host.key) }).await;
    assert_eq!(refused.expect_err("another name").code(), Code::PermissionDenied);
    running.stopped().await;
}

#[tokio::test]
async fn a_wrong_token_and_messages_that_mean_nothing_are_refused_without_a_trace() {
    let running = running().await;
    let secret = token(&running, "EX1").await;
    let before = running.store.audit_head().await.expect("a head");
    let key = KeyPair::generate().expect("a key");
    let good = || knock("EX1", &secret, &key);
    let mut door = door(&running).await;
    let wrong = proto::token::Secret::generate().expect("random");
    for (request, code) in [
        (knock("EX1", &wrong, &key), Code::PermissionDenied),
        (knock("EX2", &secret, &key), Code::PermissionDenied),
        (proto::agent::EnrolRequest { secret: "short".to_owned(), ..good() }, Code::InvalidArgument),
        (proto::agent::EnrolRequest { server: "EX 1".to_owned(), ..good() }, Code::InvalidArgument),
        (proto::agent::EnrolRequest { machine_id: String::new(), ..good() }, Code::InvalidArgument),
        (proto::agent::EnrolRequest { request: good().request[..40].to_vec(), ..good() }, Code::InvalidArgument),
        (proto::agent::EnrolRequest { request: vec![0x30; 100 * 1024], ..good() }, Code::OutOfRange),
    ] {
        assert_eq!(door.enrol(request).await.expect_err("refused").code(), code);
    }
    assert_eq!(running.store.audit_head().await.expect("a head"), before);
    door.enrol(good()).await.expect("the token is still good");
    running.stopped().await;
}

#[tokio::test]
async fn a_second_machine_for_a_name_is_told_to_wait_for_a_person() {
    let running = running().await;
    TestHost::enrolled(&running, "EX1").await;
    let (secret, key) = (token(&running, "EX1").await, KeyPair::generate().expect("a key"));
    let waits = door(&running).await.enrol(knock("EX1", &secret, &key)).await.expect_err("waits");
    assert_eq!(waits.code(), Code::FailedPrecondition);
    assert!(waits.message().contains("a person must admit this machine"), "{}", waits.message());
    let identities = running.store.identities(&crate::stage::server("EX1")).await.expect("reads");
    let pending = identities.iter().find(|identity| identity.state == IdentityState::Pending).expect("it waits");
    running.store.admit(pending.key_id, Actor::Console, now()).await.expect("admitted");
    door(&running).await.enrol(knock("EX1", &secret, &key)).await.expect("in");
    running.stopped().await;
}

#[tokio::test]
async fn nobody_speaks_on_the_agents_port_without_an_agents_certificate() {
    let running = running().await;
    // TLS itself refuses who has none: the connection breaks before any answer.
    let open = |config| {
        let address = running.addresses.agents;
        async move {
            let channel = channel(address, config).await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            SessionServiceClient::new(channel).open(tokio_stream::empty::<OpenRequest>().merge(tokio_stream::pending())).await
        }
    };
    assert!(open(running.client(None)).await.is_err());
    let refused = open(running.client(Some(running.operator("carl", PersonRole::Admin)))).await.expect_err("no agent");
    assert_eq!(refused.code(), Code::PermissionDenied);
    running.stopped().await;
}
