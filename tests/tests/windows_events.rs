//! Events on Windows, as far as Wine shows them. It keeps none, but tells of each that it is handed: level and number, and each
//! of its strings. That the Event Viewer finds the texts is not seen here; that they are in the exe, in both languages, is.

use std::time::Duration;

use anyhow::Result;
use native::event::{Event, Severity};
use tests::pe;
use tests::process::{self, Guard, Process};
use tests::wait::{self, Look};
use tests::wine::{self, Prefix};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

const EXE: &str = r"C:\Backstay\backstay-agent.exe";
const CONFIG: &str = r"C:\ProgramData\Backstay\agent.toml";
const SOURCE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Backstay\BackstayAgent";

fn machine(config: &str) -> Prefix {
    let machine = Prefix::new().expect("a machine");
    let exe = std::fs::read(wine::built("backstay-agent.exe").expect("is built")).expect("reads");
    machine.write(EXE, exe).expect("written");
    machine.write(CONFIG, config).expect("written");
    machine
}

/// Has Wine tell of each call for an event, with its level and number, and of no other call.
fn overhear(machine: &Prefix) {
    let arguments =
        ["add", r"HKCU\Software\Wine\Debug", "/v", "RelayInclude", "/t", "REG_SZ", "/d", "advapi32.ReportEventW", "/f"];
    assert_eq!(machine.run("reg", &arguments).expect("ends").code, 0);
}

/// With this Wine tells of calls as `overhear` has it, and of the strings of events.
const TELLS: &str = "-all,+relay,+eventlog";

/// An event as Wine tells of it: level and number from the call, then each of its strings.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    level: u64,
    id: u64,
    strings: Vec<String>,
}

fn events(log: &str) -> Vec<Told> {
    let mut events: Vec<Told> = Vec::new();
    for line in log.lines() {
        if let Some((_, call)) = line.split_once(":Call advapi32.ReportEventW(") {
            // Source, level, category, number. Only the lower part of a register is the argument.
            let numbers: Vec<u64> = call.split(',').take(4).filter_map(|hex| u64::from_str_radix(hex, 16).ok()).collect();
            let [_, level, _, id] = numbers[..] else { continue };
            let (level, id) = (level & 0xffff, id & 0xffff_ffff);
            events.push(Told { level, id, strings: Vec::new() });
        } else if let Some((_, string)) = line.split_once(":eventlog:ReportEventW L\"")
            && let Some(told) = events.last_mut()
        {
            told.strings.push(string.trim_end_matches('"').to_owned());
        }
    }
    events
}

/// The strings of an event, when it was told with all of them and at its level.
fn told(log: &str, event: &Event) -> Look<Vec<String>> {
    let level = match event.severity {
        Severity::Error => 1,
        Severity::Warning => 2,
        Severity::Information => 4,
    };
    let found = events(log).into_iter().find(|told| told.id == u64::from(event.id));
    match found {
        Some(told) if told.level == level && told.strings.len() == event.fields.len() => Look::Found(told.strings),
        other => Look::NotYet(format!("{}: {other:?}, and in all {:?}", event.name, events(log))),
    }
}

fn start(machine: &Prefix, folder: &std::path::Path, guard: &Guard) -> Result<Process> {
    let mut command = machine.command(EXE);
    command.args(["--config", CONFIG, "run"]).env("WINEDEBUG", TELLS);
    Process::start("agent", command, folder, guard)
}

#[test]
fn outside_windows_the_life_of_an_agent_is_told_by_events_with_their_strings() {
    // No line at all is let through: events go by no filter.
    let machine = machine("state_dir = 'C:\\State'\njoin_token_file = 'C:\\join.token'\n[log]\nfilter = \"off\"\n");
    overhear(&machine);
    let (guard, folder) = (Guard::new().expect("a guard"), tempfile::tempdir().expect("a folder"));
    let mut agent = start(&machine, folder.path(), &guard).expect("starts");
    let found = wait::until("the agent's start", LIMIT, || told(&agent.log(), &agent::event::STARTED)).expect("told");
    assert_eq!(found, [env!("CARGO_PKG_VERSION"), r"C:\\State"]);
    let found = wait::until("no token", LIMIT, || told(&agent.log(), &agent::event::WAITING_FOR_TOKEN)).expect("told");
    assert_eq!(found, [r"expected a join token in C:\\join.token, found none"]);
    assert!(!agent.log().contains("INFO") && !agent.log().contains("WARN"), "{}", agent.log());

    // Ctrl-C, as Wine passes it on.
    process::signal("INT", agent.id()).expect("told");
    let status = wait::until("the end of the agent", LIMIT, || match agent.ended() {
        Ok(Some(status)) => Look::Found(status),
        Ok(None) => Look::NotYet("it runs".to_owned()),
        Err(error) => Look::NotYet(error.to_string()),
    });
    assert!(status.expect("ends").success(), "{}", process::tail(&agent.log()));
    let ids: Vec<u64> = events(&agent.log()).into_iter().map(|told| told.id).collect();
    let expected = [&agent::event::STARTED, &agent::event::WAITING_FOR_TOKEN, &agent::event::STOPPED];
    assert_eq!(ids, expected.map(|event| u64::from(event.id)), "the last one is written before the program ends");
}

