//! A test that has a network to itself: every port, 443 and 444 too, and a host name that it chose.
//!
//! An Exchange host listens on 444, whatever else this machine does. So such a test starts its own program once more, for this test
//! alone, in namespaces of its own (`tests/wine alone`), and there everything takes place: controller, agents, Windows machines.
//! No root is needed, and what is left when it ends is nothing.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Set in the inner run.
const INSIDE: &str = "BACKSTAY_ALONE";

/// Runs a test on a machine whose host name is `host`, and is as it ends there. To be called from the test's own thread, first thing.
///
/// # Errors
/// Those of the test, and where the system allows no namespaces.
pub fn alone(host: &str, test: impl FnOnce() -> Result<()>) -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    let thread = std::thread::current();
    let name = thread.name().context("expected a thread that has the test's name, found one without")?;
    let mut again = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/wine"));
    again.args(["alone", host]).arg(env::current_exe().context("where this test lies")?);
    again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
    let status = again.status().with_context(|| format!("does not start: {again:?}"))?;
    if status.success() { Ok(()) } else { bail!("{name}, alone: {status}; what it said is above") }
}
