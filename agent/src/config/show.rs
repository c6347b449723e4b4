//! `config show`: every key, what it is, and where that comes from; as a table for people, or as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Key, Layers, Origin, Set, Settings, defaults};
use crate::chain;

/// One key. A host that is held from several places has as many rows of `hold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name in `agent.toml`.
    pub key: &'static str,
    /// What it is: a text, a list of texts, or nothing.
    pub value: Shown,
    /// Where that stands.
    pub origin: Place,
}

/// A value for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// Not set.
    Nothing,
    /// One.
    Text(String),
    /// Several.
    List(Vec<String>),
}

/// An origin for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// `default`, `file`, `command line`, `Group Policy` or `command`.
    pub layer: &'static str,
    /// The file and line, the option, or the registry value. Empty for a default.
    pub at: String,
}

/// What `config show` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Every key.
    pub settings: Vec<Row>,
    /// What is wrong. A value that is wrong is not among the settings.
    pub faults: Vec<String>,
}

impl Table {
    /// Of these layers, with the holds in force.
    pub fn of(layers: &Layers) -> Self {
        let settings = Settings { holds: layers.holds().in_force(), ..layers.merged.settings.clone() };
        Self {
            settings: rows(settings.over(defaults())),
            faults: layers.merged.faults.iter().map(|fault| chain(fault)).collect(),
        }
    }

    /// As lines.
    pub fn to_text(&self, with_origin: bool) -> String {
        let shown: Vec<_> = self.settings.iter().map(|row| row.value.to_string()).collect();
        let width = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
        let key = width(&mut self.settings.iter().map(|row| row.key));
        // One long value must not push all origins out of sight.
        let value = width(&mut shown.iter().map(String::as_str)).min(48);
        let mut text = String::new();
        for (row, shown) in self.settings.iter().zip(&shown) {
            let Place { layer, at } = &row.origin;
            let line = if with_origin {
                format!("{:key$}  {shown:value$}  {layer} {at}", row.key)
            } else {
                format!("{:key$}  {shown}", row.key)
            };
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.pad("-"),
            Self::Text(text) => f.pad(text),
            Self::List(list) if list.is_empty() => f.pad("(of the join token)"),
            Self::List(list) => f.pad(&list.join(", ")),
        }
    }
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        Self { layer: origin.layer(), at: origin.place() }
    }
}

fn rows(settings: Settings) -> Vec<Row> {
    let Settings {
        state_dir,
        join_token_file,
        look_every,
        enrolment,
        agents,
        proxy,
        proxy_credentials_file,
        log_format,
        log_filter,
        holds,
    } = settings;
    let path = |path: std::path::PathBuf| Shown::Text(path.display().to_string());
    let list = |list: Vec<proto::names::Address>| Shown::List(list.iter().map(ToString::to_string).collect());
    let mut rows = vec![
        row(Key::StateDir, state_dir, path),
        row(Key::JoinTokenFile, join_token_file, path),
        row(Key::LookEvery, look_every, |time| Shown::Text(format!("{}s", time.as_secs()))),
        row(Key::Enrolment, enrolment, list),
        row(Key::Agents, agents, list),
        row(Key::Proxy, proxy, |proxy| Shown::Text(proxy.to_string())),
        row(Key::ProxyCredentialsFile, proxy_credentials_file, path),
        row(Key::LogFormat, log_format, |format| Shown::Text(format.as_str().to_owned())),
        row(Key::LogFilter, log_filter, Shown::Text),
    ];
    if holds.is_empty() {
        rows.push(row(Key::Hold, None, Shown::Text));
    }
    rows.extend(holds.into_iter().map(|hold| row(Key::Hold, Some(hold), Shown::Text)));
    rows
}

fn row<T>(key: Key, set: Option<Set<T>>, show: impl Fn(T) -> Shown) -> Row {
    let (value, origin) = set.map_or((Shown::Nothing, Origin::Default), |Set { value, origin }| (show(value), origin));
    Row { key: key.name(), value, origin: Place::from(&origin) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn every_key_is_shown_with_its_place_and_what_is_wrong_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let text = format!("state_dir = {:?}\nhold = \"moving\"\nlook_every = \"0s\"\n[log]\nfilter = \"warn\"\n", folder.path());
        std::fs::write(&path, text).expect("writes");
        crate::hold::set(folder.path(), "disk").expect("holds");
        let table = Table::of(&Layers::read(Some(&path), &Flags::default()));
        let keys: Vec<_> = table.settings.iter().map(|row| row.key).collect();
        assert!(Key::ALL.iter().all(|key| keys.contains(&key.name())), "{keys:?}");
        let place =
            |key: &str| table.settings.iter().filter(|row| row.key == key).map(|row| row.origin.clone()).collect::<Vec<_>>();
        let at = |line| Place { layer: "file", at: format!("{}:{line}", path.display()) };
        assert_eq!(place("log.filter"), [at(5)]);
        assert_eq!(place("look_every")[0].layer, "default", "what is wrong is not in force");
        assert_eq!(place("hold"), [Place { layer: "command", at: folder.path().join("hold").display().to_string() }, at(2)]);
        assert!(matches!(&table.faults[..], [fault] if fault.contains(":3: look_every: expected")), "{:?}", table.faults);
        let json = serde_json::to_value(&table).expect("plain data");
        assert_eq!(json["settings"][3]["value"], serde_json::json!([]));
        assert_eq!(json["settings"][5]["value"], serde_json::Value::Null);
    }

    #[test]
    fn the_table_has_a_line_for_each_key_and_the_origin_when_it_is_asked_for() {
        let place = Place { layer: "command line", at: "--log-filter".to_owned() };
        let rows = vec![Row { key: "log.filter", value: Shown::Text("warn".to_owned()), origin: place }];
        let table = Table { settings: rows, faults: Vec::new() };
        assert_eq!(table.to_text(false), "log.filter  warn\n");
        assert_eq!(table.to_text(true), "log.filter  warn  command line --log-filter\n");
    }
}
