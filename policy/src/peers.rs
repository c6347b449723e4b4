//! Peer checks: what other servers are shown on a server's 444 (rule of restraint 11).
//!
//! Their front ends proxy to it. What a host sees of itself says nothing of a firewall between two servers (F31), of TLS policies that
//! do not fit each other (F29), or of something between them that shows a certificate of its own (G7). Each server is looked at by at
//! most [`MAX_PEERS`] others, which make one plain handshake each and tell what they were shown; here is judged what that means.
//!
//! A peer answers a [question](Target::question): its word counts as long as it is about what stands on 444 now, and a word from before
//! a change says nothing.

use serde::{Deserialize, Serialize};

use crate::bound::Bound;
use crate::finding::{Code, Finding};
use crate::id::{CertificateId, PlanId, ServerName, Sha256, Thumbprint};
use crate::report::{BACK_END_PORT, Probe, ProbeOutcome, ProbePath, Sight};

/// The most servers that look at one server's 444, whatever a policy or a controller says.
pub const MAX_PEERS: usize = 3;

/// A server whose 444 another one is asked to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub server: ServerName,
    /// Its full name, which is resolved and dialled.
    pub fqdn: String,
    /// What is asked: [`question`].
    pub question: Sha256,
}

/// What a peer was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// By whom.
    pub server: ServerName,
    /// To which question.
    pub question: Sha256,
    /// What came of the handshake.
    pub outcome: ProbeOutcome,
}

/// A server that is asked to look, and its last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Who looks.
    pub server: ServerName,
    /// What it said last; `None`: nothing yet.
    pub word: Option<Word>,
    /// Its agent is connected: what it said last still holds, or it would have said something else.
    pub heard: bool,
}

/// The last word of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// To which question.
    pub question: Sha256,
    /// What it was shown.
    pub outcome: ProbeOutcome,
    /// What it had been shown when it was last asked something else.
    pub before: Option<ProbeOutcome>,
}

/// Names what peers are asked: does the server show what its record names, since this plan was done, its last? It changes with either, so
/// that nobody's answer is older than what it is about, and no two clocks are compared.
pub fn question(record: Option<Thumbprint>, done: Option<PlanId>) -> Sha256 {
    let record = record.map(|thumbprint| thumbprint.to_string()).unwrap_or_default();
    let done = done.map(|plan| plan.to_string()).unwrap_or_default();
    Sha256::of(format!("{record}\n{done}").as_bytes())
}

/// Whether those who look confirm what a plan did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Nobody can say: there is no peer, or those that there are did not reach the server before either.
    NoPeer,
    /// Some have not answered yet, and nobody who did objects.
    Waits {
        /// Who has not.
        silent: Vec<ServerName>,
        /// Who was shown it.
        agreed: Vec<ServerName>,
    },
    /// These were shown it, and nobody who saw the server before sees it worse.
    Agree(Vec<ServerName>),
    /// This one saw the server before, and is not shown what its record names now.
    Differs {
        /// Who.
        peer: ServerName,
        /// What it was shown.
        outcome: ProbeOutcome,
    },
}

/// Judges the words of peers.
pub fn agreement<'a>(peers: impl IntoIterator<Item = &'a Peer>, question: Sha256, certificate: CertificateId) -> Agreement {
    let answered = |peer: &Peer| peer.word.clone().filter(|word| word.question == question);
    let agrees = |outcome: &ProbeOutcome| *outcome == ProbeOutcome::Presented { certificate };
    let saw = |outcome: &ProbeOutcome| matches!(outcome, ProbeOutcome::Presented { .. });
    let mut agreed = Vec::new();
    let mut silent = Vec::new();
    for peer in peers {
        match answered(peer) {
            None => silent.push(peer.server.clone()),
            Some(word) if agrees(&word.outcome) => agreed.push(peer.server.clone()),
            // A firewall that stood before is no fault of the plan; it is a finding of its own.
            Some(Word { before: Some(before), outcome, .. }) if !saw(&before) && !saw(&outcome) => {}
            Some(Word { outcome, .. }) => return Agreement::Differs { peer: peer.server.clone(), outcome },
        }
    }
    match (silent.is_empty(), agreed.is_empty()) {
        (false, _) => Agreement::Waits { silent, agreed },
        (true, false) => Agreement::Agree(agreed),
        (true, true) => Agreement::NoPeer,
    }
}

/// What peers are shown that the server itself is not. Nothing of a server whose own handshake does not show what its record names:
/// the cause is there, and has a finding of its own. Nor by the word of a peer that is not heard: it may be old.
pub fn findings(sight: &Sight, peers: &[Peer], question: Sha256) -> Vec<Finding> {
    let Some(certificate) = shown(sight) else { return Vec::new() };
    let server = &sight.report.host.name;
    let (mut unreached, mut otherwise) = (Vec::new(), Vec::new());
    for Peer { server: peer, word, heard } in peers {
        let Some(Word { outcome, .. }) = word.as_ref().filter(|word| *heard && word.question == question) else { continue };
        let fact = format!("{peer} {}", in_words(server, outcome, certificate));
        match outcome {
            ProbeOutcome::Presented { certificate: shown } if *shown == certificate => {}
            ProbeOutcome::Presented { .. } => otherwise.push(fact),
            ProbeOutcome::NoHandshake(_) | ProbeOutcome::Refused | ProbeOutcome::Unreachable(_) | ProbeOutcome::Elsewhere(_) => {
                unreached.push(fact);
            }
        }
    }
    let found = [(Code::Unreached, unreached), (Code::SeenOtherwise, otherwise)];
    found.into_iter().filter(|(_, evidence)| !evidence.is_empty()).map(|(code, evidence)| Finding { code, evidence }).collect()
}

