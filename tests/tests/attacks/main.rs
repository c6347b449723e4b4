//! What somebody tries who holds the controller: the machine, its store, the key of its CA, and every message that it ever saw.
//!
//! Each line of the table is tried against a running agent, and refused in the agent's own words, which the table gives. It is the table of
//! `docs/threat-model.md`: a test keeps the two the same. After each attempt the host is as it was, from inside and from outside.

mod documents;
mod line;
mod orders;
mod thief;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use thief::Thief;

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

/// One thing that he tries.
struct Attack {
    /// What he does, as the page says it.
    tries: &'static str,
    /// By what words he is refused.
    refused: &'static str,
    /// Does it, and gives all that was said against it.
    by: fn(&mut Thief) -> Result<String>,
}

/// All of them, in the order in which they are tried.
fn attacks() -> impl Iterator<Item = &'static Attack> {
    orders::ATTACKS.iter().chain(&documents::ATTACKS).chain(&line::ATTACKS).chain(&orders::STANDING).chain(&documents::RESUMES)
}

/// The table of the page.
fn table() -> String {
    let mut text = "| | The thief | The agent refuses, and says |\n|---|---|---|\n".to_owned();
    for (number, Attack { tries, refused, by: _ }) in attacks().enumerate() {
        writeln!(text, "| {} | {tries} | `{refused}` |", number + 1).expect("a text takes it");
    }
    text
}

#[test]
fn the_page_lists_every_attack_with_the_words_that_refuse_it() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md");
    let text = fs::read_to_string(&page).expect("the page");
    assert!(text.contains(&table()), "{}: expected this table\n{}", page.display(), table());
}

#[test]
fn whoever_holds_the_controller_and_its_ca_key_moves_no_agent() {
    let mut thief = Thief::in_the_controllers_place().expect("in its place");
    let mut failed = Vec::new();
    for (number, attack) in attacks().enumerate() {
        let said = (attack.by)(&mut thief);
        match said {
            Ok(said) if said.contains(attack.refused) => {}
            Ok(said) => failed.push(format!("{}. {}: expected {:?}, found {said:?}", number + 1, attack.tries, attack.refused)),
            Err(error) => failed.push(format!("{}. {}: {error:#}", number + 1, attack.tries)),
        }
        if let Err(error) = thief.nothing_changed() {
            failed.push(format!("{}. {}: {error:#}", number + 1, attack.tries));
            // He moved it: what comes after would be judged by another host.
            break;
        }
    }
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), thief.keep());
    thief.what_is_right_still_runs().expect("the reasons were the reasons");
}
