//! Figures of `backstay-agent.exe` under Wine: how long it takes to start, what it holds and uses at rest, how soon a deletion is told.
//! `deploy/windows/build agent doubles host`, then `cargo run -p tests --example windows_figures`.
//!
//! They are for comparisons from one build to the next: Wine's own part of the memory is some nine MiB, and Windows has none of it.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::alone::alone;
use tests::wait;

#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/windows_agent/scene.rs"]
mod scene;

use scene::{LIMIT, Scene};

/// How long it is watched at rest; it looks every second here, every minute where nobody says otherwise.
const REST: Duration = Duration::from_secs(30);

/// Deletions whose telling is timed.
const DELETIONS: usize = 10;

fn main() -> Result<()> {
    alone("WIN4", || {
        let mut scene = Scene::set("act")?;
        let server = scene.server().to_owned();

        let mut starts = Vec::new();
        for _ in 0..3 {
            scene.estate.kill_agent(&server)?;
            let before = attended(&mut scene, &server).unwrap_or(0);
            let began = Instant::now();
            scene.start_agent()?;
            wait::until("the agent to attend", LIMIT, || {
                let now = attended(&mut scene, &server).unwrap_or(0);
                wait::when(now > before, || "it does not yet".to_owned())
            })?;
            starts.push(began.elapsed());
        }
        scene.estate.wait_connected(&server, LIMIT)?;
        say(&format!("from exec to attending: {}", spread(&mut starts)))?;

        wait::beat(Duration::from_secs(5));
        let pid = scene.estate.agent(&server)?.id();
        let used = cpu(pid)?;
        wait::beat(REST);
        let per_second = (cpu(pid)? - used) * 1e6 / REST.as_secs_f64();
        let (all, own) = (status(pid, "VmRSS:")?, status(pid, "RssAnon:")?);
        say(&format!(
            "at rest: {all} KiB resident, {own} KiB of them its own; {per_second:.0} µs of CPU a second, a look each second"
        ))?;

        let mut told = Vec::new();
        for _ in 0..DELETIONS {
            let began = Instant::now();
            scene.exchange.damage(&["delete-certificate"])?;
            scene.verdict("deleted")?;
            told.push(began.elapsed());
            scene.verdict("healthy")?;
        }
        say(&format!("from the start of the program that deletes to the controller's verdict: {}", spread(&mut told)))?;
        scene.end()
    })
}

/// How often the log says that the agent attends.
fn attended(scene: &mut Scene, server: &str) -> Result<usize> {
    let log = fs::read_to_string(scene.estate.folder().join("logs").join(format!("agent-{server}.log")))?;
    Ok(log.matches(" attending ").count())
}

/// Seconds of CPU that a process has used.
fn cpu(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold blanks, user and system time are the 12th and 13th field; a hundred ticks are a second on Linux.
    let fields: Vec<&str> = stat.rsplit_once(')').context("a name")?.1.split_whitespace().collect();
    ensure!(fields.len() > 12, "expected fields of a process, found {stat}");
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn status(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| field.to_owned())?;
    line.trim().trim_end_matches(" kB").parse().context("a number")
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |index: usize| times[index].as_secs_f64();
    format!("median {:.2} s, of {} from {:.2} s to {:.2} s", at(times.len() / 2), times.len(), at(0), at(times.len() - 1))
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
