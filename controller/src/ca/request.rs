//! A certificate request of an agent. Only its public key is used, after it has shown that it has the private one.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use policy::id::Sha256;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// The largest request that is read, in bytes. A real one is below 500.
const MAX_BYTES: usize = 8 * 1024;

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const PRIME256V1: &str = "1.2.840.10045.3.1.7";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// Bytes that are no request of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    /// Larger than any request.
    #[error("certificate request: expected at most {MAX_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not PKCS#10, or more than that.
    #[error("certificate request: expected one PKCS#10 request in DER, found other bytes")]
    NotRequest,
    /// Another kind of key.
    #[error("certificate request: expected a P-256 key that signs with SHA-256, found another kind")]
    Key,
    /// Not signed by the key that it names.
    #[error("certificate request: expected a signature of its own key, found one that does not hold")]
    Signature,
}

/// A request whose sender has the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    point: Vec<u8>,
    key_id: Sha256,
}

impl Request {
    /// Reads a request and checks its signature.
    ///
    /// # Errors
    /// [`InvalidRequest`].
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidRequest> {
        if der.len() > MAX_BYTES {
            return Err(InvalidRequest::TooLarge(der.len()));
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| InvalidRequest::NotRequest)?;
        if !rest.is_empty() {
            return Err(InvalidRequest::NotRequest);
        }
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok()).map(|oid| oid.to_id_string());
        let signed_with = request.signature_algorithm.algorithm.to_id_string();
        if key.algorithm.algorithm.to_id_string() != EC_PUBLIC_KEY
            || curve.as_deref() != Some(PRIME256V1)
            || signed_with != ECDSA_WITH_SHA256
        {
            return Err(InvalidRequest::Key);
        }
        let point = key.subject_public_key.data.as_ref();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| InvalidRequest::Signature)?;
        Ok(Self { point: point.to_vec(), key_id: Sha256::of(key.raw) })
    }

    /// SHA-256 of the SubjectPublicKeyInfo: the key's name.
    pub fn key_id(&self) -> Sha256 {
        self.key_id
    }
}

impl PublicKeyData for Request {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
