//! Events of both programs: their tables, the log calls that make them, and the page for people say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use native::event::{Event, Severity};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn programs() -> [(&'static str, &'static str, &'static [Event]); 2] {
    [("agent", agent::event::SOURCE, agent::event::ALL), ("controller", controller::event::SOURCE, controller::event::ALL)]
}

#[test]
fn no_id_is_used_by_both_programs() {
    let ids: Vec<u16> = programs().iter().flat_map(|(_, _, table)| table.iter().map(|event| event.id)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

/// With `BACKSTAY_ACCEPT=1` the tables of the page are written anew.
#[test]
fn the_page_lists_every_event_as_it_is() {
    let path = format!("{ROOT}/docs/events.md");
    let page = fs::read_to_string(&path).expect("docs/events.md");
    let mut expected = page.clone();
    for (_, source, table) in programs() {
        let (begin, end) = (format!("<!-- {source} -->\n"), format!("<!-- end of {source} -->\n"));
        let from = expected.find(&begin).unwrap_or_else(|| panic!("docs/events.md: expected {begin}")) + begin.len();
        let to = expected.find(&end).unwrap_or_else(|| panic!("docs/events.md: expected {end}"));
        expected.replace_range(from..to, &rows(table));
    }
    if std::env::var_os("BACKSTAY_ACCEPT").is_some() {
        fs::write(&path, &expected).expect("written");
    } else if page != expected {
        let differs = expected.lines().find(|line| !page.lines().any(|found| found == *line));
        panic!("docs/events.md differs from the tables (BACKSTAY_ACCEPT=1 writes it), first by: {differs:?}");
    }
}

fn rows(table: &[Event]) -> String {
    let mut text = String::new();
    let mut block = 0;
    for event in table {
        if event.id / 1000 != block {
            block = event.id / 1000;
            let name = match block {
                1 => "Life of the program",
                2 => "What is found",
                3 => "Policy and approval",
                4 => "Execution",
                5 => "Identity and transport",
                _ => "Internal",
            };
            text.push_str(&format!("\n### {block}xxx {name}\n\n"));
            text.push_str("| id | level | text | strings | what to do |\n| --- | --- | --- | --- | --- |\n");
        }
        let Event { id, severity, fields, english, .. } = event;
        let strings: Vec<String> = fields.iter().enumerate().map(|(at, name)| format!("%{} {name}", at + 1)).collect();
        let (level, strings, advice) =
            (severity.as_str(), strings.join(", "), if english.advice.is_empty() { "–" } else { english.advice });
        text.push_str(&format!("| {id} | {level} | {} | {strings} | {advice} |\n", english.says));
    }
    text.push('\n');
    text
}

/// A log call in a source file.
struct Call<'a> {
    begin: usize,
    end: usize,
    level: &'a str,
}

/// The calls that name an event of the table have its level, and a value for each of its strings; no event is without a call.
#[test]
fn every_event_is_told_at_its_level_and_with_its_strings() {
    for (krate, _, table) in programs() {
        let mut sources = Vec::new();
        collect(Path::new(&format!("{ROOT}/{krate}/src")), &mut sources);
        let sources: Vec<(PathBuf, String)> =
            sources.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("reads"))).collect();
        for event in table {
            let mut told = 0;
            for (path, text) in &sources {
                told += mentions(text, &format!("&{}", event.name)) + mentions(text, &format!("&event::{}", event.name));
                for at in positions(text, &format!("{}.id", event.name)) {
                    told += 1;
                    check(event, path, text, at);
                }
            }
            assert!(told > 0, "{krate}: event {} {} is never told", event.id, event.name);
        }
    }
}

fn check(event: &Event, path: &Path, text: &str, at: usize) {
    let Event { id, name, severity, fields, .. } = event;
    let call =
        calls(text).into_iter().find(|call| at < call.end).unwrap_or_else(|| panic!("{}: {name} has no call", path.display()));
    let line = text[..at].rfind('\n').unwrap_or(0);
    let said = &text[line.min(call.begin)..call.end];
    let expected = match severity {
        Severity::Information => "info",
        Severity::Warning => "warn",
        Severity::Error => "error",
    };
    assert_eq!(call.level, expected, "{}: level of {id} {name} in {said}", path.display());
    assert!(said.len() < 800, "{}: the call of {name} is far from its mention: {said}", path.display());
    for field in *fields {
        assert!(mentions(said, field) > 0, "{}: {id} {name} without its string {field}: {said}", path.display());
    }
}

fn calls(text: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    for level in ["info", "warn", "error"] {
        for begin in positions(text, &format!("tracing::{level}")) {
            let Some(open) = text[begin..].find('(').map(|offset| begin + offset) else { continue };
            let mut depth = 0;
            let end = text[open..].char_indices().find_map(|(offset, character)| {
                match character {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                (depth == 0).then_some(open + offset)
            });
            calls.extend(end.map(|end| Call { begin, end, level }));
        }
    }
    calls.sort_by_key(|call| call.begin);
    calls
}

/// Where a word stands that is not part of a longer one.
fn positions(text: &str, word: &str) -> Vec<usize> {
    let part = |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    text.match_indices(word)
        .filter(|(at, _)| !part(text[..*at].chars().next_back()) && !part(text[at + word.len()..].chars().next()))
        .map(|(at, _)| at)
        .collect()
}

fn mentions(text: &str, word: &str) -> usize {
    positions(text, word).len()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("event/table.rs") {
            found.push(path);
        }
    }
}
