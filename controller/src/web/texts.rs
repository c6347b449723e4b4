//! Every text of the pages, from one catalogue for each language (docs/decisions/0036-one-catalogue.md): `texts/en.ftl`.
//!
//! What other rooms say, findings, rules, refusals, steps of plans, is theirs on the command line too, and comes as it is.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

/// What the pages say in English.
static ENGLISH: LazyLock<FluentBundle<FluentResource>> = LazyLock::new(|| {
    let resource = FluentResource::try_new(include_str!("../../texts/en.ftl").to_owned());
    // A test reads every message: what does not parse is left out, and is found there.
    let resource = resource.unwrap_or_else(|(read, _)| read);
    let mut bundle = FluentBundle::new_concurrent(vec!["en".parse().unwrap_or_default()]);
    // What is put into a text stands as it is, without signs around it that nobody sees.
    bundle.set_use_isolating(false);
    let _ = bundle.add_resource(resource);
    bundle
});

/// A text with what is put into it. Whoever looks would rather see a name than nothing; a test knows that each is there.
pub(super) fn said(id: &str, args: &[(&'static str, FluentValue<'_>)]) -> String {
    let pattern = ENGLISH.get_message(id).and_then(|message| message.value());
    let Some(pattern) = pattern else { return id.to_owned() };
    let args: FluentArgs<'_> = args.iter().map(|(name, value)| (*name, value.clone())).collect();
    ENGLISH.format_pattern(pattern, Some(&args), &mut Vec::new()).into_owned()
}

/// A text of the catalogue: `text!("plan-title", purpose = purpose, server = server)`.
macro_rules! text {
    ($id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::web::texts::said($id, &[$((stringify!($name), ::fluent_bundle::FluentValue::from($value))),*])
    };
}
pub(super) use text;

/// For templates.
#[expect(unreachable_pub, reason = "what the macro makes of a filter is public")]
pub(super) mod filters {
    use std::fmt::Display;

    use askama::filters::Safe;

    /// `{{ "plan-steps"|say }}`: the text of that name, with code where it has backticks.
    #[askama::filter_fn]
    pub(crate) fn say(id: impl Display, _: &dyn askama::Values) -> askama::Result<Safe<String>> {
        Ok(Safe(markup(&super::said(&id.to_string(), &[]))))
    }

    fn markup(text: &str) -> String {
        let mut html = String::with_capacity(text.len());
        let mut code = false;
        for letter in text.chars() {
            match letter {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '`' => {
                    html.push_str(if code { "</code>" } else { "<code>" });
                    code = !code;
                }
                other => html.push(other),
            }
        }
        html
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use fluent_bundle::FluentResource;

    use super::*;

    /// Files of a folder, with what stands in them.
    fn files(folder: &str, end: &str) -> BTreeMap<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let found = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let wanted = found.filter(|path| path.to_string_lossy().ends_with(end));
        wanted.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("reads"))).collect()
    }

    /// What stands between quotes before or behind this, in all files.
    fn between<'a>(text: &'a str, before: &str, behind: &str) -> Vec<&'a str> {
        let parts = text.split(before).skip(1);
        parts.filter_map(|part| part.split_once(behind).map(|(id, _)| id)).collect()
    }

    #[test]
    fn every_text_that_is_wanted_is_there_and_no_other() {
        let catalogue = include_str!("../../texts/en.ftl");
        FluentResource::try_new(catalogue.to_owned()).expect("reads");
        let known: BTreeSet<&str> = catalogue
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(" =").map(|(id, _)| id))
            .collect();
        let (templates, mut code) = (files("templates", ".html"), files("src/web", ".rs"));
        code.extend(files("src", "web.rs"));
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for text in templates.values() {
            wanted.extend(text.split("\"|say").filter_map(|before| before.rsplit_once("{{ \"").map(|(_, id)| id)));
        }
        for text in code.values() {
            wanted.extend(between(text, "text!(\"", "\""));
            wanted.extend(between(text, "text!(\n        \"", "\""));
            // Named in a table, and said by the template.
            wanted.extend(known.iter().copied().filter(|id| text.contains(&format!("\"{id}\""))));
        }
        wanted.retain(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        assert_eq!(wanted.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "wanted, and not there");
        assert_eq!(known.difference(&wanted).collect::<Vec<_>>(), Vec::<&&str>::new(), "there, and wanted nowhere");
        for id in known {
            assert!(ENGLISH.get_message(id).and_then(|message| message.value()).is_some(), "{id}");
        }
    }

    /// Templates have no words of their own, but for commands to paste and the product's name.
    #[test]
    fn no_text_stands_outside_of_the_catalogue() {
        for (name, text) in files("templates", ".html") {
            let mut rest = text.replace("Backstay", "").replace("placeholder=\"EX1\"", "");
            for (from, to) in [("<pre", "</pre>"), ("<code>", "</code>"), ("{{", "}}"), ("{%", "%}")] {
                while let Some(at) = rest.find(from) {
                    let end = rest[at..].find(to).expect(to);
                    rest.replace_range(at..at + end + to.len(), "");
                }
            }
            for attribute in ["aria-label=\"", "placeholder=\"", "title=\"", "alt=\""] {
                for value in between(&rest, attribute, "\"") {
                    assert!(!value.contains(|c: char| c.is_ascii_alphabetic()), "{name}: {attribute}{value}");
                }
            }
            while let Some(at) = rest.find('<') {
                let end = rest[at..].find('>').expect(">");
                rest.replace_range(at..=at + end, " ");
            }
            let words: Vec<&str> =
                rest.split_whitespace().filter(|word| word.contains(|c: char| c.is_ascii_alphabetic())).collect();
            assert_eq!(words, Vec::<&str>::new(), "{name}");
        }
    }

    #[test]
    fn numbers_choose_among_words_and_what_is_put_in_stands_as_it_is() {
        assert_eq!(text!("estate-proposed", count = 1), "1 plan waits for approvers");
        assert_eq!(text!("estate-proposed", count = 2), "2 plans wait for approvers");
        assert_eq!(text!("estate-all-well", count = 1_412), "All 1412 servers are well");
        assert_eq!(text!("plan-title", purpose = "renew", server = "<b>{$x}"), "renew on <b>{$x}");
        assert_eq!(said("no-such-text", &[]), "no-such-text");
    }
}
