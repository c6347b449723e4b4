//! The templates for the Group Policy editor say the same as what the agent reads, in each language.

use std::collections::{BTreeMap, BTreeSet};

use agent::config::group_policy::{HOLD, HOLD_REASON, Kind, POLICY_KEY, VALUES};
use agent::config::value::{LOOK_SECONDS, MAX_ADDRESSES, MAX_TEXT};
use agent::hold;
use recorded::xml::{Element, parse};

const ADMX: &str = include_str!("../../deploy/windows/admx/Backstay.admx");
const LANGUAGES: [(&str, &str); 2] = [
    ("en-US", include_str!("../../deploy/windows/admx/en-US/Backstay.adml")),
    ("de-DE", include_str!("../../deploy/windows/admx/de-DE/Backstay.adml")),
];
const NAMESPACE: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";

fn of<'a>(element: &'a Element<'_>, attribute: &str) -> &'a str {
    element.attribute(attribute).unwrap_or_else(|| panic!("{} at {} has no {attribute}", element.name, element.place))
}

/// The one element at this path.
fn one<'a>(element: &'a Element<'a>, path: &[&str]) -> &'a Element<'a> {
    path.iter().fold(element, |element, name| {
        let mut children = element.children.iter().filter(|child| child.name == *name);
        let child = children.next().unwrap_or_else(|| panic!("{} at {} has no {name}", element.name, element.place));
        assert!(children.next().is_none(), "{} at {} has one {name}", element.name, element.place);
        child
    })
}

/// Everything below an element, and itself.
fn all<'a>(element: &'a Element<'a>) -> Vec<&'a Element<'a>> {
    std::iter::once(element).chain(element.children.iter().flat_map(all)).collect()
}

/// What each policy writes: the name of a value with its kind and the element that writes it.
fn written<'a>(policy: &'a Element<'a>) -> Vec<(&'a str, Kind, &'a Element<'a>)> {
    let own = policy.attribute("valueName").map(|name| (name, Kind::Number, policy));
    let elements = policy.children_named("elements").flat_map(|elements| &elements.children);
    let values = elements.map(|element| {
        let kind = match &*element.name {
            "text" | "enum" => Kind::Text,
            "multiText" => Kind::List,
            "decimal" => Kind::Number,
            other => panic!("{other} at {} writes what the agent does not read", element.place),
        };
        assert_eq!(element.attribute("key"), None, "everything is below one key");
        (of(element, "valueName"), kind, element)
    });
    own.into_iter().chain(values).collect()
}

#[test]
fn the_template_writes_the_values_that_the_agent_reads_and_no_others() {
    let admx = parse(ADMX).expect("reads");
    let policies = one(&admx, &["policies"]);
    let mut found = BTreeMap::new();
    for policy in &policies.children {
        assert_eq!((of(policy, "class"), of(policy, "key")), ("Machine", POLICY_KEY), "{}", of(policy, "name"));
        for (name, kind, _) in written(policy) {
            assert!(found.insert(name, kind).is_none(), "{name} is written once");
        }
    }
    let read: BTreeMap<_, _> = VALUES.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    assert_eq!(found, read);
}

#[test]
fn the_bounds_of_the_template_are_not_wider_than_those_of_the_agent() {
    let admx = parse(ADMX).expect("reads");
    let values: Vec<_> = one(&admx, &["policies"]).children.iter().flat_map(written).collect();
    let number = |element: &Element<'_>, attribute: &str| of(element, attribute).parse::<usize>().expect("a number");
    for (name, kind, element) in values {
        match kind {
            Kind::Number if name == HOLD => {
                for (end, value) in [("enabledValue", "1"), ("disabledValue", "0")] {
                    assert_eq!(of(one(element, &[end, "decimal"]), "value"), value);
                }
            }
            Kind::Number => {
                let bounds = number(element, "minValue") as u64..=number(element, "maxValue") as u64;
                assert_eq!(bounds, LOOK_SECONDS);
            }
            Kind::List => {
                assert!(number(element, "maxStrings") <= MAX_ADDRESSES && number(element, "maxLength") <= MAX_TEXT, "{name}");
            }
            Kind::Text if &*element.name == "enum" => {
                let words: BTreeSet<_> = element.children.iter().map(|item| &*one(item, &["value", "string"]).text).collect();
                assert_eq!(words, BTreeSet::from(["json", "text"]), "{name}");
            }
            Kind::Text => {
                let most = if name == HOLD_REASON { hold::MAX_REASON } else { MAX_TEXT };
                assert!(number(element, "maxLength") <= most, "{name}");
                // A path may have %ProgramData% in it, and then the value is a REG_EXPAND_SZ.
                let path = ["StateDir", "JoinTokenFile", "ControllersProxyCredentialsFile"].contains(&name);
                assert_eq!(element.attribute("expandable") == Some("true"), path, "{name}");
            }
        }
    }
}

