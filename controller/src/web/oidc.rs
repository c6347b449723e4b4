//! Signing in by a provider of OpenID Connect: the code flow with PKCE (docs/decisions/0034-signing-in-from-elsewhere.md).
//!
//! Three requests and a list of comparisons. The requests are made here; what was said is judged by [`Expected::judge`] and [`who`], which are
//! pure. Nothing is kept here for who begins: it is in a cookie of theirs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use policy::Timestamp;
use policy::duration::Span;
use policy::id::Person;
use policy::trust::PersonRole;
use proto::token::Secret;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::config::{Oidc, Origin, Rule};
use crate::status::chain;

/// How long a request to the provider may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The largest answer of a provider, in bytes.
const MAX_ANSWER: usize = 512 * 1024;

/// Requests to the provider at once: whoever sends us forged answers does not make us ask without end.
const AT_ONCE: usize = 8;

/// What the provider says of itself is asked again after this time,
const KNOWN: Duration = Duration::from_secs(3_600);

/// and for a key that is not among those, at the earliest after this.
const KEYS: Duration = Duration::from_secs(30);

/// How far the provider's clock may be from ours.
const SKEW: Span = Span::seconds(120);

/// Signatures that anybody can verify and only the provider can make. A secret that we share with it signs nothing here.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// A provider, and what is known of it.
#[derive(Debug)]
pub(super) struct Provider {
    config: Oidc,
    secret: Option<Zeroizing<String>>,
    client: Client,
    /// Where it sends people back to, and where they are when they are signed out.
    returns: String,
    home: String,
    known: Mutex<Option<Arc<Known>>>,
    calls: Semaphore,
}

/// What a provider says of itself.
#[derive(Debug)]
struct Known {
    says: Discovery,
    keys: JwkSet,
    at: Instant,
}

/// Its document, as far as it matters here (OpenID Connect Discovery 1.0).
#[derive(Debug, Clone, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What somebody is who was vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) person: Person,
    pub(super) role: PersonRole,
}

/// Why somebody is not signed in: what they may know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The provider vouches for them, and they are nobody here.
    Nobody(String),
    /// This answer is none of ours, or not good any more.
    Stale(String),
    /// The provider does not answer, or not as expected.
    Provider(String),
}

/// What is kept by whoever begins, and must come back with them.
pub(super) struct Begun {
    state: Zeroizing<String>,
    nonce: Zeroizing<String>,
    verifier: Zeroizing<String>,
}

impl Begun {
    fn new() -> Result<Self, Refused> {
        let random = || Secret::generate().map(|secret| secret.to_text()).map_err(|error| Refused::Provider(error.to_string()));
        Ok(Self { state: random()?, nonce: random()?, verifier: random()? })
    }

    /// As it is in the cookie.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}.{}", *self.state, *self.nonce, *self.verifier))
    }

    /// From the cookie.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| Secret::from_text(part).ok().map(|secret| secret.to_text()));
        let begun = Self { state: parts.next()??, nonce: parts.next()??, verifier: parts.next()?? };
        parts.next().is_none().then_some(begun)
    }
}

/// How the provider sends people back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Returned {
    code: String,
    state: String,
    /// Who says so (RFC 9207).
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

