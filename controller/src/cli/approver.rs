//! What every command needs with which an approver signs: whose key it is, and the person's own yes at the terminal.

use std::collections::BTreeSet;
use std::io::{IsTerminal, stdin};

use policy::Timestamp;
use policy::id::{EstateName, KeyId, Person};
use policy::trust::TrustDocument;

use super::connection::Client;
use super::failure::{Doing, Exit, Failure};
use super::{Context, trust};

/// The trust document in force.
pub(super) async fn trust_in_force(client: &mut Client) -> Result<TrustDocument, Failure> {
    let signed = trust::in_force(client).await?;
    Ok(proto::signed::trust(&signed).doing(|| "checking the trust document".to_owned())?.value)
}

/// Whose key it is. This is only to sign under the right name: what counts is the trust document that each agent holds.
pub(super) fn owner(trust: &TrustDocument, estate: &EstateName, key: KeyId, now: Timestamp) -> Result<Person, Failure> {
    let denied = |why: String| Failure::new(Exit::Denied, "approving").because(why);
    if trust.estate != *estate {
        return Err(denied(format!("expected something of estate {}, found it of {estate}", trust.estate)));
    }
    let owner = trust.persons.iter().find(|(_, person)| person.keys.iter().any(|own| own.key == key));
    let Some((name, _)) = owner else {
        let missing =
            format!("expected a key of an approver, found key {key}, which nobody in trust version {} has", trust.version);
        return Err(denied(missing).next("is it the right file? `backstay trust show` lists persons and keys"));
    };
    if !trust.approvers(&BTreeSet::from([key]), now).contains(name) {
        let powerless =
            format!("expected a key of an approver that counts now, found one of {name} that does not (role, kind or end date)");
        return Err(denied(powerless).next("`backstay trust show` lists roles and end dates"));
    }
    Ok(name.clone())
}

/// Asks the person at the terminal, unless told not to.
pub(super) async fn agree(context: &mut Context, question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "signing: expected a person at the terminal, found none").next("add --yes"));
    }
    context.output.ask(question);
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.doing(|| "waiting for your answer".to_owned())?.doing(|| "reading your answer".to_owned())?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Error, "not agreed: nothing was signed"))
}

#[cfg(test)]
mod tests {
    use policy::trust::{KeyKind, PersonKey, PersonKeys, PersonRole, Root};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn trusting(key: KeyId, role: PersonRole) -> TrustDocument {
        let keys = vec![PersonKey { key, kind: KeyKind::File, until: at("2027-01-01T00:00:00Z") }];
        TrustDocument {
            estate: "contoso".parse().expect("a name"),
            version: 3,
            root: Root { threshold: 1, keys: BTreeSet::from([KeyId([9; 32])]) },
            persons: [("anna".parse().expect("a name"), PersonKeys { roles: [role].into(), keys })].into(),
            need: [].into(),
            browser: BTreeSet::new(),
            ca: BTreeSet::new(),
        }
    }

    #[test]
    fn only_the_key_of_an_approver_that_counts_now_signs() {
        let estate = "contoso".parse().expect("a name");
        let (key, other, now) = (KeyId([1; 32]), KeyId([2; 32]), at("2026-11-22T00:00:00Z"));
        let approver = trusting(key, PersonRole::Approver);
        assert_eq!(owner(&approver, &estate, key, now).expect("anna").as_str(), "anna");
        for (trust, key, now) in [
            (&approver, other, now),
            (&approver, key, at("2027-01-01T00:00:00Z")),
            (&trusting(key, PersonRole::Operator), key, now),
        ] {
            assert_eq!(owner(trust, &estate, key, now).expect_err("must not sign").exit(), Exit::Denied);
        }
        let elsewhere = "fabrikam".parse().expect("a name");
        assert_eq!(owner(&approver, &elsewhere, key, now).expect_err("another estate").exit(), Exit::Denied);
    }
}
