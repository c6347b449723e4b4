//! What every database must keep. One file per kind of promise.

mod checkups;
mod documents;
mod doors;
mod forget;
mod incidents;
#[cfg(target_os = "linux")]
mod kills;
mod opening;
mod peers;
mod plans;
mod reports;
mod restored;
mod standings;
mod stops;
mod waves;
mod ways_in;
mod writing;
