//! `backstay-agent trust`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use agent::anew::{self, Believed, Forget};
use agent::authority::Judged;
use agent::config::Config;
use agent::driver::Driver;
use anyhow::Result;
use clap::Subcommand;

use crate::{complain, say};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show whom this host believes
    Show,
    /// Take a trust document from a file, as one that a controller sends; the agent must be stopped
    Take {
        /// As `backstay trust sign` writes it
        file: PathBuf,
    },
    /// Forget who this host is, and keep whom it believes: it joins anew with the next join token of the same estate
    Rejoin {
        /// Do it, and not only say what would be done
        #[arg(long)]
        yes: bool,
    },
    /// Forget whom this host believes, too: the next join token pins whatever root it names
    Reset {
        /// Do it, and not only say what would be done
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    pub(crate) fn carry_out(&self, config: &Config, driver: Arc<dyn Driver>) -> Result<ExitCode> {
        let folder = &config.state_dir;
        match self {
            Self::Show => {
                let Believed { trust, root, threshold, ca, policy } = anew::believed(folder)?;
                say(&format!("trust document  version {} ({})", trust.number, trust.id));
                say(&format!("root            {root}, {threshold} of its keys must sign"));
                ca.iter().for_each(|ca| say(&format!("CA              {ca}")));
                say(&policy.map_or_else(
                    || "policy          none".to_owned(),
                    |held| format!("policy          version {} ({})", held.number, held.id),
                ));
                Ok(ExitCode::SUCCESS)
            }
            Self::Take { file } => {
                say(&match anew::take(folder, driver, file)? {
                    Judged::Adopted(version) => {
                        format!("trust document version {} ({}) is held from here on", version.number, version.id)
                    }
                    Judged::Known | Judged::Stopped | Judged::LetGo(_) => "this trust document is held already".to_owned(),
                });
                Ok(ExitCode::SUCCESS)
            }
            Self::Rejoin { yes } => forget(config, driver, Forget::Identity, *yes),
            Self::Reset { yes } => forget(config, driver, Forget::Everything, *yes),
        }
    }
}

fn forget(config: &Config, driver: Arc<dyn Driver>, what: Forget, yes: bool) -> Result<ExitCode> {
    let (forgotten, next) = match what {
        Forget::Identity => ("who this host is", "of this estate"),
        Forget::Everything => {
            ("who this host is, and whom it believes", "whose root this host will believe: compare its fingerprint")
        }
    };
    if !yes {
        complain(&format!("would forget {forgotten}; nothing was done: say --yes"));
        return Ok(ExitCode::from(2));
    }
    let aside = anew::forget(&config.state_dir, driver, what)?;
    say(&format!("{forgotten}: moved to {}", aside.display()));
    say(&format!("next: a join token {next}, in {}; then start the agent", config.join_token_file.display()));
    Ok(ExitCode::SUCCESS)
}
