//! Pages for people, on the port that also has metrics and health (docs/decisions/0031-pages.md).
//!
//! A page asks what the command line asks, of the same operators' service and as the same person, and so sees and may do the same. Each is a
//! view that is made from the answers by a pure function, and a template without logic; the same template makes what is sent when
//! something changed.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use self::access::Who;
use self::oidc::Provider;
use self::texts::{filters, text};
use crate::colour;
use crate::config::{Origin, Pages};
use crate::operators::Operators;
use crate::parts::Parts;

mod access;
mod acts;
mod assess;
mod calendar;
mod enrolment;
mod estate;
mod incidents;
mod live;
mod oidc;
mod patch_night;
mod people;
mod plans;
mod rules;
mod server;
mod settings;
mod stops;
#[cfg(test)]
mod tests;
mod texts;
mod trail;

/// The largest form.
const MAX_FORM: usize = 16 * 1024;

/// The largest form with a policy: three letters stand for a byte.
const MAX_POLICY: usize = 3 * policy::trust::MAX_BYTES + 1024;

/// Pages that are live at once.
const LIVE: usize = 200;

/// What a page may load and do: its own style, its own script, answers to itself; nothing inline, nothing from elsewhere.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// From where browsers come.
#[derive(Debug)]
enum Site {
    /// This machine, over plain HTTP.
    Loopback,
    /// Elsewhere, over TLS, by this one name.
    Named { origin: Origin, provider: Option<Box<Provider>> },
}

impl Site {
    /// By whom people may be vouched for here.
    fn provider(&self) -> Option<&Provider> {
        match self {
            Self::Loopback => None,
            Self::Named { provider, .. } => provider.as_deref(),
        }
    }
}

/// What every page needs.
#[derive(Clone)]
pub struct Web {
    operators: Operators,
    parts: Parts,
    site: Arc<Site>,
    /// Places for pages that are live.
    seats: Arc<Semaphore>,
    board: Arc<live::Board>,
    /// Places for exports that are judged.
    desks: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Web {
    /// Pages until `stop`; whoever stops waits for `tasks`.
    pub fn new(parts: Parts, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (operators, site) = (Operators::new(parts.clone()), Arc::new(Site::Loopback));
        let (seats, desks) = (Arc::new(Semaphore::new(LIVE)), Arc::new(Semaphore::new(assess::AT_ONCE)));
        Self { operators, parts, site, seats, board: Arc::default(), desks, tasks, stop }
    }

    /// For browsers on this machine.
    pub fn on_loopback(&self) -> Router {
        router(self.clone())
    }

    /// For browsers elsewhere.
    ///
    /// # Errors
    /// Which part of the configuration cannot be.
    pub fn elsewhere(&self, pages: &Pages) -> Result<Router, String> {
        let provider = pages.oidc.as_ref().map(|oidc| Provider::new(oidc, &pages.origin).map(Box::new)).transpose()?;
        let site = Arc::new(Site::Named { origin: pages.origin.clone(), provider });
        Ok(router(Self { site, ..self.clone() }))
    }
}

fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/servers/{name}", get(page))
        .route("/plans", get(page))
        .route("/plans/{id}", get(page))
        .route("/plans/{id}/approve", post(acts::approve))
        .route("/plans/{id}/reject", post(acts::reject))
        .route("/plans/{id}/abandon", post(acts::abandon))
        .route("/stops", get(page).post(acts::stop))
        .route("/access", get(page))
        .route("/access/password", post(people::set_password))
        .route("/access/token", post(people::create_token))
        .route("/access/revoke", post(people::revoke_token))
        .route("/access/end", post(people::end))
        .route("/policy", get(page))
        .route("/policy/try", post(rules::try_it).layer(DefaultBodyLimit::max(MAX_POLICY)))
        .route("/assess", get(page).post(assess::judge).layer(DefaultBodyLimit::max(assess::MAX_BYTES)))
        .route("/calendar", get(page))
        .route("/settings", get(page))
        .route("/patch-night", get(page))
        .route("/audit", get(trail::list))
        .route("/audit/verify", get(trail::verified))
        .route("/audit/export", get(trail::export))
        .route("/incidents", get(page))
        .route("/incidents/{id}/acknowledge", post(incidents::acknowledge))
        .route("/channels/test", post(incidents::test))
        .route("/enrolment", get(page))
        .route("/enrolment/token", post(enrolment::token))
        .route("/enrolment/admit", post(enrolment::admit))
        .route("/enrolment/send-away", post(enrolment::send_away))
        .route("/live", get(live::live))
        .route("/sign-in", get(access::ask).post(access::sign_in))
        .route("/sign-in/password", post(access::by_password))
        .route("/sign-in/provider", get(access::to_provider))
        .route("/sign-in/returned", get(access::from_provider))
        .route("/sign-out", post(access::sign_out))
        .route("/signed-out", get(access::signed_out))
        .route("/assets/{name}", get(asset))
        .fallback(page)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(Arc::clone(&web.site), guard))
        // Quickly, because it is done by whoever answers; what is sent to pages that are live is not compressed.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(web)
}

