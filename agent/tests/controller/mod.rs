//! A controller of a few lines for tests of the agent: a CA, a trust document, both services over real TLS. It remembers what
//! it hears and says what the test tells it to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::Timestamp;
use policy::id::{Generation, Sha256};
use policy::trust::{KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument, root_fingerprint};
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{
    EnrolRequest, EnrolResponse, EnrolmentService, EnrolmentServiceServer, GetSuccessorsRequest, GetSuccessorsResponse, Hello,
    OpenRequest, OpenResponse, ReceiptAcknowledged, RenewRequest, RenewResponse, ReportAcknowledged, SessionService,
    SessionServiceServer, Welcome,
};
use proto::names::CONTROLLER;
use proto::signed::{SignedBytes, SigningKey};
use proto::token::{JoinToken, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a CA"))
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn id(&self) -> Sha256 {
        Sha256::of(&self.der())
    }

    /// Chain and key of a controller.
    fn controller(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new([name.to_owned()]).expect("a name").signed_by(&key, &self.0).expect("a certificate");
        (vec![leaf.der().clone(), self.der()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// A certificate as the agent asked for, that ends after `life`; half of its life is over.
    fn agent(&self, request: &[u8], life: Duration) -> Vec<u8> {
        let (_, request) = X509CertificationRequest::from_der(request).expect("a request");
        let key = Point(request.certification_request_info.subject_pki.subject_public_key.data.to_vec());
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = vec![SanType::URI("backstay://contoso/agent/EX1".try_into().expect("text"))];
        let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds());
        parameters.not_before = (now - life).into();
        parameters.not_after = (now + life).into();
        parameters.signed_by(&key, &self.0).expect("a certificate").der().to_vec()
    }
}

/// The public key of a request.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates of a test are valid in its own time")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

fn seconds() -> u64 {
    u64::try_from(now().as_second()).expect("after 1970")
}

/// What the test decides, and what the controller heard.
pub(crate) struct Mind {
    pub(crate) heard: Vec<Up>,
    pub(crate) enrolled: Vec<EnrolRequest>,
    pub(crate) renewed: usize,
    /// The life of the certificates that are issued.
    pub(crate) life: Duration,
    /// Lets the answer to an enrolment be another one.
    pub(crate) tamper: fn(&mut EnrolResponse),
    pub(crate) policy: Option<SignedBytes>,
    pub(crate) committed: BTreeMap<Generation, Sha256>,
    pub(crate) lineages: u8,
    /// To say something in the open session.
    pub(crate) line: Option<mpsc::Sender<Result<OpenResponse, Status>>>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) broken_handshakes: usize,
}

pub(crate) struct Controller {
    pub(crate) ca: Ca,
    pub(crate) root: SigningKey,
    pub(crate) anna: SigningKey,
    pub(crate) token: JoinToken,
    mind: Arc<Mutex<Mind>>,
    tasks: JoinSet<()>,
}

impl Controller {
    /// A controller that listens. `shows` is the CA and the name of its own certificate.
    pub(crate) async fn start() -> Self {
        Self::start_as(Ca::new(), None, CONTROLLER).await
    }

    pub(crate) async fn start_as(ca: Ca, shows: Option<&Ca>, name: &str) -> Self {
        let mind = Mind {
            heard: Vec::new(),
            enrolled: Vec::new(),
            renewed: 0,
            life: Duration::from_secs(86_400),
            tamper: |_| {},
            policy: None,
            committed: BTreeMap::new(),
            lineages: 0,
            line: None,
            groups: BTreeSet::new(),
            broken_handshakes: 0,
        };
        let root = SigningKey::generate().expect("a key");
        let mut controller = Self {
            token: JoinToken {
                estate: "contoso".parse().expect("a name"),
                server: "EX1".parse().expect("a name"),
                ca: BTreeSet::from([ca.id()]),
                root: root_fingerprint(&Root { threshold: 1, keys: BTreeSet::from([root.id()]) }),
                secret: Secret::generate().expect("a secret"),
                controllers: Vec::new(),
                agents: Vec::new(),
            },
            anna: SigningKey::generate().expect("a key"),
            root,
            ca,
            mind: Arc::new(Mutex::new(mind)),
            tasks: JoinSet::new(),
        };
        let service = Service {
            ca: Ca(rebuild(&controller.ca)),
            trust: controller.trust(1, controller.ca.id()),
            mind: controller.mind.clone(),
        };
        let service = Arc::new(service);
        let (chain, key) = shows.unwrap_or(&controller.ca).controller(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("TLS 1.3")
        };
        let mut anonymous = builder().with_no_client_auth().with_single_cert(chain.clone(), key.clone_key()).expect("a key pair");
        anonymous.alpn_protocols = vec![b"h2".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(controller.ca.der()).expect("a CA");
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().expect("a verifier");
        let mut mutual = builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).expect("a key pair");
        mutual.alpn_protocols = vec![b"h2".to_vec()];

        let enrolment = tonic::transport::Server::builder().add_service(EnrolmentServiceServer::from_arc(service.clone()));
        let sessions = tonic::transport::Server::builder().add_service(SessionServiceServer::from_arc(service));
        let (incoming, address) = controller.listen(anonymous).await;
        controller.token.controllers = vec![address];
        controller.tasks.spawn(async move { enrolment.serve_with_incoming(incoming).await.expect("serves") });
        let (incoming, address) = controller.listen(mutual).await;
        controller.token.agents = vec![address];
        controller.tasks.spawn(async move { sessions.serve_with_incoming(incoming).await.expect("serves") });
        controller
    }

    pub(crate) fn mind(&self) -> MutexGuard<'_, Mind> {
        self.mind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trust(&self, version: u64, ca: Sha256) -> SignedBytes {
        let anna = PersonKeys {
            roles: BTreeSet::from([PersonRole::Approver]),
            keys: vec![PersonKey { key: self.anna.id(), kind: KeyKind::File, until: Timestamp::MAX }],
        };
        let document = TrustDocument {
            estate: "contoso".parse().expect("a name"),
            version,
            root: Root { threshold: 1, keys: BTreeSet::from([self.root.id()]) },
            persons: BTreeMap::from([("anna".parse().expect("a name"), anna)]),
            need: BTreeMap::new(),
            browser: BTreeSet::new(),
            ca: BTreeSet::from([ca]),
        };
        sign(Kind::Trust, document.to_bytes(), &self.root)
    }

    pub(crate) fn policy(&self, text: &str) -> SignedBytes {
        sign(Kind::Policy, format!("estate = \"contoso\"\n{text}").into_bytes(), &self.anna)
    }

    pub(crate) fn write_token(&self, path: &Path) {
        std::fs::write(path, self.token.encode().as_str()).expect("writes the token");
    }

    /// Says something in the session that is open.
    pub(crate) fn say(&self, message: Down) {
        let line = self.mind().line.clone().expect("a session is open");
        line.try_send(Ok(OpenResponse { message: Some(message) })).expect("room in the line");
    }

    /// Ends the session that is open.
    pub(crate) fn hang_up(&self) {
        self.mind().line = None;
    }

    async fn listen(
        &mut self,
        config: ServerConfig,
    ) -> (ReceiverStream<std::io::Result<tokio::io::DuplexStream>>, proto::names::Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string().parse().expect("an address");
        let (give, incoming) = mpsc::channel(4);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mind = self.mind.clone();
        self.tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                lines.spawn(serve(tcp, acceptor.clone(), give.clone(), mind.clone()));
            }
        });
        (ReceiverStream::new(incoming), address)
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    give: mpsc::Sender<std::io::Result<tokio::io::DuplexStream>>,
    mind: Arc<Mutex<Mind>>,
) {
    let Ok(mut tls) = acceptor.accept(tcp).await else {
        mind.lock().expect("not poisoned").broken_handshakes += 1;
        return;
    };
    if let Some(group) = tls.get_ref().1.negotiated_key_exchange_group() {
        mind.lock().expect("not poisoned").groups.insert(format!("{:?}", group.name()));
    }
    let (mut here, there) = tokio::io::duplex(64 * 1024);
    if give.send(Ok(there)).await.is_ok() {
        let _ = copy_bidirectional(&mut tls, &mut here).await;
    }
}

