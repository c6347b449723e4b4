//! Whose 444 this agent looks at for others, and when. Pure: the main loop asks when the next handshake is due, makes it, and says
//! what came of it.
//!
//! The controller names the servers and the question; how many and how often is the signed policy's word alone. However often
//! it asks, no server is dialled twice within that time, and handshakes come one by one with a pause between them: an agent is no
//! scanner. What is told is told when it differs from what was told in this session, or answers a new question.

use std::collections::BTreeMap;
use std::time::Duration;

use policy::document::PeerChecks;
use policy::duration::Span;
use policy::id::{ServerName, Sha256};
use policy::peers::{Seen, Target};
use policy::report::ProbeOutcome;

/// Those whom a controller asked to look at, in this session.
#[derive(Debug, Default)]
pub struct Peers {
    asked: Vec<Asked>,
    /// When a server was last dialled, asked for or not, as long as it matters.
    dialled: BTreeMap<ServerName, Duration>,
    /// Not before: a thousand agents that come back at once do not dial at once.
    from: Duration,
}

#[derive(Debug)]
struct Asked {
    target: Target,
    told: Option<(Sha256, ProbeOutcome)>,
}

impl Peers {
    /// These are to be looked at, the nearest first. `random` is in 0..1.
    pub fn asked(&mut self, targets: Vec<Target>, checks: PeerChecks, random: f64, now: Duration) {
        if self.asked.is_empty() {
            self.from = now + pause(checks).mul_f64(random);
        }
        let mut before = std::mem::take(&mut self.asked);
        self.asked = targets
            .into_iter()
            .map(|target| {
                let known = before.iter_mut().find(|asked| asked.target.server == target.server);
                Asked { told: known.and_then(|known| known.told.take()), target }
            })
            .collect();
    }

    /// A session begins or ends: nobody is asked for, and what was told was told to another.
    pub fn anew(&mut self) {
        self.asked.clear();
    }

    /// When the next handshake is due.
    pub fn due(&self, checks: PeerChecks) -> Option<Duration> {
        self.wanted(checks).map(|asked| self.due_of(&asked.target.server, checks)).min()
    }

    /// Whom to dial now, if anybody; that counts as done.
    pub fn next(&mut self, checks: PeerChecks, now: Duration) -> Option<Target> {
        let due = self.wanted(checks).filter(|asked| self.due_of(&asked.target.server, checks) <= now);
        // Who has no answer to the question comes first, then who waits longest.
        let order = |asked: &&Asked| {
            let answered = asked.told.as_ref().is_some_and(|(question, _)| *question == asked.target.question);
            (answered, self.dialled.get(&asked.target.server).copied())
        };
        let target = due.min_by_key(order)?.target.clone();
        self.dialled.retain(|_, at| now < *at + every(checks));
        self.dialled.insert(target.server.clone(), now);
        Some(target)
    }

    /// What came of a handshake, if it is news.
    pub fn seen(&mut self, seen: Seen) -> Option<Seen> {
        let asked = self.asked.iter_mut().find(|asked| asked.target.server == seen.server)?;
        // Something changed there meanwhile, and this may be from before.
        if asked.target.question != seen.question {
            return None;
        }
        let told = Some((seen.question, seen.outcome.clone()));
        let news = asked.told != told;
        asked.told = told;
        news.then_some(seen)
    }

    fn wanted(&self, checks: PeerChecks) -> impl Iterator<Item = &Asked> {
        self.asked.iter().take(checks.count as usize)
    }

    fn due_of(&self, server: &ServerName, checks: PeerChecks) -> Duration {
        let own = self.dialled.get(server).map(|at| *at + every(checks));
        let any = self.dialled.values().max().map(|at| *at + pause(checks));
        own.into_iter().chain(any).fold(self.from, Duration::max)
    }
}

fn every(checks: PeerChecks) -> Duration {
    span(checks.every)
}

/// Between two handshakes with whomever.
fn pause(checks: PeerChecks) -> Duration {
    span(checks.every) / checks.count.max(1)
}

