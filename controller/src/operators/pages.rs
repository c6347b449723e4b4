//! Lists by page, as AIP-158 has them: sizes are bounded, tokens are opaque, and an empty token is the only end.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use policy::Timestamp;
use policy::id::{ServerName, Sha256};
use tonic::Status;

use crate::audit::Entry;
use crate::store::{ChangeCursor, Identity, Incident, MAX_PAGE, PlanCursor, PlanFilter, PlanRow, TrailFilter};

/// Entries of a page when nobody says how many.
const DEFAULT: u32 = 100;

/// Bytes of audit entries in one answer: well below what a client reads.
const MAX_BYTES: usize = proto::MAX_MESSAGE / 4;

/// The number of entries that this page may have.
pub(super) fn size(asked: i32) -> Result<u32, Status> {
    match u32::try_from(asked) {
        Ok(0) => Ok(DEFAULT),
        Ok(asked) => Ok(asked.min(MAX_PAGE)),
        Err(_) => Err(Status::invalid_argument(format!("page_size: expected 0 or more, found {asked}"))),
    }
}

/// The token behind these entries: empty when they are the last. A full page may be followed by an empty one.
pub(super) fn next<T>(entries: &[T], limit: u32, token: impl Fn(&T) -> String) -> String {
    match entries.last() {
        Some(last) if entries.len() as u64 >= u64::from(limit) => token(last),
        Some(_) | None => String::new(),
    }
}

/// A token behind a server.
pub(super) fn of_server(name: &ServerName) -> String {
    encode(&format!("server {name}"))
}

/// The server behind which the page begins.
pub(super) fn server(token: &str) -> Result<Option<ServerName>, Status> {
    read(token, |text| text.strip_prefix("server ")?.parse().ok())
}

/// A token behind a plan. It holds the filter too: a page of another list must not be taken for the next of this one.
pub(super) fn of_plan(row: &PlanRow, filter: &PlanFilter) -> String {
    encode(&format!("{}{} {}", of_filter(filter), row.created_at.as_microsecond(), row.id))
}

/// The plan behind which the page begins.
pub(super) fn plan(token: &str, filter: &PlanFilter) -> Result<Option<PlanCursor>, Status> {
    read(token, |text| {
        let (created_at, id) = text.strip_prefix(&of_filter(filter))?.split_once(' ')?;
        let created_at = Timestamp::from_microsecond(created_at.parse().ok()?).ok()?;
        Some(PlanCursor { created_at, id: id.parse().ok()? })
    })
}

fn of_filter(PlanFilter { open_only, server }: &PlanFilter) -> String {
    format!("plan {open_only} {} ", server.as_ref().map_or("*", ServerName::as_str))
}

/// A token behind an agent. It holds the kind of list, too.
pub(super) fn of_agent(identity: &Identity, all: bool) -> String {
    encode(&format!("agent {all} {} {}", identity.server, identity.key_id))
}

/// The agent behind which the page begins.
pub(super) fn agent(token: &str, all: bool) -> Result<Option<(ServerName, Sha256)>, Status> {
    read(token, |text| {
        let (server, key) = text.strip_prefix(&format!("agent {all} "))?.split_once(' ')?;
        Some((server.parse().ok()?, key.parse().ok()?))
    })
}

/// A token behind a server as it stood at a moment.
pub(super) fn of_standing(name: &ServerName, at: Timestamp) -> String {
    encode(&format!("standing {} {name}", at.as_microsecond()))
}

/// The moment at which the servers stood, and the one behind which the page begins.
pub(super) fn standing(token: &str, at: Timestamp) -> Result<Option<ServerName>, Status> {
    read(token, |text| text.strip_prefix(&format!("standing {} ", at.as_microsecond()))?.parse().ok())
}

/// A token behind a change.
pub(super) fn of_change(ChangeCursor { at, server, plan }: &ChangeCursor, since: Timestamp, until: Timestamp) -> String {
    let plan = plan.map(|plan| plan.to_string()).unwrap_or_default();
    encode(&format!("{}{} {server} {plan}", of_period(since, until), at.as_microsecond()))
}

/// The change behind which the page begins.
pub(super) fn change(token: &str, since: Timestamp, until: Timestamp) -> Result<Option<ChangeCursor>, Status> {
    read(token, |text| {
        let (at, rest) = text.strip_prefix(&of_period(since, until))?.split_once(' ')?;
        let (server, plan) = rest.split_once(' ')?;
        let at = Timestamp::from_microsecond(at.parse().ok()?).ok()?;
        let plan = if plan.is_empty() { None } else { Some(plan.parse().ok()?) };
        Some(ChangeCursor { at, server: server.parse().ok()?, plan })
    })
}

