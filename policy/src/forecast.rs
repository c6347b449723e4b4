//! What would happen to an estate, and when, if nothing but time passed: `backstay policy forecast`.
//!
//! For each server the life of its certificate is followed: proposed, permitted, renewed at the first permitted moment, until
//! the horizon. Nothing is walked through day by day, so that thousands of servers and years cost as much as their renewals.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::Serialize;

use crate::document::{Mode, Policy};
use crate::id::ServerName;
use crate::report::{Fact, Host};

/// The most renewals that are followed of one server: with certificates of one month, five years have sixty.
const MOST_RENEWALS: usize = 200;

/// Servers whose renewals begin within one week, from which on it is worth saying: they were installed together, and end
/// together (EXCHANGE.md 7.2).
const MANY: usize = 5;

/// A server as far as a forecast needs it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name, DAG and AD site: what a policy's groups go by.
    pub host: Host,
    /// The end of its back-end certificate; `None` when it is not known.
    pub ends: Option<Timestamp>,
}

/// Something that happens at a moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Approvals are collected from here on.
    Proposed,
    /// It may run from here on, if approved: the first permitted moment.
    MayRun,
    /// No moment is permitted before the end (rule 9).
    NoWindow(String),
    /// Still not renewed, it pages and ignores windows.
    Urgent,
    /// It ends, if nobody approved.
    Ends,
    /// The host is in mode observe: nothing of this would be proposed there.
    Observed,
    /// The end of its certificate is not known: nothing can be foreseen.
    Unknown,
    /// An exception of the policy ends.
    ExceptionEnds(String),
    /// A freeze begins.
    FreezeBegins(String),
    /// A freeze ends.
    FreezeEnds(String),
    /// So many servers may run for the first time within seven days from here.
    Many(usize),
}

/// One line of a forecast.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// To which server; `None` for what concerns them all.
    pub server: Option<ServerName>,
    /// What.
    pub what: What,
}

/// Everything that time alone brings to these servers from `now` to `horizon`, in order of time.
pub fn forecast(policy: &Policy, subjects: &[Subject], now: Timestamp, horizon: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    for Subject { host, ends } in subjects {
        let mut add = |at: Timestamp, what: What| {
            if at < horizon {
                entries.push(Entry { at: at.max(now), server: Some(host.name.clone()), what });
            }
        };
        if policy.mode_of(host) == Mode::Observe {
            add(now, What::Observed);
        }
        let Some(mut ends) = *ends else {
            add(now, What::Unknown);
            continue;
        };
        for _ in 0..MOST_RENEWALS {
            if policy.proposes_from(ends) >= horizon {
                break;
            }
            add(policy.proposes_from(ends), What::Proposed);
            if let Some(why) = policy.no_window_before(ends, now) {
                add(now, What::NoWindow(why));
            }
            let opens = policy.renewal_opens(ends).max(now);
            let runs = policy.permitted_from(opens, horizon);
            add(policy.expiry.urgent_at.before(ends), What::Urgent);
            add(ends, What::Ends);
            let Some(runs) = runs else { break };
            add(runs, What::MayRun);
            let Some(next) = after_months(runs, policy.certificate.months) else { break };
            ends = next;
        }
    }
    let mut runs: Vec<Timestamp> = entries.iter().filter(|entry| entry.what == What::MayRun).map(|entry| entry.at).collect();
    runs.sort_unstable();
    entries.extend(crowds(&runs).into_iter().map(|(at, many)| Entry { at, server: None, what: What::Many(many) }));
    let inside = |at: Timestamp| now <= at && at < horizon;
    for freeze in &policy.freezes {
        let reason = || freeze.reason.clone();
        let edges = [(freeze.from(), What::FreezeBegins(reason())), (freeze.until(), What::FreezeEnds(reason()))];
        entries.extend(edges.into_iter().filter(|(at, _)| inside(*at)).map(|(at, what)| Entry { at, server: None, what }));
    }
    for exception in policy.exceptions.iter().filter(|exception| inside(exception.until)) {
        let what = What::ExceptionEnds(format!("{}: {}", exception.owner, exception.reason));
        entries.push(Entry { at: exception.until, server: Some(exception.server.clone()), what });
    }
    entries.sort();
    entries
}

