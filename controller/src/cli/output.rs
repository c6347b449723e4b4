//! What a command prints: data to standard output, as a table for people or JSON for programs; everything else to standard error.

use std::io::{self, ErrorKind, IsTerminal as _, Write};

use clap::ValueEnum;
use comfy_table::{Table, TableStyle};
use policy::Timestamp;
use serde::Serialize;

use super::failure::{Doing, Failure};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: one JSON value, whose fields are added to and never renamed.
    Json,
}

/// Something that a command prints.
pub trait View: Serialize {
    /// As people read it.
    fn text(&self) -> String;
}

/// To the beginning of the line, and what stands in it away.
const CLEAR: &str = "\r\u{1b}[2K";

/// Where a command prints to.
pub struct Output {
    format: Format,
    /// Somebody looks at the data as it is written.
    terminal: bool,
    /// Somebody looks at the talk as it is written.
    watched: bool,
    /// How far a long work is stands in the last line, and has to make room.
    under_way: bool,
    data: Box<dyn Write + Send>,
    talk: Box<dyn Write + Send>,
}

impl Output {
    /// Standard output and standard error.
    pub fn standard(format: Format) -> Self {
        let (terminal, watched) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self { format, terminal, watched, under_way: false, data: Box::new(io::stdout()), talk: Box::new(io::stderr()) }
    }

    /// Into these writers.
    pub fn into(format: Format, data: Box<dyn Write + Send>, talk: Box<dyn Write + Send>) -> Self {
        Self { format, terminal: false, watched: false, under_way: false, data, talk }
    }

    /// Prints the data of a command.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written, a full disk for example. A reader that has gone, as `head` does, is none.
    pub fn show<V: View>(&mut self, view: &V) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => view.text(),
            Format::Json => {
                let mut json = serde_json::to_string_pretty(view).doing(|| "writing the answer as JSON".to_owned())?;
                json.push('\n');
                json
            }
        };
        self.write("", &text).map(drop)
    }

    /// Prints the data of a command that is watched, unless it reads as `shown`, which was printed before: on a terminal in its place, else
    /// below it; as JSON a line each. False when its reader has gone: there is nobody left to watch for.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written.
    pub fn show_if_new<V: View>(&mut self, view: &V, shown: &mut Option<String>) -> Result<bool, Failure> {
        let text = match self.format {
            Format::Table => view.text(),
            Format::Json => serde_json::to_string(view).doing(|| "writing the answer as JSON".to_owned())? + "\n",
        };
        if shown.as_ref() == Some(&text) {
            return Ok(true);
        }
        let before = match self.format {
            // Clears the screen, and begins at its top.
            Format::Table if self.terminal => "\u{1b}[2J\u{1b}[H",
            Format::Table if shown.is_some() => "\n",
            Format::Table | Format::Json => "",
        };
        let read = self.write(before, &text)?;
        *shown = Some(text);
        Ok(read)
    }

    /// Prints one thing of many, a line each. False when its reader has gone.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be written.
    pub fn append<V: View>(&mut self, view: &V) -> Result<bool, Failure> {
        let text = match self.format {
            Format::Table => view.text(),
            Format::Json => serde_json::to_string(view).doing(|| "writing the answer as JSON".to_owned())? + "\n",
        };
        self.write("", &text)
    }

    /// False when the reader has gone, as `head` does.
    fn write(&mut self, before: &str, text: &str) -> Result<bool, Failure> {
        self.make_room();
        let data = &mut self.data;
        let written = data.write_all(before.as_bytes()).and_then(|()| data.write_all(harmless(text).as_bytes()));
        match written.and_then(|()| data.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).doing(|| "writing to standard output".to_owned()),
        }
    }

    /// Says how far a long work is, in a line that goes when there is something to read. Only at a terminal: in a file it would be noise.
    pub fn progress(&mut self, text: &str) {
        if self.watched {
            drop(write!(self.talk, "{CLEAR}{}", line(text)));
            drop(self.talk.flush());
            self.under_way = true;
        }
    }

    fn make_room(&mut self) {
        if std::mem::take(&mut self.under_way) {
            drop(write!(self.talk, "{CLEAR}"));
            drop(self.talk.flush());
        }
    }

    /// Says something to the person at the terminal.
    pub fn say(&mut self, text: &str) {
        self.make_room();
        // Nobody may be listening, and the command is done all the same.
        drop(writeln!(self.talk, "{}", harmless(text.trim_end())));
    }

    /// As [`say`](Self::say), and stays on the line: a question.
    pub fn ask(&mut self, text: &str) {
        self.make_room();
        drop(write!(self.talk, "{} ", harmless(text)));
        drop(self.talk.flush());
    }
}

