//! `backstay assess PATH...`: judges servers from exported files, before anything is installed anywhere.
//!
//! A folder holds the exports of one server; files that are named one by one belong together. What the exports do not show
//! stays unknown and is said; above all, no export proves that a private key can be used.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use policy::Timestamp;
use policy::document::Policy;
use policy::finding::Severity;
use policy::id::{EstateName, ServerName};
use recorded::{AssembleError, Export};
use serde::Serialize;

use self::view::AssessmentView;
use super::Context;
use super::failure::{Doing, Exit, Failure, chain};
use super::files;
use super::output::View;

mod view;

/// The largest file that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The most bytes of all exports of one server.
const MAX_TOTAL: u64 = 512 * 1024 * 1024;

/// The most files of one folder.
const MAX_FILES: usize = 1000;

/// Judges servers from exported files.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay assess exports/EX1                       a folder with the exports of one server
  backstay assess exports/EX1 exports/EX2 -o json   a folder for each
  backstay assess sslcert.txt certificates.xml      files of one server
  backstay assess exports/EX1 --as-of 2027-06-01    what would be said on that day

On the server:
  Get-ExchangeCertificate -Server $env:COMPUTERNAME | Export-Clixml certificates.xml
  Get-ExchangeServer $env:COMPUTERNAME | Export-Clixml server.xml
  Get-WebBinding | Export-Clixml bindings.xml
  Test-ServiceHealth | Export-Clixml services.xml
  netsh http show sslcert > sslcert.txt
  copy %windir%\\System32\\inetsrv\\config\\applicationHost.config .")]
pub struct Assess {
    /// Folders with exports, one per server; or files of one server.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// Judge as of this day or moment, as 2026-11-22 or 2026-11-22T10:00:00Z; now, when not given.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    as_of: Option<Timestamp>,

    /// Which server, where the exports name several.
    #[arg(long, value_name = "NAME")]
    server: Option<ServerName>,
}

impl Assess {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let now = self.as_of.unwrap_or_else(|| context.clock.now());
        let mut views = Vec::new();
        let mut failures = Vec::new();
        for group in self.groups() {
            match self.judge(&group, now) {
                Ok(view) => views.push(view),
                Err(failure) => failures.push(failure),
            }
        }
        // One server that cannot be read does not hide the others, and is said last, where it is seen.
        let found = views.iter().any(AssessmentView::wants_attention);
        if !views.is_empty() {
            context.output.show(&Assessments(views))?;
        }
        match failures.pop() {
            None => Ok(if found { Exit::Findings } else { Exit::Ok }),
            Some(last) => {
                for failure in &failures {
                    context.output.say(&failure.report());
                }
                Err(last)
            }
        }
    }

    /// Each folder by itself, and all plain files together.
    fn groups(&self) -> Vec<Group<'_>> {
        let (folders, files): (Vec<&Path>, Vec<&Path>) = self.paths.iter().map(PathBuf::as_path).partition(|path| path.is_dir());
        let together = (!files.is_empty()).then_some(Group::Files(files));
        folders.into_iter().map(Group::Folder).chain(together).collect()
    }

    fn judge(&self, group: &Group<'_>, now: Timestamp) -> Result<AssessmentView, Failure> {
        let exports = group.exports()?;
        let doing = || format!("assessing {}", group.name());
        let assembly = recorded::assemble(&exports, self.server.as_ref()).map_err(|error| unassembled(doing(), error))?;
        let estate: EstateName = "assessment".parse().doing(doing)?;
        Ok(AssessmentView::of(group.name(), now, &Policy::none_yet(estate), assembly))
    }
}

