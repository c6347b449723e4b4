//! Traces for a collector, when one is named (docs/decisions/0037-traces.md).

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Instrument as _;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::Collector;

/// The spans that are sent. An agent's session is none of them: it lasts for weeks.
const SPANS: [&str; 3] = ["call", "look", "commit"];

/// For what waits when the controller ends.
const AT_THE_END: Duration = Duration::from_secs(5);

/// The way to a collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// To that collector; `None` when it is none. Called inside of a runtime, which carries the spans.
    ///
    /// # Errors
    /// What the library does not understand.
    pub fn to(Collector(endpoint): &Collector) -> Result<Option<Self>, ExporterBuildError> {
        if endpoint.is_empty() {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
        // What the usual variables say of this program comes before what it says itself.
        let said = Resource::builder().build();
        let unnamed = said.get(&Key::new("service.name")).is_none_or(|name| name.as_str().starts_with("unknown_service"));
        let resource = if unnamed { Resource::builder().with_service_name("backstay") } else { Resource::builder() };
        let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = host().into_iter().fold(resource, |all, host| all.with_attribute(KeyValue::new("host.name", host)));
        let provider = SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
        Ok(Some(Self { provider }))
    }

    /// Takes spans, and what is logged in them, of this program's own, not of its libraries; and nothing that names who did it: that is the
    /// audit trail's.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let own = filter_fn(|about| {
            let sent = about.is_event() || SPANS.contains(&about.name());
            sent && about.target().starts_with("controller") && about.fields().field("person").is_none()
        })
        .with_max_level_hint(LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("backstay"))
            .with_location(false)
            .with_threads(false)
            .with_filter(own)
    }

    /// Sends what waits. The runtime must go on meanwhile.
    pub async fn close(self) {
        let closed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(AT_THE_END)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last traces were not sent");
        }
    }
}

/// This machine, where it is said in a file; elsewhere collectors know it.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// A call as a span, below the caller's own if it says which that is.
pub async fn call(request: Request, next: Next) -> Response {
    let name = request.uri().path().trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or((name, ""));
    let span = tracing::debug_span!(
        "call",
        otel.name = name,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty
    );
    if !span.is_disabled() {
        let above = TraceContextPropagator::new().extract(&Metadata(request.headers()));
        // It fails only where nobody takes spans.
        drop(span.set_parent(above));
    }
    let response = next.run(request).instrument(span.clone()).await;
    // A refusal says so at once; what else a call came to stands behind its answer.
    if let Some(code) = response.headers().get("grpc-status").and_then(|code| code.to_str().ok()) {
        span.record("rpc.grpc.status_code", code);
    }
    response
}

struct Metadata<'a>(&'a HeaderMap);

impl Extractor for Metadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as Said};
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;
    use tokio_stream::wrappers::TcpListenerStream;
    use tower::ServiceExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// A collector that keeps what it is sent.
    struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.send(request.into_inner()).expect("somebody looks");
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    fn word<'a>(all: &'a [Said], key: &str) -> Option<&'a str> {
        match all.iter().find(|said| said.key == key)?.value.as_ref()? {
            AnyValue { value: Some(Value::StringValue(text)) } => Some(text),
            AnyValue { .. } => None,
        }
    }

    #[tokio::test]
    async fn a_collector_has_a_call_below_the_callers_own_span_and_what_was_logged_in_it() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, mut sent) = mpsc::unbounded_channel();
        let service = TraceServiceServer::new(Collector(sender));
        let server = tonic::transport::Server::builder().add_service(service);
        let mut servers = JoinSet::new();
        servers.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

        let traces = Traces::to(&endpoint.parse().expect("a collector")).expect("a way there").expect("traces");
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        let refuses = async || {
            tracing::info!(server = "EX1", "a plan is proposed");
            tracing::info!(person = "anna", "an emergency stop is in force");
            tracing::trace!("every turn of a loop");
            tracing::info_span!("session", server = "EX1").in_scope(|| ());
            tracing::debug_span!(target: "hyper", "call").in_scope(|| ());
            tonic::Status::permission_denied("not yours").into_http::<Body>()
        };
        let router = Router::new().route("/backstay.operator.v1.OperatorService/Stop", post(refuses)).layer(from_fn(call));
        let (trace, above) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let request = Request::post("/backstay.operator.v1.OperatorService/Stop")
            .header("traceparent", format!("00-{trace}-{above}-01"))
            .body(Body::empty())
            .expect("a request");
        let taken = tracing::subscriber::set_default(subscriber);
        router.oneshot(request).await.expect("answers");
        drop(taken);
        traces.close().await;

        let request = sent.recv().await.expect("something is sent");
        let [all] = request.resource_spans.as_slice() else { panic!("{request:#?}") };
        let about = &all.resource.as_ref().expect("a resource").attributes;
        assert_eq!(word(about, "service.name"), Some("backstay"));
        assert_eq!(word(about, "service.version"), Some(env!("CARGO_PKG_VERSION")));
        assert!(word(about, "host.name").is_some_and(|name| !name.is_empty()), "{about:?}");
        let spans: Vec<_> = all.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
        let [span] = spans.as_slice() else { panic!("{spans:#?}") };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (trace.to_owned(), above.to_owned()));
        assert_eq!(span.name, "backstay.operator.v1.OperatorService/Stop");
        assert_eq!(word(&span.attributes, "rpc.method"), Some("Stop"));
        assert_eq!(word(&span.attributes, "rpc.grpc.status_code"), Some("7"));
        let [event] = span.events.as_slice() else { panic!("{span:#?}") };
        assert_eq!((event.name.as_str(), word(&event.attributes, "server")), ("a plan is proposed", Some("EX1")));
        assert!(sent.try_recv().is_err(), "all of it came at once");
    }
}
