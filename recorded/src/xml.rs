//! XML as a small tree, within bounds.
//!
//! What is read here comes from machines that somebody else administers. So nothing in it can make the reader work
//! without end: a document type declaration is refused (no entity can be defined, none can expand), and depth, size and
//! number of nodes are limited. Every element remembers its place, so that an error can point at it.

use std::borrow::Cow;
use std::fmt;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use thiserror::Error;

mod skip;

/// The deepest nesting of elements. Real files reach 8 levels; `Export-Clixml -Depth 10` about 40.
pub const MAX_DEPTH: usize = 64;

/// The most elements and attributes in one file. A server in Get-ExchangeServer has about 500.
pub const MAX_NODES: usize = 500_000;

/// The most attributes of one element. Looking for doubles takes the square of their number.
const MAX_ATTRIBUTES: usize = 100;

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A text that is not XML as it is read here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XmlError {
    /// Not well-formed.
    #[error("expected well-formed XML at {place}: {what}")]
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong there, in the words of the tokenizer.
        what: String,
    },
    /// `<!DOCTYPE ...>`.
    #[error("expected no document type declaration, found one at {place}: it could define entities without bound")]
    Doctype {
        /// Where.
        place: Place,
    },
    /// `&name;` that is not one of the five of XML.
    #[error("expected one of the entities lt, gt, amp, apos, quot at {place}, found {name:?}")]
    Entity {
        /// Where.
        place: Place,
        /// The entity.
        name: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("expected at most {MAX_DEPTH} levels of elements, found one more at {place}")]
    TooDeep {
        /// Where.
        place: Place,
    },
    /// More than [`MAX_NODES`], or too many attributes in one element.
    #[error(
        "expected at most {MAX_NODES} elements and attributes, {MAX_ATTRIBUTES} attributes in one element, found more at {place}"
    )]
    TooMany {
        /// Where.
        place: Place,
    },
    /// The file ends before an element does.
    #[error("expected </{name}> for the element that begins at {place}, found the end of the file")]
    Unclosed {
        /// Where the element begins.
        place: Place,
        /// Its name.
        name: String,
    },
    /// Something behind or before the one outermost element.
    #[error("expected one outermost element and nothing beside it, found more at {place}")]
    Beside {
        /// Where.
        place: Place,
    },
    /// No element at all.
    #[error("expected XML, found no element")]
    Empty,
}

/// One element. What need not be changed is borrowed from the text: most of a file is never looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its name, without prefix.
    pub name: Cow<'a, str>,
    /// Where it begins.
    pub place: Place,
    /// Its attributes, in order.
    pub attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Its own text; empty when it is only the space between children.
    pub text: Cow<'a, str>,
    /// The elements in it, in order.
    pub children: Vec<Self>,
}

impl Element<'_> {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// The children of that name.
    pub fn children_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Self> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document and gives its outermost element.
///
/// # Errors
/// [`XmlError`] with the place, when the text is not well-formed or exceeds a bound.
pub fn parse(text: &str) -> Result<Element<'_>, XmlError> {
    parse_wanted(text, |_| true)
}

/// An element that begins, for whoever decides whether it is read.
pub struct Begins<'s, 'e> {
    open: &'s [Open<'s>],
    start: &'s BytesStart<'e>,
}

impl Begins<'_, '_> {
    /// The names of the elements around it, the outermost first.
    pub fn within(&self) -> impl ExactSizeIterator<Item = &str> {
        self.open.iter().map(|open| &*open.element.name)
    }

    /// Its name, without prefix.
    pub fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// Whether it has an attribute of this name, written in one of these ways.
    pub fn has(&self, name: &str, values: &[&str]) -> bool {
        let mut attributes = self.start.attributes();
        let found = attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name);
        found.is_some_and(|attribute| values.contains(&&*attribute.value))
    }
}

