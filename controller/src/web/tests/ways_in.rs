//! How a browser comes to be somebody, and how it does not.

use super::*;

#[tokio::test]
async fn a_link_is_good_once_and_nobody_sees_a_page_without_it() {
    let pages = Pages::new().await;
    for path in PAGES.into_iter().chain(["/servers/EX1", "/nowhere", "/audit/export", "/audit/verify"]) {
        let answer = pages.get(path, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.headers[header::LOCATION], "/sign-in", "{path}");
    }
    assert_eq!(pages.get("/live?page=/", "").await.status, StatusCode::FORBIDDEN);
    assert!(pages.get("/sign-in", "").await.text.contains("backstay sign-in"));

    let link = pages.link(PersonRole::Viewer).await;
    // Whatever looks at a link before a person does uses nothing up.
    for _ in 0..2 {
        assert!(pages.get(&format!("/sign-in?link={link}"), "").await.text.contains("<button"), "a button, and no more");
    }
    let first = pages.ask(form("/sign-in"), &format!("link={link}")).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let again = pages.ask(form("/sign-in"), &format!("link={link}")).await;
    assert_eq!((again.status, again.cookie), (StatusCode::FORBIDDEN, None), "{}", again.text);

    let cookie = first.cookie.expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair");
    let page = pages.get("/", cookie).await;
    assert!(page.status == StatusCode::OK && page.text.contains("anna, viewer"), "{}", page.text);
    assert_eq!(pages.get("/servers/EX9", cookie).await.status, StatusCode::NOT_FOUND);
    assert_eq!(pages.get("/nowhere", cookie).await.status, StatusCode::NOT_FOUND);

    let out = pages.ask(form("/sign-out").header(header::COOKIE, cookie), "").await;
    assert!(out.cookie.expect("a cookie").contains("Max-Age=0"));
    assert_eq!(pages.get("/", cookie).await.status, StatusCode::SEE_OTHER, "the old cookie is nobody's");
    let told: Vec<String> =
        pages.parts.store.audit(0, 100).await.expect("a trail").into_iter().map(|entry| entry.action).collect();
    assert_eq!(told, ["browser.signed_in", "browser.signed_out"]);
}

#[tokio::test]
async fn a_link_and_a_session_end_by_themselves() {
    let pages = Pages::new().await;
    let store = &pages.parts.store;
    let (link, browser) = (proto::token::Secret::generate().expect("random"), proto::token::Secret::generate().expect("random"));
    let anna = |expires_at| Browser { person: person("anna"), role: PersonRole::Admin, via: Via::Link, expires_at };
    store.create_sign_in(link.hash(), anna(noon()), noon()).await.expect("kept");
    assert_eq!(store.sign_in(link.hash(), browser.hash(), stage::later(9), noon()).await.expect("answers"), None, "too old");
    store.create_sign_in(link.hash(), anna(stage::later(300)), noon()).await.expect("kept");
    let found = store.sign_in(link.hash(), browser.hash(), stage::later(9), stage::later(5)).await.expect("answers");
    assert_eq!(found, Some(anna(stage::later(9))));
    assert_eq!(store.browser(browser.hash(), stage::later(8)).await.expect("answers"), Some(anna(stage::later(9))));
    assert_eq!(store.browser(browser.hash(), stage::later(9)).await.expect("answers"), None, "over");
    // Whoever makes links without end has the last few.
    for number in 0..40_u8 {
        store
            .create_sign_in(policy::id::Sha256([number; 32]), anna(stage::later(300 + u32::from(number))), noon())
            .await
            .expect("kept");
    }
    let good =
        |number: u8| store.sign_in(policy::id::Sha256([number; 32]), policy::id::Sha256([number; 32]), stage::later(900), noon());
    assert_eq!(good(0).await.expect("answers"), None, "the oldest is forgotten");
    assert!(good(39).await.expect("answers").is_some());
}

