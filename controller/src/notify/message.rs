//! What is said to people and to programs: text, a page of a mail, JSON. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use policy::Timestamp;
use policy::finding::Severity;
use policy::id::Sha256;
use serde::{Deserialize, Serialize};

use crate::config::Kind;

/// The most lines of a message; behind them stands how many more there are.
const MAX_LINES: usize = 200;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Whose.
    pub estate: String,
    /// When it was made.
    pub at: Timestamp,
    /// What it says.
    pub lines: Vec<Line>,
    /// Lines that it does not say.
    pub more: usize,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `opened`, `acknowledged`, `resolved`, `did`, `open`, `ends`, `waits`, `anchor` or `test`.
    pub state: String,
    /// Where; several in a digest.
    pub server: String,
    /// What, as a code that keeps its meaning.
    pub code: String,
    /// Whether it wakes somebody.
    pub severity: Severity,
    /// In a few words.
    pub title: String,
    /// The fact that it rests on.
    pub detail: String,
}

impl Line {
    /// What is to be done next.
    fn next(&self) -> String {
        match (self.state.as_str(), self.code.as_str()) {
            ("resolved" | "acknowledged" | "did" | "test" | "ends", _) => String::new(),
            ("anchor", _) => format!("backstay audit verify --anchor {}", self.detail),
            ("waits", _) => "backstay plan list".to_owned(),
            (_, super::cause::SILENT) => format!("on {}: backstay-agent doctor", self.server),
            _ => format!("backstay explain {}", self.server.split(',').next().unwrap_or_default()),
        }
    }

    fn words(&self) -> String {
        let Self { state, server, code, title, .. } = self;
        let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
        let server = if server.is_empty() { String::new() } else { format!("{server}: ") };
        match state.as_str() {
            "resolved" => format!("{server}over: {title}{code}"),
            _ => format!("{server}{title}{code}"),
        }
    }
}

impl Body {
    /// Of these lines, those that wake somebody first.
    pub fn new(estate: &str, mut lines: Vec<Line>, at: Timestamp) -> Self {
        lines.sort_by(|one, other| (other.severity, &one.server, &one.code).cmp(&(one.severity, &other.server, &other.code)));
        let more = lines.len().saturating_sub(MAX_LINES);
        lines.truncate(MAX_LINES);
        Self { estate: estate.to_owned(), at, lines, more }
    }

    /// A message's identity: the same through the same channel is one message, however often it is sent.
    pub fn id(&self, channel: &str, kind: Kind) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        Sha256::of(format!("{channel}\n{}\n{json}", kind.as_str()).as_bytes()).to_string()[..32].to_owned()
    }

    /// In one line, without what would end it.
    pub fn subject(&self, kind: Kind) -> String {
        let what = match (kind, self.lines.as_slice()) {
            (Kind::Digest, _) => format!("the week until {}", self.at.strftime("%F")),
            (Kind::Anchor, _) => format!("the audit trail on {}", self.at.strftime("%F")),
            (Kind::Test, _) => "a test".to_owned(),
            (_, [line]) => line.words(),
            (_, lines) => {
                format!("{} things, first {}", lines.len() + self.more, lines.first().map(Line::words).unwrap_or_default())
            }
        };
        let text: String = format!("[{}] {what}", self.estate).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.chars().take(200).collect()
    }

    /// For people who read plain text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let _ = writeln!(text, "{}", line.words());
            for more in [line.detail.clone(), line.next()].iter().filter(|more| !more.is_empty()) {
                let _ = writeln!(text, "    {}", more.replace(['\n', '\r'], " "));
            }
        }
        if self.more > 0 {
            let _ = writeln!(text, "and {} more", self.more);
        }
        if self.lines.is_empty() {
            text.push_str("Nothing wants anybody.\n");
        }
        let _ = writeln!(text, "\nBackstay, estate {}, {}", self.estate, self.at.strftime("%Y-%m-%dT%H:%M:%SZ"));
        text
    }

    /// For people who read mail as pages: the same lines.
    pub fn html(&self) -> String {
        let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\"><body style=\"font:15px/1.5 sans-serif\">\n<ul>\n");
        for line in &self.lines {
            let weight = if line.severity == Severity::Page && line.state != "resolved" { "700" } else { "400" };
            let _ = write!(page, "<li><span style=\"font-weight:{weight}\">{}</span>", escaped(&line.words()));
            for more in [line.detail.clone(), line.next()].iter().filter(|more| !more.is_empty()) {
                let _ = write!(page, "<br><code>{}</code>", escaped(more));
            }
            page.push_str("</li>\n");
        }
        if self.more > 0 {
            let _ = writeln!(page, "<li>and {} more</li>", self.more);
        }
        if self.lines.is_empty() {
            page.push_str("<li>Nothing wants anybody.</li>\n");
        }
        let at = self.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let _ = writeln!(page, "</ul>\n<p>Backstay, estate {}, {at}</p>\n</body></html>", escaped(&self.estate));
        page
    }

    /// For programs.
    pub fn json(&self, id: &str, kind: Kind) -> String {
        let lines: Vec<serde_json::Value> = self
            .lines
            .iter()
            .map(|line| {
                let mut value = serde_json::to_value(line).unwrap_or_default();
                value["next"] = line.next().into();
                value
            })
            .collect();
        serde_json::json!({
            "id": id, "kind": kind.as_str(), "estate": self.estate, "at": self.at, "subject": self.subject(kind), "lines": lines,
            "more": self.more,
        })
        .to_string()
    }
}

