//! What one host saw: the report, and the facts that it is made of (EXCHANGE.md 9).
//!
//! A report carries no time and no generation: the same state gives the same bytes and so the same digest, and what
//! has not changed need not be sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
mod machine;

pub use self::machine::{AppPool, AuthCertificates, Event, EventKind, Machine, TlsPolicy};
use crate::id::{CertificateId, ServerName, Sha256, Thumbprint};

/// The port of IIS site "Exchange Back End" for https, on every Exchange since 2013.
pub const BACK_END_PORT: u16 = 444;

/// The port of IIS site "Default Web Site" for https: the front end.
pub const FRONT_END_PORT: u16 = 443;

/// The IIS site of the back end; a product constant that no language of Windows translates (EXCHANGE.md 2.1).
pub const BACK_END_SITE: &str = "Exchange Back End";

/// The AppId that IIS writes into http.sys records (EXCHANGE.md 5.5).
pub const IIS_APP_ID: &str = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";

/// Something that was read, or the reason why it could not be. There is no default: what is unknown permits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact<T> {
    /// Read from the host.
    Known(T),
    /// Not read, and why.
    Unknown(String),
}

impl<T> Fact<T> {
    /// The value, if it was read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// The reason why it was not read.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }

    /// A fact that nobody looked for.
    pub fn not_observed() -> Self {
        Self::Unknown("not observed".to_owned())
    }
}

/// A report together with the certificates that it names, as far as they are at hand and could be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What the host saw.
    pub report: Report,
    /// Decoded certificates by identity.
    pub certificates: BTreeMap<CertificateId, Certificate>,
}

/// What one host saw, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Who is speaking.
    pub host: Host,
    /// Product and roles.
    pub exchange: Fact<Exchange>,
    /// Whether Exchange Setup, a cumulative update or a security update is at work.
    pub setup: Fact<Setup>,
    /// Certificates of the machine's stores, archived ones included.
    pub stores: Fact<Vec<StoreEntry>>,
    /// Private-key containers of the machine, whether a certificate refers to them or not.
    pub containers: Fact<Vec<KeyContainer>>,
    /// All http.sys TLS records, of every kind and port.
    pub records: Fact<Vec<SslRecord>>,
    /// IIS sites and their bindings, from applicationHost.config.
    pub sites: Fact<Vec<Site>>,
    /// Certificate properties 5506/5511 that metabase-style tools left in applicationHost.config (EXCHANGE.md 2.2, layer C).
    pub metabase: Fact<Vec<MetabaseBinding>>,
    /// Windows services that matter here, by service key name.
    pub services: Fact<BTreeMap<String, Service>>,
    /// What else the machine and its directory say.
    pub machine: Machine,
    /// Full TLS handshakes with the host's own ports.
    pub probes: Vec<Probe>,
    /// Why the agent on this host does no work, when it is held: by a person there, or by a damaged journal.
    pub hold: Option<String>,
}

impl Report {
    /// SHA-256 over the canonical JSON of the report: equal exactly when nothing changed.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&serde_json::to_vec(self).expect("a report has no map with keys that are not text"))
    }

    /// The http.sys record that serves the back end: the wildcard IPv4 address on 444. Unknown when records were not read.
    pub fn back_end_record(&self) -> Fact<Option<&SslRecord>> {
        match &self.records {
            Fact::Known(records) => Fact::Known(records.iter().find(|record| record.is_back_end())),
            Fact::Unknown(why) => Fact::Unknown(why.clone()),
        }
    }

    /// A record of whatever kind exists on the back end's port beside the one that belongs there.
    pub fn other_record_on_back_end_port(&self) -> bool {
        let records = self.records.known().into_iter().flatten();
        records.into_iter().any(|record| record.port() == Some(BACK_END_PORT) && !record.is_back_end())
    }

    /// The IIS site of the back end has its https binding, on every address. `None` when sites were not read.
    pub fn has_back_end_binding(&self) -> Option<bool> {
        let wanted = |binding: &Binding| binding.protocol == "https" && binding.information == format!("*:{BACK_END_PORT}:");
        let sites = self.sites.known()?;
        Some(sites.iter().any(|site| site.name == BACK_END_SITE && site.bindings.iter().any(wanted)))
    }

    /// The entry of `store` with this thumbprint. Unknown when the stores were not read.
    pub fn entry(&self, store: &Store, thumbprint: Thumbprint) -> Fact<Option<&StoreEntry>> {
        match &self.stores {
            Fact::Known(entries) => {
                Fact::Known(entries.iter().find(|entry| entry.store == *store && entry.thumbprint == thumbprint))
            }
            Fact::Unknown(why) => Fact::Unknown(why.clone()),
        }
    }

    /// Every certificate that the report names.
    pub fn named_certificates(&self) -> BTreeSet<CertificateId> {
        let entries = self.stores.known().into_iter().flatten().map(|entry| entry.certificate);
        let presented = self.probes.iter().filter_map(|probe| match &probe.outcome {
            ProbeOutcome::Presented { certificate } => Some(*certificate),
            ProbeOutcome::Refused | ProbeOutcome::NoHandshake(_) | ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => {
                None
            }
        });
        entries.chain(presented).collect()
    }
}

