//! *Incidents*: what wants somebody, who is at it, and whether people are told.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use policy::id::ServerName;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{self, AcknowledgeIncidentRequest, ListChannelsRequest, ListIncidentsRequest, TestChannelsRequest};

use super::access::Who;
use super::plans::moment;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web, class_of_severity};
use crate::operators::access::Right;

/// Open ones on the page, and past ones.
const OPEN: i32 = 1_000;
const PAST: i32 = 50;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let ask = |page_size, open_only| ListIncidentsRequest { page_size, page_token: String::new(), open_only };
    let open = web.operators.list_incidents(who.ask(ask(OPEN, true))).await?.into_inner().incidents;
    let mut past = web.operators.list_incidents(who.ask(ask(PAST, false))).await?.into_inner().incidents;
    past.retain(|incident| incident.resolved_at != 0);
    let channels = web.operators.list_channels(who.ask(ListChannelsRequest {})).await?.into_inner().channels;
    let main = Incidents::of(open, past, channels, who.may(Right::Answer)).render()?;
    Ok(Shown { title: text!("page-incidents"), main })
}

#[derive(Template)]
#[template(path = "incidents.html")]
struct Incidents {
    headline: String,
    may_answer: bool,
    open: Vec<Line>,
    past: Vec<Line>,
    channels: Vec<ChannelLine>,
}

struct Line {
    id: String,
    server: String,
    /// It has a page: what is wrong with the controller itself has none.
    is_server: bool,
    code: String,
    class: &'static str,
    title: String,
    detail: String,
    since: String,
    until: String,
    by: String,
    /// Since when, and who is at it.
    stands: String,
}

struct ChannelLine {
    name: String,
    by: String,
    says: String,
    waiting: u64,
    given_up: u64,
    sent_at: String,
    failure: String,
}

impl Incidents {
    /// Pure: the same answers make the same page. What wakes somebody stands first.
    fn of(
        open: Vec<operator::Incident>,
        past: Vec<operator::Incident>,
        channels: Vec<operator::Channel>,
        may_answer: bool,
    ) -> Self {
        let nobody = open.iter().filter(|incident| incident.acknowledged_by.is_empty()).count();
        let headline = match (open.len(), nobody) {
            (0, _) => text!("incidents-none"),
            (open, 0) => text!("incidents-all-answered", open = open),
            (open, nobody) => text!("incidents-unanswered", open = open, nobody = nobody),
        };
        let mut open: Vec<Line> = open.into_iter().map(Line::of).collect();
        open.sort_by_key(|line| line.class != "bad");
        let channels = channels.into_iter().map(|channel| {
            let operator::Channel { name, by, says, waiting, given_up, sent_at, failure, host: _ } = channel;
            let sent_at = if sent_at == 0 { text!("common-never") } else { moment(sent_at) };
            ChannelLine { name, by, says: says.join(", "), waiting, given_up, sent_at, failure }
        });
        Self { headline, may_answer, open, past: past.into_iter().map(Line::of).collect(), channels: channels.collect() }
    }
}

impl Line {
    fn of(incident: operator::Incident) -> Self {
        let operator::Incident {
            id,
            server,
            code,
            severity,
            title,
            detail,
            opened_at,
            acknowledged_at: _,
            acknowledged_by,
            resolved_at,
        } = incident;
        Self {
            id,
            is_server: server.parse::<ServerName>().is_ok(),
            server,
            code,
            class: class_of_severity(&severity),
            title,
            detail,
            stands: if acknowledged_by.is_empty() {
                text!("incidents-since-and-nobody", since = moment(opened_at))
            } else {
                text!("incidents-since-and-somebody", since = moment(opened_at), person = acknowledged_by.as_str())
            },
            since: moment(opened_at),
            until: moment(resolved_at),
            by: acknowledged_by,
        }
    }
}

pub(super) async fn acknowledge(State(web): State<Web>, who: Who, Path(id): Path<String>) -> Response {
    match web.operators.acknowledge_incident(who.ask(AcknowledgeIncidentRequest { id, validate_only: false })).await {
        Ok(_) => Redirect::to("/incidents").into_response(),
        Err(status) => web.trouble(status.into(), Some(&who), "/incidents"),
    }
}

pub(super) async fn test(State(web): State<Web>, who: Who) -> Response {
    match web.operators.test_channels(who.ask(TestChannelsRequest {})).await {
        Ok(_) => Redirect::to("/incidents").into_response(),
        Err(status) => web.trouble(status.into(), Some(&who), "/incidents"),
    }
}
