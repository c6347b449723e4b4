//! Programs that ask by a token, on the operators' port: whoever shows no certificate there shows one, or is not heard.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use policy::id::Sha256;
use proto::names::Peer;
use proto::token::Secret;
use tonic::Status;

use crate::listen::{Caller, CallerIdentity};
use crate::parts::Parts;
use crate::status::failed;

/// Lets through who is known by a certificate, or by a token that is good.
pub async fn admit(State(parts): State<Parts>, mut request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Status::internal("the connection says nothing of who asks").into_http();
    };
    if caller.identity.is_some() {
        return next.run(request).await;
    }
    match identity(&parts, request.headers()).await {
        Ok(identity) => {
            request.extensions_mut().insert(Caller { identity: Some(identity), ..caller });
            next.run(request).await
        }
        Err(status) => status.into_http(),
    }
}

async fn identity(parts: &Parts, headers: &HeaderMap) -> Result<CallerIdentity, Status> {
    let unknown = |found: &str| {
        Status::unauthenticated(format!("expected an operator's certificate or a token that is good, found {found}"))
    };
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(unknown("neither")) };
    let secret = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).and_then(|text| Secret::from_text(text).ok());
    let Some(secret) = secret else { return Err(unknown("something else")) };
    let hash = secret.hash();
    let token = parts.store.api_token(hash, parts.clock.now()).await.map_err(failed)?;
    let Some(token) = token else { return Err(unknown("one that is not, or not any more")) };
    let scope = token.scope.parse().map_err(Status::internal)?;
    let peer = Peer::Operator { estate: parts.store.estate().clone(), person: token.person, role: token.role };
    Ok(CallerIdentity { peer, key_id: hash, certificate: Sha256([0; 32]), scope: Some(scope) })
}
