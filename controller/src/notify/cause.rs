//! What wants somebody, as of a moment: one cause for each thing that is wrong at each server. Pure.

use policy::Timestamp;
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

/// Every cause, of what was found at servers and of who is not heard. `silent` are agents that were not heard for long enough, with since
/// when.
pub(super) fn causes(troubled: &[Troubled], silent: &[(ServerName, Timestamp)]) -> Vec<Cause> {
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
    causes
}