/// Refuses what no page of ours sends, and says with every answer what a browser must not do with it.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = match site.refused(request.method(), request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer" a browser would not say where a form comes from either.
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Site {
    /// Why a request is not for us: a page elsewhere may point a name of its own here (DNS rebinding), or send a form.
    fn refused(&self, method: &Method, headers: &HeaderMap) -> Option<String> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = text(header::HOST);
        let (own, origin) = match self {
            Self::Loopback => (is_loopback(host), format!("http://{host}")),
            Self::Named { origin, .. } => (host.eq_ignore_ascii_case(origin.host()), origin.as_str().to_owned()),
        };
        if !own {
            let expected = match self {
                Self::Loopback => text!("trouble-loopback"),
                Self::Named { origin, .. } => origin.as_str().to_owned(),
            };
            return Some(text!("trouble-other-name", expected = expected) + "\n");
        }
        if method == Method::GET || method == Method::HEAD {
            return None;
        }
        (text(header::ORIGIN) != origin).then(|| text!("trouble-from-elsewhere") + "\n")
    }
}

fn is_loopback(host: &str) -> bool {
    host.parse::<Authority>().is_ok_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Estate,
    Server(String),
    Plans,
    Plan(String),
    Stops,
    Access,
    Policy,
    Calendar,
    PatchNight,
    Enrolment,
    Incidents,
    Assess,
    Settings,
}

impl Place {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Estate),
            "/plans" => Some(Self::Plans),
            "/stops" => Some(Self::Stops),
            "/access" => Some(Self::Access),
            "/policy" => Some(Self::Policy),
            "/calendar" => Some(Self::Calendar),
            "/patch-night" => Some(Self::PatchNight),
            "/enrolment" => Some(Self::Enrolment),
            "/incidents" => Some(Self::Incidents),
            "/assess" => Some(Self::Assess),
            "/settings" => Some(Self::Settings),
            _ => {
                // A name needs no escaping in a path; what does is none.
                let named = |folder| path.strip_prefix(folder).filter(|name| !name.is_empty() && !name.contains(['/', '%']));
                let server = named("/servers/").map(|name| Self::Server(name.to_owned()));
                server.or_else(|| named("/plans/").map(|id| Self::Plan(id.to_owned())))
            }
        }
    }
}

/// What a page shows: its title, and what stands in it.
struct Shown {
    title: String,
    main: String,
}

impl Web {
    async fn show(&self, place: &Place, who: &Who) -> Result<Shown, Trouble> {
        match place {
            Place::Estate => estate::show(self, who).await,
            Place::Server(name) => server::show(self, who, name).await,
            Place::Plans => plans::show(self, who).await,
            Place::Plan(id) => plans::show_one(self, who, id).await,
            Place::Stops => stops::show(self, who).await,
            Place::Access => people::show(self, who).await,
            Place::Policy => rules::show(self, who).await,
            Place::Calendar => calendar::show(self, who).await,
            Place::PatchNight => patch_night::show(self, who).await,
            Place::Enrolment => enrolment::show(self, who).await,
            Place::Incidents => incidents::show(self, who).await,
            Place::Assess => assess::show(),
            Place::Settings => settings::show(self, who).await,
        }
    }

    fn whole(&self, shown: &Shown, who: Option<&Who>, path: &str, live: bool) -> Response {
        let page = Page {
            title: &shown.title,
            estate: self.parts.store.estate().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            who,
            place: path,
            live,
            main: &shown.main,
        };
        match page.render() {
            Ok(text) => Html(text).into_response(),
            Err(error) => Trouble::from(error).into_response(),
        }
    }

