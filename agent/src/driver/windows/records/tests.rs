use std::time::Duration;

use policy::report::IIS_APP_ID;
use windows_sys::Win32::System::Registry::{REG_BINARY, REG_DWORD, REG_SZ};

use super::*;
use crate::driver::windows::ffi::http::double::Double;
use crate::driver::windows::ffi::registry::Watch;
use crate::driver::windows::ffi::registry::scratch::{self, Scratch, wide};

/// A record as IIS writes it for the back end.
fn back_end(thumbprint: Thumbprint) -> SslRecord {
    SslRecord {
        kind: RecordKind::Address,
        endpoint: "0.0.0.0:444".to_owned(),
        thumbprint: Some(thumbprint),
        store: Some("MY".to_owned()),
        app_id: Fact::Known(IIS_APP_ID.to_owned()),
        parameters: Fact::Known(SslParameters::default()),
    }
}

fn at_endpoint(kind: RecordKind, endpoint: &str, like: &SslRecord) -> SslRecord {
    SslRecord { kind, endpoint: endpoint.to_owned(), ..like.clone() }
}

fn central(endpoint: &str, like: &SslRecord) -> SslRecord {
    SslRecord { thumbprint: None, store: None, ..at_endpoint(RecordKind::Ccs, endpoint, like) }
}

fn code<T: std::fmt::Debug>(result: Result<T, DriverError>) -> u32 {
    let error = result.unwrap_err();
    let DriverError::Refused { code, .. } = error else { panic!("expected a refusal, found: {error}") };
    code
}

fn key_of_back_end() -> String {
    format!("{}\\0.0.0.0:444", KEYS[0])
}

#[test]
fn records_of_every_kind_are_listed_by_kind_and_endpoint() {
    let double = Double::take();
    let records = Records::default();
    assert_eq!(records.records().unwrap(), []);
    let [one, two, three] = double.certificates().map(back_end);
    let wanted = [
        one.clone(),
        at_endpoint(RecordKind::Address, "10.1.2.3:443", &two),
        at_endpoint(RecordKind::Address, "[::]:444", &three),
        at_endpoint(RecordKind::Address, "[fe80::1%4]:444", &one),
        at_endpoint(RecordKind::Sni, "autodiscover.contoso.test:443", &two),
        at_endpoint(RecordKind::Sni, "mail.contoso.test:443", &three),
        central("*:443", &one),
        central("*:8443", &one),
    ];
    for record in wanted.iter().rev() {
        records.set_record(record).unwrap();
    }
    assert_eq!(records.records().unwrap(), wanted);
    assert!(wanted[0].is_back_end());
}

#[test]
fn every_field_is_carried_over_when_a_record_is_deleted_and_set() {
    let double = Double::take();
    let records = Records::default();
    let like = back_end(double.certificates()[0]);
    let with = |parameters| SslRecord { parameters: Fact::Known(parameters), ..like.clone() };
    let default = SslParameters::default;
    let mut variants = vec![
        like.clone(),
        SslRecord { store: None, ..like.clone() },
        SslRecord { store: Some("My".to_owned()), ..like.clone() },
        SslRecord { app_id: Fact::Known("{00112233-4455-6677-8899-aabbccddeeff}".to_owned()), ..like.clone() },
        with(SslParameters { check_mode: 0x1_0007, ..default() }),
        with(SslParameters { freshness: 3600, ..default() }),
        with(SslParameters { url_timeout: u32::MAX, ..default() }),
        with(SslParameters { ctl_identifier: Some("Vertrauensliste".to_owned()), ..default() }),
        with(SslParameters { ctl_store: Some("CA".to_owned()), ..default() }),
        with(SslParameters { ctl_identifier: Some("ł".repeat(40_000)), ctl_store: Some(String::new()), ..default() }),
    ];
    variants.extend((0..u32::BITS).map(|bit| with(SslParameters { flags: 1 << bit, ..default() })));
    for wanted in variants {
        for (kind, endpoint) in [(RecordKind::Address, "0.0.0.0:444"), (RecordKind::Sni, "ex1.lab.test:444")] {
            let wanted = at_endpoint(kind, endpoint, &wanted);
            records.set_record(&wanted).unwrap();
            let found = records.records().unwrap();
            assert_eq!(found, [wanted]);
            records.delete_record(&found[0]).unwrap();
            records.set_record(&found[0]).unwrap();
            assert_eq!(records.records().unwrap(), found);
            records.delete_record(&found[0]).unwrap();
        }
    }
}

