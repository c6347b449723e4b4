//! What the directory names, by the double of wldap32, and what a look tells when it says nothing.

use std::sync::mpsc;

use rcgen::{CertificateParams, KeyPair};
use windows_sys::Win32::System::Registry::{REG_BINARY, REG_SZ};

use super::super::ffi::registry::scratch;
use super::*;

const DOUBLE: &str = r"SOFTWARE\TestDouble\wldap32";
const CONFIGURATION: &str = "CN=Configuration,DC=contoso,DC=test";
const ORGANISATION: &str = "CN=Contoso,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=contoso,DC=test";

fn server() -> ServerName {
    "EX1".parse().unwrap()
}

/// An object of the directory.
fn object(name: &str, class: &str, cn: &str) -> String {
    let key = format!(r"{DOUBLE}\objects\{name}");
    scratch::set(&key, "objectClass", REG_SZ, &scratch::wide(class));
    scratch::set(&key, "cn", REG_SZ, &scratch::wide(cn));
    key
}

fn values(key: &str, attribute: &str, values: &[&[u8]]) {
    (0..20).for_each(|number| scratch::unset(key, &format!("{attribute}#{number}")));
    for (number, value) in values.iter().enumerate() {
        scratch::set(key, &format!("{attribute}#{number}"), REG_BINARY, value);
    }
}

fn certificate_of(name: &str) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec()
}

/// As `CertSerializeCertificateStoreElement` writes it, with a friendly name.
fn serialized(der: &[u8]) -> Vec<u8> {
    let property = |id: u32, value: &[u8]| {
        let length = u32::try_from(value.len()).unwrap();
        [&id.to_le_bytes(), &1_u32.to_le_bytes(), &length.to_le_bytes(), value].concat()
    };
    [property(11, &scratch::wide("Microsoft Exchange")), property(32, der)].concat()
}

fn fails(call: &str, code: u32) {
    scratch::set(DOUBLE, &format!("fail_{call}"), REG_SZ, &scratch::wide(&code.to_string()));
}

fn why<T>(fact: &Fact<T>) -> &str {
    fact.unknown().unwrap_or("known")
}

#[test]
fn the_directory_names_the_certificates_of_this_server_and_says_why_it_names_none() {
    scratch::remove(DOUBLE);
    let refused = |call: &str, object: &str, code: u32, words: &str| {
        let expected = format!("{call} on {object}: expected success, found error {code} ({words})");
        assert_eq!(crate::chain(&ask(&server()).unwrap_err()), expected);
    };
    for (call, name, code, words) in [
        ("init", "ldap_init", 81, "no domain controller answers"),
        ("connect", "ldap_connect", 81, "no domain controller answers"),
        ("bind", "ldap_bind_s", 49, "the directory does not know this account"),
    ] {
        fails(call, code);
        refused(name, "the directory", code, words);
        scratch::unset(DOUBLE, &format!("fail_{call}"));
    }
    // A directory without anything, and one without Exchange.
    refused("ldap_search_ext_s", "the directory", 32, "no such object");
    let own = object("rootDSE", "top", "");
    let nowhere = ask(&server()).unwrap_err().to_string();
    assert!(nowhere.contains("has no configurationNamingContext"), "{nowhere}");
    values(&own, "configurationNamingContext", &[b"\xff"]);
    let nameless = ask(&server()).unwrap_err().to_string();
    assert!(nameless.contains("no name that reads"), "{nameless}");
    values(&own, "configurationNamingContext", &[CONFIGURATION.as_bytes()]);
    let exchange = format!("CN=Microsoft Exchange,CN=Services,{CONFIGURATION}");
    refused("ldap_search_ext_s", &exchange, 32, "no such object");

    object(&exchange, "msExchConfigurationContainer", "Microsoft Exchange");
    let none = ask(&server()).unwrap();
    assert_eq!(why(&none.transport), "the directory shows no server EX1 to this account");
    assert_eq!(why(&none.auth), "the directory shows no Auth configuration to this account");

    let servers =
        format!("CN=Servers,CN=Exchange Administrative Group (FYDIBOHF23SPDLT),CN=Administrative Groups,{ORGANISATION}");
    let another = object(&format!("CN=EX10,{servers}"), "msExchExchangeServer", "EX10");
    let ours = object(&format!("CN=EX1,{servers}"), "msExchExchangeServer", "EX1");
    object(&format!("CN=EX1,CN=Elsewhere,{ORGANISATION}"), "container", "EX1");
    let auth = object(&format!("CN=Auth Configuration,{ORGANISATION}"), "msExchAuthAuthConfig", "Auth Configuration");
    let unread = ask(&server()).unwrap();
    assert_eq!(why(&unread.transport), "server EX1 has no msExchServerInternalTLSCert, or this account may not read it");
    let unread = why(&unread.auth).to_owned();
    assert_eq!(unread, "the Auth configuration has no msExchAuthCertificateThumbprint, or this account may not read it");

    let [theirs, der] = ["ex10", "ex1"].map(certificate_of);
    values(&another, "msExchServerInternalTLSCert", &[&theirs]);
    for value in [der.clone(), serialized(&der)] {
        values(&ours, "msExchServerInternalTLSCert", &[&value]);
        assert_eq!(ask(&server()).unwrap().transport, Fact::Known(Some(Thumbprint::of(&der))));
    }
    let [current, previous, next] = [0xA1, 0xB2, 0xC3].map(|byte| Thumbprint([byte; 20]));
    let tagged = [format!("2:{next}"), format!("0:{current}"), format!("1:{previous}")];
    values(&auth, "msExchAuthCertificateThumbprint", &tagged.each_ref().map(|value| value.as_bytes()));
    let named = AuthCertificates { current: Some(current), next: Some(next) };
    assert_eq!(ask(&server()).unwrap().auth, Fact::Known(named));

    // More than any object has, larger than any certificate, and the same server twice.
    values(&auth, "msExchAuthCertificateThumbprint", &[b"0:".as_slice(); 17]);
    let more = ask(&server()).unwrap_err().to_string();
    assert_eq!(more, "msExchAuthCertificateThumbprint: expected at most 16 values of 65536 bytes, found more");
    values(&auth, "msExchAuthCertificateThumbprint", &[]);
    values(&ours, "msExchServerInternalTLSCert", &[&[7; 64 * 1024 + 1]]);
    assert!(ask(&server()).unwrap_err().to_string().starts_with("msExchServerInternalTLSCert: expected at most"));
    values(&ours, "msExchServerInternalTLSCert", &[b"no certificate"]);
    assert!(why(&ask(&server()).unwrap().transport).contains("neither a certificate nor one with its properties"));
    object(&format!("CN=EX1,CN=Recovered,{servers}"), "msExchExchangeServer", "EX1");
    let twice = ask(&server()).unwrap().transport;
    assert_eq!(why(&twice), "expected one object for server EX1 in the directory, found 2");
    for number in 0..4 {
        object(&format!("CN=EX1,CN=Recovered {number},{servers}"), "msExchExchangeServer", "EX1");
    }
    refused("ldap_search_ext_s", &exchange, 4, "more objects than are read");
    scratch::remove(DOUBLE);
}

