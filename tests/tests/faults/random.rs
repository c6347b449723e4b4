//! Killed at random moments (P3): whatever is killed, and wherever in a renewal, the host ends in the old good or the new good state, and the controller
//! learns which. With real processes and `kill -9` at random moments; every moment of the pure core is tried in `agent`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use proto::operator::Plan;
use tests::estate::Estate;
use tests::wait;

use super::{Before, LIMIT, SERVER, approve, ended, estate, old_or_new, propose, settled};

/// Estates at once, each with one server; and kills in each.
const ESTATES: u64 = 4;
const KILLS: u32 = 25;

/// From the approval to the begin of the run.
const LEAD: Duration = Duration::from_secs(2);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Agent,
    Controller,
    Both,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// So long after the approval was handed in: perhaps before the run.
    Approved(Duration),
    /// So long after the run began.
    Begun(Duration),
}

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blow {
    victim: Victim,
    moment: Moment,
    /// A person holds the host while its agent is dead: what has not swapped yet must turn back.
    held: bool,
}

#[test]
fn long_a_renewal_killed_anywhere_ends_old_good_or_new_good() {
    let seed = std::env::var("BACKSTAY_SEED").ok().map(|seed| seed.parse().expect("BACKSTAY_SEED is a number"));
    let seed = seed.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs()));
    println!("seed {seed}; BACKSTAY_SEED={seed} draws the same moments again");
    let workers: Vec<_> = (0..ESTATES).map(|number| std::thread::spawn(move || kill_often(Dice(seed ^ number << 32)))).collect();
    let mut tally = Tally::default();
    for worker in workers {
        let told = worker.join().expect("a worker does not panic").expect("every kill ends well");
        tally.add(&told);
    }
    println!("{tally}");
    assert!(tally.renewed > 0, "no renewal came through at all");
    assert!(tally.undone > 0, "no run turned back");
    assert!(tally.begun > 0, "no kill met a run at work");
}

/// Why somebody holds the host.
const WHY_HELD: &str = "a person looks after it";

/// How the kills ended.
#[derive(Debug, Default)]
struct Tally {
    renewed: u32,
    undone: u32,
    begun: u32,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.renewed += other.renewed;
        self.undone += other.undone;
        self.begun += other.begun;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ended with the new certificate, {} with the old; {} met a run at work",
            self.renewed, self.undone, self.begun
        )
    }
}

fn kill_often(mut dice: Dice) -> Result<Tally> {
    let mut estate = estate()?;
    let mut known = BTreeSet::new();
    // One that is left in peace, to know how long a run takes.
    let plan = propose(&estate, &mut known)?;
    approve(&estate, &plan)?;
    settled(&estate, &plan)?;
    let receipt = estate.desk().plan(&plan.id)?.receipt.context("its receipt")?;
    let usual = Duration::from_micros(u64::try_from(receipt.ended_at - receipt.began_at)?);

    let mut tally = Tally::default();
    for kill in 0..KILLS {
        let blow = Blow { victim: dice.victim(), moment: dice.moment(usual), held: dice.next().is_multiple_of(4) };
        let what = format!("kill {kill}, {blow:?}");
        one(&mut estate, &mut known, &mut tally, blow).map_err(|error| error.context(format!("{what}; {}", estate.keep())))?;
    }
    estate.check_logs(&[])?;
    estate.stop()?;
    Ok(tally)
}

fn one(estate: &mut Estate, known: &mut BTreeSet<Vec<u8>>, tally: &mut Tally, blow: Blow) -> Result<()> {
    let Blow { victim, moment, held } = blow;
    let plan = propose(estate, known)?;
    let before = Before::of(estate)?;
    let journal = estate.agent_folder(SERVER).join("state").join("journal");
    approve(estate, &plan)?;
    match moment {
        Moment::Approved(after) => wait::beat(after),
        Moment::Begun(after) => {
            // It may have come and gone before we looked: then the kill comes a little late, which is as good a moment.
            let _ = wait::until("the run to begin", LEAD, || wait::when(journal.exists(), || "no journal".to_owned()));
            wait::beat(after);
        }
    }
    if matches!(victim, Victim::Agent | Victim::Both) {
        estate.kill_agent(SERVER)?;
    }
    tally.begun += u32::from(journal.exists());
    if matches!(victim, Victim::Controller | Victim::Both) {
        estate.kill_controller()?;
        estate.start_controller()?;
    }
    let state = estate.agent_folder(SERVER).join("state");
    if matches!(victim, Victim::Agent | Victim::Both) {
        if held {
            agent::hold::set(&state, WHY_HELD)?;
        }
        estate.start_agent(SERVER)?;
    }

    if held {
        // Held before the controller sent it on its way, it waits until nobody holds the host.
        let waits = |found: &Plan| found.life == "waiting" && found.waits_for.contains(WHY_HELD);
        let found = estate.wait_plan(SERVER, "ended or waiting for the hold", LIMIT, |found| {
            found.id == plan.id && (ended(found) || waits(found))
        })?;
        if waits(&found) {
            agent::hold::lift(&state)?;
        }
    }
    let end = settled(estate, &plan)?;
    // Held before it began, it is refused, and only then.
    ensure!(end.life != "refused" || held, "the plan is refused although nobody held the host: {}", end.waits_for);
    let renewed = old_or_new(estate, &end, &before)?;
    tally.renewed += u32::from(renewed);
    tally.undone += u32::from(!renewed);
    agent::hold::lift(&state)?;
    Ok(())
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }

    /// One in five around the begin of the run, the others in it or just behind it.
    fn moment(&mut self, usual: Duration) -> Moment {
        let after = usual.mul_f64(self.fraction() * 1.1);
        if self.next().is_multiple_of(5) { Moment::Approved(after) } else { Moment::Begun(after) }
    }

    fn victim(&mut self) -> Victim {
        match self.next() % 10 {
            0..=5 => Victim::Agent,
            6..=8 => Victim::Controller,
            _ => Victim::Both,
        }
    }
}
