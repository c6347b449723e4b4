//! A handshake with a certificate that nobody serves yet, on a private port.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::Certificate;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::key::Key;
use crate::driver::DriverError;
use crate::probe;

/// For every read and write.
const LIMIT: Duration = Duration::from_secs(5);

/// Serves the certificate once on an ephemeral port of loopback, and looks whether a client is shown it.
pub(super) fn handshake(certificate: &Certificate, key: &Key, name: &str) -> Result<(), DriverError> {
    let object = || format!("handshake with {} on a private port", certificate.thumbprint());
    let wrong = |found: String| DriverError::Unreadable { object: object(), expected: "shown".to_owned(), found };
    let failed = |source| DriverError::Io { object: object(), source };

    let pkcs8 = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pair().serialized_der().to_vec()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![CertificateDer::from(certificate.der().to_vec())], pkcs8)
        })
        .map_err(|error| wrong(error.to_string()))?;

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