/// The pages as browsers elsewhere find them.
fn elsewhere(pages: &Pages, oidc: &str) -> Router {
    let config = format!(
        "estate = \"contoso\"\n[pages]\nurl = \"https://pages.test\"\ncertificate_file = \"c\"\nkey_file = \"k\"\n{oidc}"
    );
    let config = crate::config::Config::from_toml(&config).expect("a configuration").pages.expect("pages");
    Web::new(pages.parts.clone(), TaskTracker::new(), CancellationToken::new()).elsewhere(&config).expect("a router")
}

#[tokio::test]
async fn elsewhere_one_name_counts_and_the_cookie_is_bound_to_it() {
    let mut pages = Pages::new().await;
    let here = pages.signed_in(PersonRole::Admin).await;
    pages.router = elsewhere(&pages, "");
    let at = |method, path: &str, host: &str| HttpRequest::builder().method(method).uri(path).header(header::HOST, host);
    let post = |host: &str, origin: &str| at(Method::POST, "/sign-in", host).header(header::ORIGIN, origin.to_owned());
    let kind = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let link = format!("link={}", pages.link(PersonRole::Viewer).await);
    for (host, origin) in [
        ("pages.test", "http://pages.test"),
        ("pages.test", "https://pages.test:444"),
        ("pages.test", "https://pages.test.evil.test"),
        ("pages.test", "null"),
        ("localhost", "http://localhost"),
        ("evil.test", "https://evil.test"),
        ("pages.test:7447", "https://pages.test:7447"),
    ] {
        let answer = pages.ask(post(host, origin).header(kind.0.clone(), kind.1), &link).await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::FORBIDDEN, None), "{host} {origin}");
    }
    let answer = pages.ask(post("Pages.test", "https://pages.test").header(kind.0, kind.1), &link).await;
    let cookie = answer.cookie.expect("a cookie, for none of those used the link up");
    assert!(
        cookie.starts_with("__Host-backstay=") && cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200; Secure"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let get = |path: &str, cookie: &str| at(Method::GET, path, "pages.test").header(header::COOKIE, cookie);
    assert_eq!(pages.ask(get("/", &cookie), "").await.status, StatusCode::OK);
    // A cookie that plain HTTP or a neighbour could have set is none.
    for other in [&here, &cookie.replace("__Host-", "")] {
        assert_eq!(pages.ask(get("/", other), "").await.status, StatusCode::SEE_OTHER, "{other}");
    }
    // From a mail: shown after a step of our own, and nowhere else does that step lead.
    for (path, to) in
        [("/plans", "0; url=/plans"), ("/servers/EX1", "0; url=/servers/EX1"), ("//evil.test", "0; url=/"), ("/x", "0; url=/")]
    {
        let answer = pages.ask(get(path, "").header("sec-fetch-site", "cross-site"), "").await;
        assert_eq!((answer.status, answer.headers[header::REFRESH].as_bytes()), (StatusCode::OK, to.as_bytes()), "{path}");
    }
}

