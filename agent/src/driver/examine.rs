//! The calls that a renewal makes, tried one by one as far as they change nothing: stores, records, and the key behind 444. Once
//! for every kind of host, above the calls of [`System`]; what only one kind has, its driver adds.

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use policy::certificate::Certificate;
use policy::id::Thumbprint;
use policy::report::{Access, SslRecord, Store};

use super::DriverError;
use super::system::{HostKey, Opened, Stored, System};
use crate::doctor::{Attempt, Checks, Trouble};

/// NETWORK SERVICE, as whom transport runs.
const NETWORK_SERVICE: &str = "S-1-5-20";

const ELEVATE: &str = "run doctor as an administrator, or as SYSTEM as whom the agent runs";

/// The stores that a look reads. Of a renewal only the first two are a part.
const STORES: [(&str, Store, bool); 5] = [
    ("store.MY", Store::My, true),
    ("store.Root", Store::Root, true),
    ("store.WebHosting", Store::WebHosting, false),
    ("store.REQUEST", Store::Request, false),
    ("store.Disallowed", Store::Disallowed, false),
];

/// Tries what reads: stores, records and the key of what is on 444.
pub(super) fn examine<S: System>(system: &S, checks: &mut Checks) {
    stores(system, checks);
    let record = records(system, checks);
    behind_444(system, record, checks);
    let dns = "give this machine a primary DNS suffix: a certificate for it needs its full name";
    checks.attempt(Attempt::needed("name.full", dns), || Ok(((), system.full_name()?)));
    let readable = Attempt::needed("iis.configuration", "is IIS installed? May this account read its configuration?");
    checks.attempt(readable, || {
        let text = system.configuration()?;
        Ok(((), format!("applicationHost.config, {} bytes", text.len())))
    });
}

fn stores<S: System>(system: &S, checks: &mut Checks) {
    let mut archived = 0;
    for (name, store, needed) in STORES {
        let found = checks.attempt(Attempt { name, needed, next: ELEVATE }, || {
            let found = system.stored(&store)?;
            let linked = found.iter().filter(|stored| stored.key.is_some()).count();
            let words = format!("{} certificates, {linked} with a link to a key", found.len());
            Ok((found, words))
        });
        archived += found.into_iter().flatten().filter(|stored| stored.archived).count();
    }
    let result = match archived {
        0 => Err(Trouble::Lacks("an archived certificate to see".to_owned())),
        some => Ok(format!("{some} archived certificates are seen")),
    };
    checks.note(Attempt::useful("store.archived", ""), result);
}

/// The record on 444, when there is one.
fn records<S: System>(system: &S, checks: &mut Checks) -> Option<SslRecord> {
    let records = checks.attempt(Attempt::needed("records", ELEVATE), || {
        let records = system.records()?;
        let words = format!("{} records of http.sys", records.len());
        Ok((records, words))
    });
    let next = "backstay explain: a record that is lost is put back, not renewed";
    let record = checks.attempt(Attempt::needed("record.444", next), || {
        let records = records.ok_or_else(|| Trouble::NotTried("the records could not be read".to_owned()))?;
        let record = records.into_iter().find(SslRecord::is_back_end);
        let record = record.ok_or_else(|| Trouble::Wrong("expected a record on 0.0.0.0:444, found none".to_owned()))?;
        let names = record.thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string());
        let words = format!("{} names {names} in {}", record.endpoint, record.store());
        if !record.wholly_known() {
            return Err(Trouble::Wrong(format!("{words}; not every field of it was read, so it could not be written back")));
        }
        Ok((record, words))
    });
    checks.attempt(Attempt::useful("record.replace", ""), || {
        let words = match system.replaces_records()? {
            true => "this system replaces a record in one call: 444 is never without one",
            false => "this system has no such call: delete and set, the old record at hand; 444 has none for milliseconds, which are told",
        };
        Ok(((), words.to_owned()))
    });
    record
}

