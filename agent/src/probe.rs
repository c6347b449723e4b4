//! A TLS handshake with the host's own port: what is really served? It judges nothing and records what it is shown.
//!
//! Full handshakes only, no resumption; any certificate is accepted, since a self-signed, SHA-1 or expired one is exactly
//! what is looked for.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::Certificate;
use policy::id::{Sha256, Thumbprint};
use policy::report::{Probe, ProbeOutcome, ProbePath};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::driver::{Driver, DriverError};

/// For the connection, and again for the handshake.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// Shakes hands with `port` over every path of the host. Returns the probes and every certificate that was shown.
pub fn probe<D: Driver + ?Sized>(driver: &D, port: u16, name: &str) -> (Vec<Probe>, Vec<Certificate>) {
    let mut shown = Vec::new();
    let probes = driver
        .paths()
        .into_iter()
        .map(|path| {
            let outcome = match driver.dial(port, path, LIMIT) {
                Ok(stream) => match handshake(stream, name) {
                    Ok(der) => {
                        shown.extend(Certificate::from_der(&der).ok());
                        ProbeOutcome::Presented { certificate: Sha256::of(&der) }
                    }
                    Err(why) => ProbeOutcome::NoHandshake(why.to_owned()),
                },
                Err(error) => unreached(&error),
            };
            Probe { port, path, outcome }
        })
        .collect();
    (probes, shown)
}

/// One plain handshake with the 444 of another server.
pub(crate) fn beside<D: Driver + ?Sized>(driver: &D, fqdn: &str) -> ProbeOutcome {
    match driver.reach(fqdn, LIMIT) {
        Ok(stream) => match driver.greet(stream, fqdn) {
            Ok(der) => ProbeOutcome::Presented { certificate: Sha256::of(&der) },
            Err(why) => ProbeOutcome::NoHandshake(why),
        },
        Err(error) => unreached(&error),
    }
}

fn unreached(error: &DriverError) -> ProbeOutcome {
    match error {
        DriverError::Io { source, .. } if source.kind() == ErrorKind::ConnectionRefused => ProbeOutcome::Refused,
        // The kind, not the text: texts differ between systems and would make a report differ that says the same.
        DriverError::Io { source, .. } => ProbeOutcome::Unreachable(source.kind().to_string()),
        DriverError::Elsewhere { address, .. } => ProbeOutcome::Elsewhere(address.clone()),
        DriverError::Refused { .. } | DriverError::Unreadable { .. } | DriverError::NotMine(_) => {
            ProbeOutcome::Unreachable(error.to_string())
        }
    }
}

/// The leaf certificate that is presented on `stream`.
pub(crate) fn handshake(mut stream: TcpStream, name: &str) -> Result<Vec<u8>, &'static str> {
    stream.set_read_timeout(Some(LIMIT)).map_err(|_| "no time limit could be set")?;
    stream.set_write_timeout(Some(LIMIT)).map_err(|_| "no time limit could be set")?;
    let config = client().map_err(|_| "no TLS version is available")?;
    let name = ServerName::try_from(name.to_owned()).map_err(|_| "the host's name is no DNS name")?;
    let mut tls = ClientConnection::new(config, name).map_err(|_| "no TLS client could be made")?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(|error| in_words(error.kind()))?;
    }
    let der = tls
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|leaf| leaf.to_vec())
        .ok_or("no certificate was presented")?;
    tls.send_close_notify();
    let _ = tls.complete_io(&mut stream);
    Ok(der)
}

/// What was shown, beside what the record names.
///
/// # Errors
/// Both, when they differ.
pub(crate) fn compared(shown: &[u8], expected: Option<Thumbprint>) -> Result<String, String> {
    let shown = Thumbprint::of(shown);
    match expected {
        Some(expected) if expected == shown => Ok(format!("shows {shown}, as the record says")),
        Some(expected) => Err(format!("expected {expected}, as the record says, found {shown}")),
        None => Ok(format!("shows {shown}; what the record says is not known")),
    }
}

/// A TLS client that accepts any certificate, as the callers of 444 do, and makes full handshakes only.
///
/// # Errors
/// When no TLS version is available.
pub fn client() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Recorder(provider)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Few and constant words: the same failure must read the same, or a report would differ that says nothing new.
pub(crate) fn in_words(kind: ErrorKind) -> &'static str {
    if matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) {
        "closed in mid-handshake"
    } else if matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        "no answer in time"
    } else {
        "the handshake failed"
    }
}

/// Accepts every certificate; the signature of the handshake is still checked, for it proves that the server has the key.
#[derive(Debug)]
struct Recorder(Arc<CryptoProvider>);

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The paths of a probe in words, for notes.
pub fn path_word(path: ProbePath) -> &'static str {
    match path {
        ProbePath::Loopback => "loopback",
        ProbePath::OwnNameV4 => "own name over IPv4",
        ProbePath::OwnNameV6 => "own name over IPv6",
    }
}

/// The paths of a probe as parts of names.
pub(crate) fn path_name(path: ProbePath) -> &'static str {
    match path {
        ProbePath::Loopback => "loopback",
        ProbePath::OwnNameV4 => "own_v4",
        ProbePath::OwnNameV6 => "own_v6",
    }
}