#[test]
fn each_language_has_every_string_and_every_box_and_no_others() {
    let admx = parse(ADMX).expect("reads");
    let used = |kind: &str| -> BTreeSet<String> {
        let begins = format!("$({kind}.");
        let values = all(&admx).into_iter().flat_map(|element| &element.attributes).map(|(_, value)| value);
        values.filter_map(|value| value.strip_prefix(&*begins)?.strip_suffix(')').map(str::to_owned)).collect()
    };
    let boxes: BTreeMap<&str, &str> = BTreeMap::from([
        ("text", "textBox"),
        ("multiText", "multiTextBox"),
        ("decimal", "decimalTextBox"),
        ("enum", "dropdownList"),
    ]);
    for (language, text) in LANGUAGES {
        let adml = parse(text).expect(language);
        assert_eq!(of(&adml, "revision"), of(&admx, "revision"), "{language}");
        assert_eq!(of(one(&admx, &["resources"]), "minRequiredRevision"), of(&admx, "revision"));
        let ids = |table: &str| -> BTreeSet<String> {
            let table = one(&adml, &["resources", table]);
            let ids: Vec<_> = table.children.iter().map(|child| of(child, "id").to_owned()).collect();
            let unique: BTreeSet<_> = ids.iter().cloned().collect();
            assert_eq!(ids.len(), unique.len(), "{language}: each id once");
            unique
        };
        assert_eq!(ids("stringTable"), used("string"), "{language}");
        assert_eq!(ids("presentationTable"), used("presentation"), "{language}");
        let empty: Vec<_> =
            all(&adml).into_iter().filter(|element| element.children.is_empty() && element.text.trim().is_empty()).collect();
        assert!(
            empty.iter().all(|element| &*element.name == "multiTextBox"),
            "{language}: every string says something: {empty:?}"
        );
        for policy in &one(&admx, &["policies"]).children {
            let id = of(policy, "presentation").trim_start_matches("$(presentation.").trim_end_matches(')');
            let presentations = &one(&adml, &["resources", "presentationTable"]).children;
            let presentation = presentations.iter().find(|child| of(child, "id") == id).expect("compared above");
            let shown: Vec<_> =
                presentation.children.iter().filter_map(|shown| Some((&*shown.name, shown.attribute("refId")?))).collect();
            let elements = &one(policy, &["elements"]).children;
            let wanted: Vec<_> = elements.iter().map(|element| (boxes[&*element.name], of(element, "id"))).collect();
            assert_eq!(shown, wanted, "{language}: {id}");
        }
    }
}

#[test]
fn what_the_template_refers_to_is_there_and_its_namespace_is_its_own() {
    let admx = parse(ADMX).expect("reads");
    for document in [ADMX, LANGUAGES[0].1, LANGUAGES[1].1] {
        assert_eq!(of(&parse(document).expect("reads"), "xmlns"), NAMESPACE);
        assert!(document.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?>"));
    }
    // The editor reads one file of each namespace, and passes over a second in silence.
    assert_eq!(of(one(&admx, &["policyNamespaces", "target"]), "namespace"), "Backstay.Policies.Agent");
    let named =
        |path: &[&str]| one(&admx, path).children.iter().map(|child| of(child, "name").to_owned()).collect::<BTreeSet<_>>();
    let (categories, supported) = (named(&["categories"]), named(&["supportedOn", "definitions"]));
    for policy in &one(&admx, &["policies"]).children {
        assert!(categories.contains(of(one(policy, &["parentCategory"]), "ref")));
        assert!(supported.contains(of(one(policy, &["supportedOn"]), "ref")));
        let order: Vec<_> = policy.children.iter().map(|child| &*child.name).collect();
        let schema = ["parentCategory", "supportedOn", "enabledValue", "disabledValue", "elements"];
        let expected: Vec<_> = schema.into_iter().filter(|name| order.contains(name)).collect();
        assert_eq!(order, expected, "the schema wants them in this order");
    }
}