    /// A page that says why there is none.
    fn trouble(&self, trouble: Trouble, who: Option<&Who>, path: &str) -> Response {
        let Trouble { status, headline, lead } = trouble;
        let said = if status == StatusCode::SERVICE_UNAVAILABLE {
            OutOfReach { headline: &headline, why: &lead, path }.render()
        } else {
            SignIn { headline: &headline, lead: &lead, ..SignIn::default() }.render()
        };
        let shown = Shown { title: headline, main: said.unwrap_or_default() };
        let mut response = self.whole(&shown, who, path, false);
        *response.status_mut() = status;
        response
    }
}

/// A page, from its beginning to its end.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    estate: String,
    version: &'static str,
    who: Option<&'a Who>,
    place: &'a str,
    live: bool,
    main: &'a str,
}

/// A page with little to say: how to sign in, which is what it says with a line for a link, or why something is not to be had.
#[derive(Template, Default)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    headline: &'a str,
    lead: &'a str,
    link: Option<&'a str>,
    /// By whom people are vouched for.
    provider: Option<&'a str>,
    /// The line with which a link is made.
    command: Option<&'a str>,
    /// Where to go on, and what that is called.
    onward: Option<(&'a str, &'a str)>,
}

/// What stands where a page would, as long as the store is out of reach.
#[derive(Template)]
#[template(path = "out_of_reach.html")]
struct OutOfReach<'a> {
    headline: &'a str,
    why: &'a str,
    path: &'a str,
}

/// Why there is no page.
#[derive(Debug)]
struct Trouble {
    status: StatusCode,
    headline: String,
    lead: String,
}

impl From<tonic::Status> for Trouble {
    fn from(status: tonic::Status) -> Self {
        let (code, headline) = match status.code() {
            tonic::Code::NotFound => (StatusCode::NOT_FOUND, text!("trouble-not-found")),
            tonic::Code::InvalidArgument => (StatusCode::BAD_REQUEST, text!("trouble-invalid")),
            tonic::Code::FailedPrecondition | tonic::Code::AlreadyExists => (StatusCode::CONFLICT, text!("trouble-precondition")),
            tonic::Code::Aborted => (StatusCode::CONFLICT, text!("trouble-changed")),
            tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => (StatusCode::FORBIDDEN, text!("trouble-denied")),
            tonic::Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, text!("trouble-store")),
            tonic::Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, text!("trouble-too-much")),
            tonic::Code::Ok
            | tonic::Code::Cancelled
            | tonic::Code::Unknown
            | tonic::Code::DeadlineExceeded
            | tonic::Code::OutOfRange
            | tonic::Code::Unimplemented
            | tonic::Code::Internal
            | tonic::Code::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, text!("trouble-other")),
        };
        Self { status: code, headline, lead: status.message().to_owned() }
    }
}

impl From<askama::Error> for Trouble {
    fn from(error: askama::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a page could not be made");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, headline: text!("trouble-other"), lead: error.to_string() }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        (self.status, format!("{}: {}\n", self.headline, self.lead)).into_response()
    }
}

async fn page(State(web): State<Web>, who: Who, method: Method, uri: Uri) -> Response {
    let Some(place) = Place::at(uri.path()).filter(|_| method == Method::GET) else {
        let (headline, lead) = (text!("trouble-no-page"), text!("trouble-no-page-here"));
        let trouble = Trouble { status: StatusCode::NOT_FOUND, headline, lead };
        return web.trouble(trouble, Some(&who), uri.path());
    };
    match web.board.ask(&web, &place, &who).await {
        Ok(shown) => web.whole(&shown, Some(&who), uri.path(), true),
        Err(trouble) => web.trouble(trouble, Some(&who), uri.path()),
    }
}

async fn asset(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        "colours.css" => ("text/css; charset=utf-8", colour::STYLE),
        "page.css" => ("text/css; charset=utf-8", include_str!("../assets/page.css")),
        "live.js" => ("text/javascript; charset=utf-8", include_str!("../assets/live.js")),
        "key.js" => ("text/javascript; charset=utf-8", include_str!("../assets/key.js")),
        "icon.svg" => ("image/svg+xml", include_str!("../assets/icon.svg")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    // Asked for with the version behind it: another version is another address.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=86400")], Body::from(text)).into_response()
}

/// A finding's colour.
fn class_of_severity(severity: &str) -> &'static str {
    match severity {
        "page" => "bad",
        "warning" => "soon",
        _ => "grey",
    }
}
