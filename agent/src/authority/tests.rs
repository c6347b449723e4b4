use std::collections::BTreeMap;

use policy::id::{KeyId, Person};
use policy::trust::{KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root};
use proto::signed::SigningKey;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

/// An estate: its root, one approver, and a folder of a host.
struct Estate {
    root: SigningKey,
    anna: SigningKey,
    folder: tempfile::TempDir,
}

impl Estate {
    fn new() -> Self {
        let key = || SigningKey::generate().expect("a key");
        Self { root: key(), anna: key(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn document(&self, version: u64, root: KeyId) -> TrustDocument {
        let anna = PersonKeys {
            roles: BTreeSet::from([PersonRole::Approver]),
            keys: vec![PersonKey { key: self.anna.id(), kind: KeyKind::File, until: at("2027-01-01T00:00:00Z") }],
        };
        TrustDocument {
            estate: "contoso".parse().expect("a name"),
            version,
            root: Root { threshold: 1, keys: BTreeSet::from([root]) },
            persons: BTreeMap::from([("anna".parse::<Person>().expect("a name"), anna)]),
            need: BTreeMap::new(),
            browser: BTreeSet::new(),
            ca: BTreeSet::from([Sha256::of(b"ca")]),
        }
    }

    fn trust(&self, version: u64) -> SignedBytes {
        sign(Kind::Trust, &self.document(version, self.root.id()).to_bytes(), &[&self.root])
    }

    fn policy(&self, version: u64, previous: Option<Sha256>, extra: &str, by: &SigningKey) -> SignedBytes {
        let previous = previous.map(|id| format!("previous = \"{id}\"\n")).unwrap_or_default();
        sign(Kind::Policy, format!("estate = \"contoso\"\nversion = {version}\n{previous}{extra}").as_bytes(), &[by])
    }

    fn pin(&self) -> Sha256 {
        root_fingerprint(&self.document(1, self.root.id()).root)
    }

    fn found(&self) -> Authority {
        Authority::found(self.folder.path(), &self.trust(1), self.pin(), now()).expect("a first document")
    }

    fn reopen(&self) -> Authority {
        Authority::open(self.folder.path()).expect("reads").expect("joined")
    }
}

fn sign(kind: Kind, body: &[u8], keys: &[&SigningKey]) -> SignedBytes {
    let mut signed = SignedBytes::unsigned(body.to_vec());
    for key in keys {
        key.sign(kind, &mut signed).expect("room for a signature");
    }
    signed
}

#[test]
fn the_first_trust_document_must_be_signed_by_the_pinned_root() {
    let (estate, thief) = (Estate::new(), Estate::new());
    let refused = Authority::found(estate.folder.path(), &thief.trust(1), estate.pin(), now());
    assert!(matches!(refused, Err(AuthorityError::OtherRoot { .. })));
    let unsigned_by_root = sign(Kind::Trust, &estate.document(1, estate.root.id()).to_bytes(), &[&thief.root]);
    let refused = Authority::found(estate.folder.path(), &unsigned_by_root, estate.pin(), now());
    assert!(matches!(refused, Err(AuthorityError::Refused(_))));
    assert!(Authority::open(estate.folder.path()).expect("reads").is_none(), "nothing was written");
}

#[test]
fn what_is_held_survives_a_restart() {
    let estate = Estate::new();
    let mut authority = estate.found();
    let policy = estate.policy(1, None, "mode = \"act\"\n", &estate.anna);
    authority.judge(&Document::Policy(policy.clone()), now()).expect("adopted");
    authority.judge(&Document::Trust(estate.trust(2)), now()).expect("adopted");
    let again = estate.reopen();
    assert_eq!(again.held(), authority.held());
    assert_eq!(again.held().trust.number, 2);
    let standing = again.standing(now());
    assert_eq!(standing.policy.id, policy.id());
    assert_eq!(standing.policy_confirmed, Some(now()));
    let files = fs::read_dir(estate.folder.path().join("documents")).expect("a folder").count();
    assert_eq!(files, 2, "older documents are removed");
}

#[test]
fn without_a_policy_the_host_is_observed() {
    let standing = Estate::new().found().standing(now());
    assert_eq!(standing.policy.mode, policy::document::Mode::Observe);
    assert_eq!((standing.policy.version, standing.policy_confirmed), (0, None));
}

#[test]
fn an_older_version_is_refused_and_another_of_the_same_version_is_an_alarm() {
    let estate = Estate::new();
    let mut authority = estate.found();
    authority.judge(&Document::Trust(estate.trust(3)), now()).expect("adopted");
    assert_eq!(authority.judge(&Document::Trust(estate.trust(3)), now()).expect("known"), Judged::Known);
    let lower = authority.judge(&Document::Trust(estate.trust(2)), now()).expect_err("below the floor");
    assert!(matches!(lower, AuthorityError::Lower { floor: 3, found: 2, .. }));
    let mut other = estate.document(3, estate.root.id());
    other.ca.clear();
    let other = sign(Kind::Trust, &other.to_bytes(), &[&estate.root]);
    assert!(matches!(authority.judge(&Document::Trust(other), now()), Err(AuthorityError::Forked { version: 3, .. })));

    let first = estate.policy(1, None, "", &estate.anna);
    let second = estate.policy(2, Some(first.id()), "", &estate.anna);
    authority.judge(&Document::Policy(second), now()).expect("adopted, though the first was missed");
    assert!(matches!(authority.judge(&Document::Policy(first.clone()), now()), Err(AuthorityError::Lower { .. })));
    let fork = estate.policy(2, Some(first.id()), "mode = \"act\"\n", &estate.anna);
    assert!(matches!(authority.judge(&Document::Policy(fork), now()), Err(AuthorityError::Forked { .. })));
    assert_eq!(estate.reopen().held(), authority.held());
}

#[test]
fn a_root_is_changed_by_the_old_one_and_the_new_one_together() {
    let estate = Estate::new();
    let mut authority = estate.found();
    let new_root = SigningKey::generate().expect("a key");
    let next = estate.document(2, new_root.id()).to_bytes();
    let by_new = sign(Kind::Trust, &next, &[&new_root]);
    assert!(matches!(authority.judge(&Document::Trust(by_new), now()), Err(AuthorityError::Refused(_))));
    let by_both = sign(Kind::Trust, &next, &[&new_root, &estate.root]);
    authority.judge(&Document::Trust(by_both), now()).expect("adopted");
    assert!(authority.judge(&Document::Trust(estate.trust(3)), now()).is_err(), "the old root has no say any more");
}

#[test]
fn a_policy_needs_its_approvers_its_estate_and_its_predecessor() {
    let estate = Estate::new();
    let mut authority = estate.found();
    let stranger = SigningKey::generate().expect("a key");
    let refused = |authority: &mut Authority, policy| authority.judge(&Document::Policy(policy), now()).expect_err("refused");
    let error = refused(&mut authority, estate.policy(1, None, "", &stranger));
    assert!(matches!(error, AuthorityError::Approvers { expected: 1, found: 0 }));
    let error = refused(&mut authority, estate.policy(1, None, "", &estate.root));
    assert!(matches!(error, AuthorityError::Approvers { .. }), "the root names people, it does not approve");
    let elsewhere = sign(Kind::Policy, b"estate = \"fabrikam\"\nversion = 1\n", &[&estate.anna]);
    assert!(matches!(refused(&mut authority, elsewhere), AuthorityError::OtherEstate { .. }));
    let as_trust = sign(Kind::Trust, b"estate = \"contoso\"\nversion = 1\n", &[&estate.anna]);
    assert!(matches!(refused(&mut authority, as_trust), AuthorityError::Unbelieved { .. }));
    let first = estate.policy(1, None, "", &estate.anna);
    authority.judge(&Document::Policy(first), now()).expect("adopted");
    let error = refused(&mut authority, estate.policy(2, Some(Sha256::of(b"other")), "", &estate.anna));
    assert!(matches!(error, AuthorityError::OtherPrevious { version: 2, .. }));
    assert_eq!(authority.held().policy.expect("held").number, 1);
}

#[test]
fn a_crash_between_document_and_floor_leaves_what_was_held() {
    let estate = Estate::new();
    let authority = estate.found();
    authority.store(&estate.trust(2)).expect("stores");
    assert_eq!(estate.reopen().held().trust.number, 1);
}

#[test]
fn files_that_were_exchanged_or_damaged_are_errors_that_name_them() {
    let estate = Estate::new();
    let held = estate.found().held().trust.id;
    let path = document_path(estate.folder.path(), held);
    fs::write(&path, estate.trust(2).to_file_text()).expect("writes");
    assert!(matches!(Authority::open(estate.folder.path()), Err(AuthorityError::Replaced { .. })));
    fs::write(&path, "{}").expect("writes");
    assert!(matches!(Authority::open(estate.folder.path()), Err(AuthorityError::File { .. })));
    fs::remove_file(&path).expect("removes");
    assert!(matches!(Authority::open(estate.folder.path()), Err(AuthorityError::Io { .. })));
    fs::write(estate.folder.path().join("floors.json"), "{").expect("writes");
    let error = Authority::open(estate.folder.path()).expect_err("damaged");
    assert!(error.to_string().contains("floors.json"));
}

#[test]
fn only_a_welcome_that_names_the_held_policy_confirms_it() {
    let estate = Estate::new();
    let mut authority = estate.found();
    let policy = estate.policy(1, None, "", &estate.anna);
    authority.judge(&Document::Policy(policy.clone()), now()).expect("adopted");
    let later = at("2026-11-25T12:00:00Z");
    authority.confirm(Some(Sha256::of(b"another")), later, later).expect("written");
    assert_eq!(authority.standing(later).policy_confirmed, Some(now()));
    authority.confirm(Some(policy.id()), later, later).expect("written");
    assert_eq!(estate.reopen().standing(later).policy_confirmed, Some(later));
}

#[test]
fn a_clock_that_went_back_or_differs_from_the_controllers_is_doubted() {
    let estate = Estate::new();
    let mut authority = estate.found();
    let later = at("2026-11-23T13:00:00Z");
    authority.clock_read(later).expect("written");
    assert_eq!(authority.standing(at("2026-11-23T12:56:00Z")).clock_doubt, None);
    assert!(authority.standing(now()).clock_doubt.is_some());
    assert!(estate.reopen().standing(now()).clock_doubt.is_some(), "also after a restart");
    authority.confirm(None, at("2026-11-23T13:10:00Z"), later).expect("kept");
    assert!(authority.standing(later).clock_doubt.is_some());
    authority.confirm(None, later, later).expect("kept");
    assert_eq!(authority.standing(later).clock_doubt, None);
}
