//! A rehearsal: a renewal up to the moment at which something that serves would change. Once for every kind of host.
//!
//! The key goes into a container that is the rehearsal's own, the certificate stays in memory, and both are gone when it ends.
//! Nothing is added to a store, no record is written; that the stores and records read as before is the last check.
//!
//! This is the one exception to "key containers are never deleted" (TRUST decision 10; decision 0017): the container has a name
//! that no other has, it is always the same one, and the call that takes it away takes no name. So a rehearsal that was killed
//! leaves at most this one container, and the next one begins by taking it away.

use policy::certificate::Certificate;
use policy::report::{Access, SslRecord, Store};

use super::container::certificate_for;
use super::examine::{certificate_of, listed, signs};
use super::system::{HostKey, Opened, Stored, System};
use super::{DriverError, dry};
use crate::doctor::{Attempt, Checks, Trouble, Wish};

/// The container of rehearsals. Setup's are called by a GUID and the agent's by a UUID (TRUST J5), so no certificate's key is in
/// one of this name.
pub const CONTAINER: &str = "backstay-rehearsal-key";

/// NETWORK SERVICE may read: what Setup gives it, as it reads back (EXCHANGE.md 5.4).
const TRANSPORT: (&str, u32) = ("S-1-5-20", 0x0012_0089);

const NEXT: &str = "a renewal would stop here too, before anything that serves is changed; the code says why";

/// What a rehearsal must leave alone.
#[derive(Debug, PartialEq, Eq)]
struct Around {
    my: Vec<Stored>,
    root: Vec<Stored>,
    records: Vec<SslRecord>,
}

impl Around {
    fn of<S: System>(system: &S) -> Result<Self, DriverError> {
        Ok(Self { my: system.stored(&Store::My)?, root: system.stored(&Store::Root)?, records: system.records()? })
    }
}

/// A container of an earlier rehearsal is left over. Changes nothing.
pub(super) fn leftover<S: System>(system: &S, checks: &mut Checks) {
    let what = Attempt::useful("rehearse.leftover", "backstay-agent doctor --rehearse takes it away");
    checks.attempt(what, || match system.key(CONTAINER)? {
        Opened::Missing => Ok(((), "no rehearsal was cut off".to_owned())),
        Opened::Denied | Opened::Key(_) => {
            Err(Trouble::Wrong(format!("a rehearsal was cut off: its container {CONTAINER} is there")))
        }
    });
}

/// Goes through a renewal as `wish` has it. Whatever fails, the container is taken away.
pub(super) fn rehearse<S: System>(system: &S, wish: &Wish, checks: &mut Checks) {
    let before = checks.attempt(Attempt::needed("rehearse.before", NEXT), || {
        let around = Around::of(system)?;
        let words =
            format!("{} certificates in MY, {} in Root, {} records", around.my.len(), around.root.len(), around.records.len());
        Ok((around, words))
    });
    let ready = before.as_ref().and_then(|_| {
        checks.attempt(Attempt::needed("rehearse.clear", NEXT), || {
            let cleared = take_away(system)?;
            Ok((
                (),
                (if cleared { "what a rehearsal that was cut off had left is gone" } else { "nothing was left over" }).to_owned(),
            ))
        })
    });
    let made = ready.and_then(|()| make(system, wish, checks));
    if made.is_none() {
        let why = || Trouble::NotTried("no key was made".to_owned());
        for name in ["rehearse.sign", "rehearse.access", "rehearse.mint", "rehearse.handshake"] {
            checks.note(Attempt::needed(name, NEXT), Err(why()));
        }
    }
    if let Some(key) = made {
        serve(system, wish, key, checks);
    }
    // Also when making it failed: half of it may be there.
    if ready.is_some() {
        let next = "its name is backstay-rehearsal-key: no certificate uses it, and the next rehearsal takes it away";
        checks.attempt(Attempt::needed("rehearse.clean_up", next), || {
            take_away(system)?;
            Ok(((), "the key is gone".to_owned()))
        });
    }
    let next = "somebody else was at work on this host: backstay explain";
    checks.attempt(Attempt::needed("rehearse.untouched", next), || {
        let before = before.ok_or_else(|| Trouble::NotTried("stores and records could not be read".to_owned()))?;
        let after = Around::of(system)?;
        let same = [
            ("MY", before.my == after.my),
            ("Root", before.root == after.root),
            ("the records", before.records == after.records),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(((), "MY, Root and the records read as before".to_owned())),
            Some((what, _)) => Err(Trouble::Wrong(format!("expected {what} to read as before, found a change"))),
        }
    });
}

