//! Get-ExchangeServer: name, AD site, version and roles. Without a filter it lists every server of the organisation.

use std::collections::BTreeSet;

use policy::id::ServerName;
use policy::report::{Exchange, Role};
use thiserror::Error;

use crate::clixml::{Graph, Object, Value};
use crate::names;
use crate::xml::Place;

const TYPE: &str = "Microsoft.Exchange.Data.Directory.Management.ExchangeServer";

/// The members of an object that are read here.
pub(crate) const MEMBERS: &[&str] = &[
    "PSComputerName",
    "Name",
    "Site",
    "Fqdn",
    "AdminDisplayVersion",
    "ServerRole",
    "IsMailboxServer",
    "IsClientAccessServer",
    "IsEdgeServer",
];

/// An object that could not be read as a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected} of the server at {place}, found {found:?}")]
pub struct ListedServerError {
    place: Place,
    expected: &'static str,
    found: String,
}

/// One server of the organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedServer {
    /// NetBIOS name.
    pub name: ServerName,
    /// Fully qualified name.
    pub fqdn: Option<String>,
    /// Active Directory site.
    pub ad_site: Option<String>,
    /// Version and roles; `None` when the export does not hold the version.
    pub exchange: Option<Exchange>,
}

/// All servers of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Those that were read.
    pub listed: Vec<ListedServer>,
    /// Those that were not.
    pub unread: Vec<ListedServerError>,
    /// The machines through which the export was made (`PSComputerName`).
    pub computers: BTreeSet<String>,
}

/// Whether the object is a server.
pub fn is_server(object: &Object<'_>) -> bool {
    object.is(TYPE)
}

/// Reads the servers of an export. One that cannot be read does not stop the others.
pub fn read(graph: &Graph<'_>) -> Servers {
    let mut servers = Servers::default();
    for object in graph.roots().filter(|object| is_server(object)) {
        servers.computers.extend(object.member_text("PSComputerName").map(str::to_owned));
        match listed(graph, object) {
            Ok(server) => servers.listed.push(server),
            Err(error) => servers.unread.push(error),
        }
    }
    servers
}

fn listed(graph: &Graph<'_>, object: &Object<'_>) -> Result<ListedServer, ListedServerError> {
    let written = object.member_text("Name").or(object.text.as_deref()).unwrap_or_default();
    let wrong =
        |expected, found: &str| ListedServerError { place: object.place, expected, found: found.chars().take(80).collect() };
    let name = names::server(written).ok_or_else(|| wrong("the name", written))?;
    let site = object.members.get("Site").and_then(|site| graph.object(site));
    let site_name = site.and_then(|site| site.member_text("Name").or_else(|| site.text.as_deref()?.rsplit('/').next()));
    Ok(ListedServer {
        name,
        fqdn: object.member_text("Fqdn").filter(|fqdn| !fqdn.is_empty()).map(str::to_owned),
        ad_site: site_name.map(str::to_owned),
        exchange: match object.members.get("AdminDisplayVersion").and_then(|version| graph.text(version)) {
            None => None,
            Some(shown) => Some(Exchange {
                version: version(shown).ok_or_else(|| wrong("\"Version 15.1 (Build 2507.6)\" as AdminDisplayVersion", shown))?,
                roles: roles(graph, object),
            }),
        },
    })
}

/// `Version 15.1 (Build 2507.6)` as `15.1.2507.6`.
fn version(shown: &str) -> Option<String> {
    let (version, build) = shown.trim().strip_prefix("Version ")?.split_once(" (Build ")?;
    let (major, minor) = version.split_once('.')?;
    let (build, revision) = build.strip_suffix(')')?.split_once('.')?;
    let [major, minor, build, revision] = [major, minor, build, revision].map(|part| part.parse::<u16>().ok());
    // Active Directory keeps the build with 30000 added since Exchange 2007; cmdlets show it with or without.
    let build = build.map(|build| if build >= 30_000 { build - 30_000 } else { build });
    Some(format!("{}.{}.{}.{}", major?, minor?, build?, revision?))
}

/// Exchange 2016 and later write only `Mailbox` into ServerRole; the switches tell of client access too.
fn roles(graph: &Graph<'_>, object: &Object<'_>) -> BTreeSet<Role> {
    let shown = object.members.get("ServerRole").and_then(|roles| graph.text(roles)).unwrap_or_default();
    [
        (Role::Mailbox, "Mailbox", "IsMailboxServer"),
        (Role::ClientAccess, "ClientAccess", "IsClientAccessServer"),
        (Role::Edge, "Edge", "IsEdgeServer"),
    ]
    .into_iter()
    .filter(|(_, name, switch)| {
        shown.split(',').any(|role| role.trim() == *name) || object.members.get(*switch) == Some(&Value::Bool(true))
    })
    .map(|(role, _, _)| role)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(members: &[&str]) -> Servers {
        let objects: String =
            members.iter().map(|members| format!("<Obj><TN><T>{TYPE}</T></TN><Props>{members}</Props></Obj>")).collect();
        read(&Graph::read(crate::xml::parse(&format!("<Objs>{objects}</Objs>")).expect("XML")).expect("objects"))
    }

    #[test]
    fn several_servers_are_read_with_version_and_roles() {
        let read = servers(&[
            "<S N='Name'>EX1</S><S N='Fqdn'>ex1.contoso.test</S><Obj N='Site' RefId='7'><ToString>contoso.test/Sites/Berlin</ToString></Obj>\
             <Obj N='AdminDisplayVersion'><ToString>Version 15.1 (Build 2507.6)</ToString></Obj>\
             <Obj N='ServerRole'><ToString>Mailbox</ToString><I32>2</I32></Obj><B N='IsClientAccessServer'>true</B>",
            "<S N='Name'>EDGE</S><Ref N='Site' RefId='7'/><S N='AdminDisplayVersion'>Version 15.2 (Build 31748.10)</S><S N='ServerRole'>Edge</S>",
            "<S N='Name'>OLD</S>",
        ]);
        assert_eq!(read.unread, []);
        let [first, edge, old] = &read.listed[..] else { panic!("{read:?}") };
        assert_eq!(first.fqdn.as_deref(), Some("ex1.contoso.test"));
        assert_eq!((first.ad_site.as_deref(), edge.ad_site.as_deref()), (Some("Berlin"), Some("Berlin")));
        let exchange =
            |version: &str, roles: &[Role]| Some(Exchange { version: version.into(), roles: roles.iter().copied().collect() });
        assert_eq!(first.exchange, exchange("15.1.2507.6", &[Role::Mailbox, Role::ClientAccess]));
        assert_eq!(edge.exchange, exchange("15.2.1748.10", &[Role::Edge]));
        assert_eq!(old.exchange, None);
    }

    #[test]
    fn a_server_without_a_name_or_with_an_odd_version_is_named() {
        let read = servers(&["", "<S N='Name'>EX1</S><S N='AdminDisplayVersion'>15.1</S>"]);
        let errors: Vec<String> = read.unread.iter().map(ToString::to_string).collect();
        assert_eq!(errors[0], "expected the name of the server at line 1, column 7, found \"\"");
        assert!(errors[1].contains("AdminDisplayVersion") && errors[1].ends_with("found \"15.1\""), "{}", errors[1]);
    }
}
