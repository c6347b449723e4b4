//! What befalls an Exchange host, by the rows of EXCHANGE.md 6.

mod around;
mod certificates;

use std::time::Duration;

use agent::driver::lab::control::Request;
use agent::driver::lab::fault::{Call, Fault, Mode};
use agent::driver::lab::folder::StoredCertificate;
use agent::driver::lab::key::{ADMINISTRATORS, NETWORK_SERVICE, SYSTEM};
use anyhow::{Context, Result};
use clap::Subcommand;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use policy::id::{ServerName, Thumbprint};
use policy::report::{AuthCertificates, Event, EventKind, Fact, Setup, SslRecord, Store};
use uuid::Uuid;

use self::around::BINDING;
use super::install::{self, MONTHS};
use super::server::Server;

/// One way to break a server. Each is known by its name and by the row of EXCHANGE.md 6 that describes it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Damage {
    /// C1: the back-end certificate is deleted from MY in a clean-up. 444 goes on serving it until http.sys restarts
    #[command(alias = "C1")]
    DeleteCertificate,
    /// C2: somebody cured 444 with a self-signed certificate of IIS Manager, which Exchange does not list
    #[command(alias = "C2")]
    IisManagerCertificate,
    /// C3: somebody makes a certificate with New-ExchangeCertificate; it is bound to nothing
    #[command(alias = "C3")]
    NewExchangeCertificate,
    /// C5: an update takes the record of 444 out of http.sys. The certificate stays in MY
    #[command(alias = "C5")]
    RemoveRecord,
    /// C1 and C5 together: record and certificate are gone. The key and the copy in Root stay
    RemoveRecordAndCertificate,
    /// C6: a renewal in EAC put the back-end certificate on the front end as well
    #[command(alias = "C6")]
    FrontEndTaken,
    /// C10a: an ACME certificate in WebHosting was put on 444, and deleted
    #[command(alias = "C10a")]
    AcmeDeleted,
    /// F1: years pass, and the back-end certificate ends soon. Its key is in a new container; everything else stays
    #[command(alias = "F1")]
    Expiring {
        /// In so many days
        #[arg(long, default_value_t = 20)]
        days: u32,
    },
    /// F2: more years pass, and the back-end certificate has ended. It still handshakes
    #[command(alias = "F2")]
    Expired {
        /// So many days ago
        #[arg(long, default_value_t = 1)]
        days: u32,
    },
    /// G10: the back-end certificate is copied to the Disallowed store
    #[command(alias = "G10")]
    Distrust,
    /// F3: the container of the back-end certificate's private key is deleted
    #[command(alias = "F3")]
    DeleteKey,
    /// F4: the certificate was imported again without its key: the link is lost, the container is there
    #[command(alias = "F4")]
    LoseKeyLink,
    /// F5: SYSTEM and Administrators are taken off the access list of the key
    #[command(alias = "F5")]
    DenyKey,
    /// F6: NETWORK SERVICE is taken off the access list of the key
    #[command(alias = "F6")]
    DenyTransport,
    /// F7: the back-end certificate is archived. 444 goes on serving it
    #[command(alias = "F7")]
    Archive,
    /// F8: the record of 444 names a store that does not hold the certificate
    #[command(alias = "F8")]
    WrongStore,
    /// F9: a second record on port 444, for one address
    #[command(alias = "F9")]
    ExtraRecord,
    /// F10: the https binding of the back-end site is tied to one address
    #[command(alias = "F10")]
    TieBinding,
    /// F10: the https binding of the back-end site is taken away
    RemoveBinding,
    /// F11: the https binding of the back-end site asks for SNI
    #[command(alias = "F11")]
    SniBinding,
    /// F14, C10c: services that Exchange needs are stopped
    #[command(aliases = ["F14", "C10c"])]
    StopServices,
    /// F15, F17: the front end's certificate is put on 444; it does not name the server
    #[command(aliases = ["F15", "F17"])]
    FrontEndCertificate,
    /// F16: a certificate from a CA, with the server's names, is put on 444
    #[command(alias = "F16")]
    AuthorityCertificate,
    /// F19: somebody puts another good certificate on 444
    #[command(alias = "F19")]
    AnotherCertificate,
    /// F21: a metabase property names a certificate that is not on 444
    #[command(alias = "F21")]
    StaleMetabase,
    /// F25: the certificate of the web management service is deleted
    #[command(alias = "F25")]
    DeleteManagement,
    /// F26: the certificate of the front end has expired
    #[command(alias = "F26")]
    FrontEndExpired,
    /// F31: something between keeps this server from the 444 of another
    #[command(alias = "F31")]
    Block {
        /// The other server
        #[arg(long)]
        to: ServerName,
    },
    /// F35: a cumulative update is at work
    #[command(alias = "F35")]
    SetupRunning,
    /// F38: the copy of the back-end certificate in Root is removed
    #[command(alias = "F38")]
    RemoveRootCopy,
    /// F44: the organisation names the back-end certificate as its Auth Certificate
    #[command(alias = "F44")]
    AuthCertificate,
    /// F46: IIS reads its configuration from elsewhere
    #[command(alias = "F46")]
    SharedConfiguration,
    /// G2: the server is rebuilt under its old name
    #[command(alias = "G2")]
    Rebuild,
    /// G3: the build of Exchange goes back, as after a restored snapshot
    #[command(alias = "G3")]
    BuildBack,
    /// G4: a security update is at work: services are disabled, the record of 444 is gone
    #[command(alias = "G4")]
    SecurityUpdate,
    /// G7: something between the agent and 444 shows another certificate
    #[command(alias = "G7")]
    Intercept,
    /// G9: the full name of the host is another than its NetBIOS name says
    #[command(alias = "G9")]
    DisjointName,
    /// G12: a half-finished setup was left for months
    #[command(alias = "G12")]
    LeaveWatermark,
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
            Self::IisManagerCertificate => "C2",
            Self::NewExchangeCertificate => "C3",
            Self::RemoveRecord => "C5",
            Self::RemoveRecordAndCertificate => "C1 and C5",
            Self::FrontEndTaken => "C6",
            Self::AcmeDeleted => "C10a",
            Self::Expiring { .. } => "F1",
            Self::Expired { .. } => "F2",
            Self::Distrust => "G10",
            Self::DeleteKey => "F3",
            Self::LoseKeyLink => "F4",
            Self::DenyKey => "F5",
            Self::DenyTransport => "F6",
            Self::Archive => "F7",
            Self::WrongStore => "F8",
            Self::ExtraRecord => "F9",
            Self::TieBinding | Self::RemoveBinding => "F10",
            Self::SniBinding => "F11",
            Self::StopServices => "F14",
            Self::FrontEndCertificate => "F15 and F17",
            Self::AuthorityCertificate => "F16",
            Self::AnotherCertificate => "F19",
            Self::StaleMetabase => "F21",
            Self::DeleteManagement => "F25",
            Self::FrontEndExpired => "F26",
            Self::Block { .. } => "F31",
            Self::SetupRunning => "F35",
            Self::RemoveRootCopy => "F38",
            Self::AuthCertificate => "F44",
            Self::SharedConfiguration => "F46",
            Self::DisjointName => "G9",
            Self::LeaveWatermark => "G12",
            Self::Rebuild => "G2",
            Self::BuildBack => "G3",
            Self::SecurityUpdate => "G4",
            Self::Intercept => "G7",
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
            Damage::IisManagerCertificate => self.iis_manager(),
            Damage::NewExchangeCertificate => self.new_exchange_certificate().map(|_| ()),
            Damage::FrontEndTaken => self.front_end_taken(),
            Damage::AcmeDeleted => self.acme_deleted(),
            Damage::LoseKeyLink => {
                let (record, stored) = self.bound_certificate()?;
                Ok(self.files().write_certificate(&record.store(), &StoredCertificate { key: None, ..stored })?)
            }
            Damage::Archive => {
                let (record, stored) = self.bound_certificate()?;
                Ok(self.files().write_certificate(&record.store(), &StoredCertificate { archived: true, ..stored })?)
            }
            Damage::DenyKey => self.deny(&[SYSTEM, ADMINISTRATORS]),
            Damage::DenyTransport => self.deny(&[NETWORK_SERVICE]),
            Damage::WrongStore => self.put(SslRecord { store: Some("WebHosting".to_owned()), ..self.bound()? }),
            Damage::ExtraRecord => {
                let own = self.bound()?;
                self.put(SslRecord { endpoint: format!("{}:444", self.place()?.address), ..own })
            }
            Damage::TieBinding => self.configure("*:444:", "10.0.0.1:444:"),
            Damage::RemoveBinding => self.configure(BINDING, ""),
            Damage::SniBinding => self.configure("\"*:444:\"", "\"*:444:\" sslFlags=\"1\""),
            Damage::StopServices => self.stop_services(),
            Damage::FrontEndCertificate => self.front_end_certificate(),
            Damage::AuthorityCertificate => self.authority_certificate(),
            Damage::AnotherCertificate => self.another_certificate(),
            Damage::StaleMetabase => self.stale_metabase(),
            Damage::DeleteManagement => self.delete_management(),
            Damage::FrontEndExpired => self.front_end_expired(),
            Damage::Block { to } => self.host(|host| {
                host.cannot_reach.insert(to.clone());
            }),
            Damage::SetupRunning => self.host(|host| host.setup = Setup::Running("ExSetup.exe".to_owned())),
            Damage::RemoveRootCopy => {
                let thumbprint = self.bound()?.thumbprint.context("the record of 444 names no certificate")?;
                self.files().remove_certificate(&Store::Root, thumbprint)?;
                Ok(())
            }
            Damage::AuthCertificate => {
                let current = self.bound()?.thumbprint;
                self.host(|host| host.machine.auth = Fact::Known(AuthCertificates { current, next: None }))
            }
            Damage::SharedConfiguration => {
                self.host(|host| host.machine.iis_redirected = Fact::Known(Some("\\\\files\\iis".to_owned())))
            }
            Damage::DisjointName => self.host(|host| host.fqdn = "other.lab.test".to_owned()),
            Damage::LeaveWatermark => {
                let then = Timestamp::from_second(Timestamp::now().as_second() - 100 * 24 * 3_600)?;
                self.host(|host| {
                    host.setup = Setup::HalfFinished("Mailbox".to_owned());
                    host.machine.last_setup = Fact::Known(Some(then));
                })
            }
            Damage::Rebuild => self.host(|host| host.machine_id = Uuid::new_v4().hyphenated().to_string()),
            Damage::BuildBack => self.host(|host| host.exchange.version = "15.1.2375.7".to_owned()),
            Damage::SecurityUpdate => self.security_update(),
            Damage::Intercept => self.fault(Fault::new(Call::Dial, Mode::Lie)),
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
        self.put(aged)?;
        let outgoing = Thumbprint::of(&old.der.0);
        for store in [record.store(), Store::Root] {
            files.remove_certificate(&store, outgoing)?;
        }
        if let Some(link) = old.key {
            files.remove_key(&link.container)?;
        }
        Ok(())
    }

    /// The record stands as if it had always stood there.
    fn put(&self, record: SslRecord) -> Result<()> {
        let endpoint = record.endpoint.clone();
        Ok(self.http_sys()?.change("place", &endpoint, &Request::Place { record })?)
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
