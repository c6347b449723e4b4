//! One exported file, told by its content.
//!
//! File names are never looked at: administrators rename, number and translate them.

use std::collections::BTreeSet;

use policy::report::{AuthCertificates, SslRecord};
use thiserror::Error;

use crate::application_host::{ApplicationHost, ApplicationHostError, Redirection};
use crate::auth_config::AuthConfigError;
use crate::clixml::{ClixmlError, Graph};
use crate::exchange_certificate::{ListedError, Listing};
use crate::exchange_server::{ListedServerError, Servers};
use crate::netsh::NetshError;
use crate::service_health::Health;
use crate::text::{self, TextError};
use crate::web_binding::{WebBindingError, WebBindings};
use crate::xml::{self, Begins, Element, XmlError};
use crate::{application_host, auth_config, exchange_certificate, exchange_server, netsh, service_health, web_binding};

/// What the contents of an export turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// applicationHost.config.
    ApplicationHost(ApplicationHost),
    /// redirection.config.
    Redirection(Redirection),
    /// Get-AuthConfig.
    Auth(AuthCertificates),
    /// Get-ExchangeCertificate, or the certificate drive.
    Certificates(Listing),
    /// Get-ExchangeServer.
    Servers(Servers),
    /// Get-WebBinding.
    WebBindings(WebBindings),
    /// Test-ServiceHealth.
    Health(Health),
    /// `netsh http show sslcert`.
    Records(Vec<SslRecord>),
}

