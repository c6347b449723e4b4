//! The operators' API on a real store, asked as tonic asks it: with the caller in the extensions of the request.

use std::sync::Arc;

use policy::Timestamp;
use policy::duration::Span;
use policy::id::PlanId;
use policy::trust::Approval;
use proto::operator;
use tonic::Code;

use super::*;
use crate::config::{Config, Names, Privacy};
use crate::listen::{Caller, CallerIdentity};
use crate::reconcile::{Terms, look};
use crate::stage::{self, PROPOSE, People, later, noon, server};
use crate::store::Held;

/// A controller without sockets.
struct Desk {
    operators: Operators,
    people: People,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let (folder, parts) = stage::parts().await;
        Self { operators: Operators::new(parts), people: People::new(), _folder: folder }
    }

    /// With documents in force, and a server whose certificate ends so soon that a renewal is proposed.
    async fn with_plan(need: u32) -> (Self, PlanId) {
        let desk = Self::new().await;
        let store = &desk.operators.parts.store;
        desk.people.rule(store, need, PROPOSE).await;
        stage::enrol(store, "EX1").await;
        let certificate = stage::certificate("EX1", (2026, 12, 10));
        stage::report(store, &stage::sight("EX1", &certificate), 1, noon()).await;
        desk.look(noon()).await;
        let plans = store.plans(&PlanFilter::default(), None, 10).await.expect("reads");
        let [plan] = &plans[..] else { panic!("{plans:?}") };
        (desk, plan.id)
    }

    /// Looks at EX1 as the reconciler does.
    async fn look(&self, now: Timestamp) {
        let store = &self.operators.parts.store;
        let name = server("EX1");
        let scene = store.scene(&name).await.expect("reads").expect("reported");
        let trust = approval::trust_in_force(store).await.expect("in force");
        let policy = approval::policy_in_force(store).await.expect("in force");
        let terms =
            Terms { policy: &policy, trust: Some(&trust), in_force: Held::default(), stopped: None, connected: false, now };
        store.conclude(&name, look(&scene, &terms), now).await.expect("written");
    }

    async fn submit(&self, approval: SignedBytes) -> Result<SubmitApprovalResponse, Status> {
        let request = SubmitApprovalRequest { approval: Some(approval.into()), validate_only: false };
        self.operators.submit_approval(asked("viewer", request)).await.map(Response::into_inner)
    }

    fn approval(&self, who: &str, plan: PlanId) -> SignedBytes {
        self.people.approval(who, plan, noon(), later(86_400))
    }

    /// An approval by anna with something changed in it.
    fn altered(&self, plan: PlanId, change: impl FnOnce(&mut Approval)) -> SignedBytes {
        let mut approval = stage::verified(&self.approval("anna", plan)).value;
        change(&mut approval);
        let mut signed = SignedBytes::unsigned(approval.to_bytes());
        self.people.anna.sign(policy::trust::Kind::Approval, &mut signed).expect("signed");
        signed
    }

    async fn told(&self) -> Vec<String> {
        let entries = self.operators.parts.store.audit(0, 1000).await.expect("reads");
        entries.into_iter().map(|entry| format!("{} {}", entry.actor, entry.action)).collect()
    }
}

/// A request by olga, in that role.
fn asked<T>(role: &str, message: T) -> Request<T> {
    let nobody = policy::id::Sha256([0; 32]);
    let peer = format!("backstay://contoso/operator/olga/{role}").parse().expect("a peer");
    let identity = Some(CallerIdentity { peer, key_id: nobody, certificate: nobody, scope: None });
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller { address: ([127, 0, 0, 1], 1).into(), identity, key_exchange: None });
    request
}

fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.expect_err("must be refused").code()
}

#[tokio::test]
async fn approvals_are_counted_by_person_and_told_with_who_brought_them() {
    let (desk, plan) = Desk::with_plan(2).await;
    let first = desk.submit(desk.approval("anna", plan)).await.expect("counts");
    assert_eq!((first.plans[0].approvals, first.plans[0].needed), (1, 2));
    let again = desk.submit(desk.approval("anna", plan)).await.expect("the same one again changes nothing");
    assert_eq!(again.plans[0].approvals, 1);
    let second = desk.submit(desk.approval("bert", plan)).await.expect("counts");
    assert_eq!(second.plans[0].approvals, 2);
    desk.look(later(1)).await;
    let shown =
        desk.operators.get_plan(asked("viewer", GetPlanRequest { id: plan.to_string() })).await.expect("there").into_inner();
    let persons: std::collections::BTreeSet<_> = shown.approvals.iter().map(|approval| approval.person.as_str()).collect();
    assert_eq!(persons, ["anna", "bert"].into());
    assert_eq!(PlanId::of(&shown.body), plan);
    let told = desk.told().await;
    assert_eq!(told.iter().filter(|entry| *entry == "person:olga plan.approval").count(), 2, "{told:#?}");
}

