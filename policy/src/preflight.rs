//! What a patch night must know of a server beforehand: what is lost at its next restart, what stops a cumulative update, and
//! what is frozen and why.
//!
//! All of it is read from findings that were made already. Whoever adds a finding decides here what it means for that night:
//! the match has no rest.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::document::{Mode, Policy};
use crate::evaluate::Assessment;
use crate::finding::{Code, Verdict};

/// What a server brings to a patch night. Three empty lists mean that nothing is known against it, unless something is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preflight {
    /// 444 dies, or may die, at the next restart of Windows or of IIS.
    pub restart: Vec<String>,
    /// A cumulative update would stop, or end half-way.
    pub update: Vec<String>,
    /// Approved or automatic work does not run at this moment.
    pub frozen: Vec<String>,
    /// What could not be judged: no word against the server, and none for it.
    pub unknown: Vec<String>,
}

/// When a finding matters.
enum Matters {
    Restart,
    Update,
    Frozen,
    Unknown,
    NotThatNight,
}

/// What matters of these findings at `now`. `mode` is the server's, as it was judged by.
pub fn preflight(policy: &Policy, mode: Mode, assessment: &Assessment, now: Timestamp) -> Preflight {
    let mut found = Preflight::default();
    for finding in &assessment.findings {
        let line = format!("{} {}: {}", finding.code, finding.code.title(), finding.evidence.join("; "));
        match matters(finding.code) {
            Matters::Restart => found.restart.push(line),
            Matters::Update => found.update.push(line),
            Matters::Frozen => found.frozen.push(line),
            Matters::Unknown => found.unknown.push(line),
            Matters::NotThatNight => {}
        }
    }
    if assessment.verdict == Verdict::NotApplicable {
        return Preflight::default();
    }
    if let Err(closed) = policy.may_run(now, false) {
        found.frozen.push(match closed.until.known() {
            Some(until) => format!("{} until {until}: approved work waits", closed.why),
            None => format!("{}: approved work waits", closed.why),
        });
    }
    if mode == Mode::Observe {
        found.frozen.push("mode observe: nothing is done there, approved or not".to_owned());
    }
    found
}

/// The last patch day from `now` until before `end`, if there is one: the second Tuesday of a month, on which Microsoft's security updates come (Microsoft
/// Security Response Center, "Update Tuesday"). Cumulative updates of Exchange have no day of their own, and are put in place in the same nights; one that
/// meets a certificate that has ended stops half-way. By UTC.
pub fn patch_day_before(end: Timestamp, now: Timestamp) -> Option<Date> {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let (today, last) = (day(now), day(end));
    let of_month = |date: Date| date.first_of_month().nth_weekday_of_month(2, Weekday::Tuesday).ok();
    let this = of_month(last).filter(|patch| *patch < last);
    let found = this.or_else(|| of_month(last.first_of_month().checked_sub(1.day()).ok()?))?;
    (found >= today).then_some(found)
}