#[test]
fn a_record_that_is_larger_than_the_buffer_is_asked_for_again_with_room() {
    let double = Double::take();
    let records = Records::default();
    let long = SslParameters { ctl_identifier: Some("x".repeat(4000)), ..SslParameters::default() };
    let large = SslRecord { parameters: Fact::Known(long), ..back_end(double.certificates()[0]) };
    records.set_record(&large).unwrap();
    assert_eq!(list(opened(&records.http).unwrap()).unwrap(), [large]);
    let calls = double.calls().join("\n");
    assert!(calls.contains("query 1 0 = 122\nquery 1 0 = 0\nquery 1 1 = 259\n"), "{calls}");
}

#[test]
fn a_record_beyond_every_bound_is_an_error() {
    let double = Double::take();
    let records = Records::default();
    records.set_record(&back_end(double.certificates()[0])).unwrap();
    scratch::set(&key_of_back_end(), "DefaultSslCtlIdentifier", REG_SZ, &wide(&"x".repeat(600_000)));
    assert_eq!(code(records.records()), 122);
}

#[test]
fn a_record_that_exists_is_not_set() {
    let double = Double::take();
    let records = Records::default();
    let [one, two, _] = double.certificates().map(back_end);
    records.set_record(&one).unwrap();
    assert_eq!(code(records.set_record(&two)), 183);
    let by_name = at_endpoint(RecordKind::Sni, "mail.contoso.test:443", &one);
    records.set_record(&by_name).unwrap();
    assert_eq!(code(records.set_record(&at_endpoint(RecordKind::Sni, "MAIL.contoso.test:443", &one))), 183);
    assert_eq!(records.records().unwrap(), [one, by_name]);
}

#[test]
fn a_certificate_that_cannot_be_used_is_not_set() {
    let double = Double::take();
    let records = Records::default();
    let good = back_end(double.certificates()[0]);
    let unusable = [
        back_end(Thumbprint([7; 20])),
        back_end(double.certificate("MY", None)),
        back_end(double.certificate("MY", Some("backstay-no-such-container"))),
        SslRecord { store: Some("WebHosting".to_owned()), ..good.clone() },
        SslRecord { store: Some("no such store".to_owned()), ..good },
    ];
    for record in &unusable {
        assert_eq!(code(records.set_record(record)), 1312, "{record:?}");
    }
    assert_eq!(records.records().unwrap(), []);
    let thumbprint = double.certificate("WebHosting", Some(&double.container()));
    let elsewhere = SslRecord { store: Some("WebHosting".to_owned()), ..back_end(thumbprint) };
    records.set_record(&elsewhere).unwrap();
    assert_eq!(records.records().unwrap(), [elsewhere]);
}

#[test]
fn a_record_that_does_not_exist_is_not_deleted() {
    let double = Double::take();
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    let other = at_endpoint(RecordKind::Address, "[::]:444", &record);
    records.set_record(&other).unwrap();
    assert_eq!(code(records.delete_record(&record)), 2);
    records.delete_record(&other).unwrap();
    assert_eq!(code(records.delete_record(&other)), 2);
    assert_eq!(records.records().unwrap(), []);
}

#[test]
fn an_update_replaces_a_record_at_once_where_windows_can() {
    let double = Double::take();
    double.switch_on("updates");
    let records = Records::default();
    let [one, two, _] = double.certificates().map(back_end);
    assert_eq!(code(records.update_record(&one)), 2);
    records.set_record(&one).unwrap();
    assert!(records.update_record(&two).unwrap());
    assert_eq!(code(records.update_record(&back_end(Thumbprint([7; 20])))), 1312);
    assert_eq!(records.records().unwrap(), [two]);
    assert!(double.calls().iter().all(|call| !call.starts_with("delete")));
}

#[test]
fn an_update_does_nothing_where_windows_cannot() {
    let double = Double::take();
    let [one, two, _] = double.certificates().map(back_end);
    let records = Records::default();
    records.set_record(&one).unwrap();
    // The call is there, and says that it does not do it.
    assert!(!records.update_record(&two).unwrap());
    double.say("fail_update", "50");
    assert!(!records.update_record(&two).unwrap());
    assert_eq!(double.calls().iter().filter(|call| call.starts_with("update")).count(), 2);
    // There is no such call.
    double.switch_on("updates");
    let records = Records::default();
    records.http.set(Http::open().unwrap().without_update()).unwrap();
    assert!(!records.update_record(&two).unwrap());
    assert_eq!(records.records().unwrap(), [one]);
}

