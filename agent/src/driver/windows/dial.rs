//! The ways to this host's own ports: loopback, and its own name as other servers resolve it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use policy::report::ProbePath;

use super::ffi::schannel;
use super::host;
use crate::driver::DriverError;
use crate::probe::{LIMIT, in_words};

/// Connects to one of this host's own ports.
pub(super) fn dial(port: u16, path: ProbePath, limit: Duration) -> Result<TcpStream, DriverError> {
    let (object, address) = match path {
        ProbePath::Loopback => (format!("127.0.0.1:{port}"), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ProbePath::OwnNameV4 => own_address(IpAddr::is_ipv4)?,
        ProbePath::OwnNameV6 => own_address(IpAddr::is_ipv6)?,
    };
    TcpStream::connect_timeout(&SocketAddr::new(address, port), limit).map_err(|source| DriverError::Io { object, source })
}

/// An address of this host to which its full name leads. A hosts file, a virtual address or a stale record of the name server
/// may lead elsewhere (G8), and what answers there says nothing of this host.
fn own_address(family: fn(&IpAddr) -> bool) -> Result<(String, IpAddr), DriverError> {
    let name = host::full_name()?;
    let failed = |source| DriverError::Io { object: name.clone(), source };
    // The port is only there because the resolver wants one.
    let found: Vec<IpAddr> =
        (name.as_str(), 0).to_socket_addrs().map_err(failed)?.map(|found| found.ip()).filter(family).collect();
    match (found.iter().find(|address| is_own(**address)), found.first()) {
        (Some(own), _) => Ok((name, *own)),
        (None, Some(other)) => Err(DriverError::Elsewhere { object: name, address: other.to_string() }),
        (None, None) => Err(failed(io::Error::from(ErrorKind::AddrNotAvailable))),
    }
}

/// Addresses of one name that are tried. A server has a few.
const ADDRESSES: usize = 4;

/// Connects to that port of another server, as its front end does: the addresses to which the name leads in the order in which the system
/// gives them, until one answers.
pub(super) fn reach(fqdn: &str, port: u16, limit: Duration) -> Result<TcpStream, DriverError> {
    let failed = |source| DriverError::Io { object: fqdn.to_owned(), source };
    let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in (fqdn, port).to_socket_addrs().map_err(failed)?.take(ADDRESSES) {
        if is_own(address.ip()) {
            return Err(DriverError::Elsewhere { object: fqdn.to_owned(), address: address.ip().to_string() });
        }
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failed(failure))
}

/// The certificate that another server shows to Schannel, under this machine's own TLS policy: so its front end would be shown it.
pub(super) fn greet(mut stream: TcpStream, name: &str) -> Result<Vec<u8>, String> {
    match schannel::handshake(&mut stream, name, LIMIT, "Schannel with another server") {
        Ok(shown) => Ok(shown.certificate),
        Err(DriverError::Io { source, .. }) => Err(in_words(source.kind()).to_owned()),
        // The code alone: texts differ between systems and languages, and the same failure must read the same.
        Err(DriverError::Refused { code, .. }) => Err(format!("Schannel ended with 0x{code:08X}")),
        Err(other) => Err(other.to_string()),
    }
}

/// Nobody can listen at an address that is another machine's.
fn is_own(address: IpAddr) -> bool {
    TcpListener::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_dialled_and_a_port_without_listener_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        dial(port, ProbePath::Loopback, Duration::from_secs(5)).unwrap();
        drop(listener);
        let error = dial(port, ProbePath::Loopback, Duration::from_secs(5)).unwrap_err();
        assert!(matches!(&error, DriverError::Io { source, .. } if source.kind() == ErrorKind::ConnectionRefused), "{error}");
    }

    #[test]
    fn a_name_that_leads_to_this_host_is_not_another_server() {
        let limit = Duration::from_secs(5);
        assert!(matches!(reach("localhost", 444, limit), Err(DriverError::Elsewhere { .. })));
        // Kept for examples (RFC 2606): no server has it.
        assert!(matches!(reach("ex2.invalid", 444, limit), Err(DriverError::Io { .. })));
    }

    #[test]
    fn another_server_is_asked_by_schannel_and_a_failure_reads_the_same_each_time() {
        let certificate = rcgen::generate_simple_self_signed(["ex2.lab.test".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key.into())
            .unwrap();
        let config = std::sync::Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let dialled = || (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0);
        let (stream, mut served) = dialled();
        let server = std::thread::spawn(move || {
            let mut tls = rustls::ServerConnection::new(config).unwrap();
            while tls.is_handshaking() && tls.complete_io(&mut served).is_ok() {}
        });
        assert_eq!(greet(stream, "ex2.lab.test").unwrap(), certificate.cert.der().to_vec());
        server.join().unwrap();
        let (stream, served) = dialled();
        drop(served);
        assert_eq!(greet(stream, "ex2.lab.test").unwrap_err(), "closed in mid-handshake");
    }

    #[test]
    fn an_address_of_another_machine_is_not_own() {
        assert!(is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        // Kept for documentation (RFC 5737): no machine has it.
        assert!(!is_own(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    }
}
