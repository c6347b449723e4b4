//! gRPC for operators: what the command line asks, answered from the store, and changed only for who may.
//!
//! Who asks is taken from the client certificate, never from a message; who may do what stands in one table (`access`).
//! Signed documents are another matter: their signatures decide, whoever hands them in, and they are judged here only to
//! say early and clearly what every agent would refuse. Every change is told in the audit trail by the store, in its own transaction.

use std::collections::BTreeMap;

use policy::certificate::Certificate;
use policy::id::Person;
use policy::life::Life;
use policy::preflight::{Preflight, preflight};
use policy::trust::{PersonRole, root_fingerprint};
use proto::invalid;
use proto::operator::operator_service_server::OperatorService;
use proto::operator::{
    AbandonPlanRequest, AbandonPlanResponse, AcknowledgeIncidentRequest, AcknowledgeIncidentResponse, AdmitAgentRequest,
    AdmitAgentResponse, ApplyPolicyRequest, ApplyPolicyResponse, ApplyTrustRequest, ApplyTrustResponse, CreateApiTokenRequest,
    CreateApiTokenResponse, CreateSignInRequest, CreateSignInResponse, CreateTokenRequest, CreateTokenResponse, EndAccessRequest,
    EndAccessResponse, ExplainServerRequest, ExplainServerResponse, FirstEnd, GetPlanRequest, GetPlanResponse, GetPolicyRequest,
    GetPolicyResponse, GetServerRequest, GetServerResponse, GetSettingsRequest, GetSettingsResponse, GetStatusRequest,
    GetStatusResponse, GetTrustRequest, GetTrustResponse, GoWithoutAgentRequest, GoWithoutAgentResponse, ListAccessRequest,
    ListAccessResponse, ListAgentsRequest, ListAgentsResponse, ListAuditRequest, ListAuditResponse, ListChangesRequest,
    ListChangesResponse, ListChannelsRequest, ListChannelsResponse, ListIncidentsRequest, ListIncidentsResponse,
    ListPlansRequest, ListPlansResponse, ListServersRequest, ListServersResponse, ListStandingsRequest, ListStandingsResponse,
    ListStopsRequest, ListStopsResponse, MakeStopRequest, MakeStopResponse, PreflightRequest, PreflightResponse,
    RejectPlanRequest, RejectPlanResponse, RetireServerRequest, RetireServerResponse, RevokeApiTokenRequest,
    RevokeApiTokenResponse, SendAgentAwayRequest, SendAgentAwayResponse, ServerPreflight, SetPasswordRequest,
    SetPasswordResponse, SubmitApprovalRequest, SubmitApprovalResponse, SubmitResumeRequest, SubmitResumeResponse,
    TestChannelsRequest, TestChannelsResponse,
};
use proto::signed::SignedBytes;
use proto::token::{JoinToken, Secret};
use tonic::{Request, Response, Status};

use self::access::Right;
use self::names::Named;
use self::refusal::believed;
use crate::audit::Actor;
use crate::event;
use crate::parts::Parts;
use crate::reconcile::Nudge;
use crate::status::failed;
use crate::store::{Checkups, Judged, Lookers, MAX_PAGE, PlanFilter, PlanRow, TrailFilter};

pub mod access;
mod agents;
mod approval;
pub mod bearer;
mod explain;
mod incidents;
pub(crate) mod names;
mod pages;
mod refusal;
mod report;
pub(crate) mod sign_in;
mod stop;
#[cfg(test)]
mod tests;
mod ways_in;
mod wire;

/// The shortest beginning of a plan's id that names it.
const MIN_PREFIX: usize = 8;

/// The most servers in trouble that a status names.
const TROUBLED: u32 = 100;

/// How often a server may have stood otherwise before that is not shown with it any more.
const HISTORY: u32 = 50;

/// The longest text that is looked for in the audit trail, in bytes.
const MAX_CONTAINS: usize = 200;

/// The longest reason that a person may give, in bytes.
const MAX_REASON: usize = 1000;

/// Answers operators.
#[derive(Debug, Clone)]
pub struct Operators {
    parts: Parts,
}

type Answer<T> = Result<Response<T>, Status>;

