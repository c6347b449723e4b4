//! The calls of a host's system that steps are made of: open a key, list a store, write a record. Each is one call or a few, and
//! none makes a choice; what a step means is in [`super::steps`], once for every kind of host.

use policy::id::{Sha256, Thumbprint};
use policy::plan::Der;
use policy::report::{Access, KeyLink, SslRecord, Store};

use super::DriverError;

/// A certificate as a store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub der: Der,
    /// Its friendly name.
    pub friendly_name: Option<String>,
    /// Where its private key is said to be.
    pub key: Option<KeyLink>,
    /// Marked archived.
    pub archived: bool,
}

/// What came of opening a key container.
#[derive(Debug)]
pub enum Opened<K> {
    /// There is no such container.
    Missing,
    /// There is one, and it may not be opened.
    Denied,
    /// Open.
    Key(K),
}

/// An RSA key in a container of the machine. The private part never leaves it.
pub trait HostKey: Send + Sync + std::fmt::Debug {
    /// The public key as PKCS#1 `RSAPublicKey`, in DER.
    fn public(&self) -> &[u8];

    /// SHA-256 of its SubjectPublicKeyInfo, as `policy::certificate::Certificate::key_id` gives it.
    fn id(&self) -> Sha256;

    /// Signs with RSA PKCS#1 v1.5 and SHA-256; the signature is big-endian, as certificates and TLS have it.
    ///
    /// # Errors
    /// [`DriverError`] when the key does not sign.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DriverError>;

    /// By what it signs, for people: `by provider type 24 in the place of 12`.
    ///
    /// # Errors
    /// [`DriverError`] when the host cannot tell.
    fn signer(&self) -> Result<String, DriverError>;

    /// Who may use it, in order.
    ///
    /// # Errors
    /// [`DriverError`] when the access list cannot be read.
    fn access(&self) -> Result<Vec<Access>, DriverError>;
}

/// The calls of one kind of host. Every change is durable when its call returns.
pub trait System {
    /// A key of this host.
    type Key: HostKey + 'static;

    /// Opens a container.
    ///
    /// # Errors
    /// [`DriverError`] when the host cannot tell.
    fn key(&self, container: &str) -> Result<Opened<Self::Key>, DriverError>;

    /// Makes an RSA key of so many bits in a new container, in the vendor's profile: machine keyset, key exchange, not exportable.
    ///
    /// # Errors
    /// [`DriverError`] when there is one of this name, or none could be made.
    fn create_key(&self, container: &str, bits: u32) -> Result<(), DriverError>;

    /// Sets who may use the key.
    ///
    /// # Errors
    /// [`DriverError`] when it was not set.
    fn grant_key(&self, container: &str, access: &[Access]) -> Result<(), DriverError>;

    /// Takes away the container of rehearsals, [`super::rehearse::CONTAINER`], which is no certificate's. The only call that
    /// takes a container away, and it takes no other's name. True when there was one.
    ///
    /// # Errors
    /// [`DriverError`] when it was not taken away.
    fn delete_rehearsal_key(&self) -> Result<bool, DriverError>;

    /// Every certificate of a store, archived ones too. A store that does not exist holds none.
    ///
    /// # Errors
    /// [`DriverError`] when the store cannot be read.
    fn stored(&self, store: &Store) -> Result<Vec<Stored>, DriverError>;

    /// Puts a certificate into a store; one that is there already gets the properties of `entry`.
    ///
    /// # Errors
    /// [`DriverError`] when it was not put there.
    fn add(&self, store: &Store, entry: &Stored) -> Result<(), DriverError>;

    /// Sets or takes off the archived mark.
    ///
    /// # Errors
    /// [`DriverError`] when it was not changed, or the certificate is not there.
    fn mark_archived(&self, store: &Store, thumbprint: Thumbprint, archived: bool) -> Result<(), DriverError>;

    /// Takes back the copy in Root that a plan put there. The only call that takes a certificate out of a store, and it takes
    /// no other store's name.
    ///
    /// # Errors
    /// [`DriverError`] when it was not taken out.
    fn remove_trust_copy(&self, thumbprint: Thumbprint) -> Result<(), DriverError>;

    /// All records of http.sys, by kind and endpoint.
    ///
    /// # Errors
    /// [`DriverError`] when they cannot be read.
    fn records(&self) -> Result<Vec<SslRecord>, DriverError>;

    /// Writes a record where none is.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 183 where one is, 1312 where its certificate or key cannot be used.
    fn set_record(&self, record: &SslRecord) -> Result<(), DriverError>;

    /// Puts a record in place of the one at its endpoint, without a gap. False where the system has no such call: nothing was done.
    ///
    /// # Errors
    /// [`DriverError::Refused`].
    fn update_record(&self, record: &SslRecord) -> Result<bool, DriverError>;

    /// Whether the system has the call of [`System::update_record`].
    ///
    /// # Errors
    /// [`DriverError`] when the host cannot tell.
    fn replaces_records(&self) -> Result<bool, DriverError>;

    /// Removes a record.
    ///
    /// # Errors
    /// [`DriverError::Refused`]: 2 where there is none.
    fn delete_record(&self, record: &SslRecord) -> Result<(), DriverError>;

    /// The text of applicationHost.config.
    ///
    /// # Errors
    /// [`DriverError`] when there is none or it is no text.
    fn configuration(&self) -> Result<String, DriverError>;

    /// Puts another text in its place, whole or not at all; owner and access list stay.
    ///
    /// # Errors
    /// [`DriverError`] when it was not written.
    fn write_configuration(&self, text: &str) -> Result<(), DriverError>;

    /// The full name of the host, for handshakes.
    ///
    /// # Errors
    /// [`DriverError`] when it is not known.
    fn full_name(&self) -> Result<String, DriverError>;
}
