//! The layer that `agent.toml` is. Every key of it is optional, and an unknown one is refused with its line.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::value::Raw;
use super::{ConfigError, Key, Layer, MAX_BYTES, Origin};

/// Reads the file. One that is not there is an error when it was `named`, and says nothing when it is the default one.
pub(super) fn read(path: &Path, named: bool) -> Layer {
    match text(path) {
        Ok(text) => parse(&text, path),
        Err(ConfigError::Io { source, .. }) if !named && source.kind() == std::io::ErrorKind::NotFound => Layer::default(),
        Err(error) => {
            let mut layer = Layer::default();
            layer.fault(error);
            layer
        }
    }
}

fn text(path: &Path) -> Result<String, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(io)?.len();
    if found > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), found });
    }
    fs::read_to_string(path).map_err(io)
}

/// Reads the text of the file; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Layer {
    let mut reader = Reader { text, path, layer: Layer::default() };
    match DeTable::parse(text) {
        Ok(document) => reader.table("", document.get_ref()),
        Err(error) => reader.layer.fault(ConfigError::Toml { path: path.to_owned(), message: error.to_string() }),
    }
    reader.layer
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    layer: Layer,
}

impl Reader<'_> {
    /// `prefix` is empty, or the name of a table with a dot.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let before = self.text.get(..name.span().start).unwrap_or(self.text);
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            let origin = Origin::File { path: self.path.to_owned(), line: Some(line) };
            match (value.get_ref(), Key::named(&full)) {
                (value, Some(key)) => self.layer.set(key, &raw(value), origin),
                (DeValue::Table(inner), None) if Key::is_table(&full) => self.table(&format!("{full}."), inner),
                (_, None) => self.layer.fault(ConfigError::Unknown { origin, expected: names(prefix), found: full }),
            }
        }
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Array(list) => {
            let texts: Option<Vec<_>> = list.iter().map(|value| value.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or_else(|| Raw::Other("a list with other things than texts".to_owned()), Raw::List)
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Raw::Other(format!("{} of TOML", value.type_str()))
        }
    }
}

/// What may stand in a table.
fn names(prefix: &str) -> String {
    let inside = Key::ALL.iter().filter_map(|key| key.name().strip_prefix(prefix));
    let mut names: Vec<_> =
        inside.map(|name| name.split_once('.').map_or_else(|| name.to_owned(), |(table, _)| format!("[{table}]"))).collect();
    names.dedup();
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        parse(text, Path::new("agent.toml")).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_value_knows_its_line() {
        let text = "# a comment\nstate_dir = \"/x\"\n\n[controllers]\nagents = [\n  \"c:7443\",\n]\nproxy = \"http://p:1\"\n";
        let layer = parse(text, Path::new("agent.toml"));
        assert!(layer.faults.is_empty(), "{:?}", layer.faults);
        let place = |origin: Option<Origin>| origin.map(|origin| origin.place());
        assert_eq!(place(layer.settings.state_dir.map(|set| set.origin)).as_deref(), Some("agent.toml:2"));
        assert_eq!(place(layer.settings.agents.map(|set| set.origin)).as_deref(), Some("agent.toml:5"));
        assert_eq!(place(layer.settings.proxy.map(|set| set.origin)).as_deref(), Some("agent.toml:8"));
    }

    #[test]
    fn every_unknown_key_is_told_with_its_line_and_what_there_is() {
        let faults = faults("state_dir = \"/x\"\nlook_evry = \"60s\"\n[controllers]\nagent = []\n[logs]\nx = 1\n");
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults.iter().any(|fault| fault.contains("agent.toml:2: expected one of state_dir, ") && fault.contains("look_evry"))
        );
        assert!(
            faults.iter().any(|fault| fault.contains("agent.toml:4: expected one of enrolment, agents, proxy")),
            "{faults:?}"
        );
        assert!(faults.iter().any(|fault| fault.contains("\"logs\"") && fault.contains("[log]")), "{faults:?}");
        assert_eq!(names("").matches("[controllers]").count(), 1);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_key_and_line() {
        for (text, key) in [
            ("look_every = 60", "look_every: expected a length of time"),
            ("state_dir = [\"/x\"]", "state_dir: expected a path, found a list of 1"),
            ("[controllers]\nagents = [1]", "agent.toml:2: controllers.agents"),
            ("[controllers]\nagents = \"c:7443\"", "one text, \"c:7443\""),
            ("log = \"info\"", "\"log\""),
            ("[hold]\nreason = \"x\"", "hold: expected the reason of the hold"),
        ] {
            let faults = faults(text);
            assert!(faults.len() == 1 && faults[0].contains(key), "{text}: {faults:?}");
        }
    }

    #[test]
    fn a_file_that_does_not_read_may_have_held_and_so_it_holds() {
        let layer = parse("hold = \"disk\nlook_every = \"60s\"\n", Path::new("agent.toml"));
        assert_eq!((layer.settings.holds.len(), layer.faults.len()), (1, 1));
        assert!(layer.faults[0].to_string().contains("line 1"), "{:?}", layer.faults);
    }
}
