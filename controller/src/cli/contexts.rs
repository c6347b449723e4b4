//! `backstay context list|set|use|remove`: names for the controllers that an operator works with, and what is asked for each.
//!
//! One small TOML file of the person who works here. Nothing in it is a secret: it says where the operator's bundle lies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use proto::names::Address;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::failure::{Doing, Exit, Failure};
use super::output::{View, table};
use super::{Context, files};

/// The most contexts of one file.
const MAX_CONTEXTS: usize = 1000;

/// The largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// The name of a context: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected 1 to 64 letters, digits, '-', '_' and '.', found {0:?}")]
pub struct InvalidName(String);

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits =
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidName(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// The contexts of one person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that counts when none is named.
    current: Option<Name>,
    #[serde(default, rename = "context")]
    contexts: BTreeMap<Name, Known>,
}

/// A controller that has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its port for operators; the default where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Address>,
    /// The operator's bundle for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
}

impl Contexts {
    /// Reads a file; where there is none, there are no contexts.
    ///
    /// # Errors
    /// [`Failure`] with the place of what is wrong.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let doing = || format!("reading {} as contexts", path.display());
        let bytes = match files::read(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(failure) if failure.exit() == Exit::NotFound => return Ok(Self::default()),
            Err(failure) => return Err(failure),
        };
        let contexts: Self = toml::from_str(str::from_utf8(&bytes).doing(doing)?).doing(doing)?;
        let found = contexts.contexts.len();
        if found > MAX_CONTEXTS {
            return Err(
                Failure::new(Exit::Error, doing()).because(format!("expected at most {MAX_CONTEXTS} contexts, found {found}"))
            );
        }
        Ok(contexts)
    }

    /// The context of this name; without a name the current one, if there is one.
    ///
    /// # Errors
    /// [`Failure`] when there is none of this name.
    pub fn known(&self, name: Option<&Name>) -> Result<Option<(&Name, &Known)>, Failure> {
        let Some(name) = name.or(self.current.as_ref()) else { return Ok(None) };
        let found = self.contexts.get_key_value(name);
        found.map(Some).ok_or_else(|| {
            let known = self.contexts.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there are none".to_owned() } else { format!("known are {known}") };
            Failure::new(Exit::NotFound, format!("there is no context {name}"))
                .because(known)
                .next(format!("backstay context set {name} --controller HOST:PORT --identity FILE"))
        })
    }

    /// In the place of what was there, whole or not at all.
    fn write(&self, path: &Path) -> Result<(), Failure> {
        let doing = || format!("writing {}", path.display());
        let text = toml::to_string(self).doing(doing)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).doing(doing)?;
        let new = path.with_extension("toml.new");
        fs::write(&new, text).doing(doing)?;
        fs::rename(&new, path).doing(doing)
    }
}

/// What the environment of this process says.
#[expect(clippy::disallowed_methods, reason = "clap reads it before it is known whether a context was named on the line")]
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Where this person's contexts lie.
///
/// # Errors
/// [`Failure`] when nothing tells where this person's files are.
pub fn path(environment: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Failure> {
    let named = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = || {
        if cfg!(windows) {
            named("APPDATA").map(|folder| folder.join("Backstay"))
        } else {
            let home = || named("HOME").map(|home| home.join(".config"));
            named("XDG_CONFIG_HOME").or_else(home).map(|folder| folder.join("backstay"))
        }
    };
    named("BACKSTAY_CONTEXTS").or_else(|| folder().map(|folder| folder.join("contexts.toml"))).ok_or_else(|| {
        Failure::new(Exit::Error, "looking for your contexts")
            .because("neither BACKSTAY_CONTEXTS nor your home folder is set")
            .next("set BACKSTAY_CONTEXTS to a file, or name --controller and --identity")
    })
}

/// Names for the controllers you work with.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The names, a line each; the current one is marked.
    List(List),
    /// Gives a controller a name, or another address or bundle to a name.
    Set(Set),
    /// Makes a context the current one.
    Use(Use),
    /// Forgets a name.
    Remove(Remove),
}