/// Text without control characters but line ends: names come from hosts, and a terminal obeys what it prints.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if obeyed(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Whether a terminal or browser obeys the character instead of showing it: controls, and what turns the direction of writing.
fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line: a value that somebody else chose must not look like several.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// A table with a header; only the header when there are no rows.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

/// Names and their values, a line each; the lines of a value are aligned.
pub fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<(&str, String)> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        for (index, line) in value.lines().enumerate() {
            let name = if index == 0 { name } else { "" };
            text.push_str(format!("{name:width$}  {line}").trim_end());
            text.push('\n');
        }
        if value.is_empty() {
            text.push_str(&format!("{name:width$}  -\n"));
        }
    }
    text
}

/// A moment as people read it: UTC, to the second.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A moment, or a dash.
pub fn moment_if_any(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), moment)
}

/// A text, or a dash when there is none.
pub fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what was written.
    #[derive(Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("nobody panicked").clone()).expect("text")
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn how_far_a_work_is_makes_room_and_is_nothing_where_nobody_looks() {
        let (mut output, data, talk) = kept(Format::Table);
        output.progress("1 of 2");
        output.say("done");
        assert_eq!(talk.text(), "done\n");
        output.watched = true;
        output.progress("1 of 2\n");
        output.progress("2 of 2");
        output.say("done");
        output.say("and so on");
        let shown = format!("done\n{CLEAR}1 of 2\u{fffd}{CLEAR}2 of 2{CLEAR}done\nand so on\n");
        assert_eq!((talk.text(), data.text()), (shown, String::new()));
    }

    /// An output, what it printed as data, and what it said.
    pub(crate) fn kept(format: Format) -> (Output, Kept, Kept) {
        let (data, talk) = (Kept::default(), Kept::default());
        (Output::into(format, Box::new(data.clone()), Box::new(talk.clone())), data, talk)
    }

    #[derive(Serialize)]
    struct Named {
        name: String,
    }

    impl View for Named {
        fn text(&self) -> String {
            table(["NAME", "X"], [[self.name.clone(), "1".to_owned()]])
        }
    }

    #[test]
    fn a_value_cannot_command_the_terminal_or_forge_a_line() {
        let (mut output, data, _) = kept(Format::Table);
        output.show(&Named { name: "EX1\u{1b}[2J\nEX2".to_owned() }).expect("shown");
        assert_eq!(data.text(), "NAME         X\nEX1\u{fffd}[2J\u{fffd}EX2  1\n");
    }

    #[test]
    fn text_that_is_no_table_cannot_command_the_terminal_either() {
        struct Raw;
        impl Serialize for Raw {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_unit()
            }
        }
        impl View for Raw {
            fn text(&self) -> String {
                "one\u{1b}[2J\r\ntwo\u{9b}\n".to_owned()
            }
        }
        let (mut output, data, talk) = kept(Format::Table);
        output.show(&Raw).expect("shown");
        output.say("\u{7}three");
        assert_eq!(data.text(), "one\u{fffd}[2J\u{fffd}\ntwo\u{fffd}\n");
        assert_eq!(talk.text(), "\u{fffd}three\n");
    }

    #[test]
    fn json_is_one_value_with_a_line_end() {
        let (mut output, data, _) = kept(Format::Json);
        output.show(&Named { name: "EX1".to_owned() }).expect("shown");
        assert_eq!(data.text(), "{\n  \"name\": \"EX1\"\n}\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
        struct Fails(ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let named = Named { name: "EX1".to_owned() };
        let to = |kind| Output::into(Format::Table, Box::new(Fails(kind)), Box::new(io::sink()));
        assert!(to(ErrorKind::BrokenPipe).show(&named).is_ok());
        assert!(to(ErrorKind::StorageFull).show(&named).is_err());
        assert!(!to(ErrorKind::BrokenPipe).show_if_new(&named, &mut None).expect("no failure"), "nobody is left to watch for");
        assert!(to(ErrorKind::StorageFull).show_if_new(&named, &mut None).is_err());
    }

    #[test]
    fn pairs_align_their_values() {
        let text = pairs([("server", "EX1".to_owned()), ("facts", "one\ntwo".to_owned()), ("dag", String::new())]);
        assert_eq!(text, "server  EX1\nfacts   one\n        two\ndag     -\n");
    }
}
