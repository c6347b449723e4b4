//! Get-WebBinding: the bindings of IIS sites, and which certificate http.sys serves for each.
//!
//! `certificateHash` and `certificateStoreName` are not in any file: IIS fetches them from http.sys while it shows a
//! binding. So this export stands in for the http.sys records of IIS, without what it does not show: the owner, the
//! parameters, and records that belong to no IIS site. An https binding without hash is a binding without a record.

use std::collections::BTreeMap;

use policy::report::{Binding, Fact, RecordKind, Site, SslRecord};
use thiserror::Error;

use crate::clixml::{Graph, Object, Value};
use crate::xml::Place;

const TYPE: &str = "Microsoft.IIs.PowerShell.Framework.ConfigurationElement";

/// The members of an object that are read here.
pub(crate) const MEMBERS: &[&str] =
    &["bindingInformation", "protocol", "sslFlags", "certificateHash", "certificateStoreName", "ItemXPath"];
const SNI: u32 = 1;
const CENTRAL_STORE: u32 = 2;

/// A binding that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected} of the binding at {place}, found {found:?}")]
pub struct WebBindingError {
    place: Place,
    expected: &'static str,
    found: String,
}

/// What is read of Get-WebBinding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebBindings {
    /// The sites that have bindings, by number.
    pub sites: Vec<Site>,
    /// The http.sys records behind the https bindings.
    pub records: Vec<SslRecord>,
}

/// Whether the object is a binding.
pub fn is_binding(object: &Object<'_>) -> bool {
    object.types.iter().any(|own| own.ends_with(TYPE)) && object.members.contains_key("bindingInformation")
}

/// Reads the bindings of an export.
///
/// # Errors
/// [`WebBindingError`] for the first binding that cannot be read: half a list would mislead.
pub fn read(graph: &Graph<'_>) -> Result<WebBindings, WebBindingError> {
    let mut sites: BTreeMap<u32, Site> = BTreeMap::new();
    let mut records: Vec<SslRecord> = Vec::new();
    for object in graph.roots().filter(|object| is_binding(object)) {
        let binding = binding(object)?;
        if let Some(record) = record(object, &binding)?
            // Two sites may share one address and port, and then one record.
            && !records.iter().any(|known| known.kind == record.kind && known.endpoint == record.endpoint)
        {
            records.push(record);
        }
        let (name, id) = site(object)?;
        sites
            .entry(id)
            .or_insert_with(|| Site { id, name, bindings: Vec::new(), running: Fact::not_observed() })
            .bindings
            .push(binding);
    }
    Ok(WebBindings { sites: sites.into_values().collect(), records })
}

