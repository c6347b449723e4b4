//! The ways to this host's own ports: loopback, and its own name as other servers resolve it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use policy::report::ProbePath;

use super::host;
use crate::driver::DriverError;

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
    fn an_address_of_another_machine_is_not_own() {
        assert!(is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        // Kept for documentation (RFC 5737): no machine has it.
        assert!(!is_own(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    }
}
