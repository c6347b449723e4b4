//! The system's own certificate stores. They are one for all tests, and each test is a process of its own: so they take turns, by
//! a file, and look only at certificates of theirs.

use std::fs::File;

use policy::decide::vendor_link;
use policy::report::KeyLink;
use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::*;
use crate::driver::windows::ffi::key::{Container, Place};
use crate::driver::windows::ffi::store::NOT_FOUND;
use crate::driver::windows::keys;
use crate::driver::windows::keys::tests::minted;

/// Waits until no other test is at the stores, and keeps them until it is dropped.
fn alone() -> File {
    let turn = File::create(tempfile::env::temp_dir().join("backstay-stores-test")).unwrap();
    turn.lock().unwrap();
    turn
}

/// A certificate whose key is nowhere.
fn keyless(name: &str) -> Stored {
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    Stored { der: Der(der), friendly_name: None, key: None, archived: false }
}

/// A certificate with a key of this host, as Setup makes one.
fn keyed(container: &str) -> Stored {
    keys::create(container, 2048).unwrap();
    let der = minted(container, &format!("{container}.contoso.test"));
    Stored { der, friendly_name: Some("Microsoft Exchange".to_owned()), key: Some(vendor_link(container)), archived: false }
}

fn thumbprint(entry: &Stored) -> Thumbprint {
    Thumbprint::of(&entry.der.0)
}

fn in_store(store: &Store, entry: &Stored) -> Option<Stored> {
    let mut same = stored(store).unwrap().into_iter().filter(|found| found.der == entry.der);
    let found = same.next();
    assert_eq!(same.next(), None, "listed once");
    found
}

