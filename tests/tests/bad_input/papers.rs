//! Policies, trust documents and exports that cannot be: the command line says what and where, and ends with the right number.

use std::fs;
use std::path::Path;
use std::process::Output;

use policy::trust::Kind;
use proto::signed::SigningKey;
use tests::binaries::Binaries;
use tests::{papers, process};

use super::{LIMIT, estate};

fn backstay(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Binaries::build().expect("built").command("backstay").expect("built");
    let Output { status, stdout, stderr } = process::run(command.current_dir(folder).args(arguments), LIMIT).expect("ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (status.code(), stdout, stderr)
}

#[test]
fn a_policy_that_cannot_be_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let head = "estate = \"contoso\"\nversion = 1\n";
    let window =
        |zone: &str| format!("{head}[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"{zone}\"\n");
    let cases: [(String, &[&str]); 6] = [
        (format!("{head}moed = \"act\"\n"), &["line 3", "moed"]),
        (format!("{head}[quiet]\nrecord_mising = \"2m\"\n"), &["line 4", "record_mising"]),
        (window("Europe/Atlantis"), &["window number 1", "Europe/Atlantis"]),
        (format!("{head}mode = \"everything\"\n"), &["line 3", "everything"]),
        (format!("{head}[expiry]\nrenew_before = \"90d\"\npropose_at = \"30d\"\n"), &["expiry"]),
        ("estate = \"contoso\"\n".to_owned(), &["version"]),
    ];
    for (text, words) in cases {
        fs::write(folder.path().join("policy.toml"), &text).expect("written");
        let (code, stdout, stderr) = backstay(folder.path(), &["policy", "check", "policy.toml"]);
        assert_eq!(code, Some(1), "{text}\n{stdout}{stderr}");
        assert!(stdout.is_empty(), "{stdout}");
        for word in words.iter().chain(&["policy.toml"]) {
            assert!(stderr.contains(word), "expected {word:?} in\n{stderr}");
        }
    }
    let (code, _, stderr) = backstay(folder.path(), &["policy", "check", "nowhere.toml"]);
    assert_eq!(code, Some(3), "{stderr}");
}

#[test]
fn documents_by_the_wrong_hands_are_refused_and_change_nothing() {
    let mut estate = estate(&["EX1"], &[]);
    let desk = estate.desk().clone();
    let status = || desk.json(&["status"]).expect("a status");
    let before = status();
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = desk.run(arguments).expect("ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "expected {word:?} in\n{said}");
        }
    };
    let stranger = SigningKey::generate().expect("a key");
    fs::write(desk.file("stranger.key"), stranger.to_file_text().expect("a text").as_str()).expect("written");
    let first = fs::read_to_string(desk.file("policy-1.toml")).expect("the first policy");
    let id = policy::id::Sha256::of(first.as_bytes());
    let next = first.replace("version = 1\n", &format!("version = 2\nprevious = \"{id}\"\n"));
    fs::write(desk.file("next.toml"), &next).expect("written");
    refused(&["policy", "apply", "next.toml", "--key", "stranger.key"], &["policy"]);
    fs::write(desk.file("again.toml"), first.replace("mode = \"act\"", "mode = \"propose\"")).expect("written");
    refused(&["policy", "apply", "again.toml", "--key", "trust/anna.key"], &["version = 2"]);
    fs::write(desk.file("other.toml"), next.replace("contoso", "fabrikam")).expect("written");
    refused(&["policy", "apply", "other.toml", "--key", "trust/anna.key"], &["contoso", "fabrikam"]);

    let held = desk.file("trust/trust.signed");
    let held = proto::signed::SignedBytes::from_file_text(&fs::read_to_string(held).expect("there")).expect("reads");
    let mut document = policy::trust::TrustDocument::from_bytes(&held.body).expect("reads");
    document.version = 2;
    document.root.keys = [stranger.id()].into();
    let forged = papers::signed(Kind::Trust, document.to_bytes(), &[&stranger]).expect("signed");
    fs::write(desk.file("forged.signed"), forged.to_file_text()).expect("written");
    refused(&["trust", "apply", "forged.signed"], &["root"]);

    let after = status();
    for key in ["trust_version", "policy_version"] {
        assert_eq!(before[key], after[key]);
    }
    estate.wait_verdict("EX1", "healthy", LIMIT).expect("watched");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn exports_that_are_not_what_they_seem_are_named_and_judged_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [(&str, &[u8]); 5] = [
        ("certificates.xml", b"this is not XML at all"),
        (
            "bindings.xml",
            b"<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\"><Obj RefId=\"0\">",
        ),
        ("applicationHost.config", b"PK\x03\x04\x14\x00\x00\x00"),
        ("server.xml", b"\xff\xfe\x00\xd8"),
        ("services.xml", b""),
    ];
    for (name, bytes) in cases {
        let own = folder.path().join(name.replace('.', "-"));
        fs::create_dir(&own).expect("a folder");
        fs::write(own.join(name), bytes).expect("written");
        let (code, stdout, stderr) = backstay(folder.path(), &["assess", &own.display().to_string()]);
        assert_eq!(code, Some(1), "{name}: {stdout}{stderr}");
        assert!(format!("{stdout}{stderr}").contains(name), "{name} is not named in\n{stdout}{stderr}");
        assert!(stderr.contains("error"), "{stderr}");
    }
}
