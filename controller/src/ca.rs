//! The controller's own certification authority: what agents, operators and the controller itself are believed by.
//!
//! One P-256 key in one file, made by `backstay init` and readable for the service alone. What it issues is short-lived, says who
//! somebody is in one URI, and nothing else. No key of an agent passes through here: only its public half is in a request.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::Timestamp;
use policy::duration::Span;
use policy::id::{EstateName, Person, ServerName, Sha256};
use policy::trust::PersonRole;
use proto::names::{CONTROLLER, Peer};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::config::HostName;

mod key;
mod request;

pub use key::export;
pub use request::{InvalidRequest, Request};

const CA_YEARS_DAYS: u16 = 3_652;
const SERVER_DAYS: u16 = 90;
const AGENT_DAYS: u16 = 30;
const OPERATOR_DAYS: u16 = 365;

/// Certificates begin this long before they are made: clocks differ.
const SLACK: Span = Span::seconds(300);

/// The largest PEM file that is read, in bytes.
const MAX_PEM: u64 = 64 * 1024;

/// Something that was not issued, or an authority that cannot issue.
#[derive(Debug, Error)]
pub enum CaError {
    /// A file of the authority was not read or written.
    #[error("file {path} of the certification authority")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is one already.
    #[error("certification authority: expected none in {0}, found one: it is never made anew over an old one")]
    Exists(PathBuf),
    /// A file holds something else.
    #[error("file {path} of the certification authority: expected {expected}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it must be.
        expected: &'static str,
    },
    /// The library refused, or the system gave no random bytes.
    #[error("certificate for {subject} was not made")]
    Issue {
        /// For whom.
        subject: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The key was sealed, and not here or not so.
    #[cfg(windows)]
    #[error(
        "the key of the certification authority; put the state folder back on the machine that it came from, or put a copy of the key that \
         was exported in the place of ca.key"
    )]
    Sealed(#[source] native::seal::SealError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// A certificate that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// In DER.
    pub der: Vec<u8>,
    /// SHA-256 of the DER.
    pub id: Sha256,
    /// Its end.
    pub not_after: Timestamp,
}

/// An operator's certificate with the key that was made for it, both in PEM.
pub struct OperatorIdentity {
    /// The certificate, then the CA's.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: Zeroizing<String>,
    /// Its end.
    pub not_after: Timestamp,
}

/// The certification authority of an estate.
pub struct Authority {
    estate: EstateName,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Makes the authority of an estate: `ca.key` and `ca.pem` in `folder`. Never over an old one.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn create(folder: &Path, estate: &EstateName, now: Timestamp) -> Result<Self, CaError> {
        let subject = name_of(estate);
        let failed = |source| CaError::Issue { subject: subject.clone(), source };
        let pair = KeyPair::generate().map_err(failed)?;
        let params = ca_params(estate, now, Span::days(CA_YEARS_DAYS).after(now))?;
        let certificate = params.self_signed(&pair).map_err(failed)?;
        // The key comes first: a certificate without key is found out at the next start, a key without certificate is made no use of.
        key::write(folder, &Zeroizing::new(pair.serialize_pem()), estate)?;
        write_new(folder, "ca.pem", certificate.pem().as_bytes())?;
        Ok(Self { estate: estate.clone(), certificate: certificate.der().clone(), issuer: Issuer::new(params, pair) })
    }

    /// Reads the authority of an estate.
    ///
    /// # Errors
    /// [`CaError`] when a file is missing, or is not what it must be.
    pub fn load(folder: &Path, estate: &EstateName) -> Result<Self, CaError> {
        let certificate_path = folder.join("ca.pem");
        let key = key::open(folder, estate)?;
        let wrong = |expected| CaError::Content { path: certificate_path.clone(), expected };
        let certificate = CertificateDer::from_pem_slice(&read(&certificate_path)?).map_err(|_| wrong("a certificate in PEM"))?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| wrong("a certificate in PEM"))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(wrong("the certificate of the key in ca.key"));
        }
        if parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()) != Some(&name_of(estate)) {
            return Err(wrong("the certificate of this estate's authority"));
        }
        // Only the name and the key of the issuer go into what it issues.
        let params = ca_params(estate, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)?;
        Ok(Self { estate: estate.clone(), issuer: Issuer::new(params, key), certificate })
    }

    /// The CA's certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its fingerprint, which stands in join tokens and in the trust document.
    pub fn fingerprint(&self) -> Sha256 {
        Sha256::of(&self.certificate)
    }

    /// A certificate for an agent's key: 30 days.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn issue_agent(&self, server: &ServerName, request: &Request, now: Timestamp) -> Result<Issued, CaError> {
        let peer = Peer::Agent { estate: self.estate.clone(), server: server.clone() };
        let mut params = params(server.as_str(), now, Span::days(AGENT_DAYS).after(now))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri(&peer)?];
        self.sign(&params, request, &peer.to_string(), Span::days(AGENT_DAYS).after(now))
    }

    /// A key and certificate for an operator's command line: a year.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn issue_operator(&self, person: &Person, role: PersonRole, now: Timestamp) -> Result<OperatorIdentity, CaError> {
        let peer = Peer::Operator { estate: self.estate.clone(), person: person.clone(), role };
        let not_after = Span::days(OPERATOR_DAYS).after(now);
        let mut params = params(person.as_str(), now, not_after)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri(&peer)?];
        let failed = |source| CaError::Issue { subject: peer.to_string(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(OperatorIdentity { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()), not_after })
    }

    /// A key and chain for this controller's own listeners: 90 days, never on disk.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn issue_controller(
        &self,
        names: &[HostName],
        now: Timestamp,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CaError> {
        let mut params = params(CONTROLLER, now, Span::days(SERVER_DAYS).after(now))?;
        let failed = |source| CaError::Issue { subject: CONTROLLER.to_owned(), source };
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in [CONTROLLER].into_iter().chain(names.iter().map(HostName::as_str)) {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into().map_err(failed)?),
            });
        }
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        // The CA's certificate goes with it: a host that joins knows only its fingerprint.
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok((chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))))
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
        subject: &str,
        not_after: Timestamp,
    ) -> Result<Issued, CaError> {
        let made =
            params.signed_by(key, &self.issuer).map_err(|source| CaError::Issue { subject: subject.to_owned(), source })?;
        let der = made.der().to_vec();
        Ok(Issued { id: Sha256::of(&der), der, not_after })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({} {})", self.estate, self.fingerprint().short())
    }
}

