//! Real exports of an Exchange 2016 test server. Absent on most machines; then there is nothing to read.

use std::path::PathBuf;

use policy::report::{Fact, KeyLink, RecordKind, Role, Store};
use recorded::Assembly;

use crate::files::{Export, assemble};

#[expect(clippy::print_stdout, reason = "who runs the tests should see that these found nothing to read")]
fn lab() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/recorded-hosts/EX16-lab"));
    if !folder.is_dir() {
        println!("skipped: there are no recorded hosts at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// The named files, or all, of the lab server.
fn exports(names: &[&str]) -> Option<Vec<Export>> {
    let mut exports: Vec<Export> = std::fs::read_dir(lab()?)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| Export {
            name: path.file_name().expect("a file").to_string_lossy().into_owned(),
            bytes: std::fs::read(&path).expect("a file"),
        })
        .filter(|export| names.is_empty() || names.contains(&export.name.as_str()))
        .collect();
    exports.sort_by(|one, other| one.name.cmp(&other.name));
    Some(exports)
}

fn read(names: &[&str]) -> Option<Assembly> {
    let assembly = assemble(&exports(names)?, None).expect("one server");
    assert!(assembly.unread.is_empty(), "{:?}", assembly.unread);
    Some(assembly)
}

#[test]
fn the_server_is_told_with_version_site_and_roles() {
    let Some(Assembly { sight, .. }) = read(&[]) else { return };
    let host = &sight.report.host;
    assert_eq!(host.name.as_str(), "SOLO-E16A");
    assert_eq!(host.fqdn, Fact::Known("Solo-E16A.Solo.local".into()));
    assert_eq!(host.ad_site, Fact::Known("Default-First-Site-Name".into()));
    let exchange = sight.report.exchange.known().expect("listed");
    assert_eq!(exchange.version, "15.1.2375.7");
    assert_eq!(exchange.roles, [Role::Mailbox, Role::ClientAccess].into());
    let services = sight.report.services.known().expect("exported");
    assert!(services.contains_key("W3SVC") && services.values().all(|service| service.running == Fact::Known(true)));
}

#[test]
fn without_the_web_bindings_exchange_itself_tells_what_is_on_444() {
    let files = ["GetExchangeCertificate.xml", "GetExchangeServer.xml", "applicationHost.config"];
    let Some(Assembly { sight, otherwise, notes, .. }) = read(&files) else { return };
    assert_eq!(otherwise, None);
    let Fact::Known(Some(record)) = sight.report.back_end_record() else { panic!("{:?}", sight.report.records) };
    let thumbprint = record.thumbprint.expect("a certificate");
    assert_eq!(thumbprint.to_string(), "823884A32609DCDC8C4B5462952586C30D814073");
    assert!(notes.iter().any(|note| note.contains("stands in")), "{notes:?}");

    let Fact::Known(Some(entry)) = sight.report.entry(&Store::My, thumbprint) else { panic!("{:?}", sight.report.stores) };
    let link = KeyLink {
        container: "8d5ea9f5-d44e-421c-918f-0d2156b4cc8b".into(),
        provider: String::new(),
        provider_type: 12,
        flags: 0x20,
        key_spec: 1,
    };
    assert_eq!(entry.key, Fact::Known(Some(link)));
    assert_eq!(entry.friendly_name, Fact::Known(Some("Microsoft Exchange".into())));
    assert!(!entry.key_usable());

    let certificate = &sight.certificates[&entry.certificate];
    assert_eq!(certificate.subject(), "CN=Solo-E16A");
    assert_eq!(certificate.names(), ["Solo-E16A", "Solo-E16A.Solo.local"]);
    assert_eq!(certificate.not_before().to_string(), "2018-11-24T00:32:37Z");
    assert_eq!(certificate.not_after().to_string(), "2023-11-24T00:32:37Z");
    assert!(certificate.self_issued() && certificate.signed_with_sha1());
    let mut others: Vec<_> = sight.certificates.values().map(|certificate| certificate.subject()).collect();
    others.sort_unstable();
    assert_eq!(others, ["CN=Microsoft Exchange Server Auth Certificate", "CN=Solo-E16A", "CN=WMSvc-WIN-9UC94ETVM30"]);
}

/// The web bindings of the folder were taken elsewhere: they name a certificate that this server does not have. That must
/// neither pass in silence nor make the certificate "deleted".
#[test]
fn bindings_that_do_not_fit_the_certificates_are_a_contradiction_and_no_proof_of_loss() {
    let Some(Assembly { sight, otherwise, notes, .. }) = read(&[]) else { return };
    let records = sight.report.records.known().expect("exported");
    let shown: Vec<_> = records.iter().map(|record| (record.kind, record.endpoint.as_str())).collect();
    let address = RecordKind::Address;
    assert_eq!(shown, [(address, "0.0.0.0:443"), (address, "127.0.0.1:443"), (address, "0.0.0.0:444")]);
    let elsewhere = "B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B";
    assert!(records.iter().all(|record| record.thumbprint.is_some_and(|thumbprint| thumbprint.to_string() == elsewhere)));
    assert!(sight.report.stores.unknown().is_some_and(|why| why.contains(elsewhere)), "{:?}", sight.report.stores);
    let contradiction = |note: &&String| note.contains(elsewhere) && note.contains("823884A3") && note.contains("0.0.0.0:444");
    assert!(notes.iter().any(|note| contradiction(&note)), "{notes:#?}");
    let left_out = |note: &String| note.starts_with("GetExchangeCertificate.incomplete.xml: left out");
    assert!(notes.iter().any(left_out), "{notes:#?}");

    // What Exchange itself says is shown beside it, whole.
    let otherwise = otherwise.expect("a contradiction has another side").report;
    let Fact::Known(Some(record)) = otherwise.back_end_record() else { panic!("{:?}", otherwise.records) };
    let thumbprint = record.thumbprint.expect("a certificate");
    assert_eq!(thumbprint.to_string(), "823884A32609DCDC8C4B5462952586C30D814073");
    assert!(matches!(otherwise.entry(&record.store(), thumbprint), Fact::Known(Some(_))));
}

#[test]
fn sites_and_metabase_come_from_the_configuration() {
    let Some(exports) = exports(&["applicationHost.config"]) else { return };
    let name = "SOLO-E16A".parse().expect("a name");
    let Assembly { sight, .. } = assemble(&exports, Some(&name)).expect("a server");
    let sites = sight.report.sites.known().expect("sites");
    let names: Vec<_> = sites.iter().map(|site| (site.id, site.name.as_str(), site.bindings.len())).collect();
    assert_eq!(names, [(1, "Default Web Site", 8), (2, "Exchange Back End", 3)]);
    let back_end = &sites[1].bindings[1];
    assert_eq!((back_end.protocol.as_str(), back_end.information.as_str(), back_end.ssl_flags), ("https", "*:444:", 0));
    assert_eq!(sight.report.metabase, Fact::Known(Vec::new()));
    for fact in [sight.report.records.unknown(), sight.report.stores.unknown(), sight.report.services.unknown()] {
        assert!(fact.is_some_and(|why| why.starts_with("no export of ")), "{fact:?}");
    }
}

#[test]
fn a_listing_alone_names_its_machine() {
    let Some(Assembly { sight, .. }) = read(&["GetExchangeCertificate.incomplete.xml"]) else { return };
    assert_eq!(sight.report.host.name.as_str(), "WIN-CTD3L0RGEN4");
    assert_eq!(sight.report.host.fqdn, Fact::Known("win-ctd3l0rgen4.exlab.dom".into()));
    let entries = sight.report.stores.known().expect("a listing");
    let mut names: Vec<_> = entries.iter().map(|entry| entry.friendly_name.clone()).collect();
    names.sort_by_key(|name| format!("{name:?}"));
    assert_eq!(names[1], Fact::Known(Some("WMSVC-SHA2".into())));
}

/// What is passed over may not be missed: the members that nobody asks for hold what others point to, and the rest of the file.
#[test]
fn what_is_passed_over_is_not_missed() {
    let Some(exports) = exports(&[]) else { return };
    for Export { name, bytes } in exports {
        let read = recorded::export::Content::read(&bytes);
        assert_eq!(read, recorded::export::Content::read_whole(&bytes), "{name}");
        assert!(read.is_ok(), "{name}");
    }
}
