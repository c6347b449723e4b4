//! The properties of a certificate, out of the bytes that CryptoAPI hands over.
//!
//! What stands in them was written by whatever tool had the right to: of any length, cut off, with pointers to nowhere. So a
//! pointer is only ever compared with the place of the bytes, never followed, and what does not fit is a [`Damaged`].

use std::mem::{offset_of, size_of};

use policy::report::KeyLink;
use thiserror::Error;
use windows_sys::Win32::Security::Cryptography::CRYPT_KEY_PROV_INFO;

use super::{Code, text};

/// The longest property that is read, in bytes. Friendly names have less than 64 characters, container names less than 260.
pub const LONGEST: u32 = 16 * 1024;

/// Length of a key link without its texts, in bytes.
const STRUCTURE: usize = size_of::<CRYPT_KEY_PROV_INFO>();

/// A property that does not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damaged {
    /// Longer than [`LONGEST`].
    #[error("expected a property of at most {LONGEST} bytes, found {0}")]
    TooLong(u32),
    /// Windows does not hand it over.
    #[error("expected a property, found {0}")]
    Refused(Code),
    /// Shorter than its structure.
    #[error("expected a key link of at least {STRUCTURE} bytes, found {0}")]
    TooShort(usize),
    /// A text of it begins outside of it, or has no end.
    #[error("expected the {0} of a key link inside of it, found it elsewhere or without an end")]
    Astray(&'static str),
}

/// The friendly name: UTF-16, terminated or not.
pub(super) fn name(bytes: &[u8]) -> String {
    text(&units(bytes))
}

/// The key link: a `CRYPT_KEY_PROV_INFO`, with the texts to which it points behind it.
pub(super) fn link(bytes: &[u8]) -> Result<KeyLink, Damaged> {
    let number = |offset: usize| {
        let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
        field.map(|field| u32::from_ne_bytes(*field)).ok_or(Damaged::TooShort(bytes.len()))
    };
    if bytes.len() < STRUCTURE {
        return Err(Damaged::TooShort(bytes.len()));
    }
    Ok(KeyLink {
        container: pointed(bytes, offset_of!(CRYPT_KEY_PROV_INFO, pwszContainerName), "container")?,
        provider: pointed(bytes, offset_of!(CRYPT_KEY_PROV_INFO, pwszProvName), "provider")?,
        provider_type: number(offset_of!(CRYPT_KEY_PROV_INFO, dwProvType))?,
        flags: number(offset_of!(CRYPT_KEY_PROV_INFO, dwFlags))?,
        key_spec: number(offset_of!(CRYPT_KEY_PROV_INFO, dwKeySpec))?,
    })
}

/// The text to which the pointer at `field` points; a null pointer stands for none.
fn pointed(bytes: &[u8], field: usize, what: &'static str) -> Result<String, Damaged> {
    let pointer = bytes.get(field..).and_then(|rest| rest.first_chunk()).ok_or(Damaged::TooShort(bytes.len()))?;
    let address = usize::from_ne_bytes(*pointer);
    if address == 0 {
        return Ok(String::new());
    }
    let behind = |offset: &usize| *offset >= STRUCTURE;
    let offset = address.checked_sub(bytes.as_ptr().addr()).filter(behind).ok_or(Damaged::Astray(what))?;
    let units = units(bytes.get(offset..).ok_or(Damaged::Astray(what))?);
    if units.contains(&0) { Ok(text(&units)) } else { Err(Damaged::Astray(what)) }
}

fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key link as CryptoAPI lays it out, with container and provider at these places from its start.
    fn laid_out(container: Option<usize>, provider: Option<usize>, texts: &[u16]) -> Vec<u8> {
        let mut bytes = vec![0; STRUCTURE];
        bytes.extend(texts.iter().flat_map(|unit| unit.to_le_bytes()));
        let base = bytes.as_ptr().addr();
        let mut put = |field: usize, value: &[u8]| bytes[field..field + value.len()].copy_from_slice(value);
        let address = |offset: Option<usize>| offset.map_or(0, |offset| base.wrapping_add(offset)).to_ne_bytes();
        put(offset_of!(CRYPT_KEY_PROV_INFO, pwszContainerName), &address(container));
        put(offset_of!(CRYPT_KEY_PROV_INFO, pwszProvName), &address(provider));
        put(offset_of!(CRYPT_KEY_PROV_INFO, dwProvType), &12_u32.to_ne_bytes());
        put(offset_of!(CRYPT_KEY_PROV_INFO, dwFlags), &0x20_u32.to_ne_bytes());
        put(offset_of!(CRYPT_KEY_PROV_INFO, dwKeySpec), &1_u32.to_ne_bytes());
        bytes
    }

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().chain([0]).collect()
    }

    #[test]
    fn a_key_link_reads_as_it_was_laid_out() {
        let texts = [wide("abc"), wide("Provider")].concat();
        let read = link(&laid_out(Some(STRUCTURE), Some(STRUCTURE + 8), &texts)).unwrap();
        let expected =
            KeyLink { container: "abc".into(), provider: "Provider".into(), provider_type: 12, flags: 0x20, key_spec: 1 };
        assert_eq!(read, expected);
        assert_eq!(link(&laid_out(Some(STRUCTURE), None, &texts)).unwrap().provider, "");
    }

    #[test]
    fn a_text_may_begin_at_an_odd_place_and_end_with_the_property() {
        let mut bytes = laid_out(Some(STRUCTURE + 1), None, &[0; 3]);
        bytes[STRUCTURE + 1..STRUCTURE + 5].copy_from_slice(&[b'x', 0, 0, 0]);
        assert_eq!(link(&bytes).unwrap().container, "x");
    }

    #[test]
    fn pointers_out_of_the_property_are_never_followed() {
        let texts = wide("abc");
        let astray = Err(Damaged::Astray("container"));
        for offset in [0, STRUCTURE - 1, STRUCTURE + 9, STRUCTURE + 1000, usize::MAX, usize::MAX / 2] {
            assert_eq!(link(&laid_out(Some(offset), None, &texts)), astray, "{offset}");
        }
        assert_eq!(link(&laid_out(Some(STRUCTURE), None, &[b'a'.into(), b'b'.into()])), astray, "no end");
        assert_eq!(link(&laid_out(None, Some(usize::MAX), &texts)), Err(Damaged::Astray("provider")));
    }

    #[test]
    fn a_property_that_is_cut_off_is_an_error() {
        let whole = laid_out(None, None, &[]);
        for cut in 0..STRUCTURE {
            assert_eq!(link(&whole[..cut]), Err(Damaged::TooShort(cut)));
        }
    }

    #[test]
    fn a_friendly_name_needs_neither_an_end_nor_an_even_length() {
        let bytes: Vec<u8> = "Käse".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(name(&bytes), "Käse");
        assert_eq!(name(&[bytes.as_slice(), &[0, 0, b'x', 0, 7]].concat()), "Käse");
        assert_eq!(name(&bytes[..bytes.len() - 1]), "Käs");
        assert_eq!(name(&[0x00, 0xD8]), "\u{FFFD}");
        assert_eq!(name(&[]), "");
        assert_eq!(name(b"x"), "");
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_property_is_a_value(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            near in proptest::option::of(0_usize..300),
        ) {
            let mut bytes = bytes;
            let base = bytes.as_ptr().addr();
            if let (Some(near), Some(field)) = (near, bytes.first_chunk_mut()) {
                *field = base.wrapping_add(near).to_ne_bytes();
            }
            let _ = name(&bytes);
            if let Ok(link) = link(&bytes) {
                prop_assert!(link.container.len() <= 3 * bytes.len());
            }
        }
    }
}
