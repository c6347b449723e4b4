//! What is given to monitoring systems says only what the controller shows: alert rules, their tests, and the dashboard for Grafana.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn read(name: &str) -> String {
    let path = repository().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every word that begins as our metrics do.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("backstay_")).map(str::to_owned).collect()
}

/// Those of the page, which a test of the controller compares with what it shows. A histogram is shown in three.
fn exposed() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()));
    rows.flat_map(|name| {
        let parts = ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"));
        [name].into_iter().chain(parts)
    })
    .collect()
}

#[test]
fn rules_and_dashboard_ask_for_nothing_that_is_not_shown() {
    let exposed = exposed();
    assert!(exposed.len() > 40, "{exposed:?}");
    for name in ["alerts.yaml", "alerts.test.yaml", "grafana.json"] {
        let asked = metrics(&read(&format!("deploy/monitoring/{name}")));
        assert!(asked.len() > 5, "{name}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&exposed).collect();
        assert!(unknown.is_empty(), "deploy/monitoring/{name} asks for {unknown:?}");
    }
}

#[test]
fn rules_and_dashboard_know_the_words_of_verdicts_and_lives() {
    let text = read("deploy/monitoring/alerts.yaml") + &read("deploy/monitoring/grafana.json").replace("\\\"", "\"");
    let words = |label: &str| -> BTreeSet<String> {
        let begin = format!("{label}=");
        let values = text.split(&begin).skip(1).filter_map(|rest| rest.trim_start_matches('~').split('"').nth(1));
        values.flat_map(|values| values.split('|')).map(str::to_owned).collect()
    };
    let (verdicts, states) = (words("verdict"), words("state"));
    assert!(verdicts.len() >= 7 && states.len() >= 3, "{verdicts:?} {states:?}");
    for verdict in verdicts {
        assert!(serde_json::from_value::<policy::finding::Verdict>(verdict.clone().into()).is_ok(), "{verdict}");
    }
    for state in states {
        assert!(policy::life::Life::from_word(&state).is_some(), "{state}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/grafana.json")).expect("JSON");
    assert!(dashboard["schemaVersion"].as_u64().is_some() && dashboard["uid"].is_string());
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut places = BTreeSet::new();
    for panel in panels {
        let place = &panel["gridPos"];
        let number = |name: &str| place[name].as_u64().unwrap_or_else(|| panic!("{panel}"));
        assert!(number("x") + number("w") <= 24, "{panel}");
        assert!(places.insert((number("y"), number("x"))), "two panels in one place: {panel}");
        for target in panel["targets"].as_array().expect("targets") {
            assert!(target["expr"].as_str().is_some_and(|expr| !metrics(expr).is_empty()), "{target}");
            assert_eq!(target["datasource"]["uid"], "${source}", "{target}");
        }
    }
    assert!(panels.len() > 8);
}

/// By Prometheus' own tool: the rules parse, and do what their tests say. `tests/run` installs it.
#[test]
fn outside_promtool_takes_the_rules_and_their_tests() {
    let folder = repository().join("deploy/monitoring");
    let rules = alerts();
    let told = read("deploy/monitoring/alerts.test.yaml");
    for name in &rules {
        assert!(told.contains(&format!("alertname: {name}")), "{name} has no test");
        assert!(
            told.matches(&format!("alertname: {name}")).count() >= 2,
            "{name} needs a test in which it is silent and one in which it is not"
        );
    }
    for line in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output =
            Command::new(repository().join("tests/promtool")).args(line).current_dir(&folder).output().expect("promtool runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {}: {said}", line.join(" "));
    }
}

fn alerts() -> Vec<String> {
    let rules = read("deploy/monitoring/alerts.yaml");
    let found: Vec<String> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    assert!(found.len() >= 10, "{found:?}");
    found
}
