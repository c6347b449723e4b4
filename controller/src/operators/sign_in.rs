//! A link by which a browser is whoever asks, once.

use policy::Timestamp;
use policy::duration::Span;
use policy::id::Person;
use policy::trust::PersonRole;
use proto::token::Secret;
use tonic::Status;
use zeroize::Zeroizing;

use crate::parts::Parts;
use crate::status::failed;
use crate::store::{Browser, Via};

/// How long a link is good.
const GOOD: Span = Span::seconds(300);

/// Makes a link by which this person signs in to the pages in this role, and says until when. It leads to where other machines find the pages,
/// or to this machine.
pub(crate) async fn link(
    parts: &Parts,
    person: Person,
    role: PersonRole,
    loopback: bool,
) -> Result<(Zeroizing<String>, Timestamp), Status> {
    let now = parts.clock.now();
    let expires_at = GOOD.after(now);
    let secret = Secret::generate().map_err(|error| Status::internal(error.to_string()))?;
    parts.store.create_sign_in(secret.hash(), Browser { person, role, via: Via::Link, expires_at }, now).await.map_err(failed)?;
    Ok((address(&parts.pages(loopback), &secret), expires_at))
}

/// Where the link leads.
pub(crate) fn address(pages: &str, secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("{pages}/sign-in?link={}", *secret.to_text()))
}
