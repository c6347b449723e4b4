//! Files of a workstation: read within bounds, written so that a secret is nobody else's and nothing is overwritten.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use proto::signed::{SignedBytes, SigningKey};
use zeroize::Zeroizing;

use super::failure::{Doing, Exit, Failure};

/// The largest document or key that is read here.
const MAX_DOCUMENT: u64 = 1024 * 1024;

/// The bytes of a file of at most `limit` bytes.
///
/// # Errors
/// [`Failure`] that names the file; not found is an exit code of its own.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let doing = || format!("reading {}", path.display());
    let file = File::open(path).map_err(|error| {
        let exit = if error.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
        Failure::new(exit, doing()).because(error)
    })?;
    let mut bytes = Vec::new();
    // One more than allowed tells a file that is too large, also when it grows while it is read.
    let length = file.take(limit.saturating_add(1)).read_to_end(&mut bytes).doing(doing)?;
    if length as u64 > limit {
        return Err(Failure::new(Exit::Error, doing()).because(format!("expected at most {limit} bytes, found more")));
    }
    Ok(bytes)
}

/// A document of this program.
///
/// # Errors
/// [`Failure`] that names the file.
pub fn document(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, MAX_DOCUMENT)
}

/// A signed document as it was written to a file.
///
/// # Errors
/// [`Failure`] that names the file.
pub fn signed(path: &Path) -> Result<SignedBytes, Failure> {
    let bytes = document(path)?;
    let doing = || format!("reading {} as a signed document", path.display());
    let text = str::from_utf8(&bytes).doing(doing)?;
    SignedBytes::from_file_text(text).doing(doing)
}

/// A person's or root's signing key.
///
/// # Errors
/// [`Failure`] that names the file and repeats nothing of it.
pub fn key(path: &Path) -> Result<SigningKey, Failure> {
    let bytes = Zeroizing::new(document(path)?);
    let doing = || format!("reading {} as a signing key", path.display());
    let text = str::from_utf8(&bytes).doing(doing)?;
    SigningKey::from_file_text(text).doing(doing)
}

/// Writes a new file that anybody may read.
///
/// # Errors
/// [`Failure`], also when the file exists: nothing is ever overwritten.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, 0o644)
}

/// Writes a new file that only its owner may read. On Windows it has the access list of its folder.
///
/// # Errors
/// [`Failure`], also when the file exists: nothing is ever overwritten.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, 0o600)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = with_mode(&mut options, mode).open(path).map_err(|error| {
        let failure = Failure::new(Exit::Error, format!("writing {}", path.display()));
        if error.kind() == ErrorKind::AlreadyExists {
            return failure
                .because("the file exists, and nothing is overwritten")
                .next("choose another place, or move the file away");
        }
        failure.because(error)
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).doing(|| format!("writing {}", path.display()))
}

#[cfg(unix)]
fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(mode)
}

#[cfg(not(unix))]
fn with_mode(options: &mut OpenOptions, _: u32) -> &mut OpenOptions {
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten_and_a_secret_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        write_secret(&path, b"one").expect("written");
        let again = write_secret(&path, b"two").expect_err("must not overwrite").report();
        assert!(again.contains("the file exists"), "{again}");
        assert_eq!(std::fs::read(&path).expect("there"), b"one");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_too_large_or_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("large");
        write_new(&path, &[0; 11]).expect("written");
        assert_eq!(read(&path, 11).expect("fits").len(), 11);
        assert!(read(&path, 10).expect_err("too large").report().contains("at most 10 bytes"));
        let missing = read(&folder.path().join("none"), 10).expect_err("missing");
        assert_eq!(missing.exit(), Exit::NotFound);
    }
}