/// Reads a document without those elements that are not `wanted`: they are passed over with all that is in them, and nothing but
/// their nesting is looked at. The outermost one is always read.
///
/// # Errors
/// As [`parse`].
pub fn parse_wanted(text: &str, wanted: impl Fn(&Begins<'_, '_>) -> bool) -> Result<Element<'_>, XmlError> {
    let mut reader = Reader::from_str(text);
    // Where the reader began, and where it is now.
    let mut base = 0;
    let cursor = Cursor { text, offset: 0, line: 1, column: 1 };
    let mut builder = Builder { cursor, open: Vec::new(), root: None, nodes: 0 };
    loop {
        let begin = base + offset(reader.buffer_position());
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => return Err(malformed(builder.cursor.at(base + offset(reader.error_position())), error)),
        };
        if let Event::Start(start) = &event
            && builder.passes(start, &wanted)
        {
            base = skip::past(text, base + offset(reader.buffer_position()), builder.open.len())
                .map_err(|skipped| skipped.error(&mut builder.cursor, begin, start.local_name().as_ref()))?;
            reader = Reader::from_str(&text[base..]);
            // What is open began before this reader did.
            reader.config_mut().allow_unmatched_ends = true;
            continue;
        }
        if let Event::Empty(start) = &event
            && builder.passes(start, &wanted)
        {
            continue;
        }
        // Only an element remembers its place; that of other events is told when something is wrong with them.
        match event {
            Event::Start(start) => builder.open(&start, begin)?,
            Event::Empty(start) => {
                builder.open(&start, begin)?;
                builder.close(begin)?;
            }
            Event::End(end) => {
                builder.ends(end.name().as_ref(), begin)?;
                builder.close(begin)?;
            }
            Event::Text(part) => builder.text(kept(text, &part.xml10_content()), begin)?,
            Event::CData(part) => builder.text(kept(text, &part.xml10_content()), begin)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| malformed(builder.cursor.at(begin), error))?;
                match (character, quick_xml::escape::resolve_xml_entity(&reference)) {
                    (Some(character), _) => builder.text(Cow::Owned(character.to_string()), begin)?,
                    (None, Some(known)) => builder.text(Cow::Borrowed(known), begin)?,
                    (None, None) => {
                        let name = reference.chars().take(40).collect();
                        return Err(XmlError::Entity { place: builder.cursor.at(begin), name });
                    }
                }
            }
            Event::DocType(_) => return Err(XmlError::Doctype { place: builder.cursor.at(begin) }),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return builder.finish(),
        }
    }
}

/// The tokenizer's errors print their causes themselves, so only their words are kept: a chain would say them twice.
fn malformed(place: Place, error: impl fmt::Display) -> XmlError {
    XmlError::Malformed { place, what: begun(&error.to_string()) }
}

/// The beginning of what was found, for a message: it may be as long as the file.
pub(crate) fn begun(found: &str) -> String {
    found.chars().take(200).collect()
}

/// The same text, borrowed from the whole where it is a piece of it: the tokenizer's own borrows end with each of its events.
fn kept<'a>(whole: &'a str, part: &str) -> Cow<'a, str> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    match whole.get(start..start.saturating_add(part.len())) {
        Some(piece) => Cow::Borrowed(piece),
        None => Cow::Owned(part.to_owned()),
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Turns growing byte offsets into places, passing over each byte once.
struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    column: usize,
}

impl Cursor<'_> {
    fn at(&mut self, offset: usize) -> Place {
        if let Some(passed) = self.text.get(self.offset..offset) {
            match memchr::memrchr(b'\n', passed.as_bytes()) {
                None => self.column += passed.chars().count(),
                Some(last) => {
                    self.line += memchr::memchr_iter(b'\n', passed.as_bytes()).count();
                    self.column = 1 + passed[last + 1..].chars().count();
                }
            }
            self.offset = offset;
        }
        Place { line: self.line, column: self.column }
    }
}

/// An element whose end has not come yet.
struct Open<'a> {
    element: Element<'a>,
    /// Its text so far is nothing but white space. Remembered, since to look again at each child takes the square of it.
    blank: bool,
}

