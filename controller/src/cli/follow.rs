//! `backstay watch`: what happens in the estate, a line each: verdicts that turn, agents that come and go, and every new entry of the audit
//! trail. Nothing is missed of the trail, which is read from where it ended; of servers, what changed between two questions is one change.

use std::collections::BTreeMap;

use clap::Args;
use policy::Timestamp;
use proto::operator::ListAuditRequest;
use serde::Serialize;

use super::Context;
use super::audit;
use super::connection::Client;
use super::failure::{Exit, Failure};
use super::output::{View, line, moment};
use super::server::{self, ServerRow};
use super::watch::{EASE, PAUSE};
use crate::audit::Entry;

/// Shows what happens from now on.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay watch
  backstay watch -o json | jq 'select(.what == \"verdict\")'")]
pub struct Follow {}

impl Follow {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let mut seen = Seen::of(&client).await?;
        context.output.say(&format!("{} server(s); what happens from here on, until Ctrl-C", seen.servers.len()));
        let mut lost = false;
        loop {
            let began = tokio::time::Instant::now();
            match seen.news(&client, context.clock.now()).await {
                Ok(news) => {
                    lost = false;
                    for happening in news {
                        if !context.output.append(&happening)? {
                            return Ok(Exit::Ok);
                        }
                    }
                }
                // Who watches is told once: a controller may restart.
                Err(failure) if !lost => {
                    context.output.say(&failure.report());
                    context.output.say("asking again");
                    lost = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE.max(began.elapsed() * EASE)).await;
        }
    }
}

/// What was seen last.
struct Seen {
    audit: u64,
    servers: BTreeMap<String, Shown>,
}

/// Of a server, what is told when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    verdict: String,
    connected: bool,
}

impl Seen {
    async fn of(client: &Client) -> Result<Self, Failure> {
        let audit = audit::head(&mut client.clone()).await?.sequence;
        Ok(Self { audit, servers: shown(server::all(client).await?) })
    }

    /// What happened since. When a question fails, nothing is taken for told.
    async fn news(&mut self, client: &Client, now: Timestamp) -> Result<Vec<Happening>, Failure> {
        let servers = shown(server::all(client).await?);
        let mut entries = Vec::new();
        let wanted = ListAuditRequest { after: self.audit, ..ListAuditRequest::default() };
        audit::each(client, "reading the audit trail", wanted, |page| {
            entries.extend(page);
            Ok(())
        })
        .await?;
        let mut news = changes(&self.servers, &servers, now);
        self.audit = entries.last().map_or(self.audit, |entry| entry.sequence);
        self.servers = servers;
        news.extend(entries.into_iter().map(Happening::from));
        news.sort_by_key(|happening| happening.at);
        Ok(news)
    }
}

fn shown(rows: Vec<ServerRow>) -> BTreeMap<String, Shown> {
    rows.into_iter().map(|row| (row.name, Shown { verdict: row.verdict, connected: row.connected })).collect()
}

fn changes(before: &BTreeMap<String, Shown>, after: &BTreeMap<String, Shown>, now: Timestamp) -> Vec<Happening> {
    let tell = |server: &str, what: &'static str, was: &str, is: &str| Happening {
        at: now,
        what: what.to_owned(),
        subject: server.to_owned(),
        was: Some(was.to_owned()),
        is: Some(is.to_owned()),
        actor: None,
        detail: None,
    };
    let word = |verdict: &str| if verdict.is_empty() { "not judged yet".to_owned() } else { verdict.to_owned() };
    let link = |connected: bool| if connected { "up" } else { "down" };
    let mut news = Vec::new();
    for (server, is) in after {
        let Shown { verdict, connected } = is;
        match before.get(server) {
            None => news.push(tell(server, "server", "not in the estate", &word(verdict))),
            Some(was) => {
                if was.verdict != *verdict {
                    news.push(tell(server, "verdict", &word(&was.verdict), &word(verdict)));
                }
                if was.connected != *connected {
                    news.push(tell(server, "link", link(was.connected), link(*connected)));
                }
            }
        }
    }
    let gone = before.iter().filter(|(server, _)| !after.contains_key(*server));
    news.extend(gone.map(|(server, was)| tell(server, "server", &word(&was.verdict), "not in the estate")));
    news
}

/// One thing that happened.
#[derive(Debug, Serialize)]
struct Happening {
    at: Timestamp,
    /// `verdict`, `link`, `server`, or the action of an audit entry.
    what: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<Entry> for Happening {
    fn from(entry: Entry) -> Self {
        let Entry { sequence: _, at, actor, action, subject, detail, previous: _, hash: _ } = entry;
        Self { at, what: action, subject, was: None, is: None, actor: Some(actor), detail: Some(detail) }
    }
}

impl View for Happening {
    fn text(&self) -> String {
        let Self { at, what, subject, was, is, actor, detail } = self;
        let text = match (was, is, actor, detail) {
            (Some(was), Some(is), ..) => format!("{was} -> {is}"),
            (.., Some(actor), Some(detail)) => format!("by {actor}: {detail}"),
            (..) => String::new(),
        };
        format!("{}  {:<18}  {:<14}  {}\n", moment(*at), line(what), line(subject), line(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(rows: &[(&str, &str, bool)]) -> BTreeMap<String, Shown> {
        let shown =
            |(_, verdict, connected): &(&str, &str, bool)| Shown { verdict: (*verdict).to_owned(), connected: *connected };
        rows.iter().map(|row| (row.0.to_owned(), shown(row))).collect()
    }

    #[test]
    fn what_turned_came_or_went_is_a_line() {
        let now = "2026-11-27T04:00:00Z".parse().expect("a moment");
        let before = servers(&[("EX1", "healthy", true), ("EX2", "healthy", true), ("EX3", "", false), ("EX4", "healthy", true)]);
        let after = servers(&[("EX1", "deleted", true), ("EX2", "healthy", false), ("EX3", "healthy", true), ("EX5", "", true)]);
        let lines: Vec<String> = changes(&before, &after, now).iter().map(View::text).collect();
        assert_eq!(
            lines,
            [
                "2026-11-27T04:00:00Z  verdict             EX1             healthy -> deleted\n",
                "2026-11-27T04:00:00Z  link                EX2             up -> down\n",
                "2026-11-27T04:00:00Z  verdict             EX3             not judged yet -> healthy\n",
                "2026-11-27T04:00:00Z  link                EX3             down -> up\n",
                "2026-11-27T04:00:00Z  server              EX5             not in the estate -> not judged yet\n",
                "2026-11-27T04:00:00Z  server              EX4             healthy -> not in the estate\n",
            ]
        );
        assert!(changes(&after, &after, now).is_empty());
    }
}