fn of_period(since: Timestamp, until: Timestamp) -> String {
    format!("change {} {} ", since.as_microsecond(), until.as_microsecond())
}

/// A token behind an incident.
pub(super) fn of_incident(incident: &Incident, open_only: bool) -> String {
    encode(&format!("incident {open_only} {} {}", incident.opened_at.as_microsecond(), incident.id))
}

/// The incident behind which the page begins.
pub(super) fn incident(token: &str, open_only: bool) -> Result<Option<(Timestamp, String)>, Status> {
    read(token, |text| {
        let (at, id) = text.strip_prefix(&format!("incident {open_only} "))?.split_once(' ')?;
        Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.to_owned()))
    })
}

/// A token behind an audit entry of this list.
pub(super) fn of_audit(sequence: u64, filter: &TrailFilter) -> String {
    encode(&format!("audit {} {sequence} {}", filter.newest_first, filter.contains))
}

/// The list with its beginning where the token says.
pub(super) fn audit(token: &str, filter: TrailFilter) -> Result<TrailFilter, Status> {
    let read = read(token, |text| {
        let (order, rest) = text.strip_prefix("audit ")?.split_once(' ')?;
        let (sequence, contains) = rest.split_once(' ')?;
        let same = order == filter.newest_first.to_string() && contains == filter.contains;
        sequence.parse::<u64>().ok().filter(|_| same)
    })?;
    Ok(match read {
        Some(sequence) if filter.newest_first => TrailFilter { before: Some(sequence), ..filter },
        Some(sequence) => TrailFilter { after: filter.after.max(sequence), ..filter },
        None => filter,
    })
}

/// The first of these entries, as many as fit into a message; at least one.
pub(super) fn within_a_message(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut bytes = 0;
    let fitting = entries
        .iter()
        .take_while(|entry| {
            bytes += entry.actor.len() + entry.action.len() + entry.subject.len() + entry.detail.len() + 128;
            bytes <= MAX_BYTES
        })
        .count();
    entries.truncate(fitting.max(1));
    entries
}

fn encode(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn read<T>(token: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let text = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parsed = text.as_deref().and_then(parse);
    let wrong = || Status::invalid_argument("page_token: expected one that this very list gave, found another");
    parsed.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, Head};

    #[test]
    fn sizes_are_bounded_and_negative_ones_refused() {
        assert_eq!([0, 1, 1000, 1001, i32::MAX].map(|asked| size(asked).expect("a size")), [100, 1, 1000, 1000, 1000]);
        assert_eq!(size(-1).expect_err("negative").code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn a_token_leads_on_and_a_token_of_another_list_is_refused() {
        let name: ServerName = "EX1".parse().expect("a name");
        assert_eq!(server(&of_server(&name)).expect("own"), Some(name.clone()));
        assert_eq!(server("").expect("the beginning"), None);
        let trail = |after| TrailFilter { after, ..TrailFilter::default() };
        let token = of_audit(7, &trail(3));
        assert_eq!(audit(&token, trail(3)).expect("own"), trail(7));
        assert_eq!(audit("", trail(3)).expect("the beginning"), trail(3));
        let back = TrailFilter { newest_first: true, contains: "a b".to_owned(), ..trail(3) };
        let found = audit(&of_audit(7, &back), back.clone()).expect("own");
        assert_eq!(found, TrailFilter { before: Some(7), ..back.clone() });
        assert!(audit(&token, back).is_err(), "of another list");
        for wrong in ["x", "????", &token, &encode("server EX 1"), &"A".repeat(10_000)] {
            assert_eq!(server(wrong).expect_err("foreign").code(), tonic::Code::InvalidArgument, "{wrong}");
        }
        let all = PlanFilter::default();
        let of_one = PlanFilter { server: Some(name), ..PlanFilter::default() };
        let token = encode(&format!("{}12 {}", of_filter(&all), "ab".repeat(32)));
        assert!(plan(&token, &all).expect("own").is_some());
        assert!(plan(&token, &of_one).is_err());
    }

    #[test]
    fn large_entries_are_cut_into_more_pages_and_one_always_goes() {
        let mut head = Head::EMPTY;
        let entries: Vec<Entry> = (0..5)
            .map(|_| {
                let entry = Entry::after(head, Timestamp::UNIX_EPOCH, &Actor::Console, "a.b", "c", "x".repeat(MAX_BYTES / 2));
                head = entry.head();
                entry
            })
            .collect();
        assert_eq!(within_a_message(entries.clone()).len(), 1);
        assert_eq!(within_a_message(entries[..1].to_vec()).len(), 1);
        assert_eq!(next(&entries, 0, |entry| entry.sequence.to_string()), "5");
        assert_eq!(next::<Entry>(&[], 0, |_| "more".to_owned()), "");
    }
}
