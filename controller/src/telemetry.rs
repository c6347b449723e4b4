//! What operators' tools see: logs, metrics, and whether this controller lives.
//!
//! Labels are bounded: by the servers that are enrolled, by words of ours, never by what somebody sent.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::SignedDuration;
use policy::finding::Severity;
use policy::id::ServerName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config;
use crate::parts::Parts;
use crate::store::{Listed, MAX_PAGE, StoreError};

#[cfg(feature = "otlp")]
pub mod traces;
mod x509;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Servers with series of their own. Beyond that only sums are shown.
const MAX_HOSTS: usize = 2_000;

/// Upper ends of the buckets of how long a plan is at work: mostly seconds, and minutes when a host is slow.
const CHANGE_SECONDS: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Upper ends of the buckets of how long approvals are waited for: a minute, ten, an hour, four, a day, three, a week, two, thirty days.
const APPROVAL_SECONDS: [f64; 9] = [60.0, 600.0, 3600.0, 14_400.0, 86_400.0, 259_200.0, 604_800.0, 1_209_600.0, 2_592_000.0];

/// The open logs. When it is dropped, events that wait are written.
#[derive(Debug)]
#[must_use = "events that wait are written when it is dropped"]
pub struct Logs {
    _events: Events,
    #[cfg(feature = "otlp")]
    traces: Option<traces::Traces>,
}

#[cfg(windows)]
type Events = Option<native::event::Log>;
#[cfg(not(windows))]
type Events = ();

/// A collector that is spoken with over gRPC in plain text; or nothing, which stands for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(String);

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text.strip_prefix("http://").is_some_and(|host| !host.trim_matches('/').is_empty());
        if host && !cfg!(feature = "otlp") {
            return Err("this backstay was built without its feature otlp, and sends no traces".to_owned());
        }
        if text.is_empty() || host {
            return Ok(Self(text.to_owned()));
        }
        Err("expected http://HOST:4317, a collector on this machine or on a network that is trusted".to_owned())
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why traces cannot go there.
#[cfg(feature = "otlp")]
pub type LogsError = opentelemetry_otlp::ExporterBuildError;
/// There is no way there.
#[cfg(not(feature = "otlp"))]
pub type LogsError = std::convert::Infallible;

impl Logs {
    /// Writes and sends what waits. The runtime in which they were opened must go on meanwhile.
    #[cfg_attr(not(feature = "otlp"), expect(clippy::unused_async, reason = "nothing waits"))]
    pub async fn close(self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = self.traces {
            traces.close().await;
        }
    }
}

/// Writes logs to standard error from here on, and on Windows events to the event log; sends traces, when there is a collector for them,
/// by the runtime in which this is called. `filter` is a list of targets and levels, such as `info,controller=debug`; events pass it. A second
/// call in one process changes nothing.
///
/// # Errors
/// Why traces cannot go there.
#[cfg_attr(not(feature = "otlp"), expect(unused_variables, reason = "nothing is sent anywhere"))]
pub fn init_logs(format: LogFormat, filter: &str, collector: Option<&Collector>) -> Result<Logs, LogsError> {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Colours are for people at a terminal; in a file they are noise.
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "otlp")]
    let traces = collector.map(traces::Traces::to).transpose()?.flatten();
    #[cfg(feature = "otlp")]
    let subscriber = subscriber.with(traces.as_ref().map(traces::Traces::layer));
    Ok(Logs {
        _events: open_events(subscriber),
        #[cfg(feature = "otlp")]
        traces,
    })
}

#[cfg(not(windows))]
fn open_events(subscriber: impl Into<tracing::Dispatch>) -> Events {
    if subscriber.try_init().is_err() {
        tracing::debug!("logs are written already");
    }
}

