//! Of the machines themselves; their small programs are C, compiled on the spot, so that these tests wait for no build of ours.

use super::*;
use crate::process::{Guard, Process};

/// Listens on 444 of the loopback, says so, and goes on.
const LISTENER: &str = r#"
#include <winsock2.h>
#include <stdio.h>
int main(void) {
    WSADATA data;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(444), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(socket_, (struct sockaddr *)&address, sizeof address) || listen(socket_, 1)) {
        printf("error %d\n", WSAGetLastError());
        return 1;
    }
    puts("listens");
    fflush(stdout);
    Sleep(INFINITE);
}
"#;

const SLEEPER: &str =
    "#include <stdio.h>\n#include <windows.h>\nint main(void) { puts(\"sleeps\"); fflush(stdout); Sleep(INFINITE); }";

const DOUBLE: &str = "__declspec(dllexport) int TEST_DOUBLE(void) { return 1; }";

fn compile(folder: &Path, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
    let (from, to) = (folder.join(format!("{name}.c")), folder.join(name));
    fs::write(&from, source).unwrap();
    let mut gcc = Command::new("x86_64-w64-mingw32-gcc");
    gcc.arg(&from).arg("-o").arg(&to).args(arguments);
    let output = process::run(&mut gcc, LIMIT).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    to
}

#[test]
fn outside_windows_a_program_runs_and_its_words_and_the_low_bits_of_its_code_come_back() {
    let machine = Prefix::new().unwrap();
    machine.write(r"C:\in\word.txt", "hello").unwrap();
    let ended = machine.run("cmd", &["/c", r"type C:\in\word.txt & echo oh 1>&2 & exit 300"]).unwrap();
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.trim()), (300 & 0xff, "hello", "oh"));
}

#[test]
fn outside_windows_a_program_that_does_not_end_is_an_error_and_is_killed() {
    let machine = Prefix::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "sleeper.exe", SLEEPER, &[]);
    let error = ended(&mut machine.command(program), Duration::from_secs(3)).unwrap_err();
    assert!(format!("{error:#}").contains("waited 3 s for the end of"), "{error:#}");
    assert!(!machine.run("tasklist", &[]).unwrap().stdout.contains("sleeper"));
}

#[test]
fn outside_windows_a_machine_that_is_dropped_leaves_neither_folder_nor_server() {
    let machine = Prefix::new().unwrap();
    let folder = machine.folder.clone();
    assert_eq!(servers_of(&folder), 1);
    drop(machine);
    assert!(!folder.exists());
    assert_eq!(servers_of(&folder), 0);
}

#[test]
fn outside_windows_a_machine_whose_keeper_loses_its_owner_is_taken_away() {
    let mut machine = Prefix::new().unwrap();
    let folder = machine.folder.clone();
    // As the end of this process would.
    drop(machine.keeper.orders.take());
    let gone = || wait::when(!folder.exists(), || "the folder is there".to_owned());
    wait::until("the machine to go", LIMIT, gone).unwrap();
    assert_eq!(servers_of(&folder), 0);
}

#[test]
fn outside_windows_the_registry_outlives_a_power_cut_and_a_program_does_not() {
    let mut machine = Prefix::new().unwrap();
    machine.import("[HKEY_LOCAL_MACHINE\\SOFTWARE\\Backstay]\n\"word\"=\"kept\"").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "sleeper.exe", SLEEPER, &[]);
    let mut sleeper = Process::start("sleeper", machine.command(program), folder.path(), &Guard::new().unwrap()).unwrap();
    // One that is only starting is not on the machine yet, and would boot it again.
    wait::until("the program to run", LIMIT, || wait::when(sleeper.log().contains("sleeps"), || sleeper.log())).unwrap();
    machine.cut_power().unwrap();
    let ended = || sleeper.ended().unwrap().map_or_else(|| Look::NotYet("it runs".to_owned()), Look::Found);
    wait::until("the program to die", LIMIT, ended).unwrap();
    assert_eq!(servers_of(&machine.folder), 0);
    machine.boot().unwrap();
    let said = machine.run("reg", &["query", r"HKLM\SOFTWARE\Backstay", "/v", "word"]).unwrap().stdout;
    assert!(said.contains("kept"), "{said}");
}

#[test]
fn outside_windows_a_service_starts_and_stops_and_an_absent_one_is_an_error() {
    let machine = Prefix::new().unwrap();
    assert_eq!(machine.service("Spooler").unwrap(), State::Stopped);
    machine.start_service("Spooler").unwrap();
    assert_eq!(machine.service("Spooler").unwrap(), State::Running);
    machine.stop_service("Spooler").unwrap();
    assert_eq!(machine.service("Spooler").unwrap(), State::Stopped);
    assert!(machine.service("Nobody").is_err());
    assert!(machine.start_service("Nobody").is_err());
}

#[test]
fn outside_windows_a_double_is_loaded_and_without_an_override_wines_own_is_found_out() {
    let machine = Prefix::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let double = compile(folder.path(), "httpapi.dll", DOUBLE, &["-shared"]);
    machine.double(&double).unwrap();
    machine.expect("reg", &["delete", r"HKCU\Software\Wine\DllOverrides", "/v", "httpapi", "/f"]).unwrap();
    let error = machine.loads_double("httpapi.dll").unwrap_err().to_string();
    assert!(error.contains("found Wine's own"), "{error}");

    let plain = compile(folder.path(), "wevtapi.dll", "int nothing;", &["-shared"]);
    let error = machine.double(&plain).unwrap_err().to_string();
    assert!(error.contains("expected a double"), "{error}");
}

#[test]
fn outside_windows_isolated_machines_have_a_444_each() {
    let folder = tempfile::tempdir().unwrap();
    let guard = Guard::new().unwrap();
    let program = compile(folder.path(), "listener.exe", LISTENER, &["-lws2_32"]);
    let machines = [Prefix::isolated().unwrap(), Prefix::isolated().unwrap()];
    let listeners =
        [0, 1].map(|at| Process::start(&format!("listener{at}"), machines[at].command(&program), folder.path(), &guard).unwrap());
    for (machine, listener) in machines.iter().zip(&listeners) {
        let log = || listener.log();
        wait::until("a listener on 444", LIMIT, || wait::when(log().contains("listens"), log)).unwrap();
        // Seen by a program of this machine on that network, and not on our own.
        let mut own = machine.beside("cat");
        own.arg("/proc/net/tcp");
        let seen = process::run(&mut own, LIMIT).unwrap();
        assert!(String::from_utf8_lossy(&seen.stdout).contains("0100007F:01BC"));
    }
}

#[test]
fn outside_windows_what_was_not_built_is_an_error_that_says_how() {
    let error = built("nothing.exe").unwrap_err().to_string();
    assert!(error.contains("nothing.exe, found none: deploy/windows/build"), "{error}");
}

/// How many wineservers know this folder as theirs.
fn servers_of(folder: &Path) -> usize {
    let wanted = format!("WINEPREFIX={}\0", folder.display()).into_bytes();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let is_one = |process: &PathBuf| {
        let read = |name| fs::read(process.join(name)).unwrap_or_default();
        read("comm").starts_with(b"wineserver") && read("environ").windows(wanted.len()).any(|found| found == wanted)
    };
    processes.filter(is_one).count()
}
