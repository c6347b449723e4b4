//! How many servers `backstay assess` judges per second and core, and how much memory it takes.
//!
//! `cargo bench -p controller --no-default-features --bench assess` makes the exports of a thousand servers, of the size and make of a real Exchange
//! 2016's, and lets the command judge them; `-- FOLDER` takes a folder of real ones instead, copied as often as it takes. The
//! reference reads the same files and takes SHA-256 over each, which no reader of them could do in less. Both are
//! processes of their own, in turn, and what is compared is the CPU time that the system charged them: a busy machine
//! makes both slower and the ratio no other.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure ends, and says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use policy::id::Sha256;

/// Servers in the folder.
const SERVERS: usize = 1000;

/// Counted turns of each, after one that fills the cache of the file system.
const TURNS: usize = 5;

/// `USER_HZ`: the unit of `/proc/self/stat`, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--read"), Some(folder)) => println!("{}", read(Path::new(&folder))),
        (Some(real), None) => measure(&mut |at, server| copy(Path::new(real), at, server)),
        (None, _) => measure(&mut made()),
        (Some(other), Some(_)) => panic!("expected no argument, or a folder of exports, found {other} and more"),
    }
}

fn measure(server: &mut dyn FnMut(&Path, usize)) {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..SERVERS {
        let at = folder.path().join(format!("EX{number}"));
        fs::create_dir(&at).unwrap();
        server(&at, number);
    }
    let bytes = read(folder.path());
    let itself = std::env::current_exe().unwrap();
    let (mut reading, mut judging, mut peak) = (Vec::new(), Vec::new(), 0);
    for turn in 0..=TURNS {
        let (read, _) = charged(Command::new(&itself).arg("--read").arg(folder.path()));
        let mut assess = Command::new(env!("CARGO_BIN_EXE_backstay"));
        let (judged, memory) = charged(assess.args(["assess", "-o", "json"]).arg(folder.path()));
        if turn > 0 {
            reading.push(read);
            judging.push(judged);
            peak = peak.max(memory);
        }
    }
    let ratios = judging.iter().zip(&reading).map(|(judged, read)| judged.as_secs_f64() / read.as_secs_f64().max(0.01));
    println!(
        "{SERVERS} servers, {:.1} KB of exports each; CPU seconds of {TURNS} turns, min / median / max",
        bytes as f64 / 1e3 / SERVERS as f64
    );
    println!("  read and SHA-256          {}", spread(reading.iter().map(Duration::as_secs_f64)));
    println!("  backstay assess -o json   {}", spread(judging.iter().map(Duration::as_secs_f64)));
    println!("  ratio, turn by turn       {}", spread(ratios));
    println!("  servers per second, core  {}", spread(judging.iter().map(|judged| SERVERS as f64 / judged.as_secs_f64())));
    println!("  peak memory of assess     {:.1} MiB", peak as f64 / 1024.0);
}

/// The CPU time that a command was charged, and its peak memory in KiB as far as it was seen.
fn charged(command: &mut Command) -> (Duration, u64) {
    let before = of_children();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    let ended = loop {
        let seen = fs::read_to_string(&status).unwrap_or_default();
        let high = seen.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(high.unwrap_or(0));
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // 6: done, and something was found.
    assert!(matches!(ended.code(), Some(0 | 6)), "{command:?} ended with {ended}");
    (of_children() - before, peak)
}

/// User and system time of every child that has ended.
fn of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_the_name = stat.rsplit_once(')').unwrap().1;
    let ticks: u32 = behind_the_name.split_whitespace().skip(13).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
    TICK * ticks
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    format!("{:8.2} {:8.2} {:8.2}", values[0], values[values.len() / 2], values[values.len() - 1])
}

/// The reference: every byte is read and hashed. Returns how many there were.
fn read(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes += read(&path);
        } else {
            let content = fs::read(path).unwrap();
            std::hint::black_box(Sha256::of(&content));
            bytes += content.len() as u64;
        }
    }
    bytes
}

