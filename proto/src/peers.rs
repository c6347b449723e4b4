//! Peer checks on their way: whom an agent is asked to look at, and what it was shown.

use std::net::IpAddr;

use policy::id::Sha256;
use policy::peers::{MAX_PEERS, Seen, Target};
use policy::report::ProbeOutcome;

use crate::agent;
use crate::agent::peer_seen::Outcome;
use crate::invalid::{self, Invalid, present};

/// The longest full name, in bytes (RFC 1035).
const MAX_NAME: usize = 255;

/// Those whom an agent is asked to look at, as they travel. Who calls itself by what is no name is left out: an agent would refuse it, and
/// the others with it.
pub fn asked(targets: Vec<Target>) -> agent::PeersAsked {
    let wire = |Target { server, fqdn, question }: Target| agent::PeerTarget {
        server: server.to_string(),
        fqdn,
        question: question.0.to_vec(),
    };
    agent::PeersAsked { targets: targets.into_iter().filter(|target| is_name(&target.fqdn)).map(wire).collect() }
}

/// Those whom an agent is asked to look at: servers with names, and not more of them than a thief could make a scan of.
///
/// # Errors
/// [`Invalid`] names the field.
pub fn targets(wire: agent::PeersAsked) -> Result<Vec<Target>, Invalid> {
    let agent::PeersAsked { targets } = wire;
    invalid::list("PeersAsked.targets", MAX_PEERS, targets, |wire| {
        let agent::PeerTarget { server, fqdn, question } = wire;
        Ok(Target {
            server: invalid::id("PeerTarget.server", &server)?,
            fqdn: full_name(fqdn)?,
            question: Sha256(invalid::exactly("PeerTarget.question", &question)?),
        })
    })
}

/// A name that is to be resolved: an address would lead where no name does.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && name.parse::<IpAddr>().is_err()
}

fn full_name(name: String) -> Result<String, Invalid> {
    if is_name(&name) {
        return Ok(name);
    }
    let found = name.chars().take(80).collect();
    Err(Invalid::Value {
        field: "PeerTarget.fqdn",
        expected: "a DNS name of at most 255 letters, digits, '-', '_' and '.'",
        found,
    })
}

impl From<Seen> for agent::PeerSeen {
    fn from(seen: Seen) -> Self {
        let Seen { server, question, outcome } = seen;
        Self {
            server: server.to_string(),
            question: question.0.to_vec(),
            outcome: Some(match outcome {
                ProbeOutcome::Presented { certificate } => Outcome::Presented(certificate.0.to_vec()),
                ProbeOutcome::Refused => Outcome::Refused(agent::Refused {}),
                ProbeOutcome::NoHandshake(why) => Outcome::NoHandshake(invalid::cut(why)),
                ProbeOutcome::Unreachable(why) => Outcome::Unreachable(invalid::cut(why)),
                ProbeOutcome::Elsewhere(address) => Outcome::Elsewhere(invalid::cut(address)),
            }),
        }
    }
}

impl TryFrom<agent::PeerSeen> for Seen {
    type Error = Invalid;

    fn try_from(wire: agent::PeerSeen) -> Result<Self, Invalid> {
        let agent::PeerSeen { server, question, outcome } = wire;
        Ok(Self {
            server: invalid::id("PeerSeen.server", &server)?,
            question: Sha256(invalid::exactly("PeerSeen.question", &question)?),
            outcome: match present("PeerSeen.outcome", outcome)? {
                Outcome::Presented(certificate) => {
                    ProbeOutcome::Presented { certificate: Sha256(invalid::exactly("PeerSeen.presented", &certificate)?) }
                }
                Outcome::Refused(agent::Refused {}) => ProbeOutcome::Refused,
                Outcome::NoHandshake(why) => ProbeOutcome::NoHandshake(invalid::text("PeerSeen.no_handshake", why)?),
                Outcome::Unreachable(why) => ProbeOutcome::Unreachable(invalid::text("PeerSeen.unreachable", why)?),
                Outcome::Elsewhere(address) => ProbeOutcome::Elsewhere(invalid::text("PeerSeen.elsewhere", address)?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(fqdn: &str) -> Target {
        Target { server: "EX2".parse().expect("a name"), fqdn: fqdn.to_owned(), question: Sha256([3; 32]) }
    }

    #[test]
    fn what_is_asked_and_what_was_seen_come_back() {
        let wanted = vec![target("ex2.contoso.test"), target("ex_3.contoso.test")];
        assert_eq!(targets(asked(wanted.clone())), Ok(wanted));
        let outcomes = [
            ProbeOutcome::Presented { certificate: Sha256([4; 32]) },
            ProbeOutcome::Refused,
            ProbeOutcome::NoHandshake("the handshake failed".to_owned()),
            ProbeOutcome::Unreachable("timed out".to_owned()),
            ProbeOutcome::Elsewhere("127.0.0.1".to_owned()),
        ];
        for outcome in outcomes {
            let seen = Seen { server: "EX2".parse().expect("a name"), question: Sha256([3; 32]), outcome };
            assert_eq!(Seen::try_from(agent::PeerSeen::from(seen.clone())), Ok(seen));
        }
    }

    #[test]
    fn an_agent_is_no_scanner() {
        let refused = |wanted: Vec<Target>| targets(asked(wanted)).expect_err("refused").to_string();
        assert!(refused(vec![target("ex2.contoso.test"); 4]).contains("PeersAsked.targets: expected at most 3 entries"));
        for name in ["10.0.0.1", "::1", "", "a b", "ex2/../", &"x".repeat(256)] {
            let wire = agent::PeerTarget { fqdn: name.to_owned(), ..asked(vec![target("a")]).targets[0].clone() };
            let error = targets(agent::PeersAsked { targets: vec![wire] }).expect_err("refused").to_string();
            assert!(error.contains("PeerTarget.fqdn"), "{name}");
            let both = vec![target(name), target("ex3.contoso.test")];
            assert_eq!(targets(asked(both)), Ok(vec![target("ex3.contoso.test")]), "one odd name takes nobody else with it");
        }
        let wire = agent::PeersAsked {
            targets: vec![agent::PeerTarget { question: vec![1; 31], ..asked(vec![target("a")]).targets[0].clone() }],
        };
        assert!(targets(wire).expect_err("refused").to_string().contains("PeerTarget.question"));
    }

    #[test]
    fn a_word_that_says_nothing_is_refused_with_its_field() {
        let seen = Seen { server: "EX2".parse().expect("a name"), question: Sha256([3; 32]), outcome: ProbeOutcome::Refused };
        let refused = |wire: agent::PeerSeen| Seen::try_from(wire).expect_err("refused").to_string();
        let good = agent::PeerSeen::from(seen);
        assert!(refused(agent::PeerSeen { outcome: None, ..good.clone() }).contains("PeerSeen.outcome"));
        assert!(refused(agent::PeerSeen { question: Vec::new(), ..good.clone() }).contains("PeerSeen.question"));
        assert!(
            refused(agent::PeerSeen { outcome: Some(Outcome::Presented(vec![1])), ..good.clone() })
                .contains("PeerSeen.presented")
        );
        assert!(refused(agent::PeerSeen { server: "a b".to_owned(), ..good }).contains("PeerSeen.server"));
    }
}
