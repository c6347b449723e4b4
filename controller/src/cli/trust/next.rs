//! `backstay trust key|next|sign`: the trust document that follows the one in force (TRUST T2, T10). People come and go, keys are replaced, a
//! controller's CA and the root itself change: each by a document with the next version, signed by the root that is held.
//!
//! Everything here is done on workstations, without a controller; what comes of it is put in force by `backstay trust apply`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use policy::Timestamp;
use policy::duration::Span;
use policy::id::{KeyId, Person, Sha256};
use policy::trust::{Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, TrustDocument, Verified};
use proto::signed::{SignedBytes, SigningKey};
use serde::Serialize;

use super::{Need, TrustView, new_key};
use crate::cli::failure::{Doing, Exit, Failure};
use crate::cli::output::View;
use crate::cli::{Context, files};

/// Makes a key for a person, or another root key.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay trust key --out carl.key")]
pub struct Key {
    /// A new file for it, which only you may read.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Key {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let id = new_key(&self.out)?.id();
        context.output.show(&KeyView { key: id })?;
        context.output.say(&format!(
            "the key is in {}; what is printed is its public half: give that to whoever has the root key",
            self.out.display()
        ));
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
struct KeyView {
    key: KeyId,
}

impl View for KeyView {
    fn text(&self) -> String {
        format!("{}\n", self.key)
    }
}

/// Writes the next trust document.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay trust next --from trust.signed --admit carl=77d0…e1 --key root.key --out trust-2.signed
  backstay trust next --from trust.signed --remove ben --need renew=1 --key root.key --out trust-2.signed
  backstay trust next --from trust.signed --admit-browser ben=3b91…4c --browser renew --key root.key --out trust-2.signed
  backstay trust next --from trust.signed --ca 91af…02 --without-ca 5f3a…91 --key root.key --out trust-2.signed")]
pub struct Next {
    /// The signed trust document that is in force.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// An approver with the key that `backstay trust key` printed: a new person, or another key in place of those that the person has.
    #[arg(long, value_name = "NAME=KEY")]
    admit: Vec<Admitted>,

    /// The key of an approver's browser, as the page Access shows it, in place of those that the person's browsers have. It counts only for
    /// classes that --browser names.
    #[arg(long, value_name = "NAME=KEY")]
    admit_browser: Vec<Admitted>,

    /// A class of plans, renew, create or front_end, for which keys of browsers count: for all persons needed but one.
    #[arg(long, value_name = "CLASS", value_parser = class)]
    browser: Vec<Class>,

    /// A class for which keys of browsers count no longer.
    #[arg(long, value_name = "CLASS", value_parser = class)]
    without_browser: Vec<Class>,

    /// A person who may approve no longer.
    #[arg(long, value_name = "NAME")]
    remove: Vec<Person>,

    /// How many persons a class of work needs from here on.
    #[arg(long, value_name = "CLASS=N")]
    need: Vec<Need>,

    /// Another CA whose controllers are believed.
    #[arg(long, value_name = "FINGERPRINT")]
    ca: Vec<Sha256>,

    /// A CA whose controllers are believed no longer.
    #[arg(long, value_name = "FINGERPRINT")]
    without_ca: Vec<Sha256>,

    /// Another root key. It must sign, too.
    #[arg(long, value_name = "KEY")]
    root: Vec<KeyId>,

    /// A root key that counts no longer.
    #[arg(long, value_name = "KEY")]
    without_root: Vec<KeyId>,

    /// How many root keys must sign what follows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    threshold: Option<u32>,

    /// How many days keys that are admitted count.
    #[arg(long, value_name = "N", default_value_t = 730, value_parser = clap::value_parser!(u16).range(1..=3660))]
    days: u16,

    /// A root key to sign with; repeat it for several.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,

    /// A new file for the document.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Next {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let held = super::believed(&files::signed(&self.from)?)?;
        let keys = self.key.iter().map(|path| files::key(path)).collect::<Result<Vec<_>, _>>()?;
        let document = self.document(&held.value, context.clock.now())?;
        let mut signed = SignedBytes::unsigned(document.to_bytes());
        sign(&keys, &held.value, &document, &mut signed)?;
        files::write_new(&self.out, signed.to_file_text().as_bytes())?;
        told(context, &held, &signed, &self.out)
    }