fn copy(real: &Path, at: &Path, _: usize) {
    for entry in fs::read_dir(real).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, at.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Writes the exports of one server after the other: each with certificates of its own, and as large as those of a real Exchange 2016
/// (listing 18 KB, server 114 KB, bindings 45 KB, services 35 KB, configuration of IIS 174 KB).
fn made() -> impl FnMut(&Path, usize) {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    move |at, number| {
        let name = format!("EX{number}");
        let full = format!("{}.contoso.test", name.to_lowercase());
        let certificates: Vec<Vec<u8>> =
            [vec![name.clone(), full.clone()], vec![format!("mail{number}.contoso.test")], vec![format!("WMSvc-{name}")]]
                .into_iter()
                .map(|names| rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().to_vec())
                .collect();
        let thumbprints: Vec<String> = certificates.iter().map(|der| policy::id::Thumbprint::of(der).to_string()).collect();
        let sites = ["IIS://x/W3SVC/2", "IIS://x/W3SVC/1", ""];
        let listing: Vec<String> = certificates.iter().zip(sites).map(|(der, site)| listed(der, site)).collect();
        let write = |file: &str, text: String| fs::write(at.join(file), text).unwrap();
        write(
            "certificates.xml",
            objects("Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate", &listing),
        );
        let server = format!(
            "{}{}{}{}",
            text("Name", &name),
            text("Fqdn", &full),
            text("AdminDisplayVersion", "Version 15.1 (Build 2507.6)"),
            blob(80_000)
        );
        write("server.xml", objects("Microsoft.Exchange.Data.Directory.Management.ExchangeServer", &[server]));
        let bindings: Vec<String> = [("Exchange Back End", 2, 444, 0), ("Default Web Site", 1, 443, 1)]
            .map(|(site, id, port, at)| binding(site, id, &format!("*:{port}:"), &thumbprints[at]))
            .into_iter()
            .chain((0..5).map(|more| binding("Default Web Site", 1, &format!("127.0.0.1:{}:", 8000 + more), "")))
            .collect();
        write("bindings.xml", objects("Microsoft.IIs.PowerShell.Framework.ConfigurationElement", &bindings));
        let running: String = (0..14).map(|number| format!("<S>MSExchangeService{number}</S>")).collect();
        let services = format!(
            "<Obj N='ServicesRunning'><LST><S>W3Svc</S>{running}</LST></Obj>{}{}",
            text("PSComputerName", &full),
            blob(6_000)
        );
        write("services.xml", objects("Microsoft.Exchange.Monitoring.ExchangeServicesStatus", &vec![services; 4]));
        write("applicationHost.config", configuration());
        let record = |port: u16, hash: &str| {
            format!(
                "\r\n    IP:port                      : 0.0.0.0:{port}\r\n    Certificate Hash             : {}\r\n    \
                 Application ID               : {{4dc3e181-e14b-4a21-b022-59fc669b0914}}\r\n    Certificate Store Name       : MY\r\n",
                hash.to_lowercase()
            )
        };
        let records = record(444, &thumbprints[0]) + &record(443, &thumbprints[1]);
        write("sslcert.txt", format!("SSL Certificate bindings:\r\n-------------------------\r\n{records}"));
    }
}

/// An object of Exchange carries itself once more, serialized: most of its export.
fn blob(bytes: usize) -> String {
    format!("<BA N='SerializationData'>{}</BA>", BASE64_STANDARD.encode(vec![7; bytes]))
}

fn text(name: &str, value: &str) -> String {
    format!("<S N='{name}'>{value}</S>")
}

fn objects(kind: &str, members: &[String]) -> String {
    let objects: String =
        members.iter().map(|members| format!("<Obj><TN><T>{kind}</T></TN><Props>{members}</Props></Obj>")).collect();
    format!("\u{feff}<Objs>{objects}</Objs>")
}

fn listed(der: &[u8], site: &str) -> String {
    let sites = if site.is_empty() { String::new() } else { format!("<S>{site}</S>") };
    let more: String =
        (0..60).map(|number| text(&format!("Property{number}"), "a value of forty characters, or nearly..")).collect();
    format!("<BA N='RawData'>{}</BA><Obj N='IISServices'><LST>{sites}</LST></Obj>{more}", BASE64_STANDARD.encode(der))
}

/// A binding with what IIS says of each of its attributes: most of its export.
fn binding(site: &str, id: u32, information: &str, hash: &str) -> String {
    let path = format!("/system.applicationHost/sites/site[@name='{site}' and @id='{id}']");
    let attribute = "<Obj><TNRef RefId='0'/><Props><B N='IsProtected'>false</B><S N='Name'>bindingInformation</S><S N='TypeName'>System.String</S>\
                     <S N='Schema'>Microsoft.IIs.PowerShell.Framework.ConfigurationAttributeSchema</S><S N='Value'>*:80:</S></Props></Obj>";
    let attributes = format!("<Obj N='Attributes'><IE>{}</IE></Obj>", attribute.repeat(24));
    attributes
        + &text("protocol", if hash.is_empty() { "http" } else { "https" })
        + &text("bindingInformation", information)
        + &text("certificateHash", hash)
        + &text("ItemXPath", &path)
}

fn configuration() -> String {
    let location = |number: usize| {
        format!(
            "<location path=\"Exchange Back End/directory{number}\"><system.webServer><security><access sslFlags=\"Ssl, Ssl128\" /></security>\
             <modules><add name=\"module{number}\" type=\"Vendor.Module, Assembly, Version=15.0.0.0\" preCondition=\"managedHandler\" /></modules>\
             <handlers accessPolicy=\"Read, Script\"><add name=\"handler\" path=\"*.aspx\" verb=\"GET,HEAD,POST\" type=\"System.Web.UI.PageHandlerFactory\" />\
             </handlers></system.webServer></location>\r\n"
        )
    };
    let site = |name: &str, id: u32, port: u16| {
        let applications: String = (0..40)
            .map(|number| {
                format!(
                    "<application path=\"/application{number}\" applicationPool=\"MSExchangePool{number}\">\
                     <virtualDirectory path=\"/\" physicalPath=\"C:\\Program Files\\Microsoft\\Exchange Server\\V15\\{number}\" /></application>"
                )
            })
            .collect();
        format!(
            "<site name=\"{name}\" id=\"{id}\" serverAutoStart=\"true\">{applications}<bindings>\
             <binding protocol=\"https\" bindingInformation=\"*:{port}:\" /></bindings></site>"
        )
    };
    let locations: String = (0..280).map(location).collect();
    let (front, back) = (site("Default Web Site", 1, 443), site("Exchange Back End", 2, 444));
    format!(
        "<?xml version=\"1.0\"?>\r\n<configuration><system.applicationHost><sites>{front}{back}</sites></system.applicationHost>\r\n{locations}</configuration>"
    )
}
