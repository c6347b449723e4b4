//! One host as Exchange Setup and an ordinary administrator leave it (EXCHANGE.md 1.1, 1.6, 2.1).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent::driver::lab::file;
use agent::driver::lab::folder::{Folder, HostFile, Place, ServiceFile, StoredCertificate};
use agent::driver::lab::key::{Key, NETWORK_SERVICE, READ};
use agent::driver::mint::{FRIENDLY_NAME, Profile};
use anyhow::Result;
use jiff::{Timestamp, ToSpan};
use policy::decide::vendor_link;
use policy::id::Thumbprint;
use policy::plan::Der;
use policy::report::{
    Access, AppPool, AuthCertificates, Exchange, Fact, IIS_APP_ID, KeyLink, Machine, RecordKind, Role, Setup, SslParameters,
    SslRecord, Store, TlsPolicy,
};
use uuid::Uuid;

use super::organization::{Organization, WithKey, new_key};

/// Validity of what Setup makes, in months.
pub(super) const MONTHS: u32 = 60;

/// The AppId of the web management service.
const WMSVC_APP_ID: &str = "{d7d72267-fcf9-4424-9eec-7e1d8dcec9a9}";

/// Services that Exchange and this product look at.
const SERVICES: [&str; 6] =
    ["HTTP", "WAS", "W3SVC", "MSExchangeADTopology", "MSExchangeFrontEndTransport", "MSExchangeTransport"];

/// The configuration of IIS, as far as anybody here reads it.
const APPLICATION_HOST: &str = include_str!("applicationHost.config");

/// Writes a host into `folder`, and what it is made of a second time beside it, to heal it by.
pub(super) fn install(folder: &Path, place: &Place, organization: &Organization, now: Timestamp) -> Result<()> {
    let host = Folder::new(folder);
    host.write_host(&HostFile {
        name: place.name.clone(),
        fqdn: place.fqdn.clone(),
        machine_id: Uuid::new_v4().hyphenated().to_string(),
        ad_site: place.ad_site.clone(),
        dag: place.dag.clone(),
        exchange: Exchange { version: "15.1.2507.6".to_owned(), roles: [Role::Mailbox].into() },
        setup: Setup::Idle,
        services: SERVICES.map(|name| (name.to_owned(), ServiceFile { running: true, disabled: false })).into(),
        machine: machine(place, organization, now)?,
        stopped_sites: BTreeSet::new(),
        own_name_leads_to: None,
        cannot_reach: BTreeSet::new(),
        updates_records: false,
    })?;
    file::write(&folder.join("applicationHost.config"), APPLICATION_HOST.as_bytes())?;

    let back_end = back_end(&host, place, now - (200 * 24).hours(), MONTHS)?;
    uses_for_transport(&host, back_end)?;
    add(&host, &Store::Root, organization.ca.clone(), None, None)?;
    let link = KeyLink {
        container: format!("{{{}}}", Uuid::new_v4().hyphenated().to_string().to_uppercase()),
        provider: "Microsoft RSA SChannel Cryptographic Provider".to_owned(),
        ..vendor_link("")
    };
    let front_end = import(&host, &organization.front_end, "mail.lab.test", link)?;
    let container = Uuid::new_v4().hyphenated().to_string();
    import(&host, &organization.auth, "Microsoft Exchange Server Auth Certificate", vendor_link(&container))?;
    let management = management(&host, place, now)?;

    let record = |endpoint: &str, thumbprint, store: &str, app_id: &str| SslRecord {
        kind: RecordKind::Address,
        endpoint: endpoint.to_owned(),
        thumbprint: Some(thumbprint),
        store: Some(store.to_owned()),
        app_id: Fact::Known(app_id.to_owned()),
        parameters: Fact::Known(SslParameters::default()),
    };
    host.write_records(&[
        record("0.0.0.0:443", front_end, "My", IIS_APP_ID),
        record("0.0.0.0:444", back_end, "MY", IIS_APP_ID),
        record("0.0.0.0:8172", management, "MY", WMSVC_APP_ID),
        record("127.0.0.1:443", front_end, "My", IIS_APP_ID),
    ])?;
    keep(folder)
}

