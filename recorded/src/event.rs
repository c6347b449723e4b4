//! Events as the Windows event log renders them in XML: which of them explain a loss, and what they say.
//!
//! An event is known by its provider and its number and read by the names of its parameters (EXCHANGE.md 3.1), never by its text,
//! which every language of Windows writes differently and which is not there where the provider's messages are not installed.
//! Classic providers, those of transport and of the Windows Installer, name no parameters: theirs are read by their place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use policy::id::Thumbprint;
use policy::report::{Event, EventKind, Machine};
use thiserror::Error;

use crate::xml::{Element, Place};

/// How far back is looked, in milliseconds: a week, as the weekly round of an administrator.
const LOOK_BACK: u64 = 7 * 24 * 3_600 * 1_000;

/// The most characters of one parameter.
const MOST_CHARACTERS: usize = 200;

/// The log of the system, without which nothing is said of events at all.
pub const SYSTEM: &str = "System";

/// A channel of the event log, and what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: &'static str,
    /// The providers whose events matter.
    sources: &'static [Source],
}

/// What is asked of one provider, or of two with the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    providers: &'static [&'static str],
    numbers: &'static [u32],
}

const HTTP: &str = "Microsoft-Windows-HttpEvent";
const SCHANNEL: &str = "Schannel";
const LIFE_CYCLE: &str = "Microsoft-Windows-CertificateServicesClient-Lifecycle-System";
const FRONT_END_TRANSPORT: &str = "MSExchangeFrontEndTransport";
const TRANSPORT: &str = "MSExchangeTransport";
const PROXY: &str = "MSExchange Front End HTTP Proxy";
const CONTROL_PANEL: &str = "MSExchange Control Panel";
const MANAGED_AVAILABILITY: &str = "Microsoft-Exchange-ManagedAvailability";
const WINDOWS_UPDATE: &str = "Microsoft-Windows-WindowsUpdateClient";
const INSTALLER: &str = "MsiInstaller";

/// Everything that is asked. The log takes some twenty conditions in one query and refuses more.
pub const CHANNELS: [Channel; 4] = [
    Channel {
        name: SYSTEM,
        sources: &[
            Source { providers: &[HTTP], numbers: &[15021, 15300, 15301] },
            Source { providers: &[SCHANNEL], numbers: &[36869, 36870] },
            Source { providers: &[WINDOWS_UPDATE], numbers: &[19, 20] },
        ],
    },
    Channel {
        name: "Application",
        sources: &[
            Source { providers: &[FRONT_END_TRANSPORT, TRANSPORT], numbers: &[12013, 12014, 12015, 12016] },
            Source { providers: &[PROXY], numbers: &[1003] },
            Source { providers: &[CONTROL_PANEL], numbers: &[4] },
            Source { providers: &[INSTALLER], numbers: &[1036] },
        ],
    },
    Channel {
        name: "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",
        sources: &[Source { providers: &[LIFE_CYCLE], numbers: &[1001, 1004, 1005, 1006] }],
    },
    // 500 is a recovery action that begins; 501, its end, is not written when the action restarts Windows.
    Channel {
        name: "Microsoft-Exchange-ManagedAvailability/RecoveryActionResults",
        sources: &[Source { providers: &[MANAGED_AVAILABILITY], numbers: &[500] }],
    },
];

impl Channel {
    /// The query for this channel, in the XPath of the event log (Microsoft: "Consuming Events", XPath 1.0 limitations).
    pub fn query(&self) -> String {
        let any = |conditions: Vec<String>| format!("({})", conditions.join(" or "));
        let source = |Source { providers, numbers }: &Source| {
            let providers = any(providers.iter().map(|name| format!("@Name='{name}'")).collect());
            let numbers = any(numbers.iter().map(|number| format!("EventID={number}")).collect());
            format!("(Provider[{providers}] and {numbers})")
        };
        let sources = any(self.sources.iter().map(source).collect());
        format!("*[System[{sources} and TimeCreated[timediff(@SystemTime) <= {LOOK_BACK}]]]")
    }
}

/// XML that is not an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected} in <System> of the <Event> at {place}, found {found:?}")]
pub struct EventError {
    /// Where the event begins.
    place: Place,
    /// What it lacks.
    expected: &'static str,
    /// What stands there, if anything.
    found: Option<String>,
}

