//! A certificate as Windows serializes it: the DER with the properties that the store keeps beside it.
//!
//! `CertSerializeCertificateStoreElement` writes properties one after another, each as number, the constant 1, length and
//! bytes, and the certificate itself last, as property 32. This is what `SerializationData` of Get-ExchangeCertificate,
//! the internal transport certificate in Active Directory and a `.sst` file hold. The properties tell where the private
//! key lies; the key itself is never among them.

use policy::certificate::MAX_DER;
use policy::id::Thumbprint;
use policy::report::KeyLink;
use thiserror::Error;

const KEY_PROV_INFO: u32 = 2;
const SHA1_HASH: u32 = 3;
const FRIENDLY_NAME: u32 = 11;
const ARCHIVED: u32 = 19;
const CERTIFICATE: u32 = 32;

/// The most properties of one certificate. Real ones have about ten.
const MAX_PROPERTIES: usize = 64;

/// The most arrays of a blob that begin like a certificate and are none. Each may cost the digest of a whole certificate, and
/// arrays may overlap. Real blobs have none.
const MAX_NEARLY: usize = 64;

/// The longest friendly name, container or provider name that is read, in UTF-16 units.
const MAX_TEXT: usize = 1024;

/// Bytes that are not a serialized certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SerializedError {
    /// The bytes end inside a property.
    #[error("expected a serialized certificate property of {expected} bytes at byte {at}, found {found}")]
    CutOff {
        /// Offset.
        at: usize,
        /// Bytes that were announced.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The constant 1 is missing.
    #[error("expected a serialized certificate property at byte {at}, found {found} where the constant 1 belongs")]
    NotProperty {
        /// Offset.
        at: usize,
        /// What stands there.
        found: u32,
    },
    /// More properties than any certificate has.
    #[error("expected at most {MAX_PROPERTIES} properties before the certificate, found more")]
    TooMany,
    /// The certificate is larger than any that is read.
    #[error("expected a certificate of at most {MAX_DER} bytes, found {0}")]
    TooLarge(usize),
    /// The SHA-1 property belongs to another certificate.
    #[error("expected the certificate with thumbprint {stated}, as its properties state, found {found}")]
    Thumbprint {
        /// Property 3.
        stated: Thumbprint,
        /// SHA-1 of property 32.
        found: Thumbprint,
    },
    /// The key provider information points outside of itself.
    #[error("expected key provider information with names inside of its {length} bytes, found an offset of {offset}")]
    KeyInfo {
        /// Length of property 2.
        length: usize,
        /// The offset.
        offset: u32,
    },
    /// No serialized certificate among other bytes.
    #[error("expected a serialized certificate among {0} bytes, found none")]
    NotFound(usize),
}

/// A serialized certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serialized {
    /// The certificate.
    pub der: Vec<u8>,
    /// Its friendly name, if it has one.
    pub friendly_name: Option<String>,
    /// Where its private key is said to be, if anything is said.
    pub key: Option<KeyLink>,
    /// Marked archived.
    pub archived: bool,
}

