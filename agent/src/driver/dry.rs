//! A handshake with a certificate that nobody serves yet, on a private port.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme};

use super::DriverError;
use super::system::HostKey;
use crate::probe;

/// For every read and write.
const LIMIT: Duration = Duration::from_secs(5);

/// What serves this certificate with this key to one client after the other, each with a full handshake.
///
/// # Errors
/// When no TLS version is available.
pub fn served(certificate: &Certificate, key: impl HostKey + 'static) -> Result<ServerConfig, rustls::Error> {
    let leaf = CertificateDer::from(certificate.der().to_vec());
    let served = SingleCertAndKey::from(CertifiedKey::new(vec![leaf], Arc::new(OneScheme(Arc::new(key)))));
    // TLS 1.2: in 1.3 an RSA key signs with PSS alone, which the keys of a CSP cannot do.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(served));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Serves the certificate once on an ephemeral port of loopback, and looks whether a client is shown it.
pub(super) fn handshake(certificate: &Certificate, key: impl HostKey + 'static, name: &str) -> Result<(), DriverError> {
    let object = || format!("handshake with {} on a private port", certificate.thumbprint());
    let wrong = |found: String| DriverError::Unreadable { object: object(), expected: "shown".to_owned(), found };
    let failed = |source| DriverError::Io { object: object(), source };

    let config = served(certificate, key).map_err(|error| wrong(error.to_string()))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let client = TcpStream::connect_timeout(&address, LIMIT).map_err(failed)?;
    let (server, _) = listener.accept().map_err(failed)?;
    let shown = std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(server, config));
        let shown = probe::handshake(client, name);
        // What went wrong on the serving side shows on the other as well.
        let _ = served.join();
        shown
    });
    match shown {
        Ok(der) if der == certificate.der() => Ok(()),
        Ok(_) => Err(wrong("another certificate".to_owned())),
        Err(why) => Err(wrong(why.to_owned())),
    }
}

fn serve(mut stream: TcpStream, config: ServerConfig) -> Option<()> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    let mut tls = ServerConnection::new(Arc::new(config)).ok()?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).ok()?;
    }
    Some(())
}

/// A key of a host as rustls asks it: RSA PKCS#1 v1.5 with SHA-256, and nothing else.
#[derive(Debug)]
struct OneScheme(Arc<dyn HostKey>);

impl SigningKey for OneScheme {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme()).then(|| Box::new(Self(self.0.clone())) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for OneScheme {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map_err(|error| rustls::Error::General(crate::chain(&error)))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PKCS1_SHA256
    }
}

#[cfg(all(test, feature = "lab"))]
mod tests {
    use super::*;
    use crate::driver::lab::key::Key;
    use crate::driver::mint::Profile;

    #[test]
    fn a_certificate_is_shown_with_its_own_key_only() {
        let [key, other] = [(); 2].map(|()| Key::generate(2048, Key::default_access()).unwrap());
        let profile = Profile::vendor("EX1", "ex1.lab.test", "2026-11-25T10:00:00Z".parse().unwrap(), 60).unwrap();
        let certificate = Certificate::from_der(&profile.self_signed(&key).unwrap()).unwrap();
        handshake(&certificate, key, "ex1.lab.test").unwrap();
        let error = handshake(&certificate, other, "ex1.lab.test").unwrap_err().to_string();
        assert!(error.ends_with("expected shown, found the handshake failed"), "{error}");
    }
}
