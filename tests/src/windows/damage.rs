//! What befalls a Windows host, by the rows of EXCHANGE.md 6 and the names of the lab, and what can be read of it then.

use std::collections::BTreeMap;

use agent::driver::system::{HostKey as _, Opened, Stored, System};
use agent::driver::windows::WindowsDriver;
use agent::driver::windows::ffi::machine::netbios_name;
use anyhow::{Context, Result};
use clap::Subcommand;
use jiff::{ToSpan, tz::TimeZone};
use policy::id::Thumbprint;
use policy::report::{SslRecord, Store};

use super::machine::{self, MONTHS};

const ENDPOINT: &str = "0.0.0.0:444";

/// `ERROR_ACCESS_DENIED`.
const ACCESS_DENIED: u32 = 5;

/// One way to break this machine.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Damage {
    /// C1: the back-end certificate is deleted from MY. 444 goes on serving it until http.sys restarts
    DeleteCertificate,
    /// C5: the record of 444 is taken out of http.sys. The certificate stays in MY
    RemoveRecord,
    /// C1 and C5 together: record and certificate are gone. The key and the copy in Root stay
    RemoveRecordAndCertificate,
    /// C1 and F3: certificate and key are gone, with the record. Nothing can be put back
    LoseEverything,
    /// F4: the certificate was imported again without its key: the link is lost, the container is there
    LoseKeyLink,
    /// F7: the back-end certificate is archived. 444 goes on serving it
    Archive,
    /// F8: the record of 444 names a store that does not hold the certificate
    WrongStore,
    /// http.sys refuses a call, as `set` or `delete`, so many times
    Refuse {
        /// Which
        call: String,
        /// How often
        #[arg(long, default_value_t = 1)]
        times: u32,
    },
    /// http.sys takes so long for a call, as `set` or `delete`
    Slow {
        /// Which
        call: String,
        /// How long; 0 for no longer than it takes
        millis: u64,
    },
    /// F1: years pass, and the back-end certificate ends soon
    Expiring {
        /// In so many days
        #[arg(long, default_value_t = 20)]
        days: u32,
    },
}

impl Damage {
    /// Lets it happen to this machine.
    ///
    /// # Errors
    /// When what is to be broken is broken already, or a call fails that works on every machine.
    pub fn happen(&self) -> Result<()> {
        let driver = WindowsDriver::new();
        let record = back_end(&driver)?;
        let thumbprint = record.thumbprint.context("the record of 444 names no certificate")?;
        let delete = || machine::delete_certificate(&record.store(), thumbprint);
        match self {
            Self::DeleteCertificate => delete(),
            Self::RemoveRecord => Ok(driver.delete_record(&record)?),
            Self::RemoveRecordAndCertificate => {
                delete()?;
                Ok(driver.delete_record(&record)?)
            }
            Self::LoseEverything => {
                let container = container(&driver, &record, thumbprint)?;
                delete()?;
                machine::delete_key(&container)?;
                Ok(driver.delete_record(&record)?)
            }
            Self::LoseKeyLink => {
                let stored = stored(&driver, &record.store(), thumbprint)?;
                delete()?;
                Ok(driver.add(&record.store(), &Stored { key: None, ..stored })?)
            }
            Self::Archive => Ok(driver.mark_archived(&record.store(), thumbprint, true)?),
            Self::Refuse { call, times } => machine::fail("httpapi", call, ACCESS_DENIED, Some(*times)),
            Self::Slow { call, millis } => machine::slow("httpapi", call, *millis, None),
            Self::WrongStore => machine::rename_store(ENDPOINT, "WebHosting"),
            Self::Expiring { days } => age(&driver, &record, thumbprint, *days),
        }
    }
}

/// Puts a certificate on 444 that ends in `days`, as if Setup had made it five years before; the one that was there never existed.
fn age(driver: &WindowsDriver, record: &SslRecord, outgoing: Thumbprint, days: u32) -> Result<()> {
    let ends = (machine::now() + (i64::from(days) * 24).hours()).to_zoned(TimeZone::UTC);
    let begin = ends.checked_sub(i64::from(MONTHS).months())?.timestamp();
    let old = container(driver, record, outgoing)?;
    let thumbprint = machine::certificate(driver, (&netbios_name()?, &driver.full_name()?), begin, true)?;
    // The record comes last: whoever looks meanwhile sees no host that could be worked on.
    driver.delete_record(record)?;
    for store in [record.store(), Store::Root] {
        machine::delete_certificate(&store, outgoing)?;
    }
    machine::delete_key(&old)?;
    Ok(driver.set_record(&SslRecord { thumbprint: Some(thumbprint), ..record.clone() })?)
}

/// What lies on the machine's disk, for a comparison: certificates, containers of keys and records, each by its name.
///
/// # Errors
/// When a call fails.
pub fn snapshot() -> Result<BTreeMap<String, String>> {
    let driver = WindowsDriver::new();
    let mut found = BTreeMap::new();
    for record in driver.records()? {
        found.insert(format!("record/{}", record.endpoint), format!("{record:?}"));
    }
    for store in [Store::My, Store::Root, Store::named("WebHosting")] {
        for Stored { der, friendly_name, key, archived } in driver.stored(&store)? {
            if let Some(link) = &key {
                let held = match driver.key(&link.container)? {
                    Opened::Key(key) => key.id().to_string(),
                    Opened::Missing => "missing".to_owned(),
                    Opened::Denied => "denied".to_owned(),
                };
                found.insert(format!("keys/{}", link.container), held);
            }
            let name = format!("stores/{store}/{}", Thumbprint::of(&der.0));
            found.insert(name, format!("{friendly_name:?} {key:?} archived={archived}"));
        }
    }
    Ok(found)
}

fn back_end(driver: &WindowsDriver) -> Result<SslRecord> {
    let record = driver.records()?.into_iter().find(|record| record.endpoint == ENDPOINT);
    record.context("expected a record for 444, found none: it is removed already")
}

fn stored(driver: &WindowsDriver, store: &Store, thumbprint: Thumbprint) -> Result<Stored> {
    let stored = driver.stored(store)?.into_iter().find(|stored| Thumbprint::of(&stored.der.0) == thumbprint);
    stored.with_context(|| format!("the certificate {thumbprint} of 444 is deleted already"))
}

fn container(driver: &WindowsDriver, record: &SslRecord, thumbprint: Thumbprint) -> Result<String> {
    let key = stored(driver, &record.store(), thumbprint)?.key;
    Ok(key.context("the back-end certificate has no key link")?.container)
}
