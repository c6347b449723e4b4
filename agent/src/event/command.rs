//! `backstay-agent events`: the source of events, written down for Windows or taken away, and the list of events.

use std::fmt::Write as _;

#[cfg(windows)]
use anyhow::Context as _;
use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::ALL;

/// What is to be done about events.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Tell Windows where the texts of the agent's events are: in this exe
    #[cfg(windows)]
    Register,
    /// Take the source of the agent's events away; what is in the log stays
    #[cfg(windows)]
    Unregister,
    /// List every event of the agent
    List {
        /// How
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

impl Command {
    /// Does it; what there is to say about it.
    ///
    /// # Errors
    /// When Windows refuses, as it does to whoever is no administrator.
    pub fn run(&self) -> Result<String> {
        match self {
            #[cfg(windows)]
            Self::Register => {
                register()?;
                Ok(format!("events of {} go to the log {}", super::SOURCE, native::event::LOG))
            }
            #[cfg(windows)]
            Self::Unregister => {
                unregister()?;
                Ok(format!("{} is no source of events any more", super::SOURCE))
            }
            Self::List { output: Output::Table } => Ok(table()),
            Self::List { output: Output::Json } => Ok(serde_json::to_string_pretty(&list())?),
        }
    }
}

/// Writes the source down, with this exe as the file of its texts. Written twice it is the same.
///
/// # Errors
/// When Windows refuses.
#[cfg(windows)]
pub fn register() -> Result<()> {
    let exe = std::env::current_exe().context("the path of this exe")?;
    native::event::register(super::SOURCE, &exe).context("the source of events was not registered")
}

/// Takes the source away.
///
/// # Errors
/// When Windows refuses.
#[cfg(windows)]
pub fn unregister() -> Result<()> {
    native::event::unregister(super::SOURCE).context("the source of events was not taken away")
}

fn table() -> String {
    let mut text = format!("{:<6}{:<13}WHAT", "ID", "LEVEL");
    for event in ALL {
        let (id, level) = (event.id, event.severity.as_str());
        write!(text, "\n{id:<6}{level:<13}{}", event.english.says).expect("a String takes every character");
    }
    text
}

fn list() -> serde_json::Value {
    let one = |event: &native::event::Event| {
        json!({
            "id": event.id,
            "level": event.severity.as_str(),
            "strings": event.fields,
            "text": event.english.says,
            "advice": event.english.advice,
        })
    };
    ALL.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_event_for_people_and_for_programs() {
        let shown = Command::List { output: Output::Table }.run().unwrap();
        assert_eq!(shown.lines().count(), ALL.len() + 1);
        let shown: serde_json::Value = serde_json::from_str(&Command::List { output: Output::Json }.run().unwrap()).unwrap();
        assert_eq!(shown[0]["id"], 1000);
        assert_eq!(shown.as_array().unwrap().len(), ALL.len());
    }
}
