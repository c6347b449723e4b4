use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::*;

fn controller(site: Option<&str>) -> Controller {
    Controller { name: "dc1.contoso.test".to_owned(), forest: "contoso.test".to_owned(), site: site.map(str::to_owned) }
}

fn answering(answer: impl Fn(usize, Option<Controller>) -> Answer + Send + Sync + 'static) -> (Directory, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let question = move |held| answer(counted.fetch_add(1, Ordering::SeqCst), held);
    (Directory::asked_by(Arc::new(question), Duration::from_secs(60)), count)
}

fn unknown<T>(why: &str) -> Fact<T> {
    Fact::Unknown(why.to_owned())
}

#[test]
fn what_a_controller_says_is_told_and_not_asked_again_at_once() {
    let (directory, count) = answering(|_, _| Answer { controller: Ok(controller(Some("Berlin"))), ahead: Ok(-359) });
    let told = Domain {
        forest: Fact::Known("contoso.test".to_owned()),
        site: Fact::Known("Berlin".to_owned()),
        clock_ahead: Fact::Known(-5),
    };
    assert_eq!((directory.look(), directory.look()), (told.clone(), told));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_clock_that_is_nearly_right_is_right() {
    for (seconds, minutes) in [(0, 0), (59, 0), (-59, 0), (60, 1), (-61, -1), (i64::MAX, i32::MAX), (i64::MIN, i32::MIN)] {
        let (directory, _) = answering(move |_, _| Answer { controller: Ok(controller(None)), ahead: Ok(seconds) });
        assert_eq!(directory.look().clock_ahead, Fact::Known(minutes), "{seconds}");
    }
}

#[test]
fn a_machine_in_no_subnet_has_a_forest_and_no_site() {
    let (directory, _) = answering(|_, _| Answer { controller: Ok(controller(None)), ahead: Ok(0) });
    let Domain { forest, site, clock_ahead: _ } = directory.look();
    assert_eq!(forest, Fact::Known("contoso.test".to_owned()));
    assert_eq!(site, unknown("no subnet of the directory holds an address of this machine"));
}

#[test]
fn without_a_domain_everything_is_unknown_for_the_same_reason_and_nobody_is_asked_for_a_while() {
    let (directory, count) = answering(|_, _| Answer { controller: Err(Code(1355)), ahead: Err(Code(1355)) });
    let why = "this machine is in no domain, or no domain controller answers";
    let told = Domain { forest: unknown(why), site: unknown(why), clock_ahead: unknown(why) };
    assert_eq!((directory.look(), directory.look()), (told.clone(), told));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_controller_that_does_not_tell_the_time_is_still_one() {
    let (directory, _) = answering(|_, _| Answer { controller: Ok(controller(Some("Berlin"))), ahead: Err(Code(1722)) });
    let Domain { forest, site, clock_ahead } = directory.look();
    assert_eq!((forest, site), (Fact::Known("contoso.test".to_owned()), Fact::Known("Berlin".to_owned())));
    assert_eq!(clock_ahead, unknown("the domain controller does not tell the time: error 1722 (0x000006BA)"));
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for_and_is_taken_later() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let question = move |_| {
        held.lock().unwrap().recv().unwrap();
        Answer { controller: Ok(controller(Some("Berlin"))), ahead: Ok(0) }
    };
    let mut directory = Directory::asked_by(Arc::new(question), Duration::from_millis(20));
    let why = "no domain controller answers in time";
    let told = Domain { forest: unknown(why), site: unknown(why), clock_ahead: unknown(why) };
    assert_eq!(directory.look(), told);
    directory.limit = Duration::from_secs(10);
    let begun = now();
    assert_eq!(directory.look(), told);
    assert!(now() < begun + directory.limit, "only the look that asks waits");
    release.send(()).unwrap();
    let bound = now() + Duration::from_secs(60);
    while directory.look().clock_ahead != Fact::Known(0) {
        assert!(now() < bound, "the answer was never taken");
    }
}

#[test]
fn what_was_read_holds_through_a_failure_and_the_controller_is_kept() {
    let (directory, _) = answering(|number, held| match number {
        0 => Answer { controller: Ok(controller(Some("Berlin"))), ahead: Ok(0) },
        _ => {
            assert_eq!(held, Some(controller(Some("Berlin"))));
            Answer { controller: held.ok_or(Code(1355)), ahead: Err(Code(1722)) }
        }
    });
    let begun = now();
    let first = directory.look_at(begun);
    // The time is due, the controller is not.
    assert_eq!(directory.look_at(begun + Duration::from_secs(90)), first);
    let why = "the domain controller does not tell the time: error 1722 (0x000006BA)";
    let nearly = directory.state.lock().unwrap().told(begun + CONTROLLER_HOLDS - Duration::from_secs(1));
    assert_eq!(nearly, Domain { clock_ahead: unknown(why), ..first });
    let later = directory.state.lock().unwrap().told(begun + CONTROLLER_HOLDS);
    assert_eq!(later, Domain { forest: unknown(why), site: unknown(why), clock_ahead: unknown(why) });
}

#[test]
fn after_a_rest_somebody_is_asked_again() {
    let (directory, count) = answering(|_, _| Answer { controller: Err(Code(1355)), ahead: Err(Code(1355)) });
    let begun = now();
    for (seconds, asked) in [(0, 1), (599, 1), (600, 2), (1_199, 2), (1_200, 3)] {
        directory.look_at(begun + Duration::from_secs(seconds));
        assert_eq!(count.load(Ordering::SeqCst), asked, "after {seconds} seconds");
    }
}

#[test]
fn wine_is_in_no_domain() {
    let directory = Directory::new();
    let first = directory.look();
    assert!(first.forest.unknown().is_some() && first.clock_ahead.unknown().is_some(), "{first:?}");
    assert_eq!(directory.look(), first);
}
