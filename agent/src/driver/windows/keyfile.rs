//! Whether the file of a key container is there, when CryptoAPI will not open it.
//!
//! `CryptAcquireContext` says `NTE_BAD_KEYSET` when there is no such container, and also when there is one that may not be opened
//! (Microsoft, KB 238187). The difference decides: a key that is gone calls for a new certificate, one that is locked comes
//! back with its access list. Its file tells, and no container is opened or made for it.
//!
//! The file of a machine's container is called `<MD5 of the name>_<MachineGuid>`: the name in lower case with its NUL, the digest as
//! four numbers. That `iisWasKey` lies in `76944fb33636aeddb9590521c2e8815a_…` on every server with IIS is how one sees it.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::ffi::registry::Key;
use super::ffi::{Code, key, machine};
use crate::driver::DriverError;

/// The machine has a file for this container of Microsoft's classic providers. `None` when that cannot be told: for a name that
/// is not ASCII, whose spelling in the digest depends on the system's language.
///
/// # Errors
/// [`DriverError`] when the registry or MD5 does not answer.
pub(super) fn exists(container: &str) -> Result<Option<bool>, DriverError> {
    if !container.is_ascii() {
        return Ok(None);
    }
    match std::fs::symlink_metadata(path(container)?) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(false)),
        // One that may not even be looked at is there.
        Ok(_) | Err(_) => Ok(Some(true)),
    }
}

fn path(container: &str) -> Result<PathBuf, DriverError> {
    const KEY: &str = r"SOFTWARE\Microsoft\Cryptography";
    let guid = Key::machine(KEY)?.map(|key| key.expanded("MachineGuid")).transpose()?.flatten();
    let guid = guid.ok_or_else(|| Code(2).of("RegQueryValueEx", format!("value \"MachineGuid\" of HKLM\\{KEY}")))?;
    let name = container.to_ascii_lowercase() + "\0";
    let digest = key::md5(name.as_bytes()).map_err(|code| code.of("CryptGetHashParam", "MD5"))?;
    Ok(machine::program_data()?.join(r"Microsoft\Crypto\RSA\MachineKeys").join(format!("{}_{guid}", stem(&digest))))
}

fn stem(digest: &[u8; 16]) -> String {
    digest.as_chunks().0.iter().map(|number| format!("{:08x}", u32::from_le_bytes(*number))).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Puts a file where the container's would be, as if it may not be opened.
    pub(in super::super) fn lock(container: &str) {
        let path = path(container).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "not a key").unwrap();
    }

    #[test]
    fn files_are_called_as_on_every_windows() {
        for (container, expected) in [
            ("iisConfigurationKey", "6de9cb26d2b98c01ec4e9e8b34824aa2"),
            ("iisWasKey", "76944fb33636aeddb9590521c2e8815a"),
            ("NetFrameworkConfigurationKey", "d6d986f09a1ee04e24c949879fdb506c"),
            ("Microsoft Internet Information Server", "c2319c42033a5ca7f44e731bfd3fa2b5"),
        ] {
            let path = path(container).unwrap();
            let (stem, machine) = path.file_name().unwrap().to_str().unwrap().split_once('_').unwrap();
            assert_eq!(stem, expected, "{container}");
            assert_eq!(machine.len(), 36);
        }
    }

    #[test]
    fn a_file_that_is_there_is_seen() {
        assert_eq!(exists("keyfile-a").unwrap(), Some(false));
        lock("keyfile-a");
        assert_eq!(exists("KEYFILE-A").unwrap(), Some(true));
        assert_eq!(exists("schlüssel").unwrap(), None);
    }
}
