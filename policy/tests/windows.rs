//! Windows, freezes and rule 9 against a clock that is walked minute by minute: for zones whose day is sometimes 23, 23½, 24½ or
//! 25 hours long, and for any mixture of windows and freezes.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use policy::document::Policy;
use policy::duration::Span;
use policy::window::Window;
use proptest::prelude::*;

/// Half an hour of daylight saving, an hour, none, and clocks that change at midnight or far from UTC.
const ZONES: [&str; 6] =
    ["Australia/Lord_Howe", "America/New_York", "Europe/Berlin", "UTC", "America/Santiago", "Pacific/Chatham"];

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// All times here are whole quarters of an hour, and so are all offsets of the zones: no change falls between two steps.
const STEP: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug, Clone)]
struct Wanted {
    days: Vec<usize>,
    start: Time,
    length: Span,
    zone: &'static str,
}

impl Wanted {
    fn window(&self) -> Window {
        let days: Vec<String> = self.days.iter().map(|day| DAYS[*day].to_owned()).collect();
        Window::new(&days, &self.start.strftime("%H:%M").to_string(), self.length, self.zone).expect("a window")
    }

    fn toml(&self) -> String {
        let days: Vec<String> = self.days.iter().map(|day| format!("\"{}\"", DAYS[*day])).collect();
        let (start, length, zone) = (self.start.strftime("%H:%M"), self.length, self.zone);
        format!("[[window]]\ndays = [{}]\nstart = \"{start}\"\nlength = \"{length}\"\nzone = \"{zone}\"\n", days.join(", "))
    }

    /// Whether it opens at this very moment: the clock on the wall shows the start for the first time on that day; or it
    /// would have shown it, had the clocks not been put forward, as much later as they were.
    fn opens_at(&self, at: Timestamp) -> bool {
        let zone = TimeZone::get(self.zone).expect("a zone");
        let wall = |at: Timestamp| at.to_zoned(zone.clone()).datetime();
        let now = wall(at);
        let on_day = |date: Date| self.days.contains(&usize::from(date.weekday().to_monday_zero_offset().unsigned_abs()));
        if now.time() == self.start && on_day(now.date()) {
            // Put back by an hour at most: was it shown before?
            return (1..=8).all(|steps| wall(at - STEP * steps) != now);
        }
        // In a gap: a clock that nobody put forward shows the start, and the clocks on the wall never do.
        let not_put_forward = (at - STEP * 12).to_zoned(zone.clone()).offset().to_datetime(at);
        not_put_forward.time() == self.start
            && on_day(not_put_forward.date())
            && (-12..=12).all(|steps| wall(at + STEP * steps) != not_put_forward)
    }
}

/// Any quarter of an hour; more often those in which clocks change, and those before midnight, when a freeze begins.
fn quarter() -> impl Strategy<Value = Time> {
    let quarters = prop_oneof![1 => 0..96i8, 1 => 0..16i8, 1 => 88..96i8];
    quarters.prop_map(|quarter| Time::constant(quarter / 4, quarter % 4 * 15, 0, 0))
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let days =
        prop_oneof![1..=7usize, 1..=1usize].prop_flat_map(|many| proptest::sample::subsequence((0..7).collect::<Vec<_>>(), many));
    let length =
        prop_oneof![3 => 1..16u32, 1 => 16..=672u32, 1 => 640..=672u32].prop_map(|quarters| Span::seconds(quarters * 900));
    (days, quarter(), length, proptest::sample::select(&ZONES[..])).prop_map(|(days, start, length, zone)| Wanted {
        days,
        start,
        length,
        zone,
    })
}

/// A quarter of an hour within two weeks of a day on which some of the clocks change.
fn moment() -> impl Strategy<Value = Timestamp> {
    const CHANGES: [&str; 8] =
        ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04", "2026-09-06", "2026-07-01"];
    (proptest::sample::select(&CHANGES[..]), -1344..1344i32).prop_map(|(day, quarters)| {
        let day: Date = day.parse().expect("a day");
        day.to_zoned(TimeZone::UTC).expect("midnight").timestamp() + STEP * quarters
    })
}

