//! The policy: what is wanted of an estate, as one signed TOML document.
//!
//! Every key has a default but `estate` and `version`; unknown keys are refused with their place. An empty policy leaves
//! every server in mode `observe`: it says what it would have done and does nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use self::values::RehearseEvery;
use crate::duration::Span;
use crate::id::{EstateName, PolicyId, ServerName, Sha256, Thumbprint};
use crate::report::{Fact, Host};
use crate::window::{Freeze, RawFreeze, RawWindow, Window};

mod doubt;
mod error;
mod exception;
mod mode;
mod values;

pub use self::error::{Place, PolicyError};
pub use self::exception::{Allow, Exception, Name};
pub use self::mode::{Action, Actions, Group, Left, Mode, Say};
pub use self::values::{Expiry, GroupBy, Limits, MAX_REHEARSE_EVERY, MAX_SOAK, PeerChecks, Profile, Quiet, Waves};

/// The largest policy that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most windows, freezes, groups, names or exceptions of one policy.
const MAX_ENTRIES: usize = 1000;

/// A valid policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// SHA-256 of the document's bytes.
    pub id: PolicyId,
    /// The estate for which it was written.
    pub estate: EstateName,
    /// Grows with each policy; an agent refuses a lower one than it holds.
    pub version: u64,
    /// The policy that this one follows; `None` for the first.
    pub previous: Option<PolicyId>,
    /// When a certificate is said to be near its end.
    pub expiry: Expiry,
    /// How long a loss is watched before it is repaired.
    pub quiet: Quiet,
    /// The mode of servers that no group names.
    pub mode: Mode,
    /// How often an agent looks at what a renewal needs, as `doctor` does, and changes nothing; `None`: only when people ask.
    pub rehearse_every: Option<Span>,
    /// What is left to the agents of each class of actions.
    pub actions: Actions,
    /// Groups, in the order of the document; the first that names a server counts.
    pub groups: Vec<Group>,
    /// When approved work may run. None at all means always.
    pub windows: Vec<Window>,
    /// When it may not.
    pub freezes: Vec<Freeze>,
    /// In which order approved work goes over the estate.
    pub waves: Waves,
    /// Who looks at a server's 444 beside its own agent.
    pub peers: PeerChecks,
    /// Anti-flap and authority limits.
    pub limits: Limits,
    /// What a new certificate looks like.
    pub certificate: Profile,
    /// Full names of servers whose own names disagree; at most one of each server.
    pub names: Vec<Name>,
    /// Certificates that must never be bound or put back.
    pub compromised: BTreeSet<Thumbprint>,
    /// Per-server exceptions from the rule.
    pub exceptions: Vec<Exception>,
}

/// The document as it is written. What is checked against something else remembers where it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    estate: EstateName,
    version: Spanned<u64>,
    previous: Option<PolicyId>,
    expiry: Option<Spanned<Expiry>>,
    quiet: Option<Spanned<Quiet>>,
    mode: Option<Mode>,
    #[serde(default)]
    rehearse_every: RehearseEvery,
    #[serde(default)]
    actions: Actions,
    #[serde(default, rename = "group")]
    groups: Vec<Spanned<Group>>,
    #[serde(default, rename = "window")]
    windows: Vec<Spanned<RawWindow>>,
    #[serde(default, rename = "freeze")]
    freezes: Vec<Spanned<RawFreeze>>,
    #[serde(default)]
    waves: Waves,
    #[serde(default)]
    peers: PeerChecks,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    certificate: Profile,
    #[serde(default, rename = "name")]
    names: Vec<Spanned<Name>>,
    #[serde(default)]
    compromised: BTreeSet<Thumbprint>,
    #[serde(default, rename = "exception")]
    exceptions: Vec<Spanned<Exception>>,
}

/// The entries of one list of a policy, each made of what was written, or refused at its place.
struct Entries<'a> {
    policy: &'a str,
    list: &'static str,
}

impl Entries<'_> {
    fn read<R, T>(&self, raw: Vec<Spanned<R>>, make: impl Fn(R) -> Result<T, String>) -> Result<Vec<T>, PolicyError> {
        let Self { policy, list } = self;
        if let Some(beyond) = raw.get(MAX_ENTRIES) {
            let message = format!("{list}: expected at most {MAX_ENTRIES} of them, found {}", raw.len());
            return Err(PolicyError::At(Place::new(policy, Some(beyond.span()), &message)));
        }
        raw.into_iter()
            .enumerate()
            .map(|(index, entry)| {
                let span = entry.span();
                make(entry.into_inner()).map_err(|wrong| {
                    PolicyError::At(Place::new(policy, Some(span), &format!("{list} number {}: {wrong}", index + 1)))
                })
            })
            .collect()
    }
}

impl Policy {
    /// Reads a policy from its bytes, strictly.
    ///
    /// # Errors
    /// [`PolicyError`] with the place of what is wrong.
    pub fn from_toml(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            return Err(PolicyError::TooLarge(bytes.len()));
        }
        let text = str::from_utf8(bytes).map_err(|e| PolicyError::NotText(e.valid_up_to()))?;
        let raw: RawPolicy = toml::from_str(text).map_err(|e| PolicyError::At(Place::new(text, e.span(), e.message())))?;
        let RawPolicy {
            estate,
            version,
            previous,
            expiry,
            quiet,
            mode,
            rehearse_every,
            actions,
            groups,
            windows,
            freezes,
            waves,
            peers,
            limits,
            certificate,
            names,
            compromised,
            exceptions,
        } = raw;