fn rebuild(ca: &Ca) -> CertifiedIssuer<'static, KeyPair> {
    let key = KeyPair::try_from(ca.0.key().serialize_der()).expect("a key");
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, key).expect("a CA")
}

fn sign(kind: Kind, body: Vec<u8>, key: &SigningKey) -> SignedBytes {
    let mut signed = SignedBytes::unsigned(body);
    key.sign(kind, &mut signed).expect("room for a signature");
    signed
}

struct Service {
    ca: Ca,
    trust: SignedBytes,
    mind: Arc<Mutex<Mind>>,
}

#[tonic::async_trait]
impl EnrolmentService for Service {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        let mut mind = self.mind.lock().expect("not poisoned");
        let mut response = EnrolResponse {
            certificate: self.ca.agent(&request.request, mind.life),
            ca: vec![self.ca.der().to_vec()],
            trust: Some(self.trust.clone().into()),
            policy: mind.policy.clone().map(Into::into),
        };
        (mind.tamper)(&mut response);
        mind.enrolled.push(request);
        Ok(Response::new(response))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let mut mind = self.mind.lock().expect("not poisoned");
        mind.renewed += 1;
        // The new one begins now, and is not due.
        let life = Duration::from_secs(30 * 86_400);
        Ok(Response::new(RenewResponse { certificate: self.ca.agent(&request.into_inner().request, life) }))
    }

    async fn get_successors(&self, _: Request<GetSuccessorsRequest>) -> Result<Response<GetSuccessorsResponse>, Status> {
        Ok(Response::new(GetSuccessorsResponse { trust: vec![self.trust.clone().into()] }))
    }
}

