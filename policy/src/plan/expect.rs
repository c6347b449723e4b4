//! The facts that a plan expects to find, compared one by one with what is seen (TRUST T5).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{CertificateId, Sha256, Thumbprint};
use crate::report::{Binding, Fact, KeyLink, MetabaseBinding, Report, SslRecord, Store};

/// One fact that a plan expects to find. Unknown is not equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expect {
    /// The full name of the host.
    Fqdn(String),
    /// Exactly these records on this port, with all parameters.
    Records {
        /// The port.
        port: u16,
        /// The records.
        records: Vec<SslRecord>,
    },
    /// This certificate in this store, so.
    Certificate {
        /// Its identity.
        certificate: CertificateId,
        /// The store.
        store: Store,
        /// Archived or not.
        archived: bool,
        /// Its provider information.
        key: Option<KeyLink>,
        /// Its key works.
        usable: bool,
    },
    /// No certificate of this thumbprint in this store.
    NoCertificate {
        /// The thumbprint.
        thumbprint: Thumbprint,
        /// The store.
        store: Store,
    },
    /// A container that holds this key.
    Container {
        /// Its name.
        name: String,
        /// SHA-256 of the SubjectPublicKeyInfo.
        key_id: Sha256,
    },
    /// Exactly these bindings of this IIS site, in any order.
    Bindings {
        /// The site's name.
        site: String,
        /// Its bindings.
        bindings: Vec<Binding>,
    },
    /// Exactly these metabase properties (5506, 5511) of any site.
    Metabase(Vec<MetabaseBinding>),
}

/// A fact that is not as it was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fact}: expected {expected}, found {found}")]
pub struct Difference {
    /// Which fact.
    pub fact: String,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl Difference {
    /// A fact that is not as expected.
    pub fn new(fact: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { fact: fact.into(), expected: expected.into(), found: found.into() }
    }
}

impl Expect {
    /// Compares with what is seen now.
    ///
    /// # Errors
    /// The [`Difference`], which names the fact.
    pub fn met(&self, report: &Report) -> Result<(), Difference> {
        match self {
            Self::Fqdn(fqdn) => match &report.host.fqdn {
                Fact::Known(found) if found == fqdn => Ok(()),
                found @ (Fact::Known(_) | Fact::Unknown(_)) => {
                    Err(Difference::new("full name of the host", fqdn, show(found, String::clone)))
                }
            },
            Self::Records { port, records } => {
                let on_port = |all: &Vec<SslRecord>| -> Vec<SslRecord> {
                    all.iter().filter(|record| record.port() == Some(*port)).cloned().collect()
                };
                match report.records.known().map(on_port) {
                    // Unknown is not equal, also where both sides say so in the same words.
                    Some(found) if found == *records && found.iter().all(SslRecord::wholly_known) => Ok(()),
                    Some(found) => {
                        let (expected, mut is) = (show_records(records), show_records(&found));
                        if is == expected {
                            is.push_str(", with other parameters");
                        }
                        Err(Difference::new(format!("http.sys records on port {port}"), expected, is))
                    }
                    None => Err(Difference::new(
                        format!("http.sys records on port {port}"),
                        show_records(records),
                        show(&report.records, |_| String::new()),
                    )),
                }
            }
            Self::Certificate { certificate, store, archived, key, usable } => {
                let fact = format!("certificate {} in {store}", certificate.short());
                let Some(entries) = report.stores.known() else {
                    return Err(Difference::new(fact, "present", show(&report.stores, |_| String::new())));
                };
                match entries.iter().find(|entry| entry.store == *store && entry.certificate == *certificate) {
                    None => Err(Difference::new(fact, "present", "absent")),
                    Some(entry) if entry.archived != *archived => {
                        Err(Difference::new(fact, archived_word(*archived), archived_word(entry.archived)))
                    }
                    Some(entry) if entry.key != Fact::Known(key.clone()) => Err(Difference::new(
                        format!("key of {fact}"),
                        format!("{key:?}"),
                        show(&entry.key, |key| format!("{key:?}")),
                    )),
                    Some(entry) if entry.key_usable() != *usable => Err(Difference::new(
                        format!("key of {fact}"),
                        if *usable { "usable" } else { "not usable" },
                        show(&entry.key_state, ToString::to_string),
                    )),
                    Some(_) => Ok(()),
                }
            }
            Self::NoCertificate { thumbprint, store } => {
                let fact = format!("certificate {thumbprint} in {store}");
                match report.entry(store, *thumbprint) {
                    Fact::Known(None) => Ok(()),
                    Fact::Known(Some(_)) => Err(Difference::new(fact, "absent", "present")),
                    Fact::Unknown(why) => Err(Difference::new(fact, "absent", format!("unknown: {why}"))),
                }
            }
            Self::Container { name, key_id } => {
                let fact = format!("key container {name}");
                let found = match &report.containers {
                    Fact::Unknown(why) => return Err(Difference::new(fact, "present", format!("unknown: {why}"))),
                    Fact::Known(containers) => containers.iter().find(|container| container.name == *name),
                };
                match found {
                    Some(container) if container.key_id == Fact::Known(*key_id) => Ok(()),
                    Some(container) => Err(Difference::new(fact, key_id.short(), show(&container.key_id, Sha256::short))),
                    None => Err(Difference::new(fact, "present", "absent")),
                }
            }
            Self::Bindings { site, bindings } => {
                let fact = format!("bindings of the IIS site \"{site}\"");
                let sorted = |bindings: &[Binding]| {
                    let mut words: Vec<String> = bindings.iter().map(Binding::to_string).collect();
                    words.sort_unstable();
                    words
                };
                let found = report.sites.known().map(|sites| sites.iter().find(|found| found.name == *site));
                match found {
                    Some(Some(found)) if sorted(&found.bindings) == sorted(bindings) => Ok(()),
                    Some(Some(found)) => {
                        Err(Difference::new(fact, sorted(bindings).join(", "), sorted(&found.bindings).join(", ")))
                    }
                    Some(None) => Err(Difference::new(fact, sorted(bindings).join(", "), "no such site")),
                    None => Err(Difference::new(fact, sorted(bindings).join(", "), show(&report.sites, |_| String::new()))),
                }
            }
            Self::Metabase(expected) => match &report.metabase {
                Fact::Known(found) if found == expected => Ok(()),
                found @ (Fact::Known(_) | Fact::Unknown(_)) => Err(Difference::new(
                    "metabase properties 5506/5511",
                    format!("{} of them", expected.len()),
                    show(found, |found| format!("{} of them, or others", found.len())),
                )),
            },
        }
    }
}

fn archived_word(archived: bool) -> &'static str {
    if archived { "archived" } else { "not archived" }
}

pub(super) fn show<T>(fact: &Fact<T>, known: impl FnOnce(&T) -> String) -> String {
    match fact {
        Fact::Known(value) => known(value),
        Fact::Unknown(why) => format!("unknown: {why}"),
    }
}

pub(super) fn show_records(records: &[SslRecord]) -> String {
    if records.is_empty() {
        return "none".to_owned();
    }
    let one = |record: &SslRecord| {
        let hash = record.thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string());
        let rest = if record.wholly_known() { "" } else { ", the rest of it not read" };
        format!("{} → {hash} in {}{rest}", record.endpoint, record.store())
    };
    records.iter().map(one).collect::<Vec<_>>().join(", ")
}
