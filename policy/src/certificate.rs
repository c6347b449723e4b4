//! What is known of a certificate from its DER alone.

use jiff::Timestamp;
use thiserror::Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::id::{CertificateId, Sha256, Thumbprint};

/// The largest certificate that is read, in bytes. Real ones are below 4 KiB.
pub const MAX_DER: usize = 64 * 1024;

/// The most names that are kept of one certificate.
const MAX_NAMES: usize = 1000;

/// Bytes that are not a certificate which Backstay reads.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Longer than [`MAX_DER`].
    #[error("expected a certificate of at most {MAX_DER} bytes, found {0}")]
    TooLarge(usize),
    /// Not an X.509 structure.
    #[error("expected an X.509 certificate in DER, found bytes that do not parse: {0}")]
    NotDer(String),
    /// Bytes behind the end of the certificate.
    #[error("expected one certificate, found {0} more bytes behind it")]
    Trailing(usize),
    /// A date that no calendar has.
    #[error("expected a date between the years -9999 and 9999, found {0} seconds since 1970")]
    Date(i64),
}

/// The public key of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA with this many bits.
    Rsa(u32),
    /// Any other algorithm, by its object identifier.
    Other(String),
}

/// What [`Certificate::parts`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Serial number, in decimal digits.
    pub serial: String,
    /// Whose certificate it is.
    pub subject: DistinguishedName,
    /// Who made it.
    pub issuer: DistinguishedName,
}

/// The usual attributes of a distinguished name, each the first of its kind, empty when there is none or when it is no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DistinguishedName {
    /// C.
    pub country: String,
    /// ST.
    pub state: String,
    /// L.
    pub locality: String,
    /// O.
    pub organization: String,
    /// OU.
    pub unit: String,
    /// CN.
    pub common_name: String,
}

impl DistinguishedName {
    fn of(name: &X509Name<'_>) -> Self {
        fn first<'a>(mut found: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> String {
            found.next().and_then(|value| value.as_str().ok()).unwrap_or_default().to_owned()
        }
        Self {
            country: first(name.iter_country()),
            state: first(name.iter_state_or_province()),
            locality: first(name.iter_locality()),
            organization: first(name.iter_organization()),
            unit: first(name.iter_organizational_unit()),
            common_name: first(name.iter_common_name()),
        }
    }
}

