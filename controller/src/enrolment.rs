//! The door: hosts come in with a one-use token, and renew their certificates with the key that came in (TRUST T9).
//!
//! Whoever knocks here is nobody yet. So the answers are short, the sizes small, and a wrong token learns nothing but that it is wrong.

use policy::Timestamp;
use policy::duration::Span;
use policy::id::{ServerName, Sha256};
use proto::agent::{
    EnrolRequest, EnrolResponse, EnrolmentService, GetSuccessorsRequest, GetSuccessorsResponse, RenewRequest, RenewResponse,
};
use proto::invalid;
use proto::names::Peer;
use proto::token::Secret;
use tonic::{Request, Response, Status};

use crate::ca::Request as CertificateRequest;
use crate::event;
use crate::parts::Parts;
use crate::status::{failed, told};
use crate::store::{Identity, IdentityState, Knock, StoreError};

/// How long after its certificate ran out an agent may still renew it by itself.
const GRACE: Span = Span::days(180);

/// The longest machine id, in bytes.
const MAX_MACHINE_ID: usize = 200;

/// The largest message on this port.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The enrolment service.
#[derive(Debug, Clone)]
pub struct Door {
    parts: Parts,
}

impl Door {
    /// With what it needs.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    async fn admit(&self, request: EnrolRequest) -> Result<EnrolResponse, Status> {
        let EnrolRequest { secret, server, machine_id, request, agent_version: _ } = request;
        let server: ServerName = invalid::id("EnrolRequest.server", &server)?;
        let secret = Secret::from_text(&secret).map_err(told(tonic::Code::InvalidArgument))?;
        if machine_id.is_empty() || machine_id.len() > MAX_MACHINE_ID {
            return Err(Status::invalid_argument(format!(
                "EnrolRequest.machine_id: expected 1 to {MAX_MACHINE_ID} bytes, found {}",
                machine_id.len()
            )));
        }
        let request = CertificateRequest::from_der(&request).map_err(told(tonic::Code::InvalidArgument))?;
        let Parts { store, authority, clock, metrics, .. } = &self.parts;
        let Some(trust) = store.trust().await.map_err(failed)? else {
            return Err(Status::failed_precondition("this estate has no trust document yet: expected one to be applied first"));
        };
        let now = clock.now();
        let issued = authority.issue_agent(&server, &request, now).map_err(told(tonic::Code::Internal))?;
        let name = server.clone();
        let knock =
            Knock { secret, server, machine_id, key_id: request.key_id(), certificate: issued.id, not_after: issued.not_after };
        let identity = store.enrol(knock, now).await.map_err(|error| {
            metrics.refused("enrolment");
            let why: &dyn std::error::Error = &error;
            tracing::warn!(event = event::ENROLMENT_REFUSED.id, server = %name, error = why, "a machine is refused");
            failed(error)
        })?;
        if identity.state != IdentityState::Active {
            let Identity { server, state, why, .. } = identity;
            tracing::warn!(event = event::AGENT_WAITS.id, %server, why, "a machine waits for a person");
            return Err(Status::failed_precondition(format!(
                "{server} is {}: {why}; a person must admit this machine, and then the same token is good",
                state.as_str()
            )));
        }
        metrics.enrolled();
        tracing::info!(event = event::AGENT_JOINED.id, server = %identity.server, "an agent was let in");
        let policy = store.policy().await.map_err(failed)?;
        Ok(EnrolResponse {
            certificate: issued.der,
            ca: vec![authority.certificate().to_vec()],
            trust: Some(trust.signed.into()),
            policy: policy.map(|document| document.signed.into()),
        })
    }

    async fn renewal(&self, request: RenewRequest) -> Result<RenewResponse, Status> {
        let RenewRequest { certificate, request } = request;
        let peer = Peer::of_certificate(&certificate).map_err(told(tonic::Code::InvalidArgument))?;
        let request = CertificateRequest::from_der(&request).map_err(told(tonic::Code::InvalidArgument))?;
        let Parts { store, authority, clock, .. } = &self.parts;
        // The key is what proves the host; what the certificate says must agree with what was enrolled under that key.
        let identity = store.identity(&request.key_id()).await.map_err(failed)?.ok_or(StoreError::UnknownKey).map_err(failed)?;
        let expected = Peer::Agent { estate: store.estate().clone(), server: identity.server.clone() };
        if peer != expected {
            return Err(Status::permission_denied(format!("certificate: expected one of {expected}, found one of {peer}")));
        }
        identity.active().map_err(failed)?;
        let now = clock.now();
        within_grace(&identity, now)?;
        let issued = authority.issue_agent(&identity.server, &request, now).map_err(told(tonic::Code::Internal))?;
        store.renewed(identity.key_id, issued.id, issued.not_after, now).await.map_err(failed)?;
        Ok(RenewResponse { certificate: issued.der })
    }
}

impl Door {
    /// Whoever does not know a document learns nothing of those that follow it: they name people.
    async fn successors(&self, request: GetSuccessorsRequest) -> Result<GetSuccessorsResponse, Status> {
        let GetSuccessorsRequest { version, id } = request;
        let id = Sha256(invalid::exactly("GetSuccessorsRequest.id", &id)?);
        let chain = self.parts.store.trust_chain(version.saturating_sub(1)).await.map_err(failed)?;
        let mut chain = chain.into_iter();
        if chain.next().is_none_or(|held| held.version != version || held.id != id) {
            return Err(Status::not_found(
                "trust document: expected one that was in force here, found none of that version and id",
            ));
        }
        Ok(GetSuccessorsResponse { trust: chain.map(|document| document.signed.into()).collect() })
    }
}

fn within_grace(identity: &Identity, now: Timestamp) -> Result<(), Status> {
    let last = GRACE.after(identity.not_after);
    if now <= last {
        return Ok(());
    }
    let Identity { server, not_after, .. } = identity;
    Err(Status::failed_precondition(format!(
        "the certificate of {server} ended on {not_after} and could be renewed until {last}: a person must admit it"
    )))
}

#[tonic::async_trait]
impl EnrolmentService for Door {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        self.admit(request.into_inner()).await.map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        self.renewal(request.into_inner()).await.map(Response::new)
    }

    async fn get_successors(&self, request: Request<GetSuccessorsRequest>) -> Result<Response<GetSuccessorsResponse>, Status> {
        self.successors(request.into_inner()).await.map(Response::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_renews_itself_until_its_grace_ends_and_then_a_person_must() {
        let end: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a moment");
        let identity = Identity {
            key_id: Sha256([1; 32]),
            server: "EX1".parse().expect("a name"),
            machine_id: "m".to_owned(),
            state: IdentityState::Active,
            why: String::new(),
            certificate: Sha256([2; 32]),
            not_after: end,
            lineage: Vec::new(),
            previous_lineage: Vec::new(),
            epoch: 1,
            enrolled_at: end,
            changed_at: end,
        };
        assert!(within_grace(&identity, Span::days(180).after(end)).is_ok());
        let status = within_grace(&identity, Span::days(181).after(end)).expect_err("too late");
        assert!(status.message().contains("a person must admit it"), "{}", status.message());
    }
}
