//! The private key of the agent's identity on disk.
//!
//! Elsewhere it is PKCS#8 in a file that only its owner reads. On Windows the file is sealed besides (`native::seal`): access
//! lists do not travel with a backup of the folder, the seal does. A key that an older agent left unsealed is sealed when it is
//! first read. What opens here proves nothing about who else has it: clones of a whole machine are found out by lineage (TRUST
//! T9).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use policy::id::{EstateName, Sha256};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{IdentityError, read};
use crate::journal::sync_folder;

pub(super) const KEY_FILE: &str = "identity.key";

/// The private key, in memory.
pub(super) struct HostKey(pub(super) KeyPair);

impl HostKey {
    /// Reads the key of this host in this estate. `None` where there is none.
    pub(super) fn open(folder: &Path, estate: &EstateName) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(KEY_FILE);
        let Some(bytes) = read(&path)?.map(Zeroizing::new) else { return Ok(None) };
        let pkcs8 = disk::opened(&path, bytes, estate)?;
        let damaged = |_| IdentityError::Damaged { path: path.clone(), expected: "a P-256 key in PKCS#8" };
        let der = PrivatePkcs8KeyDer::from(pkcs8.bytes.as_slice());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(damaged)?;
        if pkcs8.to_seal {
            disk::seal_again(&path, &pair, estate);
        }
        Ok(Some(Self(pair)))
    }

    /// The key of this host, made when there is none, or none that opens: a host that has not joined loses nothing by that.
    pub(super) fn open_or_make(folder: &Path, estate: &EstateName) -> Result<Self, IdentityError> {
        match Self::open(folder, estate) {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => {}
            #[cfg(windows)]
            Err(error @ IdentityError::Sealed { .. }) => {
                tracing::warn!(event = crate::event::KEY_REPLACED.id, error = crate::chain(&error), "the key is made anew");
            }
            Err(error) => return Err(error),
        }
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)?;
        let path = folder.join(KEY_FILE);
        let bytes = disk::closed(&path, pair.serialized_der(), estate)?;
        write_private(&path, &bytes).map_err(|source| IdentityError::Io { path, source })?;
        Ok(Self(pair))
    }

    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialized_der().to_vec()).into()
    }

    pub(super) fn id(&self) -> Sha256 {
        Sha256::of(&self.0.subject_public_key_info())
    }
}

/// What a file held.
struct Pkcs8 {
    bytes: Zeroizing<Vec<u8>>,
    /// It stands there as an older agent wrote it, and should not.
    to_seal: bool,
}

#[cfg(not(windows))]
mod disk {
    use super::*;

    pub(super) fn closed(_: &Path, pkcs8: &[u8], _: &EstateName) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        Ok(Zeroizing::new(pkcs8.to_vec()))
    }

    pub(super) fn opened(_: &Path, bytes: Zeroizing<Vec<u8>>, _: &EstateName) -> Result<Pkcs8, IdentityError> {
        Ok(Pkcs8 { bytes, to_seal: false })
    }

    pub(super) fn seal_again(_: &Path, _: &KeyPair, _: &EstateName) {}
}

#[cfg(windows)]
mod disk {
    use native::seal::{self, Purpose};

    use super::*;
    use crate::{chain, event};

    fn purpose(estate: &EstateName) -> Purpose<'_> {
        Purpose { what: "backstay.agent-key.v1", estate: estate.as_str() }
    }

    pub(super) fn closed(path: &Path, pkcs8: &[u8], estate: &EstateName) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let sealed = seal::seal(pkcs8, purpose(estate)).map_err(|source| sealed_error(path, source))?;
        Ok(Zeroizing::new(sealed))
    }

    pub(super) fn opened(path: &Path, bytes: Zeroizing<Vec<u8>>, estate: &EstateName) -> Result<Pkcs8, IdentityError> {
        if !seal::is_sealed(&bytes) {
            return Ok(Pkcs8 { bytes, to_seal: true });
        }
        let bytes = seal::open(&bytes, purpose(estate)).map_err(|source| sealed_error(path, source))?;
        Ok(Pkcs8 { bytes, to_seal: false })
    }

    /// Puts a sealed file in the place of the unsealed one, whole or not at all. When that fails the key is as good as before,
    /// and the next start tries again.
    pub(super) fn seal_again(path: &Path, pair: &KeyPair, estate: &EstateName) {
        let sealed = closed(path, pair.serialized_der(), estate)
            .and_then(|bytes| write_private(path, &bytes).map_err(|source| IdentityError::Io { path: path.to_owned(), source }));
        match sealed {
            Ok(()) => tracing::info!(event = event::KEY_SEALED.id, path = %path.display(), "the key was sealed"),
            Err(error) => {
                let (event, what, error) = (event::STATE_NOT_WRITTEN.id, "sealed key", chain(&error));
                tracing::warn!(event, what, error, "the key stays unsealed");
            }
        }
    }

    fn sealed_error(path: &Path, source: seal::SealError) -> IdentityError {
        IdentityError::Sealed { path: path.to_owned(), source }
    }
}

