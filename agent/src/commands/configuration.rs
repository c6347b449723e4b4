//! `backstay-agent config`.

use std::process::ExitCode;

use agent::config::Layers;
use agent::config::show::Table;
use clap::{Subcommand, ValueEnum};

use crate::{say, wrong};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print every key and what it is
    Show {
        /// Where each value comes from, too
        #[arg(long)]
        origin: bool,
        /// As a table or as JSON, which has the origins always
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Say what is wrong; exit code 2 when something is
    Check,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

impl Command {
    /// Whatever is wrong is said, and all the rest as well.
    pub(crate) fn carry_out(&self, layers: &Layers) -> ExitCode {
        match self {
            Self::Show { origin, output } => {
                let table = Table::of(layers);
                match output {
                    Output::Table => say(table.to_text(*origin).trim_end()),
                    Output::Json => say(&serde_json::to_string_pretty(&table).expect("texts are plain data")),
                }
            }
            Self::Check if layers.merged().faults.is_empty() => say("the configuration can be used"),
            Self::Check => {}
        }
        let faults: Vec<_> = layers.merged().faults.iter().collect();
        if faults.is_empty() { ExitCode::SUCCESS } else { wrong(&faults) }
    }
}
