use super::*;
use crate::xml;

const BACK_END: &str = "A178873B314030E17463122E23BB285AF0C51338";
const NEW: &str = "E3E7F943851C094A834B82A0D55251D0940A2FF3";

/// An event as the log renders it, with a message that must not matter.
fn rendered(provider: &str, number: u32, time: &str, data: &str) -> String {
    format!(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='{provider}' Guid='{{7b6bc78c}}'/>\
         <EventID Qualifiers='49152'>{number}</EventID><Version>0</Version><Level>2</Level><TimeCreated SystemTime='{time}'/>\
         <EventRecordID>4711</EventRecordID><Channel>System</Channel><Computer>EX1.contoso.test</Computer><Security/></System>{data}\
         <RenderingInfo Culture='de-DE'><Message>Fehler bei der Verwendung der SSL-Konfiguration</Message></RenderingInfo></Event>"
    )
}

fn read_text(text: &str) -> Option<Event> {
    read(&xml::parse(text).expect("XML")).expect("an event")
}

fn read_data(provider: &str, number: u32, data: &str) -> Option<Event> {
    read_text(&rendered(provider, number, "2026-11-22T10:00:00.1234567Z", data))
}

fn named_data(values: &[(&str, &str)]) -> String {
    let data: String = values.iter().map(|(name, value)| format!("<Data Name='{name}'>{value}</Data>")).collect();
    format!("<EventData>{data}<Binary>0000</Binary></EventData>")
}

fn placed_data(values: &[&str]) -> String {
    let data: String = values.iter().map(|value| format!("<Data>{value}</Data>")).collect();
    format!("<EventData>{data}</EventData>")
}

fn event(kind: EventKind, thumbprint: Option<&str>, object: Option<&str>, process: Option<&str>, account: Option<&str>) -> Event {
    Event {
        at: "2026-11-22T10:00:00Z".parse().expect("a time"),
        kind,
        thumbprint: thumbprint.map(|text| text.parse().expect("a thumbprint")),
        object: object.map(str::to_owned),
        process: process.map(str::to_owned),
        account: account.map(str::to_owned),
    }
}

#[test]
fn what_http_sys_says_of_an_endpoint_is_read() {
    for (number, kind) in
        [(15021, EventKind::CredentialFailed), (15300, EventKind::RecordDeleted), (15301, EventKind::RecordWritten)]
    {
        let data = named_data(&[("DeviceObject", r"\Device\Http\ReqQueue"), ("Endpoint", "0.0.0.0:444")]);
        assert_eq!(read_data(HTTP, number, &data), Some(event(kind, None, Some("0.0.0.0:444"), None, None)));
    }
    assert_eq!(read_data(HTTP, 15007, &named_data(&[("Url", "http://+:80/")])), None);
}

#[test]
fn who_took_a_certificate_is_read() {
    let details = format!("<CertificateDetails Thumbprint='{}'><SubjectNames/></CertificateDetails>", BACK_END.to_lowercase());
    let data = format!(
        "<UserData><CertNotificationData xmlns='urn:x' ProcessName='mmc.exe' AccountName='CONTOSO\\Administrator' Context='Machine'>\
         {details}</CertNotificationData></UserData>"
    );
    for (number, kind) in
        [(1004, EventKind::CertificateDeleted), (1005, EventKind::CertificateArchived), (1006, EventKind::CertificateInstalled)]
    {
        let expected = event(kind, Some(BACK_END), None, Some("mmc.exe"), Some(r"CONTOSO\Administrator"));
        assert_eq!(read_data(LIFE_CYCLE, number, &data), Some(expected));
    }
    assert_eq!(read_data(LIFE_CYCLE, 1007, &data), None);
}

#[test]
fn a_replaced_certificate_is_the_old_one_and_names_the_new_one() {
    let data = format!(
        "<UserData><CertNotificationData ProcessName='taskhostw.exe' AccountName='CONTOSO\\EX1$'>\
         <OldCertificateDetails Thumbprint='{BACK_END}'/><NewCertificateDetails Thumbprint='{NEW}'/></CertNotificationData></UserData>"
    );
    let expected = event(EventKind::CertificateReplaced, Some(BACK_END), Some(NEW), Some("taskhostw.exe"), Some(r"CONTOSO\EX1$"));
    assert_eq!(read_data(LIFE_CYCLE, 1001, &data), Some(expected));
}

