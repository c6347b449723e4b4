//! A process whose disk fails: the library `disk` is preloaded into it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::binaries::Binaries;

/// No space left on device.
pub const FULL: i32 = 28;

/// Read-only file system.
pub const READ_ONLY: i32 = 30;

/// The process is killed before its call of this number to files whose path begins so; from 1.
///
/// # Errors
/// When the library is not made.
pub fn killed_at(call: u32, under: &Path, binaries: &Binaries, command: &mut Command) -> Result<()> {
    does(&format!("kill {call}"), under, binaries, command)
}

/// Its calls to files whose path begins so fail with this code as long as `flag` exists.
///
/// # Errors
/// When the library is not made.
pub fn fails_while(flag: &Path, code: i32, under: &Path, binaries: &Binaries, command: &mut Command) -> Result<()> {
    does(&format!("while {} {code}", flag.display()), under, binaries, command)
}

fn does(deed: &str, under: &Path, binaries: &Binaries, command: &mut Command) -> Result<()> {
    command.env("LD_PRELOAD", binaries.failing_disk()?).env("BACKSTAY_DISK", format!("{deed} {}", under.display()));
    Ok(())
}