#[tonic::async_trait]
impl SessionService for Service {
    type OpenStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<OpenResponse, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<OpenRequest>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut incoming = request.into_inner();
        // As a controller may: nothing is answered before the hello was heard.
        let Some(OpenRequest { message: Some(Up::Hello(hello)) }) = incoming.message().await? else {
            return Err(Status::failed_precondition("expected a hello first"));
        };
        let (out, stream) = mpsc::channel(64);
        out.try_send(Ok(OpenResponse { message: Some(Down::Welcome(self.welcome(&hello))) })).expect("room");
        self.mind.lock().expect("not poisoned").line = Some(out);
        self.mind.lock().expect("not poisoned").heard.push(Up::Hello(hello));
        let mind = self.mind.clone();
        #[expect(clippy::disallowed_methods, reason = "it ends with the stream that it reads")]
        tokio::spawn(async move {
            while let Ok(Some(OpenRequest { message: Some(message) })) = incoming.message().await {
                hear(&mind, message);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Service {
    fn welcome(&self, _: &Hello) -> Welcome {
        let mut mind = self.mind.lock().expect("not poisoned");
        mind.lineages += 1;
        let newest = mind.committed.last_key_value();
        Welcome {
            lineage: vec![mind.lineages; 32],
            epoch: 1,
            acknowledged: newest.map(|(generation, _)| (*generation).into()),
            digest: newest.map(|(_, digest)| digest.0.to_vec()).unwrap_or_default(),
            heartbeat_seconds: 1,
            now: now().as_microsecond(),
            policy: mind.policy.as_ref().map(|policy| policy.id().0.to_vec()).unwrap_or_default(),
            checkups: None,
            recall: false,
        }
    }
}

fn hear(mind: &Mutex<Mind>, message: Up) {
    let mut mind = mind.lock().expect("not poisoned");
    let answer = match &message {
        Up::Report(report) => {
            let generation = report.generation.expect("a generation");
            let content = policy::report::Report::try_from(report.report.clone().expect("a report")).expect("reads");
            mind.committed.insert(generation.into(), content.digest());
            let wanted = content.named_certificates().into_iter().map(|id| id.0.to_vec()).collect();
            Some(Down::ReportAcknowledged(ReportAcknowledged {
                generation: Some(generation),
                wanted,
                audit_sequence: 1,
                audit_head: vec![1; 32],
            }))
        }
        Up::Receipt(receipt) => Some(Down::ReceiptAcknowledged(ReceiptAcknowledged { plan: receipt.plan.clone() })),
        Up::Hello(_)
        | Up::Certificates(_)
        | Up::Heartbeat(_)
        | Up::Answer(_)
        | Up::Held(_)
        | Up::Checkup(_)
        | Up::Remembered(_)
        | Up::PeerSeen(_) => None,
    };
    mind.heard.push(message);
    if let (Some(answer), Some(line)) = (answer, &mind.line) {
        let _ = line.try_send(Ok(OpenResponse { message: Some(answer) }));
    }
}