/// Reads one event. `None` for one that is not asked for, or that is not about this machine's servers.
///
/// # Errors
/// [`EventError`] when it does not say who wrote it, which one it is, or when.
pub fn read(root: &Element<'_>) -> Result<Option<Event>, EventError> {
    let system = || root.children_named("System");
    let wrong = |expected, found: Option<&str>| EventError {
        place: root.place,
        expected,
        found: found.map(|found| found.chars().take(MOST_CHARACTERS).collect()),
    };
    let provider = system().flat_map(|system| system.children_named("Provider")).find_map(|provider| provider.attribute("Name"));
    let provider = provider.ok_or_else(|| wrong("the name of its provider", None))?;
    let number = system().flat_map(|system| system.children_named("EventID")).map(|id| id.text.trim()).next();
    let number: u32 = number.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("its number", number))?;
    let time = system().flat_map(|system| system.children_named("TimeCreated")).find_map(|time| time.attribute("SystemTime"));
    let at = time.and_then(whole_second).ok_or_else(|| wrong("its time", time))?;
    Ok(kind(provider, number).and_then(|kind| Some(Event { at, ..told(root, kind, number)? })))
}

/// The events of a report: in order of time, and at most [`Machine::MOST_EVENTS`].
///
/// What repeats is told once for each hour, by its first: http.sys writes 15021 for every connection that it cannot serve. When there
/// are still too many, each kind keeps its newest, so that the loudest does not drown the one that names who did it.
pub fn of_late(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut events: Vec<Event> = events.into_iter().collect();
    events.sort_by_cached_key(order);
    let mut told = BTreeSet::new();
    events.retain(|event| {
        let (at, what) = order(event);
        told.insert((at.as_second().div_euclid(3_600), what))
    });
    let mut newer = BTreeMap::new();
    let mut ranked: Vec<(usize, Event)> = events
        .into_iter()
        .rev()
        .map(|event| {
            let rank: &mut usize = newer.entry(event.kind).or_default();
            *rank += 1;
            (*rank, event)
        })
        .collect();
    ranked.sort_by_cached_key(|(rank, event)| (*rank, Reverse(order(event))));
    ranked.truncate(Machine::MOST_EVENTS);
    let mut events: Vec<Event> = ranked.into_iter().map(|(_, event)| event).collect();
    events.sort_by_cached_key(order);
    events
}

/// An event's time, and everything else of it.
type Order = (Timestamp, (EventKind, Option<Thumbprint>, [Option<String>; 3]));

fn order(event: &Event) -> Order {
    let Event { at, kind, thumbprint, object, process, account } = event.clone();
    (at, (kind, thumbprint, [object, process, account]))
}

fn kind(provider: &str, number: u32) -> Option<EventKind> {
    Some(match (provider, number) {
        (HTTP, 15021) => EventKind::CredentialFailed,
        (HTTP, 15300) => EventKind::RecordDeleted,
        (HTTP, 15301) => EventKind::RecordWritten,
        (SCHANNEL, 36869 | 36870) => EventKind::KeyFailed,
        (LIFE_CYCLE, 1001) => EventKind::CertificateReplaced,
        (LIFE_CYCLE, 1004) => EventKind::CertificateDeleted,
        (LIFE_CYCLE, 1005) => EventKind::CertificateArchived,
        (LIFE_CYCLE, 1006) => EventKind::CertificateInstalled,
        (FRONT_END_TRANSPORT | TRANSPORT, 12013..=12016) => EventKind::TransportCertificate,
        (PROXY, 1003) | (CONTROL_PANEL, 4) => EventKind::WebFailure,
        (MANAGED_AVAILABILITY, 500) => EventKind::RecoveryAction,
        (WINDOWS_UPDATE, 19 | 20) | (INSTALLER, 1036) => EventKind::Update,
        _ => return None,
    })
}