#[test]
fn what_is_not_wholly_known_is_not_written() {
    let double = Double::take();
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    let half_known = [
        SslRecord { parameters: Fact::Unknown("netsh did not show them".to_owned()), ..record.clone() },
        SslRecord { app_id: Fact::Unknown("netsh did not show them".to_owned()), ..record.clone() },
    ];
    for record in half_known {
        let expected = "record 0.0.0.0:444: expected a record of which every field is known, found netsh did not show them";
        assert_eq!(records.set_record(&record).unwrap_err().to_string(), expected);
        assert_eq!(records.update_record(&record).unwrap_err().to_string(), expected);
    }
    let nameless = SslRecord { app_id: Fact::Known("IIS".to_owned()), ..record.clone() };
    assert!(records.set_record(&nameless).unwrap_err().to_string().ends_with("expected a GUID as its application, found IIS"));
    let nowhere = at_endpoint(RecordKind::Sni, "444", &record);
    assert!(records.set_record(&nowhere).unwrap_err().to_string().ends_with("expected an endpoint of its kind, found 444"));
    assert!(double.calls().iter().all(|call| !call.starts_with("set") && !call.starts_with("update")));
}

#[test]
fn a_hash_that_is_no_thumbprint_leaves_the_record_unwritable() {
    let double = Double::take();
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    records.set_record(&record).unwrap();
    scratch::set(&key_of_back_end(), HASH, REG_BINARY, &[7; 32]);
    let found = records.records().unwrap();
    let why = "the record holds a hash of 32 bytes, where a thumbprint has 20".to_owned();
    assert_eq!(found, [SslRecord { thumbprint: None, parameters: Fact::Unknown(why), ..record.clone() }]);
    // None at all is a fact.
    scratch::unset(&key_of_back_end(), HASH);
    assert_eq!(records.records().unwrap(), [SslRecord { thumbprint: None, ..record }]);
}

#[test]
fn what_http_sys_and_the_registry_show_must_agree_after_a_write() {
    let double = Double::take();
    let records = Records::default();
    let [one, two, _] = double.certificates().map(back_end);
    records.set_record(&one).unwrap();
    assert_eq!(kept(&one).unwrap(), Kept::Same);
    // http.sys keeps its records elsewhere from here on; what the registry shows is of yesterday.
    let elsewhere = Scratch::new();
    double.say("home", elsewhere.path());
    let error = records.set_record(&two).unwrap_err().to_string();
    let [shown, wanted] = [&one, &two].map(|record| record.thumbprint.unwrap().to_string());
    let object = format!("the certificate of 0.0.0.0:444 in HKLM\\{}", key_of_back_end());
    assert_eq!(error, format!("{object}: expected {wanted}, found {shown}"));
    double.switch_on("updates");
    assert!(records.update_record(&one).unwrap());
    assert_eq!(records.update_record(&two).unwrap_err().to_string(), error);
    // A key without a hash, and one that is no hash.
    scratch::unset(&key_of_back_end(), HASH);
    assert_eq!(kept(&two).unwrap_err().to_string(), format!("{object}: expected {wanted}, found none"));
    scratch::set(&key_of_back_end(), HASH, REG_DWORD, &[0; 4]);
    assert!(kept(&two).unwrap_err().to_string().ends_with("expected REG_BINARY, found REG_DWORD of 4 bytes"));
}

#[test]
fn a_record_that_only_http_sys_knows_is_said_and_is_no_failure() {
    let double = Double::take();
    let elsewhere = Scratch::new();
    double.say("home", elsewhere.path());
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    for record in [record.clone(), at_endpoint(RecordKind::Sni, "ex1.lab.test:444", &record), central("*:444", &record)] {
        records.set_record(&record).unwrap();
        assert_eq!(kept(&record).unwrap(), Kept::Nowhere);
        assert_eq!(extras(&record).unwrap(), Vec::<String>::new());
    }
    assert_eq!(records.records().unwrap().len(), 3);
}

#[test]
fn a_write_that_leaves_no_record_is_an_error() {
    let double = Double::take();
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    // Answered with "done" before anything was.
    double.say("fail_set", "0");
    let expected = format!("the certificate of 0.0.0.0:444 in http.sys: expected {}, found none", record.thumbprint.unwrap());
    assert_eq!(records.set_record(&record).unwrap_err().to_string(), expected);
}

#[test]
fn records_by_name_are_found_in_the_registry_by_their_endpoint() {
    let double = Double::take();
    let records = Records::default();
    let [one, two, _] = double.certificates().map(back_end);
    let first = at_endpoint(RecordKind::Sni, "a.lab.test:444", &one);
    let second = at_endpoint(RecordKind::Sni, "b.lab.test:444", &two);
    records.set_record(&first).unwrap();
    records.set_record(&second).unwrap();
    assert_eq!(kept(&second).unwrap(), Kept::Same);
    let swapped = SslRecord { thumbprint: first.thumbprint, ..second };
    assert!(kept(&swapped).unwrap_err().to_string().contains(r"SslSniBindingInfo\{"));
}

