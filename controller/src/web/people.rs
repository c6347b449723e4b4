//! *Access*: who may approve what, by the trust document in force; the key of the browser that looks; and by which ways people and programs
//! come in.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use policy::trust::{Class, KeyKind, PersonKey, PersonKeys, TrustDocument, Verified, root_fingerprint};
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{
    self, CreateApiTokenRequest, EndAccessRequest, GetTrustRequest, ListAccessRequest, ListAccessResponse, RevokeApiTokenRequest,
    SetPasswordRequest,
};
use proto::signed::SignedBytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::access::Who;
use super::acts::Sent;
use super::plans::{day, moment};
use super::texts::{filters, text};
use super::{Shown, Trouble, Web};
use crate::operators::access::Right;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let trust = trust_in_force(web, who).await?;
    let ways = web.operators.list_access(who.ask(ListAccessRequest {})).await?.into_inner();
    let main = [People::of(trust.as_ref()).render()?, Ways::of(ways, who).render()?].concat();
    Ok(Shown { title: text!("people-access"), main })
}

#[derive(Template)]
#[template(path = "ways_in.html")]
struct Ways {
    /// Everybody's, and not only one's own.
    all: bool,
    may_end: bool,
    /// A password and tokens for oneself.
    may_make: bool,
    rows: Vec<Way>,
    /// The names of tokens.
    tokens: Vec<String>,
    /// What a token may be given, and what that means.
    scopes: Vec<(&'static str, &'static str)>,
}

struct Way {
    what: String,
    person: String,
    role: String,
    scope: String,
    since: String,
    until: String,
    used: String,
}

impl Ways {
    /// Pure: the same answers make the same page.
    fn of(found: ListAccessResponse, who: &Who) -> Self {
        let ListAccessResponse { browsers, passwords, tokens } = found;
        let mut rows = Vec::new();
        for operator::SignedIn { person, role, via, began_at, expires_at } in browsers {
            let (what, since, until) = (text!("ways-in-browser", via = via), moment(began_at), moment(expires_at));
            rows.push(Way { what, person, role, scope: String::new(), since, until, used: String::new() });
        }
        for operator::PasswordSet { person, role, set_at } in passwords {
            let (since, until) = (moment(set_at), String::new());
            rows.push(Way {
                what: text!("ways-in-password-set"),
                person,
                role,
                scope: String::new(),
                since,
                until,
                used: String::new(),
            });
        }
        let mut names = Vec::new();
        for operator::ApiToken { name, person, role, scope, created_at, expires_at, used_at } in tokens {
            let used = used_at.map_or_else(|| text!("common-never"), moment);
            let (since, until) = (moment(created_at), day(expires_at));
            rows.push(Way {
                what: text!("ways-in-token-named", name = name.as_str()),
                person,
                role,
                scope: scope.join(", "),
                since,
                until,
                used,
            });
            names.push(name);
        }
        let scopes = [
            ("read", Right::Read, "ways-in-may-read"),
            ("answer", Right::Answer, "ways-in-may-answer"),
            ("submit", Right::Submit, "ways-in-may-submit"),
            ("reject", Right::Reject, "ways-in-may-reject"),
            ("stop", Right::Stop, "ways-in-may-stop"),
            ("send-away", Right::SendAway, "ways-in-may-send-away"),
            ("enrol", Right::Token, "ways-in-may-enrol"),
        ];
        let scopes = scopes.into_iter().filter(|(_, right, _)| who.may(*right)).map(|(word, _, means)| (word, means)).collect();
        Self {
            all: who.may(Right::Ways),
            may_end: who.may(Right::EndAccess),
            may_make: who.may_make_ways(),
            rows,
            tokens: names,
            scopes,
        }
    }
}

fn vouched_only() -> Trouble {
    tonic::Status::permission_denied(text!("ways-in-vouched-only")).into()
}

/// A password, twice.
#[derive(Deserialize)]
pub(super) struct NewPassword {
    password: String,
    again: String,
}

pub(super) async fn set_password(
    State(web): State<Web>,
    who: Who,
    Sent(NewPassword { password, again }): Sent<NewPassword>,
) -> Response {
    let password = Zeroizing::new(password);
    if !who.may_make_ways() {
        return web.trouble(vouched_only(), Some(&who), "/access");
    }
    if *password != *Zeroizing::new(again) {
        let status = tonic::Status::invalid_argument(text!("ways-in-not-the-same"));
        return web.trouble(status.into(), Some(&who), "/access");
    }
    led_back(&web, &who, web.operators.set_password(who.ask(SetPasswordRequest { password: password.to_string() })).await)
}

/// A program that is to come in. Boxes that are ticked come as their names.
#[derive(Deserialize)]
pub(super) struct NewToken {
    name: String,
    days: u32,
    #[serde(flatten)]
    scope: std::collections::BTreeMap<String, String>,
}

/// A token is shown once: on the page that answers, and on no other.
pub(super) async fn create_token(
    State(web): State<Web>,
    who: Who,
    Sent(NewToken { name, days, scope }): Sent<NewToken>,
) -> Response {
    if !who.may_make_ways() {
        return web.trouble(vouched_only(), Some(&who), "/access");
    }
    let ttl_seconds = days.saturating_mul(86_400);
    let request = CreateApiTokenRequest { name: name.clone(), scope: scope.into_keys().collect(), ttl_seconds };
    let shown = match web.operators.create_api_token(who.ask(request)).await {
        Ok(made) => {
            let made = made.into_inner();
            TokenMade::of(&name, made.token, &moment(made.expires_at)).render().map_err(Trouble::from)
        }
        Err(status) => Err(status.into()),
    };
    match shown {
        Ok(main) => web.whole(&Shown { title: text!("common-a-token"), main }, Some(&who), "/access", false),
        Err(trouble) => web.trouble(trouble, Some(&who), "/access"),
    }
}