fn matters(code: Code) -> Matters {
    match code {
        Code::LostAtRestart
        | Code::RecordMissing
        | Code::CertificateDeleted
        | Code::KeyUnusable
        | Code::KeyLinkLost
        | Code::WrongStore
        | Code::Archived
        | Code::NoHandshake
        | Code::StaleMetabase
        | Code::OtherSite
        | Code::BindingTied
        | Code::SiteBindingMissing
        | Code::TlsAtRestart
        | Code::FrontEndDangling => Matters::Restart,
        Code::Expired
        | Code::FrontEndExpired
        | Code::ManagementDangling
        | Code::WatermarkLeft
        | Code::ServicesStopped
        | Code::WebServiceDisabled
        | Code::TransportMissing
        | Code::UnopenableCng => Matters::Update,
        Code::SetupAtWork
        | Code::Maintenance
        | Code::AgentHeld
        | Code::WentBack
        | Code::Rebuilt
        | Code::Restless
        | Code::Flapping => Matters::Frozen,
        Code::BackEndUnknown => Matters::Unknown,
        Code::PresentedDiffers
        | Code::ExtraRecord
        | Code::Replaced
        | Code::OtherManager
        | Code::Expiring
        | Code::NamesMissing
        | Code::Distrusted
        | Code::Sha1
        | Code::NotYetValid
        | Code::NoWindow
        | Code::FromAuthority
        | Code::NotListed
        | Code::SharedWithFrontEnd
        | Code::RootCopyMissing
        | Code::SameFriendlyName
        | Code::HostRenamed
        | Code::FrontEndTaken
        | Code::FrontEndCng
        | Code::FrontEndChanged
        | Code::TransportDenied
        | Code::IsAuthCertificate
        | Code::AuthEndsToo
        | Code::GroupUnknown
        | Code::Unreached
        | Code::SeenOtherwise
        | Code::NoBackEnd
        | Code::BindingFlags
        | Code::SiteStopped
        | Code::Updated
        | Code::ClockOff
        | Code::ConfigurationElsewhere
        | Code::Uninstalled
        | Code::ManagedAvailability
        | Code::NamesDisagree
        | Code::NameElsewhere
        | Code::NotTheCertificate => Matters::NotThatNight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;

    fn judged(verdict: Verdict, codes: &[Code]) -> Assessment {
        let findings = codes.iter().map(|code| Finding { code: *code, evidence: vec!["seen".to_owned()] }).collect();
        Assessment { verdict, findings }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn each_finding_is_told_where_it_matters_and_the_others_are_not() {
        let policy = Policy::from_toml(
            b"estate = \"contoso\"\nversion = 1\n[[freeze]]\nfrom = \"2026-12-20\"\nto = \"2026-12-31\"\nzone = \"UTC\"\nreason = \"year end\"\n",
        )
        .expect("a policy");
        let assessment = judged(Verdict::Deleted, &[Code::LostAtRestart, Code::FrontEndExpired, Code::AgentHeld, Code::Sha1]);
        let found = preflight(&policy, Mode::Act, &assessment, at("2026-11-24T00:00:00Z"));
        assert_eq!(found.restart, ["BST107 444 still serves from memory and is lost at the next restart: seen"]);
        assert_eq!(found.update, ["BST302 the certificate of the front end has expired: seen"]);
        assert_eq!(found.frozen, ["BST901 the agent on this host is held: seen"]);
        let frozen = preflight(&policy, Mode::Observe, &judged(Verdict::Healthy, &[]), at("2026-12-24T00:00:00Z")).frozen;
        assert_eq!(
            frozen,
            [
                "frozen: year end until 2027-01-01T00:00:00Z: approved work waits",
                "mode observe: nothing is done there, approved or not"
            ]
        );
        let none =
            preflight(&policy, Mode::Observe, &judged(Verdict::NotApplicable, &[Code::NoBackEnd]), at("2026-12-24T00:00:00Z"));
        assert_eq!(none, Preflight::default());
    }

    /// Which findings matter that night is a table, and this is it once more: a code that changes sides is noticed.
    #[test]
    fn every_finding_is_on_the_side_that_was_decided_for_it() {
        let policy = Policy::from_toml(b"estate = \"contoso\"\nversion = 1\n").expect("a policy");
        let found = preflight(&policy, Mode::Act, &judged(Verdict::Healthy, Code::ALL), at("2026-11-24T00:00:00Z"));
        let codes = |lines: &[String]| {
            let mut codes: Vec<String> = lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
            codes.sort_unstable();
            codes.join(" ")
        };
        assert_eq!(
            codes(&found.restart),
            "BST101 BST102 BST103 BST105 BST107 BST110 BST111 BST112 BST304 BST603 BST605 BST607 BST610 BST619"
        );
        assert_eq!(codes(&found.update), "BST202 BST302 BST401 BST405 BST406 BST604 BST609 BST618");
        assert_eq!(codes(&found.frozen), "BST108 BST114 BST601 BST612 BST614 BST616 BST901");
        assert_eq!(codes(&found.unknown), "BST106");
    }

    #[test]
    fn the_patch_day_before_an_end_is_the_last_second_tuesday_before_it() {
        for (now, end, found) in [
            ("2026-11-28T12:00:00Z", "2026-12-20T00:00:00Z", Some("2026-12-08")),
            ("2026-11-28T12:00:00Z", "2026-12-08T12:00:00Z", None),
            ("2026-11-28T12:00:00Z", "2026-12-09T00:00:00Z", Some("2026-12-08")),
            ("2026-12-08T23:00:00Z", "2026-12-20T00:00:00Z", Some("2026-12-08")),
            ("2026-12-09T00:00:00Z", "2026-12-20T00:00:00Z", None),
            // The month begins on a Tuesday, and on the day after one.
            ("2026-11-28T12:00:00Z", "2027-01-01T00:00:00Z", Some("2026-12-08")),
            ("2026-11-28T12:00:00Z", "2027-07-14T00:00:00Z", Some("2027-07-13")),
            ("2027-05-01T00:00:00Z", "2027-06-09T00:00:00Z", Some("2027-06-08")),
            // Ended already.
            ("2026-11-28T12:00:00Z", "2026-11-20T00:00:00Z", None),
        ] {
            let patch = patch_day_before(at(end), at(now)).map(|day| day.to_string());
            assert_eq!(patch.as_deref(), found, "{end} as of {now}");
        }
    }
}
