//! Documents: by whose word the agent acts, and what holds it. They prove themselves, whoever brings them.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use policy::id::Sha256;
use policy::trust::{Kind, Root};
use proto::agent::EmergencyStop;
use proto::agent::open_response::Message as Down;
use proto::signed::{SignedBytes, SigningKey};
use tests::estate::policy;
use tests::papers;

use super::Attack;
use super::thief::Thief;

/// A policy of this text with these signatures.
fn of_policy(thief: &Thief, body: Vec<u8>, kind: Kind, keys: &[&SigningKey]) -> Result<String> {
    thief.document(Down::Policy(papers::signed(kind, body, keys)?.into()))
}

/// The next policy, in mode act and with these lines, signed by both.
fn signed_policy(thief: &Thief, change: impl FnOnce(String) -> String) -> Result<String> {
    let text = String::from_utf8(thief.next_policy(&policy("act")))?;
    of_policy(thief, change(text).into_bytes(), Kind::Policy, &[&thief.anna, &thief.ben])
}

fn of_trust(thief: &Thief, signed: SignedBytes) -> Result<String> {
    thief.document(Down::Trust(signed.into()))
}

/// The next trust document, with these signatures.
fn next_trust(thief: &Thief, keys: &[&SigningKey]) -> Result<String> {
    of_trust(thief, papers::signed(Kind::Trust, thief.next_trust()?.to_bytes(), keys)?)
}

/// A yes of this person to going on after the stop that is in force.
fn resume(thief: &Thief, person: &str, key: &SigningKey) -> Result<String> {
    let resume = papers::resume(person, &thief.stops()?)?;
    thief.document(Down::Resume(papers::signed(Kind::Resume, resume.to_bytes(), &[key])?.into()))
}

/// The policy, the trust document, the stop.
pub(super) static ATTACKS: [Attack; 19] = [
    Attack {
        tries: "writes a policy and signs it with nothing",
        refused: "expected at least one signature that holds over these bytes, found none among 0",
        by: |thief| of_policy(thief, thief.next_policy(&policy("act")), Kind::Policy, &[]),
    },
    Attack {
        tries: "signs it with a key of his own",
        refused: "approvers of the policy: expected 2, found 0",
        by: |thief| of_policy(thief, thief.next_policy(&policy("act")), Kind::Policy, &[&thief.stranger]),
    },
    Attack {
        tries: "has one of two approvers for it",
        refused: "approvers of the policy: expected 2, found 1",
        by: |thief| of_policy(thief, thief.next_policy(&policy("act")), Kind::Policy, &[&thief.anna]),
    },
    Attack {
        tries: "has one of them twice, by two keys",
        refused: "approvers of the policy: expected 2, found 1",
        by: |thief| of_policy(thief, thief.next_policy(&policy("act")), Kind::Policy, &[&thief.anna, &thief.second]),
    },
    Attack {
        tries: "passes signatures over an approval off as ones over a policy",
        refused: "expected at least one signature that holds over these bytes, found none among 2",
        by: |thief| of_policy(thief, thief.next_policy(&policy("act")), Kind::Approval, &[&thief.anna, &thief.ben]),
    },
    Attack {
        tries: "alters a policy that was signed",
        refused: "expected at least one signature that holds over these bytes, found none among 2",
        by: |thief| {
            let mut signed = thief.policies[0].clone();
            signed.body.extend_from_slice(b"\n");
            thief.document(Down::Policy(signed.into()))
        },
    },
    Attack {
        tries: "brings back an older policy that was genuine",
        refused: "version of the policy: expected above 2, found 1",
        by: |thief| thief.document(Down::Policy(thief.policies[1].clone().into())),
    },
    Attack {
        tries: "has approvers who sign two policies of one version",
        refused: "ALARM: there are two documents for version 2 of the policy",
        by: |thief| signed_policy(thief, |text| text.replace("version = 3", "version = 2")),
    },
    Attack {
        tries: "has a policy of another estate by the same approvers",
        refused: "estate of the policy: expected contoso, found fabrikam",
        by: |thief| signed_policy(thief, |text| text.replace("contoso", "fabrikam")),
    },
    Attack {
        tries: "has the next version of a policy that was never in force here",
        refused: "policy before version 3: expected ",
        by: |thief| {
            let held = thief.policies[0].id().to_string();
            let other = thief.policies[1].id().to_string();
            signed_policy(thief, |text| text.replace(&held, &other))
        },
    },
    Attack {
        tries: "has a key in a signed policy that this agent does not know",
        refused: "signed policy does not hold",
        by: |thief| signed_policy(thief, |text| text.replace("mode =", "force = true\nmode =")),
    },
    Attack {
        tries: "names himself in a trust document of his own signature",
        refused: "root signatures of the version held: expected 1, found 0",
        by: |thief| next_trust(thief, &[&thief.stranger]),
    },
    Attack {
        tries: "has approvers sign it",
        refused: "root signatures of the version held: expected 1, found 0",
        by: |thief| next_trust(thief, &[&thief.anna, &thief.ben]),
    },
    Attack {
        tries: "puts a root of his own in it and signs with that",
        refused: "root signatures of the version held: expected 1, found 0",
        by: |thief| {
            let mut document = thief.next_trust()?;
            document.root = Root { keys: BTreeSet::from([thief.stranger.id()]), threshold: 1 };
            of_trust(thief, papers::signed(Kind::Trust, document.to_bytes(), &[&thief.stranger])?)
        },
    },
    Attack {
        tries: "adds his CA and his name to one that the root signed",
        refused: "expected at least one signature that holds over these bytes, found none among 1",
        by: |thief| {
            let mut document = thief.next_trust()?;
            document.ca.insert(Sha256::of(b"the thief's CA"));
            of_trust(thief, SignedBytes { body: document.to_bytes(), signatures: thief.trust[0].signatures.clone() })
        },
    },
    Attack {
        tries: "brings back an older trust document that was genuine",
        refused: "version of the trust document: expected above 2, found 1",
        by: |thief| of_trust(thief, thief.trust[1].clone()),
    },
    Attack {
        tries: "has two trust documents of one version",
        refused: "ALARM: there are two documents for version 2 of the trust document",
        by: |thief| {
            let mut document = thief.next_trust()?;
            document.version -= 1;
            document.ca.insert(Sha256::of(b"the thief's CA"));
            of_trust(thief, papers::signed(Kind::Trust, document.to_bytes(), &[&thief.stranger])?)
        },
    },
    Attack {
        tries: "has the trust document of another estate",
        refused: "estate of the trust document: expected contoso, found fabrikam",
        by: |thief| {
            let mut document = thief.next_trust()?;
            document.estate = "fabrikam".parse()?;
            of_trust(thief, papers::signed(Kind::Trust, document.to_bytes(), &[&thief.stranger])?)
        },
    },
    Attack {
        tries: "stops another estate's hosts, and hopes that this one takes it for its own",
        refused: "expected an emergency stop or its end for estate contoso, found one for fabrikam",
        by: |thief| {
            let mut stop = papers::stop("eve")?;
            stop.estate = "fabrikam".parse()?;
            thief.document(Down::Stop(EmergencyStop { body: stop.to_bytes() }))
        },
    },
];

