//! When work may run and when not: maintenance windows and freezes, in the zone where the people live.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use thiserror::Error;

use crate::duration::Span;

/// The longest window. A longer one could not be told from no window at all.
const MAX_LENGTH: Span = Span::days(7);

/// A window or freeze that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidWindow {
    /// Not a zone of the IANA database.
    #[error("expected an IANA time zone such as \"Europe/Berlin\", found {0:?}")]
    Zone(String),
    /// Not a weekday.
    #[error("expected days among mon, tue, wed, thu, fri, sat, sun, found {0:?}")]
    Day(String),
    /// No weekday at all.
    #[error("expected at least one day, found none: this window would never open")]
    NoDays,
    /// Not a time of day.
    #[error("expected a time of day such as \"22:00\", found {0:?}")]
    Start(String),
    /// Too long or empty.
    #[error("expected a length between 1m and {MAX_LENGTH}, found {0}")]
    Length(Span),
    /// Not a date.
    #[error("expected a date such as \"2026-12-20\", found {0:?}")]
    Date(String),
    /// Ends before it begins.
    #[error("expected a freeze that ends on or after its first day, found {from} to {to}")]
    Backwards {
        /// First day.
        from: Date,
        /// Last day.
        to: Date,
    },
}

/// A recurring window: on these days, from this time of day, this long.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    days: Vec<Weekday>,
    start: Time,
    length: Span,
    zone: TimeZone,
}

/// `[[window]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWindow {
    days: Vec<String>,
    start: String,
    length: Span,
    zone: String,
}

impl TryFrom<RawWindow> for Window {
    type Error = InvalidWindow;
    fn try_from(RawWindow { days, start, length, zone }: RawWindow) -> Result<Self, InvalidWindow> {
        Self::new(&days, &start, length, &zone)
    }
}

/// The zone of that IANA name.
fn zone(name: &str) -> Result<TimeZone, InvalidWindow> {
    TimeZone::get(name).map_err(|_| InvalidWindow::Zone(name.chars().take(80).collect()))
}

impl Window {
    /// A window on `days` (`mon` … `sun`) from `start` (`22:00`) for `length` in the IANA zone `zone_name`.
    ///
    /// # Errors
    /// [`InvalidWindow`] names the part that cannot be.
    pub fn new(days: &[String], start: &str, length: Span, zone_name: &str) -> Result<Self, InvalidWindow> {
        let days = days.iter().map(|day| weekday(day)).collect::<Result<Vec<_>, _>>()?;
        if days.is_empty() {
            return Err(InvalidWindow::NoDays);
        }
        if length < Span::seconds(60) || length > MAX_LENGTH {
            return Err(InvalidWindow::Length(length));
        }
        let start = start.parse().map_err(|_| InvalidWindow::Start(start.chars().take(40).collect()))?;
        Ok(Self { days, start, length, zone: zone(zone_name)? })
    }

    /// The end of the opening in which `now` lies; `None` when the window is closed.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        // Seven days back, since an opening that began then may last until now.
        let today = now.to_zoned(self.zone.clone()).date();
        (-8..=0)
            .filter_map(|offset| self.opening_on(today.checked_add(i64::from(offset).days()).ok()?))
            .map(|start| (start, self.length.after(start)))
            .filter(|(start, end)| *start <= now && now < *end)
            .map(|(_, end)| end)
            .max()
    }

    /// The next moment at or after `now` at which the window opens.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        (-1..=8)
            .filter_map(|offset| self.opening_on(today.checked_add(i64::from(offset).days()).ok()?))
            .find(|start| *start >= now)
    }

    /// The last moment before `end` at which the window opens.
    pub fn last_opening(&self, end: Timestamp) -> Option<Timestamp> {
        let today = end.to_zoned(self.zone.clone()).date();
        (-8..=1)
            .rev()
            .filter_map(|offset| self.opening_on(today.checked_add(i64::from(offset).days()).ok()?))
            .find(|start| *start < end)
    }

    /// The start of the window on that day of its zone, if it opens on that weekday. A time that the clocks skip is taken
    /// an hour later, one that happens twice the first time.
    fn opening_on(&self, day: Date) -> Option<Timestamp> {
        self.days
            .contains(&day.weekday())
            .then(|| self.zone.to_ambiguous_zoned(day.to_datetime(self.start)).compatible().ok())
            .flatten()
            .map(|zoned| zoned.timestamp())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, start, length, zone } = self;
        let days: Vec<&str> = days.iter().map(|day| short(*day)).collect();
        write!(f, "{} from {} for {length}, {}", days.join(", "), start.strftime("%H:%M"), zone.iana_name().unwrap_or("?"))
    }
}

/// A day as it stands in documents: its first three letters.
pub fn short(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

/// The day of these three letters, in either case.
///
/// # Errors
/// [`InvalidWindow::Day`].
pub fn weekday(name: &str) -> Result<Weekday, InvalidWindow> {
    match name.to_ascii_lowercase().as_str() {
        "mon" => Ok(Weekday::Monday),
        "tue" => Ok(Weekday::Tuesday),
        "wed" => Ok(Weekday::Wednesday),
        "thu" => Ok(Weekday::Thursday),
        "fri" => Ok(Weekday::Friday),
        "sat" => Ok(Weekday::Saturday),
        "sun" => Ok(Weekday::Sunday),
        _ => Err(InvalidWindow::Day(name.chars().take(40).collect())),
    }
}

/// Days, both included, on which nothing but a restore may run.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    from: Timestamp,
    until: Timestamp,
    /// Why, in the words of whoever wrote the policy.
    pub reason: String,
}

