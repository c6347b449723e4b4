//! *Enrolment*: letting a server in, and the machines about which a person must decide.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, AdmitAgentRequest, CreateTokenRequest, ListAgentsRequest, SendAgentAwayRequest};
use serde::Deserialize;

use super::access::Who;
use super::acts::Sent;
use super::plans::{day, moment};
use super::texts::{filters, text};
use super::{Shown, Trouble, Web};
use crate::operators::access::Right;

/// Machines on the page, those to decide about first.
const SHOWN: i32 = 1_000;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let ask = |all| ListAgentsRequest { page_size: SHOWN, page_token: String::new(), all };
    let waiting = web.operators.list_agents(who.ask(ask(false))).await?.into_inner().agents;
    let all = web.operators.list_agents(who.ask(ask(true))).await?.into_inner().agents;
    let main = Enrolment::of(waiting, all, who.may(Right::Token), who.may(Right::SendAway)).render()?;
    Ok(Shown { title: text!("common-enrolment"), main })
}

#[derive(Template)]
#[template(path = "enrolment.html")]
struct Enrolment {
    lead: String,
    may_admit: bool,
    may_send_away: bool,
    waiting: Vec<Machine>,
    all: Vec<Machine>,
}

struct Machine {
    key: String,
    short: String,
    server: String,
    machine_id: String,
    state: String,
    why: String,
    connected: String,
    since: String,
    until: String,
}

impl Enrolment {
    /// Pure: the same answers make the same page.
    fn of(waiting: Vec<operator::Agent>, all: Vec<operator::Agent>, may_admit: bool, may_send_away: bool) -> Self {
        let lead = match waiting.len() {
            0 => text!("enrolment-none-waits"),
            some => text!("enrolment-waiting", count = some),
        };
        let machines = |agents: Vec<operator::Agent>| agents.into_iter().map(Machine::of).collect();
        Self { lead, may_admit, may_send_away, waiting: machines(waiting), all: machines(all) }
    }
}

impl Machine {
    fn of(agent: operator::Agent) -> Self {
        let operator::Agent { key, server, machine_id, state, why, connected, not_after, enrolled_at: _, changed_at } = agent;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            short: key.chars().take(12).collect(),
            key,
            server,
            machine_id,
            state,
            why,
            connected: if connected { text!("common-yes") } else { text!("common-no") },
            since: moment(changed_at),
            until: day(not_after),
        }
    }
}

/// Who is to be let in.
#[derive(Deserialize)]
pub(super) struct Invited {
    server: String,
    hours: u32,
}

/// A token is shown once: on the page that answers, and on no other.
pub(super) async fn token(State(web): State<Web>, who: Who, Sent(Invited { server, hours }): Sent<Invited>) -> Response {
    let server = server.trim().to_owned();
    let request = CreateTokenRequest { server: server.clone(), ttl_seconds: hours.saturating_mul(3_600) };
    let shown = match web.operators.create_token(who.ask(request)).await {
        Ok(made) => {
            let made = made.into_inner();
            let until = moment(made.expires_at);
            TokenPage::of(server, made.token, &until).render().map_err(Trouble::from)
        }
        Err(status) => Err(status.into()),
    };
    match shown {
        Ok(main) => web.whole(&Shown { title: text!("common-a-token"), main }, Some(&who), "/enrolment", false),
        Err(trouble) => web.trouble(trouble, Some(&who), "/enrolment"),
    }
}

#[derive(Template)]
#[template(path = "token.html")]
struct TokenPage {
    headline: String,
    lead: String,
    /// Where it is pasted.
    there: String,
    server: String,
    token: String,
}

impl TokenPage {
    fn of(server: String, token: String, until: &str) -> Self {
        Self {
            headline: text!("token-headline", server = server.as_str()),
            lead: text!("token-lead", server = server.as_str(), until = until),
            there: text!("token-there", server = server.as_str()),
            server,
            token,
        }
    }
}

/// A machine, by its key: two may want one name.
#[derive(Deserialize)]
pub(super) struct Admitted {
    key: String,
}

pub(super) async fn admit(State(web): State<Web>, who: Who, Sent(Admitted { key }): Sent<Admitted>) -> Response {
    match web.operators.admit_agent(who.ask(AdmitAgentRequest { agent: key, validate_only: false })).await {
        Ok(_) => Redirect::to("/enrolment").into_response(),
        Err(status) => web.trouble(status.into(), Some(&who), "/enrolment"),
    }
}

/// A machine that goes, and why.
#[derive(Deserialize)]
pub(super) struct SentAway {
    key: String,
    reason: String,
    /// The name, too.
    #[serde(default)]
    ban: String,
}

pub(super) async fn send_away(State(web): State<Web>, who: Who, Sent(SentAway { key, reason, ban }): Sent<SentAway>) -> Response {
    let request = SendAgentAwayRequest { agent: key, ban: !ban.is_empty(), reason, validate_only: false };
    match web.operators.send_agent_away(who.ask(request)).await {
        Ok(_) => Redirect::to("/enrolment").into_response(),
        Err(status) => web.trouble(status.into(), Some(&who), "/enrolment"),
    }
}
