//! Who is told, by which way, and when: the part `notify` of `controller.toml`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};
use policy::Timestamp;
use policy::duration::Span;
use policy::window;
use serde::Deserialize;

use super::ConfigError;

/// The most channels of an estate.
const MAX_CHANNELS: usize = 16;

/// The most addresses of one mail.
const MAX_TO: usize = 50;

/// How people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// In which quiet hours and digests are meant.
    pub zone: TimeZone,
    /// When everything that does not wake anybody is told, once a week.
    pub digest: Weekly,
    /// When nothing is told that does not wake anybody.
    pub quiet: Option<Quiet>,
    /// An agent that is not heard for so long is an incident.
    pub silent_after: Span,
    /// Mail.
    pub mail: Vec<Mail>,
    /// Calls to other programs.
    pub webhook: Vec<Webhook>,
    /// What is called as long as all is well here, so that somebody else notices when it is not.
    pub alive: Option<Alive>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            digest: Weekly { day: Weekday::Monday, time: Time::constant(8, 0, 0, 0) },
            quiet: None,
            silent_after: Span::seconds(900),
            mail: Vec::new(),
            webhook: Vec::new(),
            alive: None,
        }
    }
}

/// A moment of each week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekly {
    day: Weekday,
    time: Time,
}

impl fmt::Display for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", window::short(self.day), self.time.strftime("%H:%M"))
    }
}

/// Hours of each day; the end may be on the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    from: Time,
    until: Time,
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.until.strftime("%H:%M"))
    }
}

/// What is told through a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What wakes somebody (DESIGN 6 rule 10).
    Page,
    /// What wants attention in working hours, when it begins and when it ends.
    Warning,
    /// Once a week, a line for each cause.
    Digest,
    /// Once a day, where the audit trail ends: who keeps it elsewhere can tell a whole trail from one that was written anew.
    Anchor,
    /// Asked for by somebody who wants to see whether it arrives.
    Test,
}

impl Kind {
    /// As it stands in the store and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Warning => "warning",
            Self::Digest => "digest",
            Self::Anchor => "anchor",
            Self::Test => "test",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Page, Self::Warning, Self::Digest, Self::Anchor, Self::Test].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Mail to some people.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// As people know the channel.
    pub name: String,
    /// The relay: a host name or address.
    pub relay: String,
    /// Its port; 25, or 465 with `tls = "tls"`, when not given.
    pub port: Option<u16>,
    /// How the relay is known.
    #[serde(default)]
    pub tls: Tls,
    /// A file with certificates in PEM that vouch for the relay, in place of the machine's own.
    pub ca_file: Option<PathBuf>,
    /// The name by which the controller signs in at the relay.
    pub user: Option<String>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
    /// Who writes.
    pub from: String,
    /// Who is written to.
    pub to: Vec<String>,
    /// What is told.
    #[serde(default = "mail_says")]
    pub says: BTreeSet<Kind>,
}

/// How a mail relay is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// In the open, then with TLS; not at all without it.
    #[default]
    Starttls,
    /// With TLS from the first byte.
    Tls,
    /// In the open.
    None,
}

/// A call to another program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// As people know the channel.
    pub name: String,
    /// Where.
    pub url: String,
    /// A file with the secret that signs what is sent, 16 bytes or more.
    pub secret_file: Option<PathBuf>,
    /// The target may be on this machine or in a private network.
    #[serde(default)]
    pub inward: bool,
    /// What is told.
    #[serde(default = "webhook_says")]
    pub says: BTreeSet<Kind>,
}

/// Called as long as all is well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alive {
    /// Where.
    pub url: String,
    /// How often, 1 minute to 1 day.
    #[serde(default = "alive_every")]
    pub every: Span,
    /// The target may be on this machine or in a private network.
    #[serde(default)]
    pub inward: bool,
}

fn mail_says() -> BTreeSet<Kind> {
    [Kind::Page, Kind::Digest].into()
}