fn make<S: System>(system: &S, wish: &Wish, checks: &mut Checks) -> Option<S::Key> {
    checks.attempt(Attempt::needed("rehearse.key", NEXT), || {
        system.create_key(CONTAINER, wish.bits)?;
        match system.key(CONTAINER)? {
            Opened::Key(key) => Ok((key, format!("RSA {}, key exchange, not exportable, made and opened again", wish.bits))),
            Opened::Missing => Err(Trouble::Wrong(format!("expected the key that was just made in {CONTAINER}, found none"))),
            Opened::Denied => {
                Err(Trouble::Wrong(format!("expected the key that was just made in {CONTAINER} to open, found access denied")))
            }
        }
    })
}

fn serve<S: System>(system: &S, wish: &Wish, key: S::Key, checks: &mut Checks) {
    checks.attempt(Attempt::needed("rehearse.sign", NEXT), || {
        signs(&key)?;
        Ok(((), format!("signs with SHA-256, {}", key.signer()?)))
    });
    checks.attempt(Attempt::needed("rehearse.access", NEXT), || {
        let wanted = access(system, &key)?;
        system.grant_key(CONTAINER, &wanted)?;
        let Opened::Key(key) = system.key(CONTAINER)? else {
            return Err(Trouble::Wrong("expected the key to open with its new access list, found it closed".to_owned()));
        };
        let found = key.access()?;
        if found != wanted {
            return Err(Trouble::Wrong(format!("expected {} to read back, found {}", listed(&wanted), listed(&found))));
        }
        Ok(((), format!("set and read back: {}", listed(&found))))
    });
    let certificate = checks.attempt(Attempt::needed("rehearse.mint", NEXT), || {
        let Wish { netbios, fqdn, bits: _, months } = wish;
        let der = certificate_for(&key, netbios, fqdn, *months)?;
        let certificate = Certificate::from_der(&der.0).map_err(|error| Trouble::Wrong(error.to_string()))?;
        let (names, until) = (certificate.names().join(" and "), certificate.not_after().strftime("%Y-%m-%d"));
        let words = format!("self-signed for {names}, until {until}, {}; kept in memory", certificate.signature());
        Ok((certificate, words))
    });
    checks.attempt(Attempt::needed("rehearse.handshake", NEXT), || {
        let certificate = certificate.ok_or_else(|| Trouble::NotTried("there is no certificate".to_owned()))?;
        dry::handshake(&certificate, key, &wish.fqdn)?;
        Ok(((), "TLS 1.2 on a private port of loopback: the new certificate was shown, and its key signed".to_owned()))
    });
}

/// The access list that a renewal gives: the outgoing key's. Where that cannot be read, the new key's own and transport's.
fn access<S: System>(system: &S, new: &S::Key) -> Result<Vec<Access>, DriverError> {
    let outgoing = || -> Option<Vec<Access>> {
        let record = system.records().ok()?.into_iter().find(SslRecord::is_back_end)?;
        let (stored, _) = certificate_of(system, &record).ok()?;
        let Opened::Key(key) = system.key(&stored.key?.container).ok()? else { return None };
        key.access().ok()
    };
    if let Some(access) = outgoing() {
        return Ok(access);
    }
    let (sid, mask) = TRANSPORT;
    let mut access = new.access()?;
    access.push(Access { sid: sid.to_owned(), mask });
    access.sort();
    access.dedup();
    Ok(access)
}

/// Takes the container away if it is there, and looks whether it is gone. True when there was one. It is not looked for first:
/// what is left of a rehearsal that was killed may be a container without a key, which does not open.
fn take_away<S: System>(system: &S) -> Result<bool, Trouble> {
    let was_there = system.delete_rehearsal_key()?;
    match system.key(CONTAINER)? {
        Opened::Missing => Ok(was_there),
        Opened::Denied | Opened::Key(_) => {
            Err(Trouble::Wrong(format!("expected container {CONTAINER} to be gone, found it still there")))
        }
    }
}
