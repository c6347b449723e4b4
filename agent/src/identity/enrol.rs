//! Joining an estate with a one-use token, and renewing the identity later, both on the enrolment port, where the controller
//! proves itself and the agent does not yet.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use policy::Timestamp;
use policy::id::{EstateName, ServerName, Sha256};
use proto::agent::{
    EnrolRequest, EnrolResponse, EnrolmentServiceClient, GetSuccessorsRequest, GetSuccessorsResponse, RenewRequest, RenewResponse,
};
use proto::invalid;
use proto::names::{Address, Peer};
use proto::signed::SignedBytes;
use proto::token::JoinToken;
use proto::types::Signed;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, SanType};
use rustls::pki_types::CertificateDer;
use tonic::Request;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::key::HostKey;
use super::{Identity, IdentityError, Joined, MAX_CA, Renewed, check_certificate, write};
use crate::authority::{Authority, first_trust};
use crate::event;
use crate::proxy::Proxy;
use crate::session::{Document, Version};
use crate::tls::{self, Dialled, PinnedCa};

/// How long a controller may take to enrol or renew.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The largest token file that is read, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// The most trust documents that are taken at once.
const MAX_SUCCESSORS: usize = 100;

/// What a host that joined holds.
#[derive(Debug)]
pub struct Admission {
    /// Its identity.
    pub identity: Identity,
    /// The first documents.
    pub authority: Authority,
}

/// Reads the join token; `None` when there is no file.
///
/// # Errors
/// [`IdentityError`], which repeats nothing of the token.
pub fn read_token(path: &Path) -> Result<Option<JoinToken>, IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_TOKEN => {
            return Err(IdentityError::Damaged { path: path.to_owned(), expected: "a join token" });
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    JoinToken::decode(&text).map(Some).map_err(|source| IdentityError::Token { path: path.to_owned(), source })
}

/// Joins: tries the controllers in turn, through the proxy if there is one, believes one whose CA the token names and whose trust document is signed by the root
/// that the token names, and keeps what it gives. The caller removes the token.
///
/// # Errors
/// [`IdentityError`] of the last controller that was tried.
pub async fn enrol(
    folder: &Path,
    token: &JoinToken,
    addresses: &[Address],
    proxy: Option<&Proxy>,
    server: &ServerName,
    machine_id: &str,
    now: Timestamp,
) -> Result<Admission, IdentityError> {
    if token.server != *server {
        return Err(IdentityError::OtherServer { expected: server.clone(), found: token.server.clone() });
    }
    let key = HostKey::open_or_make(folder, &token.estate)?;
    let request = certificate_request(&key, &token.estate, server)?;
    let (address, Dialled { channel, shown }) = dial_any(addresses, proxy, &token.ca, &[]).await?;
    let mut client = client(channel);
    let enrol = EnrolRequest {
        secret: token.secret.to_text().as_str().to_owned(),
        server: server.to_string(),
        machine_id: machine_id.to_owned(),
        request,
        agent_version: crate::VERSION.to_owned(),
    };
    let answer = client.enrol(limited(enrol)).await.map_err(|status| IdentityError::Refused {
        address,
        what: "enrol this host",
        source: Box::new(status),
    })?;

    let EnrolResponse { certificate, ca, trust, policy } = answer.into_inner();
    let read = |signed: Signed| SignedBytes::try_from(signed).map_err(IdentityError::Answer);
    let trust = read(invalid::present("EnrolResponse.trust", trust).map_err(IdentityError::Answer)?)?;
    let policy = policy.map(read).transpose()?;
    let der = CertificateDer::from(certificate);
    let certificate = check_certificate(&der, &key, &token.estate, server)?;
    let document = first_trust(&trust, token.root).map_err(IdentityError::Trust)?.value;
    let proven = shown.iter().map(|der| Sha256::of(der)).find(|id| token.ca.contains(id));
    if !proven.is_some_and(|id| document.ca.contains(&id)) {
        return Err(IdentityError::OtherCa(proven.map_or_else(|| "none".to_owned(), |id| id.to_string())));
    }
    let ca: Vec<_> =
        ca.into_iter().filter(|der| document.ca.contains(&Sha256::of(der))).take(MAX_CA).map(CertificateDer::from).collect();

    let mut authority = match Authority::open(folder).map_err(IdentityError::Trust)? {
        // It joined before and forgot only who it is: what it holds is not below what it held.
        Some(mut authority) => {
            authority.judge(&Document::Trust(trust), now).map_err(IdentityError::Trust)?;
            authority
        }
        None => Authority::found(folder, &trust, token.root, now).map_err(IdentityError::Trust)?,
    };
    if let Some(policy) = policy
        && let Err(error) = authority.judge(&Document::Policy(policy), now)
    {
        // The host has joined all the same: without a policy it observes.
        let error = crate::chain(&error);
        tracing::error!(event = event::POLICY_REFUSED.id, error, "the policy that came with the enrolment is refused");
    }
    write(&folder.join("identity.der"), &der)?;
    write(&folder.join("ca.der"), &ca.iter().flat_map(|der| der.iter().copied()).collect::<Vec<_>>())?;
    let joined = Joined {
        estate: token.estate.clone(),
        server: server.clone(),
        root: token.root,
        enrolment: token.controllers.clone(),
        agents: token.agents.clone(),
    };
    write(&folder.join("joined.json"), &serde_json::to_vec_pretty(&joined).expect("names and addresses are plain data"))?;
    let identity = Identity { folder: folder.to_owned(), joined, key, der, certificate, ca };
    Ok(Admission { identity, authority })
}

