//! Who looks at a page. Whoever may ask on the operators' port gets a link there by which a browser is that person, once: no password, and
//! nobody whom the estate does not know already.

use askama::Template;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use policy::duration::Span;
use policy::id::{Person, Sha256};
use policy::trust::PersonRole;
use proto::names::Peer;
use proto::token::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::acts::Sent;
use super::{Shown, SignIn, Trouble, Web};
use crate::listen::{Caller, CallerIdentity};
use crate::operators::access::{Right, may};
use crate::status::failed;
use crate::store::Browser;

/// How long a browser stays signed in: a working day.
const SIGNED_IN: Span = Span::seconds(12 * 3_600);

/// The cookie's name.
const COOKIE: &str = "backstay";

/// Who looks.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) person: Person,
    pub(super) role: PersonRole,
    caller: Caller,
    hash: Sha256,
}

impl Who {
    /// Whether this person may do that, by the one table of the operators' service: who may not sees no button for it.
    pub(super) fn may(&self, right: Right) -> bool {
        may(self.role, right)
    }

    /// The same request as the command line would send it.
    pub(super) fn ask<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self.caller.clone());
        request
    }
}

impl Web {
    /// Who looks, by the cookie; `None` when nobody is signed in.
    pub(super) async fn who(&self, headers: &HeaderMap) -> Result<Option<Who>, Trouble> {
        let Some(secret) = cookie(headers).and_then(|text| Secret::from_text(text).ok()) else { return Ok(None) };
        let hash = secret.hash();
        let found = self.parts.store.browser(hash, self.parts.clock.now()).await.map_err(failed)?;
        Ok(found.map(|Browser { person, role, expires_at: _ }| {
            let nobody = Sha256([0; 32]);
            let peer = Peer::Operator { estate: self.parts.store.estate().clone(), person: person.clone(), role };
            let identity = CallerIdentity { peer, key_id: nobody, certificate: nobody };
            let caller = Caller { address: self.parts.web, identity: Some(identity), key_exchange: None };
            Who { person, role, caller, hash }
        }))
    }
}

/// Whoever is not signed in is led to where one signs in; a form of nobody changes nothing.
impl FromRequestParts<Web> for Who {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        match web.who(&parts.headers).await {
            Ok(Some(who)) => Ok(who),
            Ok(None) if parts.method == Method::GET => Err(Redirect::to("/sign-in").into_response()),
            Ok(None) => {
                let lead =
                    "Nobody is signed in here, or no longer: nothing was changed. Sign in, and do it again: backstay sign-in"
                        .to_owned();
                let trouble = Trouble { status: StatusCode::FORBIDDEN, headline: "Not signed in", lead };
                Err(web.trouble(trouble, None, parts.uri.path()))
            }
            Err(trouble) => Err(web.trouble(trouble, None, parts.uri.path())),
        }
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// What comes with a link.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    link: String,
}

/// A link is opened. It is used up only by the button: what looks at links before people do uses none up.
pub(super) async fn ask(State(web): State<Web>, Query(Asked { link }): Query<Asked>) -> Response {
    let said = if Secret::from_text(&link).is_ok() {
        SignIn {
            headline: "Sign in",
            lead: "This link is good once, and for five minutes after it was made.",
            link: Some(&link),
            command: None,
        }
    } else {
        SignIn {
            headline: "Sign in",
            lead: "Whoever may ask this controller on the command line may look at its pages. Make a link, and open it here:",
            link: None,
            command: Some("backstay sign-in"),
        }
    };
    match said.render() {
        Ok(main) => web.whole(&Shown { title: "Sign in".to_owned(), main }, None, "/sign-in", false),
        Err(error) => Trouble::from(error).into_response(),
    }
}

/// The button is pressed.
pub(super) async fn sign_in(State(web): State<Web>, Sent(Asked { link }): Sent<Asked>) -> Response {
    match signed_in(&web, &link).await {
        Ok(Some(cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        Ok(None) => {
            let lead = "It was used already, or made more than five minutes ago. Make another: backstay sign-in".to_owned();
            let trouble = Trouble { status: StatusCode::FORBIDDEN, headline: "This link is good no more", lead };
            web.trouble(trouble, None, "/sign-in")
        }
        Err(trouble) => web.trouble(trouble, None, "/sign-in"),
    }
}

async fn signed_in(web: &Web, link: &str) -> Result<Option<HeaderValue>, Trouble> {
    let Ok(link) = Secret::from_text(link) else { return Ok(None) };
    let browser = Secret::generate().map_err(|error| tonic::Status::internal(error.to_string()))?;
    let now = web.parts.clock.now();
    let expires_at = SIGNED_IN.after(now);
    let found = web.parts.store.sign_in(link.hash(), browser.hash(), expires_at, now).await.map_err(failed)?;
    let Some(found) = found else { return Ok(None) };
    tracing::info!(person = %found.person, role = found.role.as_str(), "a browser is signed in");
    let text = Zeroizing::new(format!(
        "{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}",
        *browser.to_text(),
        SIGNED_IN.as_seconds()
    ));
    let mut cookie = HeaderValue::from_str(&text).map_err(|error| tonic::Status::internal(error.to_string()))?;
    cookie.set_sensitive(true);
    Ok(Some(cookie))
}

/// Nobody is signed in any more.
pub(super) async fn sign_out(State(web): State<Web>, headers: HeaderMap) -> Response {
    match web.who(&headers).await {
        Ok(Some(who)) => {
            let gone = web.parts.store.sign_out(who.hash, who.person, web.parts.clock.now()).await;
            if let Err(error) = gone {
                return web.trouble(failed(error).into(), None, "/sign-out");
            }
        }
        Ok(None) => {}
        Err(trouble) => return web.trouble(trouble, None, "/sign-out"),
    }
    let away = HeaderValue::from_static("backstay=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, away)], Redirect::to("/sign-in")).into_response()
}