/// One certificate: its bytes and what they say. Built only from DER, so that thumbprint, identity and content belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    id: CertificateId,
    thumbprint: Thumbprint,
    subject: String,
    issuer: String,
    serial: String,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    self_issued: bool,
    key: PublicKey,
    key_id: Sha256,
    signature_oid: String,
    digital_signature: Option<bool>,
    server_auth: Option<bool>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({} {})", self.thumbprint, self.subject)
    }
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// [`CertificateError`] when the bytes are too many, no certificate, or more than one.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let (rest, x509) = X509Certificate::from_der(der).map_err(|e| CertificateError::NotDer(e.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError::Trailing(rest.len()));
        }
        let date = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| CertificateError::Date(seconds));
        let mut names = Vec::new();
        let mut digital_signature = None;
        let mut server_auth = None;
        for extension in x509.extensions() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the other extensions say nothing that a rule asks for")]
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => {
                    names.extend(san.general_names.iter().filter_map(|name| match name {
                        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
                        _ => None,
                    }));
                }
                ParsedExtension::KeyUsage(usage) => {
                    digital_signature = Some(usage.digital_signature() || usage.non_repudiation())
                }
                ParsedExtension::ExtendedKeyUsage(usage) => server_auth = Some(usage.server_auth || usage.any),
                _ => {}
            }
        }
        if names.is_empty()
            && let Some(name) = x509.subject().iter_common_name().next().and_then(|name| name.as_str().ok())
        {
            names.push(name.to_owned());
        }
        names.truncate(MAX_NAMES);
        let spki = x509.public_key();
        let key = match spki.parsed() {
            Ok(ParsedKey::RSA(rsa)) => PublicKey::Rsa(u32::try_from(rsa.key_size()).unwrap_or(u32::MAX)),
            Ok(_) | Err(_) => PublicKey::Other(spki.algorithm.algorithm.to_id_string()),
        };
        Ok(Self {
            id: Sha256::of(der),
            thumbprint: Thumbprint::of(der),
            subject: x509.subject().to_string(),
            issuer: x509.issuer().to_string(),
            serial: x509.tbs_certificate.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect(),
            names,
            not_before: date(x509.validity().not_before.timestamp())?,
            not_after: date(x509.validity().not_after.timestamp())?,
            self_issued: x509.subject().as_raw() == x509.issuer().as_raw(),
            key,
            key_id: Sha256::of(spki.raw),
            signature_oid: x509.signature_algorithm.algorithm.to_id_string(),
            digital_signature,
            server_auth,
            der: der.to_vec(),
        })
    }

    /// The certificate's bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the bytes: the identity.
    pub fn id(&self) -> CertificateId {
        self.id
    }

    /// SHA-1 of the bytes: what http.sys and people use.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The subject's distinguished name.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer's distinguished name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The serial number, in hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The serial number and both names in their parts, as tools show them that have a column for each.
    pub fn parts(&self) -> Parts {
        let (_, x509) = X509Certificate::from_der(&self.der).expect("it was read before");
        Parts {
            serial: x509.tbs_certificate.serial.to_string(),
            subject: DistinguishedName::of(x509.subject()),
            issuer: DistinguishedName::of(x509.issuer()),
        }
    }

    /// The DNS names: those of the subject alternative name, else the common name.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Valid from.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Valid until.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Subject and issuer are the same.
    pub fn self_issued(&self) -> bool {
        self.self_issued
    }

    /// Algorithm and size of the public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-256 of the SubjectPublicKeyInfo: two certificates with one key have one `key_id`, and so has its container.
    pub fn key_id(&self) -> Sha256 {
        self.key_id
    }

    /// Signed with SHA-1, as every certificate that Exchange Setup makes (EXCHANGE.md 1.1).
    pub fn signed_with_sha1(&self) -> bool {
        self.signature_oid == "1.2.840.113549.1.1.5"
    }

    /// The name of the signature algorithm as Windows shows it, else its object identifier.
    pub fn signature(&self) -> &str {
        match self.signature_oid.as_str() {
            "1.2.840.113549.1.1.5" => "sha1RSA",
            "1.2.840.113549.1.1.11" => "sha256RSA",
            "1.2.840.113549.1.1.12" => "sha384RSA",
            "1.2.840.113549.1.1.13" => "sha512RSA",
            "1.2.840.10045.4.3.2" => "sha256ECDSA",
            other => other,
        }
    }

    /// Key usage allows signatures; `None` when the certificate does not restrict usage.
    pub fn allows_signing(&self) -> Option<bool> {
        self.digital_signature
    }

    /// Extended key usage allows a TLS server; `None` when the certificate does not restrict it.
    pub fn allows_server(&self) -> Option<bool> {
        self.server_auth
    }

    /// Whether `name` is one of the certificate's names; a wildcard stands for exactly one label.
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            own.eq_ignore_ascii_case(name)
                || own.strip_prefix("*.").is_some_and(|parent| {
                    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> Certificate {
        let params = rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).expect("names");
        let key = rcgen::KeyPair::generate().expect("a key");
        Certificate::from_der(params.self_signed(&key).expect("signed").der()).expect("reads back")
    }

    #[test]
    fn names_are_compared_without_case_and_wildcards_cover_one_label() {
        let certificate = made(&["EX1", "ex1.contoso.test", "*.mail.contoso.test"]);
        assert!(certificate.covers("ex1"));
        assert!(certificate.covers("EX1.CONTOSO.TEST"));
        assert!(certificate.covers("a.mail.contoso.test"));
        assert!(!certificate.covers("a.b.mail.contoso.test"));
        assert!(!certificate.covers("mail.contoso.test"));
    }

    #[test]
    fn truncated_doubled_and_huge_bytes_are_errors() {
        let certificate = made(&["EX1"]);
        for cut in 0..certificate.der().len() {
            assert!(Certificate::from_der(&certificate.der()[..cut]).is_err());
        }
        let twice = [certificate.der(), certificate.der()].concat();
        assert!(matches!(Certificate::from_der(&twice), Err(CertificateError::Trailing(_))));
        assert!(matches!(Certificate::from_der(&vec![0x30; MAX_DER + 1]), Err(CertificateError::TooLarge(_))));
    }
}