#[tokio::test]
async fn an_approval_that_no_agent_would_count_is_refused_with_its_reason() {
    let (desk, plan) = Desk::with_plan(2).await;
    desk.submit(desk.approval("anna", plan)).await.expect("counts");
    let before = desk.told().await.len();

    let unknown = desk.submit(desk.approval("bert", PlanId::of(b"another"))).await;
    assert_eq!(code(unknown), Code::NotFound);
    let stranger = SignedBytes {
        signatures: desk.people.approval("bert", plan, noon(), later(60)).signatures,
        ..desk.approval("anna", plan)
    };
    assert_eq!(code(desk.submit(stranger).await), Code::PermissionDenied, "a signature over other bytes");
    let foreign = desk.altered(plan, |approval| approval.person = stage::person("bert"));
    assert_eq!(code(desk.submit(foreign).await), Code::PermissionDenied, "anna signs as bert");
    let outsider = desk.altered(plan, |approval| approval.person = stage::person("olga"));
    assert_eq!(code(desk.submit(outsider).await), Code::PermissionDenied, "no approver");
    let own_wish = desk.altered(plan, |approval| approval.requester = Some(stage::person("anna")));
    let refused = desk.submit(own_wish).await.expect_err("the requester");
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "anna asked for the plan and cannot approve it"));
    let elsewhere = desk.altered(plan, |approval| approval.estate = "fabrikam".parse().expect("a name"));
    assert_eq!(code(desk.submit(elsewhere).await), Code::FailedPrecondition);
    let over = desk.people.approval("bert", plan, Span::days(2).before(noon()), Span::days(1).before(noon()));
    assert_eq!(code(desk.submit(over).await), Code::FailedPrecondition);
    let twice = desk.altered(plan, |approval| approval.reason = "once more".to_owned());
    assert_eq!(code(desk.submit(twice).await), Code::AlreadyExists);
    let nothing = desk.operators.submit_approval(asked("viewer", SubmitApprovalRequest::default())).await;
    assert_eq!(code(nothing), Code::InvalidArgument);

    assert_eq!(desk.told().await.len(), before, "a refusal changes nothing");
}

#[tokio::test]
async fn whoever_asked_for_a_plan_in_anothers_words_cannot_approve_it() {
    let (desk, plan) = Desk::with_plan(2).await;
    desk.submit(desk.altered(plan, |approval| approval.requester = Some(stage::person("bert")))).await.expect("counts");
    let refused = desk.submit(desk.approval("bert", plan)).await.expect_err("the requester");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("bert asked for the plan"), "{}", refused.message());
}

#[tokio::test]
async fn a_rejected_plan_takes_no_approval_any_more() {
    let (desk, plan) = Desk::with_plan(1).await;
    let reject = |role, reason: &str| {
        let request = RejectPlanRequest { id: plan.to_string()[..8].to_owned(), reason: reason.to_owned(), ..Default::default() };
        desk.operators.reject_plan(asked(role, request))
    };
    assert_eq!(code(reject("viewer", "no").await), Code::PermissionDenied);
    assert_eq!(code(reject("operator", " ").await), Code::InvalidArgument);
    let plan_now = reject("operator", "EX1 goes away").await.expect("withdrawn").into_inner().plan.expect("a plan");
    assert_eq!(plan_now.life, "withdrawn");
    assert_eq!(code(reject("operator", "again").await), Code::FailedPrecondition);
    let refused = desk.submit(desk.approval("anna", plan)).await.expect_err("ended");
    assert!(refused.message().contains("found it withdrawn"), "{}", refused.message());
    assert!(desk.told().await.contains(&"person:olga plan.withdrawn".to_owned()));
}

