//! applicationHost.config: the IIS sites with their bindings, and what metabase-style tools left behind.
//!
//! The bindings in it carry no certificate: http.sys keeps that. The exception are properties 5506 and 5511 under
//! `<customMetadata>`, old copies that the IIS Admin service writes into http.sys again when it starts. They are why
//! bindings vanish at random, and so they are read although nothing here uses them (EXCHANGE.md 2.2).

use base64::Engine;
use policy::id::Thumbprint;
use policy::report::{Binding, Fact, MetabaseBinding, Site};
use thiserror::Error;

use crate::xml::{Element, Place};

/// The parts of the file that are read.
pub(crate) const READ: [&str; 2] = ["system.applicationHost", "configurationRedirection"];

const HASH: &str = "5506";
const STORE: &str = "5511";

/// XML that is not an applicationHost.config as it is read here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplicationHostError {
    /// Some other configuration file.
    #[error("expected <sites> in <system.applicationHost> of <configuration>, found none: is this applicationHost.config?")]
    NoSites,
    /// An attribute is missing or not of its type.
    #[error("expected attribute {attribute} of <{element}> at {place} to be {expected}, found {found:?}")]
    Attribute {
        /// The element.
        element: &'static str,
        /// Where it is.
        place: Place,
        /// The attribute.
        attribute: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What was found, if anything.
        found: Option<String>,
    },
}

/// What is read of an applicationHost.config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationHost {
    /// The sites, in order.
    pub sites: Vec<Site>,
    /// Certificate properties in `<customMetadata>`, by key path.
    pub metabase: Vec<MetabaseBinding>,
    /// Metabase properties that could not be read; their bindings stand in `metabase` without a thumbprint.
    pub unread: Vec<ApplicationHostError>,
}

/// What redirection.config says: where IIS reads its configuration. The account and password in it are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// The folder of the shared configuration; `None` when there is none.
    pub to: Option<String>,
}

/// Reads the tree of a redirection.config; `None` when it is another file.
pub fn redirection(root: &Element<'_>) -> Option<Redirection> {
    let child = root.children_named("configurationRedirection").next()?;
    let enabled = child.attribute("enabled").is_some_and(|enabled| enabled.trim().eq_ignore_ascii_case("true"));
    let to = child.attribute("path").unwrap_or("a place that it does not name");
    Some(Redirection { to: enabled.then(|| to.to_owned()) })
}

/// Reads the tree of an applicationHost.config.
///
/// # Errors
/// [`ApplicationHostError`] when it has no sites or a site cannot be read: half a list of bindings would mislead.
pub fn read(root: &Element<'_>) -> Result<ApplicationHost, ApplicationHostError> {
    let hosts = || root.children_named("system.applicationHost");
    let mut read = ApplicationHost::default();
    let mut lists = hosts().flat_map(|host| host.children_named("sites")).peekable();
    if lists.peek().is_none() {
        return Err(ApplicationHostError::NoSites);
    }
    for element in lists.flat_map(|list| list.children_named("site")) {
        read.sites.push(site(element)?);
    }
    let metadata = hosts().flat_map(|host| host.children_named("customMetadata"));
    for key in metadata.flat_map(|metadata| metadata.children_named("key")) {
        if let Some(binding) = metabase(key, &mut read.unread) {
            read.metabase.push(binding);
        }
    }
    Ok(read)
}

fn site(element: &Element<'_>) -> Result<Site, ApplicationHostError> {
    let lists = element.children_named("bindings");
    Ok(Site {
        id: number(element, "site", "id")?,
        name: text(element, "site", "name")?.to_owned(),
        bindings: lists.flat_map(|list| list.children_named("binding")).map(binding).collect::<Result<_, _>>()?,
        running: Fact::not_observed(),
    })
}

fn binding(element: &Element<'_>) -> Result<Binding, ApplicationHostError> {
    let flagged = element.attribute("sslFlags").is_some();
    Ok(Binding {
        protocol: text(element, "binding", "protocol")?.to_owned(),
        information: text(element, "binding", "bindingInformation")?.to_owned(),
        ssl_flags: if flagged { number(element, "binding", "sslFlags")? } else { 0 },
    })
}

fn text<'a>(element: &'a Element<'_>, name: &'static str, attribute: &'static str) -> Result<&'a str, ApplicationHostError> {
    element.attribute(attribute).ok_or(ApplicationHostError::Attribute {
        element: name,
        place: element.place,
        attribute,
        expected: "there",
        found: None,
    })
}

fn number(element: &Element<'_>, name: &'static str, attribute: &'static str) -> Result<u32, ApplicationHostError> {
    let found = text(element, name, attribute)?;
    found.trim().parse().map_err(|_| ApplicationHostError::Attribute {
        element: name,
        place: element.place,
        attribute,
        expected: "a number",
        found: Some(found.chars().take(80).collect()),
    })
}