#[test]
fn what_a_delete_would_lose_is_known_before() {
    let double = Double::take();
    double.switch_on("updates");
    let records = Records::default();
    let [one, two, _] = double.certificates().map(back_end);
    records.set_record(&one).unwrap();
    assert_eq!(extras(&one).unwrap(), Vec::<String>::new());
    scratch::set(&key_of_back_end(), "Http2WindowSize", REG_DWORD, &[0; 4]);
    scratch::create(&format!("{}\\TlsRestrictions", key_of_back_end()));
    let more = ["Http2WindowSize", "TlsRestrictions\\"];
    assert_eq!(extras(&one).unwrap(), more);
    records.update_record(&two).unwrap();
    assert_eq!(extras(&two).unwrap(), more);
    records.delete_record(&two).unwrap();
    records.set_record(&two).unwrap();
    assert_eq!(extras(&two).unwrap(), Vec::<String>::new());
    let by_name = at_endpoint(RecordKind::Sni, "a.lab.test:444", &one);
    records.set_record(&by_name).unwrap();
    assert_eq!(extras(&by_name).unwrap(), Vec::<String>::new());
}

#[test]
fn what_may_not_be_read_or_written_is_said_with_its_code() {
    let double = Double::take();
    double.switch_on("updates");
    let record = back_end(double.certificates()[0]);
    double.say("fail_initialize", "5,1");
    assert_eq!(code(Records::default().records()), 5);
    let records = Records::default();
    records.set_record(&record).unwrap();
    for call in ["query", "set", "delete", "update"] {
        double.say(&format!("fail_{call}"), "5,1");
    }
    let listed = records.records().unwrap_err().to_string();
    assert!(listed.ends_with("expected success, found error 5 (access denied)"), "{listed}");
    assert_eq!(code(records.delete_record(&record)), 5);
    assert_eq!(code(records.set_record(&record)), 5);
    assert_eq!(code(records.update_record(&record)), 5);
    assert_eq!(records.records().unwrap(), [record]);
}

#[test]
fn an_old_windows_has_records_by_address_only() {
    let double = Double::take();
    double.switch_on("old");
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    records.set_record(&record).unwrap();
    assert_eq!(code(records.set_record(&at_endpoint(RecordKind::Sni, "a.lab.test:444", &record))), 87);
    assert_eq!(records.records().unwrap(), [record]);
    // Where every Windows has them, the same answer is a failure.
    double.say("fail_query", "87");
    assert_eq!(code(records.records()), 87);
}

#[test]
fn the_api_is_left_as_it_was_entered() {
    let double = Double::take();
    assert!(Records::default().replaces().unwrap());
    assert_eq!(double.calls(), ["initialize 2 = 0", "terminate 2 = 0"]);
    double.say("fail_initialize", "5");
    assert_eq!(code(Records::default().records()), 5);
    assert_eq!(double.calls().len(), 3);
}

#[test]
fn a_list_is_believed_when_the_next_one_agrees() {
    let mut lists = [1, 2, 2, 3].into_iter();
    assert_eq!(agreed(|| Ok(lists.next().unwrap())).unwrap(), 2);
    let mut count = 0;
    let counted = agreed(|| {
        count += 1;
        Ok(count)
    });
    let error = counted.unwrap_err().to_string();
    assert_eq!(error, "records of http.sys: expected two lists that agree, found 11 that differ");
}

#[test]
fn a_change_of_a_record_ends_a_wait() {
    let double = Double::take();
    let records = Records::default();
    let record = back_end(double.certificates()[0]);
    KEYS.iter().for_each(|key| scratch::create(key));
    let mut watch = Watch::on(&KEYS).unwrap();
    let long = Duration::from_secs(30);
    records.set_record(&record).unwrap();
    assert_eq!(watch.wait(long).unwrap(), [0]);
    while !watch.wait(Duration::ZERO).unwrap().is_empty() {}
    records.set_record(&at_endpoint(RecordKind::Sni, "a.lab.test:444", &record)).unwrap();
    assert_eq!(watch.wait(long).unwrap(), [1]);
    while !watch.wait(Duration::ZERO).unwrap().is_empty() {}
    records.delete_record(&record).unwrap();
    assert_eq!(watch.wait(long).unwrap(), [0]);
}
