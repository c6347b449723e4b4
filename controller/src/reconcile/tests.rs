use super::*;
use crate::stage::{noon, server};

#[test]
fn a_server_has_one_time_and_is_due_once() {
    let mut timer = Timer::default();
    timer.set(server("EX1"), Some(Span::seconds(60).after(noon())));
    timer.set(server("EX1"), Some(Span::seconds(10).after(noon())));
    timer.set(server("EX2"), Some(Span::seconds(20).after(noon())));
    assert!(timer.due(noon()).is_empty());
    assert_eq!(timer.due(Span::seconds(20).after(noon())), [server("EX1"), server("EX2")]);
    assert!(timer.due(Timestamp::MAX).is_empty());
    timer.set(server("EX1"), Some(noon()));
    timer.set(server("EX1"), None);
    assert!(timer.due(Timestamp::MAX).is_empty());
}

#[test]
fn the_timer_sleeps_until_the_first_time_and_never_long() {
    let mut timer = Timer::default();
    assert_eq!(timer.sleep(noon()), LONGEST_SLEEP);
    timer.set(server("EX1"), Some(Span::days(300).after(noon())));
    assert_eq!(timer.sleep(noon()), LONGEST_SLEEP);
    timer.set(server("EX2"), Some(Span::seconds(2).after(noon())));
    assert_eq!(timer.sleep(noon()), Duration::from_millis(2001));
    assert_eq!(timer.sleep(Span::seconds(2).after(noon())), Duration::ZERO);
}

#[test]
fn a_server_that_is_nudged_a_hundred_times_is_looked_at_once() {
    let nudge = Nudge::default();
    for _ in 0..100 {
        nudge.look(&server("EX1"));
    }
    assert_eq!(nudge.names().len(), 1);
}
