//! What an agent says is believed only of itself, and only when it reads.

use std::io::Write;
use std::net::TcpStream;

use agent::driver::Driver as _;
use policy::id::Sha256;
use policy::report::Fact;
use proto::agent::open_request::Message as Up;
use proto::agent::{Certificates, Hello, ReportMessage};
use tests::estate::Estate;
use tests::impostor::{Heard, Impostor};
use tonic::Code;

use super::{LIMIT, estate};

/// An estate whose EX1 speaks by us, and the newest report that the controller has of it.
fn impersonated() -> (Estate, Impostor, Known) {
    let mut estate = estate(&["EX1", "EX2"], &[]);
    // Their certificates follow their first reports: until then nothing is known of them, and what is known changes by itself.
    for server in ["EX1", "EX2"] {
        estate.wait_verdict(server, "healthy", LIMIT).expect("seen");
    }
    estate.stop_agent("EX1").expect("stops");
    let machine_id = estate.host("EX1").expect("a host").files().host().expect("host.json").machine_id;
    let impostor = Impostor::with(&estate.agent_folder("EX1").join("state"), &machine_id).expect("its identity");
    let known = Known::of(&estate);
    (estate, impostor, known)
}

/// What the controller knows of both servers.
#[derive(Debug, PartialEq)]
struct Known(Vec<(proto::types::Generation, String, String)>);

impl Known {
    fn of(estate: &Estate) -> Self {
        let one = |name: &str| {
            let known = estate.desk().server(name).expect("a server");
            let server = known.server.expect("a server");
            (server.generation.expect("a report"), server.verdict, server.mode)
        };
        Self(["EX1", "EX2"].map(one).into())
    }

    fn generation(&self) -> proto::types::Generation {
        self.0[0].0
    }
}

/// What EX1 would honestly report next.
fn honest(estate: &Estate, known: &Known) -> ReportMessage {
    let sight = estate.host("EX1").expect("a host").driver().observe().expect("a look");
    let generation = proto::types::Generation { counter: known.generation().counter + 1, ..known.generation() };
    ReportMessage {
        generation: Some(generation),
        report: Some(sight.report.into()),
        decision: "said by somebody else".to_owned(),
        seen_at: jiff::Timestamp::now().as_microsecond(),
        memory: Vec::new(),
    }
}

fn ended(heard: &Heard, code: Code, words: &[&str]) {
    let status = heard.ended.as_ref().unwrap_or_else(|| panic!("expected {code:?} with {words:?}, found {heard:?}"));
    assert_eq!(status.code(), code, "{status:?}");
    for word in words {
        assert!(status.message().contains(word), "expected {word:?} in {:?}", status.message());
    }
}

fn unchanged(estate: &mut Estate, known: &Known) {
    assert_eq!(Known::of(estate), *known);
    estate.controller().expect("a controller").still_runs().expect("it runs");
    estate.desk().ok(&["audit", "verify"]).expect("the trail verifies");
}

#[test]
fn a_message_in_the_name_of_another_server_ends_the_stream_and_changes_nothing() {
    let (mut estate, mut impostor, known) = impersonated();
    let heard = impostor.say(Hello { server: "EX2".to_owned(), ..impostor.hello() }, Vec::new()).expect("an answer");
    ended(&heard, Code::PermissionDenied, &["EX1", "EX2"]);

    let mut report = honest(&estate, &known);
    report.report.as_mut().and_then(|report| report.host.as_mut()).expect("a host").name = "EX2".to_owned();
    let heard = impostor.say(impostor.hello(), vec![Up::Report(report)]).expect("an answer");
    ended(&heard, Code::PermissionDenied, &["EX1", "EX2"]);

    unchanged(&mut estate, &known);
    let told = estate.desk().ok(&["audit", "list", "--all"]).expect("a trail");
    assert!(told.contains("agent.refused"), "{told}");
    estate.check_logs(&["an identity is doubted"]).expect("nothing else is complained of");
}