#[test]
fn outside_windows_a_configuration_that_is_refused_is_told_by_an_event() {
    let machine = machine("no_such_key = 1\n");
    overhear(&machine);
    let mut command = machine.command(EXE);
    command.args(["--config", CONFIG, "run"]).env("WINEDEBUG", TELLS);
    let ended = wine::ended(&mut command, LIMIT).expect("ends");
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let strings = match told(&ended.stderr, &agent::event::CONFIGURATION_REFUSED) {
        Look::Found(strings) => strings,
        Look::NotYet(why) => panic!("{why}"),
    };
    assert!(strings[0].contains("agent.toml"), "{strings:?}");
}

#[test]
fn outside_windows_the_source_is_registered_with_the_exe_and_taken_away_again() {
    let machine = machine("");
    for _ in 0..2 {
        let ended = machine.run(EXE, &["events", "register"]).expect("ends");
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let query = |key: &str| machine.run("reg", &["query", key]).expect("ends");
    let found = query(SOURCE).stdout;
    let value = |name: &str| {
        let line = found.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {found}")).split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(value("EventMessageFile"), format!("REG_EXPAND_SZ {EXE}"));
    assert_eq!(value("TypesSupported"), "REG_DWORD 0x7");

    let listed = machine.run(EXE, &["events", "list", "-o", "json"]).expect("ends");
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(listed.len(), agent::event::ALL.len());

    let ended = machine.run(EXE, &["events", "unregister"]).expect("ends");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_ne!(query(SOURCE).code, 0);
    assert_ne!(query(SOURCE.trim_end_matches(r"\BackstayAgent")).code, 0, "the log goes with its last source");
}

#[test]
fn outside_windows_the_agent_carries_every_text_in_both_languages_its_version_and_its_manifest() {
    carries("backstay-agent.exe", agent::event::ALL);
}

#[test]
fn outside_windows_the_controller_carries_every_text_in_both_languages_its_version_and_its_manifest() {
    carries("backstay.exe", controller::event::ALL);
}

fn carries(name: &str, table: &[Event]) {
    let exe = std::fs::read(wine::built(name).expect("is built")).expect("reads");
    let resources = pe::resources(&exe).expect("resources");
    let of = |kind: u32, language: Option<u32>| {
        let fits = |found: &&pe::Resource| found.kind == kind && language.is_none_or(|language| found.language == language);
        let found = resources.iter().find(fits).map(|found| found.bytes.clone());
        found.unwrap_or_else(|| panic!("{name} has no resource {kind} in language {language:?}"))
    };
    for (language, text) in [(0x409, (|event| event.english) as fn(&Event) -> native::event::Text), (0x407, |event| event.german)]
    {
        let texts = pe::messages(&of(pe::MESSAGE_TABLE, Some(language))).expect("a table");
        assert_eq!(texts.len(), table.len(), "{name}");
        for event in table {
            let found = texts.get(&usize::from(event.id)).unwrap_or_else(|| panic!("{name} has no text of {}", event.id));
            assert_eq!(*found, format!("{}%0\r\n", text(event).message()), "{name} {}", event.id);
        }
    }
    let version: Vec<u8> = env!("CARGO_PKG_VERSION").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(of(pe::VERSION, None).windows(version.len()).any(|window| window == version), "{name}");
    let manifest = String::from_utf8(of(pe::MANIFEST, None)).expect("UTF-8");
    assert_eq!(manifest.matches("supportedOS").count(), 4, "{manifest}");
    for part in ["longPathAware", "asInvoker"] {
        assert!(manifest.contains(part), "{name}: {manifest}");
    }
}
