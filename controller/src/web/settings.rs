//! *Settings*: how the controller is configured. A page changes nothing of it: the file does, on the controller's machine.

use askama::Template;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{GetSettingsRequest, GetSettingsResponse, Setting};

use super::access::Who;
use super::plans::day;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web};
use crate::operators::access::Right;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let may_see = who.may(Right::Settings);
    let main = if may_see {
        Settings::of(web.operators.get_settings(who.ask(GetSettingsRequest {})).await?.into_inner())
    } else {
        Settings { may_see, ..Settings::default() }
    };
    Ok(Shown { title: text!("common-settings"), main: main.render()? })
}

#[derive(Template, Default)]
#[template(path = "settings.html")]
struct Settings {
    may_see: bool,
    facts: Vec<(String, String)>,
    /// The tables of the file, with their values.
    parts: Vec<(String, Vec<Line>)>,
}

struct Line {
    key: String,
    value: String,
    is_default: bool,
    meaning: String,
}

impl Settings {
    /// Pure: the same answer makes the same page.
    fn of(GetSettingsResponse { settings, version, store_bytes, ca_ends, pages_certificate_ends }: GetSettingsResponse) -> Self {
        let until = |end: Option<i64>, none: String| end.map_or(none, |end| text!("settings-good-until", day = day(end)));
        let facts = vec![
            (text!("settings-version"), version),
            (text!("settings-store"), format!("{:.1} MB", store_bytes as f64 / 1e6)),
            (text!("settings-ca"), until(ca_ends, text!("settings-does-not-read"))),
            (text!("settings-pages"), until(pages_certificate_ends, text!("settings-pages-here-only"))),
        ];
        let mut parts: Vec<(String, Vec<Line>)> = Vec::new();
        for Setting { key, value, is_default, meaning } in settings {
            // A channel's name may have dots of its own.
            let table = key.split(' ').next().and_then(|key| key.split_once('.')).map_or("", |(table, _)| table).to_owned();
            let line = Line { key, value, is_default, meaning };
            match parts.last_mut() {
                Some((last, lines)) if *last == table => lines.push(line),
                _ => parts.push((table, vec![line])),
            }
        }
        Self { may_see: true, facts, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_by_their_tables_and_nothing_that_somebody_wrote_becomes_markup() {
        let setting = |key: &str, is_default| Setting {
            key: key.to_owned(),
            value: "<b>x</b>".to_owned(),
            is_default,
            meaning: "what for".to_owned(),
        };
        let response = GetSettingsResponse {
            settings: vec![
                setting("estate", false),
                setting("keep.plans", true),
                setting("keep.reports", false),
                setting("notify.mail a.b", false),
            ],
            version: "0.1.0".to_owned(),
            store_bytes: 12_345_678,
            ca_ends: Some(1_900_000_000_000_000),
            pages_certificate_ends: None,
        };
        let page = Settings::of(response).render().expect("a page");
        for words in ["[keep]", "[notify]", "12.3 MB", "good until 2030-03-17", "none: they are shown", "<small>default</small>"]
        {
            assert!(page.contains(words), "{words} in\n{page}");
        }
        assert_eq!((page.matches("[keep]").count(), page.contains("<b>")), (1, false), "{page}");
        let nothing = Settings::default().render().expect("a page");
        assert!(nothing.contains("your role does not") && !nothing.contains("<table"), "{nothing}");
    }
}