#[tokio::test]
async fn a_trust_document_that_does_not_know_this_controller_is_refused() {
    let desk = Desk::new().await;
    let apply = |role, trust: SignedBytes| {
        desk.operators.apply_trust(asked(role, ApplyTrustRequest { trust: Some(trust.into()), validate_only: false }))
    };
    let strange = desk.people.trust(1, 1);
    assert_eq!(code(apply("operator", strange.clone()).await), Code::PermissionDenied);
    let refused = apply("admin", strange.clone()).await.expect_err("another CA");
    assert!(refused.message().contains(&desk.operators.parts.authority.fingerprint().to_string()), "{}", refused.message());

    let mut document = proto::signed::trust(&strange).expect("trust").value;
    document.ca.insert(desk.operators.parts.authority.fingerprint());
    let mut signed = SignedBytes::unsigned(document.to_bytes());
    desk.people.anna.sign(policy::trust::Kind::Trust, &mut signed).expect("signed");
    assert_eq!(code(apply("admin", signed.clone()).await), Code::FailedPrecondition, "not signed by its own root");
    desk.people.root.sign(policy::trust::Kind::Trust, &mut signed).expect("signed");
    let applied = apply("admin", signed.clone()).await.expect("in force").into_inner();
    assert_eq!((applied.version, applied.id), (1, signed.id().0.to_vec()));
    let got = desk.operators.get_trust(asked("viewer", GetTrustRequest {})).await.expect("there").into_inner();
    assert_eq!(SignedBytes::try_from(got.trust.expect("in force")).expect("reads"), signed, "byte for byte");
}

#[tokio::test]
async fn a_token_pins_ca_and_root_and_is_for_admins() {
    let desk = Desk::new().await;
    let create = |role, ttl_seconds| {
        let request = CreateTokenRequest { server: "EX9".to_owned(), ttl_seconds };
        desk.operators.create_token(asked(role, request))
    };
    assert_eq!(code(create("admin", 600).await), Code::FailedPrecondition, "no root to pin yet");
    desk.people.rule(&desk.operators.parts.store, 1, PROPOSE).await;
    assert_eq!(code(create("operator", 600).await), Code::PermissionDenied);
    assert_eq!(code(create("admin", 59).await), Code::InvalidArgument);
    let made = create("admin", 600).await.expect("made").into_inner();
    let token = JoinToken::decode(&made.token).expect("reads");
    let parts = &desk.operators.parts;
    assert_eq!(token.ca, [parts.authority.fingerprint()].into());
    let trust = approval::trust_in_force(&parts.store).await.expect("in force");
    assert_eq!(token.root, root_fingerprint(&trust.root));
    assert_eq!((token.controllers, token.agents), (parts.advertised.enrolment.clone(), parts.advertised.agents.clone()));
    assert_eq!(made.expires_at, invalid::micros(later(600)));
}

#[tokio::test]
async fn lists_end_with_an_empty_token_and_only_then() {
    let desk = Desk::new().await;
    let store = &desk.operators.parts.store;
    for number in 1..=5 {
        stage::enrol(store, &format!("EX{number}")).await;
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListServersRequest { page_size: 2, page_token, brief: true };
        let page = desk.operators.list_servers(asked("viewer", request)).await.expect("a page").into_inner();
        assert!(page.servers.len() <= 2);
        assert!(page.servers.iter().all(|server| server.renewal.is_empty()), "it was not asked");
        names.extend(page.servers.into_iter().map(|server| server.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["EX1", "EX2", "EX3", "EX4", "EX5"]);
    let whole = desk.operators.list_servers(asked("viewer", ListServersRequest::default())).await.expect("a page").into_inner();
    assert!(whole.servers.iter().all(|server| server.renewal == "unknown"), "nobody rehearsed");
    let behind = ListAuditRequest { page_size: 1000, after: 3, ..ListAuditRequest::default() };
    let entries = desk.operators.list_audit(asked("auditor", behind)).await.expect("a page").into_inner().entries;
    assert_eq!(entries.first().map(|entry| entry.sequence), Some(4));
    // What is looked for is text and no pattern, in either order, from page to page.
    let look_for = async |contains: &str, newest_first: bool| {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListAuditRequest { page_size: 1, page_token, contains: contains.to_owned(), newest_first, after: 0 };
            let page = desk.operators.list_audit(asked("auditor", request)).await.expect("a page").into_inner();
            found.extend(page.entries.into_iter().map(|entry| entry.sequence));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return found;
            }
        }
    };
    let of_ex3 = look_for("ex3", false).await;
    assert!(!of_ex3.is_empty() && of_ex3.len() < look_for("", false).await.len(), "{of_ex3:?}");
    assert_eq!(look_for("EX3", true).await, of_ex3.iter().rev().copied().collect::<Vec<_>>());
    for pattern in ["%3", "EX_", "!", "' OR 1=1 --"] {
        assert_eq!(look_for(pattern, false).await, [0_u64; 0], "{pattern}");
    }
    let long = ListAuditRequest { contains: "x".repeat(201), ..ListAuditRequest::default() };
    assert_eq!(code(desk.operators.list_audit(asked("viewer", long)).await), Code::InvalidArgument);
    let negative = ListServersRequest { page_size: -1, ..ListServersRequest::default() };
    assert_eq!(code(desk.operators.list_servers(asked("viewer", negative)).await), Code::InvalidArgument);
}

