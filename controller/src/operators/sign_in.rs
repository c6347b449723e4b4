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
use crate::store::Browser;

/// How long a link is good.
const GOOD: Span = Span::seconds(300);

/// Makes a link by which this person signs in to the pages in this role, and says until when.
pub(crate) async fn link(parts: &Parts, person: Person, role: PersonRole) -> Result<(Zeroizing<String>, Timestamp), Status> {
    let now = parts.clock.now();
    let expires_at = GOOD.after(now);
    let secret = Secret::generate().map_err(|error| Status::internal(error.to_string()))?;
    parts.store.create_sign_in(secret.hash(), Browser { person, role, expires_at }, now).await.map_err(failed)?;
    Ok((Zeroizing::new(format!("http://{}/sign-in?link={}", parts.web, *secret.to_text())), expires_at))
}
