//! Thousands of simulated lives, each from a seed of its own; and the bugs that they must find. `docs/simulation.md` says what they are made of.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests::sim::{Bug, live, memory};

/// Fresh lives of one run of the tests.
const LIVES: u64 = 10_000;

/// And no longer than this.
const LIMIT: Duration = Duration::from_secs(110);

/// Each bug is found in so many lives at most.
const UNTIL_FOUND: u64 = 1000;

/// On as many threads as there are processors, calls `one` with each number from 0 until it says that it is enough.
fn together(one: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| while one(next.fetch_add(1, Ordering::Relaxed)) {});
        }
    });
}

#[test]
fn long_no_life_breaks_a_promise() {
    let seed = std::env::var("BACKSTAY_SEED").ok().and_then(|seed| seed.parse().ok());
    // `tests/run` gives a seed that the sources decide; else the lives are fresh. The seed is told, and replays them.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let first: u64 = seed.unwrap_or_else(|| since.as_secs() * 100_000);
    println!("the first seed is {first}");
    let (began, lived, runs) = (Instant::now(), AtomicU64::new(0), AtomicUsize::new(0));
    let broken = Mutex::new(Vec::new());
    together(|number| {
        let full = || broken.lock().unwrap_or_else(PoisonError::into_inner).len() >= 3;
        if number >= LIVES || began.elapsed() > LIMIT || full() {
            return false;
        }
        let folder = memory().expect("a folder");
        let life = live(first + number, None, folder.path(), false).expect("a life");
        lived.fetch_add(1, Ordering::Relaxed);
        runs.fetch_add(life.runs, Ordering::Relaxed);
        if let Some(found) = life.broken {
            let told = format!("seed {}, step {}: {}: {}", first + number, life.steps, found.promise, found.how);
            broken.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        }
        true
    });
    let (lived, runs) = (lived.into_inner(), runs.into_inner());
    println!("{lived} lives from seed {first}, {runs} runs that ended, in {:.0} s", began.elapsed().as_secs_f64());
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(broken.is_empty(), "{}\nto see one: cargo run -p tests --bin simulate -- --seed SEED", broken.join("\n"));
    assert!(runs as u64 >= lived, "expected lives in which something runs, found {runs} runs in {lived} lives");
}

#[test]
fn a_seed_gives_the_same_life_line_by_line() {
    for seed in [3, 77, 2026] {
        let told = || {
            let folder = memory().expect("a folder");
            live(seed, None, folder.path(), true).expect("a life").trace
        };
        let (one, other) = (told(), told());
        assert!(one.len() > 60, "{}", one.len());
        assert_eq!(one, other, "seed {seed}");
    }
}

#[test]
fn long_every_bug_that_is_built_in_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        // The first life, from a hundred on, in which it breaks the promise that it is meant to break.
        let found: Mutex<Vec<(u64, u32, String)>> = Mutex::default();
        together(|number| {
            if number >= UNTIL_FOUND || !found.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return false;
            }
            let folder = memory().expect("a folder");
            let life = live(100 + number, Some(bug), folder.path(), false).expect("a life");
            if let Some(broken) = life.broken.filter(|broken| broken.promise == bug.promise()) {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((number, life.steps, broken.how));
            }
            true
        });
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().min();
        match found {
            Some((number, steps, how)) => {
                println!("| {} | {bug:?}: {how} | {}, at step {steps} |", bug.promise(), number + 1);
            }
            None => missed.push(format!("{bug:?}: expected {} to be broken in one of {UNTIL_FOUND} lives", bug.promise())),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