    /// What follows `held`; refused where it could never approve anything.
    fn document(&self, held: &TrustDocument, now: Timestamp) -> Result<TrustDocument, Failure> {
        let wrong = |why: String| Failure::new(Exit::Usage, "making the next trust document").because(why);
        let mut next = TrustDocument { version: held.version + 1, ..held.clone() };
        for name in &self.remove {
            next.persons
                .remove(name)
                .ok_or_else(|| wrong(format!("--remove {name}: expected a person of version {}, found none", held.version)))?;
        }
        let until = Span::days(self.days).after(now);
        for Admitted { person, key } in &self.admit {
            let keys = vec![PersonKey { key: *key, kind: KeyKind::File, until }];
            let known = next.persons.get(person).map(|known| known.roles.clone()).unwrap_or_default();
            let roles: BTreeSet<PersonRole> = known.into_iter().chain([PersonRole::Approver]).collect();
            next.persons.insert(person.clone(), PersonKeys { roles, keys });
        }
        for Admitted { person, .. } in &self.admit_browser {
            let known = next.persons.get_mut(person).filter(|known| known.roles.contains(&PersonRole::Approver));
            let known =
                known.ok_or_else(|| wrong(format!("--admit-browser {person}: expected an approver, found none of that name")))?;
            known.keys.retain(|key| key.kind != KeyKind::Browser);
        }
        for Admitted { person, key } in &self.admit_browser {
            let key = PersonKey { key: *key, kind: KeyKind::Browser, until };
            next.persons.entry(person.clone()).and_modify(|known| known.keys.push(key));
        }
        for class in &self.without_browser {
            if !next.browser.remove(class) {
                let class = class.as_str();
                return Err(wrong(format!(
                    "--without-browser {class}: expected a class of version {}, found none",
                    held.version
                )));
            }
        }
        next.browser.extend(&self.browser);
        next.need.extend(self.need.iter().map(|need| (need.class, need.persons)));
        for ca in &self.without_ca {
            if !next.ca.remove(ca) {
                return Err(wrong(format!("--without-ca {}: expected a CA of version {}, found none", ca.short(), held.version)));
            }
        }
        next.ca.extend(&self.ca);
        for key in &self.without_root {
            if !next.root.keys.remove(key) {
                return Err(wrong(format!("--without-root {key}: expected a root key of version {}, found none", held.version)));
            }
        }
        next.root.keys.extend(&self.root);
        next.root.threshold = self.threshold.unwrap_or(next.root.threshold);
        if next == (TrustDocument { version: next.version, ..held.clone() }) {
            return Err(wrong("expected something to change, found nothing".to_owned()));
        }
        if next.ca.is_empty() {
            return Err(wrong(
                "expected a CA whose controllers are believed, found none: no agent could ever be reached again".to_owned(),
            ));
        }
        let everybody = next.persons.values().flat_map(|person| person.keys.iter().map(|key| key.key)).collect();
        let approvers = next.approvers(&everybody, now).len();
        let most = next.need.iter().max_by_key(|(_, need)| **need).map_or((None, 1), |(class, need)| (Some(*class), *need));
        if approvers < most.1 as usize {
            let class = most.0.map_or("everything", Class::as_str);
            return Err(wrong(format!(
                "{class} needs {} approver(s): expected as many whose key counts, found {approvers}",
                most.1
            )));
        }
        TrustDocument::from_bytes(&next.to_bytes()).doing(|| "checking the next trust document".to_owned())
    }
}

/// Signs a trust document with another root key.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay trust sign trust-2.signed --from trust.signed --key second-root.key --out trust-2-whole.signed")]
pub struct Sign {
    /// The document.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The signed trust document that is in force.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// A root key to sign with; repeat it for several.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,

    /// A new file for the document with this signature, too.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Sign {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let held = super::believed(&files::signed(&self.from)?)?;
        let mut signed = files::signed(&self.file)?;
        let document = proto::signed::trust(&signed).doing(|| format!("checking {}", self.file.display()))?.value;
        let keys = self.key.iter().map(|path| files::key(path)).collect::<Result<Vec<_>, _>>()?;
        sign(&keys, &held.value, &document, &mut signed)?;
        files::write_new(&self.out, signed.to_file_text().as_bytes())?;
        told(context, &held, &signed, &self.out)
    }
}

/// Adds signatures of root keys, of the version held or of the next; any other would count for nothing.
fn sign(keys: &[SigningKey], held: &TrustDocument, next: &TrustDocument, signed: &mut SignedBytes) -> Result<(), Failure> {
    for key in keys {
        let id = key.id();
        if !held.root.keys.contains(&id) && !next.root.keys.contains(&id) {
            return Err(Failure::new(Exit::Denied, "signing the trust document")
                .because(format!("expected a root key of version {} or {}, found {id}", held.version, next.version))
                .next("is it the right file? `backstay trust show FILE` lists the root keys"));
        }
        key.sign(Kind::Trust, signed).doing(|| "signing the trust document".to_owned())?;
    }
    Ok(())
}

