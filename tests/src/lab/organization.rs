//! What all servers of an estate share: a CA that issues the front-end certificate, and the Auth Certificate.

use std::path::Path;

use agent::driver::lab::file;
use agent::driver::lab::key::Key;
use agent::driver::mint::{Profile, months_after};
use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan};
use policy::plan::Der;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde::{Deserialize, Serialize};

/// The name that clients use, in front of all servers.
const NAMES: [&str; 2] = ["mail.lab.test", "autodiscover.lab.test"];

/// `organization.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Organization {
    /// The CA's certificate; every server trusts it.
    pub(super) ca: Der,
    /// The certificate of 443, issued by that CA, the same on every server.
    pub(super) front_end: WithKey,
    /// The Auth Certificate, self-signed, the same on every server.
    pub(super) auth: WithKey,
}

/// A certificate with its private key, as a PFX file carries them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithKey {
    pub(super) der: Der,
    pkcs8: Der,
}

impl WithKey {
    /// The key, with the access list that it has after import.
    pub(super) fn key(&self) -> Result<Key> {
        Key::from_pkcs8(&self.pkcs8.0, Key::default_access()).context("a key of organization.json does not read")
    }
}

impl Organization {
    /// The organization of this estate; founded when there is none yet.
    pub(super) fn of(estate: &Path, now: Timestamp) -> Result<Self> {
        let path = estate.join("organization.json");
        if let Some(found) = file::read_json(&path)? {
            return Ok(found);
        }
        let founded = Self::found(now)?;
        file::write_json(&path, &founded)?;
        Ok(founded)
    }

    fn found(now: Timestamp) -> Result<Self> {
        let begin = now - (400 * 24).hours();
        let mut authority = CertificateParams::default();
        authority.distinguished_name = DistinguishedName::new();
        authority.distinguished_name.push(DnType::CommonName, "Lab Issuing CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("a key for the CA")?;
        let ca = Der(authority.self_signed(&key).context("the CA's certificate")?.der().to_vec());
        let issuer = Issuer::new(authority, key);

        let front_end = new_key()?;
        let profile = Profile {
            common_name: NAMES[0].to_owned(),
            names: NAMES.map(str::to_owned).to_vec(),
            not_before: now - (100 * 24).hours(),
            not_after: months_after(now - (100 * 24).hours(), 12)?,
        };
        let der =
            Der(profile.parameters()?.signed_by(front_end.pair(), &issuer).context("the front-end certificate")?.der().to_vec());
        let front_end = WithKey { der, pkcs8: Der(front_end.pair().serialized_der().to_vec()) };

        let auth = new_key()?;
        let profile = Profile {
            common_name: "Microsoft Exchange Server Auth Certificate".to_owned(),
            names: Vec::new(),
            not_before: begin,
            not_after: begin + (1800 * 24).hours(),
        };
        let auth = WithKey { der: Der(profile.self_signed(&auth)?), pkcs8: Der(auth.pair().serialized_der().to_vec()) };
        Ok(Self { ca, front_end, auth })
    }
}

/// An RSA key of the usual size.
pub(super) fn new_key() -> Result<Key> {
    Key::generate(2048, Key::default_access()).context("an RSA key could not be made")
}
