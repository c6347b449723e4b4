//! Who looks at a page, and how a browser comes to be somebody: by a link that the command line makes, which always works, or because a
//! provider vouches for that person.

use askama::Template;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use policy::duration::Span;
use policy::id::{Person, Sha256};
use policy::trust::PersonRole;
use proto::names::Peer;
use proto::token::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::acts::Sent;
use super::oidc::{Begun, Refused, Returned};
use super::texts::text;
use super::{Place, Shown, SignIn, Site, Trouble, Web};
use crate::listen::{Caller, CallerIdentity};
use crate::operators::access::{Right, may};
use crate::parts::Parts;
use crate::status::failed;
use crate::store::{Browser, Via};

/// How long a browser stays signed in: a working day.
const SIGNED_IN: Span = Span::seconds(12 * 3_600);

/// How long somebody may take at the provider.
const AT_PROVIDER: Span = Span::seconds(600);

/// Who looks.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) person: Person,
    pub(super) role: PersonRole,
    caller: Caller,
    hash: Sha256,
    pub(super) via: Via,
}

impl Who {
    /// Whether this person may do that, by the one table of the operators' service: who may not sees no button for it.
    pub(super) fn may(&self, right: Right) -> bool {
        may(self.role, right)
    }

    /// Whether this person may make ways in here that outlast this browser. Whoever a provider vouches for may not: they would still be good when
    /// the provider has changed its mind.
    pub(super) fn may_make_ways(&self) -> bool {
        self.via != Via::Oidc && self.may(Right::OwnAccess)
    }

    /// The same request as the command line would send it.
    pub(super) fn ask<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self.caller.clone());
        request
    }
}

/// The cookie of a browser that is signed in, and of one that is at the provider.
const SESSION: &str = "backstay";
const BEGUN: &str = "backstay-begun";

impl Site {
    /// A name that a browser takes over TLS only, from this very host, for all its paths.
    fn cookie_name(&self, name: &str) -> String {
        match self {
            Self::Loopback => name.to_owned(),
            Self::Named { .. } => format!("__Host-{name}"),
        }
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let name = self.cookie_name(name);
        let all = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        all.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(&name)?.strip_prefix('='))
    }

    /// No use to scripts. `same_site` says whether it comes along when another site leads here.
    fn set_cookie(&self, name: &str, value: &str, same_site: &str, lasts: Span) -> Result<HeaderValue, Trouble> {
        let (name, seconds) = (self.cookie_name(name), lasts.as_seconds());
        let secure = match self {
            Self::Loopback => "",
            Self::Named { .. } => "; Secure",
        };
        let text = Zeroizing::new(format!("{name}={value}; HttpOnly; SameSite={same_site}; Path=/; Max-Age={seconds}{secure}"));
        let mut cookie = HeaderValue::from_str(&text).map_err(|error| tonic::Status::internal(error.to_string()))?;
        cookie.set_sensitive(true);
        Ok(cookie)
    }
}

impl Web {
    /// Who looks, by the cookie; `None` when nobody is signed in.
    pub(super) async fn who(&self, headers: &HeaderMap) -> Result<Option<Who>, Trouble> {
        let Some(secret) = self.site.cookie(headers, SESSION).and_then(|text| Secret::from_text(text).ok()) else {
            return Ok(None);
        };
        let hash = secret.hash();
        let found = self.parts.store.browser(hash, self.parts.clock.now()).await.map_err(failed)?;
        Ok(found.map(|Browser { person, role, via, expires_at: _ }| {
            let nobody = Sha256([0; 32]);
            let peer = Peer::Operator { estate: self.parts.store.estate().clone(), person: person.clone(), role };
            let identity = CallerIdentity { peer, key_id: nobody, certificate: nobody, scope: None };
            let caller = Caller { address: self.parts.web, identity: Some(identity), key_exchange: None };
            Who { person, role, caller, hash, via }
        }))
    }
}

/// Whoever is not signed in is led to where one signs in; a form of nobody changes nothing.
impl FromRequestParts<Web> for Who {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut request::Parts, web: &Web) -> Result<Self, Response> {
        match web.who(&parts.headers).await {
            Ok(Some(who)) => Ok(who),
            // From a mail, say: the cookie comes along only when these pages themselves lead here.
            Ok(None) if parts.method == Method::GET && comes_from_elsewhere(&parts.headers) => Err(onward(web, &parts.uri)),
            Ok(None) if parts.method == Method::GET => Err(Redirect::to("/sign-in").into_response()),
            Ok(None) => {
                let (headline, lead) = (text!("trouble-not-signed-in"), text!("trouble-nobody-signed-in"));
                let trouble = Trouble { status: StatusCode::FORBIDDEN, headline, lead };
                Err(web.trouble(trouble, None, parts.uri.path()))
            }
            Err(trouble) => Err(web.trouble(trouble, None, parts.uri.path())),
        }
    }
}

/// What comes with a link.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    link: String,
}

fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

