//! The lab is what it says it is: an http.sys with the semantics of the real one, two sites, and damage by the book.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent::driver::lab::control::{Answer, Request};
use agent::driver::lab::folder::StoredCertificate;
use agent::driver::lab::key::Key;
use agent::driver::{Driver, DriverError, State};
use agent::probe::probe;
use policy::bound::Bound;
use policy::certificate::Certificate;
use policy::id::CertificateId;
use policy::plan::Step;
use policy::report::{Fact, KeyState, ProbeOutcome, Setup, SslRecord, Store};
use tempfile::TempDir;
use tests::lab::{Call, Damage, Estate, Fault, Mode, Running, SCENARIOS, Server};
use tests::outside;

struct Lab {
    estate: Estate,
    running: Option<Running>,
    _folder: TempDir,
}

impl Lab {
    fn of(names: &[(&str, Option<&str>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let estate = Estate::with(folder.path(), names).unwrap();
        let running = Some(estate.up().unwrap());
        Self { estate, running, _folder: folder }
    }

    fn one() -> (Self, Server) {
        let lab = Self::of(&[("EX1", None)]);
        let server = lab.estate.server("EX1").unwrap();
        (lab, server)
    }

    /// Ends the process that owns the sockets, and starts it again.
    fn again(&mut self) {
        drop(self.running.take());
        self.running = Some(self.estate.up().unwrap());
    }
}

fn ask(server: &Server, request: &Request) -> Answer {
    server.http_sys().unwrap().ask(request).unwrap()
}

/// What 444 shows; `None` when the connection is accepted and no handshake takes place.
fn shown(server: &Server) -> Option<CertificateId> {
    let (probes, _) = probe(&server.driver(), 444, "ex1.lab.test");
    match &probes[0].outcome {
        ProbeOutcome::Presented { certificate } => Some(*certificate),
        ProbeOutcome::NoHandshake(_) => None,
        other @ (ProbeOutcome::Refused | ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_)) => panic!("{other:?}"),
    }
}

fn back_end(server: &Server) -> (SslRecord, Certificate) {
    (server.back_end_record().unwrap().unwrap(), server.back_end_certificate().unwrap().unwrap())
}

/// The body of a page.
fn page(address: SocketAddr, path: &str) -> String {
    let (status, body) = outside::get(address, "mail.lab.test", path).unwrap();
    assert_eq!(status, 200);
    body
}

#[test]
fn http_sys_refuses_with_the_codes_of_windows() {
    let (_lab, server) = Lab::one();
    let (record, certificate) = back_end(&server);
    let set = |record: &SslRecord| ask(&server, &Request::Set { record: record.clone() });
    let delete = Request::Delete { kind: record.kind, endpoint: record.endpoint.clone() };
    assert_eq!(set(&record), Answer::Refused(183));
    assert_eq!(ask(&server, &Request::Update { record: record.clone() }), Answer::Refused(120));
    assert_eq!(ask(&server, &delete), Answer::Done);
    assert_eq!(ask(&server, &delete), Answer::Refused(2));
    assert_eq!(set(&SslRecord { store: Some("WebHosting".to_owned()), ..record.clone() }), Answer::Refused(1312));
    assert_eq!(set(&SslRecord { store: Some("Root".to_owned()), ..record.clone() }), Answer::Refused(1312));
    assert_eq!(set(&SslRecord { endpoint: "nowhere".to_owned(), ..record.clone() }), Answer::Refused(87));

    let stored = server.files().certificate(&Store::My, certificate.thumbprint()).unwrap().unwrap();
    let container = stored.key.unwrap().container;
    let key = server.files().key(&container).unwrap().unwrap();
    let access = key.access().to_vec();
    // Without SYSTEM nobody can open it for http.sys.
    let network_service = access.iter().filter(|access| access.sid == "S-1-5-20").cloned().collect();
    server.files().write_key(&container, &key.with_access(network_service)).unwrap();
    assert_eq!(set(&record), Answer::Refused(1312));
    let key = server.files().key(&container).unwrap().unwrap().with_access(access);
    server.files().remove_key(&container).unwrap();
    assert_eq!(set(&record), Answer::Refused(1312));
    server.files().write_key(&container, &key).unwrap();
    assert_eq!(set(&record), Answer::Done);
    assert_eq!(shown(&server), Some(certificate.id()));
}

#[test]
fn a_deleted_certificate_is_served_until_the_restart_and_again_when_it_is_back() {
    let (mut lab, server) = Lab::one();
    let (record, certificate) = back_end(&server);
    let stored = server.files().certificate(&Store::My, certificate.thumbprint()).unwrap().unwrap();
    server.damage(&Damage::DeleteCertificate).unwrap();
    assert_eq!(shown(&server), Some(certificate.id()));
    server.restart().unwrap();
    assert_eq!(shown(&server), None);
    assert_eq!(server.back_end_record().unwrap(), Some(record));
    server.files().write_certificate(&Store::My, &stored).unwrap();
    assert_eq!(shown(&server), Some(certificate.id()));
    server.files().remove_certificate(&Store::My, certificate.thumbprint()).unwrap();
    assert_eq!(shown(&server), Some(certificate.id()));
    lab.again();
    assert_eq!(shown(&server), None);
}

#[test]
fn records_and_addresses_outlive_the_process() {
    let (mut lab, server) = Lab::one();
    let (records, address) = (server.records().unwrap(), server.address(444).unwrap());
    server.damage(&Damage::RemoveRecord).unwrap();
    lab.again();
    assert_eq!(server.address(444).unwrap(), address);
    let left = server.http_sys().unwrap().query().unwrap();
    assert_eq!(left, records.into_iter().filter(|record| !record.is_back_end()).collect::<Vec<_>>());
}

#[test]
fn a_front_end_proxies_to_any_back_end_and_is_blank_when_it_cannot() {
    let lab = Lab::of(&[("EX1", None), ("EX2", None)]);
    let (ex1, ex2) = (lab.estate.server("EX1").unwrap(), lab.estate.server("EX2").unwrap());
    let front = ex1.address(443).unwrap();
    assert_eq!(page(front, "/owa/"), "Exchange Back End EX1\n");
    assert_eq!(page(front, "/owa/?mailbox=ex2"), "Exchange Back End EX2\n");
    assert_eq!(page(ex2.address(444).unwrap(), "/owa/"), "Exchange Back End EX2\n");
    ex2.damage(&Damage::RemoveRecord).unwrap();
    assert_eq!(page(front, "/owa/?mailbox=EX2"), "");
    assert_eq!(page(front, "/owa/"), "Exchange Back End EX1\n");
    // The front end keeps its own record, whatever becomes of 444.
    assert_eq!(page(ex2.address(443).unwrap(), "/owa/"), "");
}

#[test]
fn each_damage_is_what_its_row_says_and_heals_without_a_trace() {
    let (_lab, server) = Lab::one();
    let installed = server.snapshot().unwrap();
    let seen = || server.driver().observe().unwrap();
    let days = |count: u32| Damage::Expiring { days: count };
    let cases: [(Damage, &dyn Fn() -> bool); 9] = [
        (Damage::DeleteCertificate, &|| matches!(Bound::of(&seen()), Bound::Dangling { .. }) && shown(&server).is_some()),
        (Damage::RemoveRecord, &|| {
            matches!(Bound::of(&seen()), Bound::NoRecord) && server.snapshot().unwrap().len() == installed.len() - 1
        }),
        (Damage::RemoveRecordAndCertificate, &|| matches!(Bound::of(&seen()), Bound::NoRecord) && shown(&server).is_none()),
        (days(20), &|| ends_in_days(&server) == 20 && matches!(Bound::of(&seen()), Bound::Whole { .. })),
        (Damage::Expired { days: 3 }, &|| ends_in_days(&server) == -3 && matches!(Bound::of(&seen()), Bound::Whole { .. })),
        (Damage::Distrust, &|| {
            server.files().certificate(&Store::Disallowed, back_end(&server).1.thumbprint()).unwrap().is_some()
        }),
        (Damage::DeleteKey, &|| matches!(Bound::of(&seen()), Bound::KeyUnusable { state: KeyState::Missing, .. })),
        (Damage::SetupRunning, &|| matches!(seen().report.setup.known(), Some(Setup::Running(_)))),
        (Damage::ForeignRecordRewrite { within_ms: 10 }, &|| server.snapshot().unwrap() == installed),
    ];
    for (damage, holds) in cases {
        server.damage(&damage).unwrap();
        assert!(holds(), "{damage:?}");
        server.fault(Fault::new(Call::Watch, Mode::Fail)).unwrap();
        server.heal().unwrap();
        assert_eq!(server.snapshot().unwrap(), installed, "{damage:?}");
        assert!(matches!(Bound::of(&seen()), Bound::Whole { .. }), "{damage:?}");
        assert!(shown(&server).is_some(), "{damage:?}");
        assert!(server.driver().watch(Duration::ZERO).is_ok(), "a fault outlives healing");
    }
}

fn ends_in_days(server: &Server) -> i64 {
    let left = back_end(server).1.not_after().duration_since(jiff::Timestamp::now());
    // The hours of the day have gone on since.
    (left.as_secs_f64() / 86_400.0).round() as i64
}

#[test]
fn years_that_pass_change_nothing_but_the_back_ends_certificate() {
    let (_lab, server) = Lab::one();
    let before = server.snapshot().unwrap();
    let (_, outgoing) = back_end(&server);
    server.damage(&Damage::Expiring { days: 20 }).unwrap();
    let after = server.snapshot().unwrap();
    let (_, aged) = back_end(&server);
    let own = |name: &str| name.contains(&outgoing.thumbprint().to_string()) || name.contains(&aged.thumbprint().to_string());
    let others = |snapshot: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        snapshot
            .iter()
            .filter(|(name, _)| !own(name) && !name.starts_with("keys/"))
            // The directory names the new one as the transport certificate, as it did the old one.
            .filter(|(name, _)| !["host.json", "record/address/0.0.0.0:444"].contains(&name.as_str()))
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect()
    };
    assert_eq!(others(&before), others(&after));
    assert_eq!(before.len(), after.len());
    assert_eq!(aged.names(), outgoing.names());
    assert_eq!(shown(&server), Some(aged.id()));
    let machine = server.driver().observe().unwrap().report.machine;
    assert_eq!(machine.transport, Fact::Known(Some(aged.thumbprint())));
}

