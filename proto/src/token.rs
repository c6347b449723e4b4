//! The join token: one line that a person carries to a host, and with which the host finds, believes and convinces a controller.
//!
//! It names the estate and the one server that it is for, where the controllers are, the fingerprints of their CA and of the
//! estate's root of trust, and a secret that works once. `backstay-join-1.` and base64url of compact JSON, so that it
//! survives being pasted; whatever is wrong with it, no error repeats a part of it.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::{constant_time, rand};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use policy::id::{EstateName, ServerName, Sha256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::names::Address;

const PREFIX: &str = "backstay-join-1.";

/// The longest token that is read, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// The most CA fingerprints, and the most addresses of each kind.
const MAX_ENTRIES: usize = 16;

/// What a host needs to join an estate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// The estate.
    pub estate: EstateName,
    /// The server that may join with it.
    pub server: ServerName,
    /// SHA-256 of the CA certificates whose controllers are believed.
    pub ca: BTreeSet<Sha256>,
    /// The fingerprint of the estate's root of trust, to be pinned ([`policy::trust::root_fingerprint`]).
    pub root: Sha256,
    /// What proves to the controller that this host was meant.
    pub secret: Secret,
    /// Enrolment ports of the controllers.
    pub controllers: Vec<Address>,
    /// Agents' ports of the controllers.
    pub agents: Vec<Address>,
}

/// 32 random bytes that work once. The controller keeps only their hash.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Text that is no join token. Nothing of the text is repeated, because a part of it is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidToken {
    /// Longer than any token.
    #[error("expected a join token of at most {MAX_TEXT} bytes, found {0}")]
    TooLong(usize),
    /// Something else, or a token of a newer kind.
    #[error("expected a join token that begins with '{PREFIX}', found other text")]
    Prefix,
    /// Cut off or altered in carrying.
    #[error("expected base64url behind '{PREFIX}', found other text: was the whole line copied?")]
    Base64,
    /// Cut off or altered in carrying, or made by another version.
    #[error("the join token does not read: was the whole line copied?")]
    Content,
    /// A list with nothing or too much in it.
    #[error("{list} of the join token: expected 1 to {MAX_ENTRIES}, found {found}")]
    Entries {
        /// The list.
        list: &'static str,
        /// How many it has.
        found: usize,
    },
    /// A secret of the wrong form.
    #[error("expected a secret of 43 characters of base64url, found other text")]
    Secret,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    System,
}

impl JoinToken {
    /// The token as one line, which is as secret as what is in it.
    pub fn encode(&self) -> Zeroizing<String> {
        let json = Zeroizing::new(serde_json::to_vec(self).expect("a token is plain data with text keys"));
        let base64 = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(json.as_slice()));
        Zeroizing::new(format!("{PREFIX}{}", base64.as_str()))
    }

    /// Reads a token; white space around it is forgiven, because it comes from files and clipboards.
    ///
    /// # Errors
    /// [`InvalidToken`], which repeats nothing of the text.
    pub fn decode(text: &str) -> Result<Self, InvalidToken> {
        if text.len() > MAX_TEXT {
            return Err(InvalidToken::TooLong(text.len()));
        }
        let base64 = text.trim_ascii().strip_prefix(PREFIX).ok_or(InvalidToken::Prefix)?;
        let json = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(base64).map_err(|_| InvalidToken::Base64)?);
        // The reader's own error quotes what it found, and that may be the secret.
        let token: Self = serde_json::from_slice(&json).map_err(|_| InvalidToken::Content)?;
        for (list, found) in [("ca", token.ca.len()), ("controllers", token.controllers.len()), ("agents", token.agents.len())] {
            if !(1..=MAX_ENTRIES).contains(&found) {
                return Err(InvalidToken::Entries { list, found });
            }
        }
        Ok(token)
    }

    /// What the controller keeps of the secret.
    pub fn secret_hash(&self) -> Sha256 {
        self.secret.hash()
    }
}

impl Secret {
    /// New random bytes.
    ///
    /// # Errors
    /// [`InvalidToken::System`].
    pub fn generate() -> Result<Self, InvalidToken> {
        let mut secret = Self([0; 32]);
        rand::fill(&mut secret.0).map_err(|_| InvalidToken::System)?;
        Ok(secret)
    }

    /// The secret as it travels in `EnrolRequest.secret`.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }

    /// Reads what came in `EnrolRequest.secret`.
    ///
    /// # Errors
    /// [`InvalidToken::Secret`].
    pub fn from_text(text: &str) -> Result<Self, InvalidToken> {
        if text.len() != 43 {
            return Err(InvalidToken::Secret);
        }
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken::Secret)?);
        bytes.as_slice().try_into().map(Self).map_err(|_| InvalidToken::Secret)
    }

    /// SHA-256 of the bytes: what the controller keeps.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(&self.0)
    }

    /// Whether this is the secret of that hash, in the same time whatever the answer.
    pub fn matches(&self, hash: Sha256) -> bool {
        constant_time::verify_slices_are_equal(&self.hash().0, &hash.0).is_ok()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::from_text(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            estate: "contoso".parse().expect("a name"),
            server: "EX1".parse().expect("a name"),
            ca: BTreeSet::from([Sha256([1; 32])]),
            root: Sha256([2; 32]),
            secret: Secret([0xA5; 32]),
            controllers: vec!["ctl.contoso.test:7444".parse().expect("an address")],
            agents: vec!["ctl.contoso.test:7443".parse().expect("an address"), "[::1]:7443".parse().expect("an address")],
        }
    }

    /// A token with this JSON in it.
    fn around(json: &str) -> String {
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(json))
    }

    fn json() -> String {
        serde_json::to_string(&token()).expect("plain data")
    }

    #[test]
    fn a_token_comes_back_from_its_line() {
        let line = token().encode();
        assert!(line.starts_with("backstay-join-1.") && line.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(JoinToken::decode(&line), Ok(token()));
        assert_eq!(JoinToken::decode(&format!(" {}\r\n", line.as_str())), Ok(token()));
        assert_eq!(token().secret_hash(), Sha256::of(&[0xA5; 32]));
    }

    #[test]
    fn a_token_cut_anywhere_is_an_error() {
        let line = token().encode();
        for length in 0..line.len() {
            assert!(JoinToken::decode(&line[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(JoinToken::decode(&format!("{}x", line.as_str())).is_err());
    }

    #[test]
    fn what_a_token_may_not_hold_is_refused() {
        assert_eq!(JoinToken::decode(&around(&json())), Ok(token()));
        let cases = [
            (json().replacen('{', "{\"more\":1,", 1), InvalidToken::Content),
            (json().replace("\"server\":\"EX1\"", "\"server\":\"EX 1\""), InvalidToken::Content),
            (json().replace("\"server\":\"EX1\",", ""), InvalidToken::Content),
            (json().replace("\"server\":\"EX1\"", "\"server\":\"EX1\",\"server\":\"EX2\""), InvalidToken::Content),
            (json().replace(":7444", ":0"), InvalidToken::Content),
            (json() + "{}", InvalidToken::Content),
            (json().replace("[\"ctl.contoso.test:7444\"]", "[]"), InvalidToken::Entries { list: "controllers", found: 0 }),
        ];
        for (json, expected) in cases {
            assert_eq!(JoinToken::decode(&around(&json)), Err(expected), "{json}");
        }
        let crowded = JoinToken { ca: (0..17).map(|index| Sha256([index; 32])).collect(), ..token() };
        assert_eq!(JoinToken::decode(&crowded.encode()), Err(InvalidToken::Entries { list: "ca", found: 17 }));
        assert_eq!(JoinToken::decode(&"x".repeat(16 * 1024 + 1)), Err(InvalidToken::TooLong(16 * 1024 + 1)));
        assert_eq!(JoinToken::decode(&token().encode().replace("join-1", "join-2")), Err(InvalidToken::Prefix));
    }

    #[test]
    fn the_secret_shows_nowhere() {
        let text = token().secret.to_text();
        assert_eq!(format!("{:?}", token().secret), "Secret(..)");
        assert!(!format!("{:?}", token()).contains(text.as_str()));
        // The reader's own error would quote it: a secret where a list should be.
        let json = json().replace("[\"ctl.contoso.test:7444\"]", &format!("\"{}\"", text.as_str()));
        let error = JoinToken::decode(&around(&json)).expect_err("a text is no list");
        assert!(!format!("{error} {error:?}").contains(text.as_str()));
        let error = Secret::from_text(&format!("{}A", text.as_str())).expect_err("too long");
        assert!(!format!("{error} {error:?}").contains(text.as_str()));
    }

    #[test]
    fn a_secret_matches_only_its_own_hash() {
        let (one, two) = (Secret::generate().expect("random bytes"), Secret::generate().expect("random bytes"));
        assert!(one.matches(one.hash()) && !one.matches(two.hash()) && one != two);
        assert_eq!(Secret::from_text(&one.to_text()).expect("written here"), one);
        for wrong in ["", "AAAA", &"A".repeat(44), &"=".repeat(43), &"B".repeat(43), &"é".repeat(21)] {
            assert!(Secret::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