/// Writes a file that nobody but its owner could read at any moment. On Windows the state folder's access list sees to it.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let aside: PathBuf = path.with_extension("new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = options.open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&aside, path)?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estate() -> EstateName {
        "contoso".parse().unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_is_the_same_at_every_later_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(HostKey::open(folder.path(), &estate()).unwrap().is_none());
        let made = HostKey::open_or_make(folder.path(), &estate()).unwrap().id();
        let written = fs::read(folder.path().join(KEY_FILE)).unwrap();
        assert_eq!(HostKey::open_or_make(folder.path(), &estate()).unwrap().id(), made);
        assert_eq!(HostKey::open(folder.path(), &estate()).unwrap().unwrap().id(), made);
        assert_eq!(fs::read(folder.path().join(KEY_FILE)).unwrap(), written);
    }

    #[test]
    fn what_a_power_loss_left_beside_the_file_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("identity.new"), b"half a key").unwrap();
        let made = HostKey::open_or_make(folder.path(), &estate()).unwrap().id();
        assert!(!folder.path().join("identity.new").exists());
        // And beside a whole one it means nothing: the new one was never put in its place.
        fs::write(folder.path().join("identity.new"), b"half a key").unwrap();
        assert_eq!(HostKey::open(folder.path(), &estate()).unwrap().unwrap().id(), made);
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [b"".as_slice(), b"0", b"BSTSEAL0", b"-----BEGIN"] {
            fs::write(folder.path().join(KEY_FILE), bytes).unwrap();
            let error = HostKey::open(folder.path(), &estate()).err().expect("no key");
            assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        }
    }

    #[cfg(windows)]
    mod sealed {
        use super::*;

        fn file(folder: &tempfile::TempDir) -> PathBuf {
            folder.path().join(KEY_FILE)
        }

        #[test]
        fn no_byte_of_the_key_stands_in_the_file() {
            let folder = tempfile::tempdir().unwrap();
            let key = HostKey::open_or_make(folder.path(), &estate()).unwrap();
            let (written, plain) = (fs::read(file(&folder)).unwrap(), key.0.serialized_der());
            assert!(native::seal::is_sealed(&written));
            assert!(plain.windows(16).all(|part| !written.windows(16).any(|found| found == part)));
        }

        #[test]
        fn an_unsealed_key_of_an_older_agent_is_sealed_when_it_is_read_and_stays_the_same() {
            let folder = tempfile::tempdir().unwrap();
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            fs::write(file(&folder), pair.serialized_der()).unwrap();
            // As a power loss in an earlier try would leave it.
            fs::write(folder.path().join("identity.new"), b"half").unwrap();
            let read = HostKey::open(folder.path(), &estate()).unwrap().unwrap();
            assert_eq!(read.id(), HostKey(pair).id());
            assert!(native::seal::is_sealed(&fs::read(file(&folder)).unwrap()));
            assert_eq!(HostKey::open(folder.path(), &estate()).unwrap().unwrap().id(), read.id());
        }

        #[test]
        fn a_key_that_cannot_be_sealed_now_is_used_as_it_is_and_sealed_next_time() {
            let folder = tempfile::tempdir().unwrap();
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            fs::write(file(&folder), pair.serialized_der()).unwrap();
            fs::create_dir(folder.path().join("identity.new")).unwrap();
            assert!(HostKey::open(folder.path(), &estate()).unwrap().is_some());
            assert_eq!(fs::read(file(&folder)).unwrap(), pair.serialized_der(), "the old one stands");
            fs::remove_dir(folder.path().join("identity.new")).unwrap();
            assert!(HostKey::open(folder.path(), &estate()).unwrap().is_some());
            assert!(native::seal::is_sealed(&fs::read(file(&folder)).unwrap()));
        }

        #[test]
        fn a_key_of_another_estate_or_that_was_changed_is_refused_and_made_anew_only_by_a_host_that_has_not_joined() {
            let folder = tempfile::tempdir().unwrap();
            let key = HostKey::open_or_make(folder.path(), &estate()).unwrap().id();
            let other: EstateName = "fabrikam".parse().unwrap();
            let refused = |estate: &EstateName| {
                let error = HostKey::open(folder.path(), estate).err().expect("refused");
                assert!(matches!(error, IdentityError::Sealed { .. }), "{error}");
                assert!(crate::chain(&error).contains("another machine"), "{}", crate::chain(&error));
            };
            refused(&other);
            let whole = fs::read(file(&folder)).unwrap();
            fs::write(file(&folder), &whole[..whole.len() - 1]).unwrap();
            refused(&estate());
            let mut changed = whole;
            *changed.last_mut().unwrap() ^= 1;
            fs::write(file(&folder), &changed).unwrap();
            refused(&estate());
            assert_eq!(fs::read(file(&folder)).unwrap(), changed, "what does not open is left for people to look at");
            assert_ne!(HostKey::open_or_make(folder.path(), &estate()).unwrap().id(), key);
        }
    }
}
