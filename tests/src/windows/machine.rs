//! A machine on which Exchange was installed, and what befalls it from outside.
//!
//! What an installation does, the driver's own calls do here, for there are no others; what an administrator breaks is broken behind
//! their back, in the registry, where Wine keeps stores and keys.

use std::fmt::Display;
use std::fs;

use agent::driver::mint::Profile;
use agent::driver::system::{HostKey, Opened, Stored, System};
use agent::driver::windows::WindowsDriver;
use anyhow::{Context, Result, bail};
use jiff::{Timestamp, ToSpan};
use policy::decide::vendor_link;
use policy::id::Thumbprint;
use policy::plan::Der;
use policy::report::{Access, Fact, IIS_APP_ID, RecordKind, SslParameters, SslRecord, Store};
use uuid::Uuid;
use windows_registry::{Key, LOCAL_MACHINE, Type};

/// The domain of the machine.
pub const DOMAIN: &str = "lab.test";

/// Where IIS keeps its configuration.
const CONFIGURATION: &str = r"C:\windows\system32\inetsrv\config";

const STORES: &str = r"SOFTWARE\Microsoft\SystemCertificates";
const KEYS: &str = r"SOFTWARE\Wine\Crypto\RSA";
const RECORDS: &str = r"SYSTEM\CurrentControlSet\Services\HTTP\Parameters";
/// What is said to the doubles, each in a key of its name.
const DOUBLES: &str = r"SOFTWARE\TestDouble";
/// The class of IIS' administration objects.
const ADMINISTRATION: &str = r"SOFTWARE\Classes\CLSID\{228fb8f7-fb53-4fd5-8c7b-ff59de606c5b}\InprocServer32";
const SETUP: &str = r"SOFTWARE\Microsoft\ExchangeServer\v15";
/// The state of a site or pool that runs, in IIS' own number.
const STARTED: u32 = 1;
/// How long a certificate of Setup's is valid.
pub(super) const MONTHS: u32 = 60;

const NAMES: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";

/// A machine with Exchange on it: its front end and its back end, each with a certificate of its own.
#[derive(Debug)]
pub struct Machine {
    /// What is on 444.
    pub back_end: Thumbprint,
}

impl Machine {
    /// Installs Exchange on this machine, whatever was there before.
    ///
    /// # Errors
    /// When a call fails that works on every machine.
    pub fn install() -> Result<Self> {
        clear();
        LOCAL_MACHINE.create(NAMES)?.set_string("Domain", DOMAIN)?;
        let setup = LOCAL_MACHINE.create(format!(r"{SETUP}\Setup"))?;
        for (name, value) in [("MsiProductMajor", 15), ("MsiProductMinor", 1), ("MsiBuildMajor", 2507), ("MsiBuildMinor", 6)] {
            setup.set_u32(name, value)?;
        }
        for role in ["MailboxRole", "ClientAccessRole"] {
            LOCAL_MACHINE.create(format!(r"{SETUP}\{role}"))?.set_string("ConfiguredVersion", "15.1.2507.6")?;
        }
        fs::create_dir_all(CONFIGURATION)?;
        fs::write(format!(r"{CONFIGURATION}\applicationHost.config"), include_str!("../lab/applicationHost.config"))?;
        let class = LOCAL_MACHINE.create(ADMINISTRATION)?;
        class.set_string("", "nativerd.dll")?;
        class.set_string("ThreadingModel", "Both")?;
        for site in ["Default Web Site", "Exchange Back End"] {
            LOCAL_MACHINE.create(format!(r"{DOUBLES}\nativerd\sites"))?.set_u32(site, STARTED)?;
        }
        for pool in ["MSExchangeOWAAppPool", "MSExchangeECPAppPool"] {
            LOCAL_MACHINE.create(format!(r"{DOUBLES}\nativerd\pools"))?.set_u32(pool, STARTED)?;
        }

        let driver = WindowsDriver::new();
        let host = agent::driver::windows::ffi::machine::netbios_name()?;
        let full = driver.full_name()?;
        let begin = now() - (200 * 24).hours();
        let back_end = certificate(&driver, (&host, &full), begin, true)?;
        let front_end = certificate(&driver, (&host, "mail.lab.test"), begin, false)?;
        for (endpoint, thumbprint) in [("0.0.0.0:443", front_end), ("0.0.0.0:444", back_end), ("127.0.0.1:443", front_end)] {
            driver.set_record(&SslRecord {
                kind: RecordKind::Address,
                endpoint: endpoint.to_owned(),
                thumbprint: Some(thumbprint),
                store: Some("MY".to_owned()),
                app_id: Fact::Known(IIS_APP_ID.to_owned()),
                parameters: Fact::Known(SslParameters::default()),
            })?;
        }
        directory(&host, back_end)?;
        Ok(Self { back_end })
    }
}