/// A page that leads to this address, now from here. To a page that there is: anything else might lead away again.
fn onward(web: &Web, uri: &Uri) -> Response {
    let path = if Place::at(uri.path()).is_some() { uri.path() } else { "/" };
    let said = SignIn {
        headline: &text!("common-one-moment"),
        lead: &text!("sign-in-from-elsewhere"),
        onward: Some((path, &text!("sign-in-go-on"))),
        ..SignIn::default()
    };
    let mut response = web.said(&said);
    // What does not fit into a header is gone to by hand.
    if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={path}")) {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    response
}

impl Web {
    /// A page with little to say, for nobody in particular.
    fn said(&self, said: &SignIn<'_>) -> Response {
        match said.render() {
            Ok(main) => self.whole(&Shown { title: said.headline.to_owned(), main }, None, "/sign-in", false),
            Err(error) => Trouble::from(error).into_response(),
        }
    }
}

/// A link is opened. It is used up only by the button: what looks at links before people do uses none up.
pub(super) async fn ask(State(web): State<Web>, Query(Asked { link }): Query<Asked>) -> Response {
    if Secret::from_text(&link).is_ok() {
        let (headline, lead) = (&*text!("sign-in-sign-in"), &*text!("sign-in-link"));
        return web.said(&SignIn { headline, lead, link: Some(&link), ..SignIn::default() });
    }
    let provider = web.site.provider().map(|provider| text!("sign-in-with", provider = provider.name()));
    let (headline, provider) = (&*text!("sign-in-sign-in"), provider.as_deref());
    web.said(&SignIn { headline, provider, command: Some("backstay sign-in"), ..SignIn::default() })
}