#[test]
fn a_report_that_was_said_before_or_is_older_is_refused() {
    let (mut estate, mut impostor, known) = impersonated();
    let report = honest(&estate, &known);
    let generation = known.generation();
    let cases = [
        (proto::types::Generation { counter: 0, ..generation }, "generation above"),
        (generation, "same generation"),
        (proto::types::Generation { epoch: generation.epoch + 1, ..generation }, "epoch"),
    ];
    for (generation, word) in cases {
        let replayed = ReportMessage { generation: Some(generation), ..report.clone() };
        let heard = impostor.say(impostor.hello(), vec![Up::Report(replayed)]).expect("an answer");
        ended(&heard, Code::FailedPrecondition, &["EX1", word]);
    }
    unchanged(&mut estate, &known);
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn what_is_too_large_cut_off_or_unknown_is_refused_with_its_field() {
    let (mut estate, mut impostor, known) = impersonated();
    let report = honest(&estate, &known);
    let long = |length: usize| ReportMessage { decision: "x".repeat(length), ..report.clone() };
    let without_host = || {
        let mut report = report.clone();
        report.report.as_mut().expect("a report").host = None;
        report
    };
    let with_role = |number: i32| {
        let mut report = report.clone();
        let exchange = report.report.as_mut().and_then(|report| report.exchange.as_mut()).expect("a fact");
        exchange.fact = Some(proto::agent::exchange_fact::Fact::Known(proto::agent::Exchange {
            version: "15.1.2507.6".to_owned(),
            roles: vec![number],
        }));
        report
    };
    let cases: Vec<(Up, Code, &[&str])> = vec![
        (Up::Report(long(5 * 1024 * 1024)), Code::OutOfRange, &["decoded message length too large"]),
        (Up::Report(long(1024 * 1024)), Code::InvalidArgument, &["ReportMessage.decision"]),
        (Up::Report(ReportMessage { report: None, ..report.clone() }), Code::InvalidArgument, &["ReportMessage.report"]),
        (Up::Report(without_host()), Code::InvalidArgument, &["Report.host"]),
        (Up::Report(with_role(99)), Code::InvalidArgument, &["role", "99"]),
        (
            Up::Certificates(Certificates { der: vec![vec![0x30; 200_000]] }),
            Code::FailedPrecondition,
            &["certificate", "at most"],
        ),
        (Up::Hello(impostor.hello()), Code::FailedPrecondition, &["one hello"]),
    ];
    for (message, code, words) in cases {
        let heard = impostor.say(impostor.hello(), vec![message]).expect("an answer");
        ended(&heard, code, words);
        unchanged(&mut estate, &known);
    }
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn certificates_that_nobody_asked_for_or_that_are_none_harm_nobody() {
    let (mut estate, mut impostor, known) = impersonated();
    let unasked = Up::Certificates(Certificates { der: vec![b"nobody asked for this".to_vec(), Vec::new()] });
    let heard = impostor.say(impostor.hello(), vec![unasked]).expect("an answer");
    assert!(heard.ended.is_none(), "{heard:?}");
    unchanged(&mut estate, &known);

    // A report whose 444 shows a certificate that is cut off in the middle: it is asked for by its hash, and it comes.
    let torn = {
        let shown = estate.host("EX1").expect("a host").back_end_certificate().expect("reads").expect("there");
        shown.der()[..shown.der().len() / 2].to_vec()
    };
    let mut sight = estate.host("EX1").expect("a host").driver().observe().expect("a look");
    let Fact::Known(entries) = &mut sight.report.stores else { panic!("stores are known") };
    let entry = entries.iter_mut().find(|entry| entry.certificate != Sha256::of(&torn)).expect("an entry");
    entry.certificate = Sha256::of(&torn);
    let report = ReportMessage { report: Some(sight.report.into()), ..honest(&estate, &known) };
    let certificates = Up::Certificates(Certificates { der: vec![torn.clone()] });
    let heard = impostor.say(impostor.hello(), vec![Up::Report(report), certificates]).expect("an answer");
    let asked = heard.answers.iter().any(|answer| {
        matches!(answer, proto::agent::open_response::Message::ReportAcknowledged(known) if known.wanted.contains(&Sha256::of(&torn).0.to_vec()))
    });
    assert!(asked, "{heard:?}");
    estate.desk().ok(&["server", "show", "EX1"]).expect("still shown");
    estate.controller().expect("a controller").still_runs().expect("it runs");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn noise_on_any_port_is_survived() {
    let mut estate = estate(&["EX1"], &[]);
    let ports = estate.ports();
    for port in [ports.agents, ports.enrolment, ports.operators, ports.web] {
        for noise in [
            &b""[..],
            b"GET / HTTP/1.1\r\n\r\n",
            &[0x16, 3, 1, 0xff, 0xff, 1],
            &[0; 4096],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
        ] {
            let mut stream = TcpStream::connect(port).expect("listens");
            // Who is hung up on has been heard.
            let _ = stream.write_all(noise);
        }
    }
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("still watched");
    estate.wait_connected("EX1", LIMIT).expect("still connected");
    estate.stop().expect("stops as it should");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_machine_with_a_lineage_of_long_ago_is_quarantined_and_does_nothing() {
    let (mut estate, mut impostor, known) = impersonated();
    let long_ago = impostor.hello();
    for _ in 0..2 {
        impostor.say(impostor.hello(), Vec::new()).expect("an answer");
    }
    let heard = impostor.say(long_ago, Vec::new()).expect("an answer");
    ended(&heard, Code::PermissionDenied, &["EX1", "lineage"]);
    let heard = impostor.say(impostor.hello(), vec![Up::Report(honest(&estate, &known))]).expect("an answer");
    ended(&heard, Code::PermissionDenied, &["quarantined"]);
    unchanged(&mut estate, &known);
    estate.check_logs(&["an identity is doubted"]).expect("nothing else is complained of");
}

#[test]
fn a_join_token_works_once_and_for_its_own_server_only() {
    let estate = estate(&["EX1"], &[]);
    let desk = estate.desk();
    desk.ok(&["token", "create", "--server", "EX7", "--out", "EX7.token"]).expect("a token");
    let token = agent::identity::read_token(&desk.file("EX7.token")).expect("reads").expect("a token");
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let enrol = |name: &str, server: &str| {
        let state = folder.path().join(name);
        std::fs::create_dir(&state).expect("a folder");
        let server = server.parse().expect("a name");
        let now = jiff::Timestamp::now();
        runtime.block_on(agent::identity::enrol(&state, &token, &token.controllers, None, &server, name, now)).map(drop)
    };
    let said = |error: agent::identity::IdentityError| agent::chain(&error);
    assert!(said(enrol("other", "EX8").expect_err("another server")).contains("expected one for EX8, found one for EX7"));
    enrol("first", "EX7").expect("joins");
    let again = said(enrol("second", "EX7").expect_err("used"));
    assert!(again.contains("did not enrol this host") && again.contains("token"), "{again}");
    assert!(!again.contains(token.secret.to_text().as_str()));
    estate.check_logs(&[]).expect("quiet logs");
}
