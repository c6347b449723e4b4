//! How a service is: what `status` prints, for people and for programs.

use std::fmt;

use serde::Serialize;

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub service: &'static str,
    /// Where it is in its life.
    pub state: State,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
    /// When it starts: `automatic`, `automatic, delayed`, `by hand`, `disabled`.
    pub start: String,
    /// Under which account.
    pub account: Option<String>,
    /// What is started, as Windows keeps it.
    pub image_path: String,
    /// The version that runs, as it has said itself at its start; not that of the file, which may be newer.
    pub version: Option<String>,
}

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does not run.
    Stopped,
    /// It takes up what it left, and joins or attends soon.
    Starting,
    /// It was asked to stop.
    Stopping,
    /// It runs.
    Running,
    /// Something that no service of ours does.
    Other,
}

/// How a service ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exit {
    /// The code of Windows: 0, or 1066 for one of the service's own.
    pub code: u32,
    /// The service's own code.
    pub own: Option<u32>,
    /// What that means, and what to do.
    pub meaning: String,
}

impl Exit {
    /// With the meaning of the service's own codes, where it has a word for one.
    pub fn of(code: u32, own: Option<u32>, words: fn(u32) -> Option<&'static str>) -> Self {
        let meaning = match (code, own) {
            (0, _) => "it was stopped, and came to its end".to_owned(),
            (_, Some(own)) => words(own).map_or_else(|| "see the event log".to_owned(), str::to_owned),
            (1067, _) => "its process was gone all of a sudden; the next start takes up what was at work".to_owned(),
            (1077, _) => "it has not been started since Windows was, or since it was installed".to_owned(),
            (1053, _) => "it did not answer the service control manager in time".to_owned(),
            (code, None) => crate::Code(code).to_string(),
        };
        Self { code, own, meaning }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, own, meaning } = self;
        match own {
            Some(own) => write!(f, "code {own}: {meaning}"),
            None => write!(f, "{code}: {meaning}"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Running => "running",
            Self::Other => "neither running nor stopped",
        })
    }
}

impl Status {
    /// As people read it: a name and a value in each line.
    pub fn text(&self) -> String {
        let Self { service, state, pid, exit, start, account, image_path, version } = self;
        let dash = || "-".to_owned();
        let rows = [
            ("service", (*service).to_owned()),
            ("state", state.to_string()),
            ("pid", pid.map_or_else(dash, |pid| pid.to_string())),
            ("exit code", exit.as_ref().map_or_else(dash, Exit::to_string)),
            ("start", start.clone()),
            ("account", account.clone().unwrap_or_else(dash)),
            ("image path", image_path.clone()),
            ("version", version.clone().unwrap_or_else(dash)),
        ];
        rows.iter().map(|(name, value)| format!("{name:10}  {value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(own: u32) -> Option<&'static str> {
        (own == 2).then_some("the configuration cannot be used")
    }

    fn running() -> Status {
        Status {
            service: "Some",
            state: State::Running,
            pid: Some(42),
            exit: None,
            start: "automatic".to_owned(),
            account: Some("LocalSystem".to_owned()),
            image_path: r"C:\some.exe run".to_owned(),
            version: Some("1.2.3".to_owned()),
        }
    }

    #[test]
    fn people_read_lines_and_programs_read_fields() {
        let text = running().text();
        assert!(text.starts_with("service     Some\nstate       running\npid         42\nexit code   -\n"), "{text}");
        let json = serde_json::to_value(running()).expect("plain data");
        assert_eq!((&json["state"], &json["pid"], &json["version"]), (&"running".into(), &42.into(), &"1.2.3".into()));
        assert!(json["exit"].is_null());
    }

    #[test]
    fn an_end_is_told_with_its_code_and_its_meaning() {
        let exit = Exit::of(1066, Some(2), words);
        assert_eq!(exit.to_string(), "code 2: the configuration cannot be used");
        let stopped = Status { state: State::Stopped, pid: None, exit: Some(exit), version: None, ..running() };
        assert!(stopped.text().contains("exit code   code 2: the configuration cannot be used\n"), "{}", stopped.text());
        let json = serde_json::to_value(stopped).expect("plain data");
        assert_eq!((&json["exit"]["code"], &json["exit"]["own"]), (&1066.into(), &2.into()));
        assert!(Exit::of(1066, Some(99), words).meaning.contains("event log"));
        assert!(Exit::of(0, None, words).meaning.contains("stopped"));
        assert!(Exit::of(1077, None, words).meaning.contains("not been started"));
        assert!(Exit::of(1069, None, words).meaning.contains("log on"));
    }
}
