//! `backstay-agent doctor`: would a renewal succeed on this host? Every call that it needs is tried here, on the administrator's
//! own machine, because no test elsewhere can show what this Windows, this Exchange and these access lists do.
//!
//! ```text
//!   host's facts (one look) ─┐
//!   calls of the driver ─────┤
//!   handshakes with 444 ─────┼──▶ Checks ──▶ Checkup ──▶ page, state folder ──▶ controller
//!   the agent's own things ──┤
//!   a rehearsal, when asked ─┘
//! ```
//!
//! A look changes nothing on the host; it writes a scratch file into the agent's own state folder and removes it. A rehearsal
//! makes one key in a container that is its own, and takes it away again (decision 0017). What is decided from a checkup is in
//! `policy::checkup`.

use policy::checkup::{Checkup, Kind, Subject};
use policy::document::{Policy, Profile};
use policy::id::EstateName;
use policy::report::{BACK_END_PORT, Report};

use crate::authority::Authority;
use crate::config::Config;
use crate::driver::{Driver, DriverError};
use crate::{now, probe};

mod checks;
mod facts;
mod keep;
mod own;
mod page;

pub use checks::{Attempt, Checks, Trouble};
pub use keep::{KeepError, Shelf, keep, kept};
pub use page::{Format, print};

/// What a certificate is to be made for, in a rehearsal as in a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its first name.
    pub netbios: String,
    /// Its second name.
    pub fqdn: String,
    /// RSA key size.
    pub bits: u32,
    /// Validity in calendar months.
    pub months: u32,
}

/// The last check of a look, and the first of a rehearsal that does not take place.
const REHEARSAL: Attempt<'_> = Attempt::needed("rehearsal", "backstay-agent doctor --rehearse");

/// Examines this host. Blocks, for as long as its slowest port takes: about a minute when nothing answers.
pub fn examine(config: &Config, driver: &dyn Driver, kind: Kind) -> Checkup {
    let at = now();
    let mut checks = Checks::default();
    let folder = &config.state_dir;
    own::folder(&mut checks, folder);
    let policy = policy(&mut checks, config);
    own::hold(&mut checks, &config.holds);
    let look = Attempt::needed("look", "run doctor as an administrator, or as SYSTEM");
    let report = checks.attempt(look, || {
        let report = driver.observe()?.report;
        let name = report.host.name.clone();
        Ok((report, format!("{name} was looked at, as the agent does every minute")))
    });
    if let Some(report) = &report {
        facts::note(&mut checks, report);
    }
    driver.examine(folder, &mut checks);
    match &report {
        Some(report) => handshakes(&mut checks, driver, report, &policy),
        None => checks.note(HANDSHAKES, Err(Trouble::NotTried("the host could not be looked at".to_owned()))),
    }
    own::controllers(&mut checks, config);
    match kind {
        Kind::Look => {
            driver.leftover(&mut checks);
            checks.note(REHEARSAL, Err(Trouble::NotTried("it makes a key: only `doctor --rehearse` does".to_owned())));
        }
        Kind::Rehearsal => match ready(config, report.as_ref(), &policy) {
            Ok((wish, _lock)) => driver.rehearse(&wish, &mut checks),
            Err(why) => checks.note(REHEARSAL, Err(Trouble::NotTried(why))),
        },
    }
    let subject = Subject {
        machine_id: report.as_ref().and_then(|report| report.host.machine_id.known().cloned()),
        system: driver.system().ok(),
        exchange: report.as_ref().and_then(|report| Some(report.exchange.known()?.version.clone())),
    };
    let agent_version = env!("CARGO_PKG_VERSION").to_owned();
    Checkup { at, kind, agent_version, subject, checks: checks.into_all() }.within_bounds()
}

/// What a rehearsal is to make, and the lock that keeps another one away; why it does not take place.
fn ready(config: &Config, report: Option<&Report>, policy: &Policy) -> Result<(Wish, Option<std::fs::File>), String> {
    if let Some(held) = config.holds.why() {
        return Err(format!("nothing is made on a host that is {held}"));
    }
    let report = report.ok_or("the host could not be looked at")?;
    let fqdn = policy.full_name(&report.host).ok_or("the full name of this host is not known, and the policy names none")?;
    let Profile { key_bits: bits, months } = policy.certificate;
    let wish = Wish { netbios: report.host.name.to_string(), fqdn: fqdn.to_owned(), bits, months };
    keep::alone(&config.state_dir).map(|lock| (wish, lock))
}

/// The policy by which the agent judges here; where it holds none, that of an estate without one.
fn policy(checks: &mut Checks, config: &Config) -> Policy {
    let what = Attempt::useful("documents", "see the agent's log; `backstay-agent trust reset` begins anew");
    let mut held = None;
    checks.attempt(what, || match Authority::open(&config.state_dir) {
        Ok(Some(authority)) => {
            let policy = authority.standing(now()).policy;
            let found = format!("policy version {} of estate {}, mode {}", policy.version, policy.estate, policy.mode.as_str());
            held = Some(policy);
            Ok(((), found))
        }
        Ok(None) => Err(Trouble::Lacks("an estate: this host has not joined one".to_owned())),
        Err(error) => Err(Trouble::Wrong(crate::chain(&error))),
    });
    held.unwrap_or_else(|| {
        let nobody: EstateName = "not-joined".parse().expect("letters and a hyphen make a name");
        Policy::none_yet(nobody)
    })
}

const HANDSHAKES: Attempt<'_> = Attempt::needed("probe.rustls", "see why the host could not be looked at");

/// The agent's own handshakes, by which a renewal is proven.
fn handshakes(checks: &mut Checks, driver: &dyn Driver, report: &Report, policy: &Policy) {
    let name = policy.full_name(&report.host).unwrap_or(report.host.name.as_str());
    let expected = report.back_end_record().known().copied().flatten().and_then(|record| record.thumbprint);
    for path in driver.paths() {
        let word = probe::path_name(path);
        let check = format!("probe.rustls.{word}");
        let next = "look at IIS site \"Exchange Back End\" and its record on 444; Get-Service W3SVC";
        // Over loopback a renewal proves itself; a host without IPv6 has other ways.
        let needed = path == policy::report::ProbePath::Loopback;
        checks.attempt(Attempt { name: &check, needed, next }, || {
            let stream = driver.dial(BACK_END_PORT, path, probe::LIMIT).map_err(way_in)?;
            let shown = probe::handshake(stream, name).map_err(|why| Trouble::Wrong(why.to_owned()))?;
            probe::compared(&shown, expected).map(|found| ((), found)).map_err(Trouble::Wrong)
        });
    }
}

/// A way that this host does not have is no failure of what listens there.
pub fn way_in(error: DriverError) -> Trouble {
    match error {
        DriverError::Io { object, source } if source.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Trouble::Lacks(format!("an address of its own for {object} on this way"))
        }
        error @ (DriverError::Refused { .. }
        | DriverError::Unreadable { .. }
        | DriverError::Io { .. }
        | DriverError::Elsewhere { .. }
        | DriverError::NotMine(_)) => Trouble::Driver(error),
    }
}
