//! The layer that Group Policy is: values of one registry key, which the templates of `deploy/windows/admx` set on many hosts.
//!
//! The names are those of `agent.toml` without dots and lines, and are refused when they are unknown, as there. A number is a
//! number (`LookEverySeconds`), a list is a `REG_MULTI_SZ`, all else is a text, also one with variables of the environment.

use super::value::Raw;
use super::{ConfigError, Key, Layer, Origin};

/// The key, below `HKEY_LOCAL_MACHINE`. Policies\Company\Product is where Group Policy writes, and where only administrators may.
pub const POLICY_KEY: &str = r"SOFTWARE\Policies\Backstay\Agent";

/// The value that holds: 1, or 0 for nothing.
pub const HOLD: &str = "Hold";

/// Why it holds.
pub const HOLD_REASON: &str = "HoldReason";

/// What kind of value it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `REG_SZ` or `REG_EXPAND_SZ`.
    Text,
    /// `REG_MULTI_SZ`.
    List,
    /// `REG_DWORD`.
    Number,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "REG_SZ or REG_EXPAND_SZ",
            Self::List => "REG_MULTI_SZ",
            Self::Number => "REG_DWORD",
        }
    }
}

/// All values that there are, with their kind and their key.
pub const VALUES: [(&str, Kind, Key); 11] = [
    ("StateDir", Kind::Text, Key::StateDir),
    ("JoinTokenFile", Kind::Text, Key::JoinTokenFile),
    ("LookEverySeconds", Kind::Number, Key::LookEvery),
    ("ControllersEnrolment", Kind::List, Key::Enrolment),
    ("ControllersAgents", Kind::List, Key::Agents),
    ("ControllersProxy", Kind::Text, Key::Proxy),
    ("ControllersProxyCredentialsFile", Kind::Text, Key::ProxyCredentialsFile),
    ("LogFormat", Kind::Text, Key::LogFormat),
    ("LogFilter", Kind::Text, Key::LogFilter),
    (HOLD, Kind::Number, Key::Hold),
    (HOLD_REASON, Kind::Text, Key::Hold),
];

/// A value as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Text, with the variables of the environment put in where its type asks for that.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// A number.
    Number(u32),
    /// A value of a type that is not read here, by its type and length.
    Other(String),
    /// A value that the system does not give, and why.
    Unreadable(String),
}

impl Found {
    fn describe(&self) -> String {
        match self {
            Self::Text(_) => "a text".to_owned(),
            Self::List(_) => "a list of texts".to_owned(),
            Self::Number(_) => "a number".to_owned(),
            Self::Other(kind) => kind.clone(),
            Self::Unreadable(why) => format!("one that cannot be read: {why}"),
        }
    }
}

/// What kind of value that name has to be. Windows takes names in any case, and so are they compared.
pub fn kind(name: &str) -> Option<Kind> {
    entry(name).map(|(_, kind, _)| kind)
}

fn entry(name: &str) -> Option<(&'static str, Kind, Key)> {
    VALUES.into_iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))
}

/// The layer that these values make.
pub fn layer(values: &[(String, Found)]) -> Layer {
    let mut layer = Layer::default();
    let (mut hold, mut reason) = (None, None);
    // The default value of a key has no name. Some tools leave one, and it says nothing.
    for (name, found) in values.iter().filter(|(name, _)| !name.is_empty()) {
        match entry(name) {
            None => layer.fault(unknown(name)),
            Some((HOLD, ..)) => hold = Some(found),
            Some((HOLD_REASON, ..)) => reason = Some(found),
            Some((name, kind, key)) => {
                let origin = Origin::GroupPolicy(name.to_owned());
                match (kind, found) {
                    (Kind::Text, Found::Text(text)) => layer.set(key, &Raw::Text(text.clone()), origin),
                    (Kind::List, Found::List(list)) => layer.set(key, &Raw::List(list.clone()), origin),
                    (Kind::Number, Found::Number(seconds)) => layer.set(key, &Raw::Text(format!("{seconds}s")), origin),
                    (Kind::Text | Kind::List | Kind::Number, other) => layer.fault(wrong(name, key, kind.name(), other)),
                }
            }
        }
    }
    hold_of(&mut layer, hold, reason);
    layer
}

/// The hold: on with 1 alone, for a reason that may be given. Whatever else stands in one of the two is a fault, and holds.
fn hold_of(layer: &mut Layer, hold: Option<&Found>, reason: Option<&Found>) {
    let reason = match reason {
        Some(Found::Text(text)) if !text.trim().is_empty() => text,
        None | Some(Found::Text(_)) => NO_REASON,
        Some(other) => return layer.fault(wrong(HOLD_REASON, Key::Hold, Kind::Text.name(), other)),
    };
    match hold {
        None | Some(Found::Number(0)) => {}
        Some(Found::Number(1)) => {
            layer.set(Key::Hold, &Raw::Text(reason.to_owned()), Origin::GroupPolicy(HOLD.to_owned()));
        }
        Some(other) => layer.fault(wrong(HOLD, Key::Hold, "REG_DWORD 1 to hold, or 0", other)),
    }
}

fn unknown(name: &str) -> ConfigError {
    let names: Vec<_> = VALUES.iter().map(|(name, ..)| *name).collect();
    ConfigError::Unknown {
        origin: Origin::GroupPolicy(String::new()),
        expected: format!("values named {}", names.join(", ")),
        found: name.chars().take(80).collect(),
    }
}

