//! What a controller runs with, value by value, for people. Pure. Files are named, never their contents; of an address that is called only where it leads:
//! what stands behind may be a secret.

use std::collections::BTreeSet;
use std::fmt::Display;

use axum::http::Uri;

use super::{Alive, Config, Keep, Kind, Listen, Mail, Metrics, Notify, Oidc, Pages, Privacy, Rule, Tls, Webhook};

/// A value that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As `controller.toml` names it, with its table; a channel has its name behind it.
    pub key: String,
    /// In effect.
    pub value: String,
    /// It goes without saying.
    pub is_default: bool,
    /// What it is for.
    pub meaning: &'static str,
}

impl Config {
    /// Every value in effect, in the order of `deploy/controller.example.toml`.
    pub fn settings(&self) -> Vec<Setting> {
        let Self { estate, state_dir, listen, advertise, heartbeat, keep, metrics, privacy, notify, pages } = self;
        let Keep { reports, plans } = keep;
        let Metrics { x509 } = metrics;
        let Privacy { names } = privacy;
        let Listen { agents, enrolment, operators, web } = listen;
        let (kept, ports) = (Keep::default(), Listen::default());
        let advertised = advertise.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut all = vec![
            said("estate", estate.to_string(), "all servers that answer to one root of trust"),
            choice("state_dir", state_dir.display(), super::default_state_dir().display(), "database, the CA's key, locks"),
            choice("advertise", advertised, "localhost", "by which names this controller is reached"),
            choice(
                "heartbeat_seconds",
                heartbeat.as_seconds(),
                super::default_heartbeat_seconds(),
                "how often an agent says that nothing changed",
            ),
            choice("keep.reports", reports, kept.reports, "past reports are forgotten after this long"),
            choice("keep.plans", plans, kept.plans, "plans that ended are forgotten after this long"),
            choice("metrics.x509", x509, false, "x509_cert_not_after too, for dashboards that know it"),
            choice("privacy.names", names.as_str(), Privacy::default().names.as_str(), "who is shown the names of persons"),
            choice("listen.agents", agents, ports.agents, "agents' sessions, mutual TLS"),
            choice("listen.enrolment", enrolment, ports.enrolment, "new agents, and renewal of identities"),
            choice("listen.operators", operators, ports.operators, "the command line, mutual TLS"),
            choice("listen.web", web, ports.web, "pages, metrics and health, on this machine only"),
        ];
        notify.tell(&mut all);
        if let Some(pages) = pages {
            pages.tell(&mut all);
        }
        all
    }
}

impl Notify {
    fn tell(&self, all: &mut Vec<Setting>) {
        let Self { zone, digest, quiet, silent_after, mail, webhook, alive } = self;
        let plain = Self::default();
        let name = |zone: &jiff::tz::TimeZone| zone.iana_name().unwrap_or("UTC").to_owned();
        let hours = quiet.map_or_else(|| "none".to_owned(), |quiet| quiet.to_string());
        all.extend([
            choice("notify.zone", name(zone), name(&plain.zone), "in which hours and days are meant"),
            choice("notify.digest", digest, plain.digest, "when everything that wakes nobody is told"),
            choice("notify.quiet", hours, "none".to_owned(), "when only what wakes somebody is told"),
            choice(
                "notify.silent_after",
                silent_after,
                plain.silent_after,
                "an agent that is not heard for so long is an incident",
            ),
        ]);
        for Mail { name, relay, port, tls, ca_file: _, user, password_file: _, from, to, says } in mail {
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            let tls = match tls {
                Tls::Starttls => "STARTTLS",
                Tls::Tls => "TLS",
                Tls::None => "no TLS",
            };
            let user = user.as_ref().map_or_else(String::new, |user| format!(" as {user}"));
            let many = if to.len() == 1 { "1 address".to_owned() } else { format!("{} addresses", to.len()) };
            let value = format!("{relay}{port}{user}, {tls}, from {from}, to {many}: {}", words(says));
            all.push(said(format!("notify.mail {name}"), value, "mail"));
        }
        for Webhook { name, url, secret_file, inward, says } in webhook {
            let signed = if secret_file.is_some() { "signed" } else { "not signed" };
            let inward = if *inward { ", may lead inward" } else { "" };
            all.push(said(
                format!("notify.webhook {name}"),
                format!("{}, {signed}{inward}: {}", place(url), words(says)),
                "calls to another program",
            ));
        }
        if let Some(Alive { url, every, inward: _ }) = alive {
            all.push(said("notify.alive", format!("{}, every {every}", place(url)), "called as long as all is well here"));
        }
    }
}

