//! `backstay policy forecast`: what time alone brings to this estate, day by day, over the next years.

use std::path::PathBuf;

use clap::Args;
use jiff::{ToSpan, tz::TimeZone};
use policy::Timestamp;
use policy::document::Policy;
use policy::forecast::{Entry, Subject, forecast};
use serde::Serialize;

use super::{in_force, read};
use crate::cli::Context;
use crate::cli::connection::Client;
use crate::cli::failure::{Doing, Exit, Failure};
use crate::cli::output::{View, line};
use crate::cli::server::{ServerRow, all};
use crate::policies::{Day, days, subject};
use proto::invalid::{self, Invalid};

/// The longest forecast, in years.
const MOST_YEARS: u8 = 20;

/// Foresees what time brings.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay policy forecast                  # by the policy in force
  backstay policy forecast policy.toml      # by one that nobody has signed yet
  backstay policy forecast --years 1 -o json")]
pub struct Forecast {
    /// A policy to try; without it, the one in force.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// How many years.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_YEARS)))]
    years: u8,
}

impl Forecast {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let policy = match &self.file {
            Some(file) => read(file)?.1,
            None => in_force(&mut client).await?,
        };
        let subjects = subjects(&client).await?;
        let now = context.clock.now();
        context.output.show(&ForecastView::of(&policy, &subjects, now, self.years))?;
        Ok(Exit::Ok)
    }
}

/// The servers as the controller lists them.
async fn subjects(client: &Client) -> Result<Vec<Subject>, Failure> {
    let doing = "reading the list of servers";
    let subject = |ServerRow { name, dag, ad_site, not_after, .. }: ServerRow| {
        Ok(subject(invalid::id("Server.name", &name)?, dag, ad_site, not_after))
    };
    all(client).await?.into_iter().map(subject).collect::<Result<_, Invalid>>().doing(|| doing.to_owned())
}

/// What is foreseen.
#[derive(Debug, Serialize)]
struct ForecastView {
    policy_version: u64,
    from: Timestamp,
    until: Timestamp,
    servers: usize,
    entries: Vec<Entry>,
}

impl ForecastView {
    fn of(policy: &Policy, subjects: &[Subject], now: Timestamp, years: u8) -> Self {
        let until = now.to_zoned(TimeZone::UTC).checked_add(i64::from(years).years()).map_or(now, |zoned| zoned.timestamp());
        let entries = forecast(policy, subjects, now, until);
        Self { policy_version: policy.version, from: now, until, servers: subjects.len(), entries }
    }
}

impl View for ForecastView {
    fn text(&self) -> String {
        let Self { policy_version, from, until, servers, entries } = self;
        let day = |at: &Timestamp| at.strftime("%Y-%m-%d").to_string();
        let mut text =
            format!("policy version {policy_version}, {servers} server(s), {} to {}, days in UTC\n", day(from), day(until));
        if entries.is_empty() {
            text.push_str("nothing happens\n");
        }
        for Day { day, servers, what, alarm: _ } in days(entries) {
            let names = if servers.is_empty() { "all".to_owned() } else { servers.join(", ") };
            text.push_str(&format!("{day}  {names}: {}\n", line(&what)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use policy::forecast::host;
    use policy::report::Fact;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn a_day_reads_as_one_line_for_all_its_servers() {
        let text = "estate = \"contoso\"\nversion = 3\nprevious = \"".to_owned()
            + &"ab".repeat(32)
            + "\"\nmode = \"propose\"\n\
            [[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"Europe/Berlin\"\n\
            [[freeze]]\nfrom = \"2026-12-20\"\nto = \"2027-01-06\"\nzone = \"Europe/Berlin\"\nreason = \"year end\"\n";
        let policy = Policy::from_toml(text.as_bytes()).expect("a policy");
        let subject = |name: &str, ends: &str| Subject {
            host: host(name.parse().expect("a name"), Fact::Known(Some("DAG1".to_owned())), Fact::Known("Berlin".to_owned())),
            ends: Some(at(ends)),
        };
        let subjects = [
            subject("EX1", "2026-12-27T08:00:00Z"),
            subject("EX2", "2026-12-27T08:00:00Z"),
            subject("EX3", "2031-05-07T08:00:00Z"),
        ];
        let shown = ForecastView::of(&policy, &subjects, at("2026-11-24T12:00:00Z"), 5).text();
        assert_eq!(
            shown,
            "policy version 3, 3 server(s), 2026-11-24 to 2031-11-24, days in UTC\n\
             2026-11-24  EX1, EX2: renewal is proposed; approvals are collected\n\
             2026-11-28  EX1 21:00, EX2 21:35: renewal may run, each in its turn\n\
             2026-12-19  all: freeze begins (year end)\n\
             2026-12-24  EX1, EX2: if not renewed yet: pages, and ignores windows\n\
             2026-12-27  EX1, EX2: if nobody approved: the certificate ends\n\
             2027-01-06  all: freeze ends (year end)\n\
             2031-03-08  EX3: renewal is proposed; approvals are collected\n\
             2031-04-12  EX3 20:00: renewal may run, each in its turn\n\
             2031-05-04  EX3: if not renewed yet: pages, and ignores windows\n\
             2031-05-07  EX3: if nobody approved: the certificate ends\n\
             2031-09-29  EX1, EX2: renewal is proposed; approvals are collected\n\
             2031-11-01  EX1 21:00, EX2 21:35: renewal may run, each in its turn\n"
        );
    }
}