impl Command {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let path = path(environment)?;
        self.change(&path, context)
    }

    fn change(&self, path: &Path, context: &mut Context) -> Result<Exit, Failure> {
        let mut contexts = Contexts::read(path)?;
        match self {
            Self::List(List {}) => {
                context.output.show(&ContextList::of(&contexts))?;
                return Ok(Exit::Ok);
            }
            Self::Set(Set { name }) => {
                let (controller, identity) = (context.connection.controller.clone(), context.connection.identity.clone());
                if controller.is_none() && identity.is_none() {
                    return Err(Failure::new(Exit::Usage, format!("nothing to set for context {name}"))
                        .next(format!("backstay context set {name} --controller HOST:PORT --identity FILE")));
                }
                let known = contexts.contexts.entry(name.clone()).or_default();
                known.controller = controller.or(known.controller.take());
                // Commands are run in other folders, too.
                let identity = identity.map(|file| std::path::absolute(&file).unwrap_or(file));
                known.identity = identity.or(known.identity.take());
                contexts.current.get_or_insert_with(|| name.clone());
            }
            Self::Use(Use { name }) => {
                contexts.known(Some(name))?;
                contexts.current = Some(name.clone());
            }
            Self::Remove(Remove { name }) => {
                contexts.known(Some(name))?;
                contexts.contexts.remove(name);
                contexts.current.take_if(|current| current == name);
            }
        }
        contexts.write(path)?;
        context.output.show(&ContextList::of(&contexts))?;
        Ok(Exit::Ok)
    }
}

/// Lists the contexts.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay context list
  backstay context list -o json")]
pub struct List {}

/// Names a controller. The first that is named is the current one.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay context set contoso --controller backstay.contoso.com:7445 --identity contoso.pem
  backstay context set contoso --controller 10.0.0.7:7445      the bundle stays as it is")]
pub struct Set {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: Name,
}

/// Makes a context the current one.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay context use contoso
  backstay --context fabrikam status                  another one, this time only")]
pub struct Use {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: Name,
}

/// Forgets a context; the bundle that it names stays.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay context remove fabrikam")]
pub struct Remove {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: Name,
}

#[derive(Serialize)]
#[serde(transparent)]
struct ContextList(Vec<ContextRow>);

#[derive(Serialize)]
struct ContextRow {
    name: Name,
    current: bool,
    controller: Option<Address>,
    identity: Option<PathBuf>,
}

impl ContextList {
    fn of(contexts: &Contexts) -> Self {
        let Contexts { current, contexts } = contexts;
        let row = |(name, known): (&Name, &Known)| {
            let Known { controller, identity } = known.clone();
            ContextRow { name: name.clone(), current: current.as_ref() == Some(name), controller, identity }
        };
        Self(contexts.iter().map(row).collect())
    }
}

