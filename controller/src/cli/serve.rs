//! `backstay serve`: runs the controller until it is told to stop.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::failure::{Doing, Exit, Failure};
use crate::config::Config;
use crate::serve::{asked_to_stop, serve};
use crate::telemetry::{self, LogFormat};

/// Runs the controller.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay serve
  backstay serve --config /etc/backstay/controller.toml
  backstay serve --config controller.toml --log-format json --log info,controller=debug")]
pub struct Serve {
    /// The controller's configuration.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,

    /// Write the ports on which it listens into this file as soon as it does.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// What is logged, to standard error: targets and levels.
    #[arg(long, value_name = "FILTER", env = "BACKSTAY_LOG", default_value = "info")]
    log: String,

    /// How it is logged.
    #[arg(long, value_enum, default_value = "text")]
    log_format: Format,
}

/// How a controller logs.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: a JSON object per line.
    Json,
}

impl Serve {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let config = Config::read(&self.config).doing(|| format!("reading {}", self.config.display()))?;
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        let _logs = telemetry::init_logs(format, &self.log);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting the controller".to_owned())?;
        let stop = CancellationToken::new();
        let served = runtime.block_on(async {
            let told = async {
                asked_to_stop().await;
                stop.cancel();
                std::future::pending::<()>().await
            };
            tokio::select! {
                served = serve(config, self.ready_file.as_deref(), context.clock.clone(), stop.clone()) => served,
                () = told => Ok(()),
            }
        });
        served.doing(|| "running the controller".to_owned())?;
        Ok(Exit::Ok)
    }
}
