//! Endpoints: how http.sys finds a record, and how `netsh http show sslcert` prints it.

use std::fmt;
use std::net::SocketAddr;

use policy::report::RecordKind;

/// How http.sys finds a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// By the address and port that a client connects to: `0.0.0.0:444`, `[::]:444`.
    Address(SocketAddr),
    /// By the name that a client asks for, and port: `mail.contoso.test:443`.
    Name(String, u16),
    /// By the port alone, with certificates from the central store: `*:443`, where netsh prints `443`.
    Central(u16),
}

impl At {
    /// The endpoint of a record of that kind; `None` for a text that is none.
    pub fn parse(kind: RecordKind, text: &str) -> Option<Self> {
        match kind {
            RecordKind::Address => text.parse().ok().map(Self::Address),
            RecordKind::Sni | RecordKind::Ccs => {
                let (host, port) = text.rsplit_once(':')?;
                let port = port.parse().ok()?;
                match (kind, host) {
                    (_, "") => None,
                    (RecordKind::Ccs, "*") => Some(Self::Central(port)),
                    (RecordKind::Ccs, _) => None,
                    (_, host) => Some(Self::Name(host.to_owned(), port)),
                }
            }
        }
    }

    /// Which of the three lists of http.sys it is in.
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::Address(_) => RecordKind::Address,
            Self::Name(..) => RecordKind::Sni,
            Self::Central(_) => RecordKind::Ccs,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Central(port) => write!(f, "*:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_back_as_they_are_printed() {
        let endpoints = [
            (RecordKind::Address, "0.0.0.0:444"),
            (RecordKind::Address, "[::]:444"),
            (RecordKind::Address, "[fe80::1%4]:443"),
            (RecordKind::Sni, "mail.contoso.test:443"),
            (RecordKind::Sni, "*:443"),
            (RecordKind::Ccs, "*:443"),
        ];
        for (kind, text) in endpoints {
            let at = At::parse(kind, text).unwrap();
            assert_eq!((at.kind(), at.to_string()), (kind, text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_endpoint_of_its_kind_is_none() {
        let texts = [
            (RecordKind::Address, "mail.contoso.test:443"),
            (RecordKind::Address, "0.0.0.0"),
            (RecordKind::Sni, "mail.contoso.test"),
            (RecordKind::Sni, ":443"),
            (RecordKind::Sni, "mail.contoso.test:65536"),
            (RecordKind::Ccs, "443"),
            (RecordKind::Ccs, "mail.contoso.test:443"),
        ];
        for (kind, text) in texts {
            assert_eq!(At::parse(kind, text), None, "{text}");
        }
    }
}
