//! The CA's key on disk: PEM in a file that only the service reads, and on Windows sealed besides (`native::seal`).
//!
//! The seal keeps a copied file from being a stolen CA. It also means that the file alone does not survive its machine. So an
//! unsealed key is taken, and sealed when it is first read: [`export`] gives it out for a safe, and putting it back is all that
//! a new machine needs.

use std::path::Path;

use policy::id::EstateName;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use super::{CaError, read, write_new};

pub(super) const FILE: &str = "ca.key";

/// Writes the key, never over another.
pub(super) fn write(folder: &Path, pem: &str, estate: &EstateName) -> Result<(), CaError> {
    write_new(folder, FILE, &sealed(pem, estate)?)
}

/// Reads the key.
pub(super) fn open(folder: &Path, estate: &EstateName) -> Result<KeyPair, CaError> {
    let path = folder.join(FILE);
    let bytes = Zeroizing::new(read(&path)?);
    let (pem, to_seal) = opened(&bytes, estate)?;
    let text = std::str::from_utf8(&pem).ok();
    let pair = text.and_then(|text| KeyPair::from_pem(text).ok()).filter(|pair| pair.is_compatible(&PKCS_ECDSA_P256_SHA256));
    let pair = pair.ok_or_else(|| CaError::Content { path: path.clone(), expected: "a P-256 private key in PEM" })?;
    if to_seal {
        seal_again(&path, &pair, estate);
    }
    Ok(pair)
}

/// Writes the key, unsealed, into a file that must not be there yet: a copy for a safe.
///
/// # Errors
/// [`CaError`], also where the key is not good.
pub fn export(folder: &Path, estate: &EstateName, to: &Path) -> Result<(), CaError> {
    let pem = Zeroizing::new(open(folder, estate)?.serialize_pem());
    let (folder, name) = (to.parent().unwrap_or(Path::new("")), to.file_name().unwrap_or_default());
    write_new(folder, &name.to_string_lossy(), pem.as_bytes())
}

#[cfg(not(windows))]
fn sealed(pem: &str, _: &EstateName) -> Result<Zeroizing<Vec<u8>>, CaError> {
    Ok(Zeroizing::new(pem.as_bytes().to_vec()))
}

#[cfg(not(windows))]
fn opened(bytes: &[u8], _: &EstateName) -> Result<(Zeroizing<Vec<u8>>, bool), CaError> {
    Ok((Zeroizing::new(bytes.to_vec()), false))
}

#[cfg(not(windows))]
fn seal_again(_: &Path, _: &KeyPair, _: &EstateName) {}

#[cfg(windows)]
fn purpose(estate: &EstateName) -> native::seal::Purpose<'_> {
    native::seal::Purpose { what: "backstay.ca-key.v1", estate: estate.as_str() }
}

#[cfg(windows)]
fn sealed(pem: &str, estate: &EstateName) -> Result<Zeroizing<Vec<u8>>, CaError> {
    native::seal::seal(pem.as_bytes(), purpose(estate)).map(Zeroizing::new).map_err(CaError::Sealed)
}

#[cfg(windows)]
fn opened(bytes: &[u8], estate: &EstateName) -> Result<(Zeroizing<Vec<u8>>, bool), CaError> {
    if !native::seal::is_sealed(bytes) {
        return Ok((Zeroizing::new(bytes.to_vec()), true));
    }
    native::seal::open(bytes, purpose(estate)).map(|pem| (pem, false)).map_err(CaError::Sealed)
}

/// Whole or not at all; when it fails, the key is as good as before, and the next start tries again.
#[cfg(windows)]
fn seal_again(path: &Path, pair: &KeyPair, estate: &EstateName) {
    let aside = path.with_extension("new");
    let replaced = sealed(&Zeroizing::new(pair.serialize_pem()), estate).and_then(|bytes| {
        use std::io::Write as _;
        let write = || {
            let mut file = std::fs::File::create(&aside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            drop(file);
            std::fs::rename(&aside, path)
        };
        write().map_err(|source| CaError::File { path: path.to_owned(), source })
    });
    match replaced {
        Ok(()) => tracing::info!(event = crate::event::KEY_SEALED.id, path = %path.display(), "the key was sealed"),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the key stays unsealed"),
    }
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;
    use crate::ca::Authority;

    fn estate() -> EstateName {
        "contoso".parse().expect("a name")
    }

    #[test]
    fn the_key_is_sealed_when_it_is_made_and_when_an_unsealed_one_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let made = Authority::create(folder.path(), &estate(), policy::Timestamp::UNIX_EPOCH).unwrap();
        let path = folder.path().join(FILE);
        assert!(native::seal::is_sealed(&std::fs::read(&path).unwrap()));
        let pem = open(folder.path(), &estate()).unwrap().serialize_pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        std::fs::write(&path, pem.as_bytes()).unwrap();
        assert_eq!(Authority::load(folder.path(), &estate()).unwrap().fingerprint(), made.fingerprint());
        assert!(native::seal::is_sealed(&std::fs::read(&path).unwrap()));
        assert_eq!(Authority::load(folder.path(), &estate()).unwrap().fingerprint(), made.fingerprint());
    }

    #[test]
    fn a_sealed_key_that_was_changed_is_refused_with_what_that_means() {
        let folder = tempfile::tempdir().unwrap();
        Authority::create(folder.path(), &estate(), policy::Timestamp::UNIX_EPOCH).unwrap();
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Authority::load(folder.path(), &estate()), Err(CaError::Sealed(_))));
    }
}
