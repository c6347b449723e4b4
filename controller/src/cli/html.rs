//! Pages that are one file: they need no network, no script and no other file, read on a telephone and on paper, and can be handed on.
//! Everything in them that somebody else chose is escaped.

use std::fmt::{self, Display, Write};

use policy::finding::Verdict;

use super::output::line;
use crate::colour;

const STYLE: &str = include_str!("html.css");

/// Text as it may stand in an element or a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in line(self.0).chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A page of this title, from its beginning to its end.
pub(super) fn page(title: &str, body: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut page = String::new();
    write(&mut page, title, body).expect("a String takes all text");
    page
}

fn write(page: &mut String, title: &str, body: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
    writeln!(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    // Should anything ever slip through the escaping, the browser loads and runs nothing.
    writeln!(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">")?;
    writeln!(page, "<title>{}</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>", Escaped(title), colour::STYLE)?;
    body(page)?;
    writeln!(page, "</body>\n</html>")
}

/// Names and what they stand for.
pub(super) fn facts<'a>(page: &mut String, rows: impl IntoIterator<Item = (&'a str, String)>) -> fmt::Result {
    writeln!(page, "<dl>")?;
    for (name, value) in rows {
        writeln!(page, "<dt>{}<dd>{}", Escaped(name), Escaped(&value))?;
    }
    writeln!(page, "</dl>")
}

/// A verdict as a word in its colour.
pub(super) fn badge(verdict: Verdict) -> String {
    let class = colour::of(verdict);
    format!("<span class=\"verdict {class}\">{verdict}</span>")
}
