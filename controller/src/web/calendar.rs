//! *Calendar*: what time alone brings over five years, by the policy in force.

use askama::Template;
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use policy::document::Policy;
use policy::forecast::forecast;
use policy::id::ServerName;
use proto::invalid;

use super::access::Who;
use super::texts::{filters, text};
use super::{Shown, Trouble, Web, estate, rules};
use crate::policies::{Day, days, subject};

/// How far it is looked ahead.
const YEARS: i64 = 5;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let policy = rules::in_force(web, who).await?.map(|(held, _)| held.value);
    let (version, windows, freezes) = policy.as_ref().map_or((0, Vec::new(), Vec::new()), |policy| {
        let windows = policy.windows.iter().map(ToString::to_string).collect();
        (
            policy.version,
            windows,
            policy.freezes.iter().map(|freeze| text!("calendar-not", freeze = freeze.to_string())).collect(),
        )
    });
    let policy = policy.unwrap_or_else(|| Policy::none_yet(web.parts.config.estate.clone()));
    let days = foreseen(web, who, policy).await?;
    let main = Calendar::of(version, windows, freezes, days).render()?;
    Ok(Shown { title: text!("common-calendar"), main })
}

/// What this policy and time would bring to the servers as they are.
pub(super) async fn foreseen(web: &Web, who: &Who, policy: Policy) -> Result<Vec<Day>, Trouble> {
    let mut subjects = Vec::new();
    for server in estate::servers(web, who).await? {
        let name: ServerName = invalid::id("Server.name", &server.name).map_err(tonic::Status::from)?;
        let ends = server.not_after.map(|end| invalid::moment("Server.not_after", end)).transpose();
        subjects.push(subject(name, server.dag, server.site, ends.map_err(tonic::Status::from)?));
    }
    let now = web.parts.clock.now();
    let until = now.to_zoned(TimeZone::UTC).checked_add(YEARS.years()).map_or(now, |zoned| zoned.timestamp());
    // Years of windows for thousands of servers are work.
    let work = tokio::task::spawn_blocking(move || days(&forecast(&policy, &subjects, now, until)));
    work.await.map_err(|error| tonic::Status::internal(error.to_string()).into())
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct Calendar {
    lead: String,
    windows: Vec<String>,
    freezes: Vec<String>,
    years: Vec<Year>,
}

struct Year {
    year: String,
    days: Vec<Day>,
}

impl Calendar {
    /// Pure: the same days make the same page.
    fn of(version: u64, windows: Vec<String>, freezes: Vec<String>, days: Vec<Day>) -> Self {
        let alarms = days.iter().filter(|day| day.alarm).count();
        let lead = match (version, alarms) {
            (0, _) => text!("calendar-no-policy"),
            (version, 0) => text!("calendar-all-find-their-time", version = version),
            (version, alarms) => text!("calendar-alarms", version = version, count = alarms),
        };
        let mut years: Vec<Year> = Vec::new();
        for day in days {
            let year = day.day.get(..4).unwrap_or_default();
            match years.last_mut() {
                Some(last) if last.year == year => last.days.push(day),
                _ => years.push(Year { year: year.to_owned(), days: vec![day] }),
            }
        }
        Self { lead, windows, freezes, years }
    }
}
