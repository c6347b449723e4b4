//! The demo as a stranger uses it: it comes up, goes on where it was, and leaves nothing running.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tests::binaries::Binaries;
use tests::process::{self, Guard, Process};
use tests::wait;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(100);

struct Stage {
    demo: Process,
    guard: Guard,
}

impl Stage {
    /// Starts the demo in `folder`, and waits until it has introduced itself for the `time`th time.
    fn start(folder: &Path, time: usize) -> Self {
        let guard = Guard::new().expect("a guard");
        let mut command = Binaries::build().expect("built").command("demo").expect("built");
        command.arg("--dir").arg(folder.join("estate"));
        let demo = Process::start("demo", command, folder, &guard).expect("starts");
        let told = || {
            let log = demo.log();
            wait::when(log.matches("Ctrl-C ends the demo.").count() == time, || process::tail(&log))
        };
        wait::until("the demo to introduce itself", LIMIT, told).expect("introduces itself");
        Self { demo, guard }
    }

    /// Its last table of servers: name and certificate.
    fn certificates(&self) -> Vec<String> {
        let log = self.demo.log();
        let (_, table) = log.rsplit_once("\nSERVER ").expect("a table");
        let row = |line: &str| {
            line.split_whitespace().filter(|word| word.starts_with("EX") || word.len() == 8).collect::<Vec<_>>().join(" ")
        };
        table.lines().skip(1).take(3).map(row).collect()
    }
}

/// Processes that were told of `folder`, but the demo itself.
fn left(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.join("estate").join("").display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // One that has gone meanwhile is not left.
        let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&folder) {
            found.push(line);
        }
    }
    Ok(found)
}

#[test]
fn the_demo_goes_on_with_the_same_estate_and_leaves_nothing_running_however_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("a folder");
    let mut first = Stage::start(&path, 1);
    assert_eq!(left(&path).expect("processes").len(), 5, "lab, controller and three agents");
    let certificates = first.certificates();
    assert!(certificates.len() == 3 && certificates[0].starts_with("EX1 "), "{certificates:?}");
    assert!(first.demo.log().contains("ONLY BECAUSE THIS IS A DEMO"));
    process::signal("INT", first.demo.id()).expect("Ctrl-C");
    // As asked to stop once more, it ends with 0.
    first.demo.stop().expect("ends with 0");
    assert_eq!(left(&path).expect("processes"), Vec::<String>::new());
    drop(first);

    let mut second = Stage::start(&path, 2);
    assert_eq!(second.certificates(), certificates);
    second.demo.kill().expect("killed");
    let gone = || {
        let left = left(&path).unwrap_or_default();
        wait::when(left.is_empty(), || left.join("; "))
    };
    wait::until("everything to go with its owner", LIMIT, gone).expect("gone");
    drop(second.guard);
}