#[tokio::test]
async fn whoever_did_not_begin_here_does_not_end_here() {
    let mut pages = Pages::new().await;
    let oidc =
        "[pages.oidc]\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"backstay\"\nrule = [{ group = \"All\", role = \"admin\" }]";
    pages.router = elsewhere(&pages, oidc);
    let told = pages.parts.store.audit_head().await.expect("reads");
    let (state, other) = ("A".repeat(43), "B".repeat(42) + "A");
    let begun = format!("__Host-backstay-begun={state}.{state}.{state}");
    let forms = [
        ("without a beginning", String::new(), format!("code=c&state={state}"), StatusCode::FORBIDDEN),
        ("with half of one", format!("__Host-backstay-begun={state}"), format!("code=c&state={state}"), StatusCode::FORBIDDEN),
        ("with one that others could set", begun.replace("__Host-", ""), format!("code=c&state={state}"), StatusCode::FORBIDDEN),
        ("of another attempt", begun.clone(), format!("code=c&state={other}"), StatusCode::FORBIDDEN),
        ("without a state", begun.clone(), "code=c".to_owned(), StatusCode::FORBIDDEN),
        ("of another provider", begun.clone(), format!("code=c&state={state}&iss=https://evil.test"), StatusCode::FORBIDDEN),
        ("refused there", begun.clone(), format!("error=%3Cscript%3E&state={state}"), StatusCode::FORBIDDEN),
        ("with nobody to ask", begun.clone(), format!("code=c&state={state}"), StatusCode::BAD_GATEWAY),
    ];
    for (what, cookie, query, status) in forms {
        let request = HttpRequest::builder().uri(format!("/sign-in/returned?{query}")).header(header::HOST, "pages.test");
        let answer = pages.ask(request.header(header::COOKIE, cookie).header("sec-fetch-site", "cross-site"), "").await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert!(!answer.text.contains("<script>"), "{what}");
        let cookie = answer.cookie.expect("it takes the beginning away");
        assert!(cookie.starts_with("__Host-backstay-begun=;") && cookie.contains("Max-Age=0"), "{what}: {cookie}");
        assert_eq!(pages.parts.store.audit_head().await.expect("reads"), told, "{what}");
    }
    // On loopback nobody is vouched for.
    let here = Web::new(pages.parts.clone(), TaskTracker::new(), CancellationToken::new()).on_loopback();
    pages.router = here;
    assert_eq!(pages.get("/sign-in/provider", "").await.headers[header::LOCATION], "/sign-in");
    assert_eq!(pages.get(&format!("/sign-in/returned?code=c&state={state}"), &begun).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_password_signs_in_whoever_set_it_and_says_nothing_about_others() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Operator).await;
    let set = |password: &str, again: &str| format!("password={}&again={}", encoded(password), encoded(again));
    for (password, again, status) in [
        ("correct horse", "correct house", StatusCode::BAD_REQUEST),
        ("short", "short", StatusCode::BAD_REQUEST),
        ("correct horse", "correct horse", StatusCode::SEE_OTHER),
    ] {
        let answer = pages.ask(form("/access/password").header(header::COOKIE, &cookie), &set(password, again)).await;
        assert_eq!(answer.status, status, "{password} {again}");
    }
    let attempt = async |person: &str, password: &str| {
        let body = format!("person={}&password={}", encoded(person), encoded(password));
        pages.ask(form("/sign-in/password"), &body).await
    };
    // Nobody learns from the answer whether somebody has a password.
    let wrong = attempt("anna", "correct house").await;
    for (person, password) in [("bert", "correct horse"), ("", ""), ("anna", ""), ("<script>", "x"), ("anna' OR 1=1 --", "x")] {
        let answer = attempt(person, password).await;
        assert_eq!((answer.status, answer.cookie.clone()), (StatusCode::FORBIDDEN, None), "{person}");
        assert_eq!(answer.text, wrong.text, "{person}");
    }
    let right = attempt(" Anna ", "correct horse").await;
    let own = right.cookie.expect("a cookie");
    let page = pages.get("/access", own.split(';').next().expect("a pair")).await;
    assert!(page.text.contains("anna, operator") && page.text.contains("browser, by password"), "{}", page.text);
    // After five wrong ones in a row the right one is as good as none, for a while.
    for _ in 0..5 {
        assert_eq!(attempt("anna", "correct house").await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(attempt("anna", "correct horse").await.text, wrong.text);
    let told: Vec<String> = pages.parts.store.audit(0, 100).await.expect("reads").into_iter().map(|entry| entry.action).collect();
    assert_eq!(told, ["browser.signed_in", "password.set", "browser.signed_in", "password.wrong"]);
}

/// Whoever looks at *Access* sees their own ways in, also when somebody else of that role looked before.
#[tokio::test]
async fn what_is_ones_own_is_shown_to_nobody_else() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Viewer).await;
    let bert = Browser { person: person("bert"), role: PersonRole::Viewer, via: Via::Link, expires_at: stage::later(600) };
    let secret = proto::token::Secret::generate().expect("random");
    pages.parts.store.begin_browser(secret.hash(), bert, noon()).await.expect("in");
    let other = format!("backstay={}", *secret.to_text());
    for (cookie, own, others) in [(&cookie, "<td>anna</td>", "<td>bert</td>"), (&other, "<td>bert</td>", "<td>anna</td>")] {
        let page = pages.get("/access", cookie).await;
        assert!(page.text.contains(own) && !page.text.contains(others), "{}", page.text);
        let text = sent(&mut pages.live("/access", cookie).await).await;
        assert!(text.contains(own) && !text.contains(others), "{text}");
    }
}

