//! What happened of late, as the event log tells it (EXCHANGE.md 3.1): read from the channels, never subscribed to, so that an agent that
//! was not running misses nothing.
//!
//! The log searches a channel from one end to the other, and those of a busy server are long. So a channel rests after it was asked, twenty
//! times as long as it took: at most a twentieth of a processor goes into this, and a log that answers at once is asked at every look.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use policy::report::{Event, Fact};
use recorded::event::{self, CHANNELS, Channel, SYSTEM};
use recorded::xml;

use super::DriverError;
use super::ffi::event_log::EventLog;

/// The most events that are read of one channel, from the newest on.
const MOST: usize = 1_024;

/// A channel rests so many times as long as it took to ask it.
const REST: u32 = 20;

/// The event log, and what it said last.
#[derive(Debug, Default)]
pub struct Events {
    read: Mutex<BTreeMap<&'static str, Read>>,
}

/// What a channel said.
#[derive(Debug)]
struct Read {
    said: Result<Vec<Event>, String>,
    rests_until: Instant,
}

impl Events {
    /// The events of the last week. Unknown when the system's own log cannot be read; other channels, which belong to products and later
    /// systems, add what they have.
    pub fn look(&self) -> Fact<Vec<Event>> {
        match EventLog::load() {
            Ok(log) => self.look_with(|channel| read(&log, channel)),
            Err(error) => Fact::Unknown(crate::chain(&error)),
        }
    }

    fn look_with(&self, read: impl Fn(&Channel) -> Result<Vec<Event>, DriverError>) -> Fact<Vec<Event>> {
        let mut channels = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in &CHANNELS {
            let begun = now();
            if channels.get(channel.name).is_none_or(|read| read.rests_until <= begun) {
                let said = read(channel).map_err(|error| crate::chain(&error));
                let failed = said.is_err();
                let rest = (now().saturating_duration_since(begun) * REST).min(Duration::from_secs(3_600));
                channels.insert(channel.name, Read { said, rests_until: begun + rest });
                // Where the log itself is missing, its other calls are not to be met.
                if failed && channel.name == SYSTEM {
                    break;
                }
            }
        }
        match channels.get(SYSTEM) {
            Some(Read { said: Ok(_), .. }) => {
                let said = channels.values().filter_map(|read| read.said.as_ref().ok());
                Fact::Known(event::of_late(said.flatten().cloned()))
            }
            Some(Read { said: Err(why), .. }) => Fact::Unknown(why.clone()),
            None => Fact::not_observed(),
        }
    }
}