#[test]
fn the_driver_lives_without_an_http_sys() {
    let (mut lab, server) = Lab::one();
    let driver = server.driver();
    let before = driver.observe().unwrap();
    drop(lab.running.take());
    let sight = driver.observe().unwrap();
    assert!(sight.report.records.known().is_none());
    assert_eq!(sight.report.stores, before.report.stores);
    assert!(matches!(driver.dial(444, driver.paths()[0], Duration::from_secs(5)), Err(DriverError::Io { .. })));
    let hint = server.restart().unwrap_err().to_string();
    assert!(hint.contains("is backstay-lab up?"), "{hint}");
    lab.again();
    assert_eq!(driver.observe().unwrap(), before);
}

#[test]
fn the_state_of_a_key_is_found_by_opening_it() {
    let (_lab, server) = Lab::one();
    let (record, certificate) = back_end(&server);
    let files = server.files();
    let stored = files.certificate(&record.store(), certificate.thumbprint()).unwrap().unwrap();
    let link = stored.key.clone().unwrap();
    let state = || {
        let report = server.driver().observe().unwrap().report;
        let entry = report.entry(&record.store(), certificate.thumbprint()).known().copied().flatten().cloned().unwrap();
        entry.key_state.known().copied().unwrap()
    };
    assert_eq!(state(), KeyState::Usable);
    let key = files.key(&link.container).unwrap().unwrap();
    let access = key.access().to_vec();
    files.write_key(&link.container, &key.with_access(Vec::new())).unwrap();
    assert_eq!(state(), KeyState::Denied);
    files.write_key(&link.container, &Key::generate(2048, access).unwrap()).unwrap();
    assert_eq!(state(), KeyState::Foreign);
    files.remove_key(&link.container).unwrap();
    assert_eq!(state(), KeyState::Missing);
    files.write_certificate(&record.store(), &StoredCertificate { key: None, ..stored }).unwrap();
    assert_eq!(state(), KeyState::NotLinked);
}

