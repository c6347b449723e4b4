//! The objects in a file that PowerShell's `Export-Clixml` wrote.
//!
//! The file is a graph: an object may be named again by number (`Ref`), and so may a list of type names (`TNRef`). So the
//! objects are kept in one list and point to each other by index, which makes cycles harmless and copies unnecessary.
//! Names and texts escape UTF-16 units as `_x000D_`.

mod shared;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use jiff::Timestamp;
use thiserror::Error;

use crate::xml::{Element, Place, begun};

/// XML that is not an `Export-Clixml` file as it is read here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClixmlError {
    /// Another kind of XML.
    #[error("expected <Objs>, as Export-Clixml writes it, found <{found}> at {place}")]
    NotObjects {
        /// The element found.
        found: String,
        /// Where.
        place: Place,
    },
    /// `TNRef` or `Ref` to what did not come before.
    #[error("expected {what} to name something above {place}, found RefId {id:?}")]
    Dangling {
        /// The element.
        what: &'static str,
        /// Where it is.
        place: Place,
        /// What it names.
        id: String,
    },
    /// A value that is not of the type that its element promises.
    #[error("expected <{element}> at {place} to hold {expected}, found {found:?}")]
    Value {
        /// The element.
        element: String,
        /// Where it is.
        place: Place,
        /// What was expected.
        expected: &'static str,
        /// The beginning of what was found.
        found: String,
    },
    /// Objects that name the same large ones over and over.
    #[error("expected objects that name at most {most} bytes of others, found more: the same ones are named over and over")]
    Shared {
        /// The bound.
        most: usize,
    },
}

/// The most type names of one object that are read. Real ones have below ten, and all objects of a file may share them.
const MAX_TYPES: usize = 32;

/// An object's number in its [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId(usize);

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `$null`.
    Nil,
    /// A string, or any other value that is kept as it is written.
    Text(Cow<'a, str>),
    /// A byte array, as it is written. Most are large and never looked at.
    Bytes(Base64<'a>),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A date with its zone.
    Date(Timestamp),
    /// An object.
    Object(ObjectId),
}

/// Bytes as a file holds them: base64, broken into lines or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64<'a> {
    digits: Cow<'a, str>,
    place: Place,
}

impl Base64<'_> {
    fn decode(&self) -> Result<Vec<u8>, ClixmlError> {
        let Self { digits, place } = self;
        let whole: Cow<'_, str> = if digits.contains(|space: char| space.is_ascii_whitespace()) {
            digits.split_ascii_whitespace().collect()
        } else {
            Cow::Borrowed(digits)
        };
        base64::engine::general_purpose::STANDARD.decode(whole.as_bytes()).map_err(|_| ClixmlError::Value {
            element: "BA".to_owned(),
            place: *place,
            expected: "base64",
            found: digits.chars().take(40).collect(),
        })
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<'a> {
    /// Its type names, the most special first.
    pub types: Arc<[String]>,
    /// Where it begins.
    pub place: Place,
    /// What its `ToString` gave.
    pub text: Option<Cow<'a, str>>,
    /// Its own value, when it wraps one: the number of an enumeration.
    pub value: Option<Value<'a>>,
    /// Its properties and, where no property has that name, what was added to it (`MS`).
    pub members: BTreeMap<Cow<'a, str>, Value<'a>>,
    /// Its elements, when it is a collection.
    pub items: Vec<Value<'a>>,
}

impl Object<'_> {
    /// Whether its most special type is this one, live or deserialized once before it was written.
    pub fn is(&self, name: &str) -> bool {
        self.types.first().is_some_and(|own| own == name || own.strip_prefix("Deserialized.") == Some(name))
    }

    /// A member that is a text.
    pub fn member_text(&self, name: &str) -> Option<&str> {
        match self.members.get(name)? {
            Value::Text(text) => Some(text),
            Value::Nil | Value::Bytes(_) | Value::Bool(_) | Value::Int(_) | Value::Date(_) | Value::Object(_) => None,
        }
    }

    /// A member that is a byte array.
    ///
    /// # Errors
    /// [`ClixmlError::Value`] with the place, when it is not base64.
    pub fn member_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ClixmlError> {
        match self.members.get(name) {
            Some(Value::Bytes(bytes)) => bytes.decode().map(Some),
            Some(Value::Nil | Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Date(_) | Value::Object(_)) | None => {
                Ok(None)
            }
        }
    }
}

