//! `backstay assess PATH...`: judges servers from exported files, before anything is installed anywhere.
//!
//! A folder holds the exports of one server, or a folder for each of many; files that are named one by one belong together.
//! What the exports do not show stays unknown and is said; above all, no export proves that a private key can be used.

use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use policy::Timestamp;
use policy::document::Policy;
use policy::finding::Severity;
use policy::id::ServerName;
use recorded::AssembleError;
use serde::Serialize;

use self::gather::{Gathered, gather};
pub(crate) use self::view::AssessmentView;
use super::Context;
use super::failure::{Doing, Exit, Failure, chain};
use super::files;
use super::output::{View, table};

mod gather;
pub(crate) mod page;
mod view;

/// Judges servers from exported files.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay assess exports/EX1                       a folder with the exports of one server
  backstay assess exports -o json                   a folder with a folder for each server
  backstay assess exports --html estate.html        the same as one page for a browser
  backstay assess sslcert.txt certificates.xml      files of one server
  backstay assess exports/EX1 --as-of 2027-06-01    what would be said on that day

On the server:
  Get-ExchangeCertificate -Server $env:COMPUTERNAME | Export-Clixml certificates.xml
  Get-ExchangeServer $env:COMPUTERNAME | Export-Clixml server.xml
  Get-WebBinding | Export-Clixml bindings.xml
  Test-ServiceHealth | Export-Clixml services.xml
  Get-AuthConfig | Export-Clixml auth.xml
  netsh http show sslcert > sslcert.txt
  copy %windir%\\System32\\inetsrv\\config\\*.config .")]
pub struct Assess {
    /// Folders with exports, one per server; or files of one server.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// Judge as of this day or moment, as 2026-11-22 or 2026-11-22T10:00:00Z; now, when not given.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    as_of: Option<Timestamp>,

    /// Only this server, where the exports name several.
    #[arg(long, value_name = "NAME")]
    server: Option<ServerName>,