#[cfg(windows)]
fn open_events<S>(subscriber: S) -> Events
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    use crate::event;
    let housekeeping = native::event::Housekeeping { too_many: &event::TOO_MANY, lost: &event::EVENTS_LOST };
    let opened = native::event::Log::open(event::SOURCE, event::ALL, housekeeping);
    let (events, layer) = opened.map_or_else(|error| (Err(error), None), |(events, layer)| (Ok(events), Some(layer)));
    if subscriber.with(layer).try_init().is_err() {
        tracing::debug!("logs are written already");
        return None;
    }
    match events {
        Ok(events) => {
            if !native::event::registered(event::SOURCE) {
                tracing::warn!("the source of events is not registered, and they lack their texts: backstay events register");
            }
            let (last, usual) = (events.another(), std::panic::take_hook());
            std::panic::set_hook(Box::new(move |panic| {
                tracing::error!(event = event::PANICKED.id, error = %panic, "an error of the controller's own");
                last.flush();
                usual(panic);
            }));
            Some(events)
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "events go to the lines only");
            None
        }
    }
}

/// What is counted as it happens. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// Held while the text is made.
    scrape: tokio::sync::Mutex<x509::Known>,
    x509: Option<x509::NotAfter>,
    /// Reports that are on disk.
    reports: Counter,
    refused: Family<Reason, Counter>,
    enrolled: Counter,
    connected: Family<Host, Gauge<i64, AtomicI64>>,
    connected_sum: Gauge<i64, AtomicI64>,
    last_report: Family<Host, Gauge<f64, AtomicU64>>,
    skew: Family<Host, Gauge<f64, AtomicU64>>,
    not_after: Family<Served, Gauge<f64, AtomicU64>>,
    healthy: Family<Served, Gauge<i64, AtomicI64>>,
    evaluations: Family<Decided, Counter>,
    change_duration: Histogram,
    approval_wait: Histogram,
    servers: Family<Verdict, Gauge<i64, AtomicI64>>,
    plans: Family<PlanState, Gauge<i64, AtomicI64>>,
    audit: Gauge<i64, AtomicI64>,
    incidents: Family<Wants, Gauge<i64, AtomicI64>>,
    waiting: Family<Waits, Gauge<i64, AtomicI64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

/// What serves on a host: of both ends, the controller keeps the back end's in its lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Served {
    host: String,
    role: &'static str,
    port: u16,
}

