//! The agent's own things: its state folder, room for a journal, a hold, and the way to its controllers.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use proto::names::Address;

use super::{Attempt, Checks, Trouble};
use crate::authority::Authority;
use crate::config::Config;
use crate::hold::Holds;
use crate::identity::Identity;
use crate::tls::{self, PinnedCa};

/// What a journal sets aside before its run begins, in bytes (TRUST J3).
const JOURNAL: usize = 64 * 1024;

/// The state folder takes what a journal writes: room, right and a disk that syncs, tried with a file of that size that is
/// removed again.
pub(super) fn folder(checks: &mut Checks, folder: &Path) {
    let shown = folder.display();
    let next = "free space on its disk, and look at its access list: the agent's account must write there";
    checks.attempt(Attempt::needed("state.journal", next), || {
        if !folder.is_dir() {
            return Err(Trouble::Lacks(format!(
                "a state folder: {shown} is made by the installer, or when the agent first runs"
            )));
        }
        let path = folder.join(format!("doctor-{}.scratch", std::process::id()));
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&[0; JOURNAL])?;
            file.sync_all()
        });
        let removed = fs::remove_file(&path);
        written
            .and(removed)
            .map_err(|source| Trouble::Driver(crate::driver::DriverError::Io { object: shown.to_string(), source }))?;
        Ok(((), format!("{JOURNAL} bytes written to {shown}, synced and removed")))
    });
}

/// A hold is no fault of the host, and still the first thing that somebody who wonders should see.
pub(super) fn hold(checks: &mut Checks, holds: &Holds) {
    let result = match holds.why() {
        None => Ok("none".to_owned()),
        Some(why) => Err(Trouble::Wrong(why)),
    };
    checks.note(
        Attempt::useful("hold", "backstay-agent hold show says where it comes from; lift it there when its reason is over"),
        result,
    );
}

fn what(name: &str) -> Attempt<'_> {
    Attempt::useful(name, "look at the way to the controller (name, proxy, firewall) and at its log")
}

/// Every controller that this host may talk to: name, connection, TLS in both directions.
pub(super) fn controllers(checks: &mut Checks, config: &Config) {
    let ready = || -> Result<Option<(Vec<Address>, PinnedCa, Identity)>, Trouble> {
        let wrong = |error: &dyn std::error::Error| Trouble::Wrong(crate::chain(error));
        let Some(identity) = Identity::open(&config.state_dir).map_err(|error| wrong(&error))? else { return Ok(None) };
        let Some(authority) = Authority::open(&config.state_dir).map_err(|error| wrong(&error))? else { return Ok(None) };
        let addresses = crate::chosen(&config.controllers.agents, &identity.joined().agents);
        Ok(Some((addresses, PinnedCa::new(authority.ca().clone(), identity.ca().to_vec()), identity)))
    };
    let (addresses, ca, identity) = match ready() {
        Ok(Some(ready)) => ready,
        Ok(None) => {
            let lacks = Trouble::Lacks("an estate: this host has not joined one".to_owned());
            return checks.note(what("controller"), Err(lacks));
        }
        Err(trouble) => return checks.note(what("controller"), Err(trouble)),
    };
    let (certificate, key) = identity.credentials();
    let tls = match tls::identified(ca, certificate, key) {
        Ok(tls) => tls,
        Err(error) => return checks.note(what("controller"), Err(Trouble::Wrong(crate::chain(&error)))),
    };
    for address in addresses {
        let name = format!("controller.{address}");
        checks.attempt(what(&name), || {
            // One for each: a connection that hangs is given up with it.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Trouble::Wrong(crate::chain(&error)))?;
            let dialled = runtime
                .block_on(tls::dial(&address, config.controllers.proxy.as_ref(), tls.clone()))
                .map_err(|error| Trouble::Wrong(crate::chain(&error)))?;
            drop(dialled);
            Ok(((), "reached; it proved itself by a pinned CA".to_owned()))
        });
    }
}
