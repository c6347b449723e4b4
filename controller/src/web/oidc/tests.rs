//! A provider's word, and what is made of it.

use std::sync::Mutex as SyncMutex;

use serde_json::json;

use super::*;

fn claims(change: Value) -> Map<String, Value> {
    let mut claims = json!({
        "iss": "https://login.contoso.test", "aud": "backstay", "sub": "17", "nonce": "n", "exp": 1_000_300, "iat": 1_000_000,
        "preferred_username": "Anna@contoso.test", "groups": ["All", "Exchange"],
    });
    for (name, value) in change.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let Value::Object(mut claims) = claims else { unreachable!("an object") };
    claims.retain(|_, value| !value.is_null());
    claims
}

fn judged(change: Value) -> Result<(), String> {
    let expected = Expected { issuer: "https://login.contoso.test", client: "backstay", nonce: "n" };
    expected.judge(&claims(change), Timestamp::from_second(1_000_100).expect("a moment"))
}

#[test]
fn every_comparison_counts() {
    assert_eq!(judged(json!({})), Ok(()));
    assert_eq!(judged(json!({"aud": ["backstay"]})), Ok(()));
    assert_eq!(judged(json!({"aud": ["other", "backstay"], "azp": "backstay"})), Ok(()));
    for (change, named) in [
        (json!({"iss": "https://login.contoso.test/"}), "iss"),
        (json!({"iss": null}), "iss"),
        (json!({"aud": "other"}), "aud"),
        (json!({"aud": []}), "aud"),
        (json!({"aud": null}), "aud"),
        (json!({"aud": ["other", "backstay"]}), "azp"),
        (json!({"azp": "other"}), "azp"),
        (json!({"nonce": "m"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"exp": 999_980}), "exp"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "1000300"}), "exp"),
        (json!({"exp": -5}), "exp"),
        (json!({"exp": 1e300}), "exp"),
        (json!({"iat": 1_000_221}), "iat"),
        (json!({"iat": null}), "iat"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": 17}), "sub"),
    ] {
        let error = judged(change.clone()).expect_err(&change.to_string());
        assert!(error.starts_with(&format!("its token: {named}: expected ")), "{change}: {error}");
    }
}

fn config() -> Oidc {
    toml::from_str(
        "issuer = \"https://login.contoso.test\"\nclient_id = \"backstay\"\n\
         rule = [{ group = \"Admins\", role = \"admin\" }, { group = \"Exchange\", role = \"operator\" }, { group = \"All\", role = \"viewer\" }]",
    )
    .expect("a provider")
}

#[test]
fn the_first_rule_that_fits_counts() {
    let role = |groups: Value| who(&claims(json!({ "groups": groups })), &config()).map(|found| found.role);
    assert_eq!(role(json!(["All", "Exchange"])), Ok(PersonRole::Operator));
    assert_eq!(role(json!("All")), Ok(PersonRole::Viewer));
    assert_eq!(role(json!(["Exchange", "Admins"])), Ok(PersonRole::Admin));
    for groups in [json!(["all"]), json!([]), json!(null), json!([["Admins"]]), json!({"Admins": true}), json!(["Admins "])] {
        let refused = role(groups.clone()).expect_err("nobody");
        assert!(matches!(&refused, Refused::Nobody(why) if why.contains("Admins, Exchange, All")), "{groups} {refused:?}");
    }
    let found = who(&claims(json!({})), &config()).expect("somebody");
    assert_eq!(found.person.as_str(), "anna@contoso.test");
    for name in [json!(null), json!("CONTOSO\\anna"), json!(""), json!("<script>"), json!(["anna"])] {
        let refused = who(&claims(json!({ "preferred_username": name })), &config()).expect_err("nobody");
        assert!(matches!(&refused, Refused::Nobody(why) if why.contains("preferred_username")), "{refused:?}");
    }
}

#[test]
fn what_a_browser_keeps_comes_back_as_it_was_or_not_at_all() {
    let begun = Begun::new().expect("random");
    let text = begun.to_text();
    let read = Begun::from_text(&text).expect("the same");
    assert_eq!((&read.state, &read.nonce, &read.verifier), (&begun.state, &begun.nonce, &begun.verifier));
    for other in ["", "..", &text[1..], &format!("{}.x", *text), &format!("{}.", *text)] {
        assert!(Begun::from_text(other).is_none(), "{other}");
    }
}

#[test]
fn what_is_sent_is_encoded() {
    assert_eq!(pairs(&[("code", "a b&c=d")]), "code=a+b%26c%3Dd");
    assert_eq!(encoded("s:ä"), "s%3A%C3%A4");
    let there = address("https://login.test/auth?tenant=1", &[("state", "x y")]).expect("an address");
    assert_eq!(there, "https://login.test/auth?tenant=1&state=x+y");
}