#[derive(Template)]
#[template(path = "api_token.html")]
struct TokenMade {
    headline: String,
    lead: String,
    token: String,
}

impl TokenMade {
    fn of(name: &str, token: String, until: &str) -> Self {
        Self { headline: text!("api-token-headline", name = name), lead: text!("api-token-lead", until = until), token }
    }
}

/// A token, by its name.
#[derive(Deserialize)]
pub(super) struct Revoked {
    name: String,
}

pub(super) async fn revoke_token(State(web): State<Web>, who: Who, Sent(Revoked { name }): Sent<Revoked>) -> Response {
    led_back(&web, &who, web.operators.revoke_api_token(who.ask(RevokeApiTokenRequest { name, validate_only: false })).await)
}

/// Whose ways in end, and why.
#[derive(Deserialize)]
pub(super) struct Ended {
    person: String,
    reason: String,
}

pub(super) async fn end(State(web): State<Web>, who: Who, Sent(Ended { person, reason }): Sent<Ended>) -> Response {
    led_back(&web, &who, web.operators.end_access(who.ask(EndAccessRequest { person, reason, validate_only: false })).await)
}

fn led_back<T>(web: &Web, who: &Who, answer: Result<tonic::Response<T>, tonic::Status>) -> Response {
    match answer {
        Ok(_) => Redirect::to("/access").into_response(),
        Err(status) => web.trouble(status.into(), Some(who), "/access"),
    }
}

/// The trust document in force, if there is one.
pub(super) async fn trust_in_force(web: &Web, who: &Who) -> Result<Option<Verified<TrustDocument>>, Trouble> {
    let Some(signed) = web.operators.get_trust(who.ask(GetTrustRequest {})).await?.into_inner().trust else { return Ok(None) };
    let signed = SignedBytes::try_from(signed).map_err(tonic::Status::from)?;
    let trust = proto::signed::trust(&signed).map_err(|error| tonic::Status::internal(error.to_string()))?;
    Ok(Some(trust))
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    lead: String,
    about: Vec<(String, String)>,
    persons: Vec<Row>,
    needs: Vec<Need>,
    /// The keys of browsers that stand in the document, as `person:key`.
    keys: String,
    browsers: String,
}

struct Row {
    name: String,
    roles: String,
    keys: Vec<String>,
}

struct Need {
    class: &'static str,
    persons: u32,
    in_browsers: String,
}

impl People {
    /// Pure: the same document makes the same page.
    fn of(trust: Option<&Verified<TrustDocument>>) -> Self {
        let Some(Verified { value: trust, id, signers: _ }) = trust else {
            return Self {
                lead: text!("people-no-trust"),
                about: Vec::new(),
                persons: Vec::new(),
                needs: Vec::new(),
                keys: String::new(),
                browsers: String::new(),
            };
        };
        let persons = trust.persons.iter().map(|(name, PersonKeys { roles, keys })| Row {
            name: name.to_string(),
            roles: roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", "),
            keys: keys
                .iter()
                .map(|PersonKey { key, kind, until }| {
                    let until = until.strftime("%F").to_string();
                    let kind = match kind {
                        KeyKind::File => text!("people-key-in-a-file", until = until),
                        KeyKind::Browser => text!("people-key-in-a-browser", until = until),
                    };
                    format!("{}… {kind}", &key.to_string()[..8])
                })
                .collect(),
        });
        let needs = Class::ALL.map(|class| Need {
            class: class.as_str(),
            persons: trust.need(class),
            in_browsers: if trust.browser.contains(&class) {
                text!("people-in-browsers", count = trust.need(class) - 1)
            } else {
                text!("people-in-files")
            },
        });
        let browsers: Vec<&str> = trust.browser.iter().map(|class| class.as_str()).collect();
        Self {
            lead: text!("people-lead", version = trust.version),
            about: vec![
                (text!("people-document"), id.to_string()),
                (text!("people-root"), root_fingerprint(&trust.root).to_string()),
                (
                    text!("people-root-keys"),
                    text!("people-root-keys-sign", threshold = trust.root.threshold, keys = trust.root.keys.len()),
                ),
                (text!("people-controllers"), text!("people-of-ca", count = trust.ca.len())),
            ],
            persons: persons.collect(),
            needs: needs.into(),
            keys: browser_keys(trust),
            browsers: if browsers.is_empty() {
                text!("people-browsers-count-for-nothing")
            } else {
                text!("people-browsers-count-for", classes = browsers.join(", "))
            },
        }
    }
}

/// The keys of browsers that stand in the document, for the script that compares them with its own.
pub(super) fn browser_keys(trust: &TrustDocument) -> String {
    let of_browsers = |(name, PersonKeys { keys, .. }): (&policy::id::Person, &PersonKeys)| {
        let keys = keys.iter().filter(|key| key.kind == KeyKind::Browser).map(|key| format!("{name}:{}", key.key));
        keys.collect::<Vec<_>>()
    };
    trust.persons.iter().flat_map(of_browsers).collect::<Vec<_>>().join(" ")
}
