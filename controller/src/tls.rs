//! Who is believed on the controller's ports: TLS 1.3 only, key exchange hybrid with a post-quantum one where the peer can, no
//! session tickets, so that each connection proves its key anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::id::Sha256;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;

use crate::ca::{Authority, CaError};
use crate::config::HostName;

/// Listening cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// No certificate for the controller itself.
    #[error("the controller has no certificate for itself")]
    Own(#[source] CaError),
    /// The library refused.
    #[error("the controller's own certificate is not usable for TLS")]
    Rustls(#[source] rustls::Error),
    /// A file of the pages' certificate does not read.
    #[error("{path}: expected {expected}, found {found}")]
    File {
        /// Which.
        path: PathBuf,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The CA's certificate cannot be what clients are checked against.
    #[error("clients cannot be checked against the certification authority")]
    Clients(#[source] VerifierBuilderError),
}

/// The controller's own certificate, made anew before it ends without a restart.
pub struct OwnCertificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl OwnCertificate {
    /// The first.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(authority: &Authority, names: &[HostName], now: Timestamp) -> Result<Self, TlsError> {
        Ok(Self { current: RwLock::new(made(authority, names, now)?) })
    }

    /// The next; connections that are open keep theirs.
    ///
    /// # Errors
    /// [`TlsError`], and the present one stays.
    pub fn renew(&self, authority: &Authority, names: &[HostName], now: Timestamp) -> Result<(), TlsError> {
        let next = made(authority, names, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnCertificate")
    }
}

/// What gRPC speaks.
const HTTP2: &[u8] = b"h2";

/// The largest file with a certificate or a key, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// A certificate from an administrator's files, which somebody else renews.
pub struct FileCertificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<(Sha256, Arc<CertifiedKey>)>,
}

impl FileCertificate {
    /// Reads it.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = RwLock::new(pair(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads it again; says whether it is another.
    ///
    /// # Errors
    /// [`TlsError`], and the present one stays.
    pub fn read_again(&self) -> Result<bool, TlsError> {
        let next = pair(&self.certificate, &self.key)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let differs = current.0 != next.0;
        *current = next;
        Ok(differs)
    }

    /// When the one that is shown ends; `None` when it does not say so in a way that we read.
    pub fn ends(&self) -> Option<Timestamp> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Certificate::from_der(current.1.cert.first()?).ok()?.not_after())
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}

impl std::fmt::Debug for FileCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCertificate({})", self.certificate.display())
    }
}

/// The certificate with its key, and a hash by which another is known.
fn pair(certificate: &Path, key: &Path) -> Result<(Sha256, Arc<CertifiedKey>), TlsError> {
    let file = |path: &Path, expected, found: String| TlsError::File { path: path.to_owned(), expected, found };
    let read = |path: &Path| {
        let length = std::fs::metadata(path).map(|file| file.len());
        let bytes = length
            .and_then(|length| if length > MAX_FILE { Err(io::ErrorKind::FileTooLarge.into()) } else { std::fs::read(path) });
        bytes.map_err(|error| file(path, "a file in PEM of at most 256 KiB", error.to_string()))
    };
    let pem = read(certificate)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| file(certificate, "certificates in PEM", error.to_string()))?;
    let Some(first) = chain.first() else { return Err(file(certificate, "a certificate in PEM", "none".to_owned())) };
    let hash = Sha256::of(first);
    let secret = zeroize::Zeroizing::new(read(key)?);
    let secret = PrivateKeyDer::from_pem_slice(&secret)
        .map_err(|error| file(key, "a private key in PEM that no password protects", error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let pair = CertifiedKey::from_der(chain, secret, &provider)
        .map_err(|error| file(key, "the key of that certificate", error.to_string()))?;
    Ok((hash, Arc::new(pair)))
}

/// For the port of the pages, where a browser shows no certificate.
///
/// # Errors
/// [`TlsError`].
pub fn browsers(certificate: Arc<FileCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    unasked(certificate, b"http/1.1")
}

/// For the port on which every client shows a certificate of our CA.
///
/// # Errors
/// [`TlsError`].
pub fn mutual(authority: &Authority, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    of_our_own(authority, own, false)
}

/// For the port on which a client shows a certificate of our CA, or none: then it must have a token.
///
/// # Errors
/// [`TlsError`].
pub fn mutual_or_token(authority: &Authority, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    of_our_own(authority, own, true)
}

fn of_our_own(authority: &Authority, own: Arc<OwnCertificate>, or_none: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(TlsError::Rustls)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = if or_none { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(TlsError::Clients)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Rustls)?;
    Ok(Arc::new(finished(builder.with_client_cert_verifier(verifier).with_cert_resolver(own), HTTP2)))
}

/// For the enrolment port, where whoever knocks has no certificate yet.
///
/// # Errors
/// [`TlsError`].
pub fn server_only(own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    unasked(own, HTTP2)
}

fn unasked(own: Arc<dyn ResolvesServerCert>, protocol: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Rustls)?;
    Ok(Arc::new(finished(builder.with_no_client_auth().with_cert_resolver(own), protocol)))
}

fn finished(mut config: ServerConfig, protocol: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

fn made(authority: &Authority, names: &[HostName], now: Timestamp) -> Result<Arc<CertifiedKey>, TlsError> {
    let (chain, key) = authority.issue_controller(names, now).map_err(TlsError::Own)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(TlsError::Rustls)
}
