//! TLS as http.sys speaks it: 1.3, no tickets. The proxy of a front end takes any certificate, as the agent's probe does.

use std::sync::Arc;

use agent::driver::lab::key::Key;
use policy::certificate::Certificate;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;

/// What serves this certificate; `None` when its key does not fit or cannot sign.
pub(super) fn server(certificate: &Certificate, key: &Key) -> Option<Arc<ServerConfig>> {
    let pkcs8 = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pair().serialized_der().to_vec()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate.der().to_vec())], pkcs8)
        .ok()?;
    // Every handshake is a full one: whoever asks is shown the certificate.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Some(Arc::new(config))
}
