//! What wants somebody, for operators; and whether people are told of it.

use policy::Timestamp;
use policy::id::Person;
use proto::invalid::micros;
use proto::operator::{self, ListIncidentsRequest, ListIncidentsResponse};
use reqwest::Url;
use tonic::Status;

use super::pages;
use crate::config::Kind;
use crate::parts::Parts;
use crate::status::failed;
use crate::store::{ChannelState, Incident};

pub(super) async fn list(parts: &Parts, request: ListIncidentsRequest) -> Result<ListIncidentsResponse, Status> {
    let ListIncidentsRequest { page_size, page_token, open_only } = request;
    let limit = pages::size(page_size)?;
    let before = pages::incident(&page_token, open_only)?;
    let found = parts.store.incidents(open_only, before, limit).await.map_err(failed)?;
    let next_page_token = pages::next(&found, limit, |incident| pages::of_incident(incident, open_only));
    Ok(ListIncidentsResponse { incidents: found.into_iter().map(told).collect(), next_page_token })
}

/// As it is told.
pub(super) fn told(incident: Incident) -> operator::Incident {
    let Incident { id, cause, opened_at, acknowledged, resolved_at } = incident;
    let (acknowledged_at, acknowledged_by) = acknowledged.map_or((0, String::new()), |(at, by)| (micros(at), by.to_string()));
    operator::Incident {
        id,
        server: cause.server,
        code: cause.code,
        severity: cause.severity.as_str().to_owned(),
        title: cause.title,
        detail: cause.detail,
        opened_at: micros(opened_at),
        acknowledged_at,
        acknowledged_by,
        resolved_at: resolved_at.map_or(0, micros),
    }
}

pub(super) async fn channels(parts: &Parts) -> Result<Vec<operator::Channel>, Status> {
    let notify = &parts.config.notify;
    let mail = notify.mail.iter().map(|mail| (&mail.name, "mail", &mail.says, mail.relay.clone()));
    let host = |url: &str| Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let hooks = notify.webhook.iter().map(|hook| (&hook.name, "webhook", &hook.says, host(&hook.url)));
    let mut channels = Vec::new();
    for (name, by, says, host) in mail.chain(hooks) {
        let ChannelState { waiting, sent_at, failure, given_up } = parts.store.channel(name).await.map_err(failed)?;
        channels.push(operator::Channel {
            name: name.clone(),
            by: by.to_owned(),
            says: says.iter().map(|kind: &Kind| kind.as_str().to_owned()).collect(),
            waiting,
            given_up,
            sent_at: sent_at.map_or(0, |at: Timestamp| micros(at)),
            failure,
            host,
        });
    }
    Ok(channels)
}

pub(super) async fn test(parts: &Parts, by: Person) -> Result<Vec<operator::Channel>, Status> {
    let names: Vec<String> = channels(parts).await?.into_iter().map(|channel| channel.name).collect();
    if names.is_empty() {
        return Err(Status::failed_precondition(
            "channels: expected one or more, found none: `notify` in controller.toml names them (docs/notifications.md)",
        ));
    }
    parts.store.test_channels(names, by, parts.clock.now()).await.map_err(failed)?;
    parts.told.notify_waiters();
    channels(parts).await
}