/// Calendar months later, as certificates are made.
fn after_months(at: Timestamp, months: u32) -> Option<Timestamp> {
    at.to_zoned(TimeZone::UTC).checked_add(i64::from(months).months()).ok().map(|zoned| zoned.timestamp())
}

/// Weeks in which many servers may run: begin and number. `times` are in order; a server is counted in one week only.
fn crowds(times: &[Timestamp]) -> Vec<(Timestamp, usize)> {
    let mut found = Vec::new();
    let mut rest = times;
    while let Some(first) = rest.first() {
        let week = crate::duration::Span::days(7).after(*first);
        let many = rest.partition_point(|at| *at < week);
        if many >= MANY {
            found.push((*first, many));
        }
        rest = &rest[many..];
    }
    found
}

/// A host of which only the name and the group are known.
pub fn host(name: ServerName, dag: Fact<Option<String>>, ad_site: Fact<String>) -> Host {
    Host { name, fqdn: Fact::not_observed(), machine_id: Fact::not_observed(), ad_site, dag }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn policy(lines: &str) -> Policy {
        let text = format!("estate = \"contoso\"\nversion = 1\nmode = \"propose\"\n{lines}");
        Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn subject(name: &str, ends: &str) -> Subject {
        let host = host(name.parse().expect("a name"), Fact::Known(None), Fact::Known("Berlin".to_owned()));
        Subject { host, ends: Some(at(ends)) }
    }

    fn told(policy: &Policy, subjects: &[Subject]) -> Vec<(String, What)> {
        let (now, horizon) = (at("2026-11-24T00:00:00Z"), at("2031-11-24T00:00:00Z"));
        forecast(policy, subjects, now, horizon).into_iter().map(|entry| (entry.at.to_string(), entry.what)).collect()
    }

    #[test]
    fn a_certificate_is_followed_to_its_renewal_and_on_to_the_next() {
        let yearly = policy("[certificate]\nmonths = 30\n");
        assert_eq!(
            told(&yearly, &[subject("EX1", "2027-03-01T00:00:00Z")]),
            [
                ("2026-12-31T00:00:00Z".to_owned(), What::Proposed),
                ("2027-01-30T00:00:00Z".to_owned(), What::MayRun),
                ("2027-02-26T00:00:00Z".to_owned(), What::Urgent),
                ("2027-03-01T00:00:00Z".to_owned(), What::Ends),
                ("2029-05-31T00:00:00Z".to_owned(), What::Proposed),
                ("2029-06-30T00:00:00Z".to_owned(), What::MayRun),
                ("2029-07-27T00:00:00Z".to_owned(), What::Urgent),
                ("2029-07-30T00:00:00Z".to_owned(), What::Ends),
                ("2031-10-31T00:00:00Z".to_owned(), What::Proposed),
            ]
        );
    }

    #[test]
    fn it_runs_in_the_first_window_that_no_freeze_covers_and_says_when_there_is_none() {
        let lines = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n\
                     [[freeze]]\nfrom = \"2027-01-25\"\nto = \"2027-02-10\"\nzone = \"UTC\"\nreason = \"migration\"\n";
        let found = told(&policy(lines), &[subject("EX1", "2027-03-01T00:00:00Z")]);
        assert!(found.contains(&("2027-02-13T22:00:00Z".to_owned(), What::MayRun)), "{found:?}");
        assert!(found.contains(&("2027-01-25T00:00:00Z".to_owned(), What::FreezeBegins("migration".to_owned()))));
        let frozen = lines.replace("2027-02-10", "2027-02-28");
        let found = told(&policy(&frozen), &[subject("EX1", "2027-03-01T00:00:00Z")]);
        assert!(matches!(found.first(), Some((at, What::NoWindow(_))) if at == "2026-11-24T00:00:00Z"), "{found:?}");
    }

    #[test]
    fn servers_that_were_installed_together_are_counted() {
        let subjects: Vec<Subject> = (1..=7).map(|number| subject(&format!("EX{number}"), "2027-03-01T00:00:00Z")).collect();
        let found = told(&policy(""), &subjects);
        assert!(found.contains(&("2027-01-30T00:00:00Z".to_owned(), What::Many(7))), "{found:?}");
        let silent = Subject { ends: None, ..subject("EX9", "2027-03-01T00:00:00Z") };
        assert_eq!(told(&policy(""), &[silent]), [("2026-11-24T00:00:00Z".to_owned(), What::Unknown)]);
    }
}
