//! A plan: exactly what to do on one server, as typed steps, and what each expects to find (TRUST T4, T5).
//!
//! A plan carries no clock, no generation and no policy version: the same facts give the same bytes and so the same id,
//! and approvals survive reports that change nothing.

mod expect;
mod untouched;

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

pub use self::expect::{Difference, Expect};
use self::expect::{show, show_records};
pub use self::untouched::untouched;
use crate::id::{CertificateId, EstateName, PlanId, ServerName, Sha256, Thumbprint};
use crate::report::{Access, Binding, Fact, KeyLink, Report, SslRecord, Store};

/// The largest plan that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// A certificate's bytes inside a document: base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

impl fmt::Debug for Der {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Der({})", Sha256::of(&self.0).short())
    }
}

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What to do on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The estate.
    pub estate: EstateName,
    /// The server.
    pub host: ServerName,
    /// The installation: a rebuilt server of the same name is another.
    pub machine_id: String,
    /// What for.
    pub purpose: Purpose,
    /// 1 for the first try of these facts. An id begins once per host for ever; another try is another number and so another id.
    pub attempt: u32,
    /// The policy's values that the steps were made from.
    pub values: Values,
    /// What must be found on the host before the first step.
    pub expects: Vec<Expect>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// R0: write the last-known record back.
    RestoreRecord,
    /// R1: put the deleted certificate back, with its key; and its record, when that is gone too.
    Undelete,
    /// R0b: the record names a store that does not hold its certificate, and `MY` does.
    FixStore,
    /// R1b: the certificate is there and its key too, only the link between them is lost.
    Relink,
    /// R1c: the certificate on 444 is archived and no longer served.
    Unarchive,
    /// R2: nothing is recoverable, a new certificate is made.
    Create,
    /// C3, C7: the one certificate of the vendor's profile that appeared after the loss is put on 444.
    BindCandidate,
    /// A new certificate in place of one that ends, or that is distrusted.
    Renew,
    /// C6, C7: 443 gets back the certificate that it had before a renewal took it.
    GiveBackFrontEnd,
    /// F9: a record that does not belong on port 444 is taken away.
    RemoveExtraRecord,
    /// F10, F11: the https binding of the back-end site is put right.
    FixBinding,
}

impl Purpose {
    /// The word that people and scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RestoreRecord => "restore_record",
            Self::Undelete => "undelete",
            Self::FixStore => "fix_store",
            Self::Relink => "relink",
            Self::Unarchive => "unarchive",
            Self::Create => "create",
            Self::BindCandidate => "bind_candidate",
            Self::Renew => "renew",
            Self::GiveBackFrontEnd => "give_back_front_end",
            Self::RemoveExtraRecord => "remove_extra_record",
            Self::FixBinding => "fix_binding",
        }
    }

    /// The purposes of repairs beside the certificate of 444.
    pub const ASIDE: [Self; 3] = [Self::GiveBackFrontEnd, Self::RemoveExtraRecord, Self::FixBinding];

    /// A repair beside the certificate of 444: it changes neither that certificate nor what 444 shows.
    pub fn aside(self) -> bool {
        match self {
            Self::GiveBackFrontEnd | Self::RemoveExtraRecord | Self::FixBinding => true,
            Self::RestoreRecord
            | Self::Undelete
            | Self::FixStore
            | Self::Relink
            | Self::Unarchive
            | Self::Create
            | Self::BindCandidate
            | Self::Renew => false,
        }
    }

    /// Puts back what was there: may run by standing approval, waits for no window.
    pub fn restores(self) -> bool {
        match self {
            Self::RestoreRecord | Self::Undelete | Self::FixStore | Self::Relink => true,
            Self::Unarchive
            | Self::Create
            | Self::BindCandidate
            | Self::Renew
            | Self::GiveBackFrontEnd
            | Self::RemoveExtraRecord
            | Self::FixBinding => false,
        }
    }
}

/// Values of the policy that a plan was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// RSA key size of a new certificate.
    pub key_bits: u32,
    /// Validity of a new certificate, in months.
    pub months: u32,
}

