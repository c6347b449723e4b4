//! Journals that are torn, damaged, or find no room; and two controllers at one database.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use proto::operator::Plan;
use tests::desk::hex;
use tests::estate::Estate;
use tests::lab::{Call, Damage, Fault, Mode, Server};
use tests::outside::{Client, Shown};
use tests::process;
use tests::wait;

use super::{LIMIT, WHILE, estate};

const SERVER: &str = "EX1";

fn look(estate: &Estate) -> Shown {
    Client::find().look(estate.back_end(SERVER).expect("444")).expect("444 serves")
}

fn proposed(estate: &Estate) -> Plan {
    estate.host(SERVER).expect("a host").damage(&Damage::Expiring { days: 20 }).expect("ages");
    estate.wait_plan(SERVER, "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan")
}

fn approve(estate: &Estate, plan: &Plan) {
    estate.desk().approve(&hex(&plan.id), "anna", "CHG-1").expect("approved");
}

fn ends(estate: &Estate, plan: &Plan, lives: &[&str]) -> Plan {
    estate
        .wait_plan(SERVER, &lives.join(" or "), LIMIT, |found| found.id == plan.id && lives.contains(&found.life.as_str()))
        .expect("ends")
}

/// An estate whose agent was killed in the middle of a renewal, before the swap: its host, plan and journal.
fn cut_off() -> (Estate, Server, Plan, PathBuf) {
    let mut estate = estate(&[SERVER], &[]);
    let host = estate.host(SERVER).expect("a host");
    let plan = proposed(&estate);
    host.fault(Fault::new(Call::Handshake, Mode::Hang).millis(60_000)).expect("hangs");
    approve(&estate, &plan);
    estate.wait_plan(SERVER, "running", LIMIT, |found| found.id == plan.id && found.life == "running").expect("runs");
    let journal = estate.agent_folder(SERVER).join("state").join("journal");
    let notes = || wait::when(frames(&journal).is_ok_and(|frames| frames.len() >= 5), || "too few notes".to_owned());
    wait::until("some notes in the journal", LIMIT, notes).expect("notes");
    estate.kill_agent(SERVER).expect("killed");
    host.clear_faults().expect("cleared");
    (estate, host, plan, journal)
}

/// Begin and end of each record of a journal: magic, then length, checksum and body of each.
fn frames(journal: &Path) -> Result<Vec<(usize, usize)>> {
    let bytes = fs::read(journal)?;
    let (mut frames, mut at) = (Vec::new(), 8);
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes(head[..4].try_into()?) as usize;
        if length == 0 {
            break;
        }
        frames.push((at, at + 8 + length));
        at += 8 + length;
    }
    Ok(frames)
}

#[test]
fn a_journal_damaged_in_the_middle_holds_the_host_and_says_so_and_nothing_changes() {
    let (mut estate, host, plan, journal) = cut_off();
    let (good, old, before) = (fs::read(&journal).expect("a journal"), look(&estate), host.snapshot().expect("a disk"));
    let (begin, end) = frames(&journal).expect("reads")[1];
    let mut damaged = good.clone();
    damaged[(begin + end) / 2 + 4] ^= 0x55;
    fs::write(&journal, damaged).expect("written");
    estate.start_agent(SERVER).expect("starts");

    let evidence = estate
        .wait_server(SERVER, "BST901", LIMIT, |response| {
            let found = response.findings.iter().find(|finding| finding.code == "BST901");
            found.map_or_else(
                || wait::Look::NotYet(format!("{:?}", response.findings)),
                |finding| wait::Look::Found(finding.evidence.join(" ")),
            )
        })
        .expect("held");
    assert!(evidence.contains("journal") && evidence.contains("byte"), "{evidence}");
    wait::throughout(WHILE, || {
        assert_eq!(host.snapshot()?, before);
        assert_eq!(look(&estate), old);
        Ok(())
    })
    .expect("nothing changes");
    // Its fate is unknown, and that is what the controller says.
    ends(&estate, &plan, &["running"]);

    // A person looks, and puts the right journal back.
    estate.stop_agent(SERVER).expect("stops");
    fs::write(&journal, good).expect("written");
    estate.start_agent(SERVER).expect("starts");
    ends(&estate, &plan, &["restored", "confirmed", "undone"]);
    estate.check_logs(&["journal"]).expect("no other complaint");
}

