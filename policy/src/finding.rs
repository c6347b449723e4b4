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

impl Severity {
    /// The word that people and scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Page => "page",
        }
    }
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
    /// The record names a store that does not hold its certificate, and `MY` does (F8).
    WrongStore = "BST110", Page, "the record on 444 names the wrong certificate store";
    /// The certificate on 444 has lost the link to its key (F4).
    KeyLinkLost = "BST111", Page, "the certificate on 444 has lost the link to its private key";
    /// The certificate on 444 is marked archived (F7).
    Archived = "BST112", Warning, "the certificate on 444 is archived";
    /// Somebody put another working certificate on 444 (F19, F22).
    Replaced = "BST113", Warning, "somebody put another certificate on 444";
    /// What was put back is taken away again (F20).
    Flapping = "BST114", Page, "444 is taken away again and again";
    /// Others keep writing 444 (G11).
    OtherManager = "BST115", Warning, "something else manages 444 too";
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
    /// Windows and freezes leave no moment for a renewal before the end (rule of restraint 9).
    NoWindow = "BST207", Page, "no maintenance window before the back-end certificate ends";
    /// Issued by a CA, with the right names (F16).
    FromAuthority = "BST208", Note, "the certificate on 444 comes from a CA";
    /// Exchange's own tools do not list it (C2, C4, C9, C10b).
    NotListed = "BST210", Note, "Exchange does not list the certificate on 444";
    /// One certificate on front end and back end (F17, F18).
    SharedWithFrontEnd = "BST211", Note, "front end and back end show the same certificate";
    /// The copy in Root that Setup makes is not there (F38).
    RootCopyMissing = "BST212", Note, "the copy of the back-end certificate in Root is missing";
    /// Several certificates carry the vendor's friendly name (F40).
    SameFriendlyName = "BST213", Note, "several certificates are called \"Microsoft Exchange\"";
    /// A self-signed certificate with another host's names (F34).
    HostRenamed = "BST214", Warning, "the certificate on 444 was made for a host of another name";
    /// 443 lost its certificate from a CA to a self-signed one, or to none (C6, C7).
    FrontEndTaken = "BST301", Page, "the front end lost its certificate";
    /// The certificate on 443 is past its end (F26).
    FrontEndExpired = "BST302", Warning, "the certificate of the front end has expired";
    /// The key of the certificate on 443 is in a CNG provider (F27).
    FrontEndCng = "BST303", Warning, "the key of the front end's certificate is one that the logon page cannot use";
    /// A record on 443 names a certificate that is not there (EXCHANGE.md 3.4).
    FrontEndDangling = "BST304", Warning, "a record of the front end names a certificate that is gone";
    /// 443 has another certificate from a CA; 444 is as it was (C14).
    FrontEndChanged = "BST305", Note, "the front end has a new certificate, the back end is unchanged";
    /// The internal transport certificate is not in `MY` (C1, C3).
    TransportMissing = "BST401", Warning, "the internal transport certificate is missing";
    /// NETWORK SERVICE may not read the key of the transport certificate (F6).
    TransportDenied = "BST402", Warning, "transport may not read the key of its certificate";
    /// The back-end certificate is named as the Auth Certificate (F44).
    IsAuthCertificate = "BST403", Warning, "the certificate on 444 is the organisation's Auth Certificate";
    /// The Auth Certificate ends shortly before the back-end certificate (G17).
    AuthEndsToo = "BST404", Note, "the Auth Certificate ends in the same weeks";
    /// The record of the web management service names a certificate that is gone (F25).
    ManagementDangling = "BST405", Warning, "the certificate of the web management service is gone";
    /// A certificate whose CNG key cannot be opened may break `Get-ExchangeCertificate` (F28).
    UnopenableCng = "BST406", Warning, "a certificate with a key that cannot be opened is in MY";
    /// DAG and AD site are unknown (G14).
    GroupUnknown = "BST501", Note, "the group of this server is unknown";
    /// Another server does not come to a handshake with 444, though this one does (F29, F31).
    Unreached = "BST502", Warning, "another server cannot use this server's 444";
    /// Another server is shown another certificate on 444 than this one (G7).
    SeenOtherwise = "BST503", Warning, "another server is shown another certificate on 444";
    /// Setup or an update is at work or half-finished (F35, G4).
    SetupAtWork = "BST601", Warning, "Exchange setup is at work or half-finished";
    /// This server has no back end (G6).
    NoBackEnd = "BST602", Note, "this server has no back end";
    /// IIS site "Exchange Back End" has no `*:444:` binding (F10).
    SiteBindingMissing = "BST603", Warning, "the IIS site \"Exchange Back End\" has no https binding *:444:";
    /// W3SVC is disabled: somebody wants it so (G4).
    WebServiceDisabled = "BST604", Warning, "the World Wide Web service is disabled";
    /// The back-end binding is on one address or host name (F10).
    BindingTied = "BST605", Warning, "the https binding of the back end is tied to an address or name";
    /// The back-end binding asks for SNI or the central store (F11).
    BindingFlags = "BST606", Warning, "the https binding of the back end asks for SNI or the central store";
    /// Another IIS site is bound to 444 too (F12).
    OtherSite = "BST607", Warning, "another IIS site is bound to port 444";
    /// An IIS site or application pool is stopped (F13).
    SiteStopped = "BST608", Warning, "an IIS site or application pool of Exchange is stopped";
    /// Services that Exchange needs do not run (C10c, F14).
    ServicesStopped = "BST609", Warning, "services that Exchange needs do not run";
    /// A metabase property names another certificate than the record (F21, C5).
    StaleMetabase = "BST610", Warning, "a stale metabase property may change 444 at the next restart of IIS";
    /// Exchange was updated (F36).
    Updated = "BST611", Note, "Exchange was updated";
    /// Exchange is older than it was (F41, G3).
    WentBack = "BST612", Warning, "the version of Exchange went back";
    /// The clock is wrong (F37).
    ClockOff = "BST613", Warning, "the clock of the host is wrong";
    /// The server or its DAG node is in maintenance (F43).
    Maintenance = "BST614", Note, "the server is in maintenance";
    /// IIS reads its configuration from elsewhere (F46).
    ConfigurationElsewhere = "BST615", Note, "IIS reads its configuration from elsewhere";
    /// Another installation under the same name (G2).
    Rebuilt = "BST616", Warning, "the server was rebuilt under its old name";
    /// Exchange is gone from a host that had it (G1).
    Uninstalled = "BST617", Note, "Exchange was removed from this server";
    /// A half-finished setup was left for weeks (G12).
    WatermarkLeft = "BST618", Warning, "a half-finished setup was left for weeks";
    /// A change of the TLS policy waits for a restart (G13).
    TlsAtRestart = "BST619", Warning, "a change of the TLS policy takes effect at the next restart";
    /// Managed Availability acts on this server (G5).
    ManagedAvailability = "BST620", Note, "Managed Availability acts on this server";
    /// The names of the host disagree (G9).
    NamesDisagree = "BST621", Warning, "the names of the host disagree";
    /// The host's own name leads elsewhere (G8).
    NameElsewhere = "BST622", Note, "the host's own name leads to another address";
    /// OWA or ECP fail although 444 is in order (C11, C12, C13).
    NotTheCertificate = "BST623", Warning, "OWA or ECP fail, and 444 is not the cause";
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
