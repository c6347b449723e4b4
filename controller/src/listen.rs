//! The accept loop (docs/decisions/0007-own-accept-loop.md): connections in, handshakes bounded in number and time, finished TLS streams out to tonic,
//! each with what its certificate says.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use policy::id::Sha256;
use proto::names::Peer;
use rustls::{NamedGroup, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::operators::access::Scope;

/// Connections that the system keeps for us until we take them: a whole estate may come back at once.
const BACKLOG: u32 = 4096;

/// Handshakes at once. Each costs a signature; the others wait in the backlog.
const HANDSHAKES: usize = 64;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a browser may take to say what it wants.
const HEAD: Duration = Duration::from_secs(10);

/// Who is at the other end, as proven by TLS or by a token. In the extensions of each request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// From where.
    pub address: SocketAddr,
    /// By the certificate; `None` where none is asked for.
    pub identity: Option<CallerIdentity>,
    /// The key exchange that was agreed.
    pub key_exchange: Option<NamedGroup>,
}

/// What a client certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// Who.
    pub peer: Peer,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub key_id: Sha256,
    /// SHA-256 of the certificate.
    pub certificate: Sha256,
    /// Less than the role has, when a program asks by a token.
    pub scope: Option<Scope>,
}

/// A bound port that does not accept yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes the port.
    ///
    /// # Errors
    /// As the system gives it.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // On Unix a restart would otherwise wait for old connections; on Windows it would let others take the port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// The port as it is, also when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bare listener, for plain HTTP on loopback.
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }

    /// Accepts until `stop`, at most `connections` open at once. What the future does must be driven by somebody; what it yields is
    /// for tonic.
    pub fn accept(
        self,
        config: Arc<ServerConfig>,
        connections: usize,
        stop: CancellationToken,
    ) -> (impl Future<Output = ()> + Send, ReceiverStream<io::Result<Accepted>>) {
        let (accepted, stream) = mpsc::channel(HANDSHAKES);
        (
            run(self.listener, TlsAcceptor::from(config), Arc::new(Semaphore::new(connections)), accepted, stop),
            ReceiverStream::new(stream),
        )
    }
}

async fn run(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    connections: Arc<Semaphore>,
    accepted: mpsc::Sender<io::Result<Accepted>>,
    stop: CancellationToken,
) {
    let mut handshakes = JoinSet::new();
    loop {
        // A place first: whoever finds none waits in the backlog, not in our memory.
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = place(&connections, &mut handshakes) => place,
        };
        let Some(place) = place else { break };
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            incoming = listener.accept() => match incoming {
                Ok(incoming) => incoming,
                Err(error) => {
                    // Out of file handles, or the peer gave up while it waited: neither is a reason to stop.
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, handshake(acceptor, stream, address, place)).await {
                // Nobody takes it any more: we are stopping.
                Ok(Ok(connection)) => drop(accepted.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::debug!(%address, error = &error as &dyn std::error::Error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
            }
        });
    }
    handshakes.abort_all();
    while handshakes.join_next().await.is_some() {}
}

/// A place for one more connection, when there is one and not too many handshakes are under way.
async fn place(connections: &Arc<Semaphore>, handshakes: &mut JoinSet<()>) -> Option<OwnedSemaphorePermit> {
    while handshakes.try_join_next().is_some() {}
    if handshakes.len() >= HANDSHAKES {
        handshakes.join_next().await;
    }
    Arc::clone(connections).acquire_owned().await.ok()
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let connection = stream.get_ref().1;
    let identity = match connection.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => Some(identity(certificate)?),
        None => None,
    };
    let key_exchange = connection.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
    Ok(Accepted { stream, caller: Caller { address, identity, key_exchange }, _place: place })
}

fn identity(certificate: &[u8]) -> io::Result<CallerIdentity> {
    let peer = Peer::of_certificate(certificate).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(CallerIdentity { peer, key_id: Sha256::of(parsed.public_key().raw), certificate: Sha256::of(certificate), scope: None })
}

/// A TLS connection whose handshake is done.
#[derive(Debug)]
pub struct Accepted {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    _place: OwnedSemaphorePermit,
}

impl Connected for Accepted {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Answers browsers until `until`, then those that are being answered. Who does not say what it wants in time is let go: a place is worth something, and
/// nobody has shown a certificate for it.
pub async fn answer_browsers(
    mut accepted: ReceiverStream<io::Result<Accepted>>,
    router: axum::Router,
    tasks: TaskTracker,
    until: CancellationToken,
) {
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let all = GracefulShutdown::new();
    loop {
        // The accept loop sends no error, and ends only when we are stopping.
        let connection = tokio::select! {
            () = until.cancelled() => break,
            next = accepted.next() => match next {
                Some(Ok(connection)) => TokioIo::new(connection),
                Some(Err(_)) | None => break,
            },
        };
        let answering = http.serve_connection(connection, TowerToHyperService::new(router.clone())).into_owned();
        let answering = all.watch(answering);
        tasks.spawn(async move {
            if let Err(error) = answering.await {
                tracing::debug!(error = &*error, "a browser went away");
            }
        });
    }
    all.shutdown().await;
}
