//! A look from outside: what a server shows to a TLS client that shares no code with what is being proven.
//!
//! `openssl s_client` where there is one, else a handshake of our own with bare `rustls`, which believes everything it is
//! shown. [`Client::name`] says which it was.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::process;

/// For one look.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest page that is read, in bytes.
const MAX_PAGE: u64 = 1024 * 1024;

/// The certificate that a server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// SHA-1 in upper case, as Exchange prints it.
    pub thumbprint: String,
    /// The end of its validity.
    pub not_after: Timestamp,
    /// Its DNS names, in order.
    pub names: Vec<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thumbprint, not_after, names } = self;
        write!(f, "{thumbprint}, until {}, for {}", not_after.strftime("%F"), names.join(" and "))
    }
}

/// The client with which we look.
#[derive(Debug, Clone)]
pub enum Client {
    /// The program of that path.
    Openssl(PathBuf),
    /// Our own bare handshake.
    Bare,
}

impl Client {
    /// `openssl` where the search path has it.
    pub fn find() -> Self {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&folders).map(|folder| folder.join("openssl")).find(|path| path.is_file());
        found.map_or(Self::Bare, Self::Openssl)
    }

    /// Which it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Openssl(_) => "openssl s_client",
            Self::Bare => "a bare rustls handshake (openssl is not installed)",
        }
    }

    /// The certificate that is shown at this address.
    ///
    /// # Errors
    /// When nobody answers, or no handshake takes place.
    pub fn look(&self, address: SocketAddr) -> Result<Shown> {
        match self {
            Self::Openssl(program) => openssl(program, address),
            Self::Bare => Shown::of_der(&handshake(address)?),
        }
        .with_context(|| format!("looking at {address} with {}", self.name()))
    }
}

/// Shakes hands and gives the leaf certificate's bytes: quick enough to be done a hundred times a second.
///
/// # Errors
/// When nobody answers, or no handshake takes place.
pub fn handshake(address: SocketAddr) -> Result<Vec<u8>> {
    let (mut connection, mut socket) = connect(address, "probe.invalid")?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).context("no handshake")?;
    }
    let leaf = connection.peer_certificates().and_then(|chain| chain.first()).context("no certificate was shown")?;
    let leaf = leaf.to_vec();
    connection.send_close_notify();
    // The answer is in hand; whether the farewell arrives is the other side's matter.
    let _ = connection.complete_io(&mut socket);
    Ok(leaf)
}

