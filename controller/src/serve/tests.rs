//! A whole controller on loopback, with real TLS, spoken to as agents and operators do.

mod crowds;
mod doors;
mod host;
mod sessions;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use policy::trust::PersonRole;
use proto::names::CONTROLLER;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::stage::{PROPOSE, People, estate, person};

/// Nothing here takes longer, even on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// A controller that runs.
pub(super) struct Running {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) people: People,
    pub(super) addresses: Addresses,
    pub(super) stop: CancellationToken,
    pub(super) ended: tokio::task::JoinSet<Result<(), ServeError>>,
}

/// Initialised, with documents in force, on free ports.
pub(super) async fn running() -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, clock) = (config(folder.path()), Clock::system());
    Authority::create(folder.path(), &estate(), clock.now()).expect("an authority");
    let store = Store::open(&config.database(), &estate(), clock.now()).await.expect("a store");
    let people = People::new();
    people.rule(&store, 1, &PROPOSE.replace("60s", "0s")).await;
    let ports = Ports::bind(&config).expect("ports");
    let (addresses, stop) = (ports.addresses(), CancellationToken::new());
    let authority = Authority::load(folder.path(), &estate()).expect("an authority");
    let mut ended = tokio::task::JoinSet::new();
    let (kept, until) = (store.clone(), stop.clone());
    ended.spawn(async move { with_store(config, authority, ports, kept, |_| Ok(()), clock, until).await });
    Running { folder, store, people, addresses, stop, ended }
}

pub(super) fn config(folder: &Path) -> Config {
    let mut config = Config::from_toml("estate = \"contoso\"\nheartbeat_seconds = 5\n").expect("a configuration");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    config.state_dir = folder.to_owned();
    config.listen = crate::config::Listen { agents: free, enrolment: free, operators: free, web: free };
    config
}

/// For a controller that must not start: one that starts all the same ends at once, and well.
fn stopped_at_once() -> CancellationToken {
    let stop = CancellationToken::new();
    stop.cancel();
    stop
}

impl Running {
    pub(super) fn authority(&self) -> Authority {
        Authority::load(self.folder.path(), &estate()).expect("an authority")
    }

    /// Stops in order.
    pub(super) async fn stopped(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(LIMIT, self.ended.join_next()).await.expect("it stops in time");
        ended.expect("it ran").expect("no panic").expect("it stopped in order");
        self.store.close().await;
    }

    /// A TLS client that believes this controller's CA, and shows `identity` when it is asked.
    pub(super) fn client(&self, identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority().certificate().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).expect("an identity"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// The identity of an operator.
    pub(super) fn operator(&self, name: &str, role: PersonRole) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        use rustls::pki_types::pem::PemObject;
        let issued = self.authority().issue_operator(&person(name), role, Clock::system().now()).expect("issued");
        let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("PEM");
        (certificate, PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("PEM"))
    }
}

/// One TLS connection.
pub(super) async fn dial(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(CONTROLLER).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A gRPC channel over one such connection, dialled anew when it breaks.
pub(super) async fn channel(
    address: SocketAddr,
    config: ClientConfig,
) -> Result<tonic::transport::Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let config = config.clone();
        async move { dial(address, config).await.map(hyper_util::rt::TokioIo::new) }
    });
    // A small window, so that who does not read is soon full.
    let endpoint =
        tonic::transport::Endpoint::from_static("http://controller.backstay.internal").initial_stream_window_size(16 * 1024);
    endpoint.connect_with_connector(connector).await
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_on_every_port_and_no_ticket_is_given() {
    let running = running().await;
    let operator = running.operator("carl", PersonRole::Admin);
    let Addresses { agents, enrolment, operators, web: _, pages: _ } = running.addresses;
    for address in [agents, enrolment, operators] {
        let config = running.client(Some((operator.0.clone(), operator.1.clone_key())));
        let mut stream = dial(address, config).await.expect("a handshake");
        // Tickets would come before the first words of HTTP/2, which the server says unasked.
        let mut word = [0; 9];
        let heard = tokio::time::timeout(LIMIT, tokio::io::AsyncReadExt::read_exact(&mut stream, &mut word)).await;
        heard.expect("in time").expect("a frame");
        let connection = stream.get_ref().1;
        let group = connection.negotiated_key_exchange_group().expect("a group").name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(connection.tls13_tickets_received(), 0);
    }
    running.stopped().await;
}

#[tokio::test]
async fn a_root_key_in_the_state_folder_keeps_the_controller_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    Authority::create(folder.path(), &estate(), Clock::system().now()).expect("an authority");
    let store = Store::open(&config.database(), &estate(), Clock::system().now()).await.expect("a store");
    let people = People::new();
    people.rule(&store, 1, &PROPOSE.replace("60s", "0s")).await;
    store.close().await;
    drop(store);
    // By its name whatever it is, and by what it is whatever its name.
    let other = SigningKey::generate().expect("a key");
    for (name, key) in [("root.key", &other), ("contoso.root.key", &other), ("holiday.txt", &people.root)] {
        let path = folder.path().join(name);
        std::fs::write(&path, key.to_file_text().expect("a text").as_bytes()).expect("written");
        let refused = serve(config.clone(), |_| Ok(()), Clock::system(), stopped_at_once()).await;
        assert!(matches!(&refused, Err(ServeError::RootKey(found)) if *found == path), "{refused:?}");
        std::fs::remove_file(path).expect("removed");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_before_anything_runs() {
    let taken = Bound::new(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.listen.operators = taken.address();
    Authority::create(folder.path(), &estate(), Clock::system().now()).expect("an authority");
    let refused = serve(config.clone(), |_| Ok(()), Clock::system(), stopped_at_once()).await;
    assert!(matches!(refused, Err(ServeError::Bind { what: "operators", .. })), "{refused:?}");
    assert!(!config.database().exists(), "nothing was begun");
}

#[tokio::test]
async fn without_an_authority_it_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = serve(config(folder.path()), |_| Ok(()), Clock::system(), stopped_at_once()).await.expect_err("no authority");
    assert!(refused.to_string().contains("backstay init"), "{refused}");
}

#[tokio::test]
async fn the_ready_file_names_the_ports_and_metrics_and_health_answer_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    Authority::create(folder.path(), &estate(), Clock::system().now()).expect("an authority");
    let (ready, stop) = (folder.path().join("ready.json"), CancellationToken::new());
    let (path, until) = (ready.clone(), stop.clone());
    let mut ended = tokio::task::JoinSet::new();
    ended.spawn(async move { serve(config, |addresses| write_ready(&path, addresses), Clock::system(), until).await });
    let addresses = tokio::time::timeout(LIMIT, async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                return serde_json::from_str::<serde_json::Value>(&text).expect("whole");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("ready in time");
    let web: SocketAddr = addresses["web"].as_str().expect("an address").parse().expect("an address");
    assert!(get(web, "/healthz").await.ends_with("ok\n"));
    let metrics = get(web, "/metrics").await;
    assert!(metrics.contains("backstay_agents_connected 0"), "{metrics}");
    stop.cancel();
    tokio::time::timeout(LIMIT, ended.join_next()).await.expect("in time").expect("ran").expect("no panic").expect("in order");
}

async fn get(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    answer
}
