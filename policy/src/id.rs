//! Names and digests: one type per kind of thing, so that a plan is never mistaken for a person.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest;
use thiserror::Error;

/// A text that is not an id of the kind that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected}, found {found:?}")]
pub struct InvalidId {
    expected: &'static str,
    found: String,
}

impl InvalidId {
    fn new(expected: &'static str, found: &str) -> Self {
        // Hostile input is echoed, but never at its own length.
        Self { expected, found: found.chars().take(80).collect() }
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *slot = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $format:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, $format, byte))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                from_hex(text).map(Self).ok_or_else(|| InvalidId::new($expected, text))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;
            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| InvalidId::new($expected, &format!("{} bytes", bytes.len())))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest!(
    /// SHA-1 of a certificate's DER: the handle by which http.sys and administrators know it. Printed in upper case, as Exchange does.
    Thumbprint, 20, "{:02X}", "a thumbprint of 40 hexadecimal digits"
);
digest!(
    /// SHA-256 of a byte string: the identity of certificates and of signed documents inside Backstay.
    Sha256, 32, "{:02x}", "a SHA-256 of 64 hexadecimal digits"
);
digest!(
    /// The raw Ed25519 public key of a person or of the estate's root. A key is its own name.
    KeyId, 32, "{:02x}", "an Ed25519 public key of 64 hexadecimal digits"
);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The first twelve digits: enough for people to tell two apart, never enough to decide by.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl Thumbprint {
    /// The thumbprint of a certificate's DER.
    pub fn of(der: &[u8]) -> Self {
        Self(sha1::Sha1::digest(der).into())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:literal, $expected:literal, $normal:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fits = !text.is_empty() && text.len() <= $max && text.chars().all($allowed);
                fits.then(|| Self($normal(text))).ok_or_else(|| InvalidId::new($expected, text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn ordinary(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

name!(
    /// One Exchange server by its NetBIOS name, in upper case: `ex1` and `EX1` are one machine.
    ServerName, 63, "a server name of 1 to 63 letters, digits, '-' or '_'", str::to_ascii_uppercase, ordinary
);
name!(
    /// The estate: all servers that answer to one root key. In lower case.
    EstateName, 63, "an estate name of 1 to 63 letters, digits, '-' or '_'", str::to_ascii_lowercase, ordinary
);
name!(
    /// A person who operates or approves. In lower case: approvals count persons, so two spellings must not be two persons.
    Person, 63, "a person's name of 1 to 63 letters, digits, '-', '_', '.' or '@'", str::to_ascii_lowercase,
    |c: char| ordinary(c) || matches!(c, '.' | '@')
);

/// The age of a report: the lineage epoch given by the controller, then a counter that the agent raises with each change.
/// Ordered first by epoch: a host restored from a snapshot continues above what the controller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Given by the controller in its welcome; grows when a lineage restarts.
    pub epoch: u64,
    /// Raised by the agent for each report that differs from the one before.
    pub counter: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

/// The identity of a plan: SHA-256 of its bytes.
pub type PlanId = Sha256;

/// The identity of a policy: SHA-256 of its TOML bytes.
pub type PolicyId = Sha256;

/// The identity of a certificate: SHA-256 of its DER.
pub type CertificateId = Sha256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_print_as_exchange_prints_them() {
        let text = "92E196F3C8D3D753FCFC5B7690C3173AA1C0ABE3";
        let thumbprint: Thumbprint = text.to_lowercase().parse().expect("forty digits");
        assert_eq!(thumbprint.to_string(), text);
    }

    #[test]
    fn a_wrong_length_or_digit_is_refused() {
        assert!("92".parse::<Thumbprint>().is_err());
        assert!("zz".repeat(32).parse::<Sha256>().is_err());
        assert!("é".repeat(20).parse::<Thumbprint>().is_err());
    }

    #[test]
    fn names_that_differ_by_case_are_one() {
        assert_eq!("ex1".parse::<ServerName>(), "EX1".parse::<ServerName>());
        assert_eq!("Anna".parse::<Person>(), "anna".parse::<Person>());
        assert!("EX 1".parse::<ServerName>().is_err());
        assert!("".parse::<ServerName>().is_err());
    }
}