/// Openings of this window from nine days before `at` to nine days after it, found by walking.
fn walked(wanted: &Wanted, at: Timestamp) -> Vec<Timestamp> {
    (-864..=864).map(|steps| at + STEP * steps).filter(|at| wanted.opens_at(*at)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_opens_and_closes_as_the_clock_on_the_wall_says(wanted in wanted(), now in moment()) {
        let window = wanted.window();
        let openings = walked(&wanted, now);
        let open = openings.iter().filter(|start| **start <= now).map(|start| wanted.length.after(*start)).filter(|end| now < *end).max();
        prop_assert_eq!(window.open_until(now), open);
        prop_assert_eq!(window.next_opening(now), openings.iter().copied().find(|start| now <= *start));
        prop_assert_eq!(window.last_opening(now), openings.iter().copied().rfind(|start| *start < now));
    }

    #[test]
    fn approved_work_may_run_first_where_walking_finds_it(
        windows in proptest::collection::vec(wanted(), 0..3),
        freezes in proptest::collection::vec((0..20i64, 0..9i64), 0..4),
        from in moment(),
    ) {
        let text = document(&windows, &freezes, from);
        let policy = Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}{error}"));
        let limit = from + STEP * 2000;
        let grid = || (0..2000).map(|steps| from + STEP * steps);
        let frozen = |at: &Timestamp| policy.freezes.iter().any(|freeze| freeze.from() <= *at && *at < freeze.until());
        let open = |at: &Timestamp| windows.is_empty() || policy.windows.iter().any(|window| window.open_until(*at).is_some());
        prop_assert_eq!(policy.permitted_from(from, limit), grid().find(|at| !frozen(at) && open(at)), "{}", &text);
        prop_assert_eq!(policy.thawed_from(from, limit), grid().find(|at| !frozen(at)), "{}", &text);
        for at in grid().step_by(97) {
            prop_assert_eq!(policy.may_run(at, false).is_ok(), !frozen(&at) && open(&at));
        }
    }

    #[test]
    fn rule_9_opens_at_the_last_opening_that_walking_finds(
        windows in proptest::collection::vec(wanted(), 1..3),
        freezes in proptest::collection::vec((0..20i64, 0..4i64), 3..7),
        from in moment(),
        ends in 0..1900i32,
    ) {
        let text = document(&windows, &freezes, from);
        let policy = Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}{error}"));
        let ends = from + STEP * ends;
        let usual = policy.expiry.renew_before.before(ends);
        let frozen = |at: Timestamp| policy.freezes.iter().any(|freeze| freeze.from() <= at && at < freeze.until());
        if !frozen(ends) {
            prop_assert_eq!(policy.renewal_opens(ends), usual);
            return Ok(());
        }
        // Back through the freeze, and through what touches it, to the last moment that is not frozen.
        let begin = (0..).map(|steps| ends - STEP * steps).find(|at| !frozen(*at)).expect("freezes begin") + STEP;
        let counts = |start: Timestamp| {
            let closes = policy.windows.iter().filter_map(|window| window.open_until(start)).max().expect("it is open");
            let cut = (0..).map(|steps| start + STEP * steps).take_while(|at| *at < begin).find(|at| frozen(*at)).unwrap_or(begin);
            !frozen(start) && (closes <= cut || Span::seconds(3600).after(start) <= cut)
        };
        let opens = |at: Timestamp| policy.windows.iter().any(|window| window.next_opening(at) == Some(at));
        // Some window opens within a week, freezes of nine days lie within three: in five weeks there is an opening.
        let last = (1..3400).map(|steps| begin - STEP * steps).find(|at| opens(*at) && counts(*at)).expect("an opening");
        prop_assert_eq!(policy.renewal_opens(ends), usual.min(last), "{}ends {}", &text, ends);
    }
}

fn document(windows: &[Wanted], freezes: &[(i64, i64)], from: Timestamp) -> String {
    let day = |days: i64| from.to_zoned(TimeZone::UTC).date().saturating_add(days.days());
    let freezes = freezes.iter().map(|(begin, length)| {
        let (from, to) = (day(*begin), day(begin + length));
        format!("[[freeze]]\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"UTC\"\nreason = \"x\"\n")
    });
    let lists: String = windows.iter().map(Wanted::toml).chain(freezes).collect();
    // A border that rule 9 always has to move.
    format!("estate = \"contoso\"\nversion = 1\n[expiry]\nrenew_before = \"0d\"\n{lists}")
}
