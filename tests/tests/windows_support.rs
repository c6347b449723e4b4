//! `docs/windows-support.md` names every call of Windows that the agent makes, and no other: its rows against the sources and against
//! what the exe imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PAGE: &str = "docs/windows-support.md";

/// A row of the table of calls.
struct Row {
    dll: String,
    call: String,
    proven: String,
    shown: String,
}

/// What the page says.
struct Page {
    rows: Vec<Row>,
    /// What comes with the compiler's runtime and with libraries: a DLL, and a call or `*`.
    brought: Vec<(String, String)>,
}

fn page(text: &str) -> Page {
    let mut page = Page { rows: Vec::new(), brought: Vec::new() };
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[..] {
            [dll, call, what, since, proven, shown, source] if dll.ends_with(".dll") => {
                assert!([what, since, proven, source].iter().all(|cell| !cell.is_empty()), "{PAGE}: a cell is empty: {line}");
                let row = [dll, call, proven, shown].map(str::to_owned);
                let [dll, call, proven, shown] = row;
                page.rows.push(Row { dll, call, proven, shown });
            }
            [dll, call, _] if dll.ends_with(".dll") => page.brought.push((dll.to_owned(), call.to_owned())),
            _ => assert!(!cells[0].ends_with(".dll"), "{PAGE}: a row of a DLL has 7 cells, or 3: {line}"),
        }
    }
    page
}

/// What the sources call: by name, with the files that do.
#[derive(Default)]
struct Called {
    /// Through `windows_sys`, and so linked.
    linked: BTreeMap<String, PathBuf>,
    /// Looked up when they are wanted, and the text of the file that does.
    looked_up: BTreeMap<String, (PathBuf, String)>,
    /// Interfaces of objects, whose tables stand in a file.
    objects: BTreeMap<String, PathBuf>,
}

impl Called {
    fn by(crates: &[&str]) -> Self {
        let mut called = Self::default();
        for name in crates {
            called.folder(&Path::new(ROOT).join(name).join("src"), &mut BTreeSet::new());
        }
        called
    }

    /// `tests` collects the modules that only tests have.
    fn folder(&mut self, folder: &Path, tests: &mut BTreeSet<PathBuf>) {
        let mut paths: Vec<_> =
            fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path()).collect();
        // `x.rs` before `x/`: it says which modules in there are for tests.
        paths.sort_by_key(|path| (path.is_dir(), path.clone()));
        for path in paths {
            if tests.contains(&path.with_extension("")) || path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                self.folder(&path, tests);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.file(&path, tests);
            }
        }
    }

    fn file(&mut self, path: &Path, tests: &mut BTreeSet<PathBuf>) {
        let text = code(&fs::read_to_string(path).expect("a source"));
        for rest in text.split("#[cfg(test)]").skip(1) {
            let line = rest.trim_start().lines().next().unwrap_or_default();
            if let Some(name) = line.rsplit_once("mod ").and_then(|(_, name)| name.strip_suffix(';')) {
                let below = if path.ends_with("lib.rs") || path.ends_with("main.rs") {
                    path.with_file_name("")
                } else {
                    path.with_extension("")
                };
                tests.insert(below.join(name));
            }
        }
        let text = without_tests(&text);
        for name in linked(text) {
            self.linked.insert(name, path.to_owned());
        }
        for name in interfaces(text) {
            self.objects.insert(name, path.to_owned());
        }
        for name in literals(text) {
            self.looked_up.insert(name, (path.to_owned(), text.to_owned()));
        }
    }
}

/// Without comments. What looks like one inside a text is cut off too, which no call is behind.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default().trim_end()).collect::<Vec<_>>().join("\n")
}

/// What stands before the first module with a body that only tests have: it ends the file.
fn without_tests(text: &str) -> &str {
    let is_module = |rest: &str| {
        rest.lines()
            .map(str::trim)
            .find(|line| !line.starts_with('#') && !line.is_empty())
            .is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
    };
    let tests = text.match_indices("#[cfg(test)]").find(|(at, mark)| is_module(&text[at + mark.len()..]));
    tests.map_or(text, |(at, _)| &text[..at])
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The functions of `windows_sys` that are called here. Its types and constants are not: nothing calls them.
fn linked(text: &str) -> BTreeSet<String> {
    let paths = text.match_indices("windows_sys::").flat_map(|(at, _)| {
        let path = &text[at..];
        let whole = if text[..at].ends_with("use ") { path.find(';') } else { path.find(|c| !is_name(c) && c != ':') };
        path[..whole.unwrap_or(path.len())].split(|c| !is_name(c))
    });
    let called = |name: &&str| {
        let is_function = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(|c: char| c.is_ascii_lowercase());
        is_function && text.match_indices(&format!("{name}(")).any(|(at, _)| !text[..at].ends_with(is_name))
    };
    paths.filter(called).map(str::to_owned).collect()
}

/// Texts of the form `c"CallOfWindows"`, by which a library is asked for a call.
fn literals(text: &str) -> BTreeSet<String> {
    let texts = text.split("c\"").skip(1).filter_map(|rest| rest.split('"').next());
    texts
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) || name.starts_with("ldap_"))
        .filter(|name| name.chars().all(is_name))
        .map(str::to_owned)
        .collect()
}

