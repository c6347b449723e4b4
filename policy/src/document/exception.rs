//! What one server may do otherwise: deviate from the rule for a time, and be known by another name.

use jiff::Timestamp;
use serde::Deserialize;

use crate::id::{Person, ServerName};

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

impl Exception {
    pub(super) fn checked(self) -> Result<Self, String> {
        if self.reason.trim().is_empty() {
            return Err(format!("reason: expected a reason, found none for server {}", self.server));
        }
        Ok(self)
    }
}

/// What an exception allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Renew before the expiry window opens.
    EarlyRenewal,
}

impl Allow {
    /// The word of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EarlyRenewal => "early_renewal",
        }
    }
}

/// `[[name]]`: the full name of a server whose own names disagree (G9): that under which other servers reach its 444.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The server.
    pub server: ServerName,
    /// Its name in DNS, with the domain.
    pub full_name: String,
}

/// The longest name in DNS, in characters.
const MAX_NAME: usize = 253;

/// The longest label of such a name.
const MAX_LABEL: usize = 63;

impl Name {
    pub(super) fn checked(self) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let name = &self.full_name;
        if name.len() <= MAX_NAME && name.contains('.') && name.split('.').all(label) {
            return Ok(self);
        }
        let found: String = name.chars().take(80).collect();
        Err(format!("full_name: expected a name with its domain such as \"ex1.contoso.com\", found {found:?}"))
    }
}
