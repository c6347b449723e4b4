//! Signatures of the installer and of the exe in it: made as a release makes them, with a certificate of the test's own, and worth
//! nothing as soon as a byte differs or another vouches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tests::process;
use tests::wine::installer::{package, verify};

/// A CA and a signer, in files.
struct Chain {
    ca: PathBuf,
    signer: PathBuf,
    key: PathBuf,
}

fn chain(folder: &Path, name: &str) -> Chain {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{name} CA"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    let root = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let key = KeyPair::generate().expect("a key");
    let signer = params.signed_by(&key, &issuer).expect("a certificate");

    let write = |file: &str, text: &str| {
        let path = folder.join(format!("{name}-{file}"));
        fs::write(&path, text).expect("written");
        path
    };
    Chain {
        ca: write("ca.pem", &root.pem()),
        signer: write("signer.pem", &signer.pem()),
        key: write("key.pem", &key.serialize_pem()),
    }
}

/// Runs a tool of msitools' in `folder`.
fn tool(program: &str, arguments: &[&str], folder: &Path) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    let output = process::run(&mut command, Duration::from_secs(60)).expect("ends");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn refused(ca: &Path, file: &Path) {
    let error = verify(ca, &[file]).expect_err("refused").to_string();
    assert!(error.contains("is not as it was signed"), "{error}");
}

#[test]
fn outside_windows_msi_and_the_exe_in_it_are_signed_and_nothing_else_passes_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (chain(folder.path(), "ours"), chain(folder.path(), "theirs"));
    let sign = [("BACKSTAY_SIGN_CERTIFICATE", &*ours.signer), ("BACKSTAY_SIGN_KEY", &*ours.key)];
    let msi = package("1.0.0", folder.path(), &sign).expect("packed");
    tool("msiextract", &["--directory", "inside", msi.to_str().expect("text")], folder.path());
    let exe = folder.path().join("inside/Backstay/backstay-agent.exe");
    verify(&ours.ca, &[&msi, &exe]).expect("good");

    for file in [&msi, &exe] {
        // By others, who signed nothing.
        refused(&theirs.ca, file);
        // In the middle, far from headers and signature.
        let mut bytes = fs::read(file).expect("reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let flipped = file.with_extension("flipped");
        fs::write(&flipped, bytes).expect("written");
        refused(&ours.ca, &flipped);
    }

    // An installer that would do something else.
    let edited = folder.path().join("edited.msi");
    fs::copy(&msi, &edited).expect("copied");
    let edit = "UPDATE `ServiceInstall` SET `Arguments` = 'other' WHERE `ServiceInstall` = 'AgentService'";
    tool("msibuild", &["edited.msi", "-q", edit], folder.path());
    refused(&ours.ca, &edited);

    let unsigned = package("1.0.1", folder.path(), &[]).expect("packed");
    refused(&ours.ca, &unsigned);
}
