//! A controller that sends its traces to a collector: what it does is seen there, the last of it too; and it waits for no collector.
#![cfg(unix)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tokio_stream::wrappers::TcpListenerStream;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(30);

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let sent = request.into_inner().resource_spans.into_iter().flat_map(|all| all.scope_spans);
        self.0.lock().expect("no panic").extend(sent.flat_map(|scope| scope.spans));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens until the test ends.
    fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a socket");
        let service = TraceServiceServer::new(collector.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
                let server = tonic::transport::Server::builder().add_service(service);
                server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("serves");
            });
        });
        (collector, address)
    }

    fn any(&self, wanted: impl Fn(&Span) -> bool) -> bool {
        self.0.lock().expect("no panic").iter().any(wanted)
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no panic").iter().map(|span| span.name.clone()).collect()
    }
}

fn says(all: &[KeyValue], key: &str, word: &str) -> bool {
    let is = |value: &AnyValue| matches!(&value.value, Some(Value::StringValue(text)) if text == word);
    all.iter().any(|said| said.key == key && said.value.as_ref().is_some_and(is))
}

/// An estate whose controller has a collector there.
fn estate(collector: SocketAddr) -> Estate {
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("observe")), ..Setup::default() };
    let mut estate = Estate::temporary(&setup).expect("an estate");
    estate.stop_controller().expect("stops");
    let mut command = estate.controller_command().expect("built");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
    estate.run_controller(command).expect("starts");
    estate.wait_connected("EX1", LIMIT).expect("connected");
    estate
}

#[test]
fn a_look_that_turned_a_verdict_is_seen_with_what_was_said_and_the_last_call_before_the_end_is_too() {
    let (collector, address) = Collector::start();
    let mut estate = estate(address);
    estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("lost");
    estate.wait_verdict("EX1", "deleted", LIMIT).expect("seen");
    estate.desk().ok(&["server", "list"]).expect("a list");
    estate.stop_controller().expect("stops");
    let turned = |span: &Span| {
        span.name == "look"
            && says(&span.attributes, "server", "EX1")
            && says(&span.attributes, "verdict", "deleted")
            && span.events.iter().any(|event| event.name == "a server's verdict changed")
    };
    assert!(collector.any(turned), "{:?}", collector.names());
    assert!(collector.any(|span| span.name == "commit"), "{:?}", collector.names());
    let call = "backstay.operator.v1.OperatorService/ListServers";
    assert!(collector.any(|span| span.name == call), "{:?}", collector.names());
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_collector_that_is_away_is_waited_for_by_nobody() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut estate = estate(nobody);
    estate.host("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("lost");
    estate.wait_verdict("EX1", "deleted", LIMIT).expect("seen");
    let began = Instant::now();
    estate.stop_controller().expect("stops");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    estate.stop().expect("stops");
    estate.check_logs(&["BatchSpanProcessor", "opentelemetry"]).expect("quiet logs");
}

#[test]
fn a_collector_that_cannot_be_is_said_at_the_start() {
    let setup = Setup { servers: Vec::new(), policy: None, ..Setup::default() };
    let mut estate = Estate::temporary(&setup).expect("an estate");
    estate.stop_controller().expect("stops");
    let mut command = estate.controller_command().expect("built");
    let output = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.test").output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--traces") && said.contains("expected http://HOST:4317"), "{said}");
}