#[test]
fn a_closed_key_is_no_key_to_work_with_and_can_be_opened_again() {
    let (_lab, server) = Lab::one();
    let (record, certificate) = back_end(&server);
    let (files, driver) = (server.files(), server.driver());
    let StoredCertificate { der, friendly_name, key, .. } =
        files.certificate(&record.store(), certificate.thumbprint()).unwrap().unwrap();
    let (key, container) = (key.clone().unwrap(), key.unwrap().container);
    let add = Step::AddCertificate { der, store: record.store(), key, friendly_name };
    assert_eq!(driver.check(&add).unwrap(), State::Done);

    let access = files.key(&container).unwrap().unwrap().access().to_vec();
    files.write_key(&container, &files.key(&container).unwrap().unwrap().with_access(Vec::new())).unwrap();
    let before = driver.observe().unwrap();
    // Whose key it is cannot be told, so nothing is linked to it.
    assert!(matches!(driver.check(&add).unwrap(), State::Blocked(difference) if difference.found == "access denied"));
    assert!(driver.apply(&add).is_err());
    // It is there, and no other is made in its place.
    assert_eq!(driver.check(&Step::CreateKey { container: container.clone(), bits: 2048 }).unwrap(), State::Done);
    // A swap to it can be taken back, and no record is pointed at it.
    let records = before.report.records.known().unwrap();
    let front_end = records.iter().find(|record| record.port() == Some(443)).unwrap().thumbprint;
    let from = SslRecord { thumbprint: front_end, store: Some("MY".to_owned()), ..record.clone() };
    let swap = Step::Swap { from: from.clone(), container: container.clone() };
    assert_eq!(driver.check(&swap).unwrap(), State::Done);
    driver.undo(&swap).unwrap();
    // Not even for a moment: a removal of the old record, asked for on the way, would answer with another code.
    server.fault(Fault::new(Call::Delete, Mode::Fail)).unwrap();
    for step in [&swap, &Step::ChangeRecord { from, to: record }] {
        let refused = driver.apply(step);
        assert!(matches!(refused, Err(DriverError::Refused { code: 1312, .. })), "{refused:?}");
    }
    server.clear_faults().unwrap();

    let grant = Step::GrantKey { container, access };
    assert_eq!(driver.check(&grant).unwrap(), State::Ready);
    driver.apply(&grant).unwrap();
    assert_eq!(driver.check(&grant).unwrap(), State::Done);
    assert_eq!(driver.check(&add).unwrap(), State::Done);
    driver.apply(&swap).unwrap();
}

