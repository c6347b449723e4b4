//! Passwords, tokens of programs, and who is signed in.

use policy::duration::Span;
use policy::id::Person;
use policy::trust::PersonRole;
use proto::invalid;
use proto::operator::{
    self, CreateApiTokenRequest, CreateApiTokenResponse, EndAccessRequest, EndAccessResponse, ListAccessResponse,
    SetPasswordRequest,
};
use proto::token::Secret;
use tonic::Status;
use zeroize::Zeroizing;

use super::access::Scope;
use super::{reason_given, wire};
use crate::parts::Parts;
use crate::password;
use crate::status::failed;
use crate::store::{ApiToken, Password, WaysIn};

/// How long a token of a program may be good.
const GOOD: std::ops::RangeInclusive<u32> = 3_600..=400 * 86_400;

/// The longest name of a token.
const MAX_NAME: usize = 63;

/// Of everybody, or of one.
pub(super) async fn list(parts: &Parts, of: Option<&Person>) -> Result<ListAccessResponse, Status> {
    let WaysIn { browsers, passwords, tokens } = parts.store.ways_in(of, parts.clock.now()).await.map_err(failed)?;
    let at = invalid::micros;
    Ok(ListAccessResponse {
        browsers: browsers
            .into_iter()
            .map(|(browser, began_at)| operator::SignedIn {
                person: browser.person.to_string(),
                role: browser.role.as_str().to_owned(),
                via: browser.via.as_str().to_owned(),
                began_at: at(began_at),
                expires_at: at(browser.expires_at),
            })
            .collect(),
        passwords: passwords
            .into_iter()
            .map(|Password { person, role, set_at, .. }| operator::PasswordSet {
                person: person.to_string(),
                role: role.as_str().to_owned(),
                set_at: at(set_at),
            })
            .collect(),
        tokens: tokens
            .into_iter()
            .map(|token| operator::ApiToken {
                name: token.name,
                person: token.person.to_string(),
                role: token.role.as_str().to_owned(),
                scope: token.scope.split(',').map(str::to_owned).collect(),
                created_at: at(token.created_at),
                expires_at: at(token.expires_at),
                used_at: token.used_at.map(at),
            })
            .collect(),
    })
}

/// Ends everything of one person.
pub(super) async fn end(parts: &Parts, request: EndAccessRequest, by: Person) -> Result<EndAccessResponse, Status> {
    let EndAccessRequest { person, reason, validate_only: _ } = request;
    let person: Person = invalid::id("EndAccessRequest.person", &person)?;
    let reason = reason_given(&reason)?;
    let ended = parts.store.end_access(person, reason, by, parts.clock.now()).await.map_err(failed)?;
    Ok(EndAccessResponse { ended: wire::count(ended) })
}

/// A password for whoever asks.
pub(super) async fn set_password(
    parts: &Parts,
    request: SetPasswordRequest,
    person: Person,
    role: PersonRole,
) -> Result<(), Status> {
    let password = Zeroizing::new(request.password);
    password::judge(&person, &password).map_err(Status::invalid_argument)?;
    let hash = parts.passwords.hash(password).await?;
    parts.store.set_password(person, role, hash, parts.clock.now()).await.map_err(failed)
}

/// A token by which a program is whoever asks, with less.
pub(super) async fn create_token(
    parts: &Parts,
    request: CreateApiTokenRequest,
    person: Person,
    role: PersonRole,
) -> Result<CreateApiTokenResponse, Status> {
    let CreateApiTokenRequest { name, scope, ttl_seconds } = request;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
        let expected = "1 to 63 letters, digits, '-', '_' and '.'";
        return Err(Status::invalid_argument(format!("name: expected {expected}, found {name:?}")));
    }
    if !GOOD.contains(&ttl_seconds) {
        return Err(Status::invalid_argument(format!("ttl_seconds: expected 3600 to 34560000, found {ttl_seconds}")));
    }
    let scope: Scope = scope.join(",").parse().map_err(Status::invalid_argument)?;
    if let Some(word) = scope.beyond(role) {
        let role = role.as_str();
        return Err(Status::permission_denied(format!(
            "scope: {word} is more than you may do as {role}: a token is no more than its maker"
        )));
    }
    let secret = Secret::generate().map_err(|error| Status::internal(error.to_string()))?;
    let now = parts.clock.now();
    let expires_at = Span::seconds(ttl_seconds).after(now);
    let scope = scope.to_string();
    let token = ApiToken { name, person, role, scope, created_at: now, expires_at, used_at: None };
    parts.store.create_api_token(token, secret.hash(), now).await.map_err(failed)?;
    Ok(CreateApiTokenResponse { token: secret.to_text().to_string(), expires_at: invalid::micros(expires_at) })
}
