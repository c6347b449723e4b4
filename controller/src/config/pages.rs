//! Pages for browsers on other machines, and who may sign in there: the part `pages` of `controller.toml`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use axum::http::Uri;
use policy::trust::PersonRole;
use serde::Deserialize;

use super::ConfigError;

/// The most rules by which groups become roles.
const MAX_RULES: usize = 100;

/// Where browsers on other machines find the pages, over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// The port.
    pub listen: SocketAddr,
    /// As browsers name it.
    pub origin: Origin,
    /// The certificate and those above it, in PEM.
    pub certificate_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// Who vouches for people beside ourselves.
    pub oidc: Option<Oidc>,
}

/// `https://` with a host, and a port where it is not 443: what stands in `Origin` and before every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.trim_end_matches('/').parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let bare = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = authority.as_str().to_ascii_lowercase();
        // A browser leaves out the port that goes without saying.
        bare.then(|| Self(format!("https://{}", host.strip_suffix(":443").unwrap_or(&host))))
    }

    /// With its scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, with its port where it has one: what stands in `Host`.
    pub fn host(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or(&self.0)
    }
}

/// A provider of OpenID Connect, and what its word is worth here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// As people know it: on the button.
    #[serde(default = "oidc_name")]
    pub name: String,
    /// Its identifier, exactly as it stands in its tokens; `https`, or `http` on loopback.
    pub issuer: String,
    /// As what it knows us.
    pub client_id: String,
    /// A file with the secret by which it knows us; public clients have none.
    pub client_secret_file: Option<PathBuf>,
    /// A file with certificates in PEM that vouch for it, in place of the machine's own.
    pub ca_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default = "oidc_scopes")]
    pub scopes: Vec<String>,
    /// The claim with the person's name.
    #[serde(default = "oidc_person")]
    pub person_claim: String,
    /// The claim with the groups.
    #[serde(default = "oidc_groups")]
    pub groups_claim: String,
    /// What each group may be; the first that fits counts.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// Whoever is in this group has this role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// As the provider names it.
    pub group: String,
    /// What it may be here.
    #[serde(deserialize_with = "role")]
    pub role: PersonRole,
}

fn role<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PersonRole, D::Error> {
    let word = String::deserialize(deserializer)?;
    PersonRole::from_word(&word)
        .ok_or_else(|| serde::de::Error::custom(format!("expected viewer, operator, approver, auditor or admin, found {word:?}")))
}

fn oidc_name() -> String {
    "single sign-on".to_owned()
}

fn oidc_scopes() -> Vec<String> {
    ["profile", "groups"].map(str::to_owned).into()
}

fn oidc_person() -> String {
    "preferred_username".to_owned()
}

fn oidc_groups() -> String {
    "groups".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default = "listen")]
    listen: SocketAddr,
    url: String,
    certificate_file: PathBuf,
    key_file: PathBuf,
    oidc: Option<Oidc>,
}

fn listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7447)
}

impl Pages {
    /// Reads it, and says which value cannot be.
    pub(super) fn of(raw: Raw) -> Result<Self, ConfigError> {
        let value = |key, expected, found: &str| ConfigError::Value { key, expected, found: found.to_owned() };
        let Raw { listen, url, certificate_file, key_file, oidc } = raw;
        let origin = Origin::of(&url)
            .ok_or_else(|| value("pages.url", "https:// with a host and, if it is not 443, a port, and nothing behind", &url))?;
        if let Some(Oidc { name, issuer, client_id, rules, scopes, .. }) = &oidc {
            if !issuer_fits(issuer) {
                return Err(value("pages.oidc issuer", "https:// with a host, or http:// on loopback", issuer));
            }
            if client_id.is_empty() || name.is_empty() || name.chars().count() > 60 {
                return Err(value("pages.oidc", "a client_id, and a name of 1 to 60 characters", name));
            }
            if scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(value("pages.oidc scopes", "words without spaces", &scopes.join(", ")));
            }
            if rules.is_empty() || rules.len() > MAX_RULES {
                return Err(value(
                    "pages.oidc rule",
                    "1 to 100 rules: without any, nobody could sign in",
                    &rules.len().to_string(),
                ));
            }
        }
        Ok(Self { listen, origin, certificate_file, key_file, oidc })
    }
}

fn issuer_fits(issuer: &str) -> bool {
    let Ok(uri) = issuer.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let scheme = uri.scheme_str();
    uri.query().is_none() && (scheme == Some("https") || (scheme == Some("http") && loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "estate = \"contoso\"\n[pages]\ncertificate_file = \"c\"\nkey_file = \"k\"\n";

    fn read(rest: &str) -> Result<Pages, String> {
        let config = super::super::Config::from_toml(&format!("{HEAD}{rest}"));
        config.map(|config| config.pages.expect("pages")).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error} {source}")
        })
    }

    #[test]
    fn an_origin_is_as_browsers_write_it() {
        for (url, origin) in [
            ("https://Backstay.contoso.test/", "https://backstay.contoso.test"),
            ("https://backstay.contoso.test:443", "https://backstay.contoso.test"),
            ("https://10.0.0.1:7447", "https://10.0.0.1:7447"),
            ("https://[::1]:7447", "https://[::1]:7447"),
        ] {
            let pages = read(&format!("url = \"{url}\"")).expect("pages");
            assert_eq!(pages.origin.as_str(), origin);
            assert_eq!(format!("https://{}", pages.origin.host()), origin);
            assert_eq!(pages.listen.port(), 7447);
        }
        for url in ["http://a.test", "https://", "https://a.test/pages", "https://me@a.test", "https://a.test?x", "a.test", ""] {
            let refused = read(&format!("url = \"{url}\"")).expect_err(url);
            assert!(refused.contains("pages.url: expected https://"), "{refused}");
        }
    }

    #[test]
    fn a_provider_needs_a_name_that_cannot_be_overheard_and_a_rule() {
        let with = |issuer: &str, rest: &str| {
            read(&format!("url = \"https://a.test\"\n[pages.oidc]\nissuer = \"{issuer}\"\nclient_id = \"backstay\"\n{rest}"))
        };
        let rule = "rule = [{ group = \"Exchange\", role = \"operator\" }]";
        let oidc = with("https://login.a.test", rule).expect("pages").oidc.expect("a provider");
        assert_eq!(oidc.rules, [Rule { group: "Exchange".to_owned(), role: PersonRole::Operator }]);
        assert_eq!((oidc.person_claim.as_str(), oidc.groups_claim.as_str()), ("preferred_username", "groups"));
        assert!(with("http://127.0.0.1:3000", rule).is_ok());
        assert!(with("http://login.a.test", rule).expect_err("plain").contains("pages.oidc issuer"));
        assert!(with("https://login.a.test", "rule = []").expect_err("none").contains("1 to 100 rules"));
        assert!(with("https://login.a.test", "").expect_err("none").contains("rule"));
        let unknown = "rule = [{ group = \"Exchange\", role = \"root\" }]";
        assert!(with("https://login.a.test", unknown).expect_err("role").contains("expected viewer, operator"));
        assert!(with("https://login.a.test", &format!("scopes = [\"a b\"]\n{rule}")).expect_err("scope").contains("scopes"));
    }
}
