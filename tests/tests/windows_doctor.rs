//! `backstay-agent.exe doctor` on Windows machines: on a bare one it says what is missing, on one with Exchange it rehearses and
//! leaves nothing behind. A whole host, whose 444 serves, is examined in `windows_driver`, where one can be made.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use policy::id::Thumbprint;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tests::process::{self, Guard, Process};
use tests::wait::{self, when};
use tests::wine::{self, Prefix};

const LIMIT: Duration = Duration::from_secs(120);

const EXE: &str = r"C:\Backstay\backstay-agent.exe";

/// Accepts on 444 and never says a word: what a hung IIS looks like.
const SILENT: &str = r#"
#include <winsock2.h>
#include <stdio.h>
int main(void) {
    WSADATA data;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(444), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(socket_, (struct sockaddr *)&address, sizeof address) || listen(socket_, 16)) return 1;
    puts("listens");
    fflush(stdout);
    Sleep(INFINITE);
}
"#;

/// A machine with the agent's program and the doubles. Its network is its own: nobody else listens on its 444.
fn machine() -> Prefix {
    let machine = Prefix::isolated().unwrap();
    machine.write(EXE, std::fs::read(wine::built("backstay-agent.exe").unwrap()).unwrap()).unwrap();
    machine.doubles().unwrap();
    machine
}

fn doctor(machine: &Prefix, arguments: &[&str]) -> (i32, Value) {
    let mut command = machine.command(EXE);
    command.args(["doctor", "-o", "json"]).args(arguments);
    let ended = wine::ended(&mut command, LIMIT).unwrap();
    let json = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended.code, json)
}