/// One thing to do. Each can be asked whether it is already done, so that a run can be taken up after any crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Adds a known certificate to a store with its key provider information, after comparing the container's key with it.
    AddCertificate {
        /// The certificate.
        der: Der,
        /// The store.
        store: Store,
        /// Where its key is.
        key: KeyLink,
        /// Its friendly name.
        friendly_name: Option<String>,
    },
    /// Writes an http.sys record where none is.
    WriteRecord {
        /// The record.
        record: SslRecord,
    },
    /// Makes an RSA key in a container of this name, or takes the one that is there.
    CreateKey {
        /// The container.
        container: String,
        /// RSA key size.
        bits: u32,
    },
    /// Sets who may use the key.
    GrantKey {
        /// The container.
        container: String,
        /// The access list.
        access: Vec<Access>,
    },
    /// Makes a self-signed certificate in the vendor's profile for the container's key and adds it to `My`.
    Mint {
        /// The container.
        container: String,
        /// NetBIOS name: the subject and first name.
        netbios: String,
        /// Full name: the second name.
        fqdn: String,
        /// Validity in calendar months.
        months: u32,
    },
    /// Adds the public part of the container's certificate to `Root`.
    TrustCopy {
        /// The container.
        container: String,
    },
    /// A handshake with the container's certificate on a private port.
    DryHandshake {
        /// The container.
        container: String,
    },
    /// Points the record at the container's certificate; everything else in it stays.
    Swap {
        /// The record as it is, to be put back if need be.
        from: SslRecord,
        /// The container.
        container: String,
    },
    /// Changes a record that exists, as [`Step::Swap`] does, to name a certificate that is there already.
    ChangeRecord {
        /// The record as it is, to be put back if need be.
        from: SslRecord,
        /// The record as it shall be, at the same endpoint.
        to: SslRecord,
    },
    /// Writes a record where none is, with the container's certificate.
    Bind {
        /// The record without its thumbprint.
        record: SslRecord,
        /// The container.
        container: String,
    },
    /// Takes the archived mark off a certificate.
    Unarchive {
        /// The thumbprint.
        thumbprint: Thumbprint,
        /// The store.
        store: Store,
    },
    /// Takes a record away that does not belong on its port; taken back by writing it again.
    RemoveRecord {
        /// The record as it is.
        record: SslRecord,
    },
    /// Changes one binding of an IIS site in the configuration of IIS.
    ChangeBinding {
        /// The site's name.
        site: String,
        /// The binding as it is; `None` when it is missing.
        from: Option<Binding>,
        /// The binding as it shall be.
        to: Binding,
    },
    /// Full handshakes with the port, over every path, must show this certificate.
    Probe {
        /// The port.
        port: u16,
        /// What must be shown.
        shows: Shown,
    },
    /// Everything else on the host reads the same as before the first step (P4).
    Compare,
}

/// A certificate, known beforehand or made by the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shown {
    /// This one.
    Certificate(CertificateId),
    /// The one whose key is in this container.
    OfContainer(String),
}

impl Step {
    /// The step's name in journals, logs and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddCertificate { .. } => "add_certificate",
            Self::WriteRecord { .. } => "write_record",
            Self::CreateKey { .. } => "create_key",
            Self::GrantKey { .. } => "grant_key",
            Self::Mint { .. } => "mint",
            Self::TrustCopy { .. } => "trust_copy",
            Self::DryHandshake { .. } => "dry_handshake",
            Self::Swap { .. } => "swap",
            Self::ChangeRecord { .. } => "change_record",
            Self::Bind { .. } => "bind",
            Self::Unarchive { .. } => "unarchive",
            Self::RemoveRecord { .. } => "remove_record",
            Self::ChangeBinding { .. } => "change_binding",
            Self::Probe { .. } => "probe",
            Self::Compare => "compare",
        }
    }

    /// The key container that the step is about, if it is about one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::AddCertificate { key: KeyLink { container, .. }, .. }
            | Self::CreateKey { container, .. }
            | Self::GrantKey { container, .. }
            | Self::Mint { container, .. }
            | Self::TrustCopy { container }
            | Self::DryHandshake { container }
            | Self::Swap { container, .. }
            | Self::Bind { container, .. }
            | Self::Probe { shows: Shown::OfContainer(container), .. } => Some(container),
            Self::WriteRecord { .. }
            | Self::ChangeRecord { .. }
            | Self::Unarchive { .. }
            | Self::RemoveRecord { .. }
            | Self::ChangeBinding { .. }
            | Self::Probe { shows: Shown::Certificate(_), .. }
            | Self::Compare => None,
        }
    }

    /// The step in one line for people.
    pub fn describe(&self) -> String {
        match self {
            Self::AddCertificate { der, store, key, .. } => {
                format!(
                    "put certificate {} back into {store}, with its key in container {}",
                    Thumbprint::of(&der.0),
                    key.container
                )
            }
            Self::WriteRecord { record } => format!("write the record {}", show_records(std::slice::from_ref(record))),
            Self::CreateKey { container, bits } => format!("make an RSA key of {bits} bits in container {container}"),
            Self::GrantKey { access, .. } => {
                format!("give the key the access list of the outgoing one ({} entries)", access.len())
            }
            Self::Mint { netbios, fqdn, months, .. } => {
                format!("make a self-signed certificate for {netbios} and {fqdn}, valid {months} months, and add it to MY")
            }
            Self::TrustCopy { .. } => "copy its public part to Root, where the outgoing one has a copy too".to_owned(),
            Self::DryHandshake { .. } => "try a handshake with it on a private port".to_owned(),
            Self::Swap { from, .. } => format!("point {} at it; nothing is taken out of any store", from.endpoint),
            Self::ChangeRecord { from, to } => format!(
                "change the record {} to {}",
                show_records(std::slice::from_ref(from)),
                show_records(std::slice::from_ref(to))
            ),
            Self::Bind { record, .. } => format!("write the record {} with it", record.endpoint),
            Self::Unarchive { thumbprint, store } => format!("take the archived mark off {thumbprint} in {store}"),
            Self::RemoveRecord { record } => format!("remove the record {}", show_records(std::slice::from_ref(record))),
            Self::ChangeBinding { site, from, to } => {
                let was = from.as_ref().map_or_else(|| "no binding".to_owned(), Binding::to_string);
                format!("in the configuration of IIS, site \"{site}\": {was} becomes {to}")
            }
            Self::Probe { port, .. } => format!("shake hands with {port} over every path and compare what is shown"),
            Self::Compare => "compare everything else on the host with the snapshot".to_owned(),
        }
    }
}