#[test]
fn damaged_files_are_unknown_facts_or_errors_that_name_the_file() {
    let (_lab, server) = Lab::one();
    let driver = server.driver();
    let spoil = |name: &str| {
        let path = server.folder().join(name);
        for bytes in [b"".as_slice(), b"{", b"[]", b"\xff\xfe", b"null"] {
            std::fs::write(&path, bytes).unwrap();
            match driver.observe() {
                Ok(sight) => {
                    let report = sight.report;
                    let unknown = [report.stores.unknown(), report.sites.unknown()];
                    let known_key =
                        report.containers.known().is_some_and(|all| all.iter().all(|found| found.key_id.known().is_some()));
                    assert!(!known_key || unknown.iter().any(Option::is_some), "{name} with {bytes:?} is taken for whole");
                }
                Err(error) => assert!(agent::chain(&error).contains(name), "{error}"),
            }
        }
        server.heal().unwrap();
    };
    let (record, certificate) = back_end(&server);
    let stored = server.files().certificate(&record.store(), certificate.thumbprint()).unwrap().unwrap();
    spoil(&format!("stores/MY/{}.json", certificate.thumbprint()));
    spoil(&format!("keys/{}.json", stored.key.unwrap().container));
    spoil("applicationHost.config");
    spoil("host.json");
}

