//! The policy: what is wanted of an estate, as one signed TOML document.
//!
//! Every key has a default but `estate` and `version`; unknown keys are refused with their place. An empty policy leaves
//! every server in mode `observe`: it says what it would have done and does nothing.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use crate::duration::Span;
use crate::id::{EstateName, Person, PolicyId, ServerName, Sha256, Thumbprint};
use crate::report::{Fact, Host};
use crate::window::{Freeze, InvalidWindow, Window};

/// The largest policy that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most windows, freezes, groups or exceptions of one policy.
const MAX_ENTRIES: usize = 1000;

/// The longest text that is repeated of a policy that does not read: hostile input is echoed, never at its own length.
const MAX_ECHO: usize = 2000;

/// Bytes that are not a policy.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// Larger than [`MAX_BYTES`].
    #[error("expected a policy of at most {MAX_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("expected UTF-8 text, found a byte at offset {0} that is none")]
    NotText(usize),
    /// Not TOML, an unknown key, or a value of the wrong kind; the message shows line and column.
    #[error("policy does not read as TOML\n{0}")]
    Toml(String),
    /// A window or freeze that cannot be.
    #[error("{list} number {number}")]
    Window {
        /// `window` or `freeze`.
        list: &'static str,
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        #[source]
        source: InvalidWindow,
    },
    /// Values that contradict each other or lie outside their bounds.
    #[error("{key}: expected {expected}, found {found}")]
    Value {
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// What the agent may do by itself in a group of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Say what would have been done, when and why.
    Observe,
    /// Propose everything; do nothing without approval.
    Propose,
    /// Restore by standing approval, within the rules of restraint.
    Act,
}

impl Mode {
    /// The mode as the policy writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Propose => "propose",
            Self::Act => "act",
        }
    }
}

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
    /// Groups, in the order of the document; the first that names a server counts.
    pub groups: Vec<Group>,
    /// When approved work may run. None at all means always.
    pub windows: Vec<Window>,
    /// When it may not.
    pub freezes: Vec<Freeze>,
    /// Anti-flap and authority limits.
    pub limits: Limits,
    /// What a new certificate looks like.
    pub certificate: Profile,
    /// Certificates that must never be bound or put back.
    pub compromised: BTreeSet<Thumbprint>,
    /// Per-server exceptions from the rule.
    pub exceptions: Vec<Exception>,
}

/// `[expiry]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expiry {
    /// Collect approvals from this long before the end.
    pub propose_at: Span,
    /// Earliest run: P1's border. `0d` means strictly on expiry.
    pub renew_before: Span,
    /// From this long before the end a missing renewal pages and ignores windows, never approvals.
    pub urgent_at: Span,
}

impl Default for Expiry {
    fn default() -> Self {
        Self { propose_at: Span::days(60), renew_before: Span::days(30), urgent_at: Span::days(3) }
    }
}

/// `[quiet]`: seen at once, acted on after a quiet time, which every foreign change restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quiet {
    /// After the record on 444 was lost.
    pub record_missing: Span,
    /// After the record was found dangling.
    pub dangling: Span,
    /// When foreign changes have kept the quiet time from ending for this long, somebody is paged. Nothing is written
    /// before it is quiet.
    pub ceiling: Span,
}

impl Default for Quiet {
    fn default() -> Self {
        Self { record_missing: Span::seconds(120), dangling: Span::seconds(300), ceiling: Span::seconds(900) }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Automatic restores of one server in an hour, 1 to 100.
    pub restores_per_hour: u32,
    /// Automatic restores of one server in a day, 1 to 1000.
    pub restores_per_day: u32,
    /// After this many days without a confirmed fresh policy the mode falls to `observe`.
    pub authority_days: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { restores_per_hour: 1, restores_per_day: 3, authority_days: 30 }
    }
}

/// `[certificate]`: the vendor's profile (EXCHANGE.md 1.1), with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// RSA key size: 2048, 3072 or 4096.
    pub key_bits: u32,
    /// Validity in calendar months, 1 to 60.
    pub months: u32,
}

/// Key sizes that a policy may ask for.
const KEY_BITS: [u32; 3] = [2048, 3072, 4096];

/// Validities in months that a policy may ask for.
const MONTHS: RangeInclusive<u32> = 1..=60;

impl Profile {
    /// Every value is one that a policy may ask for.
    pub fn allowed(self) -> bool {
        let Self { key_bits, months } = self;
        KEY_BITS.contains(&key_bits) && MONTHS.contains(&months)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self { key_bits: 2048, months: 60 }
    }
}

