//! Readers of what Windows and its administrators write down.
//!
//! An administrator can export from a live Exchange server, with commands that are on every one of them, nearly all that an
//! assessment of its back-end certificate needs. This crate reads such files into the domain types of `policy`, so that an
//! estate can be judged before anything is installed on it. Its readers are pure: bytes in, facts out.
//!
//! | export | gives |
//! | --- | --- |
//! | `netsh http show sslcert` | the http.sys records: what is served |
//! | `Get-WebBinding` | the same for the bindings of IIS, without owner and parameters |
//! | `Get-ExchangeCertificate` | certificates with friendly name and key link, and which IIS sites use them |
//! | `Get-ChildItem Cert:\LocalMachine\My` | certificates; the only proof that one is missing |
//! | applicationHost.config | sites, bindings, and hashes that metabase tools left behind |
//! | `Get-ExchangeServer` | name, AD site, version, roles |
//! | `Test-ServiceHealth` | services that run and do not |
//! | `Get-AuthConfig` | the organisation's Auth Certificate, which is never the back end's |
//! | redirection.config | whether IIS reads its configuration from elsewhere |
//!
//! Any of them may be missing; [`Exports`] merges what is there. Three rules hold throughout:
//!
//! * **A file is known by its content**, never by its name. Names are changed, numbered and translated.
//! * **What no export shows is unknown**, with the command that would show it; nothing is assumed. Above all no export
//!   proves that a private key can be used, and Get-ExchangeCertificate does not prove that a certificate is missing.
//! * **Nothing in a file can hurt.** Input, depth, nodes and properties are bounded, entities are not expanded, no input
//!   panics, and an error names what was expected, what was found, and where.
//!
//! [`text`], [`xml`], [`clixml`] and [`serialized`] read formats; [`application_host`], [`exchange_certificate`],
//! [`web_binding`], [`exchange_server`], [`service_health`], [`auth_config`] and [`netsh`] read one export each; [`export`] tells which one
//! a file is. [`event`] and [`component_states`] read what no administrator exports: the event log's XML and values of the registry, as
//! an agent on the host gets them.
#![forbid(unsafe_code)]

pub mod application_host;
mod assemble;
pub mod auth_config;
mod certificates;
pub mod clixml;
pub mod component_states;
pub mod event;
pub mod exchange_certificate;
pub mod exchange_server;
pub mod export;
mod exports;
mod names;
pub mod netsh;
mod records;
pub mod serialized;
mod server;
pub mod service_health;
pub mod text;
pub mod web_binding;
pub mod xml;

pub use assemble::{AssembleError, Assembly, Unread};
pub use exports::Exports;
pub use server::ServerError;
