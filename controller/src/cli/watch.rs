//! `--watch`: asks again and again, and shows what changed.

use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::output::{Output, View};

/// From one answer to the next question.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// The pause is this many times as long as the answer took: a large estate is not kept busy by who watches it.
pub(super) const EASE: u32 = 10;

/// Whether a command goes on asking.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Watch {
    /// Go on asking, and show what changed, until Ctrl-C; with `-o json` a line for each change.
    #[arg(long)]
    watch: bool,
}

impl Watch {
    /// It was asked for.
    pub fn is_on(self) -> bool {
        self.watch
    }

    /// Shows what `ask` finds; when it is watched, again whenever that changed, until `ends` says that nothing more will. Gives what was
    /// shown last.
    ///
    /// # Errors
    /// What the first question fails for. Later ones are tried again, and who watches is told once: a controller may restart.
    pub async fn show<V: View>(
        self,
        output: &mut Output,
        ask: impl AsyncFnMut() -> Result<V, Failure>,
        ends: impl Fn(&V) -> bool,
    ) -> Result<V, Failure> {
        self.show_every(PAUSE, output, ask, ends).await
    }

    async fn show_every<V: View>(
        self,
        pause: Duration,
        output: &mut Output,
        mut ask: impl AsyncFnMut() -> Result<V, Failure>,
        ends: impl Fn(&V) -> bool,
    ) -> Result<V, Failure> {
        let mut began = tokio::time::Instant::now();
        let mut view = ask().await?;
        if !self.watch {
            output.show(&view)?;
            return Ok(view);
        }
        let mut shown = None;
        let mut lost = false;
        loop {
            if !output.show_if_new(&view, &mut shown)? || ends(&view) {
                return Ok(view);
            }
            loop {
                tokio::time::sleep(pause.max(began.elapsed() * EASE)).await;
                began = tokio::time::Instant::now();
                match ask().await {
                    Ok(next) => {
                        view = next;
                        lost = false;
                        break;
                    }
                    Err(failure) if !lost => {
                        output.say(&failure.report());
                        output.say("what is shown is from before; asking again");
                        lost = true;
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Exit;
    use super::super::output::Format;
    use super::super::output::tests::kept;
    use super::*;

    #[derive(serde::Serialize)]
    struct Count {
        count: u32,
    }

    impl View for Count {
        fn text(&self) -> String {
            format!("count  {}\n", self.count)
        }
    }

    /// Watches these answers, in which nothing is a failure, to the last.
    async fn watched(format: Format, answers: &[Option<u32>]) -> (String, String) {
        let ((mut output, data, talk), mut answers) = (kept(format), answers.iter());
        let last = *answers.as_slice().last().expect("an answer");
        let ask = async || match answers.next() {
            Some(Some(count)) => Ok(Count { count: *count }),
            _ => Err(Failure::new(Exit::Timeout, "asking").because("nobody answers")),
        };
        let watch = Watch { watch: true };
        watch.show_every(Duration::ZERO, &mut output, ask, |view| Some(view.count) == last).await.expect("ends");
        (data.text(), talk.text())
    }

    #[tokio::test]
    async fn what_is_watched_is_shown_when_it_changed() {
        let (data, talk) = watched(Format::Table, &[Some(1), Some(1), Some(2), Some(2), Some(3)]).await;
        assert_eq!((data.as_str(), talk.as_str()), ("count  1\n\ncount  2\n\ncount  3\n", ""));
        let (data, _) = watched(Format::Json, &[Some(1), Some(1), Some(2)]).await;
        assert_eq!(data, "{\"count\":1}\n{\"count\":2}\n");
    }

    #[tokio::test]
    async fn a_controller_that_is_away_for_a_while_ends_nothing_and_is_told_once() {
        let (data, talk) = watched(Format::Table, &[Some(1), None, None, Some(1), Some(2)]).await;
        assert_eq!(data, "count  1\n\ncount  2\n");
        assert_eq!(talk.matches("nobody answers").count(), 1, "{talk}");
        let (mut output, ..) = kept(Format::Table);
        let refused = async || Err::<Count, _>(Failure::new(Exit::Auth, "asking"));
        let first = Watch { watch: true }.show_every(Duration::ZERO, &mut output, refused, |_| false).await;
        assert_eq!(first.err().map(|failure| failure.exit()), Some(Exit::Auth), "the first answer tells whether it can be");
    }

    #[tokio::test]
    async fn without_the_option_it_asks_once() {
        let (mut output, data, _) = kept(Format::Json);
        Watch::default().show(&mut output, async || Ok(Count { count: 7 }), |_| false).await.expect("shown");
        assert_eq!(data.text(), "{\n  \"count\": 7\n}\n");
    }
}
