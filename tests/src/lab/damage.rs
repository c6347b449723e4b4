//! What befalls an Exchange host, by the rows of EXCHANGE.md 6.

use std::time::Duration;

use agent::driver::lab::control::Request;
use agent::driver::lab::folder::StoredCertificate;
use anyhow::{Context, Result};
use clap::Subcommand;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use policy::id::Thumbprint;
use policy::report::{Event, EventKind, Fact, Setup, SslRecord, Store};

use super::install::{self, MONTHS};
use super::server::Server;

/// One way to break a server.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Damage {
    /// C1: the back-end certificate is deleted from MY in a clean-up. 444 goes on serving it until http.sys restarts
    DeleteCertificate,
    /// C5: an update takes the record of 444 out of http.sys. The certificate stays in MY
    RemoveRecord,
    /// C1 and C5 together: record and certificate are gone. The key and the copy in Root stay
    RemoveRecordAndCertificate,
    /// F1: years pass, and the back-end certificate ends soon. Its key is in a new container; everything else stays
    Expiring {
        /// In so many days
        #[arg(long, default_value_t = 20)]
        days: u32,
    },
    /// F2: more years pass, and the back-end certificate has ended. It still handshakes
    Expired {
        /// So many days ago
        #[arg(long, default_value_t = 1)]
        days: u32,
    },
    /// G10: the back-end certificate is copied to the Disallowed store
    Distrust,
    /// F3: the container of the back-end certificate's private key is deleted
    DeleteKey,
    /// F35: a cumulative update is at work
    SetupRunning,
    /// 6.3: a tool deletes the record of 444 and adds the same again a moment later. It must not be raced
    ForeignRecordRewrite {
        /// After so many milliseconds
        #[arg(long, default_value_t = 500)]
        within_ms: u64,
    },
}

impl Damage {
    /// The row of EXCHANGE.md that describes it.
    pub fn row(&self) -> &'static str {
        match self {
            Self::DeleteCertificate => "C1",
            Self::RemoveRecord => "C5",
            Self::RemoveRecordAndCertificate => "C1 and C5",
            Self::Expiring { .. } => "F1",
            Self::Expired { .. } => "F2",
            Self::Distrust => "G10",
            Self::DeleteKey => "F3",
            Self::SetupRunning => "F35",
            Self::ForeignRecordRewrite { .. } => "6.3",
        }
    }
}

impl Server {
    /// Lets it happen to this server.
    ///
    /// # Errors
    /// When http.sys is needed and not running, or what is to be broken is broken already.
    pub fn damage(&self, damage: &Damage) -> Result<()> {
        match damage {
            Damage::DeleteCertificate => self.delete_certificate(&self.bound()?),
            Damage::RemoveRecord => Ok(self.http_sys()?.delete(&self.bound()?)?),
            Damage::RemoveRecordAndCertificate => {
                let record = self.bound()?;
                self.delete_certificate(&record)?;
                Ok(self.http_sys()?.delete(&record)?)
            }
            Damage::Expiring { days } => self.age(Timestamp::now().checked_add((i64::from(*days) * 24).hours())?),
            Damage::Expired { days } => self.age(Timestamp::now().checked_sub((i64::from(*days) * 24).hours())?),
            Damage::Distrust => {
                let (_, stored) = self.bound_certificate()?;
                Ok(self.files().write_certificate(&Store::Disallowed, &StoredCertificate { key: None, ..stored })?)
            }
            Damage::DeleteKey => {
                let (_, stored) = self.bound_certificate()?;
                let link = stored.key.context("the back-end certificate has no key link")?;
                self.files().remove_key(&link.container)?;
                Ok(())
            }
            Damage::SetupRunning => {
                let mut host = self.files().host()?;
                host.setup = Setup::Running("ExSetup.exe".to_owned());
                Ok(self.files().write_host(&host)?)
            }
            Damage::ForeignRecordRewrite { within_ms } => {
                let record = self.bound()?;
                let mut http_sys = self.http_sys()?;
                http_sys.delete(&record)?;
                #[expect(clippy::disallowed_methods, reason = "a tool that takes its time is what is shown")]
                std::thread::sleep(Duration::from_millis(*within_ms));
                Ok(http_sys.set(&record)?)
            }
        }
    }

    /// Puts a certificate on 444 that ends at `ends`, as if Setup had made it five years before; the one that was there
    /// never existed. No record is gone at any moment.
    fn age(&self, ends: Timestamp) -> Result<()> {
        let (record, old) = self.bound_certificate()?;
        let begin = ends.to_zoned(TimeZone::UTC).checked_sub(i64::from(MONTHS).months())?.timestamp();
        let files = self.files();
        let thumbprint = install::back_end(&files, &self.place()?, begin, MONTHS)?;
        install::uses_for_transport(&files, thumbprint)?;
        let aged = SslRecord { thumbprint: Some(thumbprint), ..record.clone() };
        self.http_sys()?.change("place", &record.endpoint, &Request::Place { record: aged })?;
        let outgoing = Thumbprint::of(&old.der.0);
        for store in [record.store(), Store::Root] {
            files.remove_certificate(&store, outgoing)?;
        }
        if let Some(link) = old.key {
            files.remove_key(&link.container)?;
        }
        Ok(())
    }

    fn delete_certificate(&self, record: &SslRecord) -> Result<()> {
        let thumbprint = record.thumbprint.context("the record of 444 names no certificate")?;
        if !self.files().remove_certificate(&record.store(), thumbprint)? {
            anyhow::bail!("expected {thumbprint} in {}, found none: it is deleted already", record.store());
        }
        self.happened(EventKind::CertificateDeleted, Some(thumbprint), None)
    }

    /// Writes down that somebody did this, as Windows does: an administrator in the management console.
    pub(super) fn happened(&self, kind: EventKind, thumbprint: Option<Thumbprint>, object: Option<String>) -> Result<()> {
        let mut host = self.files().host()?;
        if let Fact::Known(events) = &mut host.machine.events {
            events.push(Event {
                at: Timestamp::from_second(Timestamp::now().as_second())?,
                kind,
                thumbprint,
                object,
                process: Some("mmc.exe".to_owned()),
                account: Some("LAB\\administrator".to_owned()),
            });
        }
        Ok(self.files().write_host(&host)?)
    }

    fn bound(&self) -> Result<SslRecord> {
        self.back_end_record()?
            .with_context(|| format!("expected a record for 444 on {}, found none: it is removed already", self.name()))
    }

    fn bound_certificate(&self) -> Result<(SslRecord, StoredCertificate)> {
        let record = self.bound()?;
        let thumbprint = record.thumbprint.context("the record of 444 names no certificate")?;
        let stored = self.files().certificate(&record.store(), thumbprint)?;
        Ok((record, stored.with_context(|| format!("the certificate {thumbprint} of 444 is deleted already"))?))
    }
}
