//! `backstay serve`: runs the controller until it is told to stop.

#[cfg(windows)]
use std::path::Path;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::failure::{Doing, Exit, Failure};
use crate::clock::Clock;
use crate::config::Config;
use crate::serve::{Addresses, asked_to_stop, serve, write_ready};
use crate::telemetry::{self, Collector, LogFormat};

/// Runs the controller.
#[derive(Debug, Clone, Args)]
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

    /// Send traces to this collector of OpenTelemetry, over gRPC in plain text: `http://HOST:4317`.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    traces: Option<Collector>,

    /// As the service that the service control manager starts: it says so in the service's command line.
    #[cfg(windows)]
    #[arg(long, hide = true)]
    service: bool,
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
        #[cfg(windows)]
        if self.service {
            return super::service::under_the_manager(self.clone(), context.clock.clone());
        }
        let stop = CancellationToken::new();
        let told = async {
            asked_to_stop().await;
            stop.cancel();
            std::future::pending::<()>().await
        };
        self.until(stop.clone(), context.clock.clone(), told, || ())?;
        Ok(Exit::Ok)
    }

    /// Runs the controller until it has ended, or `told` has. `up` is called when it listens.
    pub(super) fn until(
        &self,
        stop: CancellationToken,
        clock: Clock,
        told: impl Future<Output = ()>,
        up: impl Fn(),
    ) -> Result<(), Failure> {
        let config = Config::read(&self.config).doing(|| format!("reading {}", self.config.display()))?;
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting the controller".to_owned())?;
        let logs = {
            let _inside = runtime.enter();
            telemetry::init_logs(format, &self.log, self.traces.as_ref()).doing(|| "opening the logs".to_owned())?
        };
        #[cfg(windows)]
        native::service::folder::private(&config.state_dir, super::MARKS)
            .doing(|| "keeping the state folder from others".to_owned())?;
        let ready = |addresses: &Addresses| {
            self.ready_file.as_deref().map_or(Ok(()), |path| write_ready(path, addresses))?;
            up();
            Ok(())
        };
        let served = runtime.block_on(async {
            tokio::select! {
                served = serve(config, ready, clock, stop) => served,
                () = told => Ok(()),
            }
        });
        runtime.block_on(logs.close());
        served.doing(|| "running the controller".to_owned())
    }
}

#[cfg(windows)]
impl Serve {
    /// What starts the service with the same: by full paths, for its folder will be another. What is the default stays unsaid.
    pub(super) fn arguments(&self) -> std::io::Result<Vec<std::ffi::OsString>> {
        let Self { config, ready_file, log, log_format, traces, service: _ } = self;
        let mut words: Vec<std::ffi::OsString> = vec!["serve".into(), "--service".into()];
        if config != Path::new(super::CONFIG) {
            words.extend(["--config".into(), std::path::absolute(config)?.into()]);
        }
        if let Some(file) = ready_file {
            words.extend(["--ready-file".into(), std::path::absolute(file)?.into()]);
        }
        if log != "info" {
            words.extend(["--log".into(), log.into()]);
        }
        match log_format {
            Format::Text => {}
            Format::Json => words.extend(["--log-format".into(), "json".into()]),
        }
        if let Some(collector) = traces {
            words.extend(["--traces".into(), collector.to_string().into()]);
        }
        Ok(words)
    }

    /// The configuration.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }
}
