//! Self-signed certificates in the vendor's profile (EXCHANGE.md 1.1), signed by a key that need not leave its container.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PKCS_RSA_SHA256,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use thiserror::Error;

use super::DriverError;
use super::system::HostKey;

/// Friendly name of Setup's certificates.
pub const FRIENDLY_NAME: &str = "Microsoft Exchange";

/// basicConstraints without a CA, as DER: an empty sequence.
const NO_CA: [u8; 2] = [0x30, 0x00];

/// A certificate that could not be made.
#[derive(Debug, Error)]
pub enum MintError {
    /// A name that cannot stand in a certificate.
    #[error("a certificate for {name} could not be made")]
    Profile {
        /// The first name.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The key does not sign.
    #[error("a certificate for {name} could not be signed")]
    Signature {
        /// The first name.
        name: String,
        /// Why.
        #[source]
        source: DriverError,
    },
    /// A date that no calendar has.
    #[error("expected a time that the calendar has, found {months} months after {from}")]
    Date {
        /// Begin.
        from: Timestamp,
        /// Months.
        months: u32,
    },
    /// No random numbers.
    #[error("expected random bytes for a serial number, found none")]
    Random,
}

/// What stands in a certificate beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Common name of the subject.
    pub common_name: String,
    /// DNS names; may be none.
    pub names: Vec<String>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

impl Profile {
    /// The vendor's: common name and first name NetBIOS, second name the full one, so many calendar months.
    ///
    /// # Errors
    /// [`MintError::Date`] when the end is beyond the calendar.
    pub fn vendor(netbios: &str, fqdn: &str, not_before: Timestamp, months: u32) -> Result<Self, MintError> {
        Ok(Self {
            common_name: netbios.to_owned(),
            names: vec![netbios.to_owned(), fqdn.to_owned()],
            not_before,
            not_after: months_after(not_before, months)?,
        })
    }

    /// The parameters of such a certificate: key usage and basic constraints critical, server authentication, a serial
    /// number of sixteen random bytes, no key identifiers.
    ///
    /// # Errors
    /// [`MintError`] when a name does not fit.
    pub fn parameters(&self) -> Result<CertificateParams, MintError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, &self.common_name);
        for name in &self.names {
            let dns = name.clone().try_into().map_err(|source| MintError::Profile { name: name.clone(), source })?;
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // rcgen's own way to say "no CA" adds a subject key identifier, which the vendor's certificates lack.
        let mut no_ca = CustomExtension::from_oid_content(&[2, 5, 29, 19], NO_CA.to_vec());
        no_ca.set_criticality(true);
        params.custom_extensions = vec![no_ca];
        params.serial_number = Some(serial()?);
        params.not_before = date_time_ymd(1970, 1, 1) + since_1970(self.not_before);
        params.not_after = date_time_ymd(1970, 1, 1) + since_1970(self.not_after);
        Ok(params)
    }

    /// Makes the certificate, signed by its own key with SHA-256.
    ///
    /// # Errors
    /// [`MintError`] when a name does not fit or the key does not sign.
    pub fn self_signed(&self, key: &dyn HostKey) -> Result<Vec<u8>, MintError> {
        let signer = Signer { key, failure: RefCell::new(None) };
        let made = self.parameters()?.self_signed(&signer);
        let name = || self.common_name.clone();
        made.map(|certificate| certificate.der().to_vec()).map_err(|source| match signer.failure.take() {
            Some(source) => MintError::Signature { name: name(), source },
            None => MintError::Profile { name: name(), source },
        })
    }
}

