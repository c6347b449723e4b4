//! Who may do what: one table.

use std::collections::BTreeSet;
use std::str::FromStr;

use policy::id::{EstateName, Person};
use policy::trust::PersonRole;
use proto::names::Peer;
use tonic::Status;

use crate::listen::Caller;

/// What an operator may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Look at everything.
    Read,
    /// Hand in a document that somebody signed.
    Submit,
    /// Say no to a plan: narrows, and so needs a role only (TRUST T7).
    Reject,
    /// Stop servers: narrows, too, and must not wait for anybody (DESIGN 6 rule 8).
    Stop,
    /// Say that one is at what wants somebody, or see whether people are told.
    Answer,
    /// Give a plan up whose fate is unknown: others of its group have their turn then.
    Abandon,
    /// Send a machine away: narrows.
    SendAway,
    /// Let a host in, or decide not to wait for what one has to tell.
    Token,
    /// Put a trust document in force.
    Trust,
    /// Make or end ways in for oneself: links, a password, tokens.
    OwnAccess,
    /// See how the controller is configured.
    Settings,
    /// See everybody's ways in.
    Ways,
    /// End somebody else's.
    EndAccess,
}

impl Right {
    /// What a program may be given by a token. No program makes a way in, lets a document into force, or decides what a person must.
    const FOR_PROGRAMS: [(&'static str, Self); 7] = [
        ("read", Self::Read),
        ("submit", Self::Submit),
        ("answer", Self::Answer),
        ("reject", Self::Reject),
        ("stop", Self::Stop),
        ("send-away", Self::SendAway),
        ("enrol", Self::Token),
    ];
}

/// What a token of a program may do, of what its maker may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(BTreeSet<Right>);

impl Scope {
    /// Whether this is in it.
    pub fn holds(&self, right: Right) -> bool {
        self.0.contains(&right)
    }

    /// What of it is more than this role has.
    pub fn beyond(&self, role: PersonRole) -> Option<&'static str> {
        Right::FOR_PROGRAMS.into_iter().find(|(_, right)| self.holds(*right) && !may(role, *right)).map(|(word, _)| word)
    }
}

impl FromStr for Scope {
    type Err = String;

    /// Words with commas between.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = |word: &str| {
            let found = Right::FOR_PROGRAMS.into_iter().find(|(known, _)| *known == word.trim());
            found.map(|(_, right)| right).ok_or_else(|| {
                let known: Vec<&str> = Right::FOR_PROGRAMS.into_iter().map(|(word, _)| word).collect();
                format!("scope: expected some of {}, found {word:?}", known.join(", "))
            })
        };
        text.split(',').map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> =
            Right::FOR_PROGRAMS.into_iter().filter(|(_, right)| self.holds(*right)).map(|(word, _)| word).collect();
        f.pad(&words.join(","))
    }
}

/// The table. A role is one that stands in the certificate of whoever asks.
pub(crate) fn may(role: PersonRole, right: Right) -> bool {
    match right {
        Right::Read | Right::OwnAccess => true,
        // What is handed in carries its own authority: a signature counts or does not, whoever brings it, and a document that was
        // signed is meant to be handed in. So that an approver needs no second credential, everybody may.
        Right::Submit => true,
        Right::Reject | Right::Stop | Right::SendAway | Right::Answer => {
            matches!(role, PersonRole::Operator | PersonRole::Approver | PersonRole::Admin)
        }
        Right::Settings => role != PersonRole::Viewer,
        Right::Abandon => matches!(role, PersonRole::Approver | PersonRole::Admin),
        Right::Ways => matches!(role, PersonRole::Auditor | PersonRole::Admin),
        // The first trust document is signed by nobody but itself, and a token lets a machine in: neither carries its own authority.
        Right::Token | Right::Trust | Right::EndAccess => role == PersonRole::Admin,
    }
}

/// The role in which somebody asks.
pub(super) fn role(caller: Option<&Caller>) -> Option<PersonRole> {
    match &caller?.identity.as_ref()?.peer {
        Peer::Operator { role, .. } => Some(*role),
        Peer::Agent { .. } => None,
    }
}

