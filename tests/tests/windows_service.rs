//! Agent and controller as services of Windows, from their installation to their end, as far as Wine shows it. Whatever was asked
//! for is read back from the registry or the service control manager: many of Wine's calls say yes and do nothing
//! (docs/windows-service.md).

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::process::{Guard, Process, tail};
use tests::wait::{self, Look};
use tests::wine::{self, Ended, Prefix, State};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

/// With a blank in it, as the installer's.
const AGENT: &str = r"C:\Program Files\Backstay\backstay-agent.exe";
const CONTROLLER: &str = r"C:\Program Files\Backstay\backstay.exe";
const DATA: &str = r"C:\ProgramData\Backstay";
const CONFIG: &str = r"C:\ProgramData\Backstay\agent.toml";
const STATE: &str = r"C:\ProgramData\Backstay\agent";
const SERVICE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\BackstayAgent";

fn machine(exe: &str) -> Prefix {
    let machine = Prefix::new().expect("a machine");
    let name = exe.rsplit('\\').next().expect("a name");
    let bytes = std::fs::read(wine::built(name).expect("is built")).expect("reads");
    machine.write(exe, bytes).expect("written");
    machine
}

fn agent(machine: &Prefix, arguments: &[&str]) -> Ended {
    machine.run(AGENT, arguments).expect("ends")
}

/// The same for what must succeed; with what it said.
fn done(ended: &Ended) -> String {
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    format!("{}{}", ended.stdout, ended.stderr)
}