/// Bytes that are not a plan.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Larger than [`MAX_BYTES`].
    #[error("expected a plan of at most {MAX_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not JSON, an unknown field or a value of the wrong kind.
    #[error("plan does not read")]
    Json(#[source] serde_json::Error),
    /// Reads, but [`Plan::to_bytes`] writes the same plan with other bytes: spaces, another order, another case.
    #[error("expected a plan in its one spelling, found other bytes for the same plan")]
    NotCanonical,
}

impl Plan {
    /// The bytes of the plan: what is stored, relayed and named by its id.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan is plain data without maps")
    }

    /// Reads a plan, strictly: an unknown field is refused, and so is another spelling of the same plan. The id is
    /// SHA-256 of the bytes, and one plan has one id.
    ///
    /// # Errors
    /// [`PlanError`] with the place.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() > MAX_BYTES {
            return Err(PlanError::TooLarge(bytes.len()));
        }
        let plan: Self = serde_json::from_slice(bytes).map_err(PlanError::Json)?;
        if plan.to_bytes() != bytes {
            return Err(PlanError::NotCanonical);
        }
        Ok(plan)
    }

    /// The id: SHA-256 of the bytes.
    pub fn id(&self) -> PlanId {
        Sha256::of(&self.to_bytes())
    }

    /// The first of this plan's attempts whose id `taken` does not know.
    #[must_use]
    pub fn untried(mut self, taken: impl Fn(&PlanId) -> bool) -> Self {
        while taken(&self.id()) {
            self.attempt += 1;
        }
        self
    }

    /// Whether two plans do the same for the same facts, whatever their attempts.
    pub fn same_but_attempt(&self, other: &Self) -> bool {
        Self { attempt: other.attempt, ..self.clone() } == *other
    }

    /// Facts that are not as expected on the host, compared one by one.
    pub fn differences(&self, report: &Report) -> Vec<Difference> {
        let mut found = Vec::new();
        if self.host != report.host.name {
            found.push(Difference::new("server", self.host.as_str(), report.host.name.as_str()));
        }
        if report.host.machine_id != Fact::Known(self.machine_id.clone()) {
            found.push(Difference::new("machine id", &self.machine_id, show(&report.host.machine_id, String::clone)));
        }
        found.extend(self.expects.iter().filter_map(|expect| expect.met(report).err()));
        found
    }

    /// The container in which this plan makes a key, if it makes one.
    pub fn container(&self) -> Option<&str> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only one kind of step makes a key")]
        self.steps.iter().find_map(|step| match step {
            Step::CreateKey { container, .. } => Some(container.as_str()),
            _ => None,
        })
    }
}

/// Namespace of our container names.
const CONTAINERS: Uuid = Uuid::from_u128(0x8f0b_61d0_3c55_4a53_9d5e_6261_636b_7374);

/// The name of the container for the key that follows `outgoing` on this port (TRUST J5): the same facts give the same name,
/// so that a run which is taken up again, or a second attempt, finds its key and makes no other.
pub fn container_name(estate: &EstateName, host: &ServerName, port: u16, outgoing: CertificateId) -> String {
    Uuid::new_v5(&CONTAINERS, format!("{estate}\n{host}\n{port}\n{outgoing}").as_bytes()).hyphenated().to_string()
}