/// What a provider vouches for ends with its word.
#[tokio::test]
async fn whom_a_provider_vouches_for_makes_no_way_in_that_outlasts_it() {
    let pages = Pages::new().await;
    let secret = proto::token::Secret::generate().expect("random");
    let vouched = Browser { person: person("anna"), role: PersonRole::Admin, via: Via::Oidc, expires_at: stage::later(600) };
    pages.parts.store.begin_browser(secret.hash(), vouched, noon()).await.expect("in");
    let cookie = format!("backstay={}", *secret.to_text());
    let told = pages.parts.store.audit_head().await.expect("reads");
    for (path, body) in
        [("/access/password", "password=correct+horse&again=correct+horse"), ("/access/token", "name=n&days=90&read=yes")]
    {
        let answer = pages.ask(form(path).header(header::COOKIE, &cookie), body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text);
    }
    assert_eq!(pages.parts.store.audit_head().await.expect("reads"), told, "nothing happened");
    let page = pages.get("/access", &cookie).await;
    assert!(page.text.contains("browser, by oidc") && !page.text.contains("/access/password"), "{}", page.text);
}

/// A token is made on a page and shown once; what is forged about it makes none.
#[tokio::test]
async fn a_token_is_shown_once_and_is_no_more_than_its_maker() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Operator).await;
    let make = async |body: &str| pages.ask(form("/access/token").header(header::COOKIE, &cookie), body).await;
    for (body, status) in [
        ("name=n&days=90&enrol=yes", StatusCode::FORBIDDEN),
        ("name=n&days=90", StatusCode::BAD_REQUEST),
        ("name=n&days=0&read=yes", StatusCode::BAD_REQUEST),
        ("name=n&days=99999999&read=yes", StatusCode::BAD_REQUEST),
        ("name=%3Cb%3E&days=90&read=yes", StatusCode::BAD_REQUEST),
        ("name=n&days=90&read=yes&root=yes", StatusCode::BAD_REQUEST),
        ("name=n&days=x&read=yes", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = make(body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let answer = make("name=nagios&days=90&read=yes&stop=yes").await;
    assert!(answer.status == StatusCode::OK && answer.text.contains("backstay-token "), "{}", answer.text);
    let secret = answer.text.split_once("backstay-token ").expect("a token").1[..43].to_owned();
    let page = pages.get("/access", &cookie).await;
    assert!(
        page.text.contains("token nagios") && page.text.contains("read, stop") && !page.text.contains(&secret),
        "{}",
        page.text
    );
    let secret = proto::token::Secret::from_text(&secret).expect("a secret");
    let found = pages.parts.store.api_token(secret.hash(), noon()).await.expect("reads").expect("one");
    assert_eq!((found.scope.as_str(), found.role), ("read,stop", PersonRole::Operator));
    let revoke = pages.ask(form("/access/revoke").header(header::COOKIE, &cookie), "name=nagios").await;
    assert_eq!(revoke.status, StatusCode::SEE_OTHER);
    assert_eq!(pages.parts.store.api_token(secret.hash(), noon()).await.expect("reads"), None);
}