/// Interfaces of IIS' objects whose tables stand here: calls by place, which no list of imports shows.
fn interfaces(text: &str) -> BTreeSet<String> {
    let tables = text.split("struct ").skip(1).filter_map(|rest| rest.split(|c| !is_name(c)).next());
    tables.filter(|name| name.starts_with("IAppHost")).map(str::to_owned).collect()
}

/// The crates that are in the agent and may call Windows.
fn crates() -> Vec<&'static str> {
    // Those that are not in it: the controller, and what only tests.
    let all = ["agent", "native", "policy", "proto", "recorded"];
    all.into_iter().filter(|name| Path::new(ROOT).join(name).is_dir()).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).expect(path)
}

#[test]
fn every_call_of_windows_has_its_row_and_every_row_its_call() {
    let page = page(&read(PAGE));
    let called = Called::by(&crates());
    let imports: BTreeSet<String> = read("deploy/windows/imports.txt").lines().map(str::to_owned).collect();
    assert!(
        called.linked.len() > 50 && called.looked_up.len() > 15 && called.objects.len() > 3 && page.rows.len() > 70,
        "the sources and the page were read"
    );

    let mut wrong = Vec::new();
    let rows: BTreeMap<&str, &Row> = page.rows.iter().map(|row| (&*row.call, row)).collect();
    let looked_up = called.looked_up.iter().map(|(name, (path, _))| (name, path));
    for (name, path) in called.linked.iter().chain(looked_up).chain(&called.objects) {
        if !rows.contains_key(&**name) {
            wrong.push(format!("{name} is called by {} and has no row", path.strip_prefix(ROOT).unwrap_or(path).display()));
        }
    }
    for Row { dll, call, .. } in &page.rows {
        let imported = imports.contains(&format!("{dll}!{call}"));
        match called.looked_up.get(call) {
            Some((path, text)) if !text.contains(&format!("\"{dll}\"")) => {
                wrong.push(format!("{call} is in {dll} by its row, and {} does not load that", path.display()));
            }
            Some(_) if imported => wrong.push(format!("{call} is looked up when it is wanted, and imported all the same")),
            None if !imported && !called.objects.contains_key(call) => {
                wrong.push(format!("{dll}!{call} has a row, and nothing calls it (imports.txt)"))
            }
            _ => {}
        }
    }
    let known = |import: &String| {
        let (dll, call) = import.split_once('!').expect("DLL!call");
        rows.get(call).is_some_and(|row| row.dll == dll)
            || page.brought.iter().any(|(from, what)| from == dll && (what == "*" || what == call))
    };
    wrong.extend(
        imports
            .iter()
            .filter(|import| !known(import))
            .map(|import| format!("{import} is imported, and the page does not say why")),
    );
    assert!(wrong.is_empty(), "{PAGE} and the agent differ:\n  {}", wrong.join("\n  "));
}

#[test]
fn rows_are_in_order_and_say_what_they_were_proven_against() {
    let page = page(&read(PAGE));
    let keys: Vec<_> = page.rows.iter().map(|row| (&row.dll, &row.call)).collect();
    assert!(keys.is_sorted_by(|one, next| one < next), "{PAGE}: sort the rows by DLL, then by call (LC_ALL=C), each once");
    for Row { dll, call, proven, shown } in &page.rows {
        let word = proven.split([',', ';', ':']).next().unwrap_or_default();
        assert!(
            ["Wine", "double", "unproven"].contains(&word),
            "{dll}!{call}: expected Wine, double or unproven, found {proven}"
        );
        assert!(word == "Wine" || shown != "-", "{dll}!{call}: {proven}, and nothing shows it on a real host");
    }
}

#[test]
fn functions_are_told_from_types_and_tests_from_the_rest() {
    let text = code(
        "use windows_sys::Win32::X::{Call, Structure, CONSTANT, Enumerated};\n// use windows_sys::Old;\n\
         let a = Structure { x: Enumerated }; unsafe { Call(&a) }; unsafe { windows_sys::Win32::Y::Inline(1) }; NotCall(); // Old()\n\
         entry(c\"LookedUp\"); c\"text\"; c\"Two words\"",
    );
    assert_eq!(linked(&text), BTreeSet::from(["Call".to_owned(), "Inline".to_owned()]));
    assert_eq!(literals(&text), BTreeSet::from(["LookedUp".to_owned()]));
    let text = "struct IAppHostElement {\n} let x: IAppHostNot; struct Other;";
    assert_eq!(interfaces(text), BTreeSet::from(["IAppHostElement".to_owned()]));
}
