//! Findings: single facts that deviate, each with a code that keeps its meaning for ever; and the one verdict per server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether somebody should be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Said so that nobody wonders; nothing to do.
    Note,
    /// Wants attention in working hours.
    Warning,
    /// 444 is dead, about to be, or needs a decision at once.
    Page,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $severity:ident, $title:literal;)*) => {
        /// The stable code of a finding. Each has a page under `docs/findings`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it is printed and searched for.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// What it says, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// Whether somebody should be woken.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }
        }
    };
}

codes! {
    /// http.sys has no record for 444 (C5).
    RecordMissing = "BST101", Page, "444 has no certificate record";
    /// The record on 444 names a certificate that is gone from its store (C1).
    CertificateDeleted = "BST102", Page, "the certificate on 444 was deleted";
    /// The certificate on 444 is there, its private key is not usable (F3, F4, F5).
    KeyUnusable = "BST103", Page, "the private key of the certificate on 444 cannot be used";
    /// A handshake on 444 shows another certificate than the record names (G7).
    PresentedDiffers = "BST104", Warning, "444 presents another certificate than its record names";
    /// 444 does not complete a handshake.
    NoHandshake = "BST105", Page, "444 does not complete a TLS handshake";
    /// What hangs on 444 could not be read.
    BackEndUnknown = "BST106", Warning, "the state of 444 is unknown";
    /// Deleted but still serving from memory: lost at the next restart (G18).
    LostAtRestart = "BST107", Page, "444 still serves from memory and is lost at the next restart";
    /// Foreign changes keep restarting the quiet time.
    Restless = "BST108", Page, "444 is lost and somebody keeps changing the host";
    /// Another record exists on port 444 (F9).
    ExtraRecord = "BST109", Warning, "another record exists on port 444";
    /// The back-end certificate is near its end (F1).
    Expiring = "BST201", Warning, "the back-end certificate expires soon";
    /// The back-end certificate is past its end (F2).
    Expired = "BST202", Page, "the back-end certificate has expired";
    /// The certificate's names do not cover the server (F15).
    NamesMissing = "BST203", Warning, "the certificate on 444 does not name the server";
    /// Distrusted on the host or listed as compromised (G10).
    Distrusted = "BST204", Page, "the certificate on 444 is distrusted";
    /// Signed with SHA-1, which on a self-signed certificate changes nothing (C8).
    Sha1 = "BST205", Note, "the back-end certificate is signed with SHA-1";
    /// The certificate is not yet valid: a clock is wrong, or somebody made it so (F37).
    NotYetValid = "BST206", Warning, "the certificate on 444 is not valid yet";
    /// Setup or an update is at work or half-finished (F35, G4).
    SetupAtWork = "BST601", Warning, "Exchange setup is at work or half-finished";
    /// This server has no back end (G6).
    NoBackEnd = "BST602", Note, "this server has no back end";
    /// IIS site "Exchange Back End" has no `*:444:` binding (F10).
    SiteBindingMissing = "BST603", Warning, "the IIS site \"Exchange Back End\" has no https binding *:444:";
    /// W3SVC is disabled: somebody wants it so (G4).
    WebServiceDisabled = "BST604", Warning, "the World Wide Web service is disabled";
    /// The agent on this host is held.
    AgentHeld = "BST901", Warning, "the agent on this host is held";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One fact that deviates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// The facts that it rests on, for people: each a sentence that names its object.
    pub evidence: Vec<String>,
}

/// The one most important cause per server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Present, bound, usable, fit, outside its window: leave it alone.
    Healthy,
    /// No back end here: nothing to watch.
    NotApplicable,
    /// Not enough could be read to judge. Grey, not yellow.
    Unknown,
    /// Near its end.
    Expiring,
    /// 444 shows something else than it should.
    Intercepted,
    /// Does not name the server.
    Misnamed,
    /// Past its end.
    Expired,
    /// Distrusted or compromised.
    Distrusted,
    /// Does not answer although everything seems in order.
    Dead,
    /// The key cannot be used.
    KeyLost,
    /// The certificate was deleted.
    Deleted,
    /// The record is gone.
    Unbound,
}

impl Verdict {
    /// The word that people and scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::NotApplicable => "not_applicable",
            Self::Unknown => "unknown",
            Self::Expiring => "expiring",
            Self::Intercepted => "intercepted",
            Self::Misnamed => "misnamed",
            Self::Expired => "expired",
            Self::Distrusted => "distrusted",
            Self::Dead => "dead",
            Self::KeyLost => "key_lost",
            Self::Deleted => "deleted",
            Self::Unbound => "unbound",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings");
        for code in Code::ALL {
            #[expect(clippy::disallowed_methods, reason = "the mind has no files; this test looks for the pages beside it")]
            let page = std::fs::read_to_string(format!("{folder}/{code}.md")).unwrap_or_default();
            assert!(page.contains(code.title()), "docs/findings/{code}.md must exist and say {:?}", code.title());
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