impl Served {
    fn back_end(server: &ServerName) -> Self {
        Self { host: server.as_str().to_owned(), role: "back_end", port: 444 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    decision: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    verdict: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Wants {
    severity: &'static str,
}

/// A channel of the configuration: at most sixteen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waits {
    channel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlanState {
    state: &'static str,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(config: config::Metrics) -> Self {
        let mut all = Registry::default();
        let x509 = config.x509.then(|| x509::NotAfter::new(&mut all));
        let registry = all.sub_registry_with_prefix("backstay");
        let mut inner = Inner {
            registry: Registry::default(),
            scrape: tokio::sync::Mutex::default(),
            x509,
            reports: Counter::default(),
            refused: Family::default(),
            enrolled: Counter::default(),
            connected: Family::default(),
            connected_sum: Gauge::default(),
            last_report: Family::default(),
            skew: Family::default(),
            not_after: Family::default(),
            healthy: Family::default(),
            evaluations: Family::default(),
            change_duration: Histogram::new(CHANGE_SECONDS),
            approval_wait: Histogram::new(APPROVAL_SECONDS),
            servers: Family::default(),
            plans: Family::default(),
            audit: Gauge::default(),
            incidents: Family::default(),
            waiting: Family::default(),
        };
        registry.register("build", "Version of this program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("reports", "Reports written down", inner.reports.clone());
        registry.register("messages_refused", "Messages of agents that were refused", inner.refused.clone());
        registry.register("enrolments", "Agents let in", inner.enrolled.clone());
        registry.register("agent_connected", "Whether the agent of a host is connected here", inner.connected.clone());
        registry.register("agents_connected", "Agents connected here", inner.connected_sum.clone());
        registry.register(
            "host_last_report_timestamp_seconds",
            "When a host last said that it is there",
            inner.last_report.clone(),
        );
        registry.register(
            "certificate_not_after_timestamp_seconds",
            "End of the back-end certificate of a host",
            inner.not_after.clone(),
        );
        registry.register("binding_compliant", "Whether the back end of a host is healthy", inner.healthy.clone());
        registry.register(
            "agent_clock_skew_seconds",
            "How far the clock of a host is before the controller's",
            inner.skew.clone(),
        );
        registry.register("policy_evaluations", "Looks at servers, by what was decided", inner.evaluations.clone());
        registry.register(
            "change_duration_seconds",
            "From the begin of a plan on its host to its end there",
            inner.change_duration.clone(),
        );
        registry.register(
            "approval_wait_seconds",
            "From the proposal of a plan until enough persons approved it",
            inner.approval_wait.clone(),
        );
        registry.register("servers", "Servers by verdict", inner.servers.clone());
        registry.register("changes", "Plans by state", inner.plans.clone());
        registry.register("audit_sequence", "Last entry of the audit trail", inner.audit.clone());
        registry.register("incidents", "What wants somebody and is not over, by severity", inner.incidents.clone());
        registry.register("notifications_waiting", "Messages that wait to be handed over, by channel", inner.waiting.clone());
        inner.registry = all;
        Self { inner: Arc::new(inner) }
    }

    /// A report was written down.
    pub fn reported(&self) {
        self.inner.reports.inc();
    }

    /// A message was refused, for a reason that is a word of ours.
    pub fn refused(&self, reason: &'static str) {
        self.inner.refused.get_or_create(&Reason { reason }).inc();
    }

    /// An agent was let in.
    pub fn enrolled(&self) {
        self.inner.enrolled.inc();
    }

    /// A server was looked at, and this was decided: a word of ours.
    pub fn evaluated(&self, decision: &str) {
        self.inner.evaluations.get_or_create(&Decided { decision: decision.to_owned() }).inc();
    }

    /// A plan came to its end on its host.
    pub fn changed(&self, took: SignedDuration) {
        self.inner.change_duration.observe(took.as_secs_f64().max(0.0));
    }

    /// Enough persons approved a plan, so long after it was proposed.
    pub fn approved(&self, waited: SignedDuration) {
        self.inner.approval_wait.observe(waited.as_secs_f64().max(0.0));
    }

    /// The text that Prometheus reads, with what rows say at this moment.
    async fn text(&self, parts: &Parts) -> Result<String, StoreError> {
        let Inner { scrape, connected_sum, servers, plans, audit, incidents, waiting, registry, .. } = &*self.inner;
        // What rows say is cleared and filled again: whoever comes meanwhile would read half of it.
        let mut known = scrape.lock().await;
        connected_sum.set(i64::try_from(parts.connections.count()).unwrap_or(i64::MAX));
        servers.clear();
        for (verdict, count) in parts.store.verdicts().await? {
            servers.get_or_create(&Verdict { verdict }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for (life, count) in parts.store.lives().await? {
            plans.get_or_create(&PlanState { state: life.as_str() }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        audit.set(i64::try_from(parts.store.audit_head().await?.sequence).unwrap_or(i64::MAX));
        let wanting = parts.store.wanting().await?;
        let number = |found: u64| i64::try_from(found).unwrap_or(i64::MAX);
        incidents.clear();
        for severity in [Severity::Page, Severity::Warning] {
            let found = wanting.incidents.iter().find(|(kind, _)| *kind == severity).map_or(0, |(_, found)| *found);
            incidents.get_or_create(&Wants { severity: severity.as_str() }).set(number(found));
        }
        waiting.clear();
        // Of a channel that is no more, nothing is shown; of one where nothing waits, that.
        for channel in parts.config.notify.names() {
            let found = wanting.waiting.iter().find(|(name, _)| name == channel).map_or(0, |(_, found)| *found);
            waiting.get_or_create(&Waits { channel: channel.to_owned() }).set(number(found));
        }
        self.hosts(parts, &mut known).await?;
        let mut text = String::new();
        encode(&mut text, registry).expect("a String takes every character");
        Ok(text)
    }

    async fn hosts(&self, parts: &Parts, known: &mut x509::Known) -> Result<(), StoreError> {
        let Inner { connected, last_report, skew, not_after, healthy, x509, .. } = &*self.inner;
        // A server that is retired, or whose certificate is gone, is not shown as it was.
        connected.clear();
        last_report.clear();
        skew.clear();
        not_after.clear();
        healthy.clear();
        let (mut after, mut seen) = (None, Vec::new());
        while seen.len() < MAX_HOSTS {
            let page = parts.store.servers(after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            page.iter().for_each(|server| self.host(server, parts));
            seen.extend(page.into_iter().map(|server| (server.name, server.certificate)));
        }
        match x509 {
            Some(not_after) => not_after.fill(&seen, known, &parts.store).await,
            None => Ok(()),
        }
    }

    fn host(&self, server: &Listed, parts: &Parts) {
        let Inner { connected, last_report, skew, not_after, healthy, .. } = &*self.inner;
        let (host, served) = (Host { host: server.name.as_str().to_owned() }, Served::back_end(&server.name));
        connected.get_or_create(&host).set(i64::from(parts.connections.is_connected(&server.name)));
        let heard = parts.connections.heard_at(&server.name).max(server.recorded_at);
        last_report.get_or_create(&host).set(heard.map_or(0.0, |at| at.as_duration().as_secs_f64()));
        if let Some(before) = parts.connections.skew(&server.name) {
            skew.get_or_create(&host).set(before.as_secs_f64());
        }
        if let Some(end) = server.not_after {
            not_after.get_or_create(&served).set(end.as_duration().as_secs_f64());
        }
        healthy.get_or_create(&served).set(i64::from(server.verdict == Some(policy::finding::Verdict::Healthy)));
    }
}

/// `/metrics` and `/healthz`, for plain HTTP on loopback.
pub fn router(parts: Parts) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).with_state(parts)
}

async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    match parts.metrics.text(&parts).await {
        Ok(text) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "metrics could not be read");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
                "the store does not answer\n".to_owned(),
            )
        }
    }
}

/// It lives when its store answers.
async fn healthz(State(parts): State<Parts>) -> impl IntoResponse {
    match parts.store.audit_head().await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_no_collector_is_refused_and_nothing_stands_for_none() {
        for wrong in ["https://collector.test:4317", "collector:4317", "http://", "http:///"] {
            assert!(wrong.parse::<Collector>().is_err(), "{wrong}");
        }
        assert!("".parse::<Collector>().is_ok() && "http://127.0.0.1:4317".parse::<Collector>().is_ok());
    }

    #[test]
    fn the_page_names_every_metric_and_no_other() {
        let metrics = Metrics::new(config::Metrics::default());
        let (inner, ex1): (_, ServerName) = (&metrics.inner, "EX1".parse().expect("a name"));
        let host = Host { host: ex1.to_string() };
        // What has labels is shown once it has a value.
        metrics.refused("report");
        metrics.evaluated("leave_alone");
        inner.connected.get_or_create(&host).set(1);
        for gauge in [&inner.last_report, &inner.skew] {
            gauge.get_or_create(&host).set(1.0);
        }
        inner.not_after.get_or_create(&Served::back_end(&ex1)).set(1.0);
        inner.healthy.get_or_create(&Served::back_end(&ex1)).set(1);
        inner.servers.get_or_create(&Verdict { verdict: "healthy".to_owned() }).set(1);
        inner.plans.get_or_create(&PlanState { state: "proposed" }).set(1);
        inner.incidents.get_or_create(&Wants { severity: "page" }).set(1);
        inner.waiting.get_or_create(&Waits { channel: "ops".to_owned() }).set(1);
        metrics.changed(SignedDuration::from_secs(3));
        metrics.approved(SignedDuration::from_hours(5));
        let text = || {
            let mut text = String::new();
            encode(&mut text, &inner.registry).expect("encoded");
            text
        };
        let of_kind = |line: &str| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            Some(match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            })
        };
        let there: BTreeSet<String> = text().lines().filter_map(of_kind).collect();
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).expect("the page");
        let named = |line: &str| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned());
        let told: BTreeSet<String> = page.lines().filter_map(named).collect();
        assert_eq!(told, there);
        for line in [
            "backstay_certificate_not_after_timestamp_seconds{host=\"EX1\",role=\"back_end\",port=\"444\"} 1.0",
            "backstay_change_duration_seconds_bucket{le=\"5.0\"} 1",
            "backstay_approval_wait_seconds_bucket{le=\"14400.0\"} 0",
            "backstay_approval_wait_seconds_bucket{le=\"86400.0\"} 1",
        ] {
            assert!(text().lines().any(|found| found == line), "{line} is missing in\n{}", text());
        }
    }
}
