//! Killed at each call (P3): the agent at every call by which it writes its journal, the controller at every few of those by which it writes
//! its store. Each of the latter, and each half of one, is tried on the store alone, in `controller`.

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Context, Result, ensure};
use tests::estate::Estate;
use tests::wait::{self, Look};
use tests::{disk, process};

use super::{Before, LIMIT, SERVER, approve, estate, old_or_new, propose, settled};

/// Estates at once.
const WORKERS: u32 = 3;

/// Every so manieth call to the store of a controller.
const STRIDE: u32 = 9;

#[test]
fn long_an_agent_killed_at_each_write_of_its_journal_ends_old_good_or_new_good() {
    let ends = at_each_call(1, |estate, known, call| {
        let (plan, before) = (propose(estate, known)?, Before::of(estate)?);
        let journal = estate.agent_folder(SERVER).join("state").join("journal");
        let mut command = estate.agent_command(SERVER)?;
        disk::killed_at(call, &journal, estate.binaries(), &mut command)?;
        estate.stop_agent(SERVER)?;
        estate.run_agent(SERVER, command)?;
        approve(estate, &plan)?;
        let fell = wait::until("the end of the agent, or of the run", LIMIT, || {
            match (estate.agent(SERVER).and_then(process::Process::ended), estate.desk().plan(&plan.id)) {
                (Ok(Some(status)), _) => Look::Found(Some(status)),
                (_, Ok(found)) if found.receipt.is_some() => Look::Found(None),
                (ended, found) => Look::NotYet(format!("{ended:?}, {found:?}")),
            }
        })?;
        if let Some(status) = fell {
            ensure!(process::killed(status), "the agent ended with {status}");
            estate.start_agent(SERVER)?;
        }
        let end = settled(estate, &plan)?;
        let renewed = old_or_new(estate, &end, &before)?;
        Ok(fell.map(|_| renewed))
    });
    let renewed = ends.iter().filter(|renewed| **renewed).count();
    println!(
        "{} calls to the journal; {renewed} ended with the new certificate, {} with the old",
        ends.len(),
        ends.len() - renewed
    );
    // Begun, a note before and after each of its steps, and the end; written and flushed.
    assert!(ends.len() > 20, "{ends:?}");
}

#[test]
fn long_a_controller_killed_while_it_writes_its_store_loses_nothing_that_it_acknowledged_and_the_renewal_ends_well() {
    let ends = at_each_call(STRIDE, |estate, known, call| {
        let (plan, before) = (propose(estate, known)?, Before::of(estate)?);
        let store = estate.controller_state().join("backstay.db");
        let mut command = estate.controller_command()?;
        disk::killed_at(call, &store, estate.binaries(), &mut command)?;
        estate.stop_controller()?;
        estate.run_controller(command)?;
        // One that met many short sessions waits for long before it dials again.
        estate.stop_agent(SERVER)?;
        estate.start_agent(SERVER)?;
        let fell = wait::until("the end of the controller, or of the run", LIMIT, || {
            if let Ok(Some(status)) = estate.controller().and_then(process::Process::ended) {
                return Look::Found(Some(status));
            }
            // It may fall while it is asked.
            match estate.desk().plan(&plan.id) {
                Ok(found) if found.plan.as_ref().is_some_and(|plan| plan.life == "confirmed") => Look::Found(None),
                Ok(found) if found.plan.as_ref().is_some_and(|plan| plan.life == "proposed") => {
                    Look::NotYet(format!("it is approved now: {:?}", approve(estate, &plan)))
                }
                other => Look::NotYet(format!("{other:?}")),
            }
        })?;
        if let Some(status) = fell {
            ensure!(process::killed(status), "the controller ended with {status}");
        } else {
            // Its last call may yet come.
            estate.kill_controller()?;
        }
        estate.start_controller()?;
        estate.wait_connected(SERVER, LIMIT)?;
        if fell.is_some() {
            let proposed = |estate: &Estate| {
                let found = estate.desk().plan(&plan.id)?.plan.context("the plan")?;
                Ok::<_, anyhow::Error>(found.life == "proposed")
            };
            // An approval that was on disk before the fall counts from the next look on, perhaps just now.
            if proposed(estate)?
                && let Err(refused) = approve(estate, &plan)
            {
                ensure!(!proposed(estate)?, "{refused:?}");
            }
        }
        let done = |found: &proto::operator::Plan| found.id == plan.id && found.life == "confirmed";
        let end = estate.wait_plan(SERVER, "confirmed", LIMIT, done)?;
        ensure!(old_or_new(estate, &end, &before)?, "the old certificate is shown");
        estate.desk().ok(&["audit", "verify"])?;
        Ok(fell.map(|_| true))
    });
    println!("{} kills of a controller in its store", ends.len());
    assert!(ends.len() > 8, "{ends:?}");
}

/// Does `one` at the first call, at the one `stride` later, and so on, until one comes through; says how each ended.
fn at_each_call(stride: u32, one: impl Fn(&mut Estate, &mut BTreeSet<Vec<u8>>, u32) -> Result<Option<bool>> + Sync) -> Vec<bool> {
    let all = |worker: u32| -> Result<Vec<bool>> {
        let (mut estate, mut known, mut ends) = (estate()?, BTreeSet::new(), Vec::new());
        for call in (1 + worker * stride..).step_by((WORKERS * stride) as usize) {
            let end = one(&mut estate, &mut known, call);
            match end.with_context(|| format!("killed at call {call}; {}", estate.keep()))? {
                Some(end) => ends.push(end),
                None => break,
            }
        }
        // Its last call may yet come.
        estate.kill_agent(SERVER)?;
        estate.kill_controller()?;
        estate.check_logs(&[])?;
        Ok(ends)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || all(worker))).collect();
        let ends = workers.into_iter().map(|worker| worker.join().expect("no panic").expect("every kill ends well"));
        ends.flatten().collect()
    })
}