impl View for ContextList {
    fn text(&self) -> String {
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table(
            ["CONTEXT", "CURRENT", "CONTROLLER", "IDENTITY"],
            self.0.iter().map(|ContextRow { name, current, controller, identity }| {
                [
                    name.to_string(),
                    (if *current { "*" } else { "" }).to_owned(),
                    dash(controller.as_ref().map(ToString::to_string)),
                    dash(identity.as_ref().map(|file| file.display().to_string())),
                ]
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connection::Connection;
    use crate::cli::output::Format;
    use crate::cli::output::tests::kept;
    use crate::clock::Clock;

    fn run(path: &Path, command: &Command, connection: Connection) -> Result<String, Failure> {
        let (output, data, _) = kept(Format::Table);
        let clock = Clock::of(|| "2026-11-22T00:00:00Z".parse().expect("a moment"));
        command.change(path, &mut Context { connection, output, clock })?;
        Ok(data.text())
    }

    fn name(name: &str) -> Name {
        name.parse().expect("a name")
    }

    fn set(path: &Path, of: &str, controller: Option<&str>, identity: Option<&str>) -> Result<String, Failure> {
        let controller = controller.map(|address| address.parse().expect("an address"));
        let connection = Connection { controller, identity: identity.map(PathBuf::from), context: None };
        run(path, &Command::Set(Set { name: name(of) }), connection)
    }

    #[test]
    fn names_are_given_used_changed_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deeper/contexts.toml");
        let nothing = Connection::default;
        assert_eq!(run(&path, &Command::List(List {}), nothing()).expect("listed").lines().count(), 1, "a header");
        let bundle = if cfg!(windows) { r"C:\keys\contoso.pem" } else { "/keys/contoso.pem" };
        set(&path, "contoso", Some("ctl.contoso.test:7445"), Some(bundle)).expect("set");
        set(&path, "fabrikam", Some("10.0.0.7:7445"), None).expect("set");
        let text = set(&path, "contoso", Some("10.0.0.1:7445"), None).expect("changed");
        let cells: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells, [vec!["contoso", "*", "10.0.0.1:7445", bundle], vec!["fabrikam", "10.0.0.7:7445", "-"]]);

        run(&path, &Command::Use(Use { name: name("fabrikam") }), nothing()).expect("used");
        let contexts = Contexts::read(&path).expect("reads");
        let (current, known) = contexts.known(None).expect("is there").expect("one is current");
        assert_eq!((current, known.controller.as_ref().map(Address::as_str)), (&name("fabrikam"), Some("10.0.0.7:7445")));
        assert_eq!(
            contexts.known(Some(&name("contoso"))).expect("there").expect("there").1.identity.as_deref(),
            Some(Path::new(bundle))
        );
        run(&path, &Command::Remove(Remove { name: name("fabrikam") }), nothing()).expect("removed");
        assert_eq!(Contexts::read(&path).expect("reads").known(None).expect("reads"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("contexts.toml");
        assert_eq!(set(&path, "contoso", None, None).expect_err("nothing").exit(), Exit::Usage);
        let missing = Command::Use(Use { name: name("fabrikam") });
        let failure = run(&path, &missing, Connection::default()).expect_err("is not there");
        assert_eq!(failure.exit(), Exit::NotFound);
        assert!(!path.exists());
        for wrong in ["", "a b", "ä", &"x".repeat(65)] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
        for (text, place) in [
            ("current = \"contoso\"\nother = 1\n", "line 2"),
            ("[context.contoso]\ncontroller = \"nowhere\"\n", "line 2"),
            ("[context.\"a b\"]\n", "line 1"),
            ("[context", "line 1"),
        ] {
            fs::write(&path, text).expect("written");
            let report = set(&path, "contoso", Some("10.0.0.1:7445"), None).expect_err("refused").report();
            assert!(report.contains("contexts.toml") && report.contains(place), "{report}");
            assert_eq!(fs::read_to_string(&path).expect("reads"), text);
        }
    }

    #[test]
    fn the_file_is_where_the_environment_says() {
        let of = |known: &[(&str, &str)]| {
            let known: BTreeMap<String, OsString> = known.iter().map(|(key, value)| ((*key).to_owned(), value.into())).collect();
            path(move |name| known.get(name).cloned()).map_err(|failure| failure.report())
        };
        assert_eq!(of(&[("BACKSTAY_CONTEXTS", "x.toml"), ("HOME", "/h"), ("APPDATA", "/h")]), Ok(PathBuf::from("x.toml")));
        if cfg!(windows) {
            assert_eq!(of(&[("APPDATA", r"C:\u")]), Ok(PathBuf::from(r"C:\u\Backstay\contexts.toml")));
        } else {
            assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "")]), Ok(PathBuf::from("/h/.config/backstay/contexts.toml")));
            assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Ok(PathBuf::from("/x/backstay/contexts.toml")));
        }
        assert!(of(&[]).expect_err("nothing is set").contains("BACKSTAY_CONTEXTS"));
    }
}
