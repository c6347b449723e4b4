//! `backstay report`: what stood where on a day, what was changed by whom and why, and what was left alone for how long. For auditors, who get
//! the proof without asking.
//!
//! It is put together here from what a controller answers to anybody who may look, and names where the audit trail ended, by which it
//! can be checked later.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use policy::Timestamp;
use policy::id::{PlanId, PolicyId, Sha256, Thumbprint};
use policy::receipt::Receipt;
use proto::invalid::{Invalid, micros, moment};
use proto::operator::{self, GetStatusRequest, ListChangesRequest, ListStandingsRequest};
use serde::Serialize;

use super::connection::{Client, answer};
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line, moment as at, pairs, table};
use super::plan::ApprovalView;
use super::{Context, files, pages, wire};

mod csv;
mod page;

/// How far back changes are told when nobody says.
const PERIOD_DAYS: i64 = 365;

/// Reports on the estate as it stood at the end of a day.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay report
  backstay report --on 2026-12-31 --from 2026-01-01 --html estate-2026.html
  backstay report --csv report            servers.csv and changes.csv in a new folder
  backstay report -o json > report.json")]
pub struct Report {
    /// The day at whose end (UTC) the estate is shown, as 2026-12-31; now, when not given.
    #[arg(long, value_name = "DAY")]
    on: Option<Date>,

    /// The first day whose changes are told; a year before, when not given.
    #[arg(long, value_name = "DAY")]
    from: Option<Date>,

    /// Write one HTML file that needs nothing else, to read in a browser, print or hand on, instead of printing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write servers.csv and changes.csv into this new folder, for a spreadsheet, instead of printing.
    #[arg(long, value_name = "FOLDER")]
    csv: Option<PathBuf>,
}

impl Report {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let now = context.clock.now();
        let (from, until) = self.period(now)?;
        let mut client = context.connection.connect().await?;
        let status = answer("asking for the status", client.get_status(GetStatusRequest {})).await?;
        let mut view = stood(&client, &status.estate, until, now).await?;
        context.output.progress(&format!("{} server(s)", view.servers.len()));
        view.from = from;
        view.changes = changes(&client, from, view.at).await?;
        let mut written = Vec::new();
        if let Some(path) = &self.html {
            files::write_new(path, page::page(&view).as_bytes())?;
            written.push(path.clone());
        }
        if let Some(folder) = &self.csv {
            std::fs::create_dir(folder).doing(|| format!("making the folder {}", folder.display()))?;
            for (name, text) in [("servers.csv", csv::servers(&view)), ("changes.csv", csv::changes(&view))] {
                let path = folder.join(name);
                files::write_new(&path, text.as_bytes())?;
                written.push(path);
            }
        }
        if written.is_empty() {
            context.output.show(&view)?;
        }
        for path in written {
            context.output.say(&format!(
                "{} server(s) and {} change(s) are in {}",
                view.servers.len(),
                view.changes.len(),
                path.display()
            ));
        }
        Ok(Exit::Ok)
    }

    /// From the beginning of the first day to the end of the last, which is now at the latest.
    fn period(&self, now: Timestamp) -> Result<(Timestamp, Option<Timestamp>), Failure> {
        let wrong = |what: String| Failure::new(Exit::Usage, what);
        let begin = |day: Date| {
            day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).doing(|| format!("finding the beginning of {day}"))
        };
        let until = match self.on {
            None => None,
            Some(day) if begin(day)? > now => {
                return Err(wrong(format!("--on: expected a day that has begun (it is {}), found {day}", at(now))));
            }
            Some(day) => {
                let next = day.tomorrow().doing(|| format!("finding the end of {day}"))?;
                // The last moment that still is of the day, as fine as moments are kept.
                let end = begin(next)? - jiff::SignedDuration::from_micros(1);
                (end < now).then_some(end)
            }
        };
        let last = until.unwrap_or(now);
        let from = match self.from {
            Some(day) => begin(day)?,
            None => last - jiff::SignedDuration::from_hours(24 * PERIOD_DAYS),
        };
        if from > last {
            return Err(wrong(format!("--from: expected a day before {}, found {from}", at(last))));
        }
        Ok((from, until))
    }
}

