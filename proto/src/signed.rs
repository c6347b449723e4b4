//! Signatures over bytes (TRUST T1).
//!
//! A signed object is a byte string that is stored and relayed as it was received and never written again. What is signed is
//! a line that names the kind, then SHA-256 of the bytes; so a signature over an approval is none over a policy of the same bytes.
//! First the signatures are checked, then the bytes are read, strictly. Whether the keys that signed count for anything
//! is not decided here but in `policy`, from the trust document that is held.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use policy::document::{Policy, PolicyError};
use policy::id::{KeyId, Sha256};
use policy::trust::{Approval, DocumentError, Kind, MAX_BYTES, TrustDocument, Verified};
use thiserror::Error;

use crate::invalid::{self, Invalid};
use crate::types;

mod file;
mod key;

pub use file::InvalidFile;
pub use key::{InvalidKey, SigningKey};

/// The most signatures that a document may carry: each costs whoever reads it a verification.
pub const MAX_SIGNATURES: usize = 64;

/// Bytes and the signatures that came with them; nothing of it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignedBytes {
    /// The bytes, as they were signed.
    pub body: Vec<u8>,
    /// Public key and signature, in the order in which they were added.
    pub signatures: Vec<(KeyId, [u8; 64])>,
}

/// A signed document that is not believed.
#[derive(Debug, Error)]
pub enum Unbelieved {
    /// Not one signature holds; the bytes were not read.
    #[error("expected at least one signature that holds over these bytes, found none among {found}")]
    NoSignature {
        /// How many there were.
        found: usize,
    },
    /// Larger than any document.
    #[error("expected a document of at most {MAX_BYTES} bytes, found {found}")]
    TooLarge {
        /// How large it is.
        found: usize,
    },
    /// More signatures than are looked at.
    #[error("expected at most {MAX_SIGNATURES} signatures, found {found}")]
    TooManySignatures {
        /// How many there were.
        found: usize,
    },
    /// The bytes are no trust document or approval.
    #[error("signed document does not hold")]
    Document(#[source] DocumentError),
    /// The bytes are no policy.
    #[error("signed policy does not hold")]
    Policy(#[source] PolicyError),
}

impl SignedBytes {
    /// Bytes that nobody signed yet.
    pub fn unsigned(body: Vec<u8>) -> Self {
        Self { body, signatures: Vec::new() }
    }

    /// SHA-256 of the bytes: the document's identity.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&self.body)
    }
}

/// The keys whose signatures over these bytes hold; the others are dropped. A key counts once however often it signed.
pub fn verify(kind: Kind, signed: &SignedBytes) -> BTreeSet<KeyId> {
    let message = message(kind, signed);
    let mut held = BTreeSet::new();
    for (key, signature) in signed.signatures.iter().take(MAX_SIGNATURES) {
        if !held.contains(key) && UnparsedPublicKey::new(&ED25519, key.0).verify(&message, signature).is_ok() {
            held.insert(*key);
        }
    }
    held
}

/// Checks the signatures over a trust document, then reads it.
///
/// # Errors
/// [`Unbelieved`].
pub fn trust(signed: &SignedBytes) -> Result<Verified<TrustDocument>, Unbelieved> {
    verified(Kind::Trust, signed, |body| TrustDocument::from_bytes(body).map_err(Unbelieved::Document))
}

/// Checks the signatures over a policy, then reads it.
///
/// # Errors
/// [`Unbelieved`].
pub fn policy(signed: &SignedBytes) -> Result<Verified<Policy>, Unbelieved> {
    verified(Kind::Policy, signed, |body| Policy::from_toml(body).map_err(Unbelieved::Policy))
}

/// Checks the signatures over an approval, then reads it.
///
/// # Errors
/// [`Unbelieved`].
pub fn approval(signed: &SignedBytes) -> Result<Verified<Approval>, Unbelieved> {
    verified(Kind::Approval, signed, |body| Approval::from_bytes(body).map_err(Unbelieved::Document))
}

impl From<SignedBytes> for types::Signed {
    fn from(signed: SignedBytes) -> Self {
        let SignedBytes { body, signatures } = signed;
        let one = |(key, signature): (KeyId, [u8; 64])| types::Signature { key: key.0.to_vec(), signature: signature.to_vec() };
        Self { body, signatures: signatures.into_iter().map(one).collect() }
    }
}

impl TryFrom<types::Signed> for SignedBytes {
    type Error = Invalid;

    fn try_from(wire: types::Signed) -> Result<Self, Invalid> {
        let types::Signed { body, signatures } = wire;
        let signatures =
            invalid::list("Signed.signatures", MAX_SIGNATURES, signatures, |types::Signature { key, signature }| {
                Ok((KeyId(invalid::exactly("Signature.key", &key)?), invalid::exactly("Signature.signature", &signature)?))
            })?;
        Ok(Self { body: invalid::bytes("Signed.body", MAX_BYTES, body)?, signatures })
    }
}

fn message(kind: Kind, signed: &SignedBytes) -> Vec<u8> {
    [kind.prefix().as_bytes(), &signed.id().0].concat()
}

fn verified<T>(
    kind: Kind,
    signed: &SignedBytes,
    read: impl FnOnce(&[u8]) -> Result<T, Unbelieved>,
) -> Result<Verified<T>, Unbelieved> {
    if signed.body.len() > MAX_BYTES {
        return Err(Unbelieved::TooLarge { found: signed.body.len() });
    }
    if signed.signatures.len() > MAX_SIGNATURES {
        return Err(Unbelieved::TooManySignatures { found: signed.signatures.len() });
    }
    let signers = verify(kind, signed);
    if signers.is_empty() {
        return Err(Unbelieved::NoSignature { found: signed.signatures.len() });
    }
    Ok(Verified { value: read(&signed.body)?, id: signed.id(), signers })
}
