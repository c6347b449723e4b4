//! A disk that takes nothing any more, under a controller and under an agent that work; and takes again.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use tests::disk;
use tests::estate::Estate;
use tests::lab::Damage;
use tests::wait::{self, when};

use super::{LIMIT, SERVER, estate, look, says};

/// As long as this file is there, the disk takes nothing.
fn flag(estate: &Estate) -> PathBuf {
    estate.folder().join("nothing-more")
}

fn thumbprint(estate: &Estate) -> Result<String> {
    Ok(estate.desk().server(SERVER)?.server.unwrap_or_default().thumbprint.unwrap_or_default())
}

#[test]
fn long_a_controller_whose_disk_is_full_acknowledges_nothing_says_so_and_goes_on_when_there_is_room() {
    let mut estate = estate().expect("an estate");
    let (full, store) = (flag(&estate), estate.controller_state().join("backstay.db"));
    let mut command = estate.controller_command().expect("built");
    disk::fails_while(&full, disk::FULL, &store, estate.binaries(), &mut command).expect("preloaded");
    estate.stop_controller().expect("stops");
    estate.run_controller(command).expect("starts");
    estate.wait_connected(SERVER, LIMIT).expect("connected");

    let host = estate.host(SERVER).expect("a host");
    let before = thumbprint(&estate).expect("told");
    fs::write(&full, "").expect("full");
    host.damage(&Damage::Expiring { days: 20 }).expect("ages");
    says(&estate, "controller", "a transaction was not committed").expect("said");
    // What an operator wants kept is not kept, and he learns why; what there is can be read.
    let refused = estate.desk().run(&["token", "create", "--server", "EX9", "--out", "token"]).expect("ends");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("disk"), "{said}");
    assert_eq!(thumbprint(&estate).expect("read"), before, "what is not on disk is not shown");
    estate.still_runs().expect("nobody ended");

    fs::remove_file(&full).expect("room");
    let new = look(&estate).expect("shown").thumbprint;
    let told = || when(thumbprint(&estate).is_ok_and(|found| found == new), || format!("{:?}", thumbprint(&estate)));
    wait::until("the change to be known", LIMIT * 2, told).expect("told");
    estate.wait_verdict(SERVER, "expiring", LIMIT).expect("judged");
    estate.desk().ok(&["audit", "verify"]).expect("verifies");
    estate.stop().expect("stops");
    estate.check_logs(&["not committed", "store"]).expect("no other complaint");
}

#[test]
fn long_an_agent_whose_state_cannot_be_written_does_no_work_says_so_and_goes_on_when_it_can() {
    let mut estate = estate().expect("an estate");
    let (read_only, state) = (flag(&estate), estate.agent_folder(SERVER).join("state"));
    let mut command = estate.agent_command(SERVER).expect("built");
    disk::fails_while(&read_only, disk::READ_ONLY, &state, estate.binaries(), &mut command).expect("preloaded");
    estate.stop_agent(SERVER).expect("stops");
    estate.run_agent(SERVER, command).expect("starts");
    estate.wait_connected(SERVER, LIMIT).expect("connected");

    let (good, host) = (look(&estate).expect("shown"), estate.host(SERVER).expect("a host"));
    fs::write(&read_only, "").expect("read-only");
    host.damage(&Damage::RemoveRecord).expect("lost");
    says(&estate, "agent-EX1", "Read-only file system").expect("said");
    let lost = host.snapshot().expect("a disk");
    wait::throughout(std::time::Duration::from_secs(8), || {
        anyhow::ensure!(host.snapshot()? == lost, "it worked on the host without a journal");
        Ok(())
    })
    .expect("nothing is done whose journal cannot be kept");
    estate.still_runs().expect("nobody ended");

    fs::remove_file(&read_only).expect("as before");
    let again = wait::until("444 to serve again", LIMIT, || look(&estate).into()).expect("put back");
    assert_eq!(again, good);
    estate.wait_verdict(SERVER, "healthy", LIMIT * 2).expect("known");
    estate.stop().expect("stops");
    estate.check_logs(&["Read-only"]).expect("no other complaint");
}
