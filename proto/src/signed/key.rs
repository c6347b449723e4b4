//! The private half: an Ed25519 key in memory, and its text in a file (PKCS#8 in PEM, as `openssl` reads and writes it).

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use policy::id::KeyId;
use policy::trust::{Kind, MAX_BYTES};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{MAX_SIGNATURES, SignedBytes, message};
use crate::invalid::Invalid;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// The longest key file that is read, in bytes. An Ed25519 key is below 200.
const MAX_FILE: usize = 4096;

/// An Ed25519 key that signs. The library below clears its memory when it is dropped.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: KeyId,
}

/// Text that is no signing key. Nothing of the text is repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// Longer than any key file.
    #[error("expected a key file of at most {MAX_FILE} bytes, found {0}")]
    TooLarge(usize),
    /// Not one PEM block.
    #[error("expected one PEM block '{BEGIN}', found other text")]
    NotPem,
    /// A PEM block of something else.
    #[error("expected an Ed25519 private key in PKCS#8, found other bytes")]
    NotEd25519,
    /// The system's random source or memory failed.
    #[error("the system gave no key")]
    System,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`InvalidKey::System`].
    pub fn generate() -> Result<Self, InvalidKey> {
        Ed25519KeyPair::generate().map_err(|_| InvalidKey::System).and_then(Self::new)
    }

    /// Reads a key from the text of its file.
    ///
    /// # Errors
    /// [`InvalidKey`], which repeats nothing of the text.
    pub fn from_file_text(text: &str) -> Result<Self, InvalidKey> {
        if text.len() > MAX_FILE {
            return Err(InvalidKey::TooLarge(text.len()));
        }
        let block = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(InvalidKey::NotPem)?;
        let base64: Zeroizing<String> = Zeroizing::new(block.split_ascii_whitespace().collect());
        let der = Zeroizing::new(BASE64_STANDARD.decode(base64.as_bytes()).map_err(|_| InvalidKey::NotPem)?);
        Ed25519KeyPair::from_pkcs8(&der).map_err(|_| InvalidKey::NotEd25519).and_then(Self::new)
    }

    /// The text for the key's file. Whoever writes it makes the file readable for its owner alone.
    ///
    /// # Errors
    /// [`InvalidKey::System`].
    pub fn to_file_text(&self) -> Result<Zeroizing<String>, InvalidKey> {
        let der = self.pair.to_pkcs8v1().map_err(|_| InvalidKey::System)?;
        let base64 = Zeroizing::new(BASE64_STANDARD.encode(der.as_ref()));
        Ok(Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", base64.as_str())))
    }

    /// The public key, which is the key's name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Adds this key's signature; where it stands already, it is made anew.
    ///
    /// # Errors
    /// [`Invalid::TooMany`] when the document carries as many signatures as it may, and [`Invalid::Length`] when it is larger than
    /// anybody would read.
    pub fn sign(&self, kind: Kind, signed: &mut SignedBytes) -> Result<(), Invalid> {
        if signed.body.len() > MAX_BYTES {
            let expected = format!("at most {MAX_BYTES} bytes");
            return Err(Invalid::Length { field: "Signed.body", expected, found: signed.body.len() });
        }
        let others = signed.signatures.iter().filter(|(key, _)| *key != self.id).count();
        if others >= MAX_SIGNATURES {
            return Err(Invalid::TooMany { field: "Signed.signatures", limit: MAX_SIGNATURES, found: others + 1 });
        }
        let made = self.pair.sign(&message(kind, signed));
        let signature = made.as_ref().try_into().expect("an Ed25519 signature is 64 bytes");
        signed.signatures.retain(|(key, _)| *key != self.id);
        signed.signatures.push((self.id, signature));
        Ok(())
    }

    fn new(pair: Ed25519KeyPair) -> Result<Self, InvalidKey> {
        let id = KeyId::try_from(pair.public_key().as_ref()).map_err(|_| InvalidKey::NotEd25519)?;
        Ok(Self { pair, id })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::verify;

    /// The key of RFC 8410, 10.3, as `openssl` writes it.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_key_comes_back_from_its_file() {
        let key = SigningKey::generate().expect("the system has random bytes");
        let text = key.to_file_text().expect("a key has a text");
        let again = SigningKey::from_file_text(&text).expect("written a line above");
        assert_eq!(again.id(), key.id());
        let mut signed = SignedBytes::unsigned(b"x".to_vec());
        again.sign(Kind::Trust, &mut signed).expect("no signature yet");
        assert!(verify(Kind::Trust, &signed).contains(&key.id()));
    }

    #[test]
    fn a_key_that_others_made_is_read_and_written_as_they_write_it() {
        let key = SigningKey::from_file_text(RFC_8410).expect("PKCS#8 without the public key");
        assert_eq!(key.id().to_string(), "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
        assert_eq!(key.to_file_text().expect("a key has a text").as_str(), RFC_8410);
        let windows = RFC_8410.replace('\n', "\r\n");
        assert_eq!(SigningKey::from_file_text(&windows).expect("line ends are white space").id(), key.id());
    }

    #[test]
    fn a_signature_is_made_as_it_was_released() {
        let key = SigningKey::from_file_text(RFC_8410).expect("a key");
        let mut signed = SignedBytes::unsigned(b"{\"estate\":\"contoso\"}".to_vec());
        key.sign(Kind::Approval, &mut signed).expect("no signature yet");
        let (_, signature) = signed.signatures[0];
        let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "259b421125fd8c14219b524c4a61adb6e0ea39619a24fa61f657aae13fc485ce\
             f5e02a4d2af61a2aabd9810df71ecf458f8671c09131032b3985174eae84b30d"
        );
    }

    #[test]
    fn text_that_is_no_key_is_refused_without_repeating_it() {
        let body = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp";
        let mut wrong: Vec<String> = (0..RFC_8410.len() - 2).map(|length| RFC_8410[..length].to_owned()).collect();
        wrong.push(RFC_8410.repeat(2));
        wrong.push(RFC_8410.replace("PRIVATE", "PUBLIC"));
        wrong.push("x".repeat(5000));
        for text in wrong {
            let error = SigningKey::from_file_text(&text).expect_err("must be refused").to_string();
            assert!(!error.contains(body), "{error}");
        }
    }

    #[test]
    fn a_key_shows_only_its_public_half() {
        let key = SigningKey::from_file_text(RFC_8410).expect("a key");
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.id()));
    }
}
