//! `backstay policy diff`: what another policy would change, key by key, before anybody signs it.

use std::path::PathBuf;

use clap::Args;

use super::{in_force, read};
use crate::cli::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{View, line, table};
use crate::policies::{Difference, Differences, InEffect};

/// Compares two policies.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay policy diff policy.toml                 # against the one in force
  backstay policy diff old.toml new.toml           # needs no controller")]
pub struct Diff {
    /// The policy that is wanted; with two files, the one that is to be compared with.
    #[arg(value_name = "FILE")]
    first: PathBuf,

    /// The policy that is wanted.
    #[arg(value_name = "FILE")]
    second: Option<PathBuf>,
}

impl Diff {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let (old, new) = match &self.second {
            Some(second) => (InEffect::of(&read(&self.first)?.1), InEffect::of(&read(second)?.1)),
            None => {
                let mut client = context.connection.connect().await?;
                let old = in_force(&mut client).await?;
                (InEffect::of(&old), InEffect::of(&read(&self.first)?.1))
            }
        };
        context.output.show(&Differences::between(&old, &new))?;
        Ok(Exit::Ok)
    }
}

impl View for Differences {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "the two policies want the same\n".to_owned();
        }
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), line);
        table(
            ["KEY", "OLD", "NEW", "EFFECT"],
            self.0.iter().map(|Difference { key, old, new, effect }| [key.clone(), shown(old), shown(new), (*effect).to_owned()]),
        )
    }
}