fn name_of(estate: &EstateName) -> String {
    format!("Backstay CA of {estate}")
}

fn ca_params(estate: &EstateName, now: Timestamp, not_after: Timestamp) -> Result<CertificateParams, CaError> {
    let mut params = params(&name_of(estate), now, not_after)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(subject: &str, now: Timestamp, not_after: Timestamp) -> Result<CertificateParams, CaError> {
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| CaError::Random)?;
    // Positive, and of the same length always.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject);
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = name;
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(SLACK.before(now));
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(not_after);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0))
}

fn uri(peer: &Peer) -> Result<SanType, CaError> {
    let text = peer.to_string();
    let uri = text.as_str().try_into().map_err(|source| CaError::Issue { subject: text.clone(), source })?;
    Ok(SanType::URI(uri))
}

fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    let failed = |source| CaError::File { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_PEM {
        return Err(CaError::Content { path: path.to_owned(), expected: "a PEM file of at most 64 KiB" });
    }
    std::fs::read(path).map_err(failed)
}

/// Durable when it returns, readable for the owner alone, and never over something that is there.
fn write_new(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), CaError> {
    let path = folder.join(name);
    let failed = |source: std::io::Error| {
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            return CaError::Exists(folder.to_owned());
        }
        CaError::File { path: path.clone(), source }
    };
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().expect("a moment")
    }

    fn estate() -> EstateName {
        "contoso".parse().expect("a name")
    }

    fn request(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
    }

    #[test]
    fn an_authority_reads_back_and_issues_what_names_the_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Authority::create(folder.path(), &estate(), at()).expect("made");
        let read = Authority::load(folder.path(), &estate()).expect("read");
        assert_eq!(made.fingerprint(), read.fingerprint());
        let key = KeyPair::generate().expect("a key");
        let request = Request::from_der(&request(&key)).expect("a request");
        let issued = read.issue_agent(&"ex1".parse().expect("a name"), &request, at()).expect("issued");
        assert_eq!(Peer::of_certificate(&issued.der).expect("a peer").to_string(), "backstay://contoso/agent/EX1");
        let (_, parsed) = X509Certificate::from_der(&issued.der).expect("parses");
        assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
        assert_eq!(request.key_id(), Sha256::of(parsed.public_key().raw));
        assert_eq!(parsed.validity().not_after.timestamp(), issued.not_after.as_second());
        let (_, ca) = X509Certificate::from_der(made.certificate()).expect("parses");
        assert_eq!(parsed.issuer().as_raw(), ca.subject().as_raw());
    }

    #[test]
    fn an_authority_is_never_made_over_an_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Authority::create(folder.path(), &estate(), at()).expect("made");
        assert!(matches!(Authority::create(folder.path(), &estate(), at()), Err(CaError::Exists(_))));
        assert_eq!(Authority::load(folder.path(), &estate()).expect("read").fingerprint(), first.fingerprint());
    }

    #[test]
    fn another_estate_another_key_and_damaged_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        Authority::create(folder.path(), &estate(), at()).expect("made");
        assert!(matches!(Authority::load(folder.path(), &"fabrikam".parse().expect("a name")), Err(CaError::Content { .. })));
        let other = tempfile::tempdir().expect("a folder");
        Authority::create(other.path(), &estate(), at()).expect("made");
        std::fs::copy(other.path().join("ca.key"), folder.path().join("ca.key")).expect("copied");
        assert!(matches!(Authority::load(folder.path(), &estate()), Err(CaError::Content { .. })));
        std::fs::write(folder.path().join("ca.key"), "nonsense").expect("written");
        assert!(matches!(Authority::load(folder.path(), &estate()), Err(CaError::Content { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn the_key_is_readable_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        Authority::create(folder.path(), &estate(), at()).expect("made");
        let mode = std::fs::metadata(folder.path().join("ca.key")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_request_of_a_stranger_or_with_an_altered_byte_is_refused() {
        let key = KeyPair::generate().expect("a key");
        let good = request(&key);
        let whole = Request::from_der(&good).expect("a request");
        // Whatever bit is turned, nothing panics, and what is still read (DER says some things twice) is the same key.
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(Request::from_der(&bad).map_or(true, |read| read == whole), "byte {index} was changed and nobody saw it");
        }
        for cut in 0..good.len() {
            assert!(Request::from_der(&good[..cut]).is_err());
        }
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        assert!(matches!(Request::from_der(&request(&other)), Err(InvalidRequest::Key)));
    }
}