/// A key of a host as rcgen asks it. What the host says when it does not sign is kept: rcgen's errors have no room for it.
struct Signer<'a> {
    key: &'a dyn HostKey,
    failure: RefCell<Option<DriverError>>,
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.public()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message).map_err(|error| {
            *self.failure.borrow_mut() = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}

/// So many calendar months later.
///
/// # Errors
/// [`MintError::Date`] when the calendar ends before.
pub fn months_after(from: Timestamp, months: u32) -> Result<Timestamp, MintError> {
    let date = || MintError::Date { from, months };
    let months = i32::try_from(months).map_err(|_| date())?;
    let span = 0.months().try_months(months).map_err(|_| date())?;
    from.to_zoned(TimeZone::UTC).checked_add(span).map(|zoned: Zoned| zoned.timestamp()).map_err(|_| date())
}

fn serial() -> Result<SerialNumber, MintError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| MintError::Random)?;
    // Positive, and sixteen bytes long whatever the dice say.
    bytes[0] = bytes[0] & 0x3F | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Whole seconds, as certificates count; nothing before 1970 is ever asked for.
fn since_1970(time: Timestamp) -> Duration {
    SystemTime::from(time)
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(Duration::ZERO, |since| Duration::from_secs(since.as_secs()))
}

#[cfg(all(test, feature = "lab"))]
mod tests {
    use policy::certificate::{Certificate, PublicKey};
    use policy::id::Sha256;
    use policy::report::Access;

    use super::*;
    use crate::driver::lab::key::Key;

    #[test]
    fn a_minted_certificate_has_the_vendors_profile() {
        let begin: Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
        let key = Key::generate(2048, Key::default_access()).unwrap();
        let der = Profile::vendor("EX1", "ex1.lab.test", begin, 60).unwrap().self_signed(&key).unwrap();
        let made = Certificate::from_der(&der).unwrap();
        assert_eq!(made.subject(), "CN=EX1");
        assert_eq!(made.names(), ["EX1", "ex1.lab.test"]);
        assert!(made.self_issued());
        assert_eq!(made.key(), &PublicKey::Rsa(2048));
        assert_eq!(made.key_id(), key.id());
        assert_eq!(made.signature(), "sha256RSA");
        assert_eq!(made.allows_signing(), Some(true));
        assert_eq!(made.allows_server(), Some(true));
        assert_eq!(made.serial().len(), 32);
        assert_eq!(made.not_before(), begin);
        assert_eq!(made.not_after(), "2031-11-30T10:00:00Z".parse().unwrap());
        let oids: Vec<(String, bool)> = {
            use x509_parser::prelude::{FromDer, X509Certificate};
            let (_, x509) = X509Certificate::from_der(&der).unwrap();
            x509.extensions().iter().map(|extension| (extension.oid.to_id_string(), extension.critical)).collect()
        };
        let expected = [("2.5.29.17", false), ("2.5.29.15", true), ("2.5.29.37", false), ("2.5.29.19", true)];
        assert_eq!(oids, expected.map(|(oid, critical)| (oid.to_owned(), critical)));
    }

    /// A key that is gone the moment it is to sign.
    #[derive(Debug)]
    struct Gone(Key);

    impl HostKey for Gone {
        fn public(&self) -> &[u8] {
            self.0.public()
        }

        fn id(&self) -> Sha256 {
            self.0.id()
        }

        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, DriverError> {
            Err(DriverError::Refused { call: "sign", object: "c-1".to_owned(), code: 5, meaning: "access denied" })
        }

        fn signer(&self) -> Result<String, DriverError> {
            Ok("by nothing".to_owned())
        }

        fn access(&self) -> Result<Vec<Access>, DriverError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_key_that_does_not_sign_says_why() {
        let key = Gone(Key::generate(2048, Key::default_access()).unwrap());
        let profile = Profile::vendor("EX1", "ex1.lab.test", "2026-11-30T10:00:00Z".parse().unwrap(), 60).unwrap();
        let error = crate::chain(&profile.self_signed(&key).unwrap_err());
        assert!(error.contains("EX1 could not be signed") && error.contains("access denied"), "{error}");
    }

    #[test]
    fn months_are_counted_by_the_calendar_and_end_with_it() {
        let leap: Timestamp = "2028-02-29T00:00:00Z".parse().unwrap();
        assert_eq!(months_after(leap, 12).unwrap(), "2029-02-28T00:00:00Z".parse().unwrap());
        assert!(months_after(leap, u32::MAX).is_err());
        assert!(months_after(leap, 12 * 9000).is_err());
    }
}