impl Operators {
    /// On these parts of a running controller.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Who asks, if that person may do this.
    fn caller<T>(&self, request: &Request<T>, right: Right) -> Result<Person, Status> {
        access::caller(request.extensions().get(), self.parts.store.estate(), right)
    }

    /// The parts by which it is done, or only judged.
    fn parts(&self, validate_only: bool) -> Parts {
        let parts = self.parts.clone();
        if validate_only { Parts { store: parts.store.trial(), nudge: Nudge::default(), ..parts } } else { parts }
    }

    /// Whether whoever asks is shown the names of persons.
    fn shows_names<T>(&self, request: &Request<T>) -> bool {
        names::shown(self.parts.config.privacy.names, access::role(request.extensions().get()))
    }

    /// Who asks, and as what, if it is a person and no program.
    fn in_person<T>(&self, request: &Request<T>) -> Result<(Person, PersonRole), Status> {
        let person = self.caller(request, Right::OwnAccess)?;
        let role = access::role(request.extensions().get());
        role.map(|role| (person, role)).ok_or_else(|| Status::unauthenticated("expected an operator's certificate, found none"))
    }

    async fn plan_named(&self, id: &str) -> Result<PlanRow, Status> {
        if id.len() < MIN_PREFIX {
            let found = id.len();
            return Err(Status::invalid_argument(format!(
                "id: expected at least {MIN_PREFIX} hexadecimal digits, found {found}"
            )));
        }
        self.parts.store.plan_by_prefix(id).await.map_err(failed)
    }

