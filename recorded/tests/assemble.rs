//! Exports of one server, or of several, become one sight.

use std::error::Error;

use base64::Engine;
use policy::certificate::Certificate;
use policy::report::Fact;
use recorded::{AssembleError, ServerError};

use crate::files::{Export, assemble, read};

const CERTIFICATE: &str = "Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate";
const PLAIN: &str = "System.Security.Cryptography.X509Certificates.X509Certificate2";
const SERVER: &str = "Microsoft.Exchange.Data.Directory.Management.ExchangeServer";
const BINDING: &str = "Microsoft.IIs.PowerShell.Framework.ConfigurationElement";
const HEALTH: &str = "Microsoft.Exchange.Monitoring.ExchangeServicesStatus";
const OTHER: &str = "B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B";

fn file(name: &str, content: impl Into<Vec<u8>>) -> Export {
    Export { name: name.to_owned(), bytes: content.into() }
}

/// An `Export-Clixml` file of objects of one type, each given by its members.
fn objects(kind: &str, members: &[String]) -> String {
    let objects: String =
        members.iter().map(|members| format!("<Obj><TN><T>{kind}</T></TN><Props>{members}</Props></Obj>")).collect();
    format!("\u{feff}<Objs>{objects}</Objs>")
}

fn text(name: &str, value: &str) -> String {
    format!("<S N='{name}'>{value}</S>")
}

fn made(names: &[&str]) -> Certificate {
    let mut params = rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    Certificate::from_der(params.self_signed(&key).expect("signed").der()).expect("a certificate")
}

/// A certificate as Get-ExchangeCertificate shows it, with the IIS sites that Exchange says use it.
fn listed(certificate: &Certificate, sites: &[&str]) -> String {
    let raw = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    let sites: String = sites.iter().map(|site| format!("<S>{site}</S>")).collect();
    format!("<BA N='RawData'>{raw}</BA><Obj N='IISServices'><LST>{sites}</LST></Obj>")
}

fn web_binding(hash: &str) -> Export {
    let path = "/sites/site[@name=\"Exchange Back End\" and @id=\"2\"]";
    let members = text("protocol", "https")
        + &text("bindingInformation", "*:444:")
        + &text("certificateHash", hash)
        + &text("ItemXPath", path);
    file("bindings.xml", objects(BINDING, &[members]))
}

fn netsh(endpoint: &str, hash: &str) -> String {
    format!(
        "SSL Certificate bindings:\r\n-----\r\n\r\n    IP:port                      : {endpoint}\r\n    Certificate Hash             : \
         {hash}\r\n    Application ID               : {{4dc3e181-e14b-4a21-b022-59fc669b0914}}\r\n    Certificate Store Name       : MY\r\n"
    )
}

fn servers(names: &[&str]) -> Export {
    file("servers.xml", objects(SERVER, &names.iter().map(|name| text("Name", name)).collect::<Vec<_>>()))
}

fn thumbprint(assembly: &recorded::Assembly) -> Option<String> {
    let record = assembly.sight.report.back_end_record().known().copied().flatten()?.thumbprint?;
    Some(record.to_string())
}

#[test]
fn netsh_is_believed_before_get_web_binding_and_both_before_exchange() {
    let certificate = made(&["EX1", "ex1.contoso.test"]);
    let own = certificate.thumbprint().to_string();
    let listing = file("certificates.xml", objects(CERTIFICATE, &[listed(&certificate, &["IIS://EX1/W3SVC/2"])]));
    let sslcert = file("sslcert.txt", netsh("0.0.0.0:444", &own.to_lowercase()));

    let alone = assemble(std::slice::from_ref(&listing), None).expect("one server");
    assert_eq!(thumbprint(&alone).as_deref(), Some(own.as_str()));
    assert_eq!(alone.sight.report.host.fqdn, Fact::Known("ex1.contoso.test".into()));

    let bound = assemble(&[listing.clone(), web_binding(OTHER)], None).expect("one server");
    assert_eq!(thumbprint(&bound).as_deref(), Some(OTHER));

    let all = assemble(&[listing, web_binding(OTHER), sslcert], None).expect("one server");
    assert_eq!(thumbprint(&all).as_deref(), Some(own.as_str()));
    assert!(all.sight.report.records.known().expect("records")[0].app_id.known().is_some());
    assert!(all.sight.report.stores.known().is_some_and(|entries| entries.len() == 1));
}

#[test]
fn only_the_certificate_drive_proves_that_a_certificate_is_missing() {
    let certificate = made(&["EX1", "ex1.contoso.test"]);
    let listing = file("certificates.xml", objects(CERTIFICATE, &[listed(&certificate, &[])]));
    let without = assemble(&[listing.clone(), web_binding(OTHER)], None).expect("one server");
    let why = without.sight.report.stores.unknown().expect("unknown");
    assert!(why.contains(OTHER) && why.contains("Get-ChildItem Cert:"), "{why}");
    assert_eq!(without.sight.certificates.len(), 1, "what was listed is still at hand");

    let path = text("PSParentPath", r"Microsoft.PowerShell.Security\Certificate::LocalMachine\My");
    let drive = file("my.xml", objects(PLAIN, &[listed(&certificate, &[]) + &path]));
    let with = assemble(&[listing, drive, web_binding(OTHER)], None).expect("one server");
    assert_eq!(with.sight.report.stores.known().map(Vec::len), Some(1), "one entry, from two listings");
}