/// The servers and what held for all, without what changed.
async fn stood(client: &Client, estate: &str, until: Option<Timestamp>, now: Timestamp) -> Result<ReportView, Failure> {
    let doing = "asking how the servers stood";
    let mut view: Option<ReportView> = None;
    // The first answer says which moment it is of; the pages behind it are asked for the same.
    let mut moment_asked = until.map_or(0, micros);
    let mut page_token = String::new();
    for _ in 0..pages::MAX_PAGES {
        let mut client = client.clone();
        let request = ListStandingsRequest { page_size: pages::PAGE, page_token, at: moment_asked };
        let response = answer(doing, client.list_standings(request)).await?;
        let next = response.next_page_token.clone();
        moment_asked = response.at;
        let (head, servers) = read(estate, response, now).doing(|| doing.to_owned())?;
        view.get_or_insert(head).servers.extend(servers);
        if next.is_empty() {
            break;
        }
        page_token = next;
    }
    view.ok_or_else(|| Failure::new(Exit::Error, doing))
}

fn read(
    estate: &str,
    response: operator::ListStandingsResponse,
    now: Timestamp,
) -> Result<(ReportView, Vec<StandingView>), Invalid> {
    let operator::ListStandingsResponse { standings, next_page_token: _, at, policy_version, audit_sequence, audit_head } =
        response;
    let at = moment("ListStandingsResponse.at", at)?;
    let head = ReportView {
        estate: estate.to_owned(),
        at,
        from: at,
        made_at: now,
        policy_version,
        audit_sequence,
        audit_head: wire::digest("ListStandingsResponse.audit_head", &audit_head)?,
        servers: Vec::new(),
        changes: Vec::new(),
    };
    let servers = standings.into_iter().map(|standing| StandingView::of(standing, at)).collect::<Result<_, _>>()?;
    Ok((head, servers))
}

async fn changes(client: &Client, from: Timestamp, until: Timestamp) -> Result<Vec<ChangeView>, Failure> {
    let doing = "asking what was changed";
    let mut changes = Vec::new();
    let ask = |page_token| page_of_changes(client.clone(), doing, from, until, page_token);
    pages::each(doing, ask, |page: Vec<operator::Change>| {
        let read: Result<Vec<_>, _> = page.into_iter().map(ChangeView::try_from).collect();
        changes.extend(read.doing(|| doing.to_owned())?);
        Ok(())
    })
    .await?;
    Ok(changes)
}

async fn page_of_changes(
    mut client: Client,
    doing: &str,
    from: Timestamp,
    until: Timestamp,
    page_token: String,
) -> Result<(Vec<operator::Change>, String), Failure> {
    let request = ListChangesRequest { page_size: pages::PAGE, page_token, since: micros(from), until: micros(until) };
    let response = answer(doing, client.list_changes(request)).await?;
    Ok((response.changes, response.next_page_token))
}

/// The report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ReportView {
    /// The estate.
    pub estate: String,
    /// The moment at which the servers stood so.
    pub at: Timestamp,
    /// From when on changes are told; until `at`.
    pub from: Timestamp,
    /// When the report was made, by the clock of whoever made it.
    pub made_at: Timestamp,
    /// The policy in force at `at`; 0 when there was none.
    pub policy_version: u64,
    /// Where the audit trail ended at `at`.
    pub audit_sequence: u64,
    /// The hash of that entry.
    pub audit_head: Sha256,
    /// What stood where.
    pub servers: Vec<StandingView>,
    /// What was changed, the oldest first.
    pub changes: Vec<ChangeView>,
}

/// A server as it stood.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StandingView {
    /// Which.
    pub server: String,
    /// Verdict.
    pub verdict: String,
    /// Codes of what was found.
    pub findings: Vec<String>,
    /// The mode in which it stood.
    pub mode: String,
    /// Database availability group; empty when there was none or it was not known.
    pub dag: String,
    /// AD site; empty when it was not known.
    pub site: String,
    /// Version of Exchange; empty when it was not known.
    pub exchange: String,
    /// What the record on 444 named.
    pub thumbprint: Option<Thumbprint>,
    /// That certificate, when it was at hand.
    pub certificate: Option<CertificateView>,
    /// Since when it stood so.
    pub since: Timestamp,
    /// When the server was heard for the first time.
    pub watched_since: Timestamp,
    /// When a plan last changed anything there.
    pub touched_at: Option<Timestamp>,
    /// Since when nobody changed what stands on 444.
    pub untouched_since: Timestamp,
    /// The same in whole days, as of the report's moment.
    pub untouched_days: i64,
}