/// The key of the http.sys record behind an https binding: `*:444:` is served by `0.0.0.0:444`.
/// `None` when the binding information has no port.
pub fn endpoint(binding: &Binding) -> Option<(RecordKind, String)> {
    let (address, host) = binding.information.rsplit_once(':')?;
    let (address, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    Some(if binding.ssl_flags & CENTRAL_STORE != 0 {
        (RecordKind::Ccs, format!("*:{port}"))
    } else if binding.ssl_flags & SNI != 0 && !host.is_empty() {
        (RecordKind::Sni, format!("{host}:{port}"))
    } else if address.is_empty() || address == "*" {
        (RecordKind::Address, format!("0.0.0.0:{port}"))
    } else {
        (RecordKind::Address, format!("{address}:{port}"))
    })
}

fn error(object: &Object<'_>, expected: &'static str, found: &str) -> WebBindingError {
    WebBindingError { place: object.place, expected, found: found.chars().take(80).collect() }
}

fn binding(object: &Object<'_>) -> Result<Binding, WebBindingError> {
    let text = |member: &'static str| object.member_text(member).ok_or_else(|| error(object, member, ""));
    let ssl_flags = match object.members.get("sslFlags") {
        Some(Value::Int(flags)) => u32::try_from(*flags).map_err(|_| error(object, "sslFlags", &flags.to_string()))?,
        Some(Value::Text(flags)) => flags.trim().parse().map_err(|_| error(object, "a number as sslFlags", flags))?,
        // IIS 7 and 7.5 have no sslFlags.
        None | Some(Value::Nil | Value::Bytes(_) | Value::Bool(_) | Value::Date(_) | Value::Object(_)) => 0,
    };
    Ok(Binding { protocol: text("protocol")?.to_owned(), information: text("bindingInformation")?.to_owned(), ssl_flags })
}

fn record(object: &Object<'_>, binding: &Binding) -> Result<Option<SslRecord>, WebBindingError> {
    let hash = object.member_text("certificateHash").unwrap_or_default().trim();
    if binding.protocol != "https" || hash.is_empty() {
        return Ok(None);
    }
    let thumbprint = hash.parse().map_err(|_| error(object, "a thumbprint as certificateHash", hash))?;
    let (kind, endpoint) =
        endpoint(binding).ok_or_else(|| error(object, "address:port:host as bindingInformation", &binding.information))?;
    let store = object.member_text("certificateStoreName").map(str::trim).filter(|store| !store.is_empty());
    Ok(Some(SslRecord {
        kind,
        endpoint,
        thumbprint: Some(thumbprint),
        store: store.map(str::to_owned),
        app_id: not_shown(),
        parameters: not_shown(),
    }))
}

fn not_shown<T>() -> Fact<T> {
    Fact::Unknown("Get-WebBinding does not show it".to_owned())
}

/// Name and number of the site, from `/system.applicationHost/sites/site[@name='Default Web Site' and @id='1']`.
fn site(object: &Object<'_>) -> Result<(String, u32), WebBindingError> {
    let path = object.member_text("ItemXPath").unwrap_or_default();
    let value = |attribute: &str| {
        let rest = path.get(path.find(attribute)? + attribute.len()..)?;
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        Some(rest.get(1..)?.split(quote).next()?.to_owned())
    };
    value("@name=")
        .zip(value("@id=").and_then(|id| id.parse().ok()))
        .ok_or_else(|| error(object, "the site's name and number in ItemXPath", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B";

    fn export(bindings: &[(&str, &str, &str, u32)]) -> Result<WebBindings, WebBindingError> {
        let objects: String = bindings
            .iter()
            .map(|(protocol, information, hash, flags)| {
                format!(
                    "<Obj><TN><T>{TYPE}#bindings#binding</T><T>{TYPE}</T></TN><MS><S N='protocol'>{protocol}</S>\
                     <S N='bindingInformation'>{information}</S><I64 N='sslFlags'>{flags}</I64>\
                     <S N='certificateHash'>{hash}</S><S N='certificateStoreName'>MY</S>\
                     <S N='ItemXPath'>/sites/site[@name='Exchange Back End' and @id='2']</S></MS></Obj>"
                )
            })
            .collect();
        read(&Graph::read(crate::xml::parse(&format!("<Objs>{objects}</Objs>")).expect("XML")).expect("objects"))
    }

    #[test]
    fn each_https_binding_with_a_hash_is_a_record() {
        let read = export(&[
            ("http", "*:81:", "", 0),
            ("https", "*:444:", HASH, 0),
            ("https", ":443:", HASH, 0),
            ("https", "127.0.0.1:443:", HASH, 0),
            ("https", "[::1]:443:", HASH, 0),
            ("https", "*:443:mail.contoso.test", HASH, 1),
            ("https", "*:443:other.contoso.test", HASH, 0),
            ("https", "*:445:a", HASH, 3),
            ("https", "*:446:", "", 0),
            ("net.pipe", "*", "", 0),
        ])
        .expect("bindings");
        let endpoints: Vec<_> = read.records.iter().map(|record| (record.kind, record.endpoint.as_str())).collect();
        let expected = [
            (RecordKind::Address, "0.0.0.0:444"),
            (RecordKind::Address, "0.0.0.0:443"),
            (RecordKind::Address, "127.0.0.1:443"),
            (RecordKind::Address, "[::1]:443"),
            (RecordKind::Sni, "mail.contoso.test:443"),
            (RecordKind::Ccs, "*:445"),
        ];
        assert_eq!(endpoints, expected);
        assert!(read.records[0].is_back_end());
        assert_eq!(read.records[0].store.as_deref(), Some("MY"));
        let [site] = &read.sites[..] else { panic!("{read:?}") };
        assert_eq!((site.id, site.name.as_str(), site.bindings.len()), (2, "Exchange Back End", 10));
    }

    #[test]
    fn a_hash_or_an_address_that_cannot_be_read_is_named() {
        let wrong = export(&[("https", "*:444:", "B30B", 0)]).expect_err("no thumbprint");
        assert_eq!(
            wrong.to_string(),
            "expected a thumbprint as certificateHash of the binding at line 1, column 7, found \"B30B\""
        );
        assert!(export(&[("https", "*", HASH, 0)]).is_err());
        assert!(export(&[("https", "*:99999:", HASH, 0)]).is_err());
    }
}