#[tokio::test]
async fn an_explanation_says_facts_rule_decision_and_what_would_change_it() {
    let (desk, plan) = Desk::with_plan(2).await;
    let explain = || desk.operators.explain_server(asked("viewer", ExplainServerRequest { name: "ex1".to_owned() }));
    let told = explain().await.expect("explained").into_inner();
    assert_eq!((told.verdict.as_str(), told.decision.as_str()), ("expiring", "propose"));
    assert!(told.rule.starts_with("P5 two keys"), "{}", told.rule);
    let facts = told.facts.join("\n");
    for fact in ["its key can be used", "BST201", "mode propose by policy version 1", "not connected", &plan.short()] {
        assert!(facts.contains(fact), "{fact:?} not in\n{facts}");
    }
    assert!(told.would_change.iter().any(|change| change.starts_with("2 more approval(s)")), "{:?}", told.would_change);
    assert!(told.next_look.is_some_and(|at| at > invalid::micros(noon())), "{:?}", told.next_look);

    let unknown = desk.operators.explain_server(asked("viewer", ExplainServerRequest { name: "EX7".to_owned() })).await;
    assert_eq!(code(unknown), Code::NotFound);
    stage::enrol(&desk.operators.parts.store, "EX8").await;
    let silent = desk.operators.explain_server(asked("viewer", ExplainServerRequest { name: "EX8".to_owned() })).await;
    assert_eq!(silent.expect("explained").into_inner().verdict, "unknown");
}

#[tokio::test]
async fn the_status_counts_what_is_not_ended() {
    let (desk, plan) = Desk::with_plan(1).await;
    let status = || desk.operators.get_status(asked("viewer", GetStatusRequest {}));
    let before = status().await.expect("a status").into_inner();
    assert_eq!((before.servers, before.connected, before.policy_version), (1, 0, 1));
    assert_eq!(before.plans, [("proposed".to_owned(), 1)].into());
    let reject = RejectPlanRequest { id: plan.to_string(), reason: "no".to_owned(), ..Default::default() };
    desk.operators.reject_plan(asked("admin", reject)).await.expect("withdrawn");
    let after = status().await.expect("a status").into_inner();
    assert!(after.plans.is_empty() && after.audit_sequence > before.audit_sequence);
}

