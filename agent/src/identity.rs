//! Who the agent is: a key that was made on this host and never leaves it, and a certificate for it from the controller's CA.
//!
//! `joined.json` is written last, so a host has joined when it is there. The key is made before the first try and used by
//! every later one: an answer that was lost on the way costs a try, not a token.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use policy::Timestamp;
use policy::certificate::{Certificate, CertificateError};
use policy::id::{EstateName, ServerName, Sha256};
use proto::invalid::Invalid;
use proto::names::{Address, InvalidPeer, Peer};
use proto::token::InvalidToken;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::AuthorityError;
use crate::journal::replace;
use crate::tls::DialError;

mod enrol;
mod key;

use key::{HostKey, KEY_FILE};

pub use enrol::{Admission, enrol, read_token, successors};

/// The most CA certificates that are kept.
const MAX_CA: usize = 16;

/// An identity that cannot be had, kept or used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One of the agent's own files does not read.
    #[error("{path}: expected {expected}, found other bytes")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The key was sealed, and not here or not so.
    #[cfg(windows)]
    #[error(
        "{path}: the key of this host; put the state folder back on the machine that it came from, or let this host join anew: remove \
         identity.* and joined.json from the folder and give it a new join token"
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What Windows said.
        #[source]
        source: native::seal::SealError,
    },
    /// The join token.
    #[error("{path}")]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; nothing of the token is repeated.
        #[source]
        source: InvalidToken,
    },
    /// The token is for another server.
    #[error("join token: expected one for {expected}, found one for {found}")]
    OtherServer {
        /// This host.
        expected: ServerName,
        /// The token's.
        found: ServerName,
    },
    /// A key or request could not be made.
    #[error("the key of this host cannot be used")]
    Key(#[source] rcgen::Error),
    /// Nowhere to ask.
    #[error("expected the address of an enrolment port, found none")]
    NoAddress,
    /// No controller could be reached.
    #[error("no controller was reached")]
    Dial(#[source] DialError),
    /// The controller said no, or nothing in time.
    #[error("{address} did not {what}")]
    Refused {
        /// The controller.
        address: Address,
        /// `enrol this host` or `renew the identity`.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<tonic::Status>,
    },
    /// A part of the answer is missing or malformed.
    #[error("the controller's answer does not read")]
    Answer(#[source] Invalid),
    /// The certificate does not read.
    #[error("the certificate for this host does not read")]
    Certificate(#[source] CertificateError),
    /// The certificate names nobody.
    #[error("the certificate for this host names nobody")]
    Peer(#[source] InvalidPeer),
    /// The certificate is somebody else's.
    #[error("certificate for this host: expected {expected}, found {found}")]
    OtherPeer {
        /// Who we are.
        expected: String,
        /// Whom it names.
        found: String,
    },
    /// The trust document in the answer.
    #[error("the first trust document is refused")]
    Trust(#[source] AuthorityError),
    /// The controller proved itself by a CA that the trust document does not know.
    #[error("CA of the controller: expected one that the trust document lists, found {0}")]
    OtherCa(String),
    /// Key and certificate do not fit together.
    #[error("key and certificate of this host cannot be used together")]
    Unusable(#[source] rustls::Error),
}

/// What stays of the join token after it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The estate.
    pub estate: EstateName,
    /// This host.
    pub server: ServerName,
    /// The fingerprint of the estate's root that was pinned.
    pub root: Sha256,
    /// Enrolment ports.
    pub enrolment: Vec<Address>,
    /// Agents' ports.
    pub agents: Vec<Address>,
}

/// A renewed certificate, and the CA certificates by which the controller that issued it proved itself.
#[derive(Debug)]
pub struct Renewed {
    /// In DER.
    pub certificate: Vec<u8>,
    /// In DER.
    pub ca: Vec<CertificateDer<'static>>,
}

/// The identity of a host that has joined.
pub struct Identity {
    folder: PathBuf,
    joined: Joined,
    key: HostKey,
    der: CertificateDer<'static>,
    certificate: Certificate,
    ca: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} of {})", self.joined.server, self.joined.estate)
    }
}

impl Identity {
    /// Reads the identity; `None` when the host has not joined.
    ///
    /// # Errors
    /// [`IdentityError`] when a file does not read.
    pub fn open(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join("joined.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let joined: Joined = serde_json::from_slice(&bytes)
            .map_err(|_| IdentityError::Damaged { path, expected: "what the agent wrote when it joined" })?;
        let needed = |name: &str, expected| {
            let path = folder.join(name);
            read(&path)?.ok_or(IdentityError::Damaged { path, expected })
        };
        let key = HostKey::open(folder, &joined.estate)?
            .ok_or_else(|| IdentityError::Damaged { path: folder.join(KEY_FILE), expected: "the key of this host" })?;
        let der = needed("identity.der", "the certificate of this host")?;
        let certificate = Certificate::from_der(&der).map_err(IdentityError::Certificate)?;
        let ca = certificates(&needed("ca.der", "the certificates of the CA")?).ok_or_else(|| IdentityError::Damaged {
            path: folder.join("ca.der"),
            expected: "certificates one after the other",
        })?;
        Ok(Some(Self { folder: folder.to_owned(), joined, key, der: der.into(), certificate, ca }))
    }

    /// What stayed of the join token.
    pub fn joined(&self) -> &Joined {
        &self.joined
    }

    /// The CA certificates that came with the identity. They count only as long as the trust document lists them.
    pub fn ca(&self) -> &[CertificateDer<'static>] {
        &self.ca
    }

    /// Certificate and key, for TLS.
    pub fn credentials(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        (self.der.clone(), self.key.for_tls())
    }

    /// When the certificate is to be renewed: at two thirds of its life.
    pub fn renew_at(&self) -> Timestamp {
        let (begin, end) = (self.certificate.not_before(), self.certificate.not_after());
        let third = end.duration_since(begin) / 3;
        end.checked_sub(third).unwrap_or(end)
    }

    /// Whether whoever issued it is not believed any more: a controller of this estate would not know this host by it. Not known where the
    /// issuer proved itself by no CA of its own.
    pub fn is_of_the_past(&self, believed: &BTreeSet<Sha256>) -> bool {
        !self.ca.is_empty() && !self.ca.iter().any(|der| believed.contains(&Sha256::of(der)))
    }

    /// Keeps a renewed certificate.
    ///
    /// # Errors
    /// [`IdentityError`] when it is not for this host and its key, or cannot be written; the present one stays.
    pub fn keep(&mut self, renewed: Renewed) -> Result<(), IdentityError> {
        let Renewed { certificate: der, ca } = renewed;
        let certificate = check_certificate(&der, &self.key, &self.joined.estate, &self.joined.server)?;
        write(&self.folder.join("identity.der"), &der)?;
        write(&self.folder.join("ca.der"), &ca.iter().flat_map(|der| der.iter().copied()).collect::<Vec<_>>())?;
        self.certificate = certificate;
        self.der = der.into();
        self.ca = ca;
        Ok(())
    }
}

/// A certificate is ours when it is for our key and names this host of this estate.
fn check_certificate(der: &[u8], key: &HostKey, estate: &EstateName, server: &ServerName) -> Result<Certificate, IdentityError> {
    let certificate = Certificate::from_der(der).map_err(IdentityError::Certificate)?;
    let other = |expected: String, found: String| IdentityError::OtherPeer { expected, found };
    if certificate.key_id() != key.id() {
        return Err(other(format!("key {}", key.id().short()), certificate.key_id().short()));
    }
    let expected = Peer::Agent { estate: estate.clone(), server: server.clone() };
    let found = Peer::of_certificate(der).map_err(IdentityError::Peer)?;
    if found != expected {
        return Err(other(expected.to_string(), found.to_string()));
    }
    Ok(certificate)
}

/// Certificates that stand one after the other.
fn certificates(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() && found.len() < MAX_CA {
        let (rest, _) = X509Certificate::from_der(bytes).ok()?;
        found.push(CertificateDer::from(bytes[..bytes.len() - rest.len()].to_vec()));
        bytes = rest;
    }
    bytes.is_empty().then_some(found)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Io { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    replace(path, bytes).map_err(|source| IdentityError::Io { path: path.to_owned(), source })
}
