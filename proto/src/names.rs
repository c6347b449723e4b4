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