fn metabase(key: &Element<'_>, unread: &mut Vec<ApplicationHostError>) -> Option<MetabaseBinding> {
    let property = |id| key.children_named("property").find(move |property| property.attribute("id") == Some(id));
    let (hash, store) = (property(HASH), property(STORE));
    // A store name alone binds nothing, yet it shows that such a tool was at work.
    hash.or(store)?;
    let thumbprint = hash.and_then(|property| {
        let value = property.attribute("value").unwrap_or_default();
        let found = thumbprint(value);
        if found.is_none() {
            unread.push(ApplicationHostError::Attribute {
                element: "property",
                place: property.place,
                attribute: "value",
                expected: "the 20 bytes of a SHA-1 in base64",
                found: Some(value.chars().take(80).collect()),
            });
        }
        found
    });
    let store = store.and_then(|property| property.attribute("value")).map(str::to_owned);
    Some(MetabaseBinding { path: key.attribute("path").unwrap_or_default().to_owned(), thumbprint, store })
}

/// IIS writes binary properties in base64. Hexadecimal is what people paste by hand; its 40 digits are never 20 bytes of base64.
fn thumbprint(value: &str) -> Option<Thumbprint> {
    let compact: String = value.split_ascii_whitespace().collect();
    compact.parse().ok().or_else(|| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(&compact).ok()?;
        Thumbprint::try_from(bytes.as_slice()).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<ApplicationHost, ApplicationHostError> {
        read(&crate::xml::parse(text).expect("XML"))
    }

    #[test]
    fn sites_bindings_and_left_over_hashes_are_read() {
        let read = read_text(
            r#"<configuration><system.applicationHost><customMetadata>
            <key path="LM/W3SVC/1/ROOT/owa"><property id="2102" value="owa"/></key>
            <key path="LM/W3SVC/2"><property id="5511" dataType="String" value="MY"/>
              <property id="5506" dataType="Binary" value="oXiHOzFAMOF0YxIuI7soWvDFEzg="/></key>
            <key path="LM/W3SVC/3"><property id="5506" value="A178873B314030E17463122E23BB285AF0C51338"/></key>
            <key path="LM/W3SVC/4"><property id="5506" value="oXiH"/></key>
            </customMetadata><sites><site name="Exchange Back End" id="2"><bindings>
            <binding protocol="https" bindingInformation="*:444:" sslFlags="4"/><binding protocol="net.pipe" bindingInformation="*"/>
            </bindings></site><siteDefaults/></sites></system.applicationHost></configuration>"#,
        )
        .expect("a configuration");
        let binding = |protocol: &str, information: &str, ssl_flags| Binding {
            protocol: protocol.into(),
            information: information.into(),
            ssl_flags,
        };
        let bindings = vec![binding("https", "*:444:", 4), binding("net.pipe", "*", 0)];
        assert_eq!(read.sites, [Site { id: 2, name: "Exchange Back End".into(), bindings, running: Fact::not_observed() }]);
        let thumbprint = "A178873B314030E17463122E23BB285AF0C51338".parse().ok();
        let left = |path: &str, thumbprint, store: Option<&str>| MetabaseBinding {
            path: path.into(),
            thumbprint,
            store: store.map(str::to_owned),
        };
        let expected =
            [left("LM/W3SVC/2", thumbprint, Some("MY")), left("LM/W3SVC/3", thumbprint, None), left("LM/W3SVC/4", None, None)];
        assert_eq!(read.metabase, expected);
        assert!(matches!(&read.unread[..], [ApplicationHostError::Attribute { found: Some(found), .. }] if found == "oXiH"));
    }

    #[test]
    fn other_configurations_and_damaged_sites_are_refused() {
        assert_eq!(read_text("<configuration/>"), Err(ApplicationHostError::NoSites));
        let redirected = |enabled: &str| {
            let text =
                format!("<configuration><configurationRedirection enabled='{enabled}' path='x' password='y'/></configuration>");
            redirection(&crate::xml::parse(&text).expect("XML"))
        };
        assert_eq!(redirected("true"), Some(Redirection { to: Some("x".to_owned()) }));
        assert_eq!(redirected("false"), Some(Redirection { to: None }));
        assert_eq!(redirection(&crate::xml::parse("<configuration/>").expect("XML")), None);
        let site = |site: &str| {
            read_text(&format!(
                "<configuration><system.applicationHost><sites>{site}</sites></system.applicationHost></configuration>"
            ))
        };
        assert_eq!(site("").map(|read| read.sites), Ok(Vec::new()));
        assert_eq!(
            site("<site name='a' id='x'/>").expect_err("no number").to_string(),
            "expected attribute id of <site> at line 1, column 47 to be a number, found Some(\"x\")"
        );
        assert!(site("<site id='1' name='a'><bindings><binding protocol='https'/></bindings></site>").is_err());
    }
}