/// What Setup writes into the directory: which certificates transport and OAuth use.
fn directory(host: &str, transport: Thumbprint) -> Result<()> {
    const CONFIGURATION: &str = "CN=Configuration,DC=lab,DC=test";
    let object = |name: &str, class: &str, cn: &str| -> Result<Key> {
        let key = LOCAL_MACHINE.create(format!(r"{DOUBLES}\wldap32\objects\{name}"))?;
        key.set_string("objectClass", class)?;
        key.set_string("cn", cn)?;
        Ok(key)
    };
    let exchange = format!("CN=Microsoft Exchange,CN=Services,{CONFIGURATION}");
    let value = |key: &Key, attribute: &str, bytes: &[u8]| key.set_bytes(format!("{attribute}#0"), Type::Bytes, bytes);
    value(&object("rootDSE", "top", "")?, "configurationNamingContext", CONFIGURATION.as_bytes())?;
    object(&exchange, "msExchConfigurationContainer", "Microsoft Exchange")?;
    let server = object(&format!("CN={host},CN=Servers,CN=Lab,{exchange}"), "msExchExchangeServer", host)?;
    let stored = WindowsDriver::new().stored(&Store::My)?;
    let named = stored.into_iter().find(|stored| Thumbprint::of(&stored.der.0) == transport);
    value(&server, "msExchServerInternalTLSCert", &named.context("the certificate that was just made")?.der.0)?;
    let auth = object(&format!("CN=Auth Configuration,CN=Lab,{exchange}"), "msExchAuthAuthConfig", "Auth Configuration")?;
    Ok(value(&auth, "msExchAuthCertificateThumbprint", format!("0:{}", "A0".repeat(20)).as_bytes())?)
}

/// A certificate of 60 months with a key of its own in `My`, and if Setup made it in Root.
pub(super) fn certificate(driver: &WindowsDriver, names: (&str, &str), begin: Timestamp, setup: bool) -> Result<Thumbprint> {
    let container = Uuid::new_v4().hyphenated().to_string();
    driver.create_key(&container, 2048)?;
    let Opened::Key(key) = driver.key(&container)? else { bail!("the key that was just made does not open") };
    if setup {
        let mut access = key.access()?;
        access.push(Access { sid: "S-1-5-20".to_owned(), mask: 0x0012_0089 });
        driver.grant_key(&container, &access)?;
    }
    let der = Der(Profile::vendor(names.0, names.1, begin, MONTHS)?.self_signed(&key)?);
    let thumbprint = Thumbprint::of(&der.0);
    let friendly_name = Some("Microsoft Exchange".to_owned());
    let entry = Stored { der, friendly_name, key: Some(vendor_link(&container)), archived: false };
    driver.add(&Store::My, &entry)?;
    if setup {
        driver.add(&Store::Root, &Stored { key: None, ..entry })?;
    }
    Ok(thumbprint)
}

/// The machine's clock.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

fn clear() {
    for key in [
        format!(r"{STORES}\MY\Certificates"),
        format!(r"{STORES}\Root\Certificates"),
        format!(r"{RECORDS}\SslBindingInfo"),
        format!(r"{RECORDS}\SslSniBindingInfo"),
        KEYS.to_owned(),
        DOUBLES.to_owned(),
        SETUP.to_owned(),
    ] {
        // Not there is as good as removed.
        let _ = LOCAL_MACHINE.remove_tree(key);
    }
}

/// Somebody deletes a certificate.
///
/// # Errors
/// When it is not there.
pub fn delete_certificate(store: &Store, thumbprint: Thumbprint) -> Result<()> {
    gone(&format!(r"{STORES}\{store}\Certificates\{thumbprint}"))
}

/// Somebody deletes a private key.
///
/// # Errors
/// When it is not there.
pub fn delete_key(container: &str) -> Result<()> {
    gone(&format!(r"{KEYS}\{container}"))
}

/// Somebody writes another store name into a record, behind http.sys' back.
///
/// # Errors
/// When the registry cannot be written.
pub fn rename_store(endpoint: &str, store: &str) -> Result<()> {
    LOCAL_MACHINE.create(format!(r"{RECORDS}\SslBindingInfo\{endpoint}"))?.set_string("SslCertStoreName", store)?;
    Ok(())
}

/// Lets a call of a double fail: so many times, or until the machine is installed anew.
///
/// # Errors
/// When the registry cannot be written.
pub fn fail(double: &str, call: &str, code: u32, times: Option<u32>) -> Result<()> {
    say(double, &format!("fail_{call}"), code, times)
}

/// Lets a call of a double say so many times that it did what it did not do.
///
/// # Errors
/// When the registry cannot be written.
pub fn lie(double: &str, call: &str, times: u32) -> Result<()> {
    Ok(control(double)?.set_string(format!("lie_{call}"), times.to_string())?)
}

/// Lets a call of a double take so long: so many times, or until the machine is installed anew.
///
/// # Errors
/// When the registry cannot be written.
pub fn slow(double: &str, call: &str, millis: u64, times: Option<u32>) -> Result<()> {
    say(double, &format!("slow_{call}"), millis, times)
}

/// A value for so many calls, or for all.
fn say(double: &str, name: &str, value: impl Display, times: Option<u32>) -> Result<()> {
    let value = times.map_or_else(|| value.to_string(), |times| format!("{value},{times}"));
    Ok(control(double)?.set_string(name, value)?)
}

fn control(double: &str) -> Result<Key> {
    Ok(LOCAL_MACHINE.create(format!(r"{DOUBLES}\{double}"))?)
}

fn gone(key: &str) -> Result<()> {
    LOCAL_MACHINE.remove_tree(key).with_context(|| key.to_owned())
}
