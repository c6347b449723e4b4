//! Several exports of one server become one sight of it.

use std::collections::{BTreeMap, BTreeSet};

use policy::id::ServerName;
use policy::report::{Exchange, Fact, Host, Machine, Report, Sight};
use thiserror::Error;

use crate::exchange_server::ListedServer;
use crate::export::{Content, ReadError};
use crate::server::{self, Chosen, ServerError};
use crate::{certificates, names, records};

/// A file that was not read, or not whole.
#[derive(Debug, Clone, Error)]
#[error("cannot read {file}")]
pub struct Unread {
    /// The file.
    pub file: String,
    /// Why.
    #[source]
    pub error: ReadError,
}

/// What the exports say of one server.
#[derive(Debug, Clone)]
pub struct Assembly {
    /// The server as far as the exports show it. What none of them shows is unknown, with the command that would show it.
    pub sight: Sight,
    /// The server with what Exchange itself says is on 444, when the export that is believed names another certificate
    /// there: one of the two is of another machine or moment, and the files cannot tell which.
    pub otherwise: Option<Sight>,
    /// What was read from which file, how it was judged, and where files contradict each other.
    pub notes: Vec<String>,
    /// Files that were not read, or not whole. The others were.
    pub unread: Vec<Unread>,
}

/// Exports that make no sight of a server.
#[derive(Debug, Clone, Error)]
pub enum AssembleError {
    /// No file at all.
    #[error("expected at least one exported file, found none")]
    NoExports,
    /// Not one of the files was read.
    #[error("expected at least one export that can be read, found none among {} files", .0.len())]
    NothingRead(Vec<Unread>),
    /// It cannot be told which server they are of.
    #[error("cannot tell which server the exports are of")]
    Server(#[source] ServerError),
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Readable {
    pub(crate) file: String,
    pub(crate) content: Content,
}

/// Merges what belongs to one server.
///
/// http.sys records come from `netsh`, else from Get-WebBinding, else from what Exchange says of its certificates; sites
/// from applicationHost.config, else from Get-WebBinding.
pub(crate) fn one(files: &[&Readable], chosen: &Chosen, mut notes: Vec<String>, unread: Vec<Unread>) -> Assembly {
    notes.push(format!("the server is {}: {}", chosen.name, chosen.because));

    let held = certificates::of(&chosen.name, files, &mut notes);
    let configuration = first(files, &mut notes, "applicationHost.config", |content| {
        let Content::ApplicationHost(configuration) = content else { return None };
        Some(configuration)
    });
    let bindings = first(files, &mut notes, "Get-WebBinding", |content| {
        let Content::WebBindings(bindings) = content else { return None };
        Some(bindings)
    });
    let sites = match (configuration, bindings) {
        (Some((_, configuration)), _) => Fact::Known(configuration.sites.clone()),
        (None, Some((_, bindings))) => Fact::Known(bindings.sites.clone()),
        (None, None) => missing("the IIS sites", r"copy %windir%\System32\inetsrv\config\applicationHost.config"),
    };
    let records = records::of(files, bindings, &sites, &held, &mut notes);
    let stores = held.stores(&records, &mut notes);
    let (host, exchange) = host(chosen, files, &held);
    let report = Report {
        host,
        exchange,
        setup: Fact::Unknown("exports do not show whether Exchange Setup is at work".to_owned()),
        stores,
        containers: Fact::Unknown("exports do not show key containers".to_owned()),
        records,
        sites,
        metabase: configuration.map_or_else(
            || missing("applicationHost.config", r"copy %windir%\System32\inetsrv\config\applicationHost.config"),
            |(_, configuration)| Fact::Known(configuration.metabase.clone()),
        ),
        services: services(&chosen.name, files, &mut notes),
        machine: machine(files, &mut notes),
        probes: Vec::new(),
        hold: None,
    };
    let sight = Sight { report, certificates: held.by_id() };
    let otherwise = records::otherwise(&sight.report.records, &sight.report.sites, &held).map(|records| {
        let records = Fact::Known(records);
        let stores = held.stores(&records, &mut Vec::new());
        Sight { report: Report { records, stores, ..sight.report.clone() }, certificates: sight.certificates.clone() }
    });
    Assembly { sight, otherwise, notes, unread }
}

/// The fact that nothing showed, and the command that would.
pub(crate) fn missing<T>(what: &str, command: &str) -> Fact<T> {
    Fact::Unknown(format!("no export of {what} was given: {command}"))
}

/// What exports show of the machine around IIS.
fn machine(files: &[&Readable], notes: &mut Vec<String>) -> Machine {
    let auth = first(files, notes, "Get-AuthConfig", |content| {
        let Content::Auth(auth) = content else { return None };
        Some(auth)
    });
    let redirection = first(files, notes, "redirection.config", |content| {
        let Content::Redirection(redirection) = content else { return None };
        Some(redirection)
    });
    Machine {
        auth: auth.map_or_else(
            || missing("the Auth Certificate", "Get-AuthConfig | Export-Clixml auth.xml"),
            |(_, auth)| Fact::Known(auth.clone()),
        ),
        iis_redirected: redirection.map_or_else(
            || missing("redirection.config", r"copy %windir%\System32\inetsrv\config\redirection.config"),
            |(_, redirection)| Fact::Known(redirection.to.clone()),
        ),
        ..Machine::not_observed()
    }
}

/// The first content of a kind; others of that kind that say something else are named.
pub(crate) fn first<'a, T: PartialEq>(
    files: &[&'a Readable],
    notes: &mut Vec<String>,
    kind: &str,
    pick: impl Fn(&'a Content) -> Option<&'a T>,
) -> Option<(&'a str, &'a T)> {
    let mut of_kind = files.iter().filter_map(|file| Some((file.file.as_str(), pick(&file.content)?)));
    let (used, content) = of_kind.next()?;
    for (file, other) in of_kind {
        if other != content {
            notes.push(format!("{file}: left out, since {used} is another {kind} and says otherwise; neither names its server"));
        }
    }
    Some((used, content))
}

fn host(chosen: &Chosen, files: &[&Readable], held: &certificates::Held<'_>) -> (Host, Fact<Exchange>) {
    let listed = files.iter().find_map(|file| {
        let Content::Servers(servers) = &file.content else { return None };
        servers.listed.iter().find(|server| server.name == chosen.name)
    });
    let unlisted = || match files.iter().any(|file| matches!(file.content, Content::Servers(_))) {
        true => format!("Get-ExchangeServer does not show it for {}", chosen.name),
        false => "no export of the server was given: Get-ExchangeServer | Export-Clixml server.xml".to_owned(),
    };
    let of_listed = |value: fn(&ListedServer) -> Option<String>| listed.and_then(value);
    let fqdn = of_listed(|server| server.fqdn.clone()).or_else(|| fqdn(&chosen.name, files, held));
    let host = Host {
        name: chosen.name.clone(),
        fqdn: fqdn.map_or_else(|| Fact::Unknown(unlisted()), Fact::Known),
        machine_id: Fact::Unknown("exports do not show it".to_owned()),
        ad_site: of_listed(|server| server.ad_site.clone()).map_or_else(|| Fact::Unknown(unlisted()), Fact::Known),
        dag: Fact::Unknown("exports do not show it".to_owned()),
    };
    let exchange = listed.and_then(|server| server.exchange.clone());
    (host, exchange.map_or_else(|| Fact::Unknown(unlisted()), Fact::Known))
}

/// The full name, from the machine through which a command was run, or from a certificate of the server's own.
fn fqdn(server: &ServerName, files: &[&Readable], held: &certificates::Held<'_>) -> Option<String> {
    let computers: BTreeSet<&String> = files.iter().flat_map(|file| file.content.computers()).collect();
    let ran = computers.into_iter().find(|name| names::is_fqdn_of(name, server)).cloned();
    ran.or_else(|| {
        let own = held.certificates().filter_map(server::maker).find(|(maker, _)| maker == server);
        own.map(|(_, full)| full.to_owned())
    })
}

fn services(
    server: &ServerName,
    files: &[&Readable],
    notes: &mut Vec<String>,
) -> Fact<BTreeMap<String, policy::report::Service>> {
    let mut services = None;
    for file in files {
        let Content::Health(health) = &file.content else { continue };
        if server::ran_on(server, &health.computers) {
            services.get_or_insert_with(BTreeMap::new).extend(health.services.clone());
        } else {
            notes.push(format!("{}: left out, it was not taken from {server}", file.file));
        }
    }
    services.map_or_else(|| missing("the services", "Test-ServiceHealth | Export-Clixml services.xml"), Fact::Known)
}
