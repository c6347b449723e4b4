//! Lives simulated lives: one, told line by line, or many, of which only what was broken is told.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::sim::{Bug, Lived, live, memory};

/// Lives one life of a small estate, or many.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seed of the first life: the same seed, the same life, line by line.
    #[arg(long)]
    seed: u64,
    /// How many lives, each with the next seed; with one, all of it is told.
    #[arg(long, default_value_t = 1)]
    lives: u64,
    /// A bug that is built in, by its number.
    #[arg(long)]
    bug: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let Arguments { seed, lives, bug } = Arguments::parse();
    let built_in = |number: usize| {
        let known = Bug::ALL.get(number).copied();
        known.with_context(|| format!("--bug: expected a number from 0 to {}, found {number}", Bug::ALL.len() - 1))
    };
    let bug = bug.map(built_in).transpose()?;
    let mut out = std::io::stdout().lock();
    let (mut runs, mut steps, mut broke) = (0, 0_u64, 0_u64);
    for seed in seed..seed.saturating_add(lives) {
        let folder = memory()?;
        let life = live(seed, bug, folder.path(), lives == 1)?;
        let Lived { broken, steps: lived, runs: ran, trace } = life;
        (runs, steps) = (runs + ran, steps + u64::from(lived));
        for line in trace {
            writeln!(out, "{line}")?;
        }
        if let Some(broken) = broken {
            broke += 1;
            writeln!(out, "seed {seed}, step {lived}: {} is broken: {}", broken.promise, broken.how)?;
        }
    }
    writeln!(out, "{lives} lives, {steps} steps, {runs} runs, {broke} broken")?;
    Ok(if broke == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
