//! The controller on Windows, as far as Wine shows it: its database, its ports and its command line.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::process::{self, Guard, Process};
use tests::wait::{self, Look};
use tests::wine::{self, Prefix};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

const EXE: &str = r"C:\Backstay\backstay.exe";
const CONFIG: &str = r"C:\ProgramData\Backstay\controller.toml";
const IDENTITY: &str = r"C:\ProgramData\Backstay\operator.pem";
const READY: &str = r"C:\ProgramData\Backstay\ready.json";

fn machine() -> Prefix {
    let machine = Prefix::new().expect("a machine");
    let exe = std::fs::read(wine::built("backstay.exe").expect("is built")).expect("reads");
    machine.write(EXE, exe).expect("written");
    let ports = ["agents", "enrolment", "operators", "web"].map(|name| format!("{name} = \"127.0.0.1:0\"\n")).concat();
    let config = format!("estate = \"contoso\"\nadvertise = [\"localhost\"]\n[listen]\n{ports}");
    machine.write(CONFIG, config).expect("written");
    machine
}

/// Starts a controller and waits until it is ready; with its port for operators.
fn serve(machine: &Prefix, folder: &Path, guard: &Guard) -> Result<(Process, String)> {
    let ready = machine.path(READY)?;
    let _ = std::fs::remove_file(&ready);
    let mut command = machine.command(EXE);
    command.args(["serve", "--config", CONFIG, "--ready-file", READY]);
    let mut process = Process::start("controller", command, folder, guard)?;
    let port = wait::until("the controller to be ready", LIMIT, || {
        let mut read = || {
            process.still_runs()?;
            let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
            Ok(ready["operators"].as_str().context("no port for operators")?.to_owned())
        };
        Look::from(read())
    })?;
    Ok((process, port))
}

fn ended(controller: &mut Process) -> Result<ExitStatus> {
    wait::until("the end of the controller", LIMIT, || match controller.ended() {
        Ok(Some(status)) => Look::Found(status),
        Ok(None) => Look::NotYet("it runs".to_owned()),
        Err(error) => Look::NotYet(error.to_string()),
    })
}

/// What the command line says.
fn says(machine: &Prefix, arguments: &[&str]) -> String {
    let ended = machine.run(EXE, arguments).expect("ends");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn outside_windows_a_controller_serves_its_command_line_and_takes_up_its_database_after_a_power_cut() {
    let (mut machine, guard, folder) = (machine(), Guard::new().expect("a guard"), tempfile::tempdir().expect("a folder"));
    let made = says(&machine, &["init", "--config", CONFIG]);
    assert!(made.contains(r"C:\ProgramData\Backstay"), "the state folder that nobody named: {made}");
    assert!(machine.path(r"C:\ProgramData\Backstay\backstay.db").expect("a path").is_file());

    let (mut controller, port) = serve(&machine, folder.path(), &guard).expect("serves");
    let asked = ["--controller", &port, "--identity", IDENTITY];
    assert!(says(&machine, &[&asked[..], &["status"]].concat()).contains("estate      contoso"));
    let held = machine.run(EXE, &["serve", "--config", CONFIG]).expect("ends");
    assert!(held.code != 0 && held.stderr.contains("backstay.db"), "one process has the database: {held:?}");

    machine.cut_power().expect("dark");
    ended(&mut controller).expect("dies");
    machine.boot().expect("boots");

    let (mut controller, port) = serve(&machine, folder.path(), &guard).expect("serves again");
    let asked = ["--controller", &port, "--identity", IDENTITY];
    assert!(says(&machine, &[&asked[..], &["audit", "verify"]].concat()).contains("1 entries, unbroken"));
    // Ctrl-C, as Wine passes it on.
    process::signal("INT", controller.id()).expect("told");
    let status = ended(&mut controller).expect("stops");
    assert!(status.success(), "{status}: {}", process::tail(&controller.log()));
}
