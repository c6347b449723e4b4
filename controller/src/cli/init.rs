//! `backstay init`: makes what a controller needs before it can start, and the first operator's bundle. What is there already
//! stays as it is: run twice, it does nothing twice.

use std::path::{Path, PathBuf};

use clap::Args;
use policy::duration::Span;
use policy::id::{EstateName, Person, Sha256};
use policy::trust::PersonRole;
use proto::token::Secret;
use serde::Serialize;
use serde_json::json;

use super::failure::{Doing, Exit, Failure};
use super::output::{View, pairs};
use super::{Context, files};
use crate::audit::Actor;
use crate::ca::Authority;
use crate::config::Config;
use crate::store::{Browser, Store, StoreError, Via};

/// How long the first link is good: the controller may be started tomorrow.
const FIRST_LINK: Span = Span::days(1);

/// Makes state folder, CA, database and an operator's bundle.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay init
  backstay init --config /etc/backstay/controller.toml
  backstay init --config /etc/backstay/controller.toml --operator ben --role viewer --out ben.pem")]
pub struct Init {
    /// The controller's configuration.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,

    /// The person for whom a bundle is made.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    operator: Person,

    /// What the bundle lets that person do.
    #[arg(long, value_name = "ROLE", default_value = "admin", value_parser = role)]
    role: PersonRole,

    /// The bundle's file; operator.pem beside the configuration, when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Init {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let config = Config::read(&self.config).doing(|| format!("reading {}", self.config.display()))?;
        let now = context.clock.now();
        make_folder(&config.state_dir)?;
        let authority = authority(&config, now)?;
        let bundle = self.out.clone().unwrap_or_else(|| self.config.with_file_name("operator.pem"));
        let made = !bundle.exists();
        let link = match Store::open(&config.database(), &config.estate, now).await {
            Ok(store) => {
                let issued = if made { self.issue(&store, &authority, &config, &bundle, now).await } else { Ok(None) };
                store.close().await;
                issued?
            }
            // The database is there and at work; nothing is left to do but what needs its audit trail.
            Err(StoreError::InUse { .. }) if !made => None,
            Err(error) => return Err(Failure::new(Exit::Error, "opening the database").because(error)),
        };
        let Config { estate, state_dir, .. } = config;
        let view = Initialised { estate, ca_fingerprint: authority.fingerprint(), state_dir, bundle, made, link };
        context.output.show(&view)?;
        let (estate, ca) = (&view.estate, view.ca_fingerprint);
        context.output.say(&format!(
            "next, on an approver's workstation: backstay trust init --estate {estate} --ca {ca} --approver NAME --out trust"
        ));
        context.output.say(&format!("and here:                           backstay serve --config {}", self.config.display()));
        if view.link.is_some() {
            context.output.say("the link shows the pages to that person once the controller runs: good once, within a day; `backstay sign-in` makes others");
        }
        Ok(Exit::Ok)
    }

    async fn issue(
        &self,
        store: &Store,
        authority: &Authority,
        config: &Config,
        bundle: &Path,
        now: policy::Timestamp,
    ) -> Result<Option<String>, Failure> {
        let doing = || format!("making a bundle for {}", self.operator);
        let identity = authority.issue_operator(&self.operator, self.role, now).doing(doing)?;
        let ca = files::document(&config.state_dir.join("ca.pem"))?;
        // Told first: a certificate that nobody knows of would be worse than an entry for one that was not kept.
        let detail = json!({"role": self.role.as_str(), "not_after": identity.not_after});
        store.tell(Actor::Console, "operator.issued", self.operator.to_string(), detail, now).await.doing(doing)?;
        let text = zeroize::Zeroizing::new([identity.certificate_pem.as_bytes(), identity.key_pem.as_bytes(), &ca].concat());
        files::write_secret(bundle, &text)?;
        // A port that is chosen at the start is in no link.
        if config.pages.is_none() && config.listen.web.port() == 0 {
            return Ok(None);
        }
        let secret = Secret::generate().doing(doing)?;
        let first = Browser { person: self.operator.clone(), role: self.role, via: Via::Link, expires_at: FIRST_LINK.after(now) };
        store.create_sign_in(secret.hash(), first, now).await.doing(doing)?;
        Ok(Some(crate::operators::sign_in::address(&config.pages_at(config.listen.web, false), &secret).to_string()))
    }
}

