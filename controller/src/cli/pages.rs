//! Reads lists to their end, page by page.

use std::future::Future;

use super::failure::{Exit, Failure};

/// How many entries are asked for at a time.
pub(super) const PAGE: i32 = 500;

/// The most pages of one list. A controller that never ends its list is not waited for.
pub(super) const MAX_PAGES: usize = 10_000;

/// Hands every page's entries to `take`, until the token that `ask` gives with them is empty.
pub(super) async fn each<T, A, F>(
    doing: &str,
    mut ask: A,
    mut take: impl FnMut(Vec<T>) -> Result<(), Failure>,
) -> Result<(), Failure>
where
    A: FnMut(String) -> F,
    F: Future<Output = Result<(Vec<T>, String), Failure>>,
{
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        let (entries, next) = ask(token).await?;
        take(entries)?;
        if next.is_empty() {
            return Ok(());
        }
        token = next;
    }
    Err(Failure::new(Exit::Error, doing).because(format!("expected a list of at most {MAX_PAGES} pages, found more")))
}