/// All objects of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph<'a> {
    objects: Vec<Object<'a>>,
    roots: Vec<Value<'a>>,
}

impl<'a> Graph<'a> {
    /// Reads the tree of an `Export-Clixml` file.
    ///
    /// # Errors
    /// [`ClixmlError`] with the place of what does not fit.
    pub fn read(root: Element<'a>) -> Result<Self, ClixmlError> {
        if root.name != "Objs" {
            return Err(ClixmlError::NotObjects { found: begun(&root.name), place: root.place });
        }
        let mut reader = GraphReader::default();
        let mut exported = BTreeSet::new();
        for child in root.children {
            match reader.value(child)? {
                // One that was exported twice is one all the same.
                Some(Value::Object(id)) if !exported.insert(id) => {}
                Some(value) => reader.graph.roots.push(value),
                None => {}
            }
        }
        shared::bounded(&reader.graph)?;
        Ok(reader.graph)
    }

    /// The objects that were exported, in order.
    pub fn roots(&self) -> impl Iterator<Item = &Object<'a>> {
        self.roots.iter().filter_map(|value| self.object(value))
    }

    /// The object that a value is.
    pub fn object(&self, value: &Value<'_>) -> Option<&Object<'a>> {
        match value {
            Value::Object(id) => self.objects.get(id.0),
            Value::Nil | Value::Text(_) | Value::Bytes(_) | Value::Bool(_) | Value::Int(_) | Value::Date(_) => None,
        }
    }

    /// A value as text: a text itself, or what an object's `ToString` gave.
    pub fn text<'s>(&'s self, value: &'s Value<'a>) -> Option<&'s str> {
        match value {
            Value::Text(text) => Some(text),
            Value::Object(id) => self.objects.get(id.0)?.text.as_deref(),
            Value::Nil | Value::Bytes(_) | Value::Bool(_) | Value::Int(_) | Value::Date(_) => None,
        }
    }

    /// The texts in a member that is a collection, or the one text that it is.
    pub fn texts<'s>(&'s self, object: &'s Object<'a>, member: &str) -> Vec<&'s str> {
        let Some(value) = object.members.get(member) else { return Vec::new() };
        match self.object(value) {
            Some(list) if !list.items.is_empty() => list.items.iter().filter_map(|item| self.text(item)).collect(),
            Some(_) | None => self.text(value).into_iter().collect(),
        }
    }
}

#[derive(Default)]
struct GraphReader<'a> {
    graph: Graph<'a>,
    by_ref: BTreeMap<String, ObjectId>,
    types: BTreeMap<String, Arc<[String]>>,
}

impl<'a> GraphReader<'a> {
    /// The value that an element is; `None` when the element is no value. Recursion is bounded by the depth of the tree.
    fn value(&mut self, element: Element<'a>) -> Result<Option<Value<'a>>, ClixmlError> {
        Ok(Some(match &*element.name {
            "Obj" => Value::Object(self.read_object(element)?),
            "Ref" => {
                let id = element.attribute("RefId").unwrap_or_default();
                let dangling = || ClixmlError::Dangling { what: "Ref", place: element.place, id: begun(id) };
                Value::Object(self.by_ref.get(id).copied().ok_or_else(dangling)?)
            }
            "Nil" => Value::Nil,
            "BA" => Value::Bytes(Base64 { digits: element.text, place: element.place }),
            "B" => match element.text.trim() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(wrong(&element, "true or false")),
            },
            "I16" | "I32" | "I64" | "U16" | "U32" | "By" | "SB" => {
                Value::Int(element.text.trim().parse().map_err(|_| wrong(&element, "an integer"))?)
            }
            "DT" => match element.text.trim().parse() {
                Ok(date) => Value::Date(date),
                // A date of unspecified kind has no zone, and a guessed one would move it.
                Err(_) => Value::Text(element.text),
            },
            "S" | "C" | "G" | "U64" | "Sg" | "Db" | "D" | "TS" | "URI" | "Version" | "XD" | "SBK" => {
                Value::Text(unescape(element.text))
            }
            _ => return Ok(None),
        }))
    }