fn webhook_says() -> BTreeSet<Kind> {
    [Kind::Page].into()
}

fn alive_every() -> Span {
    Span::seconds(300)
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    zone: Option<String>,
    digest: Option<String>,
    quiet: Option<String>,
    silent_after: Option<Span>,
    mail: Vec<Mail>,
    webhook: Vec<Webhook>,
    alive: Option<Alive>,
}

impl Notify {
    /// Reads it, and says which value cannot be.
    pub(super) fn of(raw: Raw) -> Result<Self, ConfigError> {
        let value = |key, expected, found: &str| ConfigError::Value { key, expected, found: found.to_owned() };
        let Raw { zone, digest, quiet, silent_after, mail, webhook, alive } = raw;
        let plain = Self::default();
        let zone = match zone {
            Some(name) => TimeZone::get(&name).map_err(|_| value("notify.zone", "a time zone such as Europe/Berlin", &name))?,
            None => plain.zone,
        };
        let digest = match digest {
            Some(text) => weekly(&text).ok_or_else(|| value("notify.digest", "a day and a time such as \"mon 08:00\"", &text))?,
            None => plain.digest,
        };
        let hours = |text: &String| quiet_hours(text).ok_or_else(|| value("notify.quiet", "hours such as \"22:00-06:00\"", text));
        let quiet = quiet.as_ref().map(hours).transpose()?;
        let silent_after = silent_after.unwrap_or(plain.silent_after);
        if !(Span::seconds(1)..=Span::days(7)).contains(&silent_after) {
            return Err(value("notify.silent_after", "1s to 7d", &silent_after.to_string()));
        }
        let mut names = BTreeSet::new();
        for name in mail.iter().map(|mail| &mail.name).chain(webhook.iter().map(|hook| &hook.name)) {
            let fits = (1..=40).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if !fits || !names.insert(name) {
                return Err(value("notify name", "letters, digits, - and _, up to 40, each name once", name));
            }
        }
        if names.len() > MAX_CHANNELS {
            return Err(value("notify", "at most 16 channels", &names.len().to_string()));
        }
        for Mail { name, to, user, password_file, .. } in &mail {
            if to.is_empty() || to.len() > MAX_TO {
                return Err(value("notify.mail to", "1 to 50 addresses", &format!("{} in {name}", to.len())));
            }
            if user.is_some() != password_file.is_some() {
                return Err(value("notify.mail", "user and password_file, or neither", name));
            }
        }
        if let Some(Alive { every, .. }) = &alive
            && !(Span::seconds(1)..=Span::days(1)).contains(every)
        {
            return Err(value("notify.alive every", "1s to 1d", &every.to_string()));
        }
        Ok(Self { zone, digest, quiet, silent_after, mail, webhook, alive })
    }

    /// The names of all channels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.mail.iter().map(|mail| mail.name.as_str()).chain(self.webhook.iter().map(|hook| hook.name.as_str()))
    }

    /// When something that wakes nobody may be told: now, or at the end of the quiet hours.
    pub fn may_tell(&self, now: Timestamp) -> Timestamp {
        let Some(Quiet { from, until }) = self.quiet else { return now };
        let here = now.to_zoned(self.zone.clone());
        let time = here.time();
        let quiet = if from < until { from <= time && time < until } else { from <= time || time < until };
        if !quiet {
            return now;
        }
        let today = at(&here, until);
        let end = if time < until { today } else { today.and_then(|end| end.checked_add(1.day()).ok()) };
        end.map_or(now, |end| end.timestamp())
    }

    /// The first digest after this moment.
    pub fn next_digest(&self, after: Timestamp) -> Timestamp {
        let here = after.to_zoned(self.zone.clone());
        let Weekly { day, time } = self.digest;
        let days = here.weekday().until(day);
        let first = here.checked_add(i64::from(days).days()).ok().and_then(|day| at(&day, time));
        let first = first.filter(|first| first.timestamp() > after).or_else(|| {
            let next = here.checked_add((i64::from(days) + 7).days()).ok()?;
            at(&next, time)
        });
        first.map_or(after, |first| first.timestamp())
    }
}