impl Provider {
    /// What the configuration says, or which part of it cannot be.
    pub(super) fn new(config: &Oidc, origin: &Origin) -> Result<Self, String> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
            text.map(Zeroizing::new)
        };
        let secret = match &config.client_secret_file {
            Some(path) => {
                let secret = Zeroizing::new(read(path)?.trim().to_owned());
                if secret.is_empty() {
                    return Err(format!("{}: expected a secret, found nothing", path.display()));
                }
                Some(secret)
            }
            None => None,
        };
        let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(LIMIT);
        let client = match &config.ca_file {
            Some(path) => {
                let found = Certificate::from_pem_bundle(read(path)?.as_bytes());
                let found = found.map_err(|error| format!("{}: expected certificates in PEM: {error}", path.display()))?;
                client.tls_certs_only(found)
            }
            None => client,
        };
        Ok(Self {
            client: client.build().map_err(|error| chain(&error))?,
            returns: format!("{}/sign-in/returned", origin.as_str()),
            home: format!("{}/sign-in", origin.as_str()),
            config: config.clone(),
            secret,
            known: Mutex::default(),
            calls: Semaphore::new(AT_ONCE),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Where to send a browser, and what it must keep.
    pub(super) async fn begin(&self) -> Result<(String, Begun), Refused> {
        let known = self.known(None).await?;
        let begun = Begun::new()?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, begun.verifier.as_bytes()));
        let scope = ["openid".to_owned()].into_iter().chain(self.config.scopes.iter().cloned()).collect::<Vec<_>>().join(" ");
        let address = address(
            &known.says.authorization_endpoint,
            &[
                ("response_type", "code"),
                ("client_id", &self.config.client_id),
                ("redirect_uri", &self.returns),
                ("scope", &scope),
                ("state", &begun.state),
                ("nonce", &begun.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ],
        )?;
        Ok((address, begun))
    }

    /// Who it is that comes back.
    pub(super) async fn finish(&self, returned: &Returned, begun: &Begun, now: Timestamp) -> Result<Found, Refused> {
        if verify_slices_are_equal(returned.state.as_bytes(), begun.state.as_bytes()).is_err() {
            return Err(Refused::Stale("this answer belongs to another attempt".to_owned()));
        }
        if let Some(error) = &returned.error {
            let described = returned.error_description.as_deref().unwrap_or("it gave no reason");
            return Err(Refused::Nobody(format!("it said {}: {}", short(error), short(described))));
        }
        if returned.iss.as_ref().is_some_and(|issuer| *issuer != self.config.issuer) {
            return Err(Refused::Stale("another provider answered".to_owned()));
        }
        let known = self.known(None).await?;
        let Tokens { id_token, access_token } = self.exchange(&known.says, returned, begun).await?;
        let mut claims = self.verified(&id_token).await?;
        let expected = Expected { issuer: &self.config.issuer, client: &self.config.client_id, nonce: &begun.nonce };
        expected.judge(&claims, now).map_err(Refused::Provider)?;
        self.complete(&mut claims, &known.says, access_token).await?;
        who(&claims, &self.config)
    }

    /// Where to send a browser that is signed out here, so that it is there, too.
    pub(super) async fn end_session(&self) -> Option<String> {
        let known = self.known(None).await.ok()?;
        let end = known.says.end_session_endpoint.as_ref()?;
        address(end, &[("client_id", &self.config.client_id), ("post_logout_redirect_uri", &self.home)]).ok()
    }

    /// What the provider says of itself; asked anew when that is old, or has no key of this name.
    async fn known(&self, key: Option<&str>) -> Result<Arc<Known>, Refused> {
        let mut kept = self.known.lock().await;
        if let Some(known) = &*kept {
            let has = key.is_none_or(|key| known.keys.find(key).is_some());
            if known.at.elapsed() < if has { KNOWN } else { KEYS } {
                return Ok(Arc::clone(known));
            }
        }
        let document = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let says: Discovery = self.ask(self.client.get(document), "its configuration").await?;
        // Whoever answers for another issuer could have its people sign in here.
        if says.issuer != self.config.issuer {
            let (expected, found) = (&self.config.issuer, short(&says.issuer));
            return Err(Refused::Provider(format!("its configuration: expected issuer {expected}, found {found}")));
        }
        let keys: Value = self.ask(self.client.get(&says.jwks_uri), "its keys").await?;
        let known = Arc::new(Known { says, keys: readable(keys)?, at: Instant::now() });
        *kept = Some(Arc::clone(&known));
        Ok(known)
    }

    async fn exchange(&self, says: &Discovery, returned: &Returned, begun: &Begun) -> Result<Tokens, Refused> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", &returned.code),
            ("redirect_uri", &self.returns),
            ("client_id", &self.config.client_id),
            ("code_verifier", &begun.verifier),
        ];
        let mut request = self.client.post(&says.token_endpoint).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(secret) = &self.secret {
            let methods = says.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
            // Basic unless it says that it wants the other (OpenID Connect Core 1.0, 9).
            if methods.iter().any(|method| method == "client_secret_post")
                && !methods.iter().any(|method| method == "client_secret_basic")
            {
                form.push(("client_secret", secret));
            } else {
                let both = Zeroizing::new(format!("{}:{}", encoded(&self.config.client_id), encoded(secret)));
                request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(both.as_bytes())));
            }
        }
        self.ask(request.body(pairs(&form)), "a token for this code").await
    }

    /// The claims of a token whose signature is the provider's.
    async fn verified(&self, token: &str) -> Result<Map<String, Value>, Refused> {
        let wrong = |why: String| Refused::Provider(format!("its token: {why}"));
        let header = decode_header(token).map_err(|error| wrong(error.to_string()))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(wrong(format!("expected a signature that anybody can verify, found {:?}", header.alg)));
        }
        let known = self.known(header.kid.as_deref()).await?;
        let key = match &header.kid {
            Some(name) => known.keys.find(name),
            // A provider with one key need not name it.
            None => known.keys.keys.first().filter(|_| known.keys.keys.len() == 1),
        };
        let key = key.ok_or_else(|| wrong("expected a signature by one of its keys, found another".to_owned()))?;
        let key = DecodingKey::from_jwk(key).map_err(|error| wrong(error.to_string()))?;
        let mut signature_only = Validation::new(header.alg);
        // What it says is judged by `Expected`, at our own moment.
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        decode::<Map<String, Value>>(token, &key, &signature_only)
            .map(|token| token.claims)
            .map_err(|error| wrong(error.to_string()))
    }

    /// Many providers say names and groups only where one asks for them.
    async fn complete(&self, claims: &mut Map<String, Value>, says: &Discovery, access: Option<String>) -> Result<(), Refused> {
        let wanted = [&self.config.person_claim, &self.config.groups_claim];
        let (Some(endpoint), Some(access)) = (&says.userinfo_endpoint, access) else { return Ok(()) };
        if wanted.iter().all(|claim| claims.contains_key(*claim)) {
            return Ok(());
        }
        let request = self.client.get(endpoint).header(AUTHORIZATION, format!("Bearer {access}"));
        let more: Map<String, Value> = self.ask(request, "who this is").await?;
        if more.get("sub") != claims.get("sub") {
            return Err(Refused::Provider("asked who this is, it spoke of somebody else".to_owned()));
        }
        for claim in wanted {
            if let (false, Some(value)) = (claims.contains_key(claim), more.get(claim)) {
                claims.insert(claim.clone(), value.clone());
            }
        }
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder, what: &str) -> Result<T, Refused> {
        let failed = |why: String| Refused::Provider(format!("asked for {what}: {why}"));
        let _place = self.calls.try_acquire().map_err(|_| failed("too many are signing in at once".to_owned()))?;
        let answer = request.header(ACCEPT, "application/json").send().await;
        let mut answer = answer.map_err(|error| failed(chain(&error.without_url())))?;
        let (status, mut bytes) = (answer.status(), Zeroizing::new(Vec::new()));
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(chain(&error.without_url())))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(failed(format!("expected at most {MAX_ANSWER} bytes, found more")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(failed(format!("expected success, found {status}: {}", short(&String::from_utf8_lossy(&bytes)))));
        }
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }
}

