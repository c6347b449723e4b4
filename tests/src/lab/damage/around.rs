//! What befalls the configuration, the services and the installation around 444.

use agent::driver::lab::file;
use agent::driver::lab::folder::HostFile;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use policy::report::Setup;

use super::super::server::Server;

/// The line of the back end's https binding.
pub(super) const BINDING: &str = "                    <binding protocol=\"https\" bindingInformation=\"*:444:\" />\n";

impl Server {
    pub(super) fn host(&self, change: impl FnOnce(&mut HostFile)) -> Result<()> {
        let mut host = self.files().host()?;
        change(&mut host);
        Ok(self.files().write_host(&host)?)
    }

    /// Writes `new` for `old` in applicationHost.config.
    pub(super) fn configure(&self, old: &str, new: &str) -> Result<()> {
        let path = self.folder().join("applicationHost.config");
        let text = String::from_utf8(file::read(&path)?.context("applicationHost.config")?)?;
        ensure!(text.contains(old), "expected {old:?} in {}, found none: it is changed already", path.display());
        Ok(file::write(&path, text.replacen(old, new, 1).as_bytes())?)
    }

    /// What an old tool left under the back-end site: the certificate of the web management service, say.
    pub(super) fn stale_metabase(&self) -> Result<()> {
        let records = self.records()?;
        let other = records.iter().find(|record| record.port() == Some(8172)).and_then(|record| record.thumbprint);
        let hash = BASE64_STANDARD.encode(other.context("no certificate on 8172")?.0);
        let property = |id: u32, kind: &str, value: &str| {
            format!("<property id=\"{id}\" dataType=\"{kind}\" userType=\"1\" attributes=\"None\" value=\"{value}\" />")
        };
        let key = format!(
            "<key path=\"LM/W3SVC/2\">{}{}</key></customMetadata>",
            property(5506, "Binary", &hash),
            property(5511, "String", "MY")
        );
        self.configure("</customMetadata>", &key)
    }

    pub(super) fn stop_services(&self) -> Result<()> {
        self.host(|host| {
            for (name, service) in &mut host.services {
                service.running = !name.starts_with("MSExchange");
            }
        })
    }

    pub(super) fn security_update(&self) -> Result<()> {
        self.host(|host| {
            host.setup = Setup::Running("msiexec.exe with Exchange2016-KB5000000-x64-en.msp".to_owned());
            for service in host.services.values_mut() {
                service.running = false;
                service.disabled = true;
            }
        })?;
        let record = self.bound()?;
        Ok(self.http_sys()?.delete(&record)?)
    }
}