/// What the event says, with a time that the caller knows better. `None` when it is about something else.
fn told(root: &Element<'_>, kind: EventKind, number: u32) -> Option<Event> {
    let mut event = Event { at: Timestamp::UNIX_EPOCH, kind, thumbprint: None, object: None, process: None, account: None };
    match kind {
        EventKind::CredentialFailed | EventKind::RecordDeleted | EventKind::RecordWritten => {
            event.object = owned(named(root, "Endpoint"));
        }
        EventKind::KeyFailed => {
            // A client's certificate is not what a server shows.
            if named(root, "Type").is_some_and(|kind| kind.eq_ignore_ascii_case("client")) {
                return None;
            }
            event.object = owned(named(root, "ErrorCode"));
            event.process = owned(named(root, "CallerProcessImageName"));
        }
        EventKind::CertificateDeleted
        | EventKind::CertificateArchived
        | EventKind::CertificateInstalled
        | EventKind::CertificateReplaced => {
            let data = root.children_named("UserData").flat_map(|data| data.children_named("CertNotificationData")).next()?;
            let details = |name| data.children_named(name).next().and_then(|details| details.attribute("Thumbprint"));
            let old = details("CertificateDetails").or_else(|| details("OldCertificateDetails"));
            event.thumbprint = old.and_then(|old| old.trim().parse().ok());
            let new: Option<Thumbprint> = details("NewCertificateDetails").and_then(|new| new.trim().parse().ok());
            event.object = new.map(|new| new.to_string());
            event.process = owned(data.attribute("ProcessName"));
            event.account = owned(data.attribute("AccountName"));
        }
        EventKind::TransportCertificate => {
            event.thumbprint = placed(root).find_map(|value| value.parse().ok());
            // 12014 names the domain and then the connector; the others a name at most.
            let mut names = placed(root).filter(|value| value.parse::<Thumbprint>().is_err());
            event.object = owned(if number == 12014 { names.nth(1) } else { names.next() });
        }
        EventKind::WebFailure => event.object = Some(if number == 4 { CONTROL_PANEL } else { PROXY }.to_owned()),
        EventKind::RecoveryAction => {
            let words: Vec<&str> = ["Id", "ResourceName"].into_iter().filter_map(|name| named(root, name)).collect();
            event.object = (!words.is_empty()).then(|| words.join(" ")).as_deref().and_then(|words| owned(Some(words)));
            event.process = owned(named(root, "RequestorName"));
        }
        EventKind::Update => event.object = Some(update(root, number)?),
    }
    Some(event)
}

/// Which update, by the number of its article where its name has one. `None` for what changes nothing that 444 hangs on: products
/// other than Exchange, and the antivirus updates of every few hours.
fn update(root: &Element<'_>, number: u32) -> Option<String> {
    const ANTIVIRUS: [&str; 2] = ["KB2267602", "KB4052623"];
    // MsiInstaller: product, version, language, update, status.
    let title = if number == 1036 {
        placed(root).next().filter(|product| product.contains("Microsoft Exchange"))?;
        placed(root).nth(3)
    } else {
        named(root, "updateTitle")
    };
    let words = title?.split(|character: char| !character.is_ascii_alphanumeric());
    let is_article = |word: &&str| {
        word.strip_prefix("KB").is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let article = words.into_iter().find(is_article);
    if article.is_some_and(|article| ANTIVIRUS.contains(&article)) {
        return None;
    }
    article.map(str::to_owned).or_else(|| owned(title))
}

/// A parameter by its name: `<Data Name="...">`, or an element or attribute of what the provider put into `<UserData>`.
fn named<'a>(root: &'a Element<'_>, name: &'a str) -> Option<&'a str> {
    let data = root.children_named("EventData").flat_map(|data| data.children_named("Data"));
    let in_event = data.filter(|data| data.attribute("Name") == Some(name)).map(|data| &*data.text).next();
    let user = || root.children_named("UserData").flat_map(|data| &data.children);
    let in_user = || user().flat_map(|data| data.children_named(name)).map(|found| &*found.text).next();
    let value = in_event.or_else(in_user).or_else(|| user().find_map(|data| data.attribute(name)))?.trim();
    (!value.is_empty()).then_some(value)
}

/// The parameters in their order.
fn placed<'a>(root: &'a Element<'_>) -> impl Iterator<Item = &'a str> {
    let data = root.children_named("EventData").flat_map(|data| data.children_named("Data"));
    data.map(|data| data.text.trim())
}

fn owned(value: Option<&str>) -> Option<String> {
    let value: String = value?.trim().chars().take(MOST_CHARACTERS).collect();
    (!value.is_empty()).then_some(value)
}

/// A time as the log writes it, without the fraction of a second: reports keep whole ones.
fn whole_second(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.trim().parse().ok()?;
    Timestamp::from_second(time.as_second()).ok()
}

#[cfg(test)]
mod tests;
