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
use policy::stop::Resume;
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

/// Checks the signatures over a yes to going on, then reads it.
///
/// # Errors
/// [`Unbelieved`].
pub fn resume(signed: &SignedBytes) -> Result<Verified<Resume>, Unbelieved> {
    verified(Kind::Resume, signed, |body| Resume::from_bytes(body).map_err(Unbelieved::Document))
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

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &[u8] = b"estate = \"contoso\"\nversion = 1\n";

    fn key() -> SigningKey {
        SigningKey::generate().expect("the system has random bytes")
    }

    fn signed(kind: Kind, body: &[u8], keys: &[&SigningKey]) -> SignedBytes {
        let mut signed = SignedBytes::unsigned(body.to_vec());
        for key in keys {
            key.sign(kind, &mut signed).expect("few signatures");
        }
        signed
    }

    #[test]
    fn the_keys_that_signed_are_found() {
        let (one, two) = (key(), key());
        let signed = signed(Kind::Policy, POLICY, &[&one, &two]);
        assert_eq!(verify(Kind::Policy, &signed), BTreeSet::from([one.id(), two.id()]));
        let verified = policy(&signed).expect("signed and valid");
        assert_eq!((verified.id, verified.value.version), (Sha256::of(POLICY), 1));
        assert_eq!(verified.signers, BTreeSet::from([one.id(), two.id()]));
    }

    #[test]
    fn a_signature_over_one_kind_is_none_over_another() {
        let kinds = [Kind::Trust, Kind::Policy, Kind::Approval];
        for made in kinds {
            let signed = signed(made, POLICY, &[&key()]);
            for asked in kinds {
                assert_eq!(verify(asked, &signed).len(), usize::from(asked == made), "{made:?} asked as {asked:?}");
            }
        }
    }

    #[test]
    fn a_signature_holds_for_no_other_byte_and_for_no_other_key() {
        let (key, stranger) = (key(), key());
        let good = signed(Kind::Policy, POLICY, &[&key]);
        for index in 0..POLICY.len() {
            let mut altered = good.clone();
            altered.body[index] ^= 1;
            assert!(verify(Kind::Policy, &altered).is_empty(), "byte {index} of the body");
        }
        for index in 0..64 {
            let mut altered = good.clone();
            altered.signatures[0].1[index] ^= 1;
            assert!(verify(Kind::Policy, &altered).is_empty(), "byte {index} of the signature");
        }
        let mut claimed = good.clone();
        claimed.signatures[0].0 = stranger.id();
        assert!(verify(Kind::Policy, &claimed).is_empty());
        let mut longer = good;
        longer.body.push(b'\n');
        assert!(verify(Kind::Policy, &longer).is_empty());
    }

    #[test]
    fn a_broken_signature_is_dropped_and_the_others_hold() {
        let (one, two) = (key(), key());
        let mut signed = signed(Kind::Policy, POLICY, &[&one, &two]);
        signed.signatures[0].1 = [0; 64];
        assert_eq!(verify(Kind::Policy, &signed), BTreeSet::from([two.id()]));
    }

    #[test]
    fn a_key_that_signed_twice_counts_once_also_behind_a_broken_signature() {
        let key = key();
        let mut signed = signed(Kind::Policy, POLICY, &[&key, &key]);
        assert_eq!(signed.signatures.len(), 1, "signing again makes the signature anew");
        let good = signed.signatures[0];
        signed.signatures = vec![(key.id(), [7; 64]), good, good];
        assert_eq!(verify(Kind::Policy, &signed), BTreeSet::from([key.id()]));
    }

    #[test]
    fn what_nobody_signed_is_not_read() {
        let unsigned = SignedBytes::unsigned(b"\xff not a document".to_vec());
        assert!(matches!(trust(&unsigned), Err(Unbelieved::NoSignature { found: 0 })));
        assert!(matches!(policy(&unsigned), Err(Unbelieved::NoSignature { found: 0 })));
        assert!(matches!(approval(&unsigned), Err(Unbelieved::NoSignature { found: 0 })));
        let nonsense = signed(Kind::Trust, b"\xff not a document", &[&key()]);
        assert!(matches!(trust(&nonsense), Err(Unbelieved::Document(_))));
        let unknown_key = signed(Kind::Policy, b"estate = \"contoso\"\nversion = 1\nmoed = \"act\"\n", &[&key()]);
        assert!(matches!(policy(&unknown_key), Err(Unbelieved::Policy(_))));
    }

    #[test]
    fn a_document_beyond_its_bounds_is_neither_signed_nor_verified() {
        let key = key();
        let mut large = SignedBytes::unsigned(vec![b'#'; MAX_BYTES + 1]);
        assert!(matches!(key.sign(Kind::Policy, &mut large), Err(Invalid::Length { field: "Signed.body", .. })));
        assert!(matches!(policy(&large), Err(Unbelieved::TooLarge { .. })));
        let mut crowded = signed(Kind::Policy, POLICY, &[&key]);
        let good = crowded.signatures[0];
        crowded.signatures = (0..64).map(|index| (KeyId([index; 32]), [0; 64])).collect();
        assert!(matches!(key.sign(Kind::Policy, &mut crowded), Err(Invalid::TooMany { .. })));
        crowded.signatures.push(good);
        assert!(matches!(policy(&crowded), Err(Unbelieved::TooManySignatures { found: 65 })));
        assert!(verify(Kind::Policy, &crowded).is_empty(), "what stands behind the bound is not looked at");
    }
}