/// Outcome, words and code of a check.
fn check<'a>(doctor: &'a Value, name: &str) -> (&'a str, String) {
    let found = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {doctor:#}"));
    (found["outcome"].as_str().unwrap(), found.to_string())
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hex:{}", digits.join(","))
}

/// Exchange as far as the registry tells of it: version, role, a certificate in MY without its key, and its record on 444.
fn install(machine: &Prefix) -> Thumbprint {
    let key = KeyPair::generate().unwrap();
    let der = CertificateParams::new(["ex1.lab.test".to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec();
    let thumbprint = Thumbprint::of(&der);
    // As a store lies in the registry: properties with number, flag and length; 32 is the certificate itself.
    let blob =
        [&32_u32.to_le_bytes(), &1_u32.to_le_bytes(), &u32::try_from(der.len()).unwrap().to_le_bytes(), der.as_slice()].concat();
    let iis = [0xe1, 0x81, 0xc3, 0x4d, 0x4b, 0xe1, 0x21, 0x4a, 0xb0, 0x22, 0x59, 0xfc, 0x66, 0x9b, 0x09, 0x14];
    let (blob, hash, app) = (hex(&blob), hex(&thumbprint.0), hex(&iis));
    let exchange = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\ExchangeServer\v15";
    let system = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services";
    machine
        .import(&format!(
            "[{exchange}\\Setup]\n\"MsiProductMajor\"=dword:0000000f\n\"MsiProductMinor\"=dword:00000001\n\
             \"MsiBuildMajor\"=dword:000009cb\n\"MsiBuildMinor\"=dword:00000006\n\
             [{exchange}\\MailboxRole]\n\"ConfiguredVersion\"=\"15.1.2507.6\"\n\
             [{system}\\Tcpip\\Parameters]\n\"Domain\"=\"lab.test\"\n\
             [HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\SystemCertificates\\MY\\Certificates\\{thumbprint}]\n\"Blob\"={blob}\n\
             [{system}\\HTTP\\Parameters\\SslBindingInfo\\0.0.0.0:444]\n\"SslCertHash\"={hash}\n\"AppId\"={app}\n\
             \"SslCertStoreName\"=\"MY\"\n"
        ))
        .unwrap();
    thumbprint
}

fn registry(machine: &Prefix, key: &str) -> String {
    machine.run("reg", &["query", key, "/s"]).unwrap().stdout
}

fn compile(folder: &Path) -> std::path::PathBuf {
    let (from, to) = (folder.join("silent.c"), folder.join("silent.exe"));
    std::fs::write(&from, SILENT).unwrap();
    let mut gcc = Command::new("x86_64-w64-mingw32-gcc");
    let output = process::run(gcc.arg(&from).arg("-o").arg(&to).arg("-lws2_32"), LIMIT).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    to
}

#[test]
fn outside_windows_isolated_a_bare_machine_says_what_it_lacks_and_a_call_that_is_denied_says_so() {
    let machine = machine();
    let (code, bare) = doctor(&machine, &[]);
    assert_eq!((code, &bare["findings"], &bare["renewal"]), (6, &true.into(), &"no".into()), "{bare:#}");
    for (name, outcome, words) in [
        ("store.MY", "proven", "0 certificates"),
        ("exchange.version", "unproven", "v15"),
        ("iis.configuration", "failed", "applicationHost.config"),
        ("record.444", "failed", "expected a record on 0.0.0.0:444, found none"),
        ("key.444", "not_tried", "no record"),
        ("record.replace", "proven", "in one call"),
        ("probe.rustls.loopback", "failed", "127.0.0.1:444"),
        ("probe.schannel.loopback", "failed", "127.0.0.1:444"),
        ("watch", "proven", "6 keys"),
        ("iis.running", "failed", "no such class on this system"),
        ("service", "unproven", "BackstayAgent"),
        ("state.journal", "unproven", "state folder"),
        ("controller", "unproven", "has not joined"),
        ("rehearsal", "not_tried", "only `doctor --rehearse`"),
    ] {
        let (is, said) = check(&bare, name);
        assert!(is == outcome && said.contains(words), "{name}: expected {outcome} and {words:?}, found {said}");
    }
    machine
        .import(
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\TestDouble\\httpapi]\n\"fail_query\"=\"5\"\n\"updates\"=dword:00000001\n\
             [HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters]\n\"Domain\"=\"lab.test\"",
        )
        .unwrap();
    let (code, denied) = doctor(&machine, &["--rehearse"]);
    assert_eq!(code, 6);
    for name in ["records", "records.registry", "rehearse.before"] {
        let (is, said) = check(&denied, name);
        assert!(is == "failed" && said.contains("\"code\":5,"), "{name}: {said}");
    }
    assert_eq!(check(&denied, "rehearse.sign").0, "not_tried", "what cannot be compared afterwards is not begun");
    assert!(!registry(&machine, r"HKLM\Software\Wine\Crypto\RSA").contains("backstay-rehearsal"));
}

#[test]
fn outside_windows_isolated_a_rehearsal_leaves_the_machine_as_it_was_and_a_444_that_hangs_is_an_answer() {
    let machine = machine();
    let thumbprint = install(&machine);
    let folder = tempfile::tempdir().unwrap();
    let mut silent =
        Process::start("silent", machine.command(compile(folder.path())), folder.path(), &Guard::new().unwrap()).unwrap();
    wait::until("a listener on 444", LIMIT, || when(silent.log().contains("listens"), || silent.log())).unwrap();
    // Once before: the first use of a provider writes keys of Wine's own.
    doctor(&machine, &["--rehearse"]);
    let places = [
        r"HKLM\Software\Microsoft\SystemCertificates",
        r"HKLM\SYSTEM\CurrentControlSet\Services\HTTP\Parameters",
        r"HKLM\Software\Wine\Crypto\RSA",
    ];
    let before = places.map(|key| registry(&machine, key));
    assert!(before[0].contains(&thumbprint.to_string()) && before[1].contains("0.0.0.0:444"), "{before:?}");
    let begun = Instant::now();
    let (code, rehearsal) = doctor(&machine, &["--rehearse"]);
    assert_eq!(code, 6, "444 hangs");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    for (name, outcome, words) in [
        ("exchange.version", "proven", "15.1.2507.6, mailbox"),
        ("name.full", "proven", ".lab.test"),
        ("record.444", "proven", "0.0.0.0:444 names"),
        ("records.registry", "proven", "1 records, 0 of them not found"),
        ("key.444", "failed", "found no link"),
        ("probe.rustls.loopback", "failed", "no answer in time"),
        ("probe.schannel.loopback", "failed", "Schannel with 444 over loopback"),
        ("rehearse.key", "proven", "RSA 2048"),
        ("rehearse.sign", "proven", "provider type 24 in the place of 12"),
        ("rehearse.access", "proven", "among them NETWORK SERVICE"),
        ("rehearse.mint", "proven", "self-signed for"),
        ("rehearse.handshake", "proven", "TLS 1.2"),
        ("rehearse.clean_up", "proven", "gone"),
        ("rehearse.untouched", "proven", "read as before"),
    ] {
        let (is, said) = check(&rehearsal, name);
        assert!(is == outcome && said.contains(words), "{name}: expected {outcome} and {words:?}, found {said}");
    }
    assert_eq!(places.map(|key| registry(&machine, key)), before);
    silent.kill().unwrap();
}