fn wrong(name: &str, key: Key, expected: &str, found: &Found) -> ConfigError {
    ConfigError::Value {
        origin: Origin::GroupPolicy(name.to_owned()),
        key,
        expected: expected.to_owned(),
        found: found.describe(),
    }
}

const NO_REASON: &str = "no reason is given";

/// The layer of this machine. Elsewhere than on Windows there is none.
#[cfg(not(windows))]
pub fn read() -> Layer {
    Layer::default()
}

/// The layer of this machine.
#[cfg(windows)]
pub fn read() -> Layer {
    registry::read(POLICY_KEY)
}

#[cfg(windows)]
mod registry;

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(values: &[(&str, Found)]) -> Layer {
        super::layer(&values.iter().map(|(name, found)| ((*name).to_owned(), found.clone())).collect::<Vec<_>>())
    }

    fn text(text: &str) -> Found {
        Found::Text(text.to_owned())
    }

    #[test]
    fn every_key_has_a_value_and_every_value_of_its_kind_is_taken() {
        for key in Key::ALL {
            assert!(VALUES.iter().any(|(.., of)| *of == key), "{key}");
        }
        let Layer { settings, faults } = layer(&[
            ("StateDir", text(r"D:\Backstay")),
            ("JoinTokenFile", text(r"D:\token")),
            ("lookeveryseconds", Found::Number(30)),
            ("ControllersEnrolment", Found::List(vec!["c:7444".to_owned()])),
            ("ControllersAgents", Found::List(Vec::new())),
            ("ControllersProxy", text("http://proxy.contoso.test:3128")),
            ("ControllersProxyCredentialsFile", text(r"D:\proxy")),
            ("LogFormat", text("json")),
            ("LogFilter", text("warn")),
            ("Hold", Found::Number(1)),
            ("HoldReason", text("change freeze")),
            ("", text("a default value")),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
        let look_every = settings.look_every.expect("set");
        assert_eq!(look_every.value.as_secs(), 30);
        assert_eq!(look_every.origin.to_string(), r"Group Policy HKLM\SOFTWARE\Policies\Backstay\Agent\LookEverySeconds");
        assert_eq!(settings.agents.expect("an empty list is one").value.len(), 0);
        assert_eq!(settings.holds.len(), 1);
        assert_eq!(settings.holds[0].value, "change freeze");
    }

    #[test]
    fn values_of_another_kind_and_unknown_names_are_named() {
        let faults = layer(&[
            ("StateDir", Found::Number(1)),
            ("LookEverySeconds", text("60s")),
            ("LookEverySeconds", Found::Number(3601)),
            ("ControllersAgents", text("c:7443")),
            ("LogFilter", Found::Other("REG_QWORD of 8 bytes".to_owned())),
            ("LogFormat", Found::Unreadable("error 5".to_owned())),
            ("LookEvry", Found::Number(1)),
        ])
        .faults;
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let says = [
            r"\StateDir: state_dir: expected REG_SZ or REG_EXPAND_SZ, found a number; correct the policy",
            r"\LookEverySeconds: look_every: expected REG_DWORD, found a text",
            "found \"3601s\"",
            r"\ControllersAgents: controllers.agents: expected REG_MULTI_SZ, found a text",
            r"\LogFilter: log.filter: expected REG_SZ or REG_EXPAND_SZ, found REG_QWORD of 8 bytes",
            "found one that cannot be read: error 5",
            "ControllersProxy, ",
        ];
        assert_eq!(told.len(), says.len(), "{told:?}");
        for (told, says) in told.iter().zip(says) {
            assert!(told.contains(says), "expected {says} in {told}");
        }
        assert!(told[6].contains("\"LookEvry\""), "{told:?}");
    }

    #[test]
    fn a_hold_is_on_with_1_and_with_everything_that_is_wrong() {
        let held = |values: &[(&str, Found)]| {
            let Layer { settings, faults } = layer(values);
            (settings.holds.into_iter().map(|set| set.value).collect::<Vec<_>>(), faults.len())
        };
        let nothing = (Vec::new(), 0);
        assert_eq!(held(&[]), nothing);
        assert_eq!(held(&[("Hold", Found::Number(0))]), nothing);
        assert_eq!(held(&[("HoldReason", text("not yet"))]), nothing);
        assert_eq!(held(&[("Hold", Found::Number(1))]), (vec![NO_REASON.to_owned()], 0));
        assert_eq!(held(&[("Hold", Found::Number(1)), ("HoldReason", text(" "))]), (vec![NO_REASON.to_owned()], 0));
        for wrong in
            [Found::Number(2), text("1"), Found::Other("REG_BINARY of 1 bytes".to_owned()), Found::Unreadable(String::new())]
        {
            let (reasons, faults) = held(&[("Hold", wrong.clone()), ("HoldReason", text("x"))]);
            assert_eq!((reasons.len(), faults), (1, 1), "{wrong:?}");
            assert!(reasons[0].contains("cannot be read"), "{reasons:?}");
        }
        for wrong in [text(&"x".repeat(201)), Found::Number(1)] {
            assert_eq!(held(&[("Hold", Found::Number(1)), ("HoldReason", wrong)]).0.len(), 1);
        }
    }
}
