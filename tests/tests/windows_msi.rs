//! The installer of the agent: what is in it, and what it does to a Windows machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proto::token::{JoinToken, Secret};
use tests::wine::installer::{self, code, package};
use tests::wine::{self, Prefix, State};

const SERVICE: &str = "BackstayAgent";
const EXE: &str = r"C:\Program Files\Backstay\backstay-agent.exe";
const DATA: &str = r"C:\ProgramData\Backstay";

/// A machine, and installers of two versions.
struct Host {
    machine: Prefix,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self { machine: Prefix::new().expect("a machine"), folder: tempfile::tempdir().expect("a folder") }
    }

    fn msi(&self, version: &str) -> PathBuf {
        let msi = self.folder.path().join(format!("backstay-agent-{version}-x64.msi"));
        if msi.exists() { msi } else { package(version, self.folder.path(), &[]).expect("packed") }
    }

    /// Installs, and stops what runs before, as Windows' own installer does and waits for.
    fn installs(&self, version: &str, properties: &[&str]) -> i32 {
        self.stops();
        self.machine.msiexec("/i", &self.msi(version), properties).expect("ends").code
    }

    fn uninstalls(&self, version: &str, properties: &[&str]) -> i32 {
        self.stops();
        self.machine.msiexec("/x", &self.msi(version), properties).expect("ends").code
    }

    fn stops(&self) {
        if self.machine.service(SERVICE).is_ok_and(|state| state != State::Stopped) {
            self.machine.stop_service(SERVICE).expect("stops");
        }
    }

    fn data(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.machine.path(&format!(r"{DATA}\{name}")).expect("a path")).ok()
    }

    fn writes(&self, name: &str, text: &str) {
        self.machine.write(&format!(r"{DATA}\{name}"), text).expect("written");
    }

    fn has(&self, path: &str) -> bool {
        self.machine.path(path).expect("a path").exists()
    }

    /// What the registry has below a key, as text; nothing where there is no such key.
    fn registry(&self, key: &str) -> String {
        let said = self.machine.run("reg", &["query", key, "/s"]).expect("ends");
        if said.code == 0 { said.stdout.replace('\r', "") } else { String::new() }
    }

    fn is_gone(&self) {
        assert!(self.machine.service(SERVICE).is_err() && !self.has(EXE), "nothing of it is left");
        assert_eq!(self.registry(r"HKLM\SOFTWARE\Backstay"), "");
        assert!(!self.registry(r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog").contains(SERVICE));
    }
}

/// A join token whose controllers are nowhere.
fn token() -> String {
    let token = JoinToken {
        estate: "contoso".parse().expect("a name"),
        server: "EX1".parse().expect("a name"),
        ca: std::iter::once(policy::id::Sha256([1; 32])).collect(),
        root: policy::id::Sha256([2; 32]),
        secret: Secret::generate().expect("random"),
        controllers: vec!["127.0.0.1:1".parse().expect("an address")],
        agents: vec!["127.0.0.1:1".parse().expect("an address")],
    };
    token.encode().to_string()
}

/// Is the text in the file, in the encoding that Wine writes or in the one that Windows does?
fn mentions(file: &Path, text: &str) -> bool {
    let bytes = std::fs::read(file).expect("reads");
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &wide].iter().any(|text| bytes.windows(text.len()).any(|found| found == *text))
}

