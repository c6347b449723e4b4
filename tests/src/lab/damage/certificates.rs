//! Certificates that others than Setup make, and put where they do not belong.

use agent::driver::lab::folder::StoredCertificate;
use agent::driver::mint::{FRIENDLY_NAME, Profile, months_after};
use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan};
use policy::decide::vendor_link;
use policy::id::Thumbprint;
use policy::plan::Der;
use policy::report::{SslRecord, Store};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use uuid::Uuid;

use super::super::install::{self, MONTHS};
use super::super::organization::new_key;
use super::super::server::Server;

/// Who signs a certificate.
enum Signer {
    Itself,
    Authority,
}

impl Server {
    /// KeyUsage without digitalSignature, one name, one year (EXCHANGE.md 1.2).
    pub(super) fn iis_manager(&self) -> Result<()> {
        let profile = self.profile(Timestamp::now() - (24 * 3).hours(), 12)?;
        let profile = Profile { common_name: profile.names[1].clone(), names: vec![profile.names[1].clone()], ..profile };
        let mut params = profile.parameters()?;
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DataEncipherment];
        let thumbprint = self.made(params, &Signer::Itself, &Store::My, "Microsoft Exchange 2")?;
        self.replaced(thumbprint, &Store::My)
    }

    /// In the vendor's profile, in MY alone, from the next full second on: certificates know no parts of one.
    pub(super) fn new_exchange_certificate(&self) -> Result<Thumbprint> {
        let profile = self.profile(Timestamp::from_second(Timestamp::now().as_second() + 1)?, MONTHS)?;
        self.made(profile.parameters()?, &Signer::Itself, &Store::My, FRIENDLY_NAME)
    }

    /// Another one as Setup makes them, its copy in Root included.
    pub(super) fn another_certificate(&self) -> Result<()> {
        let thumbprint = install::back_end(&self.files(), &self.place()?, Timestamp::now() - 24.hours(), MONTHS)?;
        self.replaced(thumbprint, &Store::My)
    }

    pub(super) fn authority_certificate(&self) -> Result<()> {
        let profile = self.profile(Timestamp::now() - 24.hours(), 24)?;
        let thumbprint = self.made(profile.parameters()?, &Signer::Authority, &Store::My, "machine")?;
        self.replaced(thumbprint, &Store::My)
    }

    /// Put on 444 from the store of ACME clients, and deleted at a renewal.
    pub(super) fn acme_deleted(&self) -> Result<()> {
        let store = Store::named("WebHosting");
        let begin = Timestamp::now() - (24 * 60).hours();
        let public = Profile {
            common_name: "mail.lab.test".to_owned(),
            names: vec!["mail.lab.test".to_owned()],
            not_before: begin,
            not_after: months_after(begin, 3)?,
        };
        let thumbprint = self.made(public.parameters()?, &Signer::Authority, &store, "[Manual] mail.lab.test")?;
        self.replaced(thumbprint, &store)?;
        self.files().remove_certificate(&store, thumbprint)?;
        Ok(())
    }

    pub(super) fn front_end_certificate(&self) -> Result<()> {
        let record = self.front_end()?.into_iter().next().context("no record for 443")?;
        self.replaced(record.thumbprint.context("the record of 443 names no certificate")?, &record.store())
    }

    /// Both records of 443 name the certificate of 444.
    pub(super) fn front_end_taken(&self) -> Result<()> {
        let (own, _) = self.bound_certificate()?;
        for record in self.front_end()? {
            self.put(SslRecord { thumbprint: own.thumbprint, store: own.store.clone(), ..record })?;
        }
        Ok(())
    }

    pub(super) fn front_end_expired(&self) -> Result<()> {
        let ends = Timestamp::now() - (24 * 2).hours();
        let names = vec!["mail.lab.test".to_owned(), "autodiscover.lab.test".to_owned()];
        let ended = Profile { common_name: names[0].clone(), names, not_before: ends - (24 * 365).hours(), not_after: ends }
            .parameters()?;
        let thumbprint = self.made(ended, &Signer::Authority, &Store::My, "mail.lab.test")?;
        for record in self.front_end()? {
            self.put(SslRecord { thumbprint: Some(thumbprint), ..record })?;
        }
        Ok(())
    }

    pub(super) fn delete_management(&self) -> Result<()> {
        let records = self.records()?;
        let record = records.iter().find(|record| record.port() == Some(8172)).context("no record for 8172")?;
        let thumbprint = record.thumbprint.context("the record of 8172 names no certificate")?;
        self.files().remove_certificate(&record.store(), thumbprint)?;
        Ok(())
    }

    fn front_end(&self) -> Result<Vec<SslRecord>> {
        Ok(self.records()?.into_iter().filter(SslRecord::is_front_end).collect())
    }

    fn replaced(&self, thumbprint: Thumbprint, store: &Store) -> Result<()> {
        self.put(SslRecord { thumbprint: Some(thumbprint), store: Some(store.as_str().to_owned()), ..self.bound()? })
    }

    fn profile(&self, begin: Timestamp, months: u32) -> Result<Profile> {
        let place = self.place()?;
        Ok(Profile::vendor(place.name.as_str(), &place.fqdn, begin, months)?)
    }

    fn made(&self, params: CertificateParams, signer: &Signer, store: &Store, name: &str) -> Result<Thumbprint> {
        let key = new_key()?;
        let made = match signer {
            Signer::Itself => params.self_signed(key.pair()),
            Signer::Authority => params.signed_by(key.pair(), &authority()?),
        };
        let der = Der(made.context("the certificate")?.der().to_vec());
        let container = Uuid::new_v4().hyphenated().to_string();
        self.files().write_key(&container, &key)?;
        install::add(&self.files(), store, der, Some(name), Some(vendor_link(&container)))
    }

    /// Takes these off the access list of the key on 444.
    pub(super) fn deny(&self, sids: &[&str]) -> Result<()> {
        let (_, StoredCertificate { key, .. }) = self.bound_certificate()?;
        let link = key.context("the back-end certificate has no key link")?;
        let files = self.files();
        let key = files.key(&link.container)?.context("the key of the back-end certificate is gone")?;
        let kept = key.access().iter().filter(|access| !sids.contains(&access.sid.as_str())).cloned().collect();
        Ok(files.write_key(&link.container, &key.with_access(kept))?)
    }
}

/// A CA that nobody here knows.
fn authority() -> Result<Issuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Other Issuing CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(Issuer::new(params, KeyPair::generate().context("a key for the CA")?))
}
