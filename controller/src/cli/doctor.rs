//! `backstay doctor`: whether this workstation, the controller and the people behind it are ready for the day on which something is
//! to be done. Looks only, with the rights of a viewer; the hosts have a doctor of their own (`backstay-agent doctor`).

use std::path::Path;

use clap::Args;
use policy::Timestamp;
use policy::certificate::Certificate;
use policy::duration::Span;
use policy::trust::{Class, PersonRole, TrustDocument};
use proto::names::Peer;
use proto::operator::{
    GetStatusRequest, GetStatusResponse, GetTrustRequest, GetTrustResponse, ListAgentsRequest, ListChannelsRequest,
    ListServersRequest,
};
use proto::signed::SignedBytes;
use serde::Serialize;

use super::connection::{self, Client, answer};
use super::failure::{Exit, Failure};
use super::output::{View, line, moment, table};
use super::{Context, pages};

/// What ends within this time is said.
const SOON: Span = Span::days(30);

/// A CA is made for ten years, and takes some weeks to follow.
const CA_SOON: Span = Span::days(180);

/// Looks whether everything is ready on the people's side.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay doctor
  backstay doctor -o json

Exit code 6 when something was found.")]
pub struct Doctor {}

impl Doctor {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let now = context.clock.now();
        let mut checks = Checks(Vec::new());
        let path = context.connection.identity_file()?;
        identity(&path, now, &mut checks);
        match context.connection.connect().await {
            Ok(client) => controller(client, now, &mut checks).await?,
            Err(failure) => checks.wrong("controller", failure.to_line(), failure.step().unwrap_or("see above")),
        }
        context.output.show(&checks)?;
        Ok(if checks.0.iter().all(|check| check.ok) { Exit::Ok } else { Exit::Findings })
    }
}

/// Who asks, and for how long.
fn identity(path: &Path, now: Timestamp, checks: &mut Checks) {
    const NEW: &str = "`backstay init --operator NAME` on the controller's machine makes a new one";
    let own = match connection::own_certificate(path) {
        Ok(own) => own,
        Err(failure) => return checks.wrong("identity", failure.to_line(), failure.step().unwrap_or(NEW)),
    };
    let who = match Peer::of_certificate(&own) {
        Ok(Peer::Operator { estate, person, role }) => format!("{person}, {} of {estate}", role.as_str()),
        Ok(other) => return checks.wrong("identity", format!("expected a person, found {other}"), NEW),
        Err(error) => return checks.wrong("identity", error.to_string(), NEW),
    };
    match Certificate::from_der(&own).map(|certificate| certificate.not_after()) {
        Ok(end) if end <= now => checks.wrong("identity", format!("{who}, ended {}", moment(end)), NEW),
        Ok(end) if end <= SOON.after(now) => checks.wrong("identity", format!("{who}, ends {}", moment(end)), NEW),
        Ok(end) => checks.fine("identity", format!("{who}, until {}", moment(end))),
        Err(error) => checks.wrong("identity", error.to_string(), NEW),
    }
    if let Some(mode) = others_may_read(path) {
        let found = format!("{} can be read by others (mode {mode:o})", path.display());
        checks.wrong("identity file", found, &format!("chmod 600 {}", path.display()));
    }
}