#[test]
fn outside_windows_msi_has_what_windows_installer_needs_to_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let msi = package("1.2.3", folder.path(), &[]).expect("packed");
    let rows = |name| installer::table(&msi, name).expect("a table");
    let pairs = |name, key: usize, value: usize| -> BTreeMap<String, String> {
        rows(name).into_iter().map(|row| (row[key].clone(), row[value].clone())).collect()
    };

    let properties = pairs("Property", 0, 1);
    let property = |name: &str| properties.get(name).map_or("", String::as_str);
    // For ever: by this the next version finds this one.
    assert_eq!(property("UpgradeCode"), "{5B0C2C0E-6C1F-4C0B-9C1D-3E7B0B5E7A44}");
    assert_eq!((property("ProductVersion"), property("ALLUSERS"), property("REBOOT")), ("1.2.3", "1", "ReallySuppress"));
    assert_eq!(property("MsiHiddenProperties"), "JOIN_TOKEN_FILE");
    let secure: Vec<_> = property("SecureCustomProperties").split(';').collect();
    for name in ["APPLICATIONFOLDER", "CONFIG_FILE", "CONTROLLER_URL", "JOIN_TOKEN_FILE", "PURGE", "WIX_UPGRADE_DETECTED"] {
        assert!(secure.contains(&name), "{name}: {secure:?}");
    }

    let conditions = pairs("LaunchCondition", 0, 1);
    assert!(conditions.contains_key("NOT WIX_DOWNGRADE_DETECTED"));
    assert!(conditions.keys().any(|condition| condition.contains("VersionNT = 601 AND ServicePackLevel >= 1")));
    // 64 bits; the log of events is made once, and stays.
    let components = pairs("Component", 0, 3);
    assert_eq!(["Agent", "Data", "Log"].map(|name| &*components[name]), ["256", "256", "404"]);
    assert_eq!(pairs("Component", 0, 2)["Data"], "DataFolder");
    let directories = pairs("Directory", 0, 1);
    assert_eq!(
        (&*directories["APPLICATIONFOLDER"], &*directories["DataFolder"]),
        ("ProgramFiles64Folder", "CommonAppDataFolder")
    );
    assert_eq!(pairs("File", 0, 4)["AgentExe"], "1.2.3.0");

    // Its own process, automatic, under LocalSystem; told to stop and removed, and waited for.
    let service = &rows("ServiceInstall")[0];
    assert_eq!((&*service[1], &*service[3], &*service[4], &*service[8]), (SERVICE, "16", "2", ""));
    let control = &rows("ServiceControl")[0];
    assert_eq!((&*control[1], &*control[2], &*control[4]), (SERVICE, "163", "1"));
    assert_eq!(rows("MsiServiceConfigFailureActions")[0][6..8], ["1[~]1[~]1", "10000[~]60000[~]60000"]);
    let configured = pairs("MsiServiceConfig", 3, 4);
    assert_eq!((&*configured["4"], &*configured["5"], configured.get("3")), ("1", "1", None), "on failure, SID, not delayed");
    assert_eq!(rows("MsiLockPermissionsEx")[0][1..4], ["DataFolder", "CreateFolder", "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"]);

    let types = pairs("CustomAction", 0, 1);
    let (installed, deferred, rollback, hidden) = (18, 1024 + 2048, 1024 + 256 + 64 + 2048, 8192);
    assert_eq!(types["Configure"], (installed + deferred + hidden).to_string());
    assert_eq!(types["Unconfigure"], (installed + rollback + hidden).to_string());
    assert_eq!(types["Leave"], (installed + deferred).to_string());
    let at: BTreeMap<_, u32> =
        pairs("InstallExecuteSequence", 0, 2).into_iter().map(|(k, v)| (k, v.parse().expect("a number"))).collect();
    let order = ["InstallInitialize", "RemoveExistingProducts", "StopServices", "Leave", "DeleteServices", "InstallFiles"];
    let then = ["InstallServices", "MsiConfigureServices", "Unconfigure", "Configure", "StartServices", "InstallFinalize"];
    assert!(order.iter().chain(&then).map(|action| at[*action]).is_sorted(), "{at:?}");
}

