//! `cargo demo`: a controller and three lab servers, to play with. `cargo demo -- --tour`: the main job, told and checked.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tests::binaries::Binaries;
use tests::{demo, tour};

/// A controller and three lab servers with real TLS, to play with
#[derive(Debug, Parser)]
struct Cli {
    /// Walk through the main job without a person; ends with 0 only if every step held
    #[arg(long)]
    tour: bool,
    /// Where the estate lies [default: demo in the target folder; for the tour a temporary one]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli { tour, dir } = Cli::parse();
    let ended = if tour { walk(dir) } else { play(dir) };
    ended.unwrap_or_else(|error| {
        eprintln!("demo: {error:#}");
        ExitCode::FAILURE
    })
}

fn play(dir: Option<PathBuf>) -> Result<ExitCode> {
    let folder = match dir {
        Some(dir) => dir,
        None => Binaries::build()?.target().join("demo"),
    };
    demo::run(&folder)?;
    Ok(ExitCode::SUCCESS)
}

fn walk(dir: Option<PathBuf>) -> Result<ExitCode> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let folder = dir.unwrap_or_else(|| temporary.path().to_owned());
    let held = tour::walk(&folder);
    if !matches!(held, Ok(true)) {
        // What lies in it tells why.
        let _ = temporary.keep();
        eprintln!("demo: the logs are kept in {}", folder.join("logs").display());
    }
    Ok(if held? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
