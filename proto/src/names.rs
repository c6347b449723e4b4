//! What stands in the certificates of Backstay's own CA, and the addresses to dial.
//!
//! Agents find a controller by any address that works, so no address can be what its certificate is checked against: every
//! controller carries the one name [`CONTROLLER`], and the CA is what makes it believed. Who a client is stands as one URI
//! in its certificate; everything else in a certificate is decoration.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use policy::certificate::MAX_DER;
use policy::id::{EstateName, Person, ServerName};
use policy::trust::PersonRole;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The TLS name in every controller's certificate, which agents and the command line ask for, whatever address they dial.
pub const CONTROLLER: &str = "controller.backstay.internal";

/// Who a client is, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `backstay://<estate>/agent/<SERVER>`.
    Agent {
        /// The estate.
        estate: EstateName,
        /// The host.
        server: ServerName,
    },
    /// `backstay://<estate>/operator/<person>/<role>`.
    Operator {
        /// The estate.
        estate: EstateName,
        /// Who.
        person: Person,
        /// What this certificate lets the person do.
        role: PersonRole,
    },
}

/// A certificate or URI that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPeer {
    /// Not one certificate in DER.
    #[error("expected one X.509 certificate in DER of at most {MAX_DER} bytes, found other bytes")]
    NotCertificate,
    /// No URI, or several.
    #[error("expected exactly one URI in the certificate's alternative names, found {0}")]
    Uris(usize),
    /// Not one of the two forms, or not written as we write it.
    #[error("expected backstay://<estate>/agent/<SERVER> or backstay://<estate>/operator/<person>/<role>, found {0:?}")]
    Form(String),
}

impl Peer {
    /// The estate.
    pub fn estate(&self) -> &EstateName {
        match self {
            Self::Agent { estate, .. } | Self::Operator { estate, .. } => estate,
        }
    }

    /// Who a certificate says that its owner is. The certificate's chain is checked before, by TLS.
    ///
    /// # Errors
    /// [`InvalidPeer`].
    pub fn of_certificate(der: &[u8]) -> Result<Self, InvalidPeer> {
        if der.len() > MAX_DER {
            return Err(InvalidPeer::NotCertificate);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidPeer::NotCertificate)?;
        let names = certificate.subject_alternative_name().map_err(|_| InvalidPeer::NotCertificate)?;
        if !rest.is_empty() {
            return Err(InvalidPeer::NotCertificate);
        }
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(uri);
        match (uris.next(), uris.count()) {
            (Some(uri), 0) => uri.parse(),
            (None, _) => Err(InvalidPeer::Uris(0)),
            (Some(_), more) => Err(InvalidPeer::Uris(more + 1)),
        }
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { estate, server } => write!(f, "backstay://{estate}/agent/{server}"),
            Self::Operator { estate, person, role } => write!(f, "backstay://{estate}/operator/{person}/{}", role.as_str()),
        }
    }
}

impl FromStr for Peer {
    type Err = InvalidPeer;

    fn from_str(uri: &str) -> Result<Self, InvalidPeer> {
        // One person or host, one spelling: what we would not write ourselves, we do not read.
        parse(uri).filter(|peer| peer.to_string() == uri).ok_or_else(|| InvalidPeer::Form(uri.chars().take(200).collect()))
    }
}

fn parse(uri: &str) -> Option<Peer> {
    let mut parts = uri.strip_prefix("backstay://")?.split('/');
    let estate = parts.next()?.parse().ok()?;
    let peer = match parts.next()? {
        "agent" => Peer::Agent { estate, server: parts.next()?.parse().ok()? },
        "operator" => {
            let person = parts.next()?.parse().ok()?;
            Peer::Operator { estate, person, role: PersonRole::from_word(parts.next()?)? }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(peer)
}

/// Where to dial: `host:port`, with a name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected host:port, found {found:?}")]
pub struct InvalidAddress {
    found: String,
}

impl Address {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let fits = text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| InvalidAddress { found: text.chars().take(80).collect() })
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0 && port.to_string() == text)
}