#[test]
fn outside_windows_msi_installs_upgrades_and_uninstalls_and_leaves_444_as_it_is() {
    let host = Host::new();
    host.machine.doubles().expect("in place");
    let record = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo\0.0.0.0:444";
    host.machine.import(&format!("[{record}]\n\"SslCertStoreName\"=\"MY\"\n\"SslCertHash\"=hex:01,02\n")).expect("written");
    let keys = [record, r"HKLM\SOFTWARE\Microsoft\SystemCertificates", r"HKLM\SOFTWARE\Wine\Crypto"];
    // Wine makes a machine's stores, and fills Root, when somebody first looks into them.
    let agent = std::fs::read(wine::built("backstay-agent.exe").expect("is built")).expect("reads");
    host.machine.write(r"C:\test\agent.exe", agent).expect("written");
    assert_eq!(host.machine.run(r"C:\test\agent.exe", &["observe"]).expect("ends").code, 0);
    let before = keys.map(|key| host.registry(key));
    assert!(before[0].contains("SslCertHash"), "{}", before[0]);

    let token = token();
    host.machine.write(r"C:\deploy\ex1.token", &token).expect("written");
    let asked = ["CONTROLLER_URL=https://127.0.0.1:1", r"JOIN_TOKEN_FILE=C:\deploy\ex1.token"];
    assert_eq!(host.installs("1.0.0", &asked), code::DONE);
    host.machine.wait_service(SERVICE, State::Running).expect("runs");
    let service = host.registry(r"HKLM\SYSTEM\CurrentControlSet\Services\BackstayAgent");
    let value = |name: &str| {
        let line = service.lines().find(|line| line.trim().starts_with(&format!("{name} "))).unwrap_or_default();
        line.split("    ").last().unwrap_or_default().trim().to_owned()
    };
    // Windows' own installer puts the quotes; Wine's does not.
    assert_eq!(value("ImagePath").replace('"', ""), format!("{EXE} run --service"));
    assert_eq!((&*value("ObjectName"), &*value("Start")), ("LocalSystem", "0x2"));
    let source = host.registry(r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Backstay\BackstayAgent");
    assert!(source.contains(EXE) && source.contains("0x7"), "{source}");
    let configured = host.data("agent.toml").expect("a configuration");
    assert!(configured.contains(r#"enrolment = ["127.0.0.1:1"]"#), "{configured}");
    assert_eq!(host.data("join-token").as_deref(), Some(&*token));
    assert!(!mentions(&host.machine.path(r"C:\msi.log").expect("a path"), &token), "no secret is logged");

    // What is the administrator's and the agent's stays through upgrade and removal.
    let (mine, kept) = (format!("{configured}# mine\n"), "a reason");
    host.writes("agent.toml", &mine);
    host.writes(r"agent\hold", kept);
    host.writes("controller.toml", "");
    assert_eq!(host.installs("1.1.0", &["CONTROLLER_URL=elsewhere:7444"]), code::DONE);
    host.machine.wait_service(SERVICE, State::Running).expect("runs");
    assert_eq!(host.installs("1.0.0", &[]), code::FATAL, "an older one is refused");
    assert!(host.has(EXE));
    assert_eq!(host.uninstalls("1.1.0", &[]), code::DONE);
    host.is_gone();
    assert_eq!((host.data("agent.toml"), host.data(r"agent\hold")), (Some(mine), Some(kept.to_owned())));

    assert_eq!(host.installs("1.1.0", &[]), code::DONE);
    host.writes(r"agent\journal", "a plan");
    assert_eq!(host.uninstalls("1.1.0", &["PURGE=1"]), code::FAILED, "a plan is at work");
    assert!(host.data("setup.log").expect("a log").contains("a plan is at work"));
    std::fs::remove_file(host.machine.path(&format!(r"{DATA}\agent\journal")).expect("a path")).expect("removed");
    assert_eq!(host.uninstalls("1.1.0", &["PURGE=1"]), code::DONE);
    host.is_gone();
    let left: Vec<_> = std::fs::read_dir(host.machine.path(DATA).expect("a path")).expect("reads").collect();
    assert!(left.len() == 1 && host.data("controller.toml").is_some(), "only what is not the agent's: {left:?}");

    assert_eq!(keys.map(|key| host.registry(key)), before, "444 is as it was");
}

#[test]
fn outside_windows_msi_that_cannot_configure_or_start_the_agent_takes_back_what_it_did() {
    let host = Host::new();
    host.machine.write(r"C:\deploy\token", "backstay-join-1.SECRET").expect("written");
    host.machine.write(r"C:\deploy\agent.toml", "look_evry = \"60s\"\n").expect("written");
    let both = ["CONTROLLER_URL=ctl", r"CONFIG_FILE=C:\deploy\agent.toml"];
    assert_eq!(host.installs("1.0.0", &both), code::FATAL, "one of the two");
    host.is_gone();
    for (property, reason) in [
        ("CONTROLLER_URL=http://ctl:1", "CONTROLLER_URL: "),
        (r"CONFIG_FILE=C:\deploy\agent.toml", "look_evry"),
        (r"JOIN_TOKEN_FILE=C:\deploy\token", "JOIN_TOKEN_FILE: "),
        (r"JOIN_TOKEN_FILE=C:\deploy\none", "found none"),
        ("JOIN_TOKEN_FILE=backstay-join-1.SECRET", "something else"),
    ] {
        assert_eq!(host.installs("1.0.0", &[property]), code::FAILED, "{property}");
        host.is_gone();
        let log = host.data("setup.log").expect("a log");
        assert!(log.lines().last().is_some_and(|line| line.contains(reason)) && !log.contains("SECRET"), "{log}");
        assert_eq!((host.data("agent.toml"), host.data("join-token")), (None, None));
    }

    // A service that does not start: with the configuration that an administrator left there.
    host.writes("agent.toml", "look_evry = \"60s\"\n");
    assert_eq!(host.installs("1.0.0", &[]), code::FAILED);
    host.is_gone();
    assert!(host.data("agent.toml").is_some(), "it was there before");
}