/// Causes that are one at several servers are one line.
pub fn grouped(lines: Vec<Line>) -> Vec<Line> {
    let mut groups: BTreeMap<(String, String, String), Line> = BTreeMap::new();
    for line in lines {
        let key = (line.state.clone(), line.code.clone(), line.title.clone());
        match groups.get_mut(&key) {
            Some(group) => {
                group.server.push_str(", ");
                group.server.push_str(&line.server);
                group.detail.clear();
            }
            None => {
                groups.insert(key, line);
            }
        }
    }
    groups.into_values().collect()
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut page, c| {
        match c {
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '&' => page.push_str("&amp;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c if c.is_control() => page.push(' '),
            c => page.push(c),
        }
        page
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(server: &str, code: &str, state: &str, severity: Severity) -> Line {
        let (title, detail) =
            ("the record of 444 is gone <b>".to_owned(), "no record for 0.0.0.0:444\nBcc: all@x.test".to_owned());
        Line { state: state.to_owned(), server: server.to_owned(), code: code.to_owned(), severity, title, detail }
    }

    fn body(lines: Vec<Line>) -> Body {
        Body::new("contoso", lines, "2026-11-27T12:00:00Z".parse().expect("a moment"))
    }

    #[test]
    fn what_wakes_somebody_stands_first_and_says_what_is_next() {
        let body = body(vec![
            line("EX2", "BST201", "opened", Severity::Warning),
            line("EX9", "SILENT", "opened", Severity::Page),
            line("EX1", "BST101", "resolved", Severity::Page),
        ]);
        assert_eq!(body.subject(Kind::Page), "[contoso] 3 things, first EX1: over: the record of 444 is gone <b> (BST101)");
        let text = body.text();
        assert!(text.starts_with("EX1: over: "), "{text}");
        for words in ["on EX9: backstay-agent doctor", "backstay explain EX2", "    no record for 0.0.0.0:444 Bcc: all@x.test\n"]
        {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(!text.contains("explain EX1"), "nothing is to be done about what is over: {text}");
        assert!(!body.html().contains("<b>") && body.html().contains("&lt;b&gt;"), "{}", body.html());
        let json: serde_json::Value = serde_json::from_str(&body.json("17", Kind::Page)).expect("JSON");
        assert_eq!(
            (&json["id"], &json["kind"], &json["lines"][2]["next"]),
            (&"17".into(), &"page".into(), &"backstay explain EX2".into())
        );
    }

    #[test]
    fn a_message_has_bounds_and_an_identity() {
        let many = body((0..250).map(|number| line(&format!("EX{number}"), "BST101", "opened", Severity::Page)).collect());
        assert_eq!((many.lines.len(), many.more), (200, 50));
        assert!(many.text().contains("and 50 more") && many.subject(Kind::Page).starts_with("[contoso] 250 things"));
        assert_eq!(many.id("ops", Kind::Page), many.id("ops", Kind::Page));
        assert_ne!(many.id("ops", Kind::Page), many.id("pager", Kind::Page));
        let long = body(vec![line(&"é\r\n".repeat(300), "BST101", "opened", Severity::Page)]);
        let subject = long.subject(Kind::Page);
        assert!(subject.chars().count() <= 200 && !subject.contains(['\r', '\n']), "{subject}");
        assert!(body(Vec::new()).text().contains("Nothing wants anybody"));
    }

    #[test]
    fn in_a_digest_one_cause_is_one_line() {
        let lines = ["EX1", "EX2", "EX3"].map(|server| line(server, "BST201", "open", Severity::Warning));
        let grouped = grouped(lines.into());
        assert_eq!((grouped.len(), grouped[0].server.as_str()), (1, "EX1, EX2, EX3"));
    }
}
