//! What reads as a policy and is hardly meant: said before anybody signs, and never a reason to refuse.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Exception, Group, Policy};
use crate::duration::Span;
use crate::id::ServerName;

/// An exception that lasts longer than this is a second rule.
const LONG: Span = Span::days(400);

/// How far ahead a window is looked for.
const AHEAD: Span = Span::days(366);

impl Policy {
    /// Doubts about this policy at `now`, each a sentence.
    pub fn doubts(&self, now: Timestamp) -> Vec<String> {
        let mut doubts = Vec::new();
        self.exceptions_in_doubt(now, &mut doubts);
        self.freezes_in_doubt(now, &mut doubts);
        self.windows_in_doubt(now, &mut doubts);
        self.groups_in_doubt(&mut doubts);
        let Self { expiry, limits, .. } = self;
        if expiry.urgent_at >= expiry.renew_before && expiry.renew_before > Span::days(0) {
            doubts.push(format!(
                "expiry.urgent_at ({}) is not shorter than expiry.renew_before ({}): every renewal pages and ignores windows from its first day",
                expiry.urgent_at, expiry.renew_before
            ));
        }
        if limits.restores_per_day < limits.restores_per_hour {
            doubts.push(format!(
                "limits.restores_per_day ({}) is below limits.restores_per_hour ({}), which then never counts",
                limits.restores_per_day, limits.restores_per_hour
            ));
        }
        if limits.authority_days == 0 {
            doubts.push("limits.authority_days is 0: no agent ever acts by itself".to_owned());
        }
        doubts
    }

    fn exceptions_in_doubt(&self, now: Timestamp, doubts: &mut Vec<String>) {
        for (index, Exception { server, until, .. }) in self.exceptions.iter().enumerate() {
            if *until <= now {
                doubts.push(format!("exception number {} for {server} ended at {until}", index + 1));
            } else if LONG.after(now) < *until {
                doubts.push(format!(
                    "exception number {} for {server} ends only at {until}: what lasts so long is a rule, not an exception",
                    index + 1
                ));
            }
        }
    }

    fn freezes_in_doubt(&self, now: Timestamp, doubts: &mut Vec<String>) {
        let mut numbered: Vec<_> = self.freezes.iter().enumerate().collect();
        numbered.sort_by_key(|(_, freeze)| freeze.from());
        // In order of their begin, each can only overlap the one before that lasts longest.
        let mut longest: Option<(usize, Timestamp)> = None;
        for (index, freeze) in numbered {
            if freeze.until() <= now {
                doubts.push(format!("freeze number {} ended at {}", index + 1, freeze.until()));
            }
            if let Some((other, until)) = longest
                && freeze.from() < until
            {
                let end = until.min(freeze.until());
                doubts.push(format!("freezes number {} and {} overlap from {} to {end}", other + 1, index + 1, freeze.from()));
            }
            if longest.is_none_or(|(_, until)| until < freeze.until()) {
                longest = Some((index, freeze.until()));
            }
        }
    }

    fn windows_in_doubt(&self, now: Timestamp, doubts: &mut Vec<String>) {
        let mut seen = BTreeMap::new();
        for (index, window) in self.windows.iter().enumerate() {
            if let Some(first) = seen.insert(window.to_string(), index) {
                doubts.push(format!("windows number {} and {} are the same: {window}", first + 1, index + 1));
            }
        }
        if self.permitted_from(now, AHEAD.after(now)).is_none() {
            doubts.push(format!(
                "no window opens outside a freeze for {AHEAD} from now: approved work that is not urgent never runs"
            ));
        }
    }

    fn groups_in_doubt(&self, doubts: &mut Vec<String>) {
        let mut named: BTreeMap<&ServerName, &str> = BTreeMap::new();
        for Group { name, servers, dag, site, mode: _ } in &self.groups {
            if servers.is_empty() && dag.is_none() && site.is_none() {
                doubts.push(format!("group {name:?} names nobody"));
            }
            for server in servers {
                match named.get(server) {
                    Some(first) => {
                        doubts.push(format!("group {name:?} names {server}, and group {first:?} did before: the first counts"))
                    }
                    None => {
                        named.insert(server, name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts(lines: &str) -> Vec<String> {
        let text = format!("estate = \"contoso\"\nversion = 1\n{lines}");
        let policy = Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        policy.doubts("2026-11-24T12:00:00Z".parse().expect("a time"))
    }

    fn freeze(from: &str, to: &str) -> String {
        format!("[[freeze]]\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"UTC\"\nreason = \"x\"\n")
    }

    #[test]
    fn a_policy_as_it_should_be_raises_none() {
        assert_eq!(doubts(""), [""; 0]);
        assert_eq!(doubts(&(freeze("2026-12-20", "2026-12-31") + &freeze("2027-01-01", "2027-01-06"))), [""; 0], "they touch");
        assert_eq!(doubts("[expiry]\nrenew_before = \"0d\"\n"), [""; 0], "strictly on expiry");
    }

    #[test]
    fn what_is_hardly_meant_is_said() {
        let exception = |until: &str| {
            format!(
                "[[exception]]\nserver = \"EX1\"\nallow = \"early_renewal\"\nowner = \"anna\"\nreason = \"x\"\nuntil = \"{until}\"\n"
            )
        };
        assert_eq!(doubts(&exception("2026-11-24T12:00:00Z")), ["exception number 1 for EX1 ended at 2026-11-24T12:00:00Z"]);
        assert!(doubts(&exception("2027-12-30T00:00:00Z"))[0].contains("a rule, not an exception"));
        assert_eq!(doubts(&exception("2027-12-28T00:00:00Z")), [""; 0]);
        let nested = [freeze("2026-12-01", "2026-12-31"), freeze("2026-12-05", "2026-12-06"), freeze("2026-12-20", "2027-01-06")];
        assert_eq!(
            doubts(&nested.concat()),
            [
                "freezes number 1 and 2 overlap from 2026-12-05T00:00:00Z to 2026-12-07T00:00:00Z",
                "freezes number 1 and 3 overlap from 2026-12-20T00:00:00Z to 2027-01-01T00:00:00Z",
            ]
        );
        assert_eq!(doubts(&freeze("2026-11-01", "2026-11-23")), ["freeze number 1 ended at 2026-11-24T00:00:00Z"]);
        let saturday = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n";
        assert_eq!(doubts(&saturday.repeat(2)), ["windows number 1 and 2 are the same: sat from 22:00 for 4h, UTC"]);
        assert!(doubts(&(saturday.to_owned() + &freeze("2026-11-20", "2028-01-01")))[0].contains("never runs"));
        let group = |name: &str, servers: &str| format!("[[group]]\nname = \"{name}\"\nservers = [{servers}]\nmode = \"act\"\n");
        assert_eq!(
            doubts(&(group("a", "\"EX1\"") + &group("b", "\"ex1\", \"EX2\"") + &group("c", ""))),
            ["group \"b\" names EX1, and group \"a\" did before: the first counts", "group \"c\" names nobody"]
        );
        assert!(doubts("[expiry]\nurgent_at = \"30d\"\n")[0].contains("from its first day"));
        assert!(doubts("[limits]\nrestores_per_hour = 4\n")[0].contains("never counts"));
        assert!(doubts("[limits]\nauthority_days = 0\n")[0].contains("no agent ever acts"));
    }
}