/// The identity of a host as the host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// NetBIOS name.
    pub name: ServerName,
    /// Fully qualified DNS name.
    pub fqdn: Fact<String>,
    /// What tells this installation from a rebuilt one of the same name (Windows: MachineGuid).
    pub machine_id: Fact<String>,
    /// Active Directory site.
    pub ad_site: Fact<String>,
    /// Database availability group, `None` when the server is in none.
    pub dag: Fact<Option<String>>,
}

/// Exchange as installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Four-part version, for example `15.1.2507.6`.
    pub version: String,
    /// Roles of this server.
    pub roles: BTreeSet<Role>,
}

/// A role of an Exchange server, as far as it matters for the back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Mailbox: has a back end.
    Mailbox,
    /// Client access (2013 as a server of its own, later part of Mailbox): its back-end site holds `/PowerShell`.
    ClientAccess,
    /// Edge transport: has no back end.
    Edge,
}

/// Setup at work?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setup {
    /// No sign of setup.
    Idle,
    /// A setup program or Exchange patch is running; its name.
    Running(String),
    /// A watermark or action was left in a role key: a half-finished setup; where.
    HalfFinished(String),
}

/// A certificate store of the local machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// `My`: where Exchange looks.
    My,
    /// `WebHosting`: the default of IIS and ACME tools.
    WebHosting,
    /// `Root`: trusted roots.
    Root,
    /// `REQUEST`: pending requests.
    Request,
    /// `Disallowed`: distrusted certificates.
    Disallowed,
    /// Any other.
    Other(String),
}

impl Store {
    /// The store of that name; Windows compares names without case.
    pub fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "my" => Self::My,
            "webhosting" => Self::WebHosting,
            "root" => Self::Root,
            "request" => Self::Request,
            "disallowed" => Self::Disallowed,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// The store's name as Windows writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::My => "MY",
            Self::WebHosting => "WebHosting",
            Self::Root => "Root",
            Self::Request => "REQUEST",
            Self::Disallowed => "Disallowed",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One certificate in one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreEntry {
    /// The store.
    pub store: Store,
    /// The certificate's identity.
    pub certificate: CertificateId,
    /// The certificate's thumbprint.
    pub thumbprint: Thumbprint,
    /// Marked archived: hidden from lists, still found by hash.
    pub archived: bool,
    /// Friendly name; `None` when it has none.
    pub friendly_name: Fact<Option<String>>,
    /// Where its private key is said to be (`CERT_KEY_PROV_INFO`); `None` when nothing is said.
    pub key: Fact<Option<KeyLink>>,
    /// Whether that key can be used.
    pub key_state: Fact<KeyState>,
    /// Who may use the key.
    pub key_access: Fact<Vec<Access>>,
}

impl StoreEntry {
    /// The key is known to work: known link, opened, and belonging to the certificate.
    pub fn key_usable(&self) -> bool {
        self.key_state == Fact::Known(KeyState::Usable)
    }
}

/// `CERT_KEY_PROV_INFO`: names a private key container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLink {
    /// Container name; Setup uses a lower-case GUID without braces.
    pub container: String,
    /// Provider name; empty as Setup leaves it.
    pub provider: String,
    /// 12 is `PROV_RSA_SCHANNEL`; 0 means a CNG provider.
    pub provider_type: u32,
    /// 0x20 is `CRYPT_MACHINE_KEYSET`.
    pub flags: u32,
    /// 1 is `AT_KEYEXCHANGE`.
    pub key_spec: u32,
}

/// The state of the private key that a store entry refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Opened, compared with the certificate, signs.
    Usable,
    /// The entry names no container.
    NotLinked,
    /// The named container does not exist.
    Missing,
    /// The container exists but may not be opened.
    Denied,
    /// The container holds another key.
    Foreign,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Usable => "usable",
            Self::NotLinked => "not linked to the certificate",
            Self::Missing => "gone: its container does not exist",
            Self::Denied => "closed: its container may not be opened",
            Self::Foreign => "another one: its container holds a key that is not this certificate's",
        })
    }
}

/// One entry of a key's access list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The security identifier, for example `S-1-5-20` (NETWORK SERVICE).
    pub sid: String,
    /// The access mask, as read back from Windows.
    pub mask: u32,
}

/// A private-key container of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyContainer {
    /// Its name.
    pub name: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the key in it.
    pub key_id: Fact<Sha256>,
}

/// How http.sys finds a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// By address and port.
    Address,
    /// By host name and port.
    Sni,
    /// By port, from the central certificate store.
    Ccs,
}