#[test]
fn an_estate_is_served_once_and_grows() {
    let (lab, server) = Lab::one();
    let twice = lab.estate.up().unwrap_err().to_string();
    assert!(twice.contains("another backstay-lab"), "{twice}");
    let folder = lab.estate.folder();
    let snapshot = server.snapshot().unwrap();
    let grown = Estate::with(folder, &[("EX1", None), ("EX2", Some("DAG1"))]).unwrap();
    assert_eq!(grown.servers().unwrap().len(), 2);
    assert_eq!(server.snapshot().unwrap(), snapshot);
    assert!(Estate::open(Path::new("/nowhere")).is_err());
    assert!(grown.server("EX9").unwrap_err().to_string().contains("EX1, EX2"));
    let machine = |name: &str| grown.server(name).unwrap().files().host().unwrap().machine_id;
    assert_ne!(machine("EX1"), machine("EX2"));
}

#[test]
fn nonsense_on_the_control_socket_is_refused_and_hurts_nobody() {
    let (_lab, server) = Lab::one();
    let mut socket = std::os::unix::net::UnixStream::connect(server.folder().join("httpsys.sock")).unwrap();
    socket.write_all(b"nonsense\n{\"call\":\"set\"}\n").unwrap();
    let mut lines = BufReader::new(&socket).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"refused":87}"#);
    }
    drop(lines);
    TcpStream::connect(server.address(444).unwrap()).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(shown(&server).is_some());
}

/// The program itself.
struct Program(Child);

impl Program {
    fn up(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backstay-lab"));
        command.args(["up", "--until-stdin-closes", "--server", "EX1", "--dir"]).arg(folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().starts_with("EX1") {}
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_program_serves_until_its_input_closes_and_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::up(folder.path());
    let server = Estate::open(folder.path()).unwrap().server("EX1").unwrap();
    let (_, certificate) = back_end(&server);
    assert_eq!(shown(&server), Some(certificate.id()));
    program.0.kill().unwrap();
    program.0.wait().unwrap();
    assert!(!server.is_up());

    let mut program = Program::up(folder.path());
    assert_eq!(shown(&server), Some(certificate.id()));
    drop(program.0.stdin.take());
    assert!(program.0.wait().unwrap().success());
    assert!(!server.is_up());
}

#[test]
fn a_state_is_staged_by_its_id_and_what_is_to_be_expected_is_said() {
    let (lab, server) = Lab::one();
    let lab_says = |arguments: &[&str]| {
        let said = Command::new(env!("CARGO_BIN_EXE_backstay-lab"))
            .args(arguments)
            .args(["--dir", lab.estate.folder().to_str().unwrap()])
            .output()
            .unwrap();
        (said.status.success(), String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr))
    };
    let (done, said) = lab_says(&["scenario", "c5", "--server", "EX1"]);
    assert!(done && said.contains("BST101") && said.contains("restore_record by itself"), "{said}");
    assert_eq!(server.back_end_record().unwrap(), None);
    assert!(lab_says(&["heal", "--server", "EX1"]).0);
    let (done, said) = lab_says(&["list"]);
    assert!(done && SCENARIOS.iter().all(|state| said.contains(state.title)), "{said}");
    let (done, said) = lab_says(&["scenario", "F99", "--server", "EX1"]);
    assert!(!done && said.contains("expected one of C1, C2,"), "{said}");
    // Every row that has a damage of its own is a word for `break` too.
    for row in SCENARIOS.iter().filter_map(|state| <[Damage; 1]>::try_from(state.damage.to_vec()).ok()) {
        for id in row[0].row().split(" and ") {
            let (known, said) = lab_says(&["break", "--server", "EX1", id, "--help"]);
            assert!(known, "{id}: {said}");
        }
    }
}
