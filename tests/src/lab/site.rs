//! The two IIS sites of a host: the front end on 443, which only proxies, and the back end on 444, which does the work.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName as DnsName;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use super::control::{BREATH, pause};
use super::http::{self, Request};
use super::httpsys::HttpSys;

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 256;

/// How long a connection may take, from its first byte to its last.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a back end may take before the front end gives up.
const BACK_END_LIMIT: Duration = Duration::from_secs(10);

/// The longest answer of a back end that is passed on, in bytes.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// One site of one host.
pub(super) struct Site {
    /// The port that Windows knows it by.
    pub(super) port: u16,
    /// The host's http.sys.
    pub(super) http_sys: Arc<Mutex<HttpSys>>,
    /// What it does with a request.
    pub(super) role: Role,
}

/// What a site is for.
pub(super) enum Role {
    /// Passes requests to the back end of the named server, else to its own.
    FrontEnd {
        /// The host's own name.
        own: String,
        /// Every back end of the estate, by name.
        back_ends: Arc<BTreeMap<String, BackEnd>>,
        /// How it speaks to them.
        tls: Arc<ClientConfig>,
    },
    /// Answers.
    BackEnd {
        /// The host's name.
        name: String,
    },
}

/// Where a back end is.
pub(super) struct BackEnd {
    /// The server's full name.
    pub(super) fqdn: String,
    /// Its 444.
    pub(super) address: SocketAddr,
}

impl Site {
    /// Serves until it is dropped.
    pub(super) async fn serve(self, listener: TcpListener) {
        let site = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let site = site.clone();
                        // Clients that leave are everyday; what they see is what is tested.
                        connections.spawn(async move { tokio::time::timeout(LIMIT, site.connection(stream)).await.ok() });
                    }
                    Err(error) => {
                        tracing::warn!(%error, port = site.port, "connection could not be accepted");
                        pause(BREATH).await;
                    }
                },
            }
        }
    }

    async fn connection(&self, stream: TcpStream) -> io::Result<()> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = hello.client_hello().server_name().map(str::to_owned);
        let loaded = self.http_sys.lock().unwrap_or_else(PoisonError::into_inner).credential(self.port, name.as_deref());
        // Without a certificate http.sys closes after the ClientHello, and a client sees the connection reset.
        let Some(config) = loaded else { return Ok(()) };
        let mut tls = hello.into_stream(config).await?;
        if let Some(request) = Request::read(&mut tls).await? {
            let answer = match &self.role {
                Role::BackEnd { name } => http::page(&format!("Exchange Back End {name}\n")),
                Role::FrontEnd { own, back_ends, tls } => {
                    let asked = request.mailbox().unwrap_or(own).to_ascii_uppercase();
                    let passed = match back_ends.get(&asked) {
                        Some(back_end) => tokio::time::timeout(BACK_END_LIMIT, pass(&request, back_end, tls)).await.ok(),
                        None => None,
                    };
                    // What users see when 444 is dead: they log on, and the page stays blank.
                    passed.and_then(Result::ok).unwrap_or_else(|| http::page(""))
                }
            };
            tls.write_all(&answer).await?;
        }
        tls.shutdown().await
    }
}

/// Passes a request to a back end over TLS and gives its answer.
async fn pass(request: &Request, back_end: &BackEnd, tls: &Arc<ClientConfig>) -> io::Result<Vec<u8>> {
    let name = DnsName::try_from(back_end.fqdn.clone()).map_err(io::Error::other)?;
    let stream = TcpStream::connect(back_end.address).await?;
    let mut stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
    request.write(&mut stream, &format!("{}:444", back_end.fqdn)).await?;
    let mut answer = Vec::new();
    (&mut stream).take(MAX_ANSWER).read_to_end(&mut answer).await?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
