//! What hangs on port 444: the chain record → store → key, followed as far as it holds.

use jiff::Timestamp;

use crate::certificate::Certificate;
use crate::document::Policy;
use crate::duration::Span;
use crate::id::Thumbprint;
use crate::report::{Fact, KeyState, Report, Sight, SslRecord, Store, StoreEntry};

/// How far the chain record → store → key holds on this host.
#[derive(Debug, Clone, Copy)]
pub enum Bound<'a> {
    /// A link could not be read.
    Unknown(&'a str),
    /// http.sys has no record for 444.
    NoRecord,
    /// The record names a certificate that its store does not hold.
    Dangling {
        /// The record.
        record: &'a SslRecord,
        /// What it names; `None` when the record holds no hash at all.
        thumbprint: Option<Thumbprint>,
    },
    /// The certificate is there, its key is not usable.
    KeyUnusable {
        /// The record.
        record: &'a SslRecord,
        /// The store entry.
        entry: &'a StoreEntry,
        /// What is wrong with the key.
        state: KeyState,
    },
    /// Every link holds. Whether the certificate is also fit is [`Bound::unfit`]'s question.
    Whole {
        /// The record.
        record: &'a SslRecord,
        /// The store entry.
        entry: &'a StoreEntry,
        /// The certificate.
        certificate: &'a Certificate,
    },
}

/// Why a certificate is not fit for 444, though the chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// In the Disallowed store, or listed as compromised by the policy.
    Distrusted,
    /// Past its end, or not yet valid.
    OutOfDate,
    /// Its names do not cover the server.
    Names,
}

impl<'a> Bound<'a> {
    /// Follows the chain in what was seen.
    pub fn of(sight: &'a Sight) -> Self {
        let record = match sight.report.records.known() {
            None => return Self::Unknown("the http.sys records were not read"),
            Some(records) => match records.iter().find(|record| record.is_back_end()) {
                None => return Self::NoRecord,
                Some(record) => record,
            },
        };
        let Some(thumbprint) = record.thumbprint else {
            return Self::Dangling { record, thumbprint: None };
        };
        let entry = match sight.report.entry(&record.store(), thumbprint) {
            Fact::Unknown(_) => return Self::Unknown("the certificate stores were not read"),
            Fact::Known(None) => return Self::Dangling { record, thumbprint: Some(thumbprint) },
            Fact::Known(Some(entry)) => entry,
        };
        let Some(certificate) = sight.certificates.get(&entry.certificate) else {
            return Self::Unknown("the certificate on 444 could not be decoded or is not at hand");
        };
        // Trust, dates and names are judged by the decoded certificate: it must be the one that http.sys means.
        if certificate.thumbprint() != thumbprint || certificate.id() != entry.certificate {
            return Self::Unknown(
                "the report contradicts itself: the certificate on 444 has another thumbprint than its store entry",
            );
        }
        match entry.key_state {
            Fact::Known(KeyState::Usable) => Self::Whole { record, entry, certificate },
            Fact::Known(state) => Self::KeyUnusable { record, entry, state },
            Fact::Unknown(_) => Self::Unknown("whether the private key can be used was not tried"),
        }
    }

    /// How long a loss of this kind is watched before it is repaired.
    pub fn quiet(&self, policy: &Policy) -> Span {
        match self {
            Self::NoRecord => policy.quiet.record_missing,
            Self::Dangling { .. } | Self::Unknown(_) | Self::KeyUnusable { .. } | Self::Whole { .. } => policy.quiet.dangling,
        }
    }

    /// Why the certificate of a whole chain is not fit; `None` when it is fit, or when the chain does not hold.
    pub fn unfit(&self, policy: &Policy, report: &Report, now: Timestamp) -> Option<Unfit> {
        let Self::Whole { certificate, .. } = self else { return None };
        unfit(certificate, policy, report, now)
    }
}

/// Why `certificate` is not fit to stand on 444 of this host at `now`; the gravest reason first.
pub fn unfit(certificate: &Certificate, policy: &Policy, report: &Report, now: Timestamp) -> Option<Unfit> {
    if distrusted(policy, report, certificate.thumbprint()) {
        Some(Unfit::Distrusted)
    } else if now < certificate.not_before() || certificate.not_after() <= now {
        Some(Unfit::OutOfDate)
    } else if !names_fit(certificate, policy, report) {
        Some(Unfit::Names)
    } else {
        None
    }
}

/// Whether this thumbprint is distrusted on the host or listed as compromised by the policy (G10). Stores that were not
/// read cannot clear a certificate: whoever wants to bind one asks [`disallowed_known`] as well.
pub fn distrusted(policy: &Policy, report: &Report, thumbprint: Thumbprint) -> bool {
    policy.compromised.contains(&thumbprint) || matches!(report.entry(&Store::Disallowed, thumbprint), Fact::Known(Some(_)))
}

/// The Disallowed store was read.
pub fn disallowed_known(report: &Report) -> bool {
    report.stores.known().is_some()
}

/// The certificate covers the server's full name; its NetBIOS name when the full one is unknown.
pub(crate) fn names_fit(certificate: &Certificate, policy: &Policy, report: &Report) -> bool {
    certificate.covers(policy.full_name(&report.host).unwrap_or(report.host.name.as_str()))
}
