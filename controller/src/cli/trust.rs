//! `backstay trust init|key|next|sign|show|apply`: who may approve. The root key is made on a workstation and never leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::duration::Span;
use policy::id::{EstateName, KeyId, Person, Sha256};
use policy::trust::{Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument, Verified, root_fingerprint};
use proto::operator::{ApplyTrustRequest, GetTrustRequest};
use proto::signed::{SignedBytes, SigningKey};
use serde::Serialize;

use super::connection::{Client, answer};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, moment, pairs};
use super::{Context, files, wire};

mod next;

/// The trust document.
#[derive(Debug, Subcommand)]
pub enum Trust {
    /// Makes the root key, a key for each approver, and the first trust document; needs no controller.
    Init(Init),
    /// Makes a key for another approver, or another root key.
    Key(next::Key),
    /// Writes the trust document that follows: people, keys, numbers, controllers.
    Next(Box<next::Next>),
    /// Signs a trust document with another root key.
    Sign(next::Sign),
    /// Shows the trust document in force, or one in a file.
    Show(Show),
    /// Puts a trust document in force.
    Apply(Apply),
}

impl Trust {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::Init(init) => init.run(context),
            Self::Key(key) => key.run(context),
            Self::Next(next) => next.run(context),
            Self::Sign(sign) => sign.run(context),
            Self::Show(show) => show.run(context).await,
            Self::Apply(apply) => apply.run(context).await,
        }
    }
}

/// Makes keys and the first trust document.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay trust init --estate contoso --ca 5f3a…91 --approver anna --out trust
  backstay trust init --estate contoso --ca 5f3a…91 --approver anna --approver ben --need renew=2 --need policy=2 --out trust")]
pub struct Init {
    /// The estate.
    #[arg(long, value_name = "NAME")]
    estate: EstateName,

    /// SHA-256 fingerprint of the controller's CA, as `backstay init` printed it; repeat it for several.
    #[arg(long, value_name = "FINGERPRINT", required = true)]
    ca: Vec<Sha256>,

    /// A person who may approve; repeat it for several.
    #[arg(long, value_name = "NAME", required = true)]
    approver: Vec<Person>,

    /// How many persons a class of work needs: renew, create, front_end, policy, mode or resume. One, when not named.
    #[arg(long, value_name = "CLASS=N")]
    need: Vec<Need>,

    /// How many days the approvers' keys count.
    #[arg(long, value_name = "N", default_value_t = 730, value_parser = clap::value_parser!(u16).range(1..=3660))]
    days: u16,

    /// A folder for the keys and the document; made when it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Init {
    fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let persons: BTreeSet<&Person> = self.approver.iter().collect();
        self.possible(&persons)?;
        let out = |name: &str| self.out.join(name);
        let key_file = |person: &Person| out(&format!("{person}.key"));
        let paths: Vec<PathBuf> =
            persons.iter().map(|person| key_file(person)).chain([out("root.key"), out("trust.signed")]).collect();
        // Before anything is written: half a set of keys would be of no use.
        if let Some(existing) = paths.iter().find(|path| path.exists()) {
            return Err(Failure::new(Exit::Error, format!("{} exists, and no key is ever overwritten", existing.display()))
                .next("choose another folder with --out"));
        }
        std::fs::create_dir_all(&self.out).doing(|| format!("making folder {}", self.out.display()))?;

        let root = new_key(&out("root.key"))?;
        let mut keys = BTreeMap::new();
        for person in &persons {
            keys.insert((*person).clone(), new_key(&key_file(person))?.id());
        }
        let document = self.document(&root, keys, context.clock.now());
        let mut signed = SignedBytes::unsigned(document.to_bytes());
        root.sign(Kind::Trust, &mut signed).doing(|| "signing the trust document".to_owned())?;
        let verified = believed(&signed)?;
        files::write_new(&out("trust.signed"), signed.to_file_text().as_bytes())?;

