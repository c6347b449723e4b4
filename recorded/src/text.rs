//! Bytes to text.
//!
//! The same command writes different bytes on different machines: `Export-Clixml` writes UTF-8 with a byte order mark
//! or UTF-16, `>` in PowerShell 5 writes UTF-16, IIS writes UTF-8 without a mark. Text that is none of these is refused
//! with the place of the first wrong byte, since a guessed code page could turn one name into another.

use std::borrow::Cow;

use thiserror::Error;

/// The largest file that is read, in bytes. Real exports of a large estate stay below 8 MiB.
pub const MAX_INPUT: usize = 32 * 1024 * 1024;

/// Bytes that are not text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// Longer than [`MAX_INPUT`].
    #[error("expected a file of at most {MAX_INPUT} bytes, found {0}")]
    TooLarge(usize),
    /// Neither UTF-8 nor recognisable as UTF-16.
    #[error("expected UTF-8 or UTF-16 text, found byte 0x{byte:02X} at byte {at}, which UTF-8 does not allow there")]
    NotUtf8 {
        /// Offset of the byte in the file.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// Half of a UTF-16 unit at the end.
    #[error("expected UTF-16 text of an even number of bytes, found one byte too many at byte {at}: the file is cut off")]
    HalfUnit {
        /// Offset of that byte in the file.
        at: usize,
    },
    /// A surrogate without its partner.
    #[error("expected UTF-16 text, found half of a surrogate pair at byte {at}")]
    LoneSurrogate {
        /// Offset of its first byte in the file.
        at: usize,
    },
}

/// Decodes a file: UTF-8 or UTF-16 by its byte order mark, else UTF-16 if it plainly is, else UTF-8.
///
/// # Errors
/// [`TextError`] with the place of the first byte that does not fit.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, TextError> {
    if bytes.len() > MAX_INPUT {
        return Err(TextError::TooLarge(bytes.len()));
    }
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest, 3),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, 2, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, 2, u16::from_be_bytes),
        // Two ASCII characters in a row. No UTF-8 text that is read here has a NUL in its first four bytes.
        [1..=0x7F, 0, 1..=0x7F, 0, ..] => utf16(bytes, 0, u16::from_le_bytes),
        [0, 1..=0x7F, 0, 1..=0x7F, ..] => utf16(bytes, 0, u16::from_be_bytes),
        _ => utf8(bytes, 0),
    }
}

/// Decodes a file of the console's code page as far as it can be decoded without knowing which one it is: ASCII as it
/// stands, each other byte as U+FFFD. Good enough where labels are not read and values are ASCII.
pub(crate) fn ascii_lossy(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn utf8(bytes: &[u8], skipped: usize) -> Result<Cow<'_, str>, TextError> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let at = error.valid_up_to();
        TextError::NotUtf8 { at: at + skipped, byte: bytes.get(at).copied().unwrap_or_default() }
    })
}

fn utf16(bytes: &[u8], skipped: usize, unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, TextError> {
    let (pairs, half) = bytes.as_chunks::<2>();
    if !half.is_empty() {
        return Err(TextError::HalfUnit { at: skipped + bytes.len() - 1 });
    }
    let mut at = skipped;
    let mut text = String::with_capacity(pairs.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = decoded.map_err(|_| TextError::LoneSurrogate { at })?;
        at += 2 * character.len_utf16();
        text.push(character);
    }
    Ok(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_that_windows_writes_gives_the_same_text() {
        let text = "<Objs>Prüfung 😀</Objs>";
        let utf8 = [b"\xEF\xBB\xBF".as_slice(), text.as_bytes()].concat();
        let little = [b"\xFF\xFE".to_vec(), units(text, u16::to_le_bytes)].concat();
        let big = [b"\xFE\xFF".to_vec(), units(text, u16::to_be_bytes)].concat();
        for bytes in [text.as_bytes().to_vec(), utf8, little, big, units(text, u16::to_le_bytes), units(text, u16::to_be_bytes)] {
            assert_eq!(decode(&bytes).as_deref(), Ok(text));
        }
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        assert_eq!(decode(b"\xEF\xBB\xBFab\x81"), Err(TextError::NotUtf8 { at: 5, byte: 0x81 }));
        assert_eq!(decode(b"\xFF\xFEa\0b"), Err(TextError::HalfUnit { at: 4 }));
        assert_eq!(decode(b"\xFF\xFEa\0\x00\xD8b\0"), Err(TextError::LoneSurrogate { at: 4 }));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        assert_eq!(decode(&vec![b' '; MAX_INPUT + 1]), Err(TextError::TooLarge(MAX_INPUT + 1)));
    }
}
