//! The demo as a stranger uses it: it comes up, goes on where it was, and leaves nothing running.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

impl Stage {
    /// What the demo says to type, from `begin` to the end of that line.
    fn typed(&self, begin: &str) -> String {
        let log = self.demo.log();
        let line = log.lines().map(str::trim).find(|line| line.starts_with(begin));
        line.unwrap_or_else(|| panic!("{begin} in\n{log}")).to_owned()
    }

    /// Types a line in a shell, behind the one that the demo says to type first.
    fn types(&self, folder: &Path, line: &str) {
        let typed = format!("{}\n{line}", self.typed("export PATH="));
        let done = Command::new("sh").current_dir(folder).args(["-ec", &typed]).output().expect("a shell");
        assert!(done.status.success(), "{line}\n{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// What a new user does, by the lines that the demo prints and the link that it gives.
#[test]
fn outside_browser_shows_a_new_user_a_loss_its_repair_and_a_renewal_to_approve() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("a folder");
    let mut stage = Stage::start(&path, 1);
    let link = stage.typed("pages:").split_whitespace().nth(1).expect("a link").to_owned();
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&pictures).expect("a folder");
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/pages/browser"));
    command.arg("demo").arg(&link).arg(&pictures).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("tests/pages/browser runs");
    let mut told = child.stdin.take().expect("a pipe");
    let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut hears = |expected: &str| {
        let line = said.next().unwrap_or_default();
        let Some(rest) = line.strip_prefix(expected) else {
            panic!("expected {expected:?}, found {line:?} {:?}", child.try_wait())
        };
        rest.trim().to_owned()
    };
    assert_eq!(hears("servers"), "EX1 EX2 EX3");
    hears("looks");
    // The second thing to try: the first leaves 444 serving.
    let lost = stage.typed("backstay-lab break").replace("delete-certificate", "remove-record");
    assert!(stage.demo.log().contains(&lost), "{lost}");
    stage.types(&path, &lost);
    writeln!(told, "lost").expect("told");
    for expected in ["unbound", "planned", "repaired"] {
        hears(expected);
    }
    let key = hears("key");
    let ends =
        stage.demo.log().lines().map(str::trim).find(|line| line.contains("expiring --days 20")).expect("a line").to_owned();
    for line in
        [ends, stage.typed("backstay trust next").replace("KEY ", &format!("{key} ")), stage.typed("backstay trust apply")]
    {
        stage.types(&path, &line);
    }
    let listed = "until backstay plan list | grep -q 'EX2 *renew'; do sleep 0.2; done";
    stage.types(&path, listed);
    writeln!(told, "admitted").expect("told");
    let plan = hears("signed");
    stage.types(&path, &(stage.typed("backstay plan approve").replace("PLAN", &plan) + " --yes"));
    writeln!(told, "approved").expect("told");
    hears("renewed");
    let rest: Vec<String> = said.collect();
    assert!(child.wait().expect("ends").success() && rest.is_empty(), "{rest:#?}");

    for line in ["backstay audit verify", "backstay report --html"] {
        stage.types(&path, &stage.typed(line));
    }
    let report = fs::read_to_string(path.join("report.html")).expect("a report");
    for words in ["EX2", "renew", "it ends soon", "anna", "admin"] {
        assert!(report.contains(words), "{words} in the report");
    }
    process::signal("INT", stage.demo.id()).expect("Ctrl-C");
    stage.demo.stop().expect("ends with 0");
}