/// What is told of a certificate.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CertificateView {
    /// Subject.
    pub subject: String,
    /// Issuer.
    pub issuer: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

impl StandingView {
    fn of(standing: operator::Standing, now: Timestamp) -> Result<Self, Invalid> {
        let operator::Standing {
            server,
            verdict,
            findings,
            mode,
            dag,
            site,
            exchange,
            thumbprint,
            certificate,
            since,
            bound_since: _,
            watched_since,
            touched_at,
            untouched_since,
        } = standing;
        let untouched_since = moment("Standing.untouched_since", untouched_since)?;
        let certificate = certificate.map(|certificate| {
            let operator::CertificateSummary { subject, issuer, not_before, not_after } = certificate;
            Ok(CertificateView {
                subject,
                issuer,
                not_before: moment("CertificateSummary.not_before", not_before)?,
                not_after: moment("CertificateSummary.not_after", not_after)?,
            })
        });
        Ok(Self {
            server,
            verdict,
            findings,
            mode,
            dag,
            site,
            exchange,
            thumbprint: thumbprint.map(|text| proto::invalid::id("Standing.thumbprint", &text)).transpose()?,
            certificate: certificate.transpose()?,
            since: moment("Standing.since", since)?,
            watched_since: moment("Standing.watched_since", watched_since)?,
            touched_at: touched_at.map(|at| moment("Standing.touched_at", at)).transpose()?,
            untouched_since,
            untouched_days: now.duration_since(untouched_since).as_hours().div_euclid(24),
        })
    }

    /// What waits together with it, as people name it.
    fn group(&self) -> &str {
        if self.dag.is_empty() { &self.site } else { &self.dag }
    }
}

/// A change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChangeView {
    /// When it was known to the controller.
    pub at: Timestamp,
    /// Where.
    pub server: String,
    /// What the record on 444 named before and after, when that became another; empty for nothing.
    pub rebound: Option<(String, String)>,
    /// The plan that did it; `None` when it was somebody else.
    pub plan: Option<Done>,
}

/// A plan that was run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Done {
    /// Its id.
    pub id: PlanId,
    /// What for.
    pub purpose: String,
    /// What it came to.
    pub outcome: String,
    /// The policy by whose standing approval it ran; `None` when persons approved.
    pub standing: Option<PolicyId>,
    /// Who approved it, and why.
    pub approved_by: Vec<ApprovalView>,
    /// How long 444 had no record meanwhile, in microseconds.
    pub gap_micros: u64,
    /// What happened, in order.
    pub notes: Vec<String>,
    /// What changed elsewhere on the host meanwhile, by whomever.
    pub foreign: Vec<String>,
}

impl TryFrom<operator::Change> for ChangeView {
    type Error = Invalid;

    fn try_from(change: operator::Change) -> Result<Self, Invalid> {
        let operator::Change { at, server, rebound, plan, receipt, approvals } = change;
        let plan = match (plan, receipt.map(Receipt::try_from).transpose()?) {
            (Some(plan), Some(receipt)) => Some(Done {
                id: wire::id("Change.plan", &plan.id)?,
                purpose: plan.purpose,
                outcome: receipt.outcome.as_str().to_owned(),
                standing: receipt.standing,
                approved_by: approvals.into_iter().map(ApprovalView::try_from).collect::<Result<_, _>>()?,
                gap_micros: receipt.gap_micros,
                notes: receipt.notes,
                foreign: receipt.foreign,
            }),
            (Some(_), None) | (None, _) => None,
        };
        Ok(Self {
            at: moment("Change.at", at)?,
            server,
            rebound: rebound.map(|operator::Rebound { before, after }| (before, after)),
            plan,
        })
    }
}

impl ChangeView {
    /// What was done, in words.
    fn what(&self) -> String {
        let mut words = match &self.plan {
            Some(Done { purpose, outcome, .. }) => format!("{}: {outcome}", purpose.replace('_', " ")),
            None => "the record on 444 was changed".to_owned(),
        };
        if let Some((before, after)) = &self.rebound {
            let short = |thumbprint: &str| {
                if thumbprint.is_empty() { "nothing".to_owned() } else { thumbprint.chars().take(8).collect() }
            };
            words.push_str(&format!(", {} to {}", short(before), short(after)));
        }
        words
    }

