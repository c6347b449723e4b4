//! What the objects say, from the registry.

use control::{Control, Fault};

const CONTROL: Control = Control("nativerd");

/// What one object says; the class and its manager say nothing.
#[derive(Clone)]
pub(crate) enum Said {
    Nothing,
    /// A section, and the collection in it.
    Elements(Vec<Element>),
    Element(Element),
    /// The property `name`.
    Name(String),
    /// The property `state`, or the error of reading it.
    State(Result<i32, u32>),
}

/// One site or pool.
#[derive(Clone)]
pub(crate) struct Element {
    name: String,
    state: Result<i32, u32>,
}

impl Element {
    /// One of its properties.
    pub(crate) fn property(&self, name: &str) -> Option<Said> {
        match name {
            "name" => Some(Said::Name(self.name.clone())),
            "state" => Some(Said::State(self.state)),
            _ => None,
        }
    }
}

/// A section by its path. `None` for one that is not there; an error where the test wants one.
pub(crate) fn section(path: &str) -> Option<Result<Said, u32>> {
    let key = match path {
        "system.applicationHost/sites" => "sites",
        "system.applicationHost/applicationPools" => "pools",
        _ => return None,
    };
    CONTROL.wait("section");
    if let Some(Fault::Fail(code)) = CONTROL.fault("section") {
        return Some(Err(code));
    }
    let state = |number: u32| i32::try_from(number).ok().filter(|state| *state < 0x1_0000).ok_or(number);
    let element = |(name, number)| Element { name, state: state(number) };
    Some(Ok(Said::Elements(CONTROL.numbers(key).into_iter().map(element).collect())))
}