/// Why a file, or a part of it, was not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Not text.
    #[error("expected text")]
    Text(#[source] TextError),
    /// Neither XML nor the list that netsh prints.
    #[error("expected an export in XML or the text of `netsh http show sslcert`, found neither")]
    NotNetsh(#[source] NetshError),
    /// Begins like XML, but is none.
    #[error("expected an export in XML")]
    Xml(#[source] XmlError),
    /// Begins like `Export-Clixml`, but is damaged.
    #[error("expected an export of PowerShell's Export-Clixml")]
    Clixml(#[source] ClixmlError),
    /// `Export-Clixml` of something else.
    #[error(
        "expected Get-ExchangeCertificate, Get-ExchangeServer, Get-WebBinding, Test-ServiceHealth, Get-AuthConfig or the certificate drive in an Export-Clixml file, found {found}"
    )]
    OtherObjects {
        /// The type of the first object, or that there is none.
        found: String,
    },
    /// A configuration file that does not hold what it should.
    #[error("expected applicationHost.config")]
    ApplicationHost(#[source] ApplicationHostError),
    /// A certificate in a listing.
    #[error("expected a certificate in the listing")]
    Certificate(#[source] ListedError),
    /// A server in a listing.
    #[error("expected a server in the listing")]
    Server(#[source] ListedServerError),
    /// The organisation's configuration of authentication.
    #[error("expected the output of Get-AuthConfig")]
    Auth(#[source] AuthConfigError),
    /// A binding in a listing.
    #[error("expected bindings in the listing")]
    WebBinding(#[source] WebBindingError),
}

impl Content {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ReadError`] with what was expected, what was found, and where.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let text = match text::decode(bytes) {
            Ok(text) => text,
            // `netsh > file` in a command prompt writes the console's code page; only labels hold its letters.
            Err(error @ TextError::NotUtf8 { .. }) => {
                return netsh::read(&text::ascii_lossy(bytes)).map(Self::Records).map_err(|_| ReadError::Text(error));
            }
            Err(error) => return Err(ReadError::Text(error)),
        };
        if !text.trim_start().starts_with('<') {
            return netsh::read(&text).map(Self::Records).map_err(ReadError::NotNetsh);
        }
        match Self::of_xml(xml::parse_wanted(&text, is_read)) {
            // What was passed over may hold what something else points to.
            Err(ReadError::Clixml(ClixmlError::Dangling { .. })) => Self::of_xml(xml::parse(&text)),
            read => read,
        }
    }

    /// The same without passing over anything: slower, and what [`Content::read`] must agree with.
    ///
    /// # Errors
    /// As [`Content::read`].
    #[doc(hidden)]
    pub fn read_whole(bytes: &[u8]) -> Result<Self, ReadError> {
        let text = text::decode(bytes).map_err(ReadError::Text)?;
        Self::of_xml(xml::parse(&text))
    }

    fn of_xml(root: Result<Element<'_>, XmlError>) -> Result<Self, ReadError> {
        let root = root.map_err(ReadError::Xml)?;
        match &*root.name {
            "configuration" => match application_host::read(&root) {
                Ok(configuration) => Ok(Self::ApplicationHost(configuration)),
                Err(error @ ApplicationHostError::NoSites) => {
                    application_host::redirection(&root).map(Self::Redirection).ok_or(ReadError::ApplicationHost(error))
                }
                Err(error @ ApplicationHostError::Attribute { .. }) => Err(ReadError::ApplicationHost(error)),
            },
            _ => Self::of_objects(&Graph::read(root).map_err(ReadError::Clixml)?),
        }
    }

    fn of_objects(graph: &Graph<'_>) -> Result<Self, ReadError> {
        if graph.roots().any(exchange_certificate::is_certificate) {
            return Ok(Self::Certificates(exchange_certificate::read(graph)));
        }
        if graph.roots().any(exchange_server::is_server) {
            return Ok(Self::Servers(exchange_server::read(graph)));
        }
        if graph.roots().any(auth_config::is_auth_config) {
            return auth_config::read(graph).map(Self::Auth).map_err(ReadError::Auth);
        }
        if graph.roots().any(web_binding::is_binding) {
            return web_binding::read(graph).map(Self::WebBindings).map_err(ReadError::WebBinding);
        }
        if graph.roots().any(service_health::is_health) {
            return Ok(Self::Health(service_health::read(graph)));
        }
        let first = graph
            .roots()
            .next()
            .map(|object| object.types.first().map_or_else(|| "an object without type".to_owned(), |found| xml::begun(found)));
        Err(ReadError::OtherObjects { found: first.unwrap_or_else(|| "no object: the command gave no output".to_owned()) })
    }

    /// What it is and how much of it, in a few words.
    pub fn summary(&self) -> String {
        match self {
            Self::ApplicationHost(configuration) => format!(
                "applicationHost.config, {}, {} in the metabase",
                count(configuration.sites.len(), "site"),
                count(configuration.metabase.len(), "certificate")
            ),
            Self::Redirection(Redirection { to }) => match to {
                Some(to) => format!("redirection.config, IIS reads its configuration from {to}"),
                None => "redirection.config, IIS reads its own configuration".to_owned(),
            },
            Self::Auth(auth) => {
                let current = auth.current.map_or_else(|| "no certificate".to_owned(), |current| current.to_string());
                format!("Get-AuthConfig, {current} is in use")
            }
            Self::Certificates(listing) => {
                let drive = listing.listed.iter().any(|listed| listed.from_drive);
                let command = if drive { "Get-ChildItem Cert:" } else { "Get-ExchangeCertificate" };
                format!("{command}, {}{}", count(listing.listed.len(), "certificate"), through(&listing.computers))
            }
            Self::Servers(servers) => {
                format!("Get-ExchangeServer, {}{}", count(servers.listed.len(), "server"), through(&servers.computers))
            }
            Self::WebBindings(bindings) => format!(
                "Get-WebBinding, {}, {} with a certificate",
                count(bindings.sites.len(), "site"),
                count(bindings.records.len(), "endpoint")
            ),
            Self::Health(health) => {
                format!("Test-ServiceHealth, {}{}", count(health.services.len(), "service"), through(&health.computers))
            }
            Self::Records(records) => format!("netsh http show sslcert, {}", count(records.len(), "record")),
        }
    }

    /// The machines through which it was taken, as far as it says so.
    pub fn computers(&self) -> impl Iterator<Item = &String> {
        let computers = match self {
            Self::Certificates(listing) => Some(&listing.computers),
            Self::Servers(servers) => Some(&servers.computers),
            Self::Health(health) => Some(&health.computers),
            Self::ApplicationHost(_) | Self::Redirection(_) | Self::Auth(_) | Self::WebBindings(_) | Self::Records(_) => None,
        };
        computers.into_iter().flatten()
    }

    /// The parts of it that could not be read.
    pub fn unread(&self) -> Vec<ReadError> {
        match self {
            Self::ApplicationHost(configuration) => {
                configuration.unread.iter().cloned().map(ReadError::ApplicationHost).collect()
            }
            Self::Certificates(listing) => listing.unread.iter().cloned().map(ReadError::Certificate).collect(),
            Self::Servers(servers) => servers.unread.iter().cloned().map(ReadError::Server).collect(),
            Self::Redirection(_) | Self::Auth(_) | Self::WebBindings(_) | Self::Health(_) | Self::Records(_) => Vec::new(),
        }
    }

    /// Whether it says something of the organisation, and so of each of its servers.
    pub(crate) fn of_organisation(&self) -> bool {
        matches!(self, Self::Servers(_) | Self::Auth(_))
    }

    /// Whether it can tell by itself of which server it is; the others are of the server whose folder they lie in.
    pub(crate) fn names_its_server(&self) -> bool {
        match self {
            Self::Certificates(_) | Self::Servers(_) | Self::Health(_) | Self::Auth(_) => true,
            Self::ApplicationHost(_) | Self::Redirection(_) | Self::WebBindings(_) | Self::Records(_) => false,
        }
    }
}

/// Whether anything in this element is read: of an applicationHost.config one tenth, of exported objects a few of their members.
fn is_read(begins: &Begins<'_, '_>) -> bool {
    let mut within = begins.within();
    match (within.len(), within.next()) {
        (1, Some("configuration")) => application_host::READ.contains(&begins.name()),
        (3, Some("Objs")) if within.next() == Some("Obj") && matches!(within.next(), Some("Props" | "MS")) => {
            MEMBERS.iter().any(|members| begins.has("N", members))
        }
        _ => true,
    }
}

/// The members of exported objects that anybody asks for.
const MEMBERS: [&[&str]; 5] = [
    exchange_certificate::MEMBERS,
    exchange_server::MEMBERS,
    web_binding::MEMBERS,
    service_health::MEMBERS,
    auth_config::MEMBERS,
];

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn through(computers: &BTreeSet<String>) -> String {
    if computers.is_empty() {
        return String::new();
    }
    format!(", taken through {}", computers.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}