    /// Write one HTML file that needs nothing else, to read in a browser or hand on, instead of printing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Assess {
    pub(super) fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let now = self.as_of.unwrap_or_else(|| context.clock.now());
        let policy = Policy::none_yet("assessment".parse().doing(|| "assessing".to_owned())?);
        let mut views = Vec::new();
        let mut failures = Vec::new();
        let mut beside = Vec::new();
        let output = &mut context.output;
        gather(&self.paths, |gathered| {
            match gathered {
                Ok(gathered) => {
                    let above_others = gathered.above_others;
                    match judged(gathered, self.server.as_ref(), now, &policy) {
                        Ok(found) => views.extend(found),
                        // A note that lies beside the folders of the servers is not a server that could not be read.
                        Err(failure) if above_others => beside.push(failure),
                        Err(failure) => failures.push(failure),
                    }
                }
                Err(failure) => failures.push(failure),
            }
            output.progress(&format!("judged {} server(s)", views.len()));
        });
        // One server that cannot be read does not hide the others, and is said last, where it is seen.
        let found = views.iter().any(AssessmentView::wants_attention);
        if let Some(path) = &self.html {
            files::write_new(path, page::page(&views, now).as_bytes())?;
            context.output.say(&format!("{} server(s) are in {}", views.len(), path.display()));
        } else if !views.is_empty() {
            context.output.show(&Assessments(views))?;
        }
        for failure in beside {
            context.output.say(&failure.report());
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
}

/// What came of files that were sent, and not named on a command line.
#[cfg(feature = "server")]
pub(crate) struct Assessed {
    /// The servers.
    pub(crate) views: Vec<AssessmentView>,
    /// What could not be judged, a line each.
    pub(crate) failures: Vec<String>,
}

/// Judges files as if they lay in the folders that stand before their names.
#[cfg(feature = "server")]
pub(crate) fn assessed(files: Vec<(String, impl AsRef<[u8]>)>, now: Timestamp) -> Assessed {
    let mut found = Assessed { views: Vec::new(), failures: Vec::new() };
    let policy = match "assessment".parse() {
        Ok(estate) => Policy::none_yet(estate),
        Err(_) => return found,
    };
    gather::received(files, |gathered| {
        let above_others = gathered.above_others;
        match judged(gathered, None, now, &policy) {
            Ok(views) => found.views.extend(views),
            Err(_) if above_others => {}
            Err(failure) => found.failures.push(failure.report().lines().collect::<Vec<_>>().join(" ")),
        }
    });
    found
}

/// The servers of exports that lie together, judged.
fn judged(
    gathered: Gathered,
    server: Option<&ServerName>,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<AssessmentView>, Failure> {
    let Gathered { name, exports, missed, above_others: _ } = gathered;
    let assemblies = exports.assemble(server).map_err(|error| unassembled(format!("assessing {name}"), error, &missed))?;
    Ok(assemblies.into_iter().map(|assembly| AssessmentView::of(name.clone(), now, policy, assembly, &missed)).collect())
}

fn unassembled(doing: String, error: AssembleError, missed: &[String]) -> Failure {
    let mut unread: Vec<String> = match &error {
        AssembleError::NothingRead(unread) => unread.iter().map(|unread| chain(unread).join(": ")).collect(),
        AssembleError::NoExports | AssembleError::Server(_) => Vec::new(),
    };
    unread.extend(missed.iter().cloned());
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
        let each = self.0.iter().map(View::text).collect::<Vec<_>>().join("\n");
        if self.0.len() < 2 {
            return each;
        }
        let rows = self.0.iter().map(AssessmentView::row);
        format!("{}\n{each}", table(["SERVER", "VERDICT", "444 ENDS", "FINDINGS"], rows))
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
    use std::path::Path;

    use super::*;
    use crate::cli::connection::Connection;
    use crate::cli::output::{Format, tests::kept};
    use crate::clock::Clock;

    fn run(paths: &[&Path], format: Format, as_of: &str) -> (Result<Exit, Failure>, String) {
        let (output, data, _) = kept(format);
        let connection = Connection::default();
        let mut context = Context { connection, output, clock: Clock::of(|| Timestamp::UNIX_EPOCH) };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let assess = Assess { paths, as_of: Some(moment(as_of).expect("a day")), server: None, html: None };
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
    fn many_servers_below_one_folder_are_judged_one_by_one_and_one_page_holds_them_all() {
        let Some(real) = real() else { return };
        let folder = tempfile::tempdir().expect("a folder");
        for server in ["first", "second"] {
            let below = folder.path().join("estate").join(server);
            std::fs::create_dir_all(&below).expect("a folder");
            std::fs::copy(real.join("GetExchangeCertificate.xml"), below.join("c.xml")).expect("copied");
        }
        let estate = folder.path().join("estate");
        std::fs::copy(real.join("GetExchangeServer.xml"), estate.join("servers.xml")).expect("copied");
        std::fs::write(estate.join("second/large.xml"), vec![b' '; 65 * 1024 * 1024]).expect("written");
        let (exit, text) = run(&[&estate], Format::Table, "2026-11-22");
        assert_eq!(exit.expect("judged"), Exit::Findings);
        assert!(text.starts_with("SERVER     VERDICT  444 ENDS    FINDINGS\nSOLO-E16A  expired  2023-11-24"), "{text}");
        assert_eq!(text.matches("\nExchange    15.1.2375.7\n").count(), 2, "what lies above holds for both\n{text}");
        assert!(text.contains("large.xml") && text.contains("at most"), "a file that is too large stops no other\n{text}");
        let html = folder.path().join("estate.html");
        let (output, data, _) = kept(Format::Table);
        let connection = Connection::default();
        let mut context = Context { connection, output, clock: Clock::of(|| Timestamp::UNIX_EPOCH) };
        let assess = Assess { paths: vec![estate], as_of: None, server: None, html: Some(html.clone()) };
        assess.run(&mut context).expect("judged");
        assert_eq!(data.text(), "");
        let page = std::fs::read_to_string(&html).expect("a page");
        assert_eq!(page.matches("<section id=").count(), 2);
        assert!(assess.run(&mut context).expect_err("there is one").report().contains("nothing is overwritten"));
    }

    #[test]
    fn a_folder_with_too_many_files_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..=gather::MAX_FILES {
            std::fs::write(folder.path().join(number.to_string()), "").expect("written");
        }
        let (exit, _) = run(&[folder.path()], Format::Table, "2026-11-22");
        assert!(exit.expect_err("too many").report().contains("at most 1000 files"));
    }
}