        context.output.show(&TrustView::of(&verified))?;
        let folder = self.out.display();
        context
            .output
            .say(&format!("wrote {}", paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")));
        context.output.say("root.key makes and unmakes approvers: keep it offline, never on the controller; give each approver the own key and no other");
        context.output.say(&format!("next: backstay trust apply {folder}/trust.signed"));
        Ok(Exit::Ok)
    }

    fn possible(&self, persons: &BTreeSet<&Person>) -> Result<(), Failure> {
        let usage = |why: String| Err(Failure::new(Exit::Usage, "making the trust document").because(why));
        if persons.iter().any(|person| person.as_str() == "root") {
            return usage("expected a person's name, found root: that is the name of the root key's file".to_owned());
        }
        match self.need.iter().find(|need| need.persons as usize > persons.len()) {
            Some(Need { class, persons: need }) => usage(format!(
                "--need {}={need}: expected at most the number of approvers, found {need} of {}; nothing could ever be approved",
                class.as_str(),
                persons.len()
            )),
            None => Ok(()),
        }
    }

    fn document(&self, root: &SigningKey, keys: BTreeMap<Person, KeyId>, now: Timestamp) -> TrustDocument {
        let until = Span::days(self.days).after(now);
        let person =
            |key| PersonKeys { roles: [PersonRole::Approver].into(), keys: vec![PersonKey { key, kind: KeyKind::File, until }] };
        TrustDocument {
            estate: self.estate.clone(),
            version: 1,
            root: Root { threshold: 1, keys: [root.id()].into() },
            persons: keys.into_iter().map(|(name, key)| (name, person(key))).collect(),
            need: self.need.iter().map(|need| (need.class, need.persons)).collect(),
            browser: BTreeSet::new(),
            ca: self.ca.iter().copied().collect(),
        }
    }
}

/// A new key in a new file.
fn new_key(path: &Path) -> Result<SigningKey, Failure> {
    let doing = || format!("making {}", path.display());
    let key = SigningKey::generate().doing(doing)?;
    files::write_secret(path, key.to_file_text().doing(doing)?.as_bytes())?;
    Ok(key)
}

/// Shows a trust document.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay trust show
  backstay trust show trust/trust.signed")]
pub struct Show {
    /// A signed trust document; without it, the one in force is asked for.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Show {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let signed = match &self.file {
            Some(path) => files::signed(path)?,
            None => {
                let mut client = context.connection.connect().await?;
                in_force(&mut client).await?
            }
        };
        context.output.show(&TrustView::of(&believed(&signed)?))?;
        Ok(Exit::Ok)
    }
}

/// The trust document that a controller has in force.
pub(super) async fn in_force(client: &mut Client) -> Result<SignedBytes, Failure> {
    let doing = "asking for the trust document";
    let response = answer(doing, client.get_trust(GetTrustRequest {})).await?;
    let Some(signed) = response.trust else {
        return Err(Failure::new(Exit::NotFound, "no trust document is in force")
            .next("make one on a workstation with `backstay trust init`, then `backstay trust apply FILE`"));
    };
    SignedBytes::try_from(signed).doing(|| doing.to_owned())
}

/// Puts a trust document in force.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay trust apply trust/trust.signed")]
pub struct Apply {
    /// The signed trust document.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Apply {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let signed = files::signed(&self.file)?;
        let verified = believed(&signed)?;
        let mut client = context.connection.connect().await?;
        let doing = format!("putting trust version {} in force", verified.value.version);
        let request = ApplyTrustRequest { trust: Some(signed.into()), validate_only: self.dry_run.validate_only() };
        let response = answer(&doing, client.apply_trust(request)).await?;
        let applied = wire::id("ApplyTrustResponse.id", &response.id).doing(|| doing.clone())?;
        if applied != verified.id {
            return Err(Failure::new(Exit::Error, doing).because(format!("expected id {} back, found {applied}", verified.id)));
        }
        context.output.show(&TrustView::of(&verified))?;
        self.dry_run
            .say(context, "next: write a policy, `backstay policy check policy.toml`, and apply it with the approvers' keys");
        Ok(Exit::Ok)
    }
}

/// A document that at least its own root signed.
fn believed(signed: &SignedBytes) -> Result<Verified<TrustDocument>, Failure> {
    let doing = || "checking the trust document".to_owned();
    let verified = proto::signed::trust(signed).doing(doing)?;
    verified.value.self_signed(&verified.signers).doing(doing)?;
    Ok(verified)
}

/// `renew=2`
#[derive(Debug, Clone, Copy)]
struct Need {
    class: Class,
    persons: u32,
}

impl FromStr for Need {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('=').and_then(|(class, persons)| {
            Some(Self {
                class: Class::from_word(class)?,
                persons: persons.parse().ok().filter(|persons| (1..=100).contains(persons))?,
            })
        });
        parsed.ok_or_else(|| {
            "expected CLASS=N with renew, create, front_end, policy, mode or resume and 1 to 100 persons".to_owned()
        })
    }
}

/// A trust document, as it is printed.
#[derive(Debug, Serialize)]
pub struct TrustView {
    id: Sha256,
    root_fingerprint: Sha256,
    signers: BTreeSet<KeyId>,
    #[serde(flatten)]
    document: TrustDocument,
}

impl TrustView {
    fn of(verified: &Verified<TrustDocument>) -> Self {
        let Verified { value, id, signers } = verified;
        Self { id: *id, root_fingerprint: root_fingerprint(&value.root), signers: signers.clone(), document: value.clone() }
    }
}