#[test]
fn a_key_of_an_unknown_kind_does_not_hide_the_others() {
    let keys =
        readable(json!({"keys": [{"kty": "NEW", "kid": "1"}, {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "2"}, 7]}));
    let keys = keys.expect("a list");
    assert!(keys.find("2").is_some() && keys.keys.len() <= 2, "{keys:?}");
    assert!(readable(json!([])).is_err());
}

/// A provider of ours that says what it is told to say: what one that is broken, or somebody in its place, might.
struct Double {
    issuer: String,
    says: Arc<SyncMutex<Says>>,
    key: aws_lc_rs::signature::Ed25519KeyPair,
}

#[derive(Default)]
struct Says {
    issuer: Option<String>,
    keys: Value,
    token: (u16, String),
    person: Value,
}

impl Double {
    async fn start() -> Self {
        use aws_lc_rs::signature::KeyPair as _;
        use axum::routing::{get, post};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let key = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key");
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "alg": "EdDSA"}]});
        let says = Arc::new(SyncMutex::new(Says { keys, ..Says::default() }));
        let at = issuer.clone();
        let (document, keys, token, person) = (says.clone(), says.clone(), says.clone(), says.clone());
        let heard = |says: &Arc<SyncMutex<Says>>, what: fn(&Says) -> Value| what(&says.lock().expect("held")).to_string();
        let router = axum::Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async move || {
                    let issuer = document.lock().expect("held").issuer.clone().unwrap_or_else(|| at.clone());
                    let says = json!({
                        "issuer": issuer, "authorization_endpoint": format!("{at}/authorize"), "token_endpoint": format!("{at}/token"),
                        "jwks_uri": format!("{at}/keys"), "userinfo_endpoint": format!("{at}/person"),
                    });
                    says.to_string()
                }),
            )
            .route("/keys", get(async move || heard(&keys, |says| says.keys.clone())))
            .route("/person", get(async move || heard(&person, |says| says.person.clone())))
            .route(
                "/token",
                post(async move || {
                    let (status, text) = token.lock().expect("held").token.clone();
                    (axum::http::StatusCode::from_u16(status).expect("a status"), [("location", "/elsewhere")], text)
                }),
            );
        #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, says, key }
    }

    fn provider(&self) -> Provider {
        let oidc = Oidc { issuer: self.issuer.clone(), ..config() };
        let pages: crate::config::Config = crate::config::Config::from_toml(
            "estate = \"contoso\"\n[pages]\nurl = \"https://pages.test\"\ncertificate_file = \"c\"\nkey_file = \"k\"",
        )
        .expect("a configuration");
        Provider::new(&oidc, &pages.pages.expect("pages").origin).expect("a provider")
    }

    /// A token with this head and these claims, signed by this key.
    fn signed(&self, head: &Value, claims: &Map<String, Value>, key: &aws_lc_rs::signature::Ed25519KeyPair) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(head), part(&Value::Object(claims.clone())));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    fn answer(&self, token: &str) {
        let text = json!({"id_token": token, "access_token": "a", "token_type": "Bearer"}).to_string();
        self.says.lock().expect("held").token = (200, text);
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_100).expect("a moment")
}

/// Somebody who comes back as they should.
async fn returned(provider: &Provider) -> (Returned, Begun) {
    let (address, begun) = provider.begin().await.expect("begins");
    let address = Url::parse(&address).expect("an address");
    let asked: std::collections::BTreeMap<_, _> = address.query_pairs().into_owned().collect();
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, begun.verifier.as_bytes()));
    assert_eq!((&asked["state"], &asked["nonce"]), (&*begun.state, &*begun.nonce));
    assert_eq!((&*asked["code_challenge"], &*asked["code_challenge_method"]), (&*challenge, "S256"));
    assert_eq!((&*asked["scope"], &*asked["redirect_uri"]), ("openid profile groups", "https://pages.test/sign-in/returned"));
    let returned = Returned { code: "c".to_owned(), state: begun.state.to_string(), ..Returned::default() };
    (returned, begun)
}

