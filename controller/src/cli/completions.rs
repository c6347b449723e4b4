//! `backstay completions`: what a shell needs to complete commands and options.

use clap::Args;
use clap_complete::{Shell, generate};
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::View;
use super::{Context, command};

/// Prints a script for a shell.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay completions bash > /etc/bash_completion.d/backstay
  backstay completions powershell >> $PROFILE")]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut command(), "backstay", &mut script);
        context.output.show(&Script { shell: self.shell.to_string(), script: String::from_utf8_lossy(&script).into_owned() })?;
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl View for Script {
    fn text(&self) -> String {
        self.script.clone()
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            generate(*shell, &mut command(), "backstay", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["preflight", "resume", "approve"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