impl Serialized {
    /// Reads one serialized certificate from the beginning of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// [`SerializedError`] when the bytes end early, are something else, or contradict themselves.
    pub fn read(bytes: &[u8]) -> Result<Self, SerializedError> {
        let mut read = Self { der: Vec::new(), friendly_name: None, key: None, archived: false };
        let mut stated = None;
        let mut at = 0_usize;
        for _ in 0..MAX_PROPERTIES {
            let cut_off = |expected, found: &[u8]| SerializedError::CutOff { at, expected, found: found.len() };
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(((id, constant), length)) = u32_at(rest, 0).zip(u32_at(rest, 4)).zip(u32_at(rest, 8)) else {
                return Err(cut_off(12, rest));
            };
            if constant != 1 {
                return Err(SerializedError::NotProperty { at, found: constant });
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let body = rest.get(12..).unwrap_or_default();
            let value = body.get(..length).ok_or_else(|| cut_off(length, body))?;
            match id {
                KEY_PROV_INFO => read.key = Some(key_link(value)?),
                SHA1_HASH => stated = Thumbprint::try_from(value).ok(),
                FRIENDLY_NAME => read.friendly_name = text_at(value, 0).filter(|name| !name.is_empty()),
                ARCHIVED => read.archived = true,
                CERTIFICATE if length > MAX_DER => return Err(SerializedError::TooLarge(length)),
                CERTIFICATE => {
                    read.der = value.to_vec();
                    let found = Thumbprint::of(value);
                    return match stated {
                        Some(stated) if stated != found => Err(SerializedError::Thumbprint { stated, found }),
                        Some(_) | None => Ok(read),
                    };
                }
                _ => {}
            }
            at += 12 + length;
        }
        Err(SerializedError::TooMany)
    }

    /// Finds the serialized certificate in a .NET BinaryFormatter blob, where it is an array of bytes: record 15, object
    /// number, length, primitive type 2, bytes. The rest of the format need not be understood for that.
    ///
    /// # Errors
    /// [`SerializedError::NotFound`], or why the one that looked most like a certificate is none.
    pub fn find(blob: &[u8]) -> Result<Self, SerializedError> {
        let mut nearest = SerializedError::NotFound(blob.len());
        let mut nearly = 0;
        for (at, window) in blob.windows(10).enumerate() {
            if window.first() != Some(&15) || window.last() != Some(&2) {
                continue;
            }
            let array = u32_at(window, 5)
                .and_then(|length| usize::try_from(length).ok())
                .and_then(|length| blob.get(at + 10..)?.get(..length));
            match array.map(Self::read) {
                Some(Ok(read)) => return Ok(read),
                // Any bytes fail at the first property; only what begins like a certificate is worth a word.
                Some(Err(SerializedError::NotProperty { at: 0, .. } | SerializedError::CutOff { at: 0, .. })) | None => {}
                Some(Err(error)) => {
                    nearest = error;
                    nearly += 1;
                    if nearly == MAX_NEARLY {
                        break;
                    }
                }
            }
        }
        Err(nearest)
    }
}

/// `CRYPT_KEY_PROV_INFO` as it is serialized: the structure with 32-bit fields, its pointers as offsets from its beginning.
fn key_link(bytes: &[u8]) -> Result<KeyLink, SerializedError> {
    let cut_off = || SerializedError::CutOff { at: 0, expected: 28, found: bytes.len() };
    let field = |at| u32_at(bytes, at).ok_or_else(cut_off);
    let text = |at| {
        let offset = field(at)?;
        if offset == 0 {
            return Ok(String::new());
        }
        let place = usize::try_from(offset).ok().filter(|place| *place >= 28);
        place.and_then(|place| text_at(bytes, place)).ok_or(SerializedError::KeyInfo { length: bytes.len(), offset })
    };
    Ok(KeyLink { container: text(0)?, provider: text(4)?, provider_type: field(8)?, flags: field(12)?, key_spec: field(24)? })
}

/// UTF-16 text at an offset, up to its NUL or the end.
fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let (units, _) = bytes.get(at..)?.as_chunks::<2>();
    let units: Vec<u16> =
        units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).take(MAX_TEXT).collect();
    Some(String::from_utf16_lossy(&units))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let (first, _) = bytes.get(at..)?.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*first))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn property(id: u32, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).expect("short");
        [&id.to_le_bytes(), &1_u32.to_le_bytes(), &length.to_le_bytes(), value].concat()
    }

    pub(crate) fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    pub(crate) fn element(der: &[u8], container: &str, friendly: &str) -> Vec<u8> {
        let fields: [u32; 7] = [28, 0, 12, 0x20, 0, 0, 1];
        let link: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).chain(utf16(container)).collect();
        [
            property(FRIENDLY_NAME, &utf16(friendly)),
            property(KEY_PROV_INFO, &link),
            property(SHA1_HASH, &Thumbprint::of(der).0),
            property(CERTIFICATE, der),
        ]
        .concat()
    }

    pub(crate) fn blob(element: &[u8]) -> Vec<u8> {
        let length = u32::try_from(element.len()).expect("short").to_le_bytes();
        [b"\x00\x01\x0f rest of a blob\x02\x0f\x03\0\0\0", length.as_slice(), b"\x02", element, b"\x0b"].concat()
    }

    #[test]
    fn name_key_and_certificate_are_found_in_a_blob() {
        let read = Serialized::find(&blob(&element(b"DER", "8d5ea9f5", "Microsoft Exchange"))).expect("found");
        assert_eq!(read.der, b"DER");
        assert_eq!(read.friendly_name.as_deref(), Some("Microsoft Exchange"));
        let link = KeyLink { container: "8d5ea9f5".into(), provider: String::new(), provider_type: 12, flags: 0x20, key_spec: 1 };
        assert_eq!(read.key, Some(link));
        assert!(!read.archived);
    }

    #[test]
    fn a_certificate_that_is_not_the_one_its_properties_name_is_refused() {
        let element = [property(SHA1_HASH, &[7; 20]), property(CERTIFICATE, b"DER")].concat();
        assert!(matches!(Serialized::find(&blob(&element)), Err(SerializedError::Thumbprint { .. })));
    }

    #[test]
    fn every_cut_and_every_offset_outside_is_an_error() {
        let whole = element(b"DER", "c", "f");
        for end in 0..whole.len() {
            assert!(Serialized::read(&whole[..end]).is_err(), "{end}");
        }
        for offset in [1_u32, 27, 200, u32::MAX] {
            let link: Vec<u8> = [offset, 0, 12, 0x20, 0, 0, 1].iter().flat_map(|field| field.to_le_bytes()).collect();
            assert_eq!(key_link(&link), Err(SerializedError::KeyInfo { length: 28, offset }));
        }
        assert_eq!(Serialized::read(&property(9, b"").repeat(100)), Err(SerializedError::TooMany));
        assert_eq!(Serialized::find(b"\x0f\0\0\0\0\xff\xff\xff\xff\x02"), Err(SerializedError::NotFound(10)));
    }
}