/// Who asks, if that person may do this.
pub(super) fn caller(caller: Option<&Caller>, estate: &EstateName, right: Right) -> Result<Person, Status> {
    let Some(identity) = caller.and_then(|caller| caller.identity.as_ref()) else {
        return Err(Status::unauthenticated("expected an operator's certificate or a token, found none"));
    };
    match &identity.peer {
        Peer::Operator { estate: own, .. } | Peer::Agent { estate: own, .. } if own != estate => {
            Err(Status::unauthenticated(format!("expected an operator of estate {estate}, found one of {own}")))
        }
        Peer::Agent { server, .. } => {
            Err(Status::permission_denied(format!("expected an operator's certificate, found the agent's of {server}")))
        }
        Peer::Operator { person, .. } if identity.scope.as_ref().is_some_and(|scope| !scope.holds(right)) => {
            let scope = identity.scope.as_ref().map(ToString::to_string).unwrap_or_default();
            Err(Status::permission_denied(format!("a token of {person} asks, for {scope} only: it may not do this")))
        }
        Peer::Operator { person, role, .. } if may(*role, right) => Ok(person.clone()),
        Peer::Operator { person, role, .. } => {
            let allowed: Vec<&str> =
                PersonRole::ALL.into_iter().filter(|role| may(*role, right)).map(PersonRole::as_str).collect();
            Err(Status::permission_denied(format!(
                "{person} asks as {}: expected one of {} for this",
                role.as_str(),
                allowed.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::id::Sha256;

    use super::*;
    use crate::listen::CallerIdentity;

    fn asking(uri: &str) -> Caller {
        let nobody = Sha256([0; 32]);
        let identity = CallerIdentity { peer: uri.parse().expect("a peer"), key_id: nobody, certificate: nobody, scope: None };
        Caller { address: ([127, 0, 0, 1], 1).into(), identity: Some(identity), key_exchange: None }
    }

    #[test]
    fn the_whole_table() {
        use PersonRole::{Admin, Approver, Auditor, Operator, Viewer};
        let table = [
            (Right::Read, &[Viewer, Operator, Approver, Auditor, Admin][..]),
            (Right::Submit, &[Viewer, Operator, Approver, Auditor, Admin]),
            (Right::Reject, &[Operator, Approver, Admin]),
            (Right::Stop, &[Operator, Approver, Admin]),
            (Right::Answer, &[Operator, Approver, Admin]),
            (Right::Abandon, &[Approver, Admin]),
            (Right::SendAway, &[Operator, Approver, Admin]),
            (Right::Token, &[Admin]),
            (Right::Trust, &[Admin]),
            (Right::OwnAccess, &[Viewer, Operator, Approver, Auditor, Admin]),
            (Right::Settings, &[Operator, Approver, Auditor, Admin]),
            (Right::Ways, &[Auditor, Admin]),
            (Right::EndAccess, &[Admin]),
        ];
        for (right, allowed) in table {
            for role in PersonRole::ALL {
                assert_eq!(may(role, right), allowed.contains(&role), "{role:?} {right:?}");
            }
        }
    }

    #[test]
    fn who_asks_is_known_by_the_certificate_and_of_this_estate() {
        let estate = "contoso".parse().expect("a name");
        let ask = |uri: &str, right| caller(Some(&asking(uri)), &estate, right);
        assert_eq!(ask("backstay://contoso/operator/anna/operator", Right::Reject).expect("may").as_str(), "anna");
        let code = |uri: &str, right| ask(uri, right).expect_err("must be refused").code();
        assert_eq!(code("backstay://contoso/operator/anna/viewer", Right::Reject), tonic::Code::PermissionDenied);
        assert_eq!(code("backstay://fabrikam/operator/anna/admin", Right::Read), tonic::Code::Unauthenticated);
        assert_eq!(code("backstay://fabrikam/agent/EX1", Right::Read), tonic::Code::Unauthenticated);
        assert_eq!(code("backstay://contoso/agent/EX1", Right::Read), tonic::Code::PermissionDenied);
        assert_eq!(caller(None, &estate, Right::Read).expect_err("nobody").code(), tonic::Code::Unauthenticated);
        let refused = ask("backstay://contoso/operator/anna/viewer", Right::Token).expect_err("must be refused");
        assert_eq!(refused.message(), "anna asks as viewer: expected one of admin for this");
    }

    #[test]
    fn a_token_narrows_whoever_made_it() {
        let estate = "contoso".parse().expect("a name");
        let asks = |role: &str, scope: &str, right| {
            let mut asking = asking(&format!("backstay://contoso/operator/anna/{role}"));
            asking.identity.as_mut().expect("somebody").scope = Some(scope.parse().expect("a scope"));
            caller(Some(&asking), &estate, right)
        };
        assert!(asks("admin", "read,answer", Right::Answer).is_ok());
        let refused = asks("admin", "answer, read", Right::Stop).expect_err("must be refused");
        assert_eq!(refused.message(), "a token of anna asks, for read,answer only: it may not do this");
        assert!(asks("viewer", "read,stop", Right::Stop).is_err(), "not more than its maker");
        for right in [Right::Trust, Right::Abandon, Right::OwnAccess, Right::Settings, Right::Ways, Right::EndAccess] {
            assert!(asks("admin", "read,submit,answer,reject,stop,send-away,enrol", right).is_err(), "{right:?}");
        }
        for other in ["", "read,", "trust", "read stop", "Read"] {
            assert!(other.parse::<Scope>().is_err(), "{other}");
        }
        assert_eq!("read,enrol".parse::<Scope>().expect("a scope").beyond(PersonRole::Operator), Some("enrol"));
        assert_eq!("read,stop".parse::<Scope>().expect("a scope").beyond(PersonRole::Operator), None);
    }
}