    /// A document in force changed: every server is judged anew, every agent is told.
    fn documents_changed(&self) {
        self.parts.nudge.look_at_all();
        self.parts.connections.wake_all();
    }
}

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Answer<GetStatusResponse> {
        self.caller(&request, Right::Read)?;
        let Parts { store, connections, .. } = &self.parts;
        let (trust, policy) = (store.trust().await.map_err(failed)?, store.policy().await.map_err(failed)?);
        let verdicts = store.verdicts().await.map_err(failed)?;
        let lives = store.lives().await.map_err(failed)?;
        let head = store.audit_head().await.map_err(failed)?;
        let restored_at = store.last_restore().await.map_err(failed)?.map(|restore| invalid::micros(restore.at));
        let awaited = match restored_at {
            Some(_) => store.awaited().await.map_err(failed)?,
            None => Vec::new(),
        };
        let mut silent = connections.away(store.expected().await.map_err(failed)?);
        silent.truncate(MAX_PAGE as usize);
        let (troubled, first_end) = (store.troubled(TROUBLED).await.map_err(failed)?, store.first_end().await.map_err(failed)?);
        Ok(Response::new(GetStatusResponse {
            estate: store.estate().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trust_version: trust.map_or(0, |document| document.version),
            policy_version: policy.map_or(0, |document| document.version),
            servers: wire::count(verdicts.iter().map(|(_, found)| found).sum()),
            connected: wire::count(connections.count() as u64),
            verdicts: verdicts.into_iter().map(|(word, found)| (wire::verdict(word), wire::count(found))).collect(),
            plans: lives
                .into_iter()
                .filter(|(life, _)| !life.ended())
                .map(|(life, found)| (life.as_str().to_owned(), wire::count(found)))
                .collect(),
            audit_sequence: head.sequence,
            audit_head: head.hash.0.to_vec(),
            restored_at,
            awaited: awaited.into_iter().map(|row| row.server.to_string()).collect(),
            silent: silent.iter().map(ToString::to_string).collect(),
            troubled: troubled.into_iter().map(wire::trouble).collect(),
            first_end: first_end.map(|(server, at)| FirstEnd { server: server.to_string(), at: invalid::micros(at) }),
        }))
    }

    async fn list_servers(&self, request: Request<ListServersRequest>) -> Answer<ListServersResponse> {
        self.caller(&request, Right::Read)?;
        let ListServersRequest { page_size, page_token, brief } = request.into_inner();
        let limit = pages::size(page_size)?;
        let after = pages::server(&page_token)?;
        let rows = self.parts.store.servers(after.as_ref(), limit).await.map_err(failed)?;
        let next_page_token = pages::next(&rows, limit, |row| pages::of_server(&row.name));
        let Parts { store, connections, clock, .. } = &self.parts;
        let (mut checkups, mut lookers) = (BTreeMap::new(), BTreeMap::new());
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            let count = approval::policy_in_force(store).await?.peers.count;
            let asked = async { if brief { Ok(BTreeMap::new()) } else { store.checkups_between(&first.name, &last.name).await } };
            let read = tokio::try_join!(asked, store.peers_between(&first.name, &last.name, count));
            (checkups, lookers) = read.map_err(failed)?;
        }
        let (never, now) = (Checkups::default(), clock.now());
        let servers = rows.into_iter().map(|row| {
            let prospect = (!brief).then(|| checkups.get(&row.name).unwrap_or(&never).prospect(row.exchange.as_deref(), now));
            let lookers = lookers.get(&row.name);
            wire::server(row, connections, prospect.as_ref(), lookers)
        });
        Ok(Response::new(ListServersResponse { servers: servers.collect(), next_page_token }))
    }

    async fn preflight(&self, request: Request<PreflightRequest>) -> Answer<PreflightResponse> {
        self.caller(&request, Right::Read)?;
        let PreflightRequest { page_size, page_token } = request.into_inner();
        let limit = pages::size(page_size)?;
        let after = pages::server(&page_token)?;
        let Parts { store, connections, clock, .. } = &self.parts;
        let judged = store.judged(after.as_ref(), limit).await.map_err(failed)?;
        let policy = approval::policy_in_force(store).await?;
        let now = clock.now();
        let next_page_token = pages::next(&judged, limit, |found| pages::of_server(&found.server));
        let servers = judged.into_iter().map(|Judged { server, mode, assessment }| {
            let Preflight { restart, update, frozen, unknown } = preflight(&policy, mode, &assessment, now);
            ServerPreflight {
                verdict: assessment.verdict.as_str().to_owned(),
                connected: connections.is_connected(&server),
                server: server.to_string(),
                restart,
                update,
                frozen,
                unknown,
            }
        });
        Ok(Response::new(PreflightResponse { servers: servers.collect(), next_page_token }))
    }

    async fn get_server(&self, request: Request<GetServerRequest>) -> Answer<GetServerResponse> {
        self.caller(&request, Right::Read)?;
        let name = invalid::id("GetServerRequest.name", &request.get_ref().name)?;
        let Parts { store, connections, clock, .. } = &self.parts;
        let row = store.listed(&name).await.map_err(failed)?.ok_or_else(|| refusal::no_server(&name))?;
        let checkups = store.checkups(&name).await.map_err(failed)?;
        let prospect = checkups.prospect(row.exchange.as_deref(), clock.now());
        let told = || checkups.clone().into_all().into_iter().map(Into::into).collect();
        let Some(mut scene) = store.scene(&name).await.map_err(failed)? else {
            // Let in, and silent so far.
            return Ok(Response::new(GetServerResponse {
                server: Some(wire::server(row, connections, Some(&prospect), None)),
                checkups: told(),
                ..GetServerResponse::default()
            }));
        };
        let count = approval::policy_in_force(store).await?.peers.count;
        scene.look_from(count, |peer| connections.is_connected(peer));
        let peers = wire::peers(&scene);
        let lookers = Lookers { question: scene.question(), peers: std::mem::take(&mut scene.peers) };
        let report_json = serde_json::to_string(&scene.sight.report)
            .map_err(|error| Status::internal(format!("the report of {name} does not write as JSON: {error}")))?;
        let history = store.history(&name, HISTORY).await.map_err(failed)?;
        let mut plans: Vec<_> = scene.plans.into_iter().map(|seen| wire::plan(&seen.row)).collect();
        if !self.shows_names(&request) {
            plans.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(GetServerResponse {
            history: history.into_iter().map(wire::stood).collect(),
            server: Some(wire::server(row, connections, Some(&prospect), Some(&lookers))),
            findings: scene.assessment.into_iter().flat_map(|assessment| assessment.findings).map(wire::finding).collect(),
            report_json,
            plans,
            checkups: told(),
            peers,
        }))
    }

    async fn explain_server(&self, request: Request<ExplainServerRequest>) -> Answer<ExplainServerResponse> {
        self.caller(&request, Right::Read)?;
        let name = invalid::id("ExplainServerRequest.name", &request.get_ref().name)?;
        let Parts { store, connections, clock, .. } = &self.parts;
        let Some(mut scene) = store.scene(&name).await.map_err(failed)? else {
            let row = store.server(&name).await.map_err(failed)?.ok_or_else(|| refusal::no_server(&name))?;
            return Ok(Response::new(explain::silent(&row)));
        };
        let policy = approval::policy_in_force(store).await?;
        scene.look_from(policy.peers.count, |peer| connections.is_connected(peer));
        Ok(Response::new(explain::explain(&scene, &policy, connections.is_connected(&name), clock.now())))
    }

    async fn list_plans(&self, request: Request<ListPlansRequest>) -> Answer<ListPlansResponse> {
        self.caller(&request, Right::Read)?;
        let named = self.shows_names(&request);
        let ListPlansRequest { page_size, page_token, open_only, server } = request.into_inner();
        let limit = pages::size(page_size)?;
        let server = if server.is_empty() { None } else { Some(invalid::id("ListPlansRequest.server", &server)?) };
        let filter = PlanFilter { open_only, server };
        let after = pages::plan(&page_token, &filter)?;
        let rows = self.parts.store.plans(&filter, after, limit).await.map_err(failed)?;
        let next_page_token = pages::next(&rows, limit, |row| pages::of_plan(row, &filter));
        let mut plans: Vec<_> = rows.iter().map(wire::plan).collect();
        if !named {
            plans.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(ListPlansResponse { plans, next_page_token }))
    }

    async fn get_plan(&self, request: Request<GetPlanRequest>) -> Answer<GetPlanResponse> {
        self.caller(&request, Right::Read)?;
        let store = &self.parts.store;
        let row = self.plan_named(&request.get_ref().id).await?;
        let mut approvals = Vec::new();
        for stored in store.approvals(&row.id).await.map_err(failed)? {
            approvals.push(wire::approval(stored.verified().map_err(failed)?.value));
        }
        let receipt = store.receipt(&row.id).await.map_err(failed)?.map(Into::into);
        let mut plan = wire::plan(&row);
        if !self.shows_names(&request) {
            plan.unname();
            approvals.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(GetPlanResponse { plan: Some(plan), body: row.body, approvals, receipt }))
    }

    async fn submit_approval(&self, request: Request<SubmitApprovalRequest>) -> Answer<SubmitApprovalResponse> {
        let by = self.caller(&request, Right::Submit)?;
        let SubmitApprovalRequest { approval, validate_only } = request.into_inner();
        let signed = signed("SubmitApprovalRequest.approval", approval)?;
        let rows = approval::submit(&self.parts(validate_only), signed, by).await?;
        Ok(Response::new(SubmitApprovalResponse { plans: rows.iter().map(wire::plan).collect() }))
    }

    async fn reject_plan(&self, request: Request<RejectPlanRequest>) -> Answer<RejectPlanResponse> {
        let by = self.caller(&request, Right::Reject)?;
        let RejectPlanRequest { id, reason, etag, validate_only } = request.into_inner();
        let reason = reason_given(&reason)?;
        let Parts { store, connections, nudge, clock, .. } = &self.parts(validate_only);
        let plan = self.plan_named(&id).await?;
        if plan.life.ended() {
            let (short, server, life) = (plan.id.short(), &plan.server, plan.life.as_str());
            return Err(Status::failed_precondition(format!(
                "plan {short} of {server}: expected one that has not ended, found it {life}"
            )));
        }
        let row = store.reject(&plan.id, seen(etag), by, reason, clock.now()).await.map_err(failed)?;
        nudge.look(&row.server);
        connections.wake(&row.server);
        Ok(Response::new(RejectPlanResponse { plan: Some(wire::plan(&row)) }))
    }

    async fn abandon_plan(&self, request: Request<AbandonPlanRequest>) -> Answer<AbandonPlanResponse> {
        let by = self.caller(&request, Right::Abandon)?;
        let AbandonPlanRequest { id, reason, etag, validate_only } = request.into_inner();
        let reason = reason_given(&reason)?;
        let Parts { store, connections, nudge, clock, .. } = &self.parts(validate_only);
        let plan = self.plan_named(&id).await?;
        let (short, server) = (plan.id.short(), &plan.server);
        if !plan.life.in_flight() && plan.life != Life::Restored {
            let life = plan.life.as_str();
            return Err(Status::failed_precondition(format!(
                "plan {short} of {server}: expected one that is offered, running or restored, found it {life}; one that has not begun is \
                 rejected"
            )));
        }
        if plan.life.in_flight() && connections.is_connected(server) {
            return Err(Status::failed_precondition(format!(
                "plan {short} of {server}: expected its agent to be away, found it connected: it will say what became of the plan; \
                 `backstay plan reject` calls it back"
            )));
        }
        let row = store.abandon(&plan.id, seen(etag), by, reason, clock.now()).await.map_err(failed)?;
        nudge.look(&row.server);
        for waiting in store.waiting_beside(&row.server).await.map_err(failed)? {
            nudge.look(&waiting);
        }
        Ok(Response::new(AbandonPlanResponse { plan: Some(wire::plan(&row)) }))
    }

    async fn get_trust(&self, request: Request<GetTrustRequest>) -> Answer<GetTrustResponse> {
        self.caller(&request, Right::Read)?;
        let trust = self.parts.store.trust().await.map_err(failed)?.map(|document| document.signed.into());
        Ok(Response::new(GetTrustResponse { trust, ca: vec![self.parts.authority.certificate().to_vec()] }))
    }

    async fn apply_trust(&self, request: Request<ApplyTrustRequest>) -> Answer<ApplyTrustResponse> {
        let by = self.caller(&request, Right::Trust)?;
        let ApplyTrustRequest { trust, validate_only } = request.into_inner();
        let signed = signed("ApplyTrustRequest.trust", trust)?;
        let trust = proto::signed::trust(&signed).map_err(|error| believed(&error))?;
        let own = self.parts.authority.fingerprint();
        if !trust.value.ca.contains(&own) {
            return Err(Status::failed_precondition(format!(
                "CA fingerprints of the trust document: expected {own} of this controller among them, found {} other(s): no agent would believe it any more",
                trust.value.ca.len()
            )));
        }
        let (version, id) = (trust.value.version, trust.id);
        let Parts { store, clock, .. } = &self.parts(validate_only);
        let person = by.clone();
        store.apply_trust(trust, signed, Actor::Person(by), clock.now()).await.map_err(failed)?;
        if !validate_only {
            tracing::info!(event = event::TRUST_APPLIED.id, version, %person, "a trust document is in force");
            self.documents_changed();
        }
        Ok(Response::new(ApplyTrustResponse { version, id: id.0.to_vec() }))
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Answer<GetPolicyResponse> {
        self.caller(&request, Right::Read)?;
        let Some(held) = self.parts.store.policy().await.map_err(failed)? else {
            return Ok(Response::new(GetPolicyResponse::default()));
        };
        let (version, id) = (held.version, held.id.0.to_vec());
        Ok(Response::new(GetPolicyResponse { policy: Some(held.signed.into()), version, id }))
    }

    async fn apply_policy(&self, request: Request<ApplyPolicyRequest>) -> Answer<ApplyPolicyResponse> {
        let by = self.caller(&request, Right::Submit)?;
        let ApplyPolicyRequest { policy, validate_only } = request.into_inner();
        let signed = signed("ApplyPolicyRequest.policy", policy)?;
        let policy = proto::signed::policy(&signed).map_err(|error| believed(&error))?;
        let (version, id) = (policy.value.version, policy.id);
        let Parts { store, clock, .. } = &self.parts(validate_only);
        let person = by.clone();
        store.apply_policy(policy, signed, Actor::Person(by), clock.now()).await.map_err(failed)?;
        if !validate_only {
            tracing::info!(event = event::POLICY_APPLIED.id, version, %person, "a policy is in force");
            self.documents_changed();
        }
        Ok(Response::new(ApplyPolicyResponse { version, id: id.0.to_vec() }))
    }

    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
        let by = self.caller(&request, Right::Token)?;
        let CreateTokenRequest { server, ttl_seconds } = request.into_inner();
        let server = invalid::id("CreateTokenRequest.server", &server)?;
        if !(60..=crate::store::MAX_TTL_SECONDS).contains(&ttl_seconds) {
            return Err(Status::invalid_argument(format!("ttl_seconds: expected 60 to 604800, found {ttl_seconds}")));
        }
        let Parts { store, authority, clock, advertised, .. } = &self.parts;
        let trust = approval::trust_in_force(store).await?;
        let secret = Secret::generate().map_err(|error| Status::internal(error.to_string()))?;
        let hash = secret.hash();
        let expires_at = store.create_token(&server, hash, ttl_seconds, Actor::Person(by), clock.now()).await.map_err(failed)?;
        let token = JoinToken {
            estate: store.estate().clone(),
            server,
            ca: [authority.fingerprint()].into(),
            root: root_fingerprint(&trust.root),
            secret,
            controllers: advertised.enrolment.clone(),
            agents: advertised.agents.clone(),
        };
        let token = token.encode().to_string();
        Ok(Response::new(CreateTokenResponse { token, expires_at: invalid::micros(expires_at) }))
    }

    async fn list_agents(&self, request: Request<ListAgentsRequest>) -> Answer<ListAgentsResponse> {
        self.caller(&request, Right::Read)?;
        let ListAgentsRequest { page_size, page_token, all } = request.into_inner();
        let limit = pages::size(page_size)?;
        let after = pages::agent(&page_token, all)?;
        let Parts { store, clock, .. } = &self.parts;
        let decide = (!all).then(|| clock.now());
        let found = store.identities_behind(after, decide, limit).await.map_err(failed)?;
        let next_page_token = pages::next(&found, limit, |identity| pages::of_agent(identity, all));
        let agents = found.into_iter().map(|identity| agents::agent(identity, &self.parts)).collect();
        Ok(Response::new(ListAgentsResponse { agents, next_page_token }))
    }

    async fn admit_agent(&self, request: Request<AdmitAgentRequest>) -> Answer<AdmitAgentResponse> {
        let by = self.caller(&request, Right::Token)?;
        let AdmitAgentRequest { agent, validate_only } = request.into_inner();
        let agent = agents::admit(&self.parts(validate_only), &agent, by).await?;
        Ok(Response::new(AdmitAgentResponse { agent: Some(agent) }))
    }

    async fn send_agent_away(&self, request: Request<SendAgentAwayRequest>) -> Answer<SendAgentAwayResponse> {
        let by = self.caller(&request, Right::SendAway)?;
        let admits = self.caller(&request, Right::Token).is_ok();
        let request = request.into_inner();
        let agent = agents::send_away(&self.parts(request.validate_only), request, by, admits).await?;
        Ok(Response::new(SendAgentAwayResponse { agent: Some(agent) }))
    }

    async fn go_without_agent(&self, request: Request<GoWithoutAgentRequest>) -> Answer<GoWithoutAgentResponse> {
        let by = self.caller(&request, Right::Token)?;
        let GoWithoutAgentRequest { server, reason, validate_only } = request.into_inner();
        let server = invalid::id("GoWithoutAgentRequest.server", &server)?;
        let reason = reason_given(&reason)?;
        let Parts { store, nudge, clock, .. } = &self.parts(validate_only);
        store.go_without(&server, reason, Actor::Person(by), clock.now()).await.map_err(failed)?;
        nudge.look_at_all();
        Ok(Response::new(GoWithoutAgentResponse {}))
    }

    async fn retire_server(&self, request: Request<RetireServerRequest>) -> Answer<RetireServerResponse> {
        let by = self.caller(&request, Right::Token)?;
        let RetireServerRequest { server, reason, validate_only } = request.into_inner();
        let server = invalid::id("RetireServerRequest.server", &server)?;
        agents::retire(&self.parts(validate_only), &server, reason_given(&reason)?, by).await?;
        Ok(Response::new(RetireServerResponse {}))
    }

    async fn make_stop(&self, request: Request<MakeStopRequest>) -> Answer<MakeStopResponse> {
        let by = self.caller(&request, Right::Stop)?;
        let request = request.into_inner();
        let stop = stop::make(&self.parts(request.validate_only), request, by).await?;
        Ok(Response::new(MakeStopResponse { stop: Some(stop) }))
    }

    async fn list_stops(&self, request: Request<ListStopsRequest>) -> Answer<ListStopsResponse> {
        self.caller(&request, Right::Read)?;
        let named = self.shows_names(&request);
        let rows = self.parts.store.stops(request.into_inner().all).await.map_err(failed)?;
        let mut stops = stop::told(&self.parts, rows).await?;
        if !named {
            stops.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(ListStopsResponse { stops }))
    }

    async fn submit_resume(&self, request: Request<SubmitResumeRequest>) -> Answer<SubmitResumeResponse> {
        let by = self.caller(&request, Right::Submit)?;
        let named = self.shows_names(&request);
        let SubmitResumeRequest { resume, validate_only } = request.into_inner();
        let signed = signed("SubmitResumeRequest.resume", resume)?;
        let mut stops = stop::resume(&self.parts(validate_only), signed, by).await?;
        if !named {
            stops.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(SubmitResumeResponse { stops }))
    }

    async fn list_access(&self, request: Request<ListAccessRequest>) -> Answer<ListAccessResponse> {
        let (person, _) = self.in_person(&request)?;
        let of = if self.caller(&request, Right::Ways).is_ok() { None } else { Some(&person) };
        Ok(Response::new(ways_in::list(&self.parts, of).await?))
    }

    async fn get_settings(&self, request: Request<GetSettingsRequest>) -> Answer<GetSettingsResponse> {
        self.caller(&request, Right::Settings)?;
        let Parts { config, store, authority, pages_certificate, .. } = &self.parts;
        let ca = Certificate::from_der(authority.certificate()).ok();
        let pages = pages_certificate.as_ref().and_then(|certificate| certificate.ends());
        Ok(Response::new(GetSettingsResponse {
            settings: config.settings().into_iter().map(wire::setting).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_bytes: store.bytes().await.map_err(failed)?,
            ca_ends: ca.map(|ca| invalid::micros(ca.not_after())),
            pages_certificate_ends: pages.map(invalid::micros),
        }))
    }

    async fn end_access(&self, request: Request<EndAccessRequest>) -> Answer<EndAccessResponse> {
        let (person, _) = self.in_person(&request)?;
        // One's own is everybody's to end.
        let own = request.get_ref().person.parse::<Person>().is_ok_and(|whose| whose == person);
        if !own {
            self.caller(&request, Right::EndAccess)?;
        }
        let request = request.into_inner();
        Ok(Response::new(ways_in::end(&self.parts(request.validate_only), request, person).await?))
    }

    async fn set_password(&self, request: Request<SetPasswordRequest>) -> Answer<SetPasswordResponse> {
        let (person, role) = self.in_person(&request)?;
        ways_in::set_password(&self.parts, request.into_inner(), person, role).await?;
        Ok(Response::new(SetPasswordResponse {}))
    }

    async fn create_api_token(&self, request: Request<CreateApiTokenRequest>) -> Answer<CreateApiTokenResponse> {
        let (person, role) = self.in_person(&request)?;
        Ok(Response::new(ways_in::create_token(&self.parts, request.into_inner(), person, role).await?))
    }

    async fn revoke_api_token(&self, request: Request<RevokeApiTokenRequest>) -> Answer<RevokeApiTokenResponse> {
        let (person, _) = self.in_person(&request)?;
        let of = if self.caller(&request, Right::EndAccess).is_ok() { None } else { Some(person.clone()) };
        let RevokeApiTokenRequest { name, validate_only } = request.into_inner();
        let Parts { store, clock, .. } = &self.parts(validate_only);
        store.revoke_api_token(name, of, person, clock.now()).await.map_err(failed)?;
        Ok(Response::new(RevokeApiTokenResponse {}))
    }

    async fn create_sign_in(&self, request: Request<CreateSignInRequest>) -> Answer<CreateSignInResponse> {
        let (person, role) = self.in_person(&request)?;
        let (link, expires_at) = sign_in::link(&self.parts, person, role, request.into_inner().loopback).await?;
        Ok(Response::new(CreateSignInResponse { link: link.to_string(), expires_at: invalid::micros(expires_at) }))
    }

    async fn list_standings(&self, request: Request<ListStandingsRequest>) -> Answer<ListStandingsResponse> {
        self.caller(&request, Right::Read)?;
        Ok(Response::new(report::standings(&self.parts, request.into_inner()).await?))
    }

    async fn list_changes(&self, request: Request<ListChangesRequest>) -> Answer<ListChangesResponse> {
        self.caller(&request, Right::Read)?;
        let named = self.shows_names(&request);
        let mut response = report::changes(&self.parts, request.into_inner()).await?;
        if !named {
            response.changes.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(response))
    }

    async fn list_incidents(&self, request: Request<ListIncidentsRequest>) -> Answer<ListIncidentsResponse> {
        self.caller(&request, Right::Read)?;
        let named = self.shows_names(&request);
        let mut response = incidents::list(&self.parts, request.into_inner()).await?;
        if !named {
            response.incidents.iter_mut().for_each(Named::unname);
        }
        Ok(Response::new(response))
    }

    async fn acknowledge_incident(&self, request: Request<AcknowledgeIncidentRequest>) -> Answer<AcknowledgeIncidentResponse> {
        let by = self.caller(&request, Right::Answer)?;
        let AcknowledgeIncidentRequest { id, validate_only } = request.into_inner();
        let Parts { store, clock, .. } = &self.parts(validate_only);
        let found = store.acknowledge(id, by, clock.now()).await.map_err(failed)?;
        Ok(Response::new(AcknowledgeIncidentResponse { incident: Some(incidents::told(found)) }))
    }

    async fn list_channels(&self, request: Request<ListChannelsRequest>) -> Answer<ListChannelsResponse> {
        self.caller(&request, Right::Read)?;
        Ok(Response::new(ListChannelsResponse { channels: incidents::channels(&self.parts).await? }))
    }

    async fn test_channels(&self, request: Request<TestChannelsRequest>) -> Answer<TestChannelsResponse> {
        let by = self.caller(&request, Right::Answer)?;
        Ok(Response::new(TestChannelsResponse { channels: incidents::test(&self.parts, by).await? }))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        self.caller(&request, Right::Read)?;
        if !self.shows_names(&request) {
            return Err(names::trail());
        }
        let ListAuditRequest { page_size, page_token, after, contains, newest_first } = request.into_inner();
        let limit = pages::size(page_size)?;
        if contains.len() > MAX_CONTAINS {
            let found = contains.len();
            return Err(Status::invalid_argument(format!("contains: expected at most {MAX_CONTAINS} bytes, found {found}")));
        }
        let filter = TrailFilter { after, before: None, contains, newest_first };
        let filter = pages::audit(&page_token, filter)?;
        let entries = self.parts.store.audit_found(&filter, limit).await.map_err(failed)?;
        let whole = entries.len();
        let entries = pages::within_a_message(entries);
        let cut = entries.len() < whole;
        let next_page_token =
            pages::next(&entries, if cut { 0 } else { limit }, |entry| pages::of_audit(entry.sequence, &filter));
        Ok(Response::new(ListAuditResponse { entries: entries.into_iter().map(wire::audit).collect(), next_page_token }))
    }
}

/// How the plan was when whoever asks looked at it, if that matters to them.
fn seen(etag: String) -> Option<String> {
    (!etag.is_empty()).then_some(etag)
}

/// Why a person wants it, within its bounds.
fn reason_given(reason: &str) -> Result<String, Status> {
    let reason = reason.trim();
    if (1..=MAX_REASON).contains(&reason.len()) {
        return Ok(reason.to_owned());
    }
    Err(Status::invalid_argument(format!("reason: expected 1 to {MAX_REASON} bytes of text, found {}", reason.len())))
}

fn signed(field: &'static str, wire: Option<proto::types::Signed>) -> Result<SignedBytes, Status> {
    Ok(SignedBytes::try_from(invalid::present(field, wire)?)?)
}
