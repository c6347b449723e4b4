//! `exchange-host.exe`: makes a Windows machine an Exchange host, breaks it, and is its http.sys. What lies in `tests::windows`, as a
//! program for tests that stand outside of the machine.

#[cfg(not(windows))]
fn main() {}

#[cfg(windows)]
fn main() -> anyhow::Result<()> {
    windows::run()
}

#[cfg(windows)]
mod windows {
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::{fs, thread};

    use agent::driver::windows::ffi::machine::netbios_name;
    use anyhow::{Context as _, Result};
    use clap::Parser;
    use tests::windows::damage::{self, Damage};
    use tests::windows::http_sys::HttpSys;
    use tests::windows::machine::Machine;

    #[derive(Parser)]
    enum Cli {
        /// Install Exchange, and print the host's name and what is on 444
        Install,
        /// Be http.sys on 443 and 444, until killed
        Serve {
            /// A file that is written when both ports listen
            #[arg(long)]
            ready: PathBuf,
        },
        /// Break something
        #[command(subcommand)]
        Break(Damage),
        /// Print what lies on the disk, for a comparison
        Show,
    }

    pub(super) fn run() -> Result<()> {
        match Cli::parse() {
            Cli::Install => {
                let Machine { back_end } = Machine::install()?;
                say(&serde_json::json!({ "server": netbios_name()?, "back_end": back_end.to_string() }))
            }
            Cli::Serve { ready } => {
                HttpSys::start(&[443, 444])?.load_all();
                fs::write(&ready, "").with_context(|| ready.display().to_string())?;
                loop {
                    thread::park();
                }
            }
            Cli::Break(damage) => damage.happen(),
            Cli::Show => say(&damage::snapshot()?),
        }
    }

    fn say(value: &impl serde::Serialize) -> Result<()> {
        Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(value)?)?)
    }
}