/// `[[group]]`: servers with a mode of their own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Servers by name.
    #[serde(default)]
    pub servers: Vec<ServerName>,
    /// All members of this DAG.
    pub dag: Option<String>,
    /// All servers of this AD site.
    pub site: Option<String>,
    /// What may be done there.
    pub mode: Mode,
}

impl Group {
    /// Whether the group names this host; `None` when that hangs on a fact that is unknown.
    fn has(&self, host: &Host) -> Option<bool> {
        let is = |wanted: &Option<String>, found: Option<Option<&String>>| match wanted {
            None => Some(false),
            Some(wanted) => found.map(|found| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted))),
        };
        let by_dag = is(&self.dag, host.dag.known().map(Option::as_ref));
        let by_site = is(&self.site, host.ad_site.known().map(Some));
        match (self.servers.contains(&host.name), by_dag, by_site) {
            (true, _, _) | (_, Some(true), _) | (_, _, Some(true)) => Some(true),
            (false, Some(false), Some(false)) => Some(false),
            (false, None, _) | (false, _, None) => None,
        }
    }
}

/// `[[exception]]`: one server, one rule, somebody's name and an end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The server.
    pub server: ServerName,
    /// What is excepted.
    pub allow: Allow,
    /// Who answers for it.
    pub owner: Person,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// What an exception allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Renew before the expiry window opens.
    EarlyRenewal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    estate: EstateName,
    version: u64,
    previous: Option<PolicyId>,
    #[serde(default)]
    expiry: Expiry,
    #[serde(default)]
    quiet: Quiet,
    mode: Option<Mode>,
    #[serde(default, rename = "group")]
    groups: Vec<Group>,
    #[serde(default, rename = "window")]
    windows: Vec<RawWindow>,
    #[serde(default, rename = "freeze")]
    freezes: Vec<RawFreeze>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    certificate: Profile,
    #[serde(default)]
    compromised: BTreeSet<Thumbprint>,
    #[serde(default, rename = "exception")]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    days: Vec<String>,
    start: String,
    length: Span,
    zone: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFreeze {
    from: String,
    to: String,
    zone: String,
    reason: String,
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
        let raw: RawPolicy =
            toml::from_str(text).map_err(|e| PolicyError::Toml(e.to_string().chars().take(MAX_ECHO).collect()))?;
        let RawPolicy {
            estate,
            version,
            previous,
            expiry,
            quiet,
            mode,
            groups,
            windows,
            freezes,
            limits,
            certificate,
            compromised,
            exceptions,
        } = raw;

        let value = |key: &str, expected: &str, found: String| PolicyError::Value {
            key: key.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        if version == 0 {
            return Err(value("version", "1 or more", "0".to_owned()));
        }
        if (version == 1) != previous.is_none() {
            let found = previous.map_or("none".to_owned(), |id| id.to_string());
            return Err(value("previous", "the id of the policy before, and none exactly in version 1", found));
        }
        if expiry.propose_at < expiry.renew_before {
            return Err(value("expiry.propose_at", "at least expiry.renew_before", expiry.propose_at.to_string()));
        }
        if quiet.ceiling < quiet.dangling || quiet.ceiling < quiet.record_missing {
            return Err(value("quiet.ceiling", "at least both quiet times", quiet.ceiling.to_string()));
        }
        if !KEY_BITS.contains(&certificate.key_bits) {
            return Err(value("certificate.key_bits", "2048, 3072 or 4096", certificate.key_bits.to_string()));
        }
        if !MONTHS.contains(&certificate.months) {
            return Err(value("certificate.months", "1 to 60", certificate.months.to_string()));
        }
        if !(1..=100).contains(&limits.restores_per_hour) {
            return Err(value("limits.restores_per_hour", "1 to 100", limits.restores_per_hour.to_string()));
        }
        if !(1..=1000).contains(&limits.restores_per_day) {
            return Err(value("limits.restores_per_day", "1 to 1000", limits.restores_per_day.to_string()));
        }
        for (list, length) in
            [("group", groups.len()), ("window", windows.len()), ("freeze", freezes.len()), ("exception", exceptions.len())]
        {
            if length > MAX_ENTRIES {
                return Err(value(list, &format!("at most {MAX_ENTRIES}"), length.to_string()));
            }
        }
        if let Some(exception) = exceptions.iter().find(|exception| exception.reason.trim().is_empty()) {
            return Err(value("exception.reason", "a reason", format!("none for server {}", exception.server)));
        }
        let windows = windows
            .iter()
            .enumerate()
            .map(|(index, RawWindow { days, start, length, zone })| {
                Window::new(days, start, *length, zone).map_err(|source| PolicyError::Window {
                    list: "window",
                    number: index + 1,
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let freezes = freezes
            .into_iter()
            .enumerate()
            .map(|(index, RawFreeze { from, to, zone, reason })| {
                Freeze::new(&from, &to, &zone, reason).map_err(|source| PolicyError::Window {
                    list: "freeze",
                    number: index + 1,
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: Sha256::of(bytes),
            estate,
            version,
            previous,
            expiry,
            quiet,
            mode: mode.unwrap_or(Mode::Observe),
            groups,
            windows,
            freezes,
            limits,
            certificate,
            compromised,
            exceptions,
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
            groups: Vec::new(),
            windows: Vec::new(),
            freezes: Vec::new(),
            limits: Limits::default(),
            certificate: Profile::default(),
            compromised: BTreeSet::new(),
            exceptions: Vec::new(),
        }
    }

    /// The mode of a host: of the first group that names it, else the document's. A group that may name it, because its
    /// DAG or AD site is unknown, can only lower the mode.
    pub fn mode_of(&self, host: &Host) -> Mode {
        let mut highest = Mode::Act;
        for group in &self.groups {
            match group.has(host) {
                Some(true) => return highest.min(group.mode),
                Some(false) => {}
                None => highest = highest.min(group.mode),
            }
        }
        highest.min(self.mode)
    }

    /// The exception that lets `server` deviate so at `now`.
    pub fn exception(&self, server: &ServerName, allow: Allow, now: Timestamp) -> Option<&Exception> {
        self.exceptions.iter().find(|exception| exception.server == *server && exception.allow == allow && now < exception.until)
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
mod tests {
    use super::*;

    const FIRST: &str = "estate = \"contoso\"\nversion = 1\n";

    fn refused(extra: &str) -> String {
        Policy::from_toml(format!("{FIRST}{extra}").as_bytes()).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_shortest_policy_observes_and_has_the_documented_defaults() {
        let policy = Policy::from_toml(FIRST.as_bytes()).expect("valid");
        assert_eq!(policy.mode, Mode::Observe);
        assert_eq!(policy.expiry.renew_before, Span::days(30));
        assert_eq!(policy.quiet.dangling, Span::seconds(300));
        assert_eq!(policy.certificate.months, 60);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = refused("[expiry]\nrenew_befor = \"30d\"\n");
        assert!(text.contains("renew_befor") && text.contains("line 4"), "{text}");
    }

    #[test]
    fn an_impossible_zone_is_refused_with_the_number_of_its_window() {
        let policy =
            format!("{FIRST}[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"Europe/Atlantis\"\n");
        let error = Policy::from_toml(policy.as_bytes()).expect_err("must be refused");
        assert!(matches!(error, PolicyError::Window { list: "window", number: 1, source: InvalidWindow::Zone(_) }));
    }

    #[test]
    fn contradictions_and_values_out_of_bounds_are_refused() {
        assert!(refused("[expiry]\npropose_at = \"10d\"\n").contains("expiry.propose_at"));
        assert!(refused("[certificate]\nkey_bits = 1024\n").contains("2048"));
        assert!(refused("[quiet]\nceiling = \"1s\"\n").contains("quiet.ceiling"));
        assert!(Policy::from_toml(b"estate = \"contoso\"\nversion = 2\n").is_err());
        assert!(Policy::from_toml(&[0xff, 0xfe]).is_err());
        assert!(Policy::from_toml(&vec![b'#'; MAX_BYTES + 1]).is_err());
    }

    #[test]
    fn work_runs_in_a_window_or_when_urgent_and_never_in_a_freeze() {
        let text = format!(
            "{FIRST}[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n\
             [[freeze]]\nfrom = \"2026-12-20\"\nto = \"2026-12-31\"\nzone = \"UTC\"\nreason = \"year end\"\n"
        );
        let policy = Policy::from_toml(text.as_bytes()).expect("valid");
        let at = |text: &str| text.parse::<Timestamp>().expect(text);
        assert!(policy.may_run(at("2026-11-21T23:00:00Z"), false).is_ok());
        let closed = policy.may_run(at("2026-11-22T12:00:00Z"), false).expect_err("closed on Sunday");
        assert_eq!(closed.until, Fact::Known(at("2026-11-28T22:00:00Z")));
        assert!(policy.may_run(at("2026-11-22T12:00:00Z"), true).is_ok());
        assert!(policy.may_run(at("2026-12-26T23:00:00Z"), true).is_err());
    }
}
