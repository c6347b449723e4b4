//! Keys of the system's own provider: made, named, linked, tried. Each test has containers of its own.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use policy::certificate::{Certificate, PublicKey};
use policy::decide::vendor_link;
use policy::plan::Der;
use policy::report::{Fact, KeyContainer, KeyState};
use rcgen::{CertificateParams, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};

use super::*;
use crate::driver::windows::keyfile::tests::lock;

/// A key of this host as rcgen wants one.
struct Signer<'a>(&'a WindowsKey);

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// A self-signed certificate for that name, with the key of that container.
pub(in super::super) fn minted(container: &str, name: &str) -> Der {
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    Der(params.self_signed(&Signer(&made(container))).unwrap().der().to_vec())
}

/// The key of a container that is there.
fn made(container: &str) -> WindowsKey {
    match named(container).unwrap() {
        Opened::Key(key) => key,
        other @ (Opened::Missing | Opened::Denied) => panic!("expected a key in {container}, found {other:?}"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, DriverError>) -> Code {
    match result {
        Err(DriverError::Refused { code, .. }) => Code(code),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn certificate(container: &str) -> Certificate {
    Certificate::from_der(&minted(container, "ex1.contoso.test").0).unwrap()
}

#[test]
fn a_key_that_was_made_is_found_by_its_name_and_signs() {
    create("made-a", 2048).unwrap();
    let key = made("made-a");
    let signature = key.sign(b"message").unwrap();
    let verifier = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
    verifier.verify(b"message", &signature).unwrap();
    assert!(verifier.verify(b"another", &signature).is_err());
    assert_eq!(made("made-a"), key);
    assert_eq!(code(create("made-a", 2048)), EXISTS);
    assert_eq!(made("made-a"), key, "a second attempt leaves the key alone");
}

#[test]
fn a_certificate_for_the_key_has_its_id_and_its_size() {
    for bits in [2048, 3072] {
        let container = format!("sized-{bits}");
        create(&container, bits).unwrap();
        let certificate = certificate(&container);
        assert_eq!(certificate.key(), &PublicKey::Rsa(bits));
        assert_eq!(certificate.key_id(), made(&container).id());
    }
}

#[test]
fn the_key_cannot_be_taken_out_of_its_container() {
    create("kept-a", 2048).unwrap();
    let container = Container::open(Place::vendor("kept-a")).unwrap();
    assert_eq!(container.private(Spec::EXCHANGE), Err(Code(0x8009_000B)));
}

#[test]
fn a_size_that_is_none_makes_no_key() {
    assert_eq!(code(create("bits-a", 0x1_0000)), Code(87));
    assert!(matches!(named("bits-a"), Ok(Opened::Missing)));
}

#[test]
fn a_creation_that_was_interrupted_is_none_and_can_be_done_again() {
    drop(Container::create(Place::vendor("half-a")).unwrap());
    assert!(matches!(named("half-a"), Ok(Opened::Missing)));
    assert!(matches!(linked(&vendor_link("half-a")), Ok(Opened::Missing)));
    create("half-a", 2048).unwrap();
    made("half-a");
}

#[test]
fn a_container_that_is_locked_is_not_taken_for_one_that_is_missing() {
    assert!(matches!(named("locked-a"), Ok(Opened::Missing)));
    lock("locked-a");
    assert!(matches!(named("locked-a"), Ok(Opened::Denied)));
    assert!(matches!(linked(&vendor_link("locked-a")), Ok(Opened::Denied)));
    assert_eq!(code(grant("locked-a", &[])), Code(5));
    assert_eq!(code(grant("nowhere-a", &[])), NO_CONTAINER);
}

#[test]
fn a_container_of_a_user_is_not_looked_for_among_the_machines() {
    create("user-a", 2048).unwrap();
    lock("user-a");
    let link = KeyLink { flags: 0, ..vendor_link("user-a") };
    assert!(matches!(linked(&link), Ok(Opened::Missing)));
}

#[test]
fn a_key_is_the_same_by_whichever_of_microsofts_providers() {
    create("providers-a", 2048).unwrap();
    let id = made("providers-a").id();
    for (provider, provider_type) in [
        ("", 12),
        ("Microsoft RSA SChannel Cryptographic Provider", 12),
        ("Microsoft Enhanced RSA and AES Cryptographic Provider", 24),
        ("Microsoft Enhanced Cryptographic Provider v1.0", 1),
    ] {
        let link = KeyLink { provider: provider.to_owned(), provider_type, ..vendor_link("providers-a") };
        let Opened::Key(key) = linked(&link).unwrap() else { panic!("no key by {provider:?}") };
        assert_eq!(key.id(), id);
        let signature = key.sign(b"message").unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public()).verify(b"message", &signature).unwrap();
    }
    let nobodys = KeyLink { provider: "No Such Provider".to_owned(), ..vendor_link("providers-a") };
    assert!(linked(&nobodys).is_err());
}

#[test]
fn a_link_to_the_other_kind_of_key_or_to_none_is_neither_missing_nor_usable() {
    create("kinds-a", 2048).unwrap();
    for link in [
        KeyLink { key_spec: 2, ..vendor_link("kinds-a") },
        KeyLink { key_spec: 7, ..vendor_link("kinds-a") },
        vendor_link(""),
        vendor_link("kinds-a\0b"),
    ] {
        assert!(matches!(linked(&link), Err(DriverError::Unreadable { .. })), "{link:?}");
    }
    assert!(named("").is_err());
    assert!(create("kinds-b\0c", 2048).is_err());
}

#[test]
fn a_key_of_a_provider_that_keeps_none_is_not_taken_for_missing() {
    let link = KeyLink { provider: SOFTWARE.to_owned(), provider_type: CNG, ..vendor_link("cng-a") };
    assert_eq!(code(linked(&link)), NOT_SUPPORTED);
}

#[test]
fn an_access_list_reads_back_as_it_was_set() {
    let access = |sid: &str, mask| Access { sid: sid.to_owned(), mask };
    let list = [access("S-1-5-32-544", 0x1F_01FF), access("S-1-5-18", 0x1F_01FF), access("S-1-5-20", 0x12_0089)];
    // One container for each list: a second one is set only with a privilege here, which Windows asks for nothing of this.
    for (container, list) in [("access-a", &list[..]), ("access-b", &list[..2])] {
        create(container, 2048).unwrap();
        grant(container, list).unwrap();
        let mut sorted = list.to_vec();
        sorted.sort();
        assert_eq!(made(container).access().unwrap(), sorted);
    }
    assert!(matches!(grant("access-a", &[access("SYSTEM", 1)]), Err(DriverError::Unreadable { .. })));
    assert_eq!(made("access-a").access().unwrap().len(), 3);
}

#[test]
fn a_key_is_usable_foreign_or_missing_by_its_certificate() {
    let keys = Keys::default();
    create("state-a", 2048).unwrap();
    create("state-b", 2048).unwrap();
    let (mine, link) = (certificate("state-a"), vendor_link("state-a"));
    let state = |link: &KeyLink, certificate: Option<&Certificate>| keys.state(link, certificate).0;
    assert_eq!(state(&link, Some(&mine)), Fact::Known(KeyState::Usable));
    assert_eq!(state(&link, Some(&certificate("state-b"))), Fact::Known(KeyState::Foreign));
    assert_eq!(keys.state(&vendor_link("state-c"), Some(&mine)), (Fact::Known(KeyState::Missing), Fact::Known(Vec::new())));
    assert!(state(&link, None).unknown().unwrap().contains("decoded"));
    assert!(state(&KeyLink { key_spec: 2, ..link }, Some(&mine)).unknown().unwrap().contains("another kind"));
    lock("state-d");
    let (locked, access) = keys.state(&vendor_link("state-d"), Some(&mine));
    assert_eq!(locked, Fact::Known(KeyState::Denied));
    assert!(access.unknown().is_some());
}

#[test]
fn a_key_is_tried_once_and_again_after_it_was_not_usable() {
    let keys = Keys::default();
    create("tried-a", 2048).unwrap();
    let (mine, link) = (certificate("tried-a"), vendor_link("tried-a"));
    keys.state(&link, Some(&mine));
    assert_eq!(keys.tried(), [("tried-a".to_owned(), mine.key_id())]);
    create("tried-b", 2048).unwrap();
    keys.state(&link, Some(&certificate("tried-b")));
    assert_eq!(keys.tried(), []);
    keys.state(&link, Some(&mine));
    assert_eq!(keys.tried().len(), 1);
    Container::delete(Place::vendor("tried-a")).unwrap();
    assert_eq!(keys.state(&link, Some(&mine)).0, Fact::Known(KeyState::Missing));
    assert_eq!(keys.tried(), []);
}

#[test]
fn containers_are_those_that_are_named_or_remembered_and_exist() {
    for container in ["list-linked", "list-remembered", "list-unknown"] {
        create(container, 2048).unwrap();
    }
    lock("list-locked");
    let remembered = ["list-remembered", "list-gone", "list-locked", ""].map(str::to_owned);
    let links = [vendor_link("list-linked"), vendor_link("list-gone-too")];
    let found = containers(&links, &BTreeSet::from(remembered));
    let known = |name: &str| KeyContainer { name: name.to_owned(), key_id: Fact::Known(made(name).id()) };
    let [unnamed, linked, locked, remembered] = <[_; 4]>::try_from(found).unwrap();
    assert_eq!((linked, remembered), (known("list-linked"), known("list-remembered")));
    assert_eq!((locked.name.as_str(), locked.key_id), ("list-locked", Fact::Unknown("it may not be opened".to_owned())));
    assert!(unnamed.key_id.unknown().is_some());
}
