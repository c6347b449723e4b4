//! P3 on Windows: `kill -9` of `backstay-agent.exe` between any two lines of a renewal's journal. The start after it ends in the old good
//! state or in the new one, and the controller learns in which.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use proto::operator::Plan;
use tests::alone::alone;
use tests::outside::Shown;
use tests::wait::{self, Look};
use tests::wine::State;

use crate::scene::{LIMIT, Scene, changes};

/// `SERVICE_STOP_PENDING`.
const STOPPING: u32 = 3;

/// Kills that miss their line, because the agent was quicker than we, are tried again so often.
const TRIES: usize = 6;

/// So long nobody asks what became of a plan: asking takes longer than there is between two lines.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn outside_windows_isolated_long_a_renewal_killed_between_any_two_lines_of_its_journal_ends_well() {
    alone("WIN3", || {
        let mut scene = Scene::set("act")?;
        let journal = scene.exchange.machine().path(r"C:\ProgramData\Backstay\agent\journal")?;
        let lines = undisturbed(&mut scene, &journal)?;
        eprintln!("a renewal writes {lines} lines");
        ensure!(lines > 8, "expected a journal of many lines, found {lines}");
        for line in 1..=lines {
            let missed = (0..TRIES).map(|_| killed_behind(&mut scene, &journal, line));
            let hit = missed.take_while(|found| !matches!(found, Ok(found) if *found == line));
            let misses = hit.collect::<Result<Vec<usize>>>().with_context(|| format!("killed behind line {line}"))?;
            ensure!(misses.len() < TRIES, "line {line} was never the last one: {misses:?}");
            eprintln!("killed behind line {line}, after {} misses", misses.len());
        }
        scene.end()
    })
    .expect("every kill ends well");
}

#[test]
fn outside_windows_isolated_a_service_that_is_told_to_stop_within_a_renewal_ends_it_first() {
    alone("WIN8", || {
        let scene = Scene::serviced("act")?;
        let journal = scene.exchange.machine().path(r"C:\ProgramData\Backstay\agent\journal")?;
        let plan = proposed(&scene)?;
        let (old, before) = (scene.exchange.look()?, scene.exchange.snapshot()?);
        // Less than the agent has patience for.
        scene.exchange.damage(&["slow", "set", "4000"])?;
        let plan = scene.approve(plan)?;
        wait::until("the renewal to begin", LIMIT, || wait::when(lines(&journal) > 3, || "it does not".to_owned()))?;
        thread::scope(|both| {
            // Ends with an error unless the service says that it has stopped, and does so in time.
            let stopped = both.spawn(|| scene.does(&["stop"]));
            let asked = || match scene.exchange.machine().service("BackstayAgent") {
                Ok(State::Between(STOPPING)) => Look::Found(lines(&journal)),
                other => Look::NotYet(format!("{other:?}")),
            };
            let at_work = wait::until("the service to be stopping", LIMIT, asked)?;
            ensure!(at_work > 3, "expected a renewal at work while the service stops, found {at_work} lines in its journal");
            stopped.join().expect("no panic")
        })?;
        ensure!(!journal.exists(), "expected the renewal at its end, found {} lines of it", lines(&journal));
        ensure!(scene.exchange.look()? != old, "the certificate that was approved is served while no agent runs");
        scene.exchange.damage(&["slow", "set", "0"])?;
        scene.does(&["start"])?;
        ended_well(&scene, &plan, &old, &before)?;
        scene.end()
    })
    .expect("a stop within a renewal ends well");
}

/// One that is left in peace, to know how many lines it writes.
fn undisturbed(scene: &mut Scene, journal: &Path) -> Result<usize> {
    for _ in 0..TRIES {
        let plan = proposed(scene)?;
        let (plan, begun) = begun(scene, plan, journal, 1)?;
        let mut most = usize::from(begun);
        while journal.exists() {
            most = most.max(lines(journal));
        }
        scene.settled(&plan)?;
        if begun {
            return Ok(most);
        }
    }
    bail!("{TRIES} renewals were over before anybody looked")
}

/// Approves a plan and waits until its journal has so many lines; false when it was over before that was seen. What an approved plan expects
/// may still change until the host is at rest after it was damaged: then another takes its place, and is approved as well.
fn begun(scene: &Scene, plan: Plan, journal: &Path, wanted: usize) -> Result<(Plan, bool)> {
    let (began, mut plan) = (Instant::now(), scene.approve(plan)?);
    let mut asked = Instant::now();
    // Not waited for with pauses: what lies between two lines may be less than any.
    while lines(journal) < wanted {
        ensure!(began.elapsed() < LIMIT, "the journal never had {wanted} lines");
        if asked.elapsed() < PATIENCE {
            continue;
        }
        let life = scene.estate.desk().plan(&plan.id)?.plan.map(|plan| plan.life).unwrap_or_default();
        match life.as_str() {
            "superseded" => plan = scene.approve(scene.propose("renew", std::slice::from_ref(&plan.id))?)?,
            "restored" | "confirmed" => return Ok((plan, false)),
            _ => {}
        }
        asked = Instant::now();
    }
    Ok((plan, true))
}

/// Kills the agent when its journal has so many lines; says how many it had when it was dead, having seen that all ended well.
fn killed_behind(scene: &mut Scene, journal: &Path, line: usize) -> Result<usize> {
    let plan = proposed(scene)?;
    let (old, before) = (scene.exchange.look()?, scene.exchange.snapshot()?);
    let server = scene.server().to_owned();
    let (plan, _) = begun(scene, plan, journal, line)?;
    scene.estate.kill_agent(&server)?;
    let found = lines(journal);

    scene.start_agent()?;
    ended_well(scene, &plan, &old, &before)?;
    Ok(found)
}

/// Waits for the end of a renewal, and checks that it is the new good state or the old one.
fn ended_well(scene: &Scene, plan: &Plan, old: &Shown, before: &BTreeMap<String, String>) -> Result<()> {
    let end = scene.settled(plan)?;
    let (shown, after) = (scene.exchange.look()?, scene.exchange.snapshot()?);
    let changed = changes(before, &after);
    match end.life.as_str() {
        "restored" | "confirmed" => {
            ensure!(shown != *old, "the plan is {}, and 444 shows the old certificate", end.life);
            let made = ["+keys", "+stores/MY", "+stores/Root", "~record/0.0.0.0:444"];
            ensure!(changed == made, "expected {made:?}, found {changed:?}");
            scene.verdict("healthy")
        }
        "undone" => {
            ensure!(shown == *old, "the plan is undone, and 444 shows {shown}");
            scene.verdict("expiring")
        }
        other => bail!("expected restored or undone, found {other}: {}", end.waits_for),
    }
}

/// Lets the certificate's end come near, and waits for the renewal that is proposed.
fn proposed(scene: &Scene) -> Result<Plan> {
    let known: Vec<Vec<u8>> = scene.estate.desk().plans(scene.server())?.into_iter().map(|plan| plan.id).collect();
    scene.exchange.damage(&["expiring", "--days", "20"])?;
    scene.propose("renew", &known)
}

/// How many whole lines a journal has: behind eight bytes, each is its length, four bytes of a sum, and itself.
pub(crate) fn lines(journal: &Path) -> usize {
    let Ok(bytes) = fs::read(journal) else { return 0 };
    let mut rest = bytes.get(8..).unwrap_or_default();
    let mut lines = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 {
            break;
        }
        let Some(behind) = length.checked_add(4).and_then(|length| behind.get(length..)) else { break };
        (rest, lines) = (behind, lines + 1);
    }
    lines
}
