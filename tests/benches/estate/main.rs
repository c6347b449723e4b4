//! What an estate costs and how long it takes, against the budgets of `docs/benchmarks.md`: real processes of the release build, real mutual TLS.
//!
//! `cargo bench -p tests --bench estate` measures everything; `-- --part idle` one part; `-- --agents 3,1000,5000` says how many agents a controller gets.
//! Each figure stands beside a control that was taken in the same run, and as a ratio to it: absolute times move with the machine.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

mod control;
mod crowd;
mod latency;
mod pages;
mod process;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From a change on a host to its verdict, from the end of the quiet time to 444, from a report to its acknowledgement.
    Latency,
    /// An agent that has nothing to do.
    Idle,
    /// A controller with many agents.
    Crowd,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// Only this part.
    #[arg(long)]
    part: Option<Part>,
    /// How many agents the controller gets.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 1000, 5000])]
    agents: Vec<u32>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// The control: a server that only shakes hands, with the CA in this folder. For the benchmark itself.
    #[arg(long, hide = true)]
    control: Option<std::path::PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { part, agents, bench: _, control } = Arguments::parse();
    if let Some(folder) = control {
        return control::serve(&folder);
    }
    let wanted = |one| part.is_none_or(|part| part == one);
    println!("{:<58} {:>12} {:>12} {:>14} {:>8}", "", "budget", "measured", "control", "ratio");
    if wanted(Part::Latency) {
        latency::measure().context("latencies")?;
    }
    if wanted(Part::Idle) {
        process::idle().context("an idle agent")?;
    }
    if wanted(Part::Crowd) {
        for agents in agents {
            crowd::measure(agents).with_context(|| format!("{agents} agents"))?;
        }
    }
    Ok(())
}

/// One line of the table.
fn line(what: &str, budget: &str, measured: &str, control: &str, ratio: &str) {
    println!("{what:<58} {budget:>12} {measured:>12} {control:>14} {ratio:>8}");
}

/// The value below which this share of them lies; they are put in order.
fn share(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let at = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}