impl Pages {
    fn tell(&self, all: &mut Vec<Setting>) {
        let Self { listen, origin, certificate_file, key_file, oidc } = self;
        all.extend([
            said("pages.listen", listen.to_string(), "pages for browsers on other machines, TLS"),
            said("pages.url", origin.as_str().to_owned(), "the one name by which browsers may ask there"),
            said("pages.certificate_file", certificate_file.display().to_string(), "read again when it changes"),
            said("pages.key_file", key_file.display().to_string(), "read again when it changes"),
        ]);
        let Some(Oidc { name, issuer, client_id, client_secret_file: _, ca_file: _, scopes, person_claim, groups_claim, rules }) =
            oidc
        else {
            return;
        };
        all.extend([
            said("pages.oidc.issuer", format!("{issuer} ({name})"), "vouches for people"),
            said("pages.oidc.client_id", client_id.clone(), "as what it knows this controller"),
            said("pages.oidc.scopes", scopes.join(", "), "asked for beside openid"),
            said("pages.oidc.person_claim", person_claim.clone(), "the claim with a person's name"),
            said("pages.oidc.groups_claim", groups_claim.clone(), "the claim with a person's groups"),
        ]);
        for Rule { group, role } in rules {
            all.push(said(
                format!("pages.oidc.rule {group}"),
                role.as_str().to_owned(),
                "the role of whoever is in this group; the first that fits counts",
            ));
        }
    }
}

/// A value that has a default.
fn choice(key: &str, value: impl Display, default: impl Display, meaning: &'static str) -> Setting {
    let (value, default) = (value.to_string(), default.to_string());
    Setting { key: key.to_owned(), is_default: value == default, value, meaning }
}

/// A value that has no default.
fn said(key: impl Into<String>, value: String, meaning: &'static str) -> Setting {
    Setting { key: key.into(), value, is_default: false, meaning }
}

fn words(says: &BTreeSet<Kind>) -> String {
    says.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// Where an address leads, without what stands behind.
fn place(url: &str) -> String {
    let place = url
        .parse::<Uri>()
        .ok()
        .and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?.as_str().rsplit('@').next()?)));
    place.unwrap_or_else(|| "an address that does not read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        estate = "contoso"
        [keep]
        reports = "30d"
        [privacy]
        names = "auditors"
        [notify]
        zone = "Europe/Berlin"
        quiet = "22:00-06:30"
        [[notify.mail]]
        name = "ops"
        relay = "relay.contoso.test"
        port = 2525
        user = "backstay"
        password_file = "/secret/mail"
        from = "b@contoso.test"
        to = ["olga@contoso.test"]
        [[notify.webhook]]
        name = "pager"
        url = "https://user:hush@hooks.test/T0/SECRET"
        secret_file = "/secret/hook"
        [notify.alive]
        url = "https://ping.test/SECRET"
        [pages]
        url = "https://backstay.contoso.test"
        certificate_file = "/pages.pem"
        key_file = "/pages.key"
        [pages.oidc]
        issuer = "https://login.test"
        client_id = "backstay"
        client_secret_file = "/secret/oidc"
        rule = [{ group = "Exchange Admins", role = "admin" }]
    "#;

    #[test]
    fn every_value_is_told_and_whether_somebody_chose_it_and_no_secret() {
        let config = Config::from_toml(FULL).expect("a configuration");
        let all = config.settings();
        let told = |key: &str| all.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key} in {all:?}"));
        for (key, value, is_default) in [
            ("estate", "contoso", false),
            ("keep.reports", "30d", false),
            ("keep.plans", "1900d", true),
            ("heartbeat_seconds", "30", true),
            ("privacy.names", "auditors", false),
            ("notify.zone", "Europe/Berlin", false),
            ("notify.digest", "mon 08:00", true),
            ("notify.quiet", "22:00-06:30", false),
            (
                "notify.mail ops",
                "relay.contoso.test:2525 as backstay, STARTTLS, from b@contoso.test, to 1 address: page, digest",
                false,
            ),
            ("notify.webhook pager", "https://hooks.test, signed: page", false),
            ("notify.alive", "https://ping.test, every 5m", false),
            ("pages.url", "https://backstay.contoso.test", false),
            ("pages.oidc.rule Exchange Admins", "admin", false),
        ] {
            assert_eq!((told(key).value.as_str(), told(key).is_default), (value, is_default), "{key}");
        }
        let text = format!("{all:?}").to_lowercase();
        for secret in ["hush", "secret/", "t0", "olga"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }

    #[test]
    fn what_nobody_said_is_all_default() {
        let config = Config::from_toml("estate = \"contoso\"").expect("a configuration");
        let chosen: Vec<String> =
            config.settings().into_iter().filter(|setting| !setting.is_default).map(|setting| setting.key).collect();
        assert_eq!(chosen, ["estate"]);
    }
}
