//! One binding of an IIS site, changed in the text of applicationHost.config. Only the attributes of that one element are
//! written anew; every other byte of the file stays, and taking the change back gives the very same file.

use std::ops::Range;

use policy::plan::Difference;
use policy::report::{Binding, Site};
use recorded::application_host::{self, ApplicationHost};
use recorded::xml::{Element, Place};

use super::steps::{Steps, differs};
use super::system::System;
use super::{DriverError, State};

impl<S: System> Steps<'_, S> {
    /// How far the change of one binding has come. Without `from`, it must be the only https binding on its port.
    pub(super) fn rebound(&self, site: &str, from: Option<&Binding>, to: &Binding) -> Result<State, DriverError> {
        let sites = sites(&self.0.configuration()?)?;
        let Some(Site { bindings, .. }) = sites.iter().find(|found| found.name == site) else {
            return Ok(State::Blocked(Difference::new(format!("IIS site \"{site}\""), "present", "absent")));
        };
        let like = |found: &&Binding| match from {
            Some(from) => *found == from,
            None => found.protocol == to.protocol && found.port() == to.port() && *found != to,
        };
        let old: Vec<&Binding> = bindings.iter().filter(like).collect();
        let new = bindings.iter().filter(|found| *found == to).count();
        Ok(match (old.len(), new, from) {
            (0, 1, _) => State::Done,
            (1, 0, Some(_)) | (0, 0, None) => State::Ready,
            _ => {
                let wanted = from.map_or_else(|| format!("no other {} binding on its port", to.protocol), Binding::to_string);
                let found = bindings.iter().map(Binding::to_string).collect::<Vec<_>>().join(", ");
                State::Blocked(Difference::new(format!("bindings of IIS site \"{site}\""), wanted, found))
            }
        })
    }

    /// Writes the configuration with `to` in place of `from`; adds `to` without `from`, and takes `from` away without `to`.
    pub(super) fn rebind(&self, site: &str, from: Option<&Binding>, to: Option<&Binding>) -> Result<(), DriverError> {
        let text = self.0.configuration()?;
        let edited = edit(&text, site, from, to).ok_or_else(|| {
            let shown = from.map_or_else(|| "a place for a binding".to_owned(), Binding::to_string);
            differs(Difference::new(format!("IIS site \"{site}\""), shown, "none that can be edited in place"))
        })?;
        self.0.write_configuration(&edited)
    }
}

/// The sites of that configuration.
fn sites(text: &str) -> Result<Vec<Site>, DriverError> {
    let wrong = |found: String| DriverError::Unreadable {
        object: "applicationHost.config".to_owned(),
        expected: "the configuration of IIS".to_owned(),
        found,
    };
    let root = recorded::xml::parse(without_mark(text)).map_err(|error| wrong(error.to_string()))?;
    let ApplicationHost { sites, metabase: _, unread } =
        application_host::read(&root).map_err(|error| wrong(error.to_string()))?;
    match unread.first() {
        Some(error) => Err(wrong(error.to_string())),
        None => Ok(sites),
    }
}

/// The text behind its byte order mark, if it has one.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text with one binding changed; `None` when there is nothing to change.
fn edit(text: &str, site: &str, from: Option<&Binding>, to: Option<&Binding>) -> Option<String> {
    // Places are counted behind a byte order mark.
    let body = without_mark(text);
    let mark = text.len() - body.len();
    let root = recorded::xml::parse(body).ok()?;
    let list = root
        .children_named("system.applicationHost")
        .flat_map(|host| host.children_named("sites"))
        .flat_map(|sites| sites.children_named("site"))
        .find(|found| found.attribute("name") == Some(site))?
        .children_named("bindings")
        .next()?;
    let (range, replacement) = match (from, to) {
        (Some(from), Some(to)) => {
            let range = tag(body, list.children_named("binding").find(|found| is(found, from))?.place)?;
            let flags = (to.ssl_flags != from.ssl_flags).then(|| to.ssl_flags.to_string());
            let mut changed = with_attribute(&body[range.clone()], "bindingInformation", &to.information)?;
            if let Some(flags) = flags {
                changed = with_attribute(&changed, "sslFlags", &flags)?;
            }
            (range, changed)
        }
        (None, Some(to)) => {
            let last = list.children.last()?;
            let range = tag(body, last.place)?;
            let flags = if to.ssl_flags == 0 { String::new() } else { format!(" sslFlags=\"{}\"", to.ssl_flags) };
            let (protocol, information) = (escaped(&to.protocol), escaped(&to.information));
            let added = format!("<binding protocol=\"{protocol}\" bindingInformation=\"{information}\"{flags} />");
            (range.end..range.end, format!("{}{added}", space_before(body, range.start)))
        }
        (Some(from), None) => {
            let range = tag(body, list.children_named("binding").find(|found| is(found, from))?.place)?;
            (range.start - space_before(body, range.start).len()..range.end, String::new())
        }
        (None, None) => return None,
    };
    let mut edited = text.to_owned();
    edited.replace_range(mark + range.start..mark + range.end, &replacement);
    Some(edited)
}

