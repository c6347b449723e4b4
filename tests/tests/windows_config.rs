//! The configuration of the agent on Windows: what tools write into the registry, against file and command line.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::wine::{self, Ended, Prefix};

const EXE: &str = r"C:\Backstay\backstay-agent.exe";
const CONFIG: &str = r"C:\ProgramData\Backstay\agent.toml";
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Backstay\Agent";

/// A machine with the agent and this configuration, where the service looks for it.
fn machine(config: &str) -> Prefix {
    let machine = Prefix::new().expect("a machine");
    let exe = std::fs::read(wine::built("backstay-agent.exe").expect("is built")).expect("reads");
    machine.write(EXE, exe).expect("written");
    machine.write(CONFIG, config).expect("written");
    machine
}

/// Sets a value of the policy, as `reg add` does it; what `reg` says is no proof, so each test reads back what it asks the agent.
fn policy(machine: &Prefix, name: &str, kind: &str, value: &str) {
    let ended = machine.run("reg", &["add", POLICY, "/v", name, "/t", kind, "/d", value, "/f"]).expect("ends");
    assert_eq!(ended.code, 0, "{ended:?}");
}

fn unset(machine: &Prefix, name: &str) {
    let ended = machine.run("reg", &["delete", POLICY, "/v", name, "/f"]).expect("ends");
    assert_eq!(ended.code, 0, "{ended:?}");
}

fn agent(machine: &Prefix, arguments: &[&str]) -> Ended {
    machine.run(EXE, arguments).expect("ends")
}

/// What `config show` says of a key: value, layer and place, once for each row.
fn shown(machine: &Prefix, options: &[&str], key: &str) -> Result<Vec<(Value, String, String)>> {
    let ended = agent(machine, &[&["config", "show", "--origin", "-o", "json"], options].concat());
    let table: Value = serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))?;
    let rows = table["settings"].as_array().context("settings")?.iter().filter(|row| row["key"] == key);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(rows.map(|row| (row["value"].clone(), text(&row["origin"]["layer"]), text(&row["origin"]["at"]))).collect())
}

fn row(value: impl Into<Value>, layer: &str, at: &str) -> Vec<(Value, String, String)> {
    vec![(value.into(), layer.to_owned(), at.to_owned())]
}

#[test]
fn outside_windows_group_policy_goes_before_the_command_line_and_that_before_the_file() {
    let machine =
        machine("look_every = \"30s\"\n[log]\nfilter = \"debug\"\n[controllers]\nproxy = \"http://proxy.contoso.test:3128\"\n");
    let option = ["--look-every=20s", "--log-filter=error"];
    let file = |line: u8| format!("{CONFIG}:{line}");
    assert_eq!(shown(&machine, &[], "look_every").expect("shown"), row("30s", "file", &file(1)));
    assert_eq!(shown(&machine, &option, "look_every").expect("shown"), row("20s", "command line", "--look-every"));
    assert_eq!(shown(&machine, &[], "state_dir").expect("shown"), row(r"C:\ProgramData\Backstay\agent", "default", ""));

    policy(&machine, "LookEverySeconds", "REG_DWORD", "10");
    policy(&machine, "ControllersAgents", "REG_MULTI_SZ", r"a.contoso.test:7443\0b.contoso.test:7443");
    policy(&machine, "StateDir", "REG_EXPAND_SZ", r"%SystemDrive%\state");
    let value = |name: &str| format!(r"{POLICY}\{name}");
    assert_eq!(shown(&machine, &option, "look_every").expect("shown"), row("10s", "Group Policy", &value("LookEverySeconds")));
    assert_eq!(shown(&machine, &option, "log.filter").expect("shown"), row("error", "command line", "--log-filter"));
    assert_eq!(
        shown(&machine, &option, "controllers.proxy").expect("shown"),
        row("http://proxy.contoso.test:3128", "file", &file(5))
    );
    let agents = serde_json::json!(["a.contoso.test:7443", "b.contoso.test:7443"]);
    assert_eq!(
        shown(&machine, &[], "controllers.agents").expect("shown"),
        row(agents, "Group Policy", &value("ControllersAgents"))
    );
    assert_eq!(
        shown(&machine, &["--state-dir", r"C:\other"], "state_dir").expect("shown"),
        row(r"C:\state", "Group Policy", &value("StateDir"))
    );
    let check = agent(&machine, &["config", "check"]);
    assert_eq!((check.code, check.stdout.trim()), (0, "the configuration can be used"), "{check:?}");

    // What is wrong is told with its place, and the rest is shown all the same.
    policy(&machine, "LookEverySeconds", "REG_SZ", "10s");
    policy(&machine, "LogFiltre", "REG_SZ", "warn");
    let check = agent(&machine, &["config", "check"]);
    assert_eq!(check.code, 2, "{check:?}");
    let wrong = format!(r"{}: look_every: expected REG_DWORD, found REG_SZ of 8 bytes", value("LookEverySeconds"));
    assert!(check.stderr.contains(&wrong) && check.stderr.contains("\"LogFiltre\""), "{check:?}");
    let run = agent(&machine, &["run"]);
    assert!(run.code == 2 && run.stderr.contains(&wrong), "an agent does not run by half of what it is told: {run:?}");
    assert_eq!(shown(&machine, &[], "look_every").expect("shown"), row("30s", "file", &file(1)));
}

#[test]
fn outside_windows_a_hold_by_group_policy_is_shown_and_no_command_lifts_it() {
    let machine = machine("");
    let says = |arguments: &[&str]| {
        let ended = agent(&machine, arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout.trim().to_owned()
    };
    assert_eq!(says(&["hold", "show"]), "not held");
    policy(&machine, "Hold", "REG_DWORD", "1");
    policy(&machine, "HoldReason", "REG_SZ", "change freeze");
    let by_policy = format!(r"held by Group Policy {POLICY}\Hold: change freeze");
    assert_eq!(says(&["hold", "show"]), by_policy);
    assert_eq!(shown(&machine, &[], "hold").expect("shown"), row("change freeze", "Group Policy", &format!(r"{POLICY}\Hold")));

    let seen: Value = serde_json::from_str(&says(&["observe"])).expect("JSON");
    assert_eq!(
        seen["report"]["hold"],
        format!(r"held on the host by Group Policy {POLICY}\Hold: change freeze"),
        "it is reported"
    );

    says(&["hold", "on", "the disk is being replaced"]);
    assert_eq!(shown(&machine, &[], "hold").expect("shown").len(), 2);
    assert_eq!(says(&["hold", "off"]), format!("the hold is lifted\n{by_policy}"));

    policy(&machine, "Hold", "REG_DWORD", "0");
    assert_eq!(says(&["hold", "show"]), "not held");
    // Whoever wrote that meant something, and holding harms nobody.
    policy(&machine, "Hold", "REG_SZ", "no");
    assert!(
        says(&["hold", "show"]).starts_with(&format!(r"held by Group Policy {POLICY}\Hold: whether this holds cannot be read"))
    );
    unset(&machine, "Hold");
    assert_eq!(says(&["hold", "show"]), "not held");
}