/// Says half of what it wants of a page over TLS, and waits until it is let go, or for so long.
///
/// # Errors
/// When nobody answers, no handshake takes place, or it is not let go.
pub fn dawdle(address: SocketAddr, long: Duration) -> Result<()> {
    let (mut connection, mut socket) = connect(address, "probe.invalid")?;
    socket.set_read_timeout(Some(long)).context("a socket without time")?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").context("the half was not taken")?;
    let mut answer = Vec::new();
    match stream.take(MAX_PAGE).read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => bail!("it was not let go"),
        // With or without a farewell.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Asks for a page over TLS, by HTTP/1.1, and gives status and body. The host may have a port behind it.
///
/// # Errors
/// When nobody answers, or what is answered is no HTTP.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<(u16, String)> {
    let (mut connection, mut socket) = connect(address, host.split_once(':').map_or(host, |(name, _)| name))?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("the request was not taken")?;
    let mut answer = Vec::new();
    match stream.take(MAX_PAGE).read_to_end(&mut answer) {
        // Servers that hang up without a farewell are common; the length of the body is checked by whoever reads it.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error).context("the answer broke off"),
        Ok(_) | Err(_) => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("expected HTTP, found {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("expected a status, found {head:?}"))?, body.to_owned()))
}

impl Shown {
    /// Reads a certificate's bytes.
    ///
    /// # Errors
    /// When they are no certificate.
    pub fn of_der(der: &[u8]) -> Result<Self> {
        let (_, certificate) = X509Certificate::from_der(der).context("what was shown is no certificate")?;
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        let names = certificate.subject_alternative_name().context("alternative names")?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let dns = |name: &GeneralName<'_>| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None };
        Ok(Self {
            thumbprint: sha1.as_ref().iter().map(|byte| format!("{byte:02X}")).collect(),
            not_after: Timestamp::from_second(certificate.validity().not_after.timestamp()).context("end of validity")?,
            names: names.iter().filter_map(dns).collect(),
        })
    }
}

fn openssl(program: &PathBuf, address: SocketAddr) -> Result<Shown> {
    let mut client = Command::new(program);
    client.args(["s_client", "-connect"]).arg(address.to_string());
    let output = process::run(&mut client, LIMIT)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let certificate = text.find("-----BEGIN CERTIFICATE-----").map(|at| &text[at..]);
    let Some(certificate) = certificate else {
        bail!("no certificate was shown: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default());
    };
    let mut reader = Command::new(program);
    reader.args(["x509", "-noout", "-fingerprint", "-sha1", "-enddate", "-ext", "subjectAltName"]);
    let output = process::run_with(&mut reader, certificate.as_bytes(), LIMIT)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |begin: &str| text.lines().find_map(|line| line.trim().get(begin.len()..).filter(|_| has(line, begin)));
    let fingerprint = line("sha1 Fingerprint=").with_context(|| format!("no fingerprint in {text:?}"))?;
    let end = line("notAfter=").with_context(|| format!("no end in {text:?}"))?;
    let names = text.lines().flat_map(|line| line.split(',')).filter_map(|part| part.trim().strip_prefix("DNS:"));
    Ok(Shown { thumbprint: fingerprint.replace(':', ""), not_after: date(end)?, names: names.map(str::to_owned).collect() })
}

fn has(line: &str, begin: &str) -> bool {
    line.trim().get(..begin.len()).is_some_and(|found| found.eq_ignore_ascii_case(begin))
}

/// `Nov  3 10:00:00 2031 GMT`, as every version of openssl writes it.
fn date(text: &str) -> Result<Timestamp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let end = DateTime::strptime("%b %d %H:%M:%S %Y GMT", words.join(" ")).with_context(|| format!("no date: {text:?}"))?;
    Ok(end.to_zoned(TimeZone::UTC).context("a date out of range")?.timestamp())
}

fn connect(address: SocketAddr, name: &str) -> Result<(ClientConnection, TcpStream)> {
    let socket = TcpStream::connect_timeout(&address, LIMIT).with_context(|| format!("{address} does not answer"))?;
    socket.set_read_timeout(Some(LIMIT)).context("socket")?;
    socket.set_write_timeout(Some(LIMIT)).context("socket")?;
    let crypto = Arc::new(provider::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&crypto))
        .with_safe_default_protocol_versions()
        .context("protocol versions")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelievesAll(crypto)))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).context("name")?;
    Ok((ClientConnection::new(Arc::new(config), name).context("TLS")?, socket))
}

/// Takes every certificate: we want to see it, not to trust it. That its key is at hand is checked all the same.
#[derive(Debug)]
struct BelievesAll(Arc<CryptoProvider>);

impl ServerCertVerifier for BelievesAll {
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
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    /// A server that takes so many connections, shows its certificate, and answers one line of HTTP.
    fn server(connections: usize) -> (SocketAddr, Vec<u8>, thread::JoinHandle<()>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["ex1".to_owned(), "ex1.contoso.test".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 11, 3);
        let der = parameters.self_signed(&key).unwrap().der().to_vec();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(der.clone())], private)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            for _ in 0..connections {
                let (mut socket, _) = listener.accept().unwrap();
                let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = Stream::new(&mut connection, &mut socket);
                let mut heard = [0; 16];
                if stream.read(&mut heard).is_ok_and(|length| length > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
                }
                connection.send_close_notify();
                let _ = connection.complete_io(&mut socket);
            }
        };
        (address, der, thread::spawn(serve))
    }

    #[test]
    fn both_clients_see_the_same_certificate() {
        let (address, der, serving) = server(2);
        let bare = Client::Bare.look(address).unwrap();
        assert_eq!(bare, Client::find().look(address).unwrap());
        serving.join().unwrap();
        assert_eq!(bare.names, ["ex1", "ex1.contoso.test"]);
        assert_eq!(bare.not_after.to_string(), "2031-11-03T00:00:00Z");
        assert_eq!(bare.thumbprint, policy::id::Thumbprint::of(&der).to_string());
    }

    #[test]
    fn a_page_is_read() {
        let (address, _, serving) = server(1);
        assert_eq!(get(address, "localhost", "/owa").unwrap(), (200, "hello".to_owned()));
        serving.join().unwrap();
    }

    #[test]
    fn a_port_where_nobody_listens_is_an_error_that_names_it() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for client in [Client::Bare, Client::find()] {
            let error = format!("{:#}", client.look(address).unwrap_err());
            assert!(error.contains(&address.to_string()), "{error}");
        }
    }
}