/// The certificate of 444, when record, store and key hold together and a handshake over loopback shows it.
pub fn shown(sight: &Sight) -> Option<CertificateId> {
    let Bound::Whole { certificate, .. } = Bound::of(sight) else { return None };
    let certificate = certificate.id();
    let loopback = |probe: &&Probe| probe.port == BACK_END_PORT && probe.path == ProbePath::Loopback;
    let mut probes = sight.report.probes.iter().filter(loopback);
    probes.any(|probe| probe.outcome == ProbeOutcome::Presented { certificate }).then_some(certificate)
}

/// What a peer was shown on the 444 of `server`, for people; `certificate` is what it should be.
pub fn in_words(server: &ServerName, outcome: &ProbeOutcome, certificate: CertificateId) -> String {
    let port = BACK_END_PORT;
    match outcome {
        ProbeOutcome::Presented { certificate: shown } if *shown == certificate => {
            format!("is shown the certificate of {server} on {port}")
        }
        ProbeOutcome::Presented { certificate: shown } => {
            format!("is shown another certificate on {port} of {server}, SHA-256 {}", shown.short())
        }
        ProbeOutcome::Refused => format!("finds nobody on {port} of {server}"),
        ProbeOutcome::NoHandshake(why) => format!("reaches {port} of {server}, and the handshake fails: {why}"),
        ProbeOutcome::Unreachable(why) => format!("does not reach {port} of {server}: {why}"),
        ProbeOutcome::Elsewhere(address) => format!("is led by the name of {server} to itself, {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: CertificateId = Sha256([7; 32]);
    const ASKED: Sha256 = Sha256([1; 32]);

    fn shown(certificate: CertificateId) -> ProbeOutcome {
        ProbeOutcome::Presented { certificate }
    }

    fn peer(name: &str, question: Sha256, outcome: ProbeOutcome, before: Option<ProbeOutcome>) -> Peer {
        Peer { server: name.parse().expect("a name"), word: Some(Word { question, outcome, before }), heard: true }
    }

    fn names(names: &[&str]) -> Vec<ServerName> {
        names.iter().map(|name| name.parse().expect("a name")).collect()
    }

    #[test]
    fn peers_agree_when_each_that_saw_the_server_is_shown_what_its_record_names() {
        let agree = |peers: &[Peer]| agreement(peers, ASKED, OURS);
        assert_eq!(agree(&[]), Agreement::NoPeer);
        let (good, old) = (shown(OURS), shown(Sha256([9; 32])));
        let ex2 = peer("EX2", ASKED, good.clone(), Some(old.clone()));
        assert_eq!(agree(std::slice::from_ref(&ex2)), Agreement::Agree(names(&["EX2"])));
        let silent = Peer { server: "EX3".parse().expect("a name"), word: None, heard: true };
        let waits = || Agreement::Waits { silent: names(&["EX3"]), agreed: names(&["EX2"]) };
        assert_eq!(agree(&[ex2.clone(), silent]), waits());
        let stale = peer("EX3", Sha256([2; 32]), good, None);
        assert_eq!(agree(&[ex2.clone(), stale]), waits(), "a word about what stood there before");
        for worse in [ProbeOutcome::Refused, ProbeOutcome::NoHandshake("alert".to_owned()), old.clone()] {
            let ex3 = peer("EX3", ASKED, worse.clone(), Some(old.clone()));
            let differs = Agreement::Differs { peer: "EX3".parse().expect("a name"), outcome: worse };
            assert_eq!(agree(&[ex2.clone(), ex3]), differs);
        }
    }

    #[test]
    fn a_peer_that_never_reached_the_server_neither_confirms_nor_blocks() {
        let blocked = || peer("EX3", ASKED, ProbeOutcome::Refused, Some(ProbeOutcome::Unreachable("timed out".to_owned())));
        assert_eq!(agreement(&[blocked()], ASKED, OURS), Agreement::NoPeer);
        let ex2 = peer("EX2", ASKED, shown(OURS), None);
        assert_eq!(agreement(&[blocked(), ex2], ASKED, OURS), Agreement::Agree(names(&["EX2"])));
        // Asked for the first time: nobody knows that it was so before.
        let first = peer("EX3", ASKED, ProbeOutcome::Refused, None);
        assert!(matches!(agreement(&[first], ASKED, OURS), Agreement::Differs { .. }));
        // What it is shown now is not what it did not see before.
        let otherwise = peer("EX3", ASKED, shown(Sha256([9; 32])), Some(ProbeOutcome::Refused));
        assert!(matches!(agreement(&[otherwise], ASKED, OURS), Agreement::Differs { .. }));
    }

    #[test]
    fn a_question_changes_with_the_certificate_and_with_the_plan() {
        let (one, other) = (Some(Thumbprint([1; 20])), Some(Thumbprint([2; 20])));
        let plan = Some(Sha256([3; 32]));
        let questions =
            [question(None, None), question(one, None), question(other, None), question(one, plan), question(None, plan)];
        let unique: std::collections::BTreeSet<_> = questions.into_iter().collect();
        assert_eq!(unique.len(), questions.len());
        assert_eq!(question(one, plan), question(one, plan));
    }
}
