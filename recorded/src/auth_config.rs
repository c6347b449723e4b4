//! Get-AuthConfig: which certificate the organisation signs its own tokens with. It is none of a server's business ports, and
//! must not be mistaken for the back end's (EXCHANGE.md 1.6).

use policy::report::AuthCertificates;
use thiserror::Error;

use crate::clixml::{Graph, Object};
use crate::xml::Place;

const TYPE: &str = "Microsoft.Exchange.Data.Directory.SystemConfiguration.AuthConfig";

/// The members of an object that are read here.
pub(crate) const MEMBERS: &[&str] = &["CurrentCertificateThumbprint", "NextCertificateThumbprint"];

/// An object that could not be read as the organisation's configuration of authentication.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a thumbprint as {member} of the object at {place}, found {found:?}")]
pub struct AuthConfigError {
    place: Place,
    member: &'static str,
    found: String,
}

/// Whether the object is that configuration.
pub fn is_auth_config(object: &Object<'_>) -> bool {
    object.is(TYPE)
}

/// Reads it.
///
/// # Errors
/// [`AuthConfigError`] when a thumbprint is none.
pub fn read(graph: &Graph<'_>) -> Result<AuthCertificates, AuthConfigError> {
    let mut read = AuthCertificates { current: None, next: None };
    for object in graph.roots().filter(|object| is_auth_config(object)) {
        let thumbprint = |member: &'static str| match object.member_text(member).map(str::trim).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| AuthConfigError {
                place: object.place,
                member,
                found: text.chars().take(80).collect(),
            }),
        };
        read.current = thumbprint("CurrentCertificateThumbprint")?;
        read.next = thumbprint("NextCertificateThumbprint")?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(current: &str) -> Result<AuthCertificates, AuthConfigError> {
        let text = format!(
            "<Objs><Obj><TN><T>Deserialized.{TYPE}</T></TN><Props><S N='CurrentCertificateThumbprint'>{current}</S>\
             <Nil N='NextCertificateThumbprint'/></Props></Obj></Objs>"
        );
        read(&Graph::read(crate::xml::parse(&text).expect("XML")).expect("objects"))
    }

    #[test]
    fn the_thumbprint_in_use_is_read_and_a_wrong_one_is_named() {
        let thumbprint = "B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B";
        let read = auth(thumbprint).expect("a configuration");
        assert_eq!((read.current.map(|found| found.to_string()).as_deref(), read.next), (Some(thumbprint), None));
        assert_eq!(auth("").expect("none yet").current, None);
        assert!(auth("B30").expect_err("too short").to_string().contains("found \"B30\""));
    }
}