/// One http.sys TLS configuration entry: the truth about what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SslRecord {
    /// How it is found.
    pub kind: RecordKind,
    /// Its key, as `netsh` prints it: `0.0.0.0:444`, `[::]:444`, `mail.contoso.test:443`.
    pub endpoint: String,
    /// The certificate's SHA-1; `None` when the record has none.
    pub thumbprint: Option<Thumbprint>,
    /// The store in which http.sys looks it up; `None` stands for the default, `MY`.
    pub store: Option<String>,
    /// Who wrote it, for example IIS.
    pub app_id: Fact<String>,
    /// Everything else in it.
    pub parameters: Fact<SslParameters>,
}

impl SslRecord {
    /// The port of the endpoint; `None` when it does not end in one.
    pub fn port(&self) -> Option<u16> {
        self.endpoint.rsplit_once(':')?.1.parse().ok()
    }

    /// The one record in which the back end lives: wildcard IPv4, port 444.
    pub fn is_back_end(&self) -> bool {
        self.kind == RecordKind::Address && self.endpoint == back_end_endpoint()
    }

    /// One of the two records that IIS keeps for the front end: every address, and loopback.
    pub fn is_front_end(&self) -> bool {
        self.kind == RecordKind::Address && ["0.0.0.0:443", "127.0.0.1:443"].contains(&self.endpoint.as_str())
    }

    /// Every field of it was read.
    pub fn wholly_known(&self) -> bool {
        self.app_id.known().is_some() && self.parameters.known().is_some()
    }

    /// The store in which http.sys looks the certificate up.
    pub fn store(&self) -> Store {
        self.store.as_deref().map_or(Store::My, Store::named)
    }
}

/// The endpoint of the back end's record.
pub fn back_end_endpoint() -> String {
    format!("0.0.0.0:{BACK_END_PORT}")
}

/// The remaining fields of `HTTP_SERVICE_CONFIG_SSL_PARAM`, carried over unchanged by every write (EXCHANGE.md 2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct SslParameters {
    /// `DefaultCertCheckMode`.
    pub check_mode: u32,
    /// Revocation freshness time, in seconds.
    pub freshness: u32,
    /// URL retrieval timeout, in milliseconds.
    pub url_timeout: u32,
    /// Certificate trust list identifier.
    pub ctl_identifier: Option<String>,
    /// Certificate trust list store.
    pub ctl_store: Option<String>,
    /// `DefaultFlags`: DS mapper, client certificates, no raw filter.
    pub flags: u32,
}

/// One IIS site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// IIS' number of it.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it listens on.
    pub bindings: Vec<Binding>,
    /// Whether it is started.
    pub running: Fact<bool>,
}

/// One binding of an IIS site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// `http`, `https`, `net.tcp`, ...
    pub protocol: String,
    /// `address:port:host`, for example `*:444:`.
    pub information: String,
    /// Bit field: 1 SNI, 2 central store, 4 and up newer switches (EXCHANGE.md 2.3).
    pub ssl_flags: u32,
}

impl Binding {
    /// Flag: the binding is found by the host name that the client sends.
    pub const SNI: u32 = 1;

    /// Flag: certificates come from the central store.
    pub const CENTRAL_STORE: u32 = 2;

    /// The port of `address:port:host`; `None` when there is none, as for net.pipe.
    pub fn port(&self) -> Option<u16> {
        // The address may be an IPv6 one in brackets: the port is the part before the last colon.
        self.information.rsplit_once(':')?.0.rsplit(':').next()?.parse().ok()
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, information, ssl_flags } = self;
        write!(f, "{protocol} {information} with flags {ssl_flags}")
    }
}

/// A certificate property kept in `<customMetadata>` of applicationHost.config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetabaseBinding {
    /// Key path, for example `LM/W3SVC/2`.
    pub path: String,
    /// Property 5506.
    pub thumbprint: Option<Thumbprint>,
    /// Property 5511.
    pub store: Option<String>,
}

/// A Windows service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Whether it runs.
    pub running: Fact<bool>,
    /// Whether it may be started at all.
    pub disabled: Fact<bool>,
}

/// One full handshake with one of the host's own endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The port that was asked.
    pub port: u16,
    /// From where to where.
    pub path: ProbePath,
    /// What came of it.
    pub outcome: ProbeOutcome,
}

/// The way a probe took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbePath {
    /// The loopback address.
    Loopback,
    /// The host's own name, over IPv4.
    OwnNameV4,
    /// The host's own name, over IPv6.
    OwnNameV6,
}

impl fmt::Display for ProbePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Loopback => "loopback",
            Self::OwnNameV4 => "its own name and IPv4",
            Self::OwnNameV6 => "its own name and IPv6",
        })
    }
}

/// What a handshake showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// A full handshake that presented this certificate.
    Presented {
        /// The leaf certificate.
        certificate: CertificateId,
    },
    /// Nobody listens.
    Refused,
    /// Connected, but the handshake failed, as it does when http.sys has no usable credential.
    NoHandshake(String),
    /// Not reached: no such address, no route, no answer in time.
    Unreachable(String),
    /// The name leads to an address that is none of this host's (G8): what answers there says nothing of it.
    Elsewhere(String),
}
