//! A signed document as a file on a workstation: JSON with the body in base64 and the signatures in hexadecimal digits.
//!
//! The body is in base64 and not as text, so that no editor changes what was signed without anybody noticing.

use std::fmt::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use policy::id::KeyId;
use policy::trust::MAX_BYTES;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_SIGNATURES, SignedBytes};

/// The largest file that is read: the largest body in base64, the most signatures, and room for the rest.
const MAX_FILE: usize = MAX_BYTES.div_ceil(3) * 4 + MAX_SIGNATURES * 512 + 1024;

/// A file that holds no signed document.
#[derive(Debug, Error)]
pub enum InvalidFile {
    /// Larger than any signed document.
    #[error("expected a signed document of at most {MAX_FILE} bytes, found {0}")]
    TooLarge(usize),
    /// Not JSON, or not of this form.
    #[error("signed document does not read as JSON with `body` and `signatures`")]
    Json(#[source] serde_json::Error),
    /// The body is not base64.
    #[error("body of the signed document does not read as base64")]
    Body(#[source] base64::DecodeError),
    /// The body is larger than any document.
    #[error("expected a body of at most {MAX_BYTES} bytes, found {0}")]
    BodyTooLarge(usize),
    /// Too many signatures.
    #[error("expected at most {MAX_SIGNATURES} signatures, found {0}")]
    TooManySignatures(usize),
    /// A signature of the wrong form.
    #[error("signature number {0}: expected 128 hexadecimal digits, found other text")]
    Signature(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    body: String,
    signatures: Vec<FileSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    key: KeyId,
    signature: String,
}

impl SignedBytes {
    /// The text of the document's file.
    pub fn to_file_text(&self) -> String {
        let Self { body, signatures } = self;
        let one = |(key, signature): &(KeyId, [u8; 64])| FileSignature { key: *key, signature: hex(signature) };
        let file = File { body: BASE64_STANDARD.encode(body), signatures: signatures.iter().map(one).collect() };
        let mut text = serde_json::to_string_pretty(&file).expect("a structure of texts has no key that is not text");
        text.push('\n');
        text
    }

    /// Reads the text of a document's file. Nothing is verified by this.
    ///
    /// # Errors
    /// [`InvalidFile`].
    pub fn from_file_text(text: &str) -> Result<Self, InvalidFile> {
        if text.len() > MAX_FILE {
            return Err(InvalidFile::TooLarge(text.len()));
        }
        let File { body, signatures } = serde_json::from_str(text).map_err(InvalidFile::Json)?;
        let body = BASE64_STANDARD.decode(body).map_err(InvalidFile::Body)?;
        if body.len() > MAX_BYTES {
            return Err(InvalidFile::BodyTooLarge(body.len()));
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(InvalidFile::TooManySignatures(signatures.len()));
        }
        let one = |(index, FileSignature { key, signature }): (usize, FileSignature)| {
            Ok((key, from_hex(&signature).ok_or(InvalidFile::Signature(index + 1))?))
        };
        Ok(Self { body, signatures: signatures.into_iter().enumerate().map(one).collect::<Result<_, _>>()? })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every character");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 64]> {
    let digits = text.as_bytes();
    if digits.len() != 128 {
        return None;
    }
    let mut out = [0; 64];
    for (slot, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *slot = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> SignedBytes {
        SignedBytes { body: vec![0, 1, 0xff, b'\n'], signatures: vec![(KeyId([7; 32]), [8; 64]), (KeyId([9; 32]), [10; 64])] }
    }

    #[test]
    fn a_document_comes_back_from_its_file() {
        assert_eq!(SignedBytes::from_file_text(&document().to_file_text()).expect("written here"), document());
        let largest = SignedBytes { body: vec![7; MAX_BYTES], signatures: vec![(KeyId([7; 32]), [8; 64]); MAX_SIGNATURES] };
        assert_eq!(SignedBytes::from_file_text(&largest.to_file_text()).expect("at the bounds"), largest);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let text = document().to_file_text();
        for length in 0..text.trim_end().len() {
            assert!(SignedBytes::from_file_text(&text[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn what_a_file_may_not_hold_is_refused() {
        let text = document().to_file_text();
        let unknown = text.replacen('{', "{\"more\": 1,", 1);
        assert!(matches!(SignedBytes::from_file_text(&unknown), Err(InvalidFile::Json(_))));
        let base64 = text.replace("AAH/Cg==", "AAH/Cg=");
        assert!(matches!(SignedBytes::from_file_text(&base64), Err(InvalidFile::Body(_))));
        let signature = text.replacen("0a0a", "0a", 1);
        assert!(matches!(SignedBytes::from_file_text(&signature), Err(InvalidFile::Signature(2))));
        let signature = text.replacen("0808", "éx8", 1);
        assert!(matches!(SignedBytes::from_file_text(&signature), Err(InvalidFile::Signature(1))));
        let large = SignedBytes::unsigned(vec![7; MAX_BYTES + 1]).to_file_text();
        assert!(matches!(SignedBytes::from_file_text(&large), Err(InvalidFile::BodyTooLarge(_))));
        let crowded = SignedBytes { body: Vec::new(), signatures: vec![(KeyId([7; 32]), [8; 64]); MAX_SIGNATURES + 1] };
        assert!(matches!(SignedBytes::from_file_text(&crowded.to_file_text()), Err(InvalidFile::TooManySignatures(65))));
        assert!(matches!(SignedBytes::from_file_text(&" ".repeat(MAX_FILE + 1)), Err(InvalidFile::TooLarge(_))));
    }
}