        let wrong = |span, message: &str| Err(PolicyError::At(Place::new(text, Some(span), message)));
        let number = *version.as_ref();
        if number == 0 {
            return wrong(version.span(), "version: expected 1 or more, found 0");
        }
        if (number == 1) != previous.is_none() {
            let found = previous.map_or_else(|| "none".to_owned(), |id| id.to_string());
            let message = format!("previous: expected the id of the policy before, and none exactly in version 1, found {found}");
            return wrong(version.span(), &message);
        }
        if let Some(contradiction) = expiry.as_ref().and_then(|expiry| expiry.as_ref().contradiction()) {
            return wrong(expiry.map_or(0..0, |expiry| expiry.span()), &contradiction);
        }
        if let Some(contradiction) = quiet.as_ref().and_then(|quiet| quiet.as_ref().contradiction()) {
            return wrong(quiet.map_or(0..0, |quiet| quiet.span()), &contradiction);
        }
        let entries = |list| Entries { policy: text, list };
        let names: Vec<Name> = entries("name").read(names, Name::checked)?;
        if let Some(twice) = names
            .iter()
            .enumerate()
            .find_map(|(at, name)| names[..at].iter().any(|earlier| earlier.server == name.server).then_some(&name.server))
        {
            return wrong(0..0, &format!("name: expected one for each server, found several for {twice}"));
        }
        Ok(Self {
            id: Sha256::of(bytes),
            estate,
            version: number,
            previous,
            expiry: expiry.map(Spanned::into_inner).unwrap_or_default(),
            quiet: quiet.map(Spanned::into_inner).unwrap_or_default(),
            mode: mode.unwrap_or(Mode::Observe),
            rehearse_every: rehearse_every.in_force(),
            actions,
            groups: entries("group").read(groups, Ok)?,
            windows: entries("window").read(windows, |raw| Window::try_from(raw).map_err(|e| e.to_string()))?,
            freezes: entries("freeze").read(freezes, |raw| Freeze::try_from(raw).map_err(|e| e.to_string()))?,
            waves,
            peers,
            limits,
            certificate,
            names,
            compromised,
            exceptions: entries("exception").read(exceptions, Exception::checked)?,
        })
    }

    /// The policy of an estate that has none yet: observe, change nothing. Its version is 0, below every signed one.
    pub fn none_yet(estate: EstateName) -> Self {
        Self {
            id: Sha256::of(b""),
            estate,
            version: 0,
            previous: None,
            expiry: Expiry::default(),
            quiet: Quiet::default(),
            mode: Mode::Observe,
            rehearse_every: RehearseEvery::default().in_force(),
            actions: Actions::default(),
            groups: Vec::new(),
            windows: Vec::new(),
            freezes: Vec::new(),
            waves: Waves::default(),
            peers: PeerChecks::default(),
            limits: Limits::default(),
            certificate: Profile::default(),
            names: Vec::new(),
            compromised: BTreeSet::new(),
            exceptions: Vec::new(),
        }
    }

    /// The exception that lets `server` deviate so at `now`.
    pub fn exception(&self, server: &ServerName, allow: Allow, now: Timestamp) -> Option<&Exception> {
        self.exceptions.iter().find(|exception| exception.server == *server && exception.allow == allow && now < exception.until)
    }

    /// The full name under which others reach this server: the one that the policy gives it (G9), else its own.
    /// `None` when neither is known.
    pub fn full_name<'a>(&'a self, host: &'a Host) -> Option<&'a str> {
        self.given_name(&host.name).or_else(|| host.fqdn.known().map(String::as_str))
    }

    /// The full name that the policy gives to this server.
    pub fn given_name(&self, server: &ServerName) -> Option<&str> {
        self.names.iter().find(|name| name.server == *server).map(|name| name.full_name.as_str())
    }

    /// Until when approved work may run at `now`, or why it may not. Urgent work ignores windows, never freezes.
    ///
    /// # Errors
    /// [`Closed`] with the moment at which it is worth asking again.
    pub fn may_run(&self, now: Timestamp, urgent: bool) -> Result<(), Closed> {
        if let Some((freeze, until)) = self.freezes.iter().find_map(|freeze| Some((freeze, freeze.holds_until(now)?))) {
            return Err(Closed { why: format!("frozen: {}", freeze.reason), until: Fact::Known(until) });
        }
        if self.windows.is_empty() || urgent || self.windows.iter().any(|window| window.open_until(now).is_some()) {
            return Ok(());
        }
        let next = self.windows.iter().filter_map(|window| window.next_opening(now)).min();
        let until = next.map_or_else(|| Fact::Unknown("no window ever opens".to_owned()), Fact::Known);
        Err(Closed { why: "no maintenance window is open".to_owned(), until })
    }
}

/// Why nothing may run at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The freeze, or the lack of a window.
    pub why: String,
    /// When to ask again.
    pub until: Fact<Timestamp>,
}

#[cfg(test)]
mod tests;
