//! *Patch night*: which servers lose 444 at the next restart, what would stop a cumulative update, and what is frozen.

use askama::Template;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{PreflightRequest, ServerPreflight};

use super::access::Who;
use super::{Shown, Trouble, Web};

/// Asked for at once.
const PAGE: i32 = 1_000;

/// The most servers that are asked about.
const SHOWN: usize = 5_000;

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let mut servers = Vec::new();
    let mut page_token = String::new();
    while servers.len() < SHOWN {
        let page = web.operators.preflight(who.ask(PreflightRequest { page_size: PAGE, page_token })).await?.into_inner();
        servers.extend(page.servers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(Shown { title: "Patch night".to_owned(), main: PatchNight::of(servers).render()? })
}

#[derive(Template)]
#[template(path = "patch_night.html")]
struct PatchNight {
    headline: String,
    lead: &'static str,
    against: Vec<ServerLine>,
    ready: Vec<String>,
}

/// A server about which something is known, or not known.
struct ServerLine {
    server: String,
    class: &'static str,
    silent: bool,
    lines: Vec<(&'static str, String)>,
}

impl PatchNight {
    /// Pure: the same answers make the same page. Who loses 444 stands first.
    fn of(servers: Vec<ServerPreflight>) -> Self {
        let (mut against, mut ready) = (Vec::new(), Vec::new());
        let count = servers.len();
        let mut stops = 0;
        for ServerPreflight { server, verdict: _, connected, restart, update, frozen, unknown } in servers {
            let stopped = !restart.is_empty() || !update.is_empty();
            stops += usize::from(stopped);
            let class = if stopped {
                "bad"
            } else if connected && unknown.is_empty() {
                "grey"
            } else {
                "soon"
            };
            let kinds = [("at the next restart", restart), ("stops an update", update), ("unknown", unknown), ("frozen", frozen)];
            let lines: Vec<(&'static str, String)> =
                kinds.into_iter().flat_map(|(kind, lines)| lines.into_iter().map(move |line| (kind, line))).collect();
            if lines.is_empty() && connected {
                ready.push(server);
            } else {
                against.push(ServerLine { server, class, silent: !connected, lines });
            }
        }
        against.sort_by_key(|line| (line.class != "bad", line.class != "soon"));
        let headline = match (count, stops) {
            (0, _) => "No server has reported yet".to_owned(),
            (_, 0) => "Nothing is known that would stop tonight".to_owned(),
            (count, stops) => format!("{stops} of {count} servers must not be restarted or updated as they are"),
        };
        let lead = "Asked of what every server said last. What a restart brings to light stands here before it.";
        Self { headline, lead, against, ready }
    }
}
