//! Private keys of a lab host: PKCS#8 in a file with an access list. Nothing here prints one.

use std::path::Path;

use policy::id::Sha256;
use policy::plan::Der;
use policy::report::Access;
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};

use super::file;
use crate::driver::DriverError;
use crate::driver::system::HostKey;

/// SYSTEM, who opens keys for http.sys and for the agent.
pub const SYSTEM: &str = "S-1-5-18";
/// Administrators.
pub const ADMINISTRATORS: &str = "S-1-5-32-544";
/// NETWORK SERVICE, as whom transport runs.
pub const NETWORK_SERVICE: &str = "S-1-5-20";
/// All rights, as they read back.
pub const FULL: u32 = 0x001F_01FF;
/// The right to read, as it reads back (EXCHANGE.md 5.4).
pub const READ: u32 = 0x0012_0089;

/// `keys/<container>.json`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    r#type: String,
    pkcs8: Der,
    access: Vec<Access>,
}

/// A private key and who may use it.
pub struct Key {
    pair: KeyPair,
    access: Vec<Access>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id().short())
    }
}

impl Key {
    /// Makes an RSA key of 2048, 3072 or 4096 bits. `None` for any other size, or when the generator fails.
    pub fn generate(bits: u32, access: Vec<Access>) -> Option<Self> {
        let size = match bits {
            2048 => RsaKeySize::_2048,
            3072 => RsaKeySize::_3072,
            4096 => RsaKeySize::_4096,
            _ => return None,
        };
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).ok().map(|pair| Self { pair, access })
    }

    /// Reads an RSA key from PKCS#8. `None` when the bytes are none.
    pub fn from_pkcs8(pkcs8: &[u8], access: Vec<Access>) -> Option<Self> {
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_RSA_SHA256).ok()?;
        Some(Self { pair, access: Vec::new() }.with_access(access))
    }

    /// What a key that was just made allows: SYSTEM and administrators everything.
    pub fn default_access() -> Vec<Access> {
        [SYSTEM, ADMINISTRATORS].map(|sid| Access { sid: sid.to_owned(), mask: FULL }).to_vec()
    }

    /// The key itself, to sign with.
    pub fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// Who may use it, in order.
    pub fn access(&self) -> &[Access] {
        &self.access
    }

    /// The same key with another access list.
    #[must_use]
    pub fn with_access(mut self, access: Vec<Access>) -> Self {
        self.access = access;
        self.access.sort();
        self
    }

    /// SHA-256 of its SubjectPublicKeyInfo, as `policy::certificate::Certificate::key_id` gives it.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&self.pair.subject_public_key_info())
    }

    /// SYSTEM may open it.
    pub fn opens(&self) -> bool {
        self.access.iter().any(|access| access.sid == SYSTEM && access.mask & READ == READ)
    }

    pub(super) fn open(path: &Path, stored: KeyFile) -> Result<Self, DriverError> {
        let KeyFile { r#type, pkcs8, access } = stored;
        if r#type != "RSA" {
            return Err(file::unreadable(path, "a key of type RSA".to_owned(), r#type.chars().take(80).collect()));
        }
        Self::from_pkcs8(&pkcs8.0, access)
            .ok_or_else(|| file::unreadable(path, "an RSA key in PKCS#8".to_owned(), "other bytes".to_owned()))
    }

    pub(super) fn file(&self) -> KeyFile {
        KeyFile { r#type: "RSA".to_owned(), pkcs8: Der(self.pair.serialized_der().to_vec()), access: self.access.clone() }
    }
}

impl HostKey for Key {
    fn public(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn id(&self) -> Sha256 {
        Self::id(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DriverError> {
        self.pair.sign(message).map_err(|error| DriverError::Unreadable {
            object: format!("{self:?}"),
            expected: "a signature".to_owned(),
            found: error.to_string(),
        })
    }

    fn signer(&self) -> Result<String, DriverError> {
        Ok("by a key in a file of the lab".to_owned())
    }

    fn access(&self) -> Result<Vec<Access>, DriverError> {
        Ok(self.access.clone())
    }
}