fn is_host(text: &str) -> bool {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()) || (text.len() <= 253 && text.split('.').all(label))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![CONTROLLER.to_owned()]).expect("a DNS name");
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))));
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn agent() -> Peer {
        Peer::Agent { estate: "contoso".parse().expect("a name"), server: "EX1".parse().expect("a name") }
    }

    fn operator(role: PersonRole) -> Peer {
        let person = "alice.b@contoso.test".parse().expect("a name");
        Peer::Operator { estate: "contoso".parse().expect("a name"), person, role }
    }

    #[test]
    fn a_peer_comes_back_from_its_certificate() {
        let peers = [agent()].into_iter().chain(PersonRole::ALL.map(operator));
        for peer in peers {
            assert_eq!(Peer::of_certificate(&certificate(&[&peer.to_string()])), Ok(peer));
        }
        assert_eq!(agent().to_string(), "backstay://contoso/agent/EX1");
        assert_eq!(operator(PersonRole::Approver).to_string(), "backstay://contoso/operator/alice.b@contoso.test/approver");
    }

    #[test]
    fn a_role_has_the_same_word_in_certificates_and_in_documents() {
        for role in PersonRole::ALL {
            assert_eq!(serde_json::to_value(role).expect("a word"), role.as_str());
        }
    }

    #[test]
    fn a_certificate_with_no_uri_or_with_several_names_nobody() {
        let uri = agent().to_string();
        assert_eq!(Peer::of_certificate(&certificate(&[])), Err(InvalidPeer::Uris(0)));
        assert_eq!(Peer::of_certificate(&certificate(&[&uri, &uri])), Err(InvalidPeer::Uris(2)));
        assert_eq!(Peer::of_certificate(&certificate(&[&uri, "https://contoso.test"])), Err(InvalidPeer::Uris(2)));
        let plain = CertificateParams::default().self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        assert_eq!(Peer::of_certificate(plain.der()), Err(InvalidPeer::Uris(0)));
    }

    #[test]
    fn bytes_that_are_not_exactly_one_certificate_name_nobody() {
        let whole = certificate(&[&agent().to_string()]);
        for length in 0..whole.len() {
            assert!(Peer::of_certificate(&whole[..length]).is_err(), "cut to {length} bytes");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(Peer::of_certificate(&longer), Err(InvalidPeer::NotCertificate));
        assert_eq!(Peer::of_certificate(&vec![0x30; MAX_DER + 1]), Err(InvalidPeer::NotCertificate));
    }

    #[test]
    fn a_uri_that_we_would_write_otherwise_is_refused() {
        let wrong = [
            "",
            "backstay://",
            "backstay://contoso",
            "backstay://contoso/agent",
            "backstay://contoso/agent/",
            "backstay://contoso/agent/EX1/",
            "backstay://contoso/agent/EX1/admin",
            "backstay://contoso/agent/ex1",
            "backstay://Contoso/agent/EX1",
            "Backstay://contoso/agent/EX1",
            "https://contoso/agent/EX1",
            " backstay://contoso/agent/EX1",
            "backstay://contoso/agent/EX1?x",
            "backstay://contoso/agent/EX%31",
            "backstay://contoso//agent/EX1",
            "backstay:///agent/EX1",
            "backstay://contoso/controller/EX1",
            "backstay://contoso/operator/alice",
            "backstay://contoso/operator/alice/root",
            "backstay://contoso/operator/alice/Admin",
            "backstay://contoso/operator/Alice/admin",
            "backstay://contoso/operator/alice/admin/admin",
        ];
        for uri in wrong {
            assert!(uri.parse::<Peer>().is_err(), "{uri}");
        }
        let long = format!("backstay://contoso/agent/{}", "A".repeat(100_000));
        assert!(long.parse::<Peer>().expect_err("too long a name").to_string().len() < 500);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["ctl.contoso.test:7443", "127.0.0.1:1", "[::1]:65535", "ctl_1:7443", "CTL:80"] {
            assert_eq!(good.parse::<Address>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            ":",
            "ctl",
            "ctl:",
            ":7443",
            "ctl:0",
            "ctl:65536",
            "ctl:+1",
            "ctl:01",
            "ctl: 1",
            "ct l:1",
            "::1:7443",
            "[::1]",
            "[ctl]:1",
            "a..b:1",
            ".a:1",
            "http://ctl:1",
            "ctl/x:1",
            "user@ctl:1",
            "ctl:1:2",
            "[[::1]]:1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert!(format!("{}:1", "a.".repeat(200)).parse::<Address>().is_err());
    }
}
