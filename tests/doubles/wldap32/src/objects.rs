//! The objects of the directory, as the registry holds them.

use control::registry;

const OBJECTS: &str = r"SOFTWARE\TestDouble\wldap32\objects";

/// What a filter asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    class: Option<String>,
    name: Option<String>,
}

impl Filter {
    /// `(objectClass=…)`, or `(&(objectClass=…)(cn=…))`; `*` is any class.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('(')?.strip_suffix(')')?;
        let Some(both) = inner.strip_prefix("&(").and_then(|both| both.strip_suffix(')')) else {
            return Some(Self { class: class(inner)?, name: None });
        };
        let (first, second) = both.split_once(")(")?;
        Some(Self { class: class(first)?, name: Some(unescaped(second.strip_prefix("cn=")?)?) })
    }

    fn takes(&self, path: &str) -> bool {
        let same = |value: &str, wanted: &Option<String>| {
            let Some(wanted) = wanted else { return true };
            registry::text(path, value).is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        };
        same("objectClass", &self.class) && same("cn", &self.name)
    }
}

fn class(text: &str) -> Option<Option<String>> {
    let class = text.strip_prefix("objectClass=")?;
    Some((class != "*").then(|| class.to_owned()))
}

/// What stands in a filter, where `\2a` is a byte.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        (bytes, rest) = if *byte == b'\\' {
            let code = str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            (bytes, &after[2..])
        } else {
            bytes.push(*byte);
            (bytes, after)
        };
    }
    String::from_utf8(bytes).ok()
}

/// For each object that is asked the values of its attribute; `None` where the base is not there.
pub(crate) fn search(base: &str, below: bool, filter: &Filter, attribute: &str) -> Option<Vec<Vec<Vec<u8>>>> {
    let base = if base.is_empty() { "rootDSE".to_owned() } else { base.to_ascii_lowercase() };
    let under = format!(",{base}");
    let names = registry::keys(OBJECTS);
    if !names.iter().any(|name| name.eq_ignore_ascii_case(&base)) {
        return None;
    }
    let asked =
        names.iter().filter(|name| name.eq_ignore_ascii_case(&base) || (below && name.to_ascii_lowercase().ends_with(&under)));
    let taken = asked.map(|name| format!(r"{OBJECTS}\{name}")).filter(|path| filter.takes(path));
    Some(taken.map(|path| values(&path, attribute)).collect())
}

fn values(path: &str, attribute: &str) -> Vec<Vec<u8>> {
    (0..).map_while(|number| registry::bytes(path, &format!("{attribute}#{number}"))).collect()
}