/// Shows the document, and whose signature it still needs.
fn told(
    context: &mut Context,
    held: &Verified<TrustDocument>,
    signed: &SignedBytes,
    file: &std::path::Path,
) -> Result<Exit, Failure> {
    let next = proto::signed::trust(signed).doing(|| "checking the trust document".to_owned())?;
    context.output.show(&TrustView::of(&next))?;
    let file = file.display();
    context.output.say(&match held.value.admits_successor(&next) {
        Ok(()) => format!("next: backstay trust apply {file}"),
        Err(error) => format!(
            "not enough yet: {error}; another root key signs it: backstay trust sign {file} --from IN_FORCE --key FILE --out FILE"
        ),
    });
    Ok(Exit::Ok)
}

fn class(word: &str) -> Result<Class, String> {
    Class::from_word(word).filter(|class| class.of_plans()).ok_or_else(|| "expected renew, create or front_end".to_owned())
}

/// `anna=77d0…`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Admitted {
    person: Person,
    key: KeyId,
}

impl FromStr for Admitted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once('=').and_then(|(person, key)| Some(Self { person: person.parse().ok()?, key: key.parse().ok()? }));
        parsed.ok_or_else(|| "expected NAME=KEY, with the key as `backstay trust key` prints it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connection::Connection;
    use crate::cli::output::{Format, tests::kept};
    use crate::cli::trust::tests::{init, run};
    use crate::clock::Clock;

    fn now() -> Timestamp {
        "2026-11-26T00:00:00Z".parse().expect("a moment")
    }

    /// A folder with a first document in which anna and ben approve, and the keys.
    fn desk() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        run(&init(&folder.path().join("trust"), &["anna", "ben"], &["renew=2"])).expect("made");
        folder
    }

    fn next(folder: &tempfile::TempDir) -> Next {
        let trust = folder.path().join("trust");
        Next {
            from: trust.join("trust.signed"),
            admit: Vec::new(),
            admit_browser: Vec::new(),
            browser: Vec::new(),
            without_browser: Vec::new(),
            remove: Vec::new(),
            need: Vec::new(),
            ca: Vec::new(),
            without_ca: Vec::new(),
            root: Vec::new(),
            without_root: Vec::new(),
            threshold: None,
            days: 730,
            key: vec![trust.join("root.key")],
            out: folder.path().join("next.signed"),
        }
    }

    fn carried_out(run: impl FnOnce(&mut Context) -> Result<Exit, Failure>) -> Result<String, Failure> {
        let (output, _, talk) = kept(Format::Table);
        let connection = Connection::default();
        run(&mut Context { connection, output, clock: Clock::of(now) }).map(|_| talk.text())
    }

    fn key(folder: &tempfile::TempDir, name: &str) -> KeyId {
        let out = folder.path().join(name);
        carried_out(|context| Key { out: out.clone() }.run(context)).expect("made");
        files::key(&out).expect("a key").id()
    }

    fn held(path: &std::path::Path) -> Verified<TrustDocument> {
        proto::signed::trust(&files::signed(path).expect("there")).expect("reads")
    }

    #[test]
    fn a_person_comes_another_goes_and_a_key_is_replaced_by_documents_that_agents_take() {
        let folder = desk();
        let (carl, anew) = (key(&folder, "carl.key"), key(&folder, "anna-2.key"));
        let old = files::key(&folder.path().join("trust/anna.key")).expect("a key").id();
        let admit = |text: String| text.parse::<Admitted>().expect("NAME=KEY");
        let step = Next {
            admit: vec![admit(format!("carl={carl}")), admit(format!("anna={anew}"))],
            remove: vec!["ben".parse().expect("a name")],
            ..next(&folder)
        };
        let said = carried_out(|context| step.run(context)).expect("made");
        assert!(said.contains("backstay trust apply"), "{said}");
        let (first, second) = (held(&step.from), held(&step.out));
        first.value.admits_successor(&second).expect("agents take it");
        assert_eq!((second.value.version, second.value.need(Class::Renew)), (2, 2));
        let approvers = |keys: &[KeyId]| second.value.approvers(&keys.iter().copied().collect(), now()).len();
        assert_eq!((approvers(&[carl, anew]), approvers(&[old])), (2, 0));
        assert!(
            carried_out(|context| step.run(context)).expect_err("the file is there").report().contains("nothing is overwritten")
        );
    }

    #[test]
    fn keys_of_browsers_come_beside_those_in_files_for_classes_that_the_root_names() {
        let folder = desk();
        let admit = |text: String| text.parse::<Admitted>().expect("NAME=KEY");
        let (one, two) = (KeyId([1; 32]), KeyId([2; 32]));
        let step = Next { admit_browser: vec![admit(format!("ben={one}"))], browser: vec![Class::Renew], ..next(&folder) };
        carried_out(|context| step.run(context)).expect("made");
        let second = held(&step.out);
        let ben: Person = "ben".parse().expect("a name");
        assert_eq!(second.value.browser, [Class::Renew].into());
        assert_eq!(second.value.signed_as(&ben, &[one].into(), now()), Some(KeyKind::Browser));
        assert_eq!(second.value.approvers(&[one].into(), now()).len(), 0, "counted nowhere else");
        // Another browser takes the place of the first; the file stays.
        let other = Next {
            from: step.out.clone(),
            admit_browser: vec![admit(format!("ben={two}"))],
            out: folder.path().join("third.signed"),
            ..next(&folder)
        };
        carried_out(|context| other.run(context)).expect("made");
        let keys = held(&other.out).value.persons[&ben].keys.iter().map(|key| key.kind).collect::<Vec<_>>();
        assert_eq!(keys, [KeyKind::File, KeyKind::Browser]);
        for wrong in [
            // Nobody, or nobody who approves.
            Next { admit_browser: vec![admit(format!("carl={one}"))], ..next(&folder) },
            Next { without_browser: vec![Class::Renew], ..next(&folder) },
        ] {
            let failure = carried_out(|context| Next { out: folder.path().join("x"), ..wrong }.run(context));
            assert_eq!(failure.expect_err("must be refused").exit(), Exit::Usage);
        }
        // One of one cannot be all but one.
        for need in ["renew=1", "create=1"] {
            let alone = Next {
                from: step.out.clone(),
                need: vec![need.parse().expect("a need")],
                browser: vec![Class::Create],
                out: folder.path().join("x"),
                ..next(&folder)
            };
            let failure = carried_out(|context| alone.run(context)).expect_err("must be refused");
            assert!(failure.report().contains("all but one may sign in a browser"), "{}", failure.report());
        }
        assert!(class("policy").is_err() && class("renew").is_ok());
    }

    #[test]
    fn another_root_signs_too_and_with_a_threshold_of_two_both_are_asked() {
        let folder = desk();
        let second = key(&folder, "second.key");
        let both = vec![folder.path().join("trust/root.key"), folder.path().join("second.key")];
        let two = Next { root: vec![second], threshold: Some(2), ..next(&folder) };
        let said = carried_out(|context| two.run(context)).expect("written");
        assert!(said.contains("not enough yet"), "{said}");
        let whole = folder.path().join("whole.signed");
        let sign = Sign { file: two.out.clone(), from: two.from.clone(), key: vec![both[1].clone()], out: whole.clone() };
        assert!(carried_out(|context| sign.run(context)).expect("signed").contains("trust apply"));
        held(&two.from).value.admits_successor(&held(&whole)).expect("agents take it");
        // From here on one is not enough.
        let third = Next {
            from: whole,
            need: vec!["renew=1".parse().expect("a need")],
            out: folder.path().join("third.signed"),
            ..next(&folder)
        };
        assert!(carried_out(|context| third.run(context)).expect("written").contains("not enough yet"));
        let third = Next { key: both, out: folder.path().join("third-whole.signed"), ..third };
        assert!(carried_out(|context| third.run(context)).expect("written").contains("trust apply"));
        let stranger = Sign { key: vec![folder.path().join("trust/anna.key")], out: folder.path().join("x"), ..sign };
        assert_eq!(carried_out(|context| stranger.run(context)).expect_err("no root").exit(), Exit::Denied);
        assert!(!folder.path().join("x").exists());
    }

    #[test]
    fn what_would_leave_the_estate_without_people_or_controllers_is_refused_and_nothing_is_written() {
        let folder = desk();
        let ca = Sha256([5; 32]);
        for wrong in [
            next(&folder),
            Next { remove: vec!["ben".parse().expect("a name")], ..next(&folder) },
            Next { remove: vec!["carl".parse().expect("a name")], ..next(&folder) },
            Next { need: vec!["resume=3".parse().expect("a need")], ..next(&folder) },
            Next { without_ca: vec![ca], ..next(&folder) },
            Next { without_ca: vec![Sha256([6; 32])], ca: vec![Sha256([7; 32])], ..next(&folder) },
            Next { without_root: vec![KeyId([9; 32])], ..next(&folder) },
        ] {
            let failure = carried_out(|context| wrong.run(context)).expect_err("must be refused");
            assert_eq!(failure.exit(), Exit::Usage, "{}", failure.report());
            assert!(!wrong.out.exists());
        }
        let none = Next { threshold: Some(2), ..next(&folder) };
        assert!(carried_out(|context| none.run(context)).is_err(), "two of one key");
        let replaced = Next { without_ca: vec![ca], ca: vec![Sha256([7; 32])], ..next(&folder) };
        assert!(carried_out(|context| replaced.run(context)).is_ok());
    }
}