fn at(day: &Zoned, time: Time) -> Option<Zoned> {
    day.with().time(time).build().ok()
}

fn weekly(text: &str) -> Option<Weekly> {
    let (day, time) = text.split_once(' ')?;
    Some(Weekly { day: window::weekday(day).ok()?, time: clock(time)? })
}

fn quiet_hours(text: &str) -> Option<Quiet> {
    let (from, until) = text.split_once('-')?;
    let (from, until) = (clock(from)?, clock(until)?);
    (from != until).then_some(Quiet { from, until })
}

/// `08:00`
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Notify, String> {
        let raw: Raw = toml::from_str(text).map_err(|error| error.to_string())?;
        Notify::of(raw).map_err(|error| error.to_string())
    }

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn quiet_hours_end_where_people_are() {
        let berlin = read("zone = \"Europe/Berlin\"\nquiet = \"22:00-06:30\"").expect("holds");
        for (now, told) in [
            ("2026-11-27T12:00:00Z", "2026-11-27T12:00:00Z"),
            ("2026-11-27T21:00:00Z", "2026-11-28T05:30:00Z"),
            ("2026-11-28T03:00:00Z", "2026-11-28T05:30:00Z"),
            ("2026-11-28T05:30:00Z", "2026-11-28T05:30:00Z"),
            // The night in which the clocks go forward has an hour less.
            ("2026-03-28T21:00:00Z", "2026-03-29T04:30:00Z"),
        ] {
            assert_eq!(berlin.may_tell(moment(now)), moment(told), "{now}");
        }
        let noon = read("quiet = \"12:00-13:00\"").expect("holds");
        assert_eq!(noon.may_tell(moment("2026-11-27T12:59:59Z")), moment("2026-11-27T13:00:00Z"));
    }

    #[test]
    fn a_digest_comes_once_a_week_at_its_hour() {
        let notify = read("zone = \"Europe/Berlin\"\ndigest = \"mon 08:00\"").expect("holds");
        let mut at = moment("2026-10-19T05:59:59Z");
        for told in ["2026-10-19T06:00:00Z", "2026-10-26T07:00:00Z", "2026-11-02T07:00:00Z"] {
            at = notify.next_digest(at);
            assert_eq!(at, moment(told));
        }
        assert_eq!(notify.next_digest(moment("2026-11-27T12:00:00Z")), moment("2026-11-30T07:00:00Z"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        let mail = "[[mail]]\nname = \"ops\"\nrelay = \"relay\"\nfrom = \"b@x.test\"\n";
        for (text, key) in [
            ("zone = \"Mars\"".to_owned(), "notify.zone"),
            ("digest = \"monday\"".to_owned(), "notify.digest"),
            ("digest = \"mon 8:00\"".to_owned(), "notify.digest"),
            ("quiet = \"22:00-22:00\"".to_owned(), "notify.quiet"),
            ("quiet = \"25:00-06:00\"".to_owned(), "notify.quiet"),
            ("silent_after = \"0s\"".to_owned(), "notify.silent_after"),
            (format!("{mail}to = []"), "notify.mail to"),
            (format!("{mail}to = [\"a@x.test\"]\nuser = \"u\""), "password_file"),
            (format!("{mail}to = [\"a@x.test\"]\n{mail}to = [\"a@x.test\"]"), "each name once"),
            ("[[webhook]]\nname = \"a b\"\nurl = \"https://x.test\"".to_owned(), "notify name"),
            ("[alive]\nurl = \"https://x.test\"\nevery = \"0s\"".to_owned(), "notify.alive every"),
            ("[[webhook]]\nname = \"a\"\nurl = \"https://x.test\"\nsays = [\"everything\"]".to_owned(), "everything"),
            ("chanels = 1".to_owned(), "chanels"),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
