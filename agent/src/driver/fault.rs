//! What is to go wrong on a host that is tested: which call, how, and how often. On the lab these stand in `faults.json`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest that a call may be made to hang, in milliseconds.
pub const MAX_HANG: u64 = 60_000;

macro_rules! calls {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A call that can be made to fail, hang or lie.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Call {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Call {
            /// Every call.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in `faults.json`, errors and on the command line.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

calls! {
    /// Reading name, roles, setup state and services. It cannot lie.
    HostRead = "host.read";
    /// Reading applicationHost.config; a lie shows no sites.
    ConfigRead = "config.read";
    /// Writing applicationHost.config.
    ConfigWrite = "config.write";
    /// Reading the certificate stores; a lie shows none.
    StoreRead = "store.read";
    /// Adding a certificate to a store.
    StoreAdd = "store.add";
    /// Marking a certificate archived.
    StoreArchive = "store.archive";
    /// Removing a certificate from a store.
    StoreRemove = "store.remove";
    /// Listing and opening key containers; a lie shows none.
    KeyRead = "key.read";
    /// Making a key.
    KeyCreate = "key.create";
    /// Setting a key's access list.
    KeyGrant = "key.grant";
    /// Taking the key of a rehearsal away.
    KeyDelete = "key.delete";
    /// A handshake on a private port; a lie is a handshake that did not take place.
    Handshake = "handshake";
    /// Connecting to one of the host's own ports; a lie connects to the other site's.
    Dial = "dial";
    /// Waiting for a change; a lie sees none.
    Watch = "watch";
    /// http.sys: listing records; a lie lists none.
    Query = "httpsys.query";
    /// http.sys: writing a record where none is.
    Set = "httpsys.set";
    /// http.sys: replacing a record.
    Update = "httpsys.update";
    /// http.sys: removing a record.
    Delete = "httpsys.delete";
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no call, or no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", .expected.join(", "))]
pub struct UnknownWord {
    expected: Vec<&'static str>,
    found: String,
}

impl UnknownWord {
    fn new(expected: impl IntoIterator<Item = &'static str>, found: &str) -> Self {
        Self { expected: expected.into_iter().collect(), found: found.chars().take(80).collect() }
    }
}

impl FromStr for Call {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.iter().copied().find(|call| call.as_str() == text);
        found.ok_or_else(|| UnknownWord::new(Self::ALL.iter().map(|call| call.as_str()), text))
    }
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It gives an error code and does nothing.
    Fail,
    /// It does not come back in time. A call on files then fails with 1460; http.sys does what it was asked, late.
    Hang,
    /// It says that it did what it did not do; a look shows nothing.
    Lie,
}

impl FromStr for Mode {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "fail" => Ok(Self::Fail),
            "hang" => Ok(Self::Hang),
            "lie" => Ok(Self::Lie),
            _ => Err(UnknownWord::new(["fail", "hang", "lie"], text)),
        }
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The call.
    pub call: Call,
    /// What it does.
    pub mode: Mode,
    /// The error code of [`Mode::Fail`].
    #[serde(default = "access_denied")]
    pub code: u32,
    /// How long [`Mode::Hang`] hangs, in milliseconds.
    #[serde(default = "ten_seconds")]
    pub millis: u64,
    /// How many calls go right before the first that goes wrong.
    #[serde(default)]
    pub after: u32,
    /// How many calls go wrong; `None` is all, until the fault is taken away.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Fault {
    /// A fault with the usual code and duration, for as long as it stands.
    pub fn new(call: Call, mode: Mode) -> Self {
        Self { call, mode, code: access_denied(), millis: ten_seconds(), after: 0, times: None }
    }

    /// The same, so many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same, with this error code.
    #[must_use]
    pub fn code(self, code: u32) -> Self {
        Self { code, ..self }
    }

    /// The same, hanging so long.
    #[must_use]
    pub fn millis(self, millis: u64) -> Self {
        Self { millis: millis.min(MAX_HANG), ..self }
    }

    /// The same, after so many calls that go right.
    #[must_use]
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }
}

fn access_denied() -> u32 {
    5
}

fn ten_seconds() -> u64 {
    10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_names_only() {
        for call in Call::ALL {
            assert_eq!(call.as_str().parse::<Call>(), Ok(*call));
            assert_eq!(serde_json::to_string(call).unwrap(), format!("{:?}", call.as_str()));
        }
        let unknown = "httpsys.sett".parse::<Call>().unwrap_err().to_string();
        assert!(unknown.contains("httpsys.set,") && unknown.ends_with("found \"httpsys.sett\""), "{unknown}");
        assert_eq!("sleep".parse::<Mode>().unwrap_err().to_string(), "expected one of fail, hang, lie, found \"sleep\"");
    }
}