struct Builder<'a> {
    cursor: Cursor<'a>,
    open: Vec<Open<'a>>,
    root: Option<Element<'a>>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    /// Whether the element that begins is passed over.
    fn passes(&self, start: &BytesStart<'_>, wanted: &impl Fn(&Begins<'_, '_>) -> bool) -> bool {
        !self.open.is_empty() && !wanted(&Begins { open: &self.open, start })
    }

    /// Looks whether an element ends by its own name: the tokenizer knows only what began since something was passed over.
    fn ends(&mut self, found: &str, begin: usize) -> Result<(), XmlError> {
        let Some(Open { element, .. }) = self.open.last() else { return Ok(()) };
        if found.rsplit(':').next().unwrap_or(found) == element.name {
            return Ok(());
        }
        let what = format!("ill-formed document: expected `</{}>`, but `</{}>` was found", element.name, begun(found));
        Err(XmlError::Malformed { what, place: self.cursor.at(begin) })
    }

    fn open(&mut self, start: &BytesStart<'_>, begin: usize) -> Result<(), XmlError> {
        let place = self.cursor.at(begin);
        if self.root.is_some() {
            return Err(XmlError::Beside { place });
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(XmlError::TooDeep { place });
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| malformed(place, error))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| malformed(place, error))?;
            attributes.push((kept(self.cursor.text, attribute.key.local_name().as_ref()), kept(self.cursor.text, &value)));
            if attributes.len() > MAX_ATTRIBUTES {
                return Err(XmlError::TooMany { place });
            }
        }
        self.nodes += 1 + attributes.len();
        if self.nodes > MAX_NODES {
            return Err(XmlError::TooMany { place });
        }
        let name = kept(self.cursor.text, start.local_name().as_ref());
        let element = Element { name, place, attributes, text: Cow::Borrowed(""), children: Vec::new() };
        self.open.push(Open { element, blank: true });
        Ok(())
    }

    fn close(&mut self, begin: usize) -> Result<(), XmlError> {
        let Some(Open { mut element, blank }) = self.open.pop() else {
            return Err(XmlError::Beside { place: self.cursor.at(begin) });
        };
        if !element.children.is_empty() && blank {
            element.text = Cow::Borrowed("");
        }
        match self.open.last_mut() {
            Some(parent) => parent.element.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>, begin: usize) -> Result<(), XmlError> {
        let adds_blank = text.trim().is_empty();
        match self.open.last_mut() {
            // The space between children is not worth a copy.
            Some(Open { element, blank }) if element.text.is_empty() || (!element.children.is_empty() && *blank) => {
                element.text = text;
                *blank = adds_blank;
            }
            Some(Open { element, blank }) => {
                element.text.to_mut().push_str(&text);
                *blank &= adds_blank;
            }
            None if adds_blank => {}
            None => return Err(XmlError::Beside { place: self.cursor.at(begin) }),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element<'a>, XmlError> {
        match (self.open.into_iter().next_back(), self.root) {
            (Some(Open { element, .. }), _) => Err(XmlError::Unclosed { place: element.place, name: begun(&element.name) }),
            (None, Some(root)) => Ok(root),
            (None, None) => Err(XmlError::Empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree_with_places() {
        let root = parse("<?xml version=\"1.0\"?>\n<a x=\"1&#xA;2\">\n  <b>1 &lt; &#50;<![CDATA[ & 3]]></b>\n  <n:b/>\n</a>")
            .expect("XML");
        assert_eq!(root.attribute("x"), Some("1\n2"));
        assert_eq!(root.text, "");
        let texts: Vec<_> = root.children_named("b").map(|b| (&*b.text, b.place.to_string())).collect();
        assert_eq!(texts, [("1 < 2 & 3", "line 3, column 3".to_owned()), ("", "line 4, column 3".to_owned())]);
    }

    #[test]
    fn what_is_not_wanted_is_passed_over_with_all_that_is_in_it() {
        let text = "<c><a>1<a/><b><c x='1' x='2'/>&no;</b></a><b>2<a/></b><a/>\n<b/></c>";
        let root = parse_wanted(text, |begins| begins.within().len() != 1 || begins.name() != "a").expect("XML");
        let children: Vec<_> =
            root.children.iter().map(|b| (&*b.name, &*b.text, b.children.len(), b.place.to_string())).collect();
        assert_eq!(children, [("b", "2", 1, "line 1, column 43".to_owned()), ("b", "", 0, "line 2, column 1".to_owned())]);
        // What hides a tag hides it here too, and what follows has the right place.
        let hidden = "<c><a x='</a>'><!-- </a> --><![CDATA[</a>]]><?p </a>?><a y=\"/>\">\n</a></a ><b/></c>";
        let root = parse_wanted(hidden, |begins| begins.name() != "a").expect("XML");
        assert_eq!(
            root.children.iter().map(|b| (&*b.name, b.place.to_string())).collect::<Vec<_>>(),
            [("b", "line 2, column 10".to_owned())]
        );
        for (text, message) in [
            (
                "<c><a/></d>",
                "expected well-formed XML at line 1, column 8: ill-formed document: expected `</c>`, but `</d>` was found",
            ),
            (
                "<c><a></a></d>",
                "expected well-formed XML at line 1, column 11: ill-formed document: expected `</c>`, but `</d>` was found",
            ),
            (
                "<c><a></a><b></c></b>",
                "expected well-formed XML at line 1, column 14: ill-formed document: expected `</b>`, but `</c>` was found",
            ),
            ("<c><a></a></c></c>", "expected one outermost element and nothing beside it, found more at line 1, column 15"),
            ("<c><a><b x='></a></c>", "expected </a> for the element that begins at line 1, column 4, found the end of the file"),
        ] {
            assert_eq!(parse_wanted(text, |begins| begins.name() != "a").expect_err(text).to_string(), message, "{text}");
        }
        let deep = format!("<c>{}", "<a>".repeat(1_000_000));
        assert!(matches!(parse_wanted(&deep, |begins| begins.name() != "a"), Err(XmlError::TooDeep { .. })));
        assert!(matches!(parse_wanted("<c><a>", |begins| begins.name() != "a"), Err(XmlError::Unclosed { .. })));
        let bomb = "<c><a><!DOCTYPE b [<!ENTITY a 'aaaa'>]></a></c>";
        assert!(matches!(
            parse_wanted(bomb, |begins| begins.name() != "a"),
            Err(XmlError::Doctype { .. } | XmlError::Malformed { .. })
        ));
    }

    #[test]
    fn entities_cannot_be_defined_and_unknown_ones_are_named() {
        let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><b>&b;</b>";
        assert!(matches!(parse(bomb), Err(XmlError::Doctype { .. })));
        assert!(matches!(parse("<a>&b;</a>"), Err(XmlError::Entity { name, .. }) if name == "b"));
        assert!(matches!(parse("<a x='&b;'/>"), Err(XmlError::Malformed { .. })));
    }

    #[test]
    fn depth_number_of_nodes_and_of_attributes_are_limited() {
        assert!(parse(&format!("{}{}", "<a>".repeat(MAX_DEPTH), "</a>".repeat(MAX_DEPTH))).is_ok());
        assert!(matches!(parse(&"<a>".repeat(1_000_000)), Err(XmlError::TooDeep { .. })));
        assert!(matches!(parse(&format!("<a>{}</a>", "<b/>".repeat(MAX_NODES))), Err(XmlError::TooMany { .. })));
        let many: String = (0..200_000).map(|n| format!(" a{n}=''")).collect();
        assert!(matches!(parse(&format!("<a{many}/>")), Err(XmlError::TooMany { .. })));
        let long = format!("<a x='{}'/>", "y".repeat(10_000_000));
        assert_eq!(parse(&long).expect("one long attribute").attribute("x").map(str::len), Some(10_000_000));
    }

    #[test]
    fn what_is_not_one_element_is_refused_with_its_place() {
        for (text, message) in [
            ("", "expected XML, found no element"),
            ("hello", "expected one outermost element and nothing beside it, found more at line 1, column 1"),
            ("<a/>\n<b/>", "expected one outermost element and nothing beside it, found more at line 2, column 1"),
            ("<a>\n <b>", "expected </b> for the element that begins at line 2, column 2, found the end of the file"),
            (
                "<a>\n</b>",
                "expected well-formed XML at line 2, column 1: ill-formed document: expected `</a>`, but `</b>` was found",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), message, "{text}");
        }
    }
}