fn status(machine: &Prefix) -> Value {
    let ended = agent(machine, &["status", "-o", "json"]);
    done(&ended);
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// A value of the registry, in the words of `reg`.
fn registry(machine: &Prefix, key: &str, value: &str) -> String {
    done(&machine.run("reg", &["query", key, "/v", value]).expect("ends"))
}

/// What nobody but the owner and the group may, in the bits that Wine makes of an access list.
fn others_may(machine: &Prefix, folder: &str) -> u32 {
    std::fs::metadata(machine.path(folder).expect("a path")).expect("a folder").permissions().mode() & 0o007
}

#[test]
fn outside_windows_an_agent_is_installed_runs_survives_a_power_cut_and_leaves_its_state() {
    let mut machine = machine(AGENT);
    for command in ["status", "start", "stop", "uninstall"] {
        let absent = agent(&machine, &[command]);
        assert_eq!(absent.code, 3, "{absent:?}");
        assert!(absent.stderr.contains("backstay-agent.exe install"), "{absent:?}");
    }

    let said = done(&agent(&machine, &["install"]));
    // What Wine does not know is said, and is no failure.
    for unknown in ["start without delay", "restart after errors", "service SID", "required privileges (SeChangeNotifyPrivilege)"]
    {
        assert!(said.contains(&format!("warning: {unknown}")), "{said}");
    }
    assert!(!said.contains("restart after failures"), "Wine takes it, and forgets it: {said}");
    let image = format!(r#""{AGENT}" run --service"#);
    assert!(registry(&machine, SERVICE, "ImagePath").contains(&image));
    assert!(registry(&machine, SERVICE, "Start").contains("0x2"));
    assert!(registry(&machine, SERVICE, "Type").contains("0x10"));
    assert!(registry(&machine, SERVICE, "ObjectName").contains("LocalSystem"));
    assert!(registry(&machine, SERVICE, "PreshutdownTimeout").contains(&format!("{:#x}", 90_000)));
    assert!(registry(&machine, SERVICE, "Description").contains("444"));
    let stopped = status(&machine);
    assert_eq!((&stopped["state"], &stopped["pid"], &stopped["image_path"]), (&"stopped".into(), &Value::Null, &image.into()));

    // Again, with a configuration: the one that is there is brought up to date.
    machine.write(CONFIG, "look_every = \"30s\"\n").expect("written");
    assert!(done(&agent(&machine, &["install", "--config", CONFIG])).contains("up to date"));
    assert!(registry(&machine, SERVICE, "ImagePath").contains(&format!(r"run --service --config {CONFIG}")));

    done(&agent(&machine, &["start"]));
    assert_eq!(machine.service("BackstayAgent").expect("a service"), State::Running);
    let running = status(&machine);
    assert_eq!((&running["state"], &running["version"]), (&"running".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(running["pid"].as_u64().is_some_and(|pid| pid > 0), "{running}");
    assert!(done(&agent(&machine, &["start"])).contains("ran already"));
    assert_eq!((others_may(&machine, DATA), others_may(&machine, STATE)), (0, 0));

    done(&agent(&machine, &["stop"]));
    assert_eq!(machine.service("BackstayAgent").expect("a service"), State::Stopped);
    assert_eq!(status(&machine)["exit"]["code"], 0);
    assert!(done(&agent(&machine, &["stop"])).contains("did not run"));

    done(&agent(&machine, &["start"]));
    machine.cut_power().expect("dark");
    machine.boot().expect("boots");
    machine.wait_service("BackstayAgent", State::Running).expect("it starts by itself");

    // While it runs: it is stopped first.
    assert!(done(&agent(&machine, &["uninstall"])).contains("stay"));
    assert!(machine.service("BackstayAgent").is_err());
    assert_eq!(agent(&machine, &["status"]).code, 3);
    assert!(machine.path(&format!(r"{STATE}\lock")).expect("a path").is_file());

    let purged = done(&agent(&machine, &["uninstall", "--purge"]));
    assert!(purged.contains(&format!("removing {STATE}")), "{purged}");
    assert!(!machine.path(STATE).expect("a path").exists());
    assert!(machine.path(CONFIG).expect("a path").is_file(), "the configuration is the administrator's");
}

#[test]
fn outside_windows_a_service_purges_the_folder_that_its_own_command_line_names() {
    let machine = machine(AGENT);
    done(&agent(&machine, &["install", "--state-dir", r"C:\Data of ours\agent"]));
    done(&agent(&machine, &["start"]));
    let state = machine.path(r"C:\Data of ours\agent").expect("a path");
    assert!(state.join("lock").is_file());
    done(&agent(&machine, &["uninstall", "--purge"]));
    assert!(!state.exists());
}

#[test]
fn outside_windows_a_broken_configuration_stops_the_service_with_its_code() {
    let machine = machine(AGENT);
    machine.write(CONFIG, "look_evry = \"30s\"\n").expect("written");
    done(&agent(&machine, &["install"]));
    let started = agent(&machine, &["start"]);
    assert_eq!(started.code, 1, "{started:?}");
    assert!(started.stderr.contains("code 2: the configuration"), "{started:?}");
    let exit = status(&machine)["exit"].clone();
    assert_eq!((&exit["code"], &exit["own"]), (&1066.into(), &2.into()), "{exit}");
    // What cannot be read does not keep the service, nor anybody from removing it.
    assert!(agent(&machine, &["uninstall", "--purge"]).stderr.contains("nothing was removed"));
    done(&agent(&machine, &["uninstall"]));
}

#[test]
fn outside_windows_a_second_agent_on_a_host_ends_and_says_why() {
    let (machine, guard, folder) = (machine(AGENT), Guard::new().expect("a guard"), tempfile::tempdir().expect("a folder"));
    done(&agent(&machine, &["install"]));
    done(&agent(&machine, &["start"]));
    for arguments in [&["run"][..], &["run", "--state-dir", r"C:\elsewhere"]] {
        let second = agent(&machine, arguments);
        assert_eq!(second.code, 1, "{second:?}");
        assert!(second.stderr.contains("expected one agent, found another at work"), "{second:?}");
    }
    assert_eq!(machine.service("BackstayAgent").expect("a service"), State::Running, "the first goes on");
    done(&agent(&machine, &["stop"]));

    // The other way round.
    let mut command = machine.command(AGENT);
    command.arg("run");
    let mut console = Process::start("console", command, folder.path(), &guard).expect("starts");
    let waits = || wait::when(console.log().contains("has not joined an estate yet"), || console.log());
    wait::until("an agent at the console", LIMIT, waits).expect("waits for a token");
    let refused = agent(&machine, &["start"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("code 8: another agent"), "{refused:?}");
    console.still_runs().expect("the first goes on");
}

#[test]
fn outside_windows_a_folder_that_others_may_enter_is_taken_from_them_and_they_are_named() {
    let (machine, guard, folder) = (machine(AGENT), Guard::new().expect("a guard"), tempfile::tempdir().expect("a folder"));
    for path in [DATA, STATE] {
        let path = machine.path(path).expect("a path");
        std::fs::create_dir_all(&path).expect("made");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("open to all");
    }
    let mut command = machine.command(AGENT);
    command.arg("run");
    let console = Process::start("console", command, folder.path(), &guard).expect("starts");
    let waits = || wait::when(console.log().contains("has not joined an estate yet"), || console.log());
    wait::until("an agent at the console", LIMIT, waits).expect("waits for a token");
    let log = console.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("others had access")).collect();
    assert!(told.len() == 2 && told.iter().all(|line| line.contains("Everyone")), "{}", tail(&log));
    assert_eq!((others_may(&machine, DATA), others_may(&machine, STATE)), (0, 0));
}

#[test]
fn outside_windows_a_folder_that_is_not_the_agents_own_is_left_to_others() {
    let machine = machine(AGENT);
    let theirs = machine.path(r"C:\theirs").expect("a path");
    machine.write(r"C:\theirs\diary.txt", "dear diary").expect("written");
    std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o755)).expect("open to all");
    let refused = agent(&machine, &["run", "--state-dir", r"C:\theirs"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("expected a folder of the service's own"), "{refused:?}");
    assert_eq!(others_may(&machine, r"C:\theirs"), 0o005);
}

#[test]
fn outside_windows_a_console_agent_without_a_manager_is_no_service() {
    let refused = agent(&machine(AGENT), &["run", "--service"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("found a console"), "{refused:?}");
}

/// The port for operators that the ready file names, once a controller has written it anew.
fn operators(machine: &Prefix) -> Result<String> {
    let ready = machine.path(READY)?;
    wait::until("the controller to be ready", LIMIT, || {
        let read = || {
            let ready: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
            Ok(ready["operators"].as_str().context("no port for operators")?.to_owned())
        };
        Look::from(read())
    })
}

const READY: &str = r"C:\ProgramData\Backstay\ready.json";

#[test]
fn outside_windows_a_controller_is_a_service_and_answers_after_a_power_cut() {
    let mut machine = machine(CONTROLLER);
    let config = r"C:\ProgramData\Backstay\controller.toml";
    let ports = ["agents", "enrolment", "operators", "web"].map(|name| format!("{name} = \"127.0.0.1:0\"\n")).concat();
    machine.write(config, format!("estate = \"contoso\"\nadvertise = [\"localhost\"]\n[listen]\n{ports}")).expect("written");
    let run = |machine: &Prefix, arguments: &[&str]| machine.run(CONTROLLER, arguments).expect("ends");
    assert_eq!(run(&machine, &["service", "status"]).code, 3);
    done(&run(&machine, &["init"]));
    assert_eq!(others_may(&machine, DATA), 0, "the CA's key is in it");

    let said = done(&run(&machine, &["service", "install", "--ready-file", READY]));
    assert!(said.contains("warning: delayed start"), "{said}");
    let key = r"HKLM\SYSTEM\CurrentControlSet\Services\Backstay";
    assert!(registry(&machine, key, "ImagePath").contains(&format!(r#""{CONTROLLER}" serve --service --ready-file {READY}"#)));
    assert!(done(&run(&machine, &["service", "install", "--ready-file", READY])).contains("up to date"));

    let answers = |machine: &Prefix, port: &str| {
        let asked = ["--controller", port, "--identity", r"C:\ProgramData\Backstay\operator.pem", "status"];
        assert!(done(&run(machine, &asked)).contains("estate      contoso"));
    };
    done(&run(&machine, &["service", "start"]));
    assert_eq!(machine.service("Backstay").expect("a service"), State::Running);
    answers(&machine, &operators(&machine).expect("ready"));
    done(&run(&machine, &["service", "stop"]));
    let stopped: Value = serde_json::from_str(&run(&machine, &["service", "status", "-o", "json"]).stdout).expect("JSON");
    assert_eq!((&stopped["state"], &stopped["exit"]["code"]), (&"stopped".into(), &0.into()), "{stopped}");

    done(&run(&machine, &["service", "start"]));
    machine.cut_power().expect("dark");
    std::fs::remove_file(machine.path(READY).expect("a path")).expect("was ready");
    machine.boot().expect("boots");
    answers(&machine, &operators(&machine).expect("it starts by itself"));
    machine.wait_service("Backstay", State::Running).expect("and says so");

    done(&run(&machine, &["service", "uninstall"]));
    assert!(machine.service("Backstay").is_err());
    assert!(machine.path(r"C:\ProgramData\Backstay\backstay.db").expect("a path").is_file());
}

#[test]
fn outside_windows_a_controller_that_cannot_start_stops_with_its_code() {
    let machine = machine(CONTROLLER);
    let config = r"C:\ProgramData\Backstay\controller.toml";
    machine.write(config, "estate = \"contoso\"\n").expect("written");
    done(&machine.run(CONTROLLER, &["service", "install"]).expect("ends"));
    // No `init`: there is no authority.
    let started = machine.run(CONTROLLER, &["service", "start"]).expect("ends");
    assert_eq!(started.code, 1, "{started:?}");
    assert!(started.stderr.contains("code 1: the controller could not go on"), "{started:?}");
}
