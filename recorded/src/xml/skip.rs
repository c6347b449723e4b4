//! Passing over an element without reading it: nine tenths of an applicationHost.config are of no interest here, and to look only for
//! where they end is several times as quick as to read them.
//!
//! Nothing is kept and nothing looked up: comments, CDATA and quoted values hide what is in them, the rest is counted. What is passed over
//! need not be well-formed but for its nesting.

use memchr::{memchr, memchr3};

use super::{Cursor, MAX_DEPTH, XmlError};

/// Why an element was not passed over, and where.
pub(super) enum Skipped {
    /// `<!DOCTYPE`, or another declaration.
    Declaration(usize),
    /// Nested deeper than is read.
    TooDeep(usize),
    /// The text ends before the element does.
    Unclosed,
}

impl Skipped {
    /// The error, for an element of this name that begins at `begin`.
    pub(super) fn error(self, cursor: &mut Cursor<'_>, begin: usize, name: &str) -> XmlError {
        match self {
            Self::Declaration(at) => XmlError::Doctype { place: cursor.at(at) },
            Self::TooDeep(at) => XmlError::TooDeep { place: cursor.at(at) },
            Self::Unclosed => XmlError::Unclosed { place: cursor.at(begin), name: super::begun(name) },
        }
    }
}

/// The offset behind the element whose start tag ends at `from`, with so many elements open around it.
pub(super) fn past(text: &str, from: usize, around: usize) -> Result<usize, Skipped> {
    let mut depth = 1;
    let mut at = from;
    loop {
        let tag = at + memchr(b'<', &text.as_bytes()[at..]).ok_or(Skipped::Unclosed)?;
        let rest = &text[tag..];
        at = if let Some(comment) = rest.strip_prefix("<!--") {
            behind(text, comment, "-->")?
        } else if let Some(data) = rest.strip_prefix("<![CDATA[") {
            behind(text, data, "]]>")?
        } else if let Some(instruction) = rest.strip_prefix("<?") {
            behind(text, instruction, "?>")?
        } else if rest.starts_with("<!") {
            return Err(Skipped::Declaration(tag));
        } else if let Some(name) = rest.strip_prefix("</") {
            depth -= 1;
            let end = behind(text, name, ">")?;
            if depth == 0 {
                return Ok(end);
            }
            end
        } else {
            let end = tag + tag_length(rest).ok_or(Skipped::Unclosed)?;
            if !text[..end].ends_with("/>") {
                depth += 1;
                if around + depth > MAX_DEPTH {
                    return Err(Skipped::TooDeep(tag));
                }
            }
            end
        };
    }
}

/// The offset in `text` behind the next `end` in `rest`, which is its tail.
fn behind(text: &str, rest: &str, end: &str) -> Result<usize, Skipped> {
    rest.find(end).map(|found| text.len() - rest.len() + found + end.len()).ok_or(Skipped::Unclosed)
}

/// How long a start tag is; quoted values may hold a `>`.
fn tag_length(tag: &str) -> Option<usize> {
    let tag = tag.as_bytes();
    let mut at = 0;
    loop {
        let found = at + memchr3(b'>', b'"', b'\'', &tag[at..])?;
        at = match tag[found] {
            b'>' => return Some(found + 1),
            quote => found + 2 + memchr(quote, &tag[found + 1..])?,
        };
    }
}