/// The file's mode, where more than its owner may read it.
#[cfg(unix)]
fn others_may_read(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// On Windows access lists decide, which it has from its folder.
#[cfg(not(unix))]
fn others_may_read(_: &Path) -> Option<u32> {
    None
}

async fn controller(mut client: Client, now: Timestamp, checks: &mut Checks) -> Result<(), Failure> {
    let status = answer("asking for the status", client.get_status(GetStatusRequest {})).await?;
    let GetStatusResponse { version, policy_version, awaited, silent, servers, restored_at, .. } = status;
    let own = env!("CARGO_PKG_VERSION");
    if version == own {
        checks.fine("controller", format!("answers, version {version}"));
    } else {
        checks.wrong("controller", format!("answers, version {version}; this program is {own}"), "use programs of one version");
    }
    if policy_version == 0 {
        checks.wrong("policy", "none: every server is only observed".to_owned(), "backstay policy apply policy.toml --key KEY");
    } else {
        checks.fine("policy", format!("version {policy_version}"));
    }
    if silent.is_empty() {
        checks.fine("agents", format!("{servers} server(s), each of them heard"));
    } else {
        let found = format!("not heard: {}", first(&silent));
        checks.wrong("agents", found, "see whether the agent runs there: `backstay-agent doctor` on the host");
    }
    if restored_at.is_some() && !awaited.is_empty() {
        let found = format!("not heard since the store was put back: {}", first(&awaited));
        checks.wrong("restore", found, "nothing is offered to their groups: `backstay agent go-without SERVER`");
    }
    let waiting = ListAgentsRequest { page_size: 100, page_token: String::new(), all: false };
    let waiting = answer("asking who waits", client.list_agents(waiting)).await?.agents;
    if !waiting.is_empty() {
        let names: Vec<String> = waiting.iter().map(|agent| format!("{} ({})", agent.server, agent.state)).collect();
        checks.wrong("machines", format!("wait for a person: {}", first(&names)), "backstay agent list");
    }
    channels(&mut client, checks).await?;
    let GetTrustResponse { trust, ca } = answer("asking for the trust document", client.get_trust(GetTrustRequest {})).await?;
    authorities(&ca, now, checks);
    let read = |signed: proto::types::Signed| {
        let signed = SignedBytes::try_from(signed).map_err(|error| error.to_string())?;
        proto::signed::trust(&signed).map(|verified| verified.value).map_err(|error| error.to_string())
    };
    match trust.map(read) {
        None => checks.wrong("approvers", "no trust document: nobody can approve".to_owned(), "backstay trust init"),
        Some(Err(error)) => checks.wrong("approvers", error, "backstay trust show"),
        Some(Ok(trust)) => approvers(&trust, now, checks),
    }
    Ok(())
}

/// By which ways people are told, and whether one of them works when it matters.
async fn channels(client: &mut Client, checks: &mut Checks) -> Result<(), Failure> {
    let channels = answer("asking by which ways people are told", client.list_channels(ListChannelsRequest {})).await?.channels;
    for channel in channels.iter().filter(|channel| !channel.failure.is_empty()) {
        let found = format!("{}: {} message(s) wait: {}", channel.name, channel.waiting, line(&channel.failure));
        checks.wrong("notifications", found, "backstay channel test");
    }
    let waking: Vec<(String, String)> = channels
        .into_iter()
        .filter(|channel| channel.says.iter().any(|kind| kind == "page"))
        .map(|channel| (channel.name, channel.host))
        .collect();
    if waking.is_empty() {
        checks.fine("notifications", "none that wakes anybody: alarms come from elsewhere, or not at all".to_owned());
        return Ok(());
    }
    let (doing, mut watched) = ("asking for the servers", Vec::new());
    let ask = |page_token| {
        let mut client = client.clone();
        async move {
            let request = ListServersRequest { page_size: pages::PAGE, page_token, brief: true };
            let response = answer(doing, client.list_servers(request)).await?;
            Ok((response.servers, response.next_page_token))
        }
    };
    pages::each(doing, ask, |servers| {
        watched.extend(servers.into_iter().map(|server| server.name));
        Ok(())
    })
    .await?;
    match through_watched(&waking, &watched) {
        Some(servers) => checks.wrong(
            "notifications",
            format!("every way that wakes somebody leads through servers that are watched here: {}", first(&servers)),
            "when these are down nobody is told: add a channel in controller.toml that does not need them",
        ),
        None => checks.fine("notifications", format!("{} channel(s) that wake somebody", waking.len())),
    }
    Ok(())
}

/// The servers on which every channel depends, if each depends on one: by their short names, for a relay is known by any of its names.
fn through_watched(channels: &[(String, String)], watched: &[String]) -> Option<Vec<String>> {
    let on = |host: &str| {
        let short = host.split('.').next().unwrap_or_default();
        watched.iter().find(|server| server.eq_ignore_ascii_case(short)).cloned()
    };
    channels.iter().map(|(_, host)| on(host)).collect()
}

fn authorities(ca: &[Vec<u8>], now: Timestamp, checks: &mut Checks) {
    for der in ca {
        match Certificate::from_der(der).map(|certificate| certificate.not_after()) {
            Ok(end) if end <= CA_SOON.after(now) => {
                checks.wrong("CA", format!("ends {}", moment(end)), "agents follow to another CA: docs/recovery.md");
            }
            Ok(end) => checks.fine("CA", format!("until {}", moment(end))),
            Err(error) => checks.wrong("CA", error.to_string(), "is this a controller of Backstay?"),
        }
    }
}

/// Whether enough persons can sign for each class, today and for a while.
fn approvers(trust: &TrustDocument, now: Timestamp, checks: &mut Checks) {
    let keys = || {
        let approvers = trust.persons.iter().filter(|(_, person)| person.roles.contains(&PersonRole::Approver));
        approvers.flat_map(|(name, person)| person.keys.iter().map(move |key| (name, key)))
    };
    let all = keys().map(|(_, key)| key.key).collect();
    let (today, then) = (trust.approvers(&all, now).len(), trust.approvers(&all, SOON.after(now)).len());
    let most = Class::ALL.into_iter().map(|class| (trust.need(class), class)).max().map_or(1, |(need, _)| need) as usize;
    const NEXT: &str = "add a person or a key: `backstay trust next`, signed by the root keys";
    if today < most {
        checks.wrong("approvers", format!("{most} must sign, and {today} can"), NEXT);
    } else if then < most {
        let ends: Vec<String> = keys()
            .filter(|(_, key)| now < key.until && key.until <= SOON.after(now))
            .map(|(name, key)| format!("{name}'s ends {}", moment(key.until)))
            .collect();
        checks.wrong("approvers", format!("{most} must sign, and in 30 days {then} can: {}", ends.join(", ")), NEXT);
    } else if today == most && today > 1 {
        checks.wrong("approvers", format!("{most} must sign, and no more than {today} can: nobody may be ill"), NEXT);
    } else {
        checks.fine("approvers", format!("{today} can sign, at most {most} must"));
    }
}

fn first(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let names = names.iter().take(SHOWN).map(|name| line(name)).collect::<Vec<_>>().join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Checks(Vec<Check>);

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    found: String,
    /// What to do; nothing when it is in order.
    next: Option<String>,
}

impl Checks {
    fn fine(&mut self, name: &'static str, found: String) {
        self.0.push(Check { name, ok: true, found, next: None });
    }

    fn wrong(&mut self, name: &'static str, found: String, next: &str) {
        self.0.push(Check { name, ok: false, found, next: Some(next.to_owned()) });
    }
}

impl View for Checks {
    fn text(&self) -> String {
        table(
            ["CHECK", "OK", "FOUND", "NEXT"],
            self.0.iter().map(|Check { name, ok, found, next }| {
                let ok = if *ok { "yes" } else { "no" };
                [(*name).to_owned(), ok.to_owned(), line(found), next.clone().unwrap_or_default()]
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use policy::id::{KeyId, Sha256};
    use policy::trust::{KeyKind, PersonKey, PersonKeys, Root};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    /// A trust document with an approver for each of these ends of keys.
    fn trust(ends: &[&str], need: u32) -> TrustDocument {
        let person = |(index, end): (usize, &&str)| {
            let key = PersonKey { key: KeyId([u8::try_from(index).expect("few"); 32]), kind: KeyKind::File, until: at(end) };
            let keys = PersonKeys { roles: BTreeSet::from([PersonRole::Approver]), keys: vec![key] };
            (format!("anna{index}").parse().expect("a name"), keys)
        };
        TrustDocument {
            estate: "contoso".parse().expect("a name"),
            version: 1,
            root: Root { threshold: 1, keys: BTreeSet::new() },
            persons: ends.iter().enumerate().map(person).collect(),
            need: BTreeMap::from([(Class::Renew, need)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::from([Sha256([7; 32])]),
        }
    }

    #[test]
    fn a_way_that_leads_through_what_is_watched_is_none_when_it_matters() {
        let watched = ["EX1".to_owned(), "EX2".to_owned()];
        let through = |hosts: &[&str]| {
            let channels: Vec<(String, String)> = hosts.iter().map(|host| ("ops".to_owned(), (*host).to_owned())).collect();
            through_watched(&channels, &watched)
        };
        assert_eq!(through(&["ex1.contoso.test"]), Some(vec!["EX1".to_owned()]));
        assert_eq!(through(&["EX1", "ex2.contoso.test"]), Some(vec!["EX1".to_owned(), "EX2".to_owned()]));
        assert_eq!(through(&["ex1.contoso.test", "pager.example.test"]), None, "one that does not is enough");
        assert_eq!(through(&["relay.contoso.test"]), None);
        assert_eq!(through(&["10.0.0.1"]), None, "an address says nothing");
    }

    #[test]
    fn whether_enough_can_sign_is_said_before_the_day_on_which_they_must() {
        let now = at("2026-11-27T00:00:00Z");
        let look = |ends: &[&str], need| {
            let mut checks = Checks(Vec::new());
            approvers(&trust(ends, need), now, &mut checks);
            let check = checks.0.remove(0);
            format!("{} {}", check.ok, check.found)
        };
        let (long, soon, over) = ("2028-01-01T00:00:00Z", "2026-12-10T00:00:00Z", "2026-11-01T00:00:00Z");
        assert_eq!(look(&[long], 1), "true 1 can sign, at most 1 must");
        assert_eq!(look(&[long, long, long], 2), "true 3 can sign, at most 2 must");
        assert_eq!(look(&[long, over], 2), "false 2 must sign, and 1 can");
        assert_eq!(look(&[long, soon], 2), "false 2 must sign, and in 30 days 1 can: anna1's ends 2026-12-10T00:00:00Z");
        assert_eq!(look(&[long, long], 2), "false 2 must sign, and no more than 2 can: nobody may be ill");
    }

    #[test]
    fn an_identity_that_is_none_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut checks = Checks(Vec::new());
        identity(&folder.path().join("operator.pem"), at("2026-11-27T00:00:00Z"), &mut checks);
        assert!(!checks.0[0].ok && checks.0[0].next.is_some());
        assert!(checks.text().contains("operator.pem"), "{}", checks.text());
    }
}
