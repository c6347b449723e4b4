//! A link by which a browser is whoever asks, once.

use std::net::SocketAddr;

use policy::Timestamp;
use policy::duration::Span;
use policy::id::Person;
use policy::trust::PersonRole;
use proto::token::Secret;
use tonic::Status;
use zeroize::Zeroizing;

use crate::parts::Parts;
use crate::status::failed;
use crate::store::Browser;

/// How long a link is good.
const GOOD: Span = Span::seconds(300);

/// Makes a link by which this person signs in to the pages in this role, and says until when.
pub(crate) async fn link(parts: &Parts, person: Person, role: PersonRole) -> Result<(Zeroizing<String>, Timestamp), Status> {
    let now = parts.clock.now();
    let expires_at = GOOD.after(now);
    let secret = Secret::generate().map_err(|error| Status::internal(error.to_string()))?;
    parts.store.create_sign_in(secret.hash(), Browser { person, role, expires_at }, now).await.map_err(failed)?;
    Ok((address(parts.web, &secret), expires_at))
}

/// Where the link leads.
pub(crate) fn address(web: SocketAddr, secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("http://{web}/sign-in?link={}", *secret.to_text()))
}
