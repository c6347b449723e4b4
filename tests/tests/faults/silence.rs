//! Who says nothing any more, and does not hang up: a controller or an agent that stands still, and a line that swallows everything.

use std::fs;

use anyhow::Result;
use tests::estate::Estate;
use tests::lab::Damage;
use tests::line::Line;
use tests::outside::Shown;
use tests::process::signal;
use tests::wait::{self, when};

use super::{LIMIT, NOTICED, SERVER, estate, look, says};

/// Loses the certificate on 444, and sees it come back as it was.
fn lost_and_back(estate: &Estate) -> Result<()> {
    let good: Shown = look(estate)?;
    estate.host(SERVER)?.damage(&Damage::RemoveRecordAndCertificate)?;
    let again = wait::until("444 to serve again", LIMIT, || look(estate).into())?;
    anyhow::ensure!(again == good, "444 showed {good}, and shows {again}");
    Ok(())
}

/// The controller learns of that, and that all is well.
fn learned(estate: &Estate) -> Result<()> {
    let done = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
    estate.wait_plan(SERVER, "an undelete that is confirmed", NOTICED, done)?;
    estate.wait_verdict(SERVER, "healthy", LIMIT)
}

fn connected(estate: &Estate, wanted: bool) -> Result<()> {
    estate.wait_server(SERVER, "a link, or its end", NOTICED, |response| {
        let connected = response.server.as_ref().is_some_and(|server| server.connected);
        when(connected == wanted, || format!("connected: {connected}"))
    })
}

#[test]
fn long_a_controller_that_stands_still_is_noticed_its_hosts_help_themselves_and_it_learns_when_it_goes_on() {
    let mut estate = estate().expect("an estate");
    let controller = estate.controller().expect("a controller").id();
    signal("STOP", controller).expect("stopped");
    lost_and_back(&estate).expect("put back");
    says(&estate, "agent-EX1", "no session with a controller").expect("said");
    signal("CONT", controller).expect("goes on");
    learned(&estate).expect("learned");
    connected(&estate, true).expect("connected");
    estate.desk().ok(&["audit", "verify"]).expect("verifies");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn long_an_agent_that_stands_still_is_told_silent_and_says_what_happened_when_it_goes_on() {
    let mut estate = estate().expect("an estate");
    let agent = estate.agent(SERVER).expect("an agent").id();
    signal("STOP", agent).expect("stopped");
    connected(&estate, false).expect("noticed");
    says(&estate, "controller", "fell silent").expect("said");
    let status = String::from_utf8(estate.desk().run(&["status"]).expect("asked").stdout).expect("text");
    assert!(status.contains("EX1"), "the estate's ten lines name who is silent: {status}");
    estate.host(SERVER).expect("a host").damage(&Damage::RemoveRecordAndCertificate).expect("lost");
    signal("CONT", agent).expect("goes on");
    learned(&estate).expect("learned");
    connected(&estate, true).expect("connected");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn long_a_line_that_swallows_everything_is_noticed_at_both_ends_and_what_happened_is_told_when_it_is_mended() {
    let mut estate = estate().expect("an estate");
    let line = Line::new().expect("a line");
    estate.stop_agent(SERVER).expect("stops");
    let config = estate.agent_folder(SERVER).join("agent.toml");
    let text = fs::read_to_string(&config).expect("a configuration") + &format!("\n[controllers]\nproxy = \"{}\"\n", line.url());
    fs::write(&config, text).expect("written");
    estate.start_agent(SERVER).expect("starts");
    estate.wait_connected(SERVER, LIMIT).expect("connects through the line");

    line.cut();
    lost_and_back(&estate).expect("put back");
    connected(&estate, false).expect("the controller notices");
    says(&estate, "agent-EX1", "no session with a controller").expect("the agent notices");
    line.mend();
    connected(&estate, true).expect("connected");
    learned(&estate).expect("learned");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