/// What one channel says. A channel that is not there says nothing, but for the system's own, which is everywhere.
fn read(log: &EventLog, channel: &Channel) -> Result<Vec<Event>, DriverError> {
    let found = match log.newest(channel.name, &channel.query(), MOST)? {
        Some(found) => found,
        None if channel.name == SYSTEM => {
            return Err(DriverError::Unreadable {
                object: "the event log".to_owned(),
                expected: "a channel System".to_owned(),
                found: "none".to_owned(),
            });
        }
        None => return Ok(Vec::new()),
    };
    // What is no event as the log writes them is nobody's, and no reason to lose the others.
    Ok(found.iter().filter_map(|text| event::read(&xml::parse(text).ok()?).ok().flatten()).collect())
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long a channel rests is a span of this machine's, not of the calendar")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use policy::report::EventKind;
    use windows_sys::Win32::System::Registry::{REG_DWORD, REG_SZ};

    use super::super::ffi::event_log::double;
    use super::super::ffi::registry::scratch::{self, wide};
    use super::*;

    fn written(object: &str) -> Event {
        Event {
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
            kind: EventKind::RecordWritten,
            thumbprint: None,
            object: Some(object.to_owned()),
            process: None,
            account: None,
        }
    }

    fn refused(code: u32) -> DriverError {
        super::super::ffi::Code(code).of("EvtQuery", "System")
    }

    #[test]
    fn every_channel_adds_what_it_has_and_the_system_log_is_enough() {
        let events = Events::default();
        let told = events.look_with(|channel| match channel.name {
            SYSTEM => Ok(vec![written("a")]),
            "Application" => Ok(vec![written("b")]),
            _ => Err(refused(5)),
        });
        assert_eq!(told, Fact::Known(vec![written("a"), written("b")]));
    }

    #[test]
    fn without_the_system_log_nothing_is_known_and_nothing_else_is_asked() {
        let asked = RefCell::new(Vec::new());
        let ask = |channel: &Channel| {
            asked.borrow_mut().push(channel.name);
            Err(refused(0))
        };
        let why = "EvtQuery on System: expected success, found error 0 (see the system's list of error codes)";
        let events = Events::default();
        assert_eq!(events.look_with(ask), Fact::Unknown(why.to_owned()));
        assert_eq!(asked.take(), [SYSTEM]);
    }

    #[test]
    fn a_channel_rests_after_it_was_asked_and_says_meanwhile_what_it_said() {
        let events = Events::default();
        let slow = |_: &Channel| {
            let begun = now();
            while now() < begun + Duration::from_millis(5) {}
            Ok(vec![written("a")])
        };
        let first = events.look_with(slow);
        assert_eq!(events.look_with(|_| panic!("it rests")), first);
        let long_ago = now();
        for read in events.read.lock().unwrap().values_mut() {
            read.rests_until = long_ago;
        }
        assert_eq!(events.look_with(|_| Ok(Vec::new())), Fact::Known(Vec::new()));
    }

    fn rendered(provider: &str, number: u32, second: u32, data: &str) -> String {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='{provider}'/>\
             <EventID>{number}</EventID><TimeCreated SystemTime='2026-11-22T10:00:{second:02}.5Z'/></System>{data}</Event>"
        )
    }

    #[test]
    fn the_log_of_the_system_is_read_or_there_is_none() {
        let Some(before) = double::open_handles() else {
            // Wine alone: the first call gives nothing, and any other would end the process.
            let told = Events::default().look();
            let none = "EvtQuery on System: expected success, found error 0 (see the system's list of error codes)";
            assert_eq!((Events::default().look(), told), (Fact::Unknown(none.to_owned()), Fact::Unknown(none.to_owned())));
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let key = r"SOFTWARE\TestDouble\wevtapi";
        scratch::set(key, "folder", REG_SZ, &wide(&folder.path().display().to_string()));
        let file = |channel: &str, name: &str, event: &str| {
            let channel = folder.path().join(channel.replace('/', "%4"));
            std::fs::create_dir_all(&channel).unwrap();
            std::fs::write(channel.join(name), event).unwrap();
        };
        let look = || Events::default().look();
        assert!(
            look().unknown().is_some_and(|why| why == "the event log: expected a channel System, found none"),
            "{:?}",
            look()
        );

        let endpoint = |name: &str| format!("<EventData><Data Name='Endpoint'>{name}</Data></EventData>");
        for second in 0..50 {
            let event = rendered("Microsoft-Windows-HttpEvent", 15301, second, &endpoint(&format!("0.0.0.0:{second}")));
            file(SYSTEM, &format!("{second:02}.xml"), &event);
        }
        file(SYSTEM, "60.xml", &rendered("Microsoft-Windows-HttpEvent", 15007, 51, ""));
        file(SYSTEM, "61.xml", &rendered("Somebody", 15301, 52, &endpoint("1.1.1.1:444")));
        file(SYSTEM, "62.xml", "<Provider Name='Schannel'/><EventID>36870</EventID> cut off");
        let long = format!("<EventData><Data Name='Endpoint'>{}</Data></EventData>", "x".repeat(100_000));
        file(SYSTEM, "63.xml", &rendered("Microsoft-Windows-HttpEvent", 15300, 53, &long));
        let gone = "<UserData><CertNotificationData ProcessName='mmc.exe' AccountName='CONTOSO\\Müller'>\
                    <CertificateDetails Thumbprint='A178873B314030E17463122E23BB285AF0C51338'/></CertNotificationData></UserData>";
        let life_cycle = "Microsoft-Windows-CertificateServicesClient-Lifecycle-System";
        file(&format!("{life_cycle}/Operational"), "1.xml", &rendered(life_cycle, 1004, 55, gone));

        let told = look();
        let told = told.known().expect("the system log is there");
        let objects: Vec<_> = told.iter().filter_map(|event| event.object.as_deref()).collect();
        assert_eq!(objects[..50], (0..50).map(|second| format!("0.0.0.0:{second}")).collect::<Vec<_>>());
        assert_eq!((objects[50], objects.len()), ("x".repeat(200).as_str(), 51));
        let newest = EventLog::load().unwrap().newest(SYSTEM, &CHANNELS[0].query(), 2).unwrap().unwrap();
        assert!(newest.len() == 2 && newest[0].contains("xxx") && newest[1].contains("cut off"), "the newest first");
        let last = told.last().unwrap();
        assert_eq!(
            (last.kind, last.process.as_deref(), last.account.as_deref()),
            (EventKind::CertificateDeleted, Some("mmc.exe"), Some(r"CONTOSO\Müller"))
        );
        assert_eq!(look(), Fact::Known(told.clone()));

        scratch::set(key, "Application", REG_DWORD, &5_u32.to_le_bytes());
        assert_eq!(look(), Fact::Known(told.clone()), "what may not be read adds nothing");
        scratch::set(key, SYSTEM, REG_DWORD, &5_u32.to_le_bytes());
        let denied = "EvtQuery on System: expected success, found error 5 (access denied)";
        assert_eq!(look(), Fact::Unknown(denied.to_owned()));
        assert_eq!(double::open_handles(), Some(before), "every handle is closed");
    }
}