#[test]
fn the_server_is_told_by_what_fits_and_asked_for_when_several_do() {
    let (one, two) = (made(&["EX1", "ex1.contoso.test"]), made(&["EX2", "ex2.contoso.test"]));
    let of_one = file("one.xml", objects(CERTIFICATE, &[listed(&one, &["IIS://EX1/W3SVC/2"])]));
    let of_two = file("two.xml", objects(CERTIFICATE, &[listed(&two, &[]) + &text("PSComputerName", "ex2.contoso.test")]));
    let both = servers(&["EX1", "EX2", "EX3"]);

    let told = assemble(&[both.clone(), of_one.clone()], None).expect("EX1");
    assert_eq!(told.sight.report.host.name.as_str(), "EX1");

    let several = read(&[servers(&["EX1", "EX2"])]).assemble(None).expect("each of two servers");
    assert_eq!(several.iter().map(|each| each.sight.report.host.name.as_str()).collect::<Vec<_>>(), ["EX1", "EX2"]);

    let asked = "EX2".parse().expect("a name");
    let files = [both, of_one, of_two];
    let told = assemble(&files, Some(&asked)).expect("EX2");
    assert_eq!(told.sight.report.host.name, asked);
    assert_eq!(told.sight.certificates.keys().collect::<Vec<_>>(), [&two.id()], "the other's certificates are left out");
    assert!(told.notes.iter().any(|note| note.starts_with("one.xml: left out")), "{:?}", told.notes);
    assert!(matches!(assemble(&[web_binding(OTHER)], None), Err(AssembleError::Server(ServerError::Nobody))));
}

#[test]
fn exports_of_several_servers_become_a_sight_of_each_and_what_names_nobody_is_nobodys() {
    let (one, two) = (made(&["EX1", "ex1.contoso.test"]), made(&["EX2", "ex2.contoso.test"]));
    let of_one = file("one.xml", objects(CERTIFICATE, &[listed(&one, &["IIS://EX1/W3SVC/2"])]));
    let of_two = file("two.xml", objects(CERTIFICATE, &[listed(&two, &[]) + &text("PSComputerName", "ex2.contoso.test")]));
    let files = [of_one, of_two, web_binding(OTHER)];
    for files in [files.to_vec(), [files.as_slice(), &[servers(&["EX1", "EX2", "EX3"])]].concat()] {
        let each = read(&files).assemble(None).expect("each of two servers");
        assert_eq!(each.iter().map(|each| each.sight.report.host.name.as_str()).collect::<Vec<_>>(), ["EX1", "EX2"]);
        for (assembly, certificate) in each.iter().zip([&one, &two]) {
            assert_eq!(assembly.sight.certificates.keys().collect::<Vec<_>>(), [&certificate.id()]);
            assert!(assembly.sight.report.sites.known().is_none(), "whose bindings they are is not known");
            assert!(assembly.notes.iter().any(|note| note.contains("left out, it names no server")), "{:?}", assembly.notes);
        }
    }
    let strayed = [files.as_slice(), &[servers(&["EX1", "EX3"])]].concat();
    assert_eq!(assemble(&strayed, None).expect("EX2 is not listed").sight.report.host.name.as_str(), "EX1");
}

#[test]
fn what_is_said_of_the_organisation_holds_in_the_folders_below() {
    let own = made(&["EX1", "ex1.contoso.test"]);
    let auth = format!(
        "<Objs><Obj><TN><T>Microsoft.Exchange.Data.Directory.SystemConfiguration.AuthConfig</T></TN><Props>{}</Props></Obj></Objs>",
        text("CurrentCertificateThumbprint", OTHER)
    );
    let above = read(&[servers(&["EX1", "EX2"]), file("auth.xml", auth)]);
    assert!(above.only_of_organisation());
    let mut below = read(&[file("one.xml", objects(CERTIFICATE, &[listed(&own, &["IIS://EX1/W3SVC/2"])]))]);
    assert!(!below.only_of_organisation());
    below.extend_from(&above);
    let [assembly] = &below.assemble(None).expect("EX1")[..] else { panic!("one server") };
    let report = &assembly.sight.report;
    assert!(assembly.notes.iter().any(|note| note.contains("Get-ExchangeServer, 2 servers")), "{:?}", assembly.notes);
    assert_eq!(report.machine.auth.known().and_then(|auth| auth.current).map(|found| found.to_string()).as_deref(), Some(OTHER));
    assert!(report.machine.iis_redirected.unknown().is_some_and(|why| why.contains("redirection.config")));
    let redirected =
        "<configuration><configurationRedirection enabled='true' path='\\\\nas\\iis' password='secret'/></configuration>";
    below.add("redirection.config", redirected.as_bytes());
    let again = below.assemble(None).expect("EX1").remove(0);
    assert_eq!(again.sight.report.machine.iis_redirected, Fact::Known(Some("\\\\nas\\iis".to_owned())));
    assert!(!format!("{again:?}").contains("secret"));
}

