use super::*;

const ENGLISH: &str = "
SSL Certificate bindings: 
------------------------- 

    IP:port                      : 0.0.0.0:444
    Certificate Hash             : 823884a32609dcdc8c4b5462952586c30d814073
    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}
    Certificate Store Name       : My
    Verify Client Certificate Revocation : Enabled
    Verify Revocation Using Cached Client Certificate Only : Disabled
    Usage Check                  : Enabled
    Revocation Freshness Time    : 0
    URL Retrieval Timeout        : 0
    Ctl Identifier               : (null)
    Ctl Store Name               : (null)
    DS Mapper Usage              : Disabled
    Negotiate Client Certificate : Enabled
    Reject Connections           : Disabled
    Disable HTTP2                : Set
    Disable QUIC                 : Not Set
    Extended Properties: 
      Property ID                  : 0
      Receive Window               : 1048576

    Hostname:port                : mail.contoso.test:443
    Certificate Hash             : a60c6e62ff85d208df668d597a1b077e1534147f
    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}
    Certificate Store Name       : (null)
    Verify Client Certificate Revocation : Disabled
    Verify Revocation Using Cached Client Certificate Only : Enabled
    Usage Check                  : Disabled
    Revocation Freshness Time    : 60
    URL Retrieval Timeout        : 15000
    Ctl Identifier               : trust
    Ctl Store Name               : CA
    DS Mapper Usage              : Enabled
    Negotiate Client Certificate : Disabled

    Central Certificate Store    : 8443
    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}
    DS Mapper Usage              : Disabled
    Negotiate Client Certificate : Disabled

    IP:port                      : [::]:445
    Certificate Hash             : (null)
    Application ID               : {00000000-0000-0000-0000-000000000000}
    Certificate Store Name       : (null)
";

const GERMAN: &str = "
SSL-Zertifikatbindungen:
-------------------------

    IP:Port                      : 0.0.0.0:444
    Zertifikathash               : 823884a32609dcdc8c4b5462952586c30d814073
    Anwendungs-ID                : {4dc3e181-e14b-4a21-b022-59fc669b0914}
    Zertifikatspeichername       : My
    Clientzertifikatsperrung überprüfen : Aktiviert
    Sperrung nur mit zwischengespeichertem Clientzertifikat überprüfen : Deaktiviert
    Verwendungsüberprüfung       : Aktiviert
    Sperrungsaktualisierungszeit : 0
    Zeitlimit für URL-Abruf      : 0
    CTL-ID                       : (null)
    CTL-Speichername             : (null)
    DS-Zuordnungsverwendung      : Deaktiviert
    Clientzertifikat aushandeln  : Aktiviert
    Verbindungen ablehnen        : Deaktiviert
    HTTP2 deaktivieren           : Festgelegt
    QUIC deaktivieren            : Nicht festgelegt
";

#[test]
fn english_records_are_read_whole() {
    let records = read(ENGLISH).expect("a list");
    let [back_end, named, central, empty] = &records[..] else { panic!("{records:?}") };
    assert!(back_end.is_back_end());
    assert_eq!(back_end.thumbprint, "823884A32609DCDC8C4B5462952586C30D814073".parse().ok());
    assert_eq!(back_end.store.as_deref(), Some("My"));
    assert_eq!(back_end.app_id, Fact::Known("{4dc3e181-e14b-4a21-b022-59fc669b0914}".into()));
    assert_eq!(back_end.parameters, Fact::Known(SslParameters { flags: 0x12, ..SslParameters::default() }));
    assert_eq!((named.kind, named.endpoint.as_str()), (RecordKind::Sni, "mail.contoso.test:443"));
    let parameters = SslParameters {
        check_mode: 0x1_0007,
        freshness: 60,
        url_timeout: 15_000,
        ctl_identifier: Some("trust".into()),
        ctl_store: Some("CA".into()),
        flags: 1,
    };
    assert_eq!((&named.store, &named.parameters), (&None, &Fact::Known(parameters)));
    assert_eq!((central.kind, central.endpoint.as_str(), central.thumbprint), (RecordKind::Ccs, "*:8443", None));
    assert!(central.parameters.unknown().is_some(), "{central:?}");
    assert_eq!((empty.kind, empty.endpoint.as_str(), empty.thumbprint), (RecordKind::Address, "[::]:445", None));
}

#[test]
fn german_records_say_the_same() {
    assert_eq!(read(GERMAN).expect("a list")[..], read(ENGLISH).expect("a list")[..1]);
}

#[test]
fn an_unknown_language_leaves_only_the_parameters_unknown() {
    let other = GERMAN.replace("Aktiviert", "Habilitado").replace("SSL-Zertifikatbindungen", "Enlaces");
    let records = read(&other).expect("a list");
    assert_eq!(records[0].store.as_deref(), Some("My"));
    assert!(records[0].is_back_end() && records[0].parameters.unknown().is_some_and(|why| why.contains("Habilitado")));
    let newer = ENGLISH.replace("Disable QUIC                 : Not Set", "Enable Wonder : Set");
    assert!(read(&newer).expect("a list")[0].parameters.unknown().is_some_and(|why| why.contains("Enable Wonder")));
}

#[test]
fn an_empty_list_is_a_list_and_other_text_is_not() {
    assert_eq!(read("\nSSL Certificate bindings: \n-------------------------\n"), Ok(Vec::new()));
    for other in ["", "hello : world", "Port : 444\nPID : 4", "a : b:1\nc : d"] {
        assert_eq!(read(other), Err(NetshError), "{other}");
    }
}