#[test]
fn a_journal_whose_last_record_is_torn_is_taken_up_where_it_was() {
    let (mut estate, host, plan, journal) = cut_off();
    let old = look(&estate);
    let (begin, end) = *frames(&journal).expect("reads").last().expect("a record");
    let mut torn = fs::read(&journal).expect("a journal");
    // As a disk leaves it that wrote the head and half of the body.
    torn[(begin + end) / 2..end].fill(0);
    fs::write(&journal, torn).expect("written");
    estate.start_agent(SERVER).expect("starts");
    let end = ends(&estate, &plan, &["restored", "confirmed", "undone"]);
    let new = look(&estate);
    assert_eq!(end.life == "undone", new == old, "{end:?}, and 444 shows {new}");
    estate.wait_verdict(SERVER, if new == old { "expiring" } else { "healthy" }, LIMIT).expect("the controller learns it");
    assert!(host.back_end_certificate().expect("reads").is_some());
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_plan_for_whose_journal_there_is_no_room_is_refused_and_nothing_changes() {
    let mut estate = estate(&[SERVER], &[]);
    let host = estate.host(SERVER).expect("a host");
    let plan = proposed(&estate);
    let (old, before) = (look(&estate), host.snapshot().expect("a disk"));
    // As large as a file may become for this agent, in blocks of 512 bytes: less than the room that a journal takes first.
    estate.stop_agent(SERVER).expect("stops");
    let agent = estate.binaries().path("backstay-agent").expect("built");
    let config = estate.agent_folder(SERVER).join("agent.toml");
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"]).arg(agent).args(["run", "--config"]).arg(config);
    command.args(["--driver", "lab", "--lab-dir"]).arg(estate.folder().join("lab")).args(["--lab-server", SERVER]);
    estate.run_agent(SERVER, command).expect("starts");
    estate.wait_connected(SERVER, LIMIT).expect("connects");
    approve(&estate, &plan);
    ends(&estate, &plan, &["refused"]);
    let receipt = estate.desk().plan(&plan.id).expect("a plan").receipt.expect("a receipt");
    let notes = receipt.notes.join("; ");
    assert!(notes.contains("nothing was begun") && notes.contains("journal"), "{notes}");
    assert_eq!(host.snapshot().expect("a disk"), before);
    assert_eq!(look(&estate), old);

    // With room, another try with another approval comes through.
    estate.stop_agent(SERVER).expect("stops");
    estate.start_agent(SERVER).expect("starts");
    let again = estate
        .wait_plan(SERVER, "proposed again", LIMIT, |found| found.id != plan.id && found.life == "proposed")
        .expect("a plan");
    approve(&estate, &again);
    ends(&estate, &again, &["restored", "confirmed"]);
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_second_controller_on_the_same_database_refuses_to_start_and_the_first_goes_on() {
    let mut estate = estate(&[SERVER], &[]);
    let config = fs::read_to_string(estate.folder().join("controller").join("controller.toml")).expect("a configuration");
    let (head, _) = config.split_once("[listen]").expect("a section");
    let second = estate.folder().join("second.toml");
    let listen: String = ["agents", "enrolment", "operators", "web"].map(|port| format!("{port} = \"127.0.0.1:0\"\n")).concat();
    fs::write(&second, format!("{head}[listen]\n{listen}")).expect("written");
    let mut command = estate.binaries().command("backstay").expect("built");
    command.args(["serve", "--config"]).arg(second);
    let output = process::run(&mut command, Duration::from_secs(20)).expect("ends by itself");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("backstay.db") && said.contains("another"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    estate.controller().expect("a controller").still_runs().expect("it runs");
    estate.wait_connected(SERVER, LIMIT).expect("connected");

    // The root key has no business where a thief of the controller would find it.
    estate.stop_controller().expect("stops");
    fs::copy(estate.desk().file("trust/root.key"), estate.controller_state().join("innocent.txt")).expect("copied");
    let mut command = estate.binaries().command("backstay").expect("built");
    command.args(["serve", "--config"]).arg(estate.folder().join("controller").join("controller.toml"));
    let output = process::run(&mut command, Duration::from_secs(20)).expect("ends by itself");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("root key") && said.contains("innocent.txt"), "{said}");
    estate.check_logs(&[]).expect("quiet logs");
}
