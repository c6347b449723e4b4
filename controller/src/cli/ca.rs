//! `backstay ca`: the certification authority's key, for the safe.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Context;
use super::failure::{Doing, Exit, Failure};
use crate::ca::export;
use crate::config::Config;

/// What is to be done about the certification authority.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Writes the CA's key into a new file, readable for whoever has the file.
    Export(Export),
}

/// Writes the CA's key into a new file.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay ca export --out E:\\ca.key
  backstay ca export --config /etc/backstay/controller.toml --out /mnt/safe/ca.key")]
pub struct Export {
    /// The controller's configuration.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,

    /// The file; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Ca {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let Self::Export(Export { config, out }) = self;
        let config = Config::read(config).doing(|| format!("reading {}", config.display()))?;
        export(&config.state_dir, &config.estate, out).doing(|| format!("writing {}", out.display()))?;
        context.output.say(&format!("{}: the key of the CA, unsealed: put it where no controller runs", out.display()));
        context.output.say("on a new machine: put it back as ca.key into the state folder, beside ca.pem and the database");
        Ok(Exit::Ok)
    }
}
