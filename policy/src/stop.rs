//! The emergency stop (rule of restraint 8, TRUST T7): one operator says that nothing is to be done, in the estate or on some of its
//! servers, and that holds until approvers say that work may go on.
//!
//! A stop only narrows. So it needs no signature, and a controller that lies with it can do no more than keep hosts from working. Going on
//! widens: it takes signatures of approvers, over the very stops that they list.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{EstateName, Person, ServerName, Sha256};
use crate::trust::{Class, DocumentError, MAX_BYTES, TrustDocument, Verified, wrong};

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 200;

/// The most stops that are in force at once, and that one yes to going on may list.
pub const MAX_STOPS: usize = 64;

/// A stop's identity: SHA-256 of its bytes.
pub type StopId = Sha256;

/// An operator's word that nothing is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The estate.
    pub estate: EstateName,
    /// Which servers; `None` for all, and for those that join later.
    pub servers: Option<BTreeSet<ServerName>>,
    /// Who stopped them.
    pub person: Person,
    /// Why, for whoever finds them stopped.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Stop {
    /// Reads a stop, strictly.
    ///
    /// # Errors
    /// [`DocumentError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        let stop: Self = read(bytes)?;
        reason("reason of a stop", &stop.reason)?;
        if stop.servers.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(wrong("servers of a stop", "at least one, or none named for the whole estate", "none"));
        }
        Ok(stop)
    }

    /// The bytes of the stop, as they are named once and never written again.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a stop is plain data")
    }

    /// Whether it holds this server.
    pub fn covers(&self, server: &ServerName) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains(server))
    }

    /// In one line, for people: by whom, since when, why.
    pub fn line(&self) -> String {
        let Self { person, at, reason, .. } = self;
        format!("{person} at {at}: {reason}")
    }
}

/// An approver's yes to going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The estate.
    pub estate: EstateName,
    /// The stops that need not hold any longer, and no others.
    pub stops: BTreeSet<StopId>,
    /// Who says so.
    pub person: Person,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Resume {
    /// Reads a yes to going on, strictly.
    ///
    /// # Errors
    /// [`DocumentError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        let resume: Self = read(bytes)?;
        reason("reason of going on", &resume.reason)?;
        if !(1..=MAX_STOPS).contains(&resume.stops.len()) {
            return Err(wrong("stops to go on after", format!("1 to {MAX_STOPS}"), resume.stops.len()));
        }
        Ok(resume)
    }

    /// The bytes, as they are to be signed once and never written again.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a yes to going on is plain data")
    }
}

/// Who said yes to going on after each stop that is listed: approvers whose signature over it counts at `now`. Persons are counted, not
/// keys and not documents.
pub fn yes(trust: &TrustDocument, resumes: &[Verified<Resume>], now: Timestamp) -> BTreeMap<StopId, BTreeSet<Person>> {
    let mut said: BTreeMap<StopId, BTreeSet<Person>> = BTreeMap::new();
    for Verified { value: Resume { estate, stops, person, reason: _, at: _ }, signers, id: _ } in resumes {
        if *estate == trust.estate && trust.approvers(signers, now).contains(person) {
            for stop in stops {
                said.entry(*stop).or_default().insert(person.clone());
            }
        }
    }
    said
}