/// The button is pressed.
pub(super) async fn sign_in(State(web): State<Web>, Sent(Asked { link }): Sent<Asked>) -> Response {
    match signed_in(&web, &link).await {
        Ok(Some(cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        Ok(None) => {
            let (headline, lead) = (text!("sign-in-link-no-more"), text!("sign-in-link-no-more-why"));
            let trouble = Trouble { status: StatusCode::FORBIDDEN, headline, lead };
            web.trouble(trouble, None, "/sign-in")
        }
        Err(trouble) => web.trouble(trouble, None, "/sign-in"),
    }
}

async fn signed_in(web: &Web, link: &str) -> Result<Option<HeaderValue>, Trouble> {
    let Ok(link) = Secret::from_text(link) else { return Ok(None) };
    let browser = Secret::generate().map_err(|error| tonic::Status::internal(error.to_string()))?;
    let now = web.parts.clock.now();
    let found = web.parts.store.sign_in(link.hash(), browser.hash(), SIGNED_IN.after(now), now).await.map_err(failed)?;
    let Some(found) = found else { return Ok(None) };
    web.session(&browser, &found).map(Some)
}

/// Who says who they are.
#[derive(Deserialize)]
pub(super) struct Named {
    person: String,
    password: String,
}

/// A password is given. What is wrong about it is not said: neither whether somebody has one, nor whether they must wait.
pub(super) async fn by_password(State(web): State<Web>, Sent(Named { person, password }): Sent<Named>) -> Response {
    match compared(&web, &person, Zeroizing::new(password)).await {
        Ok(Some(cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        Ok(None) => {
            let (headline, lead) = (text!("trouble-not-signed-in"), text!("sign-in-not-by-that"));
            let trouble = Trouble { status: StatusCode::FORBIDDEN, headline, lead };
            web.trouble(trouble, None, "/sign-in")
        }
        Err(trouble) => web.trouble(trouble, None, "/sign-in"),
    }
}

async fn compared(web: &Web, person: &str, password: Zeroizing<String>) -> Result<Option<HeaderValue>, Trouble> {
    let Ok(person) = person.trim().parse::<Person>() else { return Ok(None) };
    let Parts { store, passwords, clock, .. } = &web.parts;
    let kept = store.password(&person).await.map_err(failed)?;
    // While it waits the right one is as good as none: whoever guesses learns nothing meanwhile.
    let kept = kept.filter(|kept| kept.not_before <= clock.now());
    let fits = passwords.fits(password, kept.as_ref().map(|kept| kept.hash.clone())).await?;
    let now = clock.now();
    let Some(kept) = kept else { return Ok(None) };
    if !fits {
        store.wrong_password(person, now).await.map_err(failed)?;
        return Ok(None);
    }
    let secret = Secret::generate().map_err(|error| tonic::Status::internal(error.to_string()))?;
    let browser = Browser { person, role: kept.role, via: Via::Password, expires_at: SIGNED_IN.after(now) };
    store.right_password(secret.hash(), browser.clone(), now).await.map_err(failed)?;
    web.session(&secret, &browser).map(Some)
}

impl Web {
    /// The cookie by which a browser is that person from now on.
    fn session(&self, browser: &Secret, found: &Browser) -> Result<HeaderValue, Trouble> {
        let Browser { person, role, via, expires_at: _ } = found;
        tracing::info!(%person, role = role.as_str(), via = via.as_str(), "a browser is signed in");
        self.site.set_cookie(SESSION, &browser.to_text(), "Strict", SIGNED_IN)
    }
}

/// To the provider.
pub(super) async fn to_provider(State(web): State<Web>) -> Response {
    let Some(provider) = web.site.provider() else { return Redirect::to("/sign-in").into_response() };
    let begun = match provider.begin().await {
        Ok((address, begun)) => {
            // It must come along when the provider leads back here.
            web.site.set_cookie(BEGUN, &begun.to_text(), "Lax", AT_PROVIDER).map(|cookie| (address, cookie))
        }
        Err(refused) => Err(denied(provider.name(), refused)),
    };
    match begun {
        Ok((address, cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to(&address)).into_response(),
        Err(trouble) => web.trouble(trouble, None, "/sign-in"),
    }
}

/// And back. Each attempt is good once: its cookie goes, whatever comes of it.
pub(super) async fn from_provider(State(web): State<Web>, headers: HeaderMap, Query(returned): Query<Returned>) -> Response {
    let begun = web.site.cookie(&headers, BEGUN).and_then(Begun::from_text);
    let response = match vouched(&web, &returned, begun.as_ref()).await {
        Ok(session) => {
            // Led on by a page of ours: a redirection would still count as coming from the provider, and the cookie would not come along.
            let said = SignIn {
                headline: &text!("sign-in-done"),
                lead: &text!("sign-in-done-lead"),
                onward: Some(("/", &text!("sign-in-go-on"))),
                ..SignIn::default()
            };
            let mut response = web.said(&said);
            response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("0; url=/"));
            response.headers_mut().append(header::SET_COOKIE, session);
            response
        }
        Err(trouble) => web.trouble(trouble, None, "/sign-in"),
    };
    web.without(BEGUN, response)
}

async fn vouched(web: &Web, returned: &Returned, begun: Option<&Begun>) -> Result<HeaderValue, Trouble> {
    let Some(provider) = web.site.provider() else { return Err(denied("", Refused::Stale(text!("sign-in-no-provider")))) };
    let named = |refused| denied(provider.name(), refused);
    let begun = begun.ok_or_else(|| named(Refused::Stale(text!("sign-in-not-begun"))))?;
    let now = web.parts.clock.now();
    let found = provider.finish(returned, begun, now).await.map_err(named)?;
    let secret = Secret::generate().map_err(|error| tonic::Status::internal(error.to_string()))?;
    let browser = Browser { person: found.person, role: found.role, via: Via::Oidc, expires_at: SIGNED_IN.after(now) };
    web.parts.store.begin_browser(secret.hash(), browser.clone(), now).await.map_err(failed)?;
    web.session(&secret, &browser)
}

/// Why nobody is signed in, as a page says it.
fn denied(provider: &str, refused: Refused) -> Trouble {
    let (status, headline, why, next) = match refused {
        Refused::Nobody(why) => (StatusCode::FORBIDDEN, text!("trouble-denied"), why, text!("sign-in-groups")),
        Refused::Stale(why) => (StatusCode::FORBIDDEN, text!("sign-in-stale"), why, text!("sign-in-begin-anew")),
        Refused::Provider(why) => (StatusCode::BAD_GATEWAY, text!("sign-in-did-not-work"), why, text!("sign-in-meanwhile")),
    };
    tracing::warn!(provider, why, "somebody was not signed in");
    Trouble { status, headline, lead: format!("{provider}: {why}. {next}") }
}

/// Nobody is signed in any more.
pub(super) async fn sign_out(State(web): State<Web>, headers: HeaderMap) -> Response {
    let to = match web.who(&headers).await {
        Ok(Some(who)) => {
            let gone = web.parts.store.sign_out(who.hash, who.person, web.parts.clock.now()).await;
            if let Err(error) = gone {
                return web.trouble(failed(error).into(), None, "/sign-out");
            }
            if who.via == Via::Oidc { "/signed-out" } else { "/sign-in" }
        }
        Ok(None) => "/sign-in",
        Err(trouble) => return web.trouble(trouble, None, "/sign-out"),
    };
    web.without(SESSION, Redirect::to(to).into_response())
}

/// Whoever came from a provider is still signed in there.
pub(super) async fn signed_out(State(web): State<Web>) -> Response {
    let Some(provider) = web.site.provider() else { return Redirect::to("/sign-in").into_response() };
    let (end, name) = (provider.end_session().await, text!("sign-in-sign-out-there", provider = provider.name()));
    let (headline, lead) = (&*text!("sign-in-signed-out"), &*text!("sign-in-signed-out-lead", provider = provider.name()));
    let onward = end.as_deref().map(|address| (address, name.as_str()));
    web.said(&SignIn { headline, lead, onward, ..SignIn::default() })
}

impl Web {
    /// Takes a cookie away.
    fn without(&self, cookie: &str, mut response: Response) -> Response {
        if let Ok(away) = self.site.set_cookie(cookie, "", "Strict", Span::seconds(0)) {
            response.headers_mut().append(header::SET_COOKIE, away);
        }
        response
    }
}