#[test]
fn a_thumbprint_of_the_auth_configuration_has_its_number_before_it() {
    let one = Thumbprint([0xA1; 20]);
    let read = |values: &[&str]| thumbprints(&values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>());
    let current = AuthCertificates { current: Some(one), next: None };
    assert_eq!(read(&[&one.to_string()]).unwrap(), current, "as before there were three");
    assert_eq!(read(&[&format!("0:{one}")]).unwrap(), current);
    assert_eq!(read(&[&format!("0:{}", one.to_string().to_lowercase()), "1:", "2:"]).unwrap(), current);
    assert_eq!(read(&["1:", &format!("2:{one}")]).unwrap(), AuthCertificates { current: None, next: Some(one) });
    for wrong in [vec!["0:12"], vec!["3:"], vec!["x"], vec!["0:", "x"], vec![":"]] {
        let error = read(&wrong).unwrap_err();
        assert!(error.starts_with("msExchAuthCertificateThumbprint: expected a number, a colon and a thumbprint"), "{error}");
    }
    assert!(thumbprints(&[vec![0xFF]]).is_err());
}

#[test]
fn what_is_no_plain_letter_is_written_as_a_byte() {
    assert_eq!(escaped("EX-01"), "EX-01");
    assert_eq!(escaped("a*)(cn=*"), r"a\2a\29\28cn\3d\2a");
    assert_eq!(escaped("é\\\0"), r"\c3\a9\5c\00");
}

#[test]
fn an_answer_holds_for_an_hour_and_is_asked_for_every_ten_minutes() {
    let begun = now();
    let at = |minutes: u64| begun + Duration::from_secs(minutes * 60);
    let told = |byte: u8| Named {
        transport: Fact::Known(Some(Thumbprint([byte; 20]))),
        auth: Fact::Unknown("this account may not read it".to_owned()),
    };
    let failed = || Err(DriverError::Refused { call: "ldap_bind_s", object: "x".to_owned(), code: 81, meaning: "down" });
    let pointers = Pointers::default();
    let unknown = pointers.look_at(at(0), failed);
    assert!(why(&unknown.transport).contains("error 81") && why(&unknown.auth).contains("error 81"));
    assert_eq!(pointers.look_at(at(9), || unreachable!("nobody is asked so soon")), unknown);
    assert_eq!(pointers.look_at(at(10), move || Ok(told(1))), told(1));
    assert_eq!(pointers.look_at(at(19), || unreachable!("nobody is asked so soon")), told(1));
    assert_eq!(pointers.look_at(at(20), failed), told(1), "what was read holds");
    assert_eq!(pointers.look_at(at(29), || unreachable!("nobody is asked so soon")), told(1));
    assert!(why(&pointers.look_at(at(70), failed).transport).contains("error 81"), "and no longer than an hour");
    assert_eq!(pointers.look_at(at(80), move || Ok(told(2))), told(2));
}

#[test]
fn an_answer_that_comes_late_is_there_for_the_next_look() {
    let begun = now();
    let pointers = Pointers { calls: Limited::new("the directory", Duration::from_millis(20), 1), state: Arc::default() };
    let (go, wait) = mpsc::channel::<()>();
    let told = Named { transport: Fact::Known(None), auth: Fact::Unknown("none".to_owned()) };
    let late = told.clone();
    let first = pointers.look_at(begun, move || {
        wait.recv().unwrap();
        Ok(late)
    });
    assert_eq!(why(&first.transport), "expected an answer of the directory within 20ms, found none");
    go.send(()).unwrap();
    pointers.calls.settled().unwrap();
    assert_eq!(pointers.look_at(begun, || unreachable!("nobody is asked so soon")), told);
}
