//! A host as a test plays it: a key, an enrolled identity, a stream.

use policy::Timestamp;
use policy::id::ServerName;
use policy::report::Sight;
use proto::agent::open_request::Message as Request;
use proto::agent::open_response::Message as Response;
use proto::agent::{self, EnrolRequest, EnrolmentServiceClient, OpenRequest, OpenResponse, SessionServiceClient};
use proto::token::Secret;
use proto::types;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{LIMIT, Running, channel};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::stage::server;

pub(super) struct TestHost {
    pub(super) name: ServerName,
    pub(super) key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) lineage: Vec<u8>,
    pub(super) held: agent::Held,
}

/// A stream after its hello.
pub(super) struct TestLine {
    pub(super) say: mpsc::Sender<OpenRequest>,
    pub(super) hear: Streaming<OpenResponse>,
}

pub(super) fn now() -> Timestamp {
    Clock::system().now()
}

pub(super) fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}

pub(super) async fn token(running: &Running, name: &str) -> Secret {
    let secret = Secret::generate().expect("random");
    running.store.create_token(&server(name), secret.hash(), 600, Actor::Console, now()).await.expect("a token");
    secret
}

pub(super) fn knock(name: &str, secret: &Secret, key: &KeyPair) -> EnrolRequest {
    EnrolRequest {
        secret: secret.to_text().to_string(),
        server: name.to_owned(),
        machine_id: format!("machine-{name}"),
        request: request(key),
        agent_version: "0.1.0".to_owned(),
    }
}

pub(super) async fn door(running: &Running) -> EnrolmentServiceClient<tonic::transport::Channel> {
    EnrolmentServiceClient::new(channel(running.addresses.enrolment, running.client(None)).await.expect("connects"))
}

impl TestHost {
    /// Enrols with a token of its own.
    pub(super) async fn enrolled(running: &Running, name: &str) -> Self {
        let (secret, key) = (token(running, name).await, KeyPair::generate().expect("a key"));
        let answer = door(running).await.enrol(knock(name, &secret, &key)).await.expect("in").into_inner();
        assert_eq!(answer.ca, [running.authority().certificate().to_vec()]);
        assert!(answer.trust.is_some() && answer.policy.is_some());
        let certificate = CertificateDer::from(answer.certificate);
        Self { name: server(name), key, certificate, lineage: Vec::new(), held: agent::Held::default() }
    }

    pub(super) fn identity(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        (self.certificate.clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der())))
    }

    pub(super) fn hello(&self) -> agent::Hello {
        agent::Hello {
            protocol: proto::PROTOCOL,
            server: self.name.to_string(),
            machine_id: format!("machine-{}", self.name),
            agent_version: "0.1.0".to_owned(),
            lineage: self.lineage.clone(),
            held: Some(self.held.clone()),
            now: now().as_microsecond(),
            ..agent::Hello::default()
        }
    }

    /// Opens a stream and says this hello.
    pub(super) async fn open(&self, running: &Running, hello: agent::Hello) -> TestLine {
        let channel = channel(running.addresses.agents, running.client(Some(self.identity()))).await.expect("connects");
        let (say, said) = mpsc::channel(64);
        say.send(OpenRequest { message: Some(Request::Hello(hello)) }).await.expect("open");
        let mut client = SessionServiceClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE);
        TestLine { say, hear: client.open(ReceiverStream::new(said)).await.expect("a stream").into_inner() }
    }

    /// Opens a stream, keeps the lineage, takes the documents that are sent and says so.
    pub(super) async fn connected(&mut self, running: &Running) -> TestLine {
        let mut line = self.open(running, self.hello()).await;
        let Response::Welcome(welcome) = line.next().await.expect("a welcome") else { panic!("expected a welcome") };
        self.lineage = welcome.lineage;
        if self.held.trust_version == 0 {
            let (Response::Trust(trust), Response::Policy(policy)) =
                (line.next().await.expect("trust"), line.next().await.expect("policy"))
            else {
                panic!("expected the documents in force, trust first")
            };
            let id = |signed: types::Signed| policy::id::Sha256::of(&signed.body).0.to_vec();
            self.held = agent::Held {
                trust: id(trust),
                trust_version: 1,
                policy: id(policy),
                policy_version: 1,
                ..agent::Held::default()
            };
            line.say(Request::Held(self.held.clone())).await;
        }
        line
    }
}

impl TestLine {
    pub(super) async fn say(&self, message: Request) {
        self.say.send(OpenRequest { message: Some(message) }).await.expect("the stream is open");
    }

    pub(super) async fn next(&mut self) -> Result<Response, Status> {
        let message = tokio::time::timeout(LIMIT, self.hear.message()).await.expect("an answer in time")?;
        Ok(message.expect("the stream is open").message.expect("a message"))
    }

    /// The status with which the stream ends, whatever is said before.
    pub(super) async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(LIMIT, self.hear.message()).await.expect("an end in time") {
                Ok(Some(_)) => {}
                Ok(None) => panic!("expected a status, found a silent end"),
                Err(status) => return status,
            }
        }
    }

    /// Reports this, answers the request for certificates, and returns what was asked for.
    pub(super) async fn report(&mut self, sight: &Sight, epoch: u64, counter: u64) -> usize {
        let message = agent::ReportMessage {
            generation: Some(types::Generation { epoch, counter }),
            report: Some(sight.report.clone().into()),
            decision: "as seen".to_owned(),
            seen_at: now().as_microsecond(),
            memory: Vec::new(),
        };
        self.say(Request::Report(message)).await;
        let Response::ReportAcknowledged(answer) = self.next().await.expect("an acknowledgement") else {
            panic!("expected an acknowledgement")
        };
        assert_eq!(answer.generation, Some(types::Generation { epoch, counter }));
        let der: Vec<Vec<u8>> = sight
            .certificates
            .values()
            .filter(|certificate| answer.wanted.contains(&certificate.id().0.to_vec()))
            .map(|certificate| certificate.der().to_vec())
            .collect();
        if !der.is_empty() {
            self.say(Request::Certificates(agent::Certificates { der })).await;
        }
        answer.wanted.len()
    }
}
