//! What would happen to an estate, and when, if nothing but time passed: `backstay policy forecast`.
//!
//! For each server the life of its certificate is followed: proposed, permitted, renewed when its turn comes, until the
//! horizon. Nothing is walked through day by day, so that thousands of servers and years cost as much as their renewals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::Serialize;

use crate::document::{Left, Mode, Policy};
use crate::id::ServerName;
use crate::report::{Fact, Host};
use crate::turn::Turns;

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
    /// It runs here, if approved before: the first permitted moment at which it is this server's turn.
    MayRun,
    /// No moment is permitted before the end (rule 9).
    NoWindow(String),
    /// A window opens in time, but others have their turn in it until this one has become urgent, or has ended.
    NoTurn,
    /// Still not renewed, it pages and ignores windows.
    Urgent,
    /// It ends, if nobody approved.
    Ends,
    /// The host is in mode observe, or the policy only reports renewals: nothing of this would be proposed there.
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
    let mut add = |server: &ServerName, at: Timestamp, what: What| {
        if at < horizon {
            entries.push(Entry { at: at.max(now), server: Some(server.clone()), what });
        }
    };
    // In the order in which they open, and among these the one that ends first.
    let mut due: BinaryHeap<Reverse<(Timestamp, Timestamp, usize)>> = BinaryHeap::new();
    let opening = |ends: Timestamp| policy.renewal_opens(ends).max(now);
    for (index, Subject { host, ends }) in subjects.iter().enumerate() {
        if policy.mode_of(host) == Mode::Observe || policy.actions.renew == Left::Report {
            add(&host.name, now, What::Observed);
        }
        match *ends {
            Some(ends) => due.push(Reverse((opening(ends), ends, index))),
            None => add(&host.name, now, What::Unknown),
        }
    }
    let mut turns = Turns::new(policy);
    while let Some(Reverse((opens, ends, index))) = due.pop() {
        let Subject { host, ends: _ } = &subjects[index];
        if policy.proposes_from(ends) >= horizon {
            continue;
        }
        add(&host.name, policy.proposes_from(ends), What::Proposed);
        let urgent = policy.expiry.urgent_at.before(ends);
        let blocked = policy.no_window_before(ends, now);
        if let Some(why) = &blocked {
            add(&host.name, now, What::NoWindow(why.clone()));
        }
        add(&host.name, urgent, What::Urgent);
        add(&host.name, ends, What::Ends);
        let Some(runs) = turns.take(host, opens, urgent, horizon) else { continue };
        add(&host.name, runs, What::MayRun);
        // With `renew_before = 0d` it runs after the end, and that is wanted.
        if blocked.is_none() && opens < urgent && runs >= urgent {
            add(&host.name, now, What::NoTurn);
        }
        // A certificate lives for a month at least, so that every step goes on in time.
        if let Some(next) = after_months(runs, policy.certificate.months).filter(|next| *next > ends.max(runs)) {
            due.push(Reverse((opening(next), next, index)));
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
    fn an_estate_that_ends_in_one_night_is_renewed_server_by_server_and_told_when_the_windows_are_too_few() {
        let night = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"1h\"\nzone = \"UTC\"\n";
        let subjects: Vec<Subject> = (1..=10).map(|number| subject(&format!("EX{number:02}"), "2027-03-01T00:00:00Z")).collect();
        let runs = |lines: &str| -> Vec<String> {
            let found = told(&policy(lines), &subjects);
            found.into_iter().filter(|(_, what)| *what == What::MayRun).map(|(at, _)| at).take(10).collect()
        };
        // Five minutes of work and thirty of soak: two in an hour, and four Saturdays before it is urgent.
        let found = runs(night);
        assert_eq!(found[..3], ["2027-01-30T22:00:00Z", "2027-01-30T22:35:00Z", "2027-02-06T22:00:00Z"]);
        assert_eq!(found[8..], ["2027-02-26T00:00:00Z", "2027-02-26T00:35:00Z"], "urgent: outside every window");
        let late = told(&policy(night), &subjects).into_iter().filter(|(_, what)| *what == What::NoTurn).count();
        assert_eq!(late, 2);
        let wide = format!("{night}[waves]\nat_once = 2\n");
        // All ten stand in no DAG and one AD site: more at once do not help, a shorter soak does.
        assert_eq!(runs(&wide), found);
        let short = format!("{night}[waves]\nsoak = \"10m\"\n");
        assert_eq!(runs(&short)[9], "2027-02-13T22:15:00Z");
        assert!(told(&policy(&short), &subjects).iter().all(|(_, what)| *what != What::NoTurn));
    }

    #[test]
    fn servers_that_were_installed_together_are_counted() {
        let subjects: Vec<Subject> = (1..=7).map(|number| subject(&format!("EX{number}"), "2027-03-01T00:00:00Z")).collect();
        let found = told(&policy(""), &subjects);
        assert!(found.contains(&("2027-01-30T00:00:00Z".to_owned(), What::Many(7))), "{found:?}");
        let silent = Subject { ends: None, ..subject("EX9", "2027-03-01T00:00:00Z") };
        assert_eq!(told(&policy(""), &[silent]), [("2026-11-24T00:00:00Z".to_owned(), What::Unknown)]);
    }

    #[test]
    fn what_happens_at_the_horizon_or_outside_of_it_is_not_foreseen() {
        let (now, horizon) = (at("2027-01-01T00:00:00Z"), at("2027-03-01T00:00:00Z"));
        let freeze =
            |from: &str, to: &str| format!("[[freeze]]\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"UTC\"\nreason = \"x\"\n");
        let lines = [freeze("2026-12-20", "2026-12-31"), freeze("2027-02-28", "2027-02-28"), freeze("2027-04-01", "2027-04-02")];
        let ends = Subject { ends: Some(horizon), ..subject("EX1", "2027-03-01T00:00:00Z") };
        let found = forecast(&policy(&lines.concat()), &[ends], now, horizon);
        let edges: Vec<_> = found.iter().filter(|entry| entry.server.is_none()).map(|entry| entry.at.to_string()).collect();
        assert_eq!(edges, ["2027-01-01T00:00:00Z", "2027-02-28T00:00:00Z"], "the first freeze ends now, the second begins");
        assert!(found.iter().all(|entry| entry.what != What::Ends), "it ends at the horizon: {found:?}");
    }

    #[test]
    fn where_nothing_would_be_proposed_it_is_said_for_either_reason() {
        let said = |lines: &str| {
            let found = told(&policy(lines), &[subject("EX1", "2027-03-01T00:00:00Z")]);
            found.iter().any(|(_, what)| *what == What::Observed)
        };
        assert!(!said(""));
        assert!(said("[actions]\nrenew = \"report\"\n"));
        assert!(said("[[group]]\nname = \"pilot\"\nservers = [\"EX1\"]\nmode = \"observe\"\n"));
    }

    #[test]
    fn a_renewal_that_is_urgent_from_its_first_moment_has_not_missed_its_turn() {
        let lines = "[expiry]\nrenew_before = \"3d\"\nurgent_at = \"3d\"\n";
        let found = told(&policy(lines), &[subject("EX1", "2027-03-01T00:00:00Z")]);
        assert!(found.iter().all(|(_, what)| *what != What::NoTurn), "{found:?}");
    }

    #[test]
    fn a_renewal_that_wins_no_time_is_not_followed_by_another() {
        // Thirty days before the end, for a month that has thirty: the new certificate ends when the old one does.
        let monthly = policy("[certificate]\nmonths = 1\n");
        let found = told(&monthly, &[subject("EX1", "2027-05-01T00:00:00Z")]);
        assert_eq!(found.iter().filter(|(_, what)| *what == What::MayRun).count(), 1, "{found:?}");
    }

    #[test]
    fn a_week_is_seven_days_and_not_a_moment_more() {
        let times = |last: &str| -> Vec<Timestamp> {
            let first = ["2027-01-01T00:00:00Z"; 4].map(at);
            first.into_iter().chain([at(last)]).collect()
        };
        assert_eq!(crowds(&times("2027-01-07T23:59:59Z")), [(at("2027-01-01T00:00:00Z"), 5)]);
        assert_eq!(crowds(&times("2027-01-08T00:00:00Z")), []);
    }
}
