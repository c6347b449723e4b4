//! How servers stood at a moment, and what was changed on them: what a report about a day is made of.

use policy::Timestamp;
use policy::certificate::Certificate;
use proto::invalid::{micros, moment};
use proto::operator::{
    self, CertificateSummary, ListChangesRequest, ListChangesResponse, ListStandingsRequest, ListStandingsResponse, Rebound,
};
use tonic::Status;

use super::{pages, wire};
use crate::parts::Parts;
use crate::status::failed;
use crate::store::{Alone, Change, Done, HeldAt, Standing, StoreError};

/// The moment that is meant: 0 is now, and what has not come yet cannot be told.
fn meant(field: &'static str, at: i64, now: Timestamp) -> Result<Timestamp, Status> {
    if at == 0 {
        return Ok(now);
    }
    let at = moment(field, at)?;
    if at > now {
        return Err(Status::invalid_argument(format!("{field}: expected a moment until now ({now}), found {at}")));
    }
    Ok(at)
}

pub(super) async fn standings(parts: &Parts, request: ListStandingsRequest) -> Result<ListStandingsResponse, Status> {
    let ListStandingsRequest { page_size, page_token, at } = request;
    let limit = pages::size(page_size)?;
    let at = meant("ListStandingsRequest.at", at, parts.clock.now())?;
    let after = pages::standing(&page_token, at)?;
    let rows = parts.store.standings(at, after.as_ref(), limit).await.map_err(failed)?;
    let HeldAt { policy, audit } = parts.store.held_at(at).await.map_err(failed)?;
    Ok(ListStandingsResponse {
        next_page_token: pages::next(&rows, limit, |row| pages::of_standing(&row.server, at)),
        standings: rows.into_iter().map(standing).collect(),
        at: micros(at),
        policy_version: policy,
        audit_sequence: audit.sequence,
        audit_head: audit.hash.0.to_vec(),
    })
}

pub(super) async fn changes(parts: &Parts, request: ListChangesRequest) -> Result<ListChangesResponse, Status> {
    let ListChangesRequest { page_size, page_token, since, until } = request;
    let limit = pages::size(page_size)?;
    let since = moment("ListChangesRequest.since", since)?;
    let until = meant("ListChangesRequest.until", until, parts.clock.now())?;
    if until < since {
        return Err(Status::invalid_argument(format!(
            "ListChangesRequest.until: expected a moment from {since} on, found {until}"
        )));
    }
    let after = pages::change(&page_token, since, until)?;
    let rows = parts.store.changes((since, until), after, limit).await.map_err(failed)?;
    let next_page_token = pages::next(&rows, limit, |row| pages::of_change(&row.cursor(), since, until));
    let changes = rows.into_iter().map(change).collect::<Result<_, _>>().map_err(failed)?;
    Ok(ListChangesResponse { changes, next_page_token, until: micros(until) })
}

fn standing(row: Standing) -> operator::Standing {
    // It came with a report, where it was parsed before.
    let certificate = row.certificate.as_deref().and_then(|der| Certificate::from_der(der).ok());
    let Standing { server, since, verdict, findings, mode, dag, ad_site, exchange, thumbprint, certificate: _, alone } = row;
    let Alone { bound_since, watched_since, not_before: _, touched_at } = alone;
    operator::Standing {
        server: server.to_string(),
        verdict: verdict.as_str().to_owned(),
        findings: findings.iter().map(|code| code.as_str().to_owned()).collect(),
        mode: mode.unwrap_or_default(),
        dag: dag.unwrap_or_default(),
        site: ad_site.unwrap_or_default(),
        exchange: exchange.unwrap_or_default(),
        thumbprint: thumbprint.map(|thumbprint| thumbprint.to_string()),
        certificate: certificate.map(|certificate| CertificateSummary {
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            not_before: micros(certificate.not_before()),
            not_after: micros(certificate.not_after()),
        }),
        since: micros(since),
        bound_since: micros(bound_since),
        watched_since: micros(watched_since),
        touched_at: touched_at.map(micros),
        untouched_since: micros(alone.since()),
    }
}

fn change(row: Change) -> Result<operator::Change, StoreError> {
    let Change { at, server, rebound, plan } = row;
    let text = |thumbprint: Option<policy::id::Thumbprint>| thumbprint.map(|found| found.to_string()).unwrap_or_default();
    let mut change = operator::Change {
        at: micros(at),
        server: server.to_string(),
        rebound: rebound.map(|(before, after)| Rebound { before: text(before), after: text(after) }),
        ..operator::Change::default()
    };
    if let Some(Done { row, receipt, approvals }) = plan {
        change.plan = Some(wire::plan(&row));
        change.receipt = Some(receipt.into());
        for approval in approvals {
            change.approvals.push(wire::approval(approval.verified()?.value));
        }
    }
    Ok(change)
}