/// The stops that enough approvers let go.
pub fn lifted(trust: &TrustDocument, resumes: &[Verified<Resume>], now: Timestamp) -> BTreeSet<StopId> {
    let need = u64::from(trust.need(Class::Resume));
    yes(trust, resumes, now).into_iter().filter(|(_, persons)| persons.len() as u64 >= need).map(|(stop, _)| stop).collect()
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DocumentError> {
    if bytes.len() > MAX_BYTES {
        return Err(DocumentError::TooLarge(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(DocumentError::Json)
}

fn reason(what: &'static str, reason: &str) -> Result<(), DocumentError> {
    if reason.trim().is_empty() || reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(wrong(what, format!("1 to {MAX_REASON} bytes of text in one line"), reason.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyId;
    use crate::trust::{KeyKind, PersonKey, PersonKeys, PersonRole, Root};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn stop(servers: Option<&[&str]>) -> Stop {
        Stop {
            estate: "contoso".parse().expect("a name"),
            servers: servers.map(|servers| servers.iter().map(|name| name.parse().expect("a name")).collect()),
            person: "omar".parse().expect("a name"),
            reason: "mail flow is broken".to_owned(),
            at: NOW,
        }
    }

    fn id(stop: &Stop) -> StopId {
        Sha256::of(&stop.to_bytes())
    }

    /// Anna and Ben approve with keys 1 and 2, and with 11 and 12; Vera with key 3 only looks.
    fn trust(need: u32) -> TrustDocument {
        let keys = |keys: &[u8]| {
            let key = |key: &u8| PersonKey { key: KeyId([*key; 32]), kind: KeyKind::File, until: Timestamp::MAX };
            keys.iter().map(key).collect()
        };
        let person = |name: &str, role, own: &[u8]| {
            (name.parse().expect("a name"), PersonKeys { roles: BTreeSet::from([role]), keys: keys(own) })
        };
        TrustDocument {
            estate: "contoso".parse().expect("a name"),
            version: 1,
            root: Root { threshold: 1, keys: BTreeSet::from([KeyId([9; 32])]) },
            persons: BTreeMap::from([
                person("anna", PersonRole::Approver, &[1, 11]),
                person("ben", PersonRole::Approver, &[2, 12]),
                person("vera", PersonRole::Viewer, &[3]),
            ]),
            need: BTreeMap::from([(Class::Resume, need)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::new(),
        }
    }

    fn said(person: &str, key: u8, stops: &[&Stop]) -> Verified<Resume> {
        let resume = Resume {
            estate: "contoso".parse().expect("a name"),
            stops: stops.iter().map(|stop| id(stop)).collect(),
            person: person.parse().expect("a name"),
            reason: "the cause is found".to_owned(),
            at: NOW,
        };
        Verified { id: Sha256::of(&resume.to_bytes()), value: resume, signers: BTreeSet::from([KeyId([key; 32])]) }
    }

    #[test]
    fn a_stop_holds_the_servers_that_it_names_or_all() {
        let (ex1, ex2) = ("EX1".parse().expect("a name"), "EX2".parse().expect("a name"));
        assert!(stop(None).covers(&ex1) && stop(None).covers(&ex2));
        assert!(stop(Some(&["EX1"])).covers(&ex1) && !stop(Some(&["EX1"])).covers(&ex2));
    }

    #[test]
    fn what_is_read_is_what_was_written_and_nothing_else_reads() {
        let whole = stop(Some(&["EX1", "EX2"]));
        let read = Stop::from_bytes(&whole.to_bytes()).expect("reads");
        assert_eq!((id(&read), &read), (id(&whole), &whole));
        for wrong in [
            Stop { reason: String::new(), ..whole.clone() },
            Stop { reason: "x".repeat(MAX_REASON + 1), ..whole.clone() },
            Stop { reason: "two\nlines".to_owned(), ..whole.clone() },
            Stop { servers: Some(BTreeSet::new()), ..whole.clone() },
        ] {
            assert!(Stop::from_bytes(&wrong.to_bytes()).is_err(), "{wrong:?}");
        }
        let more = String::from_utf8(whole.to_bytes()).expect("JSON").replace('{', "{\"more\":1,");
        assert!(Stop::from_bytes(more.as_bytes()).is_err());
        for bytes in [&b""[..], b"{}", b"\xff", &vec![b' '; MAX_BYTES + 1]] {
            assert!(Stop::from_bytes(bytes).is_err() && Resume::from_bytes(bytes).is_err());
        }
        let none = Resume { stops: BTreeSet::new(), ..said("anna", 1, &[&whole]).value };
        assert!(Resume::from_bytes(&none.to_bytes()).is_err());
    }

    #[test]
    fn only_enough_approvers_let_a_stop_go_and_only_those_that_they_list() {
        let (first, second) = (stop(None), stop(Some(&["EX1"])));
        let let_go = |need, resumes: &[Verified<Resume>]| lifted(&trust(need), resumes, NOW);
        assert_eq!(let_go(1, &[said("anna", 1, &[&first])]), BTreeSet::from([id(&first)]));
        assert!(let_go(2, &[said("anna", 1, &[&first])]).is_empty());
        assert!(let_go(2, &[said("anna", 1, &[&first]), said("anna", 11, &[&first])]).is_empty(), "one person, two keys");
        assert!(let_go(2, &[said("anna", 1, &[&first]), said("ben", 2, &[&second])]).is_empty(), "each another stop");
        let both = [said("anna", 1, &[&first, &second]), said("ben", 2, &[&first])];
        assert_eq!(let_go(2, &both), BTreeSet::from([id(&first)]));
    }

    #[test]
    fn a_yes_counts_only_of_an_approver_of_the_estate_with_a_key_of_that_name() {
        let only = stop(None);
        let let_go = |resume: Verified<Resume>| lifted(&trust(1), &[resume], NOW);
        assert!(let_go(said("vera", 3, &[&only])).is_empty(), "she only looks");
        assert!(let_go(said("anna", 2, &[&only])).is_empty(), "Ben's key, Anna's name");
        assert!(let_go(said("mallory", 7, &[&only])).is_empty());
        let mut elsewhere = said("anna", 1, &[&only]);
        elsewhere.value.estate = "fabrikam".parse().expect("a name");
        assert!(let_go(elsewhere).is_empty());
        let mut ended = trust(1);
        for key in ended.persons.values_mut().flat_map(|person| &mut person.keys) {
            key.until = NOW;
        }
        assert!(lifted(&ended, &[said("anna", 1, &[&only])], NOW).is_empty(), "her key has ended");
    }
}