#[tokio::test]
async fn nothing_but_the_providers_own_word_makes_anybody_somebody() {
    let double = Double::start().await;
    let provider = double.provider();
    let (back, begun) = returned(&provider).await;
    let said = claims(json!({"iss": double.issuer, "nonce": *begun.nonce}));
    let head = json!({"alg": "EdDSA", "kid": "1"});
    let good = double.signed(&head, &said, &double.key);
    let found = |token: String| {
        double.answer(&token);
        provider.finish(&back, &begun, now())
    };
    let anna = Found { person: "anna@contoso.test".parse().expect("a name"), role: PersonRole::Operator };
    assert_eq!(found(good.clone()).await, Ok(anna.clone()));
    assert_eq!(found(double.signed(&json!({"alg": "EdDSA"}), &said, &double.key)).await, Ok(anna.clone()), "it has one key");

    let stranger = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key");
    let unsigned = double.signed(&json!({"alg": "none"}), &said, &double.key);
    let shared = {
        use aws_lc_rs::signature::KeyPair as _;
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "1"})), part(&Value::Object(said.clone())));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, double.key.public_key().as_ref());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes())))
    };
    let (start, rest) = good.split_at(good.find('.').expect("a point") + 5);
    for (what, token) in [
        ("another's signature", double.signed(&head, &said, &stranger)),
        ("no signature", unsigned),
        ("a signature with what everybody knows", shared),
        ("a key that it does not have", double.signed(&json!({"alg": "EdDSA", "kid": "2"}), &said, &double.key)),
        ("another kind of key", double.signed(&json!({"alg": "RS256", "kid": "1"}), &said, &double.key)),
        (
            "a key that it brings along",
            double.signed(&json!({"alg": "EdDSA", "kid": "3", "jwk": {"kty": "OKP"}}), &said, &stranger),
        ),
        ("changed on the way", format!("{start}x{}", &rest[1..])),
        ("signature cut off", good.rsplit_once('.').expect("a point").0.to_owned() + "."),
        ("for another attempt", double.signed(&head, &claims(json!({"iss": double.issuer, "nonce": "m"})), &double.key)),
        (
            "for somebody else",
            double.signed(&head, &claims(json!({"iss": double.issuer, "nonce": *begun.nonce, "aud": "b"})), &double.key),
        ),
        ("no token", String::new()),
        ("points", "..".to_owned()),
    ] {
        let refused = found(token).await;
        assert!(matches!(&refused, Err(Refused::Provider(_))), "{what}: {refused:?}");
    }
    // What comes along with whoever comes back is looked at before anybody is asked.
    double.answer(&good);
    for (what, back) in [
        ("another attempt", Returned { state: "x".to_owned(), code: "c".to_owned(), ..Returned::default() }),
        (
            "another provider",
            Returned {
                iss: Some("https://evil.test".to_owned()),
                ..Returned { state: begun.state.to_string(), ..Returned::default() }
            },
        ),
    ] {
        assert!(matches!(provider.finish(&back, &begun, now()).await, Err(Refused::Stale(_))), "{what}");
    }
    let refusal = Returned { state: begun.state.to_string(), error: Some("access_denied".to_owned()), ..Returned::default() };
    assert!(matches!(provider.finish(&refusal, &begun, now()).await, Err(Refused::Nobody(why)) if why.contains("access_denied")));
}

#[tokio::test]
async fn a_provider_that_says_something_else_signs_nobody_in() {
    let double = Double::start().await;
    let provider = double.provider();
    let (back, begun) = returned(&provider).await;
    let head = json!({"alg": "EdDSA", "kid": "1"});
    let short = claims(json!({"iss": double.issuer, "nonce": *begun.nonce, "groups": null, "preferred_username": null}));
    double.answer(&double.signed(&head, &short, &double.key));
    // Names and groups that it says only when asked, of the same person.
    double.says.lock().expect("held").person = json!({"sub": "18", "preferred_username": "anna", "groups": ["Admins"]});
    let refused = provider.finish(&back, &begun, now()).await;
    assert!(matches!(&refused, Err(Refused::Provider(why)) if why.contains("somebody else")), "{refused:?}");
    double.says.lock().expect("held").person = json!({"sub": "17", "preferred_username": "anna", "groups": ["All"], "iss": "x"});
    let found = provider.finish(&back, &begun, now()).await.expect("somebody");
    assert_eq!((found.person.as_str(), found.role), ("anna", PersonRole::Viewer));

    for (answer, told) in [
        ((400, "{\"error\": \"invalid_grant\"}".to_owned()), "invalid_grant"),
        ((302, String::new()), "302"),
        ((200, "x".repeat(MAX_ANSWER + 1)), "at most"),
        ((200, "{}".to_owned()), "id_token"),
        ((500, "<script>".to_owned()), "500"),
    ] {
        double.says.lock().expect("held").token = answer;
        let refused = provider.finish(&back, &begun, now()).await;
        assert!(matches!(&refused, Err(Refused::Provider(why)) if why.contains(told)), "{told}: {refused:?}");
    }
    // Somebody who answers in its place, by another name.
    double.says.lock().expect("held").issuer = Some("https://evil.test".to_owned());
    let refused = double.provider().begin().await.err().expect("must be refused");
    assert!(matches!(&refused, Refused::Provider(why) if why.contains("expected issuer")), "{refused:?}");
    // Nobody answers at all.
    let mut nowhere = double.provider();
    nowhere.config.issuer = "http://127.0.0.1:9".to_owned();
    assert!(matches!(nowhere.begin().await.err(), Some(Refused::Provider(_))));
}