#[test]
fn a_key_that_fails_is_a_servers_and_not_a_clients() {
    let data = |kind| named_data(&[("Type", kind), ("ErrorCode", "0x8009030D"), ("ErrorStatus", "10001")]);
    let expected = Some(event(EventKind::KeyFailed, None, Some("0x8009030D"), None, None));
    assert_eq!(read_data(SCHANNEL, 36870, &data("server")), expected);
    assert_eq!(read_data(SCHANNEL, 36870, &data("client")), None);
    let older = "<UserData><EventXML xmlns='LSA_NS'><Type>server</Type><ErrorCode>0x8009030D</ErrorCode></EventXML></UserData>";
    assert_eq!(read_data(SCHANNEL, 36870, older), expected);
    let newer = named_data(&[("CallerProcessId", "4"), ("CallerProcessImageName", "lsass.exe"), ("Type", "server")]);
    assert_eq!(read_data(SCHANNEL, 36869, &newer), Some(event(EventKind::KeyFailed, None, None, Some("lsass.exe"), None)));
}

#[test]
fn the_connector_and_the_certificate_of_transport_are_read_by_place() {
    let connector = placed_data(&["ex1.contoso.test", "Default Frontend EX1", "ex1.contoso.test"]);
    let lost = event(EventKind::TransportCertificate, None, Some("Default Frontend EX1"), None, None);
    assert_eq!(read_data(FRONT_END_TRANSPORT, 12014, &connector), Some(lost));
    let expired = event(EventKind::TransportCertificate, Some(BACK_END), None, None, None);
    assert_eq!(read_data(TRANSPORT, 12015, &placed_data(&[BACK_END])), Some(expired));
    assert_eq!(read_data(TRANSPORT, 12017, &placed_data(&[BACK_END, "20"])), None);
}

#[test]
fn a_recovery_action_names_what_it_does_to_what_and_who_wanted_it() {
    let data = "<UserData><EventXML xmlns='myNs'><Id>RecycleApplicationPool</Id><ResourceName>MSExchangeOWAAppPool</ResourceName>\
                <RequestorName>OwaCtpRecycleAppPool</RequestorName><State>Started</State></EventXML></UserData>";
    let object = "RecycleApplicationPool MSExchangeOWAAppPool";
    let expected = event(EventKind::RecoveryAction, None, Some(object), Some("OwaCtpRecycleAppPool"), None);
    assert_eq!(read_data(MANAGED_AVAILABILITY, 500, data), Some(expected));
}

#[test]
fn an_update_is_named_by_its_article_and_antivirus_updates_are_none() {
    let windows = |title| read_data(WINDOWS_UPDATE, 19, &named_data(&[("updateTitle", title), ("updateGuid", "{1}")]));
    let update = |object| Some(event(EventKind::Update, None, Some(object), None, None));
    assert_eq!(windows("Sicherheitsupdate für Exchange Server 2019 CU14 SU1 (KB5030877)"), update("KB5030877"));
    assert_eq!(windows("Security Update For Exchange Server 2019 CU14 SU1 (KB5030877)"), update("KB5030877"));
    assert_eq!(windows("Ein Treiber"), update("Ein Treiber"));
    assert_eq!(windows("Security Intelligence-Update (KB2267602) - Version 1.1"), None);
    let patch =
        |product| read_data(INSTALLER, 1036, &placed_data(&[product, "15.2.1544.4", "1033", "Security Update KB5030877", "0"]));
    assert_eq!(patch("Microsoft Exchange Server"), update("KB5030877"));
    assert_eq!(patch("Microsoft Visual C++ 2013"), None);
}

#[test]
fn what_fails_elsewhere_is_told_by_its_provider() {
    let told = |provider, number| read_data(provider, number, &placed_data(&["Ecp", "System.NullReferenceException"]));
    let expected = |object| Some(event(EventKind::WebFailure, None, Some(object), None, None));
    assert_eq!(told("MSExchange Control Panel", 4), expected("MSExchange Control Panel"));
    assert_eq!(told("MSExchange Front End HTTP Proxy", 1003), expected("MSExchange Front End HTTP Proxy"));
    assert_eq!(told("MSExchange Common", 4999), None);
}