    /// Who wanted it.
    fn who(&self) -> String {
        let Some(Done { standing, approved_by, .. }) = &self.plan else { return "somebody else, by no plan".to_owned() };
        if let Some(policy) = standing {
            return format!("standing approval of policy {}", policy.short());
        }
        let persons: Vec<&str> = approved_by.iter().map(|approval| approval.person.as_str()).collect();
        if persons.is_empty() { "nobody whose word is kept here".to_owned() } else { persons.join(", ") }
    }

    /// Why, by the words of whoever approved it.
    fn why(&self) -> String {
        let Some(Done { approved_by, notes, .. }) = &self.plan else { return String::new() };
        let reasons = approved_by.iter().map(|approval| {
            let change = if approval.change.is_empty() { String::new() } else { format!(" ({})", approval.change) };
            format!("{}{change}", approval.reason)
        });
        let reasons: Vec<String> = reasons.collect();
        if reasons.is_empty() { notes.first().cloned().unwrap_or_default() } else { reasons.join("; ") }
    }
}

impl ReportView {
    /// The facts at the top.
    fn head(&self) -> Vec<(&'static str, String)> {
        let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
        for server in &self.servers {
            *verdicts.entry(&server.verdict).or_default() += 1;
        }
        let counted: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let of_each = if counted.is_empty() { String::new() } else { format!(": {}", counted.join(", ")) };
        let ours = self.changes.iter().filter(|change| change.plan.is_some()).count();
        let longest = self.servers.iter().max_by_key(|server| server.untouched_days);
        vec![
            ("estate", self.estate.clone()),
            ("as of", at(self.at)),
            ("servers", format!("{}{of_each}", self.servers.len())),
            (
                "left alone",
                longest.map_or_else(
                    || "-".to_owned(),
                    |server| format!("for {} days at most: {}", server.untouched_days, server.server),
                ),
            ),
            ("changes", format!("{} by plans, {} by others, since {}", ours, self.changes.len() - ours, at(self.from))),
            ("policy", if self.policy_version == 0 { "none".to_owned() } else { format!("version {}", self.policy_version) }),
            ("audit", format!("{} entries, head {}", self.audit_sequence, self.audit_head)),
        ]
    }
}

