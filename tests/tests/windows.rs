//! The controller on Windows, as far as Wine shows it: its database, its ports and its command line.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::binaries::Binaries;
use tests::desk::Desk;
use tests::lab::{self, Damage};
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

#[test]
fn outside_windows_a_controller_takes_an_agent_from_linux_and_judges_its_host() {
    let (machine, guard, folder) = (machine(), Guard::new().expect("a guard"), tempfile::tempdir().expect("a folder"));
    let made: serde_json::Value =
        serde_json::from_str(&says(&machine, &["init", "--config", CONFIG, "-o", "json"])).expect("what init prints");
    let fingerprint = made["ca_fingerprint"].as_str().expect("a fingerprint");
    let (mut controller, port) = serve(&machine, folder.path(), &guard).expect("serves");

    // The workstation is one of Linux, with the bundle that was made on Windows.
    let binaries = Binaries::build().expect("is built");
    let desk = Desk::new(binaries.clone(), &folder.path().join("desk"), port.parse().expect("an address"));
    std::fs::create_dir(desk.folder()).expect("made");
    std::fs::copy(machine.path(IDENTITY).expect("a path"), desk.identity()).expect("copied");
    let founding = ["trust", "init", "--estate", "contoso", "--ca", fingerprint, "--out", "trust", "--approver", "anna"];
    desk.ok(&founding).expect("a trust document");
    desk.ok(&["trust", "apply", "trust/trust.signed"]).expect("is taken");

    let hosts = folder.path().join("lab");
    let estate = lab::Estate::with(&hosts, &[("EX1", None)]).expect("a host");
    let _up = estate.up().expect("is up");
    let token = folder.path().join("join-token");
    desk.ok(&["token", "create", "--server", "EX1", "--out", &token.display().to_string()]).expect("a token");
    let config = folder.path().join("agent.toml");
    let text = format!("state_dir = {:?}\njoin_token_file = {token:?}\nlook_every = \"1s\"\n", folder.path().join("state"));
    std::fs::write(&config, text).expect("written");
    let mut command = binaries.command("backstay-agent").expect("is built");
    command.args(["run", "--driver", "lab", "--lab-server", "EX1", "--lab-dir"]).arg(&hosts).arg("--config").arg(&config);
    let mut agent = Process::start("agent", command, folder.path(), &guard).expect("starts");

    let verdict = |wanted: &str| {
        wait::until(&format!("verdict {wanted}"), LIMIT, || match desk.server("EX1") {
            Ok(found) => {
                let server = found.server.unwrap_or_default();
                wait::when(server.connected && server.verdict == wanted, || format!("{server:?}"))
            }
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    };
    verdict("healthy").expect("is told");
    estate.server("EX1").expect("a host").damage(&Damage::DeleteCertificate).expect("deleted");
    verdict("deleted").expect("is told");
    agent.stop().expect("stops");
    controller.kill().expect("dies");
}
