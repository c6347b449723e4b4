//! What another policy would change, key by key, and whether that widens or narrows what agents may do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::InEffect;

/// What differs, in the order of the keys.
#[derive(Debug, Serialize)]
pub(crate) struct Differences(pub(crate) Vec<Difference>);

/// One value that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) key: String,
    /// `null` when it is new.
    pub(crate) old: Option<String>,
    /// `null` when it is gone.
    pub(crate) new: Option<String>,
    /// `widens`: the agents may do more, or may do it at other times; `narrows`: they may do less; `other`: a person must judge.
    pub(crate) effect: &'static str,
}

impl Differences {
    pub(crate) fn between(old: &InEffect, new: &InEffect) -> Self {
        let (old, new) = (flat(old), flat(new));
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let mut found = Vec::new();
        for key in keys {
            let none = Vec::new();
            let (was, is) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
            // Single values change; of lists, entries come and go.
            if let ([was], [is]) = (was.as_slice(), is.as_slice())
                && was != is
                && !LISTS.contains(&key.as_str())
            {
                found.push(Difference {
                    key: key.clone(),
                    old: Some(was.clone()),
                    new: Some(is.clone()),
                    effect: changed(key, was, is),
                });
                continue;
            }
            let (loses, gains) = of_list(key, was.is_empty(), is.is_empty());
            let gone = was.iter().filter(|entry| !is.contains(entry));
            found.extend(gone.map(|entry| Difference { key: key.clone(), old: Some(entry.clone()), new: None, effect: loses }));
            let come = is.iter().filter(|entry| !was.contains(entry));
            found.extend(come.map(|entry| Difference { key: key.clone(), old: None, new: Some(entry.clone()), effect: gains }));
        }
        Self(found)
    }
}

const LISTS: [&str; 6] = ["groups", "windows", "freezes", "names", "compromised", "exceptions"];

/// The effect of an entry that goes, and of one that comes.
fn of_list(key: &str, was_empty: bool, is_empty: bool) -> (&'static str, &'static str) {
    match key {
        "freezes" | "compromised" => ("widens", "narrows"),
        "exceptions" => ("narrows", "widens"),
        // No window at all means always.
        "windows" if was_empty || is_empty => ("widens", "narrows"),
        "windows" => ("narrows", "widens"),
        // A group may raise or lower, and whoever leaves one falls under the next.
        _ => ("other", "other"),
    }
}

fn effect(widens: bool) -> &'static str {
    if widens { "widens" } else { "narrows" }
}

/// The effect of another value of a single key.
fn changed(key: &str, was: &str, is: &str) -> &'static str {
    let mode = |word: &str| ["observe", "propose", "act"].iter().position(|known| *known == word);
    let left = |word: &str| ["report", "propose", "act"].iter().position(|known| *known == word);
    let number = |text: &str| text.parse::<u64>().ok();
    let span = |text: &str| text.parse::<policy::duration::Span>().ok();
    match key {
        "mode" => effect(mode(is) > mode(was)),
        key if key.starts_with("actions.") => effect(left(is) > left(was)),
        "waves.soak" => effect(span(is) < span(was)),
        // Fewer who look are fewer who can object.
        "peers.count" => effect(number(is) < number(was)),
        "waves.at_once" => effect(number(is) > number(was)),
        "expiry.renew_before" | "expiry.propose_at" | "expiry.urgent_at" => effect(span(is) > span(was)),
        "quiet.record_missing" | "quiet.dangling" => effect(span(is) < span(was)),
        "limits.restores_per_hour" | "limits.restores_per_day" | "limits.authority_days" => effect(number(is) > number(was)),
        _ => "other",
    }
}

/// Each key with its values: one, or the entries of a list.
fn flat(view: &InEffect) -> BTreeMap<String, Vec<String>> {
    fn walk(key: String, value: Value, found: &mut BTreeMap<String, Vec<String>>) {
        match value {
            Value::Object(keys) => keys.into_iter().for_each(|(inner, value)| {
                walk(if key.is_empty() { inner } else { format!("{key}.{inner}") }, value, found);
            }),
            Value::Array(entries) => {
                found.insert(
                    key,
                    entries.into_iter().map(|entry| entry.as_str().map_or_else(|| entry.to_string(), str::to_owned)).collect(),
                );
            }
            Value::String(text) => {
                found.insert(key, vec![text]);
            }
            Value::Null => {
                found.insert(key, Vec::new());
            }
            other @ (Value::Bool(_) | Value::Number(_)) => {
                found.insert(key, vec![other.to_string()]);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(String::new(), serde_json::to_value(view).unwrap_or_default(), &mut found);
    // They differ with every policy, and say nothing of what it wants.
    for head in ["id", "version", "previous"] {
        found.remove(head);
    }
    found
}

#[cfg(test)]
mod tests {
    use policy::document::Policy;

    use super::*;

    fn view(lines: &str) -> InEffect {
        let text = format!("estate = \"contoso\"\nversion = 1\n{lines}");
        InEffect::of(&Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    fn between(old: &str, new: &str) -> Vec<(String, Option<String>, Option<String>, &'static str)> {
        let Differences(found) = Differences::between(&view(old), &view(new));
        found.into_iter().map(|Difference { key, old, new, effect }| (key, old, new, effect)).collect()
    }

    #[test]
    fn what_widens_and_what_narrows_is_told_apart() {
        let freeze = "[[freeze]]\nfrom = \"2026-12-20\"\nto = \"2027-01-06\"\nzone = \"UTC\"\nreason = \"year end\"\n";
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(between("", ""), []);
        assert_eq!(
            between("mode = \"propose\"", "mode = \"act\""),
            [("mode".to_owned(), text("propose"), text("act"), "widens")]
        );
        assert_eq!(between("mode = \"act\"", ""), [("mode".to_owned(), text("act"), text("observe"), "narrows")]);
        assert_eq!(
            between("[quiet]\ndangling = \"5m\"", "[quiet]\ndangling = \"1m\""),
            [("quiet.dangling".to_owned(), text("5m"), text("1m"), "widens")]
        );
        let shown = "from 2026-12-20T00:00:00Z until 2027-01-07T00:00:00Z: year end";
        assert_eq!(between("", freeze), [("freezes".to_owned(), None, text(shown), "narrows")]);
        assert_eq!(between(freeze, ""), [("freezes".to_owned(), text(shown), None, "widens")]);
        let window = |day: &str| format!("[[window]]\ndays = [\"{day}\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n");
        let effects = |old: &str, new: &str| between(old, new).into_iter().map(|(.., effect)| effect).collect::<Vec<_>>();
        let (saturday, sunday) = (window("sat"), window("sun"));
        assert_eq!(effects("", &saturday), ["narrows"], "no window means always");
        assert_eq!(effects(&saturday, ""), ["widens"]);
        assert_eq!(effects(&saturday, &format!("{saturday}{sunday}")), ["widens"]);
        assert_eq!(
            between("", "[certificate]\nkey_bits = 4096"),
            [("certificate.key_bits".to_owned(), text("2048"), text("4096"), "other")]
        );
    }
}