#[test]
fn a_command_that_was_run_elsewhere_does_not_speak_for_this_server() {
    let health = |computer: &str| text("PSComputerName", computer) + "<Obj N='ServicesRunning'><LST><S>W3Svc</S></LST></Obj>";
    let own = "EX1".parse().expect("a name");
    let elsewhere = assemble(&[file("health.xml", objects(HEALTH, &[health("ex2.contoso.test")]))], Some(&own)).expect("EX1");
    assert!(elsewhere.sight.report.services.unknown().is_some());
    let here = assemble(&[file("health.xml", objects(HEALTH, &[health("ex1.contoso.test")]))], None).expect("EX1");
    assert!(here.sight.report.services.known().is_some_and(|services| services.contains_key("W3SVC")));
}

#[test]
fn a_file_that_cannot_be_read_is_reported_and_the_others_are_used() {
    let good = servers(&["EX1"]);
    let bad = [file("notes.docx", b"PK\x03\x04".as_slice()), file("cut.xml", "<Objs><Obj>")];
    let files = [bad[0].clone(), good.clone(), bad[1].clone(), Export { name: "copy of servers.xml".into(), ..good }];
    let assembly = assemble(&files, None).expect("EX1");
    let names: Vec<_> = assembly.unread.iter().map(|unread| unread.file.as_str()).collect();
    assert_eq!(names, ["notes.docx", "cut.xml"]);
    assert!(assembly.unread[1].error.source().is_some_and(|cause| cause.to_string().contains("line 1, column 7")));
    assert!(assembly.notes.contains(&"copy of servers.xml: the same as servers.xml, read once".to_owned()));

    assert!(matches!(assemble(&bad, None), Err(AssembleError::NothingRead(unread)) if unread.len() == 2));
    assert!(matches!(assemble(&[], None), Err(AssembleError::NoExports)));
}

#[test]
fn one_certificate_that_cannot_be_read_does_not_hide_the_others() {
    let good = listed(&made(&["EX1", "ex1.contoso.test"]), &["IIS://EX1/W3SVC/2"]);
    let assembly = assemble(&[file("c.xml", objects(CERTIFICATE, &[good, text("Thumbprint", OTHER)]))], None).expect("EX1");
    assert_eq!((assembly.sight.certificates.len(), assembly.unread.len()), (1, 1));
}

#[test]
fn two_lists_of_records_that_differ_are_not_mixed() {
    let lists = [file("a.txt", netsh("0.0.0.0:444", OTHER)), file("b.txt", netsh("0.0.0.0:443", OTHER))];
    let assembly = assemble(&lists, Some(&"EX1".parse().expect("a name"))).expect("EX1");
    assert_eq!(assembly.sight.report.records.known().map(Vec::len), Some(1));
    assert!(assembly.notes.iter().any(|note| note.starts_with("b.txt: left out")), "{:?}", assembly.notes);
}

#[test]
fn a_list_in_the_code_page_of_a_german_console_is_read() {
    let mut list = netsh("0.0.0.0:444", OTHER).into_bytes();
    list.extend(b"    Clientzertifikatsperrung \x81berpr\x81fen : Aktiviert\r\n");
    let assembly = assemble(&[file("sslcert.txt", list)], Some(&"EX1".parse().expect("a name"))).expect("EX1");
    assert_eq!(thumbprint(&assembly).as_deref(), Some(OTHER));
}

#[test]
fn a_list_of_servers_from_a_folder_above_decides_only_where_the_exports_do_not() {
    let computer = |name: &str| text("PSComputerName", &format!("{name}.contoso.test"));
    let listing = |name: &str| {
        let certificate = made(&["somewhere.contoso.test"]);
        file("certificates.xml", objects(CERTIFICATE, &[listed(&certificate, &[]) + &computer(name)]))
    };
    let name = |own: &[Export], above: &[Export]| {
        let mut exports = read(own);
        let mut inherited = recorded::Exports::default();
        inherited.extend_from(&read(above));
        exports.extend_from(&inherited);
        let assemblies = exports.assemble(None).expect("a server");
        assert_eq!(assemblies.len(), 1);
        assemblies[0].sight.report.host.name.to_string()
    };
    // The list is of another server, or old: what was run on EX2 is not EX1's.
    assert_eq!(name(&[listing("ex2")], &[servers(&["EX1"])]), "EX2");
    assert_eq!(name(&[listing("ex2")], &[servers(&["EX1", "EX2"])]), "EX2");
    // Nothing here names a server.
    let sslcert = file("sslcert.txt", netsh("0.0.0.0:444", &OTHER.to_lowercase()));
    assert_eq!(name(&[sslcert], &[servers(&["EX1"])]), "EX1");
}