/// A machine on which nothing is wrong.
fn machine(place: &Place, organization: &Organization, now: Timestamp) -> Result<Machine> {
    // Whole seconds, as Windows writes events and the wire keeps them.
    let ago = |hours: i64| Timestamp::from_second(now.as_second() - hours * 3_600);
    let pools = ["MSExchangeOWAAppPool", "MSExchangeECPAppPool", "MSExchangeServicesAppPool", "MSExchangePowerShellAppPool"];
    let tls = ["TLS 1.2\\Client\\Enabled", "TLS 1.2\\Server\\Enabled"];
    Ok(Machine {
        booted: Fact::Known(ago(24 * 9)?),
        clock_ahead: Fact::Known(0),
        maintenance: Fact::Known(Vec::new()),
        last_setup: Fact::Known(Some(ago(24 * 200)?)),
        iis_redirected: Fact::Known(None),
        app_pools: Fact::Known(pools.map(|name| (name.to_owned(), AppPool::Started)).into()),
        tls: Fact::Known(TlsPolicy { values: tls.map(|name| (name.to_owned(), 1)).into(), changed: Some(ago(24 * 200)?) }),
        auth: Fact::Known(AuthCertificates { current: Some(Thumbprint::of(&organization.auth.der.0)), next: None }),
        transport: Fact::Known(None),
        forest: Fact::Known(place.fqdn.split_once('.').map_or_else(String::new, |(_, domain)| domain.to_owned())),
        events: Fact::Known(Vec::new()),
    })
}

/// The directory names this certificate as the internal transport certificate, as Setup has it.
pub(super) fn uses_for_transport(host: &Folder, thumbprint: Thumbprint) -> Result<()> {
    let mut file = host.host()?;
    file.machine.transport = Fact::Known(Some(thumbprint));
    Ok(host.write_host(&file)?)
}

/// Makes a back-end certificate as Setup does, with a key container of its own and a copy in Root.
pub(super) fn back_end(host: &Folder, place: &Place, not_before: Timestamp, months: u32) -> Result<Thumbprint> {
    let container = Uuid::new_v4().hyphenated().to_string();
    let mut access = Key::default_access();
    access.push(Access { sid: NETWORK_SERVICE.to_owned(), mask: READ });
    let key = new_key()?.with_access(access);
    let der = Der(Profile::vendor(place.name.as_str(), &place.fqdn, not_before, months)?.self_signed(&key)?);
    host.write_key(&container, &key)?;
    add(host, &Store::Root, der.clone(), Some(FRIENDLY_NAME), None)?;
    add(host, &Store::My, der, Some(FRIENDLY_NAME), Some(vendor_link(&container)))
}

/// Every file of the host that is not written by http.sys alone, by its path in the host's folder.
pub(super) fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut take = |name: String| -> Result<()> {
        if let Some(bytes) = file::read(&folder.join(&name))? {
            found.insert(name, bytes);
        }
        Ok(())
    };
    for name in ["host.json", "applicationHost.config", "httpsys.json"] {
        take(name.to_owned())?;
    }
    for name in file::names(&folder.join("keys"))?.unwrap_or_default() {
        take(format!("keys/{name}"))?;
    }
    for store in file::names(&folder.join("stores"))?.unwrap_or_default() {
        for name in file::names(&folder.join("stores").join(&store))?.unwrap_or_default() {
            take(format!("stores/{store}/{name}"))?;
        }
    }
    Ok(found)
}

/// Where the host is kept as Setup made it.
pub(super) fn kept(folder: &Path) -> std::path::PathBuf {
    let name = folder.file_name().unwrap_or_default();
    folder.parent().unwrap_or(folder).join("as-installed").join(name)
}

fn keep(folder: &Path) -> Result<()> {
    let kept = kept(folder);
    for (name, bytes) in files(folder)? {
        file::write(&kept.join(name), &bytes)?;
    }
    Ok(())
}

pub(super) fn add(host: &Folder, store: &Store, der: Der, name: Option<&str>, key: Option<KeyLink>) -> Result<Thumbprint> {
    let thumbprint = Thumbprint::of(&der.0);
    host.write_certificate(store, &StoredCertificate { der, friendly_name: name.map(str::to_owned), key, archived: false })?;
    Ok(thumbprint)
}

fn import(host: &Folder, from: &WithKey, name: &str, link: KeyLink) -> Result<Thumbprint> {
    host.write_key(&link.container, &from.key()?)?;
    add(host, &Store::My, from.der.clone(), Some(name), Some(link))
}

/// The certificate of the web management service: ten years, in a container whose name has spaces.
fn management(host: &Folder, place: &Place, now: Timestamp) -> Result<Thumbprint> {
    let common_name = format!("WMSvc-SHA2-{}", place.name);
    let not_before = now - (210 * 24).hours();
    let mut profile = Profile::vendor(&common_name, &common_name, not_before, 120)?;
    profile.names.truncate(1);
    let key = new_key()?;
    let link = vendor_link("WMSvc Certificate Key Container");
    host.write_key(&link.container, &key)?;
    add(host, &Store::My, Der(profile.self_signed(&key)?), Some("WMSVC-SHA2"), Some(link))
}
