//! What stops a host, what lets it go, and what does neither.

use std::rc::Rc;

use policy::id::Person;
use policy::trust::{Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root};
use proto::signed::SigningKey;

use super::*;
use crate::hold::Holds;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn estate() -> EstateName {
    "contoso".parse().expect("a name")
}

fn person(name: &str) -> Person {
    name.parse().expect("a name")
}

/// A host, and two approvers of its estate, both of whom must say yes.
struct Scene {
    folder: tempfile::TempDir,
    stops: Stops,
    anna: Rc<SigningKey>,
    ben: Rc<SigningKey>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stops = Stops::open(folder.path());
        let key = || Rc::new(SigningKey::generate().expect("a key"));
        Self { folder, stops, anna: key(), ben: key() }
    }

    fn trust(&self) -> TrustDocument {
        let approver = |name, key: &SigningKey| {
            let key = PersonKey { key: key.id(), kind: KeyKind::File, until: Timestamp::MAX };
            (person(name), PersonKeys { roles: BTreeSet::from([PersonRole::Approver]), keys: vec![key] })
        };
        TrustDocument {
            estate: estate(),
            version: 1,
            root: Root { threshold: 1, keys: BTreeSet::from([SigningKey::generate().expect("a key").id()]) },
            persons: BTreeMap::from([approver("anna", &self.anna), approver("ben", &self.ben)]),
            need: BTreeMap::from([(Class::Resume, 2)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::new(),
        }
    }

    fn restart(&mut self) {
        self.stops = Stops::open(self.folder.path());
    }

    fn stop(&mut self, reason: &str) -> StopId {
        let bytes = stop(reason);
        assert!(self.stops.stop(&bytes, &estate()).expect("taken"), "{reason} is new");
        StopId::of(&bytes)
    }

    fn yes(&mut self, name: &str, key: &SigningKey, stops: &[StopId]) -> Result<Vec<StopId>, StopError> {
        let trust = self.trust();
        self.stops.resume(&yes(name, key, stops), &trust, None, NOW)
    }

    fn both(&mut self, stops: &[StopId]) -> Vec<StopId> {
        let (anna, ben) = (self.anna.clone(), self.ben.clone());
        assert!(self.yes("anna", &anna, stops).expect("counts").is_empty(), "one is not enough");
        self.yes("ben", &ben, stops).expect("counts")
    }

    fn why(&self) -> Option<String> {
        Holds::by_command(self.folder.path()).why()
    }
}

fn stop(reason: &str) -> Vec<u8> {
    Stop { estate: estate(), servers: None, person: person("omar"), reason: reason.to_owned(), at: NOW }.to_bytes()
}

fn yes(name: &str, key: &SigningKey, stops: &[StopId]) -> SignedBytes {
    let resume = Resume {
        estate: estate(),
        stops: stops.iter().copied().collect(),
        person: person(name),
        reason: "the cause is found".to_owned(),
        at: NOW,
    };
    let mut signed = SignedBytes::unsigned(resume.to_bytes());
    key.sign(Kind::Resume, &mut signed).expect("signed");
    signed
}

#[test]
fn a_stop_holds_the_host_until_enough_approvers_let_it_go_also_after_a_restart() {
    let mut scene = Scene::new();
    assert_eq!(scene.why(), None);
    let id = scene.stop("mail flow is broken");
    let why = format!("held on the host by emergency stop {}: omar at 1970-01-01T00:00:00Z: mail flow is broken", id.short());
    assert_eq!(scene.why(), Some(why.clone()));
    assert!(!scene.stops.stop(&stop("mail flow is broken"), &estate()).expect("the same again"));
    assert!(!crate::hold::lift(scene.folder.path()).expect("reads"), "no command on the host lifts it");
    scene.restart();
    assert_eq!((scene.stops.ids(), scene.why()), (BTreeSet::from([id]), Some(why)));
    assert_eq!(scene.both(&[id]), [id]);
    assert_eq!(scene.why(), None);
    // Late, or told again by a controller that means no good.
    scene.restart();
    assert!(!scene.stops.stop(&stop("mail flow is broken"), &estate()).expect("taken"));
    assert_eq!(scene.why(), None);
}

#[test]
fn a_yes_lets_only_those_go_that_it_lists_and_may_come_before_its_stop() {
    let mut scene = Scene::new();
    let (first, second) = (scene.stop("one"), scene.stop("two"));
    let late = StopId::of(&stop("three"));
    assert_eq!(scene.both(&[first, late]).len(), 2);
    assert_eq!(scene.stops.ids(), BTreeSet::from([second]));
    assert!(!scene.stops.stop(&stop("three"), &estate()).expect("taken"), "it was let go before it came");
    assert!(scene.why().is_some_and(|why| why.ends_with(": two")));
}

#[test]
fn what_does_not_count_changes_nothing() {
    let mut scene = Scene::new();
    let id = scene.stop("one");
    let (anna, ben, stranger) = (scene.anna.clone(), scene.ben.clone(), SigningKey::generate().expect("a key"));
    let trust = scene.trust();
    assert!(matches!(scene.yes("anna", &stranger, &[id]), Err(StopError::NoApprover { .. })));
    assert!(matches!(scene.yes("anna", &ben, &[id]), Err(StopError::NoApprover { .. })), "Ben's key, Anna's name");
    assert!(scene.yes("anna", &anna, &[id]).expect("counts").is_empty());
    assert!(scene.yes("anna", &anna, &[id]).expect("counts").is_empty(), "one person twice");
    let doubted = scene.stops.resume(&yes("ben", &ben, &[id]), &trust, Some("the clock went back".to_owned()), NOW);
    assert!(matches!(doubted, Err(StopError::Clock(_))));
    // An approval of a plan with these bytes is no yes to going on.
    let mut approval = SignedBytes::unsigned(yes("ben", &ben, &[id]).body);
    ben.sign(Kind::Approval, &mut approval).expect("signed");
    assert!(matches!(scene.stops.resume(&approval, &trust, None, NOW), Err(StopError::Unbelieved(_))));
    for bytes in [&b""[..], b"{}", &stop("")] {
        assert!(matches!(scene.stops.stop(bytes, &estate()), Err(StopError::Document(_))));
    }
    let elsewhere = scene.stops.stop(&stop("two"), &"fabrikam".parse().expect("a name"));
    assert!(matches!(elsewhere, Err(StopError::OtherEstate { .. })));
    assert_eq!(scene.stops.ids(), BTreeSet::from([id]));
    assert_eq!(scene.yes("ben", &ben, &[id]).expect("counts"), [id]);
}

#[test]
fn a_file_that_does_not_read_holds_the_host_and_is_not_written_over() {
    let mut scene = Scene::new();
    scene.stop("one");
    fs::write(file(scene.folder.path()), "{ half").expect("writes");
    scene.restart();
    assert!(scene.why().is_some_and(|why| why.contains("emergency stop that cannot be read")), "{:?}", scene.why());
    assert!(matches!(scene.stops.stop(&stop("two"), &estate()), Err(StopError::Damaged { .. })));
    assert_eq!(fs::read(file(scene.folder.path())).expect("reads"), b"{ half");
    fs::remove_file(file(scene.folder.path())).expect("a person has looked at it");
    assert!(scene.stops.stop(&stop("two"), &estate()).expect("taken"));
}

#[test]
fn there_is_a_bound_to_what_is_kept() {
    let mut scene = Scene::new();
    for number in 0..MAX_STOPS {
        scene.stop(&format!("stop {number}"));
    }
    assert!(matches!(scene.stops.stop(&stop("one more"), &estate()), Err(StopError::TooMany)));
    let all: Vec<StopId> = scene.stops.ids().into_iter().collect();
    assert_eq!(scene.both(&all).len(), MAX_STOPS);
    assert_eq!(scene.why(), None);
    for round in 0..6 {
        let ids: Vec<StopId> = (0..MAX_STOPS).map(|number| StopId::of(format!("{round} {number}").as_bytes())).collect();
        scene.both(&ids);
    }
    let kept: Kept = serde_json::from_slice(&fs::read(file(scene.folder.path())).expect("reads")).expect("JSON");
    assert_eq!(kept.lifted.len(), MAX_LIFTED);
}