/// Its keys, without those of kinds that are unknown here: they must not keep the others from being used.
fn readable(keys: Value) -> Result<JwkSet, Refused> {
    let Some(Value::Array(all)) = keys.get("keys") else {
        return Err(Refused::Provider("its keys: expected a list, found none".to_owned()));
    };
    Ok(JwkSet { keys: all.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect() })
}

/// What a token must say (OpenID Connect Core 1.0, 3.1.3.7).
struct Expected<'a> {
    issuer: &'a str,
    client: &'a str,
    nonce: &'a str,
}

impl Expected<'_> {
    fn judge(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), String> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let moment = |name: &str| {
            let seconds = claims.get(name).and_then(Value::as_f64).filter(|seconds| (0.0..1e11).contains(seconds));
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            seconds.and_then(|seconds| Timestamp::from_second(seconds as i64).ok())
        };
        let wrong = |name: &str, expected: &str| {
            let found = claims.get(name).map_or_else(|| "none".to_owned(), |value| short(&value.to_string()));
            Err(format!("its token: {name}: expected {expected}, found {found}"))
        };
        if text("iss") != Some(self.issuer) {
            return wrong("iss", self.issuer);
        }
        let audience: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !audience.contains(&self.client) {
            return wrong("aud", self.client);
        }
        // For whom it was made, where several may read it.
        if (audience.len() > 1 || claims.contains_key("azp")) && text("azp") != Some(self.client) {
            return wrong("azp", self.client);
        }
        let nonce = text("nonce").unwrap_or_default();
        if verify_slices_are_equal(nonce.as_bytes(), self.nonce.as_bytes()).is_err() {
            return wrong("nonce", "that of this attempt");
        }
        if moment("exp").is_none_or(|end| SKEW.after(end) <= now) {
            return wrong("exp", &format!("a moment after {now}"));
        }
        if moment("iat").is_none_or(|made| made > SKEW.after(now)) {
            return wrong("iat", &format!("a moment before {now}"));
        }
        if text("sub").is_none_or(str::is_empty) {
            return wrong("sub", "a name");
        }
        Ok(())
    }
}