    fn read_object(&mut self, element: Element<'a>) -> Result<ObjectId, ClixmlError> {
        let id = ObjectId(self.graph.objects.len());
        if let Some(number) = element.attribute("RefId") {
            self.by_ref.insert(number.to_owned(), id);
        }
        let mut object = Object {
            types: Arc::from([]),
            place: element.place,
            text: None,
            value: None,
            members: BTreeMap::new(),
            items: Vec::new(),
        };
        // Its number is taken before its members are read: they may point back to it.
        self.graph.objects.push(object.clone());
        for child in element.children {
            match &*child.name {
                "TN" => object.types = self.type_names(child),
                "TNRef" => {
                    let number = child.attribute("RefId").unwrap_or_default();
                    let dangling = || ClixmlError::Dangling { what: "TNRef", place: child.place, id: begun(number) };
                    object.types = self.types.get(number).cloned().ok_or_else(dangling)?;
                }
                "ToString" => object.text = Some(unescape(child.text)),
                "Props" | "MS" => self.members(child, &mut object.members)?,
                "IE" | "LST" | "QUE" | "STK" => self.items(child, &mut object.items)?,
                "DCT" => {
                    for entry in child.children {
                        self.items(entry, &mut object.items)?;
                    }
                }
                _ => object.value = self.value(child)?.or(object.value),
            }
        }
        if let Some(slot) = self.graph.objects.get_mut(id.0) {
            *slot = object;
        }
        Ok(id)
    }

    fn type_names(&mut self, element: Element<'_>) -> Arc<[String]> {
        let number = element.attribute("RefId").map(str::to_owned);
        let names: Arc<[String]> = element
            .children
            .into_iter()
            .filter(|child| child.name == "T")
            .take(MAX_TYPES)
            .map(|child| unescape(child.text).into_owned())
            .collect();
        if let Some(number) = number {
            self.types.insert(number, Arc::clone(&names));
        }
        names
    }