fn seen(entry: &Stored) -> StoreEntry {
    let seen = Stores::default().look(&BTreeSet::new());
    let entries = seen.stores.known().unwrap().clone();
    entries.into_iter().find(|found| found.store == Store::My && found.thumbprint == thumbprint(entry)).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, DriverError>) -> Code {
    match result {
        Err(DriverError::Refused { code, .. }) => Code(code),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn a_deleted_certificate_comes_back_with_its_key() {
    let _turn = alone();
    let entry = keyed("undelete-a");
    add(&Store::My, &entry).unwrap();
    assert_eq!(in_store(&Store::My, &entry).as_ref(), Some(&entry));
    let before = seen(&entry);
    assert_eq!(before.key_state, Fact::Known(KeyState::Usable));
    assert_eq!(before.key, Fact::Known(entry.key.clone()));
    CertStore::delete("MY", thumbprint(&entry)).unwrap();
    assert_eq!(in_store(&Store::My, &entry), None);
    add(&Store::My, &entry).unwrap();
    assert_eq!(seen(&entry), before);
    assert_eq!(in_store(&Store::My, &entry), Some(entry));
}

#[test]
fn adding_again_gives_the_properties_and_keeps_the_certificate() {
    let _turn = alone();
    let entry = keyed("again-a");
    for changed in [
        Stored { friendly_name: None, ..entry.clone() },
        Stored { key: None, ..entry.clone() },
        Stored { friendly_name: Some("käse".to_owned()), ..entry.clone() },
        Stored {
            key: Some(KeyLink {
                container: "again-b".to_owned(),
                provider: "Microsoft RSA SChannel Cryptographic Provider".to_owned(),
                provider_type: 12,
                flags: 0x20,
                key_spec: 2,
            }),
            ..entry.clone()
        },
        entry.clone(),
    ] {
        add(&Store::My, &changed).unwrap();
        assert_eq!(in_store(&Store::My, &entry), Some(changed));
    }
}

#[test]
fn a_mark_that_is_set_is_there_and_hides_nothing() {
    let _turn = alone();
    let entry = keyed("archive-a");
    add(&Store::My, &entry).unwrap();
    for archived in [true, true, false] {
        mark_archived(&Store::My, thumbprint(&entry), archived).unwrap();
        assert_eq!(in_store(&Store::My, &entry), Some(Stored { archived, ..entry.clone() }));
        assert_eq!(seen(&entry).archived, archived);
    }
    assert_eq!(code(mark_archived(&Store::My, Thumbprint([7; 20]), true)), NOT_FOUND);
    assert_eq!(code(mark_archived(&Store::Other("NoSuchStore".to_owned()), thumbprint(&entry), true)), Code(2));
}

#[test]
fn a_lost_link_a_foreign_key_and_a_missing_container_are_told_apart() {
    let _turn = alone();
    let entry = keyed("states-a");
    keys::create("states-b", 2048).unwrap();
    let linked = |container: &str| Stored { key: Some(vendor_link(container)), ..entry.clone() };
    for (stored, expected) in [
        (linked("states-a"), KeyState::Usable),
        (Stored { key: None, ..entry.clone() }, KeyState::NotLinked),
        (linked("states-b"), KeyState::Foreign),
        (linked("states-c"), KeyState::Missing),
        (linked("states-a"), KeyState::Usable),
    ] {
        add(&Store::My, &stored).unwrap();
        assert_eq!(seen(&entry).key_state, Fact::Known(expected));
    }
    Container::delete(Place::vendor("states-a")).unwrap();
    assert_eq!(seen(&entry).key_state, Fact::Known(KeyState::Missing));
}

#[test]
fn a_property_that_does_not_read_spoils_only_itself() {
    let _turn = alone();
    let entry = keyed("damaged-a");
    add(&Store::My, &entry).unwrap();
    let name = |bytes: &[u8]| CertStore::to_change("MY").unwrap().rename(thumbprint(&entry), bytes).unwrap();
    name(&[b'x'; 16 * 1024 + 1]);
    let found = seen(&entry);
    assert!(found.friendly_name.unknown().unwrap().contains("16385"), "{found:?}");
    assert_eq!(found.key_state, Fact::Known(KeyState::Usable));
    assert_eq!(in_store(&Store::My, &entry), Some(Stored { friendly_name: None, ..entry.clone() }));
    for (bytes, expected) in [(&[b'a', 0, b'b', 0, b'c'][..], "ab"), (b"a", ""), (&[0, 0, b'a', 0], ""), (&[0, 0xDC], "\u{FFFD}")]
    {
        name(bytes);
        assert_eq!(seen(&entry).friendly_name, Fact::Known(Some(expected.to_owned())), "{bytes:?}");
    }
}

#[test]
fn only_root_gives_a_certificate_back() {
    let _turn = alone();
    let entry = Stored { friendly_name: Some("copy".to_owned()), ..keyless("root-a") };
    add(&Store::Root, &entry).unwrap();
    add(&Store::My, &entry).unwrap();
    remove_trust_copy(thumbprint(&entry)).unwrap();
    assert_eq!(in_store(&Store::Root, &entry), None);
    assert_eq!(in_store(&Store::My, &entry), Some(entry.clone()));
    remove_trust_copy(thumbprint(&entry)).unwrap();
    assert_eq!(in_store(&Store::My, &entry), Some(entry));
}

#[test]
fn a_store_that_is_not_there_holds_none_and_is_not_made_by_looking() {
    let _turn = alone();
    let store = Store::Other("BackstayTest".to_owned());
    assert_eq!(stored(&store).unwrap(), []);
    assert!(CertStore::existing("BackstayTest").unwrap().is_none());
    let entry = keyless("made-with-store");
    add(&store, &entry).unwrap();
    assert_eq!(stored(&store).unwrap(), [entry]);
}

#[test]
fn the_name_of_a_store_never_leads_elsewhere() {
    for name in ["", r"\\elsewhere\MY", r"Service\MY", "a/b", "MY\0"] {
        let store = Store::Other(name.to_owned());
        assert_eq!(code(stored(&store)), Code(87), "{name:?}");
        assert_eq!(code(add(&store, &keyless("nowhere"))), Code(87), "{name:?}");
        assert_eq!(code(mark_archived(&store, Thumbprint([0; 20]), true)), Code(87), "{name:?}");
    }
}

#[test]
fn bytes_that_are_no_certificate_are_not_put_into_a_store() {
    let _turn = alone();
    let entry = Stored { der: Der(b"no certificate".to_vec()), ..keyless("never") };
    assert!(add(&Store::My, &entry).is_err());
    assert_eq!(in_store(&Store::My, &entry), None);
}

#[test]
fn a_look_lists_hundreds_in_order_and_decodes_each_once() {
    let _turn = alone();
    let linked = Stored { key: Some(vendor_link("never-opened")), ..keyless("disallowed-linked") };
    let many: Vec<Stored> = (0..300).map(|number| keyless(&format!("many-{number}"))).chain([linked.clone()]).collect();
    let store = CertStore::to_change("Disallowed").unwrap();
    for entry in &many {
        store.add(entry).unwrap();
    }
    drop(store);
    let stores = Stores::default();
    let first = stores.look(&BTreeSet::new());
    let entries = first.stores.known().unwrap();
    assert!(entries.is_sorted_by_key(|entry| (entry.store.clone(), entry.thumbprint)));
    for entry in &many {
        let found = entries.iter().filter(|found| found.store == Store::Disallowed && found.thumbprint == thumbprint(entry));
        assert_eq!(found.count(), 1);
        assert_eq!(first.certificates[&Sha256::of(&entry.der.0)].der(), entry.der.0);
    }
    let unopened = entries.iter().find(|found| found.thumbprint == thumbprint(&linked)).unwrap();
    assert_eq!(unopened.key, Fact::Known(linked.key.clone()));
    assert_eq!(unopened.key_state, Fact::Unknown("keys of certificates in Disallowed are not opened".to_owned()));
    // A certificate that is known is taken from there, and one that went away is forgotten.
    let (kept, other) = (Sha256::of(&many[0].der.0), Sha256::of(&many[1].der.0));
    let sentinel = first.certificates[&other].clone();
    stores.decoded.lock().unwrap().insert(kept, sentinel.clone());
    CertStore::delete("Disallowed", thumbprint(&many[1])).unwrap();
    let second = stores.look(&BTreeSet::new());
    assert_eq!(second.certificates[&kept], sentinel);
    assert!(!second.certificates.contains_key(&other));
    assert!(!stores.decoded.lock().unwrap().contains_key(&other));
}

#[test]
fn a_certificate_that_does_not_decode_is_listed_all_the_same() {
    let _turn = alone();
    let mut params = CertificateParams::new(vec!["huge".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![4; 70_000])];
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let entry = Stored { der: Der(der), ..keyless("huge") };
    assert!(Certificate::from_der(&entry.der.0).is_err());
    add(&Store::My, &entry).unwrap();
    let found = seen(&entry);
    assert_eq!(found.certificate, Sha256::of(&entry.der.0));
    assert!(!Stores::default().look(&BTreeSet::new()).certificates.contains_key(&found.certificate));
}

#[test]
fn containers_are_those_of_entries_and_of_memory() {
    let _turn = alone();
    let entry = keyed("look-linked");
    add(&Store::My, &entry).unwrap();
    keys::create("look-remembered", 2048).unwrap();
    let seen = Stores::default().look(&BTreeSet::from(["look-remembered".to_owned(), "look-gone".to_owned()]));
    let containers = seen.containers.known().unwrap();
    let id = |name: &str| containers.iter().find(|container| container.name == name).map(|found| found.key_id.clone());
    let certificate = Certificate::from_der(&entry.der.0).unwrap();
    assert_eq!(id("look-linked"), Some(Fact::Known(certificate.key_id())));
    assert!(matches!(id("look-remembered"), Some(Fact::Known(_))));
    assert_eq!(id("look-gone"), None);
}
