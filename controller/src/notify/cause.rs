//! What wants somebody, as of a moment: one cause for each thing that is wrong at each server. Pure.

use policy::Timestamp;
use policy::duration::Span;
use policy::finding::Severity;
use policy::id::ServerName;

use crate::store::Troubled;

/// Something that wants somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// Where.
    pub server: String,
    /// What, as a code that keeps its meaning; an agent that is not heard has the code `SILENT`.
    pub code: String,
    /// Whether it wakes somebody.
    pub severity: Severity,
    /// In a few words.
    pub title: String,
    /// The fact that it rests on.
    pub detail: String,
}

/// The code of an agent that is not heard.
pub const SILENT: &str = "SILENT";

impl Cause {
    /// Two that have the same are one.
    pub fn key(&self) -> String {
        format!("{} {}", self.server, self.code)
    }
}

/// The code of the pages' own certificate, where that ends soon; it is no server's.
const PAGES: &str = "PAGES";

/// What stands in the place of a server.
const CONTROLLER: &str = "the controller";

/// That early it is told; whoever renews by a program does so earlier.
const PAGES_SOON: Span = Span::days(14);

/// Every cause, of what was found at servers, of who is not heard, and of this controller itself. `silent` are agents that were not heard for long
/// enough, with since when; `pages_end` is when the certificate ends that the pages show other machines.
pub(super) fn causes(
    troubled: &[Troubled],
    silent: &[(ServerName, Timestamp)],
    pages_end: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    for Troubled { server, assessment } in troubled {
        for finding in assessment.findings.iter().filter(|finding| finding.code.severity() >= Severity::Warning) {
            causes.push(Cause {
                server: server.to_string(),
                code: finding.code.as_str().to_owned(),
                severity: finding.code.severity(),
                title: finding.code.title().to_owned(),
                detail: finding.evidence.first().cloned().unwrap_or_default(),
            });
        }
    }
    for (server, since) in silent {
        causes.push(Cause {
            server: server.to_string(),
            code: SILENT.to_owned(),
            severity: Severity::Page,
            title: "the agent is not heard".to_owned(),
            detail: format!("it has no stream here since {}", since.strftime("%Y-%m-%dT%H:%M:%SZ")),
        });
    }
    if let Some(end) = pages_end.filter(|end| *end <= PAGES_SOON.after(now)) {
        causes.push(Cause {
            server: CONTROLLER.to_owned(),
            code: PAGES.to_owned(),
            severity: Severity::Warning,
            title: "the certificate of the pages ends".to_owned(),
            detail: format!(
                "it is good until {}, and no browser opens the pages after that: put another into its files, which are read again",
                end.strftime("%Y-%m-%dT%H:%M:%SZ")
            ),
        });
    }
    causes
}
