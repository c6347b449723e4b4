//! The machine around IIS and http.sys: what explains a loss, forbids a step, or is the true cause of a blank page.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Fact;
use crate::id::Thumbprint;

/// What else the machine and its directory say. Each part may be unknown by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// When Windows started.
    pub booted: Fact<Timestamp>,
    /// How far the clock is ahead of the domain controller's, in whole minutes; negative when it is behind (F37).
    pub clock_ahead: Fact<i32>,
    /// What is in maintenance, each as Exchange or the cluster names it: an inactive component, a paused node. Empty when
    /// nothing is (F43).
    pub maintenance: Fact<Vec<String>>,
    /// When `ExSetup` last wrote its log; `None` when there is none (G12).
    pub last_setup: Fact<Option<Timestamp>>,
    /// IIS reads its configuration from elsewhere: shared configuration, where; `None` when it does not (F46).
    pub iis_redirected: Fact<Option<String>>,
    /// IIS application pools by name (F13).
    pub app_pools: Fact<BTreeMap<String, AppPool>>,
    /// The Schannel policy of the machine.
    pub tls: Fact<TlsPolicy>,
    /// What the organisation says of the Auth Certificate (`Get-AuthConfig`; F44, G17).
    pub auth: Fact<AuthCertificates>,
    /// The internal transport certificate: `msExchServerInternalTLSCert` of the server object (EXCHANGE.md 1.6).
    pub transport: Fact<Option<Thumbprint>>,
    /// The forest: two servers of one name in two forests are two servers (G16).
    pub forest: Fact<String>,
    /// What happened of late, in order of time, the newest [`Machine::MOST_EVENTS`].
    pub events: Fact<Vec<Event>>,
}

impl Machine {
    /// The most events of a report.
    pub const MOST_EVENTS: usize = 64;

    /// Nothing of it was looked at, as from files that an administrator exported.
    pub fn not_observed() -> Self {
        Self {
            booted: Fact::not_observed(),
            clock_ahead: Fact::not_observed(),
            maintenance: Fact::not_observed(),
            last_setup: Fact::not_observed(),
            iis_redirected: Fact::not_observed(),
            app_pools: Fact::not_observed(),
            tls: Fact::not_observed(),
            auth: Fact::not_observed(),
            transport: Fact::not_observed(),
            forest: Fact::not_observed(),
            events: Fact::not_observed(),
        }
    }
}

/// An IIS application pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppPool {
    /// Serves, or will on the first request.
    Started,
    /// Stopped by somebody, or by rapid-fail protection.
    Stopped,
}

/// Registry values below `SCHANNEL` and the .NET switches beside them (EXCHANGE.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsPolicy {
    /// Value by name, for example `TLS 1.2\Server\Enabled`.
    pub values: BTreeMap<String, u32>,
    /// When a key of these last changed: after the start of Windows, it counts from the next start (G13).
    pub changed: Option<Timestamp>,
}

/// The Auth Certificate as the organisation's configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthCertificates {
    /// The one in use.
    pub current: Option<Thumbprint>,
    /// The one that follows.
    pub next: Option<Thumbprint>,
}

/// Something that Windows or Exchange wrote down: by id and parameters, never by text (EXCHANGE.md 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// The certificate it is about.
    pub thumbprint: Option<Thumbprint>,
    /// The endpoint, component or connector it is about.
    pub object: Option<String>,
    /// The program that did it.
    pub process: Option<String>,
    /// The account that did it.
    pub account: Option<String>,
}

/// What kind of event, as far as 444 is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// HttpEvent 15021: http.sys cannot use the configuration of an endpoint.
    CredentialFailed,
    /// HttpEvent 15300: the record of an endpoint was deleted.
    RecordDeleted,
    /// HttpEvent 15301: the record of an endpoint was written.
    RecordWritten,
    /// Schannel 36869 or 36870: the private key is not linked, or cannot be opened.
    KeyFailed,
    /// Certificate life cycle 1004.
    CertificateDeleted,
    /// Certificate life cycle 1005.
    CertificateArchived,
    /// Certificate life cycle 1006.
    CertificateInstalled,
    /// Certificate life cycle 1001: replaced, which starts the automatic rebind of IIS (F22).
    CertificateReplaced,
    /// Transport 12013 to 12016: the transport certificate is missing, unsuitable or expired.
    TransportCertificate,
    /// Managed Availability recycled, restarted or rebooted something (G5).
    RecoveryAction,
    /// Control Panel event 4, proxy event 1003: OWA or ECP fails for a reason that is not on 444 (EXCHANGE.md 3.4).
    WebFailure,
    /// An update was installed, or tried to.
    Update,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::CredentialFailed,
        Self::RecordDeleted,
        Self::RecordWritten,
        Self::KeyFailed,
        Self::CertificateDeleted,
        Self::CertificateArchived,
        Self::CertificateInstalled,
        Self::CertificateReplaced,
        Self::TransportCertificate,
        Self::RecoveryAction,
        Self::WebFailure,
        Self::Update,
    ];
}
