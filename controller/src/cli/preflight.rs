//! `backstay preflight`: before a patch night, which servers lose 444 at the next restart, what would stop a cumulative update,
//! and what is frozen and why.

use clap::Args;
use policy::preflight::Preflight as Found;
use proto::operator::{PreflightRequest, ServerPreflight};
use serde::Serialize;

use super::connection::{Client, answer};
use super::failure::{Exit, Failure};
use super::output::{View, line};
use super::{Context, pages};

/// Asks what a patch night must know.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay preflight
  backstay preflight -o json

Exit code 6 when a server loses 444 at its next restart or would stop a cumulative update.")]
pub struct Preflight {}

impl Preflight {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let client = context.connection.connect().await?;
        let doing = "asking what a patch night must know";
        let mut rows = Vec::new();
        let ask = |page_token| page(client.clone(), doing, page_token);
        pages::each(doing, ask, |servers: Vec<ServerPreflight>| {
            rows.extend(servers.into_iter().map(Row::from));
            Ok(())
        })
        .await?;
        let view = Rows(rows);
        context.output.show(&view)?;
        Ok(if view.stops() { Exit::Findings } else { Exit::Ok })
    }
}

async fn page(mut client: Client, doing: &str, page_token: String) -> Result<(Vec<ServerPreflight>, String), Failure> {
    let response = answer(doing, client.preflight(PreflightRequest { page_size: pages::PAGE, page_token })).await?;
    Ok((response.servers, response.next_page_token))
}

/// One server.
#[derive(Debug, Serialize)]
struct Row {
    server: String,
    verdict: String,
    connected: bool,
    #[serde(flatten)]
    found: Found,
}

impl From<ServerPreflight> for Row {
    fn from(wire: ServerPreflight) -> Self {
        let ServerPreflight { server, verdict, connected, restart, update, frozen, unknown } = wire;
        Self { server, verdict, connected, found: Found { restart, update, frozen, unknown } }
    }
}

/// All servers.
#[derive(Debug, Serialize)]
struct Rows(Vec<Row>);

impl Rows {
    fn stops(&self) -> bool {
        self.0.iter().any(|Row { found, .. }| !found.restart.is_empty() || !found.update.is_empty())
    }
}

impl View for Rows {
    fn text(&self) -> String {
        let mut text = String::new();
        for Row { server, verdict, connected, found } in &self.0 {
            let silent = if *connected { "" } else { ", its agent is silent: as it was said last" };
            text.push_str(&format!("{}  {}{silent}\n", line(server), line(verdict)));
            let Found { restart, update, frozen, unknown } = found;
            let parts = [("at the next restart", restart), ("stops an update", update), ("frozen", frozen), ("unknown", unknown)];
            if parts.iter().all(|(_, lines)| lines.is_empty()) {
                text.push_str("  nothing is known against it\n");
            }
            for (what, lines) in parts {
                text.extend(lines.iter().map(|found| format!("  {what}: {}\n", line(found))));
            }
        }
        if self.0.is_empty() { "no server has reported yet\n".to_owned() } else { text }
    }
}
