//! The single values of a policy, with their defaults and bounds.

use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::duration::Span;
use crate::peers::MAX_PEERS;

/// `[expiry]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expiry {
    /// Collect approvals from this long before the end; at least `renew_before`.
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

impl Expiry {
    /// What contradicts itself.
    pub(super) fn contradiction(self) -> Option<String> {
        let Self { propose_at, renew_before, urgent_at: _ } = self;
        (propose_at < renew_before)
            .then(|| format!("expiry.propose_at: expected at least expiry.renew_before ({renew_before}), found {propose_at}"))
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
    /// before it is quiet. At least both quiet times.
    pub ceiling: Span,
}

impl Default for Quiet {
    fn default() -> Self {
        Self { record_missing: Span::seconds(120), dangling: Span::seconds(300), ceiling: Span::seconds(900) }
    }
}

impl Quiet {
    /// What contradicts itself.
    pub(super) fn contradiction(self) -> Option<String> {
        let Self { record_missing, dangling, ceiling } = self;
        (ceiling < dangling.max(record_missing)).then(|| {
            format!(
                "quiet.ceiling: expected at least both quiet times (record_missing {record_missing}, dangling {dangling}), found {ceiling}"
            )
        })
    }
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Automatic restores of one server in an hour, 1 to 100.
    #[serde(deserialize_with = "within::<_, 1, 100>")]
    pub restores_per_hour: u32,
    /// Automatic restores of one server in a day, 1 to 1000.
    #[serde(deserialize_with = "within::<_, 1, 1000>")]
    pub restores_per_day: u32,
    /// After this many days without a confirmed fresh policy the mode falls to `observe`.
    pub authority_days: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { restores_per_hour: 1, restores_per_day: 3, authority_days: 30 }
    }
}

/// `[waves]`: in which order approved work goes over an estate (P8). It stops at the first failure; that is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waves {
    /// What counts as one group, of which never two servers are in work at once.
    pub group_by: GroupBy,
    /// Servers of different groups in work at once, 1 to 100.
    #[serde(deserialize_with = "within::<_, 1, 100>")]
    pub at_once: u32,
    /// How long a result is watched before it is confirmed and the next server's turn comes; at most [`MAX_SOAK`].
    #[serde(deserialize_with = "soak")]
    pub soak: Span,
}

/// The longest soak.
pub const MAX_SOAK: Span = Span::days(7);

impl Default for Waves {
    fn default() -> Self {
        Self { group_by: GroupBy::Dag, at_once: 1, soak: Span::seconds(1800) }
    }
}

/// `[peers]`: other agents of the group that shake hands with a server's 444 (rule of restraint 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerChecks {
    /// How many look at each server, 0 (none) to [`MAX_PEERS`].
    #[serde(deserialize_with = "within::<_, 0, 3>")]
    pub count: u32,
    /// The time between two handshakes of one with another, 1 second (a lab) to a day.
    #[serde(deserialize_with = "peers_every")]
    pub every: Span,
}

impl Default for PeerChecks {
    fn default() -> Self {
        Self { count: 3, every: Span::seconds(300) }
    }
}

const _: () = assert!(MAX_PEERS == 3, "the bounds of `peers.count` say so");

/// What counts as one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The DAG; for servers without a DAG the AD site.
    Dag,
    /// The AD site, and the DAG as well where it reaches over several.
    Site,
}

impl GroupBy {
    /// The word of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dag => "dag",
            Self::Site => "site",
        }
    }
}

/// The longest time between two looks at what a renewal needs: shorter than a look is believed (`checkup::FRESH`).
pub const MAX_REHEARSE_EVERY: Span = Span::days(30);

/// `rehearse_every`; nothing at all stands for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct RehearseEvery(#[serde(deserialize_with = "rehearse_every")] Span);

impl Default for RehearseEvery {
    fn default() -> Self {
        Self(Span::days(7))
    }
}

impl RehearseEvery {
    pub(super) fn in_force(self) -> Option<Span> {
        Some(self.0).filter(|span| *span > Span::seconds(0))
    }
}

/// `[certificate]`: the vendor's profile (EXCHANGE.md 1.1), with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// RSA key size: 2048, 3072 or 4096.
    #[serde(deserialize_with = "key_bits")]
    pub key_bits: u32,
    /// Validity in calendar months, 1 to 60.
    #[serde(deserialize_with = "within::<_, 1, 60>")]
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

/// A number between two bounds, both included. Read wide, so that a negative one is told its bounds too.
fn within<'de, D: Deserializer<'de>, const LOW: u32, const HIGH: u32>(deserializer: D) -> Result<u32, D::Error> {
    let found = i64::deserialize(deserializer)?;
    u32::try_from(found)
        .ok()
        .filter(|found| (LOW..=HIGH).contains(found))
        .ok_or_else(|| D::Error::custom(format!("expected {LOW} to {HIGH}, found {found}")))
}

fn key_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let found = i64::deserialize(deserializer)?;
    let bits = KEY_BITS.into_iter().find(|bits| i64::from(*bits) == found);
    bits.ok_or_else(|| D::Error::custom(format!("expected 2048, 3072 or 4096, found {found}")))
}

fn soak<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let found = Span::deserialize(deserializer)?;
    if found <= MAX_SOAK { Ok(found) } else { Err(D::Error::custom(format!("expected at most {MAX_SOAK}, found {found}"))) }
}

fn peers_every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let found = Span::deserialize(deserializer)?;
    let fits = (Span::seconds(1)..=Span::days(1)).contains(&found);
    if fits { Ok(found) } else { Err(D::Error::custom(format!("expected 1s to 1d, found {found}"))) }
}

fn rehearse_every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let found = Span::deserialize(deserializer)?;
    let most = MAX_REHEARSE_EVERY;
    if found <= most { Ok(found) } else { Err(D::Error::custom(format!("expected 0s (never) to {most}, found {found}"))) }
}
