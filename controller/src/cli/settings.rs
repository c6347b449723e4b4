//! `backstay settings`: how the controller is configured.

use clap::Args;
use policy::Timestamp;
use proto::invalid::{Invalid, moment};
use proto::operator::{self, GetSettingsRequest, GetSettingsResponse};
use serde::Serialize;

use super::Context;
use super::connection::answer;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, moment_if_any, pairs, table};

/// Shows how the controller is configured: every value in effect, and no secret.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay settings
  backstay settings -o json | jq '.settings[] | select(.is_default | not)'")]
pub struct Settings {}

impl Settings {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = "asking for the settings";
        let response = answer(doing, client.get_settings(GetSettingsRequest {})).await?;
        context.output.show(&SettingsView::try_from(response).doing(|| doing.to_owned())?)?;
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
struct SettingsView {
    version: String,
    store_bytes: u64,
    ca_ends: Option<Timestamp>,
    pages_certificate_ends: Option<Timestamp>,
    settings: Vec<SettingView>,
}

#[derive(Serialize)]
struct SettingView {
    key: String,
    value: String,
    is_default: bool,
    meaning: String,
}

impl TryFrom<GetSettingsResponse> for SettingsView {
    type Error = Invalid;

    fn try_from(response: GetSettingsResponse) -> Result<Self, Invalid> {
        let GetSettingsResponse { settings, version, store_bytes, ca_ends, pages_certificate_ends } = response;
        let end = |field, micros: Option<i64>| micros.map(|micros| moment(field, micros)).transpose();
        let setting = |operator::Setting { key, value, is_default, meaning }| SettingView { key, value, is_default, meaning };
        Ok(Self {
            version,
            store_bytes,
            ca_ends: end("GetSettingsResponse.ca_ends", ca_ends)?,
            pages_certificate_ends: end("GetSettingsResponse.pages_certificate_ends", pages_certificate_ends)?,
            settings: settings.into_iter().map(setting).collect(),
        })
    }
}

impl View for SettingsView {
    fn text(&self) -> String {
        let mut text = pairs([
            ("version", self.version.clone()),
            ("store", format!("{} bytes", self.store_bytes)),
            ("CA until", moment_if_any(self.ca_ends)),
            ("pages' certificate until", moment_if_any(self.pages_certificate_ends)),
        ]);
        text.push('\n');
        let rows = self.settings.iter().map(|SettingView { key, value, is_default, meaning: _ }| {
            [key.clone(), value.clone(), (if *is_default { "default" } else { "set" }).to_owned()]
        });
        text + &table(["SETTING", "VALUE", "BY"], rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_with_who_chose_them() {
        let setting = |key: &str, value: &str, is_default| operator::Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            is_default,
            meaning: "for people".to_owned(),
        };
        let response = GetSettingsResponse {
            settings: vec![setting("keep.reports", "30d", false), setting("keep.plans", "1900d", true)],
            version: "0.1.0".to_owned(),
            store_bytes: 4_096,
            ca_ends: Some(1_900_000_000_000_000),
            pages_certificate_ends: None,
        };
        let text = SettingsView::try_from(response.clone()).expect("reads").text();
        assert_eq!(
            text,
            "version                   0.1.0\nstore                     4096 bytes\nCA until                  2030-03-17T17:46:40Z\n\
             pages' certificate until  -\n\nSETTING       VALUE  BY\nkeep.reports  30d    set\nkeep.plans    1900d  default\n"
        );
        let wrong = GetSettingsResponse { ca_ends: Some(i64::MAX), ..response };
        assert!(SettingsView::try_from(wrong).err().expect("must be refused").to_string().contains("ca_ends"));
    }
}
