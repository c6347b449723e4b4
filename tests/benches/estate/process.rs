//! What a process takes: memory, processor time, bytes on the loopback.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::estate::{Estate, Setup, policy};
use tests::wait;

use super::line;

/// So long an idle agent is watched.
const WATCHED: Duration = Duration::from_secs(90);

/// `USER_HZ`, the same on every Linux.
const TICKS: f64 = 100.0;

/// Resident memory, in KiB: all of it, and what is not a file's.
pub(crate) fn memory(process: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        line.split_whitespace().next().context("a number")?.parse().context("a number")
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}

/// Seconds that the threads of an agent had a processor: the one that watches the host, and all others.
fn cpu(process: u32) -> Result<(f64, f64)> {
    let (mut watcher, mut others) = (0.0, 0.0);
    for thread in fs::read_dir(format!("/proc/{process}/task")).context("its threads")? {
        let thread = thread?.path();
        let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
        let nanoseconds: f64 = text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
        let watches = fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == "watch");
        *(if watches { &mut watcher } else { &mut others }) += nanoseconds / 1e9;
    }
    Ok((watcher, others))
}

/// Seconds of processor time that a process was charged, threads that have ended too, in hundredths.
pub(crate) fn charged(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("stat")?;
    let behind_name = stat.rsplit_once(')').context("a name")?.1;
    let ticks: f64 = behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// Bytes that the loopback has carried, with every header and acknowledgement.
pub(crate) fn loopback() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/dev").context("interfaces")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).context("a loopback")?;
    line.split_whitespace().next().context("bytes")?.parse().context("bytes")
}

/// An agent as it is installed: a look each minute, a heartbeat each half minute, nothing changes.
pub(crate) fn idle() -> Result<()> {
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("act")), ..Setup::default() };
    let mut estate = Estate::temporary(&setup)?;
    estate.stop_agent("EX1")?;
    estate.stop_controller()?;
    let controller = estate.folder().join("controller").join("controller.toml");
    let agent = estate.agent_folder("EX1").join("agent.toml");
    for (path, lab) in [(&controller, "heartbeat_seconds = 1\n"), (&agent, "look_every = \"1s\"\n")] {
        let text = fs::read_to_string(path)?;
        fs::write(path, text.replace(lab, ""))?;
    }
    estate.start_controller()?;
    estate.start_agent("EX1")?;
    estate.wait_connected("EX1", Duration::from_secs(60))?;
    estate.wait_verdict("EX1", "healthy", Duration::from_secs(60))?;
    let binary = fs::metadata(estate.binaries().path("backstay-agent")?)?.len();
    let process = estate.agent("EX1")?.id();
    wait::beat(Duration::from_secs(10));
    let (began, before) = (Instant::now(), cpu(process)?);
    wait::beat(WATCHED);
    let (used, watched) = (cpu(process)?, began.elapsed().as_secs_f64());
    let (resident, anonymous) = memory(process)?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (megabytes, mebibytes, own) = (binary as f64 / 1e6, resident as f64 / 1024.0, anonymous as f64 / 1024.0);
    line("agent, Linux, with the lab driver: binary", "8 MB", &format!("{megabytes:.1} MB"), "-", "-");
    line("idle agent: resident", "10 MiB", &format!("{mebibytes:.1} MiB"), "-", "-");
    line("idle agent: of it not a file's", "3 MiB", &format!("{own:.1} MiB"), "-", "-");
    // The lab has nobody who tells of a change: its driver looks at its files many times a second, where Windows calls the agent.
    let micros = [used.1 - before.1, used.0 - before.0].map(|seconds| format!("{:.0} us", seconds / watched * 1e6));
    let [own, watching] = micros;
    line(&format!("idle agent: processor time per second, over {watched:.0} s"), "60 us", &own, "-", "-");
    line("idle agent: beside it, the lab's watching of its files", "-", &watching, "-", "-");
    estate.stop()
}
