//! Whose exports are these?
//!
//! Hardly any export names the server that it was taken from, and people put the files of several servers into one
//! folder. What tells, from the strongest: the machine in Exchange's own list of the IIS sites that use a certificate,
//! the machine through which a command was run (`PSComputerName`, another one where `-Server` was used), and the names in
//! a certificate that the server made for itself.

use std::collections::BTreeSet;

use policy::certificate::Certificate;
use policy::id::ServerName;
use thiserror::Error;

use crate::exchange_certificate::Listing;
use crate::export::Content;
use crate::names;

/// Exports from which no one server can be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServerError {
    /// Nobody is named.
    #[error(
        "expected an export that names its server (Get-ExchangeServer, Get-ExchangeCertificate or Test-ServiceHealth), \
         found none: add one, or say which server is meant"
    )]
    Nobody,
    /// Several fit alike.
    #[error("expected exports of one server, found several that fit: {}; say which one is meant", list(.0))]
    Several(BTreeSet<ServerName>),
}

/// The server that the exports are taken to be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) name: ServerName,
    /// How it was told.
    pub(crate) because: String,
}

pub(crate) fn list(names: &BTreeSet<ServerName>) -> String {
    names.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
}

/// Chooses the server by the strongest evidence that leaves one.
pub(crate) fn choose<'a>(
    contents: impl Iterator<Item = &'a Content> + Clone,
    wanted: Option<&ServerName>,
) -> Result<Chosen, ServerError> {
    if let Some(name) = wanted {
        return Ok(Chosen { name: name.clone(), because: "it was asked for".to_owned() });
    }
    let mut ranks: [(&str, BTreeSet<ServerName>); 5] = [
        ("Get-ExchangeServer lists it", BTreeSet::new()),
        ("Exchange names it where it says which IIS sites use a certificate", BTreeSet::new()),
        ("commands were run through it", BTreeSet::new()),
        ("a certificate that it made for itself names it", BTreeSet::new()),
        ("Get-ExchangeServer was run through it", BTreeSet::new()),
    ];
    let [(_, listed), (_, iis), (_, computers), (_, subjects), (_, asked)] = &mut ranks;
    for content in contents {
        match content {
            Content::Servers(servers) => {
                listed.extend(servers.listed.iter().map(|server| server.name.clone()));
                asked.extend(named(&servers.computers));
            }
            Content::Certificates(listing) => {
                iis.extend(iis_hosts(listing));
                computers.extend(named(&listing.computers));
                subjects.extend(self_made(listing));
            }
            Content::Health(health) => computers.extend(named(&health.computers)),
            Content::ApplicationHost(_)
            | Content::Redirection(_)
            | Content::Auth(_)
            | Content::WebBindings(_)
            | Content::Records(_) => {}
        }
    }
    let mut fitting: Option<BTreeSet<ServerName>> = None;
    for (because, names) in ranks {
        let left: BTreeSet<ServerName> = match &fitting {
            Some(before) => before.intersection(&names).cloned().collect(),
            None => names,
        };
        let others = fitting.as_ref().map(|before| format!("of {}, ", list(before))).unwrap_or_default();
        match left.first() {
            Some(name) if left.len() == 1 => return Ok(Chosen { name: name.clone(), because: format!("{others}{because}") }),
            Some(_) => fitting = Some(left),
            None => {}
        }
    }
    Err(fitting.map_or(ServerError::Nobody, ServerError::Several))
}

/// The servers to which listings of certificates point, each by itself, when they are several: what lies in one folder is then
/// of all of them. A server that Get-ExchangeServer does not list is no reason: its listing has strayed in.
pub(crate) fn several<'a>(contents: impl Iterator<Item = &'a Content>) -> Option<BTreeSet<ServerName>> {
    let mut told = BTreeSet::new();
    let mut listed = BTreeSet::new();
    for content in contents {
        match content {
            Content::Certificates(_) => told.extend(choose(std::iter::once(content), None).ok().map(|chosen| chosen.name)),
            Content::Servers(servers) => listed.extend(servers.listed.iter().map(|server| server.name.clone())),
            Content::ApplicationHost(_)
            | Content::Redirection(_)
            | Content::Auth(_)
            | Content::Health(_)
            | Content::WebBindings(_)
            | Content::Records(_) => {}
        }
    }
    if !listed.is_empty() {
        told.retain(|server| listed.contains(server));
    }
    (told.len() > 1).then_some(told)
}

/// Whether the certificates can be this server's: what Exchange says of IIS sites decides; else a name must fit, if any is there.
pub(crate) fn owns(server: &ServerName, listing: &Listing) -> bool {
    let hosts = iis_hosts(listing);
    if !hosts.is_empty() {
        return hosts.contains(server);
    }
    let mut names = self_made(listing);
    names.extend(named(&listing.computers));
    names.is_empty() || names.contains(server)
}

/// Whether an export that was run through these machines can be this server's.
pub(crate) fn ran_on(server: &ServerName, computers: &BTreeSet<String>) -> bool {
    let names: BTreeSet<ServerName> = named(computers).collect();
    names.is_empty() || names.contains(server)
}

fn named(computers: &BTreeSet<String>) -> impl Iterator<Item = ServerName> {
    computers.iter().filter_map(|name| names::server(name))
}

fn iis_hosts(listing: &Listing) -> BTreeSet<ServerName> {
    listing.listed.iter().flat_map(|listed| listed.sites.iter().map(|site| site.host.clone())).collect()
}

fn self_made(listing: &Listing) -> BTreeSet<ServerName> {
    listing.listed.iter().filter_map(|listed| maker(&listed.certificate)).map(|(server, _)| server).collect()
}

/// The server that a certificate in Exchange's own fashion is of: issued by itself, for its short and its full name.
pub(crate) fn maker(certificate: &Certificate) -> Option<(ServerName, &str)> {
    let short = certificate.names().iter().find(|name| !name.contains('.'))?;
    let server = names::server(short).filter(|_| certificate.self_issued())?;
    let full = certificate.names().iter().find(|name| names::is_fqdn_of(name, &server))?;
    Some((server, full))
}