fn is(element: &Element, binding: &Binding) -> bool {
    let flags = element.attribute("sslFlags").map_or(Ok(0), |flags| flags.trim().parse());
    element.attribute("protocol") == Some(&binding.protocol)
        && element.attribute("bindingInformation") == Some(&binding.information)
        && flags == Ok(binding.ssl_flags)
}

/// Where the empty element lies that begins at `place`; `None` for one that holds something.
fn tag(text: &str, place: Place) -> Option<Range<usize>> {
    let line: usize = text.split_inclusive('\n').take(place.line - 1).map(str::len).sum();
    let start = line + text[line..].char_indices().nth(place.column - 1)?.0;
    let mut quote = None;
    for (offset, character) in text[start..].char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '>') => {
                let end = start + offset + 1;
                return text[start..end].ends_with("/>").then_some(start..end);
            }
            _ => {}
        }
    }
    None
}

/// The white space just before an element.
fn space_before(text: &str, start: usize) -> &str {
    &text[text[..start].trim_end().len()..start]
}

/// The tag with that value of an attribute, which it may not have yet.
fn with_attribute(tag: &str, name: &str, value: &str) -> Option<String> {
    let value = escaped(value);
    let mut rest = 0;
    while let Some(found) = tag[rest..].find(name).map(|found| rest + found) {
        rest = found + name.len();
        let tail = tag[rest..].trim_start().strip_prefix('=').map(str::trim_start);
        let (true, Some(tail)) = (tag[..found].ends_with(char::is_whitespace), tail) else { continue };
        let quote = tail.chars().next()?;
        let begin = tag.len() - tail.len() + 1;
        let end = begin + tag[begin..].find(quote)?;
        return Some(format!("{}{value}{}", &tag[..begin], &tag[end..]));
    }
    let body = tag.strip_suffix("/>")?;
    let (kept, space) = body.split_at(body.trim_end().len());
    Some(format!("{kept} {name}=\"{value}\"{space}/>"))
}

fn escaped(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}<configuration>\r\n<system.applicationHost><sites>\r\n\
        <site name='Exchange Back End' id='2'>\r\n  <!-- é > --><bindings>\r\n\
        \t<binding protocol='https' bindingInformation=\"*:444:\" sslFlags='1' />\r\n\
        \t<binding protocol='net.pipe' bindingInformation='*'/>\r\n\
        </bindings></site></sites></system.applicationHost></configuration>\r\n";

    fn https(information: &str, ssl_flags: u32) -> Binding {
        Binding { protocol: "https".to_owned(), information: information.to_owned(), ssl_flags }
    }

    fn edited(text: &str, from: Option<&Binding>, to: Option<&Binding>) -> String {
        edit(text, "Exchange Back End", from, to).unwrap()
    }

    #[test]
    fn a_binding_is_changed_and_changed_back_byte_for_byte() {
        let (old, new) = (https("*:444:", 1), https("10.0.0.1:444:a&b", 0));
        let there = edited(TEXT, Some(&old), Some(&new));
        assert_eq!(there, TEXT.replace("\"*:444:\" sslFlags='1'", "\"10.0.0.1:444:a&amp;b\" sslFlags='0'"));
        assert_eq!(edited(&there, Some(&new), Some(&old)), TEXT);
    }

    #[test]
    fn a_missing_binding_is_added_and_taken_away_byte_for_byte() {
        let new = https("*:445:", 0);
        let there = edited(TEXT, None, Some(&new));
        let added = "\r\n\t<binding protocol=\"https\" bindingInformation=\"*:445:\" />\r\n</bindings>";
        assert!(there.contains(added), "{there}");
        assert_eq!(edited(&there, Some(&new), None), TEXT);
    }

    #[test]
    fn what_is_not_there_is_not_edited() {
        assert_eq!(edit(TEXT, "Default Web Site", Some(&https("*:444:", 1)), None), None);
        assert_eq!(edit(TEXT, "Exchange Back End", Some(&https("*:444:", 0)), None), None);
        let open = TEXT.replace("'1' />", "'1'></binding>");
        assert_eq!(edit(&open, "Exchange Back End", Some(&https("*:444:", 1)), None), None);
    }
}
