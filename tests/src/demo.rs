//! The demo: an estate to play with, in a folder that stays.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::estate::{Estate, Setup};

/// Between two looks at whether everything still runs.
const BEAT: Duration = Duration::from_millis(500);

/// What is wanted of the demo's estate: the agents act by themselves, after seconds instead of minutes.
const POLICY: &str = r#"
# Servers that no group names are only observed.
mode = "observe"

# In a real estate these are minutes: nobody who works on a server may be raced.
[quiet]
record_missing = "5s"
dangling = "5s"
ceiling = "2m"

[waves]
soak = "1s"

[peers]
every = "1s"

[limits]
restores_per_hour = 100
restores_per_day = 1000

[[group]]
name = "lab"
servers = ["EX1", "EX2", "EX3"]
mode = "act"
"#;

/// Runs the demo in `folder` until Ctrl-C or SIGTERM.
///
/// # Errors
/// When something does not start, ends by itself, or does not stop.
pub fn run(folder: &Path) -> Result<()> {
    say("Building what is not built yet, then starting three lab servers, a controller and three agents ...")?;
    let setup = Setup {
        policy: Some(POLICY.to_owned()),
        // Whoever opens the pages is admin, and one of the approvers; two of them must agree to a renewal.
        approvers: vec!["anna", "admin"],
        need: vec!["renew=2"],
        ..Setup::default()
    };
    let mut estate = Estate::in_folder(folder, &setup)?;
    introduce(&estate)?;
    let ended = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(until_asked(&mut estate));
    say("\nStopping ...")?;
    let stopped = estate.stop();
    ended.and(stopped)?;
    say("Nothing is left running. The next start goes on with this estate.")
}

/// Waits for Ctrl-C or SIGTERM, as long as everything runs.
async fn until_asked(estate: &mut Estate) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = beat.tick() => estate.still_runs()?,
        }
    }
}

fn introduce(estate: &Estate) -> Result<()> {
    let (desk, ports, folder) = (estate.desk(), estate.ports(), estate.folder());
    say(&format!("\nThe estate is in {}.", folder.display()))?;
    say(
        "Its keys, the root's, the approvers' and the controller's, lie together in this one folder ONLY BECAUSE THIS IS A DEMO:",
    )?;
    say("in a real estate the root key is offline, and each approver's key on the approver's own workstation.\n")?;

    say("           front end (443)        back end (444)")?;
    for host in estate.lab()?.servers()? {
        say(&format!("  {:<8} {:<22} {}", host.name().as_str(), host.address(443)?, host.address(444)?))?;
    }
    say(&format!("\n  controller: agents {}, enrolment {}, operators {}", ports.agents, ports.enrolment, ports.operators))?;
    say(&format!("  pages:      {}", desk.ok(&["sign-in"])?.trim_end()))?;
    say("              (good once, for five minutes; `backstay sign-in` makes another)")?;
    say(&format!("  metrics:    http://{}/metrics", ports.web))?;
    say(&format!("  logs:       {}\n", folder.join("logs").display()))?;
    say(&desk.ok(&["status"])?)?;
    say(&desk.ok(&["server", "list"])?)?;
    say(&next(estate)?)
}

/// What to try, as commands that work in any shell on this machine.
fn next(estate: &Estate) -> Result<String> {
    let (desk, ports) = (estate.desk(), estate.ports());
    let bin = estate.binaries().path("backstay")?;
    let bin = bin.parent().context("the folder of the binaries")?.display();
    let (lab, identity, key) = (estate.folder().join("lab"), desk.identity(), desk.key_file("anna"));
    let (lab, identity, key) = (quoted(&lab)?, quoted(&identity)?, quoted(&key)?);
    let trust = |file: &str| quoted(&desk.file(file));
    let (held, root, next) = (trust("trust/trust.signed")?, trust("trust/root.key")?, trust("trust-2.signed")?);
    let back_end = estate.back_end("EX1")?;
    Ok(format!(
        "Try it. In another terminal, first:

  export PATH=\"{bin}:$PATH\" BACKSTAY_CONTROLLER={controller} BACKSTAY_IDENTITY={identity}

1. Delete the back-end certificate of EX1. It is seen at once, and put back after 5 s of quiet; 444 serves all the time.

  backstay-lab break --dir {lab} --server EX1 delete-certificate
  backstay explain EX1
  backstay plan list --all --server EX1
  openssl s_client -connect {back_end} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -enddate

2. Remove the record of 444: the server is dead until it is put back, 5 s later.

  backstay-lab break --dir {lab} --server EX1 remove-record
  backstay server list

3. Let the certificate of EX2 end soon. A renewal is proposed, and waits for two approvers: one may sign on the page of the plan.

  backstay-lab break --dir {lab} --server EX2 expiring --days 20
  backstay plan list

   On the page Access (your name, at the top) make a key in your browser. Whoever has the root key admits it:

  backstay trust next --from {held} --admit-browser admin=KEY --browser renew --key {root} --out {next}
  backstay trust apply {next}

   Sign on the page of the plan. The other approver does so on a workstation, and the page shows the rest by itself:

  backstay plan approve PLAN --key {key} --reason \"ends soon\" --change CHG-1

4. Who did what, whether anybody changed the trail, and the estate of today as one page to hand on:

  backstay audit list
  backstay audit verify
  backstay report --html report.html

  backstay-lab break --help lists what else can happen; backstay-lab heal --dir {lab} --server EX1 undoes it.
  cargo demo -- --tour walks through all of this by itself, and checks each step from outside.

Ctrl-C ends the demo.",
        controller = ports.operators,
    ))
}

/// A path for a shell.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path in UTF-8")?;
    Ok(if text.contains([' ', '\'', '"', '$', '\\']) { format!("'{}'", text.replace('\'', "'\\''")) } else { text.to_owned() })
}

fn say(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").context("standard output is closed")
}