fn span(span: Span) -> Duration {
    Duration::from_secs(span.as_seconds().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, question: u8) -> Target {
        Target {
            server: name.parse().expect("a name"),
            fqdn: format!("{name}.contoso.test").to_lowercase(),
            question: Sha256([question; 32]),
        }
    }

    fn seen(target: &Target, outcome: ProbeOutcome) -> Seen {
        Seen { server: target.server.clone(), question: target.question, outcome }
    }

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// Asks as soon as something is due, until `end`; the second and the server of each handshake.
    fn dialled(peers: &mut Peers, checks: PeerChecks, end: u64) -> Vec<(u64, String)> {
        let mut dialled = Vec::new();
        while let Some(due) = peers.due(checks).filter(|due| *due < second(end)) {
            let target = peers.next(checks, due).expect("it is due");
            dialled.push((due.as_secs(), target.server.to_string()));
        }
        dialled
    }

    #[test]
    fn each_is_dialled_once_in_five_minutes_and_one_after_the_other() {
        let (mut peers, checks) = (Peers::default(), PeerChecks::default());
        assert_eq!(peers.due(checks), None);
        peers.asked(vec![target("EX2", 1), target("EX3", 1)], checks, 0.5, second(0));
        let expected = [(50, "EX2"), (150, "EX3"), (350, "EX2"), (450, "EX3"), (650, "EX2")];
        let found = dialled(&mut peers, checks, 700);
        assert_eq!(found, expected.map(|(at, name)| (at, name.to_owned())));
    }

    #[test]
    fn however_often_a_controller_asks_nobody_is_dialled_more_often() {
        let (mut peers, checks) = (Peers::default(), PeerChecks::default());
        let mut found = Vec::new();
        for round in 0..600_u64 {
            // Another question each second, another name each third, and a session begun anew now and then.
            if round % 7 == 0 {
                peers.anew();
            }
            let names = [format!("EX{}", round % 3), "EX9".to_owned()];
            let wanted = names.iter().map(|name| target(name, u8::try_from(round % 256).expect("a byte"))).collect();
            peers.asked(wanted, checks, 0.0, second(round));
            while let Some(target) = peers.next(checks, second(round)) {
                found.push((round, target.server.to_string()));
            }
        }
        assert!(found.len() <= 7, "one in 100 s: {found:?}");
        for (at, name) in &found {
            assert!(!found.iter().any(|(other, same)| same == name && at < other && other - at < 300), "{found:?}");
        }
    }

    #[test]
    fn the_policy_says_how_many_and_none_is_none() {
        let mut peers = Peers::default();
        let checks = |count| PeerChecks { count, every: Span::seconds(10) };
        peers.asked(vec![target("EX2", 1), target("EX3", 1), target("EX4", 1)], checks(2), 0.0, second(0));
        assert_eq!(peers.due(checks(0)), None);
        let names: Vec<String> = dialled(&mut peers, checks(2), 20).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["EX2", "EX3", "EX2", "EX3"], "the nearest");
    }

    #[test]
    fn what_was_told_is_not_told_again_until_it_changes_or_is_asked_anew() {
        let (mut peers, checks) = (Peers::default(), PeerChecks::default());
        let ex2 = target("EX2", 1);
        peers.asked(vec![ex2.clone()], checks, 0.0, second(0));
        let refused = || seen(&ex2, ProbeOutcome::Refused);
        assert_eq!(peers.seen(refused()), Some(refused()));
        assert_eq!(peers.seen(refused()), None);
        let other = seen(&ex2, ProbeOutcome::Unreachable("timed out".to_owned()));
        assert_eq!(peers.seen(other.clone()), Some(other));
        assert_eq!(peers.seen(refused()), Some(refused()));
        // Another question: the same answer is told; one that was under way when it was asked is from before.
        let again = target("EX2", 2);
        peers.asked(vec![again.clone()], checks, 0.0, second(1));
        assert_eq!(peers.seen(refused()), None);
        let answer = seen(&again, ProbeOutcome::Refused);
        assert_eq!(peers.seen(answer.clone()), Some(answer.clone()));
        peers.anew();
        assert_eq!(peers.seen(answer.clone()), None, "nobody asks");
        peers.asked(vec![again], checks, 0.0, second(2));
        assert_eq!(peers.seen(answer.clone()), Some(answer), "to a new session");
    }

    #[test]
    fn who_has_no_answer_yet_comes_first() {
        let (mut peers, checks) = (Peers::default(), PeerChecks { count: 3, every: Span::seconds(3) });
        peers.asked(vec![target("EX2", 1), target("EX3", 1)], checks, 0.0, second(0));
        peers.next(checks, second(0)).expect("EX2");
        peers.seen(seen(&target("EX2", 1), ProbeOutcome::Refused));
        peers.next(checks, second(1)).expect("EX3");
        peers.seen(seen(&target("EX3", 1), ProbeOutcome::Refused));
        peers.asked(vec![target("EX2", 1), target("EX3", 2)], checks, 0.0, second(1));
        assert_eq!(peers.next(checks, second(9)).expect("due").server.as_str(), "EX3");
    }
}
