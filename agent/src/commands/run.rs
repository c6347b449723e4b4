//! `backstay-agent run`: the agent, until a signal, or until whoever started it as a service wants its end.

use std::sync::Arc;
use std::time::Duration;

use agent::config::Config;
use agent::driver::Driver;
use anyhow::{Context as _, Result, bail};
use tokio_util::sync::CancellationToken;

/// At a console.
///
/// # Errors
/// What the agent cannot go on with.
pub(crate) fn run(config: Config, driver: Arc<dyn Driver>) -> Result<()> {
    let _log = agent::log::start(&config.log).context("log.filter of the configuration")?;
    let stop = CancellationToken::new();
    attend(config, driver, &stop, signals(&stop), || ())
}

/// Runs the agent until it has ended, or `cut` has. `up` is called when it is up.
///
/// # Errors
/// What the agent cannot go on with.
pub(crate) fn attend(
    config: Config,
    driver: Arc<dyn Driver>,
    stop: &CancellationToken,
    cut: impl Future<Output = Result<()>>,
    up: impl Fn(),
) -> Result<()> {
    #[cfg(windows)]
    let _alone = crate::service::only_one()?;
    // One thread for the loop, few for what blocks: this runs beside Exchange and must not be noticed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .context("no runtime")?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = agent::run(config, driver, stop.clone(), up) => ended.map_err(Into::into),
            cut = cut => cut,
        }
    });
    // What hangs in a call of the system is left alone: the journal is made for that.
    runtime.shutdown_background();
    ended
}

/// Asks the agent to stop at the first signal; returns at the second, which leaves everything as it is.
async fn signals(stop: &CancellationToken) -> Result<()> {
    signal().await.context("signals cannot be received")?;
    stop.cancel();
    signal().await.context("signals cannot be received")?;
    bail!("stopped at once by a second signal; the next start takes up what was at work");
}

#[cfg(unix)]
async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
