//! The tour: the main job told step by step, without a person, each step checked from outside. It ends well only if all held.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use proto::operator::Plan;

use crate::estate::{Estate, Setup};
use crate::outside::{Client, Shown};

mod alone;
mod people;
mod renewal;
mod restore;
mod stop;
mod theft;

/// For whatever should happen at once or after a quiet time of two seconds, also on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(30);

/// A step, and what is done in it.
type Step = (&'static str, fn(&mut Tour) -> Result<()>);

const STEPS: [Step; 15] = [
    ("mode observe: a deletion is told, nothing is done", restore::observe),
    ("mode act: deleted, put back with the same thumbprint while 444 served", restore::undelete),
    ("the record is removed, and comes back after the quiet time", restore::record),
    ("a tool that deletes and adds is not raced", restore::not_raced),
    ("expiring: proposed, approved, renewed make-before-break, nothing else touched", renewal::renew),
    ("two members of one DAG, one signature: one at a time", alone::one_at_a_time),
    ("distrusted: not undeleted by anybody's standing word", people::distrusted),
    ("certificate, key and record gone: proposed, approved, made as setup makes one", people::created),
    ("443 taken over: only proposed, given back after approval", people::front_end),
    ("the controller killed: the agent restores alone, and the controller learns it", alone::without_controller),
    ("emergency stop: nothing moves, and going on takes an approver", stop::stand_still),
    ("early renewal by a stolen controller is refused, with rule and date", theft::stolen),
    ("restored from a backup, which forgot what the agents tell it", alone::restored),
    ("a stolen controller replaced by trust document + 1", alone::replaced),
    ("the audit trail verifies", theft::audit),
];

/// The tour and what it walks through.
#[derive(Debug)]
struct Tour {
    estate: Estate,
    client: Client,
}

/// Walks the tour in `folder`, telling on standard output, and says whether all steps held.
///
/// # Errors
/// When the estate does not come up, or does not go down.
pub fn walk(folder: &Path) -> Result<bool> {
    let began = Instant::now();
    say("Building, then starting three lab servers, a controller and three agents, over mutual TLS ...");
    let estate = Estate::in_folder(folder, &Setup::default())?;
    let mut tour = Tour { estate, client: Client::find() };
    say(&format!("Ready after {:.0} s. What 444 shows is read with {}.", began.elapsed().as_secs_f64(), tour.client.name()));

    let mut table = Vec::new();
    for (number, (title, step)) in STEPS.iter().enumerate() {
        say(&format!("\n{}. {title}", number + 1));
        let began = Instant::now();
        let held = step(&mut tour);
        if let Err(error) = &held {
            say(&format!("   FAILED: {error:#}"));
        }
        table.push((*title, held.is_ok(), began.elapsed()));
    }
    let quiet = tour.estate.check_logs(&[]).and_then(|()| tour.estate.stop());
    if let Err(error) = &quiet {
        say(&format!("\nFAILED: {error:#}"));
    }
    table.push(("every process stopped when it was asked, and none complained", quiet.is_ok(), Duration::ZERO));

    say("");
    for (title, held, took) in &table {
        say(&format!("{}  {title}{}", if *held { "held  " } else { "FAILED" }, seconds(*took)));
    }
    let all = table.iter().all(|(_, held, _)| *held);
    say(&format!("\n{} in {:.0} s", if all { "All held" } else { "NOT all held" }, began.elapsed().as_secs_f64()));
    Ok(all)
}

impl Tour {
    /// What 444 of a server shows, from outside.
    fn look(&self, server: &str) -> Result<Shown> {
        self.client.look(self.estate.back_end(server)?)
    }

    /// What lies on a server's disk.
    fn disk(&self, server: &str) -> Result<BTreeMap<String, String>> {
        self.estate.host(server)?.snapshot()
    }

    /// Plans of a server that have ended on the host, oldest first.
    fn done(&self, server: &str) -> Result<Vec<Plan>> {
        let mut plans = self.estate.desk().plans(server)?;
        plans.retain(|plan| {
            matches!(plan.life.as_str(), "restored" | "confirmed" | "undone" | "failed" | "refused" | "superseded")
        });
        plans.sort_by_key(|plan| plan.created_at);
        Ok(plans)
    }
}

/// Tells on standard output; whether anybody listens is no concern of the proof.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Tells what was just shown.
fn shown(text: &str) {
    say(&format!("   ✓ {text}"));
}

/// Tells what is done now.
fn does(text: &str) {
    say(&format!("   {text}"));
}

fn seconds(took: Duration) -> String {
    if took.is_zero() { String::new() } else { format!(" ({:.1} s)", took.as_secs_f64()) }
}

/// Fails unless both are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<()> {
    if expected == found { Ok(()) } else { bail!("{what}: expected {expected:?}, found {found:?}") }
}

/// Fails unless it is true.
fn holds(what: &str, condition: bool) -> Result<()> {
    if condition { Ok(()) } else { bail!("expected {what}") }
}

/// Names of entries that differ between two disks, with `+`, `-` and `~` for new, gone and changed ones.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let sign = |name: &String| match (before.get(name), after.get(name)) {
        (None, Some(_)) => Some('+'),
        (Some(_), None) => Some('-'),
        (Some(was), Some(is)) if was != is => Some('~'),
        (Some(_), Some(_)) | (None, None) => None,
    };
    names.into_iter().filter_map(|name| sign(name).map(|sign| format!("{sign}{name}"))).collect()
}
