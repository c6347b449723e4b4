//! Who is believed on the controller's ports: TLS 1.3 only, key exchange hybrid with a post-quantum one where the peer can, no
//! session tickets, so that each connection proves its key anew.

use std::sync::{Arc, PoisonError, RwLock};

use policy::Timestamp;
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

/// For ports on which every client shows a certificate of our CA.
///
/// # Errors
/// [`TlsError`].
pub fn mutual(authority: &Authority, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(TlsError::Rustls)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().map_err(TlsError::Clients)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Rustls)?;
    Ok(Arc::new(finished(builder.with_client_cert_verifier(verifier).with_cert_resolver(own))))
}

/// For the enrolment port, where whoever knocks has no certificate yet.
///
/// # Errors
/// [`TlsError`].
pub fn server_only(own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Rustls)?;
    Ok(Arc::new(finished(builder.with_no_client_auth().with_cert_resolver(own))))
}

fn finished(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

fn made(authority: &Authority, names: &[HostName], now: Timestamp) -> Result<Arc<CertifiedKey>, TlsError> {
    let (chain, key) = authority.issue_controller(names, now).map_err(TlsError::Own)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(TlsError::Rustls)
}