/// No word of it, for it is no wrong; but the host says that it is held.
const STAYS: &str = "the emergency stop stays in force";

/// What is not refused changes nothing: that the agent holds what it held was looked at.
fn stays(said: String) -> String {
    if said.contains("let emergency stops go") { said } else { STAYS.to_owned() }
}

/// What would let the hosts go after a stop.
pub(super) static RESUMES: [Attack; 5] = [
    Attack {
        tries: "lets a stopped host go by his own word",
        refused: "yes to going on of eve: expected a signature by an approver of that name, found none that counts",
        by: |thief| resume(thief, "eve", &thief.stranger),
    },
    Attack {
        tries: "lets it go in the name of an approver",
        refused: "yes to going on of ben: expected a signature by an approver of that name, found none that counts",
        by: |thief| resume(thief, "ben", &thief.anna),
    },
    Attack {
        tries: "lets it go by one of two approvers",
        refused: STAYS,
        by: |thief| resume(thief, "anna", &thief.anna).map(stays),
    },
    Attack {
        tries: "uses a yes that was for another stop",
        refused: STAYS,
        by: |thief| {
            let other = BTreeSet::from([Sha256::of(b"another stop")]);
            let resume = papers::resume("ben", &other)?;
            thief.document(Down::Resume(papers::signed(Kind::Resume, resume.to_bytes(), &[&thief.ben])?.into())).map(stays)
        },
    },
    Attack {
        tries: "adds the stop to a yes that was signed",
        refused: "the yes to going on is not believed",
        by: |thief| {
            let other = papers::resume("ben", &BTreeSet::from([Sha256::of(b"another stop")]))?;
            let mut signed = papers::signed(Kind::Resume, other.to_bytes(), &[&thief.ben])?;
            signed.body = papers::resume("ben", &thief.stops()?).context("a yes")?.to_bytes();
            thief.document(Down::Resume(signed.into()))
        },
    },
];
