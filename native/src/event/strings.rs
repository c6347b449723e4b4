//! Insertion strings: from the fields of a log call to what the event log takes.

use std::error::Error;
use std::fmt::Debug;

use tracing::field::{Field, Visit};

use super::{Event, LONGEST_STRING};

/// The fields of one log call.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The field `event`, where it is a number.
    pub(super) id: Option<u64>,
    values: Vec<(&'static str, String)>,
}

impl Fields {
    /// The insertion strings of this event, in its order. A field that the call left out is `-`.
    pub(super) fn strings(&self, event: &Event) -> Vec<String> {
        let value = |name: &&str| self.values.iter().find(|(field, _)| field == name).map_or("-", |(_, value)| value.as_str());
        event.fields.iter().map(|name| clean(value(name))).collect()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.values.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.values.push((field.name(), value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "event" => self.id = Some(value),
            name => self.values.push((name, value.to_string())),
        }
    }

    /// With everything that caused it.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.values.push((field.name(), text));
    }
}

/// One line, without what the Event Viewer would take for an insertion of its own, and no longer than is kept.
///
/// `ReportEventW`: a string must not contain `%n` where n is a number, since the viewer expands it, and `%%n` it looks up
/// elsewhere. The zone of an IPv6 address looks like that: `fe80::1%4` becomes `fe80::1% 4`. What others named, in a certificate
/// for example, can so neither break a line nor stand for another text.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len().min(LONGEST_STRING));
    let mut length = 0;
    let mut after_percent = false;
    for character in text.trim().chars() {
        let character = if character.is_control() { ' ' } else { character };
        if after_percent && (character.is_ascii_digit() || character == '%') {
            cleaned.push(' ');
            length += 1;
        }
        if length + character.len_utf16() >= LONGEST_STRING {
            cleaned.push('…');
            break;
        }
        length += character.len_utf16();
        after_percent = character == '%';
        cleaned.push(character);
    }
    if cleaned.is_empty() { "-".to_owned() } else { cleaned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_text_stays_as_it_is() {
        for text in ["plan 0123abcd: größer als 100 %", "C:\\ProgramData\\Backstay", "a%b", "日本 𝄞"] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn nothing_looks_like_an_insertion_or_breaks_the_line() {
        assert_eq!(clean("fe80::1%4"), "fe80::1% 4");
        assert_eq!(clean("%%1836"), "% % 1836");
        assert_eq!(clean("one\r\ntwo\0three\n"), "one  two three");
        assert_eq!(clean(" \n"), "-");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for text in ["x".repeat(LONGEST_STRING + 1), "𝄞".repeat(LONGEST_STRING), "%1".repeat(LONGEST_STRING)] {
            let cleaned = clean(&text);
            let units = cleaned.encode_utf16().count();
            assert!(cleaned.ends_with('…') && (LONGEST_STRING - 2..=LONGEST_STRING).contains(&units), "{units}");
        }
        assert_eq!(clean(&"x".repeat(LONGEST_STRING - 1)).len(), LONGEST_STRING - 1);
    }
}
