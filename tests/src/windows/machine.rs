//! A machine on which Exchange was installed, and what befalls it from outside.
//!
//! What an installation does, the driver's own calls do here, for there are no others; what an administrator breaks is broken behind
//! their back, in the registry, where Wine keeps stores and keys.

use std::fs;
use std::process::Command;

use agent::driver::mint::Profile;
use agent::driver::system::{HostKey, Opened, Stored, System};
use agent::driver::windows::WindowsDriver;
use anyhow::{Context, Result, bail, ensure};
use jiff::{Timestamp, ToSpan};
use policy::decide::vendor_link;
use policy::id::Thumbprint;
use policy::plan::Der;
use policy::report::{Access, Fact, IIS_APP_ID, RecordKind, SslParameters, SslRecord, Store};
use uuid::Uuid;

/// The domain of the machine.
pub const DOMAIN: &str = "lab.test";

/// Where IIS keeps its configuration.
const CONFIGURATION: &str = r"C:\windows\system32\inetsrv\config";

const STORES: &str = r"HKLM\SOFTWARE\Microsoft\SystemCertificates";
const KEYS: &str = r"HKLM\SOFTWARE\Wine\Crypto\RSA";
const RECORDS: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\HTTP\Parameters";
const DOUBLE: &str = r"HKLM\SOFTWARE\TestDouble\httpapi";
const SETUP: &str = r"HKLM\SOFTWARE\Microsoft\ExchangeServer\v15";
const NAMES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";

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
        clear()?;
        reg(&["add", NAMES, "/v", "Domain", "/d", DOMAIN])?;
        for (name, value) in [("MsiProductMajor", 15), ("MsiProductMinor", 1), ("MsiBuildMajor", 2507), ("MsiBuildMinor", 6)] {
            reg(&["add", &format!(r"{SETUP}\Setup"), "/v", name, "/t", "REG_DWORD", "/d", &value.to_string()])?;
        }
        for role in ["MailboxRole", "ClientAccessRole"] {
            reg(&["add", &format!(r"{SETUP}\{role}"), "/v", "ConfiguredVersion", "/d", "15.1.2507.6"])?;
        }
        fs::create_dir_all(CONFIGURATION)?;
        fs::write(format!(r"{CONFIGURATION}\applicationHost.config"), include_str!("../lab/applicationHost.config"))?;

        let driver = WindowsDriver::new();
        let host = agent::driver::windows::ffi::machine::netbios_name()?;
        let full = driver.full_name()?;
        let back_end = certificate(&driver, &host, &full, true)?;
        let front_end = certificate(&driver, &host, "mail.lab.test", false)?;
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
        Ok(Self { back_end })
    }
}

/// A certificate with a key of its own in `My`, and if Setup made it in Root.
fn certificate(driver: &WindowsDriver, host: &str, full: &str, setup: bool) -> Result<Thumbprint> {
    let container = Uuid::new_v4().hyphenated().to_string();
    driver.create_key(&container, 2048)?;
    let Opened::Key(key) = driver.key(&container)? else { bail!("the key that was just made does not open") };
    if setup {
        let mut access = key.access()?;
        access.push(Access { sid: "S-1-5-20".to_owned(), mask: 0x0012_0089 });
        driver.grant_key(&container, &access)?;
    }
    #[expect(clippy::disallowed_methods, reason = "a machine has a clock")]
    let not_before = Timestamp::now() - (200 * 24).hours();
    let der = Der(Profile::vendor(host, full, not_before, 60)?.self_signed(&key)?);
    let thumbprint = Thumbprint::of(&der.0);
    let friendly_name = Some("Microsoft Exchange".to_owned());
    let entry = Stored { der, friendly_name, key: Some(vendor_link(&container)), archived: false };
    driver.add(&Store::My, &entry)?;
    if setup {
        driver.add(&Store::Root, &Stored { key: None, ..entry })?;
    }
    Ok(thumbprint)
}

fn clear() -> Result<()> {
    for key in [
        format!(r"{STORES}\MY\Certificates"),
        format!(r"{STORES}\Root\Certificates"),
        format!(r"{RECORDS}\SslBindingInfo"),
        format!(r"{RECORDS}\SslSniBindingInfo"),
        KEYS.to_owned(),
        DOUBLE.to_owned(),
        SETUP.to_owned(),
    ] {
        // Not there is as good as removed.
        let _ = reg(&["delete", &key]);
    }
    Ok(())
}

/// Somebody deletes a certificate.
///
/// # Errors
/// When it is not there.
pub fn delete_certificate(store: &Store, thumbprint: Thumbprint) -> Result<()> {
    reg(&["delete", &format!(r"{STORES}\{store}\Certificates\{thumbprint}")])
}

/// Somebody deletes a private key.
///
/// # Errors
/// When it is not there.
pub fn delete_key(container: &str) -> Result<()> {
    reg(&["delete", &format!(r"{KEYS}\{container}")])
}

/// Lets a call of the double of httpapi fail.
///
/// # Errors
/// When the registry cannot be written.
pub fn fail(call: &str, code: u32, times: Option<u32>) -> Result<()> {
    let value = times.map_or_else(|| code.to_string(), |times| format!("{code}, {times}"));
    reg(&["add", DOUBLE, "/v", &format!("fail_{call}"), "/d", &value])
}

/// `reg.exe` with its answer.
fn reg(arguments: &[&str]) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "an administrator at work on a test machine")]
    let done = Command::new("reg.exe").args(arguments).arg("/f").output().context("reg.exe")?;
    ensure!(done.status.success(), "reg {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(())
}