fn role(word: &str) -> Result<PersonRole, String> {
    PersonRole::from_word(word).ok_or_else(|| "expected viewer, operator, approver, auditor or admin".to_owned())
}

#[cfg(windows)]
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    native::service::folder::private(path, super::MARKS).doing(|| format!("making state folder {}", path.display()))
}

#[cfg(not(windows))]
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).doing(|| format!("making state folder {}", path.display()))
}

fn authority(config: &Config, now: policy::Timestamp) -> Result<Authority, Failure> {
    let folder = &config.state_dir;
    if folder.join("ca.key").exists() {
        let doing = || format!("reading the CA in {}", folder.display());
        return Authority::load(folder, &config.estate).doing(doing);
    }
    Authority::create(folder, &config.estate, now).doing(|| format!("making the CA in {}", folder.display()))
}

#[derive(Serialize)]
struct Initialised {
    estate: EstateName,
    ca_fingerprint: Sha256,
    state_dir: PathBuf,
    bundle: PathBuf,
    /// The bundle was made by this run.
    made: bool,
    /// By which that person signs in to the pages.
    link: Option<String>,
}

impl View for Initialised {
    fn text(&self) -> String {
        let Self { estate, ca_fingerprint, state_dir, bundle, made, link } = self;
        let bundle = format!("{}{}", bundle.display(), if *made { "" } else { ", as it was" });
        let link = link.clone().unwrap_or_else(|| "-".to_owned());
        pairs([
            ("estate", estate.to_string()),
            ("CA fingerprint", ca_fingerprint.to_string()),
            ("state", state_dir.display().to_string()),
            ("operator", bundle),
            ("sign in", link),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connection::Connection;
    use crate::cli::output::{Format, tests::kept};
    use crate::clock::Clock;

    async fn run(config: &Path) -> Result<serde_json::Value, Failure> {
        let (output, data, _) = kept(Format::Json);
        let connection = Connection::default();
        let clock = Clock::of(|| "2026-11-22T00:00:00Z".parse().expect("a moment"));
        let operator = "admin".parse().expect("a name");
        let init = Init { config: config.to_owned(), operator, role: PersonRole::Admin, out: None };
        init.run(&mut Context { connection, output, clock }).await?;
        Ok(serde_json::from_str(&data.text()).expect("JSON"))
    }

    #[tokio::test]
    async fn run_twice_it_makes_nothing_twice_and_tells_of_the_bundle() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("controller.toml");
        let state = folder.path().join("state");
        std::fs::write(&config, format!("estate = \"contoso\"\nstate_dir = {:?}\n", state.display().to_string()))
            .expect("written");
        let first = run(&config).await.expect("made");
        let bundle = folder.path().join("operator.pem");
        let text = std::fs::read_to_string(&bundle).expect("made");
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "the own and the CA's");
        assert_eq!(text.matches("PRIVATE KEY-----\n").count(), 2, "{}", text.len());
        let second = run(&config).await.expect("again");
        assert_eq!((&first["ca_fingerprint"], &second["made"]), (&second["ca_fingerprint"], &false.into()));
        assert_eq!(std::fs::read_to_string(&bundle).expect("there"), text);
        let link =
            first["link"].as_str().and_then(|link| link.strip_prefix("http://127.0.0.1:7446/sign-in?link=")).expect("a link");
        assert!(second["link"].is_null(), "made for a bundle that is made");

        let estate = "contoso".parse().expect("a name");
        let now = "2026-11-22T00:00:00Z".parse().expect("a moment");
        let store = Store::open(&state.join("backstay.db"), &estate, now).await.expect("a database");
        let told: Vec<String> = store.audit(0, 10).await.expect("a trail").into_iter().map(|entry| entry.action).collect();
        assert_eq!(told, ["operator.issued"]);
        let (link, browser) = (Secret::from_text(link).expect("a secret"), Secret::generate().expect("random"));
        let signed_in = store.sign_in(link.hash(), browser.hash(), Span::days(2).after(now), now).await.expect("answers");
        assert_eq!(signed_in.expect("good").role, PersonRole::Admin);
        store.close().await;
    }
}