/// The key of the certificate on 444: it opens, it is the certificate's, it signs, and who may use it can be read. The new key is
/// given the same access, and the old one is what a renewal goes back to.
fn behind_444<S: System>(system: &S, record: Option<SslRecord>, checks: &mut Checks) {
    let next = "backstay explain: a certificate or key that is lost is put back, not renewed";
    let key = checks.attempt(Attempt::needed("key.444", next), || {
        let record = record.ok_or_else(|| Trouble::NotTried("there is no record on 444 to start from".to_owned()))?;
        let (stored, certificate) = certificate_of(system, &record)?;
        let link = stored
            .key
            .ok_or_else(|| Trouble::Wrong(format!("expected {} to name a key, found no link", record_name(&record))))?;
        let container = format!("container {}, provider type {}, key spec {}", link.container, link.provider_type, link.key_spec);
        let key = match system.key(&link.container)? {
            Opened::Missing => return Err(Trouble::Wrong(format!("expected {container}, found none"))),
            Opened::Denied => return Err(Trouble::Wrong(format!("expected {container} to open, found access denied"))),
            Opened::Key(key) => key,
        };
        if key.id() != certificate.key_id() {
            let (expected, found) = (certificate.key_id().short(), key.id().short());
            return Err(Trouble::Wrong(format!("{container}: expected key {expected} of the certificate, found {found}")));
        }
        Ok((key, format!("{container}: the key of the certificate")))
    });
    let closed = || Trouble::NotTried("the key behind 444 did not open".to_owned());
    checks.attempt(Attempt::needed("key.444.sign", next), || {
        let key = key.as_ref().ok_or_else(closed)?;
        signs(key)?;
        Ok(((), format!("signs with SHA-256, {}", key.signer()?)))
    });
    checks.attempt(Attempt::needed("key.444.access", ELEVATE), || {
        let access = key.as_ref().ok_or_else(closed)?.access()?;
        Ok(((), listed(&access)))
    });
}

/// Entry and certificate that the record names.
pub(super) fn certificate_of<S: System>(system: &S, record: &SslRecord) -> Result<(Stored, Certificate), Trouble> {
    let store = record.store();
    let thumbprint = record.thumbprint.ok_or_else(|| Trouble::Wrong("expected a certificate on 444, found none".to_owned()))?;
    let stored = system.stored(&store)?.into_iter().find(|stored| Thumbprint::of(&stored.der.0) == thumbprint);
    let stored = stored.ok_or_else(|| Trouble::Wrong(format!("expected {thumbprint} in {store}, found none")))?;
    let certificate = Certificate::from_der(&stored.der.0).map_err(|error| Trouble::Wrong(format!("{thumbprint}: {error}")))?;
    Ok((stored, certificate))
}

fn record_name(record: &SslRecord) -> String {
    record.thumbprint.map_or_else(|| record.endpoint.clone(), |thumbprint| thumbprint.to_string())
}

/// Who may, in words.
pub(super) fn listed(access: &[Access]) -> String {
    let transport = if access.iter().any(|access| access.sid == NETWORK_SERVICE) { "among them" } else { "not" };
    format!("{} entries, {transport} NETWORK SERVICE", access.len())
}

/// A signature over random bytes verifies with the public key.
pub(super) fn signs(key: &dyn HostKey) -> Result<(), DriverError> {
    let wrong = |expected: &str, found: &str| DriverError::Unreadable {
        object: format!("key {}", key.id().short()),
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let mut message = [0; 32];
    aws_lc_rs::rand::fill(&mut message).map_err(|_| wrong("random bytes to sign", "none"))?;
    let signature = key.sign(&message)?;
    // Whether a key is long enough is for the policy to say; whether it works is what is asked here.
    UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key.public())
        .verify(&message, &signature)
        .map_err(|_| wrong("a signature that its public key verifies", "one that it does not"))
}
