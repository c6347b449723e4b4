//! How the agent dials a controller: TLS 1.3 with a hybrid post-quantum key exchange first, and a controller believed only
//! when its certificate carries the one name of controllers and chains to a CA that is pinned by its SHA-256.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use policy::id::Sha256;
use proto::names::{Address, CONTROLLER};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::proxy::{Proxy, ProxyError};

/// How long connecting may take, from the name to the end of the handshake; through a proxy, each of the two ways.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What may be on its way before the agent has read it, in bytes.
const WINDOW: u32 = 256 * 1024;

/// A controller that could not be reached or is not believed.
#[derive(Debug, Error)]
pub enum DialError {
    /// Nobody there.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The address.
        address: Address,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The proxy gives no way to it.
    #[error("{address} cannot be reached through the proxy")]
    Proxy {
        /// The address.
        address: Address,
        /// What the proxy said.
        #[source]
        source: ProxyError,
    },
    /// No answer.
    #[error("{address}: expected a connection within {} s, found none", CONNECT_LIMIT.as_secs())]
    TimedOut {
        /// The address.
        address: Address,
    },
    /// Whoever answers is not a controller of this estate, or does not believe this agent.
    #[error("{address}: the TLS handshake failed")]
    Handshake {
        /// The address.
        address: Address,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No gRPC there.
    #[error("{address} does not speak gRPC")]
    NotGrpc {
        /// The address.
        address: Address,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

impl DialError {
    /// Somebody answers by a certificate that is not believed: another CA, or nobody's business.
    pub fn is_unbelieved(&self) -> bool {
        let Self::Handshake { source, .. } = self else { return false };
        let error = source.get_ref().and_then(|error| error.downcast_ref::<Error>());
        matches!(error, Some(Error::InvalidCertificate(_)))
    }
}

/// A connection, and the certificates by which the controller proved itself.
#[derive(Debug)]
pub struct Dialled {
    /// For one connection: it does not come back by itself.
    pub channel: Channel,
    /// The certificates that were shown.
    pub shown: Vec<CertificateDer<'static>>,
}

/// Connects to `address`, through the `proxy` if there is one. That changes nothing of what is asked of the controller.
///
/// # Errors
/// [`DialError`].
pub async fn dial(address: &Address, proxy: Option<&Proxy>, config: Arc<ClientConfig>) -> Result<Dialled, DialError> {
    let tunnel = match proxy {
        Some(proxy) => {
            let refused = |source| DialError::Proxy { address: address.clone(), source };
            Some(proxy.connect(address, CONNECT_LIMIT).await.map_err(refused)?)
        }
        None => None,
    };
    let connect = async {
        let tcp = match tunnel {
            Some(tunnel) => tunnel,
            None => TcpStream::connect(address.as_str())
                .await
                .map_err(|source| DialError::Unreachable { address: address.clone(), source })?,
        };
        // Small messages each way: waiting to fill a segment would only make acknowledgements late.
        tcp.set_nodelay(true).map_err(|source| DialError::Unreachable { address: address.clone(), source })?;
        let name = ServerName::try_from(CONTROLLER).expect("the name of controllers is a DNS name");
        TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|source| DialError::Handshake { address: address.clone(), source })
    };
    let stream = timeout(CONNECT_LIMIT, connect).await.map_err(|_| DialError::TimedOut { address: address.clone() })??;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();

    // The stream is there already: it is handed out once. Whoever lost it dials anew, with the documents of that moment.
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        std::future::ready(stream.take().ok_or_else(|| std::io::Error::other("the connection is over")))
    });
    let channel = Endpoint::from_static("http://controller.backstay.internal")
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .buffer_size(16)
        .connect_with_connector(connector)
        .await
        .map_err(|source| DialError::NotGrpc { address: address.clone(), source })?;
    Ok(Dialled { channel, shown })
}

/// For the enrolment port, where the agent does not prove itself by a certificate.
pub fn anonymous(ca: PinnedCa) -> Arc<ClientConfig> {
    let mut config = builder(ca).with_no_client_auth();
    finish(&mut config);
    Arc::new(config)
}

/// For the agents' port.
///
/// # Errors
/// [`Error`](enum@Error) when key and certificate cannot be used together.
pub fn identified(
    ca: PinnedCa,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, Error> {
    let mut config = builder(ca).with_client_auth_cert(vec![certificate], key)?;
    finish(&mut config);
    Ok(Arc::new(config))
}

/// For the enrolment port of whoever answers there: what is asked proves itself, and nothing that matters is said.
pub fn unbelieved() -> Arc<ClientConfig> {
    let anybody = Anybody { provider: Arc::new(aws_lc_rs::default_provider()) };
    let mut config = with(anybody.provider.clone(), Arc::new(anybody)).with_no_client_auth();
    finish(&mut config);
    Arc::new(config)
}

fn builder(ca: PinnedCa) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    with(ca.provider.clone(), Arc::new(ca))
}

fn with(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
}

fn finish(config: &mut ClientConfig) {
    // Each session is a full handshake: whether the agent is still admitted is asked there.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
}

/// Believes a controller whose certificate chains to one of these CA certificates. They are known by fingerprint; the bytes
/// come from the disk or from the controller itself, which shows its CA with its own certificate.
#[derive(Debug)]
pub struct PinnedCa {
    fingerprints: BTreeSet<Sha256>,
    known: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedCa {
    /// Believes these.
    pub fn new(fingerprints: BTreeSet<Sha256>, known: Vec<CertificateDer<'static>>) -> Self {
        Self { fingerprints, known, provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

/// Takes whoever answers: what is learnt so must prove itself.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        for ca in intermediates.iter().chain(&self.known).filter(|ca| self.fingerprints.contains(&Sha256::of(ca))) {
            roots.add(ca.clone().into_owned())?;
        }
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
