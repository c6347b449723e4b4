//! Keys in files that only their machine opens (DPAPI, `CryptProtectData` for the machine).
//!
//! What it is good for: a copy of the file alone (a backup of the folder, a disk image mounted elsewhere, a share left open) is
//! of no use without the machine. What it is not good for: whoever is administrator on the machine, or has copied all of it,
//! opens the file as the program does. Against the first nothing helps; the second is found out by the lineage of sessions.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::Code;
use crate::ffi::seal;

/// What a sealed file begins with. No key does: DER begins with `0`, PEM with `-`.
const MAGIC: &[u8; 8] = b"BSTSEAL1";

/// What a file is sealed for. It is not secret, and goes into the seal: a file that was sealed for one thing is not taken for
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose<'a> {
    /// What the key is for, as `backstay.agent-key.v1`.
    pub what: &'a str,
    /// In which estate: the key of another one, put back from an old backup, does not open.
    pub estate: &'a str,
}

impl Purpose<'_> {
    fn entropy(&self) -> Vec<u8> {
        format!("{}\n{}", self.what, self.estate).into_bytes()
    }
}

/// Bytes that were not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// Windows does not seal.
    #[error("Windows did not seal the key: {0}")]
    NotSealed(Code),
    /// Another machine or purpose, or other bytes.
    #[error(
        "expected a key that Windows sealed on this machine for this estate, found one that does not open here ({0}): it was \
         copied from another machine, Windows was installed anew, or the file is damaged"
    )]
    NotOpened(Code),
}

/// Seals bytes; what comes out can be told from what went in by [`is_sealed`].
///
/// # Errors
/// [`SealError::NotSealed`].
pub fn seal(plain: &[u8], purpose: Purpose<'_>) -> Result<Vec<u8>, SealError> {
    let sealed = seal::protect(plain, &purpose.entropy()).map_err(SealError::NotSealed)?;
    Ok([MAGIC.as_slice(), &sealed].concat())
}

/// Whether bytes were sealed, whoever can open them.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Opens what was sealed. Overwritten when it is dropped.
///
/// # Errors
/// [`SealError::NotOpened`], also for bytes that are not sealed.
pub fn open(bytes: &[u8], purpose: Purpose<'_>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    const INVALID_DATA: Code = Code(13);
    let sealed = bytes.strip_prefix(MAGIC.as_slice()).ok_or(SealError::NotOpened(INVALID_DATA))?;
    seal::unprotect(sealed, &purpose.entropy()).map_err(SealError::NotOpened)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose<'_> = Purpose { what: "backstay.test.v1", estate: "contoso" };

    #[test]
    fn bytes_of_any_length_come_back_as_they_were_and_never_stand_in_what_is_sealed() {
        for length in [1, 2, 15, 16, 17, 121, 138, 4_096, 65_536] {
            let plain: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let sealed = seal(&plain, PURPOSE).unwrap();
            assert!(is_sealed(&sealed) && !is_sealed(&plain));
            assert!(length < 15 || !sealed.windows(length).any(|window| window == plain), "{length} bytes stand there");
            assert_eq!(*open(&sealed, PURPOSE).unwrap(), plain, "{length}");
        }
    }

    #[test]
    fn another_purpose_or_estate_does_not_open_it() {
        let sealed = seal(b"key", PURPOSE).unwrap();
        assert!(open(&sealed, Purpose { what: "backstay.other.v1", ..PURPOSE }).is_err());
        assert!(open(&sealed, Purpose { estate: "fabrikam", ..PURPOSE }).is_err());
        assert!(open(&sealed, PURPOSE).is_ok());
    }

    #[test]
    fn nothing_that_was_changed_or_cut_opens() {
        let plain = b"a key of some length, as keys have".as_slice();
        let sealed = seal(plain, PURPOSE).unwrap();
        for length in 0..sealed.len() {
            assert!(open(&sealed[..length], PURPOSE).is_err(), "cut at {length}");
        }
        let mut opened = Vec::new();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            if open(&changed, PURPOSE).is_ok_and(|found| *found != plain) {
                opened.push(at);
            }
        }
        assert_eq!(opened, [0; 0], "a changed byte gives another key at these places");
        assert!(open(b"", PURPOSE).is_err());
        assert!(open(plain, PURPOSE).is_err());
    }
}