impl View for TrustView {
    fn text(&self) -> String {
        let Self { id, root_fingerprint, signers, document } = self;
        let TrustDocument { estate, version, root: Root { threshold, keys }, persons, need, browser, ca } = document;
        let lines = |lines: Vec<String>, empty: &str| if lines.is_empty() { empty.to_owned() } else { lines.join("\n") };
        let root = keys.iter().map(|key| format!("{key}{}", if signers.contains(key) { ", signed this document" } else { "" }));
        let person = |(name, person): (&Person, &PersonKeys)| {
            let roles: Vec<&str> = person.roles.iter().map(|role| role.as_str()).collect();
            let keys = person.keys.iter().map(|PersonKey { key, kind, until }| {
                let kind = match kind {
                    KeyKind::File => "",
                    KeyKind::Browser => " of a browser",
                };
                format!("\n  {key}{kind} until {}", moment(*until))
            });
            format!("{name}: {}{}", roles.join(", "), keys.collect::<String>())
        };
        pairs([
            ("estate", estate.to_string()),
            ("version", version.to_string()),
            ("id", id.to_string()),
            ("root", format!("{root_fingerprint}, {threshold} of {} keys must sign", keys.len())),
            ("root keys", root.collect::<Vec<_>>().join("\n")),
            ("persons", lines(persons.iter().map(person).collect(), "none: nothing can be approved")),
            (
                "needed",
                lines(need.iter().map(|(class, need)| format!("{} {need}", class.as_str())).collect(), "1 for everything"),
            ),
            (
                "browsers",
                lines(
                    browser.iter().map(|class| format!("{}, for all but one of the persons needed", class.as_str())).collect(),
                    "their keys count for nothing",
                ),
            ),
            ("CA", lines(ca.iter().map(ToString::to_string).collect(), "none: no controller is believed")),
        ])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::connection::Connection;
    use crate::cli::output::{Format, tests::kept};
    use crate::clock::Clock;

    pub(in crate::cli) fn init(out: &Path, approvers: &[&str], need: &[&str]) -> Init {
        Init {
            estate: "contoso".parse().expect("a name"),
            ca: vec![Sha256([5; 32])],
            approver: approvers.iter().map(|name| name.parse().expect("a name")).collect(),
            need: need.iter().map(|need| need.parse().expect("a need")).collect(),
            days: 730,
            out: out.to_owned(),
        }
    }

    pub(in crate::cli) fn run(init: &Init) -> Result<String, Failure> {
        let (output, data, _) = kept(Format::Table);
        let connection = Connection::default();
        let clock = Clock::of(|| "2026-11-22T00:00:00Z".parse().expect("a moment"));
        init.run(&mut Context { connection, output, clock }).map(|_| data.text())
    }

    #[test]
    fn a_first_document_is_signed_by_its_own_root_and_names_every_approver() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("trust");
        let text = run(&init(&out, &["anna", "Ben"], &["renew=2"])).expect("made");
        assert!(text.contains("needed     renew 2\n") && text.contains("until 2028-11-21T00:00:00Z"), "{text}");
        let verified = believed(&files::signed(&out.join("trust.signed")).expect("there")).expect("believed");
        assert_eq!((verified.value.version, verified.value.need(Class::Renew), verified.value.need(Class::Policy)), (1, 2, 1));
        let root = files::key(&out.join("root.key")).expect("a key");
        assert_eq!(verified.signers, [root.id()].into());
        for person in ["anna", "ben"] {
            let key = files::key(&out.join(format!("{person}.key"))).expect("a key").id();
            let person = person.parse().expect("a name");
            assert_eq!(
                verified.value.approvers(&[key].into(), "2026-11-22T00:00:00Z".parse().expect("a moment")),
                [person].into()
            );
        }
    }

    #[test]
    fn nothing_is_written_where_one_file_is_in_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("anna.key"), "precious").expect("written");
        let failure = run(&init(folder.path(), &["anna"], &[])).expect_err("must not overwrite");
        assert!(failure.report().contains("anna.key exists"), "{}", failure.report());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_could_never_approve_anything_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for (approvers, need) in [(&["anna"][..], &["renew=2"][..]), (&["anna", "Anna"], &["policy=2"]), (&["root"], &[])] {
            let failure = run(&init(folder.path(), approvers, need)).expect_err("must be refused");
            assert_eq!(failure.exit(), Exit::Usage);
        }
        for wrong in ["renew", "renew=0", "renew=x", "everything=2", "renew=101"] {
            assert!(wrong.parse::<Need>().is_err(), "{wrong}");
        }
    }
}
