//! Whose turn it is (P8): which servers are never worked on at once, and when each gets its turn if all are approved in time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::Timestamp;

use crate::document::{GroupBy, Policy};
use crate::duration::Span;
use crate::report::{Fact, Host};

/// The group of servers of which nobody knows the group.
pub const UNKNOWN_GROUP: &str = "unknown";

/// How long the work itself is reckoned to take; the soak comes on top.
const WORK: Span = Span::seconds(300);

/// The servers that are never worked on at once with this one (P8): the members of its DAG; without DAG those of its AD site;
/// where either is unknown, all of which it is unknown.
pub fn group_of(host: &Host) -> String {
    match (&host.dag, &host.ad_site) {
        (Fact::Known(Some(dag)), _) => format!("dag:{}", dag.to_lowercase()),
        (Fact::Known(None), Fact::Known(site)) => site_group(site),
        (Fact::Known(None), Fact::Unknown(_)) | (Fact::Unknown(_), _) => UNKNOWN_GROUP.to_owned(),
    }
}

fn site_group(site: &str) -> String {
    format!("site:{}", site.to_lowercase())
}

/// The turns that were given, and until when they last.
#[derive(Debug)]
pub struct Turns<'a> {
    policy: &'a Policy,
    /// As many as the policy has in work at once: from when each is free.
    slots: BinaryHeap<Reverse<Timestamp>>,
    /// From when a group may have its next turn.
    free: BTreeMap<String, Timestamp>,
}

impl<'a> Turns<'a> {
    /// None was given yet.
    pub fn new(policy: &'a Policy) -> Self {
        let slots = (0..policy.waves.at_once).map(|_| Reverse(Timestamp::MIN)).collect();
        Self { policy, slots, free: BTreeMap::new() }
    }

    /// The first moment at or after `from` and before `limit` at which this server may have its turn, in a window or, once it
    /// is urgent, out of it; the turn is taken. `None` when no such moment comes, and none is taken.
    pub fn take(&mut self, host: &Host, from: Timestamp, urgent_from: Timestamp, limit: Timestamp) -> Option<Timestamp> {
        let groups = self.groups(host);
        let free = groups.iter().filter_map(|group| self.free.get(group)).copied();
        let Reverse(slot) = *self.slots.peek()?;
        let at = free.chain([slot, from]).max()?;
        let in_window = self.policy.permitted_from(at, limit);
        let as_urgent = self.policy.thawed_from(at.max(urgent_from), limit);
        let at = in_window.into_iter().chain(as_urgent).min()?;
        let until = self.policy.waves.soak.after(WORK.after(at));
        self.slots.pop();
        self.slots.push(Reverse(until));
        self.free.extend(groups.into_iter().map(|group| (group, until)));
        Some(at)
    }

    /// What must not be worked on at once with this server.
    fn groups(&self, host: &Host) -> Vec<String> {
        let mut groups = vec![group_of(host)];
        if self.policy.waves.group_by == GroupBy::Site {
            groups.push(host.ad_site.known().map_or_else(|| UNKNOWN_GROUP.to_owned(), |site| site_group(site)));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::host;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn policy(lines: &str) -> Policy {
        let text = format!("estate = \"contoso\"\nversion = 1\n{lines}");
        Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn server(name: &str, dag: &str, site: &str) -> Host {
        host(name.parse().expect("a name"), Fact::Known(Some(dag.to_owned())), Fact::Known(site.to_owned()))
    }

    /// The hour and minute of each server's turn, all of them wanting it at ten.
    fn turns(keys: &str, hosts: &[Host]) -> Vec<String> {
        let policy = policy(&format!("[waves]\nsoak = \"55m\"\n{keys}"));
        let mut turns = Turns::new(&policy);
        let (ten, never) = (at("2026-11-24T10:00:00Z"), at("2030-01-01T00:00:00Z"));
        hosts
            .iter()
            .map(|host| turns.take(host, ten, never, never).map_or("never".to_owned(), |at| at.strftime("%H:%M").to_string()))
            .collect()
    }

    #[test]
    fn one_at_a_time_or_as_many_as_the_policy_says_and_never_two_of_one_group() {
        let estate = [server("EX1", "DAG1", "Berlin"), server("EX2", "dag1", "Hamburg"), server("EX3", "DAG2", "Berlin")];
        assert_eq!(turns("", &estate), ["10:00", "11:00", "12:00"]);
        assert_eq!(turns("at_once = 2\n", &estate), ["10:00", "11:00", "11:00"], "in the order of asking");
        assert_eq!(turns("at_once = 9\n", &estate), ["10:00", "11:00", "10:00"]);
        assert_eq!(turns("at_once = 9\ngroup_by = \"site\"\n", &estate), ["10:00", "11:00", "11:00"]);
        let alone = |name: &str, site: Fact<String>| host(name.parse().expect("a name"), Fact::Known(None), site);
        let unknown = || Fact::<String>::not_observed();
        let hosts = [alone("EX1", unknown()), alone("EX2", unknown()), alone("EX3", Fact::Known("Berlin".to_owned()))];
        assert_eq!(turns("at_once = 9\n", &hosts), ["10:00", "11:00", "10:00"], "where the group is unknown, it is one");
    }

    #[test]
    fn a_turn_waits_for_its_window_until_it_is_urgent_and_for_a_freeze_always() {
        let lines = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"1h\"\nzone = \"UTC\"\n\
                     [[freeze]]\nfrom = \"2026-12-12\"\nto = \"2026-12-13\"\nzone = \"UTC\"\nreason = \"x\"\n";
        let policy = policy(lines);
        let mut turns = Turns::new(&policy);
        let (from, limit) = (at("2026-11-24T10:00:00Z"), at("2026-12-20T00:00:00Z"));
        let mut take = |urgent: &str| turns.take(&server("EX1", "D", "S"), from, at(urgent), limit).map(|at| at.to_string());
        assert_eq!(take("2027-01-01T00:00:00Z").as_deref(), Some("2026-11-28T22:00:00Z"));
        assert_eq!(take("2027-01-01T00:00:00Z").as_deref(), Some("2026-11-28T22:35:00Z"), "half an hour of soak, and the work");
        assert_eq!(take("2026-12-01T00:00:00Z").as_deref(), Some("2026-12-01T00:00:00Z"), "urgent before the next Saturday");
        assert_eq!(take("2026-12-12T07:00:00Z").as_deref(), Some("2026-12-05T22:00:00Z"));
        assert_eq!(take("2026-12-12T07:00:00Z").as_deref(), Some("2026-12-05T22:35:00Z"));
        assert_eq!(take("2026-12-12T07:00:00Z").as_deref(), Some("2026-12-14T00:00:00Z"), "after the freeze");
        assert_eq!(take("2027-01-01T00:00:00Z").as_deref(), Some("2026-12-19T22:00:00Z"));
        assert_eq!(take("2027-01-01T00:00:00Z").as_deref(), Some("2026-12-19T22:35:00Z"));
        assert_eq!(take("2027-01-01T00:00:00Z"), None);
    }
}