#[test]
fn the_language_of_windows_changes_nothing() {
    let data = named_data(&[("Endpoint", "0.0.0.0:444")]);
    let german = rendered(HTTP, 15300, "2026-11-22T10:00:00Z", &data);
    let english = german.replace("de-DE", "en-US").replace("Fehler bei der Verwendung", "An error occurred while using");
    assert_ne!(german, english);
    assert_eq!(read_text(&german), read_text(&english));
}

#[test]
fn an_event_without_writer_number_or_time_is_refused() {
    let whole = rendered(HTTP, 15300, "2026-11-22T10:00:00Z", "");
    for (from, to, wanted) in [
        (
            "Provider Name",
            "Provider Nam",
            "expected the name of its provider in <System> of the <Event> at line 1, column 1, found None",
        ),
        (">15300<", ">x<", "expected its number in <System> of the <Event> at line 1, column 1, found Some(\"x\")"),
        ("2026-11-22T", "", "expected its time in <System> of the <Event> at line 1, column 1, found Some(\"10:00:00Z\")"),
    ] {
        let text = whole.replace(from, to);
        assert_ne!(text, whole);
        assert_eq!(read(&xml::parse(&text).expect("XML")).expect_err(wanted).to_string(), wanted);
    }
    let damaged = xml::parse("<Event><System><Provider/></System></Event>").expect("XML");
    assert!(read(&damaged).is_err());
}

#[test]
fn a_long_parameter_is_cut() {
    let data = named_data(&[("Endpoint", &"x".repeat(10_000))]);
    let read = read_data(HTTP, 15300, &data).and_then(|event| event.object).expect("an object");
    assert_eq!(read.len(), MOST_CHARACTERS);
}

#[test]
fn a_channel_is_asked_by_provider_number_and_age() {
    let [system, application, life_cycle, _] = CHANNELS;
    assert_eq!(
        life_cycle.query(),
        "*[System[((Provider[(@Name='Microsoft-Windows-CertificateServicesClient-Lifecycle-System')] and (EventID=1001 or EventID=1004 \
         or EventID=1005 or EventID=1006))) and TimeCreated[timediff(@SystemTime) <= 604800000]]]"
    );
    // The log refuses a query of more than some twenty conditions.
    for channel in [system, application] {
        assert!(channel.query().matches('=').count() <= 20, "{}", channel.query());
    }
}

#[test]
fn every_event_that_is_asked_for_is_read_and_every_kind_is_asked_for() {
    let asked = CHANNELS.iter().flat_map(|channel| channel.sources);
    let kinds: Option<BTreeSet<EventKind>> = asked
        .flat_map(|source| {
            source.providers.iter().flat_map(|provider| source.numbers.iter().map(|number| kind(provider, *number)))
        })
        .collect();
    assert_eq!(kinds, Some(EventKind::ALL.into()));
}

fn at(second: i64, event: Event) -> Event {
    Event { at: Timestamp::from_second(1_795_000_000 + second).expect("a time"), ..event }
}

#[test]
fn what_repeats_is_told_once_an_hour() {
    let failed = || event(EventKind::CredentialFailed, None, Some("0.0.0.0:444"), None, None);
    // 1 795 000 000 is 400 seconds after a full hour.
    let events = (0..4_000).map(|second| at(second, failed()));
    assert_eq!(of_late(events), [at(0, failed()), at(3_200, failed())]);
    let other = event(EventKind::CredentialFailed, None, Some("[::]:444"), None, None);
    assert_eq!(of_late([at(1, other.clone()), at(0, failed())]), [at(0, failed()), at(1, other)]);
}

#[test]
fn the_loudest_does_not_drown_the_one_that_names_who_did_it() {
    let deleted = || at(0, event(EventKind::CertificateDeleted, Some(BACK_END), None, Some("mmc.exe"), None));
    let noise = |hour: i64| at(hour * 3_600, event(EventKind::WebFailure, None, Some("MSExchange Control Panel"), None, None));
    let told = of_late((1..=200).map(noise).chain([deleted()]));
    assert_eq!(told.len(), Machine::MOST_EVENTS);
    assert_eq!(told.first(), Some(&deleted()));
    assert_eq!(told.last(), Some(&noise(200)));
    assert!(told.is_sorted_by_key(|event| event.at));
}
