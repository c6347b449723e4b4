//! What is wrong with a policy, and where: whoever writes one at night is shown the line.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use super::MAX_BYTES;

/// The longest piece of a policy that is repeated in an error: hostile input is echoed, never at its own length.
const MAX_ECHO: usize = 120;

/// The longest message about a value; messages repeat the value.
const MAX_MESSAGE: usize = 600;

/// Bytes that are not a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Larger than [`MAX_BYTES`].
    #[error("expected a policy of at most {MAX_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("expected UTF-8 text, found a byte at offset {0} that is none")]
    NotText(usize),
    /// Not TOML, an unknown key, a value of the wrong kind or outside its bounds, or values that contradict each other.
    #[error("{0}")]
    At(Place),
}

/// A place in a policy, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
    /// The line itself, as far as it is worth repeating.
    pub text: String,
    /// What was expected and what was found.
    pub message: String,
}

impl Place {
    /// The place at which `span` of `policy` begins.
    pub(super) fn new(policy: &str, span: Option<Range<usize>>, message: &str) -> Self {
        let start = span.map_or(0, |span| span.start.min(policy.len()));
        // A span of the parser begins at a character; whatever does not is shown at the line's beginning.
        let before = policy.get(..start).unwrap_or_default();
        let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
        let begin = before.len() - line.len();
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            text: policy[begin..].lines().next().unwrap_or_default().chars().take(MAX_ECHO).collect(),
            message: message.trim().chars().take(MAX_MESSAGE).collect(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, text, message } = self;
        write!(f, "line {line}, column {column}: {message}\n  {line} | {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_as_people_count() {
        let text = "estate = \"contoso\"\nüñ = 1\n";
        let place = Place::new(text, Some(24..25), "wrong");
        assert_eq!(place.to_string(), "line 2, column 4: wrong\n  2 | üñ = 1");
        assert_eq!((Place::new(text, None, "").line, Place::new(text, Some(900..901), "").line), (1, 3));
        assert_eq!(Place::new("", Some(0..0), "empty").to_string(), "line 1, column 1: empty\n  1 | ");
        assert_eq!(Place::new(&"x".repeat(9000), Some(8000..8001), &"y".repeat(9000)).to_string().len(), 600 + 120 + 28);
    }
}