/// Files of one server.
enum Group<'a> {
    Folder(&'a Path),
    Files(Vec<&'a Path>),
}

impl Group<'_> {
    fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Files(paths) => paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        }
    }

    /// What a file is called in the answer.
    fn label(&self, path: &Path) -> String {
        match (self, path.file_name()) {
            (Self::Folder(_), Some(name)) => name.to_string_lossy().into_owned(),
            (Self::Folder(_), None) | (Self::Files(_), _) => path.display().to_string(),
        }
    }

    fn exports(&self) -> Result<Vec<Export>, Failure> {
        let paths: Vec<PathBuf> = match self {
            Self::Folder(folder) => listed(folder)?,
            Self::Files(paths) => paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        if paths.len() > MAX_FILES {
            return Err(too_many(&self.name()));
        }
        let mut left = MAX_TOTAL;
        let mut exports = Vec::new();
        for path in paths {
            let bytes = files::read(&path, MAX_FILE.min(left))?;
            left = left.saturating_sub(bytes.len() as u64);
            exports.push(Export { name: self.label(&path), bytes });
        }
        Ok(exports)
    }
}

/// The files of a folder by name; what is in folders below it belongs to somebody else.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let doing = || format!("reading folder {}", folder.display());
    let mut names: Vec<OsString> = Vec::new();
    for entry in std::fs::read_dir(folder).doing(doing)? {
        let entry = entry.doing(doing)?;
        if entry.path().is_file() {
            names.push(entry.file_name());
        }
        if names.len() > MAX_FILES {
            return Err(too_many(&folder.display().to_string()));
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn too_many(name: &str) -> Failure {
    Failure::new(Exit::Error, format!("reading {name}"))
        .because(format!("expected at most {MAX_FILES} files of one server, found more"))
        .next("put the exports of each server into a folder of its own")
}

fn unassembled(doing: String, error: AssembleError) -> Failure {
    let unread = match &error {
        AssembleError::NothingRead(unread) => unread.iter().map(|unread| chain(unread).join(": ")).collect(),
        AssembleError::NoExports | AssembleError::Server(_) => Vec::new(),
    };
    let next = match &error {
        AssembleError::NoExports | AssembleError::NothingRead(_) => "`backstay assess --help` shows the commands that export",
        AssembleError::Server(_) => "name the server: --server NAME",
    };
    let failure = Failure::new(Exit::Error, doing).next(next);
    if unread.is_empty() { failure.because(error) } else { failure.because(format!("{error}\n{}", unread.join("\n"))) }
}

/// A day, from its first moment in UTC, or a moment.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let day = text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    day.map(|day| day.timestamp()).ok_or_else(|| "expected 2026-11-22 or 2026-11-22T10:00:00Z".to_owned())
}

#[derive(Serialize)]
#[serde(transparent)]
struct Assessments(Vec<AssessmentView>);

impl View for Assessments {
    fn text(&self) -> String {
        self.0.iter().map(View::text).collect::<Vec<_>>().join("\n")
    }
}

/// Somebody should look.
fn serious(severity: Severity) -> bool {
    match severity {
        Severity::Note => false,
        Severity::Warning | Severity::Page => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connection::Connection;
    use crate::cli::output::{Format, tests::kept};
    use crate::clock::Clock;

    fn run(paths: &[&Path], format: Format, as_of: &str) -> (Result<Exit, Failure>, String) {
        let (output, data, _) = kept(format);
        let connection = Connection { controller: "127.0.0.1:1".parse().expect("an address"), identity: PathBuf::new() };
        let mut context = Context { connection, output, clock: Clock::of(|| Timestamp::UNIX_EPOCH) };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let assess = Assess { paths, as_of: Some(moment(as_of).expect("a day")), server: None };
        (assess.run(&mut context), data.text())
    }

    /// The exports of a real Exchange 2016 server, which are not part of this repository.
    fn real() -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/recorded-hosts/EX16-lab");
        if folder.is_dir() {
            return Some(folder);
        }
        eprintln!("skipped: {} is not there", folder.display());
        None
    }

    #[test]
    fn a_real_server_is_judged_by_the_certificate_that_its_binding_names() {
        let Some(folder) = real() else { return };
        let files =
            ["GetExchangeCertificate.xml", "GetExchangeServer.xml", "applicationHost.config"].map(|name| folder.join(name));
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let (exit, text) = run(&paths, Format::Table, "2026-11-22");
        assert_eq!(exit.expect("judged"), Exit::Findings);
        for line in [
            "server      SOLO-E16A, full name Solo-E16A.Solo.local",
            "verdict     expired",
            "found by    binding *:444: of IIS site \"Exchange Back End\"; record 0.0.0.0:444 names 823884A32609DCDC8C4B5462952586C30D814073 in MY",
            "thumbprint  823884A32609DCDC8C4B5462952586C30D814073",
            "subject     CN=Solo-E16A",
            "names       Solo-E16A, Solo-E16A.Solo.local",
            "valid       2018-11-24T00:32:37Z to 2023-11-24T00:32:37Z",
            "key         RSA 2048",
            "signature   sha1RSA",
            "BST202 the back-end certificate has expired (page)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} not in\n{text}");
        }
        for what in ["Auth certificate of the organisation", "WMSVC: web management"] {
            assert!(text.contains(what), "{what:?} not in\n{text}");
        }
    }

    #[test]
    fn the_same_exports_are_judged_as_of_the_day_that_is_asked_for() {
        let Some(folder) = real() else { return };
        let certificates = folder.join("GetExchangeCertificate.xml");
        for (day, code) in [("2023-10-01", "BST201"), ("2023-11-25", "BST202")] {
            let (_, text) = run(&[&certificates], Format::Table, day);
            assert!(text.contains(code), "{code} not in\n{text}");
        }
        let (_, text) = run(&[&certificates], Format::Table, "2020-01-01");
        assert!(!text.contains("BST201") && !text.contains("BST202"), "{text}");
    }

    #[test]
    fn exports_that_contradict_each_other_are_unknown_and_both_sides_are_shown() {
        let Some(folder) = real() else { return };
        let (exit, text) = run(&[&folder], Format::Table, "2026-11-22");
        assert_eq!(exit.expect("judged"), Exit::Findings);
        assert!(
            text.contains("verdict   unknown\n") && text.contains("B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B in MY"),
            "{text}"
        );
        assert!(
            text.contains("by Exchange's own word") && text.contains("thumbprint  823884A32609DCDC8C4B5462952586C30D814073"),
            "{text}"
        );
        let (_, json) = run(&[&folder], Format::Json, "2026-11-22");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json[0]["verdict"], "unknown");
        assert_eq!(json[0]["otherwise"]["verdict"], "expired");
        assert_eq!(json[0]["otherwise"]["back_end"]["certificate"]["thumbprint"], "823884A32609DCDC8C4B5462952586C30D814073");
    }

    #[test]
    fn a_day_is_taken_from_its_first_moment() {
        assert_eq!(moment("2026-11-22").expect("a day").to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(moment("2026-11-22T10:00:00+01:00").expect("a moment").to_string(), "2026-11-22T09:00:00Z");
        assert!(moment("2026-13-01").is_err());
    }

    #[test]
    fn nothing_readable_is_an_error_that_names_every_file_and_says_how_to_export() {
        let folder = tempfile::tempdir().expect("a folder");
        let (exit, _) = run(&[folder.path()], Format::Table, "2026-11-22");
        assert!(exit.expect_err("empty").report().contains("expected at least one exported file"));
        std::fs::write(folder.path().join("notes.txt"), "hello").expect("written");
        std::fs::write(folder.path().join("broken.xml"), "<Objs").expect("written");
        let (exit, _) = run(&[folder.path()], Format::Table, "2026-11-22");
        let failure = exit.expect_err("nothing readable");
        let report = failure.report();
        assert_eq!(failure.exit(), Exit::Error);
        assert!(report.contains("notes.txt") && report.contains("broken.xml") && report.contains("--help"), "{report}");
    }

    #[test]
    fn a_folder_with_too_many_files_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..=MAX_FILES {
            std::fs::write(folder.path().join(number.to_string()), "").expect("written");
        }
        let (exit, _) = run(&[folder.path()], Format::Table, "2026-11-22");
        assert!(exit.expect_err("too many").report().contains("at most 1000 files"));
    }
}
