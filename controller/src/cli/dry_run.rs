//! `--dry-run`: for commands that change something, to be tried first.

use clap::Args;

use super::Context;

/// Whether it is only tried.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct DryRun {
    /// The controller judges it as if it were done, and changes nothing.
    #[arg(long)]
    dry_run: bool,
}

impl DryRun {
    /// As a request says it.
    pub(super) fn validate_only(self) -> bool {
        self.dry_run
    }

    /// Says what was done; or that nothing was.
    pub(super) fn say(self, context: &mut Context, done: &str) {
        context.output.say(if self.dry_run { "dry run: the controller would do it, and nothing was changed" } else { done });
    }
}