impl Identity {
    /// Asks for a renewed certificate, also after the present one ran out: the enrolled key proves the host. What comes back is
    /// kept by [`Identity::keep`].
    ///
    /// # Errors
    /// [`IdentityError::Key`] at once; everything else when the future ends.
    pub fn renewal(
        &self,
        addresses: Vec<Address>,
        proxy: Option<Proxy>,
        ca: BTreeSet<Sha256>,
    ) -> Result<impl Future<Output = Result<Renewed, IdentityError>> + Send + 'static, IdentityError> {
        let request = certificate_request(&self.key, &self.joined.estate, &self.joined.server)?;
        let (certificate, known) = (self.der.to_vec(), self.ca.clone());
        Ok(async move {
            let (address, Dialled { channel, shown }) = dial_any(&addresses, proxy.as_ref(), &ca, &known).await?;
            let answer = client(channel).renew(limited(RenewRequest { certificate, request })).await;
            let RenewResponse { certificate } = answer
                .map_err(|status| IdentityError::Refused { address, what: "renew the identity", source: Box::new(status) })?
                .into_inner();
            let ca = shown.into_iter().chain(known).filter(|der| ca.contains(&Sha256::of(der))).take(MAX_CA).collect();
            Ok(Renewed { certificate, ca })
        })
    }
}

/// Asks whoever answers on the enrolment ports for the trust documents that follow the one that is held. Nothing of the answer is
/// believed yet: each document proves itself or does not.
///
/// # Errors
/// [`IdentityError`] of the last that was tried.
pub async fn successors(addresses: Vec<Address>, proxy: Option<Proxy>, held: Version) -> Result<Vec<SignedBytes>, IdentityError> {
    let mut last = IdentityError::NoAddress;
    for address in addresses {
        let asked = async {
            let dialled = tls::dial(&address, proxy.as_ref(), tls::unbelieved()).await.map_err(IdentityError::Dial)?;
            let request = GetSuccessorsRequest { version: held.number, id: held.id.0.to_vec() };
            let answer = client(dialled.channel).get_successors(limited(request)).await.map_err(|status| {
                IdentityError::Refused { address, what: "tell the next trust document", source: Box::new(status) }
            })?;
            let GetSuccessorsResponse { trust } = answer.into_inner();
            invalid::list("GetSuccessorsResponse.trust", MAX_SUCCESSORS, trust, SignedBytes::try_from)
                .map_err(IdentityError::Answer)
        };
        match asked.await {
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The first of the controllers that answers and is believed.
async fn dial_any(
    addresses: &[Address],
    proxy: Option<&Proxy>,
    fingerprints: &BTreeSet<Sha256>,
    known: &[CertificateDer<'static>],
) -> Result<(Address, Dialled), IdentityError> {
    let config = tls::anonymous(PinnedCa::new(fingerprints.clone(), known.to_vec()));
    let mut last = IdentityError::NoAddress;
    for address in addresses {
        match tls::dial(address, proxy, config.clone()).await {
            Ok(dialled) => return Ok((address.clone(), dialled)),
            Err(error) => {
                tracing::debug!(error = crate::chain(&error), "enrolment port not reached");
                last = IdentityError::Dial(error);
            }
        }
    }
    Err(last)
}

fn client(channel: Channel) -> EnrolmentServiceClient<Channel> {
    EnrolmentServiceClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE)
}

fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_LIMIT);
    request
}

/// The request names the host as its certificate will; the controller decides from the token all the same.
fn certificate_request(key: &HostKey, estate: &EstateName, server: &ServerName) -> Result<Vec<u8>, IdentityError> {
    let peer = Peer::Agent { estate: estate.clone(), server: server.clone() };
    let uri = Ia5String::try_from(peer.to_string()).map_err(IdentityError::Key)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.remove(DnType::CommonName);
    parameters.distinguished_name.push(DnType::CommonName, server.as_str());
    parameters.subject_alt_names = vec![SanType::URI(uri)];
    parameters.serialize_request(&key.0).map(|request| request.der().to_vec()).map_err(IdentityError::Key)
}