    fn members(&mut self, element: Element<'a>, members: &mut BTreeMap<Cow<'a, str>, Value<'a>>) -> Result<(), ClixmlError> {
        for mut child in element.children {
            let name = child.attributes.iter_mut().find(|(name, _)| name == "N");
            let name = name.map(|(_, name)| unescape(std::mem::take(name)));
            if let (Some(value), Some(name)) = (self.value(child)?, name) {
                members.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    fn items(&mut self, element: Element<'a>, items: &mut Vec<Value<'a>>) -> Result<(), ClixmlError> {
        for child in element.children {
            items.extend(self.value(child)?);
        }
        Ok(())
    }
}

fn wrong(element: &Element<'_>, expected: &'static str) -> ClixmlError {
    let found = element.text.chars().take(40).collect();
    ClixmlError::Value { element: element.name.to_string(), place: element.place, expected, found }
}

/// Undoes the escape of UTF-16 units, `_x000D_`. A surrogate without partner becomes U+FFFD.
fn unescape(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("_x") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut rest = &*text;
    while let Some(character) = rest.chars().next() {
        if let Some(unit) = escaped_unit(rest) {
            units.push(unit);
            rest = rest.get(7..).unwrap_or_default();
            continue;
        }
        if !units.is_empty() {
            out.push_str(&String::from_utf16_lossy(&units));
            units.clear();
        }
        out.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    out.push_str(&String::from_utf16_lossy(&units));
    Cow::Owned(out)
}

fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("_x")?.get(..5)?.strip_suffix('_')?;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> Result<Graph<'_>, ClixmlError> {
        Graph::read(crate::xml::parse(text).expect("XML"))
    }

    #[test]
    fn values_types_and_references_are_resolved() {
        let graph = graph(
            r#"<Objs><Obj RefId="0"><TN RefId="0"><T>Deserialized.A.B</T><T>System.Object</T></TN><ToString>a_x000D__x000A_b</ToString>
            <Props><S N="Name">x</S><B N="On">true</B><I32 N="Three">3</I32><BA N="Raw">AQ I=
</BA><Nil N="None"/>
            <DT N="When">2021-09-28T12:20:23-05:00</DT><DT N="Local">2021-09-28T12:20:23</DT>
            <Obj N="List" RefId="1"><LST><S>p</S><Obj RefId="2"><TNRef RefId="0"/><I64>7</I64></Obj></LST></Obj><Ref N="Again" RefId="1"/>
            <Ref N="Me" RefId="0"/></Props><MS><S N="Name">y</S><S N="_x002A_">z</S></MS></Obj><S>alone</S></Objs>"#,
        )
        .expect("objects");
        let object = graph.roots().next().expect("one object");
        assert!(object.is("A.B") && !object.is("System.Object"));
        assert_eq!(object.text.as_deref(), Some("a\r\nb"));
        assert_eq!(object.member_text("Name"), Some("x"), "a property wins over what was added");
        assert_eq!(object.member_text("*"), Some("z"));
        assert_eq!(object.member_bytes("Raw"), Ok(Some(vec![1, 2])));
        assert_eq!(object.member_bytes("Name"), Ok(None));
        assert_eq!(object.members.get("When"), Some(&Value::Date("2021-09-28T17:20:23Z".parse().expect("a date"))));
        assert_eq!(object.members.get("Local"), Some(&Value::Text("2021-09-28T12:20:23".into())));
        assert_eq!(object.members.get("Again"), object.members.get("List"));
        assert_eq!(graph.object(&object.members["Me"]).map(|me| me.place), Some(object.place));
        assert_eq!(graph.texts(object, "Again"), ["p"]);
        let list = graph.object(&object.members["List"]).expect("a list");
        let inner = graph.object(&list.items[1]).expect("an object");
        assert!(inner.is("A.B") && inner.value == Some(Value::Int(7)));
    }

    #[test]
    fn escapes_are_undone_once_and_only_where_they_are_whole() {
        for (escaped, plain) in [
            ("_x005F_x000D_", "_x000D_"),
            ("_xD83D__xDE00_", "😀"),
            ("_xD83D_", "\u{FFFD}"),
            ("_x00G0_ _x0é0_ _x", "_x00G0_ _x0é0_ _x"),
        ] {
            assert_eq!(unescape(escaped.into()), plain);
        }
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        for (text, message) in [
            ("<configuration/>", "expected <Objs>, as Export-Clixml writes it, found <configuration> at line 1, column 1"),
            ("<Objs><Ref RefId='9'/></Objs>", "expected Ref to name something above line 1, column 7, found RefId \"9\""),
            ("<Objs><I32>x</I32></Objs>", "expected <I32> at line 1, column 7 to hold an integer, found \"x\""),
        ] {
            assert_eq!(graph(text).expect_err(text).to_string(), message);
        }
        let bad = graph("<Objs><Obj><Props><BA N='Raw'>!</BA></Props></Obj></Objs>").expect("nobody has looked at the bytes");
        let error = bad.roots().next().expect("an object").member_bytes("Raw").expect_err("no base64");
        assert_eq!(error.to_string(), "expected <BA> at line 1, column 19 to hold base64, found \"!\"");
    }
}