/// `[[freeze]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFreeze {
    from: String,
    to: String,
    zone: String,
    reason: String,
}

impl TryFrom<RawFreeze> for Freeze {
    type Error = InvalidWindow;
    fn try_from(RawFreeze { from, to, zone, reason }: RawFreeze) -> Result<Self, InvalidWindow> {
        Self::new(&from, &to, &zone, reason)
    }
}

impl Freeze {
    /// A freeze from the first day's midnight to the end of the last day, in that zone.
    ///
    /// # Errors
    /// [`InvalidWindow`] names the part that cannot be.
    pub fn new(from: &str, to: &str, zone_name: &str, reason: String) -> Result<Self, InvalidWindow> {
        let date = |text: &str| text.parse::<Date>().map_err(|_| InvalidWindow::Date(text.chars().take(40).collect()));
        let (from, to, zone) = (date(from)?, date(to)?, zone(zone_name)?);
        if to < from {
            return Err(InvalidWindow::Backwards { from, to });
        }
        let midnight = |day: Date| {
            day.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| InvalidWindow::Date(day.to_string()))
        };
        let after = to.tomorrow().map_err(|_| InvalidWindow::Date(to.to_string()))?;
        Ok(Self { from: midnight(from)?, until: midnight(after)?, reason })
    }

    /// Its first moment.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The moment after its last.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The end of the freeze when `now` lies in it.
    pub fn holds_until(&self, now: Timestamp) -> Option<Timestamp> {
        (self.from <= now && now < self.until).then_some(self.until)
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until, reason } = self;
        write!(f, "from {from} until {until}: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn saturday_night(zone: &str) -> Window {
        Window::new(&["sat".to_owned()], "22:00", "4h".parse().expect("4h"), zone).expect("a window")
    }

    #[test]
    fn a_window_reaches_over_midnight_and_is_open_at_its_first_moment_only_until_its_last() {
        let window = saturday_night("Europe/Berlin");
        assert_eq!(window.open_until(at("2026-11-21T20:59:59Z")), None);
        assert_eq!(window.open_until(at("2026-11-21T21:00:00Z")), Some(at("2026-11-22T01:00:00Z")));
        assert_eq!(window.open_until(at("2026-11-22T00:59:59Z")), Some(at("2026-11-22T01:00:00Z")));
        assert_eq!(window.open_until(at("2026-11-22T01:00:00Z")), None);
        assert_eq!(window.next_opening(at("2026-11-22T01:00:00Z")), Some(at("2026-11-28T21:00:00Z")));
    }

    #[test]
    fn on_the_day_of_23_hours_a_skipped_start_is_taken_an_hour_later() {
        let window = Window::new(&["sun".to_owned()], "02:30", "1h".parse().expect("1h"), "Europe/Berlin").expect("a window");
        // 29 March 2026: 02:00 becomes 03:00. The window's length is elapsed time.
        assert_eq!(window.next_opening(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:30:00Z")));
        assert_eq!(window.open_until(at("2026-03-29T02:29:59Z")), Some(at("2026-03-29T02:30:00Z")));
    }

    #[test]
    fn on_the_day_of_25_hours_a_doubled_start_is_taken_once() {
        let window = Window::new(&["sun".to_owned()], "02:30", "1h".parse().expect("1h"), "Europe/Berlin").expect("a window");
        assert_eq!(window.next_opening(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(window.open_until(at("2026-10-25T01:30:00Z")), None);
    }

    #[test]
    fn windows_and_freezes_are_shown_as_they_hold() {
        assert_eq!(saturday_night("Europe/Berlin").to_string(), "sat from 22:00 for 4h, Europe/Berlin");
        let freeze = Freeze::new("2026-12-20", "2027-01-06", "Europe/Berlin", "year end".into()).expect("a freeze");
        assert_eq!(freeze.to_string(), "from 2026-12-19T23:00:00Z until 2027-01-06T23:00:00Z: year end");
    }

    #[test]
    fn impossible_parts_are_named() {
        let hour = "1h".parse().expect("1h");
        assert!(matches!(Window::new(&["sat".into()], "22:00", hour, "Europe/Atlantis"), Err(InvalidWindow::Zone(_))));
        assert!(matches!(Window::new(&["someday".into()], "22:00", hour, "UTC"), Err(InvalidWindow::Day(_))));
        assert!(matches!(Window::new(&[], "22:00", hour, "UTC"), Err(InvalidWindow::NoDays)));
        assert!(matches!(Window::new(&["sat".into()], "25:00", hour, "UTC"), Err(InvalidWindow::Start(_))));
        assert!(matches!(Window::new(&["sat".into()], "22:00", Span::days(8), "UTC"), Err(InvalidWindow::Length(_))));
        assert!(matches!(Freeze::new("2026-12-20", "2026-12-19", "UTC", String::new()), Err(InvalidWindow::Backwards { .. })));
    }

    #[test]
    fn a_freeze_holds_on_its_last_day_to_the_end() {
        let freeze = Freeze::new("2026-12-20", "2027-01-06", "Europe/Berlin", "year end".into()).expect("a freeze");
        assert_eq!(freeze.holds_until(at("2026-12-19T22:59:59Z")), None);
        assert_eq!(freeze.holds_until(at("2027-01-06T22:59:59Z")), Some(at("2027-01-06T23:00:00Z")));
        assert_eq!(freeze.holds_until(at("2027-01-06T23:00:00Z")), None);
    }
}