#[tokio::test]
async fn a_patch_night_is_told_what_matters_of_each_server_that_reported() {
    let desk = Desk::new().await;
    let store = &desk.operators.parts.store;
    desk.people.rule(store, 1, PROPOSE).await;
    for name in ["EX1", "EX2"] {
        stage::enrol(store, name).await;
    }
    // EX2 is let in and silent: nothing can be said of it. The certificate of EX1 has ended, and its setup is at work.
    let mut sight = stage::sight("EX1", &stage::certificate("EX1", (2026, 11, 10)));
    sight.report.setup = policy::report::Fact::Known(policy::report::Setup::Running("ExSetup.exe".to_owned()));
    stage::report(store, &sight, 1, noon()).await;
    desk.look(noon()).await;
    let ask = |page_size, page_token: &str| {
        let request = PreflightRequest { page_size, page_token: page_token.to_owned() };
        desk.operators.preflight(asked("viewer", request))
    };
    let page = ask(0, "").await.expect("a page").into_inner();
    let [found] = &page.servers[..] else { panic!("{page:?}") };
    assert_eq!((found.server.as_str(), found.verdict.as_str(), found.connected), ("EX1", "expired", false));
    assert_eq!(found.restart, Vec::<String>::new());
    assert!(found.update[0].starts_with("BST202 "), "{found:?}");
    assert_eq!(found.frozen, ["BST601 Exchange setup is at work or half-finished: ExSetup.exe"]);
    assert_eq!(code(ask(-1, "").await), Code::InvalidArgument);
    assert_eq!(code(ask(0, "nonsense").await), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stop_needs_a_role_and_one_scope_and_going_on_needs_an_approver() {
    let (desk, _) = Desk::with_plan(1).await;
    let make = |role: &str, request: MakeStopRequest| {
        let (desk, request) = (&desk, asked(role, request));
        async move { desk.operators.make_stop(request).await.map(|answer| answer.into_inner().stop.expect("a stop")) }
    };
    let estate = || MakeStopRequest { estate: true, reason: "broken".to_owned(), ..MakeStopRequest::default() };
    for role in ["viewer", "auditor"] {
        assert_eq!(code(make(role, estate()).await), Code::PermissionDenied);
    }
    let ex1 = || vec!["EX1".to_owned()];
    for wrong in [
        MakeStopRequest { estate: false, ..estate() },
        MakeStopRequest { servers: ex1(), ..estate() },
        MakeStopRequest { reason: " ".to_owned(), ..estate() },
        MakeStopRequest { reason: "two\nlines".to_owned(), ..estate() },
        MakeStopRequest { estate: false, servers: vec!["EX 1".to_owned()], ..estate() },
    ] {
        assert_eq!(code(make("operator", wrong.clone()).await), Code::InvalidArgument, "{wrong:?}");
    }
    for absent in [
        MakeStopRequest { estate: false, servers: vec!["EX9".to_owned()], ..estate() },
        MakeStopRequest { estate: false, dags: vec!["DAG9".to_owned()], ..estate() },
    ] {
        assert_eq!(code(make("operator", absent).await), Code::NotFound);
    }
    let stop = make("operator", MakeStopRequest { estate: false, servers: ex1(), ..estate() }).await.expect("in force");
    assert_eq!((stop.covered, stop.confirmed, stop.away, stop.need), (1, 0, ex1(), 1));

    let id = policy::id::Sha256::of(&stop.body);
    let resume = |signed: SignedBytes| {
        let request = asked("viewer", SubmitResumeRequest { resume: Some(signed.into()), validate_only: false });
        async { desk.operators.submit_resume(request).await.map(Response::into_inner) }
    };
    let unsigned = SignedBytes::unsigned(desk.people.resume("anna", &[id], "found").body);
    assert_eq!(code(resume(unsigned).await), Code::PermissionDenied);
    // Bert's signature under Anna's name.
    let mut borrowed = SignedBytes::unsigned(desk.people.resume("anna", &[id], "found").body);
    desk.people.bert.sign(policy::trust::Kind::Resume, &mut borrowed).expect("signed");
    assert_eq!(code(resume(borrowed).await), Code::PermissionDenied);
    assert_eq!(code(resume(desk.people.resume("anna", &[policy::id::Sha256::of(b"never")], "found")).await), Code::NotFound);
    let done = resume(desk.people.resume("anna", &[id], "found")).await.expect("counts");
    assert!(done.stops[0].lifted_at > 0);
    let left = desk.operators.list_stops(asked("viewer", ListStopsRequest { all: false })).await.expect("lists").into_inner();
    assert!(left.stops.is_empty());
    let told = desk.told().await;
    assert_eq!(told.iter().filter(|entry| entry.contains(" stop.")).count(), 2, "{told:#?}");
}

#[tokio::test]
async fn a_second_machine_for_a_name_waits_for_an_admin_and_whoever_is_sent_away_is_told_why() {
    let (desk, _) = Desk::with_plan(1).await;
    let store = &desk.operators.parts.store;
    let secret = Secret::generate().expect("random");
    store.create_token(&server("EX1"), secret.hash(), 600, Actor::Console, noon()).await.expect("a token");
    let newcomer = stage::key("the second EX1");
    let knock = crate::store::Knock { key_id: newcomer, machine_id: "copy".to_owned(), ..stage::knock("EX1", secret) };
    store.enrol(knock, noon()).await.expect("waits");

    let list = |all: bool| {
        let request = asked("viewer", ListAgentsRequest { all, ..ListAgentsRequest::default() });
        async { desk.operators.list_agents(request).await.expect("lists").into_inner().agents }
    };
    let states = |agents: Vec<operator::Agent>| agents.into_iter().map(|agent| agent.state).collect::<Vec<_>>();
    let waiting = list(false).await;
    assert_eq!((waiting.len(), waiting[0].state.as_str(), &waiting[0].key[..]), (1, "pending", &newcomer.0[..]));
    let admit = |role: &str, agent: String| {
        let request = asked(role, AdmitAgentRequest { agent, validate_only: false });
        async { desk.operators.admit_agent(request).await.map(|answer| answer.into_inner().agent.expect("an agent")) }
    };
    let away = |role: &str, agent: &str, ban: bool, reason: &str| {
        let request = SendAgentAwayRequest { agent: agent.to_owned(), ban, reason: reason.to_owned(), ..Default::default() };
        let request = asked(role, request);
        async { desk.operators.send_agent_away(request).await.map(|answer| answer.into_inner().agent.expect("an agent")) }
    };
    let key = newcomer.to_string();
    assert_eq!(code(admit("operator", key.clone()).await), Code::PermissionDenied);
    assert_eq!(code(admit("admin", "00000000".to_owned()).await), Code::NotFound);
    assert_eq!(code(admit("admin", "EX 1".to_owned()).await), Code::InvalidArgument);
    assert_eq!(code(away("operator", &key[..8], true, "copy").await), Code::FailedPrecondition, "it does not hold the name");
    assert_eq!(code(away("operator", "EX1", false, "  ").await), Code::InvalidArgument);
    assert_eq!(code(away("viewer", "EX1", false, "x").await), Code::PermissionDenied);

    assert_eq!(admit("admin", key[..8].to_owned()).await.expect("let in").state, "active");
    assert!(list(false).await.is_empty());
    assert_eq!(states(list(true).await).len(), 2, "whoever held the name was evicted");
    assert_eq!(away("operator", "EX1", true, "stolen").await.expect("banned").key, newcomer.0);
    assert_eq!(states(list(false).await), ["banned"]);
    assert_eq!(code(away("operator", "EX1", false, "found again").await), Code::PermissionDenied, "that widens");
    assert_eq!(away("admin", "EX1", false, "found again").await.expect("lifted").state, "evicted");
    assert_eq!(code(away("admin", "EX1", false, "again").await), Code::NotFound, "nobody holds the name");
    assert_eq!(states(list(true).await), ["evicted", "evicted"]);
}

#[tokio::test]
async fn ways_in_are_ones_own_to_make_and_an_admins_to_end() {
    let (desk, _) = Desk::with_plan(1).await;
    let operators = &desk.operators;
    let token = |name: &str, scope: &[&str], ttl_seconds| CreateApiTokenRequest {
        name: name.to_owned(),
        scope: scope.iter().map(|word| (*word).to_owned()).collect(),
        ttl_seconds,
    };
    let made = operators.create_api_token(asked("operator", token("nagios", &["read", "answer"], 86_400))).await.expect("made");
    assert_eq!(made.into_inner().token.len(), 43);
    for (name, scope, ttl, expected) in [
        ("nagios", &["read"][..], 86_400, Code::AlreadyExists),
        ("more", &["read", "enrol"], 86_400, Code::PermissionDenied),
        ("more", &["trust"], 86_400, Code::InvalidArgument),
        ("more", &[], 86_400, Code::InvalidArgument),
        ("more", &["read"], 3_599, Code::InvalidArgument),
        ("more", &["read"], 34_560_001, Code::InvalidArgument),
        ("", &["read"], 86_400, Code::InvalidArgument),
        ("<b>", &["read"], 86_400, Code::InvalidArgument),
        (&"x".repeat(64), &["read"], 86_400, Code::InvalidArgument),
    ] {
        assert_eq!(
            code(operators.create_api_token(asked("operator", token(name, scope, ttl))).await),
            expected,
            "{name} {scope:?}"
        );
    }
    let set = |password: &str| operators.set_password(asked("viewer", SetPasswordRequest { password: password.to_owned() }));
    assert_eq!(code(set("too short").await), Code::InvalidArgument);
    assert_eq!(code(set("I am olga, indeed").await), Code::InvalidArgument);
    set("correct horse battery").await.expect("set");
    let kept = operators.parts.store.password(&stage::person("olga")).await.expect("reads").expect("one");
    assert_eq!(kept.role, PersonRole::Viewer, "as what it was set");

    // Others' are seen by auditors and admins, and ended by admins.
    let anna = crate::store::Browser {
        person: stage::person("anna"),
        role: PersonRole::Viewer,
        via: crate::store::Via::Link,
        expires_at: later(600),
    };
    operators.parts.store.begin_browser(policy::id::Sha256([1; 32]), anna, noon()).await.expect("in");
    for (role, browsers) in [("viewer", 0), ("operator", 0), ("approver", 0), ("auditor", 1), ("admin", 1)] {
        let seen = operators.list_access(asked(role, ListAccessRequest {})).await.expect("seen").into_inner();
        assert_eq!((seen.browsers.len(), seen.passwords.len(), seen.tokens.len()), (browsers, 1, 1), "{role}");
    }
    let end = |role: &str, person: &str, reason: &str| {
        let request = EndAccessRequest { person: person.to_owned(), reason: reason.to_owned(), ..Default::default() };
        operators.end_access(asked(role, request))
    };
    for role in ["viewer", "operator", "approver", "auditor"] {
        assert_eq!(code(end(role, "anna", "out").await), Code::PermissionDenied, "{role}");
    }
    assert_eq!(code(end("admin", "anna", " ").await), Code::InvalidArgument);
    assert_eq!(code(end("admin", "<b>", "out").await), Code::InvalidArgument);
    assert_eq!(end("admin", "anna", "out").await.expect("ended").into_inner().ended, 1);
    assert_eq!(end("viewer", "Olga", "a lost telephone").await.expect("one's own").into_inner().ended, 2);
}

#[tokio::test]
async fn names_of_persons_are_for_auditors_where_the_configuration_says_so() {
    let (mut desk, plan) = Desk::with_plan(2).await;
    desk.submit(desk.approval("anna", plan)).await.expect("counts");
    let stop = MakeStopRequest { estate: true, reason: "smoke".to_owned(), ..MakeStopRequest::default() };
    let stop = desk.operators.make_stop(asked("operator", stop)).await.expect("stopped").into_inner().stop.expect("a stop");
    let yes = desk.people.resume("anna", &[policy::id::Sha256::of(&stop.body)], "found");
    let yes = SubmitResumeRequest { resume: Some(yes.into()), validate_only: false };
    desk.operators.submit_resume(asked("viewer", yes)).await.expect("handed in");
    let looks = async |desk: &Desk, role: &str| {
        let get = GetPlanRequest { id: plan.to_string() };
        let shown = desk.operators.get_plan(asked(role, get)).await.expect("there").into_inner();
        let stops =
            desk.operators.list_stops(asked(role, ListStopsRequest { all: true })).await.expect("there").into_inner().stops;
        let trail = desk.operators.list_audit(asked(role, ListAuditRequest::default())).await;
        (shown.approvals[0].person.clone(), stops[0].yes.clone(), trail.map(drop).map_err(|status| status.code()))
    };
    let named = || ("anna".to_owned(), vec!["anna".to_owned()], Ok(()));
    let why = async |desk: &Desk, role: &str| {
        let list = ListPlansRequest { server: "EX1".to_owned(), ..ListPlansRequest::default() };
        let mut plans = desk.operators.list_plans(asked(role, list)).await.expect("lists").into_inner().plans;
        let server = desk.operators.get_server(asked(role, GetServerRequest { name: "EX1".to_owned() })).await.expect("there");
        let why = plans.remove(0).waits_for;
        assert_eq!(why, server.into_inner().plans[0].waits_for);
        why
    };
    let no = RejectPlanRequest { id: plan.to_string(), reason: "by hand: now".to_owned(), ..RejectPlanRequest::default() };
    desk.operators.reject_plan(asked("operator", no)).await.expect("rejected");
    assert_eq!(why(&desk, "viewer").await, "withdrawn by person:olga: by hand: now");
    assert_eq!(looks(&desk, "viewer").await, named(), "nobody said otherwise");
    let config = Config::clone(&desk.operators.parts.config);
    desk.operators.parts.config = Arc::new(Config { privacy: Privacy { names: Names::Auditors }, ..config });
    for role in ["auditor", "admin"] {
        assert_eq!(looks(&desk, role).await, named(), "{role}");
    }
    let unnamed = ("somebody".to_owned(), vec!["somebody".to_owned()], Err(Code::PermissionDenied));
    for role in ["viewer", "operator", "approver"] {
        assert_eq!(looks(&desk, role).await, unnamed, "{role}");
        assert_eq!(why(&desk, role).await, "withdrawn by somebody: by hand: now");
    }
}

#[tokio::test]
async fn what_is_only_tried_is_judged_and_changes_nothing() {
    let (desk, plan) = Desk::with_plan(2).await;
    let id = || plan.to_string();
    let store = &desk.operators.parts.store;
    let rows = async || {
        (
            store.audit_head().await.expect("a head"),
            store.plan(&plan).await.expect("reads"),
            store.stops(true).await.expect("reads"),
        )
    };
    let before = rows().await;
    let by = desk.operators.clone();
    let approval = SubmitApprovalRequest { approval: Some(desk.approval("anna", plan).into()), validate_only: true };
    let answer = by.submit_approval(asked("viewer", approval)).await.expect("counts").into_inner();
    assert_eq!(answer.plans[0].approvals, 1, "it is answered as if it were done");
    let reject = |reason: &str, etag: &str| RejectPlanRequest {
        id: id(),
        reason: reason.to_owned(),
        etag: etag.to_owned(),
        validate_only: true,
    };
    let answer = by.reject_plan(asked("operator", reject("no", ""))).await.expect("can be").into_inner().plan.expect("a plan");
    assert_eq!(answer.life, "withdrawn");
    let stop = MakeStopRequest { estate: true, reason: "smoke".to_owned(), validate_only: true, ..MakeStopRequest::default() };
    assert_eq!(
        by.make_stop(asked("operator", stop.clone())).await.expect("can be").into_inner().stop.expect("a stop").covered,
        1
    );
    let policy = ApplyPolicyRequest { policy: Some(desk.people.policy(PROPOSE).into()), validate_only: true };
    by.apply_policy(asked("viewer", policy)).await.expect("the one in force");
    let retire = RetireServerRequest { server: "EX1".to_owned(), reason: "gone".to_owned(), validate_only: true };
    by.retire_server(asked("admin", retire.clone())).await.expect("can be");
    let away = SendAgentAwayRequest { agent: "EX1".to_owned(), ban: true, reason: "stolen".to_owned(), validate_only: true };
    assert_eq!(
        by.send_agent_away(asked("operator", away)).await.expect("can be").into_inner().agent.expect("one").state,
        "banned"
    );
    // What could not be done is refused as if it were meant.
    assert_eq!(code(by.make_stop(asked("viewer", stop)).await), Code::PermissionDenied);
    assert_eq!(code(by.reject_plan(asked("operator", reject(" ", ""))).await), Code::InvalidArgument);
    let abandon = AbandonPlanRequest { id: id(), reason: "no".to_owned(), validate_only: true, ..AbandonPlanRequest::default() };
    assert_eq!(code(by.abandon_plan(asked("admin", abandon)).await), Code::FailedPrecondition, "it has not begun");
    let other = RetireServerRequest { server: "EX9".to_owned(), ..retire };
    assert_eq!(code(by.retire_server(asked("admin", other)).await), Code::NotFound);
    assert_eq!(rows().await, before);
}

#[tokio::test]
async fn what_was_not_seen_as_it_is_is_not_decided_about() {
    let (desk, plan) = Desk::with_plan(2).await;
    let seen = async || {
        let get = GetPlanRequest { id: plan.to_string() };
        desk.operators.get_plan(asked("viewer", get)).await.expect("there").into_inner().plan.expect("a plan").etag
    };
    let reject = async |etag: String| {
        let request = RejectPlanRequest { id: plan.to_string(), reason: "no".to_owned(), etag, validate_only: false };
        desk.operators.reject_plan(asked("operator", request)).await
    };
    let first = seen().await;
    desk.submit(desk.approval("anna", plan)).await.expect("counts");
    desk.look(later(1)).await;
    let refused = reject(first.clone()).await.expect_err("anna approved it meanwhile");
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().ends_with("found it proposed and changed since: look again"), "{}", refused.message());
    let now = seen().await;
    assert_ne!(now, first);
    assert_eq!(reject(now).await.expect("as seen").into_inner().plan.expect("a plan").life, "withdrawn");
}