impl View for ReportView {
    fn text(&self) -> String {
        let mut text = pairs(self.head());
        text.push('\n');
        let day = |at: Timestamp| at.strftime("%F").to_string();
        let row = |server: &StandingView| {
            [
                server.server.clone(),
                server.group().to_owned(),
                server.verdict.clone(),
                server.thumbprint.map_or_else(|| "-".to_owned(), |thumbprint| thumbprint.to_string().chars().take(8).collect()),
                server.certificate.as_ref().map_or_else(|| "-".to_owned(), |certificate| day(certificate.not_after)),
                format!("{} days", server.untouched_days),
                server.findings.join(" "),
            ]
        };
        text.push_str(&table(
            ["SERVER", "GROUP", "VERDICT", "CERTIFICATE", "ENDS", "UNTOUCHED", "FINDINGS"],
            self.servers.iter().map(row),
        ));
        if !self.changes.is_empty() {
            text.push('\n');
            let row = |change: &ChangeView| [at(change.at), change.server.clone(), change.what(), change.who(), change.why()];
            text.push_str(&table(["WHEN", "SERVER", "WHAT", "WHO", "WHY"], self.changes.iter().map(row)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment_of(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    /// A report in which somebody else's words are these.
    pub(super) fn report(words: &str) -> ReportView {
        let now = moment_of("2026-11-27T12:00:00Z");
        let made = now - jiff::SignedDuration::from_hours(24 * 1_412 + 3);
        let thumbprint: Thumbprint = "3D053559600355ABAC29677F8727910AEC943AC8".parse().expect("a thumbprint");
        let standing = |server: &str, touched_at: Option<Timestamp>| {
            let standing = operator::Standing {
                server: server.to_owned(),
                verdict: "healthy".to_owned(),
                findings: vec!["BST205".to_owned()],
                mode: "act".to_owned(),
                dag: words.to_owned(),
                thumbprint: Some(thumbprint.to_string()),
                certificate: Some(operator::CertificateSummary {
                    subject: words.to_owned(),
                    issuer: words.to_owned(),
                    not_before: micros(made),
                    not_after: micros(now + jiff::SignedDuration::from_hours(9_000)),
                }),
                since: micros(now),
                watched_since: micros(now),
                touched_at: touched_at.map(micros),
                untouched_since: micros(touched_at.unwrap_or(made)),
                ..operator::Standing::default()
            };
            StandingView::of(standing, now).expect("a standing")
        };
        let renewal = Done {
            id: Sha256([7; 32]),
            purpose: "renew".to_owned(),
            outcome: "restored".to_owned(),
            standing: None,
            approved_by: vec![
                ApprovalView::try_from(operator::ApprovalSummary {
                    person: "anna".to_owned(),
                    reason: words.to_owned(),
                    change: "CHG-7".to_owned(),
                    not_before: 0,
                    not_after: 0,
                })
                .expect("an approval"),
            ],
            gap_micros: 0,
            notes: vec![words.to_owned()],
            foreign: Vec::new(),
        };
        let rebound = Some((String::new(), thumbprint.to_string()));
        ReportView {
            estate: "contoso".to_owned(),
            at: now,
            from: moment_of("2026-01-01T00:00:00Z"),
            made_at: now,
            policy_version: 3,
            audit_sequence: 41,
            audit_head: Sha256([0xab; 32]),
            servers: vec![standing("EX1", None), standing("EX2", Some(moment_of("2026-11-20T12:00:00Z")))],
            changes: vec![
                ChangeView { at: moment_of("2026-11-20T12:00:00Z"), server: "EX2".to_owned(), rebound, plan: Some(renewal) },
                ChangeView {
                    at: moment_of("2026-11-21T12:00:00Z"),
                    server: "EX1".to_owned(),
                    rebound: Some((thumbprint.to_string(), String::new())),
                    plan: None,
                },
            ],
        }
    }

    #[test]
    fn the_report_says_what_was_left_alone_what_was_changed_by_whom_and_why() {
        let text = report("it ends in December").text();
        let expected = "\
estate      contoso
as of       2026-11-27T12:00:00Z
servers     2: 2 healthy
left alone  for 1412 days at most: EX1
changes     1 by plans, 1 by others, since 2026-01-01T00:00:00Z
policy      version 3
audit       41 entries, head abababababababababababababababababababababababababababababababab

SERVER  GROUP                VERDICT  CERTIFICATE  ENDS        UNTOUCHED  FINDINGS
EX1     it ends in December  healthy  3D053559     2027-12-07  1412 days  BST205
EX2     it ends in December  healthy  3D053559     2027-12-07  7 days     BST205

WHEN                  SERVER  WHAT                                                WHO                        WHY
2026-11-20T12:00:00Z  EX2     renew: restored, nothing to 3D053559                anna                       it ends in December (CHG-7)
2026-11-21T12:00:00Z  EX1     the record on 444 was changed, 3D053559 to nothing  somebody else, by no plan
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_day_ends_at_midnight_and_today_ends_now() {
        let now = moment_of("2026-11-27T12:00:00Z");
        let asked = |on: Option<&str>, from: Option<&str>| {
            let day = |text: &str| text.parse().expect("a day");
            let report = Report { on: on.map(day), from: from.map(day), html: None, csv: None };
            report.period(now).map_err(|failure| failure.to_line())
        };
        assert_eq!(asked(None, None), Ok((moment_of("2025-11-27T12:00:00Z"), None)));
        assert_eq!(asked(Some("2026-11-27"), Some("2026-11-01")), Ok((moment_of("2026-11-01T00:00:00Z"), None)));
        let last = moment_of("2026-06-30T23:59:59.999999Z");
        assert_eq!(asked(Some("2026-06-30"), Some("2026-01-01")), Ok((moment_of("2026-01-01T00:00:00Z"), Some(last))));
        assert!(asked(Some("2026-11-28"), None).expect_err("it has not begun").contains("--on"));
        assert!(asked(Some("2026-06-30"), Some("2026-07-01")).expect_err("it ends before it begins").contains("--from"));
    }
}
