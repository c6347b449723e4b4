//! `backstay events`: the controller as a source of events for Windows, and the list of its events.

use clap::Subcommand;
use serde::Serialize;

use super::Context;
#[cfg(windows)]
use super::failure::Doing as _;
use super::failure::{Exit, Failure};
use super::output::{View, pairs};
use crate::event;

/// What is to be done about events.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// Tells Windows where the texts of the controller's events are: in this exe.
    #[command(before_help = "Examples:\n  backstay events register")]
    Register,
    /// Takes the source of the controller's events away; what is in the log stays.
    #[command(before_help = "Examples:\n  backstay events unregister")]
    Unregister,
    /// Lists every event of the controller.
    #[command(before_help = "Examples:\n  backstay events list\n  backstay events list -o json")]
    List,
}

impl Events {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::Register => {
                register()?;
                context.output.say(&format!("events of {} go to the log {}", event::SOURCE, native::event::LOG));
            }
            Self::Unregister => {
                unregister()?;
                context.output.say(&format!("{} is no source of events any more", event::SOURCE));
            }
            Self::List => context.output.show(&List::all())?,
        }
        Ok(Exit::Ok)
    }
}

#[cfg(windows)]
fn register() -> Result<(), Failure> {
    let doing = || "registering the source of events".to_owned();
    let exe = std::env::current_exe().doing(doing)?;
    native::event::register(event::SOURCE, &exe).doing(doing)
}

#[cfg(windows)]
fn unregister() -> Result<(), Failure> {
    native::event::unregister(event::SOURCE).doing(|| "taking the source of events away".to_owned())
}

#[cfg(not(windows))]
fn register() -> Result<(), Failure> {
    Err(Failure::new(Exit::Error, "registering the source of events").because("expected Windows, found another system"))
}

#[cfg(not(windows))]
fn unregister() -> Result<(), Failure> {
    register()
}

#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Row>);

#[derive(Serialize)]
struct Row {
    id: u16,
    level: &'static str,
    strings: &'static [&'static str],
    text: &'static str,
    advice: &'static str,
}

impl List {
    fn all() -> Self {
        let row = |event: &native::event::Event| Row {
            id: event.id,
            level: event.severity.as_str(),
            strings: event.fields,
            text: event.english.says,
            advice: event.english.advice,
        };
        Self(event::ALL.iter().map(row).collect())
    }
}

impl View for List {
    fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|row| format!("{} {}", row.id, row.level)).collect();
        pairs(lines.iter().map(String::as_str).zip(self.0.iter().map(|row| row.text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_listed() {
        assert_eq!(List::all().text().lines().count(), event::ALL.len());
    }
}
