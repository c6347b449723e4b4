//! *Patch night*: which servers lose 444 at the next restart, what would stop a cumulative update, and what is frozen.

use askama::Template;
use proto::operator::operator_service_server::OperatorService as _;
use proto::operator::{PreflightRequest, ServerPreflight};

use super::access::Who;
use super::texts::{filters, text};
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
    Ok(Shown { title: text!("page-patch-night"), main: PatchNight::of(servers).render()? })
}

#[derive(Template)]
#[template(path = "patch_night.html")]
struct PatchNight {
    headline: String,
    lead: String,
    against: Vec<ServerLine>,
    ready: Vec<String>,
}

/// A server about which something is known, or not known.
struct ServerLine {
    server: String,
    class: &'static str,
    silent: bool,
    lines: Vec<(String, String)>,
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
            let kinds = [
                (text!("patch-night-restart"), restart),
                (text!("patch-night-update"), update),
                (text!("patch-night-unknown"), unknown),
                (text!("patch-night-frozen"), frozen),
            ];
            let lines: Vec<(String, String)> =
                kinds.into_iter().flat_map(|(kind, lines)| lines.into_iter().map(move |line| (kind.clone(), line))).collect();
            if lines.is_empty() && connected {
                ready.push(server);
            } else {
                against.push(ServerLine { server, class, silent: !connected, lines });
            }
        }
        against.sort_by_key(|line| (line.class != "bad", line.class != "soon"));
        let headline = match (count, stops) {
            (0, _) => text!("patch-night-none"),
            (_, 0) => text!("patch-night-nothing-known"),
            (count, stops) => text!("patch-night-stops", stops = stops, count = count),
        };
        let lead = text!("patch-night-lead");
        Self { headline, lead, against, ready }
    }
}