/// Who that is here, by the first rule that fits.
fn who(claims: &Map<String, Value>, config: &Oidc) -> Result<Found, Refused> {
    let Oidc { person_claim, groups_claim, rules, .. } = config;
    let name = claims.get(person_claim).and_then(Value::as_str).ok_or_else(|| {
        Refused::Nobody(format!("it does not say {person_claim}, the claim with the person's name (pages.oidc person_claim)"))
    })?;
    let person: Person = name.parse().map_err(|error| Refused::Nobody(format!("{person_claim}: {error}")))?;
    let groups: Vec<&str> = match claims.get(groups_claim) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |Rule { group, .. }: &&Rule| groups.contains(&group.as_str());
    match rules.iter().find(fits) {
        Some(Rule { role, .. }) => Ok(Found { person, role: *role }),
        None => {
            let known: Vec<&str> = rules.iter().map(|rule| rule.group.as_str()).collect();
            Err(Refused::Nobody(format!(
                "{person} is in {} group(s) by claim {groups_claim}, none of which has a role here; those that have: {}",
                groups.len(),
                known.join(", ")
            )))
        }
    }
}

/// What somebody else said, for a page or a log line.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// An address with what is asked behind it.
fn address(endpoint: &str, asked: &[(&str, &str)]) -> Result<String, Refused> {
    let mut url = Url::parse(endpoint).map_err(|error| Refused::Provider(format!("its configuration: {endpoint}: {error}")))?;
    url.query_pairs_mut().extend_pairs(asked);
    Ok(url.into())
}

fn pairs(form: &[(&str, &str)]) -> String {
    // The one encoder at hand is that of addresses.
    let url = Url::parse_with_params("http://form", form).expect("the constant is an address");
    url.query().unwrap_or_default().to_owned()
}

fn encoded(text: &str) -> String {
    pairs(&[("", text)]).trim_start_matches('=').to_owned()
}

#[cfg(test)]
mod tests;
